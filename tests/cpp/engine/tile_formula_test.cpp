// What a tile says of a pair against the canonical value: nearer than the bound, whatever the data.
#include "engine/tile_formula.hpp"

#include <algorithm>
#include <string>

#include "check.hpp"
#include "engine/canonical.hpp"
#include "engine/isa.hpp"
#include "engine/pack.hpp"
#include "engine/prefix.hpp"
#include "engine/screen.hpp"
#include "engine/tile.hpp"

namespace {

using namespace check;
using namespace pairtile;

const auto ignore = [](int64_t, int64_t) {};

enum class Kind {
    normal,
    whole,
    offset,
    huge,
    tiny,
    near_copies,
    outlier,
    uneven,
    zero_rows,
    rounded_alike,
    halfway,
    spikes,
    constant,
    denormal,
    count
};

// Rows of one kind; `rounded_alike` are numbers that every rounding to float32 or bfloat16 takes
// the same way, so that errors add up, and so are `halfway` those that bytes round.
std::vector<double> rows_of(Kind kind, int64_t n, int64_t d, Random& random) {
    std::vector<double> rows = normals<double>(random, n * d);
    const auto at = [&](int64_t i, int64_t f) -> double& {
        return rows[static_cast<size_t>(i * d + f)];
    };
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t f = 0; f < d; ++f) {
            double& x = at(i, f);
            switch (kind) {
                case Kind::whole:
                    x = static_cast<double>(integer(random, -100, 100));
                    break;
                case Kind::offset:
                    x += 1e6;
                    break;
                case Kind::huge:
                    x *= 1e30;
                    break;
                case Kind::tiny:
                    x *= 1e-30;
                    break;
                case Kind::near_copies:
                    x = at(0, f) + 1e-6 * x;
                    break;
                case Kind::outlier:
                    if (i == 1) x *= 1e8;
                    break;
                case Kind::uneven:
                    x *= std::pow(10.0, static_cast<double>(f % 9) - 4);
                    break;
                case Kind::zero_rows:
                    if (i % 3 == 1) x = 0.0;
                    break;
                case Kind::rounded_alike:
                    x = (1 + static_cast<double>(integer(random, 0, 1) * 2) * 0x1p-8) *
                        (1 + 0x1.8p-9 + 0x1.8p-25) * (i % 2 ? -1 : 1);
                    break;
                case Kind::halfway:  // the first number sets the step, 1 or 2^−10
                    x = std::ldexp(
                        f == 0 ? 127.0
                               : static_cast<double>(integer(random, 1, 60)) + 0.5 - 0x1p-12,
                        i % 3 ? 0 : -10);
                    break;
                case Kind::spikes:
                    if (f == i % d) x *= 1e5;
                    break;
                case Kind::constant:
                    x = at(i, 0);
                    break;
                case Kind::denormal:
                    x *= i % 2 ? 1e-42 : 1e-300;
                    break;
                default:
                    break;
            }
        }
    }
    return rows;
}

template <class S>
struct Rows {
    std::vector<S> values;
    int64_t d;

    Source source() const {
        constexpr int64_t size = sizeof(S);
        constexpr Dtype dtype = sizeof(S) == 1   ? Dtype::uint8
                                : sizeof(S) == 4 ? Dtype::float32
                                                 : Dtype::float64;
        return Source(Array{reinterpret_cast<const char*>(values.data()),
                            static_cast<int64_t>(values.size()) / d, d, d * size, size, dtype,
                            false});
    }
};

