// Packing. Rows of numbers that lie together, to one part and as they are: half a warp for each of
// eight rows, four features per lane, in float32. Others: one warp per row, two features per lane,
// everything in float64 until it is rounded.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "engine/launch.hpp"
#include "engine/panels.hpp"

namespace pairtile::gpu {
namespace {

constexpr int sample_rows = 1024;
constexpr int sample_features = 32, sample_lanes = block_threads / sample_features;
// Beyond this the squares of a screen would come near the ends of float32.
constexpr double largest_packed = 0x1p40, smallest_packed = 0x1p-100;
constexpr int together = 4;      // features of a lane
constexpr int rows_of_half = 8;  // rows of half a warp, whose loads are under way at once
static_assert(block_threads / 16 * rows_of_half == panel_rows && together * 16 == slice_features);

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

// Most rows change nothing: look before asking for the atomic.
__device__ void raise(uint32_t* bits, float value) {
    const uint32_t wanted = __float_as_uint(value);
    if (wanted > *bits) atomicMax(bits, wanted);
}

__device__ double sum_of_warp(double value) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2) value += __shfl_xor_sync(~0u, value, other);
    return value;
}

// --- Rows that lie together ----------------------------------------------------------------------

template <class T>
struct alignas(together * sizeof(T) < 16 ? together * sizeof(T) : 16) Four {
    T of[together];
};

__device__ float widened(float x) { return x; }
__device__ float widened(__half x) { return __half2float(x); }
__device__ float widened(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ double widened(double x) { return x; }

// x less a centre in float32, and at least what that is off by.
struct Centred {
    float value, error;
};
__device__ Centred centred(float x, float centre) {
    const float value = x - centre;
    return {value, centre != 0.0f ? 0x1p-24f * fabsf(value) : 0.0f};
}
__device__ Centred centred(double x, double centre) {
    const double exact = x - centre;
    const auto value = static_cast<float>(exact);
    return {value, __double2float_ru(fabs(exact - static_cast<double>(value)))};
}

// Of eight numbers of each of 16 lanes, whose sums over the lanes are wanted: that of lane / 2.
template <class V>
__device__ V sum_of_half(V (&of)[rows_of_half], int lane) {
#pragma unroll
    for (int left = rows_of_half / 2, apart = 8; left > 0; left /= 2, apart /= 2) {
        const bool upper = (lane & apart) != 0;
#pragma unroll
        for (int r = 0; r < left; ++r) {
            const V mine = upper ? of[r + left] : of[r], other = upper ? of[r] : of[r + left];
            of[r] = mine + __shfl_xor_sync(~0u, other, apart);
        }
    }
    return of[0] + __shfl_xor_sync(~0u, of[0], 1);
}

// Whether packing takes this way: four numbers in one load, no row that ends within them.
bool lies_together(const Array& array, int64_t size) {
    const int64_t load = std::min<int64_t>(together * size, 16);
    return array.col_stride == size && array.cols % together == 0 && array.row_stride % load == 0 &&
           reinterpret_cast<uintptr_t>(array.data) % load == 0;
}

// A panel for each block; of float64, whose loads fill more registers, one on a multiprocessor.
template <class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 8 ? 1 : 0)
    pack_together(const __grid_constant__ Array array, int64_t first, const double* centre,
                  const __grid_constant__ Panels panels, PackFindings* findings) {
    using Wide = decltype(widened(T{}));
    const int lane = static_cast<int>(threadIdx.x) % 16;
    const int within = static_cast<int>(threadIdx.x) / 16 * rows_of_half;
    const int64_t row = int64_t{blockIdx.x} * panel_rows + within;
    const int slices = panels.slices_per_row();
    const int rows = static_cast<int>(min(int64_t{rows_of_half}, panels.rows - row));
    const char* in = array.data + (first + row) * array.row_stride;
    char* out = panels.slices + int64_t{blockIdx.x} * slices * slice_bytes;
    // most calls learn of a fraction at once: look for one until then
    const bool seeks = *const_cast<volatile uint32_t*>(&findings->fractions) == 0;

    double squares[rows_of_half] = {};
    float lost[rows_of_half] = {};
    float largest = 0.0f;
    bool fraction = false;
    for (int s = 0; s < slices; ++s) {
        const int64_t j = int64_t{s} * slice_features + together * lane;
        Four<T> read[rows_of_half] = {};
        Wide from[together] = {};
        if (j < panels.d) {
#pragma unroll
            for (int r = 0; r < rows_of_half; ++r) {
                if (r < rows) {
                    read[r] = *reinterpret_cast<const Four<T>*>(
                        in + r * array.row_stride + j * static_cast<int64_t>(sizeof(T)));
                }
            }
            if (centre) {
                const auto read_from = *reinterpret_cast<const Four<double>*>(centre + j);
#pragma unroll
                for (int k = 0; k < together; ++k) from[k] = static_cast<Wide>(read_from.of[k]);
            }
        }
#pragma unroll
        for (int r = 0; r < rows_of_half; ++r) {
            float x[together], error[together];
#pragma unroll
            for (int k = 0; k < together; ++k) {
                const Wide given = widened(read[r].of[k]);
                const Centred found = centred(given, r < rows ? from[k] : Wide(0));
                x[k] = found.value;
                error[k] = found.error;
                largest = fmaxf(largest, fabsf(x[k]));
                if (seeks) fraction |= given != rint(given) || x[k] != rint(x[k]);
            }
            const __nv_bfloat162 rounded[2] = {__floats2bfloat162_rn(x[0], x[1]),
                                               __floats2bfloat162_rn(x[2], x[3])};
            const float packed[together] = {__low2float(rounded[0]), __high2float(rounded[0]),
                                            __low2float(rounded[1]), __high2float(rounded[1])};
            float square = 0.0f;  // of 16 bits each
#pragma unroll
            for (int k = 0; k < together; ++k) {
                square = __fmaf_rn(packed[k], packed[k], square);
                const float off = fabsf(x[k] - packed[k]) + error[k];
                lost[r] = __fmaf_rn(off, off, lost[r]);
            }
            squares[r] += static_cast<double>(square);
            *reinterpret_cast<uint2*>(out + s * slice_bytes + swizzled(within + r, lane / 2) +
                                      lane % 2 * 8) = *reinterpret_cast<const uint2*>(rounded);
        }
    }
    const double square = sum_of_half(squares, lane);
    const float sum_lost = sum_of_half(lost, lane);
    const bool exists = lane / 2 < rows;
    // NaN is never the largest, but in the sum of the squares
    const bool beyond = __any_sync(
        ~0u, !(largest <= static_cast<float>(largest_packed)) || (exists && !(square < INFINITY)));
    fraction = __any_sync(~0u, fraction);
    if (threadIdx.x % 32 == 0) {
        if (beyond) atomicOr(&findings->beyond, 1u);
        if (fraction) atomicOr(&findings->fractions, 1u);
    }
    if (lane % 2 != 0) return;
    // away from zero, so that they bound what they stand for: see docs/numerics.md
    const float norm = __fsqrt_ru(__double2float_ru(square * (1 + 0x1p-21)));
    const float terms = static_cast<float>(panels.d / 16 + 16);
    const float residual = __fsqrt_ru(__fmul_ru(sum_lost, 1.0f + 0x1p-23f * terms));
    const int64_t mine = row + lane / 2;
    panels.norms[mine] = exists ? static_cast<float>(square) : INFINITY;
    panels.residuals[mine] = exists ? residual : 0.0f;
    if (!exists) return;
    raise(&findings->largest_norm, norm);
    raise(&findings->largest_residual, residual);
}

