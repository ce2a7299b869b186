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
    int64_t d = 0;           // features, or words of two bfloat16 or of 32 bits
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

// Packs rows [first, first + count) in panels of `width`; with `with_features`, also as the right
// operand of products, uncentred and unscaled by `factor`.
template <class T>
void pack_rows(const Ops<T>& ops, const Source& source, int64_t first, int64_t count,
               const Frame& frame, const Pairing& pairing, double factor, int width,
               bool with_features, int workers, Control& control, Panels<T>& out) {
    const int64_t d = source.d();
    const bool coarse = pairing.core == Core::dot_bfloat16;
    const bool bits = pairing.core == Core::differing_bits;
    const int64_t words = pairing.words(d);
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
        Buffer<double> rows(bits ? 0 : width * d);
        std::vector<uint32_t> bit_rows(bits ? static_cast<size_t>(width * words) : 0);
        std::vector<double> norms(static_cast<size_t>(width)), residuals(norms);
        const int64_t end = std::min(panels, (block + 1) * panels_per_block);
        for (int64_t p = block * panels_per_block; p < end; ++p) {
            const int64_t from = p * width;
            const int here = static_cast<int>(std::min<int64_t>(width, count - from));
            for (int i = 0; i < here; ++i) {
                if (bits) {
                    uint32_t* row = bit_rows.data() + i * words;
                    source.read_bytes(first + from + i, reinterpret_cast<uint8_t*>(row));
                } else {
                    source.read(first + from + i, rows.data() + i * d);
                }
            }
            T* panel = out.data.data() + p * width * words;
            if (bits) {
                ops.pack_bits(bit_rows.data(), here, words, width, panel, norms.data());
            } else if (coarse) {
                ops.pack_bfloat16(rows.data(), here, d, frame.centre.data(), frame.scale, factor,
                                  width, panel, norms.data(), residuals.data());
            } else {
                ops.pack(rows.data(), here, d, frame.centre.data(), frame.scale, factor,
                         pairing.norm, width, panel, norms.data());
            }
            for (int i = 0; i < width; ++i) {
                const size_t at = static_cast<size_t>(i);
                const double value = i < here ? norms[at] : 0.0;
                const double lost = i < here ? residuals[at] : 0.0;
                out.norms[from + i] = static_cast<T>(value);
                out.extents[from + i] = {pairing.norm == Norm::squares ? std::sqrt(value) : value,
                                         std::sqrt(lost)};
            }
            if (!with_features) continue;
            for (int64_t panel = 0; panel < feature_panels; ++panel) {
                const int64_t left = std::min<int64_t>(ops.cols, d - panel * ops.cols);
                for (int i = 0; i < here; ++i) {
                    T* to = out.features.data() + (panel * count + from + i) * ops.cols;
                    const double* row = rows.data() + i * d + panel * ops.cols;
                    for (int64_t j = 0; j < left; ++j) to[j] = static_cast<T>(row[j]);
                    for (int64_t j = left; j < ops.cols; ++j) to[j] = T(0);
                }
            }
        }
    });
}

}  // namespace pairtile
