// Sums of labelled columns by table, the method of four Russians: of every four columns all sixteen
// partial sums are formed once, and each labelling picks one of them by four of its bits. A quarter
// of the additions of a matrix product, in the same precision.
#pragma once

#include "isa/ops.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// `part` holds 64 columns of label_rows numbers; tables[16·g + code] is the sum of those of columns
// 4g … 4g + 3 whose bit is set in code.
template <class T>
PT_HD void fill_tables(const T* part, T* tables) {
    for (int g = 0; g < label_columns / label_bits; ++g) {
        T* table = tables + g * label_codes * label_rows;
        const T* columns = part + g * label_bits * label_rows;
        for (int r = 0; r < label_rows; ++r) table[r] = T(0);
        for (int bit = 0; bit < label_bits; ++bit) {
            const int half = 1 << bit;
            for (int code = 0; code < half; ++code) {
                for (int r = 0; r < label_rows; ++r) {
                    table[(half + code) * label_rows + r] =
                        table[code * label_rows + r] + columns[bit * label_rows + r];
                }
            }
        }
    }
}

template <int count, class T>
PT_HD void add_labelled(const T* tables, const uint64_t* columns, const uint64_t* rows, int shift,
                        T* out) {
    using V = Vec<T>;
    constexpr int regs = label_rows / V::lanes, groups = label_columns / label_bits;
    constexpr uint64_t last = label_codes - 1;
    typename V::Reg sum[count][regs];
    uint64_t codes[count];
#pragma GCC unroll 4
    for (int b = 0; b < count; ++b) {
        codes[b] = columns[b];
#pragma GCC unroll 4
        for (int v = 0; v < regs; ++v) sum[b][v] = V::spread(T(0));
    }
#pragma GCC unroll 2
    for (int g = 0; g < groups; ++g, tables += label_codes * label_rows) {
#pragma GCC unroll 4
        for (int b = 0; b < count; ++b) {
            const T* entry = tables + static_cast<int64_t>(codes[b] & last) * label_rows;
            codes[b] >>= label_bits;
#pragma GCC unroll 4
            for (int v = 0; v < regs; ++v) {
                sum[b][v] = V::add(sum[b][v], V::load(entry + v * V::lanes));
            }
        }
    }
#pragma GCC unroll 4
    for (int b = 0; b < count; ++b) {
        const uint64_t chosen = rows ? rows[b] >> shift : ~uint64_t{0};
#pragma GCC unroll 4
        for (int v = 0; v < regs; ++v) {
            T* at = out + b * label_rows + v * V::lanes;
            V::store(at, V::add(V::load(at), V::keep(sum[b][v], chosen >> (v * V::lanes))));
        }
    }
}

template <class T>
void label_sums(const T* kernel, int64_t ld, int height, int64_t width, const uint64_t* columns,
                const uint64_t* rows, int shift, int64_t n_labels, T* tables, T* out) {
    constexpr int at_a_time = 4;
    for (int64_t first = 0; first < width; first += label_columns, columns += n_labels) {
        T part[label_columns * label_rows] = {};
        const int64_t n = width - first < label_columns ? width - first : label_columns;
        for (int r = 0; r < height; ++r) {
            for (int64_t j = 0; j < n; ++j) part[j * label_rows + r] = kernel[r * ld + first + j];
        }
        fill_tables(part, tables);
        int64_t b = 0;
        for (; b + at_a_time <= n_labels; b += at_a_time) {
            add_labelled<at_a_time>(tables, columns + b, rows ? rows + b : nullptr, shift,
                                    out + b * label_rows);
        }
        for (; b < n_labels; ++b) {
            add_labelled<1>(tables, columns + b, rows ? rows + b : nullptr, shift,
                            out + b * label_rows);
        }
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
