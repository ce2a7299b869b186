// Logarithms of kernel values, folded in float64 for each row.
#include "kernels/log_sum_exp.hpp"

#include "engine/row_fold.cuh"
#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

template <class Core>
struct RowLogSum {
    const LogSummation& summation;
    const Place& place;
    const Similarity<double>& similarity;
    double log_weight;
    LogSumExp sum;

    __device__ void operator()(const WorkingPairs<Core, double>& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread];
        evaluate<Logarithm>(pairs, similarity, values);
        const auto& [log_weights, rates] = summation.shape;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end || (summation.exclude_self && j == place.query)) continue;
            const double value = rates ? rates[j] * values[p] : values[p];
            sum.push(value + (log_weights ? log_weights[j] + log_weight : log_weight));
        }
    }
};

template <class Core>
__global__ void __launch_bounds__(block_threads, 2)
    log_sums_sweep(const __grid_constant__ LogSummation summation,
                   const __grid_constant__ Similarity<double> similarity, double log_weight) {
    const Place place(summation.sweep);
    RowLogSum<Core> fold{summation, place, similarity, log_weight, {}};
    run(summation.sweep, place, WorkingPairs<Core, double>{}, fold);
    keep(summation.states, summation.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    log_sums_merge(const __grid_constant__ LogSummation summation, bool is_first, LogSumExp* so_far,
                   double* sums) {
    const int64_t row = row_of_thread();
    if (row >= summation.sweep.rows) return;
    const int64_t query = summation.sweep.first_row + row;
    LogSumExp all = is_first ? LogSumExp{} : so_far[query];
    all.merge(merged(summation.states, summation.sweep, row));
    so_far[query] = all;
    sums[query] = all.finish();
}

}  // namespace

void kernel_log_sums(const LogSummation& summation, const KernelTerm& term, bool is_first,
                     LogSumExp* so_far, double* sums, cudaStream_t stream) {
    with_core(term.kernel, [&]<class Core>() {
        launch("log sums sweep", log_sums_sweep<Core>, grid_of(summation.sweep), block_threads,
               stream, summation, Similarity<double>(term), log(term.weight));
    });
    launch("log sums merge", log_sums_merge, thread_per_row(summation.sweep), block_threads, stream,
           summation, is_first, so_far, sums);
}

}  // namespace pairtile::gpu
