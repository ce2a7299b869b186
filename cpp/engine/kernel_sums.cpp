#include "engine/kernel_sums.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/canonical.hpp"
#include "engine/sweep.hpp"

namespace pairtile {
namespace {

// Tile entries may miss the kernel's value by this much of its largest one.
template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 2e-6 : 1e-13;

Argument argument_of(KernelId kernel) {
    switch (kernel) {
#define PT_ARGUMENT(name, type) \
    case KernelId::name:        \
        return type::argument;
        PAIRTILE_KERNELS(PT_ARGUMENT)
#undef PT_ARGUMENT
        case KernelId::count:
            break;
    }
    return Argument::squared_distance;
}

void rescale(KernelTerm& term, double scale) {
    switch (term.kernel) {
#define PT_RESCALE(name, type)                          \
    case KernelId::name:                                \
        type::rescale(term.params, term.weight, scale); \
        break;
        PAIRTILE_KERNELS(PT_RESCALE)
#undef PT_RESCALE
        case KernelId::count:
            break;
    }
}

double exact_below(const KernelTerm& term, double error, double tol, double reach) {
    switch (term.kernel) {
#define PT_EXACT(name, type) \
    case KernelId::name:     \
        return type::exact_below(term.params, error, tol, reach);
        PAIRTILE_KERNELS(PT_EXACT)
#undef PT_EXACT
        case KernelId::count:
            break;
    }
    return -1.0;
}

// Sum with the rounding errors carried along: as good as twice the precision.
class Compensated {
  public:
    void add(double x) {
        const double next = sum_ + x;
        lost_ += std::fabs(sum_) >= std::fabs(x) ? (sum_ - next) + x : (x - next) + sum_;
        sum_ = next;
    }
    double value() const { return sum_ + lost_; }

  private:
    double sum_ = 0.0, lost_ = 0.0;
};

// The terms that read one argument, and the frame of the rows that give it.
struct KernelFrame {
    Source x, y;
    Argument argument;
    Frame frame;
    double unit;                    // argument of packed rows = unit · argument
    std::vector<KernelTerm> terms;  // for the argument of packed rows

    KernelFrame(const Source& rows, const Source& cols, std::vector<KernelTerm> wanted,
                Argument read, int workers, Control& control)
        : x(rows), y(cols), argument(read), terms(std::move(wanted)) {
        const bool distance =
            argument == Argument::squared_distance || argument == Argument::l1_distance;
        if (argument == Argument::cosine) {
            x.normalise();
            y.normalise();
        }
        frame = choose_frame(x, y, distance, workers, control);
        unit = argument == Argument::l1_distance ? frame.scale : frame.scale * frame.scale;
        for (KernelTerm& term : terms) {
            if (term.kernel == KernelId::inverse_multiquadric) {
                // (c² + s)^−β = c^−2β (1 + s/c²)^−β, whose values stay near 1
                const double square = term.params[0], beta = term.params[1];
                term = {term.weight * std::pow(square, -beta),
                        KernelId::rational_quadratic,
                        {1.0 / square, beta}};
            }
            rescale(term, unit);
        }
    }

    // Whether float32 holds the parameters, and dot products that do not cancel too far in it.
    bool fits_float32() const {
        constexpr double range = 1e30;
        for (const KernelTerm& term : terms) {
            for (const double p : term.params) {
                const double size = std::fabs(p);
                if (size > range || (size > 0.0 && size < 1.0 / range)) return false;
            }
        }
        if (argument != Argument::dot && argument != Argument::cosine) return true;
        // The error of a dot product goes with the norms of the rows, its value may be far smaller.
        constexpr double tolerated = 1e-5;
        const double error =
            pairing_for_argument<float>(argument, x.d()).typical_slope * frame.largest_square;
        const double largest = largest_sampled_dot();
        for (const KernelTerm& term : terms) {
            const bool polynomial = term.kernel == KernelId::polynomial;
            const double degree = polynomial ? term.params[0] : 1.0;
            const double slope = polynomial ? term.params[1] : 1.0;
            const double offset = polynomial ? std::fabs(term.params[2]) : 0.0;
            if (degree * slope * error > tolerated * (slope * largest + offset)) return false;
        }
        return true;
    }

  private:
    double largest_sampled_dot() const {
        constexpr int64_t sample = 64;
        Canonical dot(MetricId::inner_product, x, y);
        const int64_t n = std::min(sample, x.rows()), m = std::min(sample, y.rows());
        double largest = 0.0;
        for (int64_t i = 0; i < n; ++i) {
            dot.set_row(i * x.rows() / n);
            for (int64_t j = 0; j < m; ++j) {
                largest = std::max(largest, std::fabs(unit * dot(j * y.rows() / m)));
            }
        }
        return largest;
    }
};

// Turns tiles of packed arguments into kernel values.
template <class T>
class KernelMap {
  public:
    KernelMap(const KernelFrame& from, Precision precision, int workers)
        : from_(from),
          patch_(precision != Precision::fast),
          pairing_(pairing_for_argument<T>(from.argument, from.x.d())) {
        for (const KernelTerm& term : from.terms) {
            largest_weight_ = std::max(largest_weight_, std::fabs(term.weight));
        }
        for (const KernelTerm& term : from.terms) {
            std::array<T, kernel_params> params;
            for (int p = 0; p < kernel_params; ++p) params[p] = static_cast<T>(term.params[p]);
            params_.push_back(params);
            weights_.push_back(largest_weight_ > 0.0 ? static_cast<T>(term.weight / largest_weight_)
                                                     : T(0));
        }
        const MetricId metric =
            from.argument == Argument::l1_distance ? MetricId::manhattan : MetricId::sqeuclidean;
        for (int w = 0; w < workers; ++w) canonical_.emplace_back(metric, from.x, from.y);
        hits_.resize(static_cast<size_t>(workers));
    }

