// Forward: the log-sum-exp fold over rows, over columns or over both, in one sweep. Backward: the
// logits again, turned into weights W = ∂loss/∂S by a contraction. In between the states of rows
// and columns become losses and what the weights need of them (Finish).
#include "losses/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/row_states.hpp"
#include "losses/softmax_rule.hpp"
#include "losses/softmax_side.hpp"
#include "pairtile/fold/softmax_weight.hpp"

namespace pairtile {
namespace {

// Adds what a row of logits sums to without those left out, and how many these are.
template <class T>
void add_total(const T* logits, int n, SoftmaxState& state) {
    constexpr int lanes = 8;
    double total[lanes] = {}, count[lanes] = {};
    int j = 0;
    const auto add = [&](int lane) {
        const bool in = logits[j + lane] != SoftmaxRule<T>::left_out;
        total[lane] += in ? static_cast<double>(logits[j + lane]) : 0.0;
        count[lane] += in ? 1.0 : 0.0;
    };
    for (; j + lanes <= n; j += lanes) {
        for (int lane = 0; lane < lanes; ++lane) add(lane);
    }
    for (int lane = 0; j + lane < n; ++lane) add(lane);
    for (int lane = 0; lane < lanes; ++lane) {
        state.total += total[lane];
        state.count += count[lane];
    }
}

// The same of each column.
template <class T>
void add_col_totals(const T* logits, int n, double* total, double* count) {
    for (int j = 0; j < n; ++j) {
        const bool in = logits[j] != SoftmaxRule<T>::left_out;
        total[j] += in ? static_cast<double>(logits[j]) : 0.0;
        count[j] += in ? 1.0 : 0.0;
    }
}

template <class T>
class SoftmaxForward {
  public:
    SoftmaxForward(const SoftmaxRule<T>& rule, const SoftmaxOptions& options, int64_t n, int64_t m,
                   int workers)
        : rows(static_cast<size_t>(n)),
          cols(options.cols ? static_cast<size_t>(m) : 0),
          rule_(rule),
          options_(options),
          memory_(static_cast<size_t>(workers)) {}

    void begin_rows(const Panels<T>& panels, int64_t segments) {
        row_states_.begin(panels.count, segments);
    }

    void begin_cols(const Panels<T>& panels, int64_t row_blocks) {
        if (!options_.cols) return;
        col_max_.begin(panels.count, row_blocks, LogSumExp{}.max);
        col_sum_.begin(panels.count, row_blocks);
        if (options_.label_smoothing == 0.0) return;
        col_total_.begin(panels.count, row_blocks);
        col_count_.begin(panels.count, row_blocks);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>&, const Panels<T>&) {
        const Ops<T>& ops = ops_of<T>(isa());
        T* logits = tile.data;
        int64_t ld = tile.ld;
        if (rule_.plain()) {
            ops.scale(tile.data, ld, tile.rows, tile.cols, rule_.scale_of(0));
        } else {
            Buffer<T>& memory = memory_[static_cast<size_t>(task.worker)];
            memory.reserve(ops.rows * ld);
            logits = memory.data();
            rule_.logits(tile, options_.rows ? Side::rows : Side::cols, logits, ld);
        }
        SoftmaxState* states[64];
        for (int i = 0; i < tile.rows; ++i) {
            states[i] = &row_states_.at(tile.local_row + i, task.segment);
            T* row = logits + i * ld;
            // positives come from the same arithmetic as the sums they are compared with
            for_each_positive(rule_.positives(), tile.row + i, tile.col, 0, tile.cols,
                              [&](int64_t j, double weight) {
                                  states[i]->positive += weight * static_cast<double>(row[j]);
                                  states[i]->share += weight;
                                  if (options_.tau_plus > 0.0) row[j] = rule_.left_out;
                              });
            if (options_.rows && options_.label_smoothing > 0.0) {
                add_total(row, tile.cols, *states[i]);
            }
        }
        double max[64], sum[64];
        for (int i = 0; i < tile.rows; ++i) {
            max[i] = states[i]->all.max, sum[i] = states[i]->all.sum;
        }
        double* col_max = options_.cols ? col_max_.at(tile.local_col, task.row_block) : nullptr;
        double* col_sum = options_.cols ? col_sum_.at(tile.local_col, task.row_block) : nullptr;
        if (options_.rows && options_.cols && rule_.one_tile()) {
            ops.log_sum_exp_rows_and_cols(logits, ld, tile.rows, tile.cols, max, sum, col_max,
                                          col_sum);
        } else if (options_.rows) {
            ops.log_sum_exp_rows(logits, ld, tile.rows, tile.cols, max, sum);
        }
        for (int i = 0; i < tile.rows; ++i) states[i]->all = {max[i], sum[i]};
        if (!options_.cols) return;
        if (!options_.rows || !rule_.one_tile()) {
            if (options_.rows) rule_.logits(tile, Side::cols, logits, ld);
            ops.log_sum_exp_cols(logits, ld, tile.rows, tile.cols, col_max, col_sum);
        }
        if (options_.label_smoothing == 0.0) return;
        for (int i = 0; i < tile.rows; ++i) {
            add_col_totals(logits + i * ld, tile.cols,
                           col_total_.at(tile.local_col, task.row_block),
                           col_count_.at(tile.local_col, task.row_block));
        }
    }

