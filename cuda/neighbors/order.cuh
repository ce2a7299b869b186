// Long lists put in order by a block. What a list holds goes to bins by the leading bits in which
// its keys differ, those of the values first and those of the indices where values are equal. In a
// bin of few each counts those before it; more are sorted by a warp; very many go to bins again.
#pragma once

#include "neighbors/canonical_pair.cuh"
#include "pairtile/fold/top_k.hpp"

namespace pairtile::gpu {

constexpr int list_threads = 256;
constexpr int list_warps = list_threads / 32;
constexpr int list_bin_bits = 11, list_bins = 1 << list_bin_bits;
constexpr int counted_bin = 32;   // the most in which places are counted
constexpr int sorted_bin = 1024;  // the most that a warp sorts where more can wait
constexpr int waiting_pieces = 64;

struct ListMemory {
    alignas(16) int bins[list_bins];
    int of_warps[list_warps];
    unsigned long long least, most;  // of all keys
    int total;                       // how many there are
    int chosen, before, more;        // a bin, how many come before it and how many it has
    int waiting;                     // pieces of a list to be put in order
    struct Piece {
        int first, n;
    } pieces[waiting_pieces];
};

// Whole numbers in the order of values, whose zeros have one sign, and back.
inline __device__ uint64_t key_of(double value) {
    constexpr uint64_t sign = uint64_t{1} << 63;
    const auto bits = bits_as<uint64_t>(value);
    return (bits & sign) != 0 ? ~bits : bits | sign;
}
inline __device__ double value_of(uint64_t key) {
    constexpr uint64_t sign = uint64_t{1} << 63;
    return bits_as<double>((key & sign) != 0 ? key ^ sign : ~key);
}

inline __device__ void clear_bins(ListMemory& memory) {
    __syncthreads();
    for (int b = static_cast<int>(threadIdx.x); b < list_bins; b += list_threads) {
        memory.bins[b] = 0;
    }
    __syncthreads();
}

// Counts become places: each bin begins where the one before it ends.
inline __device__ void place_bins(ListMemory& memory) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    constexpr int own = list_bins / list_threads;
    static_assert(own == 8);
    __syncthreads();
    int4* mine = reinterpret_cast<int4*>(memory.bins + thread * own);
    int4 a = mine[0], b = mine[1];
    const int total = a.x + a.y + a.z + a.w + b.x + b.y + b.z + b.w;
    int until = total;
    for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(every_lane, until, step);
        if (lane >= step) until += other;
    }
    if (lane == 31) memory.of_warps[warp] = until;
    __syncthreads();
    int at = until - total;
    for (int w = 0; w < warp; ++w) at += memory.of_warps[w];
    const auto next = [&](int count) {
        const int first = at;
        at += count;
        return first;
    };
    a = {next(a.x), next(a.y), next(a.z), next(a.w)};
    b = {next(b.x), next(b.y), next(b.z), next(b.w)};
    mine[0] = a, mine[1] = b;
    __syncthreads();
}

// The least and the most of the keys that the threads of a block have seen, and their number.
inline __device__ void gather_range(ListMemory& memory, unsigned long long least,
                                    unsigned long long most, int count) {
    __syncthreads();
    if (threadIdx.x == 0) memory.least = ~0ull, memory.most = 0, memory.total = 0;
    __syncthreads();
    for (int apart = 16; apart > 0; apart /= 2) {
        least = min(least, __shfl_xor_sync(every_lane, least, apart));
        most = max(most, __shfl_xor_sync(every_lane, most, apart));
    }
    count = __reduce_add_sync(every_lane, count);
    if (lane_of_thread() == 0) {
        atomicMin(&memory.least, least);
        atomicMax(&memory.most, most);
        atomicAdd(&memory.total, count);
    }
    __syncthreads();
}

inline __device__ int bits_of(uint64_t range) { return 64 - __clzll(static_cast<int64_t>(range)); }

// --- The k-th ------------------------------------------------------------------------------------

struct Ranked {
    int total;     // of all keys
    uint32_t key;  // the k-th largest, or a little less where that is enough; 0 if there is none
};

