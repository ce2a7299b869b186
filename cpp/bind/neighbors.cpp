// Neighbours and plain distances; and the check for NaN and Inf that every call starts with.
#include <cmath>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "engine/canonical.hpp"
#include "engine/index.hpp"
#include "engine/knn.hpp"
#include "engine/radius.hpp"
#include "engine/survey.hpp"

namespace pairtile {
namespace {

using Optional = py::object;  // None or an array

struct Request {
    Source queries, references;
    int64_t k;
    Metric metric;
    Predicate predicate;
    Precision precision;
    int workers;
    const Index* index;
};

// The index of a call, which must be that of these references.
const Index* check_index(const Index* index, const Source& references) {
    if (index && !index->fits(references.rows(), references.d())) {
        throw py::value_error("the index is of other references");
    }
    return index;
}

template <class D>
py::tuple search(const Request& request, const py::object& progress) {
    py::array_t<D> distances({request.queries.rows(), request.k});
    py::array_t<int64_t> indices({request.queries.rows(), request.k});
    D* distance = distances.mutable_data();
    int64_t* neighbor = indices.mutable_data();
    run_released(progress, [&](Control& control) {
        knn<D>(request.queries, request.references, request.k, request.metric, request.predicate,
               request.precision, request.workers, control, distance, neighbor, request.index);
    });
    return py::make_tuple(distances, indices);
}

py::tuple bind_knn(const py::array& queries, const Optional& reference, int64_t k,
                   const std::string& metric, const std::string& dtype,
                   const std::string& precision, const Optional& query_groups,
                   const Optional& reference_groups, const std::string& group_rule,
                   const Optional& query_times, const Optional& reference_times,
                   const Optional& reference_mask, const Index* index, int workers,
                   const py::object& progress) {
    const Source q(view_of(queries));
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    if (r.rows() > int64_t{0xffffffff}) {
        throw py::value_error("at most 4294967295 reference rows, got " + std::to_string(r.rows()));
    }
    Predicate predicate;
    predicate.exclude_self = reference.is_none();
    predicate.same_group = group_rule == "same";
    predicate.query_groups = vector_of<int64_t>(query_groups, q.rows(), "query_groups");
    predicate.reference_groups = vector_of<int64_t>(reference_groups, r.rows(), "reference_groups");
    predicate.reference_mask = vector_of<bool>(reference_mask, r.rows(), "reference_mask");
    if (!query_times.is_none()) {
        if (query_times.cast<py::array>().dtype().kind() == 'i') {
            predicate.query_ticks = vector_of<int64_t>(query_times, q.rows(), "query_times");
            predicate.reference_ticks =
                vector_of<int64_t>(reference_times, r.rows(), "reference_times");
        } else {
            predicate.query_times = vector_of<double>(query_times, q.rows(), "query_times");
            predicate.reference_times =
                vector_of<double>(reference_times, r.rows(), "reference_times");
        }
    }
    const Request request{q,         r,
                          k,         metric_of(metric),
                          predicate, precision_of(precision),
                          workers,   check_index(index, r)};
    return dtype == "float32" ? search<float>(request, progress)
                              : search<double>(request, progress);
}

template <class D>
py::array distances_as(const Source& x, const Source& y, const Metric& metric, bool self,
                       int workers, const py::object& progress) {
    py::array_t<D> out({x.rows(), y.rows()});
    D* data = out.mutable_data();
    run_released(progress, [&](Control& control) {
        pairwise_distances<D>(x, y, metric, workers, control, data);
    });
    if (self && metric != MetricId::inner_product) {
        for (int64_t i = 0; i < x.rows(); ++i) data[i * x.rows() + i] = D(0);
    }
    return out;
}

py::array bind_pairwise(const py::array& x, const Optional& y, const std::string& metric,
                        const std::string& dtype, int workers, const py::object& progress) {
    const Source rows(view_of(x));
    const Source cols(y.is_none() ? view_of(x) : view_of(y.cast<py::array>()));
    const auto compute = dtype == "float32" ? distances_as<float> : distances_as<double>;
    return compute(rows, cols, metric_of(metric), y.is_none(), workers, progress);
}

// Radii in the dtype of the distances -> limits of the ordered canonical values.
template <class D>
std::vector<double> limits_as(const py::object& radii, int64_t rows, const Metric& metric,
                              bool closed, const char* name) {
    std::vector<double> limits;
    const D* given = vector_of<D>(radii, rows, name);
    for (int64_t i = 0; given && i < rows; ++i) {
        // radii often repeat
        const bool again = i > 0 && given[i] == given[i - 1];
        limits.push_back(again ? limits.back() : ordered_limit<D>(metric, given[i], closed));
    }
    return limits;
}

std::vector<double> limits_of(const py::object& radii, int64_t rows, const Metric& metric,
                              bool closed, const std::string& dtype, const char* name) {
    return dtype == "float32" ? limits_as<float>(radii, rows, metric, closed, name)
                              : limits_as<double>(radii, rows, metric, closed, name);
}

py::tuple bind_radius_counts(const py::array& queries, const Optional& reference,
                             const std::string& metric, const Optional& query_radii,
                             const Optional& reference_radii, bool closed, const std::string& dtype,
                             const Index* index, int workers, const py::object& progress) {
    const Source q(view_of(queries));
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    const Metric id = metric_of(metric);
    const auto row_limits = limits_of(query_radii, q.rows(), id, closed, dtype, "query_radii");
    const auto col_limits =
        limits_of(reference_radii, r.rows(), id, closed, dtype, "reference_radii");
    const auto counts = [](const std::vector<double>& limits, const Source& side, int64_t*& data) {
        if (limits.empty()) return py::object(py::none());
        auto array = zeros<int64_t>({side.rows()});
        data = array.mutable_data();
        return py::object(array);
    };
    check_index(index, r);
    RadiusCounts by_row, by_col;
    py::tuple out(4);
    out[0] = counts(row_limits, q, by_row.rows);
    out[1] = counts(row_limits, r, by_row.cols);
    out[2] = counts(col_limits, q, by_col.rows);
    out[3] = counts(col_limits, r, by_col.cols);
    run_released(progress, [&](Control& control) {
        radius_count(q, r, id, reference.is_none(),
                     row_limits.empty() ? nullptr : row_limits.data(),
                     col_limits.empty() ? nullptr : col_limits.data(), workers, control, by_row,
                     by_col, index);
    });
    return out;
}

template <class D>
py::array reported_as(const std::vector<double>& values, const Metric& metric) {
    py::array_t<D> out(static_cast<py::ssize_t>(values.size()));
    D* to = out.mutable_data();
    for (size_t i = 0; i < values.size(); ++i) to[i] = static_cast<D>(reported(metric, values[i]));
    return out;
}

py::tuple bind_radius_neighbors(const py::array& queries, const Optional& reference,
                                const std::string& metric, const py::object& radii, bool closed,
                                const std::string& dtype, const Index* index, int workers,
                                const py::object& progress) {
    const Source q(view_of(queries));
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    const Metric id = metric_of(metric);
    const bool self = reference.is_none();
    check_index(index, r);
    const auto limits = limits_of(radii, q.rows(), id, closed, dtype, "radii");
    py::array_t<int64_t> indptr(q.rows() + 1);
    int64_t* start = indptr.mutable_data();
    std::fill_n(start, q.rows() + 1, int64_t{0});
    run_released(progress, [&](Control& control) {
        RadiusCounts counts;
        counts.rows = start + 1;
        radius_count(q, r, id, self, limits.data(), nullptr, workers, control, counts, {}, index);
    });
    for (int64_t i = 0; i < q.rows(); ++i) start[i + 1] += start[i];
    py::array_t<int64_t> indices(start[q.rows()]);
    int64_t* neighbor = indices.mutable_data();
    std::vector<double> values(static_cast<size_t>(start[q.rows()]));
    run_released(progress, [&](Control& control) {
        radius_neighbors(q, r, id, self, limits.data(), start, workers, control, neighbor,
                         values.data(), index);
    });
    return py::make_tuple(
        indptr, indices,
        dtype == "float32" ? reported_as<float>(values, id) : reported_as<double>(values, id));
}

int64_t bind_first_nonfinite(const py::array& x, int workers) {
    const Array view = view_of(x);
    int64_t found = -1;
    run_released(py::none(),
                 [&](Control& control) { found = first_nonfinite(view, workers, control); });
    return found;
}

}  // namespace

void register_neighbors(py::module_& m) {
    using py::arg;
    m.def("first_nonfinite", bind_first_nonfinite, arg("x"), py::kw_only(), arg("workers"));
    m.def("knn", bind_knn, arg("queries"), arg("reference").none(true), arg("k"), arg("metric"),
          py::kw_only(), arg("dtype"), arg("precision"), arg("query_groups") = py::none(),
          arg("reference_groups") = py::none(), arg("group_rule") = "",
          arg("query_times") = py::none(), arg("reference_times") = py::none(),
          arg("reference_mask") = py::none(), arg("index") = py::none(), arg("workers"),
          arg("progress") = py::none());
    m.def("radius_counts", bind_radius_counts, arg("queries"), arg("reference").none(true),
          arg("metric"), arg("query_radii").none(true), arg("reference_radii").none(true),
          py::kw_only(), arg("closed"), arg("dtype"), arg("index") = py::none(), arg("workers"),
          arg("progress") = py::none());
    m.def("radius_neighbors", bind_radius_neighbors, arg("queries"), arg("reference").none(true),
          arg("metric"), arg("radii"), py::kw_only(), arg("closed"), arg("dtype"),
          arg("index") = py::none(), arg("workers"), arg("progress") = py::none());
    m.def("pairwise_distances", bind_pairwise, arg("x"), arg("y").none(true), arg("metric"),
          py::kw_only(), arg("dtype"), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
