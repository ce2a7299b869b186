// Maps and folds of one L1 tile, as plain loops that the compiler vectorises for the instruction
// set at hand. Sums run over explicit lanes: their order is fixed by the source, not the compiler.
#pragma once

#include "isa/ops.hpp"
#include "pairtile/fold/log_sum_exp.hpp"
#include "pairtile/fold/softmax_weight.hpp"
#include "pairtile/fold/sum.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr int sum_lanes = 16;

template <class T>
double norm_of(const T* x, int64_t d, Norm norm) {
    double lane[8] = {};
    const auto fold = [&](auto push) {
        int64_t j = 0;
        for (; j + 8 <= d; j += 8) {
            for (int l = 0; l < 8; ++l) lane[l] = push(lane[l], static_cast<double>(x[j + l]));
        }
        for (int l = 0; j + l < d; ++l) lane[l] = push(lane[l], static_cast<double>(x[j + l]));
        for (int half = 4; half; half /= 2) {
            for (int l = 0; l < half; ++l) {
                lane[l] = norm == Norm::largest
                              ? (lane[l] > lane[l + half] ? lane[l] : lane[l + half])
                              : lane[l] + lane[l + half];
            }
        }
        return lane[0];
    };
    if (norm == Norm::squares) return fold([](double s, double v) { return s + v * v; });
    if (norm == Norm::absolutes)
        return fold([](double s, double v) { return s + (v < 0 ? -v : v); });
    return fold([](double s, double v) {
        const double size = v < 0 ? -v : v;
        return size > s ? size : s;
    });
}

template <class T>
void pack(const double* rows, int count, int64_t d, const double* centre, double scale,
          double factor, Norm norm, int width, T* panel, double* norms) {
    constexpr int64_t strip = 512;
    T shifted[strip];
    for (int i = 0; i < count; ++i) {
        const double* row = rows + i * d;
        double finite = 0.0;  // stays 0 unless the row holds NaN or Inf
        double total = 0.0;
        for (int64_t first = 0; first < d; first += strip) {
            const int64_t n = d - first < strip ? d - first : strip;
            for (int64_t j = 0; j < n; ++j) {
                shifted[j] = static_cast<T>((row[first + j] - centre[first + j]) * scale);
            }
            const double part = norm_of(shifted, n, norm);
            total = norm == Norm::largest ? (part > total ? part : total) : total + part;
            double bad[8] = {};
            int64_t j = 0;
            for (; j + 8 <= n; j += 8) {
                for (int l = 0; l < 8; ++l) bad[l] += row[first + j + l] * 0.0;
            }
            for (int l = 0; j + l < n; ++l) bad[l] += row[first + j + l] * 0.0;
            for (int l = 0; l < 8; ++l) finite += bad[l];
            T* out = panel + first * width + i;
            for (int64_t f = 0; f < n; ++f) out[f * width] = shifted[f] * static_cast<T>(factor);
        }
        if (!(finite == 0.0)) {
            total = __builtin_nan("");
            for (int64_t f = 0; f < d; ++f) panel[f * width + i] = static_cast<T>(total);
        }
        norms[i] = total;
    }
    for (int64_t f = 0; f < d; ++f) {
        for (int i = count; i < width; ++i) panel[f * width + i] = T(0);
    }
}

// The nearest bfloat16, ties to even, as the high half of a float; x is finite.
PT_HD uint32_t bfloat16_bits(float x) {
    const uint32_t bits = bits_as<uint32_t>(x);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
}

