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

template <class T>
struct Prepared;

// The two samples and the lines they are projected on: column l of `directions` (d × L), or,
// without directions, the coordinate axes (L = d).
struct Slices {
    Array x, y;
    const Array* directions = nullptr;

    int64_t count() const { return directions ? directions->cols : x.cols; }
};

// Gradients with respect to the points, and of each cost with respect to its own direction (L × d);
// C-contiguous and zero on entry; null when not asked for.
template <class T>
struct PointGradients {
    T* x = nullptr;
    T* y = nullptr;
    double* directions = nullptr;

    bool by_points() const { return x || y; }
};

// What transport is asked about. Null row weights are equal ones; null direction weights are ones.
struct Transport {
    double p;
    const double* x_weights = nullptr;
    const double* y_weights = nullptr;
    const double* direction_weights = nullptr;
};

// What it answers; null where it is not asked for.
template <class T>
struct TransportResults {
    double* costs;                // [l] = W_p^p along direction l, or W_p for infinite p
    PointGradients<T> gradients;  // of Σ_l direction_weights[l] · costs[l]; not for infinite p
    // The same by the shares of mass of the rows, n and m, zero on entry; along axes by line,
    // L × n and L × m. Of what moves no mass from row to row they know nothing: Σ share·slope = 0.
    double* x_weight_slopes = nullptr;
    double* y_weight_slopes = nullptr;
    // L × 4: means of x and y along direction l, counted from one point, and their variances.
    double* moments = nullptr;
};

// Along directions, of samples that may be prepared for many calls.
template <class T>
void transport_slices(const Slices& slices, const Transport& transport,
                      const TransportResults<T>& results, Control& control,
                      const Prepared<T>* prepared = nullptr);

// costs[l] = 2E|X−Y| − E|X−X'| − E|Y−Y'| along direction l; gradients of their mean.
template <class T>
void energy_slices(const Slices& slices, double* costs, PointGradients<T> gradients,
                   Control& control);

// What either takes at least of n and m values along one axis, in bytes beside them.
int64_t least_line_memory(int64_t n, int64_t m, bool wide, bool weighted);

}  // namespace pairtile
