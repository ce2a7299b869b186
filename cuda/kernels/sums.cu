// Kernel values from direct differences in the working type, summed in float64 for each row.
#include "kernels/sums.hpp"

#include "engine/row_fold.cuh"
#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

template <class Core, class T>
struct RowSum {
    const Summation& summation;
    const Place& place;
    const Similarity<T>& similarity;
    Sum sum;

    __device__ void operator()(const WorkingPairs<Core, T>& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread];
        evaluate<Itself>(pairs, similarity, values);
        const double* weights = summation.reference_weights;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end || (summation.sweep.triangle && j <= place.query)) continue;
            sum.push(weights ? weights[j] * values[p] : values[p]);
        }
    }
};

// The second bound is in blocks per multiprocessor: it leaves registers for every partial result.
template <class Core, class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 4 : 2)
    row_sums_sweep(const __grid_constant__ Summation summation,
                   const __grid_constant__ Similarity<T> similarity) {
    const Place place(summation.sweep);
    RowSum<Core, T> fold{summation, place, similarity, {}};
    run(summation.sweep, place, WorkingPairs<Core, T>{}, fold);
    keep(summation.states, summation.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    row_sums_merge(const __grid_constant__ Summation summation, double weight, double* sums) {
    const int64_t row = row_of_thread();
    if (row >= summation.sweep.rows) return;
    sums[summation.sweep.first_row + row] +=
        weight * merged(summation.states, summation.sweep, row).finish();
}

// One block: thread t takes the rows t, t + 256, …, then the threads are added pairwise.
__global__ void __launch_bounds__(block_threads)
    total_of(const double* sums, int64_t n, const double* weights, double* total) {
    __shared__ double of_thread[block_threads];
    const int t = static_cast<int>(threadIdx.x);
    Sum sum;
    for (int64_t i = t; i < n; i += block_threads) {
        sum.push(weights ? weights[i] * sums[i] : sums[i]);
    }
    for (int half = block_threads / 2; half > 0; half /= 2) {
        of_thread[t] = sum.value;
        __syncthreads();
        if (t < half) sum.merge(Sum{of_thread[t + half]});
        __syncthreads();
    }
    if (t == 0) *total = sum.finish();
}

}  // namespace

template <class T>
void kernel_row_sums(const Summation& summation, const KernelTerm& term, double* sums,
                     cudaStream_t stream) {
    with_core(term.kernel, [&]<class Core>() {
        launch("kernel sums sweep", row_sums_sweep<Core, T>, grid_of(summation.sweep),
               block_threads, stream, summation, Similarity<T>(term));
    });
    launch("kernel sums merge", row_sums_merge, thread_per_row(summation.sweep), block_threads,
           stream, summation, term.weight, sums);
}

template void kernel_row_sums<float>(const Summation&, const KernelTerm&, double*, cudaStream_t);
template void kernel_row_sums<double>(const Summation&, const KernelTerm&, double*, cudaStream_t);

void weighted_total(const double* sums, int64_t n, const double* weights, double* total,
                    cudaStream_t stream) {
    launch("weighted total", total_of, 1, block_threads, stream, sums, n, weights, total);
}

}  // namespace pairtile::gpu
