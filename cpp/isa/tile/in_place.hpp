// Cores of rows as they lie in memory, feature after feature: for a few queries, whose references
// are read once and not worth packing. Features are the lanes, and those of four rows are added at
// once; of few features the columns are.
#pragma once

#include "isa/tile/micro.hpp"
#include "isa/tile/quad.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// The sums of the vectors, in order.
PAIRTILE_HD Quad<float> sums_of(const Quad<float>* v) {
    [[maybe_unused]] typedef int Mask __attribute__((vector_size(16)));
    const Quad<float> a = PT_SHUFFLE(v[0], v[1], 0, 4, 1, 5) + PT_SHUFFLE(v[0], v[1], 2, 6, 3, 7);
    const Quad<float> b = PT_SHUFFLE(v[2], v[3], 0, 4, 1, 5) + PT_SHUFFLE(v[2], v[3], 2, 6, 3, 7);
    return PT_SHUFFLE(a, b, 0, 1, 4, 5) + PT_SHUFFLE(a, b, 2, 3, 6, 7);
}

PAIRTILE_HD Quad<double> sums_of(const Quad<double>* v) {
    [[maybe_unused]] typedef long long Mask __attribute__((vector_size(16)));
    return PT_SHUFFLE(v[0], v[1], 0, 2) + PT_SHUFFLE(v[0], v[1], 1, 3);
}

// As many columns as a quad holds against `count` rows, which are d apart; `at_once` columns side
// by side.
template <Core core, int count, int at_once, class T>
PAIRTILE_HD void quad_in_place(const T* rows, const T* const* cols, int64_t d, T* tile,
                               int64_t ld) {
    using V = Vec<T>;
    constexpr int lanes = V::lanes, quad = 16 / sizeof(T);
    const int64_t whole = d / lanes * lanes;
    const int rest = static_cast<int>(d - whole);
    T sums[count][quad][lanes];
    for (int c = 0; c < quad; c += at_once) {
        typename V::Reg sum[count][at_once];
        for (int i = 0; i < count; ++i) {
            for (int a = 0; a < at_once; ++a) sum[i][a] = V::broadcast(T(0));
        }
        const auto add = [&](auto load, int64_t f) {
            typename V::Reg y[at_once];
            for (int a = 0; a < at_once; ++a) y[a] = load(cols[c + a] + f);
            for (int i = 0; i < count; ++i) {
                const typename V::Reg x = load(rows + i * d + f);
                for (int a = 0; a < at_once; ++a) sum[i][a] = step<core, V>(x, y[a], sum[i][a]);
            }
        };
        for (int64_t f = 0; f < whole; f += lanes) {
            add([](const T* p) { return V::load(p); }, f);
        }
        if (rest) add([rest](const T* p) { return V::load_part(p, rest); }, whole);
        for (int i = 0; i < count; ++i) {
            for (int a = 0; a < at_once; ++a) V::store(sums[i][c + a], sum[i][a]);
        }
    }
    for (int i = 0; i < count; ++i) {
        Quad<T> part[quad];
        for (int c = 0; c < quad; ++c) {
            __builtin_memcpy(&part[c], sums[i][c], 16);
            for (int l = quad; l < lanes; l += quad) {
                Quad<T> more;
                __builtin_memcpy(&more, sums[i][c] + l, 16);
                part[c] += more;
            }
        }
        const Quad<T> total = sums_of(part);
        __builtin_memcpy(tile + i * ld, &total, 16);
    }
}

// Of d features: a block of columns is turned in L1, once for all rows, in loops that the compiler
// makes vectors of. Terms are added as sums_of() does, so that the bits are the same.
template <Core core, int d, class T>
void tile_of_few_features(const T* rows, int row_count, const T* cols, int64_t stride,
                          int col_count, T* tile, int64_t ld) {
    constexpr int block = 256;
    T turned[d][block];
    for (int first = 0; first < col_count; first += block) {
        const int here = col_count - first < block ? col_count - first : block;
        const T* from = cols + first * stride;
        const auto turn = [&](int64_t apart) {
            for (int j = 0; j < here; ++j) {
                for (int f = 0; f < d; ++f) turned[f][j] = from[j * apart + f];
            }
        };
        if (stride == d) {
            turn(d);
        } else {
            turn(stride);
        }
        for (int i = 0; i < row_count; ++i) {
            T x[4] = {};
            for (int f = 0; f < d; ++f) x[f] = rows[i * d + f];
            T* __restrict out = tile + i * ld + first;
            for (int j = 0; j < here; ++j) {
                T term[4] = {};
                for (int f = 0; f < d; ++f) {
                    const T gap = x[f] - turned[f][j];
                    term[f] = core == Core::squared_difference ? gap * gap : gap < 0 ? -gap : gap;
                }
                out[j] = sizeof(T) == 4 ? (term[0] + term[1]) + (term[2] + term[3])
                                        : (term[0] + term[2]) + (term[1] + term[3]);
            }
        }
    }
}

template <Core core, class T>
void tile_in_place(const T* rows, int row_count, const T* cols, int64_t stride, int col_count,
                   int64_t d, T* tile, int64_t ld) {
    const auto few = [&]<int features>() {
        tile_of_few_features<core, features>(rows, row_count, cols, stride, col_count, tile, ld);
    };
    switch (d) {
        case 1:
            return few.template operator()<1>();
        case 2:
            return few.template operator()<2>();
        case 3:
            return few.template operator()<3>();
        case 4:
            return few.template operator()<4>();
        default:
            break;
    }
    constexpr int quad = 16 / sizeof(T);
    // Columns side by side hide latency. Long ones are left to the processor's prefetching, which
    // follows one of them at a time to the rate of a copy, and two at half of it.
    const bool is_long = d * static_cast<int64_t>(sizeof(T)) > 256;
    for (int j = 0; j < col_count; j += quad) {
        const T* col[quad];
        for (int c = 0; c < quad; ++c) {  // the last one again where there are no more
            col[c] = cols + (j + c < col_count ? j + c : col_count - 1) * stride;
        }
        const auto take = [&]<int count>(int i) {
            const T* row = rows + i * d;
            T* out = tile + i * ld + j;
            if (is_long) return quad_in_place<core, count, 1>(row, col, d, out, ld);
            quad_in_place<core, count, count == 1 ? quad : 2>(row, col, d, out, ld);
        };
        int i = 0;
        for (; i + 4 <= row_count; i += 4) take.template operator()<4>(i);
        for (; i + 2 <= row_count; i += 2) take.template operator()<2>(i);
        if (i < row_count) take.template operator()<1>(i);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
