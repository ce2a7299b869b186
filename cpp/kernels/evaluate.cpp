#include "kernels/evaluate.hpp"

#include <algorithm>
#include <cmath>

#include "pairtile/kernel/float32.hpp"

namespace pairtile {

double recompute_below(const KernelTerm& term, double error, double tolerance, double reach) {
    return of_kernel(term.kernel, [&]<class Kernel>() {
        return Kernel::recompute_below(term.params, error, tolerance, reach);
    });
}

double stein_recompute_below(const KernelTerm& term, double error, double tolerance) {
    return of_kernel(term.kernel, [&]<class Kernel>() {
        if constexpr (requires { Kernel::stein_recompute_below(term.params, error, tolerance); }) {
            return Kernel::stein_recompute_below(term.params, error, tolerance);
        } else {
            return -1.0;
        }
    });
}

namespace {

// Of one term without its weight.
double vanishes_beyond(const KernelTerm& term, double share) {
    return of_kernel(term.kernel, [&]<class Kernel>() {
        if constexpr (requires { Kernel::vanishes_beyond(term.params, 0.5); }) {
            return Kernel::vanishes_beyond(term.params, share);
        } else {
            return static_cast<double>(INFINITY);
        }
    });
}

}  // namespace

double vanishes_beyond(const std::vector<KernelTerm>& terms, double share) {
    double largest = 0.0, beyond = 0.0;
    for (const KernelTerm& term : terms) largest = std::max(largest, std::fabs(term.weight));
    for (const KernelTerm& term : terms) {
        const double own = share * largest / static_cast<double>(terms.size());
        if (std::fabs(term.weight) <= own) continue;
        beyond = std::max(beyond, vanishes_beyond(term, own / std::fabs(term.weight)));
    }
    return beyond;
}

double slopes_vanish_beyond(const std::vector<KernelTerm>& terms, double share) {
    double beyond = 0.0;
    bool rises = false, falls = false;
    for (const KernelTerm& term : terms) {
        rises = rises || term.weight < 0.0;
        falls = falls || term.weight > 0.0;
        beyond = std::max(beyond, vanishes_beyond(term, share / static_cast<double>(terms.size())));
    }
    return rises && falls ? static_cast<double>(INFINITY) : beyond;
}

KernelFrame::KernelFrame(const Source& rows, const Source& cols, std::vector<KernelTerm> wanted,
                         Argument read, Control& control, bool scaled)
    : x(rows), y(cols), argument(read), terms(std::move(wanted)) {
    const bool distance =
        argument == Argument::squared_distance || argument == Argument::l1_distance;
    if (argument == Argument::cosine) {
        x.normalise();
        y.normalise();
    }
    frame = choose_frame(x, y, distance, control);
    // of which the square is a number, and its reciprocal
    constexpr double least = 0x1p-500, most = 0x1p500;
    const double scale = scaled ? std::clamp(frame.scale, least, most) : 1.0;
    if (scale != frame.scale) {
        frame.largest *= scale / frame.scale;
        frame.largest_square = frame.largest_square / frame.scale / frame.scale * scale * scale;
        frame.scale = scale;
    }
    unit = argument == Argument::l1_distance ? frame.scale : frame.scale * frame.scale;
    for (KernelTerm& term : terms) {
        of_kernel(term.kernel,
                  [&]<class Kernel>() { Kernel::rescale(term.params, term.weight, unit); });
    }
}

bool KernelFrame::fits_float32() const {
    const bool products = quantity_of(argument) == Quantity::product;
    // The error of a product goes with the norms of the rows, its value may be far smaller.
    const ArgumentSizes sizes{
        products ? frame.largest_square : 4.0 * frame.largest_square,
        products ? largest_sampled_product() : 0.0,
        formula_for_argument<float>(argument, x.d()).typical_slope * frame.largest_square};
    return std::all_of(terms.begin(), terms.end(),
                       [&](const KernelTerm& term) { return float32_will_do(term, sizes); });
}

bool KernelFrame::logarithms_fit_float32() const {
    const TileFormula formula = formula_for_argument<float>(argument, x.d());
    const double reach = 2.0 * std::sqrt(frame.largest_square);
    const double d = static_cast<double>(x.d());
    const double size = formula.norm == Norm::squares ? reach * reach : reach * std::sqrt(d);
    const double error = formula.typical_slope * size;
    return std::all_of(terms.begin(), terms.end(), [&](const KernelTerm& term) {
        return recompute_below(term, error, kernel_tolerance<float>, size) < 0.0;
    });
}

double KernelFrame::largest_sampled_product() const {
    constexpr int64_t sample = 64;
    Canonical product({metric_of(Quantity::product), {}}, x, y);
    const int64_t n = std::min(sample, x.rows()), m = std::min(sample, y.rows());
    double largest = 0.0;
    for (int64_t i = 0; i < n; ++i) {
        product.set_row(i * x.rows() / n);
        for (int64_t j = 0; j < m; ++j) {
            largest = std::max(largest, std::fabs(unit * product(j * y.rows() / m)));
        }
    }
    return largest;
}

}  // namespace pairtile
