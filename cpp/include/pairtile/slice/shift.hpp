// The shift of a plan around a circle at which its convex cost is least.
#pragma once

#include <cstdint>

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The least shift in (−most, most] beyond which the cost does not fall, or −most where it falls
// nowhere. slope(shift): of the cost from there to the next one. Where a straight slope would be 0,
// and by halves where that does not halve what is left.
template <class Slope>
PAIRTILE_HD int64_t least_shift(int64_t most, const Slope& slope) {
    int64_t low = -most, high = most;
    double falls = slope(low), rises = slope(high);
    if (falls >= 0) return low;
    for (bool halve = false; high - low > 1;) {
        const int64_t width = high - low;
        int64_t at = low + width / 2;
        if (!halve) {
            const double share = falls / (falls - rises);
            at = low + static_cast<int64_t>(share * static_cast<double>(width));
            at = at < low + 1 ? low + 1 : (at > high - 1 ? high - 1 : at);
        }
        const double found = slope(at);
        if (found < 0) {
            low = at, falls = found;
        } else {
            high = at, rises = found;
        }
        halve = high - low > width / 2;
    }
    return high;
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
