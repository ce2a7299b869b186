// The table of what lines, sorted projections, need compiled once per instruction set, beside
// isa/ops.hpp.
#pragma once

#include <cstdint>

namespace pairtile {

// The two parts of a quicksort of keys, and sums over keys that are sorted.
template <class K>
struct SortOps {
    int few;  // keys that `sort_few` takes at most
    // sorted = the n keys in order; the two may be one
    void (*sort_few)(const K* keys, int n, K* sorted);
    // Keys <= pivot to the front of `keys`, the others to the back of `other`; both hold n, and
    // what is between is overwritten. A call takes the keys from begin to end, `low` being what the
    // call before it returned: how many are at the front.
    int64_t (*partition)(K* keys, int64_t begin, int64_t end, int64_t n, K pivot, K* other,
                         int64_t low);

    // Add Σ v and Σ v² of values v, less the middle, to the sums of line_lanes lanes. Of the calls
    // that a line takes all but the last have whole lanes.
    void (*add_moments)(const K* keys, int64_t n, double middle, double* sums, double* squares);
    // Likewise Σ |x − y| and Σ (x − y)² of pairs.
    void (*add_differences)(const K* x, const K* y, int64_t n, double* sums);
    void (*add_squares)(const K* x, const K* y, int64_t n, double* sums);
};

struct SortTables {
    SortOps<uint32_t> of_32_bits;
    SortOps<uint64_t> of_64_bits;
};

}  // namespace pairtile
