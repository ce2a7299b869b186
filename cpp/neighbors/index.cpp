#include "neighbors/index.hpp"

#include "engine/isa.hpp"

namespace pairtile {

PanelShape panel_shape(Packing packing, int64_t d) {
    switch (packing) {
        case Packing::int8:
            return {(d + 3) / 4 + int8_tail, isa().f32.pack_int8_float64 ? isa().f32.cols : 0};
        case Packing::int16:
            return {(d + 1) / 2 + int16_tail, isa().f32.pack_int16_float64 ? isa().f32.cols : 0};
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
    const Screen screen =
        choose_screen({references, references, metric, typical_k, precision}, control);
    Index index;
    index.frame = screen.frame;
    index.packing = screen.packing;
    const auto pack = [&](const auto& ops, auto& panels) {
        pack_rows(ops, references, 0, references.rows(), screen.frame, screen.formula,
                  {1.0, ops.cols, screen.formula.keeps_bounds(), false}, control, panels);
    };
    if (screen.wide()) {
        pack(isa().f64, index.wide);
    } else {
        pack(isa().f32, index.narrow);
    }
    return index;
}

}  // namespace pairtile
