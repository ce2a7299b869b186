// Values of several kernels from one tile of pairs: how large they are, then their digits.
#include "kernels/relabelled_sums.hpp"

#include "engine/similarities.cuh"
#include "kernels/paired.cuh"

namespace pairtile::gpu {
namespace {

constexpr int block_warps = block_threads / 32;

// The number of a pair that its kernels read, and their values.
template <class Core>
struct PooledPairs : WorkingPairs<Core, double> {
    struct Memory {};

    __device__ PooledPairs(const Sweep&, Memory&) {}
    __device__ void values(const Mixture<double>& mixture, int first, int last,
                           double (&out)[pairs_per_thread]) const {
        evaluate<Core, double>(*this, mixture, first, last, out);
    }
};

__device__ Place place_in(const ValueBlock& block) {
    Place place(block.sweep);
    place.begin += block.first;
    place.end = min(place.begin + block.sweep.cut.width, block.end);
    return place;
}

__device__ bool counts(const ValueBlock& block, const Place& place, int64_t j) {
    return place.has_query() && j < place.end && !(block.sweep.triangle && j <= place.query);
}

// Of each warp its own, so that no two threads write to one.
using Sizes = ValueSize[most_terms][block_warps];

// The larger, NaN above all.
__device__ double larger(double a, double b) {
    return __double_as_longlong(a) < __double_as_longlong(b) ? b : a;
}

struct KeepSizes {
    const ValueBlock& block;
    const Mixture<double>& mixture;
    const ValueParts& parts;
    const Place& place;
    Sizes& sizes;

