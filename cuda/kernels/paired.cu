// Four kernel values make one of a pair of rows with another; a tile of those, multiplied as in any
// contraction.
#include "kernels/paired.hpp"

#include "engine/multiply_add.cuh"
#include "engine/similarities.cuh"

namespace pairtile::gpu {
namespace {

// What a thread has of its pairs waits in shared memory, where the columns come later.
using Waiting = double[2][pairs_per_thread][block_threads];
static_assert(sizeof(Waiting) == sizeof(Factors::columns));

// Each of four passes gives one kernel value. h_ij has the same bits as h_ji, and those of −h where
// x_i and y_i change places.
template <class Core>
struct PairedPairs {
    using Value = double;
    const Sweep& sweep;
    const Mixture<double>& mixture;
    Waiting& waiting;
    WorkingPairs<Core, double> now;

    static constexpr __device__ bool queries_from_references(int64_t pass) { return pass % 2 == 1; }
    static constexpr __device__ bool references_from_queries(int64_t pass) {
        return pass == 0 || pass == 3;
    }
    static constexpr __device__ int64_t passes() { return 4; }

    __device__ void begin() {}
    __device__ void add(const Staged<double>& x, const Staged<double>& y, const Place& place,
                        const Chunk& chunk) {
        if (chunk.first == 0) now.begin();
        now.add(x, y, place, chunk);
        if (chunk.first + chunk.count < sweep.queries.cols) return;
        double values[pairs_per_thread];
        evaluate(now, mixture, values);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            double& sum = waiting[chunk.pass / 2][p][threadIdx.x];  // within, then between
            sum = chunk.pass % 2 == 0 ? values[p] : sum + values[p];
        }
    }
    __device__ double value(int pair) const {
        return waiting[0][pair][threadIdx.x] - waiting[1][pair][threadIdx.x];
    }
};

struct MultiplyPaired {
    const Contraction& contraction;
    const Place& place;
    Factors& factors;
    double rounding_step;
    Sum sums[columns_per_thread];

    template <class Core>
    __device__ void operator()(const PairedPairs<Core>& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            const double h = pairs.value(p);
            factors.tile[place.column(p)][place.row] = j >= place.end || j == place.query ? 0.0
                                                       : rounding_step > 0.0
                                                           ? rint(h / rounding_step)
                                                           : h;
        }
        __syncthreads();  // nothing waits any more
        for (int e = static_cast<int>(threadIdx.x); e < tile_cols * contraction_width;
             e += block_threads) {
            const int j = e / contraction_width, c = e % contraction_width;
            const int64_t column = contraction.first_column + c;
            factors.columns[j][c] =
                first + j < place.end ? contraction.columns.element(first + j, column) : 0.0;
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
    auto& waiting = reinterpret_cast<Waiting&>(factors.columns);
    MultiplyPaired fold{contraction, place, factors, rounding_step, {}};
    run(contraction.sweep, place, PairedPairs<Core>{contraction.sweep, mixture, waiting, {}}, fold);
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
