// The table of everything that is compiled once per instruction set: micro-kernels, and the maps
// and folds of one L1 tile. The engine, compiled for the baseline, reaches them through this table
// alone.
//
// A *panel* holds `rows()` (or `cols()`) points feature by feature: panel[f * width + i]. A *tile*
// is row-major, `ld` apart, and never larger than L1.
#pragma once

#include <cstdint>

#include "isa/sort_ops.hpp"
#include "pairtile/kernel/registry.hpp"
#include "pairtile/metric/registry.hpp"

namespace pairtile {

// The number a micro-kernel computes for a pair of packed rows. short_dot is the dot product with
// its sum cut more often, for less rounding. dot_bfloat16, dot_int8 and dot_int16 read panels of
// words of two bfloat16, four int8 or two int16 each and exist only where the hardware multiplies
// them faster; differing_bits reads words of 32 bits. All four exist for float alone. With
// `canonical` the tile holds the canonical values of a metric that has none of the others.
enum class Core : int {
    dot,
    short_dot,
    squared_difference,
    absolute_difference,
    largest_difference,
    dot_bfloat16,
    dot_int8,
    dot_int16,
    differing_bits,
    canonical
};
constexpr int core_count = 9;

// Which norm of a packed row goes with a core: Σ x², Σ |x|, max |x|.
enum class Norm : int { squares, absolutes, largest };

// Float sums of more than this many products are cut, so that rounding grows with the block.
constexpr int64_t feature_block = 256;
constexpr int64_t short_feature_block = 64;  // of short_dot

// A row of int8 is q·s: words of four q, then its tail, the word of s and that of −128 Σ q. Rows of
// more features than these could leave an int32.
constexpr int64_t int8_tail = 2, int8_features = 127 << 10;
// The same of words of two int16, whose tail is s alone. A row of q is no longer than 45,000 before
// they are rounded, which makes it up to √d/2 longer: products of two rows fit an int32.
constexpr int64_t int16_tail = 1, int16_features = 1 << 20;

// The table of a function that has one polynomial for each octave.
constexpr int octaves = 16, octave_degree = 8;
constexpr int octave_coefficients = (octave_degree + 1) * octaves;

// What LabelOps take at a time: columns of a word of labels, columns that one table joins, and rows
// of the kernel, as many as fill a line of cache.
constexpr int label_columns = 64, label_bits = 5, label_codes = 1 << label_bits;
constexpr int label_tables = (label_columns + label_bits - 1) / label_bits;
template <class T>
constexpr int label_rows = 64 / static_cast<int>(sizeof(T));
template <class T>
constexpr int label_table_entries = label_tables* label_codes* label_rows<T>;
constexpr int label_lanes = 8;  // sums that are kept of each labelling

// Weight and log-sum-exp of each row, or of each column; the latter as the sum of two numbers, the
// one rounded and what rounding left out.
template <class T>
struct SoftmaxSide {
    const T *upstream, *high, *low;
};

template <class T>
struct Ops {
    int rows, cols;  // micro-kernel block: a row panel is `rows` wide, a column panel `cols`

    // tile = core(row panel, column panels), plus a bias per column for the dot product
    using CoreFn = void (*)(const T* row_panel, const T* col_panels, int64_t d, int panels,
                            const T* bias, T* tile, int64_t ld);
    CoreFn core[core_count];
    // Core::canonical of float64 panels of the rows as they are; null for metrics that need none
    using CanonicalFn = void (*)(const T* row_panel, const T* col_panels, int64_t d, int panels,
                                 const MetricParams& params, T* tile, int64_t ld);
    CanonicalFn canonical[static_cast<int>(MetricId::count)];
    // the same of points as they lie in memory: rows d apart, columns `stride` apart. NaN and Inf
    // in either leave NaN or Inf. Columns are rounded up to 16 bytes. Null but for the sums of
    // differences.
    using InPlaceFn = void (*)(const T* rows, int row_count, const T* cols, int64_t stride,
                               int col_count, int64_t d, T* tile, int64_t ld);
    InPlaceFn in_place[core_count];

    // C[m × n] += A·B for m <= rows, n <= cols; A strided, B one panel of k rows `cols` wide
    void (*product)(int m, int n, int64_t k, const T* a, int64_t row_stride, int64_t k_stride,
                    const T* b, T* c, int64_t ld);

    // out[c] = x · the row which[c] of those that lie `stride` apart; d is a multiple of 16
    void (*dots)(const T* x, const T* rows, int64_t stride, const int32_t* which, int count,
                 int64_t d, T* out);

    // `count` rows, `stride` apart -> (x − centre)·scale, rounded once, times `factor`, a power of
    // two, as one panel `width` wide, padded with zeros; norm[i] in float64 of what was packed
    // without the factor. A row with NaN or Inf is packed as NaN and has the norm NaN; one beyond
    // the range of T is packed as zeros and has the norm infinity.
    template <class S>
    using PackFn = void (*)(const S* rows, int64_t stride, int count, int64_t d,
                            const double* centre, double scale, double factor, Norm norm, int width,
                            T* panel, double* norms);
    PackFn<float> pack_float32;
    PackFn<double> pack_float64;

