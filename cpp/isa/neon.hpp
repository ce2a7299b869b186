// aarch64 Advanced SIMD: 8 × 3 accumulators of 4 floats or 2 doubles.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr const char* isa_name = "neon";

template <class T>
struct Vec;

template <>
struct Vec<float> {
    using Reg = float32x4_t;
    static constexpr int lanes = 4, block_rows = 8, block_vectors = 3;
    static Reg load(const float* p) { return vld1q_f32(p); }
    static Reg load_part(const float* p, int n) {
        return Reg{p[0], n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f};
    }
    static void store(float* p, Reg v) { vst1q_f32(p, v); }
    static Reg broadcast(float x) { return vdupq_n_f32(x); }
    static Reg add(Reg a, Reg b) { return vaddq_f32(a, b); }
    static Reg sub(Reg a, Reg b) { return vsubq_f32(a, b); }
    static Reg max(Reg a, Reg b) { return vmaxq_f32(a, b); }
    static Reg min(Reg a, Reg b) { return vminnmq_f32(a, b); }
    static Reg abs(Reg a) { return vabsq_f32(a); }
    static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
    static uint32_t cmp_le_mask(Reg a, Reg t) {
        const uint32x4_t bit = {1, 2, 4, 8};
        return vaddvq_u32(vandq_u32(vcleq_f32(a, t), bit));
    }

    // bits that differ, counted per byte; bytes hold the counts of 31 words
    static constexpr int bit_words = 31;
    static Reg count_differing(Reg a, Reg b, Reg sum) {
        const uint8x16_t bits = veorq_u8(vreinterpretq_u8_f32(a), vreinterpretq_u8_f32(b));
        return vreinterpretq_f32_u8(vaddq_u8(vreinterpretq_u8_f32(sum), vcntq_u8(bits)));
    }
    static Reg total(Reg sum) {
        return vcvtq_f32_u32(vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_f32(sum))));
    }
};

template <>
struct Vec<double> {
    using Reg = float64x2_t;
    static constexpr int lanes = 2, block_rows = 8, block_vectors = 3;
    static Reg load(const double* p) { return vld1q_f64(p); }
    static Reg load(const int32_t* p) { return vcvtq_f64_s64(vmovl_s32(vld1_s32(p))); }
    static Reg load_part(const double* p, int) { return Reg{p[0], 0.0}; }
    static void store(double* p, Reg v) { vst1q_f64(p, v); }
    static Reg broadcast(double x) { return vdupq_n_f64(x); }
    static Reg add(Reg a, Reg b) { return vaddq_f64(a, b); }
    static Reg sub(Reg a, Reg b) { return vsubq_f64(a, b); }
    static Reg max(Reg a, Reg b) { return vmaxq_f64(a, b); }
    static Reg min(Reg a, Reg b) { return vminnmq_f64(a, b); }
    static Reg abs(Reg a) { return vabsq_f64(a); }
    static Reg root(Reg a) { return vsqrtq_f64(a); }
    static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f64(c, a, b); }
    static uint32_t cmp_le_mask(Reg a, Reg t) {
        const uint64x2_t bit = {1, 2};
        return static_cast<uint32_t>(vaddvq_u64(vandq_u64(vcleq_f64(a, t), bit)));
    }
    // lanes whose bit is set; 0 elsewhere
    static Reg maskz(Reg a, uint64_t bits) {
        const uint64x2_t bit = {1, 2};
        const uint64x2_t mask = vtstq_u64(vdupq_n_u64(bits), bit);
        return vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(a), mask));
    }
};

template <>
struct Vec<int32_t> {
    using Reg = int32x4_t;
    static constexpr int lanes = 4;
    static Reg load(const int32_t* p) { return vld1q_s32(p); }
    static void store(int32_t* p, Reg v) { vst1q_s32(p, v); }
    static Reg broadcast(int32_t x) { return vdupq_n_s32(x); }
    static Reg add(Reg a, Reg b) { return vaddq_s32(a, b); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
