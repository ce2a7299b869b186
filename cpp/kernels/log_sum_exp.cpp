// Every term of a kernel is folded into the same (max, sum) of a row, so that sums of kernels need
// no arithmetic of their own.
#include "kernels/log_sum_exp.hpp"

#include <algorithm>
#include <cmath>

#include "engine/row_states.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile {
namespace {

// Shapes of all columns in the type of the tiles, and the log weights of the terms.
template <class T>
struct Columns {
    std::vector<T> rates;
    std::vector<std::vector<T>> offsets;  // of each term

    Columns(const ColumnShape& shape, const std::vector<KernelTerm>& terms, int64_t m) {
        if (shape.rates) rates.assign(shape.rates, shape.rates + m);
        for (const KernelTerm& term : terms) {
            const double log_weight = std::log(term.weight);
            std::vector<T>& mine = offsets.emplace_back();
            if (!shape.log_weights && log_weight == 0.0) continue;
            mine.resize(static_cast<size_t>(m));
            for (int64_t j = 0; j < m; ++j) {
                const double w = shape.log_weights ? shape.log_weights[j] : 0.0;
                mine[static_cast<size_t>(j)] = static_cast<T>(w + log_weight);
            }
        }
    }
};

template <class T>
class LogSums {
  public:
    LogSums(KernelEvaluator<T>& map, const Columns<T>& columns, bool leave_one_out, int workers,
            std::vector<LogSumExp>& rows)
        : map_(map),
          columns_(columns),
          leave_one_out_(leave_one_out),
          memory_(static_cast<size_t>(workers)),
          rows_(rows) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        partial_.begin(rows.count, segments);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& out = memory_[static_cast<size_t>(task.worker)];
        out.reserve(ops.rows * tile.ld);
        map_.complete(tile, rows, task.worker);
        double max[64], sum[64];
        for (int i = 0; i < tile.rows; ++i) {
            const LogSumExp& state = partial_.at(tile.local_row + i, task.segment);
            max[i] = state.max, sum[i] = state.sum;
        }
        for (size_t term = 0; term < columns_.offsets.size(); ++term) {
            map_.logarithms(tile, term, at(columns_.rates, tile.col),
                            at(columns_.offsets[term], tile.col), out.data(), tile.ld);
            if (leave_one_out_) mask_diagonal(tile, out.data());
            ops.log_sum_exp_rows(out.data(), tile.ld, tile.rows, tile.cols, max, sum);
        }
        for (int i = 0; i < tile.rows; ++i) {
            partial_.at(tile.local_row + i, task.segment) = {max[i], sum[i]};
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            for (int64_t s = 0; s < partial_.segments(); ++s) {
                rows_[static_cast<size_t>(rows.first + i)].merge(partial_.at(i, s));
            }
        }
    }

  private:
    static const T* at(const std::vector<T>& values, int64_t col) {
        return values.empty() ? nullptr : values.data() + col;
    }
    static void mask_diagonal(const Tile<T>& tile, T* out) {
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t j = tile.row + i - tile.col;
            if (j >= 0 && j < tile.cols) out[i * tile.ld + j] = -static_cast<T>(INFINITY);
        }
    }

    KernelEvaluator<T>& map_;
    const Columns<T>& columns_;
    bool leave_one_out_;
    RowStates<LogSumExp> partial_;
    std::vector<Buffer<T>> memory_;
    std::vector<LogSumExp>& rows_;
};

// Whether no pair's log-kernel misses more in float32 than sums may.
bool logarithms_fit_float32(const KernelFrame& from) {
    const TileFormula formula = formula_for_argument<float>(from.argument, from.x.d());
    const double reach = 2.0 * std::sqrt(from.frame.largest_square);
    const double d = static_cast<double>(from.x.d());
    const double size = formula.norm == Norm::squares ? reach * reach : reach * std::sqrt(d);
    const double error = formula.typical_slope * size;
    return std::all_of(from.terms.begin(), from.terms.end(), [&](const KernelTerm& term) {
        return recompute_below(term, error, kernel_tolerance<float>, size) < 0.0;
    });
}

template <class T>
void merge_log_sums(const KernelFrame& from, const ColumnShape& shape, bool leave_one_out,
                    Precision precision, Control& control, std::vector<LogSumExp>& rows) {
    const Blocking blocking = choose_blocking(ops_of<T>(isa()), from.x.rows(), from.y.rows(),
                                              from.x.d(), BlockingLimits{});
    KernelEvaluator<T> map(from, precision, control.workers(), Accuracy::of_logarithms);
    const Sweep<T> sweep = map.sweep(blocking, false, control);
    expect(sweep);
    const Columns<T> columns(shape, from.terms, from.y.rows());
    LogSums<T> fold(map, columns, leave_one_out, control.workers(), rows);
    run(sweep, fold);
}

}  // namespace

void kernel_log_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                     const ColumnShape& shape, bool leave_one_out, Precision precision,
                     Control& control, double* out) {
    std::vector<LogSumExp> rows(static_cast<size_t>(x.rows()));
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(x, y, group, argument, control);
        const bool narrow = from.narrow(precision) &&
                            (precision == Precision::fast || logarithms_fit_float32(from));
        const auto merge = narrow ? merge_log_sums<float> : merge_log_sums<double>;
        merge(from, shape, leave_one_out, precision, control, rows);
    });
    for (size_t i = 0; i < rows.size(); ++i) out[i] = rows[i].finish();
}

}  // namespace pairtile
