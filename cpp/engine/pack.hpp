// Panels: rows of a source, brought into the frame of the plan, rounded once to the tile's type and
// laid out as the micro-kernel reads them. Second station of the data flow.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/tile_formula.hpp"

namespace pairtile {

// How the points of one side of a sweep are packed.
struct PanelLayout {
    double factor;       // times each packed number, not its norm
    int width;           // points in a panel
    bool each;           // keep the norm bound of each point, not just of each panel
    bool with_features;  // also as the right operand of products, without the factor
};

template <class T>
struct Panels {
    int64_t first = 0, count = 0;
    int width = 0;
    int64_t d = 0;                  // features, or words of bfloat16, int8, int16 or bits
    Buffer<T> data;                 // [panel][feature][width]
    Buffer<T> norms;                // per point; padded with zeros to whole panels
    Buffer<NormBound> norm_bounds;  // per point: √(Σ x²), Σ|x| or max|x|, and that of the residual
    Buffer<NormBound> panel_bounds;  // the largest of each panel
    Buffer<T> features;              // [feature panel][point][cols]
    Buffer<T> bias;                  // of columns: what their dot products begin with
    Buffer<T> copy;                  // where points in place are not what lies there
    // beside the panels of a prefix, [point][words]: the rows as they were before they were turned,
    // and the second step's coordinates with what is left after them and before
    int64_t whole_words = 0, more_words = 0;
    Buffer<T> whole, more;

    const T* panel_of(int64_t row) const { return data.data() + row / width * width * d; }

    // Points [from, from + points) in place; `from` begins a panel.
    Panels part(int64_t from, int64_t points) const {
        const int64_t panels = (points + width - 1) / width;
        Panels out;
        out.first = first + from;
        out.count = points;
        out.width = width;
        out.d = d;
        out.data = Buffer<T>::view(panel_of(from), panels * width * d);
        out.norms = Buffer<T>::view(norms.data() + from, panels * width);
        out.panel_bounds = Buffer<NormBound>::view(panel_bounds.data() + from / width, panels);
        out.whole_words = whole_words;
        out.more_words = more_words;
        out.whole = Buffer<T>::view(whole.data() + from * whole_words, points * whole_words);
        out.more = Buffer<T>::view(more.data() + from * more_words, points * more_words);
        if (norm_bounds.data()) {
            out.norm_bounds = Buffer<NormBound>::view(norm_bounds.data() + from, panels * width);
        }
        return out;
    }

    // Of a point where that is kept, else of its panel. Points in place have none.
    NormBound bound_of(int64_t point) const {
        if (norm_bounds.data()) return norm_bounds[point];
        return panel_bounds.data() ? panel_bounds[point / width] : NormBound{};
    }

