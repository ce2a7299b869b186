#include "engine/plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "engine/canonical.hpp"
#include "engine/isa.hpp"

namespace pairtile {
namespace {

constexpr const char* forcible[] = {"", "in_place", "bfloat16", "float32", "float64"};
std::atomic<Forced> forced_now{Forced::nothing};  // also while other threads search

// The share of all references that a screen with this error would leave to be rescored, from a
// sample: those beyond a query's k-th neighbour by no more than twice the error.
class AmbiguousShare {
  public:
    AmbiguousShare(const Source& queries, const Source& references, int64_t k, const Metric& metric,
                   const Framed& screen)
        : many_(std::min(references.rows(), sample_references)),
          few_(std::min(queries.rows(), sample_queries)) {
        const int64_t n = queries.rows(), m = references.rows();
        const TileFormula& formula = screen.float32;
        Canonical canonical(metric, queries, references);
        Buffer<double> row(queries.d());
        const auto reach_of = [&](const Source& source, int64_t i) {
            source.read(i, row.data());
            double reach = 0.0;
            for (int64_t j = 0; j < source.d(); ++j) {
                const double x =
                    (row[j] - screen.frame.centre[static_cast<size_t>(j)]) * screen.frame.scale;
                if (formula.norm == Norm::squares) reach += x * x;
                if (formula.norm == Norm::absolutes) reach += std::fabs(x);
                if (formula.norm == Norm::largest) reach = std::max(reach, std::fabs(x));
            }
            return formula.norm == Norm::squares ? std::sqrt(reach) : reach;
        };
        for (int64_t r = 0; r < many_; ++r)
            references_.push_back(reach_of(screen.cols, r * m / many_));
        for (int64_t q = 0; q < few_; ++q) {
            canonical.set_row(q * n / few_);
            queries_.push_back(reach_of(screen.rows, q * n / few_));
            std::vector<double> values;
            for (int64_t r = 0; r < many_; ++r) {
                values.push_back(formula.unit * canonical(r * m / many_));
            }
            const auto at = values.begin() + std::min(many_ - 1, k * many_ / m);
            std::vector<double> beyond = values;
            std::nth_element(beyond.begin(), beyond.begin() + (at - values.begin()), beyond.end());
            const double kth = beyond[static_cast<size_t>(at - values.begin())];
            for (double& value : values) value -= kth;
            beyond_kth_.push_back(std::move(values));
        }
    }

    double operator()(const TileFormula& formula) const {
        // what bfloat16 leaves of a row, as a share of its norm, where mantissas are spread evenly
        const double lost = formula.core == Core::dot_bfloat16 ? 0x1p-10 : 0.0;
        int64_t ambiguous = 0;
        for (size_t q = 0; q < queries_.size(); ++q) {
            for (size_t r = 0; r < references_.size(); ++r) {
                const double margin = 2.0 * formula.error({queries_[q], lost * queries_[q]},
                                                          {references_[r], lost * references_[r]});
                const double beyond = beyond_kth_[q][r];
                ambiguous += beyond > 0.0 ? beyond <= margin : beyond < 0.0 ? 0 : margin > 0.0;
            }
            ambiguous -= 1;  // the k-th neighbour itself
        }
        return static_cast<double>(std::max<int64_t>(0, ambiguous)) /
               static_cast<double>(few_ * many_);
    }

  private:
    static constexpr int64_t sample_queries = 8, sample_references = 2048;
    int64_t many_, few_;
    std::vector<double> queries_, references_;     // norms
    std::vector<std::vector<double>> beyond_kth_;  // value − k-th value, in packed units
};

// A text with numbers in it.
template <class... Numbers>
std::string text(const char* format, Numbers... numbers) {
    char line[256];
    std::snprintf(line, sizeof line, format, numbers...);
    return line;
}

Plan only(Packing packing, std::string why) {
    Plan plan;
    plan.packing = packing;
    plan.reasons.push_back(std::move(why));
    return plan;
}

// Costs of a pair: its share of the micro-kernel, in features at float32's rate; of the packing of
// a reference, at about the work of 64 pairs more for bfloat16; and of the rescoring of what the
// screen cannot decide, at the work of 8 features each plus the fetching of a row.
struct Costs {
    double d, packing;
    std::optional<Packing> packed;

