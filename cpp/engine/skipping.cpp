#include "engine/skipping.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>

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

std::unique_ptr<Skipping> skip_tiles(const Screen& screen, const Metric& metric, int leaf,
                                     KeptOrder* kept, Control& control) {
    const TileFormula& formula = screen.formula;
    const int64_t d = screen.rows.d();
    if (screen.frame.extreme || d > most_features || screen.rows.rows() == 0 ||
        std::max(screen.rows.rows(), screen.cols.rows()) > int64_t{0xffffffff}) {
        return nullptr;
    }
    std::shared_ptr<const Order> col_order;
    KeyRule rule;
    if (kept) {
        const std::lock_guard guard(kept->lock);
        if (!kept->order) {
            kept->metric = metric.id;
            kept->rule = key_rule(screen.cols, screen.cols, metric);
            if (kept->rule.count() == 0) return nullptr;
            kept->order = std::make_shared<const Order>(screen.cols, kept->rule, leaf, control);
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
        rule = key_rule(screen.rows, screen.cols, metric);
    }
    if (rule.count() == 0) return nullptr;
    auto skipping = std::make_unique<Skipping>(Skipping{
        rule, screen.rows, screen.cols, nullptr, nullptr, 1.0, 0.0, formula.mapping, INFINITY});
    double per_scale = rule.scale;
    if (rule.gaps == Gaps::squares) per_scale *= rule.scale;
    if (rule.gaps == Gaps::powers) per_scale = std::pow(rule.scale, rule.power);
    skipping->unit = formula.unit * metric.traits().factor / per_scale;
    // what vanishes from float64 in a canonical value
    skipping->floor = formula.unit * static_cast<double>(d + 8) * 0x1p-1074;
    if (!(skipping->unit > 0.0) || !(skipping->unit < INFINITY)) return nullptr;
    if (!col_order) {
        col_order = std::make_shared<const Order>(screen.cols, rule, leaf, control);
    }
    skipping->col_order = col_order;
    skipping->row_order = screen.rows == screen.cols
                              ? col_order
                              : std::make_shared<const Order>(screen.rows, rule, leaf, control);
    if (skipping->row_order->empty() || skipping->col_order->empty()) return nullptr;
    skipping->rows.take(skipping->row_order->rows(), skipping->row_order->count());
    skipping->cols.take(skipping->col_order->rows(), skipping->col_order->count());
    return skipping;
}

void force_skipping(const std::string& name) {
    const auto found = std::find(std::begin(forcible), std::end(forcible), name);
    if (found == std::end(forcible)) throw std::invalid_argument("no skipping is called " + name);
    forced_now = static_cast<ForcedSkipping>(found - std::begin(forcible));
}
ForcedSkipping forced_skipping() { return forced_now; }

}  // namespace pairtile
