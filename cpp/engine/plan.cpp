#include "engine/plan.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "engine/canonical.hpp"
#include "engine/isa.hpp"
#include "engine/prefix.hpp"

namespace pairtile {
namespace {

constexpr const char* forcible[] = {"",        "in_place", "int8",   "int16",          "bfloat16",
                                    "float32", "float64",  "prefix", "prefix_bfloat16"};
std::atomic<Forced> forced_now{Forced::nothing};  // also while other threads search

// The share of all references that a screen with this error would leave to be rescored, from a
// sample: those beyond a query's k-th neighbour, or the limit, by no more than twice the error (as
// many as lie within once the error on both sides of a limit).
class AmbiguousShare {
  public:
    AmbiguousShare(const Question& asked, const Framed& screen)
        : many_(std::min(asked.references.rows(), sample_references)),
          few_(std::min(asked.queries.rows(), sample_queries)),
          k_(asked.k),
          limited_(asked.limit.has_value()),
          root_d_(std::sqrt(static_cast<double>(asked.queries.d()))) {
        const Source &queries = asked.queries, &references = asked.references;
        const int64_t n = queries.rows(), m = references.rows();
        const TileFormula& formula = screen.float32;
        Canonical canonical(asked.metric, queries, references);
        Buffer<double> row(queries.d());
        const auto size_of = [&](const Source& source, int64_t i) -> Size {
            source.read(i, row.data());
            double reach = 0.0, largest = 0.0;
            for (int64_t j = 0; j < source.d(); ++j) {
                const double x =
                    (row[j] - screen.frame.centre[static_cast<size_t>(j)]) * screen.frame.scale;
                largest = std::max(largest, std::fabs(x));
                if (formula.norm == Norm::squares) reach += x * x;
                if (formula.norm == Norm::absolutes) reach += std::fabs(x);
                if (formula.norm == Norm::largest) reach = largest;
            }
            return {formula.norm == Norm::squares ? std::sqrt(reach) : reach, largest};
        };
        for (int64_t r = 0; r < many_; ++r)
            references_.push_back(size_of(screen.cols, r * m / many_));
        for (int64_t q = 0; q < few_; ++q) {
            canonical.set_row(q * n / few_);
            queries_.push_back(size_of(screen.rows, q * n / few_));
            std::vector<double> values;
            for (int64_t r = 0; r < many_; ++r) {
                values.push_back(formula.unit * canonical(r * m / many_));
            }
            double last = limited_ ? formula.unit * *asked.limit : 0.0;
            if (!limited_) {
                nearer_ = std::min(many_ - 1, k_ * many_ / m);
                std::vector<double> sorted = values;
                std::nth_element(sorted.begin(), sorted.begin() + nearer_, sorted.end());
                last = sorted[static_cast<size_t>(nearer_)];
            }
            for (double& value : values) value -= last;
            beyond_last_.push_back(std::move(values));
        }
    }

    double operator()(const TileFormula& formula) const {
        int64_t ambiguous = 0;
        for (size_t q = 0; q < queries_.size(); ++q) {
            for (size_t r = 0; r < references_.size(); ++r) {
                const double margin = 2.0 * formula.error(bound_of(formula, queries_[q]),
                                                          bound_of(formula, references_[r]));
                const double beyond = beyond_last_[q][r];
                ambiguous += beyond > 0.0 ? beyond <= margin : beyond < 0.0 ? 0 : margin > 0.0;
            }
            if (!limited_) ambiguous -= 1;  // the k-th neighbour itself
        }
        return static_cast<double>(std::max<int64_t>(0, ambiguous)) /
               static_cast<double>(few_ * many_);
    }

    // How many that would be beside the k, for each nearer one that the sample has.
    double unsettled(double share) const {
        if (limited_) return 0.0;  // none waits for others
        const double for_each =
            share * static_cast<double>(many_) / static_cast<double>(nearer_ + 1);
        return for_each * static_cast<double>(k_);
    }