template <class T>
void pack_bfloat16(const double* rows, int count, int64_t d, const double* centre, double scale,
                   double factor, int width, T* panel, double* norms, double* residuals) {
    constexpr int64_t strip = 512;
    const int64_t words = (d + 1) / 2;
    double exact[strip], lost[strip];
    uint32_t rounded[strip + 1];
    for (int i = 0; i < count; ++i) {
        const double* row = rows + i * d;
        double norm = 0.0, residual = 0.0;
        for (int64_t first = 0; first < d; first += strip) {
            const int64_t n = d - first < strip ? d - first : strip;
            for (int64_t j = 0; j < n; ++j) {
                exact[j] = (row[first + j] - centre[first + j]) * scale;
                rounded[j] = bfloat16_bits(static_cast<float>(exact[j]));
                const double kept = static_cast<double>(bits_as<float>(rounded[j]));
                lost[j] = exact[j] - kept;
                rounded[j] = bits_as<uint32_t>(static_cast<float>(kept * factor));
            }
            if (n % 2) rounded[n] = 0;
            norm += norm_of(exact, n, Norm::squares);
            residual += norm_of(lost, n, Norm::squares);
            T* out = panel + first / 2 * width + i;
            for (int64_t f = 0; f < (n + 1) / 2; ++f) {
                out[f * width] = bits_as<T>((rounded[2 * f] >> 16) | rounded[2 * f + 1]);
            }
        }
        if (!(norm < __builtin_inf())) {  // NaN or Inf in the row: NaN with every other
            norm = residual = __builtin_nan("");
            for (int64_t f = 0; f < words; ++f) panel[f * width + i] = bits_as<T>(0x7fc07fc0u);
        }
        norms[i] = norm;
        residuals[i] = residual;
    }
    for (int64_t f = 0; f < words; ++f) {
        for (int i = count; i < width; ++i) panel[f * width + i] = T(0);
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

template <class T>
int64_t count_below(const T* row, int n, T threshold) {
    int32_t lane[sum_lanes] = {};
    int j = 0;
    for (; j + sum_lanes <= n; j += sum_lanes) {
        for (int l = 0; l < sum_lanes; ++l) lane[l] += row[j + l] <= threshold;
    }
    int64_t total = 0;
    for (; j < n; ++j) total += row[j] <= threshold;
    for (int l = 0; l < sum_lanes; ++l) total += lane[l];
    return total;
}

template <class T>
void add_row_norms(T* tile, int64_t ld, int rows, int cols, const T* row_norms) {
    for (int i = 0; i < rows; ++i) {
        T* row = tile + i * ld;
        const T norm = row_norms[i];
        for (int j = 0; j < cols; ++j) {
            const T value = row[j] + norm;
            row[j] = value < T(0) ? T(0) : value;
        }
    }
}

template <class T>
void divide_by_union(T* tile, int64_t ld, int rows, int cols, const T* row_norms,
                     const T* col_norms) {
    for (int i = 0; i < rows; ++i) {
        T* __restrict row = tile + i * ld;
        const T norm = row_norms[i];
        for (int j = 0; j < cols; ++j) {
            const T twice_union = norm + col_norms[j] + row[j];
            row[j] = T(2) * row[j] / (twice_union > T(0) ? twice_union : T(1));
        }
    }
}

template <class Kernel, class T>
void kernel_tile(const T* tile, int64_t ld, int rows, int cols, const T* params, T weight,
                 bool accumulate, T* out, int64_t out_ld) {
    const T p[kernel_params] = {params[0], params[1], params[2]};
    const auto loop = [=](auto value) {
        for (int i = 0; i < rows; ++i) {
            const T* __restrict from = tile + i * ld;
            T* __restrict to = out + i * out_ld;
            if (accumulate) {
                for (int j = 0; j < cols; ++j) to[j] += weight * value(from[j]);
            } else if (weight == T(1)) {
                for (int j = 0; j < cols; ++j) to[j] = value(from[j]);
            } else {
                for (int j = 0; j < cols; ++j) to[j] = weight * value(from[j]);
            }
        }
    };
    if constexpr (requires { Kernel::specialise(p, loop); }) {
        Kernel::specialise(p, loop);
    } else {
        loop([&p](T argument) { return Kernel::value(argument, p); });
    }
}

// Σ over a row of map(j), over fixed lanes merged by a fixed tree.
template <class Map>
PT_HD double lane_sum(int cols, Map map) {
    Sum lane[sum_lanes] = {};
    int j = 0;
    for (; j + sum_lanes <= cols; j += sum_lanes) {
        for (int l = 0; l < sum_lanes; ++l) lane[l].push(map(j + l));
    }
    for (int l = 0; j + l < cols; ++l) lane[l].push(map(j + l));
    for (int half = sum_lanes / 2; half; half /= 2) {
        for (int l = 0; l < half; ++l) lane[l].merge(lane[l + half]);
    }
    return lane[0].finish();
}

template <class T>
void row_sums(const T* tile, int64_t ld, int rows, int cols, const double* weights, double* sums) {
    for (int i = 0; i < rows; ++i) {
        const T* row = tile + i * ld;
        if (weights) {
            sums[i] +=
                lane_sum(cols, [=](int j) { return weights[j] * static_cast<double>(row[j]); });
        } else {
            sums[i] += lane_sum(cols, [=](int j) { return static_cast<double>(row[j]); });
        }
    }
}

template <class T>
void scale_tile(T* tile, int64_t ld, int rows, int cols, T factor) {
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; ++j) tile[i * ld + j] *= factor;
    }
}

