// Bounds of exponential() and logarithm(), for each of the ways they are compiled: the test files
// that include this pass their own copies.
#pragma once

#include "check.hpp"

namespace check {

constexpr double math_bound = 2.0;  // ulp, as pairtile/math.hpp states
// arguments of a kind; what a sanitizer looks for hardly depends on them
constexpr int drawn = under_sanitizer ? 4'000 : 400'000;

template <class T, class Exponential>
void exponential_is_within_its_bound(Exponential exponential) {
    const double low = sizeof(T) == 4 ? -87.3 : -708.0, high = sizeof(T) == 4 ? 88.3 : 709.0;
    Random random(1);
    double worst = 0.0;
    const auto one = [&](T x) {
        const double error = ulps<T>(exponential(x), std::exp(static_cast<long double>(x)));
        worst = std::max(worst, error);
        CHECK(error <= math_bound, "exp", x, "is", exponential(x), "off by", error, "ulp");
    };
    for (int i = 0; i < drawn; ++i) one(static_cast<T>(uniform(random, low, high)));
    for (int i = 0; i < drawn / 4; ++i) one(static_cast<T>(uniform(random, -1.0, 1.0)));
    // small arguments of every size, and the edges of the reduction to [-ln 2 / 2, ln 2 / 2]
    for (int i = 0; i < drawn / 4; ++i) {
        const double size =
            std::ldexp(uniform(random, 0.5, 1.0), static_cast<int>(integer(random, -60, 6)));
        one(static_cast<T>(i % 2 ? size : -size));
        const double edge =
            0.34657359027997264 * static_cast<double>(2 * integer(random, -120, 120) + 1);
        if (edge > low && edge < high) one(static_cast<T>(edge * (1 + 1e-7 * normal(random))));
    }
    CHECK(exponential(T(0)) == T(1));
    CHECK(exponential(-T(0)) == T(1));
    const T infinity = std::numeric_limits<T>::infinity();
    for (const T x : {static_cast<T>(low - 0.1), static_cast<T>(-1e4), -infinity,
                      -std::numeric_limits<T>::max()}) {
        CHECK(exponential(x) == T(0), x, exponential(x));
    }
    for (const T x : {static_cast<T>(high + 0.1), static_cast<T>(1e4), infinity,
                      std::numeric_limits<T>::max()}) {
        CHECK(exponential(x) == infinity, x, exponential(x));
    }
    CHECK(std::isnan(exponential(std::numeric_limits<T>::quiet_NaN())));
    CHECK(worst > 0.0, "nothing was rounded?");
}

// The one that leaves out what only large arguments need.
template <class T, class Exponential, class Short>
void short_exponential_is_the_other(Exponential exponential, Short of_at_most_88) {
    Random random(3);
    const T infinity = std::numeric_limits<T>::infinity();
    for (int i = 0; i < drawn; ++i) {
        const T x = static_cast<T>(uniform(random, sizeof(T) == 4 ? -100.0 : -800.0, 88.0));
        CHECK(of_at_most_88(x) == exponential(x), x);
    }
    for (const T x : {T(0), T(88), T(-1e-30), T(-88), -infinity}) {
        CHECK(of_at_most_88(x) == exponential(x), x);
    }
    CHECK(std::isnan(of_at_most_88(std::numeric_limits<T>::quiet_NaN())));
    CHECK(std::isnan(of_at_most_88(-std::numeric_limits<T>::quiet_NaN())));
}

template <class T, class Logarithm>
void logarithm_is_within_its_bound(Logarithm logarithm) {
    Random random(2);
    const auto one = [&](T x) {
        const double error = ulps<T>(logarithm(x), std::log(static_cast<long double>(x)));
        CHECK(error <= math_bound, "log", x, "is", logarithm(x), "off by", error, "ulp");
    };
    const int lowest = std::numeric_limits<T>::min_exponent,
              highest = std::numeric_limits<T>::max_exponent;
    for (int i = 0; i < drawn; ++i) {
        const int exponent = static_cast<int>(integer(random, lowest, highest - 1));
        one(std::ldexp(static_cast<T>(uniform(random, 0.5, 1.0)), exponent));
    }
    // sums of softmax terms and bases of powers: around 1, where the logarithm is small
    for (int i = 0; i < drawn / 2; ++i) {
        one(static_cast<T>(uniform(random, 0.5, 2.0)));
        const double distance =
            std::ldexp(uniform(random, 0.5, 1.0), -static_cast<int>(integer(random, 1, 50)));
        one(static_cast<T>(1 + distance));
        one(static_cast<T>(1 - distance / 2));
        one(static_cast<T>(0.70710678118654752 * (1 + 1e-7 * normal(random))));
    }
    for (int n = lowest; n < highest; ++n) one(std::ldexp(T(1), n));
    CHECK(logarithm(T(1)) == T(0));
    CHECK(logarithm(T(0)) == -std::numeric_limits<T>::infinity());
}

}  // namespace check
