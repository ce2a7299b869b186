// How two samples differ column by column, everything off one sort of each column.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// One entry per column. F and G are the distribution functions of x and y, H that of both together.
struct ColumnResults {
    double* w1;                    // ∫ |F − G| dt
    double* w2;                    // the 2-Wasserstein distance, rooted
    double* ks;                    // max |F − G|
    double* energy;                // 2 ∫ (F − G)² dt
    double* cvm;                   // ∫ (F − G)² dH
    double* quantile_differences;  // columns × levels: quantiles of y less those of x
};

// The quantile at a level between two order statistics lies on the line through them.
template <class T>
void column_statistics(const Array& x, const Array& y, const double* levels, int64_t level_count,
                       const ColumnResults& results, Control& control);

}  // namespace pairtile
