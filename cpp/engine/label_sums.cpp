#include "engine/label_sums.hpp"

#include <algorithm>
#include <cstring>

#include "engine/kernel_map.hpp"

namespace pairtile {
namespace {

// A byte of eight labels as eight numbers.
struct LabelTable {
    double value[256][8];
    LabelTable() {
        for (int byte = 0; byte < 256; ++byte) {
            for (int bit = 0; bit < 8; ++bit) value[byte][bit] = (byte >> bit) & 1;
        }
    }
};

// All labellings of a permutation test: P = K·V, strip by strip, reduced at once to
// Σ_i V_ib P_ib and Σ_i P_ib, so that neither K nor K·V exists.
class LabelSums {
  public:
    LabelSums(KernelMap<double>& map, const uint8_t* labels, int64_t n_labels, int64_t row_block,
              int64_t strip, int workers)
        : map_(map),
          labels_(labels),
          n_labels_(n_labels),
          bytes_((n_labels + 7) / 8),
          strip_(strip),
          work_(static_cast<size_t>(workers)) {
        const Ops<double>& ops = ops_of<double>(isa());
        for (Work& work : work_) {
            work.kernel.reserve((row_block + ops.rows) * strip);
            work.row_sums.resize(static_cast<size_t>(row_block + ops.rows));
            work.col_labels.reserve(strip * ops.cols);
            work.row_labels.reserve((row_block + ops.rows) * ops.cols);
        }
        within.assign(static_cast<size_t>(n_labels), 0.0);
        row.assign(static_cast<size_t>(n_labels), 0.0);
    }

    void begin_rows(const Panels<double>& rows, int64_t segments) {
        segments_ = segments;
        map_.begin_rows(rows);
    }

    void begin_cols(const Panels<double>& cols, int64_t row_blocks) {
        map_.begin_cols(cols);
        states_.assign(static_cast<size_t>(row_blocks * segments_ * (2 * padded() + 1)), 0.0);
    }

    void tile(const Tile<double>& tile, const Task& task, const Panels<double>& rows,
              const Panels<double>&) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        const Ops<double>& ops = ops_of<double>(isa());
        const int64_t at = tile.local_row - task.first_row;
        double* out = work.kernel.data() + at * strip_;
        map_(tile, rows, task.worker, out, strip_);
        if (tile.col <= tile.row + tile.rows) clear_lower(tile, out, strip_);
        double sums[64] = {};
        ops.row_sums(out, strip_, tile.rows, tile.cols, nullptr, sums);
        for (int i = 0; i < ops.rows; ++i) {
            work.row_sums[static_cast<size_t>(at + i)] = i < tile.rows ? sums[i] : 0.0;
            if (i >= tile.rows) std::fill_n(out + i * strip_, tile.cols, 0.0);
        }
        work.rows = at + ops.rows;
    }

    void strip(const Task& task, const Panels<double>& rows, const Panels<double>& cols,
               int64_t col, int64_t width) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        const Ops<double>& ops = ops_of<double>(isa());
        double* state =
            states_.data() + (task.row_block * segments_ + task.segment) * (2 * padded() + 1);
        double* state_within = state + 1;
        double* state_row = state_within + padded();
        for (int64_t i = 0; i < work.rows; ++i) state[0] += work.row_sums[static_cast<size_t>(i)];
        const int64_t valid = std::min(work.rows, task.rows);
        double product[64 * 64];
        for (int64_t b = 0; b < n_labels_; b += ops.cols) {
            spread(cols.first + col, width, b, ops.cols, work.col_labels.data());
            spread(rows.first + task.first_row, valid, b, ops.cols, work.row_labels.data());
            for (int64_t i = 0; i < work.rows; i += ops.rows) {
                std::fill_n(product, ops.rows * ops.cols, 0.0);
                ops.product(ops.rows, ops.cols, width, work.kernel.data() + i * strip_, strip_, 1,
                            work.col_labels.data(), product, ops.cols);
                const int64_t here = std::min<int64_t>(ops.rows, valid - i);
                for (int64_t r = 0; r < here; ++r) {
                    const double* mine = work.row_labels.data() + (i + r) * ops.cols;
                    const double sum = work.row_sums[static_cast<size_t>(i + r)];
                    const double* p = product + r * ops.cols;
                    for (int64_t c = 0; c < ops.cols; ++c) {
                        state_within[b + c] += mine[c] * p[c];
                        state_row[b + c] += p[c] + mine[c] * sum;
                    }
                }
            }
        }
    }

    void end_cols(const Panels<double>&, int64_t row_blocks) {
        for (int64_t s = 0; s < row_blocks * segments_; ++s) {
            const double* state = states_.data() + s * (2 * padded() + 1);
            total += map_.factor() * state[0];
            for (int64_t b = 0; b < n_labels_; ++b) {
                within[static_cast<size_t>(b)] += map_.factor() * state[1 + b];
                row[static_cast<size_t>(b)] += map_.factor() * state[1 + padded() + b];
            }
        }
    }

    void end_rows(const Panels<double>&) {}

    std::vector<double> within, row;
    double total = 0.0;

  private:
    struct Work {
        Buffer<double> kernel;  // one strip of kernel values for the rows of a task
        std::vector<double> row_sums;
        Buffer<double> col_labels, row_labels;
        int64_t rows = 0;
    };

    int64_t padded() const { return (n_labels_ + 63) / 64 * 64; }

    // Labels [b, b + width) of rows [first, first + count) as numbers, `width` apart.
    void spread(int64_t first, int64_t count, int64_t b, int width, double* out) const {
        static const LabelTable table;
        for (int64_t i = 0; i < count; ++i) {
            const uint8_t* bits = labels_ + (first + i) * bytes_;
            for (int c = 0; c < width; ++c) {
                const int64_t label = b + c;
                if (label % 8 == 0 && c + 8 <= width && label / 8 < bytes_) {
                    std::memcpy(out + i * width + c, table.value[bits[label / 8]],
                                8 * sizeof(double));
                    c += 7;
                } else {
                    out[i * width + c] =
                        label < n_labels_ ? table.value[bits[label / 8]][label % 8] : 0.0;
                }
            }
        }
    }

    KernelMap<double>& map_;
    const uint8_t* labels_;
    int64_t n_labels_, bytes_, strip_, segments_ = 1;
    std::vector<Work> work_;
    std::vector<double> states_;
};

}  // namespace

double add_label_sums(KernelMap<double>& map, const uint8_t* labels, int64_t n_labels, int workers,
                      Control& control, double* within, double* row) {
    const Source& pooled = map.from().x;
    const Cut cut =
        choose_cut(ops_of<double>(isa()), pooled.rows(), pooled.rows(), pooled.d(), CutLimits{});
    const Sweep<double> sweep = map.sweep(cut, true, workers, control);
    expect(sweep);
    LabelSums fold(map, labels, n_labels, cut.row_block, cut.strip, workers);
    run(sweep, fold);
    for (int64_t b = 0; b < n_labels; ++b) {
        within[b] += 2.0 * fold.within[static_cast<size_t>(b)];
        row[b] += fold.row[static_cast<size_t>(b)];
    }
    return 2.0 * fold.total;
}

double kernel_label_sums(const Source& pooled, const uint8_t* labels, int64_t n_labels,
                         const std::vector<KernelTerm>& terms, int workers, Control& control,
                         double* within, double* row) {
    std::fill(within, within + n_labels, 0.0);
    std::fill(row, row + n_labels, 0.0);
    double total = 0.0;
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(pooled, pooled, group, argument, workers, control);
        KernelMap<double> map(from, Precision::float64, workers);
        total += add_label_sums(map, labels, n_labels, workers, control, within, row);
    });
    return total;
}

}  // namespace pairtile
