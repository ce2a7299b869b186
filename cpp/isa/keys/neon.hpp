// Keys in registers of Advanced SIMD: what sorting needs.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "isa/keys/split_places.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class K>
struct KeyVec;

// What `min`, `max` and the pivot of `split` are given has been through `flip`.
template <>
struct KeyVec<uint32_t> {
    using Reg = uint32x4_t;
    static constexpr int lanes = 4;
    static Reg load(const uint32_t* p) { return vld1q_u32(p); }
    static void store(uint32_t* p, Reg v) { vst1q_u32(p, v); }
    static Reg broadcast(uint32_t x) { return vdupq_n_u32(x); }
    static Reg flip(Reg a) { return a; }
    static Reg min(Reg a, Reg b) { return vminq_u32(a, b); }
    static Reg max(Reg a, Reg b) { return vmaxq_u32(a, b); }
    // Lanes <= pivot to `low` and on, the others to before `high`; how many the former are. Either
    // place has room for all lanes and is written whole.
    static int split(Reg a, Reg pivot, uint32_t* low, uint32_t* high) {
        const uint32x4_t bit = {1, 2, 4, 8};
        const unsigned mask = vaddvq_u32(vandq_u32(vcleq_u32(a, pivot), bit));
        const Reg parted = vreinterpretq_u32_u8(
            vqtbl1q_u8(vreinterpretq_u8_u32(a), vld1q_u8(split_places<4, 4>.of[mask])));
        store(low, parted);
        store(high - lanes, parted);
        return __builtin_popcount(mask);
    }
};

template <>
struct KeyVec<uint64_t> {
    using Reg = uint64x2_t;
    static constexpr int lanes = 2;
    static Reg load(const uint64_t* p) { return vld1q_u64(p); }
    static void store(uint64_t* p, Reg v) { vst1q_u64(p, v); }
    static Reg broadcast(uint64_t x) { return vdupq_n_u64(x); }
    static Reg flip(Reg a) { return a; }
    static Reg min(Reg a, Reg b) { return vbslq_u64(vcgtq_u64(a, b), b, a); }
    static Reg max(Reg a, Reg b) { return vbslq_u64(vcgtq_u64(a, b), a, b); }
    static int split(Reg a, Reg pivot, uint64_t* low, uint64_t* high) {
        const uint64x2_t bit = {1, 2};
        const auto mask = static_cast<unsigned>(vaddvq_u64(vandq_u64(vcleq_u64(a, pivot), bit)));
        const Reg parted = vreinterpretq_u64_u8(
            vqtbl1q_u8(vreinterpretq_u8_u64(a), vld1q_u8(split_places<2, 8>.of[mask])));
        store(low, parted);
        store(high - lanes, parted);
        return __builtin_popcount(mask);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
