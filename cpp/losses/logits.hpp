// Logits S = scale · x yᵀ of rows, divided by their lengths where asked for: what the losses have
// in common.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/contraction.hpp"
#include "engine/normalisation.hpp"

namespace pairtile {

struct LogitRequest {
    Source x, y;
    double scale;
    bool normalise;
    const double* upstream;  // weights of the rows in the gradients; null: no gradients wanted
    Control& control;
};

// By the rows of each side as they are; zeroed by the caller.
template <class T>
struct LogitGradients {
    T *x, *y;
};

// Sweeps over the dot products of the rows.
template <class T>
class Logits {
  public:
    explicit Logits(const LogitRequest& request)
        : request_(request), x_(request.x), y_(request.y), frame_(raw_frame(request.x.d())) {
        if (request.normalise) {
            x_.normalise();
            y_.normalise();
        }
        frame_.narrow = x_.fits_float32() && y_.fits_float32();
        const int64_t passes = request.upstream ? 2 : 1;
        request.control.expect(passes * x_.rows() * y_.rows());
    }

    template <class Fold>
    void sweep(Fold& fold) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t d = x_.d();
        Blocking blocking;
        if constexpr (ContractionFold<Fold, T>) {
            blocking = contraction_blocking(ops, d);
        } else {
            blocking = choose_blocking(ops, x_.rows(), y_.rows(), d, BlockingLimits{});
        }
        run(Sweep<T>{x_, y_, frame_, TileFormula{}, blocking, false, request_.control}, fold);
    }

    // Gradients by the rows that the logits are of become those by the rows as they are.
    void finish(const LogitGradients<T>& gradients) const {
        if (!request_.normalise) return;
        through_normalisation(request_.x, x_, gradients.x, request_.control);
        through_normalisation(request_.y, y_, gradients.y, request_.control);
    }

  private:
    const LogitRequest& request_;
    Source x_, y_;
    Frame frame_;
};

// The contraction of a loss: its weights W = ∂loss/∂S, block by block, and the gradients of both
// sides and of the scale from them. `Weights` has weigh(tile, out, ld), which may overwrite the dot
// products of a tile but leaves in it what W is multiplied with for the gradient of the scale.
template <class T, class Weights>
class LogitGradient {
  public:
    LogitGradient(const Weights& weights, double scale, const LogitGradients<T>& out, int workers)
        : weights_(weights),
          scale_(static_cast<T>(scale)),
          out_(out),
          memory_(static_cast<size_t>(workers)) {}

    void begin_blocks(int64_t count) { by_block_.assign(static_cast<size_t>(count), {}); }

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t ld = block.sweep.blocking.strip;
        Buffer<T>& memory = memory_[static_cast<size_t>(block.worker)];
        memory.reserve(block.sweep.blocking.row_block * ld);
        Sums& sums = by_block_[static_cast<size_t>(block.index)];
        block.for_each_tile([&](const Tile<T>& tile) {
            T* weights = memory.data() + (tile.local_row - block.row) * ld;
            weights_.weigh(tile, weights, ld);
            sums.products += ops.block_dot(weights, ld, tile.data, ld, tile.rows, tile.cols);
            if constexpr (Weights::has_bias) {
                double rows[64] = {};
                ops.row_sums(weights, ld, tile.rows, tile.cols, nullptr, rows);
                for (int i = 0; i < tile.rows; ++i) sums.weights += rows[i];
            }
            ops.scale(weights, ld, tile.rows, tile.cols, scale_);
        });
        add_row_products(block, memory.data(), out_.x);
        add_col_products(block, memory.data(), out_.y);
    }

    void end_blocks() {
        for (const Sums& sums : by_block_) {
            products += sums.products;
            weights += sums.weights;
        }
    }

    double products = 0.0, weights = 0.0;  // Σ W · tile, and Σ W for losses with a bias

  private:
    struct Sums {
        double products = 0.0, weights = 0.0;
    };

    const Weights& weights_;
    T scale_;
    LogitGradients<T> out_;
    std::vector<Buffer<T>> memory_;
    std::vector<Sums> by_block_;
};

}  // namespace pairtile
