// What every statistic of a kernel does to a tile: packed arguments in, kernel values out.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "engine/canonical.hpp"
#include "engine/precision.hpp"
#include "engine/sweep.hpp"
#include "kernels/gaussian_table.hpp"
#include "pairtile/kernel/term.hpp"

namespace pairtile {

// Tile entries may miss the kernel's value by this much of its largest one.
template <class T>
constexpr double kernel_tolerance = sizeof(T) == 4 ? 2e-6 : 1e-13;

// Below which argument of packed rows an error of the argument could move the value further.
double recompute_below(const KernelTerm& term, double error, double tolerance, double reach);

// The same of what a Stein kernel is made of, for kernels where that is steeper; else -1.
double stein_recompute_below(const KernelTerm& term, double error, double tolerance);

// Beyond which argument of packed rows the terms together, all of which read one, are below this
// share of the largest weight; infinite where one of them falls too slowly.
double vanishes_beyond(const std::vector<KernelTerm>& terms, double share);

// The share below which a kernel has vanished: a sum may leave the pair out. Far less than a value
// may miss, so that many of them are less than one may.
template <class T>
constexpr double vanished_share = 0x1p-24 * kernel_tolerance<T>;

// The same of slopes, relative to the steepest pair of each term; infinite where terms of either
// sign could leave nothing of it.
double slopes_vanish_beyond(const std::vector<KernelTerm>& terms, double share);

// The share of its largest value below which a kernel's slope, times the distance, is below
// 2⁻²⁴ of what a gradient may miss (docs/numerics.md).
template <class T>
constexpr double vanished_share_of_slopes = 0x1p-28 * kernel_tolerance<T>;

// What must be accurate about a tile: kernel values beside the largest one, every logarithm, or
// derivatives besides.
enum class Accuracy { of_values, of_logarithms, of_derivatives };

// The terms that read one argument, and the frame of the rows that give it.
struct KernelFrame {
    Source x, y;
    Argument argument;
    Frame frame;
    double unit;                    // argument of packed rows = unit · argument
    std::vector<KernelTerm> terms;  // for the argument of packed rows

    // Without `scaled`, packed rows have the unit of the data: derivatives have no other.
    KernelFrame(const Source& rows, const Source& cols, std::vector<KernelTerm> wanted,
                Argument read, Control& control, bool scaled = true);

    // Whether tiles of float32 will do.
    bool narrow(Precision precision, Accuracy accuracy) const {
        if (precision == Precision::float64 || x.holds_float64() || y.holds_float64()) return false;
        if (precision == Precision::fast) return true;
        return fits_float32() && (accuracy != Accuracy::of_logarithms || logarithms_fit_float32());
    }

  private:
    // Whether no pair's log-kernel misses more in float32 than sums may.
    bool logarithms_fit_float32() const;
    bool fits_float32() const;
    double largest_sampled_product() const;
};

// From how many terms on a table of their sum is cheaper than the terms.
constexpr size_t fewest_tabulated = 3;

inline bool is_tabulated(KernelId kernel) {
    return of_kernel(kernel, [&]<class Kernel>() {
        return requires { Kernel::tabulated; };
    });
}

// Turns tiles of packed arguments into kernel values.
template <class T>
class KernelEvaluator {
  public:
    KernelEvaluator(const KernelFrame& from, Precision precision, int workers,
                    Accuracy accuracy = Accuracy::of_values)
        : from_(from),
          recomputes_(precision != Precision::fast),
          accuracy_(accuracy),
          formula_(formula_for_argument<T>(from.argument, from.x.d())),
          values_(static_cast<size_t>(workers)) {
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
        if constexpr (sizeof(T) == 4) tabulate();
        const Metric metric{metric_of(quantity_of(from.argument)), {}};
        for (int w = 0; w < workers; ++w) canonical_.emplace_back(metric, from.x, from.y);
        hits_.resize(static_cast<size_t>(workers));
    }

    virtual ~KernelEvaluator() = default;