    void end_cols(const Panels<T>& panels, int64_t row_blocks) {
        if (!options_.cols) return;
        for (int64_t block = 0; block < row_blocks; ++block) {
            for (int64_t j = 0; j < panels.count; ++j) {
                SoftmaxState& state = cols[static_cast<size_t>(panels.first + j)];
                state.all.merge(LogSumExp{*col_max_.at(j, block), *col_sum_.at(j, block)});
                if (options_.label_smoothing == 0.0) continue;
                state.total += *col_total_.at(j, block);
                state.count += *col_count_.at(j, block);
            }
        }
    }

    void end_rows(const Panels<T>& panels) {
        for (int64_t i = 0; i < panels.count; ++i) {
            rows[static_cast<size_t>(panels.first + i)] = row_states_.merged(i);
        }
    }

    std::vector<SoftmaxState> rows, cols;

  private:
    const SoftmaxRule<T>& rule_;
    const SoftmaxOptions& options_;
    std::vector<Buffer<T>> memory_;
    RowStates<SoftmaxState> row_states_;
    ColStates<double> col_max_, col_sum_, col_total_, col_count_;
};

// The same of a triangle: one state for each row, which has one writer at a time.
template <class T>
class SelfForward {
  public:
    SelfForward(const Positives& positives, double scale, int64_t n)
        : max_(static_cast<size_t>(n), LogSumExp{}.max),
          sum_(static_cast<size_t>(n), 0.0),
          positive_(static_cast<size_t>(n), 0.0),
          count_(static_cast<size_t>(n), 0.0),
          positives_(positives),
          scale_(static_cast<T>(scale)) {}

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        block.for_each_tile([&](const Tile<T>& tile) {
            const size_t row = static_cast<size_t>(tile.row), col = static_cast<size_t>(tile.col);
            ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale_);
            leave_out_lower(tile, tile.data, tile.ld);
            for (int i = 0; i < tile.rows; ++i) {
                const size_t at = row + static_cast<size_t>(i);
                const int64_t past = std::max<int64_t>(0, tile.row + i + 1 - tile.col);
                for_each_positive(
                    positives_, tile.row + i, tile.col, past, tile.cols, [&](int64_t j, double) {
                        const double s = static_cast<double>(tile.data[i * tile.ld + j]);
                        const size_t other = col + static_cast<size_t>(j);
                        positive_[at] += s, positive_[other] += s;
                        count_[at] += 1.0, count_[other] += 1.0;
                    });
            }
            ops.log_sum_exp_rows_and_cols(tile.data, tile.ld, tile.rows, tile.cols,
                                          max_.data() + row, sum_.data() + row, max_.data() + col,
                                          sum_.data() + col);
        });
    }

    SoftmaxState state(size_t row) const {
        SoftmaxState state;
        state.all = {max_[row], sum_[row]};
        state.positive = positive_[row], state.share = count_[row];
        return state;
    }

  private:
    std::vector<double> max_, sum_, positive_, count_;
    const Positives& positives_;
    T scale_;
};

// What the backward sweep knows of a side, and what its positives add.
template <class T>
struct Softmax : SoftmaxVectors<T> {
    std::vector<T> flat;  // off the weight of every pair that is not left out; empty: nothing
    // A positive by itself has its weight at hand from the loss, in float64: p − 1 is tiny where
    // the loss is. Of several, each has this share off its weight.
    std::vector<T> positive, share;
    std::vector<bool> single;

    void resize(int64_t n) {
        const size_t size = static_cast<size_t>(n);
        SoftmaxVectors<T>::resize(n);
        positive.assign(size, T(0));
        share.assign(size, T(0));
        single.assign(size, false);
    }
};