  private:
    struct Size {
        double norm, largest;
    };
    // What packing leaves of a row where rounding errors are spread evenly: of bfloat16 a share of
    // its norm, of int8 a share of its largest number for each feature, of int16 of that or its
    // norm.
    NormBound bound_of(const TileFormula& formula, const Size& row) const {
        if (formula.core == Core::dot_bfloat16) return {row.norm, 0x1p-10 * row.norm};
        if (formula.core == Core::dot_int8) return {row.norm, row.largest / 440.0 * root_d_};
        if (formula.core == Core::dot_int16) {
            const double step = std::max(row.largest / 32766.0, row.norm / 45000.0);
            return {row.norm, 0.289 * step * root_d_};
        }
        return {row.norm, 0.0};
    }
    static constexpr int64_t sample_queries = 8, sample_references = 2048;
    int64_t many_, few_, k_, nearer_ = 0;
    bool limited_;
    double root_d_;
    std::vector<Size> queries_, references_;
    std::vector<std::vector<double>> beyond_last_;  // value − last one within, in packed units
};

// How many pairs the first coordinates of rotated rows leave, from a sample: of a few queries and
// many references those whose lower bound is not above the k-th smallest value (or the limit), plus
// what rounding takes. Directions come from one half of the references, counts from the other.
class PrefixSample {
  public:
    static constexpr int64_t queries = 32, most_references = 4096, step = 16;

    PrefixSample(const Question& asked, const Framed& framed, int64_t references, int64_t most)
        : asked_(asked),
          framed_(framed),
          most_(most),
          queries_(sample_rows(framed.rows, framed.frame, queries)),
          references_(sample_rows(framed.cols, framed.frame, references)) {}

    static int64_t most_kept(int64_t d) { return std::min<int64_t>(128, d / 2) / step * step; }
    // What looking at so many coordinates takes, in features of pairs: products at a rate that was
    // measured to be a part of the micro-kernel's. Directions that are there already are not
    // sought.
    static double work(double d, double rows, int64_t coordinates, bool turned) {
        constexpr double slower = 3.5;
        const double most = static_cast<double>(coordinates);
        const double seeking = 0.5 * rows * d * d + 4.0 * d * d * most + 16.0 * most * most * d;
        return slower *
               ((turned ? 0.0 : seeking) + rows * d * (most + 2.0 * static_cast<double>(queries)));
    }
    static int64_t bytes(int64_t d, int64_t rows) {
        return 4 * (2 * rows * (d + most_kept(d)) + 2 * d * d + 6 * d * most_kept(d));
    }

    // Directions that the rows spread over.
    double spread() const { return effective_dimension(references_); }

    void look(Control& control) {
        const Ops<float>& ops = isa().f32;
        const int64_t d = references_.d, most = most_;
        directions_ = asked_.rotation ? asked_.rotation->directions
                                      : principal_directions(half_of(references_), most, control);
        const auto prefix = Prefix::of(directions_, d, most, 0);
        lost_ = prefix->lost_kept;
        const int64_t width = prefix->directions;
        Buffer<float> of_queries(queries_.count * width), of_references(references_.count * width);
        prefix->turn(ops, queries_.data.data(), queries_.stride, queries_.count, of_queries.data());
        constexpr int64_t at_a_time = 256;
        parallel_for((references_.count + at_a_time - 1) / at_a_time, control,
                     [&](int64_t block, int) {
                         const int64_t from = block * at_a_time;
                         prefix->turn(ops, references_.row(from), references_.stride,
                                      std::min(at_a_time, references_.count - from),
                                      of_references.data() + from * width);
                     });
        steps_ = static_cast<size_t>(most / step);
        const auto lengths = lengths_after(of_references.data(), width, references_);
        const auto own = lengths_after(of_queries.data(), width, queries_);
        left_.assign(2 * (steps_ + 1), 0.0);
        double pairs = 0.0;
        for (int64_t q = 0; q < queries_.count; ++q) {
            count_left(q, of_queries.data() + q * width, of_references.data(), width,
                       own.data() + static_cast<size_t>(q) * (steps_ + 1), lengths);
            pairs += static_cast<double>(references_.count / 2);
        }
        for (double& share : left_) share /= std::max(pairs, 1.0);
    }

