// The parts of the quicksort on every instruction set that this processor has, and the sorts built
// of them, against std::stable_sort.
#include "slices/sort.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "check.hpp"

namespace {

using namespace check;
using namespace pairtile;

// Those that add products of bytes or of bfloat16 to another sort as it does, and are left out.
template <class Body>
void for_each_isa(Body body) {
    for (const IsaOps* one : supported_isas()) {
        if (std::string(one->name).find('-') != std::string::npos) continue;
        choose_isa(one->name);
        body(std::string(one->name));
    }
}

constexpr auto no_poll = [](int64_t, int64_t) {};

// Keys from 0 to `largest`, both of which occur in long lists.
template <class K>
std::vector<K> random_keys(Random& random, int64_t n, K largest = ~K(0)) {
    std::vector<K> keys(static_cast<size_t>(n));
    for (K& key : keys) key = std::uniform_int_distribution<K>(0, largest)(random);
    if (n > 1) keys[keys.size() / 2] = 0, keys[keys.size() / 3] = largest;
    return keys;
}

template <class T>
std::vector<T> values_of(const std::string& shape, int64_t n, Random& random);

// A list with room on both sides that nobody may touch.
template <class K>
class Guarded {
  public:
    static constexpr size_t guard = 64;

    explicit Guarded(const std::vector<K>& keys) : memory_(keys.size() + 2 * guard, mark) {
        std::copy(keys.begin(), keys.end(), data());
    }
    K* data() { return memory_.data() + guard; }
    std::vector<K> keys() const {
        return {memory_.begin() + guard, memory_.end() - static_cast<int64_t>(guard)};
    }
    bool intact() const {
        const auto marked = [](K key) { return key == mark; };
        return std::all_of(memory_.begin(), memory_.begin() + guard, marked) &&
               std::all_of(memory_.end() - static_cast<int64_t>(guard), memory_.end(), marked);
    }

