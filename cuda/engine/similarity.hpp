// A weighted kernel, and which pairs of a sweep it is asked for.
#pragma once

#include "engine/sweep.hpp"
#include "pairtile/kernel/registry.hpp"

namespace pairtile::gpu {

// weight · kernel(params); a sum of kernels is a list of them, one call each.
struct Term {
    double weight;
    KernelId kernel;
    double params[kernel_params];
};

// Several that read the same number of a pair, summed before anything else is done with the sum.
constexpr int most_terms = 48;

inline Argument argument_of(KernelId kernel) {
    switch (kernel) {
#define PT_ARGUMENT(name, type) \
    case KernelId::name:        \
        return type::argument;
        PAIRTILE_KERNELS(PT_ARGUMENT)
#undef PT_ARGUMENT
        case KernelId::count:
            break;
    }
    return Argument::dot;
}

}  // namespace pairtile::gpu