    // Tile of packed arguments -> kernel values, in units of factor().
    void operator()(const Tile<T>& tile, const Panels<T>& rows, int worker, T* out,
                    int64_t out_ld) {
        complete(tile, rows, worker);
        if constexpr (sizeof(T) == 4) {
            if (table_) {
                (*table_)(tile.data, tile.ld, tile.rows, tile.cols, out, out_ld);
                for (const size_t t : beside_table_) {
                    add_term(t, true, tile.data, tile.ld, tile.rows, tile.cols, out, out_ld);
                }
                return;
            }
        }
        evaluate(0, from_.terms.size(), tile.data, tile.ld, tile.rows, tile.cols, out, out_ld);
    }

    // The same into memory of the worker's, tile.ld apart.
    T* values(const Tile<T>& tile, const Panels<T>& rows, int worker) {
        Buffer<T>& out = values_[static_cast<size_t>(worker)];
        out.reserve(ops_of<T>(isa()).rows * tile.ld);
        (*this)(tile, rows, worker, out.data(), tile.ld);
        return out.data();
    }

    // Arguments of a tile: norms added, and what is not accurate enough recomputed.
    virtual void complete(const Tile<T>& tile, const Panels<T>& rows, int worker) {
        if (formula_.add_norms) {
            ops_of<T>(isa()).add_row_norms(tile.data, tile.ld, tile.rows, tile.cols,
                                           rows.norms.data() + tile.local_row);
        }
        if (recomputes_) recompute_near_pairs(tile, worker);
    }

    // Completed arguments -> the sum of the terms [first, last), in units of factor().
    virtual void evaluate(size_t first, size_t last, const T* arguments, int64_t ld, int rows,
                          int cols, T* out, int64_t out_ld) const {
        for (size_t t = first; t < last; ++t) {
            add_term(t, t > first, arguments, ld, rows, cols, out, out_ld);
        }
    }

    // Derivatives by the argument of packed rows, from a tile that has become values before.
    void slopes(const Tile<T>& tile, T* out, int64_t out_ld) const {
        const Ops<T>& ops = ops_of<T>(isa());
        for (size_t t = 0; t < from_.terms.size(); ++t) {
            ops.slope[static_cast<int>(from_.terms[t].kernel)](tile.data, tile.ld, tile.rows,
                                                               tile.cols, params_[t].data(),
                                                               weights_[t], t > 0, out, out_ld);
        }
    }

    double factor() const { return largest_weight_; }
    // The argument of packed rows beyond which pairs may be left out.
    double vanishes() const { return vanishes_beyond(from_.terms, vanished_share<T>); }
    double slopes_vanish() const {
        return slopes_vanish_beyond(from_.terms, vanished_share_of_slopes<T>);
    }
    const KernelFrame& from() const { return from_; }

    // Completed arguments -> logarithms of one term's kernel values without its weight, times a
    // rate of each column (null: 1), plus an offset of each.
    void logarithms(const Tile<T>& tile, size_t term, const T* rates, const T* offsets, T* out,
                    int64_t out_ld) const {
        const int kernel = static_cast<int>(from_.terms[term].kernel);
        ops_of<T>(isa()).log_kernel[kernel](tile.data, tile.ld, tile.rows, tile.cols,
                                            params_[term].data(), rates, offsets, out, out_ld);
    }

    // The sweep whose tiles this turns into values.
    Sweep<T> sweep(const Blocking& blocking, bool triangle, Control& control) {
        Sweep<T> sweep{from_.x, from_.y, from_.frame, formula_, blocking, triangle, control};
        sweep.reader = reader();
        return sweep;
    }

  protected:
    // Of what a pair's value depends on beside its argument.
    virtual PanelReader<T>* reader() { return nullptr; }
    // A pair whose argument was recomputed.
    virtual void recomputed(const Tile<T>&, int, int32_t, int) {}
    const TileFormula& formula() const { return formula_; }
    const T* params(size_t term) const { return params_[term].data(); }
    T weight(size_t term) const { return weights_[term]; }

  private:
    void add_term(size_t t, bool accumulate, const T* arguments, int64_t ld, int rows, int cols,
                  T* out, int64_t out_ld) const {
        ops_of<T>(isa()).kernel[static_cast<int>(from_.terms[t].kernel)](
            arguments, ld, rows, cols, params_[t].data(), weights_[t], accumulate, out, out_ld);
    }

