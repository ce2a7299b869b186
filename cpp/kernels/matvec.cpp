// Strip by strip: kernel values of the rows of a task, widened to float64, then the engine's second
// micro-product with that strip of V. A strip of V that many columns wide stays in L1.
#include "kernels/matvec.hpp"

#include <algorithm>

#include "kernels/driver.hpp"
#include "kernels/sums.hpp"

namespace pairtile {
namespace {

// V as right operands of products: [column panel][row][ops.cols].
class PackedColumns {
  public:
    PackedColumns(const double* v, int64_t rows, int64_t cols)
        : width_(ops_of<double>(isa()).cols), rows_(rows) {
        const int64_t panels = (cols + width_ - 1) / width_;
        data_.reserve(panels * rows * width_);
        for (int64_t p = 0; p < panels; ++p) {
            const int64_t here = std::min(width_, cols - p * width_);
            for (int64_t i = 0; i < rows; ++i) {
                double* to = data_.data() + (p * rows + i) * width_;
                std::copy_n(v + i * cols + p * width_, here, to);
                std::fill(to + here, to + width_, 0.0);
            }
        }
    }
    const double* panel(int64_t row, int64_t col) const {
        return data_.data() + (col / width_ * rows_ + row) * width_;
    }

  private:
    int64_t width_, rows_;
    Buffer<double> data_;
};

// One state of c numbers per row and segment.
template <class T>
class Matvec {
  public:
    Matvec(KernelEvaluator<T>& map, const PackedColumns& right, int64_t c, const Blocking& blocking,
           int workers, double* out)
        : map_(map), right_(right), c_(c), ld_(blocking.strip), out_(out) {
        blocks_.resize(static_cast<size_t>(workers));
        for (Buffer<double>& block : blocks_) block.reserve(blocking.row_block * ld_);
    }

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        segments_ = segments;
        row_count_ = rows.count;
        partial_.assign(static_cast<size_t>(rows.count * segments * c_), 0.0);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        const T* values = map_.values(tile, rows, task.worker);
        double* block = blocks_[static_cast<size_t>(task.worker)].data();
        const int64_t at = tile.local_row - task.first_row;
        for (int i = 0; i < tile.rows; ++i) {
            std::copy_n(values + i * ld_, tile.cols, block + (at + i) * ld_);
        }
    }

    void strip(const Task& task, const Panels<T>&, const Panels<T>& cols, int64_t col,
               int64_t width) {
        const Ops<double>& ops = ops_of<double>(isa());
        const double* block = blocks_[static_cast<size_t>(task.worker)].data();
        double* state = partial_.data() + (task.segment * row_count_ + task.first_row) * c_;
        for (int64_t f = 0; f < c_; f += ops.cols) {
            const int here = static_cast<int>(std::min<int64_t>(ops.cols, c_ - f));
            const double* right = right_.panel(cols.first + col, f);
            for (int64_t i = 0; i < task.rows; i += ops.rows) {
                ops.product(static_cast<int>(std::min<int64_t>(ops.rows, task.rows - i)), here,
                            width, block + i * ld_, ld_, 1, right, state + i * c_ + f, c_);
            }
        }
    }

    void end_rows(const Panels<T>& rows) {
        double* to = out_ + rows.first * c_;
        const int64_t numbers = rows.count * c_;
        for (int64_t s = 0; s < segments_; ++s) {
            const double* from = partial_.data() + s * numbers;
            for (int64_t i = 0; i < numbers; ++i) to[i] += map_.factor() * from[i];
        }
    }

  private:
    KernelEvaluator<T>& map_;
    const PackedColumns& right_;
    int64_t c_, ld_, segments_ = 1, row_count_ = 0;
    double* out_;
    std::vector<Buffer<double>> blocks_;  // values of the rows of a task, one strip wide
    std::vector<double> partial_;
};

}  // namespace

void kernel_matvec(const Source& x, const Source& y, const double* v, int64_t c,
                   const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                   double* out) {
    if (c == 1) {
        return kernel_row_sums(x, y, terms, v, precision, control, out);
    }
    std::fill_n(out, x.rows() * c, 0.0);
    const PackedColumns right(v, y.rows(), c);
    KernelRequest request{x, y, terms, precision, control};
    request.limits.state_bytes_per_row = c * static_cast<int64_t>(sizeof(double));
    request.limits.states_bytes = int64_t{64} << 20;
    for_each_kernel_group(request, [&]<class T>(KernelEvaluator<T>& map, const Blocking& blocking) {
        return Matvec<T>(map, right, c, blocking, control.workers(), out);
    });
}

}  // namespace pairtile
