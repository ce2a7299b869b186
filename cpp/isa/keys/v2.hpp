// Keys in registers of SSE4.2: what sorting needs.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "isa/keys/split_places.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class K>
struct KeyVec;

// What `min`, `max` and the pivot of `split` are given has been through `flip`.
template <>
struct KeyVec<uint32_t> {
    using Reg = __m128i;
    static constexpr int lanes = 4;
    static Reg load(const uint32_t* p) { return _mm_loadu_si128(reinterpret_cast<const Reg*>(p)); }
    static void store(uint32_t* p, Reg v) { _mm_storeu_si128(reinterpret_cast<Reg*>(p), v); }
    static Reg broadcast(uint32_t x) { return _mm_set1_epi32(static_cast<int32_t>(x)); }
    static Reg flip(Reg a) { return a; }
    static Reg min(Reg a, Reg b) { return _mm_min_epu32(a, b); }
    static Reg max(Reg a, Reg b) { return _mm_max_epu32(a, b); }
    // Lanes <= pivot to `low` and on, the others to before `high`; how many the former are. Either
    // place has room for all lanes and is written whole.
    static int split(Reg a, Reg pivot, uint32_t* low, uint32_t* high) {
        const Reg below = _mm_cmpeq_epi32(_mm_min_epu32(a, pivot), a);
        const auto mask = static_cast<unsigned>(_mm_movemask_ps(_mm_castsi128_ps(below)));
        const Reg places =
            _mm_load_si128(reinterpret_cast<const Reg*>(split_places<4, 4>.of[mask]));
        const Reg parted = _mm_shuffle_epi8(a, places);
        store(low, parted);
        store(high - lanes, parted);
        return __builtin_popcount(mask);
    }
};

template <>
struct KeyVec<uint64_t> {
    using Reg = __m128i;
    static constexpr int lanes = 2;
    static Reg load(const uint64_t* p) { return _mm_loadu_si128(reinterpret_cast<const Reg*>(p)); }
    static void store(uint64_t* p, Reg v) { _mm_storeu_si128(reinterpret_cast<Reg*>(p), v); }
    static Reg broadcast(uint64_t x) { return _mm_set1_epi64x(static_cast<int64_t>(x)); }
    // only signed numbers of 64 bits compare
    static Reg flip(Reg a) { return _mm_xor_si128(a, broadcast(uint64_t{1} << 63)); }
    static Reg min(Reg a, Reg b) { return _mm_blendv_epi8(a, b, _mm_cmpgt_epi64(a, b)); }
    static Reg max(Reg a, Reg b) { return _mm_blendv_epi8(b, a, _mm_cmpgt_epi64(a, b)); }
    static int split(Reg a, Reg pivot, uint64_t* low, uint64_t* high) {
        const Reg above = _mm_cmpgt_epi64(flip(a), pivot);
        const auto mask = static_cast<unsigned>(_mm_movemask_pd(_mm_castsi128_pd(above))) ^ 3;
        const Reg places =
            _mm_load_si128(reinterpret_cast<const Reg*>(split_places<2, 8>.of[mask]));
        const Reg parted = _mm_shuffle_epi8(a, places);
        store(low, parted);
        store(high - lanes, parted);
        return __builtin_popcount(mask);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
