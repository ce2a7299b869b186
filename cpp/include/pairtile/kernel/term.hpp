// A weighted kernel as it is passed around, and what is asked of a kernel that is known at run
// time alone.
#pragma once

#include <stdexcept>
#include <string_view>

#include "pairtile/kernel/registry.hpp"

namespace pairtile {

// weight · kernel(params); a list of them is one kernel.
struct KernelTerm {
    double weight;
    KernelId kernel;
    double params[kernel_params];
};

#define PAIRTILE_NAME(name, type) #name,
constexpr const char* kernel_names[] = {PAIRTILE_KERNELS(PAIRTILE_NAME)};
#undef PAIRTILE_NAME

// KernelId::count if there is none of this name.
inline KernelId kernel_named(std::string_view name) {
    int id = 0;
    while (id < static_cast<int>(KernelId::count) && name != kernel_names[id]) ++id;
    return static_cast<KernelId>(id);
}

// What asked.operator()<Kernel>() returns for the type of a kernel.
template <class Asked>
auto of_kernel(KernelId kernel, Asked asked) {
    switch (kernel) {
#define PAIRTILE_ASK(name, type) \
    case KernelId::name:         \
        return asked.template operator()<type>();
        PAIRTILE_KERNELS(PAIRTILE_ASK)
#undef PAIRTILE_ASK
        case KernelId::count:
            break;
    }
    throw std::invalid_argument("there is no such kernel");
}

inline Argument argument_of(KernelId kernel) {
    return of_kernel(kernel, [&]<class Kernel>() { return Kernel::argument; });
}

// Its derivative by the argument, times its weight.
inline double slope_of(const KernelTerm& term, double argument) {
    return of_kernel(term.kernel, [&]<class Kernel>() {
        return term.weight * Kernel::slope(argument, term.params);
    });
}

// Whether its logarithm can be taken, being positive everywhere.
inline bool has_logarithm(KernelId kernel) {
    return of_kernel(kernel, [&]<class Kernel>() {
        return requires(double t, const double* p) { Kernel::log_value(t, p); };
    });
}

// Whether it has the derivatives that a Stein kernel is made of.
inline bool has_stein(KernelId kernel) {
    return of_kernel(kernel, [&]<class Kernel>() {
        return requires(double s, const double* p) { Kernel::stein(s, p); };
    });
}

}  // namespace pairtile
