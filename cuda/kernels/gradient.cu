// A block of pairs at a time: kernel values, summed by row, and slopes W = v_i w_j ∂k/∂argument,
// which are held; then, by the chain rule, their product with the features of the references.
#include "kernels/gradient.hpp"

#include "kernels/held.cuh"
#include "kernels/held_contraction.hpp"
#include "pairtile/fold/sum.hpp"

namespace pairtile::gpu {
namespace {

static_assert(contraction_width == 64);

struct Rule {
    Argument argument;
    Chain chain;
    double factor;
};
constexpr Rule rules[] = {{Argument::squared_distance, Chain::difference, 2.0},
                          {Argument::l1_distance, Chain::sign, 1.0},
                          {Argument::dot, Chain::reference, 1.0},
                          {Argument::cosine, Chain::reference, 1.0}};

struct Slope {
    template <class Kernel>
    static constexpr bool exists = true;
    template <class Kernel, class T>
    static __device__ T of(T t, const T* params) {
        return Kernel::slope(t, params);
    }
};

struct Weighing {
    PairWeights weights;
    bool itself;
    Writing writing;
    double weight;  // of the kernel
};

template <class Core>
struct FillSlopes {
    const Held& held;
    const Place& place;
    const Similarity<double>& similarity;
    const Weighing& weighing;
    Sum sum;

    __device__ void operator()(const WorkingPairs<Core, double>& pairs, int64_t first) {
        if (!place.has_query()) return;
        double values[pairs_per_thread], slopes[pairs_per_thread];
        evaluate<Itself>(pairs, similarity, values);
        evaluate<Slope>(pairs, similarity, slopes);
        const auto& [of_queries, of_references] = weighing.weights;
        const double mine = weighing.weight * of_queries[place.query];
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p), reference = held.first_reference + j;
            if (j >= place.end) continue;
            const double theirs = of_references[reference];
            const bool counts = !(weighing.itself && reference == place.query);
            if (counts) sum.push(theirs * values[p]);
            write(held, place, weighing.writing, j, mine * theirs * slopes[p]);
        }
    }
};