    // The share of the pairs that so many coordinates leave.
    double left(int64_t kept, bool coarse) const {
        return left_[2 * static_cast<size_t>(kept / step) + (coarse ? 1 : 0)];
    }
    std::shared_ptr<const Rotation> rotation(Packing packing, int64_t kept, int64_t more,
                                             int64_t guess) const {
        auto rotation = std::make_shared<Rotation>();
        rotation->directions = directions_;
        rotation->packing = packing;
        rotation->prefix = Prefix::of(directions_, references_.d, kept, more);
        rotation->guess = Prefix::of(directions_, references_.d, guess, 0, true);
        return rotation;
    }

  private:
    static constexpr double bfloat16_lost = 0x1p-9;

    static SampledRows half_of(const SampledRows& all) {
        SampledRows half;
        half.d = all.d;
        half.stride = all.stride;
        half.data.reserve((all.count + 1) / 2 * all.stride);
        for (int64_t i = 0; i < all.count; i += 2) {
            half.squares.push_back(all.squares[static_cast<size_t>(i)]);
            std::copy_n(all.row(i), all.stride, half.data.data() + half.count++ * all.stride);
        }
        return half;
    }

    // Of each row the length that is left after each step.
    std::vector<double> lengths_after(const float* turned, int64_t width,
                                      const SampledRows& rows) const {
        std::vector<double> lengths;
        for (int64_t i = 0; i < rows.count; ++i) {
            double left = rows.squares[static_cast<size_t>(i)];
            for (size_t s = 0; s <= steps_; ++s) {
                lengths.push_back(std::sqrt(std::max(0.0, left)));
                const float* from = turned + i * width + static_cast<int64_t>(s) * step;
                for (int64_t c = 0; s < steps_ && c < step; ++c) {
                    left -= static_cast<double>(from[c]) * static_cast<double>(from[c]);
                }
            }
        }
        return lengths;
    }

    // In packed units, of a query with this square and reference j.
    double value(double square, size_t j, double product) const {
        const TileFormula& formula = framed_.float32;
        const double norms = formula.add_norms ? square + references_.squares[j] : 0.0;
        return norms + formula.constant_bias + formula.row_factor * product;
    }

    double limit_of(int64_t q, std::vector<double> values) const {
        if (asked_.limit) return framed_.float32.unit * *asked_.limit;
        if (framed_.rows == framed_.cols) {  // no row is its own neighbour
            for (size_t j = 0; j < values.size(); ++j) {
                const bool itself = references_.index[j] == queries_.index[static_cast<size_t>(q)];
                if (itself) values[j] = INFINITY;
            }
        }
        const auto many = static_cast<int64_t>(values.size());
        const int64_t at = std::min(many - 1, asked_.k * many / asked_.references.rows());
        std::nth_element(values.begin(), values.begin() + at, values.end());
        return values[static_cast<size_t>(at)];
    }

    void count_left(int64_t q, const float* turned, const float* of_references, int64_t width,
                    const double* own, const std::vector<double>& lengths) {
        const Ops<float>& ops = isa().f32;
        const auto many = static_cast<size_t>(references_.count);
        const double square = queries_.squares[static_cast<size_t>(q)];
        std::vector<int32_t> all(many);
        std::vector<float> products(many);
        std::vector<double> values(many), sums(many), fine(many), coarse(many);
        for (size_t j = 0; j < many; ++j) all[j] = static_cast<int32_t>(j);
        ops.dots(queries_.row(q), references_.data.data(), references_.stride, all.data(),
                 static_cast<int>(many), references_.stride, products.data());
        const double a = std::sqrt(square);
        for (size_t j = 0; j < many; ++j) {
            values[j] = value(square, j, static_cast<double>(products[j]));
            const double b = std::sqrt(references_.squares[j]);
            const auto error = [&](double lost) {
                return framed_.float32.error({a, lost * a}, {b, lost * b});
            };
            fine[j] = error(4.0 * lost_);
            coarse[j] = error(4.0 * lost_ + bfloat16_lost);
        }
        const double limit = limit_of(q, values);
        for (size_t s = 0; s <= steps_; ++s) {
            if (s > 0) {
                const int64_t from = static_cast<int64_t>(s - 1) * step;
                ops.dots(turned + from, of_references + from, width, all.data(),
                         static_cast<int>(many), step, products.data());
                for (size_t j = 0; j < many; ++j) sums[j] += static_cast<double>(products[j]);
            }
            for (size_t j = 1; j < many; j += 2) {
                const double bound =
                    value(square, j, sums[j] + own[s] * lengths[j * (steps_ + 1) + s]);
                left_[2 * s] += bound <= limit + fine[j];
                left_[2 * s + 1] += bound <= limit + coarse[j];
            }
        }
    }

