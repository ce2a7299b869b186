// Keys in registers of AVX2: what sorting needs.
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
    using Reg = __m256i;
    static constexpr int lanes = 8;
    static Reg load(const uint32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const Reg*>(p));
    }
    static void store(uint32_t* p, Reg v) { _mm256_storeu_si256(reinterpret_cast<Reg*>(p), v); }
    static Reg broadcast(uint32_t x) { return _mm256_set1_epi32(static_cast<int32_t>(x)); }
    static Reg flip(Reg a) { return a; }
    static Reg min(Reg a, Reg b) { return _mm256_min_epu32(a, b); }
    static Reg max(Reg a, Reg b) { return _mm256_max_epu32(a, b); }
    // Lanes <= pivot to `low` and on, the others to before `high`; how many the former are. Either
    // place has room for all lanes and is written whole.
    static int split(Reg a, Reg pivot, uint32_t* low, uint32_t* high) {
        const Reg below = _mm256_cmpeq_epi32(_mm256_min_epu32(a, pivot), a);
        const auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(below)));
        const __m128i places =
            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(split_places<8, 1>.of[mask]));
        const Reg parted = _mm256_permutevar8x32_epi32(a, _mm256_cvtepu8_epi32(places));
        store(low, parted);
        store(high - lanes, parted);
        return __builtin_popcount(mask);
    }
};

template <>
struct KeyVec<uint64_t> {
    using Reg = __m256i;
    static constexpr int lanes = 4;
    static Reg load(const uint64_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const Reg*>(p));
    }
    static void store(uint64_t* p, Reg v) { _mm256_storeu_si256(reinterpret_cast<Reg*>(p), v); }
    static Reg broadcast(uint64_t x) { return _mm256_set1_epi64x(static_cast<int64_t>(x)); }
    // only signed numbers of 64 bits compare
    static Reg flip(Reg a) { return _mm256_xor_si256(a, broadcast(uint64_t{1} << 63)); }
    static Reg min(Reg a, Reg b) { return choose(a, b, _mm256_cmpgt_epi64(a, b)); }
    static Reg max(Reg a, Reg b) { return choose(b, a, _mm256_cmpgt_epi64(a, b)); }
    static int split(Reg a, Reg pivot, uint64_t* low, uint64_t* high) {
        const Reg above = _mm256_cmpgt_epi64(flip(a), pivot);
        const auto mask =
            static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(above))) ^ 15;
        const __m128i places =
            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(split_places<4, 2>.of[mask]));
        const Reg parted = _mm256_permutevar8x32_epi32(a, _mm256_cvtepu8_epi32(places));
        store(low, parted);
        store(high - lanes, parted);
        return __builtin_popcount(mask);
    }

  private:
    static Reg choose(Reg a, Reg b, Reg second) {
        return _mm256_castpd_si256(_mm256_blendv_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b),
                                                    _mm256_castsi256_pd(second)));
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
