// Neighbours and plain distances; and the check for NaN and Inf that every call starts with.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "bind/index.hpp"
#include "engine/blocking.hpp"
#include "engine/canonical.hpp"
#include "engine/finite.hpp"
#include "neighbors/fidelity.hpp"
#include "neighbors/knn.hpp"
#include "neighbors/nearest_pairs.hpp"
#include "neighbors/pair_groups.hpp"
#include "neighbors/pairwise.hpp"
#include "neighbors/radius.hpp"

namespace pairtile {
namespace {

using Optional = py::object;  // None or an array

// ValueError where the argument holds NaN or Inf.
void require_finite(const char* name, const Array& array, int workers) {
    int64_t row = -1;
    run_released(py::none(), workers,
                 [&](Control& control) { row = first_nonfinite(array, control); });
    if (row < 0) return;
    throw py::value_error(std::string(name) + " contains NaN or Inf; the first bad row is " +
                          std::to_string(row));
}

// D is what the engine writes, a number or a struct of one, and N that number.
template <class D, class N = D>
py::tuple neighbors_as(const SearchRequest& request, int64_t k, const Predicate& predicate,
                       int workers, int64_t memory, const py::object& progress) {
    static_assert(sizeof(D) == sizeof(N));
    py::array_t<N> distances({request.queries.rows(), k});
    py::array_t<int64_t> indices({request.queries.rows(), k});
    D* distance = reinterpret_cast<D*>(distances.mutable_data());
    int64_t* neighbor = indices.mutable_data();
    const auto body = [&](Control& control) {
        knn<D>(request, k, predicate, control, distance, neighbor);
    };
    run_released(progress, workers, body, memory);
    return py::make_tuple(distances, indices);
}

py::tuple bind_knn(const py::array& queries, const Optional& reference, int64_t k,
                   const std::string& metric, const std::string& dtype,
                   const std::string& precision, const Optional& query_groups,
                   const Optional& reference_groups, const std::string& group_rule,
                   const Optional& query_times, const Optional& reference_times,
                   const Optional& reference_mask, bool earlier, const Optional& metric_params,
                   const Index* index, bool check_finite, int workers, int64_t memory_limit,
                   const py::object& progress) {
    const Source q(view_of(queries));
    require_memory(memory_limit, least_knn_memory(q.d(), k), "this search");
    const Array references = view_of(reference.is_none() ? queries : reference.cast<py::array>());
    const Source r(references);
    if (r.rows() > int64_t{0xffffffff}) {
        throw py::value_error("at most 4294967295 reference rows, got " + std::to_string(r.rows()));
    }
    Predicate predicate;
    predicate.exclude_self = reference.is_none();
    predicate.earlier = earlier;
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
    // the search sees what it reads; but many queries should not wait for it in vain
    constexpr int64_t few = 64;
    const bool while_searching = q.rows() <= few && !index;
    if (check_finite && !while_searching) require_finite("reference", references, workers);
    std::atomic<bool> nonfinite{false};
    const SearchRequest request{q,
                                r,
                                metric_of(metric, metric_params, q.d()),
                                precision_of(precision),
                                check_index(index, r),
                                &nonfinite};
    const auto search = dtype == "ordered"   ? neighbors_as<Ordered, double>
                        : dtype == "float32" ? neighbors_as<float>
                                             : neighbors_as<double>;
    const py::tuple found = search(request, k, predicate, workers, memory_limit, progress);
    if (check_finite && nonfinite) require_finite("reference", references, workers);
    return found;
}

// (strategy, distances computed in full, reasons)
py::tuple bind_knn_plan(const py::array& queries, const Optional& reference, int64_t k,
                        const std::string& metric, const std::string& precision,
                        const Optional& metric_params, const Index* index, int workers,
                        int64_t memory_limit) {
    const Source q(view_of(queries));
    require_memory(memory_limit, least_knn_memory(q.d(), k), "this search");
    const Source r(view_of(reference.is_none() ? queries : reference.cast<py::array>()));
    const SearchRequest request{q, r, metric_of(metric, metric_params, q.d()),
                                precision_of(precision), check_index(index, r)};
    std::optional<SearchPlan> found;
    const auto body = [&](Control& control) {
        found = plan_knn(request, k, reference.is_none(), control);
    };
    run_released(py::none(), workers, body, memory_limit);
    py::list reasons;
    reasons.append(std::string("tiles of ") + name_of(found->plan.packing));
    for (const std::string& reason : found->plan.reasons) reasons.append(reason);
    return py::make_tuple(found->plan.strategy(), std::llround(found->full_pairs), reasons);
}

template <class D>
py::array distances_as(const Source& x, const Source& y, const Metric& metric, bool self,
                       int workers, const py::object& progress) {
    py::array_t<D> out({x.rows(), y.rows()});
    D* data = out.mutable_data();
    run_released(progress, workers,
                 [&](Control& control) { pairwise_distances<D>(x, y, metric, control, data); });
    if (self && metric.unit_rows()) {  // no row is away from itself, a zero row neither
        for (int64_t i = 0; i < x.rows(); ++i) data[i * x.rows() + i] *= D(0);
    }
    return out;
}

py::array bind_pairwise(const py::array& x, const Optional& y, const std::string& metric,
                        const std::string& dtype, const Optional& metric_params, int workers,
                        const py::object& progress) {
    const Source rows(view_of(x));
    const Source cols(y.is_none() ? view_of(x) : view_of(y.cast<py::array>()));
    const auto compute = dtype == "float32" ? distances_as<float> : distances_as<double>;
    const Metric with = metric_of(metric, metric_params, rows.d());
    return compute(rows, cols, with, y.is_none(), workers, progress);
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
                             bool per_reference, const Optional& metric_params, const Index* index,
                             int workers, int64_t memory_limit, const py::object& progress) {
    const Source q(view_of(queries));
    require_memory(memory_limit, least_radius_memory(q.d()), "this search");
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    const Metric id = metric_of(metric, metric_params, q.d());
    const auto row_limits = limits_of(query_radii, q.rows(), id, closed, dtype, "query_radii");
    const auto col_limits =
        limits_of(reference_radii, r.rows(), id, closed, dtype, "reference_radii");
    const auto counts = [](const std::vector<double>& limits, const Source& side, int64_t*& data) {
        if (limits.empty()) return py::object(py::none());
        auto array = zeros<int64_t>({side.rows()});
        data = array.mutable_data();
        return py::object(array);
    };
    const SearchRequest request{q, r, id, Precision::standard, check_index(index, r)};
    RadiusCounts by_row, by_col;
    py::tuple out(4);
    out[0] = counts(row_limits, q, by_row.rows);
    out[1] = per_reference ? counts(row_limits, r, by_row.cols) : py::object(py::none());
    out[2] = counts(col_limits, q, by_col.rows);
    out[3] = per_reference ? counts(col_limits, r, by_col.cols) : py::object(py::none());
    const auto body = [&](Control& control) {
        radius_count(request, reference.is_none(), row_limits.empty() ? nullptr : row_limits.data(),
                     col_limits.empty() ? nullptr : col_limits.data(), control, by_row, by_col);
    };
    run_released(progress, workers, body, memory_limit);
    return out;
}

// Rows are numbered by 32 bits while pairs are collected.
void numbered(const Source& queries, const Source& references) {
    const int64_t most = std::max(queries.rows(), references.rows());
    if (most > int64_t{0xffffffff}) {
        throw py::value_error("at most 4294967295 rows, got " + std::to_string(most));
    }
}

// Columns and values of what was found.
std::pair<py::array_t<int64_t>, py::array_t<double>> in_order(FoundPairs& found, int64_t rows,
                                                              const int64_t* indptr, bool by_value,
                                                              int workers) {
    py::array_t<int64_t> indices(indptr[rows]);
    py::array_t<double> values(indptr[rows]);
    int64_t* index = indices.mutable_data();
    double* value = values.mutable_data();
    run_released(py::none(), workers, [&](Control& control) {
        found.take(rows, indptr, by_value, control, index, value);
    });
    return {indices, values};
}

template <class D>
py::array reported_as(const py::array_t<double>& values, const Metric& metric) {
    py::array_t<D> out(values.size());
    const double* from = values.data();
    D* to = out.mutable_data();
    for (py::ssize_t i = 0; i < values.size(); ++i)
        to[i] = static_cast<D>(reported(metric, from[i]));
    return out;
}

py::tuple bind_radius_neighbors(const py::array& queries, const Optional& reference,
                                const std::string& metric, const py::object& radii, bool closed,
                                const std::string& dtype, bool ordered,
                                const Optional& metric_params, const Index* index, int workers,
                                int64_t memory_limit, const py::object& progress) {
    const Source q(view_of(queries));
    require_memory(memory_limit, least_radius_memory(q.d()), "this search");
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    const Metric id = metric_of(metric, metric_params, q.d());
    const bool self = reference.is_none();
    const SearchRequest request{q, r, id, Precision::standard, check_index(index, r)};
    const auto limits = limits_of(radii, q.rows(), id, closed, dtype, "radii");
    numbered(q, r);
    std::optional<FoundPairs> found;
    py::array_t<int64_t> indptr(q.rows() + 1);
    int64_t* start = indptr.mutable_data();
    const auto find = [&](Control& control) {
        found = radius_neighbors(request, self, limits.data(), control);
        found->starts(q.rows(), start);
    };
    run_released(progress, workers, find, memory_limit);
    const auto [indices, values] = in_order(*found, q.rows(), start, true, workers);
    if (ordered) return py::make_tuple(indptr, indices, values);
    return py::make_tuple(
        indptr, indices,
        dtype == "float32" ? reported_as<float>(values, id) : reported_as<double>(values, id));
}

py::tuple bind_pairs_within(const py::array& x, const Optional& y, const std::string& metric,
                            double limit, const Optional& metric_params, int workers,
                            int64_t memory_limit, const py::object& progress) {
    const Source rows(view_of(x));
    require_memory(memory_limit, least_radius_memory(rows.d()), "this search");
    const Source cols(y.is_none() ? view_of(x) : view_of(y.cast<py::array>()));
    const SearchRequest request{rows, cols, metric_of(metric, metric_params, rows.d())};
    numbered(rows, cols);
    std::optional<FoundPairs> found;
    std::vector<int64_t> start(static_cast<size_t>(rows.rows()) + 1);
    const auto find = [&](Control& control) {
        found = pairs_within(request, y.is_none(), limit, control);
        found->starts(rows.rows(), start.data());
    };
    run_released(progress, workers, find, memory_limit);
    const auto [indices, values] = in_order(*found, rows.rows(), start.data(), false, workers);
    py::array_t<int64_t> first(indices.size());
    int64_t* to = first.mutable_data();
    for (int64_t i = 0; i < rows.rows(); ++i) {
        const auto at = static_cast<size_t>(i);
        std::fill(to + start[at], to + start[at + 1], i);
    }
    return py::make_tuple(first, indices, values);
}

py::tuple bind_nearest_pairs(const py::array& x, const Optional& y, int64_t count,
                             const std::string& metric, const Optional& metric_params, int workers,
                             int64_t memory_limit, const py::object& progress) {
    const Source rows(view_of(x));
    require_memory(memory_limit, least_radius_memory(rows.d()), "this search");
    const Source cols(y.is_none() ? view_of(x) : view_of(y.cast<py::array>()));
    const SearchRequest request{rows, cols, metric_of(metric, metric_params, rows.d())};
    numbered(rows, cols);
    std::vector<FoundPair> found;
    const auto find = [&](Control& control) {
        found = nearest_pairs(request, y.is_none(), count, control).pairs;
    };
    run_released(progress, workers, find, memory_limit);
    const auto size = static_cast<py::ssize_t>(found.size());
    py::array_t<int64_t> i(size), j(size);
    py::array_t<double> values(size);
    for (py::ssize_t at = 0; at < size; ++at) {
        const FoundPair& pair = found[static_cast<size_t>(at)];
        i.mutable_data()[at] = pair.row;
        j.mutable_data()[at] = pair.col;
        values.mutable_data()[at] = pair.value;
    }
    return py::make_tuple(i, j, values);
}

// Pairs i < j of so many rows.
PairList pairs_of(int64_t rows, const py::object& i, const py::object& j) {
    const auto count = static_cast<int64_t>(py::len(i));
    const PairList pairs{count, vector_of<int64_t>(i, count, "i"),
                         vector_of<int64_t>(j, count, "j")};
    for (int64_t p = 0; p < count; ++p) {
        if (pairs.i[p] < 0 || pairs.i[p] >= pairs.j[p] || pairs.j[p] >= rows) {
            throw py::value_error("pairs must have 0 <= i < j < " + std::to_string(rows));
        }
    }
    return pairs;
}

py::array bind_keep_first(int64_t rows, const py::object& i, const py::object& j) {
    const PairList pairs = pairs_of(rows, i, j);
    py::array_t<bool> keep(rows);
    keep_first(rows, pairs, keep.mutable_data());
    return keep;
}

py::array bind_connected_rows(int64_t rows, const py::object& i, const py::object& j) {
    const PairList pairs = pairs_of(rows, i, j);
    py::array_t<int64_t> smallest(rows);
    connected_rows(rows, pairs, smallest.mutable_data());
    return smallest;
}

py::array bind_group_medoids(const py::array& x, const std::string& metric,
                             const py::object& indptr, const py::object& members,
                             const Optional& metric_params, int workers,
                             const py::object& progress) {
    const Source rows(view_of(x));
    const auto groups = static_cast<int64_t>(py::len(indptr)) - 1;
    const auto count = static_cast<int64_t>(py::len(members));
    const auto* start = vector_of<int64_t>(indptr, groups + 1, "indptr");
    const auto* member = vector_of<int64_t>(members, count, "members");
    bool right = groups >= 0 && start[0] == 0 && start[groups] == count;
    for (int64_t g = 0; right && g < groups; ++g) right = start[g] < start[g + 1];
    for (int64_t m = 0; right && m < count; ++m) right = 0 <= member[m] && member[m] < rows.rows();
    if (!right) throw py::value_error("no groups of these rows");
    const Metric id = metric_of(metric, metric_params, rows.d());
    py::array_t<int64_t> medoids(groups);
    int64_t* medoid = medoids.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        group_medoids(rows, id, groups, start, member, control, medoid);
    });
    return medoids;
}

