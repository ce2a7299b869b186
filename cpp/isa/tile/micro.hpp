// The micro-kernels, written once over Vec<T>: a block of rows × (vectors of columns) kept in
// registers while the features (or the inner index of a product) stream by.
#pragma once

#include "isa/ops.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class T>
struct Block {
    using V = Vec<T>;
    using Reg = typename V::Reg;
    static constexpr int rows = V::block_rows;
    static constexpr int vectors = V::block_vectors;
    static constexpr int cols = vectors * V::lanes;
};

template <Core core, class V, class Reg>
PAIRTILE_HD Reg step(Reg x, Reg y, Reg sum) {
    if constexpr (core == Core::dot || core == Core::short_dot) {
        return V::fma(x, y, sum);
    } else if constexpr (core == Core::squared_difference) {
        const Reg difference = V::sub(x, y);
        return V::fma(difference, difference, sum);
    } else if constexpr (core == Core::absolute_difference) {
        return V::add(sum, V::abs(V::sub(x, y)));
    } else if constexpr (core == Core::dot_bfloat16) {
#ifdef PT_HAS_BFLOAT16
        return dot_of_pairs(x, y, sum);
#endif
    } else if constexpr (core == Core::differing_bits) {
        return V::count_differing(x, y, sum);
    } else {
        // the order of the operands makes a NaN difference win
        return V::max(sum, V::abs(V::sub(x, y)));
    }
}

template <Core core, class T>
PAIRTILE_HD typename Block<T>::Reg combine(typename Block<T>::Reg a, typename Block<T>::Reg b) {
    if constexpr (core == Core::largest_difference) {
        return Vec<T>::max(a, b);
    } else {
        return Vec<T>::add(a, b);
    }
}

// Steps after which a sum is cut: for the precision of floats, for the room of bit counters.
template <Core core, class V>
constexpr int64_t steps_of() {
    if constexpr (core == Core::differing_bits) {
        return V::bit_words;
    } else if constexpr (core == Core::short_dot) {
        return short_feature_block;
    } else {
        return feature_block;
    }
}

// What a register block holds after those steps, as numbers.
template <Core core, class V, class Reg>
PAIRTILE_HD Reg finished(Reg sum) {
    if constexpr (core == Core::differing_bits) {
        return V::total(sum);
    } else {
        return sum;
    }
}

// One register block over k steps. `a` advances by k_stride, its rows lie row_stride apart.
template <Core core, class T>
PAIRTILE_HD void accumulate(typename Block<T>::Reg (&sum)[Block<T>::rows][Block<T>::vectors],
                            int64_t k, const T* a, int64_t row_stride, int64_t k_stride,
                            const T* b) {
    using V = Vec<T>;
    constexpr int rows = Block<T>::rows, vectors = Block<T>::vectors, cols = Block<T>::cols;
    for (int64_t f = 0; f < k; ++f) {
        typename V::Reg y[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) y[v] = V::load(b + v * V::lanes);
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) {
            const typename V::Reg x = V::broadcast(a[i * row_stride]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) sum[i][v] = step<core, V>(x, y[v], sum[i][v]);
        }
        a += k_stride;
        b += cols;
    }
}

