// Where the lanes of a register come from when those with a bit in a mask go to its front and the
// others to its back, both in their order: a table for permutations that move `units` parts of each
// lane.
#pragma once

#include <cstdint>

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <int lanes, int units>
struct SplitPlaces {
    static constexpr int masks = 1 << lanes;
    uint8_t of[masks][lanes * units];

    constexpr SplitPlaces() : of{} {
        for (int mask = 0; mask < masks; ++mask) {
            int front = 0, back = __builtin_popcount(static_cast<unsigned>(mask));
            for (int lane = 0; lane < lanes; ++lane) {
                const int to = mask >> lane & 1 ? front++ : back++;
                for (int unit = 0; unit < units; ++unit) {
                    of[mask][to * units + unit] = static_cast<uint8_t>(lane * units + unit);
                }
            }
        }
    }
};

template <int lanes, int units>
alignas(64) constexpr SplitPlaces<lanes, units> split_places;

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
