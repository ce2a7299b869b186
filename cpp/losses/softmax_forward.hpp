// The forward sweep: the log-sum-exp fold over rows, over columns or over both.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/row_states.hpp"
#include "losses/softmax_rule.hpp"

namespace pairtile {

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

}  // namespace pairtile
