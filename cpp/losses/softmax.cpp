// A loss is a forward sweep (softmax_forward), what becomes of its states (softmax_finish) and a
// backward sweep of weights (softmax_weights).
#include "losses/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "losses/mutual_softmax.hpp"
#include "losses/softmax_finish.hpp"
#include "losses/softmax_forward.hpp"
#include "losses/softmax_weights.hpp"

namespace pairtile {
namespace {

// Of rows and of columns, and nothing else that the sweep held.
struct States {
    std::vector<SoftmaxState> rows, cols;
};
template <class T>
States sweep_forward(const LogitRequest& request, const Logits<T>& logits,
                     const SoftmaxRule<T>& rule, const SoftmaxOptions& options, bool few = false) {
    SoftmaxForward<T> forward(rule, options, request.x.rows(), request.y.rows(),
                              request.control.workers());
    if (few) {
        logits.sweep_first(forward);
        return {std::move(forward.rows), std::move(forward.cols)};
    }
    BlockingLimits limits;
    limits.state_bytes = int64_t{8} << 20;  // of columns, beside a state of each row and column
    if (options.cols) limits.state_bytes_per_col = options.label_smoothing > 0.0 ? 32 : 16;
    logits.sweep(forward, limits);
    return {std::move(forward.rows), std::move(forward.cols)};
}

template <class T>
struct Sides {
    SideWeights<T> rows, cols;
};
template <class T>
void sweep_backward(const LogitRequest& request, const SoftmaxOptions& options,
                    const Logits<T>& logits, const SoftmaxRule<T>& rule, Sides<T> sides,
                    SoftmaxLosses<T>& out) {
    SoftmaxWeights<T> weights(rule, options, out.grad_scales, request.control.workers());
    weights.row = std::move(sides.rows);
    weights.col = std::move(sides.cols);
    LogitGradient<T, SoftmaxWeights<T>> backward(weights, out.gradients, request.control.workers());
    logits.sweep(backward);
    logits.finish(out.gradients);
    out.grad_scale += backward.sums.by_scale;
}

// Both sweeps over so few pairs that tiles are kept; finish(states) gives the sides.
template <class T, class ToSides>
void sweep_both(const LogitRequest& request, const SoftmaxOptions& options, const Logits<T>& logits,
                const SoftmaxRule<T>& rule, ToSides finish, SoftmaxLosses<T>& out) {
    const int workers = request.control.workers();
    SoftmaxForward<T> forward(rule, options, request.x.rows(), request.y.rows(), workers);
    SoftmaxWeights<T> weights(rule, options, out.grad_scales, workers);
    weights.scaled = true;
    LogitGradient<T, SoftmaxWeights<T>> backward(weights, out.gradients, workers);
    const auto between = [&] {
        Sides<T> sides = finish({std::move(forward.rows), std::move(forward.cols)});
        weights.row = std::move(sides.rows);
        weights.col = std::move(sides.cols);
    };
    logits.sweep_kept(forward, between, backward);
    logits.finish(out.gradients);
    out.grad_scale += backward.sums.by_scale;
}

// Whether the forward sweep leaves tiles from which the backward one can go on.
template <class T>
bool leaves_tiles(const SoftmaxRule<T>& rule, const SoftmaxOptions& options) {
    return !rule.plain() || (options.label_smoothing == 0.0 && options.tau_plus == 0.0);
}

}  // namespace

template <class T>
void softmax_losses(const LogitRequest& request, const SoftmaxOptions& options,
                    SoftmaxLosses<T>& out) {
    const int64_t n = request.x.rows(), m = request.y.rows();
    const Logits<T> logits(request);
    const SoftmaxRule<T> rule(request, options, logits);
    const bool grad = request.upstream != nullptr;
    const double half = options.rows && options.cols ? 0.5 : 1.0;
    const Positives& positives = options.positives;
    const auto finish = [&](States states) -> Sides<T> {
        SoftmaxFinish<T> of_row(options.label_smoothing, n, grad);
        SoftmaxFinish<T> of_col(options.label_smoothing, options.cols ? m : 0,
                                grad && options.cols);
        for (int64_t i = 0; i < n; ++i) {
            const size_t at = static_cast<size_t>(i);
            const SoftmaxState& row = states.rows[at];
            if (options.rows) out.lse_row[i] = row.all.finish();
            out.per_row[i] = 0.0;
            if (row.share == 0.0) continue;
            const double weight = grad ? half * request.upstream[i] : 0.0;
            if (options.tau_plus > 0.0) {
                double by_scale = 0.0;
                out.per_row[i] = finish_debiased(row, options.tau_plus, static_cast<double>(m - 1),
                                                 request.scale_of(i), weight, at, of_row.side,
                                                 out.lse_row[i], by_scale);
                (out.grad_scales ? out.grad_scales[i] : out.grad_scale) += by_scale;
                continue;
            }
            const bool single = positives.targets || has_one_positive(positives, i, row);
            if (options.rows) out.per_row[i] = half * of_row(at, row, single, weight);
            if (!options.cols) continue;
            const size_t target = static_cast<size_t>(positives.targets[i]);
            SoftmaxState& col = states.cols[target];
            col.positive = row.positive, col.share = row.share;
            out.per_row[i] += half * of_col(target, col, true, weight);
            if (grad) join_positives(options, at, of_row.side, of_col.side);
        }
        for (size_t j = 0; j < states.cols.size(); ++j) {
            out.lse_col[j] = states.cols[j].all.finish();
        }
        return {std::move(of_row.side), std::move(of_col.side)};
    };
    const bool few = leaves_tiles(rule, options) && logits.can_keep();
    if (grad && few) return sweep_both(request, options, logits, rule, finish, out);
    Sides<T> sides = finish(sweep_forward(request, logits, rule, options, few));
    if (grad) sweep_backward(request, options, logits, rule, std::move(sides), out);
}

template <class T>
void softmax_states(const LogitRequest& request, const SoftmaxOptions& options,
                    const SoftmaxStates& out) {
    if (request.triangle) return mutual_states<T>(request, options, out);
    const Logits<T> logits(request);
    const SoftmaxRule<T> rule(request, options, logits);
    const States states = sweep_forward(request, logits, rule, options);
    std::copy(states.rows.begin(), states.rows.end(), out.rows);
    if (options.cols) std::copy(states.cols.begin(), states.cols.end(), out.cols);
    const bool found = options.false_negative_margin.has_value();
    for (int64_t i = 0; i < request.x.rows(); ++i) {
        out.limits[i] = found ? rule.limit_of(i) : INFINITY;
    }
}

template <class T>
void softmax_gradients(const LogitRequest& request, const SoftmaxOptions& options,
                       const SoftmaxSides& sides, SoftmaxLosses<T>& out) {
    if (request.triangle) return mutual_gradients<T>(request, options, sides, out);
    const int64_t n = request.x.rows(), m = request.y.rows();
    const Logits<T> logits(request);
    const SoftmaxRule<T> rule(request, options, logits);
    const Positives& positives = options.positives;
    const int64_t* targets = positives.targets;
    SoftmaxFinish<T> of_row(options.label_smoothing, n, true);
    SoftmaxFinish<T> of_col(options.label_smoothing, options.cols ? m : 0, options.cols);
    for (int64_t j = 0; options.cols && j < m; ++j) {
        const SoftmaxState& state = sides.cols[j];
        if (state.share != 0.0) of_col(static_cast<size_t>(j), state, true, sides.col_weights[j]);
    }
    for (int64_t i = 0; i < n; ++i) {
        const size_t at = static_cast<size_t>(i);
        const SoftmaxState& state = sides.rows[i];
        if (state.share == 0.0) continue;
        if (options.tau_plus > 0.0) {
            double lse = 0.0, by_scale = 0.0;
            finish_debiased(state, options.tau_plus, static_cast<double>(sides.negatives),
                            request.scale_of(i), sides.row_weights[i], at, of_row.side, lse,
                            by_scale);
            if (targets[i] < 0) continue;  // once for all blocks
            (out.grad_scales ? out.grad_scales[i] : out.grad_scale) += by_scale;
            continue;
        }
        const bool single = targets || has_one_positive(positives, i, state);
        if (options.rows) of_row(at, state, single, sides.row_weights[i]);
        if (options.cols && targets[i] >= 0) join_positives(options, at, of_row.side, of_col.side);
    }
    sweep_backward<T>(request, options, logits, rule,
                      {std::move(of_row.side), std::move(of_col.side)}, out);
}

template void softmax_losses<float>(const LogitRequest&, const SoftmaxOptions&,
                                    SoftmaxLosses<float>&);
template void softmax_losses<double>(const LogitRequest&, const SoftmaxOptions&,
                                     SoftmaxLosses<double>&);
template void softmax_states<float>(const LogitRequest&, const SoftmaxOptions&,
                                    const SoftmaxStates&);
template void softmax_states<double>(const LogitRequest&, const SoftmaxOptions&,
                                     const SoftmaxStates&);
template void softmax_gradients<float>(const LogitRequest&, const SoftmaxOptions&,
                                       const SoftmaxSides&, SoftmaxLosses<float>&);
template void softmax_gradients<double>(const LogitRequest&, const SoftmaxOptions&,
                                        const SoftmaxSides&, SoftmaxLosses<double>&);

}  // namespace pairtile
