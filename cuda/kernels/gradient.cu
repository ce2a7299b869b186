// A block of pairs at a time: kernel values, summed by row, then slopes W = v_i w_j ∂k/∂argument
// and, by the chain rule, their product with the features of the references.
#include "kernels/gradient.hpp"

#include "engine/row_fold.cuh"
#include "kernels/held_contraction.hpp"

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

constexpr int warps = block_threads / 32;

__device__ double sum_of_warp(double value) {
    for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(~0u, value, half);
    return value;
}

// A warp per row.
__global__ void __launch_bounds__(block_threads)
    through_normalisation_of(Array rows, const RowScale* scales, const double* by_directions,
                             double* by_rows) {
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

}  // namespace

void kernel_gradient(const Gradient& gradient, const Terms& terms, cudaStream_t stream) {
    const Sweep& sweep = gradient.sweep;
    const int64_t features = sweep.queries.cols;
    double* partial = gradient.workspace + held_pairs;
    for (int64_t first = 0; first < sweep.references.rows; first += held_width(sweep.rows)) {
        Held held = block_of(sweep, first, gradient.itself, gradient.workspace);
        hold_values(held, terms, 0.0, stream);
        held_row_sums(held, gradient.weights.of_references, partial, gradient.sums, stream);
        for (const auto& [argument, chain, factor] : rules) {
            const Terms some = terms_reading(terms, argument);
            if (some.empty()) continue;
            const bool by_direction = argument == Argument::cosine;
            held = block_of(sweep, first,
                            gradient.itself && !(gradient.diagonal && argument == Argument::dot),
                            gradient.workspace);
            if (!by_direction) held.sweep.query_scales = held.sweep.reference_scales = nullptr;
            hold_slopes(held, some, gradient.weights, stream);
            double* out = by_direction ? gradient.by_directions : gradient.by_rows;
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

void through_normalisation(const Array& rows, const RowScale* scales, const double* by_directions,
                           double* by_rows, cudaStream_t stream) {
    launch("through normalisation", through_normalisation_of,
           static_cast<unsigned>(divided_up(rows.rows, warps)), block_threads, stream, rows, scales,
           by_directions, by_rows);
}

}  // namespace pairtile::gpu
