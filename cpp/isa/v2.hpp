// x86-64-v2 (SSE4.2, no FMA): 4 × 2 accumulators of 4 floats or 2 doubles.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr const char* isa_name = "v2";

template <class T>
struct Vec;

template <>
struct Vec<float> {
    using Reg = __m128;
    static constexpr int lanes = 4, block_rows = 4, block_vectors = 2;
    static Reg load(const float* p) { return _mm_loadu_ps(p); }
    static Reg load_part(const float* p, int n) {
        return _mm_setr_ps(p[0], n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f);
    }
    static void store(float* p, Reg v) { _mm_storeu_ps(p, v); }
    static Reg broadcast(float x) { return _mm_set1_ps(x); }
    static Reg add(Reg a, Reg b) { return _mm_add_ps(a, b); }
    static Reg sub(Reg a, Reg b) { return _mm_sub_ps(a, b); }
    static Reg max(Reg a, Reg b) { return _mm_max_ps(a, b); }
    static Reg min(Reg a, Reg b) { return _mm_min_ps(a, b); }
    static Reg abs(Reg a) { return _mm_andnot_ps(_mm_set1_ps(-0.0f), a); }
    static Reg fma(Reg a, Reg b, Reg c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
    static uint32_t cmp_le_mask(Reg a, Reg t) {
        return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmple_ps(a, t)));
    }

    // bits that differ, counted per byte; bytes hold the counts of 31 words
    static constexpr int bit_words = 31;
    static Reg count_differing(Reg a, Reg b, Reg sum) {
        const __m128i nibbles = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
        const __m128i low = _mm_set1_epi8(15),
                      bits = _mm_xor_si128(_mm_castps_si128(a), _mm_castps_si128(b));
        const __m128i half = _mm_shuffle_epi8(nibbles, _mm_and_si128(bits, low));
        const __m128i other =
            _mm_shuffle_epi8(nibbles, _mm_and_si128(_mm_srli_epi16(bits, 4), low));
        return _mm_castsi128_ps(_mm_add_epi8(_mm_add_epi8(_mm_castps_si128(sum), half), other));
    }
    static Reg total(Reg sum) {
        const __m128i pairs = _mm_maddubs_epi16(_mm_castps_si128(sum), _mm_set1_epi8(1));
        return _mm_cvtepi32_ps(_mm_madd_epi16(pairs, _mm_set1_epi16(1)));
    }
};

template <>
struct Vec<double> {
    using Reg = __m128d;
    static constexpr int lanes = 2, block_rows = 4, block_vectors = 2;
    static Reg load(const double* p) { return _mm_loadu_pd(p); }
    static Reg load(const int32_t* p) {
        return _mm_cvtepi32_pd(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    }
    static Reg load_part(const double* p, int) { return _mm_set_sd(p[0]); }
    static void store(double* p, Reg v) { _mm_storeu_pd(p, v); }
    static Reg broadcast(double x) { return _mm_set1_pd(x); }
    static Reg add(Reg a, Reg b) { return _mm_add_pd(a, b); }
    static Reg sub(Reg a, Reg b) { return _mm_sub_pd(a, b); }
    static Reg max(Reg a, Reg b) { return _mm_max_pd(a, b); }
    static Reg min(Reg a, Reg b) { return _mm_min_pd(a, b); }
    static Reg abs(Reg a) { return _mm_andnot_pd(_mm_set1_pd(-0.0), a); }
    static Reg root(Reg a) { return _mm_sqrt_pd(a); }
    static Reg fma(Reg a, Reg b, Reg c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
    static uint32_t cmp_le_mask(Reg a, Reg t) {
        return static_cast<uint32_t>(_mm_movemask_pd(_mm_cmple_pd(a, t)));
    }
    // lanes whose bit is set; 0 elsewhere
    static Reg maskz(Reg a, uint64_t bits) {
        const __m128i bit = _mm_set_epi64x(2, 1);
        const __m128i mine = _mm_and_si128(_mm_set1_epi64x(static_cast<int64_t>(bits)), bit);
        return _mm_and_pd(a, _mm_castsi128_pd(_mm_cmpeq_epi64(mine, bit)));
    }
};

template <>
struct Vec<int32_t> {
    using Reg = __m128i;
    static constexpr int lanes = 4;
    static Reg load(const int32_t* p) { return _mm_loadu_si128(reinterpret_cast<const Reg*>(p)); }
    static void store(int32_t* p, Reg v) { _mm_storeu_si128(reinterpret_cast<Reg*>(p), v); }
    static Reg broadcast(int32_t x) { return _mm_set1_epi32(x); }
    static Reg add(Reg a, Reg b) { return _mm_add_epi32(a, b); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
