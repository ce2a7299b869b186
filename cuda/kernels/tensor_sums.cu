#include "kernels/tensor_sums.hpp"

#include <cmath>

#include "engine/tensor_sweep.cuh"
#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/sqeuclidean.hpp"

namespace pairtile::gpu {
namespace {

__device__ float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ float root_of(float x) {
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// By a whole warp, which all get it: lane l takes the features j ≡ l.
__device__ double squared_distance_again(const TensorSummation& summation, int64_t i, int64_t j) {
    double sum = 0.0;
    for (int64_t f = threadIdx.x % 32; f < summation.rows.cols; f += 32) {
        sum = SquaredEuclidean::accumulate(sum, element<double>(summation.rows, i, f),
                                           element<double>(summation.cols, j, f));
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
    return sum;
}

// A kernel's value at a squared distance, in the way that costs least.
template <class Kernel>
struct FastValue {
    static __device__ __forceinline__ float of(float s, const float* params) {
        return Kernel::value(s, params);
    }
};
template <>
struct FastValue<Gaussian> {
    static __device__ __forceinline__ float of(float s, const float* params) {
        return exp2_of(params[0] * s);
    }
};

// evaluate.operator()<Kernel>() of the kernel that this is; nothing of those of other arguments.
template <class Evaluate>
__device__ __forceinline__ void of_distance_kernel(KernelId kernel, Evaluate evaluate) {
    switch (kernel) {
#define PT_EVALUATE(name, type)                                       \
    case KernelId::name:                                              \
        if constexpr (type::argument == Argument::squared_distance) { \
            evaluate.template operator()<type>();                     \
        }                                                             \
        break;
        PAIRTILE_KERNELS(PT_EVALUATE)
#undef PT_EVALUATE
        case KernelId::count:
            break;
    }
}

constexpr int pairs_of_lane = 4 * tile_columns / 8;  // of a strip
constexpr int chain = 4;                             // of a row, added one after the other
constexpr int tree = 3;                              // how often those sums are halved

// The common ones, a Gaussian and the distance itself, need no loop over terms.
enum class Kind { gaussian, root, several };

template <Kind kind>
struct RowSums {
    using Params = TensorSummation;
    struct alignas(16) Columns {
        float norms[tile_columns], weights[tile_columns];
    };
    struct Memory {
        Columns columns[warps_of_rows];
    };

    const TensorSummation& summation;
    Columns& own;
    const int row_a, row_b;
    double sums[4] = {};    // of row_a + lane / 4, the one 8 below, and so for row_b
    float4 norms, weights;  // of the next tile, on their way

    __device__ RowSums(const TensorSummation& summation, const TensorSweep& sweep, Memory& memory,
                       int row_a, int row_b)
        : summation(summation),
          own(memory.columns[threadIdx.x / 32 % warps_of_rows]),
          row_a(row_a),
          row_b(row_b) {
        fetch(Segment(sweep).first);
    }

    __device__ void columns(int tile) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        __syncwarp();
        const auto known = [](float norm) { return norm == INFINITY ? 0.0f : norm; };
        float4 scaled = {known(norms.x), known(norms.y), known(norms.z), known(norms.w)};
        if constexpr (kind == Kind::gaussian) {
            const float rate = summation.terms.params[0][0];
            scaled = {rate * scaled.x, rate * scaled.y, rate * scaled.z, rate * scaled.w};
        }
        reinterpret_cast<float4*>(own.norms)[lane] = scaled;
        reinterpret_cast<float4*>(own.weights)[lane] = weights;
        __syncwarp();
        if (tile + 1 < summation.sweep.col_tiles) fetch(tile + 1);
    }

    __device__ __forceinline__ void strip(const Strip& values, int row, int tile) {
        const int64_t last = summation.first_row + int64_t{blockIdx.x} * block_rows + row + 15;
        const int64_t first = summation.first_col + int64_t{tile} * tile_columns;
        const bool masked = summation.triangle && first <= last;
        uint64_t again = 0;
        double2 added = masked ? added_by<true>(values, row, tile, again)
                               : added_by<false>(values, row, tile, again);
        if constexpr (kind != Kind::gaussian) {
            if (__any_sync(~0u, again != 0)) {
                const double2 near = near_sums(summation, own, again, row, tile);
                added.x += near.x, added.y += near.y;
            }
        }
        if (row == row_a) {
            sums[0] += added.x;
            sums[1] += added.y;
        } else {
            sums[2] += added.x;
            sums[3] += added.y;
        }
    }

    __device__ void finish() {
#pragma unroll
        for (double& sum : sums) {  // the four lanes of a row
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
        }
        if (threadIdx.x % 4 != 0) return;
        double* states =
            summation.states +
            (int64_t{blockIdx.y} * summation.sweep.row_blocks + blockIdx.x) * block_rows;
        const int within = static_cast<int>(threadIdx.x) % 32 / 4;
        states[row_a + within] = sums[0];
        states[row_a + within + 8] = sums[1];
        states[row_b + within] = sums[2];
        states[row_b + within + 8] = sums[3];
    }

  private:
    __device__ void fetch(int tile) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int64_t at = int64_t{tile} * tile_columns;
        if (tile >= summation.sweep.col_tiles) return;
        norms = reinterpret_cast<const float4*>(summation.sweep.cols.norms + at)[lane];
        if (summation.weights) {
            weights = reinterpret_cast<const float4*>(summation.weights + at)[lane];
        } else {
            const auto one = [](float norm) { return norm == INFINITY ? 0.0f : 1.0f; };
            weights = {one(norms.x), one(norms.y), one(norms.z), one(norms.w)};
        }
    }

    static __device__ float value_of(const TensorSummation& summation, float s) {
        const float distance = fmaxf(s, 0.0f);
        if constexpr (kind == Kind::root) return root_of(distance);
        const TensorTerms& terms = summation.terms;
        float value = 0.0f;
        for (int t = 0; t < terms.count; ++t) {
            of_distance_kernel(terms.kernel[t], [&]<class Kernel>() {
                value =
                    fmaf(terms.weight[t], FastValue<Kernel>::of(distance, terms.params[t]), value);
            });
        }
        return value;
    }

    // What a lane knows of the pairs of a strip.
    struct Lane {
        float of_upper, of_lower;  // squared norms
        const float2 *norms, *weights;
        // Of its first column, how far behind the upper row; in a mask, only what is behind counts.
        int behind;
    };

    // For every pair of a lane: what it has, from norms and `factor` times the product; its weight;
    // and which of the lane it is.
    template <bool masked, class Visit>
    __device__ __forceinline__ void visit(const Strip& values, const Lane& lane, float factor,
                                          Visit visit) {
#pragma unroll
        for (int g = 0; g < tile_columns / 8; ++g) {
            const float2 norm = lane.norms[4 * g], weight = lane.weights[4 * g];
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const float together =
                    (e < 2 ? lane.of_upper : lane.of_lower) + (e % 2 ? norm.y : norm.x);
                float counted = e % 2 ? weight.y : weight.x;
                if (masked && lane.behind + 8 * g + e % 2 <= (e < 2 ? 0 : 8)) counted = 0.0f;
                visit(fmaf(factor, values[g][e], together), counted, 4 * g + e);
            }
        }
    }

