// Maps and folds of one L1 tile, as plain loops that the compiler vectorises for the instruction
// set at hand. Sums run over explicit lanes: their order is fixed by the source, not the compiler.
#pragma once

#include "isa/ops.hpp"
#include "pairtile/fold/log_sum_exp.hpp"
#include "pairtile/fold/sigmoid.hpp"
#include "pairtile/fold/softmax_weight.hpp"
#include "pairtile/fold/sum.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

constexpr int sum_lanes = 16;

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

// A kernel's slope in the place of its value.
template <class Kernel>
struct SlopeOf {
    template <class T>
    static PAIRTILE_HD T value(T argument, const T* p) {
        return Kernel::slope(argument, p);
    }
    template <class T, class Loop>
    requires requires(const T* p, Loop loop) { Kernel::specialise_slope(p, loop); }
    static PAIRTILE_HD void specialise(const T* p, Loop loop) { Kernel::specialise_slope(p, loop); }
};

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

template <class Kernel, class T>
void log_kernel_tile(const T* tile, int64_t ld, int rows, int cols, const T* params, const T* rates,
                     const T* offsets, T* out, int64_t out_ld) {
    const T p[kernel_params] = {params[0], params[1], params[2]};
    const auto loop = [=](auto log_value) {
        for (int i = 0; i < rows; ++i) {
            const T* __restrict from = tile + i * ld;
            T* __restrict to = out + i * out_ld;
            for (int j = 0; j < cols; ++j) to[j] = log_value(from[j]);
            if (rates) {
                for (int j = 0; j < cols; ++j) to[j] *= rates[j];
            }
            if (offsets) {
                for (int j = 0; j < cols; ++j) to[j] += offsets[j];
            }
        }
    };
    if constexpr (requires { Kernel::specialise_log_value(p, loop); }) {
        Kernel::specialise_log_value(p, loop);
    } else {
        loop([&p](T argument) { return Kernel::log_value(argument, p); });
    }
}

template <class Kernel, class T>
void stein_tile(const T* squares, const T* scores, const T* cross, int64_t ld, int rows, int cols,
                const T* params, const T* parts, T weight, bool accumulate, T* out,
                int64_t out_ld) {
    const T p[kernel_params] = {params[0], params[1], params[2]};
    const T by_value = parts[0], by_cross = parts[1], by_slope = parts[2], by_curvature = parts[3];
    for (int i = 0; i < rows; ++i) {
        const T* __restrict s = squares + i * ld;
        const T* __restrict u = scores + i * ld;
        const T* __restrict c = cross + i * ld;
        T* __restrict to = out + i * out_ld;
        for (int j = 0; j < cols; ++j) {
            const SteinTerms<T> k = Kernel::stein(s[j], p);
            const T value = by_value * k.value * u[j] + k.slope * (by_cross * c[j] + by_slope) +
                            by_curvature * k.curvature;
            to[j] = weight * value + (accumulate ? to[j] : T(0));
        }
    }
}

// Σ over a row of map(j), over fixed lanes merged by a fixed tree.
template <class Map>
PAIRTILE_HD double lane_sum(int cols, Map map) {
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
void col_sums(const T* tile, int64_t ld, int rows, int cols, const double* weights, double* sums) {
    for (int i = 0; i < rows; ++i) {
        const T* __restrict row = tile + i * ld;
        double* __restrict to = sums;
        const double weight = weights ? weights[i] : 1.0;
        for (int j = 0; j < cols; ++j) to[j] += weight * static_cast<double>(row[j]);
    }
}

template <class T>
void scale_rows_and_cols(T* tile, int64_t ld, int rows, int cols, const T* row_factors,
                         const T* col_factors) {
    for (int i = 0; i < rows; ++i) {
        T* __restrict row = tile + i * ld;
        const T* __restrict factors = col_factors;
        const T mine = row_factors[i];
        for (int j = 0; j < cols; ++j) row[j] *= mine * factors[j];
    }
}

template <class T>
void add_scaled(const T* tile, int64_t ld, int rows, int cols, T factor, T* out, int64_t out_ld) {
    for (int i = 0; i < rows; ++i) {
        const T* __restrict from = tile + i * ld;
        T* __restrict to = out + i * out_ld;
        for (int j = 0; j < cols; ++j) to[j] += factor * from[j];
    }
}

template <class T>
void scale_tile(T* tile, int64_t ld, int rows, int cols, T factor) {
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; ++j) tile[i * ld + j] *= factor;
    }
}

// By registers: g++ 12 would compare lane by lane. With a NaN it may be any of them, or NaN.
template <class T>
T largest_of(const T* row, int cols) {
    using V = Vec<T>;
    typename V::Reg even = V::broadcast(row[0]), odd = even;
    int j = 0;
    for (; j + 2 * V::lanes <= cols; j += 2 * V::lanes) {
        even = V::max(V::load(row + j), even);
        odd = V::max(V::load(row + j + V::lanes), odd);
    }
    T lane[2][V::lanes];
    V::store(lane[0], even);
    V::store(lane[1], odd);
    T largest = lane[0][0];
    for (int l = 0; l < V::lanes; ++l) {
        const T high = lane[0][l] > lane[1][l] ? lane[0][l] : lane[1][l];
        largest = high > largest ? high : largest;
    }
    for (; j < cols; ++j) largest = row[j] > largest ? row[j] : largest;
    return largest;
}