// Tiles of a prefix are lower bounds, with their second step too, and whole rows give the values.
void check_prefix(const Screen& screen, const TileFormula& formula, const Metric& metric,
                  const Source& rows, const Source& cols, bool ordinary, const std::string& what) {
    const Ops<float>& ops = isa().f32;
    Control control(ignore);
    Panels<float> left, right;
    pack_rows(ops, screen.rows, 0, rows.rows(), screen.frame, formula,
              {formula.row_factor, ops.rows, true, false}, control, left);
    pack_rows(ops, screen.cols, 0, cols.rows(), screen.frame, formula,
              {1.0, ops.cols, false, false}, control, right);
    fill_bias(formula, right);
    const int64_t m = cols.rows(), ld = (m + ops.cols - 1) / ops.cols * ops.cols;
    const Strip<float> strip(right, 0, m);
    std::vector<float> memory(static_cast<size_t>(ops.rows * ld));
    std::vector<int32_t> all;
    for (int32_t j = 0; j < m; ++j) all.push_back(j);
    std::vector<float> further(all.size()), whole(all.size());
    const auto dots = [&](const Buffer<float>& a, const Buffer<float>& b, int64_t words, int64_t i,
                          std::vector<float>& out) {
        ops.dots(a.data() + i * words, b.data(), words, all.data(), static_cast<int>(m), words,
                 out.data());
    };
    Canonical canonical(metric, rows, cols);
    int64_t bounded = 0;
    for (int64_t row = 0; row < rows.rows(); row += ops.rows) {
        const int64_t height = std::min<int64_t>(ops.rows, rows.rows() - row);
        const Tile<float> tile =
            compute_tile(ops, formula, left, row, height, strip, memory.data(), ld);
        for (int64_t i = row; i < row + height; ++i) {
            canonical.set_row(i);
            dots(left.whole, right.whole, left.whole_words, i, whole);
            std::fill(further.begin(), further.end(), 0.0f);
            if (left.more_words > 0) dots(left.more, right.more, left.more_words, i, further);
            const NormBound& of_row = left.norm_bounds[i];
            const double norm = formula.add_norms ? static_cast<double>(left.norms[i]) : 0.0;
            for (int64_t j = 0; j < m; ++j) {
                const NormBound of_col = right.largest_norm_bound(j, j + 1);
                const double bound = formula.error(of_row, of_col);
                bounded += bound < INFINITY;
                if (!(bound < INFINITY)) continue;
                const double exact = formula.unit * canonical(j);
                const auto at = static_cast<size_t>(j);
                const double low = static_cast<double>(tile.data[(i - row) * ld + j]);
                CHECK(norm + low - bound <= exact, what, "row", i, "column", j, "is", norm + low,
                      "exactly", exact, "bound", bound);
                const double reach = of_row.norm + of_col.norm;
                const double next = norm + low + static_cast<double>(further[at]);
                CHECK(next - bound - formula.slope * reach * reach <= exact, what, "row", i,
                      "column", j, "is next", next, "exactly", exact, "bound", bound);
                const double full = norm + static_cast<double>(right.bias[j]) +
                                    formula.row_factor * static_cast<double>(whole[at]);
                const double error = formula.error({of_row.norm, 0.0}, {of_col.norm, 0.0});
                CHECK(std::fabs(full - exact) <= error, what, "row", i, "column", j, "is in full",
                      full, "exactly", exact, "bound", error);
            }
        }
    }
    CHECK(bounded > 0 || !ordinary, what, "no pair has a bound");
}

