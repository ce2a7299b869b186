// Strip by strip: kernel values of the rows of a task, widened to float64, then the engine's second
// micro-product with that strip of V. A strip of V that many columns wide stays in L1.
#include "kernels/matvec.hpp"

#include <algorithm>
#include <optional>

#include "engine/row_states.hpp"
#include "kernels/driver.hpp"
#include "kernels/sums.hpp"

namespace pairtile {
namespace {

// V as right operands of products: [column panel][row][ops.cols].
class PackedColumns {
  public:
    // `order`: the row at each place, null where they are as they are.
    PackedColumns(const double* v, int64_t rows, int64_t cols, const int64_t* order = nullptr)
        : width_(ops_of<double>(isa()).cols), rows_(rows) {
        const int64_t panels = (cols + width_ - 1) / width_;
        data_.reserve(panels * rows * width_);
        for (int64_t p = 0; p < panels; ++p) {
            const int64_t here = std::min(width_, cols - p * width_);
            for (int64_t i = 0; i < rows; ++i) {
                double* to = data_.data() + (p * rows + i) * width_;
                std::copy_n(v + (order ? order[i] : i) * cols + p * width_, here, to);
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
class Matvec : public NearRows<T> {
  public:
    Matvec(KernelEvaluator<T>& map, const double* v, const PackedColumns& right, int64_t c,
           const Blocking& blocking, int workers, double* out)
        : NearRows<T>(map),
          map_(map),
          v_(v),
          right_(&right),
          c_(c),
          ld_(blocking.strip),
          out_(out),
          blocks_(static_cast<size_t>(workers)) {
        for (Buffer<double>& block : blocks_) block.reserve(blocking.row_block * ld_);
    }

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        partial_.begin(rows.count, segments, c_);
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>&) {
        const T* values = map_.values(tile, rows, task.worker);
        double* block = blocks_[static_cast<size_t>(task.worker)].data();
        const int64_t at = order_ ? 0 : tile.local_row - task.first_row;
        for (int i = 0; i < tile.rows; ++i) {
            std::copy_n(values + i * tile.ld, tile.cols, block + (at + i) * ld_);
        }
        if (order_) add(block, tile.rows, tile.col, tile.cols, partial_.at(tile.row, 0));
    }

    void strip(const Task& task, const Panels<T>&, const Panels<T>& cols, int64_t col,
               int64_t width) {
        add(blocks_[static_cast<size_t>(task.worker)].data(), task.rows, cols.first + col, width,
            partial_.at(task.first_row, task.segment));
    }

    void end_rows(const Panels<T>& rows) {
        for (int64_t i = 0; i < rows.count; ++i) {
            partial_.add_to(out_ + (rows.first + i) * c_, i, map_.factor());
        }
    }

    // Where tiles are left out, each is multiplied at once.
    void take_places(const Skipping& skipping) {
        const Order &rows = *skipping.row_order, &cols = *skipping.col_order;
        order_ = rows.rows();
        placed_.emplace(v_, cols.count(), c_, cols.rows());
        right_ = &*placed_;
        ld_ = cols.leaf();
        for (Buffer<double>& block : blocks_) block.reserve(ops_of<T>(isa()).rows * ld_);
        partial_.begin(rows.count(), 1, c_);
    }
    void finish() {
        if (!order_) return;
        for (int64_t i = 0; i < partial_.rows(); ++i) {
            partial_.add_to(out_ + order_[i] * c_, i, map_.factor());
        }
    }

  private:
    // Values of some rows and columns times those of V, added to the rows' states.
    void add(const double* values, int64_t rows, int64_t col, int64_t width, double* states) {
        const Ops<double>& ops = ops_of<double>(isa());
        for (int64_t f = 0; f < c_; f += ops.cols) {
            const int here = static_cast<int>(std::min<int64_t>(ops.cols, c_ - f));
            const double* right = right_->panel(col, f);
            for (int64_t i = 0; i < rows; i += ops.rows) {
                ops.product(static_cast<int>(std::min<int64_t>(ops.rows, rows - i)), here, width,
                            values + i * ld_, ld_, 1, right, states + i * c_ + f, c_);
            }
        }
    }

    KernelEvaluator<T>& map_;
    const double* v_;
    const PackedColumns* right_;
    std::optional<PackedColumns> placed_;  // V in places
    int64_t c_, ld_;
    double* out_;
    std::vector<Buffer<double>> blocks_;  // values of the rows of a task, one strip wide
    RowVectors partial_;
    const int64_t* order_ = nullptr;  // the row at each place, where tiles are left out
};

}  // namespace

void kernel_matvec(const Source& x, const Source& y, const double* v, int64_t c,
                   const std::vector<KernelTerm>& terms, Precision precision, Control& control,
                   double* out) {
    if (c == 1) {
        kernel_row_sums(x, y, terms, v, precision, control, out);
        return;
    }
    std::fill_n(out, x.rows() * c, 0.0);
    const PackedColumns right(v, y.rows(), c);
    KernelRequest request{x, y, terms, precision, control};
    request.limits.state_bytes_per_row = c * static_cast<int64_t>(sizeof(double));
    request.limits.states_bytes = int64_t{64} << 20;
    for_each_kernel_group(request, [&]<class T>(KernelEvaluator<T>& map, const Blocking& blocking) {
        return Matvec<T>(map, v, right, c, blocking, control.workers(), out);
    });
}

}  // namespace pairtile
