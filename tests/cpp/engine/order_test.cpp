// Orders of rows and their boxes: every row has one place, every box holds its rows, and gaps
// between boxes are never more than any of their pairs are apart.
#include "engine/order.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "check.hpp"
#include "engine/isa.hpp"
#include "engine/skipping.hpp"

namespace {

using namespace check;
using namespace pairtile;

struct Rows {
    int64_t n, d;
    std::vector<double> values;

    Source source() const {
        constexpr int64_t size = sizeof(double);
        return Source(Array{reinterpret_cast<const char*>(values.data()), n, d, d * size, size,
                            Dtype::float64, false});
    }
    const double* row(int64_t i) const { return values.data() + i * d; }
};

Rows rows_of(int64_t n, int64_t d, int kind, std::mt19937_64& rng) {
    std::normal_distribution<double> normal;
    Rows rows{n, d, {}};
    for (int64_t i = 0; i < n * d; ++i) {
        double x = normal(rng);
        if (kind == 1) x = std::floor(2.0 * x);                   // many on one face
        if (kind == 2) x = 1e8 + x;                               // far from the origin
        if (kind == 3 && i % 97 == 0) x *= 1e30;                  // beyond the largest key
        if (kind == 4) x *= std::pow(10.0, -30.0 * (i % d) / d);  // keys that vanish
        if (kind == 5) x = 0.1;
        rows.values.push_back(x);
    }
    return rows;
}

// As the metric adds up the gaps of all features, exactly enough.
double apart(const double* x, const double* y, int64_t d, const KeyRule& rule) {
    long double sum = 0.0L;
    for (int64_t j = 0; j < d; ++j) {
        const long double gap = std::fabs(static_cast<long double>(x[j]) - y[j]) * rule.scale;
        switch (rule.gaps) {
            case Gaps::squares:
                sum += gap * gap;
                break;
            case Gaps::sum:
                sum += gap;
                break;
            case Gaps::largest:
                sum = std::max(sum, gap);
                break;
            case Gaps::powers:
                sum += std::pow(gap, static_cast<long double>(rule.power));
                break;
        }
    }
    return static_cast<double>(sum);
}

const MetricId metrics[] = {MetricId::euclidean, MetricId::manhattan, MetricId::chebyshev,
                            MetricId::minkowski};

void check_order(const Rows& rows, const Metric& metric, int leaf, int kind) {
    Control control({}, 2);
    const Source source = rows.source();
    const KeyRule rule = key_rule(source, source, metric);
    CHECK(rule.count() == std::min<int64_t>(rows.d, most_keys));
    const Order order(source, rule, leaf, control);
    CHECK(order.count() == rows.n && order.leaves() == (rows.n + leaf - 1) / leaf);
    std::vector<int64_t> seen(order.rows(), order.rows() + order.count());
    std::sort(seen.begin(), seen.end());
    for (int64_t i = 0; i < rows.n; ++i) CHECK(seen[static_cast<size_t>(i)] == i);
    CHECK(order.nodes(0) == order.leaves() && order.nodes(order.levels() - 1) <= fan_out);

    // every box of every level, against every row
    for (int64_t i = 0; i < rows.n; i += 7) {
        const Box point = order.box_of(i, 1);
        for (int level = 0; level < order.levels(); ++level) {
            int64_t rows_of_node = leaf;
            for (int l = 0; l < level; ++l) rows_of_node *= fan_out;
            for (int64_t node = 0; node < order.nodes(level); ++node) {
                float gaps[fan_out];
                const float* block = order.block(level, node / fan_out);
                gaps_to_block(rule, point, block, gaps);
                const int at = static_cast<int>(node % fan_out);
                CHECK(gaps[at] == gaps_to_box(rule, point, block, at) || kind == 3, level, node);
                const int64_t end = std::min(rows.n, (node + 1) * rows_of_node);
                for (int64_t j = node * rows_of_node; j < end; ++j) {
                    const double exact =
                        apart(rows.row(order.rows()[i]), rows.row(order.rows()[j]), rows.d, rule);
                    const double most = exact * (1.0 + gap_rounding) + gap_underflow;
                    CHECK(gaps[at] <= most, "kind", kind, "level", level, gaps[at], exact);
                }
            }
        }
    }
    // and a box of several rows holds them all
    const Box both = order.box_of(0, std::min<int64_t>(rows.n, 2 * leaf));
    for (int64_t i = 0; i < std::min<int64_t>(rows.n, 2 * leaf); ++i) {
        const Box one = order.box_of(i, 1);
        for (int j = 0; j < rule.count(); ++j) {
            CHECK(both.low[j] <= one.low[j] && both.high[j] >= one.high[j], i, j);
        }
    }
}

TEST(order_and_boxes) {
    std::mt19937_64 rng(1);
    for (const int64_t n : {1, 5, 31, 32, 33, 64, 257, 600}) {
        for (const int64_t d : {1, 3, 20}) {
            for (int kind = 0; kind < 6; ++kind) {
                const Rows rows = rows_of(n, d, kind, rng);
                for (const MetricId id : metrics) {
                    Metric metric{id, {}};
                    metric.params.p = 3.0;
                    check_order(rows, metric, 32, kind);
                }
            }
        }
    }
}

// Every split is at the median: of one feature, all rows follow one another.
TEST(order_of_one_feature_is_sorted) {
    std::mt19937_64 rng(4);
    for (const IsaOps* isa : supported_isas()) {
        choose_isa(isa->name);
        for (const int64_t n : {31, 130, 300, 9000, 40000}) {
            for (int kind = 0; kind < 6; ++kind) {
                const Rows rows = rows_of(n, 1, kind, rng);
                Control control({}, 2);
                const Source source = rows.source();
                const Order order(source, key_rule(source, source, {MetricId::euclidean, {}}), 32,
                                  control);
                CHECK(order.is_permutation(), isa->name, n, kind);
                CHECK(std::is_sorted(order.keys(), order.keys() + n), isa->name, n, kind);
            }
        }
    }
}

// What a file holds of an order is the order; what is not that of the rows is told.
TEST(order_in_memory_of_others) {
    std::mt19937_64 rng(4);
    for (const int64_t n : {1, 33, 600}) {
        const Rows rows = rows_of(n, 3, 0, rng);
        const Source source = rows.source();
        Control control({}, 2);
        const KeyRule rule = key_rule(source, source, {MetricId::euclidean, {}});
        CHECK(rule.fits(3) && !rule.fits(2));
        const Order made(source, rule, 32, control);
        const auto copy = [](const auto* from, int64_t count) {
            return std::vector(from, from + count);
        };
        auto places = copy(made.rows(), n);
        auto keys = copy(made.keys(), n * made.keys_per_row());
        auto boxes = copy(made.boxes(), made.box_numbers());
        CHECK(made.box_numbers() == Order::box_numbers_of(n, 32, 3));
        const Order same(places.data(), keys.data(), boxes.data(), n, 3, 32);
        CHECK(same.levels() == made.levels() && same.is_of(source, rule, control));
        for (int level = 0; level < made.levels(); ++level) {
            const int64_t blocks = (made.nodes(level) + fan_out - 1) / fan_out;
            for (int64_t block = 0; block < blocks; ++block) {
                CHECK(std::equal(made.block(level, block), made.block(level, block) + 6 * fan_out,
                                 same.block(level, block)));
            }
        }
        const auto spoiled = [&](auto& number, auto value) {
            const auto before = std::exchange(number, value);
            const bool right = same.is_of(source, rule, control);
            number = before;
            return !right;
        };
        for (int64_t i = 0; i < n; i += 13) {
            const auto at = static_cast<size_t>(i);
            CHECK(spoiled(places[at], n) && spoiled(places[at], int64_t{-1}), i);
            if (n > 1) CHECK(spoiled(places[at], places[at] == 0 ? 1 : places[at] - 1), i);
            CHECK(spoiled(keys[3 * at + 1], keys[3 * at + 1] + 1.0f), i);
            CHECK(spoiled(keys[3 * at], NAN), i);
        }
        for (size_t i = 0; i < boxes.size(); i += 7) {
            CHECK(spoiled(boxes[i], NAN) && spoiled(boxes[i], boxes[i] + 0.5f), i);
        }
        CHECK(same.is_permutation() && same.is_of(source, rule, control));
        if (n > 1) {  // a permutation, but of other rows
            std::swap(places[0], places[1]);
            CHECK(same.is_permutation() && !same.is_of(source, rule, control));
        }
    }
}

TEST(rules_of_keys) {
    const KeyRule good{Gaps::squares, 1.0, {2, 0}, {0.5, -1.0}, 4.0};
    CHECK(good.fits(3));
    const auto bad = [&](auto change) {
        KeyRule rule = good;
        change(rule);
        return !rule.fits(3);
    };
    CHECK(bad([](KeyRule& rule) { rule.features[0] = 3; }));
    CHECK(bad([](KeyRule& rule) { rule.features[0] = -1; }));
    CHECK(bad([](KeyRule& rule) { rule.features[0] = 0; }));  // a gap would count twice
    CHECK(bad([](KeyRule& rule) { rule.features.clear(), rule.centre.clear(); }));
    CHECK(bad([](KeyRule& rule) { rule.centre.pop_back(); }));
    CHECK(bad([](KeyRule& rule) { rule.centre[1] = NAN; }));
    for (const double scale : {0.0, -1.0, static_cast<double>(INFINITY), std::nan("")}) {
        CHECK(bad([&](KeyRule& rule) { rule.scale = scale; }), scale);
    }
    KeyRule many = good;
    many.features.resize(most_keys + 1);
    std::iota(many.features.begin(), many.features.end(), 0);
    many.centre.assign(many.features.size(), 0.0);
    CHECK(!many.fits(100));
}

TEST(order_does_not_depend_on_workers) {
    std::mt19937_64 rng(2);
    const Rows rows = rows_of(20'000, 3, 1, rng);
    const Metric metric{MetricId::euclidean, {}};
    const Source source = rows.source();
    const KeyRule rule = key_rule(source, source, metric);
    Control one({}, 1), three({}, 3);
    const Order a(source, rule, 32, one), b(source, rule, 32, three);
    CHECK(std::equal(a.rows(), a.rows() + a.count(), b.rows()));
}

// Parts of some thousand rows are split in copies of their own, whose rows are numbered anew.
TEST(orders_of_many_rows) {
    std::mt19937_64 rng(5);
    std::uniform_real_distribution<double> uniform;
    for (const int64_t n : {8192, 8193, 20'000, 70'000}) {
        Rows rows{n, 2, {}};
        for (int64_t i = 0; i < n * 2; ++i) rows.values.push_back(uniform(rng));
        const Source source = rows.source();
        const KeyRule rule = key_rule(source, source, {MetricId::euclidean, {}});
        Control control({}, 2);
        const Order order(source, rule, 32, control);
        CHECK(order.is_permutation() && order.is_of(source, rule, control), n);
        // leaves are about as small as they can be: their boxes hardly overlap
        double area = 0.0;
        for (int64_t leaf = 0; leaf < order.leaves(); ++leaf) {
            const int64_t first = 32 * leaf;
            const Box box = order.box_of(first, std::min<int64_t>(32, n - first));
            area += static_cast<double>(box.high[0] - box.low[0]) *
                    static_cast<double>(box.high[1] - box.low[1]);
        }
        const double square = 1.0 / (rule.scale * rule.scale);
        CHECK(area * square > 0.5 && area * square < 1.02, n, area * square);
    }
}

TEST(order_of_rows_that_are_not_finite) {
    std::mt19937_64 rng(3);
    Rows rows = rows_of(100, 3, 0, rng);
    rows.values[150] = NAN;
    Control control({}, 2);
    const Metric metric{MetricId::euclidean, {}};
    CHECK(
        Order(rows.source(), key_rule(rows.source(), rows.source(), metric), 32, control).empty());
}

// What is within reach has gaps that are: the last number of either kind counts.
TEST(largest_gaps) {
    Skipping skipping{{}, Source(Array{}), Source(Array{}), nullptr, nullptr};
    for (const Gaps gaps : {Gaps::squares, Gaps::sum}) {
        skipping.rule.gaps = gaps;
        for (const double unit : {1.0, 0.5, 3.7e-9}) {
            skipping.unit = unit;
            for (const double reach : {0.0, 1e-30, 1.0, 123.456, 1e20}) {
                const float largest = skipping.largest_gaps(reach);
                const double exact = reach / unit;
                CHECK(largest >= exact * (1.0 + gap_rounding) && largest >= gap_underflow);
                CHECK(largest <= exact * (1.0 + 4.0 * gap_rounding) + 2.0 * gap_underflow);
            }
            // a map that lets a distance of rows be off by so much
            skipping.mapping = 0.25;
            const double length = std::sqrt(2.0) + (gaps == Gaps::squares ? 0.25 : 0.0);
            const double mapped = gaps == Gaps::squares ? length * length / unit : 2.0 / unit;
            CHECK(skipping.largest_gaps(2.0) >= mapped * (1.0 + gap_rounding));
            CHECK(skipping.largest_gaps(2.0) <= mapped * (1.0 + 4.0 * gap_rounding));
            skipping.mapping = 0.0;
            CHECK(skipping.largest_gaps(INFINITY) == INFINITY);
            CHECK(skipping.largest_gaps(NAN) == INFINITY);
            CHECK(skipping.largest_gaps(-1.0) >= 0.0f);
        }
    }
}

}  // namespace
