#include "kernels/evaluate.hpp"

#include <algorithm>
#include <cmath>

namespace pairtile {
namespace {

void rescale(KernelTerm& term, double scale) {
    switch (term.kernel) {
#define PT_RESCALE(name, type)                          \
    case KernelId::name:                                \
        type::rescale(term.params, term.weight, scale); \
        break;
        PAIRTILE_KERNELS(PT_RESCALE)
#undef PT_RESCALE
        case KernelId::count:
            break;
    }
}

template <class Kernel>
double stein_exact_below_of(const double* p, double error, double tolerance) {
    if constexpr (requires { Kernel::stein_recompute_below(p, error, tolerance); }) {
        return Kernel::stein_recompute_below(p, error, tolerance);
    } else {
        return -1.0;
    }
}

}  // namespace

Argument argument_of(KernelId kernel) {
    switch (kernel) {
#define PT_ARGUMENT(name, type) \
    case KernelId::name:        \
        return type::argument;
        PAIRTILE_KERNELS(PT_ARGUMENT)
#undef PT_ARGUMENT
        case KernelId::count:
            break;
    }
    return Argument::squared_distance;
}

double recompute_below(const KernelTerm& term, double error, double tolerance, double reach) {
    switch (term.kernel) {
#define PT_EXACT(name, type) \
    case KernelId::name:     \
        return type::recompute_below(term.params, error, tolerance, reach);
        PAIRTILE_KERNELS(PT_EXACT)
#undef PT_EXACT
        case KernelId::count:
            break;
    }
    return -1.0;
}

double stein_recompute_below(const KernelTerm& term, double error, double tolerance) {
    switch (term.kernel) {
#define PT_EXACT(name, type) \
    case KernelId::name:     \
        return stein_exact_below_of<type>(term.params, error, tolerance);
        PAIRTILE_KERNELS(PT_EXACT)
#undef PT_EXACT
        case KernelId::count:
            break;
    }
    return -1.0;
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
    if (!scaled) {
        frame.largest /= frame.scale;
        frame.largest_square = frame.largest_square / frame.scale / frame.scale;
        frame.scale = 1.0;
    }
    unit = argument == Argument::l1_distance ? frame.scale : frame.scale * frame.scale;
    for (KernelTerm& term : terms) rescale(term, unit);
}

bool KernelFrame::fits_float32() const {
    constexpr double range = 1e30;
    for (const KernelTerm& term : terms) {
        for (const double p : term.params) {
            const double size = std::fabs(p);
            if (size > range || (size > 0.0 && size < 1.0 / range)) return false;
        }
    }
    if (argument != Argument::dot && argument != Argument::cosine) return true;
    // The error of a dot product goes with the norms of the rows, its value may be far smaller.
    constexpr double tolerated = 1e-5;
    const double error =
        formula_for_argument<float>(argument, x.d()).typical_slope * frame.largest_square;
    const double largest = largest_sampled_dot();
    for (const KernelTerm& term : terms) {
        const bool polynomial = term.kernel == KernelId::polynomial;
        const double degree = polynomial ? term.params[0] : 1.0;
        const double slope = polynomial ? term.params[1] : 1.0;
        const double offset = polynomial ? std::fabs(term.params[2]) : 0.0;
        if (std::pow(slope * frame.largest_square + offset, degree) > range) return false;
        if (degree * slope * error > tolerated * (slope * largest + offset)) return false;
    }
    return true;
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

double KernelFrame::largest_sampled_dot() const {
    constexpr int64_t sample = 64;
    Canonical dot({metric_of(Quantity::product), {}}, x, y);
    const int64_t n = std::min(sample, x.rows()), m = std::min(sample, y.rows());
    double largest = 0.0;
    for (int64_t i = 0; i < n; ++i) {
        dot.set_row(i * x.rows() / n);
        for (int64_t j = 0; j < m; ++j) {
            largest = std::max(largest, std::fabs(unit * dot(j * y.rows() / m)));
        }
    }
    return largest;
}

}  // namespace pairtile
