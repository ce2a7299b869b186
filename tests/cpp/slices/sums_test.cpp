// Sums over sorted lines and over columns, on every instruction set that this processor has: the
// bits of plain loops in the same order.
#include <cstring>
#include <string>

#include "check.hpp"
#include "slices/moments.hpp"
#include "slices/reduce.hpp"

namespace {

using namespace check;
using namespace pairtile;

constexpr auto no_poll = [](int64_t, int64_t) {};

template <class Body>
void for_each_isa(Body body) {
    for (const IsaOps* one : supported_isas()) {
        choose_isa(one->name);
        body(std::string(one->name));
    }
}

bool same(const std::vector<double>& a, const std::vector<double>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

template <class S>
void check_column_sums(const std::string& isa, Random& random, int64_t count, int64_t d,
                       bool weighted) {
    const int64_t stride = d + integer(random, 0, 5);
    std::vector<S> rows = normals<S>(random, count * stride);
    for (S& value : rows) value = static_cast<S>(1000 + value);
    const auto origin = normals<double>(random, d);
    std::vector<double> weights(static_cast<size_t>(count));
    for (double& weight : weights) weight = uniform(random, 0, 1);
    if (count > 2) {  // what a row without mass holds is not looked at
        weights[1] = 0;
        if (weighted) rows[static_cast<size_t>(stride)] = std::numeric_limits<S>::infinity();
    }
    const S* first = rows.data() + (count > 3 ? 2 * stride : 0);
    std::vector<double> sums(static_cast<size_t>(d), 7.0), squares = sums, want_sums(sums.size()),
                                                           want_squares(sums.size());
    for (int64_t j = 0; j < d; ++j) {
        const double from = origin[static_cast<size_t>(j)];
        double sum = 0, square = 0;
        for (int64_t i = 0; i < count; ++i) {
            const double weight = weighted ? weights[static_cast<size_t>(i)] : 1.0;
            if (weight == 0) continue;
            const double off =
                (static_cast<double>(rows[static_cast<size_t>(i * stride + j)]) - from) -
                (static_cast<double>(first[j]) - from);
            sum += weight * off;
            square += weight * off * off;
        }
        want_sums[static_cast<size_t>(j)] = sum;
        want_squares[static_cast<size_t>(j)] = square;
    }
    column_sums_of<S>()(rows.data(), stride, count, d, weighted ? weights.data() : nullptr, first,
                        origin.data(), sums.data(), squares.data());
    CHECK(same(sums, want_sums), isa, sizeof(S), count, d, weighted);
    CHECK(same(squares, want_squares), isa, sizeof(S), count, d, weighted);
}

TEST(column_sums_are_those_of_each_column) {
    for_each_isa([](const std::string& isa) {
        Random random(1);
        for (const int64_t d : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100}) {
            for (const int64_t count : {1, 2, 3, 40}) {
                for (const bool weighted : {false, true}) {
                    check_column_sums<float>(isa, random, count, d, weighted);
                    check_column_sums<double>(isa, random, count, d, weighted);
                }
            }
        }
    });
}

template <class T>
std::vector<Bare<T>> sorted_line(Random& random, int64_t n) {
    std::vector<T> values = normals<T>(random, n);
    std::sort(values.begin(), values.end());
    std::vector<Bare<T>> items;
    for (const T value : values) items.push_back({key_of_value(value)});
    return items;
}

// The cost and the moments that come in one pass, against those of three.
template <class T>
void check_one_pass(const std::string& isa, Random& random, int64_t n) {
    const auto x = sorted_line<T>(random, n), y = sorted_line<T>(random, n);
    const Sorted<T, Bare<T>> of_x{x.data(), n}, of_y{y.data(), n};
    Control control(no_poll);
    const Tick tick{control, 0};
    LineMoments found_x, found_y;
    const double cost = transport_cost(SquaredCost{}, of_x, of_y, found_x, found_y, tick);
    const LineMoments want_x = moments_of(of_x), want_y = moments_of(of_y);
    CHECK(cost == transport_cost(SquaredCost{}, of_x, of_y, tick), isa, n);
    CHECK(found_x.mean == want_x.mean && found_x.variance == want_x.variance, isa, n);
    CHECK(found_y.mean == want_y.mean && found_y.variance == want_y.variance, isa, n);
    // and against definitions
    double mean = 0, square = 0;
    for (int64_t i = 0; i < n; ++i) mean += of_x.value(i) / static_cast<double>(n);
    for (int64_t i = 0; i < n; ++i) {
        square += (of_x.value(i) - mean) * (of_x.value(i) - mean) / static_cast<double>(n);
    }
    CHECK(std::fabs(want_x.mean - mean) <= 1e-12, isa, n, want_x.mean, mean);
    CHECK(std::fabs(want_x.variance - square) <= 1e-12 * (1 + square), isa, n);
}

TEST(cost_and_moments_in_one_pass) {
    for_each_isa([](const std::string& isa) {
        Random random(2);
        for (const int64_t n : {1, 2, 7, 8, 9, 100, 65'535, 65'536, 65'537, 140'001}) {
            check_one_pass<float>(isa, random, n);
            check_one_pass<double>(isa, random, n);
        }
    });
}

// What has no mass may be of any size, infinite too, at either end of the line.
TEST(moments_of_a_line_leave_out_rows_without_mass) {
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<float> values{-infinity, -3, 1, 2, 1e30f, infinity};
    const std::vector<double> weights{0, 1, 2, 1, 0, 0};
    std::vector<Ranked<float>> items;
    for (size_t i = 0; i < values.size(); ++i) {
        items.push_back({key_of_value(values[i]), static_cast<uint32_t>(i)});
    }
    Sorted<float, Ranked<float>> line{items.data(), static_cast<int64_t>(items.size()),
                                      weights.data()};
    std::vector<double> levels(values.size());
    line.fill_levels(levels.data());
    line.levels = levels.data();
    const LineMoments found = moments_of(line);
    CHECK(found.mean == 0.25, found.mean);
    CHECK(found.variance == 15.0 / 4 - 0.0625, found.variance);
}

// Whatever the instruction set, the number of workers and how rows are stored.
TEST(column_moments_have_the_same_bits) {
    Random random(3);
    const int64_t n = 3000, d = 37;
    const auto narrow = normals<float>(random, n * d);
    const std::vector<double> wide(narrow.begin(), narrow.end());
    std::vector<double> weights(static_cast<size_t>(n));
    for (double& weight : weights) weight = uniform(random, 0, 1) < 0.2 ? 0 : 1;
    for (const bool weighted : {false, true}) {
        const double* of_rows = weighted ? weights.data() : nullptr;
        std::vector<double> first;
        for_each_isa([&](const std::string& isa) {
            for (const int workers : {1, 3}) {
                for (const bool is_wide : {false, true}) {
                    Array x;
                    x.data = is_wide ? reinterpret_cast<const char*>(wide.data())
                                     : reinterpret_cast<const char*>(narrow.data());
                    x.rows = n;
                    x.cols = d;
                    x.dtype = is_wide ? Dtype::float64 : Dtype::float32;
                    x.col_stride = is_wide ? 8 : 4;
                    x.row_stride = d * x.col_stride;
                    Control control(no_poll, workers);
                    std::vector<double> found(static_cast<size_t>(2 * d));
                    column_moments(x, of_rows, found.data(), found.data() + d, control);
                    if (first.empty()) first = found;
                    CHECK(same(found, first), isa, workers, is_wide, weighted);
                }
            }
        });
    }
}

}  // namespace
