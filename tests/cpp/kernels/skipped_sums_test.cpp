// Kernel sums that leave out tiles in which the kernel has vanished: how many, and that it is
// nothing that could be seen.
#include <cmath>

#include "check.hpp"
#include "engine/isa.hpp"
#include "engine/skipping.hpp"
#include "kernels/evaluate.hpp"
#include "kernels/gradient.hpp"
#include "kernels/sums.hpp"

namespace {

using namespace check;
using namespace pairtile;

const auto ignore = [](int64_t, int64_t) {};

template <class T>
struct Rows {
    int64_t d;
    std::vector<T> values;

    int64_t count() const { return static_cast<int64_t>(values.size()) / d; }
    const T* row(int64_t i) const { return values.data() + i * d; }
    Source source() const {
        constexpr int64_t size = sizeof(T);
        return Source(Array{reinterpret_cast<const char*>(values.data()), count(), d, d * size,
                            size, size == 4 ? Dtype::float32 : Dtype::float64, false});
    }
};

template <class T>
Rows<T> uniforms(Random& random, int64_t n, int64_t d, double side = 1.0) {
    Rows<T> rows{d, {}};
    for (int64_t i = 0; i < n * d; ++i) rows.values.push_back(T(uniform(random, 0.0, side)));
    return rows;
}

struct Forced {
    explicit Forced(const char* how) { force_skipping(how); }
    ~Forced() { force_skipping(""); }
};

// The kernels that vanish, of a reach of about 0.3 in float32.
double kernel_value(const KernelTerm& term, double squares, double absolutes) {
    const double x = term.params[0] * std::sqrt(squares);
    switch (term.kernel) {
        case KernelId::gaussian:
            return std::exp(-term.params[0] * squares);
        case KernelId::laplace:
            return std::exp(-x);
        case KernelId::laplace_l1:
            return std::exp(-term.params[0] * absolutes);
        case KernelId::matern32:
            return (1.0 + x) * std::exp(-x);
        default:
            return (1.0 + x + x * x / 3.0) * std::exp(-x);
    }
}
const std::vector<std::vector<KernelTerm>> kernels = {
    {{1.0, KernelId::gaussian, {400.0}}},
    {{1.0, KernelId::laplace, {100.0}}},
    {{1.0, KernelId::laplace_l1, {100.0}}},
    {{1.0, KernelId::matern32, {110.0}}},
    {{1.0, KernelId::matern52, {120.0}}},
    {{0.5, KernelId::gaussian, {800.0}},
     {2.0, KernelId::gaussian, {300.0}},
     {0.1, KernelId::laplace_l1, {90.0}}},
};

template <class T>
void check_sums(const Rows<T>& x, const Rows<T>& y, const std::vector<KernelTerm>& terms,
                const std::vector<double>& weights, double tolerance) {
    double largest = 0.0;
    for (const KernelTerm& term : terms) largest += term.weight;
    std::vector<double> got(static_cast<size_t>(x.count())), again(got);
    for (const int workers : {1, 3}) {
        Control control(ignore, workers);
        const Forced forced("always");
        const int64_t left_out =
            kernel_row_sums(x.source(), y.source(), terms, weights.data(), Precision::standard,
                            control, workers == 1 ? got.data() : again.data());
        CHECK(left_out > x.count() * y.count() / 3, x.count(), y.count(), left_out);
    }
    CHECK(got == again);
    for (int64_t i = 0; i < x.count(); ++i) {
        double exact = 0.0, near = 0.0;
        for (int64_t j = 0; j < y.count(); ++j) {
            double squares = 0.0, absolutes = 0.0, value = 0.0;
            for (int64_t f = 0; f < x.d; ++f) {
                const double difference = double(x.row(i)[f]) - double(y.row(j)[f]);
                squares += difference * difference;
                absolutes += std::fabs(difference);
            }
            for (const KernelTerm& term : terms) {
                value += term.weight * kernel_value(term, squares, absolutes);
            }
            const double weight = weights[static_cast<size_t>(j)];
            exact += weight * value;
            if (value > 1e-15) near += std::fabs(weight);
        }
        // each pair within reach misses a share of the largest value; the others are nothing
        const double error = std::fabs(got[static_cast<size_t>(i)] - exact);
        CHECK(error <= tolerance * largest * (near + 1e-3), i, error, near, exact);
    }
}

TEST(sums_without_vanished_tiles) {
    Random random(5);
    for (const auto& terms : kernels) {
        for (const int64_t d : {1, 2, 5}) {
            const double side = d == 5 ? 8.0 : 4.0;
            const int64_t n = d == 5 ? 290 : 321, m = 513;
            const std::vector<double> weights = normals<double>(random, m);
            check_sums(uniforms<float>(random, n, d, side), uniforms<float>(random, m, d, side),
                       terms, weights, 2e-6);
            check_sums(uniforms<double>(random, n, d, side), uniforms<double>(random, m, d, side),
                       terms, weights, 1e-12);
        }
    }
}

// Where a kernel is said to have vanished it has, and hardly nearer: of every kernel, and of sums.
TEST(kernels_vanish_where_they_say) {
    for (const double share : {0.3, 1e-3, vanished_share<float>, vanished_share<double>, 1e-200}) {
        const auto values_at = [](const std::vector<KernelTerm>& terms, double argument) {
            double value = 0.0;
            for (const KernelTerm& term : terms) {
                value += term.weight * kernel_value(term, argument, argument);
            }
            return value;
        };
        for (const auto& terms : kernels) {
            if (terms.size() > 1) continue;  // of one argument each, as they are asked
            for (const double parameter : {1e-6, 1.0, 400.0}) {
                KernelTerm term = terms[0];
                term.params[0] = parameter;
                for (const double weight : {1.0, -3.0}) {
                    term.weight = weight;
                    const double beyond = vanishes_beyond({term}, share);
                    const double least = share * std::fabs(weight) * (1.0 - 1e-9);
                    const double there = std::fabs(values_at({term}, beyond));
                    CHECK(there <= share * std::fabs(weight) * (1.0 + 1e-9), beyond, there);
                    CHECK(std::fabs(values_at({term}, 0.999 * beyond)) > least, beyond);
                }
            }
        }
        // together they are below it, however many, and the least of them is not all that is seen
        const std::vector<KernelTerm> sum = {{1.0, KernelId::gaussian, {3.0}},
                                             {1.0, KernelId::gaussian, {3.0}},
                                             {0.2, KernelId::laplace, {5.0}},
                                             {1e-9, KernelId::matern32, {0.5}},
                                             {-0.5, KernelId::matern52, {7.0}}};
        const double beyond = vanishes_beyond(sum, share);
        double sizes = 0.0;
        for (const KernelTerm& term : sum) sizes += std::fabs(values_at({term}, beyond));
        CHECK(sizes <= share * (1.0 + 1e-9), beyond, sizes);
        CHECK(vanishes_beyond({sum[0], sum[1]}, share) > vanishes_beyond({sum[0]}, share));
    }
    CHECK(vanishes_beyond({{1.0, KernelId::cauchy, {1.0}}}, 1e-3) == INFINITY);
    // a weight that is less than the share is nothing, however wide the kernel
    CHECK(vanishes_beyond({{1.0, KernelId::laplace, {9.0}}, {1e-9, KernelId::cauchy, {1.0}}},
                          1e-6) < INFINITY);
}

// Rows of two places: their tiles are computed where the kernel is above the share that may be left
// out, however little that is beside what a value may miss, and are left out where it is below.
template <class T>
void check_reach(const KernelTerm& term) {
    const auto pairs_left_out = [&](double share, double& sum) {
        // √s, or the sum of absolute values of one feature, by bisection
        double low = 0.0, high = 1e3;
        for (int step = 0; step < 200; ++step) {
            const double middle = 0.5 * (low + high);
            (kernel_value(term, middle * middle, middle) > share ? low : high) = middle;
        }
        constexpr int64_t n = 96;
        Rows<T> x{1, {}}, y{1, {}};
        x.values.assign(n, T(0));
        y.values.assign(2 * n, static_cast<T>(low));
        Control control(ignore, 2);
        const Forced forced("always");
        std::vector<double> sums(static_cast<size_t>(n));
        const int64_t left_out = kernel_row_sums(x.source(), y.source(), {term}, nullptr,
                                                 Precision::standard, control, sums.data());
        sum = sums[0] / static_cast<double>(y.count());
        return static_cast<double>(left_out) / static_cast<double>(n * y.count());
    };
    constexpr double share = 0x1p-24 * (sizeof(T) == 4 ? 2e-6 : 1e-13);
    double value = 0.0;
    CHECK(pairs_left_out(1.1 * share, value) == 0.0);
    CHECK(std::fabs(value / share - 1.1) < 0.01, value / share);
    CHECK(pairs_left_out(0.9 * share, value) == 1.0 && value == 0.0, value);
}
TEST(tiles_above_the_vanished_share_are_computed) {
    for (const auto& terms : kernels) {
        if (terms.size() > 1) continue;
        check_reach<float>(terms[0]);
        check_reach<double>(terms[0]);
    }
}

// Rows of a few places that are far apart: values are 0 or 1, and so sums are whole numbers.
TEST(sums_of_copies_are_exact) {
    Random random(6);
    for (const int64_t n : {1, 31, 32, 33, 255, 700}) {
        Rows<float> x{2, {}}, y{2, {}};
        std::vector<double> of_place(40), weights;
        for (int64_t i = 0; i < n; ++i) {
            const auto place = static_cast<float>(integer(random, 0, 39));
            x.values.insert(x.values.end(), {place, 10.0f - place});
        }
        for (int64_t j = 0; j < 2 * n; ++j) {
            const int64_t place = integer(random, 0, 39), weight = integer(random, -3, 9);
            y.values.insert(y.values.end(),
                            {static_cast<float>(place), 10.0f - static_cast<float>(place)});
            weights.push_back(static_cast<double>(weight));
            of_place[static_cast<size_t>(place)] += static_cast<double>(weight);
        }
        const std::vector<KernelTerm> terms = {{2.0, KernelId::gaussian, {500.0}}};
        std::vector<double> sums(static_cast<size_t>(n));
        double total = 0.0, copies = 0.0;
        {
            Control control(ignore, 2);
            const Forced forced("always");
            kernel_row_sums(x.source(), y.source(), terms, weights.data(), Precision::standard,
                            control, sums.data());
            total = kernel_self_total(x.source(), terms, nullptr, Precision::standard, control);
        }
        for (int64_t i = 0; i < n; ++i) {
            const auto place = static_cast<size_t>(x.row(i)[0]);
            CHECK(sums[static_cast<size_t>(i)] == 2.0 * of_place[place], n, i);
            for (int64_t j = 0; j < n; ++j) copies += i != j && x.row(i)[0] == x.row(j)[0];
        }
        CHECK(total == 2.0 * copies, n, total, copies);
    }
}

// What is chosen of itself, and how much of it: of one bandwidth nearly all tiles are left out, of
// another none, nor of a kernel that never vanishes.
TEST(vanished_tiles_are_left_out_where_they_are_many) {
    constexpr int64_t n = 8000;
    Random random(7);
    const Rows<float> x = uniforms<float>(random, n, 2), y = uniforms<float>(random, n, 2);
    const auto left_out = [&](const KernelTerm& term) {
        Control control(ignore, 2);
        std::vector<double> sums(static_cast<size_t>(n));
        const int64_t pairs = kernel_row_sums(x.source(), y.source(), {term}, nullptr,
                                              Precision::standard, control, sums.data());
        return static_cast<double>(pairs) / static_cast<double>(n * n);
    };
    const auto gamma = [](double bandwidth) { return 0.5 / (bandwidth * bandwidth); };
    // a circle of the radius where exp(−γ s) is 10⁻¹³, and what tiles take more
    const double narrow = left_out({1.0, KernelId::gaussian, {gamma(0.01)}});
    CHECK(narrow > 0.93 && narrow < 0.99, narrow);
    const double wider = left_out({1.0, KernelId::gaussian, {gamma(0.03)}});
    CHECK(wider > 0.7 && wider < 0.9, wider);
    CHECK(left_out({1.0, KernelId::gaussian, {gamma(0.2)}}) == 0.0);
    CHECK(left_out({1.0, KernelId::cauchy, {gamma(0.001)}}) == 0.0);
}

// −dk/ds of a kernel of s = ‖x − y‖², or of the sum of absolute differences.
double fall_of(const KernelTerm& term, double squares, double absolutes) {
    const double p = term.params[0], distance = std::sqrt(squares), x = p * distance;
    switch (term.kernel) {
        case KernelId::gaussian:
            return p * std::exp(-p * squares);
        case KernelId::laplace:
            return distance > 0.0 ? 0.5 * p * std::exp(-x) / distance : 0.0;
        case KernelId::laplace_l1:
            return p * std::exp(-p * absolutes);
        case KernelId::matern32:
            return 0.5 * p * p * std::exp(-x);
        default:
            return p * p / 6.0 * (1.0 + x) * std::exp(-x);
    }
}

template <class T>
struct Gradient {
    std::vector<double> row_sums, col_sums, grad_x, grad_y;

