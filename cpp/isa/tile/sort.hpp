// Sorting of keys, unsigned integers: the two parts of a quicksort that a vector does several lanes
// at a time. Its recursion is slices/sort.hpp.
//
// A short list is a matrix of registers, read row by row. Its columns are sorted against each other
// by Batcher's odd-even network, which needs no lane to move; bitonic networks merge them two by
// two. What is then sorted column by column is transposed.
#pragma once

#include <algorithm>

#include "isa/sort_ops.hpp"
#include "pairtile/slice/key.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr int sort_rows = 16;  // of the largest matrix

template <class K>
struct KeyLanes {
    static constexpr int lanes = KeyVec<K>::lanes;
    using Reg = typename KeyVec<K>::Reg;
    typedef K Keys __attribute__((vector_size(sizeof(Reg))));

    template <int... place>
    struct Places {};
    template <class Pattern, int... place>
    static constexpr auto places(Pattern, Places<place...>) {
        return Places<Pattern{}(place)...>{};
    }
    static constexpr auto all_places() {
        if constexpr (lanes == 2) return Places<0, 1>{};
        if constexpr (lanes == 4) return Places<0, 1, 2, 3>{};
        if constexpr (lanes == 8) return Places<0, 1, 2, 3, 4, 5, 6, 7>{};
        if constexpr (lanes == 16) {
            return Places<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>{};
        }
    }
    template <int... place>
    static Reg pick(Reg a, Reg b, Places<place...>) {
#ifdef __clang__
        return (Reg)__builtin_shufflevector((Keys)a, (Keys)b, place...);
#else
        return (Reg)__builtin_shuffle((Keys)a, (Keys)b, Keys{place...});
#endif
    }
    // lane c is lane pattern(c) of a, from `lanes` on of b
    template <class Pattern>
    static Reg pick(Reg a, Reg b, Pattern pattern) {
        return pick(a, b, places(pattern, all_places()));
    }
};

// A matrix of `rows` registers.
template <class K, int rows>
struct KeyMatrix {
    using V = KeyVec<K>;
    using L = KeyLanes<K>;
    using Reg = typename V::Reg;
    static constexpr int lanes = V::lanes, size = rows * lanes;

    Reg row[rows];

    template <int low, int high>
    [[gnu::always_inline]] void exchange() {
        const Reg a = row[low], b = row[high];
        row[low] = V::min(a, b);
        row[high] = V::max(a, b);
    }
    // row i with row i + by, for the rows from, from + step, … below end
    template <int from, int end, int step, int by>
    [[gnu::always_inline]] void exchange_each() {
        if constexpr (from < end) {
            exchange<from, from + by>();
            exchange_each<from + step, end, step, by>();
        }
    }

    // Batcher: `count` rows from `first`, `step` apart, of which both halves are sorted
    template <int first, int count, int step>
    [[gnu::always_inline]] void merge_rows() {
        constexpr int next = 2 * step;
        if constexpr (next < count) {
            merge_rows<first, count, next>();
            merge_rows<first + step, count, next>();
            exchange_each<first + step, first + count - step, next, step>();
        } else {
            exchange<first, first + step>();
        }
    }
    template <int first, int count>
    [[gnu::always_inline]] void sort_columns() {
        if constexpr (count > 1) {
            sort_columns<first, count / 2>();
            sort_columns<first + count / 2, count / 2>();
            merge_rows<first, count, 1>();
        }
    }

    // lanes whose column has not the bit `apart` from `low`, the others from `high`
    template <int apart>
    [[gnu::always_inline]] static Reg by_half(Reg low, Reg high) {
        return L::pick(low, high, [](int c) { return c & apart ? lanes + c : c; });
    }
    // the two rows i and rows − 1 − i, columns turned round within groups of `width`
    template <int width, int i>
    [[gnu::always_inline]] void flip() {
        if constexpr (i < rows / 2) {
            constexpr auto turn = [](int c) { return c ^ (width - 1); };
            Reg &first = row[i], &last = row[rows - 1 - i];
            const Reg turned = L::pick(last, last, turn);
            const Reg low = V::min(first, turned), high = V::max(first, turned);
            first = by_half<width / 2>(low, high);
            const Reg other = by_half<width / 2>(high, low);
            last = L::pick(other, other, turn);
            flip<width, i + 1>();
        }
    }
    template <int apart, int i>
    [[gnu::always_inline]] void exchange_lanes() {
        if constexpr (i < rows) {
            const Reg a = row[i], b = L::pick(a, a, [](int c) { return c ^ apart; });
            row[i] = by_half<apart>(V::min(a, b), V::max(a, b));
            exchange_lanes<apart, i + 1>();
        }
    }
    template <int apart>
    [[gnu::always_inline]] void bitonic_lanes() {
        if constexpr (apart > 0) {
            exchange_lanes<apart, 0>();
            bitonic_lanes<apart / 2>();
        }
    }
    // the lanes of one row
    template <int width>
    [[gnu::always_inline]] void sort_lanes() {
        static_assert(rows == 1);
        if constexpr (width <= lanes) {
            const Reg a = row[0], b = L::pick(a, a, [](int c) { return c ^ (width - 1); });
            row[0] = by_half<width / 2>(V::min(a, b), V::max(a, b));
            bitonic_lanes<width / 4>();
            sort_lanes<2 * width>();
        }
    }
    template <int from, int apart>
    [[gnu::always_inline]] void bitonic_group() {
        if constexpr (from < rows) {
            exchange_each<from, from + apart, 1, apart>();
            bitonic_group<from + 2 * apart, apart>();
        }
    }
    template <int apart>
    [[gnu::always_inline]] void bitonic_rows() {
        if constexpr (apart > 0) {
            bitonic_group<0, apart>();
            bitonic_rows<apart / 2>();
        }
    }
    template <int width>
    [[gnu::always_inline]] void merge_columns() {
        if constexpr (width <= lanes) {
            flip<width, 0>();
            bitonic_lanes<width / 4>();
            bitonic_rows<rows / 2>();
            merge_columns<2 * width>();
        }
    }

