// Transport between two sorted lists: the pieces of mass that they share, in whole numbers, so that
// no rounding decides who meets whom.
//
// Where all rows weigh the same, mass is counted in units of 1/(nm) and everything about a piece
// follows from its number; where they do not, their quanta have been added up in order.
#include "pairtile/slice/cost.hpp"
#include "pairtile/slice/key.hpp"
#include "slices/merge.cuh"
#include "slices/pieces.cuh"

namespace pairtile::gpu {
namespace {

template <class T>
__device__ double value_at(const Key<T>* keys, int64_t i) {
    return value_of_key<T>(keys[i]);
}

// Samples of one size: the k-th smallest meet.
template <class T, class Cost>
__global__ void __launch_bounds__(block_threads)
    equal_costs(const Key<T>* x, const Key<T>* y, int64_t n, int64_t stride, int64_t shares,
                Cost cost, double* partial) {
    const Part part(shares);
    const Key<T>* own = x + part.list * stride;
    const Key<T>* other = y + part.list * stride;
    double sum = 0.0;
#pragma unroll 4
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t i = part.index * share + s * block_threads + threadIdx.x;
        if (i < n) sum += cost.value(value_at<T>(own, i) - value_at<T>(other, i));
    }
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T, class Cost>
__global__ void __launch_bounds__(block_threads)
    even_costs(const Key<T>* x, const Key<T>* y, int64_t n, int64_t m, int64_t x_stride,
               int64_t y_stride, int64_t shares, Cost cost, double* partial) {
    const Part part(shares);
    const Key<T>* own = x + part.list * x_stride;
    const Key<T>* other = y + part.list * y_stride;
    const EvenPieces pieces(n, m);
    double sum = 0.0;
#pragma unroll 2
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t k = part.index * share + s * block_threads + threadIdx.x;
        if (k >= n + m) break;
        const EvenPiece piece = pieces.at(k);
        if (piece.mass > 0) {
            const double mass = static_cast<double>(piece.mass);
            sum += mass * cost.value(value_at<T>(own, piece.i) - value_at<T>(other, piece.j));
        }
    }
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T, class Cost>
__global__ void __launch_bounds__(block_threads)
    weighted_costs(SortedLists x, SortedLists y, int64_t x_stride, int64_t y_stride, int64_t shares,
                   Cost cost, double* partial) {
    const Part part(shares);
    const int64_t n = x.rows, m = y.rows;
    const Key<T>* own = static_cast<const Key<T>*>(x.keys) + part.list * x_stride;
    const Key<T>* other = static_cast<const Key<T>*>(y.keys) + part.list * y_stride;
    const uint64_t* of_x = x.levels + part.list * x_stride;
    const uint64_t* of_y = y.levels + part.list * y_stride;
    double sum = 0.0;
    uint64_t level = 0;
    walk_merged(
        of_x, n, of_y, m, part.index,
        [&](const Cursor& at) {
            const uint64_t by_x = at.i ? of_x[at.i - 1] : 0, by_y = at.j ? of_y[at.j - 1] : 0;
            level = by_x > by_y ? by_x : by_y;
        },
        [&](const Cursor& at, bool, uint64_t next) {
            if (next > level && at.i < n && at.j < m) {
                const double mass = static_cast<double>(next - level);
                sum += mass * cost.value(value_at<T>(own, at.i) - value_at<T>(other, at.j));
            }
            level = next;
        });
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Mass up to and with row i, and the row that what lies beyond a level belongs to.
struct EvenLevels {
    int64_t step, rows;

    __device__ EvenLevels of(int64_t) const { return *this; }
    __device__ uint64_t end(int64_t i) const { return static_cast<uint64_t>(i + 1) * step; }
    __device__ int64_t beyond(uint64_t level, int64_t, int64_t) const {
        return static_cast<int64_t>(level / static_cast<uint64_t>(step));
    }
    __device__ int64_t warp_beyond(uint64_t level) const { return beyond(level, 0, rows); }
};

struct SummedLevels {
    const uint64_t* levels;
    int64_t rows, stride;

    __device__ SummedLevels of(int64_t list) const {
        return {levels + list * stride, rows, stride};
    }
    __device__ uint64_t end(int64_t i) const { return i < 0 ? 0 : levels[i]; }
    __device__ int64_t beyond(uint64_t level, int64_t low, int64_t high) const {
        return first_not(low, high, [&](int64_t j) { return levels[j] <= level; });
    }
    __device__ int64_t warp_beyond(uint64_t level) const {
        return warp_first_not(0, rows, [&](int64_t j) { return levels[j] <= level; });
    }
};

// What one row of mass [begin, end) loses or gains by being moved, taken from the pieces that it
// shares with the rows from `first` to `last` of the other list, every `step`-th.
template <class T, class Cost, class Levels>
__device__ double slope_of(double value, uint64_t begin, uint64_t end, const Key<T>* keys,
                           const Levels& levels, int64_t first, int64_t last, int step,
                           const Cost& cost) {
    double sum = 0.0;
    for (int64_t j = first; j <= last; j += step) {
        const uint64_t from = levels.end(j - 1), to = levels.end(j);
        const uint64_t low = from > begin ? from : begin, high = to < end ? to : end;
        if (high > low) {
            sum += static_cast<double>(high - low) * cost.slope(value - value_at<T>(keys, j));
        }
    }
    return sum;
}

constexpr int64_t long_run = 32;  // pieces that a thread does not go through alone

template <class T, class Cost, class Levels>
__global__ void __launch_bounds__(block_threads)
    slopes_of(const Key<T>* own, const uint32_t* beside, int64_t rows, int64_t stride,
              Levels own_levels, const Key<T>* other, int64_t other_rows, int64_t other_stride,
              Levels other_levels, int64_t shares, Cost cost, const double* factors, double unit,
              T* slopes) {
    __shared__ int64_t ends[2];
    const Part part(shares);
    const Key<T>* keys = other + part.list * other_stride;
    const Levels of_own = own_levels.of(part.list), of_other = other_levels.of(part.list);
    const int64_t first_item = part.index * block_threads;
    const int64_t last_item =
        first_item + block_threads < rows ? first_item + block_threads - 1 : rows - 1;
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    if (warp < 2) {
        const uint64_t level = warp ? of_own.end(last_item) : of_own.end(first_item - 1);
        const int64_t found = of_other.warp_beyond(level);
        if (lane == 0) ends[warp] = found < other_rows ? found : other_rows - 1;
    }
    __syncthreads();

    const int64_t item = first_item + threadIdx.x;
    const bool there = item < rows;
    double value = 0.0, sum = 0.0;
    uint64_t begin = 0, end = 0;
    int64_t first = 0, last = -1;
    if (there) {
        value = value_at<T>(own + part.list * stride, item);
        begin = of_own.end(item - 1);
        end = of_own.end(item);
        if (end > begin) {
            first = of_other.beyond(begin, ends[0], ends[1]);
            last = of_other.beyond(end - 1, first, ends[1]);
        }
    }
    const bool alone = last - first < long_run;
    if (alone) {
        sum = slope_of<T>(value, begin, end, keys, of_other, first, last, 1, cost);
    }
    for (unsigned left = __ballot_sync(all_lanes, !alone); left; left &= left - 1) {
        const int from = __ffs(static_cast<int>(left)) - 1;
        const int64_t start = __shfl_sync(all_lanes, first, from);
        const double found = warp_total(
            slope_of<T>(__shfl_sync(all_lanes, value, from), __shfl_sync(all_lanes, begin, from),
                        __shfl_sync(all_lanes, end, from), keys, of_other, start + lane,
                        __shfl_sync(all_lanes, last, from), 32, cost));
        if (lane == from) sum = found;
    }
    if (there) {
        const int64_t row = beside[part.list * stride + item];
        slopes[part.list * stride + row] = static_cast<T>(factors[part.list] * unit * sum);
    }
}

template <class Call>
void with_cost(double p, const Call& call) {
    if (p == 1) return call(AbsoluteCost{});
    if (p == 2) return call(SquaredCost{});
    call(PowerCost{p});
}

double pairs_of(const SortedLists& x, const SortedLists& y) {
    return static_cast<double>(x.rows) * static_cast<double>(y.rows);
}

}  // namespace

template <class T>
void transport_costs(const SortedLists& x, const SortedLists& y, int64_t count, double p,
                     double* partial, double* costs, cudaStream_t stream) {
    const auto* own = static_cast<const Key<T>*>(x.keys);
    const auto* other = static_cast<const Key<T>*>(y.keys);
    const int64_t x_stride = stride_of(x.rows), y_stride = stride_of(y.rows);
    with_cost(p, [&]<class Cost>(const Cost& cost) {
        int64_t shares;
        double unit;
        if (x.levels) {
            shares = shares_of(x.rows + y.rows, merged_share<uint64_t>);
            unit = quantum;
            launch("weighted_costs", weighted_costs<T, Cost>, block_per_share(count, shares),
                   block_threads, stream, x, y, x_stride, y_stride, shares, cost, partial);
        } else if (x.rows == y.rows) {
            shares = shares_of(x.rows);
            unit = 1.0 / static_cast<double>(x.rows);
            launch("equal_costs", equal_costs<T, Cost>, block_per_share(count, shares),
                   block_threads, stream, own, other, x.rows, x_stride, shares, cost, partial);
        } else {
            shares = shares_of(x.rows + y.rows);
            unit = 1.0 / pairs_of(x, y);
            launch("even_costs", even_costs<T, Cost>, block_per_share(count, shares), block_threads,
                   stream, own, other, x.rows, y.rows, x_stride, y_stride, shares, cost, partial);
        }
        finish_costs(partial, count, shares, unit, costs, stream);
    });
}

template <class T>
void transport_slopes(const SortedLists& own, const SortedLists& other, int64_t count, double p,
                      const double* factors, T* slopes, cudaStream_t stream) {
    const int64_t own_stride = stride_of(own.rows), other_stride = stride_of(other.rows);
    const int64_t shares = shares_of(own.rows, block_threads);
    const auto go = [&]<class Levels>(const Levels& of_own, const Levels& of_other, double unit) {
        with_cost(p, [&]<class Cost>(const Cost& cost) {
            launch("transport_slopes", slopes_of<T, Cost, Levels>, block_per_share(count, shares),
                   block_threads, stream, static_cast<const Key<T>*>(own.keys), own.beside,
                   own.rows, own_stride, of_own, static_cast<const Key<T>*>(other.keys), other.rows,
                   other_stride, of_other, shares, cost, factors, unit, slopes);
        });
    };
    if (own.levels) {
        go(SummedLevels{own.levels, own.rows, own_stride},
           SummedLevels{other.levels, other.rows, other_stride}, quantum);
    } else {
        go(EvenLevels{other.rows, own.rows}, EvenLevels{own.rows, other.rows},
           1.0 / pairs_of(own, other));
    }
}

#define PT_INSTANTIATE(T)                                                                      \
    template void transport_costs<T>(const SortedLists&, const SortedLists&, int64_t, double,  \
                                     double*, double*, cudaStream_t);                          \
    template void transport_slopes<T>(const SortedLists&, const SortedLists&, int64_t, double, \
                                      const double*, T*, cudaStream_t);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile::gpu
