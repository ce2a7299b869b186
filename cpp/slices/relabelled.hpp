// Costs of lines under many relabellings of their rows: one sort of a line serves all of them.
//
// Who is called x is a bit for each row and relabelling. The energy distance and W_1 are running
// counts of these bits along the sorted values, of eight relabellings at a time; W_p deals the
// values out to the two samples.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"

namespace pairtile {

// Bit b of the bytes of a row: whether relabelling b calls it x. sizes[b] rows are called so, at
// least one and not all.
struct Relabellings {
    const uint8_t* bits;  // rows × bytes()
    const int64_t* sizes;
    int64_t rows, count;

    int64_t bytes() const { return (count + 7) / 8; }
};

// A line is the values of all rows along a direction. In the unit 2^exponents[l], in which they are
// moved to the median 0 and spread by no more than 1:
//   costs[l][b] = 2 ∫ (F − G)² if `energy`, else W_p^p
//   sizes[l]    of what costs are made: |E_xx| + |E_yy| + 2|E_xy| of relabelling 0, or mean
//   |value|^p
void relabelled_line_costs(const double* lines, int64_t count, const Relabellings& labels,
                           bool energy, double p, double* costs, double* sizes, int64_t* exponents,
                           Control& control);

}  // namespace pairtile