    // The same as words of two bfloat16, for `norms` of the rows before rounding and `residuals` of
    // what rounding took off them (both Σ x²). Null without the hardware, and for float64.
    template <class S>
    using PackCoarseFn = void (*)(const S* rows, int64_t stride, int count, int64_t d,
                                  const double* centre, double scale, double factor, int width,
                                  T* panel, double* norms, double* residuals);
    PackCoarseFn<float> pack_bfloat16_float32;
    PackCoarseFn<double> pack_bfloat16_float64;
    // Likewise as int8 or int16, each row on a scale of its own, which takes the factor.
    PackCoarseFn<float> pack_int8_float32;
    PackCoarseFn<double> pack_int8_float64;
    PackCoarseFn<float> pack_int16_float32;
    PackCoarseFn<double> pack_int16_float64;

    // The same of `count` rows of words of 32 bits, as they are; norms[i] counts the bits set. Null
    // for float64.
    void (*pack_bits)(const uint32_t* rows, int count, int64_t words, int width, T* panel,
                      double* norms);

    // positions of tile values v <= threshold, and of low < v <= high
    int (*select_below)(const T* row, int n, T threshold, int32_t* out);
    int (*select_between)(const T* row, int n, T low, T high, int32_t* out);
    int64_t (*count_below)(const T* row, int n, T threshold);
    // the k-th smallest of n <= most_at_once<T> values, of which NaN is the largest
    T (*kth)(const T* values, int n, int64_t k);
    // positions of value <= factor · thresholds[position] + offset
    int (*select_below_each)(const T* row, int n, T factor, const T* thresholds, T offset,
                             int32_t* out);

    // tile = max(tile + row_norm, 0)
    void (*add_row_norms)(T* tile, int64_t ld, int rows, int cols, const T* row_norms);

    // tile = 2·tile / (row norm + column norm + tile), 0 where all are: differing bits as a share
    // of those set in either row
    void (*divide_by_union)(T* tile, int64_t ld, int rows, int cols, const T* row_norms,
                            const T* col_norms);

    // out (+)= weight · kernel(tile), or its slope
    using KernelFn = void (*)(const T* tile, int64_t ld, int rows, int cols, const T* params,
                              T weight, bool accumulate, T* out, int64_t out_ld);
    KernelFn kernel[static_cast<int>(KernelId::count)];
    KernelFn slope[static_cast<int>(KernelId::count)];

    // the lowest and the highest value of a tile
    void (*range)(const T* tile, int64_t ld, int rows, int cols, T* low, T* high);

    // out = Σ_k coefficients[k · octaves + e] t^k, where 2 + rate · tile = 2^(e + 1) (t + 3/2) and
    // |t| <= 1/2; values beyond the last octave count as its end. Tiles hold no negative values.
    // Null for float64.
    void (*by_octave)(const T* tile, int64_t ld, int rows, int cols, T rate, const T* coefficients,
                      T* out, int64_t out_ld);

    // out = offsets[j] + rates[j] · log kernel(tile). Null offsets are zeros, null rates ones; the
    // function is null for kernels that can be <= 0.
    using LogKernelFn = void (*)(const T* tile, int64_t ld, int rows, int cols, const T* params,
                                 const T* rates, const T* offsets, T* out, int64_t out_ld);
    LogKernelFn log_kernel[static_cast<int>(KernelId::count)];

    // Of tiles of squared distances s, products of scores u and cross = (x − y)·(difference of
    // scores): out (+)= weight · (parts[0] k u + parts[1] k' cross + parts[2] k' + parts[3] s k'').
    // Float64 alone, and null for kernels that are not smooth enough.
    using SteinFn = void (*)(const T* squares, const T* scores, const T* cross, int64_t ld,
                             int rows, int cols, const T* params, const T* parts, T weight,
                             bool accumulate, T* out, int64_t out_ld);
    SteinFn stein[static_cast<int>(KernelId::count)];

    // sums[i] += Σ_j w_j tile[i][j]; w = nullptr for ones
    void (*row_sums)(const T* tile, int64_t ld, int rows, int cols, const double* weights,
                     double* sums);
    // sums[j] += Σ_i w_i tile[i][j]
    void (*col_sums)(const T* tile, int64_t ld, int rows, int cols, const double* weights,
                     double* sums);
    // tile[i][j] *= row_factors[i] · col_factors[j]
    void (*scale_rows_and_cols)(T* tile, int64_t ld, int rows, int cols, const T* row_factors,
                                const T* col_factors);

    // out += factor · tile
    void (*add_scaled)(const T* tile, int64_t ld, int rows, int cols, T factor, T* out,
                       int64_t out_ld);

    // scale the tile, then fold it into (max, sum) of each row and, if asked, of each column
    void (*scale)(T* tile, int64_t ld, int rows, int cols, T factor);
    void (*log_sum_exp_rows)(const T* tile, int64_t ld, int rows, int cols, double* max,
                             double* sum);
    void (*log_sum_exp_cols)(const T* tile, int64_t ld, int rows, int cols, double* max,
                             double* sum);
    // both, of one exponential for each pair
    void (*log_sum_exp_rows_and_cols)(const T* tile, int64_t ld, int rows, int cols,
                                      double* row_max, double* row_sum, double* col_max,
                                      double* col_sum);

