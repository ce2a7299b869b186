// Packing: rows as they lie in memory -> panels as the micro-kernels read them, feature by feature,
// in the frame of the plan. A block of features of each row is brought into the frame and rounded
// in L1, then turned by whole vectors.
#pragma once

#include <type_traits>

#include "isa/ops.hpp"
#include "isa/tile/quad.hpp"
#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

// out[j·width + i] = in[i·ld + j] for the 16/sizeof(T) rows and columns that begin at each corner.
PAIRTILE_HD void transpose(const float* in, int64_t ld, float* out, int64_t width) {
    using V = Quad<float>;
    [[maybe_unused]] typedef int Mask __attribute__((vector_size(16)));
    V row[4];
    for (int i = 0; i < 4; ++i) __builtin_memcpy(&row[i], in + i * ld, sizeof(V));
    const V a = PT_SHUFFLE(row[0], row[1], 0, 4, 1, 5), b = PT_SHUFFLE(row[2], row[3], 0, 4, 1, 5);
    const V c = PT_SHUFFLE(row[0], row[1], 2, 6, 3, 7), d = PT_SHUFFLE(row[2], row[3], 2, 6, 3, 7);
    const V turned[4] = {PT_SHUFFLE(a, b, 0, 1, 4, 5), PT_SHUFFLE(a, b, 2, 3, 6, 7),
                         PT_SHUFFLE(c, d, 0, 1, 4, 5), PT_SHUFFLE(c, d, 2, 3, 6, 7)};
    for (int j = 0; j < 4; ++j) __builtin_memcpy(out + j * width, &turned[j], sizeof(V));
}

PAIRTILE_HD void transpose(const double* in, int64_t ld, double* out, int64_t width) {
    using V = Quad<double>;
    [[maybe_unused]] typedef long long Mask __attribute__((vector_size(16)));
    V row[2];
    for (int i = 0; i < 2; ++i) __builtin_memcpy(&row[i], in + i * ld, sizeof(V));
    const V turned[2] = {PT_SHUFFLE(row[0], row[1], 0, 2), PT_SHUFFLE(row[0], row[1], 1, 3)};
    for (int j = 0; j < 2; ++j) __builtin_memcpy(out + j * width, &turned[j], sizeof(V));
}

// `width` rows of n values, ld apart -> n rows of `width` values.
template <class T>
void transpose(const T* in, int64_t ld, int64_t n, int width, T* out) {
    constexpr int step = 16 / sizeof(T);
    const int whole = width / step * step;
    int64_t j = 0;
    for (; j + step <= n; j += step) {
        for (int i = 0; i < whole; i += step) {
            transpose(in + i * ld + j, ld, out + j * width + i, width);
        }
        for (int i = whole; i < width; ++i) {
            for (int64_t f = j; f < j + step; ++f) out[f * width + i] = in[i * ld + f];
        }
    }
    for (; j < n; ++j) {
        for (int i = 0; i < width; ++i) out[j * width + i] = in[i * ld + j];
    }
}

constexpr int norm_lanes = 8;

// One more value in a norm; NaN stays.
template <Norm norm>
PAIRTILE_HD double grow(double state, double value) {
    if constexpr (norm == Norm::squares) return state + value * value;
    const double size = value < 0 ? -value : value;
    if constexpr (norm == Norm::absolutes) return state + size;
    return size > state || size != size ? size : state;
}

template <Norm norm>
PAIRTILE_HD double merge_lanes(const double* lane) {
    double part[norm_lanes];
    for (int l = 0; l < norm_lanes; ++l) part[l] = lane[l];
    for (int half = norm_lanes / 2; half; half /= 2) {
        for (int l = 0; l < half; ++l) {
            if constexpr (norm == Norm::largest) {
                part[l] = grow<norm>(part[l], part[l + half]);
            } else {
                part[l] += part[l + half];
            }
        }
    }
    return part[0];
}

// Norms from here on leave no room for sums and products in T; no limit where none are formed.
template <class T, Norm norm>
constexpr double norm_range = norm == Norm::largest ? __builtin_inf()
                              : sizeof(T) == 4      ? 0x1p120
                                                    : 0x1p1000;

// The norm of a row whose norm is out of range: NaN if it holds NaN or Inf, else infinity.
template <class S>
double out_of_range(const S* row, int64_t d) {
    double zero = 0.0;
    for (int64_t j = 0; j < d; ++j) zero += static_cast<double>(row[j]) * 0.0;
    return zero == 0.0 ? __builtin_inf() : __builtin_nan("");
}

