// |δ|^p and its derivative, for the kinds of p worth telling apart.
#pragma once

#include <cmath>

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct AbsoluteCost {
    PAIRTILE_HD double value(double difference) const { return fabs(difference); }
    PAIRTILE_HD double slope(double difference) const {
        return (difference > 0) - (difference < 0);
    }
};

struct SquaredCost {
    PAIRTILE_HD double value(double difference) const { return difference * difference; }
    PAIRTILE_HD double slope(double difference) const { return 2 * difference; }
};

struct PowerCost {
    double p;
    double unit = 1.0;  // of differences: a large power of it alone leaves the range of float64
    PAIRTILE_HD double value(double difference) const { return pow(fabs(difference) * unit, p); }
    PAIRTILE_HD double slope(double difference) const {
        const double size = p * pow(fabs(difference) * unit, p - 1);
        return difference > 0 ? size : (difference < 0 ? -size : 0.0);
    }
};

// Of infinite p: the largest difference counts, no sum.
struct LargestCost {
    PAIRTILE_HD double value(double difference) const { return fabs(difference); }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
