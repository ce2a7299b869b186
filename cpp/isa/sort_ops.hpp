// The table of what sorting needs compiled once per instruction set, beside isa/ops.hpp.
#pragma once

#include <cstdint>

namespace pairtile {

// The two parts of a quicksort of keys.
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
};

struct SortTables {
    SortOps<uint32_t> of_32_bits;
    SortOps<uint64_t> of_64_bits;
};

}  // namespace pairtile
