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

#include "engine/contraction.hpp"
#include "engine/fidelity.hpp"
#include "engine/kernel_sums.hpp"
#include "engine/knn.hpp"
#include "engine/launch.hpp"
#include "engine/log_sum_exp.hpp"
#include "engine/pairwise.hpp"
#include "engine/radius.hpp"
#include "engine/survey.hpp"

namespace pairtile::gpu {
namespace {

namespace py = pybind11;

using Address = std::uintptr_t;
using Where = std::tuple<int, Address>;  // device, stream
// address, rows, columns, bytes from row to row and from column to column, dtype
using View = std::tuple<Address, int64_t, int64_t, int64_t, int64_t, std::string>;
using Range = std::pair<int64_t, int64_t>;
using Ranges = std::vector<Range>;
using Pair = std::pair<Address, Address>;  // of the queries, of the references
// name; p, weights, transform, ranges and n_bits, 0 where the metric has no use for one
using Measure = std::tuple<std::string, double, Address, Address, Address, int64_t>;
using Kernel = std::tuple<double, std::string, std::vector<double>>;  // weight, name, parameters
using Table = std::tuple<Address, bool, int64_t, int64_t>;  // address, bits, stride, columns

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

MetricId metric_of(const std::string& name) {
#define PT_METRIC(known, type) \
    if (name == #known) return MetricId::known;
    PAIRTILE_METRICS(PT_METRIC)
    PAIRTILE_BIT_METRICS(PT_METRIC)
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

Term term_of(const Kernel& kernel) {
    const auto& [weight, name, params] = kernel;
    Term term{weight, kernel_of(name), {}};
    if (params.size() > static_cast<size_t>(kernel_params)) {
        throw py::value_error("too many parameters for kernel '" + name + "'");
    }
    std::copy(params.begin(), params.end(), term.params);
    return term;
}

std::vector<std::string> architectures() {
    std::istringstream built(PAIRTILE_CUDA_ARCHITECTURES);
    std::vector<std::string> names;
    for (std::string name; built >> name;) names.push_back(name);
    return names;
}

// What a statistic keeps for one (row, segment), and the least width of a segment.
struct Needs {
    int64_t state_bytes, least_width;
};

Needs knn_needs(int64_t k) { return {knn_state_bytes(k), knn_least_width(k)}; }

// By the names under which the plan of each statistic without parameters is exported.
constexpr std::pair<const char*, Needs> all_needs[] = {
    {"radius", {radius_state_bytes, radius_least_width}},
    {"pairwise", {pairwise_state_bytes, pairwise_least_width}},
    {"fidelity", {fidelity_state_bytes, fidelity_least_width}},
    {"sums", {sums_state_bytes, sums_least_width}},
    {"contraction", {contraction_state_bytes, contraction_least_width}},
    {"log_sums", {log_sums_state_bytes, log_sums_least_width}},
};

Needs needs_of(const std::string& statistic, int64_t k) {
    if (statistic == "knn") return knn_needs(k);
    for (const auto& [name, needs] : all_needs) {
        if (statistic == name) return needs;
    }
    throw py::value_error("unknown statistic '" + statistic + "'");
}

Cut cut_for(const Needs& needs, int64_t rows, int64_t references) {
    return cut_references(rows, references, needs.state_bytes, needs.least_width);
}

// `work` is what a pair costs, in features.
Ranges batches(const std::string& statistic, int64_t rows, int64_t references, int64_t work,
               int64_t k) {
    Ranges ranges;
    const int64_t step = batch_rows(references, work, needs_of(statistic, k).state_bytes);
    for (int64_t first = 0; first < rows; first += step) {
        ranges.emplace_back(first, std::min(rows, first + step));
    }
    return ranges;
}

Ranges segments(const std::string& statistic, int64_t rows, int64_t references, int64_t k) {
    const Cut cut = cut_for(needs_of(statistic, k), rows, references);
    Ranges ranges;
    for (int64_t s = 0; s < cut.segments; ++s) {
        ranges.emplace_back(s * cut.width, std::min(references, (s + 1) * cut.width));
    }
    return ranges;
}

int64_t workspace(const std::string& statistic, int64_t rows, int64_t references, int64_t k) {
    const Needs needs = needs_of(statistic, k);
    return rows * cut_for(needs, rows, references).segments * needs.state_bytes;
}

// What every sweep is told: who meets whom, in which rows of a launch.
using Sets = std::tuple<View, View, Pair>;  // queries, references, their scales

Sweep sweep_of(const Sets& sets, const Range& rows, const Needs& needs, bool triangle = false) {
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

Metric metric_of(const Measure& measure, const Sets& sets) {
    const auto& [name, p, weights, transform, ranges, n_bits] = measure;
    const auto features = static_cast<double>(std::get<2>(std::get<0>(sets)));
    return {metric_of(name),
            {p, at<const double>(weights), at<const double>(transform), at<const double>(ranges),
             features, n_bits}};
}

void bind_survey(const View& x, Address findings, const Where& where) {
    survey(array_of(x), at<Findings>(findings), stream_on(where));
}

void bind_row_scales(const View& x, Address scales, const Where& where) {
    row_scales(array_of(x), at<RowScale>(scales), stream_on(where));
}

void bind_knn(const Sets& sets, const Measure& measure, const Range& rows, int64_t k,
              bool exclude_self, bool same_group, const Pair& groups, const Pair& times,
              const Pair& ticks, Address reference_mask, Address workspace, bool wide_distances,
              Address distances, Address indices, const Where& where) {
    Search search;
    search.sweep = sweep_of(sets, rows, knn_needs(k));
    search.metric = metric_of(measure, sets);
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
    search.lengths = reinterpret_cast<int64_t*>(search.lists +
                                                search.sweep.rows * search.sweep.cut.segments * k);
    const cudaStream_t stream = stream_on(where);
    if (wide_distances) {
        knn(search, at<double>(distances), at<int64_t>(indices), stream);
    } else {
        knn(search, at<float>(distances), at<int64_t>(indices), stream);
    }
}

Within within_of(const Sets& sets, const Measure& measure, const Range& rows, bool exclude_self,
                 bool closed, bool wide_distances) {
    return {sweep_of(sets, rows, needs_of("radius", 0)), metric_of(measure, sets), exclude_self,
            closed, !wide_distances};
}

// Radii, and the counts per query and per reference of what is inside them.
using Counts = std::tuple<Address, Address, Address>;

RadiusCounts counts_of(const Counts& counts) {
    const auto& [radii, of_queries, of_references] = counts;
    return {at<const double>(radii), at<int64_t>(of_queries), at<int64_t>(of_references)};
}

void bind_radius_counts(const Sets& sets, const Measure& measure, const Range& rows,
                        bool exclude_self, bool closed, bool wide_distances,
                        const Counts& by_query_radii, const Counts& by_reference_radii,
                        const Where& where) {
    const Within within = within_of(sets, measure, rows, exclude_self, closed, wide_distances);
    radius_counts(within, counts_of(by_query_radii), counts_of(by_reference_radii),
                  stream_on(where));
}

void bind_radius_neighbors(const Sets& sets, const Measure& measure, const Range& rows,
                           bool exclude_self, bool closed, bool wide_distances, Address radii,
                           Address indptr, Address next, Address indices, Address values,
                           Address distances, const Where& where) {
    const Within within = within_of(sets, measure, rows, exclude_self, closed, wide_distances);
    const RadiusRows found = {at<const int64_t>(indptr), at<int64_t>(next), at<int64_t>(indices),
                              at<double>(values)};
    const cudaStream_t stream = stream_on(where);
    if (wide_distances) {
        radius_neighbors(within, at<const double>(radii), found, at<double>(distances), stream);
    } else {
        radius_neighbors(within, at<const double>(radii), found, at<float>(distances), stream);
    }
}

void bind_pairwise_distances(const Sets& sets, const Measure& measure, const Range& rows,
                             bool exclude_self, bool wide_distances, Address distances,
                             const Where& where) {
    const Pairwise pairwise = {sweep_of(sets, rows, needs_of("pairwise", 0)),
                               metric_of(measure, sets), exclude_self, wide_distances,
                               at<void>(distances)};
    pairwise_distances(pairwise, stream_on(where));
}

void bind_largest_radius_ratios(const Sets& sets, const Measure& measure, const Range& rows,
                                Address radii, Address workspace, Address largest,
                                const Where& where) {
    const Ratios ratios = {sweep_of(sets, rows, needs_of("fidelity", 0)), metric_of(measure, sets),
                           at<const double>(radii), at<MaxRatio>(workspace)};
    largest_radius_ratios(ratios, at<double>(largest), stream_on(where));
}

void bind_distance_products(const Sets& sets, const Measure& measure, const Range& rows,
                            double radius, Address workspace, Address of_queries,
                            const Where& where) {
    const Products products = {sweep_of(sets, rows, needs_of("fidelity", 0)),
                               metric_of(measure, sets), radius, at<Product>(workspace)};
    distance_products(products, at<double>(of_queries), stream_on(where));
}

void bind_row_sums(const Sets& sets, const Kernel& kernel, const Range& rows, bool wide,
                   bool triangle, Address reference_weights, Address workspace, Address sums,
                   const Where& where) {
    const Summation summation = {sweep_of(sets, rows, needs_of("sums", 0), triangle),
                                 at<const double>(reference_weights), at<Sum>(workspace)};
    const auto sum = wide ? kernel_row_sums<double> : kernel_row_sums<float>;
    sum(summation, term_of(kernel), at<double>(sums), stream_on(where));
}

void bind_weighted_total(Address sums, int64_t n, Address weights, Address total,
                         const Where& where) {
    weighted_total(at<const double>(sums), n, at<const double>(weights), at<double>(total),
                   stream_on(where));
}

void bind_log_sums(const Sets& sets, const Kernel& kernel, const Range& rows, bool exclude_self,
                   Address log_weights, Address rates, bool is_first, Address workspace,
                   Address so_far, Address sums, const Where& where) {
    const Term term = term_of(kernel);
    if (!has_logarithm(term.kernel) || !(term.weight > 0.0)) {
        throw py::value_error("kernels whose logarithm is taken must be positive");
    }
    const LogSummation summation = {sweep_of(sets, rows, needs_of("log_sums", 0)),
                                    exclude_self,
                                    {at<const double>(log_weights), at<const double>(rates)},
                                    at<LogSumExp>(workspace)};
    kernel_log_sums(summation, term, is_first, at<LogSumExp>(so_far), at<double>(sums),
                    stream_on(where));
}

Columns columns_of(const Table& table) {
    const auto& [address, bits, stride, count] = table;
    return {bits ? nullptr : at<const double>(address), bits ? at<const uint8_t>(address) : nullptr,
            stride, count};
}

void bind_contract(const Sets& sets, const Kernel& kernel, const Range& rows, bool wide,
                   bool exclude_self, const Table& table, const Range& columns, Address workspace,
                   Address out, int64_t out_stride, const Where& where) {
    const Contraction contraction = {sweep_of(sets, rows, needs_of("contraction", 0)), exclude_self,
                                     columns_of(table), columns.first, at<double>(workspace)};
    const auto width = static_cast<int>(columns.second - columns.first);
    const auto with = wide ? contract<double> : contract<float>;
    with(contraction, term_of(kernel), width, at<double>(out), out_stride, stream_on(where));
}

void bind_column_totals(Address products, const Range& rows, const Table& table,
                        const Range& columns, Address within, Address all, const Where& where) {
    column_totals(at<const double>(products), rows.second - rows.first, rows.first,
                  columns_of(table), columns.first,
                  static_cast<int>(columns.second - columns.first), at<double>(within),
                  at<double>(all), stream_on(where));
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

    // the plan, which needs no GPU
    m.def("batches", batches, arg("statistic"), arg("rows"), arg("references"), arg("work"),
          arg("k") = 0);
    m.def("segments", segments, arg("statistic"), arg("rows"), arg("references"), arg("k") = 0);
    m.def("workspace", workspace, arg("statistic"), arg("rows"), arg("references"), arg("k") = 0);
    m.def("reads_normalised_rows", [](const std::string& kernel) {
        return argument_of(kernel_of(kernel)) == pairtile::Argument::cosine;
    });
    m.attr("scale_bytes") = sizeof(RowScale);
    m.attr("log_sum_bytes") = sizeof(pairtile::LogSumExp);
    m.attr("contraction_width") = contraction_width;

    // launches, in the order of the stream
    m.def("survey", bind_survey, Released());
    m.def("row_scales", bind_row_scales, Released());
    m.def("knn", bind_knn, py::kw_only(), arg("sets"), arg("measure"), arg("rows"), arg("k"),
          arg("exclude_self"), arg("same_group"), arg("groups"), arg("times"), arg("ticks"),
          arg("reference_mask"), arg("workspace"), arg("wide_distances"), arg("distances"),
          arg("indices"), arg("where"), Released());
    m.def("radius_counts", bind_radius_counts, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("exclude_self"), arg("closed"), arg("wide_distances"),
          arg("by_query_radii"), arg("by_reference_radii"), arg("where"), Released());
    m.def("radius_neighbors", bind_radius_neighbors, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("exclude_self"), arg("closed"), arg("wide_distances"), arg("radii"),
          arg("indptr"), arg("next"), arg("indices"), arg("values"), arg("distances"), arg("where"),
          Released());
    m.def("pairwise_distances", bind_pairwise_distances, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("exclude_self"), arg("wide_distances"), arg("distances"), arg("where"),
          Released());
    m.def("largest_radius_ratios", bind_largest_radius_ratios, py::kw_only(), arg("sets"),
          arg("measure"), arg("rows"), arg("radii"), arg("workspace"), arg("largest"), arg("where"),
          Released());
    m.def("distance_products", bind_distance_products, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("radius"), arg("workspace"), arg("of_queries"), arg("where"),
          Released());
    m.def("kernel_row_sums", bind_row_sums, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("wide"), arg("triangle"), arg("reference_weights"), arg("workspace"), arg("sums"),
          arg("where"), Released());
    m.def("weighted_total", bind_weighted_total, Released());
    m.def("kernel_log_sums", bind_log_sums, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("exclude_self"), arg("log_weights"), arg("rates"), arg("is_first"), arg("workspace"),
          arg("so_far"), arg("sums"), arg("where"), Released());
    m.def("contract", bind_contract, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("wide"), arg("exclude_self"), arg("table"), arg("columns"), arg("workspace"),
          arg("out"), arg("out_stride"), arg("where"), Released());
    m.def("column_totals", bind_column_totals, py::kw_only(), arg("products"), arg("rows"),
          arg("table"), arg("columns"), arg("within"), arg("all"), arg("where"), Released());
}
