#include "slices/slices.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
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

// Sorting space of one worker.
template <class Item>
struct SortBuffers {
    Buffer<Item> x, y, x_scratch, y_scratch;
};

template <class T, class Item>
Sorted<T, Item> sorted_list(const T* values, int64_t size, const double* weights,
                            Buffer<Item>& items, Buffer<Item>& scratch, const Tick& tick) {
    items.reserve(size);
    scratch.reserve(size);
    for (int64_t i = 0; i < size; ++i) {
        items[i].key = key_of_value(values[i]);
        if constexpr (requires { items[i].row; }) items[i].row = static_cast<uint32_t>(i);
    }
    return {radix_sort(items.data(), scratch.data(), size, tick), size, weights};
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
            const auto x = sorted_list(px.of(l), n, x_weights, mine.x, mine.x_scratch, tick);
            const auto y = sorted_list(py.of(l), m, y_weights, mine.y, mine.y_scratch, tick);
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
void transport(const Slices& slices, const Cost& cost, double p, const double* x_weights,
               const double* y_weights, const double* direction_weights, double* costs,
               PointGradients<T> gradients, Control& control) {
    const Frame frame = frame_of(slices, control);
    const double unit = 1 / frame.scale;
    const double cost_unit = std::pow(unit, p), slope_unit = std::pow(unit, p - 1);
    const auto go = [&]<class Item>(const Reduce<T, Item>& reduce) {
        run(slices, frame, x_weights, y_weights, costs, gradients, control, reduce);
    };
    const auto cost_alone = [&](const auto& x, const auto& y, int64_t, T*, T*, const Tick& tick) {
        return cost_unit * transport_cost(cost, x, y, tick);
    };
    if (gradients.x) {
        go(Reduce<T, Ranked<T>>([&](const auto& x, const auto& y, int64_t l, T* x_slopes,
                                    T* y_slopes, const Tick& tick) {
            const double share = direction_weights ? direction_weights[l] : 1.0;
            transport_slopes(cost, x, y, share * slope_unit, x_slopes, y_slopes, tick);
            return cost_unit * transport_cost(cost, x, y, tick);
        }));
    } else if (x_weights || y_weights) {
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
