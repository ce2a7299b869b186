// The table of what lines, sorted projections, and the moments of samples need compiled once per
// instruction set, beside isa/ops.hpp.
#pragma once

#include <cstdint>

namespace pairtile {

// Values that kth_of_few() takes at most: they fit the registers of every instruction set.
template <class T>
constexpr int most_at_once = 256 / static_cast<int>(sizeof(T));

// Sums in line_lanes lanes that one pass over two sorted lines adds to; `middle` is theirs.
struct SquareSums {
    double* squares;
    struct Side {
        double middle;
        double *sums, *squares;
    } x, y;
};

// Keys of values, the two parts of a quicksort of them, and sums over keys that are sorted.
template <class K>
struct SortOps {
    // keys = those of n values, as bits; the two may be one
    void (*to_keys)(const K* values, int64_t n, K* keys);

    int few;  // keys that `sort_few` takes at most
    // sorted = the n keys in order; the two may be one
    void (*sort_few)(const K* keys, int n, K* sorted);
    // One of n > few keys, near the middle of them.
    K (*pivot)(const K* keys, int64_t n);
    // Keys <= pivot to the front, the others behind them; how many the former are.
    int64_t (*partition)(K* keys, int64_t n, K pivot);

    // Add Σ v and Σ v² of values v, less the middle, to the sums of line_lanes lanes. Of the calls
    // that a line takes all but the last have whole lanes.
    void (*add_moments)(const K* keys, int64_t n, double middle, double* sums, double* squares);
    // Likewise Σ |x − y| and Σ (x − y)² of pairs.
    void (*add_differences)(const K* x, const K* y, int64_t n, double* sums);
    void (*add_squares)(const K* x, const K* y, int64_t n, double* sums);
    // add_squares and, of x and of y, add_moments, in one pass over the keys.
    void (*add_squares_and_moments)(const K* x, const K* y, int64_t n, const SquareSums& sums);
};

// Σ w (v − first) and Σ w (v − first)² over `count` rows of d numbers v, less an origin, `stride`
// apart, for each column. Null weights are ones; rows that weigh 0 are not read. `first` is a row.
template <class S>
using ColumnSums = void (*)(const S* rows, int64_t stride, int64_t count, int64_t d,
                            const double* weights, const S* first, const double* origin,
                            double* sums, double* squares);

struct SortTables {
    SortOps<uint32_t> of_32_bits;
    SortOps<uint64_t> of_64_bits;
    ColumnSums<float> column_sums_float;
    ColumnSums<double> column_sums_double;
};

}  // namespace pairtile
