// What turned rows are packed from: coordinates by directions that are not quite orthonormal, as
// float32 adds them up, and the length of what is left. `off` must hold all that is lost.
#include "engine/prefix.hpp"

#include <algorithm>
#include <cmath>

#include "check.hpp"
#include "engine/isa.hpp"

namespace {

using namespace check;
using namespace pairtile;

using Matrix = std::vector<long double>;  // [direction][feature]

// The nearest matrix with orthonormal rows: P ← (3P − P Pᵀ P)/2 doubles the digits at each step.
Matrix orthonormal(Matrix p, int64_t d) {
    const auto width = static_cast<size_t>(d), count = p.size() / width;
    for (int step = 0; step < 8; ++step) {
        Matrix next = p;
        for (size_t a = 0; a < count; ++a) {
            for (size_t b = 0; b < count; ++b) {
                long double dot = 0.0L;
                for (size_t j = 0; j < width; ++j) dot += p[a * width + j] * p[b * width + j];
                const long double share = (a == b ? 3.0L : 0.0L) - dot;
                for (size_t j = 0; j < width; ++j) {
                    if (b == 0) next[a * width + j] = 0.0L;
                    next[a * width + j] += 0.5L * share * p[b * width + j];
                }
            }
        }
        p = next;
    }
    return p;
}

// How far (computed coordinates, what is said to be left) is from the exact one.
double lost(const Matrix& p, const float* row, int64_t d, const float* coordinates, int64_t count,
            double rest) {
    long double square = 0.0L, of_exact = 0.0L, apart = 0.0L;
    for (int64_t j = 0; j < d; ++j) square += static_cast<long double>(row[j]) * row[j];
    for (int64_t c = 0; c < count; ++c) {
        long double exact = 0.0L;
        for (int64_t j = 0; j < d; ++j) exact += p[static_cast<size_t>(c * d + j)] * row[j];
        of_exact += exact * exact;
        apart += (coordinates[c] - exact) * (coordinates[c] - exact);
    }
    const long double left = std::sqrt(std::max(0.0L, square - of_exact));
    return static_cast<double>(std::sqrt(apart + (rest - left) * (rest - left)));
}

// Rows of all kinds, and those that the directions hold whole, of which nothing is left.
void check_lost(Random& random, int64_t d, int64_t kept, int64_t more, double too_long) {
    const int64_t count = kept + more;
    Matrix wide;
    for (int64_t i = 0; i < count * d; ++i) wide.push_back(normal(random));
    for (size_t c = 0; c < static_cast<size_t>(count); ++c) {  // near enough for the steps
        const auto width = static_cast<size_t>(d);
        for (size_t b = 0; b < c; ++b) {
            long double dot = 0.0L;
            for (size_t j = 0; j < width; ++j) dot += wide[c * width + j] * wide[b * width + j];
            for (size_t j = 0; j < width; ++j) wide[c * width + j] -= dot * wide[b * width + j];
        }
        long double square = 0.0L;
        for (size_t j = 0; j < width; ++j) square += wide[c * width + j] * wide[c * width + j];
        for (size_t j = 0; j < width; ++j) wide[c * width + j] /= std::sqrt(square);
    }
    std::vector<double> directions;
    for (const long double one : orthonormal(wide, d)) {
        directions.push_back(static_cast<double>(one) * (1.0 + too_long));
    }
    const auto prefix = Prefix::of(directions, d, kept, more);
    Matrix rounded;
    for (const double one : directions) rounded.push_back(static_cast<float>(one));
    const Matrix exact = orthonormal(rounded, d);

    const int64_t stride = Prefix::padded(d);
    constexpr int kinds = 5, rows = 20;
    std::vector<float> row(static_cast<size_t>(stride * kinds * rows));
    for (int64_t i = 0; i < kinds * rows; ++i) {
        float* to = row.data() + i * stride;
        const int64_t kind = i % kinds, along = integer(random, 0, count - 1);
        for (int64_t j = 0; j < d; ++j) {
            const auto held = static_cast<double>(exact[static_cast<size_t>(along * d + j)]);
            double x = normal(random);
            if (kind == 1) x = held;
            if (kind == 2) x = held + 1e-4 * x;
            if (kind == 3) x *= 1e-25;
            if (kind == 4) x = j == 0 ? 1e4 : x;
            to[j] = static_cast<float>(x);
        }
    }
    std::vector<float> turned(static_cast<size_t>(prefix->directions * kinds * rows));
    prefix->turn(isa().f32, row.data(), stride, kinds * rows, turned.data());
    for (int64_t i = 0; i < kinds * rows; ++i) {
        const float* own = row.data() + i * stride;
        const float* coordinates = turned.data() + i * prefix->directions;
        double square = 0.0;
        for (int64_t j = 0; j < d; ++j) square += static_cast<double>(own[j]) * own[j];
        const Remainder left = remainder_of(*prefix, coordinates, square);
        const double of_kept = lost(exact, own, d, coordinates, kept, left.after_kept);
        CHECK(of_kept <= left.off, d, kept, more, too_long, i % kinds, of_kept, left.off);
        if (more == 0) continue;
        const double of_all = lost(exact, own, d, coordinates, count, left.after_all);
        CHECK(of_all <= left.off, d, kept, more, too_long, i % kinds, of_all, left.off);
        // and it is a bound that says something
        CHECK(left.off <=
              3.0 * std::sqrt(std::fabs(too_long) * 4.0 + 1e-3) * std::sqrt(square) + 1e-30);
    }
}

TEST(remainders_of_turned_rows) {
    Random random(11);
    for (const IsaOps* one : supported_isas()) {
        choose_isa(one->name);
        for (const int64_t d : {3, 17, 64, 130}) {
            for (const double too_long : {0.0, -1e-6, 1e-6, -1e-3, 1e-3, -0.02}) {
                check_lost(random, d, 1, 0, too_long);
                check_lost(random, d, 2, 1, too_long);
                if (d >= 64) check_lost(random, d, 16, 16, too_long);
            }
        }
    }
}

// No two turned rows are farther apart than they were, and no product is larger, but for what is
// lost: with the bound taken off, none of them is above.
TEST(turned_rows_bound_distances) {
    Random random(12);
    constexpr int64_t d = 40, n = 60, kept = 8;
    SampledRows sample;
    sample.d = d;
    sample.count = n;
    sample.stride = Prefix::padded(d);
    sample.data.reserve(n * sample.stride);
    for (int64_t i = 0; i < n; ++i) {
        double square = 0.0;
        const double along = normal(random);
        for (int64_t j = 0; j < sample.stride; ++j) {
            const double x = j < d ? (j < 3 ? 3.0 : 0.1) * normal(random) + along / (1 + j) : 0.0;
            sample.data[i * sample.stride + j] = static_cast<float>(x);
            square += static_cast<double>(static_cast<float>(x)) * static_cast<float>(x);
        }
        sample.squares.push_back(square);
        sample.index.push_back(i);
    }
    Control control({}, 2);
    const auto prefix = Prefix::of(principal_directions(sample, kept, control), d, kept, 0);
    std::vector<float> turned(static_cast<size_t>(n * prefix->directions));
    prefix->turn(isa().f32, sample.data.data(), sample.stride, n, turned.data());
    double closest = 0.0;
    for (int64_t a = 0; a < n; ++a) {
        const float* of_a = turned.data() + a * prefix->directions;
        const auto rest_a = remainder_of(*prefix, of_a, sample.squares[static_cast<size_t>(a)]);
        for (int64_t b = 0; b < n; ++b) {
            const float* of_b = turned.data() + b * prefix->directions;
            const auto rest_b = remainder_of(*prefix, of_b, sample.squares[static_cast<size_t>(b)]);
            const double rest = static_cast<double>(rest_a.after_kept) - rest_b.after_kept;
            double exact = 0.0, bound = rest * rest;
            for (int64_t j = 0; j < d; ++j) {
                const double gap = static_cast<double>(sample.row(a)[j]) - sample.row(b)[j];
                exact += gap * gap;
            }
            for (int64_t c = 0; c < kept; ++c) {
                const double gap = static_cast<double>(of_a[c]) - of_b[c];
                bound += gap * gap;
            }
            CHECK(std::sqrt(bound) <= std::sqrt(exact) + rest_a.off + rest_b.off, a, b);
            if (a != b) closest = std::max(closest, bound / exact);
        }
    }
    CHECK(closest > 0.9, closest);
}

}  // namespace
