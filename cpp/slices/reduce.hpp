// From two sorted projections to one number, and to its derivative along the direction.
//
// The last stages of project → sort → merge → reduce: transport walks the two quantile functions
// together, energy the two distribution functions. Keys are compared as integers, so that NaN in
// the data cannot derail a walk; sums are float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "pairtile/slice/cost.hpp"
#include "pairtile/slice/lanes.hpp"
#include "slices/sort.hpp"

namespace pairtile {

// One sorted projection: its items, and where rows weigh differently their weights and levels, the
// share of all mass up to and with each item (null: all equal).
template <class T, class Item>
struct Sorted {
    const Item* items;
    int64_t size;
    const double* weights = nullptr;
    const double* levels = nullptr;

    double value(int64_t i) const { return static_cast<double>(value_of_key<T>(items[i].key)); }
    double weight(int64_t i) const {
        if constexpr (requires { items->row; }) {
            if (weights) return weights[items[i].row];
        }
        return 1.0;
    }
    double total_weight() const {
        double total = 0;
        for (int64_t i = 0; i < size; ++i) total += weight(i);
        return total;
    }
    // The levels, which end at exactly 1, being divided by their own last sum.
    void fill_levels(double* out) const {
        double sum = 0;
        for (int64_t i = 0; i < size; ++i) out[i] = sum += weight(i);
        for (int64_t i = 0; i < size; ++i) out[i] /= sum;
    }
};

// What a piece adds: nothing where there is no mass, infinite as the price may be.
inline double of_mass(double mass, double price) { return mass > 0 ? mass * price : 0.0; }

// The monotone coupling: visit(i, j, mass) for every piece that the i-th smallest x shares with
// the j-th smallest y, in order; masses add up to 1. Who goes on is as good as random, so the steps
// are arithmetic and no branches.
template <class X, class Y, class Visit>
void couple(const X& x, const Y& y, const Tick& tick, Visit&& visit) {
    int64_t i = 0, j = 0;
    constexpr int64_t stretch = 1 << 16;
    if (!x.levels) {
        // in units of 1/(nm), so that the pieces are integers: no rounding decides who meets whom
        const double unit = 1 / (static_cast<double>(x.size) * static_cast<double>(y.size));
        int64_t left_x = y.size, left_y = x.size;
        while (i < x.size && j < y.size) {
            tick();
            for (int64_t step = 0; step < stretch && i < x.size && j < y.size; ++step) {
                const int64_t piece = std::min(left_x, left_y);
                visit(i, j, static_cast<double>(piece) * unit);
                left_x -= piece;
                left_y -= piece;
                const int64_t past_x = left_x == 0, past_y = left_y == 0;
                i += past_x;
                j += past_y;
                left_x += -past_x & y.size;
                left_y += -past_y & x.size;
            }
        }
        return;
    }
    // levels behind, of either and of both
    double before_x = 0, before_y = 0, level = 0;
    while (i < x.size && j < y.size) {
        tick();
        for (int64_t step = 0; step < stretch && i < x.size && j < y.size; ++step) {
            const double up_x = x.levels[i], up_y = y.levels[j];
            const double next = std::min(up_x, up_y), last = std::max(up_x, up_y);
            visit(i, j, next - level);
            level = next;
            int64_t past_x = up_x <= up_y, past_y = up_y <= up_x;
            // Levels that differ by no more than the rounding of the sums, and by far less than
            // either point weighs, are one: the sliver between them would join points that do not
            // meet.
            if (last - next <= static_cast<double>(i + j + 8) * 0x1p-53 &&
                last - next <= 1e-3 * std::min(up_x - before_x, up_y - before_y)) {
                level = last;
                past_x = past_y = 1;
            }
            before_x = past_x ? up_x : before_x;
            before_y = past_y ? up_y : before_y;
            i += past_x;
            j += past_y;
        }
    }
}

inline constexpr int64_t line_stretch = 1 << 16;  // of lines, with a sum of its own

// Of lanes that are overwritten.
inline double sum_of_lanes(double* lane) {
    for (int half = line_lanes / 2; half; half /= 2) {
        for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    }
    return lane[0];
}

// W_p^p of two sorted projections.
template <class Cost, class T, class Item>
double transport_cost(const Cost& cost, const Sorted<T, Item>& x, const Sorted<T, Item>& y,
                      const Tick& tick) {
    if constexpr (std::is_same_v<Cost, LargestCost>) {
        double largest = 0;
        couple(x, y, tick, [&](int64_t i, int64_t j, double mass) {
            if (mass > 0) largest = std::max(largest, cost.value(x.value(i) - y.value(j)));
        });
        return largest;
    }
    if (x.size != y.size || x.levels) {
        double sum = 0;
        couple(x, y, tick, [&](int64_t i, int64_t j, double mass) {
            sum += of_mass(mass, cost.value(x.value(i) - y.value(j)));
        });
        return sum;
    }
    const int64_t stretches = (x.size + line_stretch - 1) / line_stretch;
    std::vector<double> sums(static_cast<size_t>(stretches));
    tick.for_each(stretches, [&](int64_t s, const Tick&) {
        double lane[line_lanes] = {};
        const int64_t from = s * line_stretch, count = std::min(line_stretch, x.size - from);
        if constexpr (std::is_same_v<Item, Bare<T>> && !std::is_same_v<Cost, PowerCost>) {
            const SortOps<Key<T>>& ops = sorting_of<Key<T>>(isa());
            const auto add =
                std::is_same_v<Cost, SquaredCost> ? ops.add_squares : ops.add_differences;
            add(&x.items[from].key, &y.items[from].key, count, lane);
        } else {
            in_lanes(count, [&](int l, int64_t i) {
                lane[l] += cost.value(x.value(from + i) - y.value(from + i));
            });
        }
        sums[static_cast<size_t>(s)] = sum_of_lanes(lane);
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(x.size);
}

// factor · ∂W_p^p/∂(projected row), written for every row of both sets.
template <class Cost, class T>
void transport_slopes(const Cost& cost, const Sorted<T, Ranked<T>>& x,
                      const Sorted<T, Ranked<T>>& y, double factor, T* slopes_x, T* slopes_y,
                      const Tick& tick) {
    if (x.size == y.size && !x.levels) {
        const double share = factor / static_cast<double>(x.size);
        for (int64_t i = 0; i < x.size; ++i) {
            if ((i & 0xffff) == 0xffff) tick();
            const T slope = static_cast<T>(share * cost.slope(x.value(i) - y.value(i)));
            slopes_x[x.items[i].row] = slope;
            slopes_y[y.items[i].row] = -slope;
        }
        return;
    }
    // the pieces of one point come one after another: add them up in float64, write once
    std::fill(slopes_x, slopes_x + x.size, T(0));
    std::fill(slopes_y, slopes_y + y.size, T(0));
    double sum_x = 0, sum_y = 0;
    int64_t at_x = 0, at_y = 0;
    const auto write = [factor](T* slopes, const Ranked<T>& item, double sum) {
        slopes[item.row] = static_cast<T>(factor * sum);
    };
    couple(x, y, tick, [&](int64_t i, int64_t j, double mass) {
        if (i != at_x) write(slopes_x, x.items[at_x], std::exchange(sum_x, 0.0)), at_x = i;
        if (j != at_y) write(slopes_y, y.items[at_y], std::exchange(sum_y, 0.0)), at_y = j;
        const double slope = of_mass(mass, cost.slope(x.value(i) - y.value(j)));
        sum_x += slope;
        sum_y -= slope;
    });
    write(slopes_x, x.items[at_x], sum_x);
    write(slopes_y, y.items[at_y], sum_y);
}

// factor · ∂W_p^p/∂(share of mass of a row), written for every row of both sets: the potentials of
// the transport problem. Where F and G step at one level, mass may move either way from there; the
// slope is the mean of both.
template <class Cost, class T>
void transport_potentials(const Cost& cost, const Sorted<T, Ranked<T>>& x,
                          const Sorted<T, Ranked<T>>& y, double factor, double* slopes_x,
                          double* slopes_y, const Tick& tick) {
    double of_x = 0, of_y = 0, sum_x = 0, sum_y = 0;
    const auto write = [](const auto& side, int64_t i, double value, double& sum, double* slopes) {
        slopes[side.items[i].row] = value;
        sum += of_mass(side.weight(i), value);
    };
    // The rise of the mean cost to `low` and `high` as a point goes from one place to another.
    const auto rise = [&cost](const auto& side, int64_t from, int64_t to, double low, double high) {
        const double ahead = side.value(to), behind = side.value(from);
        return (cost.value(ahead - low) - cost.value(behind - low) + cost.value(ahead - high) -
                cost.value(behind - high)) /
               2;
    };
    // Rows without mass, which may be anywhere, are told from one that has some and tell nothing.
    const auto first_of = [](const auto& side) {
        int64_t i = 0;
        while (i + 1 < side.size && !(side.weight(i) > 0)) ++i;
        return i;
    };
    int64_t at_x = first_of(x), at_y = first_of(y);
    const auto between = [&](const auto& side, int64_t from, int64_t begin, int64_t end, double low,
                             double high, double of, double& sum, double* slopes) {
        for (int64_t k = begin; k < end; ++k) {
            write(side, k, of + rise(side, from, k, low, high), sum, slopes);
        }
    };
    between(x, at_x, 0, at_x, y.value(at_y), y.value(at_y), of_x, sum_x, slopes_x);
    between(y, at_y, 0, at_y, x.value(at_x), x.value(at_x), of_y, sum_y, slopes_y);
    write(x, at_x, of_x, sum_x, slopes_x);
    write(y, at_y, of_y, sum_y, slopes_y);
    couple(x, y, tick, [&](int64_t i, int64_t j, double) {
        if (!(x.weight(i) > 0 && y.weight(j) > 0)) return;
        const double low_x = x.value(at_x), low_y = y.value(at_y);
        if (i != at_x) {
            between(x, at_x, at_x + 1, i, low_y, y.value(j), of_x, sum_x, slopes_x);
            of_x += rise(x, at_x, i, low_y, y.value(j));
            write(x, i, of_x, sum_x, slopes_x);
        }
        if (j != at_y) {
            between(y, at_y, at_y + 1, j, low_x, x.value(i), of_y, sum_y, slopes_y);
            of_y += rise(y, at_y, j, low_x, x.value(i));
            write(y, j, of_y, sum_y, slopes_y);
        }
        at_x = i;
        at_y = j;
    });
    between(x, at_x, at_x + 1, x.size, y.value(at_y), y.value(at_y), of_x, sum_x, slopes_x);
    between(y, at_y, at_y + 1, y.size, x.value(at_x), x.value(at_x), of_y, sum_y, slopes_y);
    const auto finish = [factor](double* slopes, int64_t size, double mean) {
        for (int64_t i = 0; i < size; ++i) slopes[i] = factor * (slopes[i] - mean);
    };
    finish(slopes_x, x.size, sum_x / x.total_weight());
    finish(slopes_y, y.size, sum_y / y.total_weight());
}

struct LineMoments {
    double mean, variance;
};

// Sums over the mass of a sorted projection, counted from its middle.
struct MiddleSums {
    double middle;
    double weight[line_lanes] = {}, sum[line_lanes] = {}, square[line_lanes] = {};

    SquareSums::Side side() { return {middle, sum, square}; }
    LineMoments moments() const {
        double weights = weight[0], sums = sum[0], squares = square[0];
        for (int l = 1; l < line_lanes; ++l) {
            weights += weight[l];
            sums += sum[l];
            squares += square[l];
        }
        const double mean = sums / weights;
        return {middle + mean, std::max(0.0, squares / weights - mean * mean)};
    }
};

template <class T, class Item>
MiddleSums sums_from_middle(const Sorted<T, Item>& side) {
    // of the mass, not of the rows: those without any may be anywhere
    const double* half =
        side.levels ? std::lower_bound(side.levels, side.levels + side.size, 0.5) : nullptr;
    return {side.value(half ? half - side.levels : side.size / 2)};
}

// Of one sorted projection.
template <class T, class Item>
LineMoments moments_of(const Sorted<T, Item>& side) {
    MiddleSums sums = sums_from_middle(side);
    if constexpr (std::is_same_v<Item, Bare<T>>) {
        sorting_of<Key<T>>(isa()).add_moments(&side.items->key, side.size, sums.middle, sums.sum,
                                              sums.square);
        sums.weight[0] = static_cast<double>(side.size);
    } else {
        in_lanes(side.size, [&](int l, int64_t i) {
            const double w = side.weight(i), value = w > 0 ? side.value(i) - sums.middle : 0.0;
            sums.weight[l] += w;
            sums.sum[l] += w * value;
            sums.square[l] += w * value * value;
        });
    }
    return sums.moments();
}

// W_p^p of two sorted projections, and the moments of both.
template <class Cost, class T, class Item>
double transport_cost(const Cost& cost, const Sorted<T, Item>& x, const Sorted<T, Item>& y,
                      LineMoments& of_x, LineMoments& of_y, const Tick& tick) {
    if constexpr (std::is_same_v<Cost, SquaredCost> && std::is_same_v<Item, Bare<T>>) {
        if (x.size == y.size) {  // all of them in one pass
            MiddleSums sums_x = sums_from_middle(x), sums_y = sums_from_middle(y);
            sums_x.weight[0] = sums_y.weight[0] = static_cast<double>(x.size);
            double sum = 0;
            for (int64_t from = 0; from < x.size; from += line_stretch) {
                tick();
                double lane[line_lanes] = {};
                const SquareSums sums{lane, sums_x.side(), sums_y.side()};
                const int64_t count = std::min(line_stretch, x.size - from);
                sorting_of<Key<T>>(isa()).add_squares_and_moments(&x.items[from].key,
                                                                  &y.items[from].key, count, sums);
                sum += sum_of_lanes(lane);
            }
            of_x = sums_x.moments();
            of_y = sums_y.moments();
            return sum / static_cast<double>(x.size);
        }
    }
    of_x = moments_of(x);
    of_y = moments_of(y);
    return transport_cost(cost, x, y, tick);
}

// F − G is counted in units of 1/(nm), as int64: std::length_error where that has too few digits.
inline void require_countable(int64_t n, int64_t m) {
    if (n > std::numeric_limits<int64_t>::max() / m) {
        throw std::length_error("samples of " + std::to_string(n) + " and " + std::to_string(m) +
                                " rows are too large: the product must be below 2^63");
    }
}

// Energy distance 2 ∫ (F − G)² dt of two sorted projections. `visit(x_begin, x_end, y_begin,
// y_end)` sees the positions of each distinct value.
template <class T, class Item, class Visit>
double energy_cost(const Sorted<T, Item>& x, const Sorted<T, Item>& y, const Tick& tick,
                   Visit&& visit) {
    const int64_t n = x.size, m = y.size;
    double sum = 0, previous = 0;
    int64_t i = 0, j = 0, steps = 0;
    while (i < n || j < m) {
        if ((++steps & 0xffff) == 0) tick();
        const bool from_x = j == m || (i < n && x.items[i].key <= y.items[j].key);
        const auto key = from_x ? x.items[i].key : y.items[j].key;
        const double value = static_cast<double>(value_of_key<T>(key));
        // F − G = (i·m − j·n) / (n·m), an exact integer above
        const double rise = static_cast<double>(i * m - j * n);
        // 0 before the first value and after the last: there is nothing to integrate
        if (rise != 0) sum += rise * rise * (value - previous);
        previous = value;
        const int64_t x_begin = i, y_begin = j;
        while (i < n && x.items[i].key == key) ++i;
        while (j < m && y.items[j].key == key) ++j;
        visit(x_begin, i, y_begin, j);
    }
    const double pairs = static_cast<double>(n) * static_cast<double>(m);
    return 2 * sum / pairs / pairs;
}

// energy_cost, and factor · its derivative with respect to every projected row: twice the mean sign
// of the difference to the other set less the one to its own set, over the size of its own set.
template <class T>
double energy_slopes(const Sorted<T, Ranked<T>>& x, const Sorted<T, Ranked<T>>& y, double factor,
                     T* slopes_x, T* slopes_y, const Tick& tick) {
    const double n = static_cast<double>(x.size), m = static_cast<double>(y.size);
    return energy_cost(x, y, tick, [=](int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
        // #{< value} − #{> value}, over the size
        const double sign_x = (static_cast<double>(i0 + i1) - n) / n;
        const double sign_y = (static_cast<double>(j0 + j1) - m) / m;
        const T slope_x = static_cast<T>(factor * 2 * (sign_y - sign_x) / n);
        const T slope_y = static_cast<T>(factor * 2 * (sign_x - sign_y) / m);
        for (int64_t i = i0; i < i1; ++i) slopes_x[x.items[i].row] = slope_x;
        for (int64_t j = j0; j < j1; ++j) slopes_y[y.items[j].row] = slope_y;
    });
}

}  // namespace pairtile
