// Kernel values and slopes in float64, from direct differences, written out tile by tile.
#include "kernels/held.cuh"

#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {
namespace {

struct Slope {
    template <class Kernel>
    static constexpr bool exists = true;
    template <class Kernel, class T>
    static __device__ T of(T t, const T* params) {
        return Kernel::slope(t, params);
    }
};

struct Filling {
    Writing writing;
    double factor;
    PairWeights weights;
};

template <class Asked, class Core>
struct Fill {
    const Held& held;
    const Place& place;
    const Similarity<double>& similarity;
    const Filling& filling;

    __device__ void operator()(const WorkingPairs<Core, double>& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread];
        evaluate<Asked>(pairs, similarity, values);
        const auto& [of_queries, of_references] = filling.weights;
        const double mine = filling.factor * (of_queries ? of_queries[place.query] : 1.0);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end) continue;
            const double theirs = of_references ? of_references[held.first_reference + j] : 1.0;
            write(held, place, filling.writing, j, mine * theirs * values[p]);
        }
    }
};

template <class Asked, class Core>
__global__ void __launch_bounds__(block_threads, 2)
    hold_sweep(const __grid_constant__ Held held,
               const __grid_constant__ Similarity<double> similarity,
               const __grid_constant__ Filling filling) {
    const Place place(held.sweep);
    Fill<Asked, Core> fold{held, place, similarity, filling};
    run(held.sweep, place, WorkingPairs<Core, double>{}, fold);
}

template <class Asked>
void hold(Held held, const Terms& terms, double start, const PairWeights& weights,
          cudaStream_t stream) {
    const Sweep given = held.sweep;
    for (const Term& term : terms) {
        held.sweep = given;
        if (argument_of(term.kernel) != Argument::cosine) {
            held.sweep.query_scales = held.sweep.reference_scales = nullptr;
        }
        const Filling filling = {{start, &term == &terms.front()}, term.weight, weights};
        with_core(term.kernel, [&]<class Core>() {
            launch("hold pairs", hold_sweep<Asked, Core>, grid_of(held.sweep), block_threads,
                   stream, held, Similarity<double>(term), filling);
        });
    }
}

struct HeldRowSum {
    const Held& held;
    const Place& place;
    const double* weights;
    Sum sum;

    __device__ void operator()(const HeldPairs&, int64_t first) {
        if (!place.has_query()) return;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j >= place.end) continue;
            const double value = held.at(j, place.query - held.sweep.first_row);
            sum.push(weights ? weights[held.first_reference + j] * value : value);
        }
    }
};

__global__ void __launch_bounds__(block_threads)
    held_sums_sweep(const __grid_constant__ Held held, const double* weights, Sum* states) {
    const Place place(held.sweep);
    HeldRowSum fold{held, place, weights, {}};
    run(held.sweep, place, HeldPairs{}, fold);
    keep(states, held.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    held_sums_merge(const __grid_constant__ Held held, const Sum* states, double* sums) {
    const int64_t row = row_of_thread();
    if (row >= held.sweep.rows) return;
    sums[held.sweep.first_row + row] += merged(states, held.sweep, row).finish();
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

Held block_of(const Sweep& sweep, int64_t first, bool exclude_self, double* values) {
    Held held = {sweep, first, exclude_self, values};
    Array& references = held.sweep.references;
    references.data += first * references.row_stride;
    references.rows = std::min(held_width(sweep.rows), references.rows - first);
    if (held.sweep.reference_scales) held.sweep.reference_scales += first;
    held.sweep.cut = cut_block(sweep.rows, references.rows);
    return held;
}

void hold_values(const Held& held, const Terms& terms, double shift, cudaStream_t stream) {
    hold<Itself>(held, terms, -shift, {nullptr, nullptr}, stream);
}

void hold_slopes(const Held& held, const Terms& terms, const PairWeights& weights,
                 cudaStream_t stream) {
    hold<Slope>(held, terms, 0.0, weights, stream);
}

Terms terms_reading(const Terms& terms, Argument argument) {
    Terms some;
    for (const Term& term : terms) {
        if (argument_of(term.kernel) == argument) some.push_back(term);
    }
    return some;
}

void held_row_sums(const Held& held, const double* reference_weights, double* states, double* sums,
                   cudaStream_t stream) {
    auto* of_threads = reinterpret_cast<Sum*>(states);
    launch("held sums sweep", held_sums_sweep, grid_of(held.sweep), block_threads, stream, held,
           reference_weights, of_threads);
    launch("held sums merge", held_sums_merge, thread_per_row(held.sweep), block_threads, stream,
           held, of_threads, sums);
}

void row_totals(const double* numbers, int64_t count, int64_t columns, bool add, double* totals,
                cudaStream_t stream) {
    launch("row totals", row_totals_of, static_cast<unsigned>(count), block_threads, stream,
           numbers, columns, add, totals);
}

}  // namespace pairtile::gpu
