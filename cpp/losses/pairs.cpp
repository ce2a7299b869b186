// Two log-sum-exps for each row, over its positives and over its negatives, each pair of a triangle
// being one of its row and one of its column; then weights, by a contraction.
#include "losses/pairs.hpp"

#include <cmath>

#include "losses/softmax_side.hpp"
#include "pairtile/loss/circle.hpp"
#include "pairtile/loss/multi_similarity.hpp"

namespace pairtile {
namespace {

// The least similarity of a row's positives, and the largest of its negatives.
struct Hardest {
    std::vector<double> positive, negative;
};

// Tiles of the logits of positives and of negatives, −∞ where a pair is none of them, of similarity
// tiles of a triangle.
template <class T, class Loss>
class SplitLogits {
  public:
    SplitLogits(const PairLossOptions& options, int64_t n, int workers)
        : loss(options.parameters), options_(options), memory_(static_cast<size_t>(workers)) {
        positives_.row_labels = positives_.col_labels = options.labels;
        if (!mines()) return;
        hardest_.positive.assign(static_cast<size_t>(n), INFINITY);
        hardest_.negative.assign(static_cast<size_t>(n), -INFINITY);
    }

    bool mines() const { return options_.mining >= 0.0; }

    struct Tiles {
        T *positive, *negative;
        bool any_positive;
    };

    // What a tile is to its rows or to its columns; the same without mining.
    Tiles of(const Tile<T>& tile, bool for_rows, int worker) {
        const int64_t ld = tile.ld;
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(3 * tile.rows * ld);
        Tiles out{memory.data(), memory.data() + tile.rows * ld, false};
        for (int i = 0; i < tile.rows; ++i) {
            const T* __restrict c = tile.data + i * ld;
            T* __restrict negative = out.negative + i * ld;
            for (int j = 0; j < tile.cols; ++j) negative[j] = loss.negative(c[j]);
        }
        for_each_positive_of(tile, [&](int i, int64_t j) {
            if (!out.any_positive) {
                std::fill(out.positive, out.positive + tile.rows * ld, left_out);
                out.any_positive = true;
            }
            out.positive[i * ld + j] = loss.positive(tile.data[i * ld + j]);
            out.negative[i * ld + j] = left_out;
        });
        leave_out_lower(tile, out.negative, ld);
        if (mines()) mine(tile, for_rows, out);
        return out;
    }
    // Room for one more tile.
    T* spare(const Tile<T>& tile, int worker) {
        return memory_[static_cast<size_t>(worker)].data() + 2 * tile.rows * tile.ld;
    }

    template <class Visit>
    void for_each_positive_of(const Tile<T>& tile, Visit visit) const {
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t past = std::max<int64_t>(0, tile.row + i + 1 - tile.col);
            for_each_positive(positives_, tile.row + i, tile.col, past, tile.cols,
                              [&](int64_t j, double) { visit(i, j); });
        }
    }

    // The sweep that finds the hardest pairs of each row.
    void block(const PairBlock<T>& block) {
        block.for_each_tile([&](const Tile<T>& tile) {
            for (int i = 0; i < tile.rows; ++i) {
                const size_t row = static_cast<size_t>(tile.row + i);
                const int64_t past = std::max<int64_t>(0, tile.row + i + 1 - tile.col);
                for (int64_t j = past; j < tile.cols; ++j) {
                    const size_t col = static_cast<size_t>(tile.col + j);
                    const double c = static_cast<double>(tile.data[i * tile.ld + j]);
                    const bool same = options_.labels[row] == options_.labels[col];
                    for (const size_t at : {row, col}) {
                        double& least = hardest_.positive[at];
                        double& most = hardest_.negative[at];
                        if (same && c < least) least = c;
                        if (!same && c > most) most = c;
                    }
                }
            }
        });
    }

    const Loss loss;

  private:
    static constexpr T left_out = -static_cast<T>(INFINITY);

    // Leaves out what the row (or the column) does not keep; a NaN stays, to be seen.
    void mine(const Tile<T>& tile, bool for_rows, const Tiles& out) const {
        for (int i = 0; i < tile.rows; ++i) {
            for (int j = 0; j < tile.cols; ++j) {
                const size_t at = static_cast<size_t>(for_rows ? tile.row + i : tile.col + j);
                const double c = static_cast<double>(tile.data[i * tile.ld + j]);
                if (c + options_.mining <= hardest_.positive[at]) {
                    out.negative[i * tile.ld + j] = left_out;
                }
                if (out.any_positive && c - options_.mining >= hardest_.negative[at]) {
                    out.positive[i * tile.ld + j] = left_out;
                }
            }
        }
    }

    const PairLossOptions& options_;
    Positives positives_;
    Hardest hardest_;
    std::vector<Buffer<T>> memory_;
};

// A log-sum-exp for each row.
struct LogSumExps {
    std::vector<double> max, sum;

    explicit LogSumExps(int64_t n)
        : max(static_cast<size_t>(n), LogSumExp{}.max), sum(max.size(), 0.0) {}
    LogSumExp at(size_t row) const { return {max[row], sum[row]}; }
};

template <class T, class Loss>
class PairForward {
  public:
    PairForward(SplitLogits<T, Loss>& split, int64_t n)
        : positives(n), negatives(n), split_(split) {}

    void block(const PairBlock<T>& block) {
        block.for_each_tile([&](const Tile<T>& tile) {
            auto tiles = split_.of(tile, true, block.worker);
            fold(tile, tiles, true);
            if (split_.mines()) tiles = split_.of(tile, false, block.worker);
            fold(tile, tiles, false);
        });
    }

    LogSumExps positives, negatives;

  private:
    void fold(const Tile<T>& tile, const typename SplitLogits<T, Loss>::Tiles& tiles, bool rows) {
        const Ops<T>& ops = ops_of<T>(isa());
        const auto into = rows ? ops.log_sum_exp_rows : ops.log_sum_exp_cols;
        const size_t at = static_cast<size_t>(rows ? tile.row : tile.col);
        into(tiles.negative, tile.ld, tile.rows, tile.cols, negatives.max.data() + at,
             negatives.sum.data() + at);
        if (!tiles.any_positive) return;
        into(tiles.positive, tile.ld, tile.rows, tile.cols, positives.max.data() + at,
             positives.sum.data() + at);
    }

    SplitLogits<T, Loss>& split_;
};

template <class T, class Loss>
struct PairWeights {
    SplitLogits<T, Loss>& split;
    SoftmaxVectors<T> positives, negatives, nothing;

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums&) {
        if (!split.mines()) {
            add(tile, split.of(tile, true, worker), true, true, false, out, ld, worker);
            return;
        }
        add(tile, split.of(tile, true, worker), true, false, false, out, ld, worker);
        add(tile, split.of(tile, false, worker), false, true, true, out, ld, worker);
    }

  private:
    // The weights that logits of tiles have for their rows, for their columns, or for both.
    void weights_of(const Tile<T>& tile, const T* logits, const SoftmaxVectors<T>& of, bool rows,
                    bool cols, T* out) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const SoftmaxSide<T> none{nullptr, nullptr, nullptr};
        ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols,
                            rows ? of.from(static_cast<size_t>(tile.row)) : nothing.from(0),
                            cols ? of.from(static_cast<size_t>(tile.col)) : none, out, tile.ld);
    }

    void add(const Tile<T>& tile, const typename SplitLogits<T, Loss>::Tiles& tiles, bool rows,
             bool cols, bool accumulate, T* out, int64_t ld, int worker) const {
        T* weights = split.spare(tile, worker);
        weights_of(tile, tiles.negative, negatives, rows, cols, weights);
        for (int i = 0; i < tile.rows; ++i) {
            const T* __restrict c = tile.data + i * tile.ld;
            const T* __restrict w = weights + i * tile.ld;
            T* __restrict to = out + i * ld;
            for (int j = 0; j < tile.cols; ++j) {
                const T weight = w[j] * split.loss.negative_slope(c[j]);
                to[j] = accumulate ? to[j] + weight : weight;
            }
        }
        if (!tiles.any_positive) return;
        weights_of(tile, tiles.positive, positives, rows, cols, weights);
        split.for_each_positive_of(tile, [&](int i, int64_t j) {
            out[i * ld + j] +=
                weights[i * tile.ld + j] * split.loss.positive_slope(tile.data[i * tile.ld + j]);
        });
    }
};

template <class T, class Loss>
void run_loss(const LogitRequest& request, const PairLossOptions& options, double* per_row,
              T* gradient) {
    const int64_t n = request.x.rows();
    const Logits<T> logits(request);
    const int workers = request.control.workers();
    SplitLogits<T, Loss> split(options, n, workers);
    if (split.mines()) logits.sweep(split);
    PairForward<T, Loss> forward(split, n);
    logits.sweep(forward);
    PairWeights<T, Loss> weights{split, {}, {}, {}};
    if (request.upstream) {
        weights.positives.resize(n);
        weights.negatives.resize(n);
        weights.nothing.resize(64);
    }
    for (int64_t i = 0; i < n; ++i) {
        const size_t at = static_cast<size_t>(i);
        const LogSumExp positive = forward.positives.at(at), negative = forward.negatives.at(at);
        const PairLoss loss =
            Loss::finish(options.parameters, positive.finish(), negative.finish());
        per_row[i] = loss.value;
        if (!request.upstream) continue;
        weights.positives.set(at, request.upstream[i] * loss.by_positives, positive);
        weights.negatives.set(at, request.upstream[i] * loss.by_negatives, negative);
    }
    if (!request.upstream) return;
    const LogitGradients<T> out{gradient, gradient};
    LogitGradient<T, PairWeights<T, Loss>> backward(weights, out, workers);
    logits.sweep(backward);
    logits.finish(out);
}

}  // namespace

template <class T>
void pair_losses(const LogitRequest& request, const PairLossOptions& options, double* per_row,
                 T* gradient) {
    if (options.loss == PairLossId::circle) {
        run_loss<T, Circle<T>>(request, options, per_row, gradient);
    } else {
        run_loss<T, MultiSimilarity<T>>(request, options, per_row, gradient);
    }
}

template void pair_losses<float>(const LogitRequest&, const PairLossOptions&, double*, float*);
template void pair_losses<double>(const LogitRequest&, const PairLossOptions&, double*, double*);

}  // namespace pairtile
