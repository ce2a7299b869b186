#include "losses/sigmoid.hpp"

#include "losses/block.cuh"
#include "pairtile/fold/sigmoid.hpp"

namespace pairtile::gpu {
namespace {

struct SigmoidSums {
    double loss = 0.0, by_scale = 0.0, by_bias = 0.0;

    __device__ void merge(const SigmoidSums& other) {
        loss += other.loss;
        by_scale += other.by_scale;
        by_bias += other.by_bias;
    }
};

template <class T, bool gradient>
__global__ void __launch_bounds__(block_threads)
    sigmoid_rows(const __grid_constant__ DotBlock<T> block,
                 const __grid_constant__ PairRule positives, const __grid_constant__ RowTerms rows,
                 double bias, double* losses, double* by_bias) {
    const int64_t i = row_of_warp_in_block();
    if (i >= block.rows) return;
    const int64_t row = block.first_row + i;
    const T scale = static_cast<T>(rows.scales ? rows.scales[row] : rows.scale);
    const T share = gradient ? static_cast<T>(rows.shares[row]) : T(0);
    SigmoidSums sums;
    for (int64_t j = lane_in_warp(); j < block.cols; j += 32) {
        const T dot = dot_of(block, i, j);
        const bool positive = positive_weight(positives, row, block.first_col + j) > 0.0;
        const T logit = scale * dot + static_cast<T>(bias), t = positive ? -logit : logit;
        const T small = exponential_of_size(t);
        sums.loss += static_cast<double>(softplus(t, small));
        if constexpr (gradient) {
            const T slope = sigmoid(t, small), weight = share * (positive ? -slope : slope);
            sums.by_scale += static_cast<double>(weight) * static_cast<double>(dot);
            sums.by_bias += static_cast<double>(weight);
            put_weight(block, i, j, weight * scale);
        }
    }
    sums = merged_lanes(sums);
    if (lane_in_warp() > 0) return;
    losses[row] += sums.loss;
    if constexpr (gradient) {
        rows.by_scale[row] += sums.by_scale;
        by_bias[row] += sums.by_bias;
    }
}

}  // namespace

template <class T>
void sigmoid_losses(const DotBlock<T>& block, const PairRule& positives, const RowTerms& rows,
                    double bias, double* losses, double* by_bias, cudaStream_t stream) {
    const auto kernel = rows.shares ? sigmoid_rows<T, true> : sigmoid_rows<T, false>;
    launch("sigmoid losses", kernel, warp_per_row(block.rows), block_threads, stream, block,
           positives, rows, bias, losses, by_bias);
}

template void sigmoid_losses(const DotBlock<float>&, const PairRule&, const RowTerms&, double,
                             double*, double*, cudaStream_t);
template void sigmoid_losses(const DotBlock<double>&, const PairRule&, const RowTerms&, double,
                             double*, double*, cudaStream_t);

}  // namespace pairtile::gpu