template <Core core, class T>
void core_tile(const T* row_panel, const T* col_panels, int64_t d, int panels, const T* bias,
               T* tile, int64_t ld) {
    using V = Vec<T>;
    constexpr int rows = Block<T>::rows, vectors = Block<T>::vectors, cols = Block<T>::cols;
    constexpr int64_t steps = steps_of<core, V>();
    for (int64_t first = 0; first == 0 || first < d; first += steps) {
        const int64_t k = d - first < steps ? d - first : steps;
        for (int p = 0; p < panels; ++p) {
            typename V::Reg sum[rows][vectors];
            if (first == 0 && bias) {
#pragma GCC unroll 4
                for (int v = 0; v < vectors; ++v) {
                    const typename V::Reg start = V::load(bias + p * cols + v * V::lanes);
#pragma GCC unroll 16
                    for (int i = 0; i < rows; ++i) sum[i][v] = start;
                }
            } else {
#pragma GCC unroll 16
                for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
                    for (int v = 0; v < vectors; ++v) sum[i][v] = V::broadcast(T(0));
                }
            }
            accumulate<core, T>(sum, k, row_panel + first * rows, 1, rows,
                                col_panels + (p * d + first) * cols);
            T* out = tile + p * cols;
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
                for (int v = 0; v < vectors; ++v) {
                    T* at = out + i * ld + v * V::lanes;
                    const typename V::Reg part = finished<core, V>(sum[i][v]);
                    V::store(at, first == 0 ? part : combine<core, T>(V::load(at), part));
                }
            }
        }
    }
}

// Canonical values of a direct metric: columns side by side, eight partial results each, the order
// of operations that of canonical().
template <class Metric>
void canonical_tile(const double* row_panel, const double* col_panels, int64_t d, int panels,
                    const MetricParams& params, double* tile, int64_t ld) {
    using V = Vec<double>;
    constexpr int rows = Block<double>::rows, vectors = Block<double>::vectors;
    constexpr int cols = Block<double>::cols;
    for (int p = 0; p < panels; ++p) {
        for (int i = 0; i < rows; ++i) {
            for (int v = 0; v < vectors; ++v) {
                Partial<Metric, Columns> partial;
                const double* x = row_panel + i;
                const double* y = col_panels + p * d * cols + v * V::lanes;
                const auto push = [&](int l, int64_t j) {
                    partial.push(l, V::broadcast(x[j * rows]), V::load(y + j * cols), j, params);
                };
                int64_t j = 0;
                for (; j + 8 <= d; j += 8) {
#pragma GCC unroll 8
                    for (int l = 0; l < 8; ++l) push(l, j + l);
                }
#pragma GCC unroll 8
                for (int l = 0; l < 7; ++l) {
                    if (j + l < d) push(l, j + l);
                }
                V::store(tile + i * ld + p * cols + v * V::lanes, partial.order());
            }
        }
    }
}

template <class T>
void product(int m, int n, int64_t k, const T* a, int64_t row_stride, int64_t k_stride, const T* b,
             T* c, int64_t ld) {
    using V = Vec<T>;
    constexpr int rows = Block<T>::rows, vectors = Block<T>::vectors, cols = Block<T>::cols;
    typename V::Reg sum[rows][vectors];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            sum[i][v] = V::broadcast(T(0));
            // far away, and needed at the end
            if (i < m) __builtin_prefetch(c + i * ld + v * V::lanes, 1);
        }
    }
    if (m < rows) {
        // a short block: zeros in place of rows outside the matrix
        constexpr int64_t steps = 64;
        T padded[steps * rows] = {};
        for (int64_t first = 0; first < k; first += steps) {
            const int64_t some = k - first < steps ? k - first : steps;
            for (int64_t f = 0; f < some; ++f) {
                for (int i = 0; i < m; ++i) {
                    padded[f * rows + i] = a[i * row_stride + (first + f) * k_stride];
                }
            }
            accumulate<Core::dot, T>(sum, some, padded, 1, rows, b + first * cols);
        }
    } else {
        accumulate<Core::dot, T>(sum, k, a, row_stride, k_stride, b);
    }
    if (m == rows && n == cols) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
                T* at = c + i * ld + v * V::lanes;
                V::store(at, V::add(V::load(at), sum[i][v]));
            }
        }
        return;
    }
    T edge[rows * cols];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) V::store(edge + i * cols + v * V::lanes, sum[i][v]);
    }
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) c[i * ld + j] += edge[i * cols + j];
    }
}