    const Question& asked_;
    const Framed& framed_;
    int64_t most_;  // coordinates
    SampledRows queries_, references_;
    std::vector<double> directions_;
    double lost_ = 0.0;
    size_t steps_ = 0;
    std::vector<double> left_;  // after each step, in float32 and in bfloat16
};

// A text with numbers in it.
template <class... Numbers>
std::string text(const char* format, Numbers... numbers) {
    char line[256];
    std::snprintf(line, sizeof line, format, numbers...);
    return line;
}

ScreenPlan only(Packing packing, std::string why) {
    ScreenPlan plan;
    plan.packing = packing;
    plan.reasons.push_back(std::move(why));
    return plan;
}

// Costs of a pair: its share of the micro-kernel, in features at float32's rate, and what its
// number takes beside them, more than in float32; of the packing of a reference, at about the work
// of 64 pairs more for bfloat16; and of the rescoring of what the screen cannot decide, at the work
// of 8 features each plus the fetching of a row.
struct Costs {
    double d, queries, served, references, neighbors, packing, met;
    std::optional<Packing> packed;

    explicit Costs(const Question& asked)
        : d(static_cast<double>(asked.queries.d())),
          queries(static_cast<double>(asked.queries.rows())),
          served(asked.served > 0 && !asked.rotation ? static_cast<double>(asked.served)
                                                     : std::min(queries, queries_at_once)),
          references(static_cast<double>(asked.references.rows())),
          neighbors(asked.limit ? 0.0 : static_cast<double>(asked.k)),
          packing(64.0 / static_cast<double>(asked.queries.rows())),
          met(std::log(static_cast<double>(asked.references.rows()) /
                       static_cast<double>(std::max<int64_t>(1, asked.k))) /
              static_cast<double>(std::max<int64_t>(1, asked.references.rows()))),
          packed(asked.packed) {}

    // Every time that e times as many references have been seen, as many candidates have come anew.
    double keeping(double unsettled) const { return 3000.0 * unsettled * std::max(0.0, met); }
    double rescoring(double share) const { return share * (8.0 * d + 4000.0); }
    double packing_as(Packing as) const {
        const bool coarse = as < Packing::float32;
        return packed == as || !(coarse || packed) ? 0.0 : packing * d;
    }
    static double rate(Packing as) {
        constexpr double rates[] = {0.27, 0.6, 0.53, 1.0, 2.0};
        return rates[static_cast<int>(as)];
    }
    static double beside(Packing as) {
        constexpr double features[] = {4.0, 0.0, 1.0, 0.0, 0.0};
        return features[static_cast<int>(as)];
    }
    double all_pairs(Packing as, double share, double unsettled) const {
        return rate(as) * d + beside(as) + packing_as(as) + rescoring(share) + keeping(unsettled);
    }

