// A metric as the engine passes it around: which one, and what it needs besides two rows.
#pragma once

#include "pairtile/metric/registry.hpp"

namespace pairtile {

struct Metric {
    MetricId id;
    MetricParams params;

    Metric(MetricId which, const MetricParams& with = {}) : id(which), params(with) {}

    bool operator==(MetricId other) const { return id == other; }
};

}  // namespace pairtile
