#include "slices/slices.hpp"

#include <cmath>

#include "slices/pipeline.hpp"

namespace pairtile {
namespace {

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