template <class T>
void range_of(const T* tile, int64_t ld, int rows, int cols, T* low, T* high) {
    using V = Vec<T>;
    const typename V::Reg zero = V::broadcast(T(0));
    typename V::Reg most = V::broadcast(tile[0]), least = V::sub(zero, most);  // least is negated
    T top = tile[0], bottom = tile[0];
    for (int i = 0; i < rows; ++i) {
        const T* row = tile + i * ld;
        int j = 0;
        for (; j + V::lanes <= cols; j += V::lanes) {
            const typename V::Reg values = V::load(row + j);
            most = V::max(most, values);
            least = V::max(least, V::sub(zero, values));
        }
        for (; j < cols; ++j) {
            top = row[j] > top ? row[j] : top;
            bottom = row[j] < bottom ? row[j] : bottom;
        }
    }
    T lane[2][V::lanes];
    V::store(lane[0], most);
    V::store(lane[1], least);
    for (int l = 0; l < V::lanes; ++l) {
        top = lane[0][l] > top ? lane[0][l] : top;
        bottom = -lane[1][l] < bottom ? -lane[1][l] : bottom;
    }
    *low = bottom, *high = top;
}

// Positions in [from, n) that are to be kept: bits_of(values, first) says which of a vector,
// keep(j) which single.
template <class T, class Bits, class Keep>
PAIRTILE_HD int select(const T* row, int from, int n, int32_t* out, Bits bits_of, Keep keep) {
    using V = Vec<T>;
    int found = 0;
    int j = from;
    for (; j + Block<T>::cols <= n; j += Block<T>::cols) {
        uint32_t bits = 0;
#pragma GCC unroll 4
        for (int v = 0; v < Block<T>::vectors; ++v) {
            const int first = j + v * V::lanes;
            bits |= bits_of(V::load(row + first), first) << (v * V::lanes);
        }
        for (; bits; bits &= bits - 1) out[found++] = j + __builtin_ctz(bits);
    }
    for (; j < n; ++j) {
        if (keep(j)) out[found++] = j;
    }
    return found;
}

template <class T>
int select_below(const T* row, int n, T threshold, int32_t* out) {
    using V = Vec<T>;
    const typename V::Reg limit = V::broadcast(threshold);
    const auto some = [=](int from, int to, int32_t* into) {
        return select(
            row, from, to, into, [=](typename V::Reg v, int) { return V::cmp_le_mask(v, limit); },
            [=](int j) { return row[j] <= threshold; });
    };
    // most hold none: the least of many says so at once. NaN is not the least of anything.
    constexpr int at_once = 4 * Block<T>::cols;
    int found = 0;
    int j = 0;
    for (; j + at_once <= n; j += at_once) {
        typename V::Reg least = V::broadcast(static_cast<T>(__builtin_inf()));
#pragma GCC unroll 16
        for (int v = 0; v < at_once; v += V::lanes) least = V::min(V::load(row + j + v), least);
        if (V::cmp_le_mask(least, limit)) found += some(j, j + at_once, out + found);
    }
    return found + some(j, n, out + found);
}

template <class T>
int select_between(const T* row, int n, T low, T high, int32_t* out) {
    using V = Vec<T>;
    const typename V::Reg above = V::broadcast(low), limit = V::broadcast(high);
    return select(
        row, 0, n, out,
        [=](typename V::Reg v, int) {
            return V::cmp_le_mask(v, limit) & ~V::cmp_le_mask(v, above);
        },
        [=](int j) { return row[j] <= high && !(row[j] <= low); });
}

template <class T>
int select_below_each(const T* row, int n, T factor, const T* thresholds, T offset, int32_t* out) {
    using V = Vec<T>;
    const typename V::Reg scale = V::broadcast(factor), shift = V::broadcast(offset);
    return select(
        row, 0, n, out,
        [=](typename V::Reg v, int first) {
            return V::cmp_le_mask(v, V::fma(scale, V::load(thresholds + first), shift));
        },
        [=](int j) { return row[j] <= mul_add(factor, thresholds[j], offset); });
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
