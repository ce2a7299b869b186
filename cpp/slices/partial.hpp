// Partial transport on a line: how much of each point moves when a share of all mass does.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"

namespace pairtile {

// The points of both samples, ascending. All of one sample weigh the same, and each sample 1 in
// all.
struct Line {
    const double* x;
    int64_t n;
    const double* y;
    int64_t m;
};

// Masses x_mass (n) and y_mass (m), each of which adds up to the share: those that some plan of
// least Σ mass·|x − y|^p moves. Differences should be at most about 1.
void partial_masses(const Line& line, double share, double p, Control& control, double* x_mass,
                    double* y_mass);

}  // namespace pairtile
