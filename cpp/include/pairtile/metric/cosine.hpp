// Cosine distance ½‖x̂ − ŷ‖² = 1 − cos(x, y) without its cancellation. Rows arrive normalised; the
// pair of a zero row with any other row has distance 1 (see engine/source.hpp).
#pragma once

#include "pairtile/metric/sqeuclidean.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Cosine : SquaredEuclidean {
    static constexpr MetricTraits traits{
        .quantity = Quantity::squared_distance, .factor = 0.5, .reading = Reading::unit};

    static PAIRTILE_HD double order(double combined) { return 0.5 * combined; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