    // out = sum of the softmax weights of the pair's row and, unless its vectors are null, column
    void (*softmax_weights)(const T* tile, int64_t ld, int rows, int cols,
                            const SoftmaxSide<T>& row, const SoftmaxSide<T>& col, T* out,
                            int64_t out_ld);
    // sums[i] += Σ_j softplus(tile[i][j] + bias); the same with out = upstream[i] · sigmoid(tile +
    // bias)
    void (*softplus_sums)(const T* tile, int64_t ld, int rows, int cols, T bias, double* sums);
    void (*sigmoid_weights)(const T* tile, int64_t ld, int rows, int cols, T bias,
                            const T* upstream, double* sums, T* out, int64_t out_ld);
    // Σ a·b over a block
    double (*block_dot)(const T* a, int64_t a_ld, const T* b, int64_t b_ld, int rows, int cols);

    // From the gradient by `unit`, the row divided by its length, to that by the row, in place:
    // what points along the row is lost. That of a zero row is 0.
    void (*through_normalisation)(const double* row, const double* unit, int64_t d, T* gradient);
};

// out[b · label_lanes + r % label_lanes] += Σ_j kernel[r · ld + j] over the columns j that
// labelling b chooses, for the `height` rows r <= label_rows<T> that it chooses too (null: all
// rows). Bit j % 64 of columns[j / 64 · n_labels + b] chooses column j, bit `shift` + r of rows[b]
// row r. Values are added as T: those that int32_t adds are whole numbers, and it holds the sum of
// their magnitudes in each row. `tables` is scratch of label_table_entries, `sums` of label_rows
// per labelling.
struct LabelOps {
    template <class T>
    using SumFn = void (*)(const double* kernel, int64_t ld, int height, int64_t width,
                           const uint64_t* columns, const uint64_t* rows, int shift,
                           int64_t n_labels, T* tables, T* sums, double* out);
    SumFn<double> f64;
    SumFn<int32_t> i32;
};

struct CanonicalOps {
    using F32 = double (*)(const double* x, const float* y, int64_t d, const MetricParams& params);
    using F64 = double (*)(const double* x, const double* y, int64_t d, const MetricParams& params);
    F32 f32[static_cast<int>(MetricId::count)];
    F64 f64[static_cast<int>(MetricId::count)];
    // metrics on packed bits: rows of words padded with zeros
    using Bits = double (*)(const uint64_t* x, const uint64_t* y, int64_t words);
    Bits bits[static_cast<int>(MetricId::count)];
};

// What a pass over rows finds out, of the finite ones.
struct RowStatistics {
    double largest = 0.0;         // max |x − centre|
    double largest_square = 0.0;  // max ‖x − centre‖²
    double largest_raw = 0.0;     // max |x|
    bool integral = true;
    bool zero_row = false;

    void merge(const RowStatistics& other) {
        if (other.largest > largest) largest = other.largest;
        if (other.largest_square > largest_square) largest_square = other.largest_square;
        if (other.largest_raw > largest_raw) largest_raw = other.largest_raw;
        integral = integral && other.integral;
        zero_row = zero_row || other.zero_row;
    }
};

// `count` rows, `stride` apart, added to what was found before.
template <class S>
using RowStatisticsFn = void (*)(const S* rows, int64_t stride, int64_t count, int64_t d,
                                 const double* centre, RowStatistics* found);

struct IsaOps {
    const char* name;
    Ops<float> f32;
    Ops<double> f64;
    LabelOps labels;
    CanonicalOps canonical;
    RowStatisticsFn<float> row_statistics_float32;
    RowStatisticsFn<double> row_statistics_float64;
    // x / ‖x‖, in place; with `centred`, of x less its mean, which is exactly 0 where all numbers
    // are equal. A zero row is left alone. The same bits everywhere.
    void (*normalise)(double* row, int64_t d, bool centred);
    const SortTables& sorting;
    // Whether a product of bfloat16 takes half the time of one of float32, as with AMD. Intel's
    // processors start one in a cycle, and two fused multiply-adds of half as many numbers.
    bool bfloat16_pays = false;
};

template <class T>
const Ops<T>& ops_of(const IsaOps& isa);
template <>
inline const Ops<float>& ops_of<float>(const IsaOps& isa) {
    return isa.f32;
}
template <>
inline const Ops<double>& ops_of<double>(const IsaOps& isa) {
    return isa.f64;
}

template <class K>
const SortOps<K>& sorting_of(const IsaOps& isa);
template <>
inline const SortOps<uint32_t>& sorting_of<uint32_t>(const IsaOps& isa) {
    return isa.sorting.of_32_bits;
}
template <>
inline const SortOps<uint64_t>& sorting_of<uint64_t>(const IsaOps& isa) {
    return isa.sorting.of_64_bits;
}

}  // namespace pairtile
