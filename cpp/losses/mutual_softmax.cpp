#include "losses/mutual_softmax.hpp"

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "losses/softmax_rule.hpp"
#include "losses/softmax_side.hpp"

namespace pairtile {
namespace {

// What a row leaves out, as pairs of a column: of a triangle a pair is one of both its rows.
struct Transposed {
    std::vector<int64_t> indptr, columns;

    Transposed(const PairList& list, int64_t n) {
        if (!list.given()) return;
        indptr.assign(static_cast<size_t>(n + 1), 0);
        columns.resize(static_cast<size_t>(list.indptr[n]));
        for (int64_t e = 0; e < list.indptr[n]; ++e) {
            ++indptr[static_cast<size_t>(list.columns[e] + 1)];
        }
        for (size_t i = 0; i < static_cast<size_t>(n); ++i) indptr[i + 1] += indptr[i];
        std::vector<int64_t> next(indptr);
        for (int64_t i = 0; i < n; ++i) {
            for (int64_t e = list.indptr[i]; e < list.indptr[i + 1]; ++e) {
                columns[static_cast<size_t>(next[static_cast<size_t>(list.columns[e])]++)] = i;
            }
        }
    }
    PairList list() const {
        return indptr.empty() ? PairList{} : PairList{indptr.data(), columns.data()};
    }
};

// Rows of one set among themselves, none of which has a positive there: a triangle, each pair for
// both its rows, which may differ in whether they leave it out.
template <class T>
class MutualRule {
  public:
    MutualRule(const LogitRequest& request, const SoftmaxOptions& options, const Logits<T>& logits)
        : transposed_(options.row_masked, request.x.rows()),
          options_(both_sides(options, transposed_)),
          rule_(request, options_, logits),
          memory_(static_cast<size_t>(request.control.workers())) {}

    // visit(logits, side), first as of the rows and then as of the columns of a tile.
    template <class Visit>
    void for_both_sides(const Tile<T>& tile, int worker, Visit visit) {
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(ops_of<T>(isa()).rows * tile.ld);
        for (const Side side : {Side::rows, Side::cols}) {
            rule_.logits(tile, side, memory.data(), tile.ld);
            leave_out_lower(tile, memory.data(), tile.ld);
            visit(memory.data(), side);
        }
    }
    T scale() const { return rule_.scale_of(0); }

  private:
    static SoftmaxOptions both_sides(SoftmaxOptions options, const Transposed& transposed) {
        options.rows = options.cols = true;
        options.col_masked = transposed.list();
        return options;
    }

    Transposed transposed_;
    SoftmaxOptions options_;
    SoftmaxRule<T> rule_;
    std::vector<Buffer<T>> memory_;
};

template <class T>
class MutualForward {
  public:
    MutualForward(MutualRule<T>& rule, int64_t n)
        : rule_(rule),
          max_(static_cast<size_t>(n), LogSumExp{}.max),
          sum_(static_cast<size_t>(n), 0.0) {}

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        block.for_each_tile([&](const Tile<T>& tile) {
            rule_.for_both_sides(tile, block.worker, [&](const T* logits, Side side) {
                const size_t at = static_cast<size_t>(side == Side::rows ? tile.row : tile.col);
                const auto fold = side == Side::rows ? ops.log_sum_exp_rows : ops.log_sum_exp_cols;
                fold(logits, tile.ld, tile.rows, tile.cols, max_.data() + at, sum_.data() + at);
            });
        });
    }
    SoftmaxState state(size_t row) const {
        SoftmaxState state;
        state.all = {max_[row], sum_[row]};
        return state;
    }

  private:
    MutualRule<T>& rule_;
    std::vector<double> max_, sum_;
};

template <class T>
class MutualWeights {
  public:
    MutualWeights(MutualRule<T>& rule, SoftmaxVectors<T> side, int workers)
        : rule_(rule), side_(std::move(side)), memory_(static_cast<size_t>(workers)) {}

    void weigh(const Tile<T>& tile, T* out, int64_t ld, int worker, LogitSums& sums) {
        const Ops<T>& ops = ops_of<T>(isa());
        Buffer<T>& memory = memory_[static_cast<size_t>(worker)];
        memory.reserve(ops.rows * tile.ld);
        SoftmaxVectors<T> nothing;
        nothing.resize(tile.rows);
        rule_.for_both_sides(tile, worker, [&](const T* logits, Side side) {
            if (side == Side::rows) {
                ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols,
                                    side_.from(static_cast<size_t>(tile.row)),
                                    SoftmaxSide<T>{nullptr, nullptr, nullptr}, out, ld);
                return;
            }
            ops.softmax_weights(logits, tile.ld, tile.rows, tile.cols, nothing.from(0),
                                side_.from(static_cast<size_t>(tile.col)), memory.data(), tile.ld);
            ops.add_scaled(memory.data(), tile.ld, tile.rows, tile.cols, T(1), out, ld);
        });
        sums.by_scale += ops.block_dot(out, ld, tile.data, tile.ld, tile.rows, tile.cols);
        ops.scale(out, ld, tile.rows, tile.cols, rule_.scale());
    }

  private:
    MutualRule<T>& rule_;
    SoftmaxVectors<T> side_;
    std::vector<Buffer<T>> memory_;
};

}  // namespace

template <class T>
void mutual_states(const LogitRequest& request, const SoftmaxOptions& options,
                   const SoftmaxStates& out) {
    const Logits<T> logits(request);
    MutualRule<T> rule(request, options, logits);
    MutualForward<T> forward(rule, request.x.rows());
    logits.sweep(forward);
    for (int64_t i = 0; i < request.x.rows(); ++i) {
        out.rows[i] = forward.state(static_cast<size_t>(i));
        out.limits[i] = INFINITY;
    }
}

template <class T>
void mutual_gradients(const LogitRequest& request, const SoftmaxOptions& options,
                      const SoftmaxSides& sides, SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows();
    const Logits<T> logits(request);
    MutualRule<T> rule(request, options, logits);
    SoftmaxVectors<T> side;
    side.resize(n);
    for (int64_t i = 0; i < n; ++i) {
        if (sides.rows[i].share == 0.0 || sides.row_weights[i] == 0.0) continue;
        side.set(static_cast<size_t>(i), sides.row_weights[i], sides.rows[i].all);
    }
    const int workers = request.control.workers();
    MutualWeights<T> weights(rule, std::move(side), workers);
    LogitGradient<T, MutualWeights<T>> backward(weights, out.gradients, workers);
    logits.sweep(backward);
    logits.finish(out.gradients);
    out.grad_scale += backward.sums.by_scale;
}

template void mutual_states<float>(const LogitRequest&, const SoftmaxOptions&,
                                   const SoftmaxStates&);
template void mutual_states<double>(const LogitRequest&, const SoftmaxOptions&,
                                    const SoftmaxStates&);
template void mutual_gradients<float>(const LogitRequest&, const SoftmaxOptions&,
                                      const SoftmaxSides&, SoftmaxLosses<float>&);
template void mutual_gradients<double>(const LogitRequest&, const SoftmaxOptions&,
                                       const SoftmaxSides&, SoftmaxLosses<double>&);

}  // namespace pairtile