py::array bind_largest_radius_ratios(const py::array& queries, const py::array& reference,
                                     const std::string& metric, const py::object& radii,
                                     const Optional& metric_params, int workers,
                                     const py::object& progress) {
    const Source q(view_of(queries)), r(view_of(reference));
    const SearchRequest request{q, r, metric_of(metric, metric_params, q.d())};
    const double* radius = vector_of<double>(radii, r.rows(), "radii");
    py::array_t<double> ratios(q.rows());
    double* ratio = ratios.mutable_data();
    run_released(progress, workers,
                 [&](Control& control) { largest_radius_ratios(request, radius, control, ratio); });
    return ratios;
}

py::tuple bind_distance_products(const py::array& queries, const py::array& reference,
                                 const std::string& metric, double query_radius,
                                 double reference_radius, const Optional& metric_params,
                                 int workers, const py::object& progress) {
    const Source q(view_of(queries)), r(view_of(reference));
    const SearchRequest request{q, r, metric_of(metric, metric_params, q.d())};
    py::array_t<double> of_queries(q.rows()), of_references(r.rows());
    double *row = of_queries.mutable_data(), *col = of_references.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        distance_products(request, query_radius, reference_radius, control, row, col);
    });
    return py::make_tuple(of_queries, of_references);
}

int64_t bind_least_memory(int64_t d, int64_t k) {
    return k > 0 ? least_knn_memory(d, k) : least_radius_memory(d);
}

