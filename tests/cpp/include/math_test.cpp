// exponential() and logarithm() as the baseline compiles them.
#include "pairtile/math.hpp"
#include "include/math_checks.hpp"
#include "pairtile/fold/sigmoid.hpp"

namespace {

using pairtile::exponential;
using pairtile::exponential_of_at_most_88;
using pairtile::logarithm;
using pairtile::logarithm_of_one_plus;
using pairtile::logarithm_of_one_plus_part;
using pairtile::logarithm_of_one_plus_products;
using pairtile::power;
using pairtile::root;

TEST(exponential_of_floats) {
    check::exponential_is_within_its_bound<float>([](float x) { return exponential(x); });
    check::short_exponential_is_the_other<float>(
        [](float x) { return exponential(x); },
        [](float x) { return exponential_of_at_most_88(x); });
}
TEST(exponential_of_doubles) {
    check::exponential_is_within_its_bound<double>([](double x) { return exponential(x); });
    check::short_exponential_is_the_other<double>(
        [](double x) { return exponential(x); },
        [](double x) { return exponential_of_at_most_88(x); });
}
TEST(logarithm_of_floats) {
    check::logarithm_is_within_its_bound<float>([](float x) { return logarithm(x); });
}
TEST(logarithm_of_doubles) {
    check::logarithm_is_within_its_bound<double>([](double x) { return logarithm(x); });
}

template <class T>
void logarithms_of_one_plus() {
    check::Random random(5);
    for (int i = 0; i < 100'000; ++i) {
        const T x = static_cast<T>(std::exp(check::uniform(random, -60.0, 60.0)));
        const double error =
            check::ulps<T>(logarithm_of_one_plus(x), std::log1p(static_cast<long double>(x)));
        CHECK(error <= 6.0, "log(1 +", x, ") off by", error, "ulp");
    }
    CHECK(logarithm_of_one_plus(T(0)) == T(0));
}

TEST(logarithms_of_one_plus_floats) { logarithms_of_one_plus<float>(); }
TEST(logarithms_of_one_plus_doubles) { logarithms_of_one_plus<double>(); }

// Of factors whose product may be no float64 number.
TEST(logarithms_of_one_plus_products) {
    check::Random random(7);
    for (int i = 0; i < 20'000; ++i) {
        const double log_p = check::uniform(random, -700.0, 700.0), p = std::exp(log_p);
        const bool large = p > 0x1p100;
        logarithm_of_one_plus_products(p, [&](auto logarithm_of) {
            for (int k = 0; k < 10; ++k) {
                const double most = large ? 700.0 : std::min(700.0, 705.0 - log_p);
                const double x = std::exp(check::uniform(random, -60.0 - log_p, most));
                const long double exact = std::log1p(static_cast<long double>(p) * x);
                const long double off = std::fabs(logarithm_of(x) - exact);
                // log p and what it is added to may cancel
                const long double size = exact + (large ? log_p : 0.0);
                CHECK(off <= 6.0L * 0x1p-53L * size, "log(1 +", p, x, ")");
            }
        });
    }
    logarithm_of_one_plus_products(
        3.0f, [](auto logarithm_of) { CHECK(logarithm_of(0.5f) == logarithm_of_one_plus(1.5f)); });
}

// As a softplus has them, of floats alone by a way of their own.
TEST(logarithms_of_one_plus_parts) {
    check::Random random(6);
    for (int i = 0; i < 400'000; ++i) {
        const int exponent = -static_cast<int>(check::integer(random, 0, i % 2 ? 3 : 100));
        const float x = std::ldexp(static_cast<float>(check::uniform(random, 0.0, 1.0)), exponent);
        const double error = check::ulps<float>(logarithm_of_one_plus_part(x),
                                                std::log1p(static_cast<long double>(x)));
        CHECK(error <= check::math_bound, "log(1 +", x, ") off by", error, "ulp");
    }
    CHECK(logarithm_of_one_plus_part(0.0f) == 0.0f);
    CHECK(std::isnan(logarithm_of_one_plus_part(std::numeric_limits<float>::quiet_NaN())));
}

template <class T>
void powers() {
    check::Random random(3);
    for (int i = 0; i < 100'000; ++i) {
        const T x = static_cast<T>(std::exp(check::uniform(random, -30.0, 30.0)));
        const T a = static_cast<T>(check::uniform(random, -2.0, 2.0));
        const long double exact =
            std::pow(static_cast<long double>(x), static_cast<long double>(a));
        // a rounding of a·log x moves the result by as much as a·log x is large
        const double bound =
            2.0 +
            4.0 * (1.0 + std::fabs(static_cast<double>(a) * std::log(static_cast<double>(x))));
        const double error = check::ulps<T>(power(x, a), exact);
        CHECK(error <= bound, x, "to the", a, "off by", error);
    }
    const T infinity = std::numeric_limits<T>::infinity();
    CHECK(power(T(0), T(0.5)) == T(0));
    CHECK(power(T(0), T(-0.5)) == infinity);
    CHECK(power(T(1), T(-3)) == T(1));
    CHECK(root(T(2.25)) == T(1.5));
}

TEST(powers_of_floats) { powers<float>(); }
TEST(powers_of_doubles) { powers<double>(); }

}  // namespace
