// Subsets lie one after another in a source of their rows, so the pairs wanted are the blocks along
// a diagonal.
#include "kernels/subset_sums.hpp"

#include <algorithm>

#include "kernels/driver.hpp"

namespace pairtile {
namespace {

// The pairs within a subset that count.
enum class Region { all, above_diagonal, off_diagonal };

// One state per subset, which belongs to one task.
template <class T>
class SubsetSums {
  public:
    // Adds to every third number from `out` on.
    SubsetSums(KernelEvaluator<T>& map, int64_t size, Region region, double* out)
        : map_(map),
          size_(size),
          region_(region),
          out_(out),
          sums_(static_cast<size_t>(map.from().x.rows() / size)) {}

    void tile(const Tile<T>& tile, const Panels<T>& rows, int worker) {
        const T* values = map_.values(tile, rows, worker);
        for (int64_t r = 0; r < tile.rows; ++r) {
            const int64_t i = tile.row + r, subset = i / size_;
            const auto add = [&](int64_t from, int64_t to) {
                from = std::max(from, tile.col), to = std::min(to, tile.col + tile.cols);
                if (from >= to) return;
                ops_of<T>(isa()).row_sums(values + r * tile.ld + (from - tile.col), tile.ld, 1,
                                          static_cast<int>(to - from), nullptr,
                                          &sums_[static_cast<size_t>(subset)]);
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

    void finish() {
        const double factor = region_ == Region::above_diagonal ? 2.0 : 1.0;
        for (size_t s = 0; s < sums_.size(); ++s) {
            out_[sums_of_subset * s] += factor * map_.factor() * sums_[s];
        }
    }

  private:
    KernelEvaluator<T>& map_;
    int64_t size_;
    Region region_;
    double* out_;
    std::vector<double> sums_;
};

}  // namespace

void kernel_subset_sums(Source x, Source y, const int64_t* x_rows, const int64_t* y_rows,
                        int64_t subsets, int64_t size, bool paired,
                        const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                        double* sums) {
    x.take(x_rows, subsets * size);
    y.take(y_rows, subsets * size);
    std::fill(sums, sums + sums_of_subset * subsets, 0.0);
    const auto add = [&](const Source& a, const Source& b, Region region, double* to) {
        const KernelRequest request{.x = a,
                                    .y = b,
                                    .terms = terms,
                                    .precision = precision,
                                    .control = control,
                                    .triangle = region == Region::above_diagonal,
                                    .group = size};
        for_each_kernel_group(request, [&]<class T>(KernelEvaluator<T>& map, const Blocking&) {
            return SubsetSums<T>(map, size, region, to);
        });
    };
    add(x, x, Region::above_diagonal, sums);
    add(y, y, Region::above_diagonal, sums + 1);
    add(x, y, paired ? Region::off_diagonal : Region::all, sums + 2);
}

}  // namespace pairtile
