// The sweep goes over x. The same places of y, in each of its orders, are computed beside it:
// panels packed for the same rows and columns, tiles taken when a strip of K is complete.
#include "kernels/joint_sums.hpp"

#include <algorithm>

#include "engine/margins.hpp"
#include "engine/row_states.hpp"
#include "kernels/second_kernel.hpp"

namespace pairtile {
namespace {

class JointFold {
  public:
    JointFold(KernelEvaluator<double>& x_map, SecondKernels& x_more, SecondKernels& y,
              double x_shift, double y_shift, int64_t n, int64_t orders, const Blocking& blocking,
              Control& control)
        : x_rows(static_cast<size_t>(n)),
          y_rows(static_cast<size_t>(n)),
          totals(static_cast<size_t>(2 + orders)),
          x_map_(x_map),
          x_more_(x_more),
          y_(y),
          x_shift_(x_shift),
          y_shift_(y_shift),
          orders_(orders),
          strip_(blocking.strip),
          control_(control),
          work_(static_cast<size_t>(control.workers())) {
        const int64_t rows = ops_of<double>(isa()).rows;
        for (Work& work : work_) {
            work.x.reserve((blocking.row_block + rows) * strip_);
            work.y.reserve(rows * strip_);
            work.part.reserve(rows * strip_);
        }
    }

    void begin_rows(const Panels<double>& rows, int64_t segments) {
        segments_ = segments;
        of_x_.begin_rows(rows.count, segments);
        of_y_.begin_rows(rows.count, segments);
        for (auto& c : x_more_) c->begin_rows(rows.first, rows.count);
        for (auto& c : y_) c->begin_rows(rows.first, rows.count);
    }

    void begin_cols(const Panels<double>& cols, int64_t row_blocks) {
        of_x_.begin_cols(cols.count, row_blocks);
        of_y_.begin_cols(cols.count, row_blocks);
        for (auto& c : x_more_) c->begin_cols(cols.first, cols.count);
        for (auto& c : y_) c->begin_cols(cols.first, cols.count);
        states_.begin(row_blocks, segments_, 2 + orders_);
    }

    void tile(const Tile<double>& tile, const Task& task, const Panels<double>& rows,
              const Panels<double>&) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        const int64_t at = tile.local_row - task.first_row;
        double* out = work.x.data() + at * strip_;
        fill(out, tile.rows, -x_shift_);
        x_map_(tile, rows, task.worker, work.part.data(), strip_);
        add(work.part.data(), tile.rows, tile.cols, x_map_.factor(), out);
        add_kernels(x_more_, 0, tile.local_row, tile.rows, tile.local_col, tile.cols, task, out);
        clear_lower(tile, out, strip_);
        of_x_.add(out, strip_, tile.local_row, tile.rows, tile.local_col, tile.cols, task);
        states_.at(task.row_block, task.segment)[0] += square(out, tile.rows, tile.cols);
        work.rows = at + tile.rows;
    }

    void strip(const Task& task, const Panels<double>& rows, const Panels<double>& cols,
               int64_t col, int64_t width) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        const Ops<double>& ops = ops_of<double>(isa());
        double* state = states_.at(task.row_block, task.segment);
        const int columns = static_cast<int>(width);
        for (int64_t order = 0; order < orders_; ++order) {
            control_.tick(task.worker);
            for (int64_t i = 0; i < work.rows; i += ops.rows) {
                const int height = static_cast<int>(std::min<int64_t>(ops.rows, work.rows - i));
                const int64_t row = task.first_row + i;
                double* out = work.y.data();
                fill(out, height, -y_shift_);
                add_kernels(y_, order, row, height, col, columns, task, out);
                if (order == 0) {
                    clear_lower(rows.first + row, height, cols.first + col, columns, out, strip_);
                    of_y_.add(out, strip_, row, height, col, columns, task);
                    state[1] += square(out, height, columns);
                }
                // K is 0 below the diagonal
                state[2 + order] +=
                    ops.block_dot(work.x.data() + i * strip_, strip_, out, strip_, height, columns);
            }
        }
    }