    // Tile of packed arguments -> kernel values, in units of factor().
    void operator()(const Tile<T>& tile, const Panels<T>& rows, int worker, T* out,
                    int64_t out_ld) {
        const Ops<T>& ops = ops_of<T>(isa());
        if (pairing_.add_norms) {
            ops.add_row_norms(tile.data, tile.ld, tile.rows, tile.cols,
                              rows.norms.data() + tile.local_row);
        }
        if (patch_) patch(tile, worker);
        for (size_t t = 0; t < from_.terms.size(); ++t) {
            ops.kernel[static_cast<int>(from_.terms[t].kernel)](tile.data, tile.ld, tile.rows,
                                                                tile.cols, params_[t].data(),
                                                                weights_[t], t > 0, out, out_ld);
        }
    }

    double factor() const { return largest_weight_; }

    Sweep<T> sweep(const Cut& cut, bool triangle, int workers, Control& control) const {
        return {from_.x,  from_.y, from_.frame, pairing_, cut,
                triangle, false,   false,       workers,  control};
    }

  private:
    // Replaces arguments that are not accurate enough for the kernel at that place.
    void patch(const Tile<T>& tile, int worker) {
        const double reach = tile.row_extent.reach + tile.col_extent.reach;
        const double size = pairing_.norm == Norm::squares ? reach * reach : reach;
        const double error = pairing_.typical_slope * size;
        if (!(error > 0.0)) return;
        double limit = -1.0;
        for (const KernelTerm& term : from_.terms) {
            limit = std::max(limit, exact_below(term, error, tolerance<T>, size));
        }
        if (limit < 0.0) return;
        const Ops<T>& ops = ops_of<T>(isa());
        Canonical& canonical = canonical_[static_cast<size_t>(worker)];
        std::vector<int32_t>& hits = hits_[static_cast<size_t>(worker)];
        hits.resize(static_cast<size_t>(tile.cols));
        for (int i = 0; i < tile.rows; ++i) {
            T* row = tile.data + i * tile.ld;
            const int found = ops.select_below(row, tile.cols, static_cast<T>(limit), hits.data());
            if (found > 0) canonical.set_row(tile.row + i);
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[static_cast<size_t>(h)];
                row[j] = static_cast<T>(from_.unit * canonical(tile.col + j));
            }
        }
    }

    const KernelFrame& from_;
    bool patch_;
    Pairing pairing_;
    double largest_weight_ = 0.0;
    std::vector<std::array<T, kernel_params>> params_;
    std::vector<T> weights_;
    std::vector<Canonical> canonical_;
    std::vector<std::vector<int32_t>> hits_;
};

// Pairs on or below the diagonal of a triangle count nothing.
template <class T>
void clear_lower(const Tile<T>& tile, T* out, int64_t ld) {
    for (int i = 0; i < tile.rows; ++i) {
        const int64_t end = std::min<int64_t>(tile.cols, tile.row + i - tile.col + 1);
        for (int64_t j = 0; j < end; ++j) out[i * ld + j] = T(0);
    }
}

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

// Calls body(terms, argument) for each group of terms that share an argument, and so a tile.
template <class Body>
void for_each_argument(const std::vector<KernelTerm>& terms, Body body) {
    for (const Argument argument :
         {Argument::squared_distance, Argument::l1_distance, Argument::dot, Argument::cosine}) {
        std::vector<KernelTerm> group;
        for (const KernelTerm& term : terms) {
            if (argument_of(term.kernel) == argument) group.push_back(term);
        }
        if (!group.empty()) body(group, argument);
    }
}

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

    void begin_rows(const Panels<double>&, int64_t segments) { segments_ = segments; }

    void begin_cols(const Panels<double>&, int64_t row_blocks) {
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

double kernel_label_sums(const Source& pooled, const uint8_t* labels, int64_t n_labels,
                         const std::vector<KernelTerm>& terms, int workers, Control& control,
                         double* within, double* row) {
    const Cut cut =
        choose_cut(ops_of<double>(isa()), pooled.rows(), pooled.rows(), pooled.d(), CutLimits{});
    std::fill(within, within + n_labels, 0.0);
    std::fill(row, row + n_labels, 0.0);
    double total = 0.0;
    for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(pooled, pooled, group, argument, workers, control);
        KernelMap<double> map(from, Precision::float64, workers);
        const Sweep<double> sweep = map.sweep(cut, true, workers, control);
        expect(sweep);
        LabelSums fold(map, labels, n_labels, cut.row_block, cut.strip, workers);
        run(sweep, fold);
        for (int64_t b = 0; b < n_labels; ++b) {
            within[b] += 2.0 * fold.within[static_cast<size_t>(b)];
            row[b] += fold.row[static_cast<size_t>(b)];
        }
        total += 2.0 * fold.total;
    });
    return total;
}

}  // namespace pairtile
