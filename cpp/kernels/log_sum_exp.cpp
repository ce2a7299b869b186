// Every term of a kernel is folded into the same (max, sum) of a row, so that sums of kernels need
// no arithmetic of their own.
#include "kernels/log_sum_exp.hpp"

#include <algorithm>
#include <cmath>

#include "engine/row_states.hpp"
#include "kernels/driver.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile {
namespace {

// Shapes of all columns in the type of the tiles, and the log weights of the terms.
template <class T>
struct RhsColumns {
    std::vector<T> rates;
    std::vector<std::vector<T>> offsets;  // of each term

    RhsColumns(const ColumnShape& shape, const std::vector<KernelTerm>& terms, int64_t m) {
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
    LogSums(KernelEvaluator<T>& map, const ColumnShape& shape, bool leave_one_out, int workers,
            std::vector<LogSumExp>& rows)
        : map_(map),
          columns_(shape, map.from().terms, map.from().y.rows()),
          leave_one_out_(leave_one_out),
          memory_(static_cast<size_t>(workers)),
          rows_(rows) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        states_.begin(rows.count, segments);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& out = memory_[static_cast<size_t>(task.worker)];
        out.reserve(ops.rows * tile.ld);
        map_.complete(tile, rows, task.worker);
        double max[64], sum[64];
        for (int i = 0; i < tile.rows; ++i) {
            const LogSumExp& state = states_.at(tile.local_row + i, task.segment);
            max[i] = state.max, sum[i] = state.sum;
        }
        for (size_t term = 0; term < columns_.offsets.size(); ++term) {
            map_.logarithms(tile, term, at(columns_.rates, tile.col),
                            at(columns_.offsets[term], tile.col), out.data(), tile.ld);
            if (leave_one_out_) mask_diagonal(tile, out.data());
            ops.log_sum_exp_rows(out.data(), tile.ld, tile.rows, tile.cols, max, sum);
        }
        for (int i = 0; i < tile.rows; ++i) {
            states_.at(tile.local_row + i, task.segment) = {max[i], sum[i]};
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            for (int64_t s = 0; s < states_.segments(); ++s) {
                rows_[static_cast<size_t>(rows.first + i)].merge(states_.at(i, s));
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
    RhsColumns<T> columns_;
    bool leave_one_out_;
    RowStates<LogSumExp> states_;
    std::vector<Buffer<T>> memory_;
    std::vector<LogSumExp>& rows_;
};

}  // namespace

void kernel_log_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                     const ColumnShape& shape, bool leave_one_out, Precision precision,
                     Control& control, double* out) {
    std::vector<LogSumExp> rows(static_cast<size_t>(x.rows()));
    const KernelRequest request{.x = x,
                                .y = y,
                                .terms = terms,
                                .precision = precision,
                                .control = control,
                                .accuracy = Accuracy::of_logarithms};
    for_each_kernel_group(request, [&]<class T>(KernelEvaluator<T>& map, const Blocking&) {
        return LogSums<T>(map, shape, leave_one_out, control.workers(), rows);
    });
    for (size_t i = 0; i < rows.size(); ++i) out[i] = rows[i].finish();
}

}  // namespace pairtile
