// From dot products to logits: scales, margins and column logits, and which pairs are left out of
// whose sum (logit −∞).
#pragma once

#include "losses/softmax.hpp"

namespace pairtile {

// Whose sums a tile of logits is for.
enum class Side { rows, cols };

template <class T>
class SoftmaxRule {
  public:
    static constexpr T left_out = -static_cast<T>(INFINITY);

    SoftmaxRule(const LogitRequest& request, const SoftmaxOptions& options, const Logits<T>& logits)
        : options_(options), scale_(static_cast<T>(request.scale)) {
        const int64_t n = request.x.rows(), m = request.y.rows();
        if (request.row_scales) scales_ = narrowed<T>(request.row_scales, n);
        if (options.column_logits) column_logits_ = narrowed<T>(options.column_logits, m);
        if (options.row_limits) row_limits_ = narrowed<T>(options.row_limits, n);
        if (options.col_limits) col_limits_ = narrowed<T>(options.col_limits, m);
        if (!options.false_negative_margin) return;
        const double margin = *options.false_negative_margin;
        const int64_t* targets = options.positives.targets;
        if (options.rows) row_limits_.assign(static_cast<size_t>(n), static_cast<T>(INFINITY));
        if (options.cols) col_limits_.assign(static_cast<size_t>(m), static_cast<T>(INFINITY));
        logits.for_each_target(targets, [&](int64_t i, T product) {
            if (targets[i] < 0) return;
            const T limit = static_cast<T>(static_cast<double>(product) + margin);
            if (options.rows) row_limits_[static_cast<size_t>(i)] = limit;
            if (options.cols) col_limits_[static_cast<size_t>(targets[i])] = limit;
        });
    }

    const Positives& positives() const { return options_.positives; }

    // The largest product that stays in the sums of a row, and of its target.
    double limit_of(int64_t row) const {
        if (!row_limits_.empty()) return row_limits_[static_cast<size_t>(row)];
        const int64_t target = col_limits_.empty() ? -1 : options_.positives.targets[row];
        return target < 0 ? INFINITY : col_limits_[static_cast<size_t>(target)];
    }

    // Whether logits are dot products times one scale, and all pairs are in all sums.
    bool plain() const {
        return scales_.empty() && column_logits_.empty() && options_.margin == 0.0 &&
               options_.angular_margin == 0.0 && !options_.kept.given() && !masks() &&
               !options_.positives.self;
    }
    // Whether a tile of logits serves rows and columns.
    bool one_tile() const { return !(options_.rows && options_.cols && masks()); }

    T scale_of(int64_t row) const {
        return scales_.empty() ? scale_ : scales_[static_cast<size_t>(row)];
    }

    // φ of a positive, and its slope; at cos = ±1, where it has none, as if the angle stayed.
    double of_positive(double product) const {
        const double angle = options_.angular_margin;
        if (angle == 0.0) return product - options_.margin;
        return std::cos(angle) * product - std::sin(angle) * sine(product);
    }
    double slope_of_positive(double product) const {
        const double angle = options_.angular_margin, across = sine(product);
        if (angle == 0.0) return 1.0;
        return std::cos(angle) + (across > 0.0 ? std::sin(angle) * product / across : 0.0);
    }
    bool bends() const { return options_.angular_margin != 0.0; }

    // Logits of a tile of dot products, as the sums of that side take them. `out` is not the tile.
    void logits(const Tile<T>& tile, Side side, T* out, int64_t ld) const {
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t row = tile.row + i;
            logits_of_row(tile, i, row, side, out + i * ld);
        }
    }

  private:
    void logits_of_row(const Tile<T>& tile, int i, int64_t row, Side side, T* out) const {
        const T* __restrict products = tile.data + i * tile.ld;
        T* __restrict to = out;
        const int n = tile.cols;
        const T scale = scale_of(row);
        if (column_logits_.empty()) {
            for (int j = 0; j < n; ++j) to[j] = scale * products[j];
        } else {
            const T* __restrict add = column_logits_.data() + tile.col;
            for (int j = 0; j < n; ++j) to[j] = scale * products[j] + add[j];
        }
        if (side == Side::rows && !row_limits_.empty()) {
            const T limit = row_limits_[static_cast<size_t>(row)];
            for (int j = 0; j < n; ++j) to[j] = products[j] > limit ? left_out : to[j];
        } else if (side == Side::cols && !col_limits_.empty()) {
            const T* __restrict limit = col_limits_.data() + tile.col;
            for (int j = 0; j < n; ++j) to[j] = products[j] > limit[j] ? left_out : to[j];
        }
        if (side == Side::rows && options_.kept.given()) keep_only(row, tile.col, n, to);
        const PairList& masked = side == Side::rows ? options_.row_masked : options_.col_masked;
        if (masked.given()) leave_out(masked, row, tile.col, n, to);
        for_each_positive(options_.positives, row, tile.col, 0, n, [&](int64_t j, double) {
            const double mine = of_positive(static_cast<double>(products[j]));
            const T add =
                column_logits_.empty() ? T(0) : column_logits_[static_cast<size_t>(tile.col + j)];
            to[j] = scale * static_cast<T>(mine) + add;
        });
        const int64_t own = row - tile.col;
        if (options_.positives.self && own >= 0 && own < n) to[own] = left_out;
    }

    // Whether pairs are left out that may be in the sum of a row and not in that of its column.
    bool masks() const {
        return !row_limits_.empty() || !col_limits_.empty() || options_.row_masked.given() ||
               options_.col_masked.given();
    }

    // Leaves out the columns of a list; positives come after.
    static void leave_out(const PairList& list, int64_t row, int64_t col, int n, T* logits) {
        const int64_t* end = list.columns + list.indptr[row + 1];
        const int64_t* next = std::lower_bound(list.columns + list.indptr[row], end, col);
        for (; next != end && *next < col + n; ++next) logits[*next - col] = left_out;
    }

    // Leaves out all but the kept columns; positives come after.
    void keep_only(int64_t row, int64_t col, int n, T* logits) const {
        const PairList& kept = options_.kept;
        const int64_t* end = kept.columns + kept.indptr[row + 1];
        const int64_t* next = std::lower_bound(kept.columns + kept.indptr[row], end, col);
        for (int j = 0; j < n; ++j) {
            if (next != end && *next == col + j) {
                ++next;
            } else {
                logits[j] = left_out;
            }
        }
    }

    static double sine(double cosine) {
        return std::sqrt(std::max(0.0, (1.0 - cosine) * (1.0 + cosine)));
    }

    const SoftmaxOptions& options_;
    T scale_;
    std::vector<T> scales_, column_logits_, row_limits_, col_limits_;
};

}  // namespace pairtile
