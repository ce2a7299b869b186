// Euclidean distance of the features that both rows have, √(d · mean of (x_j − y_j)²), NaN being
// what is missing; infinite where they have none in common. Ordered by that mean.
#pragma once

#include "pairtile/metric/direct.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct NanEuclidean : Direct {
    static constexpr MetricTraits traits{.takes_nan = true};
    static constexpr int sums = 2;

    template <int sum, class T>
    static PAIRTILE_HD T accumulate(T so_far, T x, T y) {
        const T difference = x - y;
        const T term = sum == 0 ? difference * difference : T{} + 1.0;
        return so_far + (difference == difference ? term : T{});
    }
    template <class T>
    static PAIRTILE_HD T order(T squares, T present) {
        return present == T{} ? T{} + __builtin_inf() : squares / present;
    }
    static PAIRTILE_HD double reported(double ordered, const MetricParams& params) {
        return root(ordered * params.features);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
