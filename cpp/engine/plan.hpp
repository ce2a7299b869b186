// Decides, before any pair is computed, in which frame rows are packed (centre, power-of-two
// scale), which micro-kernel screens them with which error, and how the work is cut into blocks.
//
// A plan depends on the data, the question and the instruction set, never on the number of
// threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/metric.hpp"
#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "isa/ops.hpp"

namespace pairtile {

// The affine frame of the packed rows: (x − centre)·scale.
struct Frame {
    std::vector<double> centre;
    double scale = 1.0;
    bool narrow = false;          // centre and scale are float32 numbers, as both sources are
    bool integral = false;        // every (x − centre)·scale is an integer
    double largest = 0.0;         // max |(x − centre)·scale|
    double largest_square = 0.0;  // max ‖(x − centre)·scale‖² over all rows
    bool has_zero_row = false;    // before centring
    bool extreme = false;         // squares of the raw data leave the range of float64
};

// Rows as they are.
Frame raw_frame(int64_t d);

// `centred` for what is invariant to translation. Both sources share one frame. Reads every row.
Frame choose_frame(const Source& x, const Source& y, bool centred, int workers, Control& control);

// The same from a sample of the rows, for who asks each row for its own error: all but the centre
// and the scale is true of the sample alone.
constexpr int64_t centre_sample = 4096;
Frame sample_frame(const Source& x, const Source& y, bool centred, int64_t most = centre_sample);

// The frame of references alone, for a search of these queries among them: what holds of every row
// of both. Exact frames read every query.
Frame frame_for_queries(Frame frame, const Source& queries, int workers, Control& control);

// Norm of a row, and of what packing it to bfloat16 left out (0 otherwise); or bounds of several.
struct Extent {
    double reach = 0.0, residual = 0.0;
};

// How a pair of packed rows becomes an argument: core(row, col) [+ row norm + column norm].
struct Pairing {
    Core core = Core::dot;
    const Metric* metric = nullptr;  // whose values a tile of Core::canonical holds
    Norm norm = Norm::squares;
    double row_factor = 1.0;  // −2 for ‖x‖² + ‖y‖² − 2xy, −1 where large products come first
    bool add_norms = false;        // argument = tile + row norm, the column norm being the bias
    double constant_bias = 0.0;    // 1 for 1 − xy
    bool divide_by_union = false;  // argument = differing bits / bits set in either row
    double unit = 1.0;             // argument in packed units = unit · canonical ordered value

    // |argument − unit · canonical value| <= slope·(a + b)^2 [squares], slope·(a + b) [other
    // norms], with a, b the norms of the two rows, plus floor, plus what the residuals of rows
    // packed more coarsely can amount to (Cauchy–Schwarz), plus `mapping`·(2(a + b) + mapping),
    // where `mapping` bounds what reading rows through a linear map does to the length of a
    // difference.
    double slope = 0.0, floor = 0.0, mapping = 0.0;
    // Rows of a larger norm are beyond what canonical values can tell apart.
    double largest_reach = INFINITY;
    // The same for the typical pair instead of the worst one (rounding errors are a random walk).
    double typical_slope = 0.0;

    // Rows are not packed but read as they lie: sums of differences, whose error is `relative`
    // times the argument, plus floor.
    bool in_place = false;
    double relative = 0.0;

    // Rounded, but in the order of the canonical values and equal only where they are.
    bool order_exact = false;

    bool exact() const { return slope == 0.0 && relative == 0.0 && floor == 0.0; }
    // Numbers that a packed row of d features (or bytes of bits) takes.
    int64_t words(int64_t d) const {
        if (core == Core::dot_bfloat16) return (d + 1) / 2;
        return core == Core::differing_bits ? (d + 3) / 4 : d;
    }
    double error(const Extent& row, const Extent& col) const {
        if (exact()) return 0.0;
        const double reach = row.reach + col.reach;
        if (!(reach < INFINITY)) return INFINITY;  // nothing is known of a row out of range
        const double coarse = std::fabs(row_factor) * (row.residual * (col.reach + col.residual) +
                                                       row.reach * col.residual);
        return slope * (norm == Norm::squares ? reach * reach : reach) + floor + coarse +
               mapping * (2.0 * reach + mapping);
    }
};

template <class T>
Pairing pairing_for_metric(const Metric& metric, const Frame& frame, int64_t d, bool zero_rows);
template <class T>
Pairing pairing_in_place(const Metric& metric, int64_t d);
template <class T>
Pairing pairing_for_argument(Argument argument, int64_t d);

// Low dimensions are taken by direct differences: no norms, no cancellation.
constexpr int64_t direct_dimensions = 4;

// The blocking of an n × m sweep.
struct Cut {
    int64_t row_super, col_super;  // packed at a time
    int64_t row_block;             // rows of one task
    int64_t strip;                 // columns of one tile
    int64_t segment;               // columns of one task
    bool few_rows = false;         // one block of rows: each task packs the columns it needs
    // a triangle of square tasks: each tile serves the states of its rows and of its columns, one
    // per row, which have one writer at a time
    bool mutual = false;

    // Fold states of a row among m columns.
    int64_t segments(int64_t m) const {
        if (mutual) return 1;
        const int64_t at_a_time = few_rows ? m : std::min(col_super, m);
        return (at_a_time + segment - 1) / segment;
    }
};

struct CutLimits {
    int64_t row_bytes = int64_t{16} << 20;      // packed rows held at a time
    int64_t col_bytes = int64_t{8} << 20;       // packed columns, anew for each of these
    int64_t state_bytes = int64_t{24} << 20;    // fold state of these rows, in one segment
    int64_t states_bytes = int64_t{384} << 20;  // and in all segments
    int64_t state_bytes_per_row = 0;            // fold state per row and segment
    int64_t state_bytes_per_col = 0;            // fold state per column and row block
    int64_t strip_cols = 256;                   // at most
    int64_t block_rows = 0;                     // at least, in a task
    bool few_rows = false;                      // a fold that run() may hand all rows at once
    bool mutual = false;                        // a self-join whose tiles may serve both sides
};

// The limits of a call that may use so many bytes, 0 standing for the ones above. A quarter is left
// for the sample that the frame is chosen from and for what each thread holds.
CutLimits limits_within(int64_t memory);

// Threads whose buffers of so many bytes fit in what `limits_within` left; at least one.
int workers_within(int64_t memory, int64_t bytes_per_worker, int workers);

// What a thread holds while it packs rows of d features.
int64_t packing_bytes(int64_t d);

// The least memory with which rows of d features can be swept at all.
int64_t least_memory(int64_t d, int64_t state_bytes_per_row, int64_t bytes_per_worker);

// Whether the k neighbours of n rows among themselves cost less by half the tiles, each serving
// both sides, than by all of them. `work`: of a pair, in features of float32.
bool worth_halving(int64_t n, int64_t k, double work);

template <class T>
Cut choose_cut(const Ops<T>& ops, int64_t n, int64_t m, int64_t d, const CutLimits& limits);

// Tests force small tiles; 0 = choose.
void force_tile(int64_t rows, int64_t cols);

}  // namespace pairtile
