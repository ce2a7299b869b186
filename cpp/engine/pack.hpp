// Panels: rows of a source, brought into the frame of the plan, rounded once to the tile's type and
// laid out as the micro-kernel reads them. Second station of the data flow.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/plan.hpp"

namespace pairtile {

template <class T>
struct Panels {
    int64_t first = 0, count = 0;
    int width = 0;
    int64_t d = 0;           // features, or words of two bfloat16
    Buffer<T> data;          // [panel][feature][width]
    Buffer<T> norms;         // per row; padded with zeros to whole panels
    Buffer<Extent> extents;  // per row: √(Σ x²), Σ|x| or max|x|, and the same of the residual
    Buffer<T> features;      // [feature panel][row][cols]: the right operand of a product

    const T* panel_of(int64_t row) const { return data.data() + row / width * width * d; }

    Extent largest_extent(int64_t from, int64_t to) const {
        Extent largest;
        for (int64_t i = from; i < to; ++i) {
            // written so that a NaN row does not hide the others
            if (extents[i].reach > largest.reach) largest.reach = extents[i].reach;
            if (extents[i].residual > largest.residual) largest.residual = extents[i].residual;
        }
        return largest;
    }
};

// What packing makes of `count` rows from `first` on, as rows `at` and following of `out`.
template <class S, class T>
void pack_panels(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
                 const Frame& frame, const Pairing& pairing, double factor, int64_t at,
                 Panels<T>& out) {
    constexpr int most = 64;
    const int64_t d = source.d();
    const int width = out.width;
    // a row of zeros has no direction: its distance is a convention, not an argument
    const bool zeros_differ = source.normalised() && pairing.add_norms;
    Buffer<S> copy(width * d);
    double norms[most], residuals[most] = {};
    for (int64_t from = 0; from < count; from += width) {
        const int here = static_cast<int>(std::min<int64_t>(width, count - from));
        const Rows<S> rows = source.block(first + from, here, copy.data());
        T* panel = out.data.data() + (at + from) * out.d;
        const auto pack = [&](auto pack_plain, auto pack_bfloat16) {
            if (pairing.core == Core::dot_bfloat16) {
                pack_bfloat16(rows.data, rows.stride, here, d, frame.centre.data(), frame.scale,
                              factor, width, panel, norms, residuals);
            } else {
                pack_plain(rows.data, rows.stride, here, d, frame.centre.data(), frame.scale,
                           factor, pairing.norm, width, panel, norms);
            }
        };
        if constexpr (sizeof(S) == 4) {
            pack(ops.pack_float32, ops.pack_bfloat16_float32);
        } else {
            pack(ops.pack_float64, ops.pack_bfloat16_float64);
        }
        for (int i = 0; i < width; ++i) {
            const bool padding = i >= here;
            const double norm = padding ? 0.0 : norms[i];
            double reach = pairing.norm == Norm::squares ? std::sqrt(norm) : norm;
            if (reach > pairing.largest_reach) reach = INFINITY;
            if (zeros_differ && !padding && is_zero(rows.data + i * rows.stride, d)) {
                reach = INFINITY;
            }
            out.norms[at + from + i] =
                norm < INFINITY || norm != norm ? static_cast<T>(norm) : T(0);
            out.extents[at + from + i] = {reach, padding ? 0.0 : std::sqrt(residuals[i])};
        }
    }
}

// Packs rows [first, first + count) in panels of `width`; with `with_features`, also as the right
// operand of products, uncentred and unscaled by `factor`.
template <class T>
void pack_rows(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
               const Frame& frame, const Pairing& pairing, double factor, int width,
               bool with_features, int workers, Control& control, Panels<T>& out) {
    const int64_t d = source.d();
    const int64_t words = pairing.core == Core::dot_bfloat16 ? (d + 1) / 2 : d;
    const int64_t panels = (count + width - 1) / width;
    const int64_t feature_panels = (d + ops.cols - 1) / ops.cols;
    out.first = first;
    out.count = count;
    out.width = width;
    out.d = words;
    out.data.reserve(panels * width * words);
    out.norms.reserve(panels * width);
    out.extents.reserve(panels * width);
    if (with_features) out.features.reserve(feature_panels * count * ops.cols);

    constexpr int64_t panels_per_block = 8;
    const int64_t blocks = (panels + panels_per_block - 1) / panels_per_block;
    const int used = panels * width * d < (1 << 15) ? 1 : workers;
    parallel_for(blocks, used, control, [&](int64_t block, int) {
        const int64_t from = block * panels_per_block * width;
        const int64_t here = std::min(panels_per_block * width, count - from);
        const auto pack = source.fits_float32() ? pack_panels<float, T> : pack_panels<double, T>;
        pack(ops, source, first + from, here, frame, pairing, factor, from, out);
        if (!with_features) return;
        Buffer<double> row(d);
        for (int64_t i = from; i < from + here; ++i) {
            source.read(first + i, row.data());
            for (int64_t panel = 0; panel < feature_panels; ++panel) {
                const int64_t left = std::min<int64_t>(ops.cols, d - panel * ops.cols);
                T* to = out.features.data() + (panel * count + i) * ops.cols;
                for (int64_t j = 0; j < left; ++j) {
                    to[j] = static_cast<T>(row[panel * ops.cols + j]);
                }
                for (int64_t j = left; j < ops.cols; ++j) to[j] = T(0);
            }
        }
    });
}

}  // namespace pairtile
