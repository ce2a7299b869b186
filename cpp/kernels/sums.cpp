#include "kernels/sums.hpp"

#include <algorithm>

#include "engine/compensated.hpp"
#include "engine/margins.hpp"
#include "engine/row_states.hpp"
#include "kernels/driver.hpp"

namespace pairtile {
namespace {

// Row sums of kernel values: one state per row and segment.
template <class T>
class RowSums : public NearRows<T> {
  public:
    RowSums(KernelEvaluator<T>& map, bool triangle, const double* weights, double* sums)
        : NearRows<T>(map), map_(map), triangle_(triangle), weights_(weights), sums_(sums) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        partial_.begin(rows.count, segments);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        T* values = map_.values(tile, rows, task.worker);
        if (triangle_ && tile.col <= tile.row + tile.rows) clear_lower(tile, values, tile.ld);
        double sums[64] = {};
        ops_of<T>(isa()).row_sums(values, tile.ld, tile.rows, tile.cols,
                                  weights_ ? weights_ + tile.col : nullptr, sums);
        for (int i = 0; i < tile.rows; ++i) {
            if (rows_) {
                near_[static_cast<size_t>(tile.row + i)] += sums[i];
            } else {
                partial_.at(tile.local_row + i, task.segment) += sums[i];
            }
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            sums_[rows.first + i] += map_.factor() * partial_.merged(i);
        }
    }

    // Where tiles are left out, a row is of one group.
    void take_places(const Skipping& skipping) {
        rows_ = skipping.row_order->rows();
        near_.assign(static_cast<size_t>(skipping.row_order->count()), 0.0);
        if (!weights_) return;
        for (int64_t j = 0; j < skipping.col_order->count(); ++j) {
            placed_weights_.push_back(weights_[skipping.col_order->rows()[j]]);
        }
        weights_ = placed_weights_.data();
    }
    void finish() {
        for (size_t i = 0; i < near_.size(); ++i) sums_[rows_[i]] += map_.factor() * near_[i];
    }

  private:
    KernelEvaluator<T>& map_;
    bool triangle_;
    const double* weights_;
    double* sums_;
    RowStates<double> partial_;
    const int64_t* rows_ = nullptr;              // at each place, where tiles are left out
    std::vector<double> near_, placed_weights_;  // in their places
};

// Sums of kernel values by row and by column, and the sum of their squares, in one sweep.
template <class T>
class Moments {
  public:
    Moments(KernelEvaluator<T>& map, bool triangle, double* row_sums, double* col_sums,
            double& squares)
        : map_(map), triangle_(triangle), margins_(row_sums, col_sums), squares_(squares) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        segments_ = segments;
        margins_.begin_rows(rows.count, segments);
    }

    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        margins_.begin_cols(cols.count, row_blocks);
        by_task_.begin(row_blocks, segments_, 1);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        T* values = map_.values(tile, rows, task.worker);
        if (triangle_ && tile.col <= tile.row + tile.rows) clear_lower(tile, values, tile.ld);
        margins_.add(values, tile.ld, tile.local_row, tile.rows, tile.local_col, tile.cols, task);
        *by_task_.at(task.row_block, task.segment) +=
            ops_of<T>(isa()).block_dot(values, tile.ld, values, tile.ld, tile.rows, tile.cols);
    }

    void end_cols(const Panels<T>& cols, int64_t) {
        const double factor = map_.factor();
        margins_.end_cols(cols.first, factor);
        by_task_.add_to(&squares_, factor * factor);
    }

    void end_rows(const Panels<T>& rows) { margins_.end_rows(rows.first, map_.factor()); }

  private:
    KernelEvaluator<T>& map_;
    bool triangle_;
    Margins margins_;
    int64_t segments_ = 1;
    TaskVectors by_task_;
    double& squares_;
};

int64_t row_sums_of(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                    bool triangle, const double* weights, Precision precision, Control& control,
                    double* sums) {
    std::fill(sums, sums + x.rows(), 0.0);
    return for_each_kernel_group({x, y, terms, precision, control, triangle},
                                 [&]<class T>(KernelEvaluator<T>& map, const Blocking&) {
                                     return RowSums<T>(map, triangle, weights, sums);
                                 });
}

double weighted_total(const std::vector<double>& sums, const double* weights) {
    Compensated total;
    for (size_t i = 0; i < sums.size(); ++i) total.add(weights ? weights[i] * sums[i] : sums[i]);
    return total.value();
}

}  // namespace

int64_t kernel_row_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                        const double* weights, Precision precision, Control& control,
                        double* sums) {
    return row_sums_of(x, y, terms, false, weights, precision, control, sums);
}

double kernel_total(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                    const double* x_weights, const double* y_weights, Precision precision,
                    Control& control) {
    std::vector<double> sums(static_cast<size_t>(x.rows()));
    row_sums_of(x, y, terms, false, y_weights, precision, control, sums.data());
    return weighted_total(sums, x_weights);
}

double kernel_self_total(const Source& x, const std::vector<KernelTerm>& terms,
                         const double* weights, Precision precision, Control& control) {
    std::vector<double> sums(static_cast<size_t>(x.rows()));
    row_sums_of(x, x, terms, true, weights, precision, control, sums.data());
    return 2.0 * weighted_total(sums, weights);
}

double kernel_moments(const Source& x, const Source& y, bool itself,
                      const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                      double* row_sums, double* col_sums) {
    std::fill(row_sums, row_sums + x.rows(), 0.0);
    if (!itself) std::fill(col_sums, col_sums + y.rows(), 0.0);
    KernelRequest request{x, y, terms, precision, control, itself};
    request.limits.state_bytes_per_row = request.limits.state_bytes_per_col = sizeof(double);
    double squares = 0.0;
    for_each_kernel_group(request, [&]<class T>(KernelEvaluator<T>& map, const Blocking&) {
        // in a triangle the sums by column complete those by row
        return Moments<T>(map, itself, row_sums, itself ? row_sums : col_sums, squares);
    });
    return itself ? 2.0 * squares : squares;
}

}  // namespace pairtile