// Whether a row has one positive; of a matrix whose other columns are elsewhere, its whole weight.
inline bool is_single(const Positives& positives, int64_t row, const SoftmaxState& state) {
    if (!positives.indptr) return state.share == 1.0;
    const int64_t first = positives.indptr[row];
    return positives.indptr[row + 1] - first == 1 && positives.weights[first] == 1.0;
}

// The loss of a state, and its softmax for a weight of the loss.
template <class T>
class Finish {
  public:
    Finish(double smoothing, int64_t n, bool grad) : smoothing_(smoothing) {
        if (!grad) return;
        side.resize(n);
        if (smoothing > 0.0) side.flat.assign(static_cast<size_t>(n), T(0));
    }

    double operator()(size_t at, const SoftmaxState& state, bool single, double weight) {
        const LogSumExp& all = state.all;
        const double positive = state.positive / state.share;
        const double mean = smoothing_ > 0.0 ? state.total / state.count : 0.0;
        const double plain = (all.max - positive) + logarithm(all.sum);  // −log softmax
        const double loss = smoothing_ > 0.0 ? plain + smoothing_ * (positive - mean) : plain;
        if (side.upstream.empty() || weight == 0.0) return loss;
        side.set(at, weight, all);
        double flat = 0.0;
        if (smoothing_ > 0.0) {
            flat = smoothing_ / state.count;
            side.flat[at] = static_cast<T>(weight * flat);
        }
        side.single[at] = single;
        side.positive[at] = static_cast<T>(weight * (std::expm1(-plain) + (smoothing_ - flat)));
        side.share[at] = static_cast<T>(weight * (1.0 - smoothing_) / state.share);
        return loss;
    }

    Softmax<T> side;

  private:
    double smoothing_;
};

// The debiased loss (Chuang et al.) of a row whose state has its negatives alone: their sum becomes
// max((Σ − N τ e^S⁺)/(1 − τ), N e^−s), N of them.
template <class T>
double finish_debiased(const SoftmaxState& state, double tau, double n, double scale, double weight,
                       size_t at, Softmax<T>& side, double& lse, double& by_scale) {
    const double positive = state.positive,
                 least = std::log(n) - scale;                       // of the sum, as a logarithm
    const double top = std::max({state.all.max, positive, least});  // all in units of e^top
    const double own = std::exp(positive - top), floor = std::exp(least - top);
    const double sum = state.all.sum == 0.0 ? 0.0 : state.all.sum * std::exp(state.all.max - top);
    const double corrected = (sum - n * tau * own) / (1.0 - tau);
    const bool floored = corrected <= floor;
    const double negatives = floored ? floor : corrected, whole = own + negatives;
    lse = top + std::log(whole);
    if (!side.upstream.empty()) {
        if (!floored) side.set(at, weight / (1.0 - tau), LogSumExp{top, whole});
        const double pull = floored ? 0.0 : own * n * tau / (1.0 - tau);
        side.single[at] = true;
        side.positive[at] = static_cast<T>(-weight * (negatives + pull) / whole);
        if (floored) by_scale -= weight * floor / whole;
    }
    // (top − positive) + log whole, without cancelling where the loss is tiny
    return top == positive ? std::log1p(negatives) : (top - positive) + std::log(whole);
}

// What turns a dot product into ∂loss/∂(x·y).
template <class T>
class SoftmaxWeights {
  public:
    SoftmaxWeights(const SoftmaxRule<T>& rule, const SoftmaxOptions& options, double* by_scales,
                   int workers)
        : rule_(rule),
          options_(options),
          by_scales_(by_scales),
          memory_(static_cast<size_t>(workers)) {}