    // A sum of Gaussians is one smooth function of the distance: one table, unless they are too few
    // for it. Those too narrow for it follow one by one.
    void tabulate() {
        std::vector<GaussianTable::Term> terms;
        for (size_t t = 0; t < params_.size(); ++t) {
            if (!is_tabulated(from_.terms[t].kernel)) return;
            terms.push_back({static_cast<double>(weights_[t]), from_.terms[t].params[0]});
        }
        const GaussianTable table(std::move(terms), 4.0 * from_.frame.largest_square);
        if (table.terms() < fewest_tabulated) return;
        table_ = table;
        for (size_t t = 0; t < params_.size(); ++t) {
            if (!table.holds(from_.terms[t].params[0])) beside_table_.push_back(t);
        }
    }

    // Replaces arguments that are not accurate enough for the kernel at that place.
    void recompute_near_pairs(const Tile<T>& tile, int worker) {
        const double reach = tile.row_bound.norm + tile.col_bound.norm;
        const double size = formula_.norm == Norm::squares ? reach * reach : reach;
        const double error = formula_.typical_slope * size;
        if (!(error > 0.0)) return;
        double limit = -1.0;
        for (const KernelTerm& term : from_.terms) {
            double below = recompute_below(term, error, kernel_tolerance<T>, size);
            // log k(s) is convex and log k(0) = 0, so that |(log k)'(s)| s <= |log k(s)|: from here
            // on an error of s is as small beside the logarithm
            if (accuracy_ != Accuracy::of_values) {
                if (below >= 0.0) below = error + error / kernel_tolerance<T>;
            } else if (formula_.core == Core::squared_difference) {
                // what was rounded is the difference: up to `below` its square has less error yet
                for (double before = INFINITY; below > 0.0 && below < 0.9 * before;) {
                    before = below;
                    const double slope = formula_.typical_slope;
                    const double less = slope * (std::sqrt(below) * reach + below + slope * size);
                    below = std::min(below, recompute_below(term, std::min(error, less),
                                                            kernel_tolerance<T>, size));
                }
            }
            if (accuracy_ == Accuracy::of_derivatives) {
                below = std::max(below, stein_recompute_below(term, error, kernel_tolerance<T>));
            }
            limit = std::max(limit, below);
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
                double exact = from_.unit * canonical(tile.col + j);
                // beyond float64's range, which that of packed rows is within
                if (exact == INFINITY) exact = canonical.of_scaled(tile.col + j, from_.frame.scale);
                row[j] = static_cast<T>(exact);
                recomputed(tile, i, j, worker);
            }
        }
    }

    const KernelFrame& from_;
    bool recomputes_;
    Accuracy accuracy_;
    TileFormula formula_;
    double largest_weight_ = 0.0;
    std::vector<std::array<T, kernel_params>> params_;
    std::vector<T> weights_;
    std::optional<GaussianTable> table_;
    std::vector<size_t> beside_table_;  // terms
    std::vector<Buffer<T>> values_;
    std::vector<Canonical> canonical_;
    std::vector<std::vector<int32_t>> hits_;
};

// Pairs on or below the diagonal of a triangle count nothing.
template <class T>
void clear_lower(int64_t row, int height, int64_t col, int width, T* out, int64_t ld) {
    for (int i = 0; i < height; ++i) {
        const int64_t end = std::min<int64_t>(width, row + i - col + 1);
        for (int64_t j = 0; j < end; ++j) out[i * ld + j] = T(0);
    }
}
template <class T>
void clear_lower(const Tile<T>& tile, T* out, int64_t ld) {
    clear_lower(tile.row, tile.rows, tile.col, tile.cols, out, ld);
}

constexpr Argument arguments[] = {Argument::squared_distance, Argument::l1_distance, Argument::dot,
                                  Argument::cosine};

// Calls body(terms, argument) for each group of terms that share an argument, and so a tile.
template <class Body>
void for_each_argument(const std::vector<KernelTerm>& terms, Body body) {
    for (const Argument argument : arguments) {
        std::vector<KernelTerm> group;
        for (const KernelTerm& term : terms) {
            if (argument_of(term.kernel) == argument) group.push_back(term);
        }
        if (!group.empty()) body(group, argument);
    }
}

}  // namespace pairtile
