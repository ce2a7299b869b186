// A metric as it is passed around: which one, and what it needs besides two rows. What is asked of
// it at run time is answered here, from the list in registry.hpp.
#pragma once

#include <string_view>

#include "pairtile/metric/registry.hpp"

namespace pairtile {

#define PAIRTILE_TRAITS(name, type) type::traits,
constexpr MetricTraits metric_traits[] = {PAIRTILE_METRICS(PAIRTILE_TRAITS)
                                              PAIRTILE_BIT_METRICS(PAIRTILE_TRAITS)};
#undef PAIRTILE_TRAITS

#define PAIRTILE_NAME(name, type) #name,
constexpr const char* metric_names[] = {PAIRTILE_METRICS(PAIRTILE_NAME)
                                            PAIRTILE_BIT_METRICS(PAIRTILE_NAME)};
#undef PAIRTILE_NAME

// A metric whose ordered value is this quantity of two rows as they are, or less than 0 by it.
constexpr MetricId metric_of(Quantity quantity) {
    int id = 0;
    while (metric_traits[id].quantity != quantity || metric_traits[id].reading != Reading::as_is ||
           metric_traits[id].factor * metric_traits[id].factor != 1.0) {
        ++id;
    }
    return static_cast<MetricId>(id);
}

// MetricId::count if there is none of this name.
inline MetricId metric_named(std::string_view name) {
    int id = 0;
    while (id < static_cast<int>(MetricId::count) && name != metric_names[id]) ++id;
    return static_cast<MetricId>(id);
}

struct Metric {
    MetricId id;
    MetricParams params;

    const MetricTraits& traits() const { return metric_traits[static_cast<int>(id)]; }
    bool on_bits() const { return traits().quantity == Quantity::differing_bits; }
    bool unit_rows() const {
        return traits().reading == Reading::unit || traits().reading == Reading::centred_unit;
    }
    bool mapped() const {
        return traits().reading == Reading::weighted || traits().reading == Reading::transformed;
    }
    bool largest_first() const { return traits().factor < 0.0; }
};

inline namespace PAIRTILE_ISA {

// From the ordered canonical value to what the user sees.
PAIRTILE_HD double reported(const Metric& metric, double ordered) {
    switch (metric.id) {
#define PAIRTILE_REPORTED(name, type) \
    case MetricId::name:              \
        return reported<type>(ordered, metric.params);
        PAIRTILE_METRICS(PAIRTILE_REPORTED)
#undef PAIRTILE_REPORTED
#define PAIRTILE_REPORTED(name, type) \
    case MetricId::name:              \
        return type::reported(ordered, metric.params.n_bits);
        PAIRTILE_BIT_METRICS(PAIRTILE_REPORTED)
#undef PAIRTILE_REPORTED
        case MetricId::count:
            break;
    }
    return ordered;
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