    Softmax<T> row, col;
    bool scaled = false;  // tiles that the forward sweep left: logits, where the rule is plain

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        if (rule_.plain() && row.flat.empty() && col.flat.empty()) {
            weigh_plain(tile, out, ld, sums);
        } else {
            weigh_by_rule(tile, out, ld, worker, sums);
        }
    }

  private:
    void weigh_plain(const Tile<T>& tile, T* out, int64_t ld, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        const T scale = rule_.scale_of(0);
        if (!scaled) ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale);
        ops.softmax_weights(tile.data, tile.ld, tile.rows, tile.cols,
                            row.from(static_cast<size_t>(tile.row)),
                            col.from(static_cast<size_t>(tile.col)), out, ld);
        for (int i = 0; i < tile.rows; ++i) set_positives(tile, i, out + i * ld);
        sums.by_scale += ops.block_dot(out, ld, tile.data, tile.ld, tile.rows, tile.cols) /
                         static_cast<double>(scale);
        ops.scale(out, ld, tile.rows, tile.cols, scale);
    }

    void weigh_by_rule(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(2 * ops.rows * tile.ld);
        T *logits = memory.data(), *more = memory.data() + ops.rows * tile.ld;
        const SoftmaxSide<T> rows = row.from(static_cast<size_t>(tile.row));
        const SoftmaxSide<T> cols = col.from(static_cast<size_t>(tile.col));
        const SoftmaxSide<T> none{nullptr, nullptr, nullptr};
        rule_.logits(tile, options_.rows ? Side::rows : Side::cols, logits, tile.ld);
        ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols, rows,
                            rule_.one_tile() ? cols : none, out, ld);
        if (options_.rows) take_flat(tile, logits, row.flat, {}, out, ld);
        if (!rule_.one_tile()) {
            SoftmaxVectors<T> nothing;
            nothing.resize(tile.rows);
            rule_.logits(tile, Side::cols, logits, tile.ld);
            ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols, nothing.from(0), cols, more,
                                tile.ld);
            ops.add_scaled(more, tile.ld, tile.rows, tile.cols, T(1), out, ld);
        }
        if (options_.cols) take_flat(tile, logits, {}, col.flat, out, ld);
        for (int i = 0; i < tile.rows; ++i) finish_row(tile, i, out + i * ld, sums);
    }

    // Label smoothing: the same off every pair that is in the sum of its row, or of its column.
    void take_flat(const Tile<T>& tile, const T* logits, const std::vector<T>& by_row,
                   const std::vector<T>& by_col, T* out, int64_t ld) const {
        for (int i = 0; i < tile.rows; ++i) {
            const T* __restrict logit = logits + i * tile.ld;
            T* __restrict to = out + i * ld;
            if (!by_row.empty()) {
                const T mine = by_row[static_cast<size_t>(tile.row + i)];
                for (int j = 0; j < tile.cols; ++j) {
                    to[j] -= logit[j] != SoftmaxRule<T>::left_out ? mine : T(0);
                }
            }
            if (!by_col.empty()) {
                const T* __restrict off = by_col.data() + tile.col;
                for (int j = 0; j < tile.cols; ++j) {
                    to[j] -= logit[j] != SoftmaxRule<T>::left_out ? off[j] : T(0);
                }
            }
        }
    }

    void set_positives(const Tile<T>& tile, int i, T* out) const {
        const size_t at = static_cast<size_t>(tile.row + i);
        for_each_positive(rule_.positives(), tile.row + i, tile.col, 0, tile.cols,
                          [&](int64_t j, double weight) {
                              if (row.single[at]) {
                                  out[j] = row.positive[at];
                              } else {
                                  out[j] -= row.share[at] * static_cast<T>(weight);
                              }
                          });
    }

    // The positives' weights, the sums by the scale, and the slope of logits by dot products.
    void finish_row(const Tile<T>& tile, int i, T* out, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t at = tile.row + i;
        T* products = tile.data + i * tile.ld;
        set_positives(tile, i, out);
        const auto for_positives = [&](auto visit) {
            for_each_positive(rule_.positives(), at, tile.col, 0, tile.cols,
                              [&](int64_t j, double) { visit(j); });
        };
        double bent = 0.0;  // Σ W (φ − product) over the positives
        for_positives([&](int64_t j) {
            const double product = static_cast<double>(products[j]);
            bent += static_cast<double>(out[j]) * (rule_.of_positive(product) - product);
        });
        const double by_scale = bent + ops.block_dot(out, tile.ld, products, tile.ld, 1, tile.cols);
        if (by_scales_) {
            by_scales_[at] += by_scale;
        } else {
            sums.by_scale += by_scale;
        }
        ops.scale(out, tile.ld, 1, tile.cols, rule_.scale_of(at));
        if (!rule_.bends()) return;
        for_positives([&](int64_t j) {
            out[j] *= static_cast<T>(rule_.slope_of_positive(static_cast<double>(products[j])));
        });
    }

    const SoftmaxRule<T>& rule_;
    const SoftmaxOptions& options_;
    double* by_scales_;
    std::vector<Buffer<T>> memory_;
};

