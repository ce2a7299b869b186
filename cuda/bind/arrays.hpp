// What Python says of arrays, streams and ranges, as the engine reads it: addresses are numbers.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/launch.hpp"
#include "engine/sweep.hpp"

namespace pairtile::gpu {

namespace py = pybind11;

using Released = py::call_guard<py::gil_scoped_release>;
using Address = std::uintptr_t;
using DeviceStream = std::tuple<int, Address>;  // device, stream
// address, rows, columns, bytes from row to row and from column to column, dtype
using View = std::tuple<Address, int64_t, int64_t, int64_t, int64_t, std::string>;
using Range = std::pair<int64_t, int64_t>;
using Pair = std::pair<Address, Address>;  // of the queries, of the references

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// Makes the device current for this thread, as it is for CuPy, and hands back the stream.
inline cudaStream_t cuda_stream(const DeviceStream& stream) {
    check(cudaSetDevice(std::get<0>(stream)), "cudaSetDevice");
    return at<CUstream_st>(std::get<1>(stream));
}

inline Array array_of(const View& view) {
    static const std::vector<std::string> names = {"float16", "bfloat16", "int8",
                                                   "uint8",   "float32",  "float64"};
    const auto& [address, rows, cols, row_stride, col_stride, dtype] = view;
    const auto found = std::find(names.begin(), names.end(), dtype);
    if (found == names.end()) throw py::value_error("unsupported dtype " + dtype);
    return {at<const char>(address),
            rows,
            cols,
            row_stride,
            col_stride,
            static_cast<Dtype>(found - names.begin())};
}

// What a statistic keeps for one (row, segment), the least width of a segment, and the most bytes
// of workspace.
struct Needs {
    int64_t state_bytes, least_width;
    int64_t limit = workspace_limit;

    // At most so many bytes; 0 for what is usual.
    Needs within(int64_t bytes) const {
        return {state_bytes, least_width, bytes == 0 ? limit : std::min(limit, bytes)};
    }
};

inline Cut cut_for(const Needs& needs, int64_t rows, int64_t references) {
    return cut_references(rows, references, needs.state_bytes, needs.least_width, needs.limit);
}

// Queries, references and their scales: what every sweep reads.
using Sets = std::tuple<View, View, Pair>;

inline Sweep sweep_of(const Sets& sets, const Range& rows, const Needs& needs,
                      bool triangle = false) {
    const auto& [queries, references, scales] = sets;
    const int64_t count = rows.second - rows.first;
    return {array_of(queries),
            array_of(references),
            at<const RowScale>(scales.first),
            at<const RowScale>(scales.second),
            rows.first,
            count,
            cut_for(needs, count, std::get<1>(references)),
            triangle};
}

}  // namespace pairtile::gpu
