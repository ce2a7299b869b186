// Cosine kernel, the dot product of L2-normalised rows; 0 for a zero row.
#pragma once

#include "pairtile/kernel/product.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct CosineKernel : ProductKernel<Argument::cosine> {};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
