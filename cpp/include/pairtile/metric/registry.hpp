// The list of metrics, and that of metrics on packed bits: X(name as users write it, type). Adding
// a metric is one header beside this one, one line here, and its record in Python (_definitions).
#pragma once

#include "pairtile/metric/braycurtis.hpp"
#include "pairtile/metric/canberra.hpp"
#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/chebyshev.hpp"
#include "pairtile/metric/correlation.hpp"
#include "pairtile/metric/cosine.hpp"
#include "pairtile/metric/euclidean.hpp"
#include "pairtile/metric/gower.hpp"
#include "pairtile/metric/hamming.hpp"
#include "pairtile/metric/inner_product.hpp"
#include "pairtile/metric/jaccard.hpp"
#include "pairtile/metric/lorentzian.hpp"
#include "pairtile/metric/mahalanobis.hpp"
#include "pairtile/metric/manhattan.hpp"
#include "pairtile/metric/minkowski.hpp"
#include "pairtile/metric/nan_euclidean.hpp"
#include "pairtile/metric/sqeuclidean.hpp"
#include "pairtile/metric/weuclidean.hpp"

// Those of one sum and without parameters, which have micro-kernels of their own.
#define PAIRTILE_PLAIN_METRICS(X)    \
    X(euclidean, Euclidean)          \
    X(sqeuclidean, SquaredEuclidean) \
    X(cosine, Cosine)                \
    X(inner_product, InnerProduct)   \
    X(manhattan, Manhattan)          \
    X(chebyshev, Chebyshev)

// The others that are sums over features.
#define PAIRTILE_SUMMED_METRICS(X)   \
    X(minkowski, Minkowski)          \
    X(canberra, Canberra)            \
    X(braycurtis, BrayCurtis)        \
    X(lorentzian, Lorentzian)        \
    X(nan_euclidean, NanEuclidean)   \
    X(weuclidean, WeightedEuclidean) \
    X(gower, Gower)

// `correlation` is the cosine of rows that are read otherwise.
#define PAIRTILE_METRICS(X)     \
    PAIRTILE_PLAIN_METRICS(X)   \
    PAIRTILE_SUMMED_METRICS(X)  \
    X(mahalanobis, Mahalanobis) \
    X(correlation, Correlation)

#define PAIRTILE_BIT_METRICS(X) \
    X(hamming, Hamming)         \
    X(jaccard, Jaccard)

namespace pairtile {

#define PAIRTILE_METRIC_ID(name, type) name,
enum class MetricId : int {
    PAIRTILE_METRICS(PAIRTILE_METRIC_ID) PAIRTILE_BIT_METRICS(PAIRTILE_METRIC_ID) count
};
#undef PAIRTILE_METRIC_ID

}  // namespace pairtile
