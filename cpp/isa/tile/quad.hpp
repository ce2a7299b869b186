// A vector of 16 bytes: every instruction set has it, and can exchange its parts.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class T>
using Quad __attribute__((vector_size(16))) = T;

#if defined(__clang__)
#define PT_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PT_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Mask){__VA_ARGS__})
#endif

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
