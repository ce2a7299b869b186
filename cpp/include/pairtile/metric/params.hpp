// What metrics take besides two rows. Each reads the members it documents; whoever fills them in
// keeps the arrays alive.
#pragma once

#include <cstdint>

namespace pairtile {

struct MetricParams {
    double p = 0.0;                     // minkowski: the exponent
    const double* weights = nullptr;    // weuclidean: one per feature, not negative
    const double* transform = nullptr;  // mahalanobis: A, features × features, row by row
    const double* ranges = nullptr;     // gower: one per feature, 0 for what is only compared
    double clip = __builtin_inf();      // gower: the most that a feature with a range counts
    double features = 0.0;              // nan_euclidean: their number
    int64_t n_bits = 0;                 // of a row of packed bits
};

}  // namespace pairtile
