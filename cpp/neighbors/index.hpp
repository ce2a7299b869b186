// A reference set packed once, for many searches: its frame, chosen from the references alone, and
// the panels of all its rows.
//
// The frame suits any queries: a row out of its range is known to be so and is confirmed by
// canonical values. Nothing here changes after packing but the order that some searches want, which
// is made once, or comes with the panels from a file: any number of threads search at once.
#pragma once

#include "engine/pack.hpp"
#include "engine/screen.hpp"
#include "engine/skipping.hpp"

namespace pairtile {

struct Index {
    Frame frame;
    Packing packing = Packing::float32;
    Panels<float> narrow;  // int8, int16, bfloat16 or float32, else
    Panels<double> wide;   // float64
    std::shared_ptr<KeptOrder> order = std::make_shared<KeptOrder>();

    bool fits(int64_t rows, int64_t d) const {
        return (packing == Packing::float64 ? wide.count : narrow.count) == rows &&
               static_cast<int64_t>(frame.centre.size()) == d;
    }
};

// Panels as this processor packs them: d words of a row, points in a panel; 0 points where it has
// no such micro-kernel.
struct PanelShape {
    int64_t words;
    int width;
};
PanelShape panel_shape(Packing packing, int64_t d);

// In the precision that a search of the references among themselves would choose.
Index pack_index(Source references, const Metric& metric, Precision precision, Control& control);

// The panels of the index if this screen can use them, else null.
template <class T>
const Panels<T>* packed_for(const Index* index, const Screen& screen) {
    if (!index || index->packing != screen.packing || screen.formula.prefix) return nullptr;
    if constexpr (sizeof(T) == 8) {
        return &index->wide;
    } else {
        return &index->narrow;
    }
}

}  // namespace pairtile
