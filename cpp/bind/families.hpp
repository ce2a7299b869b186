// One function per family of statistics, each in its own file beside this one.
#pragma once

#include <pybind11/pybind11.h>

namespace pairtile {

void register_index(pybind11::module_& m);
void register_neighbors(pybind11::module_& m);
void register_kernels(pybind11::module_& m);
void register_dependence(pybind11::module_& m);
void register_shuffles(pybind11::module_& m);
void register_slices(pybind11::module_& m);
void register_losses(pybind11::module_& m);
void register_embeddings(pybind11::module_& m);

void register_testing(pybind11::module_& native);  // a module of its own

}  // namespace pairtile
