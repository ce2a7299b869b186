// Sorting of one projection by the order-preserving bit patterns of its values.
//
// The second stage of project → sort → merge → reduce. A key, and a float32 key with its row as one
// number of 64 bits, is sorted by a quicksort whose two parts are in isa/tile/sort.hpp: pieces
// change places between two lists until a few keys fit into registers. Where pivots turn out bad,
// and for float64 keys with rows, there is a radix sort, least significant digit first. Equal keys
// keep the order of rows, so that the sorted list is one and the same however it was found.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
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

// Asked every few hundred microseconds of work, so that an interrupted call stops at once.
struct Tick {
    Control& control;
    int worker;
    void operator()() const { control.tick(worker); }
};

// Of the instruction set that serves this process.
template <class K>
const SortOps<K>& sort_ops();
template <>
const SortOps<uint32_t>& sort_ops<uint32_t>();
template <>
const SortOps<uint64_t>& sort_ops<uint64_t>();
template <class S>
ColumnSums<S> column_sums_of();
template <>
ColumnSums<float> column_sums_of<float>();
template <>
ColumnSums<double> column_sums_of<double>();

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

// Quicksort of unsigned integers in two lists that change roles: keys up to the pivot stay, the
// others go to the other list, at their place from its start.
template <class K>
class Quicksort {
  public:
    explicit Quicksort(const Tick& tick) : ops_(sort_ops<K>()), tick_(tick) {}

    // n keys, the sorted ones `home`, where they came from, or in `other`; both are overwritten.
    void sort(K* keys, K* other, int64_t n, bool home = true) const {
        // halves are never this uneven so often, but for keys made up to be so
        sort(keys, other, n, home, 2 * static_cast<int>(std::bit_width(static_cast<uint64_t>(n))));
    }
    // The same in no more than `depth` divisions of any key's piece; then by digits.
    void sort(K* keys, K* other, int64_t n, bool home, int depth) const {
        while (n > ops_.few) {
            if (depth-- == 0) return sort_by_digits(keys, other, n, home);
            const K pivot = pivot_of(keys, n);
            int64_t low = partition(keys, n, pivot, other);
            if (low == n) {
                // the pivot is the largest key: its equals are where they belong
                low = pivot ? partition(keys, n, pivot - 1, other) : 0;
                K* sorted = home ? keys : other;
                for (int64_t i = low; i < n; ++i) std::memcpy(sorted + i, &pivot, sizeof pivot);
            } else {
                sort(other + low, keys + low, n - low, !home, depth);
            }
            n = low;
        }
        if (n > 0) ops_.sort_few(keys, static_cast<int>(n), home ? keys : other);
    }

    // Keys <= pivot are left at the front of `keys`, the others at the end of `other`.
    int64_t partition(K* keys, int64_t n, K pivot, K* other) const {
        constexpr int64_t stretch = 1 << 18;
        int64_t low = 0;
        for (int64_t begin = 0; begin < n; begin += stretch) {
            if (n > stretch / 8) tick_();
            low = ops_.partition(keys, begin, std::min(n, begin + stretch), n, pivot, other, low);
        }
        return low;
    }

    // The keys in pieces, those up to splitters[0] first, those above splitters[count − 1] last,
    // and the sizes of all; `home` or in `other`, but unsorted within.
    void divide(K* keys, K* other, int64_t n, const K* splitters, int64_t count, int64_t* sizes,
                bool home = true) const {
        if (count == 0) {
            *sizes = n;
            if (!home) std::memcpy(other, keys, static_cast<size_t>(n) * sizeof(K));
            return;
        }
        const int64_t half = count / 2, low = partition(keys, n, splitters[half], other);
        divide(keys, other, low, splitters, half, sizes, home);
        divide(other + low, keys + low, n - low, splitters + half + 1, count - half - 1,
               sizes + half + 1, !home);
    }

  private:
    K pivot_of(const K* keys, int64_t n) const {
        std::array<K, 64> sample;
        const int most = n < 1 << 10 ? 16 : n < 1 << 14 ? 32 : 64, size = std::min(most, ops_.few);
        const int64_t step = n / size;
        for (int i = 0; i < size; ++i) {
            std::memcpy(&sample[static_cast<size_t>(i)], keys + i * step + step / 2, sizeof(K));
        }
        ops_.sort_few(sample.data(), size, sample.data());
        return sample[static_cast<size_t>(size / 2)];
    }

