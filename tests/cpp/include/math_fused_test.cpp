// exponential() and logarithm() with fused multiply-add, as every instruction set but the baseline
// compiles them. Here the C library does the fusing, in hardware or not: the numbers are the same.
#include "include/math_checks.hpp"

#if defined(__x86_64__) && !defined(__FMA__)
#define __FMA__ 1  // what pairtile/config.hpp asks; no standard header is included below this line
#endif
#define PAIRTILE_ISA fused
#include "pairtile/math.hpp"

namespace {

namespace fused = pairtile::fused;

TEST(fused_exponential_of_floats) {
    check::exponential_is_within_its_bound<float>([](float x) { return fused::exponential(x); });
    check::short_exponential_is_the_other<float>(
        [](float x) { return fused::exponential(x); },
        [](float x) { return fused::exponential_of_at_most_88(x); });
}
TEST(fused_exponential_of_doubles) {
    check::exponential_is_within_its_bound<double>([](double x) { return fused::exponential(x); });
    check::short_exponential_is_the_other<double>(
        [](double x) { return fused::exponential(x); },
        [](double x) { return fused::exponential_of_at_most_88(x); });
}
TEST(fused_logarithm_of_floats) {
    check::logarithm_is_within_its_bound<float>([](float x) { return fused::logarithm(x); });
}
TEST(fused_logarithm_of_doubles) {
    check::logarithm_is_within_its_bound<double>([](double x) { return fused::logarithm(x); });
}

}  // namespace
