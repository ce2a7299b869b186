// Rows as the tensor cores read them: bfloat16, in panels of 128 rows by slices of 64 features,
// each as it will lie in shared memory, so that a slice travels there in one copy of 16 KiB.
//
// A number may be split over several parts whose sum it is: one part screens, three hold what a
// float32 holds.
#pragma once

#include <cuda_runtime.h>

#include "engine/array.hpp"
#include "engine/plan.hpp"

namespace pairtile::gpu {

constexpr int panel_rows = 128;
constexpr int slice_features = 64;
constexpr int slice_row_bytes = slice_features * 2;
constexpr int slice_bytes = panel_rows * slice_row_bytes;
constexpr int mma_depth = 16;  // features of one tensor-core product
constexpr int max_parts = 3;

// Where 16 bytes of a row lie in its slice: the hardware's 128-byte swizzle, in which the same
// eight features of eight rows fall into different banks.
PAIRTILE_HD int swizzled(int row, int sixteen_bytes) {
    return row * slice_row_bytes + ((sixteen_bytes ^ (row & 7)) << 4);
}

struct Panels {
    char* slices;  // (panels, parts, slices of a row), each of slice_bytes
    int64_t rows, d;
    int parts;
    float* norms;      // ‖x̂‖² of the packed rows; +inf beyond the last one
    float* residuals;  // at least ‖x − x̂‖, what packing took off a row

    PAIRTILE_HD int slices_per_row() const {
        return static_cast<int>((d + slice_features - 1) / slice_features);
    }
    // mma_depth steps in the last slice of a row
    PAIRTILE_HD int last_steps() const {
        const int left = static_cast<int>(d - int64_t{slice_features} * (slices_per_row() - 1));
        return (left + mma_depth - 1) / mma_depth;
    }
};

// A multiple of two panels: a block takes 256 query rows.
constexpr int64_t rows_together = 2 * panel_rows;
inline int64_t padded_rows(int64_t rows) { return divided_up(rows, rows_together) * rows_together; }
inline int64_t panels_bytes(int64_t rows, int64_t d, int parts) {
    return padded_rows(rows) * divided_up(d, slice_features) * slice_row_bytes * parts;
}

// What packing learns of all rows; maxima of floats as integers, which order alike.
struct PackFindings {
    uint32_t largest_norm, largest_residual;  // bits of floats: ‖x̂‖ and ‖x − x̂‖
    uint32_t beyond;  // 1: some row is not finite or too large for the screen, or a zero row that
                      // cosine treats apart
    uint32_t fractions;  // 1: some number is not an integer
};

// centre[j] = the mean of feature j over at most 1024 rows of x and of y at fixed strides.
void sample_centre(const Array& x, const Array& y, double* centre, cudaStream_t stream);

// Rows [first, first + panels.rows) of the array minus the centre (null: as they are), or
// normalised (scales), rounded to the parts. Findings are merged into what is there.
void pack(const Array& array, int64_t first, const RowScale* scales, const double* centre,
          const Panels& panels, PackFindings* findings, cudaStream_t stream);

// Each part on a grid of its own, whose steps are this much smaller from part to part: products of
// two parts are whole numbers of one step, of which a sum loses next to nothing.
constexpr double grid_of_part = 0x1p-9;

// What packing on a grid learns of all rows, the largest each; bits of floats as above.
struct GridFindings {
    uint32_t norm, residual;    // ‖x̂‖ and ‖x − x̂‖
    uint32_t part[max_parts];   // ‖x_p‖
    uint32_t steps[max_parts];  // the same in steps of the row's leading part
    uint32_t beyond;            // 1: some row is not finite or too large
};

// Two or three parts, the leading one in steps of a power of two: at most 256 for a number and
// 3,900 for a row. Else as `pack`.
void pack_on_grid(const Array& array, int64_t first, const double* centre, const Panels& panels,
                  GridFindings* findings, cudaStream_t stream);

// The transpose of rows [first, stop): the features are the rows of the panels, the rows are their
// features, zeros from `stop` on. In float32, and without norms, residuals and findings.
void pack_transposed(const Array& array, int64_t first, int64_t stop, const RowScale* scales,
                     const Panels& panels, cudaStream_t stream);

}  // namespace pairtile::gpu
