// Pairs as canonical float64 values, and distances from those: what neighbours, radii and fidelity
// are made of. Word for word the shared definitions, so that every bit is that of the CPU.
#pragma once

#include <type_traits>

#include "engine/launch.hpp"
#include "engine/sweep.cuh"

namespace pairtile::gpu {

// What the user sees, from the ordered value.
inline __device__ __noinline__ double distance_of(const Metric& metric, double ordered) {
    return reported(metric, ordered);
}

// A plain metric: eight partial results per pair run through all features in registers.
template <class Plain>
struct PlainPairs {
    using Value = double;
    const Sweep& sweep;
    double lanes[pairs_per_thread][8];

    __device__ PlainPairs(const Sweep& sweep, const Metric&) : sweep(sweep) {}

    __device__ void begin() {
        for (auto& pair : lanes) {
            for (double& lane : pair) lane = 0.0;
        }
    }
    static constexpr __device__ int64_t passes() { return 1; }
    __device__ void add(const Staged<double>& x, const Staged<double>& y, const Place& place,
                        const Chunk& now) {
        accumulate<Plain>(lanes, x, y, place, now.count);
    }
    // Of query i and reference j. A pair with a zero row has cosine distance 1, whatever the other
    // row (unless that is NaN).
    __device__ double value(int pair, int64_t i, int64_t j) const {
        const double value = Plain::order(canonical_tree<Plain>(lanes[pair]));
        if constexpr (std::is_same_v<Plain, Cosine>) {
            const bool zero =
                sweep.query_scales[i].norm == 0.0 || sweep.reference_scales[j].norm == 0.0;
            if (zero && value == value) return 1.0;
        }
        return value;
    }
    __device__ double distance(double ordered) const { return Plain::reported(ordered); }
};

// Every other metric, chosen at run time: next to what a pair of theirs costs, that is nothing, and
// one kernel per fold serves them all. One pair after another runs through the staged features, its
// partial results lie in local memory meanwhile.
struct ChosenPairs {
    using Value = double;
    const Sweep& sweep;
    const Metric& metric;
    double lanes[pairs_per_thread][2][8];

    __device__ ChosenPairs(const Sweep& sweep, const Metric& metric)
        : sweep(sweep), metric(metric) {}

    __device__ void begin() {
        for (auto& pair : lanes) {
            for (auto& sum : pair) {
                for (double& lane : sum) lane = 0.0;
            }
        }
    }
    // Mahalanobis goes through the features once for each row of its transform.
    __device__ int64_t passes() const {
        return metric.id == MetricId::mahalanobis ? sweep.queries.cols : 1;
    }
    __device__ void add(const Staged<double>& x, const Staged<double>& y, const Place& place,
                        const Chunk& now) {
        switch (metric.id) {
            case MetricId::mahalanobis: {
                const double* row = metric.params.transform + now.pass * sweep.queries.cols;
                push<Mahalanobis::Component>(x, y, place, now, row);
                if (now.first + now.count == sweep.queries.cols) end_component(now.pass);
                break;
            }
#define PT_PUSH(name, type) \
    case MetricId::name:    \
        return push<type>(x, y, place, now, metric.params);
                PAIRTILE_SUMMED_METRICS(PT_PUSH)
#undef PT_PUSH
            default:
                count_bits(x, y, place, now);
        }
    }
    __device__ __noinline__ double value(int pair, int64_t, int64_t) const {
        const auto& [first, second] = lanes[pair];
        switch (metric.id) {
            case MetricId::mahalanobis:
                return canonical_tree<Mahalanobis>(second);
#define PT_ORDER(name, type) \
    case MetricId::name:     \
        return partial<type>(pair).order();
                PAIRTILE_SUMMED_METRICS(PT_ORDER)
#undef PT_ORDER
#define PT_ORDER(name, type) \
    case MetricId::name:     \
        return type::order(static_cast<int64_t>(first[0]), static_cast<int64_t>(second[0]));
                PAIRTILE_BIT_METRICS(PT_ORDER)
#undef PT_ORDER
            default:  // a plain metric
                return NAN;
        }
    }
    __device__ double distance(double ordered) const { return distance_of(metric, ordered); }

  private:
    template <class Summed>
    static constexpr int sums_of = Partial<Summed, double>::two_sums ? 2 : 1;

    template <class Summed>
    __device__ Partial<Summed, double> partial(int pair) const {
        Partial<Summed, double> result;
#pragma unroll
        for (int s = 0; s < sums_of<Summed>; ++s) {
#pragma unroll
            for (int l = 0; l < 8; ++l) result.lane[s][l] = lanes[pair][s][l];
        }
        return result;
    }
    template <class Summed, class Params>
    __device__ __noinline__ void push(const Staged<double>& x, const Staged<double>& y,
                                      const Place& place, const Chunk& now, const Params& params) {
#pragma unroll 1
        for (int p = 0; p < pairs_per_thread; ++p) {
            Partial<Summed, double> sum = partial<Summed>(p);
            const int column = place.column(p);
#pragma unroll 1
            for (int f = 0; f < now.count; f += 8) {
#pragma unroll
                for (int l = 0; l < 8; ++l) {
                    if (f + l >= now.count) break;  // there are no parameters beyond
                    sum.push(l, x[f + l][place.row], y[f + l][column], now.first + f + l, params);
                }
            }
#pragma unroll
            for (int s = 0; s < sums_of<Summed>; ++s) {
#pragma unroll
                for (int l = 0; l < 8; ++l) lanes[p][s][l] = sum.lane[s][l];
            }
        }
    }
    __device__ void end_component(int64_t component) {
        for (auto& [of_component, all] : lanes) {
            const double z = canonical_tree<Mahalanobis>(of_component);
            all[component % 8] += z * z;
            for (double& lane : of_component) lane = 0.0;
        }
    }
    // Bits set in one row alone, and in at least one: whole numbers, exact in any order.
    __device__ __noinline__ void count_bits(const Staged<double>& x, const Staged<double>& y,
                                            const Place& place, const Chunk& now) {
        for (int p = 0; p < pairs_per_thread; ++p) {
            for (int f = 0; f < now.count; ++f) {
                const auto a = static_cast<unsigned>(x[f][place.row]);
                const auto b = static_cast<unsigned>(y[f][place.column(p)]);
                lanes[p][0][0] += __popc(a ^ b);
                lanes[p][1][0] += __popc(a | b);
            }
        }
    }
};

// launch.operator()<Pairs>() with the type of pairs that serves a metric.
template <class Launch>
void with_pairs(MetricId metric, const Launch& launch) {
    switch (metric) {
#define PT_PLAIN(name, type) \
    case MetricId::name:     \
        return launch.template operator()<PlainPairs<type>>();
        PAIRTILE_PLAIN_METRICS(PT_PLAIN)
#undef PT_PLAIN
        default:
            return launch.template operator()<ChosenPairs>();
    }
}

}  // namespace pairtile::gpu
