// The frame that samples are projected in: a centre from some rows at fixed places, a power of two
// from all of them.
//
// What is read a block at a time has the centre of the same rows in memory, and so the same
// projections: those places alone are read before anything is projected. A power of two costs no
// digits, so a scale may follow the largest number seen so far.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/frame.hpp"

namespace pairtile {

// The rows of a sample of so many rows that decide the centre: all of few, else runs of neighbours,
// which are cheap to read, spread over the whole. Of no more rows than it gives, it gives all.
std::vector<int64_t> centre_rows(int64_t rows, int64_t d);

// The centre of two samples: their mean over those rows that have mass, without outliers. Null
// weights are equal ones.
std::vector<double> line_centre(const Array& x, const Array& y, const double* x_weights,
                                const double* y_weights);

Frame line_frame(const Array& x, const Array& y, const double* x_weights, const double* y_weights,
                 Control& control);

}  // namespace pairtile