// visit(use) calls use(key) for each key of this thread; what is found may be off by so many
// places.
template <class Visit>
__device__ Ranked kth_largest_by_block(ListMemory& memory, int k, int off, const Visit& visit) {
    uint32_t least = ~0u, most = 0;
    int count = 0;
    visit([&](uint32_t key) {
        least = min(least, key);
        most = max(most, key);
        ++count;
    });
    gather_range(memory, least, most, count);
    const int total = memory.total;
    if (total < k) return {total, 0};
    const auto largest = static_cast<uint32_t>(memory.most);
    const uint64_t range = memory.most - memory.least;
    int upper = bits_of(range), wanted = k;
    uint64_t found = 0;  // the leading bits of what the k-th is below the largest
    for (int more = total; upper > 0 && more > off;) {
        const int shift = max(0, upper - list_bin_bits), digits = upper - shift;
        const int all = more;
        clear_bins(memory);
        visit([&](uint32_t key) {
            const uint64_t below = largest - key;
            if (below >> upper != found) return;
            atomicAdd(&memory.bins[(below >> shift) & ((1u << digits) - 1)], 1);
        });
        place_bins(memory);
        for (int b = static_cast<int>(threadIdx.x); b < list_bins; b += list_threads) {
            const int before = memory.bins[b];
            if (before < wanted && (b + 1 == list_bins || memory.bins[b + 1] >= wanted)) {
                memory.chosen = b;
                memory.before = before;
                memory.more = (b + 1 < list_bins ? memory.bins[b + 1] : all) - before;
            }
        }
        __syncthreads();
        found = found << digits | static_cast<uint64_t>(memory.chosen);
        wanted -= memory.before;
        more = memory.more;
        upper = shift;
    }
    const uint64_t below = min(range, found << upper | ((uint64_t{1} << upper) - 1));
    return {total, largest - static_cast<uint32_t>(below)};
}

// --- By a warp -----------------------------------------------------------------------------------

// Of two that lanes hold the earlier one for the lower lane, the later one for the other.
inline __device__ Neighbor one_of_two(const Neighbor& mine, int apart) {
    const Neighbor other = {__shfl_xor_sync(every_lane, mine.value, apart),
                            __shfl_xor_sync(every_lane, mine.index, apart)};
    const bool is_lower = lane_of_thread() < (lane_of_thread() ^ apart);
    return other.before(mine) == is_lower ? other : mine;
}

// Puts a list in order by a warp: a network of comparisons in which the first of two never is the
// later one, so that what is missing to a power of two need not be there. What is less than 32
// apart is compared in registers.
inline __device__ void sort_by_warp(Neighbor* list, int n) {
    const auto by_lanes = [&](const auto& network) {
        for (int first = 0; first < n; first += 32) {
            const int i = first + lane_of_thread();
            const Neighbor last = {INFINITY, INT64_MAX};
            const Neighbor one = network(i < n ? list[i] : last);
            if (i < n) list[i] = one;
        }
        __syncwarp();
    };
    const auto within = [](Neighbor one, int step) {
        for (; step > 0; step /= 2) one = one_of_two(one, step);
        return one;
    };
    by_lanes([&](Neighbor one) {
        for (int run = 2; run <= 32; run *= 2) {
            one = one_of_two(one, run - 1);  // the mirror image of the other half
            one = within(one, run / 4);
        }
        return one;
    });
    for (int run = 64; run / 2 < n; run *= 2) {
        for (int step = run / 2; step >= 32; step /= 2) {
            for (int i = lane_of_thread(); i < n; i += 32) {
                const int at = i & (2 * step - 1);
                if (at >= step) continue;
                const int other = step == run / 2 ? i + 2 * (step - at) - 1 : i + step;
                if (other >= n) continue;
                const Neighbor first = list[i], second = list[other];
                if (second.before(first)) list[i] = second, list[other] = first;
            }
            __syncwarp();
        }
        by_lanes([&](const Neighbor& one) { return within(one, 16); });
    }
}

// --- By a block ----------------------------------------------------------------------------------

struct KeyRange {
    uint64_t least = ~uint64_t{0}, most = 0;

    __device__ void add(uint64_t key) {
        least = min(least, key);
        most = max(most, key);
    }
    // Of all threads of a block.
    __device__ KeyRange gathered(ListMemory& memory) const {
        gather_range(memory, least, most, 0);
        return {memory.least, memory.most};
    }
};

