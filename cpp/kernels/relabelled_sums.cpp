#include "kernels/relabelled_sums.hpp"

#include <algorithm>
#include <cmath>

#include "engine/row_states.hpp"
#include "kernels/driver.hpp"

namespace pairtile {
namespace {

// Terms [first, last) of a frame are the part of kernel `index` that reads its argument. Its values
// count in whole rounding steps, unless that is 0.
struct Part {
    size_t index, first, last;
    double rounding_step;
};

constexpr int64_t group_rows = label_rows<int32_t>;  // whose kernel values exist at a time
constexpr double largest_int = 2147483647.0;

// Whole numbers next to the values, for those below 2⁵¹; the nearest that float64 has, beyond.
void round_values(double* values, int64_t ld, int64_t height, int64_t width, double factor) {
    constexpr double shift = 0x1.8p52;
    for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
            values[i * ld + j] = (values[i * ld + j] * factor + shift) - shift;
        }
    }
}

double largest_row_sum(const double* values, int64_t ld, int64_t height, int64_t width) {
    double largest = 0.0;
    for (int64_t i = 0; i < height; ++i) {
        double sum = 0.0;
        for (int64_t j = 0; j < width; ++j) sum += std::fabs(values[i * ld + j]);
        if (!(sum <= largest)) largest = sum;  // NaN stays
    }
    return largest;
}

// Σ_i V_ib (K·V)_ib of all labellings, strip by strip, so that neither K nor K·V exists. The tiles
// hold the arguments; every kernel is evaluated on them in turn.
class RelabelledSums {
  public:
    RelabelledSums(KernelEvaluator<double>& map, const std::vector<Part>& parts,
                   const Labels& labels, const Blocking& blocking, int workers,
                   const LabelTotals& out)
        : map_(map),
          parts_(parts),
          labels_(labels),
          out_(out),
          pair_(map.from().x.interleaved() ? 2 : 1),
          strip_(blocking.strip),
          block_(blocking.row_block),
          work_(static_cast<size_t>(workers)) {
        const auto labelled = static_cast<size_t>(labels.count);
        for (Work& work : work_) {
            work.arguments.reserve(block_ * strip_);
            work.kernel.reserve(pair_ * group_rows * strip_);
            work.col_sums.resize(parts.size() * static_cast<size_t>(strip_));
            work.row_sums.resize(parts.size() * static_cast<size_t>(block_));
            work.col_words.resize(static_cast<size_t>(words(strip_)) * labelled);
            work.row_words.resize(static_cast<size_t>(words(block_)) * labelled);
            work.totals.reserve(labels.count * label_lanes);
            work.doubles.reserve(labels.count);
            if (std::any_of(parts.begin(), parts.end(),
                            [](const Part& p) { return p.rounding_step > 0.0; })) {
                work.integers.reserve(labels.count);
            }
        }
    }

    void begin_rows(const Panels<double>&, int64_t segments) { segments_ = segments; }

    void begin_cols(const Panels<double>&, int64_t row_blocks) {
        states_.begin(row_blocks, segments_, static_cast<int64_t>(total_.size()));
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
        double* state = states_.at(task.row_block, task.segment);
        for (size_t p = 0; p < parts_.size(); ++p) {
            add_part(work, p, first_row / pair_, height, first_col / pair_, labelled_width,
                     state + p * state_size());
        }
        add_rows(work.col_sums, strip_, labelled_width, work.col_words, work, state);
        add_rows(work.row_sums, block_, height, work.row_words, work, state);
    }

    void end_cols(const Panels<double>&, int64_t) { states_.add_to(total_.data(), 1.0); }

    void end_rows(const Panels<double>&) {}

    // Adds the sums over i < j of this argument's parts to those over i ≠ j.
    void finish() const {
        for (size_t p = 0; p < parts_.size(); ++p) {
            const double factor =
                parts_[p].rounding_step > 0.0 ? parts_[p].rounding_step : map_.factor();
            const size_t q = parts_[p].index, n = static_cast<size_t>(labels_.count);
            const double* from = total_.data() + p * state_size();
            out_.total[q] += 2.0 * factor * from[0];
            for (size_t b = 0; b < n; ++b) {
                out_.within[q * n + b] += 2.0 * factor * from[1 + b];
                out_.row[q * n + b] += factor * from[1 + n + b];
            }
        }
    }

