// What tests force, and what they ask of a search beside its result.
#include <cstdint>
#include <vector>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "bind/index.hpp"
#include "engine/blocking.hpp"
#include "engine/canonical.hpp"
#include "engine/screen.hpp"
#include "engine/skipping.hpp"
#include "neighbors/knn.hpp"
#include "neighbors/nearest_pairs.hpp"
#include "neighbors/radius.hpp"

namespace pairtile {
namespace {

// What a search did, of default precision.
KnnWork work_of_knn(const py::array& queries, const py::object& reference, int64_t k,
                    const std::string& metric, const Index* index, int workers) {
    const Source q(view_of(queries));
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    Predicate predicate;
    predicate.exclude_self = reference.is_none();
    std::vector<float> distances(static_cast<size_t>(q.rows() * k));
    std::vector<int64_t> indices(distances.size());
    const SearchRequest request{q, r, metric_of(metric, py::none(), q.d()), Precision::standard,
                                check_index(index, r)};
    KnnWork work{};
    run_released(py::none(), workers, [&](Control& control) {
        work = knn<float>(request, k, predicate, control, distances.data(), indices.data());
    });
    return work;
}

int64_t bind_rescored_pairs(const py::array& queries, const py::object& reference, int64_t k,
                            const std::string& metric, int workers) {
    return work_of_knn(queries, reference, k, metric, nullptr, workers).rescored;
}

int64_t bind_computed_pairs(const py::array& queries, const py::object& reference, int64_t k,
                            const std::string& metric, const Index* index, int workers) {
    return work_of_knn(queries, reference, k, metric, index, workers).computed;
}

// The same of counting the neighbours within one radius.
int64_t bind_computed_pairs_within(const py::array& queries, const py::object& reference,
                                   double radius, const std::string& metric, int workers) {
    const Source q(view_of(queries));
    const Source r(reference.is_none() ? view_of(queries) : view_of(reference.cast<py::array>()));
    const SearchRequest request{q, r, metric_of(metric, py::none(), q.d())};
    const std::vector<double> limits(static_cast<size_t>(q.rows()),
                                     ordered_limit<double>(request.metric, radius, true));
    std::vector<int64_t> rows(limits.size()), cols(static_cast<size_t>(r.rows()));
    int64_t pairs = 0;
    run_released(py::none(), workers, [&](Control& control) {
        pairs = radius_count(request, reference.is_none(), limits.data(), nullptr, control,
                             {rows.data(), cols.data()}, {});
    });
    return pairs;
}

int64_t bind_finished_pairs(const py::array& queries, const py::object& reference, int64_t k,
                            const std::string& metric, const Index* index, int workers) {
    return work_of_knn(queries, reference, k, metric, index, workers).finished;
}

// The same of the nearest pairs.
int64_t bind_computed_of_nearest(const py::array& x, const py::object& y, int64_t count,
                                 const std::string& metric, int workers) {
    const Source rows(view_of(x));
    const Source cols(y.is_none() ? view_of(x) : view_of(y.cast<py::array>()));
    const SearchRequest request{rows, cols, metric_of(metric, py::none(), rows.d())};
    int64_t computed = 0;
    run_released(py::none(), workers, [&](Control& control) {
        computed = nearest_pairs(request, y.is_none(), count, control).computed;
    });
    return computed;
}

}  // namespace

void register_testing(py::module_& native) {
    using py::arg;
    py::module_ m = native.def_submodule("_testing", "What tests force and ask of the engine.");
    m.def("set_tile", force_tile, arg("rows"), arg("cols"));
    m.def("set_screen", force_screen, arg("name"));
    m.def("set_skipping", force_skipping, arg("name"));
    m.def("rescored_pairs", bind_rescored_pairs, arg("queries"), arg("reference").none(true),
          arg("k"), arg("metric"), py::kw_only(), arg("workers"));
    m.def("computed_pairs", bind_computed_pairs, arg("queries"), arg("reference").none(true),
          arg("k"), arg("metric"), py::kw_only(), arg("index") = py::none(), arg("workers"));
    m.def("computed_pairs_within", bind_computed_pairs_within, arg("queries"),
          arg("reference").none(true), arg("radius"), arg("metric"), py::kw_only(), arg("workers"));
    m.def("finished_pairs", bind_finished_pairs, arg("queries"), arg("reference").none(true),
          arg("k"), arg("metric"), py::kw_only(), arg("index") = py::none(), arg("workers"));
    m.def("computed_of_nearest", bind_computed_of_nearest, arg("x"), arg("y").none(true),
          arg("count"), arg("metric"), py::kw_only(), arg("workers"));
}

}  // namespace pairtile
