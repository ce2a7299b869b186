// A reference set packed once, for many searches: its frame, chosen from the references alone, and
// the panels of all its rows.
//
// The frame suits any queries: a row out of its range is known to be so and is confirmed by
// canonical values. Nothing here changes after packing but what some searches want, the order of
// rows and the turned rows, each of which is made once, or comes with the panels from a file: any
// number of threads search at once.
#pragma once

#include <mutex>

#include "engine/pack.hpp"
#include "engine/screen.hpp"
#include "engine/skipping.hpp"

namespace pairtile {

// References turned by a rotation, as tiles of lower bounds take them: panels for its prefix and
// for its guess.
struct TurnedReferences {
    std::shared_ptr<const Rotation> rotation;
    Panels<float> panels, guess;

    // What it takes for so many rows.
    static int64_t bytes(const Rotation& rotation, int64_t rows);
};

// Those that many searches share: the first that they help makes them. Whether they do is asked as
// if all queries so far came at once, and not before these are worth a sample.
class KeptTurned {
  public:
    // For a search: what there is, and whom else a rotation serves.
    void tell(Question& question);
    // What its plan was; turns the references if it wants them so, unless that is too much.
    void answer(const Question& question, Screen& screen, Control& control);
    // Of a file.
    void set(std::shared_ptr<const TurnedReferences> turned);
    // Null if there are none; never replaced.
    const TurnedReferences* get();

  private:
    std::mutex lock_;
    std::shared_ptr<const TurnedReferences> turned_;
    int64_t served_ = 0, unasked_ = 0;  // queries
};

struct Index {
    Frame frame;
    Packing packing = Packing::float32;
    Panels<float> narrow;  // int8, int16, bfloat16 or float32, else
    Panels<double> wide;   // float64
    std::shared_ptr<KeptOrder> order = std::make_shared<KeptOrder>();
    std::shared_ptr<KeptTurned> turned = std::make_shared<KeptTurned>();

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
    if (!index) return nullptr;
    if constexpr (sizeof(T) == 4) {
        if (const Prefix* prefix = screen.formula.prefix) {
            const TurnedReferences* turned = index->turned->get();
            if (!turned) return nullptr;
            if (turned->rotation->prefix.get() == prefix) return &turned->panels;
            return turned->rotation->guess.get() == prefix ? &turned->guess : nullptr;
        }
    }
    if (index->packing != screen.packing) return nullptr;
    if constexpr (sizeof(T) == 8) {
        return &index->wide;
    } else {
        return &index->narrow;
    }
}

}  // namespace pairtile
