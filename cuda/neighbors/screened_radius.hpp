// Counts within radii by tensor cores: products of bfloat16 tell of most pairs on which side of a
// radius they are, under the bound of screened_knn.hpp; canonical values decide the others, at once
// and by the whole warp. The counts are those of radius.hpp.
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
    MetricId metric;
    int64_t first_query, first_reference;  // of the packed rows and columns
    bool exclude_self;
    Ball ball;
    bool exact;  // screened values are multiples of a half, without error
    const PackFindings* of_rows;
    const PackFindings* of_cols;
    RadiusCounts by_query_radii, by_reference_radii;
    RadiusLimits* row_limits;  // workspace, one for each packed row and column
    RadiusLimits* col_limits;

    // Pairs decided by canonical values. Beyond the most no more are, and the counts are worthless.
    unsigned long long* decided;
    uint64_t most_decided;
};

int64_t screened_radius_segments(int64_t rows, int64_t references);

// Adds to what is counted already. Not for inner products.
void screened_radius_counts(const ScreenedRadius& search, TensorPath path, cudaStream_t stream);

}  // namespace pairtile::gpu