  private:
    // What label_sums needs beside its arguments.
    template <class T>
    struct Scratch {
        Buffer<T> tables, sums;

        void reserve(int64_t n_labels) {
            tables.reserve(label_table_entries<T>);
            sums.reserve(n_labels * label_rows<T>);
        }
    };

    struct Work {
        Buffer<double> arguments;                // one strip for the rows of a task
        Buffer<double> kernel;                   // and for a group of them
        std::vector<double> col_sums, row_sums;  // of every kernel on it
        std::vector<uint64_t> col_words, row_words;
        Scratch<double> doubles;
        Scratch<int32_t> integers;
        Buffer<double> totals;  // of every labelling, label_lanes each
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

    // A part's values on a strip, one group of rows after the other.
    void add_part(Work& work, size_t p, int64_t first_row, int64_t height, int64_t first_col,
                  int64_t width, double* state) const {
        const Part& part = parts_[p];
        const Ops<double>& ops = ops_of<double>(isa());
        double* kernel = work.kernel.data();
        double* row_sums = work.row_sums.data() + p * static_cast<size_t>(block_);
        double* col_sums = work.col_sums.data() + p * static_cast<size_t>(strip_);
        std::fill_n(row_sums, height, 0.0);
        std::fill_n(col_sums, width, 0.0);
        std::fill_n(work.totals.data(), labels_.count * label_lanes, 0.0);
        for (int64_t i = 0; i < height; i += group_rows) {
            const int64_t rows = std::min(group_rows, height - i);
            map_.evaluate(part.first, part.last, work.arguments.data() + pair_ * i * strip_, strip_,
                          static_cast<int>(pair_ * rows), static_cast<int>(pair_ * width), kernel,
                          strip_);
            if (pair_ == 2) join_pairs(kernel, rows, width);
            if (part.rounding_step > 0.0) {
                round_values(kernel, strip_, rows, width, map_.factor() / part.rounding_step);
            }
            clear_lower(kernel, first_row + i, rows, first_col, width);
            ops.row_sums(kernel, strip_, static_cast<int>(rows), static_cast<int>(width), nullptr,
                         row_sums + i);
            ops.col_sums(kernel, strip_, static_cast<int>(rows), static_cast<int>(width), nullptr,
                         col_sums);
            // columns before the diagonal count nothing
            const int64_t skipped = std::clamp<int64_t>(first_row + i + 1 - first_col, 0, width);
            add_within(work, i, rows, skipped / label_columns * label_columns, width,
                       part.rounding_step > 0.0);
        }
        for (int64_t i = 0; i < height; ++i) state[0] += row_sums[i];
        for (int64_t b = 0; b < labels_.count; ++b) {
            const double* sums = work.totals.data() + b * label_lanes;
            state[1 + b] += ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
                            ((sums[1] + sums[5]) + (sums[3] + sums[7]));
        }
    }

    // Adds a group of rows, from `row` of the task on, to the totals: whole numbers as such, as
    // many columns at a time as cannot overflow. Both ways of adding them are exact.
    void add_within(Work& work, int64_t row, int64_t height, int64_t first, int64_t width,
                    bool whole) const {
        if (!whole) {
            // rows of two tables
            for (int64_t i = 0; i < height; i += label_rows<double>) {
                add_columns(isa().labels.f64, work.doubles, work, row, i,
                            std::min<int64_t>(label_rows<double>, height - i), first, width);
            }
            return;
        }
        for (int64_t end = first; first < width; first = end) {
            double bound = 0.0;
            while (end < width) {
                const int64_t next = std::min(end + label_columns, width);
                bound += largest_row_sum(work.kernel.data() + end, strip_, height, next - end);
                if (!(bound <= largest_int)) break;
                end = next;
            }
            if (end > first) {
                add_columns(isa().labels.i32, work.integers, work, row, 0, height, first, end);
            } else {
                end = std::min(first + label_columns, width);
                add_within(work, row, height, first, end, false);
            }
        }
    }

