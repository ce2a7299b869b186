// How many values lie in each of the bins between ascending limits: in bin b are those above limit
// b − 1 and not above limit b, in the first and in the last one all others on their side.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Bins {
    const double* limits;
    int64_t count;  // of bins: one more than limits

    // A bin not above that of the value is known.
    PAIRTILE_HD int64_t of(double value, int64_t from = 0) const {
        int64_t bin = from;
        while (bin < count - 1 && value > limits[bin]) ++bin;
        return bin;
    }
};

// The counts lie where the device wants them; those of two parts are added.
PAIRTILE_HD void histogram_push(int64_t* counts, int64_t bin) { ++counts[bin]; }
PAIRTILE_HD void histogram_merge(int64_t* into, const int64_t* from, int64_t bins) {
    for (int64_t b = 0; b < bins; ++b) into[b] += from[b];
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
