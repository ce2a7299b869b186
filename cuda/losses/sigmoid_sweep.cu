#include "losses/sigmoid_sweep.hpp"

#include "losses/logits.cuh"
#include "pairtile/fold/sigmoid.hpp"

namespace pairtile::gpu {
namespace {

// A logit without its bias that counts nothing.
constexpr float masked = -1e30f;

// What a pair of logit t gives as a negative, of a positive by −t.
struct OfPair {
    float loss, slope;

    __device__ explicit OfPair(float t) {
        const float small = exponential_of_size(t);
        loss = softplus(t, small);
        slope = sigmoid(t, small);
    }
};

template <bool gradient, bool scaled>
struct FoldSigmoid {
    using Params = SigmoidSweep;
    struct Memory {};
    using RowsByPanel = void;

    static constexpr int numbers = gradient ? sigmoid_sums : 1;

    const SigmoidSweep& params;
    const int row_a, row_b;
    // of the upper and lower row of both strips, over the columns of this lane
    double totals[2][2][numbers];

    __device__ FoldSigmoid(const SigmoidSweep& params, const TensorSweep&, Memory&, int row_a,
                           int row_b)
        : params(params), row_a(row_a), row_b(row_b), totals{} {}

    __device__ void columns(int) {}

    __device__ __forceinline__ void strip(Strip& values, int row, int tile) {
        if (row == row_a) {
            fold<0>(values, row, tile);
        } else {
            fold<1>(values, row, tile);
        }
    }

    __device__ void finish() {
        const int64_t padded = int64_t{params.sweep.row_blocks} * block_rows;
#pragma unroll
        for (int s = 0; s < 2; ++s) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int64_t row = packed_row(s == 0 ? row_a : row_b) + 8 * h;
#pragma unroll
                for (int k = 0; k < numbers; ++k) {
                    double sum = totals[s][h][k];
                    sum += __shfl_xor_sync(every_lane, sum, 1);
                    sum += __shfl_xor_sync(every_lane, sum, 2);
                    if (quad_lane() > 0) continue;
                    params
                        .partial[(int64_t{k} * params.sweep.segments + blockIdx.y) * padded + row] =
                        sum;
                }
            }
        }
    }

  private:
    template <int which>
    __device__ __forceinline__ void fold(Strip& values, int row, int tile) {
        const Logits& logits = params.logits;
        const TensorSweep& sweep = params.sweep;
        const int64_t upper = packed_row(row), rows = sweep.rows.rows;
        to_logits<scaled>(values, logits, upper, tile);
        // positives are taken out, and put back as weights
        float own[2] = {masked, masked};
        at_positive<false>(values, logits, upper, rows, tile, [&](float& value) {
            own[0] = value;
            value = masked;
        });
        at_positive<true>(values, logits, upper + 8, rows, tile, [&](float& value) {
            own[1] = value;
            value = masked;
        });
        mask_columns(values, sweep.cols.rows, tile, masked);
        mask_rows(values, sweep, row, masked);
        fold_row<which, 0>(values, own[0], share_of(upper));
        fold_row<which, 1>(values, own[1], share_of(upper + 8));
        if constexpr (gradient) {
            at_positive<false>(values, logits, upper, rows, tile,
                               [&](float& value) { value = own[0]; });
            at_positive<true>(values, logits, upper + 8, rows, tile,
                              [&](float& value) { value = own[1]; });
            write_panels<scaled>(values, logits, params.panels, row, tile);
        }
    }

    __device__ float share_of(int64_t row) const {
        return gradient && row < params.sweep.rows.rows ? static_cast<float>(params.shares[row])
                                                        : 0.0f;
    }

    // Logits become weights, that of the positive too.
    template <int which, int half>
    __device__ __forceinline__ void fold_row(Strip& values, float& own, float share) {
        float loss = 0.0f, by_scale = 0.0f, by_bias = 0.0f;
#pragma unroll
        for (int g = 0; g < groups; ++g) {
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; ++e) {
                const float logit = values[g][e];
                const OfPair pair(logit + params.bias);
                loss += pair.loss;
                if constexpr (gradient) {
                    const float weight = share * pair.slope;
                    by_scale += weight * logit;
                    by_bias += weight;
                    values[g][e] = weight;
                }
            }
        }
        auto& sums = totals[which][half];
        if (own != masked) {  // a NaN too
            const OfPair pair(-(own + params.bias));
            sums[0] += static_cast<double>(pair.loss);
            if constexpr (gradient) {
                const float weight = -share * pair.slope;
                sums[1] += static_cast<double>(weight) * static_cast<double>(own);
                sums[2] += static_cast<double>(weight);
                own = weight;
            }
        }
        sums[0] += static_cast<double>(loss);
        if constexpr (gradient) {
            sums[1] += static_cast<double>(by_scale);
            sums[2] += static_cast<double>(by_bias);
        }
    }
};

__global__ void __launch_bounds__(block_threads)
    add_sigmoid_rows(const __grid_constant__ SigmoidSweep sigmoid,
                     const __grid_constant__ SigmoidRows out, double scale) {
    const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (row >= sigmoid.sweep.rows.rows) return;
    const int64_t segments = sigmoid.sweep.segments;
    const int64_t padded = int64_t{sigmoid.sweep.row_blocks} * block_rows;
    const auto total = [&](int which) {
        double sum = 0.0;
        for (int64_t s = 0; s < segments; ++s) {
            sum += sigmoid.partial[(which * segments + s) * padded + row];
        }
        return sum;
    };
    out.losses[row] += total(0);
    if (!sigmoid.shares) return;
    out.by_scale[row] += total(1) / scale;
    out.by_bias[row] += total(2);
}

}  // namespace

void sigmoid_sweep(const SigmoidSweep& sigmoid, const SigmoidRows& rows, double scale,
                   TensorPath path, cudaStream_t stream) {
    const auto run = [&]<bool gradient, bool scaled>() {
        run_tensor<FoldSigmoid<gradient, scaled>>("sigmoid sweep", path, sigmoid.sweep, sigmoid,
                                                  stream);
    };
    const bool scaled = sigmoid.logits.row_factors;
    if (sigmoid.shares) {
        scaled ? run.template operator()<true, true>() : run.template operator()<true, false>();
    } else {
        scaled ? run.template operator()<false, true>() : run.template operator()<false, false>();
    }
    launch("sigmoid rows", add_sigmoid_rows,
           static_cast<unsigned>(divided_up(sigmoid.sweep.rows.rows, block_threads)), block_threads,
           stream, sigmoid, rows, scale);
}

}  // namespace pairtile::gpu
