// Joint sums of two kernels and products of distances on lines, against loops over all pairs.
#include <algorithm>
#include <numeric>

#include "check.hpp"
#include "engine/isa.hpp"
#include "kernels/joint_sums.hpp"
#include "slices/line.hpp"

namespace {

using namespace check;
using namespace pairtile;

const auto ignore = [](int64_t, int64_t) {};

Array view_of(const std::vector<double>& values, int64_t d) {
    constexpr int64_t size = sizeof(double);
    return {reinterpret_cast<const char*>(values.data()),
            static_cast<int64_t>(values.size()) / d,
            d,
            d * size,
            size,
            Dtype::float64,
            false};
}

double distance(const std::vector<double>& rows, int64_t d, int64_t i, int64_t j) {
    double squares = 0.0;
    for (int64_t f = 0; f < d; ++f) {
        const double difference =
            rows[static_cast<size_t>(i * d + f)] - rows[static_cast<size_t>(j * d + f)];
        squares += difference * difference;
    }
    return std::sqrt(squares);
}

TEST(joint_sums_are_those_of_all_pairs) {
    Random random(21);
    const KernelTerm energy{1.0, KernelId::energy, {1.0}};
    constexpr int64_t orders = 3;
    constexpr double x_shift = -1.5, y_shift = -0.5;
    for (const int64_t n : {1, 2, 13, 64, 131}) {
        for (const int64_t tile : {0, 1, 20}) {
            const int64_t d = integer(random, 1, 9), e = integer(random, 1, 9);
            const auto x = normals<double>(random, n * d),
                       y = normals<double>(random, orders * n * e);
            const Source of_x(view_of(x, d)), of_y(view_of(y, e));
            Control control(ignore, 2);
            force_tile(tile, 3 * tile);
            const JointSums got =
                joint_kernel_sums({of_x, {energy}, x_shift}, {of_y, {energy}, y_shift}, control);
            force_tile(0, 0);
            const double bound = 1e-11 * static_cast<double>(n * n);
            double x_squares = 0.0, y_squares = 0.0;
            std::vector<double> products(orders);
            for (int64_t i = 0; i < n; ++i) {
                double x_row = 0.0, y_row = 0.0;
                for (int64_t j = 0; j < n; ++j) {
                    if (i == j) continue;
                    const double k = -distance(x, d, i, j) - x_shift;
                    for (int64_t o = 0; o < orders; ++o) {
                        const double l = -distance(y, e, o * n + i, o * n + j) - y_shift;
                        products[static_cast<size_t>(o)] += k * l;
                        if (o > 0) continue;
                        y_row += l;
                        y_squares += l * l;
                    }
                    x_row += k;
                    x_squares += k * k;
                }
                CHECK(std::fabs(got.x_rows[static_cast<size_t>(i)] - x_row) <= bound, n, tile, i);
                CHECK(std::fabs(got.y_rows[static_cast<size_t>(i)] - y_row) <= bound, n, tile, i);
            }
            CHECK(std::fabs(got.x_squares - x_squares) <= bound, n, tile);
            CHECK(std::fabs(got.y_squares - y_squares) <= bound, n, tile);
            for (size_t o = 0; o < orders; ++o) {
                CHECK(std::fabs(got.products[o] - products[o]) <= bound, n, tile, o);
            }
        }
    }
}

TEST(products_on_lines_of_whole_numbers_are_exact) {
    Random random(22);
    for (const int64_t n : {1, 2, 3, 16, 17, 100}) {
        std::vector<double> x(static_cast<size_t>(n)), y(x);
        for (double& value : x) value = static_cast<double>(integer(random, -9, 9));
        for (double& value : y) value = static_cast<double>(integer(random, -9, 9));
        std::sort(x.begin(), x.end());
        std::vector<int64_t> orders(static_cast<size_t>(2 * n));
        std::iota(orders.begin(), orders.begin() + n, 0);
        std::iota(orders.begin() + n, orders.end(), 0);
        std::shuffle(orders.begin() + n, orders.end(), random);
        double got[2];
        Control control(ignore, 2);
        line_products(x.data(), y.data(), orders.data(), n, 2, control, got);
        for (int64_t o = 0; o < 2; ++o) {
            double product = 0.0;
            for (int64_t i = 0; i < n; ++i) {
                for (int64_t j = 0; j < n; ++j) {
                    const auto at = [&](int64_t row) {
                        return y[static_cast<size_t>(orders[static_cast<size_t>(o * n + row)])];
                    };
                    product += std::fabs(x[static_cast<size_t>(i)] - x[static_cast<size_t>(j)]) *
                               std::fabs(at(i) - at(j));
                }
            }
            CHECK(got[o] == product, n, o, got[o], product);
        }
    }
}

}  // namespace
