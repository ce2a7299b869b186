// What all statistics of a kernel do: for each group of its terms that read one argument of a pair,
// bring the rows into a frame, choose the type of the tiles, and sweep over the pairs with a fold.
#pragma once

#include <algorithm>
#include <optional>
#include <type_traits>

#include "engine/contraction.hpp"
#include "engine/diagonal.hpp"
#include "kernels/evaluate.hpp"
#include "kernels/skipped.hpp"

namespace pairtile {

struct KernelRequest {
    const Source &x, &y;
    const std::vector<KernelTerm>& terms;
    Precision precision;
    Control& control;
    bool triangle = false;  // y is x: only pairs i < j
    int64_t group = 0;      // only pairs within groups of so many rows; 0: all
    Accuracy accuracy = Accuracy::of_values;
    BlockingLimits limits = {};
};

// One sweep, in whichever mode make_fold(map, blocking) asks for by its type. The fold's finish(),
// if it has one, follows.
template <class T, class MakeFold>
void sweep_kernel(KernelEvaluator<T>& map, const KernelRequest& request, MakeFold make_fold) {
    using Fold = std::invoke_result_t<MakeFold, KernelEvaluator<T>&, const Blocking&>;
    const Ops<T>& ops = ops_of<T>(isa());
    const Source &x = map.from().x, &y = map.from().y;
    Blocking blocking;
    if constexpr (ContractionFold<Fold, T>) {
        blocking = contraction_blocking(ops, x.rows(), y.rows(), x.d());
    } else if constexpr (DiagonalFold<Fold, T>) {
        blocking = diagonal_blocking(ops, request.group);
    } else {
        blocking = choose_blocking(ops, x.rows(), y.rows(), x.d(), request.limits);
    }
    Sweep<T> sweep = map.sweep(blocking, request.triangle, request.control);
    sweep.group = request.group;
    expect(sweep);
    Fold fold = make_fold(map, blocking);
    run(sweep, fold);
    if constexpr (requires { fold.finish(); }) fold.finish();
}

// A fold that takes rows and columns in the places of their orders, group by group of near rows
// (engine/nearest.hpp) or, if it multiplies, by blocks that are not far apart. What it has is its
// result only if its finish() follows.
template <class Fold>
concept NearFold = requires(Fold& fold, const Skipping& skipping) {
    fold.take_places(skipping);
};

// What such a fold says where every row has a state of its own, whichever group it is of.
template <class T>
class NearRows {
  public:
    void begin_groups(int, int64_t) {}
    void begin_group(const Task&) {}
    void end_group(const Task&) {}
    double reach(const Task&, int64_t, int64_t) const { return reach_; }

  protected:
    explicit NearRows(const KernelEvaluator<T>& map) : reach_(map.vanishes()) {}

  private:
    double reach_;
};

// The same sweep without the tiles in which the kernel has vanished, or the blocks in which its
// slope has, if there are enough of them. Returns how many pairs were left out; nothing, if nothing
// has been done.
template <class T, class MakeFold>
std::optional<int64_t> sweep_near(const KernelEvaluator<T>& of_all, const KernelRequest& request,
                                  MakeFold make_fold) {
    using Fold = std::invoke_result_t<MakeFold, KernelEvaluator<T>&, const Blocking&>;
    constexpr bool multiplies = ContractionFold<Fold, T>;
    const KernelFrame& from = of_all.from();
    const int64_t n = from.x.rows(), m = from.y.rows();
    Control& control = request.control;
    Blocking blocking{};  // all zero for a fold that multiplies nothing
    std::unique_ptr<Skipping> skipping;
    if constexpr (multiplies) {
        constexpr bool of_one_size = true;  // as leaves of either order are
        blocking = contraction_blocking(ops_of<T>(isa()), n, m, from.x.d(), of_one_size);
        skipping = skip_far_blocks(from, of_all.slopes_vanish(), blocking.row_block, control);
    } else {
        skipping = skip_vanished(from, of_all.vanishes(), request.triangle, control);
    }
    if (!skipping) return std::nullopt;
    KernelFrame placed = from;
    placed.x = skipping->rows;
    placed.y = skipping->cols;
    KernelEvaluator<T> map(placed, request.precision, control.workers(), request.accuracy);
    const Sweep<T> sweep = map.sweep(blocking, request.triangle, control);
    control.expect(n * m);
    auto fold = make_fold(map, sweep.blocking);
    fold.take_places(*skipping);
    int64_t computed = 0;
    if constexpr (multiplies) {
        run(sweep, fold);
        computed = fold.computed();
    } else {
        computed = run_nearest(sweep, *skipping, skipping->most_pairs_per_row, fold);
    }
    if (computed < 0) return std::nullopt;
    fold.finish();
    // tiles on the diagonal hold more than the pairs of a triangle
    return std::max<int64_t>(0, (request.triangle ? n * (n - 1) / 2 : n * m) - computed);
}

// The same for each group of terms. A make_fold that takes evaluators of float64 alone has no other
// tiles. Returns how many pairs were left out.
template <class MakeFold>
int64_t for_each_kernel_group(const KernelRequest& request, MakeFold make_fold) {
    int64_t left_out = 0;
    const auto sweep_with = [&]<class T>(const KernelFrame& from, T) {
        KernelEvaluator<T> map(from, request.precision, request.control.workers(),
                               request.accuracy);
        using Fold = std::invoke_result_t<MakeFold, KernelEvaluator<T>&, const Blocking&>;
        if constexpr (NearFold<Fold>) {
            if (const auto pairs = sweep_near(map, request, make_fold)) {
                left_out += *pairs;
                return;
            }
        }
        sweep_kernel(map, request, make_fold);
    };
    for_each_argument(request.terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(request.x, request.y, group, argument, request.control);
        if constexpr (std::is_invocable_v<MakeFold, KernelEvaluator<float>&, const Blocking&>) {
            if (from.narrow(request.precision, request.accuracy)) return sweep_with(from, 0.0f);
        }
        sweep_with(from, 0.0);
    });
    return left_out;
}

}  // namespace pairtile
