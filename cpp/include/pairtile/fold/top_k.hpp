// The k best of a set of (value, index) pairs. The order and the merge are shared by all devices;
// where survivors are buffered belongs to each device.
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

// Puts one neighbour into a sorted list of at most k; returns the new length.
PAIRTILE_HD int64_t top_k_push(Neighbor* list, int64_t length, int64_t k, const Neighbor& one) {
    if (length == k && !one.before(list[k - 1])) return length;
    int64_t at = length < k ? length : k - 1;
    for (; at > 0 && one.before(list[at - 1]); --at) list[at] = list[at - 1];
    list[at] = one;
    return length < k ? length + 1 : k;
}

// Merges a sorted list into another of at most k; returns the new length.
PAIRTILE_HD int64_t top_k_merge(Neighbor* into, int64_t length, int64_t k, const Neighbor* from,
                                int64_t from_length) {
    for (int64_t i = 0; i < from_length; ++i) {
        if (length == k && !from[i].before(into[k - 1])) break;
        length = top_k_push(into, length, k, from[i]);
    }
    return length;
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
