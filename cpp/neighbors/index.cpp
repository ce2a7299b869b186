#include "neighbors/index.hpp"

#include <string>

#include "engine/isa.hpp"
#include "engine/prefix.hpp"

namespace pairtile {

int64_t TurnedReferences::bytes(const Rotation& rotation, int64_t rows) {
    const Prefix& prefix = *rotation.prefix;
    constexpr int64_t norms = 4;
    return 4 * rows *
           (prefix.kept + 1 + prefix.whole_words() + prefix.more_words() + rotation.guess->kept +
            1 + norms);
}

void KeptTurned::tell(Question& question) {
    const std::lock_guard guard(lock_);
    served_ += question.queries.rows();
    unasked_ += question.queries.rows();
    question.rotation = turned_ ? turned_->rotation.get() : nullptr;
    question.served = served_;
    question.unasked = unasked_;
}

void KeptTurned::answer(const Question& question, Screen& screen, Control& control) {
    const std::lock_guard guard(lock_);
    if (screen.plan.asked) unasked_ = 0;
    const std::shared_ptr<const Rotation>& rotation = screen.plan.rotation;
    if (turned_ || !rotation) return;
    const int64_t rows = question.references.rows();
    const int64_t bytes = TurnedReferences::bytes(*rotation, rows), limit = control.memory();
    if (limit > 0 && bytes > limit / 2) {
        screen.plan.reasons.push_back("turned references are not kept: they would take " +
                                      std::to_string((bytes + 999'999) / 1'000'000) +
                                      " MB, more than half of memory_limit");
        return;
    }
    auto turned = std::make_shared<TurnedReferences>();
    turned->rotation = rotation;
    const auto pack = [&](const TileFormula& formula, Panels<float>& panels) {
        const Ops<float>& ops = isa().f32;
        pack_rows(ops, screen.cols, 0, rows, screen.frame, formula,
                  {1.0, ops.cols, formula.keeps_bounds(), false}, control, panels);
    };
    pack(screen.formula, turned->panels);
    pack(by_guess(screen.formula, *rotation->guess), turned->guess);
    turned_ = std::move(turned);
}

void KeptTurned::set(std::shared_ptr<const TurnedReferences> turned) {
    const std::lock_guard guard(lock_);
    turned_ = std::move(turned);
}

const TurnedReferences* KeptTurned::get() {
    const std::lock_guard guard(lock_);
    return turned_.get();
}

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
