// A function of tile values that is tabulated: one polynomial for each octave of 2 + rate · value.
#pragma once

#include <cstring>

#include "isa/ops.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

static_assert(octaves == 16);

using Floats = Vec<float>::Reg;
typedef uint32_t FloatBits __attribute__((vector_size(sizeof(Floats))));

// of[octave % 16] in every lane, by a few instructions where the machine has them.
template <class V>
typename V::Reg lookup(const float* of, FloatBits octave) {
    if constexpr (requires { V::lookup(of, octave); }) {
        return V::lookup(of, octave);
    } else {
        typename V::Reg out;
        for (int l = 0; l < V::lanes; ++l) out[l] = of[octave[l] % octaves];
        return out;
    }
}

inline Floats by_octave(Floats value, Floats rate, const float* coefficients) {
    using V = Vec<float>;
    const Floats last = V::broadcast(0x1.fffffep+16f);
    Floats u = V::fma(value, rate, V::broadcast(2.0f));
    u = u > last ? last : u;  // NaN stays NaN, here and in the product below
    const FloatBits bits = (FloatBits)u, exponent = bits & 0x7f800000u;
    const Floats t = V::fma(u, (Floats)(0x7f000000u - exponent), V::broadcast(-1.5f));
    // the low four bits of the exponent count from 0
    const FloatBits octave = bits >> 23;
    Floats sum = lookup<V>(coefficients + octave_degree * octaves, octave);
#pragma GCC unroll 8
    for (int k = octave_degree - 1; k >= 0; --k) {
        sum = V::fma(sum, t, lookup<V>(coefficients + k * octaves, octave));
    }
    return sum;
}

inline void octave_tile(const float* tile, int64_t ld, int rows, int cols, float rate,
                        const float* coefficients, float* out, int64_t out_ld) {
    using V = Vec<float>;
    const Floats rates = V::broadcast(rate);
    float table[octave_coefficients];
    memcpy(table, coefficients, sizeof table);
    for (int i = 0; i < rows; ++i) {
        const float* __restrict from = tile + i * ld;
        float* __restrict to = out + i * out_ld;
        int j = 0;
        for (; j + V::lanes <= cols; j += V::lanes) {
            V::store(to + j, by_octave(V::load(from + j), rates, table));
        }
        if (j == cols) continue;
        float rest[V::lanes];
        V::store(rest, by_octave(V::load_part(from + j, cols - j), rates, table));
        for (int l = 0; j + l < cols; ++l) to[j + l] = rest[l];
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
