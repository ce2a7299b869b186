// What Python says of kernels and of what they are multiplied by, as the engine reads it.
#pragma once

#include "bind/arrays.hpp"
#include "engine/contraction.hpp"

namespace pairtile::gpu {

using Kernel = std::tuple<double, std::string, std::vector<double>>;  // weight, name, parameters
using Table = std::tuple<Address, bool, int64_t, int64_t>;  // address, bits, stride, columns

inline KernelId kernel_of(const std::string& name) {
    const KernelId id = kernel_named(name);
    if (id == KernelId::count) throw py::value_error("unknown kernel '" + name + "'");
    return id;
}

inline KernelTerm term_of(const Kernel& kernel) {
    const auto& [weight, name, params] = kernel;
    KernelTerm term{weight, kernel_of(name), {}};
    if (params.size() > static_cast<size_t>(kernel_params)) {
        throw py::value_error("too many parameters for kernel '" + name + "'");
    }
    std::copy(params.begin(), params.end(), term.params);
    return term;
}

inline std::vector<KernelTerm> terms_of(const std::vector<Kernel>& kernels) {
    std::vector<KernelTerm> terms;
    for (const Kernel& kernel : kernels) terms.push_back(term_of(kernel));
    return terms;
}

inline Columns columns_of(const Table& table) {
    const auto& [address, bits, stride, count] = table;
    return {bits ? nullptr : at<const double>(address), bits ? at<const uint8_t>(address) : nullptr,
            stride, count};
}

}  // namespace pairtile::gpu