    template <class T>
    void add_columns(LabelOps::SumFn<T> sums, Scratch<T>& scratch, Work& work, int64_t row,
                     int64_t i, int64_t height, int64_t first, int64_t end) const {
        const int64_t words = first / label_columns * labels_.count, at = row + i;
        sums(work.kernel.data() + i * strip_ + first, strip_, static_cast<int>(height), end - first,
             work.col_words.data() + words,
             work.row_words.data() + at / label_columns * labels_.count,
             static_cast<int>(at % label_columns), labels_.count, scratch.tables.data(),
             scratch.sums.data(), work.totals.data());
    }

    // Σ V_i k from the row or the column sums, `ld` apart, of every kernel.
    void add_rows(const std::vector<double>& of_kernels, int64_t ld, int64_t count,
                  const std::vector<uint64_t>& words, Work& work, double* state) const {
        constexpr size_t at_a_time = label_rows<double>;
        const auto n = static_cast<size_t>(labels_.count);
        for (size_t p = 0; p < parts_.size(); p += at_a_time) {
            const size_t several = std::min(at_a_time, parts_.size() - p);
            std::fill_n(work.totals.data(), labels_.count * label_lanes, 0.0);
            isa().labels.f64(of_kernels.data() + p * static_cast<size_t>(ld), ld,
                             static_cast<int>(several), count, words.data(), nullptr, 0,
                             labels_.count, work.doubles.tables.data(), work.doubles.sums.data(),
                             work.totals.data());
            for (size_t k = 0; k < several; ++k) {
                double* row = state + (p + k) * state_size() + 1 + n;
                const double* sums = work.totals.data() + k;
                for (size_t b = 0; b < n; ++b) row[b] += sums[b * label_lanes];
            }
        }
    }

    KernelEvaluator<double>& map_;
    const std::vector<Part>& parts_;
    const Labels& labels_;
    const LabelTotals out_;
    int64_t pair_;  // rows that share a label
    int64_t strip_, block_, segments_ = 1;
    std::vector<Work> work_;
    TaskVectors states_;  // of each part, one after another
    std::vector<double> total_ = std::vector<double>(parts_.size() * state_size(), 0.0);
};

KernelRequest request_for(const Source& pooled, const std::vector<KernelTerm>& terms,
                          Control& control) {
    KernelRequest request{pooled, pooled, terms, Precision::float64, control, true};
    const int64_t pair = pooled.interleaved() ? 2 : 1;
    // whole groups of labelled rows
    request.limits.block_rows = pair * group_rows * ops_of<double>(isa()).rows;
    request.limits.strip_cols = 512;
    return request;
}

void clear(const LabelTotals& out, size_t kernels, const Labels& labels) {
    const size_t sums = kernels * static_cast<size_t>(labels.count);
    std::fill_n(out.within, sums, 0.0);
    std::fill_n(out.row, sums, 0.0);
    std::fill_n(out.total, kernels, 0.0);
}

}  // namespace

void label_sums(KernelEvaluator<double>& map, const Labels& labels, Control& control,
                const LabelTotals& out) {
    clear(out, 1, labels);
    const std::vector<Part> parts{{0, 0, map.from().terms.size(), 0.0}};
    sweep_kernel(map, request_for(map.from().x, map.from().terms, control),
                 [&](KernelEvaluator<double>& same, const Blocking& blocking) {
                     return RelabelledSums(same, parts, labels, blocking, control.workers(), out);
                 });
}

void kernel_label_sums(const Source& pooled, const Labels& labels,
                       const std::vector<std::vector<KernelTerm>>& kernels,
                       const double* rounding_steps, Control& control, const LabelTotals& out) {
    clear(out, kernels.size(), labels);
    for (const Argument argument : arguments) {
        std::vector<KernelTerm> terms;
        std::vector<Part> parts;
        for (size_t q = 0; q < kernels.size(); ++q) {
            const size_t first = terms.size();
            for (const KernelTerm& term : kernels[q]) {
                if (argument_of(term.kernel) == argument) terms.push_back(term);
            }
            if (terms.size() > first) {
                parts.push_back({q, first, terms.size(), rounding_steps ? rounding_steps[q] : 0.0});
            }
        }
        if (parts.empty()) continue;
        for_each_kernel_group(request_for(pooled, terms, control), [&](KernelEvaluator<double>& map,
                                                                       const Blocking& blocking) {
            return RelabelledSums(map, parts, labels, blocking, control.workers(), out);
        });
    }
}

}  // namespace pairtile