    explicit Costs(const Question& asked)
        : d(static_cast<double>(asked.queries.d())),
          packing(64.0 / static_cast<double>(asked.queries.rows())),
          packed(asked.packed) {}

    double rescoring(double share) const { return share * (8.0 * d + 4000.0); }
    double packing_as(Packing as) const {
        if (as == Packing::bfloat16) return packed == as ? 0.0 : packing * d;
        return packed && packed != as ? packing * d : 0.0;
    }
    static double rate(Packing as) {
        return as == Packing::bfloat16 ? 0.5 : as == Packing::float64 ? 2.0 : 1.0;
    }
    double all_pairs(Packing as, double share) const {
        return rate(as) * d + packing_as(as) + rescoring(share);
    }
};

}  // namespace

const char* name_of(Packing packing) {
    constexpr const char* names[] = {"bfloat16", "float32", "float64"};
    return names[static_cast<int>(packing)];
}

std::string Plan::strategy() const { return "all pairs"; }

Plan choose_plan(const Question& asked, const Framed& framed) {
    const Metric& metric = asked.metric;
    const std::optional<Packing> packed = asked.packed;
    const int64_t d = asked.queries.d();
    if (metric.on_bits())
        return only(Packing::float32, "bits that differ are counted, all of them");
    if (framed.float64.core == Core::canonical) {
        return only(Packing::float64, "tiles hold the distances themselves: no screen fits them");
    }
    if (asked.precision == Precision::float64) {
        return only(Packing::float64, "precision=\"float64\"");
    }
    if (asked.precision == Precision::fast) return only(Packing::float32, "precision=\"fast\"");
    const bool has_coarse = isa().f32.pack_bfloat16_float64 && framed.float32.core == Core::dot;
    const Forced forced = forced_screen();
    if (forced != Forced::nothing && !framed.float32.exact()) {
        if (forced == Forced::float64) return only(Packing::float64, "forced");
        const bool coarse = forced == Forced::bfloat16 && has_coarse;
        return only(coarse ? Packing::bfloat16 : Packing::float32, "forced");
    }
    constexpr int64_t worth_packing = 16;  // features from which a micro-kernel twice as fast pays
    constexpr double bfloat16_integers = 256.0;
    if (framed.float32.exact()) {
        const char* why = "whole numbers, exact as they are packed";
        if (packed == Packing::float64) return only(Packing::float64, why);
        // bfloat16 is as exact where it holds every number
        const bool coarse_too = has_coarse && d >= worth_packing &&
                                framed.frame.largest <= bfloat16_integers &&
                                packed != Packing::float32;
        return only(coarse_too ? Packing::bfloat16 : Packing::float32, why);
    }
    constexpr int64_t small = int64_t{1} << 22;  // pairs that are not worth a sample
    if (asked.queries.rows() * asked.references.rows() <= small) {
        return only(packed.value_or(Packing::float32), "too few pairs to be worth a sample");
    }
    const AmbiguousShare share(asked.queries, asked.references, asked.k, metric, framed);
    const Costs costs(asked);
    Plan plan;
    plan.cost = INFINITY;
    const auto weigh = [&](Packing as) {
        const double ambiguous = share(framed.formula_of(as));
        const double cost = costs.all_pairs(as, ambiguous);
        plan.reasons.push_back(
            text("all pairs in %s: a cost of %.4g features of a pair, of which "
                 "%.4g confirm %.3g %% of the pairs",
                 name_of(as), cost, costs.rescoring(ambiguous), 100.0 * ambiguous));
        if (cost < plan.cost) {
            plan.packing = as;
            plan.cost = cost;
        }
    };
    weigh(Packing::float32);
    weigh(Packing::float64);
    if (has_coarse && d >= worth_packing) weigh(Packing::bfloat16);
    return plan;
}

void force_screen(const std::string& name) {
    const auto found = std::find(std::begin(forcible), std::end(forcible), name);
    if (found == std::end(forcible)) throw std::invalid_argument("no screen is called " + name);
    forced_now = static_cast<Forced>(found - std::begin(forcible));
}
Forced forced_screen() { return forced_now; }

}  // namespace pairtile