// --- All others ----------------------------------------------------------------------------------

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
    raise(&findings->largest_norm, norm);
    raise(&findings->largest_residual, residual);
}

template <class T>
auto together_if_so(const Array& array) {
    return lies_together(array, sizeof(T)) ? pack_together<T> : nullptr;
}

auto packing_together(const Array& array) {
    switch (array.dtype) {
        case Dtype::float16:
            return together_if_so<__half>(array);
        case Dtype::bfloat16:
            return together_if_so<__nv_bfloat16>(array);
        case Dtype::float32:
            return together_if_so<float>(array);
        case Dtype::float64:
            return together_if_so<double>(array);
        default:
            return decltype(together_if_so<float>(array)){};
    }
}

}  // namespace

void sample_centre(const Array& x, const Array& y, double* centre, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(x.cols, sample_features));
    launch("centre", centre_of, blocks, block_threads, stream, x, y, centre);
}

void pack(const Array& array, int64_t first, const RowScale* scales, const double* centre,
          const Panels& panels, PackFindings* findings, cudaStream_t stream) {
    if (const auto kernel = packing_together(array); kernel && !scales && panels.parts == 1) {
        const auto blocks = static_cast<unsigned>(padded_rows(panels.rows) / panel_rows);
        return launch("pack", kernel, blocks, block_threads, stream, array, first, centre, panels,
                      findings);
    }
    const auto blocks = static_cast<unsigned>(padded_rows(panels.rows) / (block_threads / 32));
    const auto kernel = panels.parts == 1   ? pack_rows<1>
                        : panels.parts == 2 ? pack_rows<2>
                                            : pack_rows<3>;
    launch("pack", kernel, blocks, block_threads, stream, array, first, scales, centre, panels,
           findings);
}

}  // namespace pairtile::gpu
