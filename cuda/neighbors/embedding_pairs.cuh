// Pairs of the few metrics in which embeddings are compared: folds for those alone are compiled for
// no other.
#pragma once

#include <stdexcept>

#include "neighbors/distances.cuh"

namespace pairtile::gpu {

// launch.operator()<Pairs>() with the type of pairs that serves a metric.
template <class Launch>
void with_embedding_pairs(MetricId metric, const Launch& launch) {
    switch (metric) {
        case MetricId::sqeuclidean:
            return launch.template operator()<PlainPairs<SquaredEuclidean>>();
        case MetricId::cosine:
            return launch.template operator()<PlainPairs<Cosine>>();
        case MetricId::inner_product:
            return launch.template operator()<PlainPairs<InnerProduct>>();
        default:
            throw std::runtime_error("embeddings are not compared by this metric");
    }
}

}  // namespace pairtile::gpu