    // Rows are turned, references anew for so many queries at a time unless they are kept for later
    // ones, or there already. Tiles hold one number more than the coordinates, and each of their
    // pairs is compared; `hit` is what it takes to look at one that they leave, and features take
    // more outside of the micro-kernel, of whole rows most, which come from farther away.
    static constexpr double compare = 8.0, hit = 600.0, single = 6.0, single_whole = 4.0;
    static constexpr double queries_at_once = 8192.0;
    double turning(double coordinates, bool turned) const {
        const double of_references = turned ? 0.0 : 1.0 / served;
        return d * (coordinates + 16.0) * (of_references + 1.0 / references);
    }
    // A sweep of a few coordinates that guesses the k best, and their distances.
    static constexpr int64_t guess = 16;
    double guessing(Packing as, bool turned) const {
        return rate(as) * (guess + 1) + 2.0 * compare + turning(guess, turned) +
               (1.5 * neighbors + 8.0) * rescoring(1.0) / references;
    }
    double by_prefix(Packing as, double kept, double more, double left, double left_after,
                     bool turned) const {
        double cost = rate(as) * (kept + 1.0) + compare + turning(kept + more, turned) + left * hit;
        if (neighbors > 0.0) cost += guessing(as, turned);
        if (more > 0.0) cost += left * single * (more + 2.0);
        return cost + left_after * (single_whole * d + hit);
    }
};

// Tiles hold lower bounds by this rotation.
void take_rotation(const Question& asked, const Rotation& rotation, ScreenPlan& plan) {
    plan.prefix = rotation.prefix;
    if (!asked.limit) plan.guess = rotation.guess;  // limits are known
}

// How many coordinates bound first, how many more bound what these leave, and what that leaves.
struct PrefixChoice {
    double cost = INFINITY, left = 1.0, left_after = 1.0;
    int64_t kept = 0, more = 0;
    Packing packing = Packing::float32;
    bool turned = false;  // the references are
};

PrefixChoice best_prefix(const PrefixSample& sample, const Costs& costs, const Rotation* turned,
                         int64_t most, bool has_coarse) {
    PrefixChoice best;
    constexpr int64_t step = PrefixSample::step;
    for (const Packing as : {Packing::float32, Packing::bfloat16}) {
        const bool coarse = as == Packing::bfloat16;
        if (coarse && !has_coarse) continue;
        for (int64_t kept = step; kept <= most; kept += step) {
            for (int64_t more = 0; kept + more <= most; more += step) {
                const double left = sample.left(kept, coarse);
                const double after = more > 0 ? sample.left(kept + more, coarse) : left;
                const bool there = turned && turned->packing == as &&
                                   turned->prefix->kept == kept && turned->prefix->more == more;
                const double cost = costs.by_prefix(as, static_cast<double>(kept),
                                                    static_cast<double>(more), left, after, there);
                if (cost < best.cost) best = {cost, left, after, kept, more, as, there};
            }
        }
    }
    return best;
}

// Whether lower bounds decide for less than the plan so far; takes what is best if so. Asking must
// not cost much where the answer is no: rows that spread over most of their dimensions, of which a
// few thousand products tell, are not looked at any further.
void weigh_prefix(const Question& asked, const Framed& framed, const Costs& costs, bool has_coarse,
                  Control& control, ScreenPlan& plan) {
    constexpr int64_t fewest = 48, longest = 4096;  // features
    constexpr double worth_asking = 0.03, worth_changing = 0.95, spread_out = 0.5;
    const int64_t d = asked.queries.d();
    if (!asked.finishes || framed.float32.core != Core::dot || d < fewest || d > longest) return;
    const Rotation* turned = asked.rotation;
    // of those that are turned so few that no search is too small to ask
    const int64_t fewest_rows = turned ? 256 : 1024;
    const double asking = std::max(costs.queries, static_cast<double>(asked.unasked));
    const double budget = worth_asking * asking * costs.references * plan.cost;
    int64_t rows = PrefixSample::most_references, most = PrefixSample::most_kept(d);
    if (turned) most = std::min<int64_t>(most, static_cast<int64_t>(turned->directions.size()) / d);
    const auto affordable = [&] {
        return PrefixSample::work(costs.d, static_cast<double>(rows), most, turned) <= budget;
    };
    while (rows > fewest_rows && !affordable()) rows /= 2;
    if (turned && !affordable()) most = turned->prefix->kept + turned->prefix->more;
    if (!affordable()) {
        plan.reasons.emplace_back("no prefix: asking a sample would cost more than 3 %");
        return;
    }
    plan.asked = true;
    if (const int64_t bytes = PrefixSample::bytes(d, rows), limit = control.memory();
        limit > 0 && bytes > limit / 4) {
        plan.reasons.push_back(
            text("no prefix: a rotation would take %.0f MB, more than a quarter "
                 "of memory_limit",
                 1e-6 * static_cast<double>(bytes)));
        return;
    }
    PrefixSample sample(asked, framed, rows, most);
    const double spread = turned ? 0.0 : sample.spread();
    if (spread > spread_out * costs.d) {
        plan.reasons.push_back(text("no prefix: rows spread over about %.0f of %.0f directions",
                                    std::min(spread, costs.d), costs.d));
        return;
    }
    sample.look(control);
    const PrefixChoice best = best_prefix(sample, costs, turned, most, has_coarse);
    plan.reasons.push_back(
        text("a prefix of %d coordinates in %s: a cost of %.4g, %.3g %% of the pairs go on",
             static_cast<int>(best.kept), name_of(best.packing), best.cost, 100.0 * best.left));
    if (best.more > 0) {
        plan.reasons.push_back(text("%d coordinates more leave %.3g %%",
                                    static_cast<int>(best.more), 100.0 * best.left_after));
    }
    if (best.cost > worth_changing * plan.cost) return;
    plan.packing = best.packing;
    plan.cost = best.cost;
    plan.full_pairs = best.left_after;
    if (best.turned) {
        plan.reasons.emplace_back("the references are turned already");
        return take_rotation(asked, *turned, plan);
    }
    plan.rotation = sample.rotation(best.packing, best.kept, best.more, Costs::guess);
    take_rotation(asked, *plan.rotation, plan);
}

// A prefix of a quarter of the features and an eighth more, whether it pays or not.
ScreenPlan forced_prefix(const Question& asked, const Framed& framed, Packing packing,
                         Control& control) {
    ScreenPlan plan = only(packing, "forced");
    const int64_t d = framed.cols.d(), kept = std::max<int64_t>(1, d / 4), more = d / 8;
    if (const Rotation* turned = asked.rotation; turned && turned->packing == packing) {
        take_rotation(asked, *turned, plan);
        return plan;
    }
    const SampledRows sample =
        sample_rows(framed.cols, framed.frame, PrefixSample::most_references / 2);
    auto rotation = std::make_shared<Rotation>();
    rotation->directions = principal_directions(sample, kept + more, control);
    rotation->packing = packing;
    rotation->prefix = Prefix::of(rotation->directions, d, kept, more);
    rotation->guess = Prefix::of(rotation->directions, d, std::max<int64_t>(1, kept / 2), 0, true);
    plan.rotation = rotation;
    take_rotation(asked, *rotation, plan);
    return plan;
}

// The packings narrower than float32 that this machine has for these tiles.
struct Narrow {
    bool bfloat16, int8, int16;

