// Values as keys, and sums over sorted keys and over pairs of them, in float64.
#pragma once

#include <type_traits>

#include "isa/sort_ops.hpp"
#include "pairtile/slice/cost.hpp"
#include "pairtile/slice/key.hpp"
#include "pairtile/slice/lanes.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The value that a key stands for.
inline double number_of(uint32_t key) { return static_cast<double>(value_of_key<float>(key)); }
inline double number_of(uint64_t key) { return value_of_key<double>(key); }

// The two lists may be one.
template <class K>
void to_keys(const K* values, int64_t n, K* keys) {
    using Value = std::conditional_t<sizeof(K) == 4, float, double>;
    constexpr int lanes = KeyVec<K>::lanes, sign_bit = 8 * sizeof(K) - 1;
    typedef K Keys __attribute__((vector_size(lanes * sizeof(K))));
    typedef Value Values __attribute__((vector_size(lanes * sizeof(Value))));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {  // key_of_value of several
        Keys bits;
        __builtin_memcpy(&bits, values + i, sizeof bits);
        bits = (Keys)((Values)bits + Value(0));
        bits ^= (K(0) - (bits >> sign_bit)) | (K(1) << sign_bit);
        __builtin_memcpy(keys + i, &bits, sizeof bits);
    }
    for (; i < n; ++i) keys[i] = key_of_value(bits_as<Value>(values[i]));
}

template <class K>
void add_moments(const K* keys, int64_t n, double middle, double* sums, double* squares) {
    double sum[line_lanes], square[line_lanes];
    for (int l = 0; l < line_lanes; ++l) sum[l] = sums[l], square[l] = squares[l];
    in_lanes(n, [&](int l, int64_t i) {
        const double value = number_of(keys[i]) - middle;
        sum[l] += value;
        square[l] += value * value;
    });
    for (int l = 0; l < line_lanes; ++l) sums[l] = sum[l], squares[l] = square[l];
}

template <class Cost, class K>
void add_costs(const K* x, const K* y, int64_t n, double* sums) {
    constexpr Cost cost{};
    double sum[line_lanes];
    for (int l = 0; l < line_lanes; ++l) sum[l] = sums[l];
    in_lanes(n, [&](int l, int64_t i) { sum[l] += cost.value(number_of(x[i]) - number_of(y[i])); });
    for (int l = 0; l < line_lanes; ++l) sums[l] = sum[l];
}

template <class K>
void add_squares_and_moments(const K* x, const K* y, int64_t n, const SquareSums& sums) {
    struct Moments {
        explicit Moments(const SquareSums::Side& side) : middle(side.middle) {
            for (int l = 0; l < line_lanes; ++l) sum[l] = side.sums[l], square[l] = side.squares[l];
        }
        void add(int l, double number) {
            const double value = number - middle;
            sum[l] += value;
            square[l] += value * value;
        }
        void keep(const SquareSums::Side& side) const {
            for (int l = 0; l < line_lanes; ++l) side.sums[l] = sum[l], side.squares[l] = square[l];
        }
        double middle, sum[line_lanes], square[line_lanes];
    };
    constexpr SquaredCost cost{};
    Moments of_x(sums.x), of_y(sums.y);
    double square[line_lanes];
    for (int l = 0; l < line_lanes; ++l) square[l] = sums.squares[l];
    in_lanes(n, [&](int l, int64_t i) {
        const double of_i = number_of(x[i]), other = number_of(y[i]);
        square[l] += cost.value(of_i - other);
        of_x.add(l, of_i);
        of_y.add(l, other);
    });
    for (int l = 0; l < line_lanes; ++l) sums.squares[l] = square[l];
    of_x.keep(sums.x);
    of_y.keep(sums.y);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
