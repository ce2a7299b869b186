// The canonical value of a pair: the float64 number by which neighbours are ordered everywhere.
//
// Eight partial results over features j mod 8, combined ((0+4)+(2+6))+((1+5)+(3+7)), no fused
// multiply-add: every backend, instruction set and tile size computes the same bits.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The eight partial results as one.
template <class Metric, class T>
PT_HD T canonical_tree(const T* lane) {
    const T even =
        Metric::combine(Metric::combine(lane[0], lane[4]), Metric::combine(lane[2], lane[6]));
    const T odd =
        Metric::combine(Metric::combine(lane[1], lane[5]), Metric::combine(lane[3], lane[7]));
    return Metric::combine(even, odd);
}

template <class Metric, class Y>
PT_HD double canonical(const double* x, const Y* y, int64_t d) {
    double lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    int64_t j = 0;
    for (; j + 8 <= d; j += 8) {
        for (int l = 0; l < 8; ++l) {
            lane[l] = Metric::accumulate(lane[l], x[j + l], static_cast<double>(y[j + l]));
        }
    }
    for (int l = 0; j + l < d; ++l) {
        lane[l] = Metric::accumulate(lane[l], x[j + l], static_cast<double>(y[j + l]));
    }
    return Metric::order(canonical_tree<Metric>(lane));
}

// The same for rows of packed bits, padded with zeros to whole words.
template <class Metric>
PT_HD double canonical_bits(const uint64_t* x, const uint64_t* y, int64_t words) {
    int64_t differing = 0, either = 0;
    for (int64_t j = 0; j < words; ++j) {
        differing += __builtin_popcountll(x[j] ^ y[j]);
        either += __builtin_popcountll(x[j] | y[j]);
    }
    return Metric::order(differing, either);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
