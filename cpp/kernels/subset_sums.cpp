// Subsets lie one after another in a source of their rows, so the pairs wanted are the blocks along
// a diagonal.
#include "kernels/subset_sums.hpp"

#include <algorithm>

#include "engine/diagonal.hpp"

namespace pairtile {
namespace {

// The pairs within a subset that count.
enum class Region { all, above_diagonal, off_diagonal };

// One state per subset, which belongs to one task.
template <class T>
class SubsetSums {
  public:
    SubsetSums(KernelEvaluator<T>& map, int64_t size, Region region, int workers)
        : sums(static_cast<size_t>(map.from().x.rows() / size)),
          map_(map),
          size_(size),
          region_(region),
          values_(static_cast<size_t>(workers)) {}

    void tile(const Tile<T>& tile, const Panels<T>& rows, int worker) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& values = values_[static_cast<size_t>(worker)];
        values.reserve(ops.rows * tile.ld);
        map_(tile, rows, worker, values.data(), tile.ld);
        for (int64_t r = 0; r < tile.rows; ++r) {
            const int64_t i = tile.row + r, subset = i / size_;
            const T* row = values.data() + r * tile.ld;
            const auto add = [&](int64_t from, int64_t to) {
                from = std::max(from, tile.col), to = std::min(to, tile.col + tile.cols);
                if (from >= to) return;
                ops.row_sums(row + (from - tile.col), tile.ld, 1, static_cast<int>(to - from),
                             nullptr, &sums[static_cast<size_t>(subset)]);
            };
            const int64_t begin = subset * size_, end = begin + size_;
            if (region_ == Region::all) {
                add(begin, end);
            } else {
                if (region_ == Region::off_diagonal) add(begin, i);
                add(i + 1, end);
            }
        }
    }

    std::vector<double> sums;

  private:
    KernelEvaluator<T>& map_;
    int64_t size_;
    Region region_;
    std::vector<Buffer<T>> values_;
};

// Adds the sums over a region to every third number from `sums` on.
template <class T>
void add_subset_sums(const KernelFrame& from, int64_t size, Region region, Precision precision,
                     Control& control, double* sums) {
    KernelEvaluator<T> map(from, precision, control.workers());
    const bool triangle = region == Region::above_diagonal;
    const Sweep<T> sweep = map.sweep(diagonal_blocking(ops_of<T>(isa()), size), triangle, control);
    expect_diagonal(sweep, size);
    SubsetSums<T> fold(map, size, region, control.workers());
    run_diagonal(sweep, size, fold);
    const double factor = triangle ? 2.0 : 1.0;
    for (size_t s = 0; s < fold.sums.size(); ++s) {
        sums[sums_of_subset * s] += factor * map.factor() * fold.sums[s];
    }
}

}  // namespace

void kernel_subset_sums(Source x, Source y, const int64_t* x_rows, const int64_t* y_rows,
                        int64_t subsets, int64_t size, bool paired,
                        const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                        double* sums) {
    x.take(x_rows, subsets * size);
    y.take(y_rows, subsets * size);
    std::fill(sums, sums + sums_of_subset * subsets, 0.0);
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const auto add = [&](const Source& a, const Source& b, Region region, double* to) {
            const KernelFrame from(a, b, group, argument, control);
            const auto of =
                from.narrow(precision) ? add_subset_sums<float> : add_subset_sums<double>;
            of(from, size, region, precision, control, to);
        };
        add(x, x, Region::above_diagonal, sums);
        add(y, y, Region::above_diagonal, sums + 1);
        add(x, y, paired ? Region::off_diagonal : Region::all, sums + 2);
    });
}

}  // namespace pairtile
