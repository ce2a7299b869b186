// The pipeline: a batch of directions is projected, each line sorted and reduced, and what the
// reductions left is pulled back to the points. What is reduced is the caller's.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "engine/blocking.hpp"
#include "slices/frame.hpp"
#include "slices/kept_memory.hpp"
#include "slices/large_pages.hpp"
#include "slices/project.hpp"
#include "slices/reduce.hpp"
#include "slices/sort.hpp"

namespace pairtile {

inline constexpr int64_t batch_bytes = int64_t{40} << 20;  // projections held at a time
inline constexpr int64_t list_worth_a_thread = 1 << 15;    // of its own
inline constexpr int64_t least_batch = 8;  // directions for the threads, however many the rows

// How many directions are projected together. The number of workers has no say: gradients are added
// batch by batch.
inline int64_t batch_size(int64_t directions, int64_t rows, int64_t item_bytes, int64_t multiple) {
    const int64_t most = std::max(least_batch, batch_bytes / (rows * item_bytes));
    const int64_t batches = (directions + most - 1) / most;
    const int64_t even = (directions + batches - 1) / batches;
    // a whole number of micro-kernel blocks, if that does not break the limit
    const int64_t rounded = (even + multiple - 1) / multiple * multiple;
    return rounded <= most ? rounded : even;
}

// Sorting space of one worker: one list more than the two that are sorted. Bare keys take the place
// of the projected values, which nobody asks for again.
template <class Item>
struct SortBuffers {
    KeptBuffer<Item> x, y, scratch;
    Buffer<double> x_levels, y_levels;
};

// Bytes of them.
template <class Item>
int64_t sort_bytes(int64_t n, int64_t m, bool weighted) {
    const int64_t longer = std::max(n, m), both = n + m;
    const int64_t levels = weighted ? both * static_cast<int64_t>(sizeof(double)) : 0;
    const bool bare = sizeof(Item) == sizeof(Item::key);
    return (longer + (bare ? 0 : both)) * static_cast<int64_t>(sizeof(Item)) + levels;
}

// Whether a list is of keys alone, in the place of the values.
template <class Item>
inline constexpr bool is_bare = !requires {
    Item::row;
};

// The items of these values: beside them or, bare keys, in their place.
template <class T, class Item>
void fill_list(T* values, int64_t size, Item* items, const Tick& tick) {
    constexpr int64_t block = 1 << 16;
    tick.for_each((size + block - 1) / block, [&](int64_t b, const Tick&) {
        const int64_t end = std::min(size, (b + 1) * block);
        if constexpr (is_bare<Item>) {
            auto* bits = reinterpret_cast<Key<T>*>(values) + b * block;
            sorting_of<Key<T>>(isa()).to_keys(bits, end - b * block, bits);
        } else {
            for (int64_t i = b * block; i < end; ++i) {
                items[i] = Item(key_of_value(values[i]), static_cast<uint32_t>(i));
            }
        }
    });
}

// Where the list of these values goes.
template <class T, class Item>
Item* place_of_list(T* values, int64_t size, KeptBuffer<Item>& memory) {
    if constexpr (requires { Item::row; }) {
        memory.reserve(size);
        ask_for_large_pages(memory.data(), size);
        return memory.data();
    } else {
        static_assert(sizeof(Item) == sizeof(T));
        return reinterpret_cast<Item*>(values);
    }
}

template <class Side>
const double* filled_levels(const Side& side, Buffer<double>& memory) {
    memory.reserve(side.size);
    side.fill_levels(memory.data());
    return memory.data();
}

// Both lists of a direction, sorted. Of the longer one's two places one is free for the other. With
// `keys` they are in the place of the values already.
template <class T, class Item>
std::pair<const Item*, const Item*> sorted_lists(T* x, int64_t n, T* y, int64_t m, bool keys,
                                                 SortBuffers<Item>& mine, const Tick& tick) {
    Item *longer = place_of_list(x, n, mine.x), *shorter = place_of_list(y, m, mine.y);
    if (!keys) {
        fill_list(x, n, longer, tick);
        fill_list(y, m, shorter, tick);
    }
    const bool swapped = m > n;
    if (swapped) std::swap(longer, shorter);
    mine.scratch.reserve(std::max(n, m));
    ask_for_large_pages(mine.scratch.data(), std::max(n, m));
    Item* spare = mine.scratch.data();
    const Item* first = sort_items(longer, spare, std::max(n, m), tick);
    const Item* second =
        sort_items(shorter, first == longer ? spare : longer, std::min(n, m), tick);
    return swapped ? std::pair(second, first) : std::pair(first, second);
}

// The same of lists that are sorted where they are, one by one worker and one by another.
template <class T, class Item>
std::pair<const Item*, const Item*> lists_sorted_apart(T* x, int64_t n, T* y, int64_t m, bool keys,
                                                       SortBuffers<Item>& mine, Control& control) {
    Item *of_x = place_of_list(x, n, mine.x), *of_y = place_of_list(y, m, mine.y);
    parallel_for(2, control, [&](int64_t side, int worker) {
        const Tick tick{control, worker};
        T* values = side == 0 ? x : y;
        Item* items = side == 0 ? of_x : of_y;
        const int64_t size = side == 0 ? n : m;
        if (!keys) fill_list(values, size, items, tick);
        sort_items(items, static_cast<Item*>(nullptr), size, tick);
    });
    return {of_x, of_y};
}

// Turns the two sorted lists of one direction into its cost. When gradients are asked for, it also
// overwrites the projected values, which the lists no longer need, with derivatives.
template <class T, class Item>
using Reduce = std::function<double(const Sorted<T, Item>& x, const Sorted<T, Item>& y,
                                    int64_t direction, T* x_slopes, T* y_slopes, const Tick& tick)>;

// After each batch: its first direction, and how many it has.
using BatchDone = std::function<void(int64_t first, int64_t count)>;

// How the memory is shared out: directions of a batch, and threads that sort them.
struct Batches {
    int64_t size;
    int workers;
};

// `kept` are bytes of each direction of a batch beside its projections.
template <class T, class Item>
Batches batches_of(const Slices& slices, bool weighted, int64_t kept, const Control& control) {
    const int64_t n = slices.x.rows, m = slices.y.rows, item = static_cast<int64_t>(sizeof(T));
    const int64_t size = batch_size(slices.count(), n + m, item, ops_of<T>(isa()).rows);
    const int64_t memory = control.memory();
    if (memory == 0) return {size, control.workers()};
    const int64_t packed = slices.directions ? 2 * slices.x.cols * item : 0;
    const int64_t list = (n + m) * item + packed + kept;
    const int64_t worker = sort_bytes<Item>(n, m, weighted);
    require_memory(memory, list + worker, "one direction");
    const int64_t workers = std::min<int64_t>(control.workers(), memory / (list + worker));
    return {std::min(size, (memory - workers * worker) / list), static_cast<int>(workers)};
}

// The pipeline. `kept` are the bytes that reductions keep of each direction of a batch. Rows that
// are packed already are taken as they are.
template <class T, class Item>
void run(const Slices& slices, const Frame& frame, const double* x_weights, const double* y_weights,
         double* costs, PointGradients<T> gradients, Control& control,
         const Reduce<T, Item>& reduce, const BatchDone& batch_done = {}, int64_t kept = 0,
         const Prepared<T>* prepared = nullptr) {
    const bool packed = prepared && prepared->x && slices.directions;
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t n = slices.x.rows, m = slices.y.rows, count = slices.count();
    if (n > std::numeric_limits<uint32_t>::max() || m > std::numeric_limits<uint32_t>::max()) {
        throw std::length_error("sliced statistics take at most 2^32 - 1 rows");
    }
    const bool weighted = x_weights || y_weights;
    const auto [step, workers] = batches_of<T, Item>(slices, weighted, kept, control);
    Coordinates<T> px(std::min(step, count), n, ops), py(std::min(step, count), m, ops);
    std::vector<SortBuffers<Item>> buffers(static_cast<size_t>(workers));
    const bool keys = is_bare<Item> && !slices.directions;  // at once, not where values are
    control.expect(count);
    for (int64_t first = 0; first < count; first += step) {
        const Batch<T> batch(slices, first, std::min(step, count - first));
        if (packed) {
            batch.project(*prepared->x, px);
            batch.project(*prepared->y, py);
        } else {
            batch.project(slices.x, frame, px, control, keys);
            batch.project(slices.y, frame, py, control, keys);
        }
        const int64_t lines = std::min(step, count - first);
        const auto reduce_line = [&](int64_t l, const std::pair<const Item*, const Item*>& lists,
                                     SortBuffers<Item>& mine, const Tick& tick) {
            Sorted<T, Item> x{lists.first, n, x_weights}, y{lists.second, m, y_weights};
            if (weighted) {
                x.levels = filled_levels(x, mine.x_levels);
                y.levels = filled_levels(y, mine.y_levels);
            }
            costs[first + l] = reduce(x, y, first + l, px.of(l), py.of(l), tick);
            control.advance(1);
        };
        // so few lines that workers would be idle: all of them work on each
        const bool few = lines < control.workers();
        if (few && std::max(n, m) >= long_list) {
            const Tick tick{control, 0, true};
            for (int64_t l = 0; l < lines; ++l) {
                const auto lists = sorted_lists(px.of(l), n, py.of(l), m, keys, buffers[0], tick);
                reduce_line(l, lists, buffers[0], tick);
            }
        } else if (few && is_number<Item> && std::min(n, m) >= list_worth_a_thread) {
            const Tick tick{control, 0};
            for (int64_t l = 0; l < lines; ++l) {
                const auto lists =
                    lists_sorted_apart(px.of(l), n, py.of(l), m, keys, buffers[0], control);
                reduce_line(l, lists, buffers[0], tick);
            }
        } else {
            parallel_for(lines, workers, control, [&](int64_t l, int worker) {
                auto& mine = buffers[static_cast<size_t>(worker)];
                const Tick tick{control, worker};
                const auto lists = sorted_lists(px.of(l), n, py.of(l), m, keys, mine, tick);
                reduce_line(l, lists, mine, tick);
            });
        }
        if (gradients.x) batch.pull_back(slices.x, px, gradients.x, control);
        if (gradients.y) batch.pull_back(slices.y, py, gradients.y, control);
        if (gradients.directions) {
            double* out = gradients.directions + first * slices.x.cols;
            if (packed) {
                batch.add_products(*prepared->x, frame, px, out);
                batch.add_products(*prepared->y, frame, py, out);
            } else {
                batch.add_products(slices.x, frame, px, out, control);
                batch.add_products(slices.y, frame, py, out, control);
            }
        }
        if (batch_done) batch_done(first, std::min(step, count - first));
    }
}

// Columns are taken as they are, so they keep every digit; projections are computed, in a frame
// that keeps them near 1.
inline Frame frame_of(const Slices& slices, Control& control, const double* x_weights = nullptr,
                      const double* y_weights = nullptr) {
    if (!slices.directions) return {};
    return line_frame(slices.x, slices.y, x_weights, y_weights, control);
}

}  // namespace pairtile
