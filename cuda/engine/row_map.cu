#include "engine/row_map.hpp"

#include "engine/launch.hpp"
#include "engine/sweep.cuh"

namespace pairtile::gpu {
namespace {

constexpr int warps = block_threads / 32;
constexpr double largest_error = 0x1p40;

__global__ void __launch_bounds__(block_threads)
    scale_rows(const __grid_constant__ Array rows, const __grid_constant__ RowMap map,
               double* out) {
    const int64_t at = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (at >= rows.rows * rows.cols) return;
    const int64_t i = at / rows.cols, j = at % rows.cols;
    out[at] = map.lengths[j] * (element<double>(rows, i, j) - map.centre[j]);
}

// A block has 32 rows and 32 components, a thread four components of a row.
__global__ void __launch_bounds__(block_threads, 2)
    transform_rows(const __grid_constant__ Array rows, const __grid_constant__ RowMap map,
                   double* out) {
    __shared__ Staged<double> x, of_map;
    const int row = static_cast<int>(threadIdx.x) % tile_rows;
    const int slot = static_cast<int>(threadIdx.x) / tile_rows;
    const int64_t d = rows.cols, bytes = sizeof(double);
    const int64_t first_row = int64_t{blockIdx.x} * tile_rows;
    const int64_t first_component = int64_t{blockIdx.y} * tile_cols;
    const Array transform = {
        reinterpret_cast<const char*>(map.transform), d, d, d * bytes, bytes, Dtype::float64};
    double sums[pairs_per_thread] = {};
    for (int64_t feature = 0; feature < d; feature += chunk) {
        stage(x, rows, nullptr, first_row, rows.rows, feature);
        stage(of_map, transform, nullptr, first_component, d, feature);
        __syncthreads();
        const int count = static_cast<int>(min(int64_t{chunk}, d - feature));
        for (int f = 0; f < count; ++f) {
            const double off = x[f][row] - map.centre[feature + f];
#pragma unroll
            for (int p = 0; p < pairs_per_thread; ++p) {
                sums[p] += of_map[f][slot * pairs_per_thread + p] * off;
            }
        }
        __syncthreads();
    }
    const int64_t i = first_row + row;
    if (i >= rows.rows) return;
    for (int p = 0; p < pairs_per_thread; ++p) {
        const int64_t component = first_component + slot * pairs_per_thread + p;
        if (component < d) out[i * d + component] = sums[p];
    }
}

// A warp per row.
__global__ void __launch_bounds__(block_threads)
    widen(const __grid_constant__ Array rows, const __grid_constant__ RowMap map, float* residuals,
          PackFindings* findings) {
    const int64_t i = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
    if (i >= rows.rows) return;
    double image = 0.0;
    for (int64_t j = threadIdx.x % 32; j < rows.cols; j += 32) {
        image += map.lengths[j] * fabs(element<double>(rows, i, j) - map.centre[j]);
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2) image += __shfl_xor_sync(~0u, image, other);
    if (threadIdx.x % 32 != 0) return;
    // γ for the map, γ for the canonical value
    const double gamma = static_cast<double>(rows.cols + 4) * 0x1p-53;
    const double error = 2.0 * gamma * image * (1 + 0x1p-20);
    if (!(error <= largest_error)) atomicOr(&findings->beyond, 1u);
    const float residual = __double2float_ru(static_cast<double>(residuals[i]) + error);
    residuals[i] = residual;
    if (residual >= 0.0f) atomicMax(&findings->largest_residual, __float_as_uint(residual));
}

}  // namespace

void map_rows(const Array& rows, const RowMap& map, double* out, cudaStream_t stream) {
    if (!map.transform) {
        const auto blocks = static_cast<unsigned>(divided_up(rows.rows * rows.cols, block_threads));
        return launch("scale rows", scale_rows, blocks, block_threads, stream, rows, map, out);
    }
    const dim3 grid(static_cast<unsigned>(divided_up(rows.rows, tile_rows)),
                    static_cast<unsigned>(divided_up(rows.cols, tile_cols)));
    launch("transform rows", transform_rows, grid, block_threads, stream, rows, map, out);
}

void widen_residuals(const Array& rows, const RowMap& map, float* residuals, PackFindings* findings,
                     cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(rows.rows, warps));
    launch("widen residuals", widen, blocks, block_threads, stream, rows, map, residuals, findings);
}

}  // namespace pairtile::gpu