    template <class Pairs>
    __device__ void operator()(const Pairs& pairs, int64_t first) {
        int term = 0;
        for (int k = 0; k < parts.count; ++k) {
            double values[pairs_per_thread];
            pairs.values(mixture, term, parts.parts[k].end, values);
            term = parts.parts[k].end;
            ValueSize size = {0.0, 0.0};
#pragma unroll
            for (int p = 0; p < pairs_per_thread; ++p) {
                if (!counts(block, place, first + place.column(p))) continue;
                size.largest = larger(size.largest, fabs(values[p]));
                size.total += fabs(values[p]);
            }
#pragma unroll
            for (int other = 16; other > 0; other /= 2) {
                size.largest = larger(size.largest, __shfl_xor_sync(~0u, size.largest, other));
                size.total += __shfl_xor_sync(~0u, size.total, other);
            }
            if (threadIdx.x % 32 != 0) continue;
            ValueSize& all = sizes[k][threadIdx.x / 32];
            all = {larger(all.largest, size.largest), all.total + size.total};
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    value_sizes_of(const __grid_constant__ ValueBlock block,
                   const __grid_constant__ Mixture<double> mixture,
                   const __grid_constant__ ValueParts parts, ValueSize* states) {
    __shared__ typename Pairs::Memory memory;
    __shared__ Sizes sizes;
    if (threadIdx.x % 32 == 0) {
        for (int k = 0; k < parts.count; ++k) sizes[k][threadIdx.x / 32] = {0.0, 0.0};
    }
    const Place place = place_in(block);
    KeepSizes fold{block, mixture, parts, place, sizes};
    run(block.sweep, place, Pairs(block.sweep, memory), fold);
    __syncthreads();
    const int k = static_cast<int>(threadIdx.x);
    if (k >= parts.count) return;
    ValueSize size = sizes[k][0];
    for (int w = 1; w < block_warps; ++w) {
        size = {larger(size.largest, sizes[k][w].largest), size.total + sizes[k][w].total};
    }
    states[(int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * parts.count + k] = size;
}

// A block of one warp for each part: lanes in turn, then the lanes added pairwise.
__global__ void __launch_bounds__(32)
    merge_value_sizes(const ValueSize* states, int64_t count, ValueSize* sizes) {
    ValueSize size = {0.0, 0.0};
    for (int64_t s = threadIdx.x; s < count; s += 32) {
        const ValueSize more = states[s * gridDim.x + blockIdx.x];
        size = {larger(size.largest, more.largest), size.total + more.total};
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        size.largest = larger(size.largest, __shfl_xor_sync(~0u, size.largest, other));
        size.total += __shfl_xor_sync(~0u, size.total, other);
    }
    if (threadIdx.x > 0) return;
    ValueSize& all = sizes[blockIdx.x];
    all = {larger(all.largest, size.largest), all.total + size.total};
}

// A whole number as digits from −128 to 127, the lowest in the lowest byte.
__device__ __forceinline__ uint64_t signed_digits(double value) {
    constexpr uint64_t half = 0x0080808080808080;
    return (static_cast<uint64_t>(__double2ll_rn(value)) + half) ^ half;
}

// Byte d of four words.
__device__ __forceinline__ uint32_t bytes_of(const uint32_t (&words)[4], int d) {
    const uint32_t pick = d | (d + 4) << 4;
    return __byte_perm(__byte_perm(words[0], words[1], pick), __byte_perm(words[2], words[3], pick),
                       0x5410);
}

struct WriteDigits {
    const ValueBlock& block;
    const Mixture<double>& mixture;
    const ValueParts& parts;
    const DigitPlanes& planes;
    const Place& place;

    template <class Pairs>
    __device__ void operator()(const Pairs& pairs, int64_t first) {
        const int row = static_cast<int>(place.query - block.sweep.first_row);
        const auto step = static_cast<int>(first - block.first) / fragment_cols;
        uint32_t* at = planes.words + planes.fragment(0, row / fragment_rows, step) +
                       fragment_word(row % fragment_rows, place.slot);
        const int64_t plane = planes.fragment(1, 0, 0);
        int term = 0;
        for (int k = 0; k < parts.count; ++k) {
            const ValuePart& part = parts.parts[k];
            double values[pairs_per_thread];
            pairs.values(mixture, term, part.end, values);
            term = part.end;
            uint32_t words[2][pairs_per_thread];
#pragma unroll
            for (int p = 0; p < pairs_per_thread; ++p) {
                const bool is_there = counts(block, place, first + place.column(p));
                const uint64_t digits = is_there ? signed_digits(values[p] / part.step) : 0;
                words[0][p] = static_cast<uint32_t>(digits);
                words[1][p] = static_cast<uint32_t>(digits >> 32);
            }
#pragma unroll
            for (int d = 0; d < most_digits; ++d) {
                if (d >= part.digits) break;
                *at = bytes_of(words[d / 4], d % 4);
                at += plane;
            }
        }
    }
};
static_assert(pairs_per_thread == 4 && tile_cols == fragment_cols);

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    value_digits_of(const __grid_constant__ ValueBlock block,
                    const __grid_constant__ Mixture<double> mixture,
                    const __grid_constant__ ValueParts parts,
                    const __grid_constant__ DigitPlanes planes) {
    __shared__ typename Pairs::Memory memory;
    const Place place = place_in(block);
    WriteDigits fold{block, mixture, parts, planes, place};
    run(block.sweep, place, Pairs(block.sweep, memory), fold);
}

// launch.operator()<Pairs>() with those that the block and its kernels ask for.
template <class Launch>
void with_pairs(const ValueBlock& block, const std::vector<KernelTerm>& terms,
                const Launch& launch) {
    with_core(terms.front().kernel, [&]<class Core>() {
        if (block.paired) return launch.template operator()<PairedPairs<Core>>();
        return launch.template operator()<PooledPairs<Core>>();
    });
}

}  // namespace

ValueBlock value_block(Sweep sweep, int64_t first, int64_t end, bool paired) {
    sweep.cut = cut_block(sweep.rows, end - first);
    return {sweep, first, end, paired};
}

int64_t value_size_states(const ValueBlock& block) {
    return block.sweep.row_blocks() * block.sweep.cut.segments;
}

void value_sizes(const ValueBlock& block, const std::vector<KernelTerm>& terms,
                 const ValueParts& parts, ValueSize* states, ValueSize* sizes,
                 cudaStream_t stream) {
    with_pairs(block, terms, [&]<class Pairs>() {
        launch("value sizes", value_sizes_of<Pairs>, grid_of(block.sweep), block_threads, stream,
               block, Mixture<double>(terms), parts, states);
    });
    launch("value sizes merge", merge_value_sizes, static_cast<unsigned>(parts.count), 32, stream,
           states, value_size_states(block), sizes);
}

void value_digits(const ValueBlock& block, const std::vector<KernelTerm>& terms,
                  const ValueParts& parts, const DigitPlanes& planes, cudaStream_t stream) {
    with_pairs(block, terms, [&]<class Pairs>() {
        launch("value digits", value_digits_of<Pairs>, grid_of(block.sweep), block_threads, stream,
               block, Mixture<double>(terms), parts, planes);
    });
}

}  // namespace pairtile::gpu
