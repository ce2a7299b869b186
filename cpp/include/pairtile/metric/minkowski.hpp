// Minkowski distance (Σ |x_j − y_j|^p)^(1/p), ordered before the root.
#pragma once

#include "pairtile/metric/direct.hpp"
#include "pairtile/metric/power.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Minkowski : Direct {
    static constexpr MetricTraits traits{.parameter = "p", .sums_powers = true};

    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y, int64_t, const MetricParams& params) {
        return sum + power_of(magnitude(x - y), params.p);
    }
    static PAIRTILE_HD double reported(double ordered, const MetricParams& params) {
        return power_by_roots(ordered, 1.0 / params.p);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
