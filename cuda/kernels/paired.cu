// Four kernel values make one of a pair of rows with another; a tile of those, multiplied as in any
// contraction.
#include "kernels/paired.hpp"

#include "engine/multiply_add.cuh"
#include "kernels/paired.cuh"

namespace pairtile::gpu {
namespace {

struct MultiplyPaired {
    const Contraction& contraction;
    const Mixture<double>& mixture;
    const Place& place;
    Factors& factors;  // where numbers of pairs wait until then
    double rounding_step;
    Sum sums[columns_per_thread];

    template <class Core>
    __device__ void operator()(const PairedPairs<Core>& pairs, int64_t first) {
        double values[pairs_per_thread];
        pairs.values(mixture, 0, mixture.count, values);
        __syncthreads();  // nothing waits any more
        const auto left = static_cast<int>(min(place.end - first, int64_t{tile_cols}));
        const int64_t ahead = place.query - first;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int column = place.column(p);
            const double h = values[p];
            factors.tile[column][place.row] = column >= left || column == ahead ? 0.0
                                              : rounding_step > 0.0 ? rint(h / rounding_step)
                                                                    : h;
        }
        for (int e = static_cast<int>(threadIdx.x); e < tile_cols * contraction_width;
             e += block_threads) {
            const int j = e / contraction_width, c = e % contraction_width;
            const int64_t column = contraction.first_column + c;
            factors.columns[j][c] = j < left ? contraction.columns.element(first + j, column) : 0.0;
        }
        __syncthreads();
        multiply_add(factors, place, sums, [](double column, int) { return column; });
    }
};

template <class Core>
__global__ void __launch_bounds__(block_threads, 2)
    paired_sweep(const __grid_constant__ Contraction contraction,
                 const __grid_constant__ Mixture<double> mixture, double rounding_step) {
    __shared__ Factors factors;
    const Place place(contraction.sweep);
    using Pairs = PairedPairs<Core>;
    auto& waiting = reinterpret_cast<typename Pairs::Memory&>(factors);
    static_assert(sizeof(waiting) <= sizeof(Factors));
    MultiplyPaired fold{contraction, mixture, place, factors, rounding_step, {}};
    run(contraction.sweep, place, Pairs(contraction.sweep, waiting), fold);
    keep_columns(contraction.partial, contraction.sweep, place, fold.sums);
}

__global__ void __launch_bounds__(block_threads)
    paired_merge(const __grid_constant__ Contraction contraction, int columns, double* out,
                 int64_t out_stride) {
    merge_columns(contraction.partial, contraction.sweep, 1.0, columns, out, out_stride);
}

}  // namespace

void contract_paired(const Contraction& contraction, const std::vector<KernelTerm>& terms,
                     double rounding_step, int columns, double* out, int64_t out_stride,
                     cudaStream_t stream) {
    with_core(terms.front().kernel, [&]<class Core>() {
        launch("paired sweep", paired_sweep<Core>, grid_of(contraction.sweep), block_threads,
               stream, contraction, Mixture<double>(terms), rounding_step);
    });
    launch("paired merge", paired_merge, thread_per_entry(contraction.sweep), block_threads, stream,
           contraction, columns, out, out_stride);
}

}  // namespace pairtile::gpu
