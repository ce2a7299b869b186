// x86-64-v3 (AVX2 with FMA): 6 × 2 accumulators of 8 floats or 4 doubles.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pairtile {
inline namespace PAIRTILE_ISA {

#ifndef PT_EXTENDED
constexpr const char* isa_name = "v3";
#endif

template <class T>
struct Vec;

template <>
struct Vec<float> {
    using Reg = __m256;
    static constexpr int lanes = 8, block_rows = 6, block_vectors = 2;
    static Reg load(const float* p) { return _mm256_loadu_ps(p); }
    static Reg load_part(const float* p, int n) {
        const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), place));
    }
    static void store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
    static Reg broadcast(float x) { return _mm256_set1_ps(x); }
    static Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
    static Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
    static Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
    static Reg min(Reg a, Reg b) { return _mm256_min_ps(a, b); }
    static Reg abs(Reg a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
    static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
    static uint32_t cmp_le_mask(Reg a, Reg t) {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, t, _CMP_LE_OQ)));
    }
    template <class Index>
    static Reg lookup(const float* of, Index at) {
        const __m256i place = (__m256i)at;
        const Reg low = _mm256_permutevar8x32_ps(load(of), place);
        const Reg high = _mm256_permutevar8x32_ps(load(of + 8), place);
        return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(place, 28)));
    }

    // bits that differ, counted per byte; bytes hold the counts of 31 words
    static constexpr int bit_words = 31;
    static Reg count_differing(Reg a, Reg b, Reg sum) {
        const __m256i nibbles = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const __m256i low = _mm256_set1_epi8(15),
                      bits = _mm256_xor_si256(_mm256_castps_si256(a), _mm256_castps_si256(b));
        const __m256i half = _mm256_shuffle_epi8(nibbles, _mm256_and_si256(bits, low));
        const __m256i other =
            _mm256_shuffle_epi8(nibbles, _mm256_and_si256(_mm256_srli_epi16(bits, 4), low));
        return _mm256_castsi256_ps(
            _mm256_add_epi8(_mm256_add_epi8(_mm256_castps_si256(sum), half), other));
    }
    static Reg total(Reg sum) {
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_castps_si256(sum), _mm256_set1_epi8(1));
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
};

// Words of two int16, and sums of their products in every lane of 32 bits: twice as many at once as
// fused multiply-adds of floats.
#define PT_HAS_INT16
struct Shorts {
    // of lanes of 32 bits: GCC 12 would keep one sum of __m256i in memory
    typedef int32_t Reg __attribute__((vector_size(32)));
    static Reg load(const float* p) { return (Reg)_mm256_loadu_ps(p); }
    static Reg broadcast(float word) { return (Reg)_mm256_set1_ps(word); }
    static Reg dot(Reg x, Reg y, Reg sum) {
        return sum + (Reg)_mm256_madd_epi16((__m256i)x, (__m256i)y);
    }
    static __m256 times(__m256 scale, Reg sum) {
        return _mm256_mul_ps(scale, _mm256_cvtepi32_ps((__m256i)sum));
    }
};

template <>
struct Vec<double> {
    using Reg = __m256d;
    static constexpr int lanes = 4, block_rows = 6, block_vectors = 2;
    static Reg load(const double* p) { return _mm256_loadu_pd(p); }
    static Reg load(const int32_t* p) {
        return _mm256_cvtepi32_pd(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static Reg load_part(const double* p, int n) {
        const __m256i place = _mm256_setr_epi64x(0, 1, 2, 3);
        return _mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), place));
    }
    static void store(double* p, Reg v) { _mm256_storeu_pd(p, v); }
    static Reg broadcast(double x) { return _mm256_set1_pd(x); }
    static Reg add(Reg a, Reg b) { return _mm256_add_pd(a, b); }
    static Reg sub(Reg a, Reg b) { return _mm256_sub_pd(a, b); }
    static Reg max(Reg a, Reg b) { return _mm256_max_pd(a, b); }
    static Reg min(Reg a, Reg b) { return _mm256_min_pd(a, b); }
    static Reg abs(Reg a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
    static Reg root(Reg a) { return _mm256_sqrt_pd(a); }
    static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_pd(a, b, c); }
    static uint32_t cmp_le_mask(Reg a, Reg t) {
        return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a, t, _CMP_LE_OQ)));
    }
    // lanes whose bit is set; 0 elsewhere
    static Reg maskz(Reg a, uint64_t bits) {
        const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
        const __m256i mine = _mm256_and_si256(_mm256_set1_epi64x(static_cast<int64_t>(bits)), bit);
        return _mm256_and_pd(a, _mm256_castsi256_pd(_mm256_cmpeq_epi64(mine, bit)));
    }
};

template <>
struct Vec<int32_t> {
    using Reg = __m256i;
    static constexpr int lanes = 8;
    static Reg load(const int32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const Reg*>(p));
    }
    static void store(int32_t* p, Reg v) { _mm256_storeu_si256(reinterpret_cast<Reg*>(p), v); }
    static Reg broadcast(int32_t x) { return _mm256_set1_epi32(x); }
    static Reg add(Reg a, Reg b) { return _mm256_add_epi32(a, b); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
