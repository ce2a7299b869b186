// Sorting of one projection: least-significant-digit radix sort on order-preserving bit patterns.
//
// The second stage of project → sort → merge → reduce. Three passes of 11 bits cover a float32 key
// whole and the 33 highest bits that vary of a float64 key, where few keys are left to tell apart:
// runs that still agree are sorted by themselves. The sort is stable: equal values keep the order
// of rows.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "engine/parallel_for.hpp"
#include "pairtile/slice/key.hpp"

namespace pairtile {

// What is sorted: a key alone, or one that remembers its row (for weights and gradients).
template <class T>
struct Bare {
    Key<T> key;
};
template <class T>
struct Ranked {
    Key<T> key;
    uint32_t row;
};

// Asked every few hundred microseconds of work, so that an interrupted call stops at once.
struct Tick {
    Control& control;
    int worker;
    void operator()() const { control.tick(worker); }
};

// Sorts n items by key, stably. Both buffers hold n items and are overwritten; the result is the
// one with the sorted list.
template <class Item>
Item* radix_sort(Item* items, Item* scratch, int64_t n, const Tick& tick) {
    using K = decltype(items->key);
    constexpr int digit_bits = 11, passes = 3;
    constexpr K digit = (K(1) << digit_bits) - 1;
    constexpr auto by_key = [](const Item& a, const Item& b) { return a.key < b.key; };
    const auto for_each = [&tick, n](const Item* list, auto&& body) {
        constexpr int64_t stretch = 1 << 17;
        for (int64_t begin = 0; begin < n; begin += stretch) {
            tick();
            const int64_t end = std::min(n, begin + stretch);
            for (int64_t i = begin; i < end; ++i) body(list[i]);
        }
    };
    // below this many items, clearing and scanning the counters costs more than comparing
    if (n < 128) {
        std::stable_sort(items, items + n, by_key);
        return items;
    }

    K varying = 0;
    for_each(items,
             [&varying, first = items[0].key](const Item& item) { varying |= item.key ^ first; });
    const int low = std::max(0, static_cast<int>(std::bit_width(varying)) - passes * digit_bits);

    std::array<std::array<int64_t, digit + 1>, passes> counts{};
    for_each(items, [&counts, low](const Item& item) {
        const K key = item.key >> low;
        for (int pass = 0; pass < passes; ++pass) ++counts[pass][key >> pass * digit_bits & digit];
    });
    for (int pass = 0; pass < passes; ++pass) {
        const int shift = low + pass * digit_bits;
        if (shift >= static_cast<int>(std::bit_width(varying))) break;
        if ((varying >> shift & digit) == 0) continue;
        auto& next = counts[pass];
        int64_t start = 0;
        for (int64_t& count : next) start += std::exchange(count, start);
        for_each(items, [&next, scratch, shift](const Item& item) {
            scratch[next[item.key >> shift & digit]++] = item;
        });
        std::swap(items, scratch);
    }

    if ((varying & ((K(1) << low) - 1)) == 0) return items;
    for (int64_t begin = 0, end = 0; begin < n; begin = end) {
        const K prefix = items[begin].key >> low;
        for (end = begin + 1; end < n && items[end].key >> low == prefix;) ++end;
        if (std::is_sorted(items + begin, items + end, by_key)) continue;
        const Item* sorted = radix_sort(items + begin, scratch + begin, end - begin, tick);
        if (sorted != items + begin) std::copy(sorted, sorted + (end - begin), items + begin);
    }
    return items;
}

}  // namespace pairtile
