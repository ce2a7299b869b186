// x86-64-v4 (AVX-512 F/BW/DQ/VL): 14 × 2 accumulators of 16 floats or 8 doubles.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pairtile {
inline namespace PAIRTILE_ISA {

#ifndef PT_EXTENDED
constexpr const char* isa_name = "v4";
#endif

template <class T>
struct Vec;

template <>
struct Vec<float> {
    using Reg = __m512;
    static constexpr int lanes = 16, block_rows = 14, block_vectors = 2;
    static Reg load(const float* p) { return _mm512_loadu_ps(p); }
    static Reg load_part(const float* p, int n) {
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
    }
    static void store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
    static Reg broadcast(float x) { return _mm512_set1_ps(x); }
    static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
    static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
    static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
    static Reg min(Reg a, Reg b) { return _mm512_min_ps(a, b); }
    static Reg abs(Reg a) { return _mm512_abs_ps(a); }
    static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
    static uint32_t cmp_le_mask(Reg a, Reg t) { return _mm512_cmp_ps_mask(a, t, _CMP_LE_OQ); }
    template <class Index>
    static Reg lookup(const float* of, Index at) {
        return _mm512_permutexvar_ps((__m512i)at, load(of));
    }

#ifdef PT_COUNTS_BITS
    // bits that differ, counted per lane
    static constexpr int bit_words = 256;
    static Reg count_differing(Reg a, Reg b, Reg sum) {
        const __m512i bits = _mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b));
        return _mm512_castsi512_ps(
            _mm512_add_epi32(_mm512_castps_si512(sum), _mm512_popcnt_epi32(bits)));
    }
    static Reg total(Reg sum) { return _mm512_cvtepi32_ps(_mm512_castps_si512(sum)); }
#else
    // bits that differ, counted per byte; bytes hold the counts of 31 words
    static constexpr int bit_words = 31;
    static Reg count_differing(Reg a, Reg b, Reg sum) {
        const __m512i nibbles =
            _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const __m512i low = _mm512_set1_epi8(15),
                      bits = _mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b));
        const __m512i half = _mm512_shuffle_epi8(nibbles, _mm512_and_si512(bits, low));
        const __m512i other =
            _mm512_shuffle_epi8(nibbles, _mm512_and_si512(_mm512_srli_epi16(bits, 4), low));
        return _mm512_castsi512_ps(
            _mm512_add_epi8(_mm512_add_epi8(_mm512_castps_si512(sum), half), other));
    }
    static Reg total(Reg sum) {
        const __m512i pairs = _mm512_maddubs_epi16(_mm512_castps_si512(sum), _mm512_set1_epi8(1));
        return _mm512_cvtepi32_ps(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
    }
#endif
};

template <>
struct Vec<double> {
    using Reg = __m512d;
    static constexpr int lanes = 8, block_rows = 14, block_vectors = 2;
    static Reg load(const double* p) { return _mm512_loadu_pd(p); }
    static Reg load(const int32_t* p) {
        return _mm512_cvtepi32_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static Reg load_part(const double* p, int n) {
        return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
    }
    static void store(double* p, Reg v) { _mm512_storeu_pd(p, v); }
    static Reg broadcast(double x) { return _mm512_set1_pd(x); }
    static Reg add(Reg a, Reg b) { return _mm512_add_pd(a, b); }
    static Reg sub(Reg a, Reg b) { return _mm512_sub_pd(a, b); }
    static Reg max(Reg a, Reg b) { return _mm512_max_pd(a, b); }
    static Reg min(Reg a, Reg b) { return _mm512_min_pd(a, b); }
    static Reg abs(Reg a) { return _mm512_abs_pd(a); }
    static Reg root(Reg a) { return _mm512_sqrt_pd(a); }
    static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_pd(a, b, c); }
    static uint32_t cmp_le_mask(Reg a, Reg t) { return _mm512_cmp_pd_mask(a, t, _CMP_LE_OQ); }
    // lanes whose bit is set; 0 elsewhere
    static Reg maskz(Reg a, uint64_t bits) {
        return _mm512_maskz_mov_pd(static_cast<__mmask8>(bits), a);
    }
};

template <>
struct Vec<int32_t> {
    using Reg = __m512i;
    static constexpr int lanes = 16;
    static Reg load(const int32_t* p) { return _mm512_loadu_si512(p); }
    static void store(int32_t* p, Reg v) { _mm512_storeu_si512(p, v); }
    static Reg broadcast(int32_t x) { return _mm512_set1_epi32(x); }
    static Reg add(Reg a, Reg b) { return _mm512_add_epi32(a, b); }
};

#ifdef PT_HAS_INT8
// Words of four bytes, and sums of their products in every lane of 32 bits.
struct Bytes {
    // of lanes of 32 bits: sums kept as __m512i would be copied with every product by GCC 12
    typedef int32_t Reg __attribute__((vector_size(64)));
    static Reg load(const float* p) { return (Reg)_mm512_loadu_ps(p); }
    static Reg broadcast(float word) { return (Reg)_mm512_set1_ps(word); }
    // signed bytes plus 128, unsigned
    static Reg raised(Reg x) { return x ^ (Reg)_mm512_set1_epi8(-128); }
    // sum + Σ x·y, x unsigned and y signed
    static Reg dot(Reg x, Reg y, Reg sum) {
        return (Reg)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)y);
    }
    static __m512 times(__m512 scale, Reg sum) {
        return _mm512_mul_ps(scale, _mm512_cvtepi32_ps((__m512i)sum));
    }
};
#endif

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
