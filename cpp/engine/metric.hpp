// A metric as the engine passes it around: which one, and what it needs besides two rows.
#pragma once

#include "pairtile/metric/registry.hpp"

namespace pairtile {

struct Metric {
    MetricId id;
    int64_t n_bits = 0;  // of a row, for metrics on packed bits

    Metric(MetricId which) : id(which) {}

    bool operator==(MetricId other) const { return id == other; }
};

}  // namespace pairtile
