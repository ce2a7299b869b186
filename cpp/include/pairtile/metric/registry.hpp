// The list of metrics, and that of metrics on packed bits: X(name as users write it, type). Adding
// a metric is one header beside this one, one line here, and its NumPy twin.
#pragma once

#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/chebyshev.hpp"
#include "pairtile/metric/cosine.hpp"
#include "pairtile/metric/euclidean.hpp"
#include "pairtile/metric/hamming.hpp"
#include "pairtile/metric/inner_product.hpp"
#include "pairtile/metric/jaccard.hpp"
#include "pairtile/metric/manhattan.hpp"
#include "pairtile/metric/sqeuclidean.hpp"

#define PAIRTILE_METRICS(X)          \
    X(euclidean, Euclidean)          \
    X(sqeuclidean, SquaredEuclidean) \
    X(cosine, Cosine)                \
    X(inner_product, InnerProduct)   \
    X(manhattan, Manhattan)          \
    X(chebyshev, Chebyshev)

#define PAIRTILE_BIT_METRICS(X) \
    X(hamming, Hamming)         \
    X(jaccard, Jaccard)

namespace pairtile {

#define PAIRTILE_METRIC_ID(name, type) name,
enum class MetricId : int {
    PAIRTILE_METRICS(PAIRTILE_METRIC_ID) PAIRTILE_BIT_METRICS(PAIRTILE_METRIC_ID) count
};
#undef PAIRTILE_METRIC_ID

constexpr bool on_bits(MetricId metric) {
#define PAIRTILE_IS(name, type) metric == MetricId::name ||
    return PAIRTILE_BIT_METRICS(PAIRTILE_IS) false;
#undef PAIRTILE_IS
}

}  // namespace pairtile