    Narrow(const TileFormula& formula, int64_t d)
        : bfloat16(isa().f32.pack_bfloat16_float64 && formula.core == Core::dot),
          int8(isa().f32.pack_int8_float64 && formula.core == Core::dot && d <= int8_features),
          int16(isa().f32.pack_int16_float64 && formula.core == Core::dot && d <= int16_features) {}
};

// What tests force, as far as this machine has it.
ScreenPlan forced_plan(Forced forced, const Question& asked, const Framed& framed,
                       const Narrow& narrow, Control& control) {
    if (forced == Forced::float64) return only(Packing::float64, "forced");
    if (forced == Forced::int8 && narrow.int8) return only(Packing::int8, "forced");
    if (forced == Forced::int16 && narrow.int16) return only(Packing::int16, "forced");
    const bool coarse =
        (forced == Forced::bfloat16 || forced == Forced::prefix_bfloat16) && narrow.bfloat16;
    const Packing packing = coarse ? Packing::bfloat16 : Packing::float32;
    const bool prefix = forced == Forced::prefix || forced == Forced::prefix_bfloat16;
    if (prefix && asked.finishes && framed.float32.core == Core::dot) {
        return forced_prefix(asked, framed, packing, control);
    }
    return only(packing, "forced");
}

constexpr int64_t worth_packing = 16;  // features from which a micro-kernel twice as fast pays

// Of numbers whose tiles are exact.
ScreenPlan exact_plan(const Question& asked, const Framed& framed, bool weighs_bfloat16) {
    const char* why = "whole numbers, exact as they are packed";
    if (asked.packed == Packing::float64) return only(Packing::float64, why);
    // bfloat16 is as exact where it holds every number
    constexpr double bfloat16_integers = 256.0;
    const bool coarse_too = weighs_bfloat16 && asked.queries.d() >= worth_packing &&
                            framed.frame.largest <= bfloat16_integers &&
                            asked.packed != Packing::float32;
    return only(coarse_too ? Packing::bfloat16 : Packing::float32, why);
}

// The cheapest of what serves, by a sample.
ScreenPlan cheapest_plan(const Question& asked, const Framed& framed, const Narrow& narrow,
                         bool weighs_bfloat16, Control& control) {
    const AmbiguousShare share(asked, framed);
    const Costs costs(asked);
    constexpr double most_unsettled = 512.0;  // that lists have room for
    ScreenPlan plan;
    plan.cost = INFINITY;
    const auto weigh = [&](Packing as) {
        const double ambiguous = share(framed.formula_of(as));
        const double unsettled = share.unsettled(ambiguous);
        const double cost = costs.all_pairs(as, ambiguous, unsettled);
        plan.reasons.push_back(
            text("all pairs in %s: a cost of %.4g features of a pair, of which "
                 "%.4g confirm %.3g %% of the pairs",
                 name_of(as), cost, costs.rescoring(ambiguous) + costs.keeping(unsettled),
                 100.0 * ambiguous));
        if (cost < plan.cost) {
            plan.packing = as;
            plan.cost = cost;
            plan.unsettled = static_cast<int64_t>(std::min(unsettled, most_unsettled));
        }
    };
    const bool packs = asked.queries.d() >= worth_packing;
    weigh(Packing::float32);
    weigh(Packing::float64);
    if (weighs_bfloat16 && packs) weigh(Packing::bfloat16);
    if (narrow.int8 && packs) weigh(Packing::int8);
    if (narrow.int16 && packs) weigh(Packing::int16);
    weigh_prefix(asked, framed, costs, weighs_bfloat16, control, plan);
    if (plan.prefix) plan.unsettled = 0;
    return plan;
}

}  // namespace

const char* name_of(Packing packing) {
    constexpr const char* names[] = {"int8", "int16", "bfloat16", "float32", "float64"};
    return names[static_cast<int>(packing)];
}

std::string ScreenPlan::strategy() const {
    if (skips_tiles) return "near tiles";
    return prefix ? "prefix" : "all pairs";
}

ScreenPlan choose_plan(const Question& asked, const Framed& framed, Control& control) {
    if (asked.metric.on_bits())
        return only(Packing::float32, "bits that differ are counted, all of them");
    if (framed.float64.core == Core::canonical) {
        return only(Packing::float64, "tiles hold the distances themselves: no screen fits them");
    }
    if (asked.precision == Precision::float64) {
        return only(Packing::float64, "precision=\"float64\"");
    }
    if (asked.precision == Precision::fast) return only(Packing::float32, "precision=\"fast\"");
    const Narrow narrow(framed.float32, asked.queries.d());
    const bool weighs_bfloat16 = narrow.bfloat16 && isa().bfloat16_pays;
    if (framed.float32.exact()) return exact_plan(asked, framed, weighs_bfloat16);
    if (const Forced forced = forced_screen(); forced != Forced::nothing) {
        return forced_plan(forced, asked, framed, narrow, control);
    }
    constexpr int64_t small = int64_t{1} << 22;  // pairs that are not worth a sample
    if (asked.queries.rows() * asked.references.rows() <= small) {
        return only(asked.packed.value_or(Packing::float32), "too few pairs to be worth a sample");
    }
    return cheapest_plan(asked, framed, narrow, weighs_bfloat16, control);
}

void force_screen(const std::string& name) {
    const auto found = std::find(std::begin(forcible), std::end(forcible), name);
    if (found == std::end(forcible)) throw std::invalid_argument("no screen is called " + name);
    forced_now = static_cast<Forced>(found - std::begin(forcible));
}
Forced forced_screen() { return forced_now; }

}  // namespace pairtile
