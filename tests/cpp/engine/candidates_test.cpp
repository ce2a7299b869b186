// The cuts of a list of candidates against a sort.
#include "engine/candidates.hpp"

#include <algorithm>
#include <utility>

#include "check.hpp"
#include "engine/isa.hpp"

namespace {

using namespace check;
using pairtile::Candidates;
using pairtile::Ops;

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

// Ties, signs, zeros of both signs, numbers next to each other and infinities.
template <class T>
std::vector<T> hard_values(Random& random, int64_t n, int64_t kind) {
    std::vector<T> values(static_cast<size_t>(n));
    for (T& value : values) {
        const T some = static_cast<T>(normal(random));
        const T few = static_cast<T>(integer(random, -2, 2));
        switch (kind) {
            case 0:
                value = some;
                break;
            case 1:
                value = few;
                break;
            case 2:
                value = T(7);
                break;
            case 3:
                value = few == T(0) ? std::copysign(T(0), some) : few;
                break;
            case 4:
                value = few == T(2) ? infinity<T> : few == T(-2) ? -infinity<T> : some;
                break;
            case 5:
                value = T(1) + few * std::numeric_limits<T>::epsilon();
                break;
            default:
                value = std::ldexp(some, static_cast<int>(integer(random, -120, 120)));
        }
    }
    return values;
}

template <class T>
void check_cuts(Random& random, int64_t n, int64_t k, int64_t kind) {
    using Rest = typename Candidates<T>::Rest;
    const Ops<T>& ops = pairtile::ops_of<T>(pairtile::isa());
    const std::vector<T> values = hard_values<T>(random, n, kind);
    std::vector<T> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const T kth = sorted[static_cast<size_t>(k - 1)];

    const T limit = pairtile::cut_at(ops, values.data(), static_cast<int>(n), k);
    const int64_t within = std::upper_bound(sorted.begin(), sorted.end(), limit) - sorted.begin();
    CHECK(limit >= kth, n, k, kind, limit, kth);
    CHECK(within == k || limit == kth, n, k, kind, within, limit, kth);

    // in any order of indices, as where a tile serves its columns
    std::vector<std::pair<T, uint32_t>> pairs;
    std::vector<Rest> rest;
    for (const T value : values) {
        rest.push_back({value, static_cast<uint32_t>(rest.size())});
    }
    std::shuffle(rest.begin(), rest.end(), random);
    std::vector<T> high;
    for (const Rest& one : rest) {
        high.push_back(one.low);
        pairs.push_back({one.low, one.index});
    }
    std::sort(pairs.begin(), pairs.end());
    pairs.resize(static_cast<size_t>(k));
    Candidates<T> exact{high.data(), rest.data(), n};
    T bound = infinity<T>;
    const uint32_t last = exact.cut_in_order(ops, k, bound);
    CHECK(exact.count == k, n, k, kind, exact.count);
    CHECK(bound == kth && last == pairs.back().second, n, k, kind, bound, kth, last);
    std::vector<std::pair<T, uint32_t>> kept;
    for (int64_t c = 0; c < exact.count; ++c) {
        kept.push_back({exact.high[c], exact.rest[c].index});
    }
    std::sort(kept.begin(), kept.end());
    CHECK(kept == pairs, n, k, kind);

    // with an error, whatever may be below the k-th upper end stays, in its order
    high = values;
    rest.clear();
    for (const T value : values) {
        rest.push_back(
            {value - static_cast<T>(uniform(random, 0, 1)), static_cast<uint32_t>(rest.size())});
    }
    const std::vector<Rest> before = rest;
    Candidates<T> rough{high.data(), rest.data(), n};
    bound = infinity<T>;
    rough.cut(ops, k, bound);
    CHECK(bound == limit, n, k, kind, bound, limit);
    int64_t at = 0;
    for (const Rest& one : before) {
        if (!(one.low <= limit)) continue;
        CHECK(at < rough.count && rough.rest[at].index == one.index &&
                  rough.high[at] == values[one.index],
              n, k, kind, at);
        ++at;
    }
    CHECK(at == rough.count, n, k, kind, at, rough.count);
}

TEST(cuts_of_a_list) {
    pairtile::choose_isa("");
    Random random(7);
    for (const int64_t n : {1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 64, 65, 200, 1000}) {
        for (const int64_t k : {int64_t{1}, int64_t{2}, n / 2, n - 1, n}) {
            if (k < 1 || k > n) continue;
            for (int64_t kind = 0; kind < 7; ++kind) {
                check_cuts<float>(random, n, k, kind);
                check_cuts<double>(random, n, k, kind);
            }
        }
    }
}

// Values that are no number, of rows that were damaged or changed: some of the list, nothing else.
template <class T>
void check_cut_without_numbers(int64_t numbers) {
    using Rest = typename Candidates<T>::Rest;
    const T none = std::numeric_limits<T>::quiet_NaN();
    std::vector<T> high(16, none);
    std::vector<Rest> rest;
    for (uint32_t i = 0; i < 16; ++i) rest.push_back({none, i});
    std::fill_n(high.begin(), numbers, T(1));
    Candidates<T> list{high.data(), rest.data(), 16};
    T bound = infinity<T>;
    list.cut_in_order(pairtile::ops_of<T>(pairtile::isa()), 10, bound);
    CHECK(list.count == numbers, numbers, list.count);
}

TEST(cuts_of_a_list_that_holds_no_numbers) {
    for (const int64_t numbers : {0, 1, 9}) {
        check_cut_without_numbers<float>(numbers);
        check_cut_without_numbers<double>(numbers);
    }
}

template <class T>
void check_order(T value) {
    const auto at = pairtile::ordinal_of(value);
    CHECK(pairtile::number_at<T>(at) == value, value);
    CHECK(pairtile::number_at<T>(at + 1) == std::nextafter(value, infinity<T>), value);
    CHECK(pairtile::number_at<T>(at - 1) == std::nextafter(value, -infinity<T>), value);
}

TEST(numbers_in_order) {
    for (const double value : {1.0, -1.0, 1e-30, -1e-30, 3e38, -3e38}) {
        check_order(value);
        check_order(static_cast<float>(value));
    }
}

}  // namespace
