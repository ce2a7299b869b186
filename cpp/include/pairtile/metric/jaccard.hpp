// Jaccard distance on packed bits: the bits that differ as a share of those set in either row,
// which is 1 − |x∧y|/|x∨y| rounded once; 0 between two zero rows.
#pragma once

#include "pairtile/config.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Jaccard {
    static constexpr MetricTraits traits{
        .quantity = Quantity::differing_bits, .parameter = "n_bits", .over_union = true};

    // ascending order of neighbours, from the bits set in one row alone and in at least one
    static PAIRTILE_HD double order(int64_t differing, int64_t either) {
        return either == 0 ? 0.0 : static_cast<double>(differing) / static_cast<double>(either);
    }
    // what the user sees, from the ordered value
    static PAIRTILE_HD double reported(double ordered, int64_t) { return ordered; }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
