// Keys in registers of AVX-512: what sorting needs.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class K>
struct KeyVec;

template <>
struct KeyVec<uint32_t> {
    using Reg = __m512i;
    static constexpr int lanes = 16;
    static Reg load(const uint32_t* p) { return _mm512_loadu_si512(p); }
    static void store(uint32_t* p, Reg v) { _mm512_storeu_si512(p, v); }
    static Reg broadcast(uint32_t x) { return _mm512_set1_epi32(static_cast<int32_t>(x)); }
    static Reg flip(Reg a) { return a; }
    typedef uint32_t Keys __attribute__((vector_size(64)));
    static Reg min(Reg a, Reg b) { return (Reg)((Keys)a < (Keys)b ? (Keys)a : (Keys)b); }
    static Reg max(Reg a, Reg b) { return (Reg)((Keys)a < (Keys)b ? (Keys)b : (Keys)a); }
    // Lanes <= pivot to `low` and on, the others to before `high`; how many the former are. There
    // is room for all lanes at `low`. (Compressed in registers: into memory it is slow on Zen 4.)
    static int split(Reg a, Reg pivot, uint32_t* low, uint32_t* high) {
        const __mmask16 below = _mm512_cmple_epu32_mask(a, pivot);
        const int count = __builtin_popcount(below);
        store(low, _mm512_maskz_compress_epi32(below, a));
        _mm512_mask_storeu_epi32(high - lanes + count,
                                 static_cast<__mmask16>(((1u << lanes) - 1) >> count),
                                 _mm512_maskz_compress_epi32(_knot_mask16(below), a));
        return count;
    }
};

template <>
struct KeyVec<uint64_t> {
    using Reg = __m512i;
    static constexpr int lanes = 8;
    static Reg load(const uint64_t* p) { return _mm512_loadu_si512(p); }
    static void store(uint64_t* p, Reg v) { _mm512_storeu_si512(p, v); }
    static Reg broadcast(uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); }
    static Reg flip(Reg a) { return a; }
    typedef uint64_t Keys __attribute__((vector_size(64)));
    static Reg min(Reg a, Reg b) { return (Reg)((Keys)a < (Keys)b ? (Keys)a : (Keys)b); }
    static Reg max(Reg a, Reg b) { return (Reg)((Keys)a < (Keys)b ? (Keys)b : (Keys)a); }
    static int split(Reg a, Reg pivot, uint64_t* low, uint64_t* high) {
        const __mmask8 below = _mm512_cmple_epu64_mask(a, pivot);
        const int count = __builtin_popcount(below);
        store(low, _mm512_maskz_compress_epi64(below, a));
        _mm512_mask_storeu_epi64(high - lanes + count,
                                 static_cast<__mmask8>(((1u << lanes) - 1) >> count),
                                 _mm512_maskz_compress_epi64(_knot_mask8(below), a));
        return count;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
