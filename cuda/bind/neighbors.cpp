// Neighbours, radii, distances and fidelity.
#include "bind/families.hpp"
#include "bind/packed.hpp"
#include "neighbors/farthest.hpp"
#include "neighbors/fidelity.hpp"
#include "neighbors/histogram.hpp"
#include "neighbors/knn.hpp"
#include "neighbors/pairwise.hpp"
#include "neighbors/quantile.hpp"
#include "neighbors/radius.hpp"
#include "neighbors/ranks.hpp"
#include "neighbors/screened_knn.hpp"
#include "neighbors/screened_radius.hpp"

namespace pairtile::gpu {
namespace {

// name; p, weights, transform, ranges, clip and n_bits, 0 where the metric has no use for one
using Measure = std::tuple<std::string, double, Address, Address, Address, double, int64_t>;

MetricId id_of(const std::string& name) {
    const MetricId id = metric_named(name);
    if (id == MetricId::count) throw py::value_error("unknown metric '" + name + "'");
    return id;
}

Metric metric_of(const Measure& measure, const Sets& sets) {
    const auto& [name, p, weights, transform, ranges, clip, n_bits] = measure;
    const auto features = static_cast<double>(std::get<2>(std::get<0>(sets)));
    return {id_of(name),
            {p, at<const double>(weights), at<const double>(transform), at<const double>(ranges),
             clip, features, n_bits}};
}

Predicate predicate_of(bool exclude_self, bool same_group, const Pair& groups, const Pair& times,
                       const Pair& ticks, Address reference_mask) {
    return {.exclude_self = exclude_self,
            .query_groups = at<const int64_t>(groups.first),
            .reference_groups = at<const int64_t>(groups.second),
            .same_group = same_group,
            .query_times = at<const double>(times.first),
            .reference_times = at<const double>(times.second),
            .query_ticks = at<const int64_t>(ticks.first),
            .reference_ticks = at<const int64_t>(ticks.second),
            .reference_mask = at<const bool>(reference_mask)};
}

void bind_knn(const Sets& sets, const Measure& measure, const Range& rows, int64_t k,
              bool exclude_self, bool same_group, const Pair& groups, const Pair& times,
              const Pair& ticks, Address reference_mask, Address workspace, int64_t limit,
              bool wide_distances, bool ordered, Address distances, Address indices,
              const DeviceStream& stream) {
    Search search;
    search.sweep = sweep_of(sets, rows, needs_of("knn", k).within(limit));
    search.metric = metric_of(measure, sets);
    search.k = k;
    search.predicate = predicate_of(exclude_self, same_group, groups, times, ticks, reference_mask);
    search.ordered = ordered;
    search.lists = at<Neighbor>(workspace);
    const int64_t states = search.sweep.rows * search.sweep.cut.segments;
    search.lengths = reinterpret_cast<int64_t*>(search.lists + states * places_of_list(k));
    const cudaStream_t queue = cuda_stream(stream);
    if (wide_distances) {
        knn(search, at<double>(distances), at<int64_t>(indices), queue);
    } else {
        knn(search, at<float>(distances), at<int64_t>(indices), queue);
    }
}

// Of the references: the first segment of a sweep, how many all sweeps have, how many this one has.
using Segments = std::tuple<int64_t, int64_t, int64_t>;
// Candidates, how many there are and have room, what a sweep sorts in, and the limits it begins
// with.
using CandidatesArguments = std::tuple<Address, Address, int64_t, Address, Address>;

ScreenedSearch screened_of(const Sets& sets, const Measure& measure, const PackedSets& packed,
                           int64_t k, bool exact, const Segments& segments, Address of_references,
                           const CandidatesArguments& workspace) {
    const auto& [queries, references, scales] = sets;
    const auto& [rows, cols, firsts] = packed;
    const auto& [first_segment, all_segments, own_segments] = segments;
    const auto& [candidates, counts, room, scratch, guesses] = workspace;
    ScreenedSearch search{};
    search.sweep = tensor_sweep(panels_of(rows), panels_of(cols), own_segments);
    search.queries = array_of(queries);
    search.references = array_of(references);
    search.query_scales = at<const RowScale>(scales.first);
    search.reference_scales = at<const RowScale>(scales.second);
    search.metric = metric_of(measure, sets);
    search.k = k;
    search.room = room;
    search.first_query = firsts.first;
    search.first_reference = firsts.second;
    search.of_cols = at<const PackFindings>(of_references);
    search.exact = exact;
    search.first_segment = static_cast<int>(first_segment);
    search.segments = static_cast<int>(all_segments);
    search.candidates = at<Candidate>(candidates);
    search.counts = at<int>(counts);
    search.scratch = at<double>(scratch);
    search.guesses = at<const float>(guesses);
    return search;
}

void bind_screened_sweep(const Sets& sets, const Measure& measure, const PackedSets& packed,
                         int64_t k, bool exact, const Segments& segments, Address of_references,
                         const CandidatesArguments& workspace, Address numbers, bool exclude_self,
                         bool same_group, const Pair& groups, const Pair& times, const Pair& ticks,
                         Address reference_mask, const std::string& path,
                         const DeviceStream& stream) {
    ScreenedSearch search =
        screened_of(sets, measure, packed, k, exact, segments, of_references, workspace);
    search.numbers = at<const int64_t>(numbers);
    search.predicate = predicate_of(exclude_self, same_group, groups, times, ticks, reference_mask);
    screened_sweep(search, path_of(path), cuda_stream(stream));
}

void bind_screened_decision(const Sets& sets, const Measure& measure, const PackedSets& packed,
                            int64_t k, bool exact, const Segments& segments, Address of_references,
                            const CandidatesArguments& workspace, bool exclude_self,
                            bool same_group, const Pair& groups, const Pair& times,
                            const Pair& ticks, Address reference_mask, bool wide_distances,
                            Address distances, Address indices, const DeviceStream& stream) {
    ScreenedSearch search =
        screened_of(sets, measure, packed, k, exact, segments, of_references, workspace);
    search.predicate = predicate_of(exclude_self, same_group, groups, times, ticks, reference_mask);
    const cudaStream_t queue = cuda_stream(stream);
    if (wide_distances) {
        screened_decision(search, at<double>(distances), at<int64_t>(indices), queue);
    } else {
        screened_decision(search, at<float>(distances), at<int64_t>(indices), queue);
    }
}

// Two lists for each block: where, how much fits one, how many blocks.
using ListsArguments = std::tuple<Address, int64_t, int64_t>;

void bind_screened_lists(const Sets& sets, const Measure& measure, const PackedSets& packed,
                         int64_t k, bool exact, const Segments& segments, Address of_references,
                         const CandidatesArguments& workspace, const ListsArguments& lists,
                         bool exclude_self, bool same_group, const Pair& groups, const Pair& times,
                         const Pair& ticks, Address reference_mask, bool wide_distances,
                         Address distances, Address indices, const DeviceStream& stream) {
    ScreenedSearch search =
        screened_of(sets, measure, packed, k, exact, segments, of_references, workspace);
    search.predicate = predicate_of(exclude_self, same_group, groups, times, ticks, reference_mask);
    const auto& [memory, room, blocks] = lists;
    const ListSpace space = {at<Neighbor>(memory), room, static_cast<int>(blocks)};
    const cudaStream_t queue = cuda_stream(stream);
    if (wide_distances) {
        screened_lists(search, space, at<double>(distances), at<int64_t>(indices), queue);
    } else {
        screened_lists(search, space, at<float>(distances), at<int64_t>(indices), queue);
    }
}

void bind_guess_limits(const Sets& sets, const Measure& measure, const PackedSets& packed,
                       int64_t k, bool exact, const Segments& segments, Address of_references,
                       const CandidatesArguments& workspace, Address numbers, bool exclude_self,
                       bool same_group, const Pair& groups, const Pair& times, const Pair& ticks,
                       Address reference_mask, int rank, Address limits,
                       const DeviceStream& stream) {
    ScreenedSearch search =
        screened_of(sets, measure, packed, k, exact, segments, of_references, workspace);
    search.numbers = at<const int64_t>(numbers);
    search.predicate = predicate_of(exclude_self, same_group, groups, times, ticks, reference_mask);
    guess_limits(search, rank, at<float>(limits), cuda_stream(stream));
}

Within within_of(const Sets& sets, const Measure& measure, const Range& rows, bool exclude_self,
                 bool closed, bool wide_distances, bool negated) {
    return {sweep_of(sets, rows, needs_of("radius")),
            metric_of(measure, sets),
            exclude_self,
            {closed, !wide_distances, negated}};
}

// Radii, and the counts per query and per reference of what is inside them.
using Counts = std::tuple<Address, Address, Address>;

RadiusCounts counts_of(const Counts& counts) {
    const auto& [radii, of_queries, of_references] = counts;
    return {at<const double>(radii), at<int64_t>(of_queries), at<int64_t>(of_references)};
}

void bind_radius_counts(const Sets& sets, const Measure& measure, const Range& rows,
                        bool exclude_self, bool closed, bool wide_distances, bool negated,
                        const Counts& by_query_radii, const Counts& by_reference_radii,
                        const DeviceStream& stream) {
    const Within within =
        within_of(sets, measure, rows, exclude_self, closed, wide_distances, negated);
    radius_counts(within, counts_of(by_query_radii), counts_of(by_reference_radii),
                  cuda_stream(stream));
}

// Pairs put aside, how many there is room for, how many were found.
using Aside = std::tuple<Address, uint64_t, Address>;

ScreenedRadius screened_radius_of(const Sets& sets, const Measure& measure,
                                  const PackedSets& packed, bool exact, const Pair& findings,
                                  bool exclude_self, bool closed, bool wide_distances,
                                  const Counts& by_query_radii, const Counts& by_reference_radii,
                                  const Pair& limits, const Aside& aside) {
    const auto& [queries, references, scales] = sets;
    const auto& [rows, cols, firsts] = packed;
    ScreenedRadius search{};
    search.sweep = tensor_sweep(panels_of(rows), panels_of(cols),
                                screened_radius_segments(std::get<3>(rows), std::get<3>(cols)));
    search.queries = array_of(queries);
    search.references = array_of(references);
    search.query_scales = at<const RowScale>(scales.first);
    search.reference_scales = at<const RowScale>(scales.second);
    search.metric = metric_of(measure, sets);
    search.first_query = firsts.first;
    search.first_reference = firsts.second;
    search.exclude_self = exclude_self;
    search.ball = {closed, !wide_distances};
    search.exact = exact;
    search.of_rows = at<const PackFindings>(findings.first);
    search.of_cols = at<const PackFindings>(findings.second);
    search.by_query_radii = counts_of(by_query_radii);
    search.by_reference_radii = counts_of(by_reference_radii);
    search.row_limits = at<RadiusLimits>(limits.first);
    search.col_limits = at<RadiusLimits>(limits.second);
    search.pairs = at<uint32_t>(std::get<0>(aside));
    search.room = std::get<1>(aside);
    search.found = at<unsigned long long>(std::get<2>(aside));
    return search;
}

void bind_screened_radius_sweep(const Sets& sets, const Measure& measure, const PackedSets& packed,
                                bool exact, const Pair& findings, bool exclude_self, bool closed,
                                bool wide_distances, const Counts& by_query_radii,
                                const Counts& by_reference_radii, const Pair& limits,
                                const Aside& aside, bool listed, const std::string& path,
                                const DeviceStream& stream) {
    const ScreenedRadius search =
        screened_radius_of(sets, measure, packed, exact, findings, exclude_self, closed,
                           wide_distances, by_query_radii, by_reference_radii, limits, aside);
    screened_radius_sweep(search, listed, path_of(path), cuda_stream(stream));
}

void bind_screened_radius_decision(const Sets& sets, const Measure& measure,
                                   const PackedSets& packed, bool exact, const Pair& findings,
                                   bool exclude_self, bool closed, bool wide_distances,
                                   const Counts& by_query_radii, const Counts& by_reference_radii,
                                   const Pair& limits, const Aside& aside, Address values,
                                   const DeviceStream& stream) {
    const ScreenedRadius search =
        screened_radius_of(sets, measure, packed, exact, findings, exclude_self, closed,
                           wide_distances, by_query_radii, by_reference_radii, limits, aside);
    screened_radius_decision(search, at<double>(values), cuda_stream(stream));
}

// Where the rows begin, where they are filled next, indices and ordered values.
using Filled = std::tuple<Address, Address, Address, Address>;

RadiusRows rows_of(const Filled& filled) {
    const auto& [indptr, next, indices, values] = filled;
    return {at<const int64_t>(indptr), at<int64_t>(next), at<int64_t>(indices), at<double>(values)};
}

// The pairs of a launch: where its rows and columns begin, how many columns there are.
using Listed = std::tuple<Address, Address, int64_t, int64_t, int64_t, int64_t>;

void bind_screened_radius_placement(const Listed& listed, const Filled& filled,
                                    const DeviceStream& stream) {
    const auto& [pairs, values, count, first_query, first_reference, references] = listed;
    const ListedPairs list = {
        at<const uint32_t>(pairs), at<const double>(values),         count, first_query,
        first_reference,           static_cast<uint32_t>(references)};
    screened_radius_placement(list, rows_of(filled), cuda_stream(stream));
}

void bind_radius_neighbors(const Sets& sets, const Measure& measure, const Range& rows,
                           bool exclude_self, bool closed, bool wide_distances, bool negated,
                           Address radii, const Filled& filled, const DeviceStream& stream) {
    const Within within =
        within_of(sets, measure, rows, exclude_self, closed, wide_distances, negated);
    radius_neighbors(within, at<const double>(radii), rows_of(filled), cuda_stream(stream));
}

void bind_sort_radius_rows(const Sets& sets, const Measure& measure, const Range& rows,
                           const Filled& filled, bool wide_distances, Address distances,
                           const DeviceStream& stream) {
    const auto sort = [&](auto* out) {
        sort_radius_rows(metric_of(measure, sets), rows.first, rows.second - rows.first,
                         rows_of(filled), out, cuda_stream(stream));
    };
    if (wide_distances) {
        sort(at<double>(distances));
    } else {
        sort(at<float>(distances));
    }
}

void bind_pairwise_distances(const Sets& sets, const Measure& measure, const Range& rows,
                             bool exclude_self, bool wide_distances, Address distances,
                             const DeviceStream& stream) {
    const Pairwise pairwise = {sweep_of(sets, rows, needs_of("pairwise")), metric_of(measure, sets),
                               exclude_self, wide_distances, at<void>(distances)};
    pairwise_distances(pairwise, cuda_stream(stream));
}

void bind_largest_radius_ratios(const Sets& sets, const Measure& measure, const Range& rows,
                                Address radii, Address workspace, Address largest,
                                const DeviceStream& stream) {
    const Ratios ratios = {sweep_of(sets, rows, needs_of("fidelity")), metric_of(measure, sets),
                           at<const double>(radii), at<MaxRatio>(workspace)};
    largest_radius_ratios(ratios, at<double>(largest), cuda_stream(stream));
}

void bind_distance_products(const Sets& sets, const Measure& measure, const Range& rows,
                            double radius, Address workspace, Address of_queries,
                            const DeviceStream& stream) {
    const Products products = {sweep_of(sets, rows, needs_of("fidelity")), metric_of(measure, sets),
                               radius, at<Product>(workspace)};
    distance_products(products, at<double>(of_queries), cuda_stream(stream));
}

void bind_farthest_of_group(const Sets& sets, const Measure& measure, const Range& rows,
                            Address groups, const Pair& workspace, Address values, Address indices,
                            const DeviceStream& stream) {
    const FarthestSearch search = {.sweep = sweep_of(sets, rows, needs_of("farthest"), true),
                                   .metric = metric_of(measure, sets),
                                   .groups = at<const int64_t>(groups),
                                   .states = at<FarthestRow>(workspace.first),
                                   .columns = at<FarthestRow>(workspace.second)};
    farthest_of_group(search, at<double>(values), at<int64_t>(indices), cuda_stream(stream));
}

// Of ascending limits, how many bins they make, counts of pairs within groups and between them.
using BinsArguments = std::tuple<Address, int64_t, Address, Address>;

void bind_group_histogram(const Sets& sets, const Measure& measure, const Range& rows,
                          Address groups, const BinsArguments& arguments,
                          const DeviceStream& stream) {
    const auto& [limits, bins, same, different] = arguments;
    const GroupHistogram histogram = {.sweep = sweep_of(sets, rows, needs_of("histogram"), true),
                                      .metric = metric_of(measure, sets),
                                      .groups = at<const int64_t>(groups),
                                      .limits = at<const double>(limits),
                                      .bins = bins,
                                      .same = at<int64_t>(same),
                                      .different = at<int64_t>(different)};
    group_histogram(histogram, cuda_stream(stream));
}

void bind_ranks(const Sets& sets, const Measure& measure, const Range& rows, Address own,
                Address targets, Address before, const DeviceStream& stream) {
    const RankSearch search = {.sweep = sweep_of(sets, rows, needs_of("ranks")),
                               .metric = metric_of(measure, sets),
                               .own = at<const double>(own),
                               .targets = at<const int64_t>(targets),
                               .before = at<int64_t>(before)};
    ranks(search, cuda_stream(stream));
}

void bind_paired_values(const Sets& sets, const Measure& measure, const Range& rows, Address own,
                        const DeviceStream& stream) {
    RankSearch search{};
    search.sweep = sweep_of(sets, rows, needs_of("ranks"));
    search.metric = metric_of(measure, sets);
    paired_values(search, at<double>(own), cuda_stream(stream));
}

// The lowest and the highest key inside; what is kept, and how many there is room for.
using Keys = std::pair<uint64_t, uint64_t>;
using Kept = std::pair<Address, uint64_t>;

KeyRange range_of(const Keys& keys, int shift, Address tally, const Kept& kept) {
    return {keys.first, keys.second, shift, at<Tally>(tally), at<uint64_t>(kept.first),
            kept.second};
}

void bind_count_distances(const Sets& sets, const Measure& measure, const Range& rows,
                          bool triangle, const Keys& keys, int shift, Address tally,
                          const Kept& kept, const DeviceStream& stream) {
    count_distances(sweep_of(sets, rows, needs_of("quantile"), triangle), metric_of(measure, sets),
                    range_of(keys, shift, tally, kept), cuda_stream(stream));
}

void bind_count_keys(Address list, int64_t count, const Keys& keys, int shift, Address tally,
                     const Kept& kept, const DeviceStream& stream) {
    count_keys(at<const uint64_t>(list), count, range_of(keys, shift, tally, kept),
               cuda_stream(stream));
}

void bind_sample_distances(const Sets& sets, const Measure& measure, bool pooled, int64_t count,
                           Address keys, const DeviceStream& stream) {
    sample_distances(sweep_of(sets, {0, 1}, needs_of("quantile")), pooled, metric_of(measure, sets),
                     count, at<uint64_t>(keys), cuda_stream(stream));
}

}  // namespace

void bind_neighbors(py::module_& m) {
    using py::arg;
    m.def("knn", bind_knn, py::kw_only(), arg("sets"), arg("measure"), arg("rows"), arg("k"),
          arg("exclude_self"), arg("same_group"), arg("groups"), arg("times"), arg("ticks"),
          arg("reference_mask"), arg("workspace"), arg("limit"), arg("wide_distances"),
          arg("ordered") = false, arg("distances"), arg("indices"), arg("stream"), Released());
    m.attr("screened_short_k") = screened_short_k;
    m.attr("candidate_bytes") = sizeof(Candidate);
    m.def("screened_segments", screened_segments, arg("rows"), arg("references"),
          arg("most") = INT64_MAX);
    m.def("candidate_room", candidate_room, arg("k"), arg("references"));
    m.def("list_room", list_room, arg("k"), arg("references"));
    m.def("multiprocessors", multiprocessors);
    m.def("screened_sweep", bind_screened_sweep, py::kw_only(), arg("sets"), arg("measure"),
          arg("packed"), arg("k"), arg("exact"), arg("segments"), arg("of_references"),
          arg("workspace"), arg("numbers"), arg("exclude_self"), arg("same_group"), arg("groups"),
          arg("times"), arg("ticks"), arg("reference_mask"), arg("path"), arg("stream"),
          Released());
    m.def("guess_limits", bind_guess_limits, py::kw_only(), arg("sets"), arg("measure"),
          arg("packed"), arg("k"), arg("exact"), arg("segments"), arg("of_references"),
          arg("workspace"), arg("numbers"), arg("exclude_self"), arg("same_group"), arg("groups"),
          arg("times"), arg("ticks"), arg("reference_mask"), arg("rank"), arg("limits"),
          arg("stream"), Released());
    m.def("screened_lists", bind_screened_lists, py::kw_only(), arg("sets"), arg("measure"),
          arg("packed"), arg("k"), arg("exact"), arg("segments"), arg("of_references"),
          arg("workspace"), arg("lists"), arg("exclude_self"), arg("same_group"), arg("groups"),
          arg("times"), arg("ticks"), arg("reference_mask"), arg("wide_distances"),
          arg("distances"), arg("indices"), arg("stream"), Released());
    m.def("screened_decision", bind_screened_decision, py::kw_only(), arg("sets"), arg("measure"),
          arg("packed"), arg("k"), arg("exact"), arg("segments"), arg("of_references"),
          arg("workspace"), arg("exclude_self"), arg("same_group"), arg("groups"), arg("times"),
          arg("ticks"), arg("reference_mask"), arg("wide_distances"), arg("distances"),
          arg("indices"), arg("stream"), Released());
    m.def("radius_counts", bind_radius_counts, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("exclude_self"), arg("closed"), arg("wide_distances"),
          arg("negated") = false, arg("by_query_radii"), arg("by_reference_radii"), arg("stream"),
          Released());
    m.attr("radius_limits_bytes") = sizeof(RadiusLimits);
    m.def("screened_radius_sweep", bind_screened_radius_sweep, py::kw_only(), arg("sets"),
          arg("measure"), arg("packed"), arg("exact"), arg("findings"), arg("exclude_self"),
          arg("closed"), arg("wide_distances"), arg("by_query_radii"), arg("by_reference_radii"),
          arg("limits"), arg("aside"), arg("listed"), arg("path"), arg("stream"), Released());
    m.def("screened_radius_decision", bind_screened_radius_decision, py::kw_only(), arg("sets"),
          arg("measure"), arg("packed"), arg("exact"), arg("findings"), arg("exclude_self"),
          arg("closed"), arg("wide_distances"), arg("by_query_radii"), arg("by_reference_radii"),
          arg("limits"), arg("aside"), arg("values") = 0, arg("stream"), Released());
    m.def("screened_radius_placement", bind_screened_radius_placement, py::kw_only(), arg("listed"),
          arg("filled"), arg("stream"), Released());
    m.def("radius_neighbors", bind_radius_neighbors, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("exclude_self"), arg("closed"), arg("wide_distances"),
          arg("negated") = false, arg("radii"), arg("filled"), arg("stream"), Released());
    m.def("sort_radius_rows", bind_sort_radius_rows, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("filled"), arg("wide_distances"), arg("distances"), arg("stream"),
          Released());
    m.def("pairwise_distances", bind_pairwise_distances, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("exclude_self"), arg("wide_distances"), arg("distances"), arg("stream"),
          Released());
    m.def("largest_radius_ratios", bind_largest_radius_ratios, py::kw_only(), arg("sets"),
          arg("measure"), arg("rows"), arg("radii"), arg("workspace"), arg("largest"),
          arg("stream"), Released());
    m.def("distance_products", bind_distance_products, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("radius"), arg("workspace"), arg("of_queries"), arg("stream"),
          Released());
    m.attr("farthest_bytes") = sizeof(FarthestRow);
    m.def("farthest_of_group", bind_farthest_of_group, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("groups"), arg("workspace"), arg("values"), arg("indices"),
          arg("stream"), Released());
    m.def("group_histogram", bind_group_histogram, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("groups"), arg("bins"), arg("stream"), Released());
    m.def("ranks", bind_ranks, py::kw_only(), arg("sets"), arg("measure"), arg("rows"), arg("own"),
          arg("targets"), arg("before"), arg("stream"), Released());
    m.def("paired_values", bind_paired_values, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("own"), arg("stream"), Released());
    m.attr("quantile_cells") = quantile_cells;
    m.attr("tally_bytes") = sizeof(pairtile::gpu::Tally);
    m.def("count_distances", bind_count_distances, py::kw_only(), arg("sets"), arg("measure"),
          arg("rows"), arg("triangle"), arg("keys"), arg("shift"), arg("tally"), arg("kept"),
          arg("stream"), Released());
    m.def("count_keys", bind_count_keys, py::kw_only(), arg("list"), arg("count"), arg("keys"),
          arg("shift"), arg("tally"), arg("kept"), arg("stream"), Released());
    m.def("sample_distances", bind_sample_distances, py::kw_only(), arg("sets"), arg("measure"),
          arg("pooled"), arg("count"), arg("keys"), arg("stream"), Released());
}

}  // namespace pairtile::gpu
