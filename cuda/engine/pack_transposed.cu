// Packing of a transpose: a block turns 64 rows of 128 features into one slice of features as rows.
#include <cuda_bf16.h>

#include "engine/launch.hpp"
#include "engine/panels.hpp"

namespace pairtile::gpu {
namespace {

constexpr double smallest_packed = 0x1p-100;

template <int parts>
__global__ void __launch_bounds__(block_threads)
    pack_columns(const __grid_constant__ Array array, int64_t first, int64_t stop,
                 const RowScale* scales, const __grid_constant__ Panels panels) {
    __shared__ float staged[slice_features][panel_rows + 1];
    const int slices = panels.slices_per_row();
    const int64_t slice = blockIdx.x % slices, panel = blockIdx.x / slices;
    const int64_t first_row = first + slice * slice_features, first_feature = panel * panel_rows;
    const bool row_major = array.row_major();
    for (int e = static_cast<int>(threadIdx.x); e < slice_features * panel_rows;
         e += block_threads) {
        const int r = row_major ? e / panel_rows : e % slice_features;
        const int f = row_major ? e % panel_rows : e / slice_features;
        const int64_t i = first_row + r, j = first_feature + f;
        float x = 0.0f;
        if (i < stop && j < array.cols) {
            x = scales ? normalised_element<float>(array, scales[i], i, j)
                       : element<float>(array, i, j);
        }
        staged[r][f] = fabsf(x) < static_cast<float>(smallest_packed) ? 0.0f : x;
    }
    __syncthreads();
    constexpr int chunks = slice_features / 8;
    char* out = panels.slices + (panel * parts * slices + slice) * slice_bytes;
    for (int c = static_cast<int>(threadIdx.x); c < panel_rows * chunks; c += block_threads) {
        const int f = c / chunks, chunk = c % chunks;
        float rest[8];
#pragma unroll
        for (int k = 0; k < 8; ++k) rest[k] = staged[chunk * 8 + k][f];
#pragma unroll
        for (int p = 0; p < parts; ++p) {
            __align__(16) __nv_bfloat16 rounded[8];
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                rounded[k] = __float2bfloat16_rn(rest[k]);
                rest[k] -= __bfloat162float(rounded[k]);
            }
            *reinterpret_cast<uint4*>(out + int64_t{p} * slices * slice_bytes +
                                      swizzled(f, chunk)) = *reinterpret_cast<uint4*>(rounded);
        }
    }
}

}  // namespace

void pack_transposed(const Array& array, int64_t first, int64_t stop, const RowScale* scales,
                     const Panels& panels, cudaStream_t stream) {
    const int64_t blocks = padded_rows(panels.rows) / panel_rows * panels.slices_per_row();
    const auto kernel = panels.parts == 1   ? pack_columns<1>
                        : panels.parts == 2 ? pack_columns<2>
                                            : pack_columns<3>;
    launch("pack transposed", kernel, static_cast<unsigned>(blocks), block_threads, stream, array,
           first, stop, scales, panels);
}

}  // namespace pairtile::gpu
