// Correlation distance, the cosine distance of rows less their means; the pair of a constant row
// with any other row has distance 1.
#pragma once

#include "pairtile/metric/cosine.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Correlation : Cosine {
    static constexpr MetricTraits traits{
        .quantity = Quantity::squared_distance, .factor = 0.5, .reading = Reading::centred_unit};
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