    // Sums over the pairs of a lane in its upper and lower row, in float32: of chains, of two of
    // those, and so on. Pairs come in the order of their places.
    struct LaneSums {
        float of_chain[2];
        float waiting[2][tree + 1];  // sums of 1, 2, 4, ... chains, until there are as many more

        __device__ __forceinline__ void add(int place, float weight, float value) {
            const bool lower = place % 4 >= 2;
            const int in_row = place / 4 * 2 + place % 2;
            float& sum = of_chain[lower];
            sum = in_row % chain == 0 ? weight * value : fmaf(weight, value, sum);
            if (in_row % chain < chain - 1) return;
            float all = sum;
#pragma unroll
            for (int level = 0; level <= tree; ++level) {
                if ((in_row / chain >> level & 1) == 0) {
                    waiting[lower][level] = all;
                    break;
                }
                all += waiting[lower][level];
            }
        }
        __device__ __forceinline__ double2 total() const {
            return {static_cast<double>(waiting[0][tree]), static_cast<double>(waiting[1][tree])};
        }
    };

    // What a strip adds to its upper and lower row in this lane, but for near pairs, whose bits
    // come out in `again`.
    template <bool masked>
    __device__ __forceinline__ double2 added_by(const Strip& values, int row, int tile,
                                                uint64_t& again) {
        const int thread = static_cast<int>(threadIdx.x) % 32;
        const int64_t packed = int64_t{blockIdx.x} * block_rows + row + thread / 4;
        Lane lane = {summation.sweep.rows.norms[packed], summation.sweep.rows.norms[packed + 8],
                     reinterpret_cast<const float2*>(own.norms) + thread % 4,
                     reinterpret_cast<const float2*>(own.weights) + thread % 4,
                     static_cast<int>(summation.first_col - summation.first_row +
                                      int64_t{tile} * tile_columns + 2 * (thread % 4) - packed)};
        if constexpr (kind == Kind::gaussian) {
            LaneSums sums;
            const float rate = summation.terms.params[0][0];
            lane.of_upper *= rate, lane.of_lower *= rate;
            visit<masked>(values, lane, -2.0f * rate, [&](float s, float weight, int place) {
                sums.add(place, weight, exp2_of(s));
            });
            return sums.total();
        }
        const float near = summation.near;
        const auto is_near = [&](float s, float weight, int place) {
            const bool found = s < near && weight != 0.0f;
            if (found) again |= uint64_t{1} << place;
            return found;
        };
        if constexpr (kind == Kind::root) {
            LaneSums sums;
            visit<masked>(values, lane, -2.0f, [&](float s, float weight, int place) {
                const bool found = is_near(s, weight, place);
                sums.add(place, weight, found ? 0.0f : root_of(fmaxf(s, 0.0f)));
            });
            return sums.total();
        } else {
            double2 added = {0.0, 0.0};
            // in local memory, over which each kernel has a loop of its own
            float distances[pairs_of_lane], weights[pairs_of_lane];
            visit<masked>(values, lane, -2.0f, [&](float s, float weight, int place) {
                distances[place] = fmaxf(s, 0.0f);
                weights[place] = is_near(s, weight, place) ? 0.0f : weight;
            });
            const TensorTerms& terms = summation.terms;
            for (int t = 0; t < terms.count; ++t) {
                LaneSums sums;
                of_distance_kernel(terms.kernel[t], [&]<class Kernel>() {
#pragma unroll 8
                    for (int place = 0; place < pairs_of_lane; ++place) {
                        sums.add(place, weights[place],
                                 FastValue<Kernel>::of(distances[place], terms.params[t]));
                    }
                });
                const auto weight = static_cast<double>(terms.weight[t]);
                const double2 of_term = sums.total();
                added.x += weight * of_term.x;
                added.y += weight * of_term.y;
            }
            return added;
        }
    }

