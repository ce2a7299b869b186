// Monoid laws of every fold: an identity, and an answer that does not depend on how states merge.
// Exact for counts, the k best and the largest ratio, within 4 ulp for float sums and products.
#include <algorithm>
#include <array>
#include <sstream>

#include "check.hpp"
#include "pairtile/fold/histogram.hpp"
#include "pairtile/fold/log_sum_exp.hpp"
#include "pairtile/fold/max_ratio.hpp"
#include "pairtile/fold/moments.hpp"
#include "pairtile/fold/predicate.hpp"
#include "pairtile/fold/product.hpp"
#include "pairtile/fold/rank.hpp"
#include "pairtile/fold/softmax_weight.hpp"
#include "pairtile/fold/sum.hpp"
#include "pairtile/fold/top_k.hpp"

namespace {

using namespace check;
using pairtile::Bins;
using pairtile::histogram_merge;
using pairtile::histogram_push;
using pairtile::LogSumExp;
using pairtile::MaxRatio;
using pairtile::Moments;
using pairtile::Neighbor;
using pairtile::Predicate;
using pairtile::Product;
using pairtile::Rank;
using pairtile::Sum;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double fold_bound = 4.0;  // ulp

template <class Fold>
Fold merged(Fold a, const Fold& b) {
    a.merge(b);
    return a;
}

template <class Fold>
Fold pushed(const std::vector<double>& values) {
    Fold state;
    for (const double value : values) state.push(value);
    return state;
}

// The values in pieces, each folded by itself and the pieces merged in the order of a random tree.
template <class Fold>
Fold in_random_pieces(Random& random, const std::vector<double>& values) {
    std::vector<Fold> states;
    for (size_t i = 0; i < values.size();) {
        const size_t end = std::min(values.size(), i + static_cast<size_t>(integer(random, 1, 9)));
        states.push_back(pushed<Fold>({values.begin() + static_cast<int64_t>(i),
                                       values.begin() + static_cast<int64_t>(end)}));
        i = end;
        if (integer(random, 0, 4) == 0) states.emplace_back();  // an empty piece
    }
    if (states.empty()) return {};
    while (states.size() > 1) {
        const size_t at =
            static_cast<size_t>(integer(random, 0, static_cast<int64_t>(states.size()) - 2));
        states[at].merge(states[at + 1]);
        states.erase(states.begin() + static_cast<int64_t>(at) + 1);
    }
    return states[0];
}

// --- sums ---

TEST(sums_obey_the_monoid_laws) {
    Random random(1);
    for (int round = 0; round < 20'000; ++round) {
        std::array<Sum, 3> s;
        for (Sum& sum : s) {
            sum.push(
                std::ldexp(uniform(random, 0.0, 1.0), static_cast<int>(integer(random, -20, 20))));
        }
        const Sum& a = s[0];
        CHECK(merged(a, Sum{}).value == a.value);
        CHECK(merged(Sum{}, a).value == a.value);
        CHECK(merged(s[0], s[1]).value == merged(s[1], s[0]).value);
        const double left = merged(merged(s[0], s[1]), s[2]).finish();
        const double right = merged(s[0], merged(s[1], s[2])).finish();
        CHECK(ulps(left, static_cast<long double>(right)) <= fold_bound, left, right);
    }
    CHECK(Sum{}.finish() == 0.0);
    CHECK(merged(pushed<Sum>({1.0}), pushed<Sum>({infinity})).finish() == infinity);
    CHECK(std::isnan(merged(pushed<Sum>({not_a_number}), pushed<Sum>({1.0})).finish()));
    CHECK(std::isnan(merged(pushed<Sum>({1.0}), pushed<Sum>({not_a_number})).finish()));
}

// --- moments ---

TEST(moments_obey_the_monoid_laws) {
    Random random(12);
    for (int round = 0; round < 5000; ++round) {
        std::vector<double> values(static_cast<size_t>(integer(random, 0, 30)));
        Sum sum, squares;
        for (double& value : values) {
            value = static_cast<double>(integer(random, -1000, 1000));  // exact in any order
            sum.push(value);
            squares.push(value * value);
        }
        for (const Moments& all :
             {pushed<Moments>(values), in_random_pieces<Moments>(random, values)}) {
            CHECK(all.sum == sum.finish(), all.sum, sum.finish());
            CHECK(all.squares == squares.finish(), all.squares, squares.finish());
        }
    }
    CHECK(std::isnan(merged(pushed<Moments>({not_a_number}), pushed<Moments>({1.0})).squares));
}

// --- products ---

TEST(products_obey_the_monoid_laws) {
    Random random(8);
    for (int round = 0; round < 20'000; ++round) {
        std::array<Product, 3> p;
        for (Product& product : p) {
            product.push(
                std::ldexp(uniform(random, 0.5, 1.0), -static_cast<int>(integer(random, 0, 300))));
        }
        const Product& a = p[0];
        CHECK(merged(a, Product{}).value == a.value);
        CHECK(merged(Product{}, a).value == a.value);
        CHECK(merged(p[0], p[1]).value == merged(p[1], p[0]).value);
        const double left = merged(merged(p[0], p[1]), p[2]).finish();
        const double right = merged(p[0], merged(p[1], p[2])).finish();
        CHECK(ulps(left, static_cast<long double>(right)) <= fold_bound, left, right);
    }
    CHECK(Product{}.finish() == 1.0);
    CHECK(pushed<Product>({1.0, 0.0, 0.5}).finish() == 0.0);
    CHECK(1.0 - pushed<Product>(std::vector<double>(3000, 0.5)).finish() == 1.0);  // underflows
    CHECK(std::isnan(merged(pushed<Product>({not_a_number}), pushed<Product>({0.5})).finish()));
}

// --- largest ratios ---

TEST(largest_ratios_obey_the_monoid_laws) {
    Random random(9);
    for (int round = 0; round < 5000; ++round) {
        // few distinct numbers, so that ratios tie and both may be 0
        std::vector<double> radius(static_cast<size_t>(integer(random, 0, 30))),
            distance(radius.size());
        double largest = 0.0;
        for (size_t i = 0; i < radius.size(); ++i) {
            radius[i] = static_cast<double>(integer(random, 0, 4));
            distance[i] = static_cast<double>(integer(random, i % 7 ? 1 : 0, 5));
            if (integer(random, 0, 20) == 0) radius[i] = distance[i] = infinity;
            if (integer(random, 0, 20) == 0) distance[i] = not_a_number;
            const double ratio = distance[i] == 0.0 ? infinity : radius[i] / distance[i];
            if (ratio > largest) largest = ratio;
        }
        const auto fold = [&](size_t begin, size_t end) {
            MaxRatio state;
            for (size_t i = begin; i < end; ++i) state.push(radius[i], distance[i]);
            return state;
        };
        const size_t i =
            static_cast<size_t>(integer(random, 0, static_cast<int64_t>(radius.size())));
        const size_t j = static_cast<size_t>(
            integer(random, static_cast<int64_t>(i), static_cast<int64_t>(radius.size())));
        const MaxRatio a = fold(0, i), b = fold(i, j), c = fold(j, radius.size());
        for (const MaxRatio& state :
             {fold(0, radius.size()), merged(merged(a, b), c), merged(a, merged(b, c)),
              merged(c, merged(b, a)), merged(merged(MaxRatio{}, merged(a, b)), c)}) {
            CHECK(state.finish() == largest, state.finish(), largest);
        }
    }
    MaxRatio copy;
    copy.push(0.0, 0.0);
    CHECK(copy.finish() == infinity);
}

// --- log-sum-exp ---

// In units of the last place of the numbers that make it, max and log of the sum.
double difference(const LogSumExp& a, const LogSumExp& b) {
    const double x = a.finish(), y = b.finish();
    if (x == y || (std::isnan(x) && std::isnan(y))) return 0.0;
    if (!std::isfinite(x) || !std::isfinite(y)) return infinity;
    const double size = std::max({std::fabs(x), std::fabs(a.max), std::fabs(b.max), 1.0});
    return std::fabs(x - y) /
           (std::numeric_limits<double>::epsilon() * std::ldexp(1.0, std::ilogb(size)));
}

long double exact_log_sum_exp(const std::vector<double>& values) {
    long double top = -infinity, sum = 0.0L;
    for (const double value : values) top = std::max<long double>(top, value);
    if (std::isinf(top)) return top;
    for (const double value : values) sum += std::exp(static_cast<long double>(value) - top);
    return top + std::log(sum);
}

LogSumExp random_state(Random& random, double spread, double share_of_infinities) {
    std::vector<double> values(static_cast<size_t>(integer(random, 0, 4)));
    for (double& value : values) {
        value = spread * normal(random);
        if (uniform(random, 0.0, 1.0) < share_of_infinities) value = -infinity;
    }
    return pushed<LogSumExp>(values);
}

void log_sum_exp_laws(double spread, double share_of_infinities) {
    Random random(2);
    const auto name = [](const LogSumExp& s) {
        std::ostringstream out;
        out << '(' << s.max << ", " << s.sum << ')';
        return out.str();
    };
    for (int round = 0; round < 50'000; ++round) {
        const LogSumExp a = random_state(random, spread, share_of_infinities),
                        b = random_state(random, spread, share_of_infinities),
                        c = random_state(random, spread, share_of_infinities);
        const LogSumExp before = merged(LogSumExp{}, a), after = merged(a, LogSumExp{});
        CHECK(difference(before, a) == 0.0, name(a));
        CHECK(difference(after, a) == 0.0, name(a));
        CHECK(difference(merged(a, b), merged(b, a)) <= fold_bound, name(a), name(b));
        CHECK(difference(merged(merged(a, b), c), merged(a, merged(b, c))) <= fold_bound, name(a),
              name(b), name(c));
    }
}

TEST(log_sum_exp_obeys_the_monoid_laws) {
    for (const double spread : {0.1, 1.0, 30.0, 1e3, 1e6}) log_sum_exp_laws(spread, 0.0);
}

TEST(log_sum_exp_obeys_the_monoid_laws_with_masked_pairs) { log_sum_exp_laws(3.0, 0.5); }

TEST(log_sum_exp_is_the_logarithm_of_the_sum) {
    Random random(3);
    for (int round = 0; round < 3000; ++round) {
        std::vector<double> values(static_cast<size_t>(integer(random, 1, 300)));
        const double spread = std::exp(uniform(random, -3.0, 8.0));
        const double offset = 1e3 * normal(random);
        for (double& value : values) value = offset + spread * normal(random);
        if (round % 5 == 0 && values.size() > 1) values[0] = -infinity;
        const LogSumExp state = in_random_pieces<LogSumExp>(random, values);
        const long double exact = exact_log_sum_exp(values);
        // the sum of n terms near 1 may be off by n roundings, of which the logarithm takes a share
        const double size = std::max<double>(std::fabs(state.max), 1.0);
        const double error = static_cast<double>(std::fabs(state.finish() - exact)) / size;
        CHECK(error <= 60 * roundoff<double>, values.size(), "values, off by", error);
        CHECK(state.max == *std::max_element(values.begin(), values.end()));
        CHECK(state.sum >= 1.0);
    }
}

TEST(log_sum_exp_of_extremes) {
    CHECK(LogSumExp{}.finish() == -infinity);
    CHECK(pushed<LogSumExp>({-infinity}).finish() == -infinity);
    CHECK(pushed<LogSumExp>({-infinity, -infinity, -infinity}).finish() == -infinity);
    CHECK(pushed<LogSumExp>({infinity}).finish() == infinity);
    CHECK(pushed<LogSumExp>({infinity, infinity}).finish() == infinity);
    CHECK(pushed<LogSumExp>({1.0, infinity, -infinity, 2.0}).finish() == infinity);
    CHECK(pushed<LogSumExp>({5.0}).finish() == 5.0);
    CHECK(pushed<LogSumExp>({-1e300, 1e300}).finish() == 1e300);
    CHECK(pushed<LogSumExp>({1e300, 1e300}).finish() == 1e300);
    const LogSumExp masked = pushed<LogSumExp>({-infinity, -infinity});
    const LogSumExp two = pushed<LogSumExp>({1.0, 1.0});
    const double expected = 1.0 + std::log(2.0);
    CHECK(ulps<double>(merged(two, masked).finish(), expected) <= fold_bound,
          merged(two, masked).finish());
    CHECK(ulps<double>(merged(masked, two).finish(), expected) <= fold_bound,
          merged(masked, two).finish());
}

TEST(log_sum_exp_never_loses_a_nan) {
    for (const std::vector<double>& values : {std::vector<double>{not_a_number},
                                              {not_a_number, 1.0},
                                              {1.0, not_a_number},
                                              {1.0, not_a_number, 2.0},
                                              {3.0, not_a_number, 2.0},
                                              {not_a_number, -infinity},
                                              {-infinity, not_a_number, 0.0}}) {
        const LogSumExp state = pushed<LogSumExp>(values);
        CHECK(std::isnan(state.finish()), values[0], values.size(), "values:", state.finish());
        const LogSumExp rest = pushed<LogSumExp>({1.0, 4.0});
        CHECK(std::isnan(merged(state, rest).finish()), values[0], values.size(),
              "values, then numbers");
        CHECK(std::isnan(merged(rest, state).finish()), values[0], values.size(),
              "values, after numbers");
    }
}

// --- histograms ---

TEST(histograms_obey_the_monoid_laws) {
    Random random(6);
    for (int round = 0; round < 2000; ++round) {
        std::vector<double> limits(static_cast<size_t>(integer(random, 0, 6)));
        for (double& limit : limits) limit = static_cast<double>(integer(random, -4, 4));
        std::sort(limits.begin(), limits.end());
        const Bins bins{limits.data(), static_cast<int64_t>(limits.size()) + 1};
        std::vector<double> values(static_cast<size_t>(integer(random, 0, 60)));
        for (double& value : values) {
            value = 0.5 * static_cast<double>(integer(random, -10, 10));
            if (integer(random, 0, 20) == 0) value = integer(random, 0, 1) ? infinity : -infinity;
        }
        using Counts = std::vector<int64_t>;
        const auto fold = [&](size_t begin, size_t end) {
            Counts counts(limits.size() + 1);
            for (size_t i = begin; i < end; ++i) {
                const int64_t bin = bins.of(values[i]);
                CHECK(bins.of(values[i], integer(random, 0, bin)) == bin, values[i], bin);
                histogram_push(counts.data(), bin);
            }
            return counts;
        };
        const auto joined = [&](Counts a, const Counts& b) {
            histogram_merge(a.data(), b.data(), bins.count);
            return a;
        };
        const size_t i =
            static_cast<size_t>(integer(random, 0, static_cast<int64_t>(values.size())));
        const Counts a = fold(0, i), b = fold(i, values.size());
        Counts expected(limits.size() + 1);
        for (const double value : values) {
            ++expected[static_cast<size_t>(std::lower_bound(limits.begin(), limits.end(), value) -
                                           limits.begin())];
        }
        for (const Counts& counts : {fold(0, values.size()), joined(a, b), joined(b, a),
                                     joined(expected, Counts(expected.size()))}) {
            CHECK(counts == expected, round);
        }
    }
}

// --- ranks ---

TEST(ranks_obey_the_monoid_laws) {
    Random random(4);
    for (int round = 0; round < 5000; ++round) {
        const double low = static_cast<double>(integer(random, -3, 3)),
                     high = low + static_cast<double>(integer(random, 0, 3));
        std::vector<double> values(static_cast<size_t>(integer(random, 0, 60)));
        for (double& value : values) {
            value = static_cast<double>(integer(random, -5, 5));
            if (integer(random, 0, 20) == 0) value = integer(random, 0, 1) ? infinity : -infinity;
        }
        const auto fold = [&](size_t begin, size_t end) {
            Rank rank{low, high};
            for (size_t i = begin; i < end; ++i) rank.push(values[i]);
            return rank;
        };
        const size_t i =
            static_cast<size_t>(integer(random, 0, static_cast<int64_t>(values.size())));
        const size_t j = static_cast<size_t>(
            integer(random, static_cast<int64_t>(i), static_cast<int64_t>(values.size())));
        const Rank a = fold(0, i), b = fold(i, j), c = fold(j, values.size()),
                   all = fold(0, values.size());
        const int64_t below =
            std::count_if(values.begin(), values.end(), [=](double v) { return v < low; });
        const int64_t inside = std::count_if(values.begin(), values.end(),
                                             [=](double v) { return v >= low && v <= high; });
        for (const Rank& rank :
             {all, merged(merged(a, b), c), merged(a, merged(b, c)), merged(c, merged(b, a)),
              merged(all, Rank{low, high}), merged(Rank{low, high}, all)}) {
            CHECK(rank.below == below, rank.below, below);
            CHECK(rank.inside == inside, rank.inside, inside);
            CHECK(rank.low == low && rank.high == high);
        }
    }
    Rank rank{0.0, 1.0};
    rank.push(not_a_number);
    CHECK(rank.below == 0 && rank.inside == 0);
}

// --- the k best ---

bool same(const Neighbor& a, const Neighbor& b) { return a.value == b.value && a.index == b.index; }

TEST(the_order_of_neighbours_is_total) {
    const std::vector<Neighbor> some = {{-infinity, 4}, {-1.0, 2}, {-0.0, 1},    {0.0, 1},
                                        {0.0, 3},       {2.0, 0},  {infinity, 5}};
    for (const Neighbor& a : some) {
        for (const Neighbor& b : some) {
            CHECK(!(a.before(b) && b.before(a)));
            CHECK(a.before(b) || b.before(a) || same(a, b), a.value, a.index, b.value, b.index);
        }
        CHECK(!a.before(a));
    }
}

// --- scalar maps ---

TEST(predicates_ask_only_what_they_were_given) {
    const int64_t groups[] = {1, 1, 2};
    const double times[] = {0.0, 1.0, 2.0};
    const int64_t ticks[] = {0, int64_t{1} << 60,
                             (int64_t{1} << 60) + 1};  // doubles merge the last two
    const bool mask[] = {true, false, true};
    const auto admitted = [](const Predicate& p) {
        std::string found;
        for (int64_t i = 0; i < 3; ++i) {
            for (int64_t j = 0; j < 3; ++j) found += p.admits(i, j) ? '1' : '0';
        }
        return found;
    };
    Predicate p;
    CHECK(admitted(p) == "111111111");
    p.exclude_self = true;
    CHECK(admitted(p) == "011101110");
    p.reference_mask = mask;
    CHECK(admitted(p) == "001101100");
    p = {};
    p.query_groups = p.reference_groups = groups;
    CHECK(admitted(p) == "001001110");
    p.same_group = true;
    CHECK(admitted(p) == "110110001");
    p = {};
    p.query_times = p.reference_times = times;
    CHECK(admitted(p) == "100110111");
    p = {};
    p.query_ticks = p.reference_ticks = ticks;
    CHECK(admitted(p) == "100110111");
}

TEST(softmax_weights_of_pairs) {
    using pairtile::softmax_weight;
    CHECK(softmax_weight(3.0, 2.0, 3.0, 0.0) == 2.0);
    CHECK(softmax_weight(-infinity, 2.0, 3.0, 0.5) == 0.0);
    // the largest logit and the rest apart: log 2 survives beside 1e9
    CHECK(ulps<float>(softmax_weight(1e9f, 1.0f, 1e9f, 0.6931472f), 0.5L) <= 4.0);
}

}  // namespace
