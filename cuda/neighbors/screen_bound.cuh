// What a screened value says of the canonical one: the proven bound of screens by tensor cores, as
// screened_knn.hpp and docs/numerics.md state it.
#pragma once

#include "engine/tensor_sweep.hpp"
#include "neighbors/screened_radius.hpp"

namespace pairtile::gpu {

// What one row may be off by: as packing found, by the arithmetic of tensor cores, and by that of
// norms.
struct RowBound {
    float square;  // ‖x̂‖²
    float lost;    // ρ for distances; for products the error of s
    float error;   // e
    bool of_products, exact;

    __device__ RowBound(const Panels& rows, int64_t row, const PackFindings& of_others,
                        bool of_products, bool exact)
        : square(rows.norms[row]), of_products(of_products), exact(exact) {
        const float x = sqrtf(rows.norms[row]) * (1 + 0x1p-20f), off_x = rows.residuals[row];
        const float y = __uint_as_float(of_others.largest_norm);
        const float off_y = __uint_as_float(of_others.largest_residual);
        const float arithmetic = tensor_core_error(rows.d, x, y) + 0x1p-21f * y * (x + y);
        if (of_products) {
            // and what the canonical value is off by
            lost = (x + off_x) * off_y + off_x * y + arithmetic +
                   static_cast<float>(rows.d + 8) * 0x1p-50f * (x + off_x) * (y + off_y);
            error = 0.0f;
        } else {
            lost = off_x + off_y;
            error = 2.0f * arithmetic + 0x1p-21f * square;
        }
    }

    // Screened values above it may belong to a neighbour, where `kth` is the k-th best screened
    // one.
    __device__ float limit_of_screened(float kth) const {
        if (exact) return kth;
        if (of_products) return below(kth - 2.0f * lost, kth);
        const float distance = fmaxf(0.0f, square - 2.0f * kth) + error;
        return limit_within(sqrtf(distance) * (1 + 0x1p-20f) + 2.0f * lost);
    }
    // The same where the k-th best canonical value is known.
    __device__ float limit_of_canonical(double kth, bool halved) const {
        if (of_products) {
            const auto product = static_cast<float>(-kth);
            return below(product - lost, product);
        }
        const auto distance = static_cast<float>(halved ? 2.0 * kth : kth);
        return limit_within(sqrtf(distance) * (1 + 0x1p-20f) + lost);
    }

    // Where squared distances up to `nearer` are inside a ball, and those from `farther` on
    // outside; both finite.
    __device__ RadiusLimits limits_of_radius(double nearer, double farther) const {
        const auto of_row = static_cast<double>(square), off = static_cast<double>(error);
        const double reach = sqrt(farther) + static_cast<double>(lost);
        const double core = fmax(0.0, sqrt(nearer) - static_cast<double>(lost));
        const double largest = reach * reach + off, least = core * core - off;
        // centring and canonical values are rounded too, far below this
        const double rounding = 0x1p-24 * (of_row + largest);
        return {__double2float_rd(0.5 * (of_row - largest) - rounding),
                core > 0.0 ? __double2float_ru(0.5 * (of_row - least) + rounding) : INFINITY};
    }

  private:
    __device__ float limit_within(float distance) const {
        const float largest = distance * distance + error;
        return below(0.5f * (square - largest), square + largest);
    }
    // Less by the rounding of numbers of this size.
    static __device__ float below(float value, float size) {
        return value - 0x1p-20f * fabsf(size) - 0x1p-120f;
    }
};

}  // namespace pairtile::gpu
