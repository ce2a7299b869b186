#include "losses/block.hpp"

#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

using Dots = WorkingPairs<InnerProduct, double>;

struct StoreDots {
    const Place& place;
    double* row;

    __device__ void operator()(const Dots& pairs, int64_t first) const {
        if (!place.has_query()) return;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j < place.end) row[j] = pairs.sums[p];
        }
    }
};

__global__ void __launch_bounds__(block_threads, 2)
    store_dots(const __grid_constant__ Sweep sweep, double* dots, int64_t pitch) {
    const Place place(sweep);
    StoreDots fold{place, dots + (place.query - sweep.first_row) * pitch};
    run(sweep, place, Dots{}, fold);
}

// A block has 32 rows and 64 features of the result: a thread eight of a row, whose lane it is.
constexpr int product_features = 64;
constexpr int features_of_thread = product_features / slots;

__global__ void __launch_bounds__(block_threads)
    multiply_rows(const __grid_constant__ WideWeights product, double factor, double* out) {
    __shared__ double tile[tile_cols][tile_rows + 1];
    __shared__ double others[tile_cols][product_features];
    const Array& y = product.others;
    const int thread = static_cast<int>(threadIdx.x);
    const int row = thread % tile_rows, slot = thread / tile_rows;
    const int64_t first_row = int64_t{blockIdx.x} * tile_rows;
    const int64_t first_feature = int64_t{blockIdx.y} * product_features;
    const bool along_rows = product.col_step == 1;
    double sums[features_of_thread] = {};
    for (int64_t first = 0; first < y.rows; first += tile_cols) {
        for (int e = thread; e < tile_rows * tile_cols; e += block_threads) {
            const int r = along_rows ? e / tile_cols : e % tile_rows;
            const int c = along_rows ? e % tile_cols : e / tile_rows;
            const int64_t i = first_row + r, j = first + c;
            tile[c][r] = i < product.rows && j < y.rows
                             ? product.weights[i * product.row_step + j * product.col_step]
                             : 0.0;
        }
        for (int e = thread; e < tile_cols * product_features; e += block_threads) {
            const int c = e / product_features, f = e % product_features;
            const int64_t j = first + c, feature = first_feature + f;
            double value = 0.0;
            if (j < y.rows && feature < y.cols) {
                value = product.scales
                            ? normalised_element<double>(y, product.scales[j], j, feature)
                            : element<double>(y, j, feature);
            }
            others[c][f] = value;
        }
        __syncthreads();
        for (int c = 0; c < tile_cols; ++c) {
            const double weight = tile[c][row];
#pragma unroll
            for (int f = 0; f < features_of_thread; ++f) {
                sums[f] += weight * others[c][slot * features_of_thread + f];
            }
        }
        __syncthreads();
    }
    if (first_row + row >= product.rows) return;
#pragma unroll
    for (int f = 0; f < features_of_thread; ++f) {
        const int64_t feature = first_feature + slot * features_of_thread + f;
        if (feature < y.cols) out[(first_row + row) * y.cols + feature] += factor * sums[f];
    }
}

}  // namespace

void wide_block(const Sweep& sweep, double* dots, int64_t pitch, cudaStream_t stream) {
    launch("wide block", store_dots, grid_of(sweep), block_threads, stream, sweep, dots, pitch);
}

void wide_weight_product(const WideWeights& weights, double factor, double* out,
                         cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(divided_up(weights.rows, tile_rows)),
                    static_cast<unsigned>(divided_up(weights.others.cols, product_features)));
    launch("wide weight product", multiply_rows, grid, block_threads, stream, weights, factor, out);
}

}  // namespace pairtile::gpu
