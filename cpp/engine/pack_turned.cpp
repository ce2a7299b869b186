#include "engine/pack.hpp"
#include "engine/prefix.hpp"

namespace pairtile {

void reserve_turned(const Prefix& prefix, int64_t points, Panels<float>& out) {
    out.whole_words = prefix.whole_words();
    out.more_words = prefix.more_words();
    out.whole.reserve(points * out.whole_words);
    out.more.reserve(points * out.more_words);
}

template <class S>
void pack_turned(const Ops<float>& ops, const Source& source, int64_t first, int64_t count,
                 const Frame& frame, const TileFormula& formula, const PanelLayout& side,
                 int64_t at, Panels<float>& out) {
    constexpr int most = 64;
    const Prefix& prefix = *formula.prefix;
    const int64_t d = source.d(), kept = prefix.kept, further = prefix.more, words = kept + 1;
    const int64_t directions = prefix.directions;
    const bool zeros_differ = source.normalised() && formula.add_norms;
    const int64_t stride = Prefix::padded(d);
    Buffer<float> scratch(prefix.guesses ? count * stride : 0);
    float* whole = prefix.guesses ? scratch.data() : out.whole.data() + at * stride;
    std::vector<double> squares(static_cast<size_t>(count));
    std::vector<uint8_t> zero(static_cast<size_t>(count));
    Buffer<S> copy(d);
    for (int64_t i = 0; i < count; ++i) {
        const RowsView<S> row = source.block(first + i, 1, copy.data());
        float* to = whole + i * stride;
        double* square = &squares[static_cast<size_t>(i)];
        if constexpr (sizeof(S) == 4) {
            ops.pack_float32(row.data, row.stride, 1, d, frame.centre.data(), frame.scale, 1.0,
                             Norm::squares, 1, to, square);
        } else {
            ops.pack_float64(row.data, row.stride, 1, d, frame.centre.data(), frame.scale, 1.0,
                             Norm::squares, 1, to, square);
        }
        std::fill(to + d, to + stride, 0.0f);
        zero[static_cast<size_t>(i)] = zeros_differ && is_zero(row.data, d);
    }
    Buffer<float> turned(count * directions), lead(side.width * words);
    prefix.turn(ops, whole, stride, count, turned.data());
    const float factor = side.each ? static_cast<float>(side.factor) : 1.0f;
    double norms[most], off[most], residuals[most], ignored[most];
    for (int64_t from = 0; from < count; from += side.width) {
        const int here = static_cast<int>(std::min<int64_t>(side.width, count - from));
        for (int i = 0; i < here; ++i) {
            const float* coordinates = turned.data() + (from + i) * directions;
            norms[i] = squares[static_cast<size_t>(from + i)];
            Remainder rest;  // nothing of a row out of range
            if (norms[i] < INFINITY) rest = remainder_of(prefix, coordinates, norms[i]);
            off[i] = rest.off;
            float* to = lead.data() + i * words;
            std::copy(coordinates, coordinates + kept, to);
            to[kept] = rest.after_kept;
            if (further == 0) continue;
            to = out.more.data() + (at + from + i) * out.more_words;
            for (int64_t c = 0; c < further; ++c) to[c] = factor * coordinates[kept + c];
            to[further] = factor * rest.after_all;
            to[further + 1] = (side.each ? -factor : 1.0f) * rest.after_kept;
            std::fill(to + further + 2, to + out.more_words, 0.0f);
        }
        float* panel = out.data.data() + (at + from) * out.d;
        const double* origin = prefix.origin.data();
        if (formula.core == Core::dot_bfloat16) {
            ops.pack_bfloat16_float32(lead.data(), words, here, words, origin, 1.0, side.factor,
                                      side.width, panel, ignored, residuals);
            for (int i = 0; i < here; ++i) off[i] += std::sqrt(residuals[i]);
        } else {
            ops.pack_float32(lead.data(), words, here, words, origin, 1.0, side.factor,
                             Norm::squares, side.width, panel, ignored);
        }
        for (int i = 0; i < here; ++i) residuals[i] = off[i] * off[i];
        keep_norms(
            formula, side, at + from, here, norms, residuals,
            [&](int i) { return zero[static_cast<size_t>(from + i)] != 0; }, out);
    }
}

template void pack_turned<float>(const Ops<float>&, const Source&, int64_t, int64_t, const Frame&,
                                 const TileFormula&, const PanelLayout&, int64_t, Panels<float>&);
template void pack_turned<double>(const Ops<float>&, const Source&, int64_t, int64_t, const Frame&,
                                  const TileFormula&, const PanelLayout&, int64_t, Panels<float>&);

}  // namespace pairtile
