// The smallest test framework that does: TEST(name) { ... CHECK(condition, what, to, print); }
//
// A failed check is printed and counted and the test goes on, so that one run shows every input
// that fails. main.cpp runs all tests of the executable.
#pragma once

#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace check {

#ifdef PAIRTILE_UNDER_SANITIZER
inline constexpr bool under_sanitizer = true;
#else
inline constexpr bool under_sanitizer = false;
#endif

struct Test {
    const char* name;
    void (*run)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

struct Registered {
    Registered(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

// Failed checks of the test that is running.
inline int64_t failures = 0;
constexpr int64_t printed_failures = 8;

template <class... What>
void fail(const char* file, int line, const char* condition, const What&... what) {
    if (++failures > printed_failures) return;
    std::cerr.precision(17);
    std::cerr << file << ':' << line << ": " << condition << " is false";
    ((std::cerr << ' ' << what), ...);
    std::cerr << '\n';
}

using Random = std::mt19937_64;

inline int64_t integer(Random& random, int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
}
inline double normal(Random& random) { return std::normal_distribution<double>()(random); }
inline double uniform(Random& random, double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
}

template <class T>
std::vector<T> normals(Random& random, int64_t size) {
    std::vector<T> values(static_cast<size_t>(size));
    for (T& value : values) value = static_cast<T>(normal(random));
    return values;
}

// Distance in units of the last place that T has at the exact value.
template <class T>
double ulps(T got, long double exact) {
    if (static_cast<long double>(got) == exact) return 0.0;
    if (std::isnan(got) || std::isnan(exact) || std::isinf(got) || std::isinf(exact)) {
        return std::isnan(got) && std::isnan(exact) ? 0.0 : INFINITY;
    }
    const int exponent = std::max(
        exact == 0 ? std::numeric_limits<T>::min_exponent : static_cast<int>(std::ilogb(exact)),
        std::numeric_limits<T>::min_exponent - 1);
    const long double unit = std::ldexp(1.0L, exponent + 1 - std::numeric_limits<T>::digits);
    return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) / unit);
}

// Roundoff of T.
template <class T>
constexpr double roundoff = std::numeric_limits<T>::epsilon() / 2;

}  // namespace check

#define TEST(name)                                                  \
    static void name();                                             \
    static const check::Registered name##_registered(#name, &name); \
    static void name()

#define CHECK(condition, ...)                                                                     \
    do {                                                                                          \
        if (!(condition)) check::fail(__FILE__, __LINE__, #condition __VA_OPT__(, ) __VA_ARGS__); \
    } while (false)
