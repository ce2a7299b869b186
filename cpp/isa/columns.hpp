// Columns side by side in one register, with the operators of single numbers, and the functions
// that metrics are written with. Seen before the metrics are: a register has no namespace in which
// they would be looked up later.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

typedef double Columns __attribute__((vector_size(sizeof(Vec<double>::Reg))));

typedef uint64_t ColumnBits __attribute__((vector_size(sizeof(Columns))));

PAIRTILE_HD ColumnBits bits_of(Columns x) { return (ColumnBits)x; }
PAIRTILE_HD Columns number_of(ColumnBits bits) { return (Columns)bits; }
PAIRTILE_HD Columns magnitude(Columns x) { return Vec<double>::abs(x); }
PAIRTILE_HD Columns root(Columns x) { return Vec<double>::root(x); }

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
