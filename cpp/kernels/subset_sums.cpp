// Subsets lie one after another in a source of their rows, so the pairs wanted are the blocks along
// a diagonal. A task packs whole subsets and computes no more than the tiles that touch a block.
#include "kernels/subset_sums.hpp"

#include <algorithm>

namespace pairtile {
namespace {

enum class Pairs { all, above_diagonal, off_diagonal };

template <class T>
class SubsetSums {
  public:
    SubsetSums(const KernelFrame& from, int64_t size, Pairs pairs, Precision precision,
               Control& control)
        : from_(from),
          size_(size),
          pairs_(pairs),
          control_(control),
          map_(from, precision, control.workers()),
          formula_(formula_for_argument<T>(from.argument, from.x.d())) {}

    // Adds factor · sum to every third number from `sums` on.
    void add(double factor, double* sums) {
        constexpr int64_t rows_at_least = 512;  // of a task
        const int64_t subsets = from_.x.rows() / size_;
        const int64_t share = std::max<int64_t>(1, rows_at_least / size_);
        std::vector<Workspace> workspace(static_cast<size_t>(control_.workers()));
        control_.expect(subsets * size_ * size_);
        parallel_for((subsets + share - 1) / share, control_, [&](int64_t task, int w) {
            const int64_t first = task * share, last = std::min(subsets, first + share);
            std::vector<double> found(static_cast<size_t>(last - first));
            run(first * size_, (last - first) * size_, w, workspace[static_cast<size_t>(w)], found);
            for (int64_t s = first; s < last; ++s) {
                sums[sums_of_subset * s] +=
                    factor * map_.factor() * found[static_cast<size_t>(s - first)];
            }
            control_.advance((last - first) * size_ * size_);
        });
    }

  private:
    struct Workspace {
        Panels<T> rows, cols;
        Buffer<T> bias, tile, values;
    };

    void run(int64_t first, int64_t count, int worker, Workspace& mine,
             std::vector<double>& found) {
        constexpr int64_t strip_cols = 256;
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t strip = (strip_cols + ops.cols - 1) / ops.cols * ops.cols;
        pack_rows(ops, from_.x, first, count, from_.frame, formula_,
                  {formula_.row_factor, ops.rows, false, false}, 1, control_, mine.rows);
        pack_rows(ops, from_.y, first, count, from_.frame, formula_, {1.0, ops.cols, false, false},
                  1, control_, mine.cols);
        detail::fill_bias(formula_, mine.cols, mine.bias);
        mine.tile.reserve(ops.rows * strip);
        mine.values.reserve(ops.rows * strip);
        for (int64_t col = 0; col < count; col += strip) {
            const int64_t col_end = std::min(count, col + strip);
            // the rows whose blocks meet these columns
            const int64_t from = col / size_ * size_ / ops.rows * ops.rows;
            const int64_t to = std::min(count, ((col_end - 1) / size_ + 1) * size_);
            for (int64_t row = from; row < to; row += ops.rows) {
                const int64_t row_end = std::min(count, row + ops.rows);
                const int64_t begin = std::max(col, row / size_ * size_ / ops.cols * ops.cols);
                const int64_t end = std::min(col_end, ((row_end - 1) / size_ + 1) * size_);
                if (begin >= end || (pairs_ == Pairs::above_diagonal && end <= row + 1)) continue;
                control_.tick(worker);
                tile(first, row, row_end, begin, end, worker, strip, mine, found);
            }
        }
    }

    void tile(int64_t first, int64_t row, int64_t row_end, int64_t col, int64_t col_end, int worker,
              int64_t ld, Workspace& mine, std::vector<double>& found) {
        const Ops<T>& ops = ops_of<T>(isa());
        const Panels<T>&rows = mine.rows, &cols = mine.cols;
        ops.core[static_cast<int>(formula_.core)](
            rows.panel_of(row), cols.panel_of(col), rows.d,
            static_cast<int>((col_end - col + ops.cols - 1) / ops.cols),
            detail::takes_bias(formula_.core) ? mine.bias.data() + col : nullptr, mine.tile.data(),
            ld);
        const Tile<T> tile{mine.tile.data(),
                           ld,
                           static_cast<int>(row_end - row),
                           static_cast<int>(col_end - col),
                           first + row,
                           first + col,
                           row,
                           col,
                           rows.largest_norm_bound(row, row_end),
                           cols.largest_norm_bound(col, col_end)};
        map_(tile, rows, worker, mine.values.data(), ld);
        for (int64_t i = row; i < row_end; ++i) {
            const int64_t subset = i / size_;
            const T* values = mine.values.data() + (i - row) * ld;
            double& sum = found[static_cast<size_t>(subset)];
            const auto add = [&](int64_t from, int64_t to) {
                from = std::max(from, col), to = std::min(to, col_end);
                if (from >= to) return;
                ops.row_sums(values + (from - col), ld, 1, static_cast<int>(to - from), nullptr,
                             &sum);
            };
            const int64_t begin = subset * size_, end = begin + size_;
            if (pairs_ == Pairs::all) {
                add(begin, end);
            } else {
                if (pairs_ == Pairs::off_diagonal) add(begin, i);
                add(i + 1, end);
            }
        }
    }

    const KernelFrame& from_;
    int64_t size_;
    Pairs pairs_;
    Control& control_;
    KernelEvaluator<T> map_;
    TileFormula formula_;
};

}  // namespace

void kernel_subset_sums(Source x, Source y, const int64_t* x_rows, const int64_t* y_rows,
                        int64_t subsets, int64_t size, bool paired,
                        const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                        double* sums) {
    x.take(x_rows, subsets * size);
    y.take(y_rows, subsets * size);
    std::fill(sums, sums + sums_of_subset * subsets, 0.0);
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const auto add = [&](const Source& a, const Source& b, Pairs pairs, double* to) {
            const KernelFrame from(a, b, group, argument, control);
            const double factor = pairs == Pairs::above_diagonal ? 2.0 : 1.0;
            if (from.narrow(precision)) {
                SubsetSums<float>(from, size, pairs, precision, control).add(factor, to);
            } else {
                SubsetSums<double>(from, size, pairs, precision, control).add(factor, to);
            }
        };
        add(x, x, Pairs::above_diagonal, sums);
        add(y, y, Pairs::above_diagonal, sums + 1);
        add(x, y, paired ? Pairs::off_diagonal : Pairs::all, sums + 2);
    });
}

}  // namespace pairtile