  private:
    static constexpr K mark = static_cast<K>(0x5a5a5a5a5a5a5a5aull);
    std::vector<K> memory_;
};

template <class K>
std::vector<K> sorted(std::vector<K> keys) {
    std::sort(keys.begin(), keys.end());
    return keys;
}

template <class K>
void check_sort_few(const std::string& isa, Random& random) {
    const SortOps<K>& ops = sorting_of<K>(pairtile::isa());
    CHECK(ops.few >= 16, isa);
    for (int n = 0; n <= ops.few; ++n) {
        for (const K largest : {~K(0), K(1), K(7)}) {
            const std::vector<K> keys = random_keys<K>(random, n, largest), wanted = sorted(keys);
            Guarded<K> from(keys), to(std::vector<K>(keys.size(), 0));
            ops.sort_few(from.data(), n, to.data());
            CHECK(to.keys() == wanted && to.intact(), isa, n, "apart");
            CHECK(from.keys() == keys && from.intact(), isa, n, "source");
            ops.sort_few(from.data(), n, from.data());
            CHECK(from.keys() == wanted && from.intact(), isa, n, "in place");
        }
    }
}

TEST(a_few_keys_are_sorted_in_registers) {
    Random random(1);
    for_each_isa([&](const std::string& isa) {
        check_sort_few<uint32_t>(isa + " 32", random);
        check_sort_few<uint64_t>(isa + " 64", random);
    });
}

template <class T>
void check_to_keys(const std::string& isa, Random& random) {
    using K = Key<T>;
    for (int64_t n = 0; n < 70; ++n) {
        const std::vector<T> values = values_of<T>("special", n, random);
        std::vector<K> bits(values.size()), wanted;
        for (size_t i = 0; i < values.size(); ++i) std::memcpy(&bits[i], &values[i], sizeof(K));
        for (const T value : values) wanted.push_back(key_of_value(value));
        Guarded<K> list(bits);
        Guarded<K> apart(std::vector<K>(bits.size()));
        sorting_of<K>(pairtile::isa()).to_keys(list.data(), n, apart.data());
        CHECK(apart.keys() == wanted && apart.intact(), isa, n, "apart");
        CHECK(list.keys() == bits && list.intact(), isa, n, "source");
        sorting_of<K>(pairtile::isa()).to_keys(list.data(), n, list.data());
        CHECK(list.keys() == wanted && list.intact(), isa, n, "in place");
    }
}

TEST(values_become_keys) {
    Random random(9);
    for_each_isa([&](const std::string& isa) {
        check_to_keys<float>(isa + " float", random);
        check_to_keys<double>(isa + " double", random);
    });
}

// A network that sorts lists of zeros and ones sorts any: ones at every place and in every number.
template <class K>
void check_zeros_and_ones(const std::string& isa) {
    const SortOps<K>& ops = sorting_of<K>(pairtile::isa());
    // 7 and n have no divisor in common
    const auto n = static_cast<size_t>(ops.few);
    for (size_t begin = 0; begin < n; ++begin) {
        for (size_t length = 1; length <= n; ++length) {
            std::vector<K> keys(n, 0);
            for (size_t i = 0; i < length; ++i) keys[(begin + i * 7) % n] = ~K(0);
            const std::vector<K> wanted = sorted(keys);
            ops.sort_few(keys.data(), ops.few, keys.data());
            CHECK(keys == wanted, isa, begin, length);
        }
    }
}

TEST(networks_sort_zeros_and_ones) {
    for_each_isa([](const std::string& isa) {
        check_zeros_and_ones<uint32_t>(isa + " 32");
        check_zeros_and_ones<uint64_t>(isa + " 64");
    });
}

template <class K>
void check_partition(const std::string& isa, Random& random, int64_t n, K pivot, K largest) {
    const std::vector<K> keys = random_keys<K>(random, n, largest);
    Guarded<K> list(keys);
    const int64_t low = sorting_of<K>(pairtile::isa()).partition(list.data(), n, pivot);
    const auto below = [pivot](K key) { return key <= pivot; };
    CHECK(low == std::count_if(keys.begin(), keys.end(), below), isa, n, pivot);
    CHECK(list.intact(), isa, n);
    CHECK(std::all_of(list.data(), list.data() + low, below), isa, n);
    CHECK(std::none_of(list.data() + low, list.data() + n, below), isa, n);
    CHECK(sorted(list.keys()) == sorted(keys), isa, n);
}

TEST(partition_sends_keys_to_both_ends) {
    Random random(2);
    for_each_isa([&](const std::string& isa) {
        for (int64_t n = 0; n <= 700; ++n) {
            const auto any32 = random_keys<uint32_t>(random, 1)[0];
            const auto any64 = random_keys<uint64_t>(random, 1)[0];
            check_partition<uint32_t>(isa + " 32", random, n, any32, ~0u);
            check_partition<uint32_t>(isa + " 32", random, n, 1, 2);
            check_partition<uint32_t>(isa + " 32", random, n, ~0u, ~0u);
            check_partition<uint32_t>(isa + " 32", random, n, 0, ~0u);
            check_partition<uint64_t>(isa + " 64", random, n, any64, ~0ull);
            check_partition<uint64_t>(isa + " 64", random, n, 1, 2);
            check_partition<uint64_t>(isa + " 64", random, n, ~0ull, ~0ull);
            check_partition<uint64_t>(isa + " 64", random, n, 0, ~0ull);
        }
    });
}

template <class K>
void check_pivot(const std::string& isa, Random& random) {
    const SortOps<K>& ops = sorting_of<K>(pairtile::isa());
    for (const int64_t n : {int64_t{ops.few} + 1, int64_t{1000}, int64_t{100000}}) {
        for (const bool in_order : {false, true}) {
            std::vector<K> keys = random_keys<K>(random, n);
            if (in_order) keys = sorted(keys);
            const K pivot = ops.pivot(keys.data(), n);
            CHECK(std::count(keys.begin(), keys.end(), pivot) > 0, isa, n);
            const auto low =
                std::count_if(keys.begin(), keys.end(), [pivot](K key) { return key <= pivot; });
            CHECK(low > n / 8 && low < n - n / 8, isa, n, low, in_order);
        }
    }
}

TEST(pivots_are_keys_near_the_middle) {
    Random random(8);
    for_each_isa([&](const std::string& isa) {
        check_pivot<uint32_t>(isa + " 32", random);
        check_pivot<uint64_t>(isa + " 64", random);
    });
}

// --- whole lists ---

// The shapes that quicksorts have come to grief over.
const std::vector<std::string> shapes = {"normal",     "ascending", "descending",  "equal",
                                         "two values", "few",       "organ pipe",  "median killer",
                                         "blocks",     "outlier",   "exponential", "special",
                                         "last digits"};

template <class T>
std::vector<T> values_of(const std::string& shape, int64_t n, Random& random) {
    std::vector<T> values(static_cast<size_t>(n));
    const double infinity = std::numeric_limits<double>::infinity();
    const double special[] = {0.0, -0.0, infinity, -infinity, 5e-324, -5e-324, 1e-45,    -1e-45,
                              1.0, -1.0, 1e38,     -1e38,     NAN,    -NAN,    2.5e-308, 1e-40};
    for (int64_t i = 0; i < n; ++i) {
        double value = normal(random);
        if (shape == "ascending") value = static_cast<double>(i);
        if (shape == "descending") value = static_cast<double>(-i);
        if (shape == "equal") value = 2.5;
        if (shape == "two values") value = static_cast<double>(integer(random, 0, 1));
        if (shape == "few") value = static_cast<double>(integer(random, -3, 3));
        if (shape == "organ pipe") value = static_cast<double>(std::min(i, n - i));
        if (shape == "median killer") {
            const int64_t half = n / 2;
            value = static_cast<double>(i >= half ? 2 * (i - half) : i % 2 ? half + i : i);
        }
        if (shape == "blocks") value = static_cast<double>(i % 64);
        if (shape == "outlier") value = i == n / 3 ? 1e30 : 1.0 + 1e-6 * value;
        if (shape == "last digits") {
            value =
                i == n / 3 ? -1e30 : 1.0 + 0x1p-52 * static_cast<double>(integer(random, 0, 200));
        }
        if (shape == "exponential") value = std::exp(20 * value);
        if (shape == "special") value = special[integer(random, 0, 15)];
        values[static_cast<size_t>(i)] = static_cast<T>(value);
    }
    return values;
}

template <class T>
std::vector<Bare<T>> bare(const std::vector<T>& values) {
    std::vector<Bare<T>> items(values.size());
    for (size_t i = 0; i < items.size(); ++i) items[i].key = key_of_value(values[i]);
    return items;
}
template <class T>
std::vector<Ranked<T>> ranked(const std::vector<T>& values) {
    std::vector<Ranked<T>> items(values.size());
    for (size_t i = 0; i < items.size(); ++i) {
        items[i] = Ranked<T>(key_of_value(values[i]), static_cast<uint32_t>(i));
    }
    return items;
}

template <class Item>
bool same(const Item& a, const Item& b) {
    if constexpr (requires { a.row; }) {
        if (a.row != b.row) return false;
    }
    return a.key == b.key;
}

template <class Item>
void check_sorted(std::vector<Item> items, const std::string& what, const Tick& tick) {
    std::vector<Item> wanted = items, scratch(items.size());
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const Item& a, const Item& b) { return a.key < b.key; });
    const Item* got =
        sort_items(items.data(), scratch.data(), static_cast<int64_t>(items.size()), tick);
    CHECK(items.empty() || got == items.data() || got == scratch.data(), what);
    CHECK(std::equal(wanted.begin(), wanted.end(), got, same<Item>), what, items.size());
}

