// Sums of labelled columns by table, the method of four Russians: of every five columns all
// thirty-two partial sums are formed once, and each labelling picks one of them by five of its
// bits. A fifth of the additions of a matrix product, in the same precision.
//
// An entry of a table is one line of cache: eight rows of double, or sixteen of int32_t for values
// that are whole numbers.
#pragma once

#include "isa/ops.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// `part` holds 64 columns of label_rows numbers; entry `code` of table g is the sum of those of
// columns 5g, 5g + 1, … whose bit is set in code. The last table joins what columns are left.
template <class T>
PAIRTILE_HD void fill_tables(const T* part, T* tables) {
    constexpr int rows = label_rows<T>;
    for (int g = 0; g < label_tables; ++g) {
        T* table = tables + g * label_codes * rows;
        for (int r = 0; r < rows; ++r) table[r] = T(0);
        const int first = g * label_bits;
        for (int bit = 0; bit < label_bits && first + bit < label_columns; ++bit) {
            const T* column = part + (first + bit) * rows;
            const int half = 1 << bit;
            for (int code = 0; code < half; ++code) {
                for (int r = 0; r < rows; ++r) {
                    table[(half + code) * rows + r] = table[code * rows + r] + column[r];
                }
            }
        }
    }
}

// sums (+)= what the tables say of `count` labellings.
template <int count, class T>
PAIRTILE_HD void add_labelled(const T* tables, const uint64_t* columns, bool accumulate, T* sums) {
    using V = Vec<T>;
    constexpr int rows = label_rows<T>, regs = rows / V::lanes;
    typename V::Reg sum[count][regs];
#pragma GCC unroll 4
    for (int b = 0; b < count; ++b) {
#pragma GCC unroll 4
        for (int v = 0; v < regs; ++v) {
            sum[b][v] = accumulate ? V::load(sums + b * rows + v * V::lanes) : V::broadcast(T(0));
        }
    }
    // unrolled, so that shift and place of a table are constants
#pragma GCC unroll 16
    for (int g = 0; g < label_tables; ++g) {
#pragma GCC unroll 4
        for (int b = 0; b < count; ++b) {
            const uint64_t code = columns[b] >> (g * label_bits) & (label_codes - 1);
            const T* entry = tables + (g * label_codes + static_cast<int64_t>(code)) * rows;
#pragma GCC unroll 4
            for (int v = 0; v < regs; ++v) {
                sum[b][v] = V::add(sum[b][v], V::load(entry + v * V::lanes));
            }
        }
    }
#pragma GCC unroll 4
    for (int b = 0; b < count; ++b) {
#pragma GCC unroll 4
        for (int v = 0; v < regs; ++v) V::store(sums + b * rows + v * V::lanes, sum[b][v]);
    }
}

template <class T>
void label_sums(const double* kernel, int64_t ld, int height, int64_t width,
                const uint64_t* columns, const uint64_t* rows, int shift, int64_t n_labels,
                T* tables, T* sums, double* out) {
    // as many labellings at a time as leave their sums in registers
    constexpr int regs = label_rows<T> / Vec<T>::lanes, at_a_time = regs < 4 ? 4 : 2;
    for (int64_t first = 0; first < width; first += label_columns, columns += n_labels) {
        T part[label_columns * label_rows<T>] = {};
        const int64_t n = width - first < label_columns ? width - first : label_columns;
        for (int r = 0; r < height; ++r) {
            for (int64_t j = 0; j < n; ++j) {
                part[j * label_rows<T> + r] = static_cast<T>(kernel[r * ld + first + j]);
            }
        }
        fill_tables(part, tables);
        int64_t b = 0;
        for (; b + at_a_time <= n_labels; b += at_a_time) {
            add_labelled<at_a_time>(tables, columns + b, first > 0, sums + b * label_rows<T>);
        }
        for (; b < n_labels; ++b) {
            add_labelled<1>(tables, columns + b, first > 0, sums + b * label_rows<T>);
        }
    }
    if (width <= 0) return;
    using V = Vec<double>;
    for (int64_t b = 0; b < n_labels; ++b, sums += label_rows<T>, out += label_lanes) {
        const uint64_t chosen = rows ? rows[b] >> shift : ~uint64_t{0};
#pragma GCC unroll 8
        for (int r = 0; r < label_rows<T>; r += V::lanes) {
            double* at = out + r % label_lanes;
            V::store(at, V::add(V::load(at), V::maskz(V::load(sums + r), chosen >> r)));
        }
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