template <class T>
PT_HD T largest_of(const T* row, int cols) {
    T lane[sum_lanes];
    for (int l = 0; l < sum_lanes; ++l) lane[l] = -static_cast<T>(__builtin_inf());
    int j = 0;
    for (; j + sum_lanes <= cols; j += sum_lanes) {
        for (int l = 0; l < sum_lanes; ++l) lane[l] = row[j + l] > lane[l] ? row[j + l] : lane[l];
    }
    for (int l = 0; j + l < cols; ++l) lane[l] = row[j + l] > lane[l] ? row[j + l] : lane[l];
    T largest = lane[0];
    for (int l = 1; l < sum_lanes; ++l) largest = lane[l] > largest ? lane[l] : largest;
    return largest;
}

// What logits are compared with: their largest, but a finite number where all are masked (−∞).
template <class T>
PT_HD T reference_of(T top) {
    return top == -static_cast<T>(__builtin_inf()) ? T(0) : top;
}

template <class T>
void log_sum_exp_rows(const T* tile, int64_t ld, int rows, int cols, double* max, double* sum) {
    for (int i = 0; i < rows; ++i) {
        const T* row = tile + i * ld;
        const T top = largest_of(row, cols);
        const T shift = reference_of(top);
        const double part =
            lane_sum(cols, [=](int j) { return static_cast<double>(exponential(row[j] - shift)); });
        LogSumExp state{max[i], sum[i]};
        state.merge(LogSumExp{static_cast<double>(top), part});
        max[i] = state.max;
        sum[i] = state.sum;
    }
}

template <class T>
void log_sum_exp_cols(const T* tile, int64_t ld, int rows, int cols, double* max, double* sum) {
    constexpr int strip = 64;
    for (int first = 0; first < cols; first += strip) {
        const int n = cols - first < strip ? cols - first : strip;
        T top[strip], shift[strip];
        double part[strip];  // what is small beside the largest term must not be rounded away
        for (int j = 0; j < n; ++j) top[j] = tile[first + j], part[j] = 0.0;
        for (int i = 1; i < rows; ++i) {
            const T* row = tile + i * ld + first;
            for (int j = 0; j < n; ++j) top[j] = row[j] > top[j] ? row[j] : top[j];
        }
        for (int j = 0; j < n; ++j) shift[j] = reference_of(top[j]);
        for (int i = 0; i < rows; ++i) {
            const T* row = tile + i * ld + first;
            for (int j = 0; j < n; ++j) {
                part[j] += static_cast<double>(exponential(row[j] - shift[j]));
            }
        }
        for (int j = 0; j < n; ++j) {
            LogSumExp state{max[first + j], sum[first + j]};
            state.merge(LogSumExp{static_cast<double>(top[j]), part[j]});
            max[first + j] = state.max;
            sum[first + j] = state.sum;
        }
    }
}

template <class T>
void softmax_weights(const T* tile, int64_t ld, int rows, int cols, const SoftmaxSide<T>& row,
                     const SoftmaxSide<T>& col, T* out, int64_t out_ld) {
    const T* __restrict upstream = col.upstream;
    const T* __restrict max = col.max;
    const T* __restrict log_sum = col.log_sum;
    for (int i = 0; i < rows; ++i) {
        const T* __restrict logit = tile + i * ld;
        T* __restrict to = out + i * out_ld;
        const T mine = row.upstream[i], top = row.max[i], log = row.log_sum[i];
        for (int j = 0; j < cols; ++j) to[j] = softmax_weight(logit[j], mine, top, log);
        if (!upstream) continue;
        for (int j = 0; j < cols; ++j) {
            to[j] += softmax_weight(logit[j], upstream[j], max[j], log_sum[j]);
        }
    }
}

template <class T>
double block_dot(const T* a, int64_t a_ld, const T* b, int64_t b_ld, int rows, int cols) {
    double total = 0.0;
    for (int i = 0; i < rows; ++i) {
        const T* x = a + i * a_ld;
        const T* y = b + i * b_ld;
        total += lane_sum(
            cols, [=](int j) { return static_cast<double>(x[j]) * static_cast<double>(y[j]); });
    }
    return total;
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
