// Dot products of one row with some of many others, which lie anywhere: what pairs are finished by
// that tiles of a part of their features left.
#pragma once

#include "isa/ops.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The sum of all lanes, by halves.
template <class T>
PAIRTILE_HD T sum_of(typename Vec<T>::Reg v) {
    constexpr int lanes = Vec<T>::lanes;
    T lane[lanes];
    Vec<T>::store(lane, v);
    for (int half = lanes / 2; half; half /= 2) {
        for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    }
    return lane[0];
}

template <class T, int columns>
PAIRTILE_HD void dots_of(const T* x, const T* const* y, int64_t d, T* out) {
    using V = Vec<T>;
    typename V::Reg sum[2][columns];
#pragma GCC unroll 4
    for (int c = 0; c < columns; ++c) sum[0][c] = sum[1][c] = V::broadcast(T(0));
    constexpr int step = 2 * V::lanes;
    int64_t j = 0;
    for (; j + step <= d; j += step) {
        const typename V::Reg a = V::load(x + j), b = V::load(x + j + V::lanes);
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) {
            sum[0][c] = V::fma(a, V::load(y[c] + j), sum[0][c]);
            sum[1][c] = V::fma(b, V::load(y[c] + j + V::lanes), sum[1][c]);
        }
    }
    for (; j < d; j += V::lanes) {
        const typename V::Reg a = V::load(x + j);
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) sum[0][c] = V::fma(a, V::load(y[c] + j), sum[0][c]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < columns; ++c) out[c] = sum_of<T>(V::add(sum[0][c], sum[1][c]));
}

template <class T>
void dots(const T* x, const T* rows, int64_t stride, const int32_t* which, int count, int64_t d,
          T* out) {
    int c = 0;
    for (; c + 4 <= count; c += 4) {
        const T* y[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) y[i] = rows + which[c + i] * stride;
        dots_of<T, 4>(x, y, d, out + c);
    }
    for (; c < count; ++c) {
        const T* y = rows + which[c] * stride;
        dots_of<T, 1>(x, &y, d, out + c);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
