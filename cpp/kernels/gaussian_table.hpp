// A sum of Gaussians as one tabulated function of the squared distance: many cost what one does.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/isa.hpp"

namespace pairtile {

// Σ w e^{−γ s} as a polynomial for each octave of 1 + γ s, γ the largest. Of a Gaussian as narrow
// as that or wider a polynomial of degree 8 misses less than 10⁻⁷ in every octave: where it bends
// most, it is small.
class GaussianTable {
  public:
    struct Term {
        double weight, gamma;
    };

    // For s from 0 to `largest`. Leaves out terms so narrow that the octaves end before that.
    GaussianTable(std::vector<Term> terms, double largest);

    size_t terms() const { return terms_; }
    bool holds(double gamma) const { return gamma <= gamma_; }

    void operator()(const float* squares, int64_t ld, int rows, int cols, float* out,
                    int64_t out_ld) const {
        ops_of<float>(isa()).by_octave(squares, ld, rows, cols, static_cast<float>(2.0 * gamma_),
                                       coefficients_.data(), out, out_ld);
    }

  private:
    void fit(const std::vector<Term>& terms);

    size_t terms_;
    double gamma_ = 0.0;
    std::array<float, octave_coefficients> coefficients_{};
};

}  // namespace pairtile
