#include "neighbors/pair_groups.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "engine/canonical.hpp"
#include "engine/compensated.hpp"

namespace pairtile {

void keep_first(int64_t rows, const PairList& pairs, bool* keep) {
    std::fill_n(keep, rows, true);
    // whatever could remove row i has come before the pairs that begin with i
    for (int64_t p = 0; p < pairs.count; ++p) {
        if (keep[pairs.i[p]]) keep[pairs.j[p]] = false;
    }
}

void connected_rows(int64_t rows, const PairList& pairs, int64_t* smallest) {
    std::iota(smallest, smallest + rows, int64_t{0});
    const auto root = [&](int64_t row) {
        while (smallest[row] != row) {
            smallest[row] = smallest[smallest[row]];
            row = smallest[row];
        }
        return row;
    };
    for (int64_t p = 0; p < pairs.count; ++p) {
        const int64_t a = root(pairs.i[p]), b = root(pairs.j[p]);
        smallest[std::max(a, b)] = std::min(a, b);
    }
    // each points at a smaller one, which points at its root already
    for (int64_t row = 0; row < rows; ++row) smallest[row] = smallest[smallest[row]];
}

void group_medoids(Source x, const Metric& metric, int64_t groups, const int64_t* indptr,
                   const int64_t* members, Control& control, int64_t* medoids) {
    x.read_as(metric.traits().reading);
    const int64_t count = indptr[groups];
    std::vector<double> sums(static_cast<size_t>(count));
    std::vector<Canonical> canonical;
    for (int w = 0; w < control.workers(); ++w) canonical.emplace_back(metric, x, x);
    parallel_for(count, control, [&](int64_t at, int worker) {
        Canonical& distance = canonical[static_cast<size_t>(worker)];
        const int64_t* end = std::upper_bound(indptr, indptr + groups, at);
        Compensated sum;
        distance.set_row(members[at]);
        for (int64_t other = end[-1]; other < *end; ++other) {
            if (other == at) continue;
            if (other % 64 == 0) control.tick(worker);
            const double ordered = distance(members[other]);
            sum.add(metric.largest_first() ? ordered : reported(metric, ordered));
        }
        sums[static_cast<size_t>(at)] = sum.value();
    });
    for (int64_t g = 0; g < groups; ++g) {
        const auto first = sums.begin() + indptr[g], end = sums.begin() + indptr[g + 1];
        medoids[g] = members[indptr[g] + (std::min_element(first, end) - first)];
    }
}

}  // namespace pairtile
