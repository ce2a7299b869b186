// Onto the lines and back, to the rows or to the lines themselves: matrix products, or transposed
// copies where the lines are the axes.
#include "pairtile/slice/key.hpp"
#include "slices/product.cuh"

namespace pairtile::gpu {
namespace {

// Rows of the array across, features deep, or the other way round, less the centre; zeros beyond
// the last of either.
template <class T, bool features_deep>
struct Centred {
    RowStrip strip;
    int64_t left;
    const T* centre;  // of the first number
    int centre_hop;   // from one to the next
    T scale;
    Dtype dtype;

    // From row and feature `first` on.
    __device__ Centred(const Array& array, const Lines<T>& lines, int64_t first_row,
                       int64_t first_feature)
        : strip(array.data + first_row * array.row_stride + first_feature * array.col_stride,
                features_deep ? array.row_stride : array.col_stride,
                features_deep ? array.col_stride : array.row_stride,
                features_deep ? array.rows - first_row : array.cols - first_feature,
                array.row_major() == features_deep),
          left(features_deep ? array.cols - first_feature : array.rows - first_row),
          centre(lines.centre + first_feature + (features_deep ? strip.deep : strip.place())),
          centre_hop(features_deep ? strip.deep_hop : strip.place_hop()),
          scale(static_cast<T>(lines.scale)),
          dtype(array.dtype) {}

    template <Dtype known>
    __device__ void fetch_as(T (&values)[row_loads]) const {
        const int limit = strip.limit(left);
#pragma unroll
        for (int l = 0; l < row_loads; ++l) {
            values[l] = T(0);
            if (l < limit) {
                const Array one = {strip.at + l * strip.hop, 1, 1, 0, 0, known};
                values[l] = element<T>(one, 0, 0) * scale - centre[l * centre_hop];
            }
        }
    }
    // The dtype is asked once for all loads.
    __device__ void fetch(T (&values)[row_loads]) {
        switch (dtype) {
            case Dtype::float16:
                fetch_as<Dtype::float16>(values);
                break;
            case Dtype::bfloat16:
                fetch_as<Dtype::bfloat16>(values);
                break;
            case Dtype::int8:
                fetch_as<Dtype::int8>(values);
                break;
            case Dtype::uint8:
                fetch_as<Dtype::uint8>(values);
                break;
            case Dtype::float32:
                fetch_as<Dtype::float32>(values);
                break;
            case Dtype::float64:
                // never among float32 lines
                if constexpr (sizeof(T) == 8) fetch_as<Dtype::float64>(values);
        }
        left -= product_depth;
        strip.at += product_depth * strip.stride;
        if constexpr (features_deep) centre += product_depth;
    }
};

// Blocks with the same rows follow one another, which then come out of the cache.
template <class T, bool cut>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 2 : 1)
    project(Array array, Lines<T> lines, int64_t stride, Key<T>* keys, uint32_t* beside) {
    const int64_t tiles = (lines.count + product_cols - 1) / product_cols;
    const int64_t first_row = int64_t{blockIdx.x} / tiles * product_rows;
    const int64_t first_line = int64_t{blockIdx.x} % tiles * product_cols;
    const Centred<T, true> left(array, lines, first_row, 0);
    const PlainCols<T> right = {ColStrip(lines.directions + lines.first + first_line, sizeof(T),
                                         lines.slices * sizeof(T), lines.count - first_line, false),
                                array.cols};
    product_tile<T, cut, false>(array.cols, left, right,
                                [&](int row, int col, const Four<T>& four) {
                                    const int64_t i = first_row + row, line = first_line + col;
                                    if (i >= stride || line >= lines.count) return;
                                    Four<Key<T>> found;
#pragma unroll
                                    for (int q = 0; q < 4; ++q)
                                        found.of[q] = key_of_value(four.of[q]);
                                    store_four(keys + line * stride + i, found);
                                    if (beside) {
                                        Four<uint32_t> rows;
#pragma unroll
                                        for (int q = 0; q < 4; ++q)
                                            rows.of[q] = static_cast<uint32_t>(i + q);
                                        store_four(beside + line * stride + i, rows);
                                    }
                                });
}

template <class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 2 : 1)
    pull_back(const T* slopes, int64_t rows, int64_t stride, int64_t d, Lines<T> lines,
              T* gradient) {
    const int64_t tiles = (d + product_cols - 1) / product_cols;
    const int64_t first_row = int64_t{blockIdx.x} / tiles * product_rows;
    const int64_t first_feature = int64_t{blockIdx.x} % tiles * product_cols;
    const PlainRows<T> left = {
        RowStrip(slopes + first_row, sizeof(T), stride * sizeof(T), rows - first_row, false),
        lines.count};
    const PlainCols<T> right = {
        ColStrip(lines.directions + first_feature * lines.slices + lines.first,
                 lines.slices * sizeof(T), sizeof(T), d - first_feature, true),
        lines.count};
    product_tile<T, sizeof(T) == 4, true>(
        lines.count, left, right, [&](int row, int col, const Four<T>& four) {
            const int64_t i = first_row + row, feature = first_feature + col;
            if (i >= rows || feature >= d) return;
            T* const out = gradient + i * d + feature;
            if (d % 4 == 0) {
                Four<T> sums = load_four(out);
#pragma unroll
                for (int q = 0; q < 4; ++q) sums.of[q] += four.of[q];
                store_four(out, sums);
                return;
            }
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                if (feature + q < d) out[q] += four.of[q];
            }
        });
}

