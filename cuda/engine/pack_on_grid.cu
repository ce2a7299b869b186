// Packing on a grid: one warp per row, which reads it twice, two features per lane, in float64.
#include <cuda_bf16.h>

#include "engine/launch.hpp"
#include "engine/panels.hpp"

namespace pairtile::gpu {
namespace {

constexpr double largest_on_grid = 0x1p40, smallest_on_grid = 0x1p-100;
// Of a row's leading part: no number has more steps, nor the row as a whole.
constexpr double steps_of_number = 256.0, steps_of_row = 3900.0;

__device__ double added_in_warp(double value) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2) value += __shfl_xor_sync(~0u, value, other);
    return value;
}
__device__ double largest_in_warp(double value) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        value = fmax(value, __shfl_xor_sync(~0u, value, other));
    }
    return value;
}
// At least the root of a sum of squares.
__device__ float length_of(double square) {
    return __double2float_ru(sqrt(square) * (1 + 0x1p-40));
}
// Most rows change nothing: look before asking for the atomic.
__device__ void keep_largest(uint32_t& largest, float value) {
    const uint32_t bits = __float_as_uint(value);
    if (bits > *const_cast<volatile uint32_t*>(&largest)) atomicMax(&largest, bits);
}

struct CentredRow {
    const Array& array;
    const double* centre;
    int64_t row;

    __device__ double operator()(int64_t j) const {
        const auto x = element<double>(array, row, j);
        return centre ? x - centre[j] : x;
    }
};

template <int parts>
__global__ void __launch_bounds__(block_threads)
    pack_rows_on_grid(const __grid_constant__ Array array, int64_t first, const double* centre,
                      const __grid_constant__ Panels panels, GridFindings* findings) {
    constexpr int warps = block_threads / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t row = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
    const int slices = panels.slices_per_row();
    const bool exists = row < panels.rows;
    const CentredRow number{array, centre, first + row};
    char* out = panels.slices + row / panel_rows * (int64_t{parts} * slices * slice_bytes);
    const int within = static_cast<int>(row % panel_rows);
    const int at = swizzled(within, lane / 4) + lane % 4 * 4;

    double largest = 0.0, whole = 0.0;
    bool beyond = false;
    for (int64_t j = lane; exists && j < panels.d; j += 32) {
        const double x = number(j);
        beyond |= !(fabs(x) <= largest_on_grid);
        largest = fmax(largest, fabs(x));
        whole += x * x;
    }
    largest = largest_in_warp(largest);
    whole = sqrt(added_in_warp(whole));
    beyond = __any_sync(~0u, beyond);
    int exponent = 0;
    const double least = fmax(largest / steps_of_number, whole / steps_of_row);
    const double share = frexp(least, &exponent);
    if (share == 0.5) --exponent;  // a power of two already
    const double step = beyond || least == 0.0 ? 1.0 : ldexp(1.0, exponent);

    double square = 0.0, lost = 0.0, of_part[parts] = {};
    for (int s = 0; s < slices; ++s) {
        __nv_bfloat162 rounded[parts];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int64_t j = int64_t{s} * slice_features + 2 * lane + half;
            double rest = exists && !beyond && j < panels.d ? number(j) : 0.0;
            double packed = 0.0, grid = step;
#pragma unroll
            for (int p = 0; p < parts; ++p) {
                const double nearest = rint(rest / grid) * grid;
                const double value = fabs(nearest) < smallest_on_grid ? 0.0 : nearest;
                const __nv_bfloat16 part = __double2bfloat16(value);  // which it is
                rest -= value;
                packed += value;
                grid *= grid_of_part;
                of_part[p] += value * value;
                if (half == 0) {
                    rounded[p].x = part;
                } else {
                    rounded[p].y = part;
                }
            }
            square += packed * packed;
            lost += rest * rest;
        }
#pragma unroll
        for (int p = 0; p < parts; ++p) {
            *reinterpret_cast<__nv_bfloat162*>(out + (int64_t{p} * slices + s) * slice_bytes + at) =
                rounded[p];
        }
    }
    square = added_in_warp(square);
    lost = added_in_warp(lost);
#pragma unroll
    for (double& sum : of_part) sum = added_in_warp(sum);
    if (lane != 0) return;
    const float residual = length_of(lost);
    panels.norms[row] = exists ? static_cast<float>(square) : INFINITY;
    panels.residuals[row] = exists ? residual : 0.0f;
    if (!exists) return;
    if (beyond) atomicOr(&findings->beyond, 1u);
    keep_largest(findings->norm, length_of(square));
    keep_largest(findings->residual, residual);
#pragma unroll
    for (int p = 0; p < parts; ++p) {
        keep_largest(findings->part[p], length_of(of_part[p]));
        keep_largest(findings->steps[p], length_of(of_part[p] / step / step));
    }
}

}  // namespace

void pack_on_grid(const Array& array, int64_t first, const double* centre, const Panels& panels,
                  GridFindings* findings, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(padded_rows(panels.rows) / (block_threads / 32));
    const auto kernel = panels.parts == 2 ? pack_rows_on_grid<2> : pack_rows_on_grid<3>;
    launch("pack on a grid", kernel, blocks, block_threads, stream, array, first, centre, panels,
           findings);
}

}  // namespace pairtile::gpu