template <class T>
void check_pairs(const Screen& screen, const TileFormula& formula, const Metric& metric,
                 const Source& rows, const Source& cols, bool ordinary, const std::string& what) {
    const Ops<T>& ops = ops_of<T>(isa());
    Control control(ignore);
    Panels<T> left, right;
    pack_rows(ops, screen.rows, 0, rows.rows(), screen.frame, formula,
              {formula.row_factor, ops.rows, true, false}, control, left);
    pack_rows(ops, screen.cols, 0, cols.rows(), screen.frame, formula, {1.0, ops.cols, true, false},
              control, right);
    const int64_t m = cols.rows();
    const int panels = static_cast<int>((m + ops.cols - 1) / ops.cols);
    const int64_t ld = panels * ops.cols;
    std::vector<T> bias(static_cast<size_t>(ld)), tile(static_cast<size_t>(ops.rows * ld));
    for (int64_t j = 0; j < ld; ++j) {
        bias[static_cast<size_t>(j)] =
            formula.add_norms ? right.norms[j] : static_cast<T>(formula.constant_bias);
    }
    const bool biased = formula.core == Core::dot || formula.core == Core::dot_bfloat16 ||
                        formula.core == Core::dot_int8 || formula.core == Core::dot_int16;
    Canonical canonical(metric, rows, cols);
    int64_t bounded = 0;
    for (int64_t row = 0; row < rows.rows(); row += ops.rows) {
        const int height = static_cast<int>(std::min<int64_t>(ops.rows, rows.rows() - row));
        if (formula.metric) {
            ops.canonical[static_cast<int>(metric.id)](left.panel_of(row), right.data.data(),
                                                       left.d, panels, metric.params, tile.data(),
                                                       ld);
        } else {
            ops.core[static_cast<int>(formula.core)](left.panel_of(row), right.data.data(), left.d,
                                                     panels, biased ? bias.data() : nullptr,
                                                     tile.data(), ld);
        }
        if (formula.divide_by_union) {
            ops.divide_by_union(tile.data(), ld, height, static_cast<int>(m),
                                left.norms.data() + row, right.norms.data());
        }
        if (formula.add_norms) {
            ops.add_row_norms(tile.data(), ld, height, static_cast<int>(m),
                              left.norms.data() + row);
        }
        for (int i = 0; i < height; ++i) {
            canonical.set_row(row + i);
            for (int64_t j = 0; j < m; ++j) {
                const double exact = formula.unit * canonical(j);
                const double got = static_cast<double>(tile[static_cast<size_t>(i * ld + j)]);
                const double bound = formula.error(left.norm_bounds[row + i], right.norm_bounds[j]);
                bounded += bound < INFINITY;
                if (!(bound < INFINITY)) continue;
                CHECK(got == exact || std::fabs(got - exact) <= bound, what, "row", row + i,
                      "column", j, "is", got, "exactly", exact, "bound", bound);
            }
        }
    }
    CHECK(bounded > 0 || !ordinary, what, "no pair has a bound");
}

constexpr int64_t n = 17, m = 70;

template <class S>
void check_metric(MetricId id, Kind kind, const std::vector<double>& pooled, int64_t d,
                  const std::string& isa_name, Random& random) {
    const std::vector<S> values(pooled.begin(), pooled.end());
    const Rows<S> x{{values.begin(), values.begin() + n * d}, d},
        y{{values.begin() + n * d, values.end()}, d};
    std::vector<double> weights(static_cast<size_t>(d)), map;
    for (double& weight : weights) weight = uniform(random, 0.0, 3.0);
    if (id == MetricId::mahalanobis) map = normals<double>(random, d * d);
    MetricParams params;
    params.p = 3.0;
    params.weights = params.ranges = weights.data();
    params.transform = map.data();
    params.features = static_cast<double>(d);
    const Metric metric(id, params);
    Source rows = x.source(), cols = y.source();
    rows.read_as(metric.traits().reading);
    cols.read_as(metric.traits().reading);
    Control control(ignore);
    const Screen wide = choose_screen({rows, cols, metric, 1, Precision::float64}, control);
    const bool ordinary = kind == Kind::normal || kind == Kind::whole || kind == Kind::offset;
    const std::string what = isa_name + " metric " + std::to_string(static_cast<int>(id)) +
                             " kind " + std::to_string(static_cast<int>(kind)) + " d " +
                             std::to_string(d) + (sizeof(S) == 4 ? " float32" : " float64");
    check_pairs<double>(wide, wide.formula, metric, rows, cols, ordinary, what + " as double");
    if (wide.formula.metric) return;  // has no tiles of float32
    force_screen("float32");
    const Screen narrow = choose_screen({rows, cols, metric, 1}, control);
    force_screen("");
    TileFormula formula = narrow.formula;
    if (narrow.packing == Packing::bfloat16) formula.core = Core::dot;  // exact in either
    check_pairs<float>(narrow, formula, metric, rows, cols, ordinary, what + " as float");
    // the rotation of wide rows takes longer than all else: each table gets some of them
    const bool turned_too = d <= 33 || random() % 4 == 0;
    if (turned_too && formula.core == Core::dot && !formula.exact()) {
        Question question{rows, cols, metric, 1};
        question.finishes = true;
        for (const char* name : {"prefix", "prefix_bfloat16"}) {
            force_screen(name);
            const Screen turned = choose_screen(question, control);
            force_screen("");
            CHECK(turned.formula.prefix != nullptr, what, "has no prefix");
            check_prefix(turned, turned.formula, metric, rows, cols, ordinary,
                         what + " by " + name);
        }
    }
    if (formula.core != Core::dot) return;
    if (isa().f32.pack_int8_float64 && !formula.exact()) {
        formula.core = Core::dot_int8;
        check_pairs<float>(narrow, formula, metric, rows, cols, ordinary, what + " as int8");
    }
    if (isa().f32.pack_int16_float64 && !formula.exact()) {
        formula.core = Core::dot_int16;
        check_pairs<float>(narrow, formula, metric, rows, cols, ordinary, what + " as int16");
    }
    if (!isa().f32.pack_bfloat16_float64) return;
    if (formula.exact() && narrow.frame.largest > 256) return;  // which bfloat16 does not hold
    formula.core = Core::dot_bfloat16;
    check_pairs<float>(narrow, formula, metric, rows, cols, ordinary, what + " as bfloat16");
}