// The weights of a triangle: each pair's as one of its row and as one of its column.
template <class T>
struct SelfWeights {
    const Positives& positives;
    T scale;
    Softmax<T> side;
    bool scaled = false;  // tiles as the forward sweep left them

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int, LogitSums& sums) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const size_t row = static_cast<size_t>(tile.row), col = static_cast<size_t>(tile.col);
        if (!scaled) {
            ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale);
            // what is below the diagonal weighs nothing, and adds nothing to the sums
            leave_out_lower(tile, tile.data, tile.ld);
        }
        ops.softmax_weights(tile.data, tile.ld, tile.rows, tile.cols, side.from(row),
                            side.from(col), out, ld);
        for (int i = 0; i < tile.rows; ++i) {
            T* logits = tile.data + i * tile.ld;
            const int64_t past = std::max<int64_t>(0, tile.row + i + 1 - tile.col);
            for_each_positive(
                positives, tile.row + i, tile.col, past, tile.cols, [&](int64_t j, double) {
                    const size_t a = row + static_cast<size_t>(i);
                    const size_t b = col + static_cast<size_t>(j);
                    out[i * ld + j] = of_positive(a, logits[j]) + of_positive(b, logits[j]);
                });
            for (int64_t j = 0; j < std::min<int64_t>(past, tile.cols); ++j) logits[j] = T(0);
        }
        sums.by_scale += ops.block_dot(out, ld, tile.data, tile.ld, tile.rows, tile.cols) /
                         static_cast<double>(scale);
        ops.scale(out, ld, tile.rows, tile.cols, scale);
    }

    T of_positive(size_t at, T logit) const {
        if (side.single[at]) return side.positive[at];
        return softmax_weight(logit, side.upstream[at], side.high[at], side.low[at]) -
               side.share[at];
    }
};

// What a row leaves out, as pairs of a column: of a triangle a pair is one of both its rows.
struct Transposed {
    std::vector<int64_t> indptr, columns;

    Transposed(const MaskedPairs& list, int64_t n) {
        if (!list.given()) return;
        indptr.assign(static_cast<size_t>(n + 1), 0);
        columns.resize(static_cast<size_t>(list.indptr[n]));
        for (int64_t e = 0; e < list.indptr[n]; ++e) {
            ++indptr[static_cast<size_t>(list.columns[e] + 1)];
        }
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) indptr[i + 1] += indptr[i];
        std::vector<int64_t> next(indptr);
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t e = list.indptr[i]; e < list.indptr[i + 1]; ++e) {
                columns[static_cast<size_t>(next[static_cast<size_t>(list.columns[e])]++)] = i;
            }
        }
    }
    MaskedPairs list() const {
        return indptr.empty() ? MaskedPairs{} : MaskedPairs{indptr.data(), columns.data()};
    }
};

// Rows of one set among themselves, none of which has a positive there: a triangle, each pair for
// both its rows, which may differ in whether they leave it out.
template <class T>
class MutualRule {
  public:
    MutualRule(const LogitRequest& request, const SoftmaxOptions& options, const Logits<T>& logits)
        : transposed_(options.row_masked, request.x.rows()),
          options_(both_sides(options, transposed_)),
          rule_(request, options_, logits),
          memory_(static_cast<size_t>(request.control.workers())) {}

    // visit(logits, side), first as of the rows and then as of the columns of a tile.
    template <class Visit>
    void for_both_sides(const Tile<T>& tile, int worker, Visit visit) {
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(ops_of<T>(isa()).rows * tile.ld);
        for (const Side side : {Side::rows, Side::cols}) {
            rule_.logits(tile, side, memory.data(), tile.ld);
            leave_out_lower(tile, memory.data(), tile.ld);
            visit(memory.data(), side);
        }
    }
    T scale() const { return rule_.scale_of(0); }

  private:
    static SoftmaxOptions both_sides(SoftmaxOptions options, const Transposed& transposed) {
        options.rows = options.cols = true;
        options.col_masked = transposed.list();
        return options;
    }

    Transposed transposed_;
    SoftmaxOptions options_;
    SoftmaxRule<T> rule_;
    std::vector<Buffer<T>> memory_;
};

template <class T>
class MutualForward {
  public:
    MutualForward(MutualRule<T>& rule, int64_t n)
        : rule_(rule),
          max_(static_cast<size_t>(n), LogSumExp{}.max),
          sum_(static_cast<size_t>(n), 0.0) {}

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        block.for_each_tile([&](const Tile<T>& tile) {
            rule_.for_both_sides(tile, block.worker, [&](const T* logits, Side side) {
                const size_t at = static_cast<size_t>(side == Side::rows ? tile.row : tile.col);
                const auto fold = side == Side::rows ? ops.log_sum_exp_rows : ops.log_sum_exp_cols;
                fold(logits, tile.ld, tile.rows, tile.cols, max_.data() + at, sum_.data() + at);
            });
        });
    }
    SoftmaxState state(size_t row) const {
        SoftmaxState state;
        state.all = {max_[row], sum_[row]};
        return state;
    }

  private:
    MutualRule<T>& rule_;
    std::vector<double> max_, sum_;
};

