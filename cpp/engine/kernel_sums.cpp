#include "engine/kernel_sums.hpp"

#include <algorithm>

namespace pairtile {
namespace {

// Row sums of kernel values: one state per row and segment.
template <class T>
class RowSums {
  public:
    RowSums(KernelMap<T>& map, bool triangle, const double* weights, int workers, double* sums)
        : map_(map),
          triangle_(triangle),
          weights_(weights),
          sums_(sums),
          memory_(static_cast<size_t>(workers)) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        segments_ = segments;
        partial_.assign(static_cast<size_t>(rows.count * segments), 0.0);
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
            partial_[static_cast<size_t>((tile.local_row + i) * segments_ + task.segment)] +=
                sums[i];
        }
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            double total = 0.0;
            for (int64_t s = 0; s < segments_; ++s) {
                total += partial_[static_cast<size_t>(i * segments_ + s)];
            }
            sums_[rows.first + i] += map_.factor() * total;
        }
    }

  private:
    KernelMap<T>& map_;
    bool triangle_;
    const double* weights_;
    double* sums_;
    int64_t segments_ = 1;
    std::vector<double> partial_;
    std::vector<Buffer<T>> memory_;
};

template <class T>
void add_row_sums(const KernelFrame& from, bool triangle, const double* weights,
                  Precision precision, int workers, Control& control, double* sums) {
    const Cut cut =
        choose_cut(ops_of<T>(isa()), from.x.rows(), from.y.rows(), from.x.d(), CutLimits{});
    KernelMap<T> map(from, precision, workers);
    const Sweep<T> sweep = map.sweep(cut, triangle, workers, control);
    expect(sweep);
    RowSums<T> fold(map, triangle, weights, workers, sums);
    run(sweep, fold);
}

void row_sums_of(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                 bool triangle, const double* weights, Precision precision, int workers,
                 Control& control, double* sums) {
    std::fill(sums, sums + x.rows(), 0.0);
    const bool asked = precision == Precision::float64 || x.holds_float64() || y.holds_float64();
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(x, y, group, argument, workers, control);
        const bool wide = asked || (precision != Precision::fast && !from.fits_float32());
        const auto add = wide ? add_row_sums<double> : add_row_sums<float>;
        add(from, triangle, weights, precision, workers, control, sums);
    });
}

double weighted_total(const std::vector<double>& sums, const double* weights) {
    Compensated total;
    for (size_t i = 0; i < sums.size(); ++i) total.add(weights ? weights[i] * sums[i] : sums[i]);
    return total.value();
}

}  // namespace

void kernel_row_sums(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                     const double* weights, Precision precision, int workers, Control& control,
                     double* sums) {
    row_sums_of(x, y, terms, false, weights, precision, workers, control, sums);
}

double kernel_total(const Source& x, const Source& y, const std::vector<KernelTerm>& terms,
                    const double* x_weights, const double* y_weights, Precision precision,
                    int workers, Control& control) {
    std::vector<double> sums(static_cast<size_t>(x.rows()));
    row_sums_of(x, y, terms, false, y_weights, precision, workers, control, sums.data());
    return weighted_total(sums, x_weights);
}

double kernel_self_total(const Source& x, const std::vector<KernelTerm>& terms,
                         const double* weights, Precision precision, int workers,
                         Control& control) {
    std::vector<double> sums(static_cast<size_t>(x.rows()));
    row_sums_of(x, x, terms, true, weights, precision, workers, control, sums.data());
    return 2.0 * weighted_total(sums, weights);
}
}  // namespace pairtile
