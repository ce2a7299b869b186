// What may still be among the k best of a row. Tiles append to it; when it is full, a cut keeps the
// k best and whatever their error cannot tell from them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "isa/ops.hpp"

namespace pairtile {

// Numbers as integers of the same order, and back.
template <class T>
using Ordinal = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class T>
Ordinal<T> mirrored_below_zero(Ordinal<T> bits) {
    return bits ^ ((bits >> (8 * sizeof(T) - 1)) & std::numeric_limits<Ordinal<T>>::max());
}

template <class T>
Ordinal<T> ordinal_of(T value) {
    return mirrored_below_zero<T>(std::bit_cast<Ordinal<T>>(value));
}

template <class T>
T number_at(Ordinal<T> ordinal) {
    return std::bit_cast<T>(mirrored_below_zero<T>(ordinal));
}

// A number that at least k of the n values do not exceed, and no more than k where that is
// possible; otherwise it is the k-th value. A few values are sorted in registers; of more, whole
// passes that count, few of them and without a branch on any value, are sooner done than a
// partition.
template <class T>
T cut_at(const Ops<T>& ops, const T* values, int n, int64_t k) {
    if (n <= most_at_once<T>) {
        const T kth = ops.kth(values, n, k);
        return kth == kth ? kth : std::numeric_limits<T>::infinity();  // fewer than k are numbers
    }
    T least, most;
    ops.range(values, n, 1, n, &least, &most);
    Ordinal<T> low = ordinal_of(least) - 1, high = ordinal_of(most);  // too low; high enough
    int64_t below = 0, within = n;
    for (int step = 1; within > k && low + 1 < high; ++step) {
        Ordinal<T> middle = std::midpoint(low, high);
        if (step % 4) {  // where the k-th would be if values were evenly spread
            const double from = number_at<T>(low), to = number_at<T>(high);
            const double share =
                (static_cast<double>(k - below) - 0.5) / static_cast<double>(within - below);
            middle = std::clamp<Ordinal<T>>(ordinal_of(static_cast<T>(from + (to - from) * share)),
                                            low + 1, high - 1);
        }
        const int64_t count = ops.count_below(values, n, number_at<T>(middle));
        if (count < k) {
            low = middle, below = count;
        } else {
            high = middle, within = count;
        }
    }
    return number_at<T>(high);
}

// A pair that may be a neighbour: its ordered value, in packed units, lies in [low, high].
template <class T>
struct Candidate {
    T low, high;
    uint32_t index;
};

// Candidates with their upper ends apart, as these are what a cut reads again and again.
template <class T>
struct Candidates {
    struct Rest {
        T low;
        uint32_t index;
    };
    T* high;
    Rest* rest;
    int64_t count;

    void append(const Candidate<T>& one) {
        high[count] = one.high;
        rest[count++] = {one.low, one.index};
    }

    // Keeps, in their order, those that the condition is true of.
    template <class Condition>
    void keep(Condition condition) {
        int64_t kept = 0;
        for (int64_t c = 0; c < count; ++c) {
            const T top = high[c];
            const Rest other = rest[c];
            high[kept] = top;
            rest[kept] = other;
            kept += condition(top, other);
        }
        count = kept;
    }

    // Leaves those whose upper end is within the limit and returns the others.
    Candidates split(T limit) {
        int64_t within = 0;
        for (int64_t c = 0; c < count; ++c) {
            if (!(high[c] <= limit)) continue;
            std::swap(high[c], high[within]);
            std::swap(rest[c], rest[within]);
            ++within;
        }
        const Candidates others{high + within, rest + within, count - within};
        count = within;
        return others;
    }

    // Lowers the bound of the k-th best value and drops what lies above it.
    void cut(const Ops<T>& ops, int64_t k, T& bound) {
        if (count < k) return;
        bound = std::min(bound, cut_at(ops, high, static_cast<int>(count), k));
        const T limit = bound;
        keep([limit](T, const Rest& other) { return other.low <= limit; });
    }

    // Keeps the k first by (value, index), where low and high are the value; returns the index of
    // the last of them.
    uint32_t cut_in_order(const Ops<T>& ops, int64_t k, T& bound) {
        const T limit = cut_at(ops, high, static_cast<int>(count), k);
        T kth = -std::numeric_limits<T>::infinity();
        for (int64_t c = 0; c < count; ++c) {
            if (high[c] <= limit && high[c] > kth) kth = high[c];
        }
        std::vector<uint32_t> ties;
        int64_t below = 0;
        for (int64_t c = 0; c < count; ++c) {
            below += high[c] < kth;
            if (high[c] == kth) ties.push_back(rest[c].index);
        }
        // Fewer than k have a number where some have none: packed rows were damaged or changed.
        const int64_t of_ties = std::min(k - below, static_cast<int64_t>(ties.size()));
        uint32_t last = 0;
        if (of_ties > 0) {
            const auto at = ties.begin() + (of_ties - 1);
            std::nth_element(ties.begin(), at, ties.end());
            last = *at;
        }
        keep([=](T top, const Rest& other) {
            return top < kth || (top == kth && other.index <= last);
        });
        bound = std::min(bound, kth);
        return last;
    }
};

}  // namespace pairtile
