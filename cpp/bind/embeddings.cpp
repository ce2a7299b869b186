// What losses and analyses of embeddings ask of neighbours: the farthest row of a class, rows of
// another class beyond those of one, histograms by class, ranks of pairs.
#include <algorithm>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "neighbors/farthest.hpp"
#include "neighbors/histogram.hpp"
#include "neighbors/next_beyond.hpp"
#include "neighbors/ranks.hpp"

namespace pairtile {
namespace {

py::tuple bind_farthest(const py::array& x, const std::string& metric, const py::object& groups,
                        int workers, const py::object& progress) {
    const Source rows(view_of(x));
    const SearchRequest request{rows, rows, metric_of(metric)};
    const int64_t* group = vector_of<int64_t>(groups, rows.rows(), "groups");
    py::array_t<double> values(rows.rows());
    py::array_t<int64_t> indices(rows.rows());
    double* value = values.mutable_data();
    int64_t* index = indices.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        farthest_of_group(request, group, control, value, index);
    });
    return py::make_tuple(values, indices);
}

py::tuple bind_next_beyond(const py::array& x, const std::string& metric, const py::object& groups,
                           const py::array_t<int64_t, py::array::c_style>& anchors,
                           const py::object& indptr, const py::object& listed, int workers,
                           const py::object& progress) {
    const Source rows(view_of(x));
    const SearchRequest request{rows, rows, metric_of(metric)};
    const int64_t* group = vector_of<int64_t>(groups, rows.rows(), "groups");
    const int64_t n = anchors.size();
    const int64_t* ends = vector_of<int64_t>(indptr, n + 1, "indptr");
    const ListedRows lists{anchors.data(), ends,
                           vector_of<int64_t>(listed, ends ? ends[n] : 0, "listed"), n};
    const auto is_row = [&](int64_t row) { return row >= 0 && row < rows.rows(); };
    if (!group || !ends || !lists.rows || ends[0] != 0 || !std::is_sorted(ends, ends + n + 1) ||
        !std::all_of(lists.anchors, lists.anchors + n, is_row) ||
        !std::all_of(lists.rows, lists.rows + ends[n], is_row)) {
        throw py::value_error("no lists of rows of x");
    }
    py::array_t<double> to_listed(ends[n]), to_next(ends[n]);
    py::array_t<int64_t> next(ends[n]);
    const NextBeyond out{to_listed.mutable_data(), to_next.mutable_data(), next.mutable_data()};
    run_released(progress, workers,
                 [&](Control& control) { next_beyond(request, group, lists, control, out); });
    return py::make_tuple(to_listed, to_next, next);
}

py::tuple bind_histogram(const py::array& x, const std::string& metric, const py::object& groups,
                         int64_t n_groups, const py::array_t<double, py::array::c_style>& limits,
                         int workers, const py::object& progress) {
    const Source rows(view_of(x));
    const SearchRequest request{rows, rows, metric_of(metric)};
    const int64_t* group = vector_of<int64_t>(groups, rows.rows(), "groups");
    const Bins bins{limits.data(), limits.size() + 1};
    auto same = zeros<int64_t>({n_groups, bins.count});
    auto different = zeros<int64_t>({bins.count});
    const Histograms out{same.mutable_data(), different.mutable_data()};
    run_released(progress, workers,
                 [&](Control& control) { distance_histogram(request, group, bins, control, out); });
    return py::make_tuple(same, different);
}

py::tuple bind_ranks(const py::array& queries, const py::array& reference,
                     const std::string& metric, const py::object& targets, int workers,
                     const py::object& progress) {
    const Source rows(view_of(queries)), cols(view_of(reference));
    const SearchRequest request{rows, cols, metric_of(metric)};
    const int64_t* target = vector_of<int64_t>(targets, rows.rows(), "targets");
    py::array_t<int64_t> by_query(rows.rows()), by_reference(rows.rows());
    int64_t *among_references = by_query.mutable_data(),
            *among_queries = by_reference.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        pair_ranks(request, target, control, among_references, among_queries);
    });
    return py::make_tuple(by_query, by_reference);
}

}  // namespace

void register_embeddings(py::module_& m) {
    using py::arg;
    m.def("farthest_of_group", bind_farthest, arg("x"), arg("metric"), arg("groups"), py::kw_only(),
          arg("workers"), arg("progress") = py::none());
    m.def("next_beyond", bind_next_beyond, arg("x"), arg("metric"), arg("groups"), arg("anchors"),
          arg("indptr"), arg("listed"), py::kw_only(), arg("workers"),
          arg("progress") = py::none());
    m.def("distance_histogram", bind_histogram, arg("x"), arg("metric"), arg("groups"),
          arg("n_groups"), arg("limits"), py::kw_only(), arg("workers"),
          arg("progress") = py::none());
    m.def("pair_ranks", bind_ranks, arg("queries"), arg("reference"), arg("metric"), arg("targets"),
          py::kw_only(), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
