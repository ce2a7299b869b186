// How many values lie below a bracket [low, high] and how many inside it. The fold behind exact
// medians and quantiles: the order statistic is found once the bracket holds few values.
#pragma once

#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Rank {
    double low, high;
    int64_t below = 0;
    int64_t inside = 0;

    PAIRTILE_HD void push(double x) {
        below += x < low;
        inside += x >= low && x <= high;
    }
    PAIRTILE_HD void merge(const Rank& other) {
        below += other.below;
        inside += other.inside;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
