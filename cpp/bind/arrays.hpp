// Between Python and the engine: NumPy arrays as sources, results as fresh arrays, and one call's
// progress and interruption.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

#include "engine/parallel_for.hpp"
#include "engine/precision.hpp"
#include "engine/source.hpp"
#include "pairtile/kernel/term.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

namespace py = pybind11;

// A view of a 2-D array of one of the engine's dtypes; TypeError or ValueError for anything else.
// The caller keeps the array alive.
Array view_of(const py::array& array);

// Elements of a contiguous 1-D array of exactly this type and length, null for None.
template <class T>
const T* vector_of(const py::object& object, int64_t length, const char* name) {
    if (object.is_none()) return nullptr;
    const auto array = py::array_t<T, py::array::c_style>::ensure(object);
    if (!array || array.ptr() != object.ptr() || array.ndim() != 1 || array.shape(0) != length) {
        throw py::value_error(std::string(name) + " must be a contiguous vector of length " +
                              std::to_string(length));
    }
    return array.data();
}

// `params` (None or a dict of what the metric takes, see _native.pyi) is kept alive by the caller,
// and its arrays with it.
Metric metric_of(const std::string& name, const py::object& params = py::none(), int64_t d = 0);
KernelId kernel_of(const std::string& name);
Precision precision_of(const std::string& name);

// Runs body(control) on so many threads without the GIL; Ctrl-C and progress reach Python from the
// calling thread.
template <class Body>
void run_released(const py::object& progress, int workers, Body body, int64_t memory = 0) {
    const auto poll = [&progress](int64_t done, int64_t total) {
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (!progress.is_none()) progress(done, total);
    };
    Control control(poll, workers, memory);
    const py::gil_scoped_release release;
    body(control);
}

template <class T>
py::array_t<T> zeros(std::vector<py::ssize_t> shape) {
    py::array_t<T> out(std::move(shape));
    std::fill_n(out.mutable_data(), out.size(), T(0));
    return out;
}

}  // namespace pairtile