    // Near pairs from the inputs: lane by lane, each by the whole warp. Not inlined, and nowhere
    // else than after a strip: beside votes under a condition the compiler lets every wgmma wait
    // for the one before.
    static __device__ __noinline__ double2 near_sums(const TensorSummation& summation,
                                                     const Columns& own, uint64_t again, int row,
                                                     int tile) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const int64_t packed = int64_t{blockIdx.x} * block_rows + row;
        const int64_t cols = summation.sweep.cols.rows, rows = summation.sweep.rows.rows;
        int64_t count = 0;
        double2 added = {0.0, 0.0};
        for (unsigned who = __ballot_sync(~0u, again != 0); who != 0;
             who = __ballot_sync(~0u, again != 0)) {
            const int owner = __ffs(static_cast<int>(who)) - 1;
            const int bit = __shfl_sync(~0u, __ffsll(static_cast<int64_t>(again)) - 1, owner);
            const int g = bit / 4, e = bit % 4, lower = e < 2 ? 0 : 8;
            const int64_t r = packed + owner / 4 + lower;
            const int within = 8 * g + 2 * (owner % 4) + e % 2;
            const int64_t c = int64_t{tile} * tile_columns + within;
            const bool counts = r < rows && c < cols;
            const double distance = counts
                                        ? squared_distance_again(summation, summation.first_row + r,
                                                                 summation.first_col + c)
                                        : 0.0;
            count += counts;
            if (lane != owner) continue;
            again &= again - 1;
            double& sum = lower ? added.y : added.x;
            if (counts) {
                const float value = value_of(summation, static_cast<float>(distance));
                sum += static_cast<double>(own.weights[within]) * static_cast<double>(value);
            }
        }
        if (lane == 0) atomicAdd(summation.computed_again, static_cast<unsigned long long>(count));
        return added;
    }
};

