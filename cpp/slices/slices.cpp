#include "slices/slices.hpp"

#include <cmath>

#include "slices/pipeline.hpp"

namespace pairtile {
namespace {

// Slopes by the shares of mass, which are summed over the directions of a batch in their order, or
// kept by line where each line is a problem of its own.
class WeightSlopes {
  public:
    WeightSlopes(double* result, int64_t rows, int64_t directions_at_a_time, bool by_line)
        : result_(result), rows_(rows), by_line_(by_line) {
        if (!by_line) memory_.reserve(rows * directions_at_a_time);
    }

    double* of(int64_t direction, int64_t first) {
        return by_line_ ? result_ + direction * rows_ : &memory_[(direction - first) * rows_];
    }

    void add_batch(int64_t count, Control& control) {
        if (by_line_) return;
        constexpr int64_t some = 1 << 12;
        parallel_for((rows_ + some - 1) / some, control, [&](int64_t block, int) {
            const int64_t end = std::min(rows_, (block + 1) * some);
            for (int64_t l = 0; l < count; ++l) {
                const double* slopes = &memory_[l * rows_];
                for (int64_t i = block * some; i < end; ++i) result_[i] += slopes[i];
            }
        });
    }

  private:
    double* result_;
    int64_t rows_;
    bool by_line_;
    Buffer<double> memory_;
};

template <class T, class Cost>
void transport_by(const Slices& slices, const Cost& of, const Transport& transport,
                  const TransportResults<T>& results, Control& control,
                  const Prepared<T>* prepared) {
    const Frame frame = prepared
                            ? prepared->frame
                            : frame_of(slices, control, transport.x_weights, transport.y_weights);
    const bool weighted = transport.x_weights || transport.y_weights;
    const double p = transport.p, unit = 1 / frame.scale;
    double cost_unit = std::isinf(p) ? unit : std::pow(unit, p), slope_unit = std::pow(unit, p - 1);
    Cost cost = of;
    if constexpr (requires { cost.unit; }) {
        cost.unit = unit;
        cost_unit = slope_unit = 1.0;
    }
    const auto share = [&transport](int64_t direction) {
        return transport.direction_weights ? transport.direction_weights[direction] : 1.0;
    };
    const auto costs_of = [&](const auto& x, const auto& y, int64_t l, const Tick& tick) {
        if (!results.moments) return cost_unit * transport_cost(cost, x, y, tick);
        LineMoments of_x, of_y;
        const double found = transport_cost(cost, x, y, of_x, of_y, tick);
        double* out = results.moments + 4 * l;
        out[0] = unit * of_x.mean;
        out[1] = unit * of_y.mean;
        out[2] = unit * unit * of_x.variance;
        out[3] = unit * unit * of_y.variance;
        return cost_unit * found;
    };
    const auto go = [&]<class Item>(const Reduce<T, Item>& reduce, const BatchDone& done = {},
                                    int64_t kept = 0) {
        run(slices, frame, transport.x_weights, transport.y_weights, results.costs,
            results.gradients, control, reduce, done, kept, prepared);
    };
    if constexpr (requires { cost.slope(0.0); }) {
        const bool by_projections = results.gradients.by_points() || results.gradients.directions;
        const bool by_weights = results.x_weight_slopes;
        if (by_projections || by_weights) {
            const bool summed = by_weights && slices.directions;  // over the directions of a batch
            const int64_t rows = slices.x.rows + slices.y.rows;
            const int64_t kept = summed ? rows * static_cast<int64_t>(sizeof(double)) : 0;
            const int64_t step =
                summed ? batches_of<T, Ranked<T>>(slices, weighted, kept, control).size : 0;
            WeightSlopes of_x(results.x_weight_slopes, slices.x.rows, step, !slices.directions);
            WeightSlopes of_y(results.y_weight_slopes, slices.y.rows, step, !slices.directions);
            int64_t first = 0;
            const Reduce<T, Ranked<T>> reduce = [&](const auto& x, const auto& y, int64_t l,
                                                    T* x_slopes, T* y_slopes, const Tick& tick) {
                if (by_projections) {
                    transport_slopes(cost, x, y, share(l) * slope_unit, x_slopes, y_slopes, tick);
                }
                if (by_weights) {
                    transport_potentials(cost, x, y, share(l) * cost_unit, of_x.of(l, first),
                                         of_y.of(l, first), tick);
                }
                return costs_of(x, y, l, tick);
            };
            const BatchDone add = [&](int64_t begin, int64_t count) {
                if (!by_weights) return;
                of_x.add_batch(count, control);
                of_y.add_batch(count, control);
                first = begin + count;
            };
            return go(reduce, add, kept);
        }
    }
    const auto cost_alone = [&](const auto& x, const auto& y, int64_t l, T*, T*, const Tick& tick) {
        return costs_of(x, y, l, tick);
    };
    if (weighted) {
        go(Reduce<T, Ranked<T>>(cost_alone));
    } else {
        go(Reduce<T, Bare<T>>(cost_alone));
    }
}

}  // namespace

template <class T>
void transport_slices(const Slices& slices, const Transport& transport,
                      const TransportResults<T>& results, Control& control,
                      const Prepared<T>* prepared) {
    const auto with = [&](const auto& cost) {
        transport_by(slices, cost, transport, results, control, prepared);
    };
    if (transport.p == 1) return with(AbsoluteCost{});
    if (transport.p == 2) return with(SquaredCost{});
    if (std::isinf(transport.p)) return with(LargestCost{});
    with(PowerCost{transport.p});
}

template <class T>
void energy_slices(const Slices& slices, double* costs, PointGradients<T> gradients,
                   Control& control) {
    require_countable(slices.x.rows, slices.y.rows);
    const Frame frame = frame_of(slices, control);
    const double unit = 1 / frame.scale;
    const double share = 1 / static_cast<double>(slices.count());
    const auto go = [&]<class Item>(const Reduce<T, Item>& reduce) {
        run(slices, frame, nullptr, nullptr, costs, gradients, control, reduce);
    };
    if (gradients.by_points()) {
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

int64_t least_line_memory(int64_t n, int64_t m, bool wide, bool weighted) {
    const auto of = [&]<class T>(T) {
        const int64_t sorting =
            weighted ? sort_bytes<Ranked<T>>(n, m, true) : sort_bytes<Bare<T>>(n, m, false);
        return (n + m) * static_cast<int64_t>(sizeof(T)) + sorting;
    };
    return wide ? of(double()) : of(float());
}

#define PT_INSTANTIATE(T)                                                                          \
    template void transport_slices<T>(const Slices&, const Transport&, const TransportResults<T>&, \
                                      Control&, const Prepared<T>*);                               \
    template void energy_slices<T>(const Slices&, double*, PointGradients<T>, Control&);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile
