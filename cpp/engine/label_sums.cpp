#include "engine/label_sums.hpp"

#include <algorithm>

namespace pairtile {
namespace {

// Terms [first, last) of a frame are the part of kernel `index` that reads its argument.
struct Part {
    size_t index, first, last;
};

// Σ_i V_ib (K·V)_ib of all labellings, strip by strip, so that neither K nor K·V exists. The tiles
// hold the arguments; every kernel is evaluated on them in turn.
class LabelSums {
  public:
    LabelSums(KernelMap<double>& map, const std::vector<Part>& parts, const Labels& labels,
              bool paired, const Cut& cut, int workers)
        : map_(map),
          parts_(parts),
          labels_(labels),
          pair_(paired ? 2 : 1),
          strip_(cut.strip),
          block_(cut.row_block),
          work_(static_cast<size_t>(workers)) {
        const auto labelled = static_cast<size_t>(labels.count);
        for (Work& work : work_) {
            work.arguments.reserve(block_ * strip_);
            work.kernel.reserve(block_ * strip_);
            work.col_sums.resize(parts.size() * static_cast<size_t>(strip_));
            work.row_sums.resize(parts.size() * static_cast<size_t>(block_));
            work.col_words.resize(static_cast<size_t>(words(strip_)) * labelled);
            work.row_words.resize(static_cast<size_t>(words(block_)) * labelled);
            work.tables.reserve(label_table_entries);
            work.sums.reserve(labels.count * label_rows);
        }
    }

    void begin_rows(const Panels<double>& rows, int64_t segments) {
        segments_ = segments;
        map_.begin_rows(rows);
    }

    void begin_cols(const Panels<double>& cols, int64_t row_blocks) {
        map_.begin_cols(cols);
        states_.assign(static_cast<size_t>(row_blocks * segments_) * parts_.size() * state_size(),
                       0.0);
    }

    void tile(const Tile<double>& tile, const Task& task, const Panels<double>& rows,
              const Panels<double>&) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        map_.complete(tile, rows, task.worker);
        const int64_t at = tile.local_row - task.first_row;
        for (int i = 0; i < tile.rows; ++i) {
            std::copy_n(tile.data + i * tile.ld, tile.cols,
                        work.arguments.data() + (at + i) * strip_);
        }
        work.rows = at + tile.rows;
    }

    void strip(const Task& task, const Panels<double>& rows, const Panels<double>& cols,
               int64_t col, int64_t width) {
        Work& work = work_[static_cast<size_t>(task.worker)];
        const int64_t first_row = rows.first + task.first_row, first_col = cols.first + col;
        const int64_t height = work.rows / pair_, labelled_width = width / pair_;
        take_labels(first_row / pair_, height, work.row_words);
        take_labels(first_col / pair_, labelled_width, work.col_words);
        double* state = states_.data() + (task.row_block * segments_ + task.segment) *
                                             static_cast<int64_t>(parts_.size() * state_size());
        for (size_t p = 0; p < parts_.size(); ++p) {
            map_.evaluate(parts_[p].first, parts_[p].last, work.arguments.data(), strip_,
                          static_cast<int>(work.rows), static_cast<int>(width), work.kernel.data(),
                          strip_);
            if (pair_ == 2) join_pairs(work.kernel.data(), height, labelled_width);
            clear_lower(work.kernel.data(), first_row / pair_, height, first_col / pair_,
                        labelled_width);
            double* own = state + p * state_size();
            add_totals(work, p, height, labelled_width, own);
            add_within(work, first_row / pair_ - first_col / pair_, height, labelled_width,
                       own + 1);
        }
        add_rows(work.col_sums, strip_, labelled_width, work.col_words, work, state);
        add_rows(work.row_sums, block_, height, work.row_words, work, state);
    }

    void end_cols(const Panels<double>&, int64_t row_blocks) {
        for (int64_t s = 0; s < row_blocks * segments_; ++s) {
            for (size_t p = 0; p < parts_.size(); ++p) {
                const size_t at = (static_cast<size_t>(s) * parts_.size() + p) * state_size();
                for (size_t k = 0; k < state_size(); ++k) {
                    total_[p * state_size() + k] += states_[at + k];
                }
            }
        }
    }

    void end_rows(const Panels<double>&) {}

    // Adds the sums over i < j of this argument's parts to those over i ≠ j.
    void add_to(const LabelTotals& out) const {
        const double factor = map_.factor();
        for (size_t p = 0; p < parts_.size(); ++p) {
            const size_t q = parts_[p].index, n = static_cast<size_t>(labels_.count);
            const double* from = total_.data() + p * state_size();
            out.total[q] += 2.0 * factor * from[0];
            for (size_t b = 0; b < n; ++b) {
                out.within[q * n + b] += 2.0 * factor * from[1 + b];
                out.row[q * n + b] += factor * from[1 + n + b];
            }
        }
    }

  private:
    struct Work {
        Buffer<double> arguments, kernel;        // one strip for the rows of a task
        std::vector<double> col_sums, row_sums;  // of every kernel on it
        std::vector<uint64_t> col_words, row_words;
        Buffer<double> tables, sums;  // sums of every labelling, label_rows each
        int64_t rows = 0;
    };

    static int64_t words(int64_t rows) { return (rows + label_columns - 1) / label_columns; }

    // Σ k, then Σ V_i V_j k and Σ V_i k of each labelling.
    size_t state_size() const { return 1 + 2 * static_cast<size_t>(labels_.count); }

    void take_labels(int64_t first, int64_t count, std::vector<uint64_t>& out) const {
        for (int64_t w = 0; w < words(count); ++w) {
            for (int64_t b = 0; b < labels_.count; ++b) {
                out[static_cast<size_t>(w * labels_.count + b)] =
                    labels_.from(first + w * label_columns, b);
            }
        }
    }

    // Kernel values of interleaved rows -> h of the pairs, in place.
    void join_pairs(double* kernel, int64_t height, int64_t width) const {
        for (int64_t i = 0; i < height; ++i) {
            const double* x = kernel + 2 * i * strip_;
            const double* y = x + strip_;
            double* h = kernel + i * strip_;
            for (int64_t j = 0; j < width; ++j) {
                h[j] = (x[2 * j] + y[2 * j + 1]) - (x[2 * j + 1] + y[2 * j]);
            }
        }
    }

    // Pairs on or below the diagonal count nothing.
    void clear_lower(double* kernel, int64_t row, int64_t height, int64_t col,
                     int64_t width) const {
        for (int64_t i = 0; i < height; ++i) {
            const int64_t end = std::clamp<int64_t>(row + i + 1 - col, 0, width);
            std::fill_n(kernel + i * strip_, end, 0.0);
        }
    }

    void add_totals(Work& work, size_t p, int64_t height, int64_t width, double* state) const {
        double* rows = work.row_sums.data() + p * static_cast<size_t>(block_);
        double* cols = work.col_sums.data() + p * static_cast<size_t>(strip_);
        std::fill_n(rows, height, 0.0);
        std::fill_n(cols, width, 0.0);
        const double* kernel = work.kernel.data();
        const Ops<double>& ops = ops_of<double>(isa());
        ops.row_sums(kernel, strip_, static_cast<int>(height), static_cast<int>(width), nullptr,
                     rows);
        ops.col_sums(kernel, strip_, static_cast<int>(height), static_cast<int>(width), nullptr,
                     cols);
        for (int64_t i = 0; i < height; ++i) state[0] += rows[i];
    }

    // `diagonal` is the first row's place among the columns: none before it counts.
    void add_within(Work& work, int64_t diagonal, int64_t height, int64_t width,
                    double* within) const {
        const Ops<double>& ops = ops_of<double>(isa());
        std::fill_n(work.sums.data(), labels_.count * label_rows, 0.0);
        for (int64_t i = 0; i < height; i += label_rows) {
            const int64_t skipped = std::clamp<int64_t>(diagonal + i + 1, 0, width) / label_columns;
            const int64_t first = skipped * label_columns;
            ops.label_sums(work.kernel.data() + i * strip_ + first, strip_,
                           static_cast<int>(std::min<int64_t>(label_rows, height - i)),
                           width - first, work.col_words.data() + skipped * labels_.count,
                           work.row_words.data() + i / label_columns * labels_.count,
                           static_cast<int>(i % label_columns), labels_.count, work.tables.data(),
                           work.sums.data());
        }
        for (int64_t b = 0; b < labels_.count; ++b) {
            const double* sums = work.sums.data() + b * label_rows;
            within[b] += ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
                         ((sums[1] + sums[5]) + (sums[3] + sums[7]));
        }
    }

    // Σ V_i k from the row or the column sums, `ld` apart, of every kernel.
    void add_rows(const std::vector<double>& of_kernels, int64_t ld, int64_t count,
                  const std::vector<uint64_t>& words, Work& work, double* state) const {
        const Ops<double>& ops = ops_of<double>(isa());
        const auto n = static_cast<size_t>(labels_.count);
        for (size_t p = 0; p < parts_.size(); p += label_rows) {
            const size_t several = std::min<size_t>(label_rows, parts_.size() - p);
            std::fill_n(work.sums.data(), labels_.count * label_rows, 0.0);
            ops.label_sums(of_kernels.data() + p * static_cast<size_t>(ld), ld,
                           static_cast<int>(several), count, words.data(), nullptr, 0,
                           labels_.count, work.tables.data(), work.sums.data());
            for (size_t k = 0; k < several; ++k) {
                double* row = state + (p + k) * state_size() + 1 + n;
                const double* sums = work.sums.data() + k;
                for (size_t b = 0; b < n; ++b) row[b] += sums[b * label_rows];
            }
        }
    }

    KernelMap<double>& map_;
    const std::vector<Part>& parts_;
    const Labels& labels_;
    int64_t pair_;  // rows that share a label
    int64_t strip_, block_, segments_ = 1;
    std::vector<Work> work_;
    std::vector<double> states_;
    std::vector<double> total_ = std::vector<double>(parts_.size() * state_size(), 0.0);
};

void add_sums(KernelMap<double>& map, const std::vector<Part>& parts, const Labels& labels,
              int workers, Control& control, const LabelTotals& out) {
    const Source& pooled = map.from().x;
    const Ops<double>& ops = ops_of<double>(isa());
    CutLimits limits;
    limits.block_rows = label_rows * ops.rows;  // whole blocks of labelled rows, or of pairs
    const Cut cut = choose_cut(ops, pooled.rows(), pooled.rows(), pooled.d(), limits);
    const Sweep<double> sweep = map.sweep(cut, true, workers, control);
    expect(sweep);
    LabelSums fold(map, parts, labels, pooled.interleaved(), cut, workers);
    run(sweep, fold);
    fold.add_to(out);
}

void clear(const LabelTotals& out, size_t kernels, const Labels& labels) {
    const size_t sums = kernels * static_cast<size_t>(labels.count);
    std::fill_n(out.within, sums, 0.0);
    std::fill_n(out.row, sums, 0.0);
    std::fill_n(out.total, kernels, 0.0);
}

}  // namespace

void label_sums(KernelMap<double>& map, const Labels& labels, int workers, Control& control,
                const LabelTotals& out) {
    clear(out, 1, labels);
    add_sums(map, {{0, 0, map.from().terms.size()}}, labels, workers, control, out);
}

void kernel_label_sums(const Source& pooled, const Labels& labels,
                       const std::vector<std::vector<KernelTerm>>& kernels, int workers,
                       Control& control, const LabelTotals& out) {
    clear(out, kernels.size(), labels);
    for (const Argument argument : arguments) {
        std::vector<KernelTerm> terms;
        std::vector<Part> parts;
        for (size_t q = 0; q < kernels.size(); ++q) {
            const size_t first = terms.size();
            for (const KernelTerm& term : kernels[q]) {
                if (argument_of(term.kernel) == argument) terms.push_back(term);
            }
            if (terms.size() > first) parts.push_back({q, first, terms.size()});
        }
        if (parts.empty()) continue;
        const KernelFrame from(pooled, pooled, terms, argument, workers, control);
        KernelMap<double> map(from, Precision::float64, workers);
        add_sums(map, parts, labels, workers, control, out);
    }
}

}  // namespace pairtile