    Gradient(const Rows<T>& x, const Rows<T>& y)
        : row_sums(static_cast<size_t>(x.count())),
          col_sums(static_cast<size_t>(y.count())),
          grad_x(x.values.size()),
          grad_y(y.values.size()) {}
    KernelGradient out() {
        return {row_sums.data(), col_sums.data(), grad_x.data(), grad_y.data()};
    }
    bool operator==(const Gradient&) const = default;
};

// By loops, and the sizes of what is added up in each number.
template <class T>
void exact_gradient(const Rows<T>& x, const Rows<T>& y, bool itself,
                    const std::vector<KernelTerm>& terms, const std::vector<double>& v,
                    const std::vector<double>& w, Gradient<T>& exact) {
    const auto d = static_cast<size_t>(x.d);
    for (size_t i = 0; i < v.size(); ++i) {
        for (size_t j = 0; j < w.size(); ++j) {
            if (itself && i == j) continue;
            double squares = 0.0, absolutes = 0.0;
            std::vector<double> apart;
            for (size_t f = 0; f < d; ++f) {
                apart.push_back(double(x.values[i * d + f]) - double(y.values[j * d + f]));
                squares += apart[f] * apart[f];
                absolutes += std::fabs(apart[f]);
            }
            for (const KernelTerm& term : terms) {
                const double value = term.weight * kernel_value(term, squares, absolutes);
                exact.row_sums[i] += w[j] * value;
                if (!itself) exact.col_sums[j] += v[i] * value;
                const double fall = v[i] * w[j] * term.weight * fall_of(term, squares, absolutes);
                for (size_t f = 0; f < d; ++f) {
                    const double sign = apart[f] > 0.0 ? 1.0 : apart[f] < 0.0 ? -1.0 : 0.0;
                    const bool l1 = term.kernel == KernelId::laplace_l1;
                    const double part = l1 ? fall * sign : 2.0 * fall * apart[f];
                    exact.grad_x[i * d + f] -= part;
                    if (!itself) exact.grad_y[j * d + f] += part;
                }
            }
        }
    }
}

// `steepest`: about the largest slope that the terms have by a distance.
template <class T>
void check_gradient(const Rows<T>& x, const Rows<T>& y, bool itself,
                    const std::vector<KernelTerm>& terms, Random& random, double steepest) {
    const std::vector<double> v = normals<double>(random, x.count());
    const std::vector<double> w = itself ? v : normals<double>(random, y.count());
    Gradient<T> exact(x, y), got(x, y), again(x, y);
    exact_gradient(x, y, itself, terms, v, w, exact);
    for (const int workers : {1, 3}) {
        Control control(ignore, workers);
        const Forced forced("always");
        const int64_t left_out = kernel_gradient(
            x.source(), itself ? x.source() : y.source(), itself, false, terms, v.data(), w.data(),
            Precision::standard, control, workers == 1 ? got.out() : again.out());
        CHECK(left_out > x.count() * y.count() / 20, itself, left_out);
    }
    CHECK(got == again);
    const double of_values = sizeof(T) == 4 ? 2e-6 : 1e-12, of_slopes = 5.0 * of_values * steepest;
    const auto check = [&](const std::vector<double>& found, const std::vector<double>& right,
                           double error, const char* what) {
        for (size_t i = 0; i < right.size(); ++i) {
            CHECK(std::fabs(found[i] - right[i]) <= error, what, i, found[i], right[i]);
        }
    };
    // a number has some dozens of pairs within reach, of weights of about 1
    constexpr double pairs = 100.0;
    check(got.row_sums, exact.row_sums, pairs * of_values, "row sum");
    check(got.grad_x, exact.grad_x, pairs * of_slopes, "gradient of a row");
    if (itself) return;
    check(got.col_sums, exact.col_sums, pairs * of_values, "column sum");
    check(got.grad_y, exact.grad_y, pairs * of_slopes, "gradient of a column");
}

// Rows of a long strip, whose blocks follow one another.
template <class T>
Rows<T> strip_of(Random& random, int64_t n, int64_t d) {
    Rows<T> rows = uniforms<T>(random, n, d, 3.0);
    for (int64_t i = 0; i < n; ++i) rows.values[static_cast<size_t>(i * d)] *= T(20);
    return rows;
}

TEST(gradients_without_far_blocks) {
    Random random(9);
    for (const auto& terms : kernels) {
        const double steepest = terms.size() > 1 ? 120.0 : 100.0;
        {
            const Rows<float> x = strip_of<float>(random, 701, 2);
            const Rows<float> y = strip_of<float>(random, 513, 2);
            check_gradient(x, y, false, terms, random, steepest);
            check_gradient(x, x, true, terms, random, steepest);
        }
        const Rows<double> x = strip_of<double>(random, 701, 3);
        const Rows<double> y = strip_of<double>(random, 600, 3);
        check_gradient(x, y, false, terms, random, steepest);
        check_gradient(x, x, true, terms, random, steepest);
    }
    // rows of a few places, of which many are near to one another
    Rows<float> copies{2, {}};
    for (int i = 0; i < 700; ++i) {
        const auto place = static_cast<float>(integer(random, 0, 30));
        for (int f = 0; f < 2; ++f) {
            copies.values.push_back(place + static_cast<float>(uniform(random, 0.0, 0.02)));
        }
    }
    for (const auto& terms : kernels) {
        check_gradient(copies, copies, true, terms, random, 120.0);
    }
}

// The same of two places: blocks are computed to where the kernel is far below what a sum may miss.
template <class T>
void check_reach_of_slopes(const KernelTerm& term) {
    const auto left_out = [&](double share) {
        double low = 0.0, high = 1e3;
        for (int step = 0; step < 200; ++step) {
            const double middle = 0.5 * (low + high);
            (kernel_value(term, middle * middle, middle) > share ? low : high) = middle;
        }
        Rows<T> x{1, std::vector<T>(500, T(0))}, y{1, std::vector<T>(600, static_cast<T>(low))};
        Control control(ignore, 2);
        const Forced forced("always");
        Gradient<T> found(x, y);
        const std::vector<double> ones(600, 1.0);
        return kernel_gradient(x.source(), y.source(), false, false, {term}, ones.data(),
                               ones.data(), Precision::standard, control, found.out());
    };
    constexpr double share = 0x1p-28 * (sizeof(T) == 4 ? 2e-6 : 1e-13);
    CHECK(left_out(1.1 * share) == 0);
    CHECK(left_out(0.9 * share) == 500 * 600);
}
TEST(blocks_above_the_vanished_share_are_computed) {
    for (const auto& terms : kernels) {
        if (terms.size() > 1) continue;
        check_reach_of_slopes<float>(terms[0]);
        check_reach_of_slopes<double>(terms[0]);
    }
}

// Beyond the reach of slopes a pair is less than 2⁻²⁴ of what a gradient may miss of the steepest.
TEST(slopes_vanish_where_they_say) {
    for (const auto& terms : kernels) {
        if (terms.size() > 1) continue;
        for (const double tolerance : {1e-5, 1e-12}) {
            const double share = tolerance == 1e-5 ? vanished_share_of_slopes<float>
                                                   : vanished_share_of_slopes<double>;
            const KernelTerm& term = terms[0];
            const bool l1 = term.kernel == KernelId::laplace_l1;
            const auto slope = [&](double s) {
                return fall_of(term, s, s) * (l1 ? 1.0 : 2.0 * std::sqrt(s));
            };
            double steepest = 0.0;
            for (double s = 1e-12; s < 1.0; s *= 1.1) steepest = std::max(steepest, slope(s));
            const double beyond = slopes_vanish_beyond({term}, share);
            const double there = slope(beyond) / steepest;
            CHECK(there <= 0x1p-24 * tolerance && there > 0x1p-32 * tolerance, there);
            CHECK(beyond > vanishes_beyond({term}, 4.0 * share));
            // a small weight is as steep beside itself
            CHECK(slopes_vanish_beyond({{1e-20, term.kernel, {term.params[0]}}}, share) == beyond);
        }
    }
    const KernelTerm narrow{1e-9, KernelId::gaussian, {1e6}}, wide{1.0, KernelId::gaussian, {1.0}};
    CHECK(slopes_vanish_beyond({narrow, wide}, 1e-9) == slopes_vanish_beyond({wide}, 0.5e-9));
    CHECK(slopes_vanish_beyond({wide, {-1.0, KernelId::laplace, {9.0}}}, 1e-9) == INFINITY);
    CHECK(slopes_vanish_beyond({{1.0, KernelId::cauchy, {9.0}}}, 1e-9) == INFINITY);
}

TEST(far_blocks_of_gradients_are_left_out_where_they_are_many) {
    constexpr int64_t n = 16'000;
    Random random(10);
    const Rows<float> x = uniforms<float>(random, n, 2), y = uniforms<float>(random, n, 2);
    const std::vector<double> ones(static_cast<size_t>(n), 1.0);
    const auto left_out = [&](const KernelTerm& term) {
        Control control(ignore, 2);
        Gradient<float> found(x, y);
        const int64_t pairs =
            kernel_gradient(x.source(), y.source(), false, false, {term}, ones.data(), ones.data(),
                            Precision::standard, control, found.out());
        return static_cast<double>(pairs) / static_cast<double>(n * n);
    };
    const double narrow = left_out({1.0, KernelId::gaussian, {0.5 / (0.01 * 0.01)}});
    CHECK(narrow > 0.7 && narrow < 0.95, narrow);
    if (under_sanitizer) return;  // the others compute every pair
    CHECK(left_out({1.0, KernelId::gaussian, {0.5 / (0.3 * 0.3)}}) == 0.0);
    CHECK(left_out({1.0, KernelId::energy, {}}) == 0.0);
}

}  // namespace