// The rows of a segment, times what each gives along the lines: partial[segment][line][feature].
template <class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 2 : 1)
    turn_lines(Array array, const T* slopes, int64_t stride, Lines<T> lines, int64_t segment_rows,
               double* partial) {
    const int64_t of_lines = (lines.count + product_cols - 1) / product_cols;
    const int64_t tiles = (array.cols + product_rows - 1) / product_rows * of_lines;
    const int64_t segment = int64_t{blockIdx.x} / tiles, tile = int64_t{blockIdx.x} % tiles;
    const int64_t first_feature = tile / of_lines * product_rows;
    const int64_t first_line = tile % of_lines * product_cols;
    const int64_t first_row = segment * segment_rows;
    Array some = array;
    if (some.rows > first_row + segment_rows) some.rows = first_row + segment_rows;
    const Centred<T, false> left(some, lines, first_row, first_feature);
    const PlainCols<T> right = {
        ColStrip(slopes + first_line * stride + first_row, stride * sizeof(T), sizeof(T),
                 lines.count - first_line, true),
        left.left};
    double* const out = partial + segment * lines.count * array.cols;
    product_tile<T, sizeof(T) == 4, false>(
        left.left, left, right, [&](int row, int col, const Four<T>& four) {
            const int64_t feature = first_feature + row, line = first_line + col;
            if (line >= lines.count) return;
#pragma unroll
            for (int q = 0; q < 4; ++q) {
                if (feature + q < array.cols) out[line * array.cols + feature + q] = four.of[q];
            }
        });
}

// out += factor · the sum over segments
__global__ void __launch_bounds__(block_threads)
    add_segments(const double* partial, int64_t segments, int64_t numbers, double factor,
                 double* out) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (i >= numbers) return;
    double sum = 0.0;
    for (int64_t s = 0; s < segments; ++s) sum += partial[s * numbers + i];
    out[i] += factor * sum;
}

// Columns become lists, and slopes columns, by way of 32 × 32 numbers in shared memory.
template <class T>
using Square = T[32][33];

struct SquarePlace {
    int64_t row, line;
    int lane, level;

    __device__ explicit SquarePlace(int64_t count) {
        const int64_t across = (count + 31) / 32;
        row = int64_t{blockIdx.x} / across * 32;
        line = int64_t{blockIdx.x} % across * 32;
        lane = static_cast<int>(threadIdx.x) % 32;
        level = static_cast<int>(threadIdx.x) / 32;
    }
};