    void sort_by_digits(K* keys, K* other, int64_t n, bool home) const {
        using Item = std::conditional_t<sizeof(K) == 4, Bare<float>, Bare<double>>;
        auto *items = reinterpret_cast<Item*>(keys), *scratch = reinterpret_cast<Item*>(other);
        const Item* sorted = radix_sort(items, scratch, n, tick_);
        Item* wanted = home ? items : scratch;
        if (sorted != wanted) std::copy(sorted, sorted + n, wanted);
    }

    const SortOps<K>& ops_;
    const Tick& tick_;
};

// Items that sort as one unsigned integer.
template <class Item>
inline constexpr bool is_number = sizeof(Item) <= 8;
template <class Item>
using Number = std::conditional_t<sizeof(Item) == 4, uint32_t, uint64_t>;

// Sorts n items by key, stably; items with rows come in the order of rows. Both buffers hold n
// items and are overwritten; the result is the one with the sorted list.
template <class Item>
Item* sort_items(Item* items, Item* scratch, int64_t n, const Tick& tick) {
    if constexpr (is_number<Item>) {
        using K = Number<Item>;
        Quicksort<K>(tick).sort(reinterpret_cast<K*>(items), reinterpret_cast<K*>(scratch), n);
        return items;
    } else {
        return radix_sort(items, scratch, n, tick);
    }
}

// `count` keys that part n of them into pieces of about the same size.
template <class K>
std::vector<K> splitters_of(const K* keys, int64_t n, int64_t count, const Tick& tick) {
    constexpr int64_t each = 32;
    const int64_t size = each * (count + 1);
    std::vector<K> sample(static_cast<size_t>(size)), scratch(sample.size());
    for (int64_t i = 0; i < size; ++i) {
        std::memcpy(&sample[static_cast<size_t>(i)], keys + (2 * i + 1) * (n / size) / 2,
                    sizeof(K));
    }
    Quicksort<K>(tick).sort(sample.data(), scratch.data(), size);
    std::vector<K> splitters(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
        splitters[static_cast<size_t>(i)] = sample[static_cast<size_t>(each * (i + 1))];
    }
    return splitters;
}

// Lists so long are sorted by all workers together.
inline constexpr int64_t long_list = 1 << 18;

// One list by all workers: chunks are divided by common splitters while they are in cache, the
// pieces of all chunks brought together, and each sorted by itself. The sorted keys are where they
// came from.
template <class K>
void sort_together(K* keys, K* other, int64_t n, Control& control) {
    const int64_t pieces = std::clamp<int64_t>(n >> 16, 4, 256);
    const int64_t chunk = std::max<int64_t>(1 << 15, 256 * pieces);
    const int64_t chunks = (n + chunk - 1) / chunk;
    const auto splitters = splitters_of(keys, n, pieces - 1, Tick{control, 0});
    std::vector<int64_t> sizes(static_cast<size_t>(chunks * pieces)), places(sizes.size());
    parallel_for(chunks, control, [&](int64_t c, int worker) {
        const Tick tick{control, worker};
        const int64_t begin = c * chunk;
        Quicksort<K>(tick).divide(keys + begin, other + begin, std::min(chunk, n - begin),
                                  splitters.data(), pieces - 1, &sizes[c * pieces]);
    });
    std::vector<int64_t> starts;
    int64_t place = 0;
    for (int64_t piece = 0; piece < pieces; ++piece) {
        starts.push_back(place);
        for (int64_t c = 0; c < chunks; ++c) {
            places[c * pieces + piece] = place;
            place += sizes[c * pieces + piece];
        }
    }
    starts.push_back(n);
    parallel_for(chunks, control, [&](int64_t c, int worker) {
        control.tick(worker);
        const K* from = keys + c * chunk;
        for (int64_t piece = 0; piece < pieces; ++piece) {
            const int64_t size = sizes[c * pieces + piece];
            std::memcpy(other + places[c * pieces + piece], from,
                        static_cast<size_t>(size) * sizeof(K));
            from += size;
        }
    });
    parallel_for(pieces, control, [&](int64_t piece, int worker) {
        const Tick tick{control, worker};
        const int64_t begin = starts[piece];
        Quicksort<K>(tick).sort(other + begin, keys + begin, starts[piece + 1] - begin, false);
    });
}

// sort_items by all workers.
template <class Item>
Item* sort_items_together(Item* items, Item* scratch, int64_t n, Control& control) {
    if constexpr (is_number<Item>) {
        if (n >= long_list) {
            using K = Number<Item>;
            sort_together(reinterpret_cast<K*>(items), reinterpret_cast<K*>(scratch), n, control);
            return items;
        }
    }
    return sort_items(items, scratch, n, Tick{control, 0});
}

}  // namespace pairtile
