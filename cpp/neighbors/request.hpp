// What is searched: a request as the statistics of neighbours take it.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "engine/precision.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

struct Index;

// Whether tiles that cannot matter are looked for.
enum class Tiles { choose, skip, all };

struct SearchRequest {
    Source queries, references;
    Metric metric;
    Precision precision = Precision::standard;
    const Index* index = nullptr;  // the references packed before, for this metric
    // set where a reference, read without an index, holds NaN or Inf; overflow under a map may set
    // it too
    std::atomic<bool>* nonfinite = nullptr;
    Tiles tiles = Tiles::choose;

    // The same of some of the rows, which the caller keeps, with tiles skipped.
    SearchRequest of_some(const std::vector<int64_t>& some_queries,
                          const std::vector<int64_t>& some_references) const {
        SearchRequest some = *this;
        some.queries.take(some_queries.data(), static_cast<int64_t>(some_queries.size()));
        some.references.take(some_references.data(), static_cast<int64_t>(some_references.size()));
        some.tiles = Tiles::skip;
        some.index = nullptr;
        some.nonfinite = nullptr;
        return some;
    }
};

}  // namespace pairtile