template <class T>
class MutualWeights {
  public:
    MutualWeights(MutualRule<T>& rule, SoftmaxVectors<T> side, int workers)
        : rule_(rule), side_(std::move(side)), memory_(static_cast<size_t>(workers)) {}

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(ops.rows * tile.ld);
        SoftmaxVectors<T> nothing;
        nothing.resize(tile.rows);
        rule_.for_both_sides(tile, worker, [&](const T* logits, Side side) {
            if (side == Side::rows) {
                ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols,
                                    side_.from(static_cast<size_t>(tile.row)),
                                    SoftmaxSide<T>{nullptr, nullptr, nullptr}, out, ld);
                return;
            }
            ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols, nothing.from(0),
                                side_.from(static_cast<size_t>(tile.col)), memory.data(), tile.ld);
            ops.add_scaled(memory.data(), tile.ld, tile.rows, tile.cols, T(1), out, ld);
        });
        sums.by_scale += ops.block_dot(out, ld, tile.data, tile.ld, tile.rows, tile.cols);
        ops.scale(out, ld, tile.rows, tile.cols, rule_.scale());
    }

  private:
    MutualRule<T>& rule_;
    SoftmaxVectors<T> side_;
    std::vector<Buffer<T>> memory_;
};

template <class T>
void mutual_states(const LogitRequest& request, const SoftmaxOptions& options,
                   const SoftmaxStates& out) {
    const Logits<T> logits(request);
    MutualRule<T> rule(request, options, logits);
    MutualForward<T> forward(rule, request.x.rows());
    logits.sweep(forward);
    for (int64_t i = 0; i < request.x.rows(); ++i) {
        out.rows[i] = forward.state(static_cast<size_t>(i));
        out.limits[i] = INFINITY;
    }
}

template <class T>
void mutual_gradients(const LogitRequest& request, const SoftmaxOptions& options,
                      const SoftmaxSides& sides, SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows();
    const Logits<T> logits(request);
    MutualRule<T> rule(request, options, logits);
    SoftmaxVectors<T> side;
    side.resize(n);
    for (int64_t i = 0; i < n; ++i) {
        if (sides.rows[i].share == 0.0 || sides.row_weights[i] == 0.0) continue;
        side.set(static_cast<size_t>(i), sides.row_weights[i], sides.rows[i].all);
    }
    const int workers = request.control.workers();
    MutualWeights<T> weights(rule, std::move(side), workers);
    LogitGradient<T, MutualWeights<T>> backward(weights, out.gradients, workers);
    logits.sweep(backward);
    logits.finish(out.gradients);
    out.grad_scale += backward.sums.by_scale;
}

// Of rows and of columns, and nothing else that the sweep held.
struct States {
    std::vector<SoftmaxState> rows, cols;
};
template <class T>
States sweep_forward(const LogitRequest& request, const Logits<T>& logits,
                     const SoftmaxRule<T>& rule, const SoftmaxOptions& options, bool few = false) {
    SoftmaxForward<T> forward(rule, options, request.x.rows(), request.y.rows(),
                              request.control.workers());
    if (few) {
        logits.sweep_first(forward);
        return {std::move(forward.rows), std::move(forward.cols)};
    }
    BlockingLimits limits;
    limits.state_bytes = int64_t{8} << 20;  // of columns, beside a state of each row and column
    if (options.cols) limits.state_bytes_per_col = options.label_smoothing > 0.0 ? 32 : 16;
    logits.sweep(forward, limits);
    return {std::move(forward.rows), std::move(forward.cols)};
}

template <class T>
struct Sides {
    Softmax<T> rows, cols;
};
template <class T>
void sweep_backward(const LogitRequest& request, const SoftmaxOptions& options,
                    const Logits<T>& logits, const SoftmaxRule<T>& rule, Sides<T> sides,
                    SoftmaxLosses<T>& out) {
    SoftmaxWeights<T> weights(rule, options, out.grad_scales, request.control.workers());
    weights.row = std::move(sides.rows);
    weights.col = std::move(sides.cols);
    LogitGradient<T, SoftmaxWeights<T>> backward(weights, out.gradients, request.control.workers());
    logits.sweep(backward);
    logits.finish(out.gradients);
    out.grad_scale += backward.sums.by_scale;
}

