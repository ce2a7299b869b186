// The k best of a set of (value, index) pairs. Their order is shared by all devices; how survivors
// are buffered and merged belongs to each device.
//
// The order is total, so the k best of a union depend only on the union: merging is exact,
// associative and commutative, and the answer for k is a prefix of the answer for k + 1.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Neighbor {
    double value;
    int64_t index;

    PAIRTILE_HD bool before(const Neighbor& other) const {
        return value < other.value || (value == other.value && index < other.index);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
