// What every shared definition stands on: the host+device mark, the namespace of the instruction
// set being compiled, and the explicit fused multiply-add.
//
// The headers under pairtile/ are read by g++ (once per instruction set) and by nvcc. Everything
// in them lives in a namespace named after the target, so that the linker can never hand a function
// compiled for AVX-512 to the baseline path.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define PAIRTILE_HD __host__ __device__ __forceinline__
#else
#define PAIRTILE_HD inline __attribute__((always_inline))
#endif

#ifndef PAIRTILE_ISA
#define PAIRTILE_ISA common
#endif

namespace pairtile {
inline namespace PAIRTILE_ISA {

// a*b + c, fused where the hardware has it. The build forbids contraction, so nothing else fuses.
template <class T>
PAIRTILE_HD T mul_add(T a, T b, T c) {
#if defined(__CUDA_ARCH__) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    if constexpr (sizeof(T) == 4) {
        return __builtin_fmaf(a, b, c);
    } else {
        return __builtin_fma(a, b, c);
    }
#else
    return a * b + c;
#endif
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