// Both sweeps over so few pairs that tiles are kept; finish(states) gives the sides.
template <class T, class ToSides>
void sweep_both(const LogitRequest& request, const SoftmaxOptions& options, const Logits<T>& logits,
                const SoftmaxRule<T>& rule, ToSides finish, SoftmaxLosses<T>& out) {
    const int workers = request.control.workers();
    SoftmaxForward<T> forward(rule, options, request.x.rows(), request.y.rows(), workers);
    SoftmaxWeights<T> weights(rule, options, out.grad_scales, workers);
    weights.scaled = true;
    LogitGradient<T, SoftmaxWeights<T>> backward(weights, out.gradients, workers);
    const auto between = [&] {
        Sides<T> sides = finish({std::move(forward.rows), std::move(forward.cols)});
        weights.row = std::move(sides.rows);
        weights.col = std::move(sides.cols);
    };
    logits.sweep_kept(forward, between, backward);
    logits.finish(out.gradients);
    out.grad_scale += backward.sums.by_scale;
}

// A pair that is the positive of its row and of its column has the weights of both.
template <class T>
void join_positives(const SoftmaxOptions& options, size_t row, Softmax<T>& rows,
                    const Softmax<T>& cols) {
    const T of_col = cols.positive[static_cast<size_t>(options.positives.targets[row])];
    rows.positive[row] = options.rows ? rows.positive[row] + of_col : of_col;
    rows.single[row] = true;
}

// Whether the forward sweep leaves tiles from which the backward one can go on.
template <class T>
bool leaves_tiles(const SoftmaxRule<T>& rule, const SoftmaxOptions& options) {
    return !rule.plain() || (options.label_smoothing == 0.0 && options.tau_plus == 0.0);
}

}  // namespace

template <class T>
void softmax_losses(const LogitRequest& request, const SoftmaxOptions& options,
                    SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows(), m = request.y.rows();
    const Logits<T> logits(request);
    const SoftmaxRule<T> rule(request, options, logits);
    const bool grad = request.upstream != nullptr;
    const double half = options.rows && options.cols ? 0.5 : 1.0;
    const Positives& positives = options.positives;
    const auto finish = [&](States states) -> Sides<T> {
        Finish<T> of_row(options.label_smoothing, n, grad);
        Finish<T> of_col(options.label_smoothing, options.cols ? m : 0, grad && options.cols);
        for (int64_t i = 0; i < n; ++i) {
            const size_t at = static_cast<size_t>(i);
            const SoftmaxState& row = states.rows[at];
            if (options.rows) out.lse_row[i] = row.all.finish();
            out.per_row[i] = 0.0;
            if (row.share == 0.0) continue;
            const double weight = grad ? half * request.upstream[i] : 0.0;
            if (options.tau_plus > 0.0) {
                double by_scale = 0.0;
                out.per_row[i] = finish_debiased(row, options.tau_plus, static_cast<double>(m - 1),
                                                 request.scale_of(i), weight, at, of_row.side,
                                                 out.lse_row[i], by_scale);
                (out.grad_scales ? out.grad_scales[i] : out.grad_scale) += by_scale;
                continue;
            }
            const bool single = positives.targets || is_single(positives, i, row);
            if (options.rows) out.per_row[i] = half * of_row(at, row, single, weight);
            if (!options.cols) continue;
            const size_t target = static_cast<size_t>(positives.targets[i]);
            SoftmaxState& col = states.cols[target];
            col.positive = row.positive, col.share = row.share;
            out.per_row[i] += half * of_col(target, col, true, weight);
            if (grad) join_positives(options, at, of_row.side, of_col.side);
        }
        for (size_t j = 0; j < states.cols.size(); ++j) {
            out.lse_col[j] = states.cols[j].all.finish();
        }
        return {std::move(of_row.side), std::move(of_col.side)};
    };
    const bool few = leaves_tiles(rule, options) && logits.can_keep();
    if (grad && few) return sweep_both(request, options, logits, rule, finish, out);
    Sides<T> sides = finish(sweep_forward(request, logits, rule, options, few));
    if (grad) sweep_backward(request, options, logits, rule, std::move(sides), out);
}

template <class T>
void softmax_states(const LogitRequest& request, const SoftmaxOptions& options,
                    const SoftmaxStates& out) {
    if (request.triangle) return mutual_states<T>(request, options, out);
    const Logits<T> logits(request);
    const SoftmaxRule<T> rule(request, options, logits);
    const States states = sweep_forward(request, logits, rule, options);
    std::copy(states.rows.begin(), states.rows.end(), out.rows);
    if (options.cols) std::copy(states.cols.begin(), states.cols.end(), out.cols);
    const bool found = options.false_negative_margin.has_value();
    for (int64_t i = 0; i < request.x.rows(); ++i) {
        out.limits[i] = found ? rule.limit_of(i) : INFINITY;
    }
}

