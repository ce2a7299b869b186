// Three numbers of a pair in one sweep, the scores staged beside the rows: the squared distance,
// the product of the scores and the product of the differences, which is taken feature by feature.
#include "kernels/stein.hpp"

#include "kernels/held.cuh"

namespace pairtile::gpu {
namespace {

template <class Kernel>
constexpr bool is_smooth = requires(double s, const double* p) {
    Kernel::stein(s, p);
};

struct SteinPairs {
    using Value = double;
    const Scores& scores;
    Staged<double>&x_scores, &y_scores;
    double squares[pairs_per_thread], products[pairs_per_thread], cross[pairs_per_thread];

    __device__ void begin() {
        for (int p = 0; p < pairs_per_thread; ++p) squares[p] = products[p] = cross[p] = 0.0;
    }
    static constexpr __device__ int64_t passes() { return 1; }
    __device__ void stage_more(const Place& place, int64_t first, const Chunk& now) {
        stage(x_scores, scores.of_queries, nullptr, place.first_query(), place.end_query,
              now.first);
        stage(y_scores, scores.of_references, nullptr, first, place.end, now.first);
    }
    // In registers: what is handed on by address stays in memory.
    __device__ void add(const Staged<double>& x, const Staged<double>& y, const Place& place,
                        const Chunk& now) {
        double square[pairs_per_thread] = {}, product[pairs_per_thread] = {},
               crossed[pairs_per_thread] = {};
        for (int f = 0; f < now.count; ++f) {
            const double mine = x[f][place.row], score = x_scores[f][place.row];
#pragma unroll
            for (int p = 0; p < pairs_per_thread; ++p) {
                const double apart = mine - y[f][place.column(p)];
                const double other = y_scores[f][place.column(p)];
                square[p] += apart * apart;
                product[p] += score * other;
                crossed[p] += apart * (score - other);
            }
        }
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            squares[p] += square[p];
            products[p] += product[p];
            cross[p] += crossed[p];
        }
    }
};

template <class Kernel>
__device__ void stein_values(const SteinPairs& pairs, const double* params, double features,
                             double (&values)[pairs_per_thread]) {
    if constexpr (is_smooth<Kernel>) {
        for (int p = 0; p < pairs_per_thread; ++p) {
            const auto k = Kernel::stein(pairs.squares[p], params);
            values[p] = pairs.products[p] * k.value - 2.0 * (pairs.cross[p] + features) * k.slope -
                        4.0 * k.curvature;
        }
    }
}

__device__ __noinline__ void evaluate_stein(const SteinPairs& pairs,
                                            const Similarity<double>& similarity, double features,
                                            double (&values)[pairs_per_thread]) {
    switch (similarity.kernel) {
#define PT_STEIN(name, type)                                            \
    case KernelId::name:                                                \
        stein_values<type>(pairs, similarity.params, features, values); \
        break;
        PAIRTILE_KERNELS(PT_STEIN)
#undef PT_STEIN
        case KernelId::count:
            break;
    }
}

struct FillStein {
    const Held& held;
    const Place& place;
    const Similarity<double>& similarity;
    double weight;
    bool is_first;

    __device__ void operator()(const SteinPairs& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread];
        evaluate_stein(pairs, similarity, static_cast<double>(held.sweep.queries.cols), values);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j < place.end) write(held, place, {0.0, is_first}, j, weight * values[p]);
        }
    }
};

__global__ void __launch_bounds__(block_threads, 2)
    stein_sweep(const __grid_constant__ Held held, const __grid_constant__ Scores scores,
                const __grid_constant__ Similarity<double> similarity, double weight,
                bool is_first) {
    __shared__ Staged<double> x_scores, y_scores;
    const Place place(held.sweep);
    FillStein fold{held, place, similarity, weight, is_first};
    run(held.sweep, place, SteinPairs{scores, x_scores, y_scores, {}, {}, {}}, fold);
}

}  // namespace

void hold_stein(const Held& held, const Scores& scores, const Terms& terms, cudaStream_t stream) {
    Scores of = scores;
    of.of_references.data += held.first_reference * of.of_references.row_stride;
    of.of_references.rows = held.sweep.references.rows;
    for (const KernelTerm& term : terms) {
        launch("hold Stein pairs", stein_sweep, grid_of(held.sweep), block_threads, stream, held,
               of, Similarity<double>(term), term.weight, &term == &terms.front());
    }
}

}  // namespace pairtile::gpu
