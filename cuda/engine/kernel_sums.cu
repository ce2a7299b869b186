// Kernel values from direct differences in the working type, summed in float64: by each thread over
// its references, then over the threads of a row, then over the segments, always in that order.
#include "engine/kernel_sums.hpp"

#include "engine/launch.hpp"
#include "engine/sweep.cuh"
#include "pairtile/fold/sum.hpp"
#include "pairtile/metric/inner_product.hpp"
#include "pairtile/metric/manhattan.hpp"
#include "pairtile/metric/sqeuclidean.hpp"

namespace pairtile::gpu {
namespace {

// How the number that a kernel reads is summed up.
template <Argument argument>
struct Accumulation;
template <>
struct Accumulation<Argument::squared_distance> {
    using type = SquaredEuclidean;
};
template <>
struct Accumulation<Argument::l1_distance> {
    using type = Manhattan;
};
template <>
struct Accumulation<Argument::dot> {
    using type = InnerProduct;
};
template <>
struct Accumulation<Argument::cosine> {
    using type = InnerProduct;
};

template <class Kernel, class T>
using PairsOf = WorkingPairs<typename Accumulation<Kernel::argument>::type, T>;

template <class T>
struct Parameters {
    T p[kernel_params];
};

template <class Kernel, class T>
struct RowSum {
    const Summation& summation;
    const Place& place;
    const Parameters<T>& parameters;
    Sum sum;

    __device__ void operator()(const PairsOf<Kernel, T>& pairs, int64_t first) {
        if (!place.has_query()) return;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end || (summation.sweep.triangle && j <= place.query)) continue;
            const double value = Kernel::value(pairs.value(p), parameters.p);
            const double* weights = summation.reference_weights;
            sum.push(weights ? weights[j] * value : value);
        }
    }
};

// The second bound is in blocks per multiprocessor: it leaves registers for every partial result.
template <class Kernel, class T>
__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 4 : 2)
    row_sums_sweep(const __grid_constant__ Summation summation,
                   const __grid_constant__ Parameters<T> parameters) {
    __shared__ double of_slot[slots][tile_rows];
    const Place place(summation.sweep);
    RowSum<Kernel, T> fold{summation, place, parameters, {}};
    run<PairsOf<Kernel, T>>(summation.sweep, place, fold);
    of_slot[place.slot][place.row] = fold.sum.value;
    __syncthreads();
    if (place.slot != 0 || !place.has_query()) return;
    for (int s = 1; s < slots; ++s) fold.sum.merge(Sum{of_slot[s][place.row]});
    const int64_t local = place.query - summation.sweep.first_row;
    summation.partial[int64_t{blockIdx.y} * summation.sweep.rows + local] = fold.sum.finish();
}

__global__ void __launch_bounds__(block_threads)
    row_sums_merge(const __grid_constant__ Summation summation, double weight, double* sums) {
    const int64_t local = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (local >= summation.sweep.rows) return;
    Sum sum;
    for (int64_t s = 0; s < summation.sweep.cut.segments; ++s) {
        sum.merge(Sum{summation.partial[s * summation.sweep.rows + local]});
    }
    sums[summation.sweep.first_row + local] += weight * sum.finish();
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

template <class Kernel, class T>
void sum_with(const Summation& summation, const Term& term, cudaStream_t stream) {
    Parameters<T> parameters;
    for (int p = 0; p < kernel_params; ++p) parameters.p[p] = static_cast<T>(term.params[p]);
    const dim3 grid(static_cast<unsigned>(summation.sweep.row_blocks()),
                    static_cast<unsigned>(summation.sweep.cut.segments));
    launch("kernel sums sweep", row_sums_sweep<Kernel, T>, grid, block_threads, stream, summation,
           parameters);
}

template <class T>
void sum_term(const Summation& summation, const Term& term, cudaStream_t stream) {
    switch (term.kernel) {
#define PT_SUM(name, type) \
    case KernelId::name:   \
        return sum_with<type, T>(summation, term, stream);
        PAIRTILE_KERNELS(PT_SUM)
#undef PT_SUM
        case KernelId::count:
            break;
    }
}

}  // namespace

bool reads_normalised_rows(KernelId kernel) {
    switch (kernel) {
#define PT_ARGUMENT(name, type) \
    case KernelId::name:        \
        return type::argument == Argument::cosine;
        PAIRTILE_KERNELS(PT_ARGUMENT)
#undef PT_ARGUMENT
        case KernelId::count:
            break;
    }
    return false;
}

template <class T>
void kernel_row_sums(const Summation& summation, const Term& term, double* sums,
                     cudaStream_t stream) {
    sum_term<T>(summation, term, stream);
    const auto rows = static_cast<unsigned>(divided_up(summation.sweep.rows, block_threads));
    launch("kernel sums merge", row_sums_merge, rows, block_threads, stream, summation, term.weight,
           sums);
}

template void kernel_row_sums<float>(const Summation&, const Term&, double*, cudaStream_t);
template void kernel_row_sums<double>(const Summation&, const Term&, double*, cudaStream_t);

void weighted_total(const double* sums, int64_t n, const double* weights, double* total,
                    cudaStream_t stream) {
    launch("weighted total", total_of, 1, block_threads, stream, sums, n, weights, total);
}

}  // namespace pairtile::gpu
