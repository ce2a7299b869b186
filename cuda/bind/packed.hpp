// Packed rows and the paths of tensor cores, as Python names them.
#pragma once

#include "bind/arrays.hpp"
#include "engine/tensor_sweep.hpp"

namespace pairtile::gpu {

// Slices, norms and residuals of packed rows: addresses; how many rows, features, parts.
using Packed = std::tuple<Address, Address, Address, int64_t, int64_t, int>;

inline Panels panels_of(const Packed& packed) {
    const auto& [slices, norms, residuals, rows, d, parts] = packed;
    return {at<char>(slices), rows, d, parts, at<float>(norms), at<float>(residuals)};
}

// Queries, references and the rows where the packed ones of either begin.
using PackedSets = std::tuple<Packed, Packed, Range>;

inline TensorPath path_of(const std::string& name) {
    return name == "wgmma" ? TensorPath::wgmma : name == "mma" ? TensorPath::mma : TensorPath::none;
}

}  // namespace pairtile::gpu
