// The backward sweep: the logits again, turned into weights W = ∂loss/∂(x·y), which a contraction
// multiplies with the rows.
#pragma once

#include <cstdint>
#include <vector>

#include "losses/softmax_rule.hpp"
#include "losses/softmax_side.hpp"

namespace pairtile {

// What turns a dot product into ∂loss/∂(x·y).
template <class T>
class SoftmaxWeights {
  public:
    SoftmaxWeights(const SoftmaxRule<T>& rule, const SoftmaxOptions& options, double* by_scales,
                   int workers)
        : rule_(rule),
          options_(options),
          by_scales_(by_scales),
          memory_(static_cast<size_t>(workers)) {}

    SideWeights<T> row, col;
    bool scaled = false;  // tiles that the forward sweep left: logits, where the rule is plain

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        if (rule_.plain() && row.flat.empty() && col.flat.empty()) {
            weigh_plain(tile, out, ld, sums);
        } else {
            weigh_by_rule(tile, out, ld, worker, sums);
        }
    }

  private:
    void weigh_plain(const Tile<T>& tile, T* out, int64_t ld, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        const T scale = rule_.scale_of(0);
        if (!scaled) ops.scale(tile.data, tile.ld, tile.rows, tile.cols, scale);
        ops.softmax_weights(tile.data, tile.ld, tile.rows, tile.cols,
                            row.from(static_cast<size_t>(tile.row)),
                            col.from(static_cast<size_t>(tile.col)), out, ld);
        for (int i = 0; i < tile.rows; ++i) set_positives(tile, i, out + i * ld);
        sums.by_scale += ops.block_dot(out, ld, tile.data, tile.ld, tile.rows, tile.cols) /
                         static_cast<double>(scale);
        ops.scale(out, ld, tile.rows, tile.cols, scale);
    }

    void weigh_by_rule(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(2 * ops.rows * tile.ld);
        T *logits = memory.data(), *more = memory.data() + ops.rows * tile.ld;
        const SoftmaxSide<T> rows = row.from(static_cast<size_t>(tile.row));
        const SoftmaxSide<T> cols = col.from(static_cast<size_t>(tile.col));
        const SoftmaxSide<T> none{nullptr, nullptr, nullptr};
        rule_.logits(tile, options_.rows ? Side::rows : Side::cols, logits, tile.ld);
        ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols, rows,
                            rule_.one_tile() ? cols : none, out, ld);
        if (options_.rows) take_flat(tile, logits, row.flat, {}, out, ld);
        if (!rule_.one_tile()) {
            SoftmaxVectors<T> nothing;
            nothing.resize(tile.rows);
            rule_.logits(tile, Side::cols, logits, tile.ld);
            ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols, nothing.from(0), cols, more,
                                tile.ld);
            ops.add_scaled(more, tile.ld, tile.rows, tile.cols, T(1), out, ld);
        }
        if (options_.cols) take_flat(tile, logits, {}, col.flat, out, ld);
        for (int i = 0; i < tile.rows; ++i) finish_row(tile, i, out + i * ld, sums);
    }

    // Label smoothing: the same off every pair that is in the sum of its row, or of its column.
    void take_flat(const Tile<T>& tile, const T* logits, const std::vector<T>& by_row,
                   const std::vector<T>& by_col, T* out, int64_t ld) const {
        for (int i = 0; i < tile.rows; ++i) {
            const T* __restrict logit = logits + i * tile.ld;
            T* __restrict to = out + i * ld;
            if (!by_row.empty()) {
                const T mine = by_row[static_cast<size_t>(tile.row + i)];
                for (int j = 0; j < tile.cols; ++j) {
                    to[j] -= logit[j] != SoftmaxRule<T>::left_out ? mine : T(0);
                }
            }
            if (!by_col.empty()) {
                const T* __restrict off = by_col.data() + tile.col;
                for (int j = 0; j < tile.cols; ++j) {
                    to[j] -= logit[j] != SoftmaxRule<T>::left_out ? off[j] : T(0);
                }
            }
        }
    }

    void set_positives(const Tile<T>& tile, int i, T* out) const {
        const size_t at = static_cast<size_t>(tile.row + i);
        for_each_positive(rule_.positives(), tile.row + i, tile.col, 0, tile.cols,
                          [&](int64_t j, double weight) {
                              if (row.single[at]) {
                                  out[j] = row.positive[at];
                              } else {
                                  out[j] -= row.share[at] * static_cast<T>(weight);
                              }
                          });
    }

    // The positives' weights, the sums by the scale, and the slope of logits by dot products.
    void finish_row(const Tile<T>& tile, int i, T* out, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t at = tile.row + i;
        T* products = tile.data + i * tile.ld;
        set_positives(tile, i, out);
        const auto for_positives = [&](auto visit) {
            for_each_positive(rule_.positives(), at, tile.col, 0, tile.cols,
                              [&](int64_t j, double) { visit(j); });
        };
        double bent = 0.0;  // Σ W (φ − product) over the positives
        for_positives([&](int64_t j) {
            const double product = static_cast<double>(products[j]);
            bent += static_cast<double>(out[j]) * (rule_.of_positive(product) - product);
        });
        const double by_scale = bent + ops.block_dot(out, tile.ld, products, tile.ld, 1, tile.cols);
        if (by_scales_) {
            by_scales_[at] += by_scale;
        } else {
            sums.by_scale += by_scale;
        }
        ops.scale(out, tile.ld, 1, tile.cols, rule_.scale_of(at));
        if (!rule_.bends()) return;
        for_positives([&](int64_t j) {
            out[j] *= static_cast<T>(rule_.slope_of_positive(static_cast<double>(products[j])));
        });
    }

    const SoftmaxRule<T>& rule_;
    const SoftmaxOptions& options_;
    double* by_scales_;
    std::vector<Buffer<T>> memory_;
};

}  // namespace pairtile