    // blocks of `lanes` rows, each transposed by itself; fewer rows change places with as many
    // groups of lanes, and the lanes that came from different rows then with each other
    static constexpr int group = rows < lanes ? lanes / rows : 1;
    template <int apart, int i>
    [[gnu::always_inline]] void transpose_step() {
        if constexpr (i < rows) {
            if constexpr ((i & apart) == 0) {
                constexpr int across = apart * group;
                const Reg a = row[i], b = row[i + apart];
                row[i] = L::pick(a, b, [](int c) { return c & across ? lanes + (c ^ across) : c; });
                row[i + apart] =
                    L::pick(a, b, [](int c) { return c & across ? lanes + c : c ^ across; });
            }
            transpose_step<apart, i + 1>();
        }
    }
    template <int i>
    [[gnu::always_inline]] void transpose_lanes() {
        if constexpr (group > 1 && i < rows) {
            row[i] = L::pick(row[i], row[i], [](int c) { return c % rows * group + c / rows; });
            transpose_lanes<i + 1>();
        }
    }
    template <int apart>
    [[gnu::always_inline]] void transpose() {
        if constexpr (apart * group < lanes) {
            transpose_step<apart, 0>();
            transpose<2 * apart>();
        } else {
            transpose_lanes<0>();
        }
    }

    // The register of sorted keys number `part`, after the transposition.
    static constexpr int row_of(int part) {
        constexpr int blocks = rows < lanes ? 1 : rows / lanes;
        return part % blocks * lanes + part / blocks;
    }

    template <int i>
    [[gnu::always_inline]] void load(const K* keys, int n, const K* rest) {
        if constexpr (i < rows) {
            if ((i + 1) * lanes <= n) {
                row[i] = V::flip(V::load(keys + i * lanes));
            } else {
                row[i] = V::flip(i * lanes < n ? V::load(rest) : V::broadcast(~K(0)));
            }
            load<i + 1>(keys, n, rest);
        }
    }
    template <int part>
    [[gnu::always_inline]] void store(K* sorted, int n, K* rest) const {
        if constexpr (part < rows) {
            const Reg keys = V::flip(row[row_of(part)]);
            if ((part + 1) * lanes <= n) {
                V::store(sorted + part * lanes, keys);
            } else if (part * lanes < n) {
                V::store(rest, keys);
            }
            store<part + 1>(sorted, n, rest);
        }
    }
};

// sorted = the n <= size keys in order. Missing ones are the largest there are.
template <class K, int rows>
void sort_matrix(const K* keys, int n, K* sorted) {
    using Matrix = KeyMatrix<K, rows>;
    constexpr int lanes = Matrix::lanes;
    const int whole = n / lanes * lanes;
    alignas(64) K rest[lanes];
    for (int c = 0; c < lanes; ++c) rest[c] = whole + c < n ? keys[whole + c] : ~K(0);
    Matrix matrix;
    matrix.template load<0>(keys, n, rest);
    matrix.template sort_columns<0, rows>();
    matrix.template merge_columns<2>();
    matrix.template transpose<1>();
    matrix.template store<0>(sorted, n, rest);
    for (int i = whole; i < n; ++i) sorted[i] = rest[i - whole];
}

template <class K>
constexpr int most_sorted = sort_rows* KeyVec<K>::lanes;

template <class K>
void sort_few(const K* keys, int n, K* sorted) {
    if (n <= most_sorted<K> / 4) return sort_matrix<K, sort_rows / 4>(keys, n, sorted);
    if (n <= most_sorted<K> / 2) return sort_matrix<K, sort_rows / 2>(keys, n, sorted);
    sort_matrix<K, sort_rows>(keys, n, sorted);
}

