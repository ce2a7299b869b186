// Mahalanobis distance √((x − y)ᵀ VI (x − y)) = ‖A(x − y)‖ with AᵀA = VI, ordered by its square.
// The difference is transformed, not the rows, so that nothing cancels far from the origin.
#pragma once

#include "pairtile/metric/euclidean.hpp"
#include "pairtile/metric/params.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Mahalanobis : Euclidean {
    static constexpr MetricTraits traits{.quantity = Quantity::squared_distance,
                                         .reading = Reading::transformed,
                                         .parameter = "transform"};

    // One row of A times the difference, for canonical_fold().
    struct Component : Euclidean {
        template <class T>
        static PAIRTILE_HD T accumulate(T sum, T x, T y, int64_t j, const double* row) {
            return sum + row[j] * (x - y);
        }
    };
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
