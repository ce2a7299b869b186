// Samples of so many rows that products of their sizes leave 64 bits: an exact answer or an error.
#include <array>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "slices/columns.hpp"
#include "slices/partial.hpp"
#include "slices/reduce.hpp"
#include "slices/slices.hpp"

namespace {

using namespace check;
using namespace pairtile;

constexpr int64_t most_rows = std::numeric_limits<uint32_t>::max();
constexpr auto no_poll = [](int64_t, int64_t) {};

// As many rows as are asked for, all of them one and the same.
Array one_row(const float& value, int64_t rows) {
    Array array;
    array.data = reinterpret_cast<const char*>(&value);
    array.rows = rows;
    array.cols = 1;
    array.col_stride = sizeof(float);
    array.dtype = Dtype::float32;
    return array;
}

template <class Call>
std::string refusal(const Call& call) {
    try {
        call();
    } catch (const std::length_error& error) {
        return error.what();
    }
    return "";
}

// What `couple` asks of a sorted line: its size.
struct Size {
    int64_t size;
    const double* levels = nullptr;
};

// The first pieces of the monotone coupling, against fractions of 128 bits.
void check_first_pieces(int64_t n, int64_t m) {
    struct Enough {};
    constexpr int count = 1000;
    Control control(no_poll);
    const Tick tick{control, 0};
    int seen = 0;
    int64_t want_i = 0, want_j = 0;
    __extension__ typedef unsigned __int128 Wide;
    Wide behind = 0;  // in units of 1/(nm)
    const Wide of_x = static_cast<Wide>(m), of_y = static_cast<Wide>(n);
    try {
        couple(Size{n}, Size{m}, tick, [&](int64_t i, int64_t j, double mass) {
            CHECK(i == want_i && j == want_j, n, m, seen, i, j);
            const Wide end_x = of_x * static_cast<Wide>(want_i + 1);
            const Wide end_y = of_y * static_cast<Wide>(want_j + 1);
            const Wide end = std::min(end_x, end_y);
            const double whole = static_cast<double>(n) * static_cast<double>(m);
            const double right = static_cast<double>(end - behind) / whole;
            CHECK(std::fabs(mass - right) <= 4e-16 * right, n, m, seen, mass, right);
            want_i += end == end_x;
            want_j += end == end_y;
            behind = end;
            if (++seen == count) throw Enough{};
        });
    } catch (const Enough&) {
    }
    CHECK(seen == count, n, m, seen);
}

TEST(transport_of_sizes_whose_product_leaves_64_bits) {
    check_first_pieces(most_rows, most_rows - 1);
    check_first_pieces(most_rows - 1, most_rows);
    check_first_pieces(most_rows, most_rows / 3 + 7);
    check_first_pieces(most_rows, most_rows);
}

TEST(heights_that_leave_64_bits_are_refused) {
    const int64_t most = std::numeric_limits<int64_t>::max();
    CHECK(refusal([&] { require_countable(int64_t{1} << 31, most_rows); }).empty());
    CHECK(refusal([&] { require_countable(most_rows, int64_t{1} << 31); }).empty());
    CHECK(refusal([&] { require_countable(most, 1); }).empty());
    CHECK(refusal([&] { require_countable(1, most); }).empty());
    CHECK(!refusal([&] { require_countable(int64_t{1} << 31, int64_t{1} << 32); }).empty());
    CHECK(!refusal([&] { require_countable(int64_t{1} << 32, int64_t{1} << 31); }).empty());
    const float value = 1;
    const Array x = one_row(value, most_rows), y = one_row(value, most_rows - 1);
    Control control(no_poll);
    double number = 0;
    const std::string energy = refusal([&] {
        energy_slices<float>(Slices{x, y}, &number, PointGradients<float>{}, control);
    });
    CHECK(energy.find("4294967295 and 4294967294 rows") != std::string::npos, energy);
    const ColumnResults results{&number, &number, &number, &number, &number, &number};
    const std::string columns =
        refusal([&] { column_statistics<float>(x, y, &number, 0, results, control); });
    CHECK(columns.find("below 2^63") != std::string::npos, columns);
}

TEST(units_of_partial_mass_that_leave_64_bits_are_refused) {
    const double value = 0;
    double mass = 0;
    Control control(no_poll);
    const Line line{&value, most_rows * 4, &value, most_rows * 4 - 1};
    CHECK(!refusal([&] { partial_masses(line, 0.5, 1, control, &mass, &mass); }).empty());
}

}  // namespace
