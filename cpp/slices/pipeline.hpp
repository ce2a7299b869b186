// The pipeline: a batch of directions is projected, each line sorted and reduced, and what the
// reductions left is pulled back to the points. What is reduced is the caller's.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "slices/project.hpp"
#include "slices/reduce.hpp"
#include "slices/sort.hpp"

namespace pairtile {

inline constexpr int64_t batch_bytes = int64_t{40} << 20;  // projections held at a time
inline constexpr int64_t least_batch =
    8;  // directions shared out to threads, however many rows there are

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
    Buffer<Item> x, y, scratch;
    Buffer<double> x_levels, y_levels;
};

template <class T, class Item>
Item* list_of(T* values, int64_t size, Buffer<Item>& memory) {
    if constexpr (requires { Item::row; }) {
        memory.reserve(size);
        for (int64_t i = 0; i < size; ++i) {
            memory[i] = {key_of_value(values[i]), static_cast<uint32_t>(i)};
        }
        return memory.data();
    } else {
        static_assert(sizeof(Item) == sizeof(T));
        for (int64_t i = 0; i < size; ++i) {
            const Item item{key_of_value(values[i])};
            std::memcpy(values + i, &item, sizeof item);
        }
        return reinterpret_cast<Item*>(values);
    }
}

template <class Side>
const double* filled_levels(const Side& side, Buffer<double>& memory) {
    memory.reserve(side.size);
    side.fill_levels(memory.data());
    return memory.data();
}

// Both lists of a direction, sorted. Of the longer one's two places one is free for the other.
template <class T, class Item>
std::pair<const Item*, const Item*> sorted_lists(T* x, int64_t n, T* y, int64_t m,
                                                 SortBuffers<Item>& mine, const Tick& tick) {
    Item *longer = list_of(x, n, mine.x), *shorter = list_of(y, m, mine.y);
    const bool swapped = m > n;
    if (swapped) std::swap(longer, shorter);
    mine.scratch.reserve(std::max(n, m));
    Item* spare = mine.scratch.data();
    const Item* first = radix_sort(longer, spare, std::max(n, m), tick);
    const Item* second =
        radix_sort(shorter, first == longer ? spare : longer, std::min(n, m), tick);
    return swapped ? std::pair(second, first) : std::pair(first, second);
}

// Turns the two sorted lists of one direction into its cost. When gradients are asked for, it also
// overwrites the projected values, which the lists no longer need, with derivatives.
template <class T, class Item>
using Reduce = std::function<double(const Sorted<T, Item>& x, const Sorted<T, Item>& y,
                                    int64_t direction, T* x_slopes, T* y_slopes, const Tick& tick)>;

// After each batch: its first direction, and how many it has.
using BatchDone = std::function<void(int64_t first, int64_t count)>;

template <class T>
int64_t batch_size(const Slices& slices) {
    return batch_size(slices.count(), slices.x.rows + slices.y.rows, sizeof(T),
                      ops_of<T>(isa()).rows);
}

// The pipeline.
template <class T, class Item>
void run(const Slices& slices, const Frame& frame, const double* x_weights, const double* y_weights,
         double* costs, PointGradients<T> gradients, Control& control,
         const Reduce<T, Item>& reduce, const BatchDone& batch_done = {}) {
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t n = slices.x.rows, m = slices.y.rows, count = slices.count();
    if (n > std::numeric_limits<uint32_t>::max() || m > std::numeric_limits<uint32_t>::max()) {
        throw std::length_error("sliced statistics take at most 2^32 - 1 rows");
    }
    const int64_t step = batch_size<T>(slices);
    Coordinates<T> px(std::min(step, count), n, ops), py(std::min(step, count), m, ops);
    std::vector<SortBuffers<Item>> buffers(static_cast<size_t>(control.workers()));
    control.expect(count);
    for (int64_t first = 0; first < count; first += step) {
        const Batch<T> batch(slices, first, std::min(step, count - first));
        batch.project(slices.x, frame, px, control);
        batch.project(slices.y, frame, py, control);
        parallel_for(std::min(step, count - first), control, [&](int64_t l, int worker) {
            auto& mine = buffers[static_cast<size_t>(worker)];
            const Tick tick{control, worker};
            const auto [of_x, of_y] = sorted_lists(px.of(l), n, py.of(l), m, mine, tick);
            Sorted<T, Item> x{of_x, n, x_weights}, y{of_y, m, y_weights};
            if (x_weights || y_weights) {
                x.levels = filled_levels(x, mine.x_levels);
                y.levels = filled_levels(y, mine.y_levels);
            }
            costs[first + l] = reduce(x, y, first + l, px.of(l), py.of(l), tick);
            control.advance(1);
        });
        if (gradients.x) {
            batch.pull_back(slices.x, px, gradients.x, control);
            batch.pull_back(slices.y, py, gradients.y, control);
        }
        if (gradients.directions) {
            double* out = gradients.directions + first * slices.x.cols;
            batch.add_products(slices.x, frame, px, out, control);
            batch.add_products(slices.y, frame, py, out, control);
        }
        if (batch_done) batch_done(first, std::min(step, count - first));
    }
}

// Columns are taken as they are, so they keep every digit; projections are computed, in a frame
// that keeps them near 1.
inline Frame frame_of(const Slices& slices, Control& control) {
    if (slices.directions) {
        return choose_frame(Source(slices.x), Source(slices.y), true, control);
    }
    return {};
}

}  // namespace pairtile
