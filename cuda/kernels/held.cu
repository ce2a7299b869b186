// Kernel values in float64, from direct differences, written out tile by tile.
#include "kernels/held.cuh"

#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {
namespace {

template <class Core>
struct Fill {
    const Held& held;
    const Place& place;
    const Similarity<double>& similarity;
    const Writing& writing;
    double weight;

    __device__ void operator()(const WorkingPairs<Core, double>& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread];
        evaluate<Itself>(pairs, similarity, values);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j < place.end) write(held, place, writing, j, weight * values[p]);
        }
    }
};

template <class Core>
__global__ void __launch_bounds__(block_threads, 2)
    hold_sweep(const __grid_constant__ Held held,
               const __grid_constant__ Similarity<double> similarity, Writing writing,
               double weight) {
    const Place place(held.sweep);
    Fill<Core> fold{held, place, similarity, writing, weight};
    run(held.sweep, place, WorkingPairs<Core, double>{}, fold);
}

__global__ void __launch_bounds__(block_threads)
    row_totals_of(const double* numbers, int64_t columns, bool add, double* totals) {
    const int64_t row = blockIdx.x;
    Sum sum;
    for (int64_t c = threadIdx.x; c < columns; c += block_threads) {
        sum.push(numbers[row * columns + c]);
    }
    const double total = total_of_block(sum.finish());
    if (threadIdx.x == 0) totals[row] = add ? totals[row] + total : total;
}

}  // namespace

Held block_of(const Sweep& sweep, int64_t first, bool exclude_self, const HeldMemory& memory,
              int64_t index) {
    Held held = {sweep, first, exclude_self, memory.block(index)};
    Array& references = held.sweep.references;
    references.data += first * references.row_stride;
    references.rows = std::min(held_width(sweep.rows, memory.pairs), references.rows - first);
    if (held.sweep.reference_scales) held.sweep.reference_scales += first;
    held.sweep.cut = cut_block(sweep.rows, references.rows);
    return held;
}

Held for_kernel(Held held, KernelId kernel) {
    if (argument_of(kernel) != Argument::cosine) {
        held.sweep.query_scales = held.sweep.reference_scales = nullptr;
    }
    return held;
}

void hold_values(const Held& held, const Terms& terms, double shift, cudaStream_t stream) {
    for (const KernelTerm& term : terms) {
        const Writing writing = {-shift, &term == &terms.front()};
        with_core(term.kernel, [&]<class Core>() {
            launch("hold pairs", hold_sweep<Core>, grid_of(held.sweep), block_threads, stream,
                   for_kernel(held, term.kernel), Similarity<double>(term), writing, term.weight);
        });
    }
}

void row_totals(const double* numbers, int64_t count, int64_t columns, bool add, double* totals,
                cudaStream_t stream) {
    launch("row totals", row_totals_of, static_cast<unsigned>(count), block_threads, stream,
           numbers, columns, add, totals);
}

}  // namespace pairtile::gpu
