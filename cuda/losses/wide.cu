#include "losses/wide.hpp"

#include "engine/contraction.hpp"
#include "engine/row_fold.cuh"
#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

using Dots = WorkingPairs<InnerProduct, double>;

__device__ bool is_positive(const WideLogits& logits, int64_t query, int64_t reference) {
    const int64_t row = logits.transposed ? reference : query;
    const int64_t column = logits.transposed ? query : reference;
    return column == (logits.targets ? logits.targets[row] : row);
}

struct SumWide {
    const WideLogits& logits;
    const Place& place;
    double* positives;
    LogSumExp sum;

    __device__ void operator()(const Dots& pairs, int64_t first) {
        if (!place.has_query()) return;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end) continue;
            const double logit = logits.scale * pairs.sums[p];
            if (is_positive(logits, place.query, j)) {
                positives[logits.transposed ? j : place.query] = logit;
            } else {
                sum.push(logit);
            }
        }
    }
};

__global__ void __launch_bounds__(block_threads, 2)
    sum_wide(const __grid_constant__ WideLogits logits, LogSumExp* states, double* positives) {
    const Place place(logits.sweep);
    SumWide fold{logits, place, positives, {}};
    run(logits.sweep, place, Dots{}, fold);
    keep(states, logits.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    merge_wide(const __grid_constant__ Sweep sweep, const LogSumExp* states, LogSumExp* sums) {
    const int64_t row = row_of_thread();
    if (row < sweep.rows) sums[sweep.first_row + row].merge(merged(states, sweep, row));
}

// --- Weights times rows --------------------------------------------------------------------------

constexpr int features_per_thread = contraction_width / slots;

__device__ double probability(double logit, const WideSide& side) {
    return exp((logit - side.reference) - side.log_total) * side.share;
}

struct MultiplyWide {
    const WideProducts& products;
    const Place& place;
    double (&tile)[tile_cols][tile_rows + 1];
    double (&others)[tile_cols][contraction_width];
    double sums[features_per_thread];

    __device__ double weight(double logit, int64_t reference) const {
        const WideLogits& logits = products.logits;
        const int64_t row = logits.transposed ? reference : place.query;
        const int64_t column = logits.transposed ? place.query : reference;
        const WideSide of_row = products.of_x[row];
        if (is_positive(logits, place.query, reference)) return of_row.positive;
        double weight = probability(logit, of_row);
        if (products.of_y) weight += probability(logit, products.of_y[column]);
        return weight;
    }

    __device__ void operator()(const Dots& pairs, int64_t first) {
        const Sweep& sweep = products.logits.sweep;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            tile[place.column(p)][place.row] =
                place.has_query() && j < place.end
                    ? weight(products.logits.scale * pairs.sums[p], j)
                    : 0.0;
        }
        for (int e = static_cast<int>(threadIdx.x); e < tile_cols * contraction_width;
             e += block_threads) {
            const int j = e / contraction_width, f = e % contraction_width;
            const int64_t i = first + j, feature = products.first_feature + f;
            double value = 0.0;
            if (i < place.end && f < products.features) {
                value = sweep.reference_scales
                            ? normalised_element<double>(sweep.references,
                                                         sweep.reference_scales[i], i, feature)
                            : element<double>(sweep.references, i, feature);
            }
            others[j][f] = value;
        }
        __syncthreads();
        for (int j = 0; j < tile_cols; ++j) {
            const double value = tile[j][place.row];
#pragma unroll
            for (int f = 0; f < features_per_thread; ++f) {
                sums[f] += value * others[j][place.slot * features_per_thread + f];
            }
        }
    }
};

__global__ void __launch_bounds__(block_threads, 2)
    multiply_wide(const __grid_constant__ WideProducts products) {
    __shared__ double tile[tile_cols][tile_rows + 1];
    __shared__ double others[tile_cols][contraction_width];
    const Sweep& sweep = products.logits.sweep;
    const Place place(sweep);
    MultiplyWide fold{products, place, tile, others, {}};
    run(sweep, place, Dots{}, fold);
    if (!place.has_query()) return;
    const int64_t row = place.query - sweep.first_row;
    double* out = products.partial + (int64_t{blockIdx.y} * sweep.rows + row) * contraction_width +
                  place.slot * features_per_thread;
    for (int f = 0; f < features_per_thread; ++f) out[f] = fold.sums[f];
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    merge_products(const __grid_constant__ WideProducts products, double factor, T* out) {
    const Sweep& sweep = products.logits.sweep;
    const int64_t entry = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    const int64_t entries = sweep.rows * contraction_width;
    const int64_t row = entry / contraction_width, f = entry % contraction_width;
    if (entry >= entries || f >= products.features) return;
    double sum = 0.0;
    for (int64_t s = 0; s < sweep.cut.segments; ++s) sum += products.partial[s * entries + entry];
    out[(sweep.first_row + row) * sweep.queries.cols + products.first_feature + f] =
        static_cast<T>(factor * sum);
}

// Of a row, by its warp.
template <class T>
__device__ double along_row(const Array& x, const RowScale* scales, const T* g, int64_t row) {
    double sum = 0.0;
    for (int64_t j = threadIdx.x % 32; j < x.cols; j += 32) {
        const double value = scales ? normalised_element<double>(x, scales[row], row, j)
                                    : element<double>(x, row, j);
        sum += value * static_cast<double>(g[row * x.cols + j]);
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
    return sum;
}

__device__ int64_t row_of_warp() {
    return int64_t{blockIdx.x} * (block_threads / 32) + threadIdx.x / 32;
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    along(const __grid_constant__ Array x, const RowScale* scales, const T* g, double* out) {
    const int64_t row = row_of_warp();
    if (row >= x.rows) return;
    const double sum = along_row(x, scales, g, row);
    if (threadIdx.x % 32 == 0) out[row] = sum;
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    pull_back(const __grid_constant__ Array x, const RowScale* scales, T* g) {
    const int64_t row = row_of_warp();
    if (row >= x.rows) return;
    const double sum = along_row(x, scales, g, row);
    const RowScale scale = scales[row];
    for (int64_t j = threadIdx.x % 32; j < x.cols; j += 32) {
        T& value = g[row * x.cols + j];
        const double rest =
            static_cast<double>(value) - sum * normalised_element<double>(x, scale, row, j);
        // not by norm · 2^exponent, which may leave float64
        value = scale.norm == 0.0
                    ? T(0)
                    : static_cast<T>(ldexp(rest / scale.norm, static_cast<int>(-scale.exponent)));
    }
}

}  // namespace

void wide_softmax_sums(const WideLogits& logits, LogSumExp* states, double* positives,
                       LogSumExp* sums, cudaStream_t stream) {
    launch("wide softmax sums", sum_wide, grid_of(logits.sweep), block_threads, stream, logits,
           states, positives);
    launch("wide softmax merge", merge_wide, thread_per_row(logits.sweep), block_threads, stream,
           logits.sweep, states, sums);
}

template <class T>
void wide_softmax_products(const WideProducts& products, double factor, T* out,
                           cudaStream_t stream) {
    const Sweep& sweep = products.logits.sweep;
    launch("wide products", multiply_wide, grid_of(sweep), block_threads, stream, products);
    const auto blocks =
        static_cast<unsigned>(divided_up(sweep.rows * contraction_width, block_threads));
    launch("wide products merge", merge_products<T>, blocks, block_threads, stream, products,
           factor, out);
}
template void wide_softmax_products(const WideProducts&, double, float*, cudaStream_t);
template void wide_softmax_products(const WideProducts&, double, double*, cudaStream_t);

template <class T>
void along_rows(const Array& x, const RowScale* scales, const T* g, double* out,
                cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(x.rows, block_threads / 32));
    launch("along rows", along<T>, blocks, block_threads, stream, x, scales, g, out);
}
template <class T>
void through_normalization(const Array& x, const RowScale* scales, T* g, cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(x.rows, block_threads / 32));
    launch("through normalization", pull_back<T>, blocks, block_threads, stream, x, scales, g);
}
template void through_normalization(const Array&, const RowScale*, float*, cudaStream_t);
template void through_normalization(const Array&, const RowScale*, double*, cudaStream_t);
template void along_rows(const Array&, const RowScale*, const float*, double*, cudaStream_t);
template void along_rows(const Array&, const RowScale*, const double*, double*, cudaStream_t);

}  // namespace pairtile::gpu
