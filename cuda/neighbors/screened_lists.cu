// The decision about long lists, and what a sample says of them: a block per query.
#include "engine/launch.hpp"
#include "neighbors/candidates.cuh"
#include "neighbors/order.cuh"

namespace pairtile::gpu {
namespace {

constexpr float no_candidate = -INFINITY;  // the value of one that is not admitted
constexpr int64_t most_shared = 64 << 10;  // bytes of a list in shared memory

// The candidates of a row, from all segments.
struct RowCandidates {
    const ScreenedSearch& search;
    Candidate* of_row;
    const int* counts;

    __device__ RowCandidates(const ScreenedSearch& search, int64_t row)
        : search(search),
          of_row(search.candidates + row * search.segments * search.room),
          counts(search.counts + row * search.segments) {}

    // Calls use(candidate) for each of this thread.
    template <class Use>
    __device__ void visit(const Use& use) const {
        for (int s = 0; s < search.segments; ++s) {
            Candidate* mine = of_row + s * search.room;
            for (int i = static_cast<int>(threadIdx.x); i < counts[s]; i += list_threads) {
                use(mine[i]);
            }
        }
    }
    __device__ void drop_excluded(int64_t row) const {
        if (search.predicate.admits_others() && !search.predicate.exclude_self) return;
        visit([&](Candidate& one) {
            if (!admits(search, row, one)) one.value = no_candidate;
        });
    }
    // Of those that are admitted.
    __device__ Ranked kth_best(ListMemory& memory, int k) const {
        // a few places on the limit is hardly another
        const int off = search.exact ? 0 : k / 64;
        return kth_largest_by_block(memory, k, off, [&](const auto& use) {
            visit([&](const Candidate& one) {
                if (one.value != no_candidate) use(ordinal(one.value));
            });
        });
    }
};

// A list of a block, of which some have their canonical value already; when it is full the k first
// stay.
struct List {
    const ScreenedSearch& search;
    ListMemory& memory;
    int& length;  // in shared memory
    Neighbor *all, *other;
    const int room, k;
    const int64_t query;
    const double* x;
    int valued = 0;
    KeyRange range = {};  // of all values so far

