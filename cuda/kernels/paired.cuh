// Pairs of rows as pairs of numbers: h_ij = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(y_i, x_j).
#pragma once

#include "engine/similarities.cuh"

namespace pairtile::gpu {

// The numbers that four kernel values of two pairs of rows are made of, in a pass for each. All but
// the last wait in shared memory. Where x_i and y_i change places, h has the same bits with the
// other sign.
template <class Core>
struct PairedPairs {
    using Value = double;
    using Numbers = WorkingPairs<Core, double>;
    struct Memory {
        double numbers[3][pairs_per_thread][block_threads];
    };
    const Sweep& sweep;
    Memory& memory;
    Numbers now;

    __device__ PairedPairs(const Sweep& sweep, Memory& memory) : sweep(sweep), memory(memory) {}
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
        if (chunk.pass == 3 || chunk.first + chunk.count < sweep.queries.cols) return;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            memory.numbers[chunk.pass][p][threadIdx.x] = now.sums[p];
        }
    }
    __device__ void values(const Mixture<double>& mixture, int first, int last,
                           double (&out)[pairs_per_thread]) const {
        double between[pairs_per_thread], one[pairs_per_thread];
        evaluate(of_pass(0), mixture, first, last, out);
        evaluate(of_pass(1), mixture, first, last, one);
        evaluate(of_pass(2), mixture, first, last, between);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) out[p] += one[p];
        evaluate(now, mixture, first, last, one);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) out[p] -= between[p] + one[p];
    }

  private:
    __device__ Numbers of_pass(int pass) const {
        Numbers numbers;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            numbers.sums[p] = memory.numbers[pass][p][threadIdx.x];
        }
        return numbers;
    }
};

}  // namespace pairtile::gpu