// Puts the n of a piece in order, whose keys of values lie in a range, those of the first `wanted`
// that can be counted or sorted at once; the rest waits. `other` has room for as many.
inline __device__ void spread(ListMemory& memory, Neighbor* list, Neighbor* other, int from, int n,
                              int wanted, KeyRange range) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    list += from, other += from, wanted -= from;
    const bool by_value = range.least != range.most;
    if (!by_value) {
        KeyRange of_indices;
        for (int i = thread; i < n; i += list_threads) {
            of_indices.add(static_cast<uint64_t>(list[i].index));
        }
        range = of_indices.gathered(memory);
    }
    const uint64_t least = range.least;
    const int shift = max(0, bits_of(range.most - least) - list_bin_bits);
    const auto bin_of = [&](const Neighbor& one) {
        const uint64_t key = by_value ? key_of(one.value) : static_cast<uint64_t>(one.index);
        return static_cast<int>((key - least) >> shift);
    };
    clear_bins(memory);
    for (int i = thread; i < n; i += list_threads) atomicAdd(&memory.bins[bin_of(list[i])], 1);
    place_bins(memory);
    for (int i = thread; i < n; i += list_threads) {
        const Neighbor one = list[i];
        other[atomicAdd(&memory.bins[bin_of(one)], 1)] = one;
    }
    __syncthreads();
    // now each bin says where it ends
    const auto first_of = [&](int bin) { return bin > 0 ? memory.bins[bin - 1] : 0; };
    bool crowded = false;
    for (int i = thread; i < n; i += list_threads) {
        const Neighbor one = other[i];
        const int bin = bin_of(one), first = first_of(bin), end = memory.bins[bin];
        if (first >= wanted) continue;
        if (end - first > counted_bin) {
            crowded = true;
            continue;
        }
        int place = first;
        for (int j = first; j < end; ++j) place += other[j].before(one);
        list[place] = one;
    }
    if (!__syncthreads_or(crowded)) return;
    for (int bin = warp; bin < list_bins; bin += list_warps) {
        const int first = first_of(bin), size = memory.bins[bin] - first;
        if (size <= counted_bin || first >= wanted) continue;
        int place = waiting_pieces;
        if (size > sorted_bin) {
            if (lane == 0) place = atomicAdd(&memory.waiting, 1);
            place = __shfl_sync(every_lane, place, 0);
            if (lane == 0 && place < waiting_pieces) {
                memory.pieces[place] = {from + first, size};
            } else if (lane == 0) {
                atomicSub(&memory.waiting, 1);
            }
        }
        if (place >= waiting_pieces) sort_by_warp(other + first, size);
        for (int i = lane; i < size; i += 32) list[first + i] = other[first + i];
        __syncwarp();
    }
}

// Puts the first k of n in their places. By all threads of a block, which know the range of all.
inline __device__ void order_by_block(ListMemory& memory, Neighbor* list, Neighbor* other, int n,
                                      int k, const KeyRange& of_all) {
    __syncthreads();
    if (threadIdx.x == 0) memory.waiting = 0;
    spread(memory, list, other, 0, n, k, of_all);
    while (true) {
        __syncthreads();
        const int waiting = memory.waiting;
        if (waiting == 0) return;
        const auto [first, size] = memory.pieces[waiting - 1];
        __syncthreads();
        if (threadIdx.x == 0) memory.waiting = waiting - 1;
        KeyRange range;
        for (int i = static_cast<int>(threadIdx.x); i < size; i += list_threads) {
            range.add(key_of(list[first + i].value));
        }
        spread(memory, list, other, first, size, k, range.gathered(memory));
    }
}

// Leaves the k first, or all that there are, in order.
inline __device__ __noinline__ void keep_first(ListMemory& memory, Neighbor* list, Neighbor* other,
                                               int n, int k) {
    KeyRange range;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += list_threads) {
        range.add(key_of(list[i].value));
    }
    order_by_block(memory, list, other, n, k, range.gathered(memory));
}

// Adds one of each thread of the block that has one; the length is in shared memory, and what it
// is then is returned to all.
inline __device__ int add_to_list(Neighbor* list, int& length, bool has_one, const Neighbor& one) {
    const unsigned who = __ballot_sync(every_lane, has_one);
    int place = 0;
    if (lane_of_thread() == 0 && who != 0) place = atomicAdd(&length, __popc(who));
    place = __shfl_sync(every_lane, place, 0);
    if (has_one) list[place + __popc(who & ((1u << lane_of_thread()) - 1))] = one;
    __syncthreads();
    const int now = length;
    __syncthreads();  // nobody adds before all have seen it
    return now;
}

}  // namespace pairtile::gpu