// The k-th smallest of n <= rows · lanes values, the others being the largest there are: what is
// sorted column by column need not be transposed to find it.
template <class T, int rows>
T kth_in_matrix(const T* values, int n, int64_t k) {
    using K = Key<T>;
    using V = KeyVec<K>;
    constexpr int lanes = V::lanes;
    alignas(64) K keys[rows * lanes];
    for (int i = 0; i < rows; ++i) V::store(keys + i * lanes, V::broadcast(~K(0)));
    for (int i = 0; i < n; ++i) {
        keys[i] = values[i] == values[i] ? key_of_value(values[i]) : ~K(0);
    }
    KeyMatrix<K, rows> matrix;
    for (int i = 0; i < rows; ++i) matrix.row[i] = V::flip(V::load(keys + i * lanes));
    if constexpr (rows == 1) {
        matrix.template sort_lanes<2>();
    } else {
        matrix.template sort_columns<0, rows>();
        matrix.template merge_columns<2>();
    }
    for (int i = 0; i < rows; ++i) V::store(keys + i * lanes, V::flip(matrix.row[i]));
    const auto place = static_cast<int>(k - 1);
    return value_of_key<T>(keys[place % rows * lanes + place / rows]);
}

template <class T>
T kth_of_few(const T* values, int n, int64_t k) {
    constexpr int most = most_at_once<T>, lanes = KeyVec<Key<T>>::lanes;
    if (n <= most / 4) return kth_in_matrix<T, most / 4 / lanes>(values, n, k);
    if (n <= most / 2) return kth_in_matrix<T, most / 2 / lanes>(values, n, k);
    return kth_in_matrix<T, most / lanes>(values, n, k);
}

// Of seven rows in places far apart the middle key of each column, and of these the middle one.
template <class K>
K pivot_of(const K* keys, int64_t n) {
    using V = KeyVec<K>;
    constexpr int lanes = V::lanes;
    KeyMatrix<K, 8> matrix;
    const int64_t step = (n - lanes) / 6;
    for (int i = 0; i < 7; ++i) matrix.row[i] = V::flip(V::load(keys + i * step));
    matrix.row[7] = V::flip(V::broadcast(~K(0)));
    matrix.template sort_columns<0, 8>();
    KeyMatrix<K, 1> middle;
    middle.row[0] = matrix.row[3];
    middle.template sort_lanes<2>();
    alignas(64) K sorted[lanes];
    V::store(sorted, V::flip(middle.row[0]));
    return sorted[lanes / 2];
}

// Keys <= pivot to the front, in place; how many they are. Two stretches at both ends are held in
// registers, so that there is room for what is written, and the next one comes from the end with
// less room: at most all of it is written to either end.
template <class K>
int64_t partition(K* keys, int64_t n, K pivot) {
    using V = KeyVec<K>;
    constexpr int lanes = V::lanes, held = sort_rows / 2;
    if (n < sort_rows * lanes) {
        sort_few(keys, static_cast<int>(n), keys);
        int64_t low = 0;
        for (int64_t i = 0; i < n; ++i) low += keys[i] <= pivot;
        return low;
    }
    const auto above = V::flip(V::broadcast(pivot));
    const int rest = static_cast<int>(n % lanes);
    K *low = keys, *high = keys + n - rest;  // the ends of what is written
    alignas(64) K last[lanes];
    for (int c = 0; c < lanes; ++c) last[c] = c < rest ? keys[n - rest + c] : ~K(0);

    const K *front = keys + held * lanes, *back = high - held * lanes;  // of what is not read
    typename V::Reg first[2 * held];
    for (int i = 0; i < held; ++i) {
        first[i] = V::load(keys + i * lanes);
        first[held + i] = V::load(back + i * lanes);
    }
    const auto put = [&](typename V::Reg a) {
        const int count = V::split(a, above, low, high);
        low += count;
        high += count - lanes;
    };
    const auto next = [&](int64_t size) {
        const bool from_back = high - back < front - low;
        back -= from_back ? size : 0;
        const K* from = from_back ? back : front;
        front += from_back ? 0 : size;
        return from;
    };
    while (back - front >= held * lanes) {
        const K* from = next(held * lanes);
        typename V::Reg some[held];
        for (int i = 0; i < held; ++i) some[i] = V::load(from + i * lanes);
        for (int i = 0; i < held; ++i) put(some[i]);
    }
    while (front < back) put(V::load(next(lanes)));
    for (int i = 0; i < 2 * held; ++i) put(first[i]);
    alignas(64) K parted[lanes];
    const int count = std::min(V::split(V::load(last), above, parted, parted + lanes), rest);
    K* end = keys + n - rest;
    for (int c = count; c < rest; ++c) end[c] = parted[c];
    for (int c = 0; c < count; ++c) {  // a larger key makes room
        end[c] = low[c];
        low[c] = parted[c];
    }
    return low - keys + count;
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
