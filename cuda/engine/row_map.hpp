// Rows through the linear map of a metric, x → A(x − c) in float64: what packing then reads.
#pragma once

#include "engine/panels.hpp"

namespace pairtile::gpu {

struct RowMap {
    const double* centre;     // c
    const double* lengths;    // of the columns of A
    const double* transform;  // A, row by row; null where it is diagonal, its diagonal the lengths
};

// out (rows, features), row by row.
void map_rows(const Array& rows, const RowMap& map, double* out, cudaStream_t stream);

// Adds to the residuals of rows what the map is off by, and canonical values, which transform
// differences: see docs/numerics.md.
void widen_residuals(const Array& rows, const RowMap& map, float* residuals, PackFindings* findings,
                     cudaStream_t stream);

}  // namespace pairtile::gpu
