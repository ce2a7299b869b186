// Sums over the rows of a sample, column by column, in float64.
#pragma once

#include <cstdint>

#include "isa/tile/column_lanes.hpp"
#include "pairtile/config.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class S>
struct OneColumn {
    typedef double Wide;
    static constexpr int lanes = 1;
    static double wide(const S* at) { return static_cast<double>(*at); }
    static double load(const double* at) { return *at; }
    static void store(double* at, double wide) { *at = wide; }
};

// Those of some columns, which stay in registers from the first row to the last.
template <class Lanes, int vectors, bool weighted, class S>
[[gnu::always_inline]] inline void add_some_columns(const S* rows, int64_t stride, int64_t count,
                                                    const double* weights, const S* first,
                                                    const double* origin, double* sums,
                                                    double* squares) {
    constexpr int lanes = Lanes::lanes;
    typename Lanes::Wide start[vectors], from[vectors], sum[vectors] = {}, square[vectors] = {};
    for (int v = 0; v < vectors; ++v) {
        from[v] = Lanes::load(origin + v * lanes);
        start[v] = Lanes::wide(first + v * lanes) - from[v];
    }
    for (int64_t i = 0; i < count; ++i, rows += stride) {
        const double weight = weighted ? weights[i] : 1.0;
        if (weighted && weight == 0) continue;  // what has no mass may be of any size
        for (int v = 0; v < vectors; ++v) {
            const auto off = (Lanes::wide(rows + v * lanes) - from[v]) - start[v];
            auto share = off;
            if (weighted) share *= weight;
            sum[v] += share;
            square[v] += share * off;
        }
    }
    for (int v = 0; v < vectors; ++v) {
        Lanes::store(sums + v * lanes, sum[v]);
        Lanes::store(squares + v * lanes, square[v]);
    }
}

template <bool weighted, class S>
void add_columns(const S* rows, int64_t stride, int64_t count, int64_t d, const double* weights,
                 const S* first, const double* origin, double* sums, double* squares) {
    const auto add = [&]<class Lanes, int vectors>(Lanes, int64_t j) {
        add_some_columns<Lanes, vectors, weighted>(rows + j, stride, count, weights, first + j,
                                                   origin + j, sums + j, squares + j);
    };
    constexpr int lanes = column_lanes, vectors = 4;
    int64_t j = 0;
    for (; j + vectors * lanes <= d; j += vectors * lanes) {
        add.template operator()<ColumnLanes<S>, vectors>({}, j);
    }
    for (; j + lanes <= d; j += lanes) add.template operator()<ColumnLanes<S>, 1>({}, j);
    for (; j < d; ++j) add.template operator()<OneColumn<S>, 1>({}, j);
}

// The bits are those of one column by itself, whatever the registers.
template <class S>
void column_sums(const S* rows, int64_t stride, int64_t count, int64_t d, const double* weights,
                 const S* first, const double* origin, double* sums, double* squares) {
    const auto add = weights ? add_columns<true, S> : add_columns<false, S>;
    add(rows, stride, count, d, weights, first, origin, sums, squares);
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
