// What every statistic of a kernel does to a tile: packed arguments in, kernel values out.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/canonical.hpp"
#include "engine/knn.hpp"
#include "engine/sweep.hpp"
#include "pairtile/kernel/registry.hpp"

namespace pairtile {

// weight · kernel(params); a list of them is one kernel.
struct KernelTerm {
    double weight;
    KernelId kernel;
    double params[kernel_params];
};

// Tile entries may miss the kernel's value by this much of its largest one.
template <class T>
constexpr double kernel_tolerance = sizeof(T) == 4 ? 2e-6 : 1e-13;

// Below which argument of packed rows an error of the argument could move the value further.
double exact_below(const KernelTerm& term, double error, double tolerance, double reach);

// Which number of a pair the kernel reads.
Argument argument_of(KernelId kernel);

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
                Argument read, int workers, Control& control);

    // Whether float32 holds the parameters, and dot products that do not cancel too far in it.
    bool fits_float32() const;

  private:
    double largest_sampled_dot() const;
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
        finish_arguments(tile, rows, worker);
        evaluate(0, from_.terms.size(), tile.data, tile.ld, tile.rows, tile.cols, out, out_ld);
    }

    // What the micro-kernel left of the arguments.
    void finish_arguments(const Tile<T>& tile, const Panels<T>& rows, int worker) {
        const Ops<T>& ops = ops_of<T>(isa());
        if (pairing_.add_norms) {
            ops.add_row_norms(tile.data, tile.ld, tile.rows, tile.cols,
                              rows.norms.data() + tile.local_row);
        }
        if (patch_) patch(tile, worker);
    }

    // Finished arguments -> the sum of the terms [first, last), in units of factor().
    void evaluate(size_t first, size_t last, const T* arguments, int64_t ld, int rows, int cols,
                  T* out, int64_t out_ld) const {
        const Ops<T>& ops = ops_of<T>(isa());
        for (size_t t = first; t < last; ++t) {
            ops.kernel[static_cast<int>(from_.terms[t].kernel)](
                arguments, ld, rows, cols, params_[t].data(), weights_[t], t > first, out, out_ld);
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
            limit = std::max(limit, exact_below(term, error, kernel_tolerance<T>, size));
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
