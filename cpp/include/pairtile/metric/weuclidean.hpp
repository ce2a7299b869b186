// Weighted Euclidean distance √Σ w_j (x_j − y_j)², ordered by its square.
#pragma once

#include "pairtile/metric/euclidean.hpp"
#include "pairtile/metric/params.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct WeightedEuclidean : Euclidean {
    static constexpr MetricTraits traits{
        .quantity = Quantity::squared_distance, .reading = Reading::weighted, .parameter = "w"};

    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y, int64_t j, const MetricParams& params) {
        const T difference = x - y;
        // from the left: the square alone may leave the range that weight and square stay in
        return sum + params.weights[j] * difference * difference;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