    void end_cols(const Panels<double>& cols, int64_t) {
        of_x_.end_cols(cols.first, 1.0);
        of_y_.end_cols(cols.first, 1.0);
        states_.add_to(totals.data(), 1.0);
    }

    void end_rows(const Panels<double>& rows) {
        of_x_.end_rows(rows.first, 1.0);
        of_y_.end_rows(rows.first, 1.0);
    }

    std::vector<double> x_rows, y_rows;
    std::vector<double> totals;  // squares of x, of y, and products in each order

  private:
    struct Work {
        Buffer<double> x;        // one strip of K for the rows of a task
        Buffer<double> y, part;  // tiles
        int64_t rows = 0;
    };

    void fill(double* out, int rows, double value) const { std::fill_n(out, rows * strip_, value); }
    void add(const double* part, int rows, int cols, double factor, double* out) const {
        ops_of<double>(isa()).add_scaled(part, strip_, rows, cols, factor, out, strip_);
    }
    void add_kernels(SecondKernels& kernels, int64_t order, int64_t row, int height, int64_t col,
                     int width, const Task& task, double* out) {
        double* part = work_[static_cast<size_t>(task.worker)].part.data();
        for (auto& c : kernels) {
            (*c)(order, row, height, col, width, task.worker, part, strip_);
            add(part, height, width, c->factor(), out);
        }
    }
    double square(const double* out, int rows, int cols) const {
        return ops_of<double>(isa()).block_dot(out, strip_, out, strip_, rows, cols);
    }

    Margins of_x_{x_rows.data(), x_rows.data()}, of_y_{y_rows.data(), y_rows.data()};
    KernelEvaluator<double>& x_map_;
    SecondKernels &x_more_, &y_;
    double x_shift_, y_shift_;
    int64_t orders_, strip_, segments_ = 1;
    Control& control_;
    std::vector<Work> work_;
    TaskVectors states_;
};

Blocking blocking_of(int64_t n, int64_t d) {
    // a strip of K for the rows of a task stays in L2, and all that is made of a tile in L1
    constexpr int64_t rows_at_a_time = 12288;
    BlockingLimits limits;
    limits.strip_cols = 64;
    limits.row_bytes =
        std::min(limits.row_bytes, rows_at_a_time * d * static_cast<int64_t>(sizeof(double)));
    limits.state_bytes_per_row = limits.state_bytes_per_col = 2 * sizeof(double);
    return choose_blocking(ops_of<double>(isa()), n, n, d, limits);
}

}  // namespace

JointSums joint_kernel_sums(const KernelSpace& x, const KernelSpace& y, Control& control) {
    const int64_t n = x.points.rows(), orders = y.points.rows() / n;
    const Blocking blocking = blocking_of(n, std::max(x.points.d(), y.points.d()));
    std::unique_ptr<KernelFrame> swept;
    SecondKernels x_more, beside;
    for_each_argument(x.terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        if (!swept) {
            swept = std::make_unique<KernelFrame>(x.points, x.points, group, argument, control);
        } else {
            x_more.push_back(
                std::make_unique<SecondKernel>(x.points, group, argument, 1, blocking, control));
        }
    });
    for_each_argument(y.terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        beside.push_back(
            std::make_unique<SecondKernel>(y.points, group, argument, orders, blocking, control));
    });
    KernelEvaluator<double> map(*swept, Precision::float64, control.workers());
    const Sweep<double> sweep = map.sweep(blocking, true, control);
    expect(sweep);
    JointFold fold(map, x_more, beside, x.shift, y.shift, n, orders, blocking, control);
    run(sweep, fold);
    for (double& total : fold.totals) total *= 2.0;
    return {{fold.totals.begin() + 2, fold.totals.end()},
            std::move(fold.x_rows),
            std::move(fold.y_rows),
            fold.totals[0],
            fold.totals[1]};
}

}  // namespace pairtile
