#include "losses/softmax_end.hpp"

#include "engine/launch.hpp"
#include "engine/plan.hpp"

namespace pairtile::gpu {
namespace {

constexpr double ln2 = 0.693147180559945309417232121458;

// All logits of a row or column: those but the positive, and the positive.
struct Ended {
    LogSumExp all;
    double loss;

    __device__ Ended(const LogSumExp& others, double positive) : all(others) {
        all.push(positive);
        if (others.sum == 0.0) {
            loss = positive - positive;  // 0, or NaN
        } else if (positive >= others.max) {
            loss = log1p(others.sum * exp(others.max - positive));
        } else {
            loss = (others.max - positive) + log(others.sum + exp(positive - others.max));
        }
    }
};

__device__ double in_base_e(float positive) { return static_cast<double>(positive) * ln2; }
__device__ double in_base_e(double positive) { return positive; }

__device__ void tell(SoftmaxSide& side, const LogSumExp& all, double share, double positive) {
    side = {static_cast<float>(all.max / ln2), static_cast<float>(log2(all.sum)),
            static_cast<float>(share), static_cast<float>(positive)};
}
__device__ void tell(WideSide& side, const LogSumExp& all, double share, double positive) {
    side = {all.max, log(all.sum), share, positive};
}

// Floats keep their order as integers, once that of negative ones is turned round; integer atomics
// give the same result in any order. Called by whole warps.
__device__ void widen(float* extremes, float least, float largest) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        least = fminf(least, __shfl_xor_sync(~0u, least, other));
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, other));
    }
    if (threadIdx.x % 32 != 0) return;
    least += 0.0f;  // of either sign
    largest += 0.0f;
    if (least >= 0.0f) {
        atomicMin(reinterpret_cast<int*>(extremes), __float_as_int(least));
    } else {
        atomicMax(reinterpret_cast<unsigned*>(extremes), __float_as_uint(least));
    }
    if (largest >= 0.0f) {
        atomicMax(reinterpret_cast<int*>(extremes) + 1, __float_as_int(largest));
    } else {
        atomicMin(reinterpret_cast<unsigned*>(extremes) + 1, __float_as_uint(largest));
    }
}

template <class Positive, class Side>
__global__ void __launch_bounds__(block_threads)
    end_of_softmax(const __grid_constant__ SoftmaxEnd end, const Positive* positives, Side* of_rows,
                   Side* of_cols) {
    const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    float least = INFINITY, largest = -INFINITY;
    if (i < end.rows) {
        const double positive = in_base_e(positives[i]);
        const bool both = end.of_cols != nullptr;
        const Ended row(end.of_rows[i], positive);
        const Ended col(both ? end.of_cols[i] : LogSumExp{}, positive);
        const double lse = row.all.finish(), lse_col = both ? col.all.finish() : lse;
        end.lse_row[i] = lse;
        if (both) end.lse_col[i] = lse_col;
        end.per_row[i] = both ? 0.5 * (row.loss + col.loss) : row.loss;
        least = static_cast<float>(fmin(lse, lse_col) / ln2);
        largest = static_cast<float>(fmax(lse, lse_col) / ln2);
        if (of_rows) {
            // from the losses: 1 − p is tiny where they are
            const double share = end.shares[i];
            double weight = share * expm1(-row.loss);
            if (both) weight += share * expm1(-col.loss);
            tell(of_rows[i], row.all, share, weight);
            if (both) tell(of_cols[i], col.all, share, 0.0);
        }
    }
    widen(end.extremes, least, largest);
}

template <class Positive, class Side>
void launch_end(const SoftmaxEnd& end, const Positive* positives, Side* of_rows, Side* of_cols,
                cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(divided_up(end.rows, block_threads));
    launch("softmax end", end_of_softmax<Positive, Side>, blocks, block_threads, stream, end,
           positives, of_rows, of_cols);
}

}  // namespace

void softmax_end(const SoftmaxEnd& end, const float* positives, SoftmaxSide* of_rows,
                 SoftmaxSide* of_cols, cudaStream_t stream) {
    launch_end(end, positives, of_rows, of_cols, stream);
}
void softmax_end(const SoftmaxEnd& end, const double* positives, WideSide* of_rows,
                 WideSide* of_cols, cudaStream_t stream) {
    launch_end(end, positives, of_rows, of_cols, stream);
}

}  // namespace pairtile::gpu
