// The farthest row of a group, histograms of distances and ranks of pairs, against loops over all
// pairs with canonical values.
#include <algorithm>

#include "check.hpp"
#include "engine/blocking.hpp"
#include "engine/canonical.hpp"
#include "engine/isa.hpp"
#include "neighbors/farthest.hpp"
#include "neighbors/histogram.hpp"
#include "neighbors/next_beyond.hpp"
#include "neighbors/ranks.hpp"

namespace {

using namespace check;
using namespace pairtile;

const auto ignore = [](int64_t, int64_t) {};

template <class T>
Source rows_of(const std::vector<T>& values, int64_t d) {
    constexpr int64_t size = sizeof(T);
    return Source({reinterpret_cast<const char*>(values.data()),
                   static_cast<int64_t>(values.size()) / d, d, d * size, size,
                   size == 4 ? Dtype::float32 : Dtype::float64, false});
}

// Numbers of which many pairs have one distance, or of which none have.
template <class T>
std::vector<T> numbers(Random& random, int64_t size, bool whole) {
    auto values = normals<T>(random, size);
    for (T& value : values) value = whole ? std::round(value) : value;
    return values;
}

std::vector<int64_t> integers(Random& random, int64_t size, int64_t below) {
    std::vector<int64_t> values(static_cast<size_t>(size));
    for (int64_t& value : values) value = integer(random, 0, below - 1);
    return values;
}

Metric metric_called(const char* name) { return {metric_named(name), {}}; }

// The request with rows as the metric reads them, for canonical values.
SearchRequest read(SearchRequest request) {
    request.queries.read_as(request.metric.traits().reading);
    request.references.read_as(request.metric.traits().reading);
    return request;
}

// body(x, y, n, m, d): sets of both types, with and without ties, under blocks of several sizes.
template <class Body>
void for_sets(uint64_t seed, const Body& body) {
    Random random(seed);
    for (const int64_t n : {1, 2, 17, 64, 150}) {
        for (const int64_t tile : {0, 1, 20}) {
            for (const bool whole : {false, true}) {
                const int64_t m = integer(random, 1, 130), d = integer(random, 1, 20);
                force_tile(tile, 3 * tile);
                const auto x = numbers<double>(random, n * d, whole);
                const auto y = numbers<double>(random, m * d, whole);
                body(rows_of(x, d), rows_of(y, d), random);
                const std::vector<float> narrow_x(x.begin(), x.end()), narrow_y(y.begin(), y.end());
                body(rows_of(narrow_x, d), rows_of(narrow_y, d), random);
                force_tile(0, 0);
            }
        }
    }
}

TEST(the_farthest_row_of_a_group) {
    for_sets(31, [](const Source& x, const Source&, Random& random) {
        const int64_t n = x.rows();
        const auto groups = integers(random, n, 5);
        for (const char* name : {"sqeuclidean", "cosine", "manhattan"}) {
            const SearchRequest request{x, x, metric_called(name)};
            std::vector<double> values(static_cast<size_t>(n));
            std::vector<int64_t> indices(values.size());
            Control control(ignore, 2);
            farthest_of_group(request, groups.data(), control, values.data(), indices.data());
            const SearchRequest as_read = read(request);
            Canonical canonical(as_read.metric, as_read.queries, as_read.references);
            for (int64_t i = 0; i < n; ++i) {
                const size_t at = static_cast<size_t>(i);
                double best = NAN;
                int64_t index = -1;
                canonical.set_row(i);
                for (int64_t j = 0; j < n; ++j) {
                    if (i == j || groups[at] != groups[static_cast<size_t>(j)]) continue;
                    if (canonical(j) <= best) continue;
                    best = canonical(j);
                    index = j;
                }
                CHECK(indices[at] == index, name, n, i, indices[at], index);
                CHECK(index < 0 ? std::isnan(values[at]) : values[at] == best, name, n, i);
            }
        }
    });
}

TEST(the_row_of_another_group_next_beyond_listed_ones) {
    for_sets(34, [](const Source& x, const Source&, Random& random) {
        const int64_t n = x.rows();
        for (const int64_t classes : {1, 2, 5}) {
            const auto groups = integers(random, n, classes);
            std::vector<int64_t> anchors, indptr{0}, rows;
            for (int64_t i = n - 1; i >= 0; i -= integer(random, 1, 2)) {
                anchors.push_back(i);
                const int64_t listed = integer(random, 0, 12);
                for (int64_t k = 0; k < listed; ++k) rows.push_back(integer(random, 0, n - 1));
                indptr.push_back(static_cast<int64_t>(rows.size()));
            }
            const ListedRows lists{anchors.data(), indptr.data(), rows.data(),
                                   static_cast<int64_t>(anchors.size())};
            for (const char* name : {"sqeuclidean", "cosine", "manhattan"}) {
                const SearchRequest request{x, x, metric_called(name)};
                std::vector<double> to_listed(rows.size()), to_next(rows.size());
                std::vector<int64_t> next(rows.size());
                Control control(ignore, 2);
                next_beyond(request, groups.data(), lists, control,
                            {to_listed.data(), to_next.data(), next.data()});
                const SearchRequest as_read = read(request);
                Canonical canonical(as_read.metric, as_read.queries, as_read.references);
                for (size_t a = 0; a < anchors.size(); ++a) {
                    canonical.set_row(anchors[a]);
                    std::vector<double> all;
                    for (int64_t j = 0; j < n; ++j) all.push_back(canonical(j));
                    const auto value_of = [&](int64_t j) { return all[static_cast<size_t>(j)]; };
                    for (int64_t e = indptr[a]; e < indptr[a + 1]; ++e) {
                        const size_t at = static_cast<size_t>(e);
                        const double listed = value_of(rows[at]);
                        int64_t beyond = -1, farthest = -1;
                        for (int64_t j = 0; j < n; ++j) {
                            if (groups[static_cast<size_t>(j)] ==
                                groups[static_cast<size_t>(anchors[a])]) {
                                continue;
                            }
                            const double value = value_of(j);
                            if (farthest < 0 || value > value_of(farthest)) farthest = j;
                            if (value > listed && (beyond < 0 || value < value_of(beyond))) {
                                beyond = j;
                            }
                        }
                        const int64_t right = beyond < 0 ? farthest : beyond;
                        CHECK(to_listed[at] == listed, name, n, a, e);
                        CHECK(next[at] == right, name, n, a, e, next[at], right);
                        CHECK(right < 0 ? std::isnan(to_next[at]) : to_next[at] == value_of(right),
                              name, n, a, e);
                    }
                }
            }
        }
    });
}

TEST(a_histogram_has_every_pair_once) {
    for_sets(32, [](const Source& x, const Source&, Random& random) {
        const int64_t n = x.rows(), classes = 3;
        const auto groups = integers(random, n, classes);
        for (const int64_t bins : {1, 2, 30}) {
            // some limits are values that there are, and some are one value
            const SearchRequest request{x, x, metric_called("cosine")};
            const SearchRequest as_read = read(request);
            Canonical canonical(as_read.metric, as_read.queries, as_read.references);
            std::vector<double> limits;
            for (int64_t b = 1; b < bins; ++b) {
                canonical.set_row(integer(random, 0, n - 1));
                limits.push_back(b % 2 ? canonical(integer(random, 0, n - 1))
                                       : uniform(random, 0.0, 2.0));
            }
            std::sort(limits.begin(), limits.end());
            std::vector<int64_t> same(static_cast<size_t>(classes * bins)),
                other(limits.size() + 1);
            auto expected_same = same, expected_other = other;
            Control control(ignore, 2);
            distance_histogram(request, groups.data(), {limits.data(), bins}, control,
                               {same.data(), other.data()});
            for (int64_t i = 0; i < n; ++i) {
                canonical.set_row(i);
                const int64_t group = groups[static_cast<size_t>(i)];
                for (int64_t j = i + 1; j < n; ++j) {
                    const double value = canonical(j);
                    const int64_t bin =
                        std::lower_bound(limits.begin(), limits.end(), value) - limits.begin();
                    const bool alike = groups[static_cast<size_t>(j)] == group;
                    ++(alike ? expected_same[static_cast<size_t>(group * bins + bin)]
                             : expected_other[static_cast<size_t>(bin)]);
                }
            }
            CHECK(same == expected_same, n, bins);
            CHECK(other == expected_other, n, bins);
        }
    });
}

TEST(ranks_are_counts_of_what_comes_before) {
    for_sets(33, [](const Source& x, const Source& y, Random& random) {
        const int64_t n = x.rows(), m = y.rows();
        const auto targets = integers(random, n, m);
        for (const char* name : {"inner_product", "cosine", "sqeuclidean"}) {
            const SearchRequest request{x, y, metric_called(name)};
            std::vector<int64_t> by_row(static_cast<size_t>(n)), by_col(by_row);
            Control control(ignore, 2);
            pair_ranks(request, targets.data(), control, by_row.data(), by_col.data());
            const SearchRequest as_read = read(request);
            Canonical canonical(as_read.metric, as_read.queries, as_read.references);
            const auto value = [&](int64_t i, int64_t j) {
                canonical.set_row(i);
                return canonical(j);
            };
            for (int64_t i = 0; i < n; ++i) {
                const int64_t target = targets[static_cast<size_t>(i)];
                const double own = value(i, target);
                int64_t row = 1, col = 1;
                for (int64_t j = 0; j < m; ++j) {
                    const double other = value(i, j);
                    row += other < own || (other == own && j < target);
                }
                for (int64_t k = 0; k < n; ++k) {
                    const double other = value(k, target);
                    col += other < own || (other == own && k < i);
                }
                CHECK(by_row[static_cast<size_t>(i)] == row, name, n, m, i);
                CHECK(by_col[static_cast<size_t>(i)] == col, name, n, m, i);
            }
        }
    });
}

}  // namespace
