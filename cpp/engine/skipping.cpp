#include "engine/skipping.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "engine/isa.hpp"

namespace pairtile {
namespace {

constexpr const char* forcible[] = {"", "always", "never"};
std::atomic<ForcedSkipping> forced_now{ForcedSkipping::choose};

// More than the relative rounding of a canonical value of so many features.
constexpr double canonical_rounding = 1e-9;
constexpr int64_t most_features = int64_t{1} << 20;

}  // namespace

float Skipping::largest_gaps(double reach) const {
    if (!(reach < INFINITY)) return INFINITY;
    const double value = (std::max(reach, 0.0) + floor) * (1.0 + canonical_rounding);
    double gaps = value / unit;
    if (rule.gaps == Gaps::squares) {
        const double length = std::sqrt(value) + mapping;
        gaps = length * length / unit;
    }
    return rounded_up<float>(gaps * (1.0 + 2.0 * gap_rounding) + gap_underflow);
}

namespace {

std::unique_ptr<Skipping> skip_tiles(const Source& rows, const Source& cols,
                                     const TileFormula& formula, const Metric& metric, int leaf,
                                     KeptOrder* kept, Control& control) {
    const int64_t d = rows.d();
    if (d > most_features || rows.rows() == 0 ||
        std::max(rows.rows(), cols.rows()) > int64_t{0xffffffff}) {
        return nullptr;
    }
    std::shared_ptr<const Order> col_order;
    KeyRule rule;
    if (kept) {
        const std::lock_guard guard(kept->lock);
        if (!kept->order) {
            kept->metric = metric.id;
            kept->rule = key_rule(cols, cols, metric);
            if (kept->rule.count() == 0) return nullptr;
            kept->order = std::make_shared<const Order>(cols, kept->rule, leaf, control);
        }
        if (kept->metric != metric.id) return nullptr;
        if (!kept->checked && !kept->order->is_permutation()) {
            throw std::invalid_argument(
                "the file of the index is damaged: its order is not one of its rows");
        }
        kept->checked = true;
        rule = kept->rule;
        col_order = kept->order;
    } else {
        rule = key_rule(rows, cols, metric);
    }
    if (rule.count() == 0) return nullptr;
    auto skipping = std::make_unique<Skipping>(
        Skipping{rule, rows, cols, nullptr, nullptr, 1.0, 0.0, formula.mapping, INFINITY});
    double per_scale = rule.scale;
    if (rule.gaps == Gaps::squares) per_scale *= rule.scale;
    if (rule.gaps == Gaps::powers) per_scale = std::pow(rule.scale, rule.power);
    skipping->unit = formula.unit * metric.traits().factor / per_scale;
    // what vanishes from float64 in a canonical value
    skipping->floor = formula.unit * static_cast<double>(d + 8) * 0x1p-1074;
    if (!(skipping->unit > 0.0) || !(skipping->unit < INFINITY)) return nullptr;
    if (!col_order) col_order = std::make_shared<const Order>(cols, rule, leaf, control);
    skipping->col_order = col_order;
    skipping->row_order =
        rows == cols ? col_order : std::make_shared<const Order>(rows, rule, leaf, control);
    if (skipping->row_order->empty() || skipping->col_order->empty()) return nullptr;
    skipping->rows.take(skipping->row_order->rows(), skipping->row_order->count());
    skipping->cols.take(skipping->col_order->rows(), skipping->col_order->count());
    return skipping;
}

}  // namespace

int leaf_columns() {
    constexpr int least = 32;
    const int step = std::max(isa().f32.cols, isa().f64.cols);
    return (least + step - 1) / step * step;
}

std::vector<int64_t> some_rows(int64_t rows, int64_t count) {
    std::vector<int64_t> some;
    for (int64_t i = 0; i < count; ++i) some.push_back(i * rows / count);
    return some;
}

std::unique_ptr<Skipping> skip_tiles(const Screen& screen, const Metric& metric, int leaf,
                                     KeptOrder* kept, Control& control) {
    if (screen.frame.extreme) return nullptr;
    return skip_tiles(screen.rows, screen.cols, screen.formula, metric, leaf, kept, control);
}

std::unique_ptr<Skipping> skip_tiles(const Source& rows, const Source& cols, double unit,
                                     const Metric& metric, int leaf, Control& control) {
    TileFormula formula;
    formula.unit = unit;
    return skip_tiles(rows, cols, formula, metric, leaf, nullptr, control);
}

void force_skipping(const std::string& name) {
    const auto found = std::find(std::begin(forcible), std::end(forcible), name);
    if (found == std::end(forcible)) throw std::invalid_argument("no skipping is called " + name);
    forced_now = static_cast<ForcedSkipping>(found - std::begin(forcible));
}
ForcedSkipping forced_skipping() { return forced_now; }

}  // namespace pairtile
