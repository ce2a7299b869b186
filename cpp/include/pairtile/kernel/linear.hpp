// Linear kernel x·y.
#pragma once

#include "pairtile/kernel/product.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Linear : ProductKernel<Argument::dot> {};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
