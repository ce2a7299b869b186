// Neighbouring numbers of a row, as float64 side by side in a register.
#pragma once

#include <cstdint>

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

#if defined(__AVX512F__)
constexpr int column_lanes = 8;
#elif defined(__AVX__)
constexpr int column_lanes = 4;
#else
constexpr int column_lanes = 2;
#endif

// Neighbouring columns in one register, read as they are stored.
template <class S>
struct ColumnLanes {
    typedef double Wide __attribute__((vector_size(column_lanes * sizeof(double))));
    typedef S Stored __attribute__((vector_size(column_lanes * sizeof(S))));
    static constexpr int lanes = column_lanes;
    static Wide wide(const S* at) {
        Stored stored;
        __builtin_memcpy(&stored, at, sizeof stored);
        return __builtin_convertvector(stored, Wide);
    }
    static Wide load(const double* at) {
        Wide wide;
        __builtin_memcpy(&wide, at, sizeof wide);
        return wide;
    }
    static void store(double* at, Wide wide) { __builtin_memcpy(at, &wide, sizeof wide); }
    static Wide magnitude(Wide wide) {
        typedef int64_t Bits __attribute__((vector_size(sizeof(Wide))));
        return (Wide)((Bits)wide & INT64_MAX);
    }
    // a, unless it is not larger or no number
    static Wide larger(Wide a, Wide b) { return a > b ? a : b; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