template <class Core>
__global__ void __launch_bounds__(block_threads, 2)
    slopes_sweep(const __grid_constant__ Held held,
                 const __grid_constant__ Similarity<double> similarity,
                 const __grid_constant__ Weighing weighing, Sum* states) {
    const Place place(held.sweep);
    FillSlopes<Core> fold{held, place, similarity, weighing, {}};
    run(held.sweep, place, WorkingPairs<Core, double>{}, fold);
    keep(states, held.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    value_sums_merge(const __grid_constant__ Held held, const Sum* states, double weight,
                     double* sums) {
    const int64_t row = row_of_thread();
    if (row >= held.sweep.rows) return;
    sums[held.sweep.first_row + row] += weight * merged(states, held.sweep, row).finish();
}

// The slopes of all terms, and their values added to the sums.
void hold_slopes(const Held& held, const Gradient& gradient, const Terms& terms, double* workspace,
                 cudaStream_t stream) {
    auto* states = reinterpret_cast<Sum*>(workspace);
    for (const KernelTerm& term : terms) {
        const Weighing weighing = {
            gradient.weights, gradient.itself, {0.0, &term == &terms.front()}, term.weight};
        with_core(term.kernel, [&]<class Core>() {
            launch("slopes sweep", slopes_sweep<Core>, grid_of(held.sweep), block_threads, stream,
                   held, Similarity<double>(term), weighing, states);
        });
        launch("value sums merge", value_sums_merge, thread_per_row(held.sweep), block_threads,
               stream, held, states, term.weight, gradient.sums);
    }
}

// Of a block of l: adds b_i + b_j, and takes the pair of a row with itself out if so said.
__global__ void __launch_bounds__(block_threads)
    add_row_numbers(const __grid_constant__ Held held, const double* by_row) {
    const int64_t row = int64_t{blockIdx.y} * block_threads + threadIdx.x, j = blockIdx.x;
    if (row >= held.sweep.rows) return;
    const int64_t query = held.sweep.first_row + row, reference = held.first_reference + j;
    double& at = held.at(j, row);
    at = held.exclude_self && query == reference ? 0.0 : at + (by_row[query] + by_row[reference]);
}

__global__ void __launch_bounds__(block_threads)
    multiply_held(double* values, const double* beside, int64_t count) {
    const int64_t at = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (at < count) values[at] *= beside[at];
}

Terms terms_reading(const Terms& terms, Argument argument) {
    Terms some;
    for (const KernelTerm& term : terms) {
        if (argument_of(term.kernel) == argument) some.push_back(term);
    }
    return some;
}

constexpr int warps = block_threads / 32;

__device__ double sum_of_warp(double value) {
    for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(~0u, value, half);
    return value;
}

// A warp per row.
__global__ void __launch_bounds__(block_threads)
    gradient_through_normalization_of(Array rows, const RowScale* scales,
                                      const double* by_directions, double* by_rows) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t row = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
    if (row >= rows.rows) return;
    const RowScale scale = scales[row];
    if (scale.norm == 0.0) return;
    const double* from = by_directions + row * rows.cols;
    double along = 0.0;
    for (int64_t f = lane; f < rows.cols; f += 32) {
        along += from[f] * normalised_element<double>(rows, scale, row, f);
    }
    along = sum_of_warp(along);
    const double length = ldexp(scale.norm, static_cast<int>(scale.exponent));
    for (int64_t f = lane; f < rows.cols; f += 32) {
        const double direction = normalised_element<double>(rows, scale, row, f);
        by_rows[row * rows.cols + f] += (from[f] - along * direction) / length;
    }
}

// l(y_i, y_j) + b_i + b_j of a block of pairs, in the second block of the memory.
const double* hold_beside(const KernelBeside& beside, int64_t first, const Gradient& gradient,
                          cudaStream_t stream) {
    const Held held = block_of(beside.sweep, first, !gradient.diagonal, gradient.memory, 1);
    hold_values(held, beside.terms, 0.0, stream);
    const dim3 grid(static_cast<unsigned>(held.sweep.references.rows), thread_per_row(held.sweep));
    launch("numbers of rows", add_row_numbers, grid, block_threads, stream, held, beside.by_row);
    return held.values;
}

void add_gradient(const Gradient& gradient, const Terms& terms, const KernelBeside* beside,
                  cudaStream_t stream) {
    const Sweep& sweep = gradient.sweep;
    const int64_t features = sweep.queries.cols;
    double* partial = gradient.memory.block(beside ? 2 : 1);
    for (int64_t first = 0; first < sweep.references.rows;
         first += held_width(sweep.rows, gradient.memory.pairs)) {
        const double* weights = beside ? hold_beside(*beside, first, gradient, stream) : nullptr;
        for (const auto& [argument, chain, factor] : rules) {
            const Terms some = terms_reading(terms, argument);
            if (some.empty()) continue;
            const bool no_diagonal =
                gradient.itself && !(gradient.diagonal && argument == Argument::dot);
            const Held held = for_kernel(block_of(sweep, first, no_diagonal, gradient.memory),
                                         some.front().kernel);
            hold_slopes(held, gradient, some, partial, stream);
            if (weights) {
                const int64_t count = held.sweep.rows * held.sweep.references.rows;
                launch("weights of slopes", multiply_held,
                       static_cast<unsigned>(divided_up(count, block_threads)), block_threads,
                       stream, held.values, weights, count);
            }
            double* out = argument == Argument::cosine ? gradient.by_directions : gradient.by_rows;
            out += sweep.first_row * features;
            for (int64_t f = 0; f < features; f += contraction_width) {
                const auto columns =
                    static_cast<int>(std::min<int64_t>(contraction_width, features - f));
                held_contract_features(held, chain, f,
                                       {columns, factor, partial, out + f, features}, stream);
            }
        }
    }
}

}  // namespace

void kernel_gradient(const Gradient& gradient, const Terms& terms, cudaStream_t stream) {
    add_gradient(gradient, terms, nullptr, stream);
}

void joint_kernel_gradient(const Gradient& gradient, const Terms& terms, const KernelBeside& beside,
                           cudaStream_t stream) {
    add_gradient(gradient, terms, &beside, stream);
}

void gradient_through_normalization(const Array& rows, const RowScale* scales,
                                    const double* by_directions, double* by_rows,
                                    cudaStream_t stream) {
    launch("gradient through normalization", gradient_through_normalization_of,
           static_cast<unsigned>(divided_up(rows.rows, warps)), block_threads, stream, rows, scales,
           by_directions, by_rows);
}

}  // namespace pairtile::gpu