// Arithmetic of (x − centre)·scale: float32 does where all it meets is float32, for one rounding is
// all there is then. Of a frame that is not narrow no row is read as float32.
template <class S, class T>
using Shift = std::conditional_t<sizeof(S) == 4 && sizeof(T) == 4, float, double>;

template <class Real, class S>
PAIRTILE_HD Real placed(S x, Real centre, Real scale) {
    return (static_cast<Real>(x) - centre) * scale;
}

// Asks for the row that is read a few rows later: the sweep's own work between two panels makes the
// processor's prefetching lose the thread.
template <class S>
PAIRTILE_HD void prefetch(const S* row, int64_t stride, int64_t n) {
    constexpr int64_t rows_ahead = 16, line = 64 / sizeof(S);
    for (int64_t j = 0; j < n; j += line) __builtin_prefetch(row + rows_ahead * stride + j);
}

// Norms are summed of the packed numbers as they are written, times the factor, a power of two:
// GCC 12 takes double -> float -> double of a whole vector for nothing (its rule for conversions in
// a row compares numbers of lanes), and the norm would be that of a row before its rounding.
template <Norm norm, class S, class T>
void pack_with(const S* rows, int64_t stride, int count, int64_t d, const double* centre,
               double scale, double factor, int width, T* panel, double* norms) {
    constexpr int64_t block = 128;  // features at a time
    constexpr int most = Block<T>::cols > Block<T>::rows ? Block<T>::cols : Block<T>::rows;
    using Real = Shift<S, T>;
    const Real unit = static_cast<Real>(scale);
    const T times = static_cast<T>(factor);
    const double of_norm = norm == Norm::squares ? factor * factor : factor < 0 ? -factor : factor;
    if (d <= norm_lanes) {  // few features: the rows themselves are the lanes
        double total[most] = {};
        for (int64_t f = 0; f < d; ++f) {
            T* out = panel + f * width;
            const Real middle = static_cast<Real>(centre[f]);
            for (int i = 0; i < count; ++i) {
                out[i] = static_cast<T>(placed(rows[i * stride + f], middle, unit)) * times;
                total[i] = grow<norm>(total[i], static_cast<double>(out[i]));
            }
            for (int i = count; i < width; ++i) out[i] = T(0);
        }
        for (int i = 0; i < count; ++i) norms[i] = total[i] / of_norm;
    } else {
        T values[most][block];
        double lane[most][norm_lanes] = {};
        for (int i = count; i < width; ++i) {
            for (int64_t j = 0; j < block; ++j) values[i][j] = T(0);
        }
        for (int64_t first = 0; first < d; first += block) {
            const int64_t n = d - first < block ? d - first : block;
            Real c[block];
            for (int64_t j = 0; j < n; ++j) c[j] = static_cast<Real>(centre[first + j]);
            for (int i = 0; i < count; ++i) {
                const S* row = rows + i * stride + first;
                prefetch(row, stride, n);
                double state[norm_lanes];
                for (int l = 0; l < norm_lanes; ++l) state[l] = lane[i][l];
                const auto one = [&](int64_t j, int l) {
                    const T packed = static_cast<T>(placed(row[j], c[j], unit)) * times;
                    state[l] = grow<norm>(state[l], static_cast<double>(packed));
                    values[i][j] = packed;
                };
                int64_t j = 0;
                for (; j + norm_lanes <= n; j += norm_lanes) {
                    for (int l = 0; l < norm_lanes; ++l) one(j + l, l);
                }
                for (int l = 0; j + l < n; ++l) one(j + l, l);
                for (int l = 0; l < norm_lanes; ++l) lane[i][l] = state[l];
            }
            transpose(&values[0][0], block, n, width, panel + first * width);
        }
        for (int i = 0; i < count; ++i) norms[i] = merge_lanes<norm>(lane[i]) / of_norm;
    }
    for (int i = 0; i < count; ++i) {
        if (norms[i] < norm_range<T, norm>) continue;
        norms[i] = out_of_range(rows + i * stride, d);
        const T filler = norms[i] != norms[i] ? static_cast<T>(norms[i]) : T(0);
        for (int64_t f = 0; f < d; ++f) panel[f * width + i] = filler;
    }
}

