#include "slices/frame.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "engine/survey.hpp"

namespace pairtile {
namespace {

constexpr int64_t most_rows = 2048, runs = 32;
constexpr int64_t most_numbers = int64_t{1} << 21;  // of very long rows, fewer

// Those of the rows that have mass, all if none has.
std::vector<int64_t> with_mass(const std::vector<int64_t>& rows, const double* weights) {
    if (!weights) return rows;
    std::vector<int64_t> found;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
                 [&](int64_t row) { return weights[row] > 0; });
    return found.empty() ? rows : found;
}

}  // namespace

std::vector<int64_t> centre_rows(int64_t rows, int64_t d) {
    const int64_t each = std::clamp<int64_t>(most_numbers / d, runs, most_rows) / runs;
    if (rows <= each * runs) {
        std::vector<int64_t> all(static_cast<size_t>(rows));
        std::iota(all.begin(), all.end(), 0);
        return all;
    }
    std::vector<int64_t> some;
    for (int64_t run = 0; run < runs; ++run) {
        // run · (rows − each) / (runs − 1) without a product that overflows
        const int64_t gap = (rows - each) / (runs - 1), rest = (rows - each) % (runs - 1);
        const int64_t first = run * gap + run * rest / (runs - 1);
        for (int64_t i = 0; i < each; ++i) some.push_back(first + i);
    }
    return some;
}

std::vector<double> line_centre(const Array& x, const Array& y, const double* x_weights,
                                const double* y_weights) {
    const std::vector<int64_t> of_x = with_mass(centre_rows(x.rows, x.cols), x_weights);
    const std::vector<int64_t> of_y = with_mass(centre_rows(y.rows, y.cols), y_weights);
    Source some_x(x), some_y(y);
    some_x.take(of_x.data(), static_cast<int64_t>(of_x.size()));
    some_y.take(of_y.data(), static_cast<int64_t>(of_y.size()));
    return sample_frame(some_x, some_y, true).centre;
}

Frame line_frame(const Array& x, const Array& y, const double* x_weights, const double* y_weights,
                 Control& control) {
    const Source of_x(x), of_y(y);
    Frame frame = raw_frame(x.cols);
    frame.centre = line_centre(x, y, x_weights, y_weights);
    const auto largest = [&] {
        return std::max(largest_offset(of_x, frame.centre, control),
                        largest_offset(of_y, frame.centre, control));
    };
    double found = largest();
    if (!std::isfinite(found)) {  // x − centre leaves the range of float64
        frame.centre.assign(frame.centre.size(), 0.0);
        found = largest();
    }
    if (found > 0.0) {
        const int reach = of_x.holds_float64() || of_y.holds_float64() ? 1000 : 126;
        int exponent;
        std::frexp(found, &exponent);
        frame.scale = std::ldexp(1.0, std::clamp(-exponent, -reach, reach));
    }
    return frame;
}

}  // namespace pairtile
