// The extension module: one register call per family, and what the engine says about itself.
#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "engine/isa.hpp"
#include "engine/mapped.hpp"

#include <pybind11/stl.h>

#include <cstdlib>
#include <memory>

namespace pairtile {
namespace {

std::vector<std::string> isa_names() {
    std::vector<std::string> names;
    for (const IsaOps* one : supported_isas()) names.emplace_back(one->name);
    return names;
}

py::dict build_config() {
    py::dict config;
#if defined(__clang__)
    config["compiler"] = "clang " __clang_version__;
#else
    config["compiler"] = "gcc " __VERSION__;
#endif
#define PT_NAME(name, type) #name " "
    config["metrics"] = PAIRTILE_METRICS(PT_NAME) PAIRTILE_BIT_METRICS(PT_NAME);
    config["kernels"] = PAIRTILE_KERNELS(PT_NAME);
#undef PT_NAME
    return config;
}

}  // namespace
}  // namespace pairtile

// Calls share nothing that changes but what tests force, and that is atomic (threads_test.cpp).
PYBIND11_MODULE(_native, m, pybind11::mod_gil_not_used()) {
    using namespace pairtile;
    m.doc() = "The compiled engine of pairtile; see the public package for documentation.";
    m.attr("__version__") = PAIRTILE_VERSION;
    const char* forced = std::getenv("PAIRTILE_ISA");
    try {
        choose_isa(forced ? forced : "");
    } catch (const std::runtime_error& error) {
        throw py::import_error(error.what());
    }
    m.def("isa", [] { return std::string(isa().name); });
    m.def("isas", isa_names);
    m.def("build_config", build_config);
    py::class_<WatchedRange>(m, "WatchedRange")
        .def(py::init([](uintptr_t begin, size_t bytes) {
            return std::make_unique<WatchedRange>(reinterpret_cast<const void*>(begin), bytes);
        }))
        .def("lost", &WatchedRange::lost);
    register_index(m);
    register_neighbors(m);
    register_kernels(m);
    register_dependence(m);
    register_shuffles(m);
    register_slices(m);
    register_losses(m);
    register_embeddings(m);
    register_testing(m);
}
