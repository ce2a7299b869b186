// x86-64-v4 with AVX512-VNNI (Cascade Lake, Ice Lake): v4, and a dot product of four bytes at four
// times its rate.
#pragma once

#define PT_EXTENDED
#define PT_HAS_INT8
#include "isa/v4.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr const char* isa_name = "v4-vnni";

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
