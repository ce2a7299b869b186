// Sorting of one projection by the order-preserving bit patterns of its values.
//
// The second stage of project → sort → merge → reduce. A key, and a float32 key with its row as one
// number of 64 bits, is sorted by a quicksort whose parts are in isa/tile/sort.hpp, until a few
// keys fit into registers. For float64 keys with rows there is a radix sort, least significant
// digit first, and for short lists of them the quicksort of as many digits as leave room for the
// place in the list. Equal keys keep the order of rows, so that the sorted list is one and the same
// however it was found.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/isa.hpp"
#include "engine/parallel_for.hpp"
#include "isa/sort_ops.hpp"
#include "pairtile/slice/key.hpp"

namespace pairtile {

// What is sorted: a key alone, or one that remembers its row (for weights and gradients).
template <class T>
struct Bare {
    Key<T> key;
};
// The key lies where a number of the size of both has its high digits.
static_assert(std::endian::native == std::endian::little);
template <class T>
struct Ranked {
    uint32_t row;
    Key<T> key;

    Ranked() = default;
    Ranked(Key<T> its_key, uint32_t its_row) : row(its_row), key(its_key) {}
};

// Who works: one of the workers or, where all others would be idle, all of them together. Asked
// every few hundred microseconds of work, so that an interrupted call stops at once.
struct Tick {
    Control& control;
    int worker;
    bool together = false;

    void operator()() const { control.tick(worker); }
    // body(block, tick) for every block, by whoever works.
    template <class Body>
    void for_each(int64_t blocks, const Body& body) const {
        if (together) {
            parallel_for(blocks, control, [&](int64_t block, int other) {
                body(block, Tick{control, other});
            });
            return;
        }
        for (int64_t block = 0; block < blocks; ++block) {
            if (block > 0) (*this)();
            body(block, *this);
        }
    }
};

// Where pivots turn out bad.
void sort_by_comparing(uint32_t* keys, int64_t n);
void sort_by_comparing(uint64_t* keys, int64_t n);
template <class S>
ColumnSums<S> column_sums_of();
template <>
ColumnSums<float> column_sums_of<float>();
template <>
ColumnSums<double> column_sums_of<double>();

// Quicksort of unsigned integers, in place.
template <class K>
class Quicksort {
  public:
    explicit Quicksort(const Tick& tick) : ops_(sorting_of<K>(isa())), tick_(tick) {}

    void sort(K* keys, int64_t n) const {
        // halves are never this uneven so often, but for keys made up to be so
        sort(keys, n, 2 * static_cast<int>(std::bit_width(static_cast<uint64_t>(n))));
    }
    // The same in no more than `depth` divisions of any key's piece; then by comparing.
    void sort(K* keys, int64_t n, int depth) const {
        while (n > ops_.few) {
            if (n > 1 << 15) tick_();
            if (depth-- == 0) return sort_by_comparing(keys, n);
            const K pivot = ops_.pivot(keys, n);
            int64_t low = ops_.partition(keys, n, pivot);
            if (low == n) {
                // the pivot is the largest key: its equals are where they belong
                low = pivot ? ops_.partition(keys, n, pivot - 1) : 0;
            } else {
                sort(keys + low, n - low, depth);
            }
            n = low;
        }
        ops_.sort_few(keys, static_cast<int>(n), keys);
    }

    // The keys in pieces, those up to splitters[0] first, those above splitters[count − 1] last,
    // and the sizes of all; unsorted within.
    void divide(K* keys, int64_t n, const K* splitters, int64_t count, int64_t* sizes) const {
        if (count == 0) {
            *sizes = n;
            return;
        }
        const int64_t half = count / 2, low = ops_.partition(keys, n, splitters[half]);
        divide(keys, low, splitters, half, sizes);
        divide(keys + low, n - low, splitters + half + 1, count - half - 1, sizes + half + 1);
    }