    // Adds a reference of each thread of the block that has one.
    __device__ void add(bool has_one, int64_t reference) {
        const int now = add_to_list(all, length, has_one, {0.0, reference});
        if (now > room - list_threads) cut(now);
    }
    // Adds of the candidates of a row those that pass.
    template <class Passes>
    __device__ void add(const RowCandidates& candidates, const Passes& passes) {
        for (int s = 0; s < search.segments; ++s) {
            const Candidate* mine = candidates.of_row + s * search.room;
            for (int first = 0; first < candidates.counts[s]; first += list_threads) {
                const int i = first + static_cast<int>(threadIdx.x);
                const bool is_there = i < candidates.counts[s];
                const Candidate one = is_there ? mine[i] : Candidate{no_candidate, 0};
                add(one.value != no_candidate && passes(one.value), one.column);
            }
        }
    }
    // Computes the values that are missing of n.
    __device__ __noinline__ void compute(int n) {
        const int warp = static_cast<int>(threadIdx.x) / 32;
        Neighbor* rest = all + valued;
        with_readers(search, query, x, [&](const auto& of_query, const auto& row_of) {
            canonical_values<8>(
                search, of_query, row_of, n - valued, [&](int c) { return rest[c].index; },
                [&](int c, double value) {
                    rest[c].value = value;
                    range.add(key_of(value));
                },
                warp, list_warps);
        });
        range = range.gathered(memory);
        valued = n;
    }
    // Leaves the k first, or all that there are, in order; returns their number.
    __device__ __noinline__ int cut(int n) {
        compute(n);
        order_by_block(memory, all, other, n, k, range);
        valued = min(n, k);
        if (threadIdx.x == 0) length = valued;
        __syncthreads();
        return valued;
    }
};

template <class D>
__global__ void __launch_bounds__(list_threads, 2)
    decide_lists(const __grid_constant__ ScreenedSearch search,
                 const __grid_constant__ ListSpace space, bool is_shared, D* distances,
                 int64_t* indices) {
    __shared__ ListMemory memory;
    __shared__ int length;
    extern __shared__ Neighbor shared_list[];
    auto* x = reinterpret_cast<double*>(shared_list + (is_shared ? space.room : 0));
    const int thread = static_cast<int>(threadIdx.x);
    const auto k = static_cast<int>(search.k), room = static_cast<int>(space.room);
    const bool halved = search.metric.id == MetricId::cosine;  // as canonical values are
    Neighbor* lists = space.lists + int64_t{blockIdx.x} * 2 * space.room;
    for (int64_t row = blockIdx.x; row < search.sweep.rows.rows; row += gridDim.x) {
        const int64_t query = search.first_query + row;
        __syncthreads();
        if (thread == 0) length = 0;
        fetch_query(search, query, x, thread, list_threads);
        const RowCandidates candidates(search, row);
        candidates.drop_excluded(row);
        __syncthreads();

        // all that is above this limit, or reaches it if it is exact, was kept?
        const auto [total, kth] = candidates.kth_best(memory, k);
        const float guess = search.guesses != nullptr ? search.guesses[row] : -INFINITY;
        const RowBound bound = bound_of(search, row);
        float limit = total < k ? -INFINITY : bound.limit_of_screened(from_ordinal(kth));
        const bool proven = search.exact ? guess < limit : guess <= limit;

        Neighbor* other = is_shared ? shared_list : lists + space.room;
        List list{search, memory, length, lists, other, room, k, query, x};
        if (proven || guess == -INFINITY) {
            const float best = total >= k ? from_ordinal(kth) : -INFINITY;
            list.add(candidates, [&](float value) { return value >= best; });
            if (!search.exact && total > k) {
                // the values of k of them say more of the others than their screened ones do
                list.compute(length);
                const double largest = value_of(list.range.most);
                limit = fmaxf(limit, bound.limit_of_canonical(largest, halved));
                list.add(candidates, [&](float value) { return value < best && value > limit; });
            }
        } else {
            for (int64_t first = 0; first < search.references.rows; first += list_threads) {
                const int64_t j = first + thread;
                list.add(j < search.references.rows && search.predicate.admits(query, j), j);
            }
        }
        const int n = list.cut(length);
        for (int c = thread; c < k; c += list_threads) {
            const Neighbor one = c < n ? list.all[c] : Neighbor{INFINITY, -1};
            distances[query * k + c] = static_cast<D>(reported_of(search.metric.id, one.value));
            indices[query * k + c] = one.index;
        }
    }
}

__global__ void __launch_bounds__(list_threads, 4)
    guess_limits_of(const __grid_constant__ ScreenedSearch sample, int rank, float* limits) {
    __shared__ ListMemory memory;
    const int64_t row = blockIdx.x;
    const RowCandidates candidates(sample, row);
    candidates.drop_excluded(row);
    __syncthreads();
    const auto [total, kth] = candidates.kth_best(memory, rank);
    if (threadIdx.x != 0) return;
    // of equal ones without error all are kept
    limits[row] = total < rank   ? -INFINITY
                  : sample.exact ? from_ordinal(kth - 1)
                                 : bound_of(sample, row).limit_of_screened(from_ordinal(kth));
}

}  // namespace

template <class D>
void screened_lists(const ScreenedSearch& search, const ListSpace& space, D* distances,
                    int64_t* indices, cudaStream_t stream) {
    const auto list = static_cast<int64_t>(sizeof(Neighbor)) * space.room;
    const bool is_shared = list <= most_shared;
    const size_t shared = (is_shared ? list : 0) + bytes_of_waiting(search, 1);
    check(cudaFuncSetAttribute(decide_lists<D>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "knn lists");
    decide_lists<D><<<static_cast<unsigned>(space.blocks), list_threads, shared, stream>>>(
        search, space, is_shared, distances, indices);
    check(cudaGetLastError(), "knn lists");
}

template void screened_lists(const ScreenedSearch&, const ListSpace&, float*, int64_t*,
                             cudaStream_t);
template void screened_lists(const ScreenedSearch&, const ListSpace&, double*, int64_t*,
                             cudaStream_t);

void guess_limits(const ScreenedSearch& sample, int rank, float* limits, cudaStream_t stream) {
    const auto rows = static_cast<unsigned>(sample.sweep.rows.rows);
    launch("knn limits of a sample", guess_limits_of, rows, list_threads, stream, sample, rank,
           limits);
}

}  // namespace pairtile::gpu
