#include "neighbors/index.hpp"

#include "engine/isa.hpp"

namespace pairtile {

Screen Index::screen(const Source& queries, const Source& references, const Metric& metric,
                     Control& control) const {
    return screen_in(queries, references, frame_for_queries(frame, queries, control), metric);
}

PanelShape panel_shape(Packing packing, int64_t d) {
    switch (packing) {
        case Packing::bfloat16:
            return {(d + 1) / 2, isa().f32.pack_bfloat16_float64 ? isa().f32.cols : 0};
        case Packing::float32:
            return {d, isa().f32.cols};
        case Packing::float64:
            return {d, isa().f64.cols};
    }
    return {d, 0};
}

Index pack_index(Source references, const Metric& metric, Precision precision, Control& control) {
    references.read_as(metric.traits().reading);
    constexpr int64_t typical_k = 10;
    const Screen screen = choose_screen(references, references, metric, control);
    const Choice choice =
        choose_precision(screen, references, references, typical_k, metric, precision);
    Index index;
    index.frame = screen.frame;
    index.packing = choice.packing();
    const auto pack = [&](const auto& ops, auto& panels) {
        pack_rows(ops, references, 0, references.rows(), screen.frame, choice.formula,
                  {1.0, ops.cols, false, false}, control, panels);
    };
    if (choice.wide) {
        pack(isa().f64, index.wide);
    } else {
        pack(isa().f32, index.narrow);
    }
    return index;
}

}  // namespace pairtile
