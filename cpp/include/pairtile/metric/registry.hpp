// The one list of metrics: X(name as users write it, type). Adding a metric is one header beside
// this one, one line here, and its NumPy twin.
#pragma once

#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/chebyshev.hpp"
#include "pairtile/metric/cosine.hpp"
#include "pairtile/metric/euclidean.hpp"
#include "pairtile/metric/inner_product.hpp"
#include "pairtile/metric/manhattan.hpp"
#include "pairtile/metric/sqeuclidean.hpp"

#define PAIRTILE_METRICS(X)          \
    X(euclidean, Euclidean)          \
    X(sqeuclidean, SquaredEuclidean) \
    X(cosine, Cosine)                \
    X(inner_product, InnerProduct)   \
    X(manhattan, Manhattan)          \
    X(chebyshev, Chebyshev)

namespace pairtile {

#define PAIRTILE_METRIC_ID(name, type) name,
enum class MetricId : int { PAIRTILE_METRICS(PAIRTILE_METRIC_ID) count };
#undef PAIRTILE_METRIC_ID

}  // namespace pairtile
