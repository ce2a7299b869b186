// Pairs as kernel values. What a kernel reads of a pair (squared or L1 distance, dot product) is
// composed at compile time; the kernel is chosen at run time, once per tile and thread.
#pragma once

#include "engine/launch.hpp"
#include "engine/sweep.cuh"
#include "kernels/similarity.hpp"
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

    explicit Similarity(const Term& term) : kernel(term.kernel) {
        for (int p = 0; p < kernel_params; ++p) params[p] = static_cast<T>(term.params[p]);
    }
};

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
        return Kernel::log_value(t, params);
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
