// The GPU module: device pointers, strides and the caller's stream come in as numbers, launches go
// out. It owns no memory; `pairtile._cuda_backend` takes inputs, results and workspace from CuPy.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/kernel_sums.hpp"
#include "engine/knn.hpp"
#include "engine/launch.hpp"
#include "engine/radius.hpp"
#include "engine/survey.hpp"

namespace pairtile::gpu {
namespace {

namespace py = pybind11;

using Address = std::uintptr_t;
using Where = std::tuple<int, Address>;  // device, stream
// address, rows, columns, bytes from row to row and from column to column, dtype
using View = std::tuple<Address, int64_t, int64_t, int64_t, int64_t, std::string>;
using Ranges = std::vector<std::pair<int64_t, int64_t>>;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

// Makes the device current for this thread, as it is for CuPy, and hands back the stream.
cudaStream_t stream_on(const Where& where) {
    check(cudaSetDevice(std::get<0>(where)), "cudaSetDevice");
    return at<CUstream_st>(std::get<1>(where));
}

Array array_of(const View& view) {
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

std::vector<std::string> metrics() {
#define PT_METRIC(known, type) #known,
    return {PAIRTILE_PLAIN_METRICS(PT_METRIC)};
#undef PT_METRIC
}

MetricId metric_of(const std::string& name) {
#define PT_METRIC(known, type) \
    if (name == #known) return MetricId::known;
    PAIRTILE_PLAIN_METRICS(PT_METRIC)
#undef PT_METRIC
    throw py::value_error("unknown metric '" + name + "'");
}

KernelId kernel_of(const std::string& name) {
#define PT_KERNEL(known, type) \
    if (name == #known) return KernelId::known;
    PAIRTILE_KERNELS(PT_KERNEL)
#undef PT_KERNEL
    throw py::value_error("unknown kernel '" + name + "'");
}

std::vector<std::string> architectures() {
    std::istringstream built(PAIRTILE_CUDA_ARCHITECTURES);
    std::vector<std::string> names;
    for (std::string name; built >> name;) names.push_back(name);
    return names;
}

Cut knn_cut(int64_t rows, int64_t references, int64_t k) {
    return cut_references(rows, references, knn_state_bytes(k), knn_least_width(k));
}

Cut radius_cut(int64_t rows, int64_t references) {
    return cut_references(rows, references, radius_state_bytes, radius_least_width);
}

Cut sums_cut(int64_t rows, int64_t references) {
    return cut_references(rows, references, sums_state_bytes, sums_least_width);
}

Ranges batches(int64_t rows, int64_t references, int64_t d, int64_t state_bytes) {
    Ranges ranges;
    const int64_t step = batch_rows(references, d, state_bytes);
    for (int64_t first = 0; first < rows; first += step) {
        ranges.emplace_back(first, std::min(rows, first + step));
    }
    return ranges;
}

Ranges segments(int64_t references, const Cut& cut) {
    Ranges ranges;
    for (int64_t s = 0; s < cut.segments; ++s) {
        ranges.emplace_back(s * cut.width, std::min(references, (s + 1) * cut.width));
    }
    return ranges;
}

void bind_survey(const View& x, Address findings, const Where& where) {
    survey(array_of(x), at<Findings>(findings), stream_on(where));
}

void bind_row_scales(const View& x, Address scales, const Where& where) {
    row_scales(array_of(x), at<RowScale>(scales), stream_on(where));
}

void bind_knn(const View& queries, const View& references, int64_t k, const std::string& metric,
              const std::pair<int64_t, int64_t>& rows, const std::pair<Address, Address>& scales,
              bool exclude_self, bool same_group, const std::pair<Address, Address>& groups,
              const std::pair<Address, Address>& times, const std::pair<Address, Address>& ticks,
              Address reference_mask, Address workspace, bool wide_distances, Address distances,
              Address indices, const Where& where) {
    Search search;
    const int64_t count = rows.second - rows.first;
    search.sweep = {array_of(queries),
                    array_of(references),
                    at<const RowScale>(scales.first),
                    at<const RowScale>(scales.second),
                    rows.first,
                    count,
                    knn_cut(count, std::get<1>(references), k),
                    false};
    search.k = k;
    search.predicate.exclude_self = exclude_self;
    search.predicate.same_group = same_group;
    search.predicate.query_groups = at<const int64_t>(groups.first);
    search.predicate.reference_groups = at<const int64_t>(groups.second);
    search.predicate.query_times = at<const double>(times.first);
    search.predicate.reference_times = at<const double>(times.second);
    search.predicate.query_ticks = at<const int64_t>(ticks.first);
    search.predicate.reference_ticks = at<const int64_t>(ticks.second);
    search.predicate.reference_mask = at<const bool>(reference_mask);
    search.lists = at<Neighbor>(workspace);
    search.lengths =
        at<int64_t>(workspace) + count * search.sweep.cut.segments * k *
                                     static_cast<int64_t>(sizeof(Neighbor) / sizeof(int64_t));
    const MetricId id = metric_of(metric);
    const cudaStream_t stream = stream_on(where);
    if (wide_distances) {
        knn(search, id, at<double>(distances), at<int64_t>(indices), stream);
    } else {
        knn(search, id, at<float>(distances), at<int64_t>(indices), stream);
    }
}

Within within_of(const View& queries, const View& references,
                 const std::pair<int64_t, int64_t>& rows, const std::pair<Address, Address>& scales,
                 bool exclude_self, bool closed, bool wide_distances) {
    const int64_t count = rows.second - rows.first;
    return {{array_of(queries), array_of(references), at<const RowScale>(scales.first),
             at<const RowScale>(scales.second), rows.first, count,
             radius_cut(count, std::get<1>(references)), false},
            exclude_self,
            closed,
            !wide_distances};
}

// Radii, and the counts per query and per reference of what is inside them.
using Counts = std::tuple<Address, Address, Address>;

RadiusCounts counts_of(const Counts& counts) {
    const auto& [radii, of_queries, of_references] = counts;
    return {at<const double>(radii), at<int64_t>(of_queries), at<int64_t>(of_references)};
}

void bind_radius_counts(const View& queries, const View& references, const std::string& metric,
                        const std::pair<int64_t, int64_t>& rows,
                        const std::pair<Address, Address>& scales, bool exclude_self, bool closed,
                        bool wide_distances, const Counts& by_query_radii,
                        const Counts& by_reference_radii, const Where& where) {
    const Within within =
        within_of(queries, references, rows, scales, exclude_self, closed, wide_distances);
    const MetricId id = metric_of(metric);
    radius_counts(within, id, counts_of(by_query_radii), counts_of(by_reference_radii),
                  stream_on(where));
}

void bind_radius_neighbors(const View& queries, const View& references, const std::string& metric,
                           const std::pair<int64_t, int64_t>& rows,
                           const std::pair<Address, Address>& scales, bool exclude_self,
                           bool closed, bool wide_distances, Address radii, Address indptr,
                           Address next, Address indices, Address values, Address distances,
                           const Where& where) {
    const Within within =
        within_of(queries, references, rows, scales, exclude_self, closed, wide_distances);
    const RadiusRows found = {at<const int64_t>(indptr), at<int64_t>(next), at<int64_t>(indices),
                              at<double>(values)};
    const MetricId id = metric_of(metric);
    const cudaStream_t stream = stream_on(where);
    if (wide_distances) {
        radius_neighbors(within, id, at<const double>(radii), found, at<double>(distances), stream);
    } else {
        radius_neighbors(within, id, at<const double>(radii), found, at<float>(distances), stream);
    }
}

void bind_row_sums(const View& x, const View& y, double weight, const std::string& kernel,
                   const std::vector<double>& params, const std::pair<int64_t, int64_t>& rows,
                   const std::pair<Address, Address>& scales, bool wide, bool triangle,
                   Address y_weights, Address workspace, Address sums, const Where& where) {
    Term term{weight, kernel_of(kernel), {}};
    if (params.size() > static_cast<size_t>(kernel_params)) {
        throw py::value_error("too many parameters for kernel '" + kernel + "'");
    }
    std::copy(params.begin(), params.end(), term.params);
    const int64_t count = rows.second - rows.first;
    const Summation summation{{array_of(x), array_of(y), at<const RowScale>(scales.first),
                               at<const RowScale>(scales.second), rows.first, count,
                               sums_cut(count, std::get<1>(y)), triangle},
                              at<const double>(y_weights),
                              at<double>(workspace)};
    const auto sum = wide ? kernel_row_sums<double> : kernel_row_sums<float>;
    sum(summation, term, at<double>(sums), stream_on(where));
}

void bind_weighted_total(Address sums, int64_t n, Address weights, Address total,
                         const Where& where) {
    weighted_total(at<const double>(sums), n, at<const double>(weights), at<double>(total),
                   stream_on(where));
}

}  // namespace
}  // namespace pairtile::gpu

PYBIND11_MODULE(_cuda, m) {
    using namespace pairtile::gpu;
    using py::arg;
    using Released = py::call_guard<py::gil_scoped_release>;
    m.doc() = "The GPU engine of pairtile; see the public package for documentation.";
    m.attr("__version__") = PAIRTILE_VERSION;
    m.def("architectures", architectures);
    m.def("metrics", metrics);

    // the plan, which needs no GPU
    m.def("knn_batches", [](int64_t rows, int64_t references, int64_t d, int64_t k) {
        return batches(rows, references, d, knn_state_bytes(k));
    });
    m.def("knn_segments", [](int64_t rows, int64_t references, int64_t k) {
        return segments(references, knn_cut(rows, references, k));
    });
    m.def("knn_workspace", [](int64_t rows, int64_t references, int64_t k) {
        return rows * knn_cut(rows, references, k).segments * knn_state_bytes(k);
    });
    m.def("radius_batches", [](int64_t rows, int64_t references, int64_t d) {
        return batches(rows, references, d, radius_state_bytes);
    });
    m.def("radius_segments", [](int64_t rows, int64_t references) {
        return segments(references, radius_cut(rows, references));
    });
    m.def("sums_batches", [](int64_t rows, int64_t references, int64_t d) {
        return batches(rows, references, d, sums_state_bytes);
    });
    m.def("sums_segments", [](int64_t rows, int64_t references) {
        return segments(references, sums_cut(rows, references));
    });
    m.def("sums_workspace", [](int64_t rows, int64_t references) {
        return rows * sums_cut(rows, references).segments * sums_state_bytes;
    });
    m.def("reads_normalised_rows",
          [](const std::string& kernel) { return reads_normalised_rows(kernel_of(kernel)); });
    m.attr("scale_bytes") = sizeof(RowScale);

    // launches, in the order of the stream
    m.def("survey", bind_survey, Released());
    m.def("row_scales", bind_row_scales, Released());
    m.def("knn", bind_knn, py::kw_only(), arg("queries"), arg("references"), arg("k"),
          arg("metric"), arg("rows"), arg("scales"), arg("exclude_self"), arg("same_group"),
          arg("groups"), arg("times"), arg("ticks"), arg("reference_mask"), arg("workspace"),
          arg("wide_distances"), arg("distances"), arg("indices"), arg("where"), Released());
    m.def("radius_counts", bind_radius_counts, py::kw_only(), arg("queries"), arg("references"),
          arg("metric"), arg("rows"), arg("scales"), arg("exclude_self"), arg("closed"),
          arg("wide_distances"), arg("by_query_radii"), arg("by_reference_radii"), arg("where"),
          Released());
    m.def("radius_neighbors", bind_radius_neighbors, py::kw_only(), arg("queries"),
          arg("references"), arg("metric"), arg("rows"), arg("scales"), arg("exclude_self"),
          arg("closed"), arg("wide_distances"), arg("radii"), arg("indptr"), arg("next"),
          arg("indices"), arg("values"), arg("distances"), arg("where"), Released());
    m.def("kernel_row_sums", bind_row_sums, py::kw_only(), arg("x"), arg("y"), arg("weight"),
          arg("kernel"), arg("params"), arg("rows"), arg("scales"), arg("wide"), arg("triangle"),
          arg("y_weights"), arg("workspace"), arg("sums"), arg("where"), Released());
    m.def("weighted_total", bind_weighted_total, Released());
}
