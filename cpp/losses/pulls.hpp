// Gradients of losses of distances: sums of pulls w (z_i − z_j) along pairs of rows.
#pragma once

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

struct Pulls {
    const int64_t *one, *other;  // pairs in any order, any of them several times
    const double* weights;
    int64_t count;
};

// Adds w (z_i − z_j) to row i of the gradient for each pair (i, j); z are the rows, divided by
// these lengths where there are any, but for a zero row. Of a row, the weights of one partner are
// added up in their order, then the pulls of partners in theirs, in float64, rounded once.
template <class T>
void add_pulls(const Source& rows, const double* lengths, const Pulls& pulls, Control& control,
               T* gradient);

}  // namespace pairtile
