// A metric as the engine passes it around: which one, and what it needs besides two rows.
#pragma once

#include "pairtile/metric/registry.hpp"

namespace pairtile {

struct Metric {
    MetricId id;

    Metric(MetricId which) : id(which) {}

    bool operator==(MetricId other) const { return id == other; }
};

}  // namespace pairtile
