// The point that rows are projected about, so that offsets cost no digits.
#include "engine/launch.hpp"
#include "slices/shares.cuh"

namespace pairtile::gpu {
namespace {

constexpr int64_t sample_rows = 2048;  // of either set

// A few rows of both sets, evenly apart.
struct Sample {
    Array x, y;
    int64_t of_x, of_y;
    double scale;

    __device__ double value(int64_t s, int64_t feature) const {
        const bool from_x = s < of_x;
        const Array& set = from_x ? x : y;
        const int64_t step = from_x ? s : s - of_x, steps = from_x ? of_x : of_y;
        const int64_t row =
            static_cast<int64_t>(static_cast<double>(step) *
                                 (static_cast<double>(set.rows) / static_cast<double>(steps)));
        return element<double>(set, row < set.rows ? row : set.rows - 1, feature) * scale;
    }
};

// Sum and number of what `take` makes of the finite values near enough, for all threads.
template <class Take>
__device__ double mean_of(const Sample& sample, int64_t feature, double centre, double reach,
                          Take take) {
    __shared__ double mean;
    double sum = 0.0, count = 0.0;
    for (int64_t s = threadIdx.x; s < sample.of_x + sample.of_y; s += block_threads) {
        const double value = sample.value(s, feature);
        if (fabs(value - centre) <= reach && fabs(value) < INFINITY) {
            sum += take(value);
            count += 1.0;
        }
    }
    sum = block_total(sum);
    count = block_total(count);
    if (threadIdx.x == 0) mean = count > 0.0 ? sum / count : 0.0;
    __syncthreads();
    const double found = mean;
    __syncthreads();
    return found;
}

// A block for each feature. What lies beyond four times the mean distance from the mean is left
// out of the next mean.
template <class T>
__global__ void __launch_bounds__(block_threads) centre_of(Sample sample, T* centre) {
    constexpr int rounds = 4;
    const int64_t feature = blockIdx.x;
    double mean = 0.0, reach = INFINITY, spread = 0.0;
    for (int round = 0; round < rounds; ++round) {
        mean = mean_of(sample, feature, mean, reach, [](double value) { return value; });
        spread =
            mean_of(sample, feature, mean, reach, [=](double value) { return fabs(value - mean); });
        reach = 4.0 * spread;
    }
    if (threadIdx.x != 0) return;
    if (spread > 0.0) {
        // a multiple of a power of two that is below the spread, which loses less than one digit
        const int exponent = ilogb(spread);
        mean = ldexp(rint(ldexp(mean, -exponent)), exponent);
    }
    const T rounded = static_cast<T>(mean);
    centre[feature] = fabs(rounded) < INFINITY ? rounded : T(0);
}

}  // namespace

template <class T>
void slice_centre(const Array& x, const Array& y, double scale, T* centre, cudaStream_t stream) {
    const Sample sample = {x, y, std::min(x.rows, sample_rows), std::min(y.rows, sample_rows),
                           scale};
    launch("slice_centre", centre_of<T>, static_cast<unsigned>(x.cols), block_threads, stream,
           sample, centre);
}

template void slice_centre<float>(const Array&, const Array&, double, float*, cudaStream_t);
template void slice_centre<double>(const Array&, const Array&, double, double*, cudaStream_t);

}  // namespace pairtile::gpu
