// The table of a sum of Gaussians against the sum, on every instruction set of this processor.
#include "kernels/gaussian_table.hpp"

#include <algorithm>
#include <cmath>

#include "check.hpp"

namespace {

using namespace check;
using namespace pairtile;

// The largest error over squared distances from 0 to `largest`, beside the sum of the weights.
double largest_error(const GaussianTable& table, const std::vector<GaussianTable::Term>& terms,
                     double largest) {
    constexpr int count = 4096;
    std::vector<float> squares(count), values(count);
    for (int i = 0; i < count; ++i) {
        squares[static_cast<size_t>(i)] =
            static_cast<float>(largest * std::exp2(-40.0 * i / (count - 1)));
    }
    squares.back() = 0.0f;
    table(squares.data(), count, 1, count, values.data(), count);
    double error = 0.0, size = 0.0;
    for (const auto& term : terms) size += std::fabs(term.weight);
    for (size_t i = 0; i < count; ++i) {
        double exact = 0.0;
        for (const auto& term : terms) {
            exact += term.weight * std::exp(-term.gamma * static_cast<double>(squares[i]));
        }
        error = std::max(error, std::fabs(static_cast<double>(values[i]) - exact) / size);
    }
    return error;
}

TEST(a_table_of_gaussians_is_their_sum) {
    Random random(31);
    for (const IsaOps* isa : supported_isas()) {
        choose_isa(isa->name);
        for (int round = 0; round < (under_sanitizer ? 20 : 200); ++round) {
            std::vector<GaussianTable::Term> terms;
            const double unit = std::exp2(uniform(random, -60, 60));
            for (int64_t t = integer(random, 1, 12); t > 0; --t) {
                terms.push_back({normal(random), unit * std::exp2(uniform(random, -16, 0))});
            }
            const double widest =
                std::min_element(terms.begin(), terms.end(), [](const auto& a, const auto& b) {
                    return a.gamma < b.gamma;
                })->gamma;
            const double largest = 30.0 / widest;
            const GaussianTable table(terms, largest);
            std::erase_if(terms, [&](const auto& term) { return !table.holds(term.gamma); });
            CHECK(table.terms() == terms.size() && table.terms() > 0, round);
            const double error = largest_error(table, terms, largest);
            CHECK(error <= 3e-7, isa->name, round, terms.size(), error);
        }
    }
}

TEST(gaussians_too_narrow_for_a_table_are_left_out) {
    const std::vector<GaussianTable::Term> terms = {{1.0, 1e6}, {1.0, 1.0}, {1.0, 2.0}};
    CHECK(GaussianTable(terms, 1e4).terms() == 2);
    CHECK(GaussianTable(terms, 1e4).holds(2.0) && !GaussianTable(terms, 1e4).holds(1e6));
    // all of them where the rows are near enough
    CHECK(GaussianTable(terms, 1e-2).terms() == 3);
    // however far the rows: what the last octave ends with has vanished
    CHECK(GaussianTable(terms, 1e300).terms() == 2);
    CHECK(GaussianTable({}, 1.0).terms() == 0);
}

}  // namespace
