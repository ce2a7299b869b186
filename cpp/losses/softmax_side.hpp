// What a backward sweep knows of each row (or column): its weight in the gradient, its log-sum-exp
// and what its positives add, in the tile's type.
#pragma once

#include <limits>
#include <vector>

#include "isa/ops.hpp"
#include "pairtile/fold/log_sum_exp.hpp"

namespace pairtile {

template <class T>
struct SoftmaxVectors {
    std::vector<T> upstream, high, low;

    // As if nothing weighed anything, whatever the logit: no exponential overflows.
    void resize(int64_t n) {
        const size_t size = static_cast<size_t>(n);
        upstream.assign(size, T(0));
        low.assign(size, T(0));
        high.assign(size, std::numeric_limits<T>::max());
    }
    void set(size_t at, double weight, const LogSumExp& fold) {
        if (fold.sum == 0.0) return;  // nothing to weigh
        const double log_sum = logarithm(fold.sum);
        upstream[at] = static_cast<T>(weight);
        high[at] = static_cast<T>(fold.max + log_sum);
        low[at] = static_cast<T>((fold.max - static_cast<double>(high[at])) + log_sum);
    }
    // Of the rows from `first` on; null if there are none at all.
    SoftmaxSide<T> from(size_t first) const {
        if (upstream.empty()) return {nullptr, nullptr, nullptr};
        return {upstream.data() + first, high.data() + first, low.data() + first};
    }
};

// What the backward sweep knows of a side, and what its positives add.
template <class T>
struct SideWeights : SoftmaxVectors<T> {
    std::vector<T> flat;  // off the weight of every pair that is not left out; empty: nothing
    // A positive by itself has its weight at hand from the loss, in float64: p − 1 is tiny where
    // the loss is. Of several, each has this share off its weight.
    std::vector<T> positive, share;
    std::vector<bool> single;

    void resize(int64_t n) {
        const size_t size = static_cast<size_t>(n);
        SoftmaxVectors<T>::resize(n);
        positive.assign(size, T(0));
        share.assign(size, T(0));
        single.assign(size, false);
    }
};

}  // namespace pairtile
