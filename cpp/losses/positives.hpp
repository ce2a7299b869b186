// Which pairs of a row belong together: one target, equal (or near) labels, or a sparse matrix.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace pairtile {

// Exactly one of the three.
struct Positives {
    const int64_t* targets = nullptr;  // a column for each row; -1: none
    const double *row_labels = nullptr, *col_labels = nullptr;
    double width = 0.0;  // labels this far apart still belong together
    // of a matrix of rows × columns: columns ascending, weights of a row adding up to 1
    const int64_t *indptr = nullptr, *columns = nullptr;
    const double* weights = nullptr;
    bool self = false;  // rows are the first columns, and no row is its own positive
};

// visit(j, weight) for each positive of `row` among the columns [col + from, col + count): j counts
// from col, and the weights of labels are 1 each.
template <class Visit>
void for_each_positive(const Positives& positives, int64_t row, int64_t col, int64_t from,
                       int64_t count, Visit visit) {
    if (positives.targets) {
        const int64_t at = positives.targets[row] - col;
        if (at >= from && at < count) visit(at, 1.0);
        return;
    }
    if (positives.indptr) {
        const int64_t* end = positives.columns + positives.indptr[row + 1];
        const int64_t* next =
            std::lower_bound(positives.columns + positives.indptr[row], end, col + from);
        for (; next != end && *next < col + count; ++next) {
            visit(*next - col, positives.weights[next - positives.columns]);
        }
        return;
    }
    const double mine = positives.row_labels[row], width = positives.width;
    const double* labels = positives.col_labels + col;
    const int64_t own = positives.self ? row - col : -1;
    constexpr int64_t group = 16;  // asked together, for most have none
    for (int64_t j = from; j < count; j += group) {
        const int64_t end = std::min(j + group, count);
        int found = 0;
        for (int64_t k = j; k < end; ++k) found += std::fabs(mine - labels[k]) <= width;
        if (found == 0) continue;
        for (int64_t k = j; k < end; ++k) {
            if (std::fabs(mine - labels[k]) <= width && k != own) visit(k, 1.0);
        }
    }
}

}  // namespace pairtile
