// The canonical value of a pair: the float64 number by which neighbours are ordered everywhere.
//
// Eight partial results over features j mod 8, combined ((0+4)+(2+6))+((1+5)+(3+7)), no fused
// multiply-add: every backend, instruction set and tile size computes the same bits.
#pragma once

#include <type_traits>

#include "pairtile/config.hpp"
#include "pairtile/metric/mahalanobis.hpp"
#include "pairtile/metric/params.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The eight partial results as one.
template <class Metric, class T>
PAIRTILE_HD T canonical_tree(const T* lane) {
    const T even =
        Metric::combine(Metric::combine(lane[0], lane[4]), Metric::combine(lane[2], lane[6]));
    const T odd =
        Metric::combine(Metric::combine(lane[1], lane[5]), Metric::combine(lane[3], lane[7]));
    return Metric::combine(even, odd);
}

// The partial results of a pair, or of several columns side by side. Most metrics are one sum of
// terms of two numbers; some take the feature and their parameters too, some are made of two sums.
template <class Metric, class T>
struct Partial {
    static constexpr bool two_sums = requires { Metric::sums; };

    T lane[two_sums ? 2 : 1][8] = {};

    template <class Params>
    PAIRTILE_HD void push(int l, T x, T y, int64_t j, const Params& params) {
        if constexpr (requires { Metric::template accumulate<0>(x, x, y, j, params); }) {
            lane[0][l] = Metric::template accumulate<0>(lane[0][l], x, y, j, params);
            lane[1][l] = Metric::template accumulate<1>(lane[1][l], x, y, j, params);
        } else if constexpr (two_sums) {
            lane[0][l] = Metric::template accumulate<0>(lane[0][l], x, y);
            lane[1][l] = Metric::template accumulate<1>(lane[1][l], x, y);
        } else if constexpr (requires { Metric::accumulate(x, x, y, j, params); }) {
            lane[0][l] = Metric::accumulate(lane[0][l], x, y, j, params);
        } else {
            lane[0][l] = Metric::accumulate(lane[0][l], x, y);
        }
    }
    PAIRTILE_HD T order() const {
        if constexpr (two_sums) {
            return Metric::order(canonical_tree<Metric>(lane[0]), canonical_tree<Metric>(lane[1]));
        } else {
            return Metric::order(canonical_tree<Metric>(lane[0]));
        }
    }
};

template <class Metric, class Y, class Params>
PAIRTILE_HD double canonical_fold(const double* x, const Y* y, int64_t d, const Params& params) {
    Partial<Metric, double> partial;
    int64_t j = 0;
    for (; j + 8 <= d; j += 8) {
        for (int l = 0; l < 8; ++l) {
            partial.push(l, x[j + l], static_cast<double>(y[j + l]), j + l, params);
        }
    }
    for (int l = 0; j + l < d; ++l) {
        partial.push(l, x[j + l], static_cast<double>(y[j + l]), j + l, params);
    }
    return partial.order();
}

template <class Metric, class Y>
PAIRTILE_HD double canonical(const double* x, const Y* y, int64_t d,
                             const MetricParams& params = {}) {
    if constexpr (std::is_same_v<Metric, Mahalanobis>) {
        double lane[8] = {};
        for (int64_t i = 0; i < d; ++i) {
            const double* row = params.transform + i * d;
            const double z = canonical_fold<Mahalanobis::Component>(x, y, d, row);
            lane[i % 8] += z * z;
        }
        return canonical_tree<Mahalanobis>(lane);
    } else {
        return canonical_fold<Metric>(x, y, d, params);
    }
}

// From the ordered canonical value to what the user sees.
template <class Metric>
PAIRTILE_HD double reported(double ordered, const MetricParams& params) {
    if constexpr (requires { Metric::reported(ordered, params); }) {
        return Metric::reported(ordered, params);
    } else {
        return Metric::reported(ordered);
    }
}

// The same for rows of packed bits, padded with zeros to whole words.
template <class Metric>
PAIRTILE_HD double canonical_bits(const uint64_t* x, const uint64_t* y, int64_t words) {
    int64_t differing = 0, either = 0;
    for (int64_t j = 0; j < words; ++j) {
        differing += __builtin_popcountll(x[j] ^ y[j]);
        either += __builtin_popcountll(x[j] | y[j]);
    }
    return Metric::order(differing, either);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
