// Sliced transport and energy: project → sort → merge → reduce, one cost per direction.
//
// A second, short pipeline beside the sweep: sorting is no fold over pairs. It shares the engine's
// sources, frame, micro-kernels and threads. Results do not depend on the number of workers: one
// thread computes a direction, and directions are added to the gradients in their own order.
#pragma once

#include <cstdint>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// The two samples and the lines they are projected on: column l of `directions` (d × L), or,
// without directions, the coordinate axes (L = d).
struct Slices {
    Array x, y;
    const Array* directions = nullptr;

    int64_t count() const { return directions ? directions->cols : x.cols; }
};

// Gradients with respect to the points, C-contiguous and zero on entry; null when not asked for.
template <class T>
struct PointGradients {
    T* x = nullptr;
    T* y = nullptr;
};

// costs[l] = W_p^p along direction l, or W_p for infinite p, which has no gradients; gradients of
// Σ_l direction_weights[l] · costs[l]. Null row weights are equal ones; null direction weights are
// ones.
template <class T>
void transport_slices(const Slices& slices, double p, const double* x_weights,
                      const double* y_weights, const double* direction_weights, double* costs,
                      PointGradients<T> gradients, Control& control);

// costs[l] = 2E|X−Y| − E|X−X'| − E|Y−Y'| along direction l; gradients of their mean.
template <class T>
void energy_slices(const Slices& slices, double* costs, PointGradients<T> gradients,
                   Control& control);

}  // namespace pairtile
