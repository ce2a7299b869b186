// A tile of kernel values, multiplied by as many rows of numbers or of bits.
#include "engine/contraction.hpp"

#include "engine/multiply_add.cuh"
#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

template <class Core, class T>
struct MultiplyAdd {
    const Contraction& contraction;
    const Place& place;
    const Similarity<T>& similarity;
    Factors& factors;
    Sum sums[columns_per_thread];

    __device__ void operator()(const WorkingPairs<Core, T>& pairs, int64_t first) {
        double values[pairs_per_thread];
        evaluate<Itself>(pairs, similarity, values);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            const bool counts = j < place.end && !(contraction.exclude_self && j == place.query);
            factors.tile[place.column(p)][place.row] = counts ? values[p] : 0.0;
        }
        for (int e = static_cast<int>(threadIdx.x); e < tile_cols * contraction_width;
             e += block_threads) {
            const int j = e / contraction_width, c = e % contraction_width;
            const int64_t column = contraction.first_column + c;
            factors.columns[j][c] =
                first + j < place.end ? contraction.columns.element(first + j, column) : 0.0;
        }
        __syncthreads();
        multiply_add(factors, place, sums, [](double column, int) { return column; });
    }
};

template <class Core, class T>
__global__ void __launch_bounds__(block_threads, 2)
    contraction_sweep(const __grid_constant__ Contraction contraction,
                      const __grid_constant__ Similarity<T> similarity) {
    __shared__ Factors factors;
    const Place place(contraction.sweep);
    MultiplyAdd<Core, T> fold{contraction, place, similarity, factors, {}};
    run(contraction.sweep, place, WorkingPairs<Core, T>{}, fold);
    keep_columns(contraction.partial, contraction.sweep, place, fold.sums);
}

__global__ void __launch_bounds__(block_threads)
    contraction_merge(const __grid_constant__ Contraction contraction, double weight, int columns,
                      double* out, int64_t out_stride) {
    merge_columns(contraction.partial, contraction.sweep, weight, columns, out, out_stride);
}

// A block per column: thread t takes the rows t, t + 256, …, then the threads are added pairwise.
__global__ void __launch_bounds__(block_threads)
    column_totals_of(const double* products, int64_t rows, int64_t first_row,
                     const __grid_constant__ Columns columns, int64_t first_column, double* within,
                     double* all) {
    __shared__ double of_thread[2][block_threads];
    const int t = static_cast<int>(threadIdx.x), c = static_cast<int>(blockIdx.x);
    Sum labelled, every;
    for (int64_t r = t; r < rows; r += block_threads) {
        const double product = products[r * contraction_width + c];
        labelled.push(columns.element(first_row + r, first_column + c) * product);
        every.push(product);
    }
    for (int half = block_threads / 2; half > 0; half /= 2) {
        of_thread[0][t] = labelled.value;
        of_thread[1][t] = every.value;
        __syncthreads();
        if (t < half) {
            labelled.merge(Sum{of_thread[0][t + half]});
            every.merge(Sum{of_thread[1][t + half]});
        }
        __syncthreads();
    }
    if (t > 0) return;
    within[c] += labelled.finish();
    all[c] += every.finish();
}

}  // namespace

template <class T>
void contract(const Contraction& contraction, const KernelTerm& term, int columns, double* out,
              int64_t out_stride, cudaStream_t stream) {
    with_core(term.kernel, [&]<class Core>() {
        launch("contraction sweep", contraction_sweep<Core, T>, grid_of(contraction.sweep),
               block_threads, stream, contraction, Similarity<T>(term));
    });
    launch("contraction merge", contraction_merge, thread_per_entry(contraction.sweep),
           block_threads, stream, contraction, term.weight, columns, out, out_stride);
}

template void contract<float>(const Contraction&, const KernelTerm&, int, double*, int64_t,
                              cudaStream_t);
template void contract<double>(const Contraction&, const KernelTerm&, int, double*, int64_t,
                               cudaStream_t);

void column_totals(const double* products, int64_t rows, int64_t first_row, const Columns& columns,
                   int64_t first_column, int count, double* within, double* all,
                   cudaStream_t stream) {
    launch("column totals", column_totals_of, static_cast<unsigned>(count), block_threads, stream,
           products, rows, first_row, columns, first_column, within, all);
}

}  // namespace pairtile::gpu
