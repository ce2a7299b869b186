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

// Of a heap, in which no entry comes before its two children, the first one is taken, and another
// finds its place.
PAIRTILE_HD void top_k_replace(Neighbor* heap, int64_t length, const Neighbor& one) {
    int64_t at = 0;
    for (int64_t child = 1; child < length; child = 2 * at + 1) {
        if (child + 1 < length && heap[child].before(heap[child + 1])) ++child;
        if (!one.before(heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = one;
}

// Puts one neighbour into a heap of at most k, whose first entry is the last of them; returns the
// new length.
PAIRTILE_HD int64_t top_k_push(Neighbor* heap, int64_t length, int64_t k, const Neighbor& one) {
    if (length == k) {
        if (one.before(heap[0])) top_k_replace(heap, k, one);
        return k;
    }
    int64_t at = length;
    while (at > 0) {
        const int64_t parent = (at - 1) / 2;
        if (!heap[parent].before(one)) break;
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = one;
    return length + 1;
}

// Puts others into a heap, which come in any order; returns the new length.
PAIRTILE_HD int64_t top_k_merge(Neighbor* into, int64_t length, int64_t k, const Neighbor* from,
                                int64_t from_length) {
    for (int64_t i = 0; i < from_length; ++i) length = top_k_push(into, length, k, from[i]);
    return length;
}

// Puts a heap in order, which then is none any more.
PAIRTILE_HD void top_k_sort(Neighbor* heap, int64_t length) {
    for (int64_t last = length - 1; last > 0; --last) {
        const Neighbor one = heap[last];
        heap[last] = heap[0];
        top_k_replace(heap, last, one);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