int64_t bind_first_nonfinite(const py::array& x, int workers) {
    const Array view = view_of(x);
    int64_t found = -1;
    run_released(py::none(), workers,
                 [&](Control& control) { found = first_nonfinite(view, control); });
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
          arg("reference_mask") = py::none(), arg("earlier") = false,
          arg("metric_params") = py::none(), arg("index") = py::none(), arg("check_finite") = false,
          arg("workers"), arg("memory_limit") = 0, arg("progress") = py::none());
    m.def("knn_plan", bind_knn_plan, arg("queries"), arg("reference").none(true), arg("k"),
          arg("metric"), py::kw_only(), arg("precision"), arg("metric_params") = py::none(),
          arg("index") = py::none(), arg("workers"), arg("memory_limit") = 0);
    m.def("radius_counts", bind_radius_counts, arg("queries"), arg("reference").none(true),
          arg("metric"), arg("query_radii").none(true), arg("reference_radii").none(true),
          py::kw_only(), arg("closed"), arg("dtype"), arg("per_reference") = true,
          arg("metric_params") = py::none(), arg("index") = py::none(), arg("workers"),
          arg("memory_limit") = 0, arg("progress") = py::none());
    m.def("largest_radius_ratios", bind_largest_radius_ratios, arg("queries"), arg("reference"),
          arg("metric"), arg("radii"), py::kw_only(), arg("metric_params") = py::none(),
          arg("workers"), arg("progress") = py::none());
    m.def("distance_products", bind_distance_products, arg("queries"), arg("reference"),
          arg("metric"), arg("query_radius"), arg("reference_radius"), py::kw_only(),
          arg("metric_params") = py::none(), arg("workers"), arg("progress") = py::none());
    m.def("radius_neighbors", bind_radius_neighbors, arg("queries"), arg("reference").none(true),
          arg("metric"), arg("radii"), py::kw_only(), arg("closed"), arg("dtype"),
          arg("ordered") = false, arg("metric_params") = py::none(), arg("index") = py::none(),
          arg("workers"), arg("memory_limit") = 0, arg("progress") = py::none());
    m.def("pairs_within", bind_pairs_within, arg("x"), arg("y").none(true), arg("metric"),
          arg("limit"), py::kw_only(), arg("metric_params") = py::none(), arg("workers"),
          arg("memory_limit") = 0, arg("progress") = py::none());
    m.def("nearest_pairs", bind_nearest_pairs, arg("x"), arg("y").none(true), arg("count"),
          arg("metric"), py::kw_only(), arg("metric_params") = py::none(), arg("workers"),
          arg("memory_limit") = 0, arg("progress") = py::none());
    m.def("keep_first", bind_keep_first, arg("rows"), arg("i"), arg("j"));
    m.def("connected_rows", bind_connected_rows, arg("rows"), arg("i"), arg("j"));
    m.def("group_medoids", bind_group_medoids, arg("x"), arg("metric"), arg("indptr"),
          arg("members"), py::kw_only(), arg("metric_params") = py::none(), arg("workers"),
          arg("progress") = py::none());
    m.def("least_memory", bind_least_memory, arg("d"), arg("k"));
    m.def("pairwise_distances", bind_pairwise, arg("x"), arg("y").none(true), arg("metric"),
          py::kw_only(), arg("dtype"), arg("metric_params") = py::none(), arg("workers"),
          arg("progress") = py::none());
}

}  // namespace pairtile