template <class S, class T>
void pack(const S* rows, int64_t stride, int count, int64_t d, const double* centre, double scale,
          double factor, Norm norm, int width, T* panel, double* norms) {
    const auto with = norm == Norm::squares     ? pack_with<Norm::squares, S, T>
                      : norm == Norm::absolutes ? pack_with<Norm::absolutes, S, T>
                                                : pack_with<Norm::largest, S, T>;
    with(rows, stride, count, d, centre, scale, factor, width, panel, norms);
}

// The nearest bfloat16, ties to even, as the high half of a float; x is finite.
PAIRTILE_HD uint32_t bfloat16_bits(float x) {
    const uint32_t bits = bits_as<uint32_t>(x);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
}

template <class S, class T>
void pack_bfloat16(const S* rows, int64_t stride, int count, int64_t d, const double* centre,
                   double scale, double factor, int width, T* panel, double* norms,
                   double* residuals) {
    constexpr int64_t block = 128;
    constexpr int most = Block<T>::cols > Block<T>::rows ? Block<T>::cols : Block<T>::rows;
    using Real = Shift<S, T>;
    const Real unit = static_cast<Real>(scale);
    const float times = static_cast<float>(factor);
    T words[most][block / 2];
    double norm[most][norm_lanes] = {}, residual[most][norm_lanes] = {};
    for (int i = count; i < width; ++i) {
        for (int64_t j = 0; j < block / 2; ++j) words[i][j] = T(0);
    }
    for (int64_t first = 0; first < d; first += block) {
        const int64_t n = d - first < block ? d - first : block;
        Real c[block];
        for (int64_t j = 0; j < n; ++j) c[j] = static_cast<Real>(centre[first + j]);
        for (int i = 0; i < count; ++i) {
            const S* row = rows + i * stride + first;
            prefetch(row, stride, n);
            uint32_t rounded[block];
            double square[norm_lanes], lost[norm_lanes];
            for (int l = 0; l < norm_lanes; ++l) square[l] = norm[i][l], lost[l] = residual[i][l];
            const auto one = [&](int64_t j, int l) {
                const Real exact = placed(row[j], c[j], unit);
                const float kept = bits_as<float>(bfloat16_bits(static_cast<float>(exact)));
                const double gap = static_cast<double>(exact - static_cast<Real>(kept));
                square[l] += static_cast<double>(exact) * static_cast<double>(exact);
                lost[l] += gap * gap;
                rounded[j] = bits_as<uint32_t>(kept * times);
            };
            int64_t j = 0;
            for (; j + norm_lanes <= n; j += norm_lanes) {
                for (int l = 0; l < norm_lanes; ++l) one(j + l, l);
            }
            for (int l = 0; j + l < n; ++l) one(j + l, l);
            for (int l = 0; l < norm_lanes; ++l) norm[i][l] = square[l], residual[i][l] = lost[l];
            if (n % 2) rounded[n] = 0;
            for (int64_t f = 0; f < (n + 1) / 2; ++f) {
                words[i][f] = bits_as<T>((rounded[2 * f] >> 16) | rounded[2 * f + 1]);
            }
        }
        transpose(&words[0][0], block / 2, (n + 1) / 2, width, panel + first / 2 * width);
    }
    for (int i = 0; i < count; ++i) {
        norms[i] = merge_lanes<Norm::squares>(norm[i]);
        residuals[i] = merge_lanes<Norm::squares>(residual[i]);
        if (norms[i] < norm_range<T, Norm::squares>) continue;
        norms[i] = residuals[i] = out_of_range(rows + i * stride, d);
        const uint32_t filler = norms[i] != norms[i] ? 0x7fc07fc0u : 0u;
        for (int64_t f = 0; f < (d + 1) / 2; ++f) panel[f * width + i] = bits_as<T>(filler);
    }
}

template <class T>
void pack_bits(const uint32_t* rows, int count, int64_t words, int width, T* panel, double* norms) {
    for (int i = 0; i < count; ++i) {
        int64_t set = 0;
        for (int64_t f = 0; f < words; ++f) {
            const uint32_t word = rows[i * words + f];
            set += __builtin_popcount(word);
            panel[f * width + i] = bits_as<T>(word);
        }
        norms[i] = static_cast<double>(set);
    }
    for (int64_t f = 0; f < words; ++f) {
        for (int i = count; i < width; ++i) panel[f * width + i] = T(0);
    }
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
