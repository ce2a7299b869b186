// Packing: one warp per row, two features per lane, everything in float64 until it is rounded.
#include <cuda_bf16.h>

#include "engine/launch.hpp"
#include "engine/panels.hpp"

namespace pairtile::gpu {
namespace {

constexpr int sample_rows = 1024;
constexpr int sample_features = 32, sample_lanes = block_threads / sample_features;
// Beyond this the squares of a screen would come near the ends of float32.
constexpr double largest_packed = 0x1p40, smallest_packed = 0x1p-100;

__global__ void __launch_bounds__(block_threads)
    centre_of(const __grid_constant__ Array x, const __grid_constant__ Array y, double* centre) {
    __shared__ double sums[sample_lanes][sample_features];
    const int feature = static_cast<int>(threadIdx.x) % sample_features;
    const int lane = static_cast<int>(threadIdx.x) / sample_features;
    const int64_t j = int64_t{blockIdx.x} * sample_features + feature;
    const int64_t rows = x.rows + y.rows;
    const int64_t step = (rows + sample_rows - 1) / sample_rows;
    double sum = 0.0;
    bool fraction = false;
    if (j < x.cols) {
#pragma unroll 4
        for (int64_t i = lane * step; i < rows; i += sample_lanes * step) {
            const double value =
                i < x.rows ? element<double>(x, i, j) : element<double>(y, i - x.rows, j);
            fraction |= value != rint(value) || fabs(value) > 256.0;
            sum += value;
        }
    }
    sums[lane][feature] = sum;
    fraction = __syncthreads_or(fraction);
    if (lane != 0 || j >= x.cols) return;
    if (!fraction) {  // whole numbers that bfloat16 holds stay what they are
        centre[j] = 0.0;
        return;
    }
    for (int other = 1; other < sample_lanes; ++other) sum += sums[other][feature];
    // a float32: what is taken off must not cost digits of its own
    centre[j] = static_cast<double>(
        static_cast<float>(sum / static_cast<double>((rows + step - 1) / step)));
}

__device__ double sum_of_warp(double value) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2) value += __shfl_xor_sync(~0u, value, other);
    return value;
}

template <int parts>
__global__ void __launch_bounds__(block_threads)
    pack_rows(const __grid_constant__ Array array, int64_t first, const RowScale* scales,
              const double* centre, const __grid_constant__ Panels panels, PackFindings* findings) {
    constexpr int warps = block_threads / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t row = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
    const int slices = panels.slices_per_row();
    const bool exists = row < panels.rows;
    char* out = panels.slices + row / panel_rows * (int64_t{parts} * slices * slice_bytes);
    const int within = static_cast<int>(row % panel_rows);
    const int at = swizzled(within, lane / 4) + lane % 4 * 4;

    double square = 0.0, lost = 0.0;
    bool beyond = false, fraction = false;
    for (int s = 0; s < slices; ++s) {
        __nv_bfloat162 rounded[parts];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int64_t j = int64_t{s} * slice_features + 2 * lane + half;
            double x = 0.0;
            if (exists && j < panels.d) {
                x = scales ? normalised_element<double>(array, scales[first + row], first + row, j)
                           : element<double>(array, first + row, j);
                fraction |= x != rint(x);  // which a centre may take the place of
                if (centre) x -= centre[j];
            }
            beyond |= !(fabs(x) <= largest_packed);
            fraction |= x != rint(x);
            double rest = x, packed = 0.0;
#pragma unroll
            for (int p = 0; p < parts; ++p) {
                const bool small = fabs(rest) < smallest_packed;
                const __nv_bfloat16 part = __double2bfloat16(small ? 0.0 : rest);
                const double value = __bfloat162float(part);
                rest -= value;
                packed += value;
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
    square = sum_of_warp(square);
    lost = sum_of_warp(lost);
    beyond = __any_sync(~0u, beyond) || (exists && scales && scales[first + row].norm == 0.0);
    fraction = __any_sync(~0u, fraction);
    if (lane != 0) return;
    // away from zero, so that they bound what they stand for
    const float norm = __double2float_ru(sqrt(square) * (1 + 0x1p-40));
    const float residual = __double2float_ru(sqrt(lost) * (1 + 0x1p-40));
    panels.norms[row] = exists ? static_cast<float>(square) : INFINITY;
    panels.residuals[row] = exists ? residual : 0.0f;
    if (!exists) return;
    if (beyond) atomicOr(&findings->beyond, 1u);
    if (fraction) atomicOr(&findings->fractions, 1u);
    // most rows change nothing: look before asking for the atomic
    const uint32_t norm_bits = __float_as_uint(norm), residual_bits = __float_as_uint(residual);
    if (norm_bits > findings->largest_norm) atomicMax(&findings->largest_norm, norm_bits);
    if (residual_bits > findings->largest_residual) {
        atomicMax(&findings->largest_residual, residual_bits);
    }
}

}  // namespace

void sample_centre(const Array& x, const Array& y, double* centre, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(x.cols, sample_features));
    launch("centre", centre_of, blocks, block_threads, stream, x, y, centre);
}

void pack(const Array& array, int64_t first, const RowScale* scales, const double* centre,
          const Panels& panels, PackFindings* findings, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(padded_rows(panels.rows) / (block_threads / 32));
    const auto kernel = panels.parts == 1   ? pack_rows<1>
                        : panels.parts == 2 ? pack_rows<2>
                                            : pack_rows<3>;
    launch("pack", kernel, blocks, block_threads, stream, array, first, scales, centre, panels,
           findings);
}

}  // namespace pairtile::gpu
