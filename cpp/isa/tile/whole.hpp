// Rows as whole numbers of 8 or 16 bits: packing, and the micro-kernels of their dot products. A
// row x, in the frame, becomes s·q with whole numbers q; sums of products of q are exact.
#pragma once

#include "isa/tile/micro.hpp"
#include "isa/tile/pack_panel.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// tile = s_i t_j Σ p q + bias_j. The hardware multiplies unsigned bytes by signed ones: columns of
// such Words take 128 more, and sums begin with −128 Σ p of their row. They are right whatever
// overflows on the way.
template <class Words>
void core_tile_whole(const float* row_panel, const float* col_panels, int64_t words, int panels,
                     const float* bias, float* tile, int64_t ld) {
    using V = Vec<float>;
    using Sum = typename Words::Reg;
    constexpr int rows = Block<float>::rows, vectors = Block<float>::vectors;
    constexpr int cols = Block<float>::cols;
    constexpr bool bytes = requires(Sum x) { Words::raised(x); };
    const int64_t k = words - (bytes ? int8_tail : int16_tail);
    const float* scales = row_panel + k * rows;
    for (int p = 0; p < panels; ++p) {
        Sum sum[rows][vectors];
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
                sum[i][v] = Words::broadcast(bytes ? scales[rows + i] : 0.0f);
            }
        }
        const float* x = row_panel;
        const float* y = col_panels + p * words * cols;
        for (int64_t f = 0; f < k; ++f) {
            Sum others[vectors];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
                others[v] = Words::load(y + v * V::lanes);
                if constexpr (bytes) others[v] = Words::raised(others[v]);
            }
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) {
                const Sum word = Words::broadcast(x[i]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; ++v) {
                    sum[i][v] = Words::dot(others[v], word, sum[i][v]);
                }
            }
            x += rows;
            y += cols;
        }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            const int at = p * cols + v * V::lanes;
            const typename V::Reg scale = V::load(y + v * V::lanes);
            const typename V::Reg start = bias ? V::load(bias + at) : V::broadcast(0.0f);
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i) {
                const typename V::Reg product = Words::times(scale, sum[i][v]);
                V::store(tile + i * ld + at, V::fma(V::broadcast(scales[i]), product, start));
            }
        }
    }
}