template <class T>
__global__ void __launch_bounds__(block_threads)
    pick_columns(Array array, int64_t first, int64_t count, int64_t stride, Key<T>* keys,
                 uint32_t* beside) {
    __shared__ Square<T> square;
    const SquarePlace place(count);
    const bool row_major = array.row_major();
    for (int at = place.level; at < 32; at += block_threads / 32) {
        const int r = row_major ? at : place.lane, l = row_major ? place.lane : at;
        const int64_t i = place.row + r, line = place.line + l;
        if (i < array.rows && line < count) square[l][r] = element<T>(array, i, first + line);
    }
    __syncthreads();
    for (int l = place.level; l < 32; l += block_threads / 32) {
        const int64_t i = place.row + place.lane, line = place.line + l;
        if (i >= array.rows || line >= count) continue;
        keys[line * stride + i] = key_of_value(square[l][place.lane]);
        if (beside) beside[line * stride + i] = static_cast<uint32_t>(i);
    }
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    place_columns(const T* slopes, int64_t rows, int64_t stride, int64_t d, int64_t first,
                  int64_t count, T* gradient) {
    __shared__ Square<T> square;
    const SquarePlace place(count);
    for (int l = place.level; l < 32; l += block_threads / 32) {
        const int64_t i = place.row + place.lane, line = place.line + l;
        if (i < rows && line < count) square[l][place.lane] = slopes[line * stride + i];
    }
    __syncthreads();
    for (int r = place.level; r < 32; r += block_threads / 32) {
        const int64_t i = place.row + r, line = place.line + place.lane;
        if (i < rows && line < count) gradient[i * d + first + line] += square[place.lane][r];
    }
}

unsigned blocks_of(int64_t rows, int64_t rows_at_a_time, int64_t columns, int64_t at_a_time) {
    return static_cast<unsigned>(divided_up(rows, rows_at_a_time) * divided_up(columns, at_a_time));
}

}  // namespace

template <class T>
void project_slices(const Array& rows, const Lines<T>& lines, void* keys, uint32_t* beside,
                    cudaStream_t stream) {
    const int64_t stride = stride_of(rows.rows);
    auto* out = static_cast<Key<T>*>(keys);
    if (!lines.directions) {
        launch("pick_columns", pick_columns<T>, blocks_of(rows.rows, 32, lines.count, 32),
               block_threads, stream, rows, lines.first, lines.count, stride, out, beside);
        return;
    }
    const bool cut = sizeof(T) == 4 && rows.cols > feature_block;
    launch("project_slices", cut ? project<T, sizeof(T) == 4> : project<T, false>,
           blocks_of(rows.rows, product_rows, lines.count, product_cols), block_threads, stream,
           rows, lines, stride, out, beside);
}

template <class T>
void pull_back_slices(const T* slopes, int64_t rows, int64_t d, const Lines<T>& lines, T* gradient,
                      cudaStream_t stream) {
    const int64_t stride = stride_of(rows);
    if (!lines.directions) {
        launch("place_columns", place_columns<T>, blocks_of(rows, 32, lines.count, 32),
               block_threads, stream, slopes, rows, stride, d, lines.first, lines.count, gradient);
        return;
    }
    launch("pull_back_slices", pull_back<T>, blocks_of(rows, product_rows, d, product_cols),
           block_threads, stream, slopes, rows, stride, d, lines, gradient);
}

template <class T>
void turn_slices(const Array& rows, const T* slopes, const Lines<T>& lines, double* partial,
                 double* out, cudaStream_t stream) {
    const TurnSegments cut(rows.rows, rows.cols, lines.count);
    const int64_t numbers = rows.cols * lines.count;
    launch("turn_slices", turn_lines<T>,
           static_cast<unsigned>(cut.segments * divided_up(rows.cols, product_rows) *
                                 divided_up(lines.count, product_cols)),
           block_threads, stream, rows, slopes, stride_of(rows.rows), lines, cut.rows, partial);
    launch("turn_slices", add_segments, static_cast<unsigned>(divided_up(numbers, block_threads)),
           block_threads, stream, partial, cut.segments, numbers, 1.0 / lines.scale, out);
}

#define PT_INSTANTIATE(T)                                                                   \
    template void project_slices<T>(const Array&, const Lines<T>&, void*, uint32_t*,        \
                                    cudaStream_t);                                          \
    template void pull_back_slices<T>(const T*, int64_t, int64_t, const Lines<T>&, T*,      \
                                      cudaStream_t);                                        \
    template void turn_slices<T>(const Array&, const T*, const Lines<T>&, double*, double*, \
                                 cudaStream_t);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile::gpu
