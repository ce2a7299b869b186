// Hamming distance on packed bits: the share of the bits that differ.
#pragma once

#include "pairtile/config.hpp"
#include "pairtile/metric/traits.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Hamming {
    static constexpr MetricTraits traits{.quantity = Quantity::differing_bits,
                                         .parameter = "n_bits"};

    // ascending order of neighbours, from the bits set in one row alone and in at least one
    static PAIRTILE_HD double order(int64_t differing, int64_t) {
        return static_cast<double>(differing);
    }
    // what the user sees, from the ordered value
    static PAIRTILE_HD double reported(double ordered, int64_t n_bits) {
        return ordered / static_cast<double>(n_bits);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
