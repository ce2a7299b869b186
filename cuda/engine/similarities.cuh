// Pairs as kernel values. What a kernel reads of a pair (squared or L1 distance, dot product) is
// composed at compile time; the kernel is chosen at run time, once per tile and thread.
#pragma once

#include <vector>

#include "engine/launch.hpp"
#include "engine/similarity.hpp"
#include "engine/sweep.cuh"
#include "pairtile/metric/canonical.hpp"
#include "pairtile/metric/inner_product.hpp"
#include "pairtile/metric/manhattan.hpp"
#include "pairtile/metric/sqeuclidean.hpp"

namespace pairtile::gpu {

// Sums of the working type over 32 features, added up in float64, so that the rounding error does
// not grow with the number of features.
template <class Core, class T>
struct WorkingPairs {
    using Value = T;
    double sums[pairs_per_thread];

    __device__ void begin() {
        for (double& sum : sums) sum = 0.0;
    }
    static constexpr __device__ int64_t passes() { return 1; }
    __device__ void add(const Staged<T>& x, const Staged<T>& y, const Place& place,
                        const Chunk& now) {
        T lanes[pairs_per_thread][8] = {};
        accumulate<Core>(lanes, x, y, place, now.count);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            sums[p] += static_cast<double>(canonical_tree<Core>(lanes[p]));
        }
    }
};

template <class T>
struct Similarity {
    KernelId kernel;
    T params[kernel_params];

    Similarity() = default;
    explicit Similarity(const KernelTerm& term) : kernel(term.kernel) {
        for (int p = 0; p < kernel_params; ++p) params[p] = static_cast<T>(term.params[p]);
    }
};

// A weighted sum of kernels that read the same number of a pair, small enough for a parameter.
template <class T>
struct Mixture {
    int count;
    double weights[most_terms];
    Similarity<T> kernels[most_terms];

    // At most `most_terms`.
    explicit Mixture(const std::vector<KernelTerm>& terms) : count(static_cast<int>(terms.size())) {
        for (int t = 0; t < count; ++t) {
            weights[t] = terms[static_cast<size_t>(t)].weight;
            kernels[t] = Similarity<T>(terms[static_cast<size_t>(t)]);
        }
    }
};
static_assert(sizeof(Mixture<double>) <= 3072);  // of 4 KB for all parameters of a kernel

// Those whose pairs are summed up by Core.
template <class Core>
constexpr bool reads(Argument argument) {
    if (argument == Argument::squared_distance) return std::is_same_v<Core, SquaredEuclidean>;
    if (argument == Argument::l1_distance) return std::is_same_v<Core, Manhattan>;
    return std::is_same_v<Core, InnerProduct>;
}

// What is asked of a kernel.
struct Itself {
    template <class Kernel>
    static constexpr bool exists = true;
    template <class Kernel, class T>
    static __device__ T of(T t, const T* params) {
        return Kernel::value(t, params);
    }
};
struct Logarithm {
    template <class Kernel>
    static constexpr bool exists = requires(double t, const double* p) {
        Kernel::log_value(t, p);
    };
    template <class Kernel, class T>
    static __device__ T of(T t, const T* params) {
        // of rows infinitely far apart: kernels that have logarithms fall with the distance
        return t == T(INFINITY) ? -T(INFINITY) : Kernel::log_value(t, params);
    }
};

template <class Asked, class Core, class T>
__device__ __noinline__ void evaluate(const WorkingPairs<Core, T>& pairs,
                                      const Similarity<T>& similarity,
                                      double (&values)[pairs_per_thread]) {
    switch (similarity.kernel) {
#define PT_VALUE(name, type)                                                         \
    case KernelId::name:                                                             \
        if constexpr (reads<Core>(type::argument) && Asked::template exists<type>) { \
            for (int p = 0; p < pairs_per_thread; ++p) {                             \
                const T t = static_cast<T>(pairs.sums[p]);                           \
                values[p] = Asked::template of<type>(t, similarity.params);          \
            }                                                                        \
        }                                                                            \
        break;
        PAIRTILE_KERNELS(PT_VALUE)
#undef PT_VALUE
        case KernelId::count:
            break;
    }
}

// The sum of the terms [first, last).
template <class Core, class T>
__device__ __noinline__ void evaluate(const WorkingPairs<Core, T>& pairs, const Mixture<T>& mixture,
                                      int first, int last, double (&values)[pairs_per_thread]) {
    for (double& value : values) value = 0.0;
    for (int t = first; t < last; ++t) {
        double one[pairs_per_thread];
        evaluate<Itself>(pairs, mixture.kernels[t], one);
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) values[p] += mixture.weights[t] * one[p];
    }
}

template <class Core, class T>
__device__ void evaluate(const WorkingPairs<Core, T>& pairs, const Mixture<T>& mixture,
                         double (&values)[pairs_per_thread]) {
    evaluate(pairs, mixture, 0, mixture.count, values);
}

// launch.operator()<Core>() with what sums up the pairs of a kernel.
template <class Launch>
void with_core(KernelId kernel, const Launch& launch) {
    switch (argument_of(kernel)) {
        case Argument::squared_distance:
            return launch.template operator()<SquaredEuclidean>();
        case Argument::l1_distance:
            return launch.template operator()<Manhattan>();
        case Argument::dot:
        case Argument::cosine:
            return launch.template operator()<InnerProduct>();
    }
}

}  // namespace pairtile::gpu