// x rounded to a whole number; |x| is small.
PAIRTILE_HD float to_whole(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
PAIRTILE_HD double to_whole(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

// The largest code, and the length of a row of codes before they are rounded: the sum of the
// products of two rows fits 32 bits. That of bytes does by their number (int8_features).
template <class Code>
constexpr double largest_code = sizeof(Code) == 1 ? 127 : 32766;
template <class Code>
constexpr double longest_code = sizeof(Code) == 1 ? __builtin_inf() : 45000;

// As pack_bfloat16, but a row's largest number and length are found first.
template <class Code, class S>
void pack_whole(const S* rows, int64_t stride, int count, int64_t d, const double* centre,
                double scale, double factor, int width, float* panel, double* norms,
                double* residuals) {
    constexpr int64_t block = 128;
    constexpr int most =
        Block<float>::cols > Block<float>::rows ? Block<float>::cols : Block<float>::rows;
    constexpr double least = 0x1p-100;  // what is smaller counts as zero
    constexpr int per_word = 4 / sizeof(Code);
    using Real = Shift<S, float>;
    const Real unit = static_cast<Real>(scale);
    const int64_t k = (d + per_word - 1) / per_word;
    Real c[block];
    const auto centre_of = [&](int64_t first, int64_t n) {
        for (int64_t j = 0; j < n; ++j) c[j] = static_cast<Real>(centre[first + j]);
    };

    double norm[most][norm_lanes] = {};
    Real largest[most][norm_lanes] = {};
    for (int64_t first = 0; first < d; first += block) {
        const int64_t n = d - first < block ? d - first : block;
        centre_of(first, n);
        for (int i = 0; i < count; ++i) {
            const S* row = rows + i * stride + first;
            prefetch(row, stride, n);
            double square[norm_lanes];
            Real top[norm_lanes];
            for (int l = 0; l < norm_lanes; ++l) square[l] = norm[i][l], top[l] = largest[i][l];
            const auto one = [&](int64_t j, int l) {
                const Real exact = placed(row[j], c[j], unit);
                const Real size = exact < 0 ? -exact : exact;
                square[l] += static_cast<double>(exact) * static_cast<double>(exact);
                top[l] = size > top[l] ? size : top[l];
            };
            int64_t j = 0;
            for (; j + norm_lanes <= n; j += norm_lanes) {
                for (int l = 0; l < norm_lanes; ++l) one(j + l, l);
            }
            for (int l = 0; j + l < n; ++l) one(j + l, l);
            for (int l = 0; l < norm_lanes; ++l) norm[i][l] = square[l], largest[i][l] = top[l];
        }
    }
    float step[most] = {};  // 0: no number of the row is read again
    Real inverse[most] = {};
    for (int i = 0; i < count; ++i) {
        norms[i] = merge_lanes<Norm::squares>(norm[i]);
        if (!(norms[i] < norm_range<float, Norm::squares>)) {
            norms[i] = out_of_range(rows + i * stride, d);
            continue;
        }
        Real top = 0;
        for (int l = 0; l < norm_lanes; ++l) top = largest[i][l] > top ? largest[i][l] : top;
        if (static_cast<double>(top) < least) continue;
        step[i] = static_cast<float>(top / Real(largest_code<Code>));
        if constexpr (sizeof(Code) == 2) {
            const auto least_step =
                static_cast<float>(__builtin_sqrt(norms[i]) / longest_code<Code>);
            step[i] = least_step > step[i] ? least_step : step[i];
        }
        inverse[i] = Real(1) / static_cast<Real>(step[i]);
    }

    float words[most][block / per_word];
    double residual[most][norm_lanes] = {};
    int32_t total[most] = {};
    for (int i = 0; i < width; ++i) {
        for (int64_t f = 0; f < block / per_word; ++f) words[i][f] = 0.0f;
    }
    for (int64_t first = 0; first < d; first += block) {
        const int64_t n = d - first < block ? d - first : block;
        centre_of(first, n);
        for (int i = 0; i < count; ++i) {
            if (step[i] == 0.0f) continue;
            const S* row = rows + i * stride + first;
            const double s = static_cast<double>(step[i]);
            const Real of_one = inverse[i];
            Real kept[block];
            Code codes[block];
            double lost[norm_lanes];
            for (int l = 0; l < norm_lanes; ++l) lost[l] = residual[i][l];
            for (int64_t j = 0; j < n; ++j) {
                kept[j] = to_whole(placed(row[j], c[j], unit) * of_one);
            }
            const auto one = [&](int64_t j, int l) {
                const double gap = static_cast<double>(placed(row[j], c[j], unit)) -
                                   s * static_cast<double>(kept[j]);
                lost[l] += gap * gap;
            };
            int64_t j = 0;
            for (; j + norm_lanes <= n; j += norm_lanes) {
                for (int l = 0; l < norm_lanes; ++l) one(j + l, l);
            }
            for (int l = 0; j + l < n; ++l) one(j + l, l);
            for (int l = 0; l < norm_lanes; ++l) residual[i][l] = lost[l];
            int32_t sum = 0;
            for (int64_t f = 0; f < n; ++f) {
                const auto code = static_cast<int32_t>(kept[f]);
                sum += code;
                codes[f] = static_cast<Code>(code);
            }
            total[i] += sum;
            for (int64_t f = n; f < block; ++f) codes[f] = 0;
            __builtin_memcpy(words[i], codes, sizeof codes);
        }
        transpose(&words[0][0], block / per_word, (n + per_word - 1) / per_word, width,
                  panel + first / per_word * width);
    }
    for (int i = 0; i < width; ++i) {
        float tail = 0.0f;
        int32_t start = 0;
        if (i < count) {
            const bool nan = norms[i] != norms[i];
            tail = nan ? static_cast<float>(norms[i]) : static_cast<float>(factor) * step[i];
            if (sizeof(Code) == 1) start = -128 * total[i];
            residuals[i] = step[i] == 0.0f ? norms[i] : merge_lanes<Norm::squares>(residual[i]);
        }
        panel[k * width + i] = tail;
        if (sizeof(Code) == 1) panel[(k + 1) * width + i] = bits_as<float>(start);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
