#include "kernels/gaussian_table.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pairtile {

GaussianTable::GaussianTable(std::vector<Term> terms, double largest) {
    constexpr double end = 0xffffp0;   // γ s at the end of the last octave
    constexpr double vanished = 20.0;  // −log of what no longer counts
    std::sort(terms.begin(), terms.end(),
              [](const Term& a, const Term& b) { return a.gamma < b.gamma; });
    while (!terms.empty()) {
        const double narrowest = terms.back().gamma, widest = terms.front().gamma;
        const bool within = narrowest * largest <= 0.999 * end;
        if (within || widest * end >= vanished * narrowest) break;
        terms.pop_back();
    }
    terms_ = terms.size();
    if (terms.empty()) return;
    gamma_ = terms.back().gamma;
    fit(terms);
}

void GaussianTable::fit(const std::vector<Term>& terms) {
    constexpr int nodes = 2 * octave_degree;
    constexpr int size = octave_degree + 1;
    for (int octave = 0; octave < octaves; ++octave) {
        double chebyshev[size] = {};
        for (int i = 0; i < nodes; ++i) {
            const double angle = std::numbers::pi * (i + 0.5) / nodes;
            const double at = std::ldexp(1.5 + 0.5 * std::cos(angle), octave) - 1.0;  // γ s
            double value = 0.0;
            for (const Term& term : terms) {
                value += term.weight * std::exp(-at * (term.gamma / gamma_));
            }
            for (int k = 0; k < size; ++k) {
                chebyshev[k] += (k ? 2.0 : 1.0) / nodes * value * std::cos(k * angle);
            }
        }
        // T_k(2t) in powers of t
        double power[size] = {}, before[size] = {}, now[size] = {1.0};
        for (int k = 0; k < size; ++k) {
            double next[size];
            for (int j = 0; j < size; ++j) {
                power[j] += chebyshev[k] * now[j];
                next[j] = (j > 0 ? (k ? 4.0 : 2.0) * now[j - 1] : 0.0) - before[j];
            }
            std::copy_n(now, size, before);
            std::copy_n(next, size, now);
        }
        for (int j = 0; j < size; ++j) {
            coefficients_[static_cast<size_t>(j * octaves + octave)] = static_cast<float>(power[j]);
        }
    }
}

}  // namespace pairtile
