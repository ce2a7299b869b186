// From the sorted angles of two samples to their distance on the circle.
//
// Angles are turns, and a sample goes on around the circle: X(i + n) = X(i) + 1. A plan that keeps
// the order is then a shift α of the quantile functions, and W_p^p is the least of
// C(α) = ∫_0^1 |X(q) − Y(q + α)|^p dq, which is convex in α and linear between the multiples of
// 1/lcm(n, m): the minimum is at one of these, where the slope changes its sign. Delon, Salomon and
// Sobolevski, "Fast transport optimization for Monge costs on the circle" (2010).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>

#include "engine/compensated.hpp"
#include "pairtile/slice/cost.hpp"
#include "pairtile/slice/shift.hpp"
#include "slices/sort.hpp"

namespace pairtile {

// Ascending angles, all within one turn.
template <class T>
struct Turns {
    const T* values;
    int64_t size;

    double operator[](int64_t i) const { return static_cast<double>(values[i]); }
    double mean() const {
        Compensated sum;
        for (int64_t i = 0; i < size; ++i) sum.add((*this)[i]);
        return sum.value() / static_cast<double>(size);
    }
};

// A place on the way around: an index, and whole turns.
struct Place {
    Place(int64_t steps, int64_t count) : index(steps % count), size(count) {
        if (index < 0) index += size;
        turns = static_cast<double>((steps - index) / size);
    }
    // no more than a turn
    void move(int64_t steps) {
        index += steps;
        if (index >= size) index -= size, turns += 1;
    }
    template <class T>
    double on(const Turns<T>& sample) const {
        return sample[index] + turns;
    }

    int64_t index, size;
    double turns;
};

template <class T>
class Circle {
  public:
    // Slopes take a step for each point of y: it is the smaller sample.
    Circle(Turns<T> x, Turns<T> y, const Tick& tick)
        : x_(x.size < y.size ? y : x), y_(x.size < y.size ? x : y), tick_(tick) {
        const int64_t common = std::gcd(x_.size, y_.size);
        x_mass_ = y_.size / common;
        y_mass_ = x_.size / common;
        mass_ = x_.size * x_mass_;
    }

    // W_p
    double exact(double p) const {
        if (p == 1) return cost(AbsoluteCost{}, best_shift(AbsoluteCost{}));
        if (p == 2) return std::sqrt(cost(SquaredCost{}, best_shift(SquaredCost{})));
        const int64_t shift = best_shift(PowerCost{p});
        double top = 0;
        couple(shift,
               [&top](double difference, double) { top = std::max(top, std::fabs(difference)); });
        if (top == 0) return 0;
        return top * std::pow(cost(PowerCost{p, 1 / top}, shift), 1 / p);
    }

    // For p = 2 by way of the uniform distribution: both samples are coupled with it by their best
    // plans, which begin at their means, and so with each other. Points then go the short way.
    double linear() const {
        const double n = static_cast<double>(x_.size), m = static_cast<double>(y_.size);
        const double shift = x_.mean() - y_.mean();
        const int64_t first = static_cast<int64_t>(std::floor(shift * m));
        Place to(first, y_.size);
        double level = 0, sum = 0;
        for (int64_t i = 0, j = first; i < x_.size;) {
            if ((i & 0xffff) == 0) tick_();
            const double up_x = static_cast<double>(i + 1) / n;
            const double up_y = static_cast<double>(j + 1) / m - shift;
            const double next = std::max(level, std::min(up_x, up_y));
            const double apart = x_[i] - to.on(y_), way = apart - std::nearbyint(apart);
            sum += (next - level) * way * way;
            level = next;
            if (up_y < up_x) {
                ++j;
                to.move(1);
            } else {
                ++i;
            }
        }
        return std::sqrt(sum);
    }

  private:
    // In units of mass: a turn off, all of Y is behind X or ahead of it.
    template <class Cost>
    int64_t best_shift(const Cost& cost) const {
        return least_shift(mass_, [&](int64_t shift) { return slope(cost, shift); });
    }

    // Of the cost, from this shift to the next: each point of y takes mass from the one before it.
    // Of large powers their root, with the sign.
    template <class Cost>
    double slope(Cost cost, int64_t shift) const {
        double sum = 0, top = 0;
        const auto add = [&](double after, double before) {
            sum += cost.value(after) - cost.value(before);
        };
        if constexpr (!requires { cost.unit; }) {
            steps(shift, add);
            return sum;
        } else {
            steps(shift, [&top](double after, double before) {
                top = std::max({top, std::fabs(after), std::fabs(before)});
            });
            if (top == 0) return 0;
            cost.unit = 1 / top;
            steps(shift, add);
            return std::copysign(top * std::pow(std::fabs(sum), 1 / cost.p), sum);
        }
    }

    // visit(X − Y_j, X − Y_{j−1}) where Y steps from one to the other.
    template <class Visit>
    void steps(int64_t shift, Visit&& visit) const {
        const int64_t whole = y_mass_ / x_mass_, rest = y_mass_ % x_mass_;
        const int64_t start = -shift - 1;  // the mass of X that lies wholly before the first step
        Place at(start / x_mass_ - (start % x_mass_ < 0), x_.size);
        int64_t over = (start % x_mass_ + x_mass_) % x_mass_;
        double before = y_[y_.size - 1] - 1;
        for (int64_t j = 0; j < y_.size; ++j) {
            if ((j & 0xffff) == 0) tick_();
            const double from = at.on(x_), to = y_[j];
            visit(from - to, from - before);
            before = to;
            over += rest;
            at.move(whole + (over >= x_mass_));
            if (over >= x_mass_) over -= x_mass_;
        }
    }

    template <class Cost>
    double cost(const Cost& cost, int64_t shift) const {
        double sum = 0;
        couple(shift,
               [&](double difference, double mass) { sum += mass * cost.value(difference); });
        return sum / static_cast<double>(mass_);
    }

    // visit(X − Y, mass) for all pieces of the plan with this shift.
    template <class Visit>
    void couple(int64_t shift, Visit&& visit) const {
        Place to(shift / y_mass_ - (shift % y_mass_ < 0), y_.size);
        int64_t left_x = x_mass_, left_y = y_mass_ - (shift % y_mass_ + y_mass_) % y_mass_;
        for (int64_t i = 0; i < x_.size;) {
            if ((i & 0xffff) == 0) tick_();
            const int64_t piece = std::min(left_x, left_y);
            visit(x_[i] - to.on(y_), static_cast<double>(piece));
            left_x -= piece;
            left_y -= piece;
            if (left_x == 0) ++i, left_x = x_mass_;
            if (left_y == 0) to.move(1), left_y = y_mass_;
        }
    }

    Turns<T> x_, y_;
    const Tick& tick_;
    int64_t x_mass_, y_mass_, mass_;  // of a point of x, of a point of y, of all
};

}  // namespace pairtile
