// The families of the module, and the plans that they export by name.
#pragma once

#include "bind/arrays.hpp"

namespace pairtile::gpu {

Needs needs_of(const std::string& statistic, int64_t k = 0);

void bind_neighbors(py::module_& m);
void bind_kernels(py::module_& m);
void bind_slices(py::module_& m);
void bind_dependence(py::module_& m);
void bind_losses(py::module_& m);
void bind_loss_blocks(py::module_& m);

}  // namespace pairtile::gpu
