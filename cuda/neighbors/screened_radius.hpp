// Who lies within a radius by tensor cores: products of bfloat16 tell of most pairs on which side
// of a radius they are, under the bound of screened_knn.hpp; canonical values decide the others,
// which a sweep puts aside. Counts and rows of neighbours are those of radius.hpp.
#pragma once

#include "engine/tensor_sweep.hpp"
#include "neighbors/radius.hpp"

namespace pairtile::gpu {

// Screened values up to the first are outside a ball, those above the second inside.
struct alignas(8) RadiusLimits {
    float outside, inside;
};

struct ScreenedRadius {
    TensorSweep sweep;
    Array queries, references;  // for canonical values
    const RowScale* query_scales;
    const RowScale* reference_scales;
    Metric metric;
    int64_t first_query, first_reference;  // of the packed rows and columns
    bool exclude_self;
    Ball ball;
    bool exact;  // screened values are multiples of a half, without error
    const PackFindings* of_rows;
    const PackFindings* of_cols;
    RadiusCounts by_query_radii, by_reference_radii;
    RadiusLimits* row_limits;  // workspace, one for each packed row and column
    RadiusLimits* col_limits;

    // Pairs put aside, row · columns + column of those that are packed: those on either side of a
    // radius for all that the screen tells, or, of lists, those that may be inside. Where there are
    // more than fit, what the sweep counted is worthless.
    uint32_t* pairs;
    uint64_t room;
    unsigned long long* found;
};

// What a sweep listed, and the values that were decided on.
struct ListedPairs {
    const uint32_t* pairs;
    const double* values;
    int64_t count;
    int64_t first_query, first_reference;  // of the packed rows and columns
    uint32_t columns;                      // packed
};

int64_t screened_radius_segments(int64_t rows, int64_t references);

// Adds to what is counted already, or lists what is inside by the radii of queries. Not for inner
// products. Packed rows times packed columns are less than 2^32.
void screened_radius_sweep(const ScreenedRadius& search, bool listed, TensorPath path,
                           cudaStream_t stream);
// Counts those of the pairs put aside that are inside; of lists their values are kept, NaN for the
// others.
void screened_radius_decision(const ScreenedRadius& search, double* values, cudaStream_t stream);
// Puts listed pairs into their rows, in any order.
void screened_radius_placement(const ListedPairs& listed, const RadiusRows& rows,
                               cudaStream_t stream);

}  // namespace pairtile::gpu