void check_bits(MetricId id, int64_t bytes, const std::string& isa_name, Random& random) {
    Rows<uint8_t> x{{}, bytes}, y{{}, bytes};
    for (int64_t i = 0; i < 17 * bytes; ++i)
        x.values.push_back(static_cast<uint8_t>(integer(random, 0, 255)));
    for (int64_t i = 0; i < 70 * bytes; ++i)
        y.values.push_back(static_cast<uint8_t>(integer(random, 0, 255)));
    MetricParams params;
    params.n_bits = 8 * bytes;
    const Metric metric(id, params);
    const Source rows = x.source(), cols = y.source();
    Control control(ignore);
    const Screen screen = choose_screen({rows, cols, metric, 1}, control);
    check_pairs<float>(screen, screen.formula, metric, rows, cols, true,
                       isa_name + " bits " + std::to_string(static_cast<int>(id)));
}

TEST(tiles_are_within_the_bound_of_their_formula) {
    Random random(41);
    // what a sanitizer looks for depends on shapes and tables, hardly on numbers: other kinds of
    // numbers for each d
    const int step = under_sanitizer ? 7 : 1;
    int first = 0;
    for (const int64_t d : {1, 4, 5, 16, 33, 300}) {
        for (int k = first; k < static_cast<int>(Kind::count); k += step) {
            const auto kind = static_cast<Kind>(k);
            const auto rows = rows_of(kind, n + m, d, random);
            for (const IsaOps* one : supported_isas()) {
                choose_isa(one->name);
                for (int id = 0; id < static_cast<int>(MetricId::count); ++id) {
                    const MetricId metric = static_cast<MetricId>(id);
                    if (Metric{metric, {}}.on_bits()) {
                        if (k == first) check_bits(metric, d, one->name, random);
                        continue;
                    }
                    if (metric == MetricId::mahalanobis && d > 33) continue;
                    check_metric<float>(metric, kind, rows, d, one->name, random);
                    check_metric<double>(metric, kind, rows, d, one->name, random);
                }
            }
        }
        if (under_sanitizer) ++first;
    }
}

TEST(limits_of_arguments_leave_room_for_what_grows_with_them) {
    Random random(42);
    for (int round = 0; round < 1000; ++round) {
        TileFormula formula;
        formula.relative =
            round % 2 ? std::exp2(-static_cast<double>(integer(random, 5, 50))) : 0.0;
        formula.widening = 1.0 / (1.0 - formula.relative);
        const double limit =
            normal(random) * std::exp2(static_cast<double>(integer(random, -9, 9)));
        const double value = std::fabs(normal(random)) * std::fabs(limit);
        const double off = formula.error_at(value, 0.0);
        // whatever a pair of this value may be, it is looked at where it may be beyond the limit
        CHECK(value + off < limit || value >= formula.lowest(limit), value, limit);
        CHECK(value - off > limit || value <= formula.highest(limit) || limit < 0.0, value, limit);
    }
}

}  // namespace