  private:
    const SortOps<K>& ops_;
    const Tick& tick_;
};

inline constexpr int64_t short_list = 2048;  // beyond it the radix sort takes less time

// Items with keys of 64 bits, stably: by numbers of the leading digits of those in which keys
// differ, and in the place of the others that of the item in the list. Where these leave keys to
// tell apart, runs that agree are sorted by themselves. As radix_sort, which is for longer lists.
template <class Item>
Item* sort_short(Item* items, Item* scratch, int64_t n, const Tick& tick) {
    using K = decltype(items->key);
    static_assert(sizeof(Item) == 2 * sizeof(K));
    K varying = 0;
    for (int64_t i = 1; i < n; ++i) varying |= items[i].key ^ items[0].key;
    if (varying == 0) return items;
    const int alike = std::countl_zero(varying);
    const K place = (K(1) << std::bit_width(static_cast<K>(n - 1))) - 1;
    const auto digits = [alike, place](const Item& item) { return item.key << alike & ~place; };

    // in the second half of the space, so that items fill all of it from the front
    K* numbers = reinterpret_cast<K*>(scratch) + n;
    for (int64_t i = 0; i < n; ++i) numbers[i] = digits(items[i]) | static_cast<K>(i);
    Quicksort<K>(tick).sort(numbers, n);
    for (int64_t i = 0; i < n; ++i) scratch[i] = items[numbers[i] & place];

    for (int64_t i = 1; i < n; ++i) {
        if (scratch[i - 1].key <= scratch[i].key) continue;
        int64_t begin = i - 1, end = i + 1;
        while (begin > 0 && digits(scratch[begin - 1]) == digits(scratch[i])) --begin;
        while (end < n && digits(scratch[end]) == digits(scratch[i])) ++end;
        const Item* run = sort_short(scratch + begin, items + begin, end - begin, tick);
        if (run != scratch + begin) std::copy(run, run + (end - begin), scratch + begin);
        i = end;
    }
    return scratch;
}

// Least significant digit first. Three passes of 11 bits cover 33 bits, the highest that vary;
// where they leave keys to tell apart, runs that still agree are sorted by themselves. Stable.
// Both buffers hold n items and are overwritten; the result is the one with the sorted list.
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
    if (n <= short_list) return sort_short(items, scratch, n, tick);

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

// Items that sort as one unsigned integer.
template <class Item>
inline constexpr bool is_number = sizeof(Item) <= 8;
template <class Item>
using Number = std::conditional_t<sizeof(Item) == 4, uint32_t, uint64_t>;

// `count` keys that part n of them into pieces of about the same size.
template <class K>
std::vector<K> splitters_of(const K* keys, int64_t n, int64_t count, const Tick& tick) {
    constexpr int64_t each = 32;
    const int64_t size = each * (count + 1);
    std::vector<K> sample(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) {
        std::memcpy(&sample[static_cast<size_t>(i)], keys + (2 * i + 1) * (n / size) / 2,
                    sizeof(K));
    }
    Quicksort<K>(tick).sort(sample.data(), size);
    std::vector<K> splitters(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
        splitters[static_cast<size_t>(i)] = sample[static_cast<size_t>(each * (i + 1))];
    }
    return splitters;
}

// Lists so long are sorted in pieces, and if there are few of them by all workers together.
inline constexpr int64_t long_list = 1 << 18;

// A long list: chunks are divided by common splitters while they are in cache, and what all chunks
// have of a piece is brought together in `other` and sorted there.
template <class K>
void sort_in_pieces(K* keys, K* other, int64_t n, const Tick& tick) {
    const int64_t pieces = std::clamp<int64_t>(n >> 16, 4, 256);
    const int64_t chunk = std::max<int64_t>(1 << 15, 256 * pieces);
    const int64_t chunks = (n + chunk - 1) / chunk;
    const auto splitters = splitters_of(keys, n, pieces - 1, tick);
    std::vector<int64_t> sizes(static_cast<size_t>(chunks * pieces));
    tick.for_each(chunks, [&](int64_t c, const Tick& mine) {
        const int64_t begin = c * chunk;
        Quicksort<K>(mine).divide(keys + begin, std::min(chunk, n - begin), splitters.data(),
                                  pieces - 1, &sizes[static_cast<size_t>(c * pieces)]);
    });
    // where what a chunk has of a piece begins, and where a piece does
    std::vector<int64_t> places(sizes.size()), starts(static_cast<size_t>(pieces + 1));
    for (int64_t c = 0; c < chunks; ++c) {
        int64_t from = c * chunk;
        for (int64_t piece = 0; piece < pieces; ++piece) {
            const auto at = static_cast<size_t>(c * pieces + piece);
            places[at] = from;
            from += sizes[at];
            starts[static_cast<size_t>(piece + 1)] += sizes[at];
        }
    }
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    tick.for_each(pieces, [&](int64_t piece, const Tick& mine) {
        K* const begin = other + starts[static_cast<size_t>(piece)];
        K* end = begin;
        for (int64_t c = 0; c < chunks; ++c) {
            const auto at = static_cast<size_t>(c * pieces + piece);
            std::memcpy(end, keys + places[at], static_cast<size_t>(sizes[at]) * sizeof(K));
            end += sizes[at];
        }
        Quicksort<K>(mine).sort(begin, end - begin);
    });
}

// Sorts n items by key, stably; items with rows come in the order of rows. Both buffers hold n
// items and are overwritten; the result is the one with the sorted list.
template <class Item>
Item* sort_items(Item* items, Item* scratch, int64_t n, const Tick& tick) {
    if constexpr (is_number<Item>) {
        using K = Number<Item>;
        auto* keys = reinterpret_cast<K*>(items);
        if (n >= long_list) {
            sort_in_pieces(keys, reinterpret_cast<K*>(scratch), n, tick);
            return scratch;
        }
        Quicksort<K>(tick).sort(keys, n);
        return items;
    } else {
        return radix_sort(items, scratch, n, tick);
    }
}

}  // namespace pairtile
