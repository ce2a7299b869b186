#include "engine/plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "engine/buffer.hpp"
#include "engine/isa.hpp"

namespace pairtile {
namespace {

constexpr int64_t sample_bytes = int64_t{8} << 20;
constexpr int64_t scan_rows = 1024;

std::atomic<int64_t> forced_rows{0}, forced_cols{0};

int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// Calls visit(row) for the finite rows among at most `most` rows at a fixed stride of both sources.
template <class Visit>
void visit_sample(const Source& x, const Source& y, int64_t most, Visit visit) {
    std::vector<double> row(static_cast<size_t>(x.d()));
    const int64_t rows = x.rows() + y.rows();
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
void survey_rows(SurveyFn<S> look, const Source& source, int64_t first, int64_t count,
                 const std::vector<double>& centre, Survey& found) {
    constexpr int64_t at_a_time = 16;
    Buffer<S> copy(at_a_time * source.d());
    for (int64_t from = 0; from < count; from += at_a_time) {
        const int64_t here = std::min(at_a_time, count - from);
        const Rows<S> rows = source.block(first + from, here, copy.data());
        look(rows.data, rows.stride, here, source.d(), centre.data(), &found);
    }
}

Survey survey(const Source& source, const std::vector<double>& centre, int workers,
              Control& control) {
    Survey total;
    std::mutex lock;
    const int64_t blocks = (source.rows() + scan_rows - 1) / scan_rows;
    parallel_for(blocks, workers, control, [&](int64_t block, int) {
        Survey mine;
        const int64_t first = block * scan_rows;
        const int64_t count = std::min(scan_rows, source.rows() - first);
        if (source.fits_float32()) {
            survey_rows(isa().survey_float32, source, first, count, centre, mine);
        } else {
            survey_rows(isa().survey_float64, source, first, count, centre, mine);
        }
        const std::lock_guard guard(lock);  // maxima and ands: the order cannot matter
        total.merge(mine);
    });
    return total;
}

// Bytes of a packed row: its features, norms, extents and bias.
template <class T>
int64_t held_per_row(int64_t d) {
    return std::max<int64_t>(d, 1) * static_cast<int64_t>(sizeof(T)) +
           static_cast<int64_t>(sizeof(Extent) + 2 * sizeof(T));
}

// Roundings in a float sum of d products that is cut every `block`.
double chain(int64_t d, int64_t block = feature_block) {
    return static_cast<double>(std::min(d, block) + (d + block - 1) / block);
}

template <class T>
void set_error(Pairing& pairing, int64_t d) {
    // u counts the packed rounding of x − centre (twice, times up to 2(a+b)), the norms, the chain
    // with its two roundings per step where there is no fused multiply-add, and the final sum; the
    // canonical value's own rounding is the d/8 term in float64 units.
    const double u = std::numeric_limits<T>::epsilon() / 2;
    const double canonical = static_cast<double>(d) / 8 + 8;
    pairing.slope =
        1.01 * (u * (2 * chain(d) + 10) + canonical * std::numeric_limits<double>::epsilon());
    pairing.floor = static_cast<double>(d + 8) * std::numeric_limits<T>::min();
    pairing.typical_slope = u * (2 + std::sqrt(chain(d)));
}

// Counts of bits are whole numbers, exact in float32 up to 2²⁴; beyond, each of the sums that a
// micro-kernel cuts (after 31 words at the earliest) is rounded once. Jaccard's quotient
// 2D/(|x| + |y| + D) rounds its terms and itself. Fractions with denominators up to n differ by
// 1/n² of the larger at least: while that is more than a step of float32, they stay apart.
Pairing pairing_for_bits(const Metric& metric, int64_t bytes) {
    Pairing pairing;
    pairing.core = Core::differing_bits;
    pairing.divide_by_union = metric == MetricId::jaccard;
    constexpr double u = std::numeric_limits<float>::epsilon() / 2;
    const double n = static_cast<double>(metric.params.n_bits);
    const double sums = n <= 0x1p23 ? 0.0 : static_cast<double>(bytes / (4 * 31) + 1);
    if (pairing.divide_by_union) {
        pairing.floor = 1.01 * u * (sums == 0.0 ? 1.0 : 2.0 * sums + 6.0);
        pairing.order_exact = n * n < 0x1p23;
    } else {
        pairing.floor = 1.01 * u * sums * n;
    }
    return pairing;
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
    Survey found = look(frame.centre);
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

Frame choose_frame(const Source& x, const Source& y, bool centred, int workers, Control& control) {
    return frame_around(x, y, centred, [&](const std::vector<double>& centre) {
        Survey found = survey(x, centre, workers, control);
        if (!(x == y)) found.merge(survey(y, centre, workers, control));
        return found;
    });
}

Frame sample_frame(const Source& x, const Source& y, bool centred, int64_t most) {
    return frame_around(x, y, centred, [&](const std::vector<double>& centre) {
        Survey found;
        visit_sample(x, y, most, [&](const std::vector<double>& row) {
            isa().survey_float64(row.data(), x.d(), 1, x.d(), centre.data(), &found);
        });
        return found;
    });
}

Frame frame_for_queries(Frame frame, const Source& queries, int workers, Control& control) {
    frame.narrow = frame.narrow && queries.fits_float32();
    if (!frame.integral) return frame;
    const Survey found = survey(queries, frame.centre, workers, control);
    frame.largest = std::max(frame.largest, found.largest);
    frame.largest_square = std::max(frame.largest_square, found.largest_square);
    frame.integral = found.integral && 4 * frame.largest_square < 0x1p53;
    return frame;
}

template <class T>
Pairing pairing_for_metric(const Metric& metric, const Frame& frame, int64_t d, bool zero_rows) {
    Pairing pairing;
    const double square = frame.scale * frame.scale;
    double exact_limit = 0.0;  // every number the micro-kernel meets stays below it
    switch (metric.id) {
        case MetricId::euclidean:
        case MetricId::sqeuclidean:
        case MetricId::weuclidean:  // of rows read through a map
        case MetricId::mahalanobis:
            pairing.unit = square;
            exact_limit = 4 * frame.largest_square;
            if (d <= direct_dimensions) {
                pairing.core = Core::squared_difference;
            } else {
                pairing.row_factor = -2.0;
                pairing.add_norms = true;
            }
            break;
        case MetricId::cosine:
            exact_limit = INFINITY;
            if (zero_rows) {  // 1 − xy is right for a zero row too
                pairing.row_factor = -1.0;
                pairing.constant_bias = 1.0;
                pairing.unit = 1.0;
            } else {
                pairing.row_factor = -2.0;
                pairing.add_norms = true;
                pairing.unit = 2.0 * square;
            }
            break;
        case MetricId::inner_product:
            pairing.row_factor = -1.0;
            pairing.unit = square;
            exact_limit = frame.largest_square;
            break;
        case MetricId::manhattan:
            pairing.core = Core::absolute_difference;
            pairing.norm = Norm::absolutes;
            pairing.unit = frame.scale;
            exact_limit = 2 * frame.largest_square;  // Σ|x| <= Σx² for integers
            break;
        case MetricId::chebyshev:
            pairing.core = Core::largest_difference;
            pairing.norm = Norm::largest;
            pairing.unit = frame.scale;
            exact_limit = 2 * frame.largest_square;
            break;
        case MetricId::hamming:
        case MetricId::jaccard:
            return pairing_for_bits(metric, d);
        default:  // its tiles hold canonical values
            pairing.core = Core::canonical;
            pairing.norm = Norm::largest;  // which every finite row has
            pairing.metric = &metric;
            return pairing;
    }
    const double exact_range = std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (frame.integral && exact_limit <= exact_range) return pairing;  // exact: no error at all
    set_error<T>(pairing, d);
    // where squares of differences vanish from float64
    pairing.floor += pairing.unit * static_cast<double>(d + 8) * 0x1p-1074;
    if (metric != MetricId::cosine) pairing.largest_reach = frame.scale * 1e150;  // or overflow
    if (pairing.constant_bias != 0.0) pairing.floor += pairing.slope;  // the 1 of 1 − xy
    if (frame.extreme && metric != MetricId::cosine) {  // squares overflow: confirm every pair
        pairing.floor = INFINITY;
        pairing.unit = 1.0;
    }
    return pairing;
}

// No norms and no centre: differences of the numbers themselves are rounded once, and sums of what
// is not negative err by no more than a share of the sum. Canonical values do too.
template <class T>
Pairing pairing_in_place(const Metric& metric, int64_t d) {
    Pairing pairing;
    pairing.in_place = true;
    pairing.core =
        metric == MetricId::manhattan ? Core::absolute_difference : Core::squared_difference;
    constexpr double u = std::numeric_limits<T>::epsilon() / 2;
    constexpr int64_t fewest_lanes = 16 / sizeof(T);
    const double additions = static_cast<double>(d / fewest_lanes + 8);
    const double canonical = static_cast<double>(d) / 8 + 8;
    pairing.relative =
        1.01 * (u * (2 * additions + 4) + canonical * std::numeric_limits<double>::epsilon());
    pairing.floor = static_cast<double>(d + 8) * (2.0 * std::numeric_limits<T>::min() + 0x1p-1074);
    return pairing;
}

template <class T>
Pairing pairing_for_argument(Argument argument, int64_t d) {
    Pairing pairing;
    if (argument == Argument::squared_distance) {
        if (d <= direct_dimensions) {
            pairing.core = Core::squared_difference;
        } else {
            pairing.row_factor = -2.0;
            pairing.add_norms = true;
        }
    } else if (argument == Argument::l1_distance) {
        pairing.core = Core::absolute_difference;
        pairing.norm = Norm::absolutes;
    }
    set_error<T>(pairing, d);
    if (argument == Argument::dot || argument == Argument::cosine) {
        // a power of the product multiplies its error, and no pair is computed again
        pairing.core = Core::short_dot;
        const double u = std::numeric_limits<T>::epsilon() / 2;
        pairing.typical_slope = u * (1 + std::sqrt(chain(d, short_feature_block)));
    }
    return pairing;
}

CutLimits limits_within(int64_t memory) {
    CutLimits limits;
    if (memory == 0) return limits;
    const int64_t rest = memory - memory / 4;
    limits.row_bytes = std::min(limits.row_bytes, rest / 6);
    limits.col_bytes = std::min(limits.col_bytes, rest / 3);
    limits.states_bytes = rest - limits.row_bytes - limits.col_bytes;
    limits.state_bytes = std::min(limits.state_bytes, limits.states_bytes);
    return limits;
}

int workers_within(int64_t memory, int64_t bytes_per_worker, int workers) {
    if (memory == 0) return workers;
    return static_cast<int>(std::clamp<int64_t>(memory / 8 / bytes_per_worker, 1, workers));
}

int64_t packing_bytes(int64_t d) {
    constexpr int64_t widest_panel = 32, small_things = 64 << 10;
    return (widest_panel + 2) * d * static_cast<int64_t>(sizeof(double)) + small_things;
}

int64_t least_memory(int64_t d, int64_t state_bytes_per_row, int64_t bytes_per_worker) {
    const auto panels = [d](const auto& ops, int64_t held) {
        // shares of a sixth, a third and a half, of three quarters
        return std::max(8 * ops.rows, 4 * ops.cols) * held;
    };
    constexpr int64_t small_things = int64_t{4} << 20;
    const int64_t sample = std::min(std::max(sample_bytes, 15 * 8 * d), 255 * 8 * d);
    const int64_t rows = std::max(isa().f32.rows, isa().f64.rows);
    return std::max({small_things, 2 * sample, panels(isa().f32, held_per_row<float>(d)),
                     panels(isa().f64, held_per_row<double>(d)), 3 * rows * state_bytes_per_row,
                     8 * bytes_per_worker});
}

bool worth_halving(int64_t n, int64_t k, double work) {
    if (forced_rows.load() > 0) return true;
    // Every doubling of the columns seen brings a row some k candidates more, each of which costs a
    // column, whose state is not at hand, the work of so many features more than it costs a row.
    constexpr double fetching = 1250.0;
    const double rows = static_cast<double>(n), kept = static_cast<double>(k);
    return 0.5 * rows * work > fetching * kept * std::log2(1.0 + rows / kept);
}

template <class T>
Cut choose_cut(const Ops<T>& ops, int64_t n, int64_t m, int64_t d, const CutLimits& limits) {
    const int64_t rows = ops.rows, cols = ops.cols;
    const int64_t row_bytes = std::max<int64_t>(d, 1) * static_cast<int64_t>(sizeof(T));
    const int64_t held_bytes = held_per_row<T>(d);
    Cut cut;
    const int64_t forced_row = forced_rows.load(), forced_col = forced_cols.load();
    const auto make_mutual = [&](int64_t block, int64_t super) {
        cut.mutual = true;
        cut.row_block = cut.segment = block;
        cut.row_super = cut.col_super = super >= n ? round_up(n, block) : super / block * block;
    };
    if (forced_row > 0 && forced_col > 0) {
        cut.row_block = round_up(forced_row, rows);
        cut.strip = std::min(round_up(forced_col, cols), round_up(limits.strip_cols, cols));
        cut.row_super = 3 * cut.row_block;
        cut.col_super = 3 * cut.strip;
        cut.segment = 2 * cut.strip;
        const int64_t block = round_up(cut.row_block, std::lcm(rows, cols));
        if (limits.mutual) make_mutual(block, 3 * block);
        return cut;
    }
    // a strip of columns stays in L2 while the row panels of a task pass over it
    constexpr int64_t strip_bytes = 256 << 10, block_bytes = 384 << 10;
    cut.strip =
        std::clamp(std::min(strip_bytes / row_bytes, limits.col_bytes / held_bytes) / cols * cols,
                   cols, std::max(cols, limits.strip_cols / cols * cols));
    cut.col_super = std::max(cut.strip, limits.col_bytes / held_bytes / cut.strip * cut.strip);
    cut.col_super = std::min(cut.col_super, round_up(m, cut.strip));

    int64_t super = limits.row_bytes / held_bytes;
    if (limits.state_bytes_per_row > 0) {
        super = std::min(super, limits.state_bytes / limits.state_bytes_per_row);
    }
    cut.row_super = std::min(std::max(rows, super / rows * rows), round_up(n, rows));
    // enough tasks to share out evenly, each with enough rows to pay for loading its strips
    const int64_t wanted = std::min(block_bytes / row_bytes, cut.row_super / 48);
    cut.row_block =
        std::clamp(wanted / rows * rows,
                   std::min(std::max(4 * rows, round_up(limits.block_rows, rows)), cut.row_super),
                   cut.row_super);

    if (limits.mutual) {
        const int64_t block = round_up(cut.row_block, std::lcm(rows, cols));
        const int64_t held = std::min(limits.row_bytes, limits.col_bytes) / held_bytes;
        constexpr int64_t enough = 16;  // blocks to share out
        if (n >= enough * block && held >= block &&
            n <= limits.states_bytes / limits.state_bytes_per_row) {
            make_mutual(block, held);
            return cut;
        }
    }
    constexpr int64_t most_segments = 16;
    const int64_t strips_of_all = (m + cut.strip - 1) / cut.strip;
    if (limits.few_rows && n <= cut.row_super &&
        n <= std::max(rows, block_bytes / row_bytes / rows * rows) &&
        strips_of_all >= most_segments) {
        // few rows: one block of them, and as many segments as there is room for fold state
        cut.few_rows = true;
        cut.row_block = cut.row_super;
        const int64_t room =
            limits.state_bytes / std::max<int64_t>(1, n * limits.state_bytes_per_row);
        const int64_t segments = std::clamp<int64_t>(room, 1, most_segments);
        cut.segment = (strips_of_all + segments - 1) / segments * cut.strip;
        return cut;
    }
    const int64_t tasks = (cut.row_super + cut.row_block - 1) / cut.row_block;
    if (limits.state_bytes_per_col > 0) {
        const int64_t most = limits.state_bytes / (limits.state_bytes_per_col * tasks);
        cut.col_super = std::clamp(most / cut.strip * cut.strip, cut.strip, cut.col_super);
    }
    const int64_t strips = (cut.col_super + cut.strip - 1) / cut.strip;
    int64_t segments = std::clamp<int64_t>(most_segments / tasks, 1, strips);
    if (limits.state_bytes_per_row > 0) {
        const int64_t state = cut.row_super * limits.state_bytes_per_row;
        segments = std::clamp<int64_t>(limits.states_bytes / state, 1, segments);
    }
    cut.segment = (strips + segments - 1) / segments * cut.strip;
    return cut;
}

void force_tile(int64_t rows, int64_t cols) {
    forced_rows = rows;
    forced_cols = cols;
}

template Pairing pairing_for_metric<float>(const Metric&, const Frame&, int64_t, bool);
template Pairing pairing_for_metric<double>(const Metric&, const Frame&, int64_t, bool);
template Pairing pairing_in_place<float>(const Metric&, int64_t);
template Pairing pairing_in_place<double>(const Metric&, int64_t);
template Pairing pairing_for_argument<float>(Argument, int64_t);
template Pairing pairing_for_argument<double>(Argument, int64_t);
template Cut choose_cut<float>(const Ops<float>&, int64_t, int64_t, int64_t, const CutLimits&);
template Cut choose_cut<double>(const Ops<double>&, int64_t, int64_t, int64_t, const CutLimits&);

}  // namespace pairtile
