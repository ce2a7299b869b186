#include "slices/slices.hpp"

#include <algorithm>
#include <cmath>
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
namespace {

constexpr int64_t batch_bytes = int64_t{40} << 20;  // projections held at a time
constexpr int64_t least_batch = 8;  // directions shared out to threads, however many rows there are

// How many directions are projected together. The number of workers has no say: gradients are added
// batch by batch.
int64_t batch_size(int64_t directions, int64_t rows, int64_t item_bytes, int64_t multiple) {
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

// The pipeline.
template <class T, class Item>
void run(const Slices& slices, const Frame& frame, const double* x_weights, const double* y_weights,
         double* costs, PointGradients<T> gradients, Control& control,
         const Reduce<T, Item>& reduce) {
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t n = slices.x.rows, m = slices.y.rows, count = slices.count();
    if (n > std::numeric_limits<uint32_t>::max() || m > std::numeric_limits<uint32_t>::max()) {
        throw std::length_error("sliced statistics take at most 2^32 - 1 rows");
    }
    const int64_t step = batch_size(count, n + m, sizeof(T), ops.rows);
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
            const Sorted<T, Item> x{of_x, n, x_weights}, y{of_y, m, y_weights};
            costs[first + l] = reduce(x, y, first + l, px.of(l), py.of(l), tick);
            control.advance(1);
        });
        if (!gradients.x) continue;
        batch.pull_back(slices.x, px, gradients.x, control);
        batch.pull_back(slices.y, py, gradients.y, control);
    }
}

// Columns are taken as they are, so they keep every digit; projections are computed, in a frame
// that keeps them near 1.
Frame frame_of(const Slices& slices, Control& control) {
    if (slices.directions) {
        return choose_frame(Source(slices.x), Source(slices.y), true, control);
    }
    return {};
}

template <class T, class Cost>
void transport(const Slices& slices, const Cost& of, double p, const double* x_weights,
               const double* y_weights, const double* direction_weights, double* costs,
               PointGradients<T> gradients, Control& control) {
    const Frame frame = frame_of(slices, control);
    const double unit = 1 / frame.scale;
    double cost_unit = std::isinf(p) ? unit : std::pow(unit, p), slope_unit = std::pow(unit, p - 1);
    Cost cost = of;
    if constexpr (requires { cost.unit; }) {
        cost.unit = unit;
        cost_unit = slope_unit = 1.0;
    }
    const auto go = [&]<class Item>(const Reduce<T, Item>& reduce) {
        run(slices, frame, x_weights, y_weights, costs, gradients, control, reduce);
    };
    const auto cost_alone = [&](const auto& x, const auto& y, int64_t, T*, T*, const Tick& tick) {
        return cost_unit * transport_cost(cost, x, y, tick);
    };
    constexpr bool smooth = requires { cost.slope(0.0); };
    if constexpr (smooth) {
        if (gradients.x) {
            return go(Reduce<T, Ranked<T>>([&](const auto& x, const auto& y, int64_t l, T* x_slopes,
                                               T* y_slopes, const Tick& tick) {
                const double share = direction_weights ? direction_weights[l] : 1.0;
                transport_slopes(cost, x, y, share * slope_unit, x_slopes, y_slopes, tick);
                return cost_unit * transport_cost(cost, x, y, tick);
            }));
        }
    }
    if (x_weights || y_weights) {
        go(Reduce<T, Ranked<T>>(cost_alone));
    } else {
        go(Reduce<T, Bare<T>>(cost_alone));
    }
}

}  // namespace

template <class T>
void transport_slices(const Slices& slices, double p, const double* x_weights,
                      const double* y_weights, const double* direction_weights, double* costs,
                      PointGradients<T> gradients, Control& control) {
    const auto with = [&](const auto& cost) {
        transport(slices, cost, p, x_weights, y_weights, direction_weights, costs, gradients,
                  control);
    };
    if (p == 1) return with(AbsoluteCost{});
    if (p == 2) return with(SquaredCost{});
    if (std::isinf(p)) return with(LargestCost{});
    with(PowerCost{p});
}

template <class T>
void energy_slices(const Slices& slices, double* costs, PointGradients<T> gradients,
                   Control& control) {
    const Frame frame = frame_of(slices, control);
    const double unit = 1 / frame.scale;
    const double share = 1 / static_cast<double>(slices.count());
    const auto go = [&]<class Item>(const Reduce<T, Item>& reduce) {
        run(slices, frame, nullptr, nullptr, costs, gradients, control, reduce);
    };
    if (gradients.x) {
        go(Reduce<T, Ranked<T>>(
            [&](const auto& x, const auto& y, int64_t, T* x_slopes, T* y_slopes, const Tick& tick) {
                return unit * energy_slopes(x, y, share, x_slopes, y_slopes, tick);
            }));
    } else {
        const auto ignore = [](int64_t, int64_t, int64_t, int64_t) {};
        go(Reduce<T, Bare<T>>([&](const auto& x, const auto& y, int64_t, T*, T*, const Tick& tick) {
            return unit * energy_cost(x, y, tick, ignore);
        }));
    }
}

#define PT_INSTANTIATE(T)                                                                   \
    template void transport_slices<T>(const Slices&, double, const double*, const double*,  \
                                      const double*, double*, PointGradients<T>, Control&); \
    template void energy_slices<T>(const Slices&, double*, PointGradients<T>, Control&);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile
