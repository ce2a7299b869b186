// What all statistics of a kernel do: for each group of its terms that read one argument of a pair,
// bring the rows into a frame, choose the type of the tiles, and sweep over the pairs with a fold.
#pragma once

#include <type_traits>

#include "engine/contraction.hpp"
#include "engine/diagonal.hpp"
#include "kernels/evaluate.hpp"

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

// The same for each group of terms. A make_fold that takes evaluators of float64 alone has no other
// tiles.
template <class MakeFold>
void for_each_kernel_group(const KernelRequest& request, MakeFold make_fold) {
    const auto sweep_with = [&]<class T>(const KernelFrame& from, T) {
        KernelEvaluator<T> map(from, request.precision, request.control.workers(),
                               request.accuracy);
        sweep_kernel(map, request, make_fold);
    };
    for_each_argument(request.terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(request.x, request.y, group, argument, request.control);
        if constexpr (std::is_invocable_v<MakeFold, KernelEvaluator<float>&, const Blocking&>) {
            if (from.narrow(request.precision, request.accuracy)) return sweep_with(from, 0.0f);
        }
        sweep_with(from, 0.0);
    });
}

}  // namespace pairtile