// Segments one after the other; the weight of a lone kernel comes in here.
__global__ void __launch_bounds__(block_threads)
    merge_row_sums(const __grid_constant__ TensorSummation summation, double weight, double* sums) {
    const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (row >= summation.sweep.rows.rows) return;
    double sum = 0.0;
    for (int64_t s = 0; s < summation.sweep.segments; ++s) {
        sum += summation.states[s * summation.sweep.row_blocks * block_rows + row];
    }
    sums[summation.first_row + row] += weight * sum;
}

}  // namespace

bool tensor_terms(const KernelTerm* terms, int count, TensorTerms* out) {
    *out = {};
    if (count < 1 || count > most_tensor_terms) return false;
    out->count = count;
    for (int t = 0; t < count; ++t) {
        const KernelTerm& term = terms[t];
        if (argument_of(term.kernel) != Argument::squared_distance) return false;
        out->kernel[t] = term.kernel;
        out->weight[t] = static_cast<float>(term.weight);
        for (int p = 0; p < kernel_params; ++p) {
            out->params[t][p] = static_cast<float>(term.params[p]);
        }
        if (term.kernel == KernelId::gaussian) {
            out->params[t][0] = static_cast<float>(-term.params[0] * 1.4426950408889634);
        }
    }
    return true;
}

namespace {

constexpr double unit = 0x1p-24;

// What products leave out of x̂·ŷ: those of two smaller parts.
double left_out(const LargestRows& x, const LargestRows& y, int products) {
    const double smallest = x.part[2] * y.part[2];
    return products == 6 ? x.part[1] * y.part[2] + x.part[2] * y.part[1] + smallest : smallest;
}

// What is lost of a sum that is added up to at most `size`, of products that are whole numbers of
// one step. While the sum has fewer than 24 bits of those, no product loses any, and what the sum
// had before is cut off only where it grows to a larger exponent: units that double from one to the
// next, the last at most 2^-23 of the size. Else tensor_core_error says how much each addition of
// eight may lose, 11 units of 2^-24 of the largest.
double lost_of(double size, double steps, double most_steps, double additions) {
    return unit * size * (1.001 * steps < most_steps ? 4.0 : 11.0 * (additions + 1.0));
}

}  // namespace

