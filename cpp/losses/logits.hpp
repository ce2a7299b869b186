// Logits S = scale · x yᵀ of rows, divided by their lengths where asked for: what the losses have
// in common.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/contraction.hpp"
#include "engine/diagonal.hpp"
#include "engine/normalisation.hpp"

namespace pairtile {

struct LogitRequest {
    Source x, y;
    double scale;
    const double* row_scales;  // one for each row in place of `scale`, or null
    bool normalise;
    bool triangle;           // y is x: only pairs i < j, each for both its rows
    const double* upstream;  // weights of the rows in the gradients; null: no gradients wanted
    Control& control;

    double scale_of(int64_t row) const { return row_scales ? row_scales[row] : scale; }
};

// By the rows of each side as they are, zeroed by the caller; null where none is wanted, which
// leaves out a product. Of a triangle both are one.
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
    }

    template <class Fold>
    void sweep(Fold& fold, const BlockingLimits& limits = {}) const {
        Blocking blocking;
        if constexpr (ContractionFold<Fold, T>) {
            blocking = contraction();
        } else {
            blocking = choose_blocking(ops_of<T>(isa()), x_.rows(), y_.rows(), x_.d(), limits);
        }
        const Sweep<T> sweep{
            x_, y_, frame_, TileFormula{}, blocking, request_.triangle, request_.control};
        expect(sweep);
        run(sweep, fold);
    }

    // Whether there are so few pairs that their tiles can be kept from one sweep to the next.
    bool can_keep() const {
        return pairtile::can_keep<T>(contraction(), x_.rows(), y_.rows(), x_.d());
    }
    // Two sweeps, the second a contraction of the tiles as the first leaves them; or the first
    // alone.
    template <class First, class Between, class Second>
    void sweep_kept(First& first, Between between, Second& second) const {
        const Sweep<T> sweep = few();
        expect(sweep);
        expect(sweep);
        run_kept(sweep, first, between, second);
    }
    template <class First>
    void sweep_first(First& first) const {
        const Sweep<T> sweep = few();
        expect(sweep);
        run_first(sweep, first);
    }

    // visit(i, dot product) of each row and the column that `targets` names for it, the first one
    // where that is -1: the numbers that a tile would hold.
    template <class Visit>
    void for_each_target(const int64_t* targets, Visit visit) const {
        std::vector<int64_t> taken(static_cast<size_t>(x_.rows()));
        for (size_t i = 0; i < taken.size(); ++i) taken[i] = std::max<int64_t>(targets[i], 0);
        Source cols = y_;
        cols.take(taken.data(), x_.rows());
        const auto on_tile = [&](const Tile<T>& tile) {
            for (int i = 0; i < tile.rows; ++i) {
                const int64_t row = tile.row + i, at = row - tile.col;
                if (at >= 0 && at < tile.cols) visit(row, tile.data[i * tile.ld + at]);
            }
        };
        struct Fold {
            const decltype(on_tile)& visit_tile;
            void tile(const Tile<T>& tile, const Panels<T>&, int) const { visit_tile(tile); }
        } fold{on_tile};
        Sweep<T> sweep{x_,
                       cols,
                       frame_,
                       TileFormula{},
                       diagonal_blocking(ops_of<T>(isa()), 1),
                       false,
                       request_.control};
        sweep.group = 1;
        expect(sweep);
        run(sweep, fold);
    }

    // Gradients by the rows that the logits are of become those by the rows as they are.
    void finish(const LogitGradients<T>& gradients) const {
        if (!request_.normalise) return;
        if (gradients.x) through_normalisation(request_.x, gradients.x, request_.control);
        if (request_.triangle || !gradients.y) return;
        through_normalisation(request_.y, gradients.y, request_.control);
    }

  private:
    Blocking contraction() const {
        return contraction_blocking(ops_of<T>(isa()), x_.rows(), y_.rows(), x_.d(),
                                    request_.triangle);
    }
    Sweep<T> few() const {
        return {x_, y_, frame_, TileFormula{}, contraction(), request_.triangle, request_.control};
    }

    const LogitRequest& request_;
    Source x_, y_;
    Frame frame_;
};

// Of a tile of a triangle, pairs j <= i, which are met as pairs i < j: their logits become −∞.
template <class T>
void leave_out_lower(const Tile<T>& tile, T* logits, int64_t ld) {
    for (int i = 0; i < tile.rows; ++i) {
        const int64_t past = std::min<int64_t>(tile.row + i + 1 - tile.col, tile.cols);
        for (int64_t j = 0; j < past; ++j) logits[i * ld + j] = -static_cast<T>(INFINITY);
    }
}

// Sums over the pairs of a block, as a loss needs them.
struct LogitSums {
    double by_scale = 0.0, by_bias = 0.0;

    void merge(const LogitSums& other) {
        by_scale += other.by_scale;
        by_bias += other.by_bias;
    }
};

// The contraction of a loss: its weights ∂loss/∂(x·y), block by block, and the gradients of both
// sides from them. `Weights` has weigh(tile, out, ld, worker, sums), which may overwrite the tile.
template <class T, class Weights>
class LogitGradient {
  public:
    LogitGradient(Weights& weights, const LogitGradients<T>& out, int workers)
        : weights_(weights), out_(out), memory_(static_cast<size_t>(workers)) {}

    void begin_blocks(int64_t count) { by_block_.assign(static_cast<size_t>(count), {}); }

    void block(const PairBlock<T>& block) {
        const int64_t ld = block.sweep.blocking.strip;
        Buffer<T>& memory = memory_[static_cast<size_t>(block.worker)];
        memory.reserve(block.sweep.blocking.row_block * ld);
        LogitSums& sums = by_block_[static_cast<size_t>(block.index)];
        block.for_each_tile([&](const Tile<T>& tile) {
            weights_.weigh(tile, memory.data() + (tile.local_row - block.row) * ld, ld,
                           block.worker, sums);
        });
        if (out_.x) add_row_products(block, memory.data(), out_.x);
        if (out_.y) add_col_products(block, memory.data(), out_.y);
    }

    void end_blocks() {
        for (const LogitSums& part : by_block_) sums.merge(part);
    }

    LogitSums sums;

  private:
    Weights& weights_;
    LogitGradients<T> out_;
    std::vector<Buffer<T>> memory_;
    std::vector<LogitSums> by_block_;
};

// Numbers of the rows in the tile's type.
template <class T>
std::vector<T> narrowed(const double* values, int64_t n) {
    std::vector<T> out(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i)] = static_cast<T>(values[i]);
    return out;
}

}  // namespace pairtile
