// What planning asks of a metric besides its formula; each metric says it as `traits`.
#pragma once

namespace pairtile {

// The number of a pair that the ordered value is a multiple of, and that a micro-kernel computes
// more cheaply than by the metric's own terms. `terms`: there is none.
enum class Quantity : int {
    squared_distance,
    absolute_differences,  // their sum
    largest_difference,
    product,
    differing_bits,
    terms
};

// What becomes of a row before pairs are formed. `unit`: divided by its norm. `centred_unit`: less
// its mean before that. `weighted` and `transformed`: packed under the linear map, of the roots of
// weights or a transform, that makes the metric the Euclidean distance; canonical values read it as
// it is.
enum class Reading : int { as_is, unit, centred_unit, weighted, transformed };

struct MetricTraits {
    Quantity quantity = Quantity::terms;
    double factor = 1.0;  // ordered value = factor · quantity; negative: the largest is nearest
    Reading reading = Reading::as_is;
    const char* parameter = nullptr;  // key of the one that it cannot do without
    bool over_union = false;          // of bits: a share of those set in either row
    bool takes_nan = false;           // as a feature that is missing
    bool sums_powers = false;         // ordered value = Σ |x_j − y_j|^p
};

}  // namespace pairtile
