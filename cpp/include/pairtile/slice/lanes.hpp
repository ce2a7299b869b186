// Sums over a line are kept in eight lanes, whatever the registers: the bits are the same.
#pragma once

#include <cstdint>

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr int line_lanes = 8;

// add(i mod line_lanes, i) for i < n.
template <class Add>
void in_lanes(int64_t n, const Add& add) {
    int64_t i = 0;
    for (; i + line_lanes <= n; i += line_lanes) {
        for (int l = 0; l < line_lanes; ++l) add(l, i + l);
    }
    for (int l = 0; i < n; ++i, ++l) add(l, i);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
