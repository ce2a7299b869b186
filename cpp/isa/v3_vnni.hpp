// x86-64-v3 with AVX-VNNI (Alder Lake, Zen 5): v3, and a dot product of four bytes at four times
// its rate.
#pragma once

#define PT_EXTENDED
#define PT_HAS_INT8
#include "isa/v3.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr const char* isa_name = "v3-vnni";

// Words of four bytes, and sums of their products in every lane of 32 bits.
struct Bytes {
    // of lanes of 32 bits: sums kept as __m256i would be copied with every product by GCC 12
    typedef int32_t Reg __attribute__((vector_size(32)));
    static Reg load(const float* p) { return (Reg)_mm256_loadu_ps(p); }
    static Reg broadcast(float word) { return (Reg)_mm256_set1_ps(word); }
    // signed bytes plus 128, unsigned
    static Reg raised(Reg x) { return x ^ (Reg)_mm256_set1_epi8(-128); }
    // sum + Σ x·y, x unsigned and y signed
    static Reg dot(Reg x, Reg y, Reg sum) {
        return (Reg)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)y);
    }
    static __m256 times(__m256 scale, Reg sum) {
        return _mm256_mul_ps(scale, _mm256_cvtepi32_ps((__m256i)sum));
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