template <class T>
void check_all_items(const std::vector<T>& values, const std::string& what) {
    Control control(no_poll);
    const Tick tick{control, 0};
    check_sorted(bare(values), what + " keys", tick);
    check_sorted(ranked(values), what + " keys and rows", tick);
}

TEST(lists_of_every_small_size_are_sorted) {
    Random random(3);
    for_each_isa([&](const std::string& isa) {
        for (int64_t n = 0; n <= 1030; ++n) {
            check_all_items(values_of<float>("normal", n, random), isa + " float");
            check_all_items(values_of<double>("few", n, random), isa + " double");
            check_all_items(values_of<double>("last digits", n, random), isa + " last digits");
        }
    });
}

TEST(lists_of_every_shape_are_sorted_and_ties_keep_their_order) {
    Random random(4);
    for_each_isa([&](const std::string& isa) {
        for (const std::string& shape : shapes) {
            for (const int64_t n : {1000, 2048, 2049, 70000}) {
                check_all_items(values_of<float>(shape, n, random), isa + " float " + shape);
                check_all_items(values_of<double>(shape, n, random), isa + " double " + shape);
            }
        }
    });
}

TEST(bad_pivots_end_in_a_sort_by_comparing) {
    Random random(5);
    Control control(no_poll);
    const Tick tick{control, 0};
    for_each_isa([&](const std::string& isa) {
        for (int depth = 0; depth < 5; ++depth) {
            const auto keys = random_keys<uint64_t>(random, 5000);
            Guarded<uint64_t> list(keys);
            Quicksort<uint64_t>(tick).sort(list.data(), 5000, depth);
            CHECK(list.keys() == sorted(keys), isa, depth);
            CHECK(list.intact(), isa, depth);
        }
    });
}

template <class Item>
void check_together(std::vector<Item> items, const std::string& what) {
    std::vector<Item> wanted = items;
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const Item& a, const Item& b) { return a.key < b.key; });
    for (const int workers : {1, 3}) {
        std::vector<Item> list = items, scratch(items.size());
        Control control(no_poll, workers);
        const Item* got = sort_items(list.data(), scratch.data(), static_cast<int64_t>(list.size()),
                                     Tick{control, 0, true});
        CHECK(std::equal(wanted.begin(), wanted.end(), got, same<Item>), what, workers);
    }
}

TEST(workers_sort_one_list_together) {
    Random random(7);
    for (const std::string shape : {"normal", "descending", "equal", "few", "outlier"}) {
        const auto values = values_of<float>(shape, long_list + 1234, random);
        check_together(bare(values), shape + " float");
        check_together(ranked(values), shape + " float and rows");
    }
    const auto values = values_of<double>("special", long_list, random);
    check_together(bare(values), "double");
    check_together(ranked(values), "double and rows");
}

TEST(a_sort_stops_when_it_is_told_to) {
    Random random(6);
    const auto keys = random_keys<uint32_t>(random, 1 << 20);
    Control control(no_poll);
    const Tick tick{control, 0};
    std::vector<uint32_t> list = keys;
    control.stop();
    bool stopped = false;
    try {
        Quicksort<uint32_t>(tick).sort(list.data(), 1 << 20);
    } catch (const Control::Stopped&) {
        stopped = true;
    }
    CHECK(stopped);
}

}  // namespace
