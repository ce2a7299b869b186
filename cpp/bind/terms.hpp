// Weighted sums of kernels as Python hands them over.
#pragma once

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "bind/arrays.hpp"
#include "kernels/evaluate.hpp"

namespace pairtile {

using Term = std::tuple<double, std::string, std::vector<double>>;

inline std::vector<KernelTerm> terms_of(const std::vector<Term>& terms) {
    std::vector<KernelTerm> out;
    for (const auto& [weight, name, params] : terms) {
        KernelTerm term{weight, kernel_of(name), {}};
        if (params.size() > static_cast<size_t>(kernel_params)) {
            throw py::value_error("too many parameters for kernel '" + name + "'");
        }
        std::copy(params.begin(), params.end(), term.params);
        out.push_back(term);
    }
    return out;
}

}  // namespace pairtile
