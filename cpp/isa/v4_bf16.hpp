// x86-64-v4 with AVX512-BF16, -VNNI and -VPOPCNTDQ (Zen 4, Sapphire Rapids): v4, a dot product of
// pairs of bfloat16 at twice the rate, one of four bytes at four times it, and a count of bits.
#pragma once

#define PT_EXTENDED
#define PT_HAS_BFLOAT16
#define PT_HAS_INT8
#define PT_COUNTS_BITS
#include "isa/v4.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr const char* isa_name = "v4-bf16";

// sum + x0·y0 + x1·y1 in every lane; a lane of x and y holds two bfloat16.
inline __m512 dot_of_pairs(__m512 x, __m512 y, __m512 sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