template <class T>
void softmax_gradients(const LogitRequest& request, const SoftmaxOptions& options,
                       const SoftmaxSides& sides, SoftmaxLosses<T>& out) {
    if (request.triangle) return mutual_gradients<T>(request, options, sides, out);
    const int64_t n = request.x.rows(), m = request.y.rows();
    const Logits<T> logits(request);
    const SoftmaxRule<T> rule(request, options, logits);
    const Positives& positives = options.positives;
    const int64_t* targets = positives.targets;
    Finish<T> of_row(options.label_smoothing, n, true);
    Finish<T> of_col(options.label_smoothing, options.cols ? m : 0, options.cols);
    for (int64_t j = 0; options.cols && j < m; ++j) {
        const SoftmaxState& state = sides.cols[j];
        if (state.share != 0.0) of_col(static_cast<size_t>(j), state, true, sides.col_weights[j]);
    }
    for (int64_t i = 0; i < n; ++i) {
        const size_t at = static_cast<size_t>(i);
        const SoftmaxState& state = sides.rows[i];
        if (state.share == 0.0) continue;
        if (options.tau_plus > 0.0) {
            double lse = 0.0, by_scale = 0.0;
            finish_debiased(state, options.tau_plus, static_cast<double>(sides.negatives),
                            request.scale_of(i), sides.row_weights[i], at, of_row.side, lse,
                            by_scale);
            if (targets[i] < 0) continue;  // once for all blocks
            (out.grad_scales ? out.grad_scales[i] : out.grad_scale) += by_scale;
            continue;
        }
        const bool single = targets || is_single(positives, i, state);
        if (options.rows) of_row(at, state, single, sides.row_weights[i]);
        if (options.cols && targets[i] >= 0) join_positives(options, at, of_row.side, of_col.side);
    }
    sweep_backward<T>(request, options, logits, rule,
                      {std::move(of_row.side), std::move(of_col.side)}, out);
}

template <class T>
void self_softmax_losses(const LogitRequest& request, const Positives& positives,
                         SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows();
    const bool grad = request.upstream != nullptr;
    const Logits<T> logits(request);
    SelfForward<T> forward(positives, request.scale, n);
    Finish<T> finish(0.0, n, grad);
    SelfWeights<T> weights{positives, static_cast<T>(request.scale), {}};
    const auto between = [&] {
        for (int64_t i = 0; i < n; ++i) {
            const size_t at = static_cast<size_t>(i);
            const SoftmaxState state = forward.state(at);
            out.lse_row[i] = state.all.finish();
            out.per_row[i] = state.share == 0.0 ? 0.0
                                                : finish(at, state, state.share == 1.0,
                                                         grad ? request.upstream[i] : 0.0);
        }
        weights.side = std::move(finish.side);
    };
    LogitGradient<T, SelfWeights<T>> backward(weights, out.gradients, request.control.workers());
    weights.scaled = grad && logits.can_keep();
    if (weights.scaled) {
        logits.sweep_kept(forward, between, backward);
    } else {
        logits.sweep(forward);
        between();
        if (!grad) return;
        logits.sweep(backward);
    }
    logits.finish(out.gradients);
    out.grad_scale = backward.sums.by_scale;
}

template void softmax_losses<float>(const LogitRequest&, const SoftmaxOptions&,
                                    SoftmaxLosses<float>&);
template void softmax_losses<double>(const LogitRequest&, const SoftmaxOptions&,
                                     SoftmaxLosses<double>&);
template void softmax_states<float>(const LogitRequest&, const SoftmaxOptions&,
                                    const SoftmaxStates&);
template void softmax_states<double>(const LogitRequest&, const SoftmaxOptions&,
                                     const SoftmaxStates&);
template void softmax_gradients<float>(const LogitRequest&, const SoftmaxOptions&,
                                       const SoftmaxSides&, SoftmaxLosses<float>&);
template void softmax_gradients<double>(const LogitRequest&, const SoftmaxOptions&,
                                        const SoftmaxSides&, SoftmaxLosses<double>&);
template void self_softmax_losses<float>(const LogitRequest&, const Positives&,
                                         SoftmaxLosses<float>&);
template void self_softmax_losses<double>(const LogitRequest&, const Positives&,
                                          SoftmaxLosses<double>&);

}  // namespace pairtile
