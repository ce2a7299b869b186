#include "kernels/sums.hpp"

#include <algorithm>

#include "engine/compensated.hpp"
#include "engine/margins.hpp"

namespace pairtile {
namespace {

// Row sums of kernel values.
template <class T>
class RowSums {
  public:
    RowSums(KernelEvaluator<T>& map, bool triangle, const double* weights, int workers,
            double* sums)
        : map_(map),
          triangle_(triangle),
          weights_(weights),
          sums_(sums),
          memory_(static_cast<size_t>(workers)) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        partial_.begin(rows.count, segments);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        Buffer<T>& out = memory_[static_cast<size_t>(task.worker)];
        const Ops<T>& ops = ops_of<T>(isa());
        out.reserve(ops.rows * tile.ld);
        map_(tile, rows, task.worker, out.data(), tile.ld);
        if (triangle_ && tile.col <= tile.row + tile.rows) clear_lower(tile, out.data(), tile.ld);
        double sums[64] = {};
        ops.row_sums(out.data(), tile.ld, tile.rows, tile.cols,
                     weights_ ? weights_ + tile.col : nullptr, sums);
        for (int i = 0; i < tile.rows; ++i) {
            partial_.at(tile.local_row + i, task.segment) += sums[i];
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            sums_[rows.first + i] += map_.factor() * partial_.merged(i);
        }
    }

  private:
    KernelEvaluator<T>& map_;
    bool triangle_;
    const double* weights_;
    double* sums_;
    RowStates<double> partial_;
    std::vector<Buffer<T>> memory_;
};

// Sums of kernel values by row and by column, and the sum of their squares, in one sweep.
template <class T>
class Moments {
  public:
    Moments(KernelEvaluator<T>& map, bool triangle, int workers, double* row_sums, double* col_sums)
        : map_(map),
          triangle_(triangle),
          margins_(row_sums, col_sums),
          memory_(static_cast<size_t>(workers)) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        segments_ = segments;
        margins_.begin_rows(rows.count, segments);
    }

    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        margins_.begin_cols(cols.count, row_blocks);
        by_task_.assign(static_cast<size_t>(row_blocks * segments_), 0.0);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        Buffer<T>& out = memory_[static_cast<size_t>(task.worker)];
        const Ops<T>& ops = ops_of<T>(isa());
        out.reserve(ops.rows * tile.ld);
        map_(tile, rows, task.worker, out.data(), tile.ld);
        if (triangle_ && tile.col <= tile.row + tile.rows) clear_lower(tile, out.data(), tile.ld);
        margins_.add(out.data(), tile.ld, tile.local_row, tile.rows, tile.local_col, tile.cols,
                     task);
        by_task_[static_cast<size_t>(task.row_block * segments_ + task.segment)] +=
            ops.block_dot(out.data(), tile.ld, out.data(), tile.ld, tile.rows, tile.cols);
    }

    void end_cols(const Panels<T>& cols, int64_t) {
        margins_.end_cols(cols.first, map_.factor());
        for (const double part : by_task_) squares += map_.factor() * map_.factor() * part;
    }

    void end_rows(const Panels<T>& rows) { margins_.end_rows(rows.first, map_.factor()); }

    double squares = 0.0;

  private:
    KernelEvaluator<T>& map_;
    bool triangle_;
    Margins margins_;
    int64_t segments_ = 1;
    std::vector<double> by_task_;
    std::vector<Buffer<T>> memory_;
};

template <class T>
double moments(const KernelFrame& from, bool triangle, Precision precision, Control& control,
               double* row_sums, double* col_sums) {
    BlockingLimits limits;
    limits.state_bytes_per_row = limits.state_bytes_per_col = sizeof(double);
    const Blocking blocking =
        choose_blocking(ops_of<T>(isa()), from.x.rows(), from.y.rows(), from.x.d(), limits);
    KernelEvaluator<T> map(from, precision, control.workers());
    const Sweep<T> sweep = map.sweep(blocking, triangle, control);
    expect(sweep);
    Moments<T> fold(map, triangle, control.workers(), row_sums, col_sums);
    run(sweep, fold);
    return fold.squares;
}

template <class T>
void add_row_sums(const KernelFrame& from, bool triangle, const double* weights,
                  Precision precision, Control& control, double* sums) {
    const Blocking blocking = choose_blocking(ops_of<T>(isa()), from.x.rows(), from.y.rows(),
                                              from.x.d(), BlockingLimits{});
    KernelEvaluator<T> map(from, precision, control.workers());
    const Sweep<T> sweep = map.sweep(blocking, triangle, control);
    expect(sweep);
    RowSums<T> fold(map, triangle, weights, control.workers(), sums);
    run(sweep, fold);
}

void row_sums_of(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                 bool triangle, const double* weights, Precision precision, Control& control,
                 double* sums) {
    std::fill(sums, sums + x.rows(), 0.0);
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(x, y, group, argument, control);
        const auto add = from.narrow(precision) ? add_row_sums<float> : add_row_sums<double>;
        add(from, triangle, weights, precision, control, sums);
    });
}

double weighted_total(const std::vector<double>& sums, const double* weights) {
    Compensated total;
    for (size_t i = 0; i < sums.size(); ++i) total.add(weights ? weights[i] * sums[i] : sums[i]);
    return total.value();
}

}  // namespace

void kernel_row_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                     const double* weights, Precision precision, Control& control, double* sums) {
    row_sums_of(x, y, terms, false, weights, precision, control, sums);
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
    const KernelFrame from(x, y, terms, argument_of(terms.front().kernel), control);
    const auto of = from.narrow(precision) ? moments<float> : moments<double>;
    // in a triangle the sums by column complete those by row
    const double squares =
        of(from, itself, precision, control, row_sums, itself ? row_sums : col_sums);
    return itself ? 2.0 * squares : squares;
}

}  // namespace pairtile
