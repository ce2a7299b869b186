// Canonical values, counted in bins: in shared memory where there are few, by integer atomics, so
// that the order does not matter.
#include "neighbors/histogram.hpp"

#include "neighbors/embedding_pairs.cuh"

namespace pairtile::gpu {
namespace {

constexpr int bins_of_block = 1024;

// The bin b with limits[b − 1] < value <= limits[b], open at either end.
__device__ int64_t bin_of(const GroupHistogram& histogram, double value) {
    int64_t low = 0, high = histogram.bins - 1;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (histogram.limits[middle] < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

__device__ void count_one(int64_t& count, unsigned long long more = 1) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&count), more);
}

template <class Pairs>
struct CountBins {
    const GroupHistogram& histogram;
    const Place& place;
    unsigned (&counts)[bins_of_block];  // of pairs between groups
    int64_t group;

    __device__ void operator()(const Pairs& pairs, int64_t first) const {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (!place.has_query() || j >= place.end || j <= place.query) continue;
            const double value = pairs.value(p, place.query, j);
            if (value != value) continue;
            const int64_t bin = bin_of(histogram, value);
            if (histogram.groups[j] == group) {
                count_one(histogram.same[group * histogram.bins + bin]);
            } else if (bin < bins_of_block) {
                atomicAdd(&counts[bin], 1u);
            } else {
                count_one(histogram.different[bin]);
            }
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    histogram_sweep(const __grid_constant__ GroupHistogram histogram) {
    __shared__ unsigned counts[bins_of_block];
    for (int b = static_cast<int>(threadIdx.x); b < bins_of_block; b += block_threads) {
        counts[b] = 0;
    }
    __syncthreads();
    const Place place(histogram.sweep);
    const int64_t group = place.has_query() ? histogram.groups[place.query] : 0;
    CountBins<Pairs> fold{histogram, place, counts, group};
    run(histogram.sweep, place, Pairs(histogram.sweep, histogram.metric), fold);
    __syncthreads();
    for (int b = static_cast<int>(threadIdx.x); b < bins_of_block; b += block_threads) {
        if (counts[b]) count_one(histogram.different[b], counts[b]);
    }
}

}  // namespace

void group_histogram(const GroupHistogram& histogram, cudaStream_t stream) {
    with_embedding_pairs(histogram.metric.id, [&]<class Pairs>() {
        launch("histogram sweep", histogram_sweep<Pairs>, grid_of(histogram.sweep), block_threads,
               stream, histogram);
    });
}

}  // namespace pairtile::gpu
