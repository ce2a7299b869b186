#include "engine/frame.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "engine/buffer.hpp"
#include "engine/isa.hpp"
#include "engine/survey.hpp"

namespace pairtile {
namespace {

constexpr int64_t scan_rows = 1024;

// Calls visit(row) for the finite rows among at most `most` rows at a fixed stride of both sources,
// or of the one that both are.
template <class Visit>
void visit_sample(const Source& x, const Source& y, int64_t most, Visit visit) {
    std::vector<double> row(static_cast<size_t>(x.d()));
    const int64_t rows = x.rows() + (x == y ? 0 : y.rows());
    const int64_t step = std::max<int64_t>(1, (rows + most - 1) / most);
    for (int64_t i = 0; i < rows; i += step) {
        if (i < x.rows()) {
            x.read(i, row.data());
        } else {
            y.read(i - x.rows(), row.data());
        }
        if (all_finite(row.data(), x.d())) visit(row);
    }
}

double middle(std::vector<double>& values) {
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
    double total = 0.0;
    for (size_t j = 0; j < a.size(); ++j) total += (a[j] - b[j]) * (a[j] - b[j]);
    return total;
}

// The mean of a sample without its outliers: one row far away would move the centre off all
// others, and their norms are what the rounding errors grow with.
std::vector<double> robust_mean(const Source& x, const Source& y, bool& integral) {
    // rows held at once, few where they are very long
    const int64_t median_sample = std::clamp<int64_t>(sample_bytes / (8 * x.d()), 15, 255);
    constexpr double far = 64.0;  // times the median squared distance from the medians
    const size_t d = static_cast<size_t>(x.d());
    std::vector<std::vector<double>> few;
    visit_sample(x, y, median_sample, [&](const std::vector<double>& row) { few.push_back(row); });
    std::vector<double> mean(d), medians(d), column;
    if (few.empty()) return mean;
    for (size_t j = 0; j < d; ++j) {
        column.clear();
        for (const auto& row : few) column.push_back(row[j]);
        medians[j] = middle(column);
    }
    column.clear();
    for (const auto& row : few) column.push_back(squared_distance(row, medians));
    const double limit = far * middle(column);
    double count = 0.0;
    visit_sample(x, y, centre_sample, [&](const std::vector<double>& row) {
        for (const double value : row) integral = integral && value == std::nearbyint(value);
        if (!(squared_distance(row, medians) <= limit)) return;
        count += 1.0;
        // a running mean cannot overflow where a sum would
        const double share = 1.0 / count;
        for (size_t j = 0; j < d; ++j) mean[j] += row[j] * share - mean[j] * share;
    });
    return count > 0.0 ? mean : medians;
}

template <class S>
void read_statistics(RowStatisticsFn<S> look, const Source& source, int64_t first, int64_t count,
                     const std::vector<double>& centre, RowStatistics& found) {
    constexpr int64_t at_a_time = 16;
    Buffer<S> copy(at_a_time * source.d());
    for (int64_t from = 0; from < count; from += at_a_time) {
        const int64_t here = std::min(at_a_time, count - from);
        const RowsView<S> rows = source.block(first + from, here, copy.data());
        look(rows.data, rows.stride, here, source.d(), centre.data(), &found);
    }
}

RowStatistics survey(const Source& source, const std::vector<double>& centre, Control& control) {
    RowStatistics total;
    std::mutex lock;
    const int64_t blocks = (source.rows() + scan_rows - 1) / scan_rows;
    parallel_for(blocks, control, [&](int64_t block, int) {
        RowStatistics mine;
        const int64_t first = block * scan_rows;
        const int64_t count = std::min(scan_rows, source.rows() - first);
        if (source.fits_float32()) {
            read_statistics(isa().row_statistics_float32, source, first, count, centre, mine);
        } else {
            read_statistics(isa().row_statistics_float64, source, first, count, centre, mine);
        }
        const std::lock_guard guard(lock);  // maxima and ands: the order cannot matter
        total.merge(mine);
    });
    return total;
}

// The frame that a centre and a look at the rows around it make.
template <class Look>
Frame frame_around(const Source& x, const Source& y, bool centred, Look look) {
    Frame frame;
    const size_t d = static_cast<size_t>(x.d());
    frame.narrow = x.fits_float32() && y.fits_float32();
    bool integral = true;
    if (centred) {
        frame.centre = robust_mean(x, y, integral);
        if (frame.narrow) {  // a mean of float32 numbers is in their range
            for (double& c : frame.centre) c = static_cast<double>(static_cast<float>(c));
        }
        if (integral) {
            for (double& c : frame.centre) c = std::nearbyint(c);
        }
    } else {
        frame.centre.assign(d, 0.0);
    }
    RowStatistics found = look(frame.centre);
    if (!std::isfinite(found.largest)) {  // x − centre leaves the range of float64
        frame.centre.assign(d, 0.0);
        found = look(frame.centre);
    }
    frame.has_zero_row = found.zero_row;
    frame.integral = found.integral && integral && 4 * found.largest_square < 0x1p53;
    frame.extreme = found.largest_raw > 1e150 || (found.largest > 0.0 && found.largest < 1e-140);
    if (!frame.integral && found.largest > 0.0) {
        int exponent;
        std::frexp(found.largest, &exponent);
        frame.scale = std::ldexp(
            1.0, std::clamp(-exponent, frame.narrow ? -126 : -1000, frame.narrow ? 126 : 1000));
    }
    frame.largest = found.largest * frame.scale;
    frame.largest_square = found.largest_square * frame.scale * frame.scale;
    return frame;
}

}  // namespace

Frame raw_frame(int64_t d) {
    Frame frame;
    frame.centre.assign(static_cast<size_t>(d), 0.0);
    return frame;
}

Frame choose_frame(const Source& x, const Source& y, bool centred, Control& control) {
    return frame_around(x, y, centred, [&](const std::vector<double>& centre) {
        RowStatistics found = survey(x, centre, control);
        if (!(x == y)) found.merge(survey(y, centre, control));
        return found;
    });
}

Frame sample_frame(const Source& x, const Source& y, bool centred, int64_t most) {
    return frame_around(x, y, centred, [&](const std::vector<double>& centre) {
        RowStatistics found;
        visit_sample(x, y, most, [&](const std::vector<double>& row) {
            isa().row_statistics_float64(row.data(), x.d(), 1, x.d(), centre.data(), &found);
        });
        return found;
    });
}

double largest_offset(const Source& source, const std::vector<double>& centre, Control& control) {
    return survey(source, centre, control).largest;
}

Frame frame_for_queries(Frame frame, const Source& queries, Control& control) {
    frame.narrow = frame.narrow && queries.fits_float32();
    if (!frame.integral) return frame;
    const RowStatistics found = survey(queries, frame.centre, control);
    frame.largest = std::max(frame.largest, found.largest);
    frame.largest_square = std::max(frame.largest_square, found.largest_square);
    frame.integral = found.integral && 4 * frame.largest_square < 0x1p53;
    return frame;
}

}  // namespace pairtile
