// What is searched: a request as the statistics of neighbours take it.
#pragma once

#include <atomic>

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
};

}  // namespace pairtile
