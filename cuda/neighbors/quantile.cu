// Canonical values as whole numbers, counted in shared memory and then added up: integers, so the
// order does not matter. Keys that are kept lie in any order, which sorting them undoes.
#include "neighbors/quantile.hpp"

#include "neighbors/distances.cuh"

namespace pairtile::gpu {
namespace {

// What a block has counted. A cell never holds more than the pairs of a block, 32 rows high.
struct Counts {
    unsigned cells[quantile_cells];
    unsigned long long below;

    __device__ void clear() {
        for (int c = static_cast<int>(threadIdx.x); c < quantile_cells; c += block_threads) {
            cells[c] = 0;
        }
        if (threadIdx.x == 0) below = 0;
        __syncthreads();
    }
    __device__ void add_to(Tally& tally) const {
        __syncthreads();
        for (int c = static_cast<int>(threadIdx.x); c < quantile_cells; c += block_threads) {
            if (cells[c]) atomicAdd(&tally.cells[c], static_cast<unsigned long long>(cells[c]));
        }
        if (threadIdx.x == 0 && below) atomicAdd(&tally.below, below);
    }
};

// One key of each lane of a warp, all together.
struct CountKey {
    const KeyRange& range;
    Counts& counts;
    unsigned long long below = 0;

    __device__ void push(bool is_one, uint64_t key) {
        below += is_one && key < range.low;
        const bool inside = is_one && key >= range.low && key <= range.high;
        if (inside) atomicAdd(&counts.cells[(key - range.low) >> range.shift], 1u);
        if (range.capacity == 0) return;
        const unsigned votes = __ballot_sync(~0u, inside);
        if (votes == 0) return;
        const unsigned lane = threadIdx.x % 32;
        const int leader = __ffs(static_cast<int>(votes)) - 1;
        unsigned long long at = 0;
        if (static_cast<int>(lane) == leader) {
            at = atomicAdd(&range.tally->next, static_cast<unsigned long long>(__popc(votes)));
        }
        at = __shfl_sync(~0u, at, leader) + __popc(votes & ((1u << lane) - 1));
        if (inside && at < range.capacity) range.kept[at] = key;
    }
    __device__ void finish() const {
        if (below) atomicAdd(&counts.below, below);
    }
};
static_assert(tile_rows == 32);  // a warp

template <class Pairs>
struct CountPairs {
    const Sweep& sweep;
    const Place& place;
    CountKey count;

    __device__ void operator()(const Pairs& pairs, int64_t first) {
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            const bool is_pair =
                place.has_query() && j < place.end && !(sweep.triangle && j <= place.query);
            count.push(is_pair, is_pair ? key_of(pairs.value(p, place.query, j)) : 0);
        }
    }
};

template <class Pairs>
__global__ void __launch_bounds__(block_threads, 2)
    count_distances_sweep(const __grid_constant__ Sweep sweep,
                          const __grid_constant__ Metric metric,
                          const __grid_constant__ KeyRange range) {
    __shared__ Counts counts;
    counts.clear();
    const Place place(sweep);
    CountPairs<Pairs> fold{sweep, place, {range, counts}};
    run(sweep, place, Pairs(sweep, metric), fold);
    fold.count.finish();
    counts.add_to(*range.tally);
}

__global__ void __launch_bounds__(block_threads)
    count_keys_of(const uint64_t* keys, int64_t length, const __grid_constant__ KeyRange range) {
    __shared__ Counts counts;
    counts.clear();
    CountKey count{range, counts};
    const int64_t step = int64_t{gridDim.x} * block_threads;
    for (int64_t first = int64_t{blockIdx.x} * block_threads; first < length; first += step) {
        const int64_t i = first + threadIdx.x;
        count.push(i < length, i < length ? keys[i] : 0);
    }
    count.finish();
    counts.add_to(*range.tally);
}

// splitmix64
__device__ uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// A row of the pooled sample.
struct PooledRow {
    const Array& array;
    const RowScale* scale;  // null unless rows are normalised
    int64_t row;

    __device__ PooledRow(const Sweep& sweep, int64_t i)
        : array(i < sweep.queries.rows ? sweep.queries : sweep.references),
          scale(nullptr),
          row(i < sweep.queries.rows ? i : i - sweep.queries.rows) {
        if (sweep.query_scales) {
            scale = (i < sweep.queries.rows ? sweep.query_scales : sweep.reference_scales) + row;
        }
    }
    __device__ double at(int64_t j) const {
        return scale ? normalised_element<double>(array, *scale, row, j)
                     : element<double>(array, row, j);
    }
};

template <class Summed>
__device__ __noinline__ double value_of(const PooledRow& a, const PooledRow& b,
                                        const MetricParams& params) {
    Partial<Summed, double> partial;
    for (int64_t first = 0; first < a.array.cols; first += 8) {
#pragma unroll
        for (int l = 0; l < 8; ++l) {
            const int64_t j = first + l;
            if (j < a.array.cols) partial.push(l, a.at(j), b.at(j), j, params);
        }
    }
    const double value = partial.order();
    if (std::is_same_v<Summed, Cosine> && (a.scale->norm == 0.0 || b.scale->norm == 0.0)) {
        return value == value ? 1.0 : value;
    }
    return value;
}

__global__ void __launch_bounds__(block_threads)
    sample_distances_of(const __grid_constant__ Sweep sweep, int64_t rows,
                        const __grid_constant__ Metric metric, int64_t count, uint64_t* keys) {
    const int64_t s = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (s >= count) return;
    // rows in turn, each with another one at random; neighbouring threads share a row
    const int64_t turn = count < rows ? 0 : s % (count / rows);
    const int64_t i = count < rows ? s * rows / count : s / (count / rows) % rows;
    const uint64_t drawn = mixed(static_cast<uint64_t>(i) ^ mixed(static_cast<uint64_t>(turn)));
    const auto other = static_cast<int64_t>(drawn % static_cast<uint64_t>(rows - 1));
    const PooledRow a(sweep, i), b(sweep, (i + 1 + other) % rows);
    double value = NAN;
    switch (metric.id) {
#define PT_VALUE(name, type)                         \
    case MetricId::name:                             \
        value = value_of<type>(a, b, metric.params); \
        break;
        PAIRTILE_PLAIN_METRICS(PT_VALUE)
        PAIRTILE_SUMMED_METRICS(PT_VALUE)
#undef PT_VALUE
        default:
            break;
    }
    keys[s] = key_of(value);
}

}  // namespace

void count_distances(const Sweep& sweep, const Metric& metric, const KeyRange& range,
                     cudaStream_t stream) {
    with_pairs(metric.id, [&]<class Pairs>() {
        launch("count distances sweep", count_distances_sweep<Pairs>, grid_of(sweep), block_threads,
               stream, sweep, metric, range);
    });
}

void count_keys(const uint64_t* keys, int64_t count, const KeyRange& range, cudaStream_t stream) {
    const auto blocks =
        static_cast<unsigned>(std::min(divided_up(count, block_threads), wanted_blocks));
    launch("count keys", count_keys_of, blocks, block_threads, stream, keys, count, range);
}

void sample_distances(const Sweep& sweep, bool pooled, const Metric& metric, int64_t count,
                      uint64_t* keys, cudaStream_t stream) {
    const int64_t rows = sweep.queries.rows + (pooled ? sweep.references.rows : 0);
    const auto blocks = static_cast<unsigned>(divided_up(count, block_threads));
    launch("sample distances", sample_distances_of, blocks, block_threads, stream, sweep, rows,
           metric, count, keys);
}

}  // namespace pairtile::gpu