// docs/numerics.md derives it.
double squared_distance_error(const LargestRows& x, const LargestRows& y, int64_t d, int products) {
    // of the three orders of products, the smallest first: what they add up to at most, in steps of
    // the leading parts too
    const auto order = [](const double* a, const double* b, int of) {
        double sum = 0.0;
        for (int p = 0; p <= of; ++p) sum += a[p] * b[of - p];
        return sum;
    };
    const auto additions = std::ceil(static_cast<double>(d) / 8.0);
    double size = products == 6 ? 0.0 : x.part[1] * y.part[2] + x.part[2] * y.part[1];
    double steps = products == 6 ? 0.0 : x.steps[1] * y.steps[2] + x.steps[2] * y.steps[1];
    double most = 0x1p24 * grid_of_part * grid_of_part * grid_of_part, lost = 0.0;
    if (products > 6) lost += lost_of(size, steps, most, 2.0 * additions);
    for (int of = 2; of >= 0; --of) {
        most /= grid_of_part;
        size += order(x.part, y.part, of);
        steps += order(x.steps, y.steps, of);
        lost += lost_of(size, steps, most, (of + 1) * additions);
    }
    const double off = x.residual + y.residual, reach = x.norm + y.norm;
    // of norms half a unit each when they are rounded, multiplied by a rate, and added
    const double norms = 3.0 * unit * (x.norm * x.norm + y.norm * y.norm);
    const double error =
        norms + 2.0 * (lost + left_out(x, y, products)) + (2.0 * reach + off) * off;
    return error * (1.0 + 0x1p-20);  // and what is left of smaller order
}

double sums_error(bool weighted) {
    // a value; a distance and a rate
    const double of_values = 5.0 + 1.0;
    // (1 + … + 4)/4 in a chain, 4 and the weight at most where weights differ; each halving
    return unit * (of_values + (weighted ? chain + 1.0 : 0.5 * (chain + 1.0)) + tree);
}

double near_distance(const KernelTerm* terms, int count, const LargestRows& x, const LargestRows& y,
                     int64_t d, int products, double tolerance) {
    const double error = squared_distance_error(x, y, d, products);
    const double reach = (x.norm + y.norm) * (x.norm + y.norm);
    double near = -1.0;
    for (int t = 0; t < count; ++t) {
        near =
            std::max(near, of_kernel(terms[t].kernel, [&]<class Kernel>() {
                         return Kernel::recompute_below(terms[t].params, error, tolerance, reach);
                     }));
    }
    return near;
}

// Of any device, so that the order of additions is that of the shapes.
constexpr int64_t wanted_tensor_blocks = 256;

int64_t tensor_sums_segments(int64_t rows, int64_t columns) {
    const int64_t blocks = padded_rows(rows) / block_rows;
    const int64_t tiles = divided_up(columns, tile_columns);
    const int64_t wanted = divided_up(wanted_tensor_blocks, blocks);
    const int64_t segments = std::max<int64_t>(1, std::min(wanted, tiles / 8));
    return divided_up(tiles, divided_up(tiles, segments));
}

void tensor_row_sums(const TensorSummation& summation, TensorPath path, double* sums,
                     cudaStream_t stream) {
    const TensorTerms& terms = summation.terms;
    const KernelId lone = terms.count == 1 ? terms.kernel[0] : KernelId::count;
    const char* name = "tensor kernel sums";
    double weight = 1.0;
    if (lone == KernelId::gaussian && !(summation.near > 0.0f)) {
        weight = terms.weight[0];
        run_tensor<RowSums<Kind::gaussian>>(name, path, summation.sweep, summation, stream);
    } else if (lone == KernelId::energy && terms.params[0][0] == 1.0f) {
        weight = -terms.weight[0];
        run_tensor<RowSums<Kind::root>>(name, path, summation.sweep, summation, stream);
    } else {
        run_tensor<RowSums<Kind::several>>(name, path, summation.sweep, summation, stream);
    }
    const auto blocks = static_cast<unsigned>(divided_up(summation.sweep.rows.rows, block_threads));
    launch("tensor kernel sums merge", merge_row_sums, blocks, block_threads, stream, summation,
           weight, sums);
}

}  // namespace pairtile::gpu