// What logits are compared with: their largest, but a finite number where all are masked (−∞).
template <class T>
PAIRTILE_HD T reference_of(T top) {
    return top == -static_cast<T>(__builtin_inf()) ? T(0) : top;
}

template <class T>
void log_sum_exp_rows(const T* tile, int64_t ld, int rows, int cols, double* max, double* sum) {
    for (int i = 0; i < rows; ++i) {
        const T* row = tile + i * ld;
        const T top = largest_of(row, cols);
        const T shift = reference_of(top);
        const double part = lane_sum(cols, [=](int j) {
            return static_cast<double>(exponential_of_at_most_88(row[j] - shift));
        });
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
                part[j] += static_cast<double>(exponential_of_at_most_88(row[j] - shift[j]));
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

// Both at once, of one exponential for each pair, e^{x − top}, top being the largest of some
// columns. Of the terms of a row (or column) the largest stays apart: what the others add to it is
// its loss, which keeps its digits however small it is. One that is far below the top, where
// differences of logits have fewer digits, is summed by itself.
template <class T>
void log_sum_exp_rows_and_cols(const T* tile, int64_t ld, int rows, int cols, double* row_max,
                               double* row_sum, double* col_max, double* col_sum) {
    constexpr int strip = 256;
    constexpr T nothing = -static_cast<T>(__builtin_inf()), far = T(16), most = T(80);
    for (int first = 0; first < cols; first += strip) {
        const int n = cols - first < strip ? cols - first : strip;
        T col_top[strip], row_top[64], top = nothing;
        for (int j = 0; j < n; ++j) col_top[j] = nothing;
        for (int i = 0; i < rows; ++i) {
            const T* __restrict row = tile + i * ld + first;
            for (int j = 0; j < n; ++j) col_top[j] = row[j] > col_top[j] ? row[j] : col_top[j];
            row_top[i] = largest_of(row, n);
            top = row_top[i] > top ? row_top[i] : top;
        }
        const T shift = reference_of(top);

        // of columns with what came before: its largest is a term like others
        T before[strip], known[strip], largest[strip], rest[strip];
        for (int j = 0; j < n; ++j) before[j] = static_cast<T>(col_max[first + j]);
        for (int j = 0; j < n; ++j) {
            const T above = before[j] - shift;
            known[j] = exponential_of_at_most_88(above < most ? above : most);
            largest[j] = known[j];
            rest[j] = T(0);
        }
        T row_others[64];  // in units of the largest
        for (int i = 0; i < rows; ++i) {
            const T* __restrict row = tile + i * ld + first;
            T* __restrict col_largest = largest;
            T* __restrict col_rest = rest;
            T lane_largest[sum_lanes] = {}, lane_rest[sum_lanes] = {};
            const auto push = [&](int j, int l) {
                const T term = exponential_of_at_most_88(row[j] - shift);
                // min and max of registers; a NaN stays in the sum
                col_rest[j] += col_largest[j] < term ? col_largest[j] : term;
                col_largest[j] = col_largest[j] > term ? col_largest[j] : term;
                lane_rest[l] += lane_largest[l] < term ? lane_largest[l] : term;
                lane_largest[l] = lane_largest[l] > term ? lane_largest[l] : term;
            };
            int j = 0;
            for (; j + sum_lanes <= n; j += sum_lanes) {
                for (int l = 0; l < sum_lanes; ++l) push(j + l, l);
            }
            for (int l = 0; j + l < n; ++l) push(j + l, l);
            for (int half = sum_lanes / 2; half; half /= 2) {
                for (int l = 0; l < half; ++l) {
                    const T other = lane_largest[l + half];
                    lane_rest[l] +=
                        lane_rest[l + half] + (lane_largest[l] < other ? lane_largest[l] : other);
                    lane_largest[l] = other > lane_largest[l] ? other : lane_largest[l];
                }
            }
            row_others[i] = lane_rest[0] / lane_largest[0];
        }
        // what was summed before, in units of the new largest, and what is added
        T factor[strip], added[strip];
        int apart = 0;
        for (int j = 0; j < n; ++j) {
            const T high = col_top[j] > before[j] ? col_top[j] : before[j];
            const bool is_far = high < shift - far && col_top[j] > nothing;
            const bool some = largest[j] > T(0) && !is_far;
            factor[j] = some ? known[j] / largest[j] : T(1);
            added[j] = some ? rest[j] / largest[j] : is_far ? T(0) : rest[j];
            before[j] = is_far ? before[j] : high;
            apart += is_far;
        }
        for (int j = 0; j < n; ++j) {
            double* sum = col_sum + first + j;
            *sum = 1.0 +
                   ((*sum - 1.0) * static_cast<double>(factor[j]) + static_cast<double>(added[j]));
            col_max[first + j] = static_cast<double>(before[j]);
        }
        if (apart > 0) {
            double max[strip], sum[strip];
            for (int j = 0; j < n; ++j) max[j] = -__builtin_inf(), sum[j] = 0.0;
            log_sum_exp_cols(tile + first, ld, rows, n, max, sum);
            for (int j = 0; j < n; ++j) {
                const T high = col_top[j] > before[j] ? col_top[j] : before[j];
                if (!(high < shift - far && col_top[j] > nothing)) continue;
                LogSumExp state{col_max[first + j], col_sum[first + j]};
                state.merge(LogSumExp{max[j], sum[j]});
                col_max[first + j] = state.max;
                col_sum[first + j] = state.sum;
            }
        }
        for (int i = 0; i < rows; ++i) {
            if (!(row_top[i] >= shift - far)) {
                log_sum_exp_rows(tile + i * ld + first, ld, 1, n, row_max + i, row_sum + i);
                continue;
            }
            LogSumExp state{row_max[i], row_sum[i]};
            state.merge(LogSumExp{static_cast<double>(row_top[i]),
                                  1.0 + static_cast<double>(row_others[i])});
            row_max[i] = state.max;
            row_sum[i] = state.sum;
        }
    }
}

// The weights of rows and columns by one exponential for each pair, e^{x − largest}, where none of
// them is far below the largest logit: those factors are exact enough. False if one is.
template <class T>
bool softmax_weights_by_factors(const T* tile, int64_t ld, int rows, int cols,
                                const SoftmaxSide<T>& row, const SoftmaxSide<T>& col, T* out,
                                int64_t out_ld) {
    constexpr int strip = 256;
    const T apart = T(16);
    for (int first = 0; first < cols; first += strip) {
        const int n = cols - first < strip ? cols - first : strip;
        T top = -static_cast<T>(__builtin_inf());
        for (int i = 0; i < rows; ++i) {
            const T largest = largest_of(tile + i * ld + first, n);
            top = largest > top ? largest : top;
        }
        if (!(top > -static_cast<T>(__builtin_inf()))) return false;
        const auto factor = [top](const SoftmaxSide<T>& of, int k) {
            return of.upstream[k] * exponential((top - of.high[k]) - of.low[k]);
        };
        bool near = true;
        for (int i = 0; i < rows; ++i) near &= top - row.high[i] <= apart;
        for (int j = 0; j < n; ++j) near &= top - col.high[first + j] <= apart;
        if (!near) return false;
        T by_col[strip];
        for (int j = 0; j < n; ++j) by_col[j] = factor(col, first + j);
        for (int i = 0; i < rows; ++i) {
            const T* __restrict logit = tile + i * ld + first;
            T* __restrict to = out + i * out_ld + first;
            const T by_row = factor(row, i);
            for (int j = 0; j < n; ++j) {
                to[j] = exponential_of_at_most_88(logit[j] - top) * (by_row + by_col[j]);
            }
        }
    }
    return true;
}

template <class T>
void softmax_weights(const T* tile, int64_t ld, int rows, int cols, const SoftmaxSide<T>& row,
                     const SoftmaxSide<T>& col, T* out, int64_t out_ld) {
    const T* __restrict upstream = col.upstream;
    const T* __restrict high = col.high;
    const T* __restrict low = col.low;
    if (upstream && softmax_weights_by_factors(tile, ld, rows, cols, row, col, out, out_ld)) return;
    for (int i = 0; i < rows; ++i) {
        const T* __restrict logit = tile + i * ld;
        T* __restrict to = out + i * out_ld;
        const T mine = row.upstream[i], top = row.high[i], rest = row.low[i];
        for (int j = 0; j < cols; ++j) to[j] = softmax_weight(logit[j], mine, top, rest);
        if (!upstream) continue;
        for (int j = 0; j < cols; ++j) {
            to[j] += softmax_weight(logit[j], upstream[j], high[j], low[j]);
        }
    }
}

template <class T>
void softplus_sums(const T* tile, int64_t ld, int rows, int cols, T bias, double* sums) {
    for (int i = 0; i < rows; ++i) {
        const T* row = tile + i * ld;
        sums[i] +=
            lane_sum(cols, [=](int j) { return static_cast<double>(softplus(row[j] + bias)); });
    }
}

template <class T>
void sigmoid_weights(const T* tile, int64_t ld, int rows, int cols, T bias, const T* upstream,
                     double* sums, T* out, int64_t out_ld) {
    for (int i = 0; i < rows; ++i) {
        const T* __restrict logit = tile + i * ld;
        T* __restrict to = out + i * out_ld;
        const T mine = upstream[i];
        for (int j = 0; j < cols; ++j) to[j] = exponential_of_size(logit[j] + bias);
        sums[i] += lane_sum(cols, [logit, to, bias](int j) {
            return static_cast<double>(softplus(logit[j] + bias, to[j]));
        });
        for (int j = 0; j < cols; ++j) to[j] = mine * sigmoid(logit[j] + bias, to[j]);
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