    // Over the panels of [from, to); a NaN row does not hide the others. Points in place have none.
    NormBound largest_norm_bound(int64_t from, int64_t to) const {
        NormBound largest;
        if (!panel_bounds.data()) return largest;
        for (int64_t p = from / width; p * width < to; ++p) {
            largest.norm = std::max(largest.norm, panel_bounds[p].norm);
            largest.residual = std::max(largest.residual, panel_bounds[p].residual);
        }
        return largest;
    }
};

// Rows as they are, NaN where a feature is missing: what Ops pack is NaN throughout in such a row.
template <class S, class T>
void pack_with_nan(const RowsView<S>& rows, int count, int64_t d, int width, T* panel) {
    for (int64_t f = 0; f < d; ++f) {
        for (int i = 0; i < width; ++i) {
            panel[f * width + i] =
                i < count ? static_cast<T>(rows.data[i * rows.stride + f]) : T(0);
        }
    }
}

// Rows as the points `at` and following of the right operand of products.
template <class S, class T>
void pack_features(const Ops<T>& ops, const RowsView<S>& rows, int count, int64_t d,
                   const Frame& frame, int64_t at, Panels<T>& out) {
    for (int i = 0; i < count; ++i) {
        const S* row = rows.data + i * rows.stride;
        for (int64_t from = 0; from < d; from += ops.cols) {
            const int64_t here = std::min<int64_t>(ops.cols, d - from);
            const double* centre = frame.centre.data() + from;
            T* to = out.features.data() + from * out.count + (at + i) * ops.cols;
            for (int64_t j = 0; j < here; ++j) {
                to[j] =
                    static_cast<T>((static_cast<double>(row[from + j]) - centre[j]) * frame.scale);
            }
            for (int64_t j = here; j < ops.cols; ++j) to[j] = T(0);
        }
    }
}

// Norms and bounds of the `here` points from `at` on, which fill a panel, from Σ x² (or the norm of
// the formula) of each and what packing took off it. Rows out of range, and those that `apart` is
// true of, are as far as can be from being known.
template <class T, class Apart>
void keep_norms(const TileFormula& formula, const PanelLayout& side, int64_t at, int here,
                double* norms, const double* residuals, Apart apart, Panels<T>& out) {
    const double largest_norm = formula.norm == Norm::squares
                                    ? formula.largest_norm * formula.largest_norm
                                    : formula.largest_norm;
    const auto reach_of = [&](double norm) {
        return formula.norm == Norm::squares ? std::sqrt(norm) : norm;
    };
    T* to = out.norms.data() + at;
    for (int i = 0; i < here; ++i) to[i] = norms[i] == INFINITY ? T(0) : static_cast<T>(norms[i]);
    for (int i = here; i < side.width; ++i) to[i] = T(0);
    for (int i = 0; i < here; ++i) {
        if (norms[i] > largest_norm || apart(i)) norms[i] = INFINITY;
    }
    NormBound largest;
    for (int i = 0; i < here; ++i) {  // of squares, and so that NaN is passed over
        largest.norm = norms[i] > largest.norm ? norms[i] : largest.norm;
        largest.residual = residuals[i] > largest.residual ? residuals[i] : largest.residual;
    }
    out.panel_bounds[at / side.width] = {reach_of(largest.norm), std::sqrt(largest.residual)};
    for (int i = 0; side.each && i < side.width; ++i) {
        out.norm_bounds[at + i] =
            i < here ? NormBound{reach_of(norms[i]), std::sqrt(residuals[i])} : NormBound{};
    }
}

// The same as pack_panels(), of rows that are turned (`Prefix`): panels of their first coordinates
// and the length of the rest, and what the pairs that these leave are finished with.
template <class S>
void pack_turned(const Ops<float>& ops, const Source& source, int64_t first, int64_t count,
                 const Frame& frame, const TileFormula& formula, const PanelLayout& side,
                 int64_t at, Panels<float>& out);
// Room for the latter.
void reserve_turned(const Prefix& prefix, int64_t points, Panels<float>& out);

// Packs `count` points from `first` on as the points `at` and following of `out`.
template <class S, class T>
void pack_panels(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
                 const Frame& frame, const TileFormula& formula, const PanelLayout& side,
                 int64_t at, Panels<T>& out) {
    constexpr int most = 64;
    const int64_t d = source.d();
    if constexpr (sizeof(T) == 4) {
        if (formula.prefix) {
            return pack_turned<S>(ops, source, first, count, frame, formula, side, at, out);
        }
    }
    const bool int8 = formula.core == Core::dot_int8, int16 = formula.core == Core::dot_int16;
    const bool coarse = int8 || int16 || formula.core == Core::dot_bfloat16;
    // a row of zeros has no direction: its distance is a convention, not an argument
    const bool zeros_differ = source.normalised() && formula.add_norms;
    Buffer<S> copy(side.width * d);
    double norms[most], residuals[most] = {};
    for (int64_t from = 0; from < count; from += side.width) {
        const int here = static_cast<int>(std::min<int64_t>(side.width, count - from));
        const RowsView<S> rows = source.block(first + from, here, copy.data());
        T* panel = out.data.data() + (at + from) * out.d;
        const auto pack = [&](auto pack_plain, auto pack_coarse) {
            if (coarse) {
                pack_coarse(rows.data, rows.stride, here, d, frame.centre.data(), frame.scale,
                            side.factor, side.width, panel, norms, residuals);
            } else {
                pack_plain(rows.data, rows.stride, here, d, frame.centre.data(), frame.scale,
                           side.factor, formula.norm, side.width, panel, norms);
            }
        };
        if (formula.metric && formula.metric->traits().takes_nan) {
            pack_with_nan(rows, here, d, side.width, panel);
            std::fill(norms, norms + here, 0.0);
        } else if constexpr (sizeof(S) == 4) {
            pack(ops.pack_float32, int8    ? ops.pack_int8_float32
                                   : int16 ? ops.pack_int16_float32
                                           : ops.pack_bfloat16_float32);
        } else {
            pack(ops.pack_float64, int8    ? ops.pack_int8_float64
                                   : int16 ? ops.pack_int16_float64
                                           : ops.pack_bfloat16_float64);
        }
        if (side.with_features) pack_features(ops, rows, here, d, frame, at + from, out);
        const auto apart = [&](int i) {
            return zeros_differ && is_zero(rows.data + i * rows.stride, d);
        };
        keep_norms(formula, side, at + from, here, norms, residuals, apart, out);
    }
}

// The same for rows of packed bits, which are words as they are and have no frame.
template <class T>
void pack_bit_panels(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
                     const PanelLayout& side, int64_t at, Panels<T>& out) {
    std::vector<uint32_t> words(static_cast<size_t>(side.width * out.d));
    std::vector<double> norms(static_cast<size_t>(side.width));
    for (int64_t from = 0; from < count; from += side.width) {
        const int here = static_cast<int>(std::min<int64_t>(side.width, count - from));
        for (int i = 0; i < here; ++i) {
            uint32_t* row = words.data() + i * out.d;
            source.read_bytes(first + from + i, reinterpret_cast<uint8_t*>(row));
        }
        ops.pack_bits(words.data(), here, out.d, side.width, out.data.data() + (at + from) * out.d,
                      norms.data());
        for (int i = 0; i < side.width; ++i) {
            out.norms[at + from + i] =
                i < here ? static_cast<T>(norms[static_cast<size_t>(i)]) : T(0);
            if (side.each) out.norm_bounds[at + from + i] = {};
        }
        out.panel_bounds[(at + from) / side.width] = {};  // no error depends on them
    }
}

// Packs points [first, first + count).
template <class T>
void pack_rows(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
               const Frame& frame, const TileFormula& formula, const PanelLayout& side, int workers,
               Control& control, Panels<T>& out) {
    const int64_t d = source.d();
    const int width = side.width;
    const int64_t words = formula.words(d);
    const int64_t panels = (count + width - 1) / width;
    const int64_t feature_panels = (d + ops.cols - 1) / ops.cols;
    out.first = first;
    out.count = count;
    out.width = width;
    out.d = words;
    out.data.reserve(panels * width * words);
    out.norms.reserve(panels * width);
    out.panel_bounds.reserve(panels);
    if (side.each) out.norm_bounds.reserve(panels * width);
    if constexpr (sizeof(T) == 4) {
        if (formula.prefix) reserve_turned(*formula.prefix, panels * width, out);
    }
    if (side.with_features) out.features.reserve(feature_panels * count * ops.cols);

    constexpr int64_t panels_per_block = 8;
    const int64_t blocks = (panels + panels_per_block - 1) / panels_per_block;
    const int used = panels * width * d < (1 << 15) ? 1 : workers;
    const auto pack_block = [&](int64_t block, int) {
        const int64_t from = block * panels_per_block * width;
        const int64_t here = std::min(panels_per_block * width, count - from);
        if (formula.core == Core::differing_bits) {
            return pack_bit_panels(ops, source, first + from, here, side, from, out);
        }
        const auto pack = frame.narrow ? pack_panels<float, T> : pack_panels<double, T>;
        pack(ops, source, first + from, here, frame, formula, side, from, out);
    };
    // few of them are packed by any thread for itself, which is not to ask the outside world
    constexpr int64_t few = 8;
    if (used == 1 && blocks <= few) {
        for (int64_t block = 0; block < blocks; ++block) pack_block(block, 0);
    } else {
        parallel_for(blocks, used, control, pack_block);
    }
}

// The same on all threads of the call.
template <class T>
void pack_rows(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
               const Frame& frame, const TileFormula& formula, const PanelLayout& side,
               Control& control, Panels<T>& out) {
    pack_rows(ops, source, first, count, frame, formula, side, control.workers(), control, out);
}

// What the dot products of packed columns begin with, so that they end as the formula says.
template <class T>
void fill_bias(const TileFormula& formula, Panels<T>& cols) {
    const Core core = formula.core;
    if (core != Core::dot && core != Core::short_dot && core != Core::dot_bfloat16 &&
        core != Core::dot_int8 && core != Core::dot_int16) {
        return;
    }
    const int64_t padded = (cols.count + cols.width - 1) / cols.width * cols.width;
    cols.bias.reserve(padded);
    for (int64_t j = 0; j < padded; ++j) {
        cols.bias[j] = formula.add_norms ? cols.norms[j] : static_cast<T>(formula.constant_bias);
    }
}

}  // namespace pairtile
