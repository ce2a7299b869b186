#include "engine/screen.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <vector>

#include "engine/canonical.hpp"
#include "engine/isa.hpp"

namespace pairtile {
namespace {

constexpr const char* forcible[] = {"", "in_place", "bfloat16", "float32", "float64"};
std::atomic<Forced> forced_now{Forced::nothing};  // also while other threads search

// A frame, and what tiles of either type say in it: what a screen is chosen from.
struct Framed {
    Source rows, cols;
    std::shared_ptr<const LinearMap> map;
    Frame frame;
    TileFormula float32, float64;

    Screen as(Packing packing) const {
        Screen screen{rows, cols, map, frame, packing, float32};
        if (packing == Packing::float64) screen.formula = float64;
        if (packing == Packing::bfloat16) screen.formula.core = Core::dot_bfloat16;
        return screen;
    }
};

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

// The map under which the metric is the Euclidean distance. It starts from a centre of the data, so
// that nothing cancels far from the origin.
LinearMap map_for(const Metric& metric, const std::vector<double>& centre) {
    const size_t d = centre.size();
    LinearMap map{centre, {}, {}};
    if (metric.traits().reading == Reading::weighted) {
        for (size_t j = 0; j < d; ++j) map.diagonal.push_back(std::sqrt(metric.params.weights[j]));
        return map;
    }
    map.columns.resize(d * d);
    for (size_t i = 0; i < d; ++i) {
        for (size_t j = 0; j < d; ++j) {
            map.columns[j * d + i] = metric.params.transform[i * d + j];
        }
    }
    return map;
}

// The largest Σ_j ‖A_j‖ |x_j − c_j| of all rows, A_j being the columns of the map.
double largest_image(const Source& source, const LinearMap& map, Control& control) {
    const size_t d = map.centre.size();
    std::vector<double> norms = map.diagonal;
    for (size_t j = 0; norms.size() < d; ++j) {
        double square = 0.0;
        for (size_t i = 0; i < d; ++i) square += map.columns[j * d + i] * map.columns[j * d + i];
        norms.push_back(std::sqrt(square));
    }
    double largest = 0.0;
    std::mutex lock;
    constexpr int64_t block_rows = 1024;
    parallel_for((source.rows() + block_rows - 1) / block_rows, control, [&](int64_t block, int) {
        std::vector<double> row(d);
        double mine = 0.0;
        const int64_t end = std::min(source.rows(), (block + 1) * block_rows);
        for (int64_t i = block * block_rows; i < end; ++i) {
            source.read(i, row.data());
            double image = 0.0;
            for (size_t j = 0; j < d; ++j) {
                image += norms[j] * std::fabs(row[j] - map.centre[j]);
            }
            if (image > mine && image < INFINITY) mine = image;
        }
        const std::lock_guard guard(lock);
        largest = std::max(largest, mine);
    });
    return largest;
}

// Rows are read through the map, in float64. Rounding of x − c, of the entries of A, of the
// products and of their sums leaves at most γ|A||x − c| of a row, γ = (d + 4)u, the length of which
// is not above γ Σ_j ‖A_j‖ |x_j − c_j|. The difference of two rows has twice that; the canonical
// value, a transformed difference, errs by no more than twice that again.
void map_rows(Framed& screen, const Metric& metric, Control& control) {
    screen.map = std::make_shared<const LinearMap>(map_for(metric, screen.frame.centre));
    const double image = std::max(largest_image(screen.rows, *screen.map, control),
                                  largest_image(screen.cols, *screen.map, control));
    screen.rows.map_by(screen.map.get());
    screen.cols.map_by(screen.map.get());
    const int64_t d = screen.rows.d();
    screen.frame = choose_frame(screen.rows, screen.cols, true, control);
    screen.frame.integral = false;  // where rounding made it so
    screen.frame.extreme = screen.frame.extreme || screen.frame.scale > 0x1p300;
    const double gamma =
        static_cast<double>(d + 4) * std::numeric_limits<double>::epsilon() / 2 * 1.01;
    screen.float32 = formula_for_metric<float>(metric, screen.frame, d, false);
    screen.float64 = formula_for_metric<double>(metric, screen.frame, d, false);
    screen.float32.mapping = screen.float64.mapping = 4.0 * gamma * image * screen.frame.scale;
}

Framed in_frame(const Source& queries, const Source& references, const Frame& frame,
                const Metric& metric) {
    const bool zero_rows = metric.unit_rows() && frame.has_zero_row;
    const int64_t d = queries.d();
    return {queries,
            references,
            nullptr,
            frame,
            formula_for_metric<float>(metric, frame, d, zero_rows),
            formula_for_metric<double>(metric, frame, d, zero_rows)};
}

Framed in_chosen_frame(const Source& queries, const Source& references, const Metric& metric,
                       Control& control) {
    // nothing to centre or scale
    if (metric.on_bits()) return in_frame(queries, references, {}, metric);
    if (metric.traits().quantity == Quantity::terms) {
        return in_frame(queries, references, raw_frame(queries.d()), metric);
    }
    const bool centred = metric.traits().quantity != Quantity::product;
    Frame frame = sample_frame(queries, references, centred);
    if (metric.mapped() && !frame.extreme) {
        Framed screen{queries, references, nullptr, frame, {}, {}};
        map_rows(screen, metric, control);
        return screen;
    }
    if (frame.integral) {  // that every row is exact must be true of every row
        frame = choose_frame(queries, references, centred, control);
    }
    if (metric.unit_rows() && frame.has_zero_row) {
        // 1 − xy needs the unit vectors as they are
        frame = sample_frame(queries, references, false);
        frame.scale = 1.0;
        frame.has_zero_row = true;  // whether or not the sample met one
    }
    return in_frame(queries, references, frame, metric);
}

Packing choose_packing(const Framed& screen, const Source& queries, const Source& references,
                       const Metric& metric, int64_t k, Precision precision,
                       std::optional<Packing> packed) {
    if (metric.on_bits()) return Packing::float32;
    if (screen.float64.core == Core::canonical || precision == Precision::float64) {
        return Packing::float64;
    }
    if (precision == Precision::fast) return Packing::float32;
    const bool has_coarse = isa().f32.pack_bfloat16_float64 && screen.float32.core == Core::dot;
    const Forced forced = forced_screen();
    if (forced != Forced::nothing && !screen.float32.exact()) {
        if (forced == Forced::float64) return Packing::float64;
        return forced == Forced::bfloat16 && has_coarse ? Packing::bfloat16 : Packing::float32;
    }
    constexpr int64_t worth_packing = 16;  // features from which a micro-kernel twice as fast pays
    constexpr double bfloat16_integers = 256.0;
    if (screen.float32.exact()) {
        if (packed == Packing::float64) return Packing::float64;
        // bfloat16 is as exact where it holds every number
        const bool coarse_too = has_coarse && queries.d() >= worth_packing &&
                                screen.frame.largest <= bfloat16_integers &&
                                packed != Packing::float32;
        return coarse_too ? Packing::bfloat16 : Packing::float32;
    }
    constexpr int64_t small = int64_t{1} << 22;  // pairs that are not worth a sample
    if (queries.rows() * references.rows() <= small) return packed.value_or(Packing::float32);
    // Costs of a pair: its share of the micro-kernel, in features at float32's rate; of the packing
    // of a reference, at about the work of 64 pairs more for bfloat16; and of the rescoring of what
    // the screen cannot decide, at the work of 8 features each plus the fetching of a row.
    const AmbiguousShare share(queries, references, k, metric, screen);
    const double d = static_cast<double>(queries.d());
    const double rescore = 8.0 * d + 4000.0;
    const double packing = 64.0 / static_cast<double>(queries.rows());
    const auto anew = [&](Packing as) { return packed && packed != as ? packing * d : 0.0; };
    Packing best = Packing::float32;
    double least = d + anew(Packing::float32) + share(screen.float32) * rescore;
    const double wide = 2.0 * d + anew(Packing::float64) + share(screen.float64) * rescore;
    if (wide < least) {
        best = Packing::float64;
        least = wide;
    }
    const double packing_coarse = packed == Packing::bfloat16 ? 0.0 : packing;
    if (has_coarse && queries.d() >= worth_packing &&
        (0.5 + packing_coarse) * d + share(screen.as(Packing::bfloat16).formula) * rescore <
            least) {
        best = Packing::bfloat16;
    }
    return best;
}

Screen cheapest(const Framed& framed, const Source& queries, const Source& references,
                const Metric& metric, int64_t k, Precision precision,
                std::optional<Packing> packed) {
    Screen screen =
        framed.as(choose_packing(framed, queries, references, metric, k, precision, packed));
    const bool has_canonical = metric.on_bits() || screen.formula.core == Core::canonical;
    if (precision == Precision::fast && !has_canonical) screen.formula.take_as_exact();
    return screen;
}

}  // namespace

Screen choose_screen(const Source& queries, const Source& references, const Metric& metric,
                     int64_t k, Precision precision, Control& control) {
    return cheapest(in_chosen_frame(queries, references, metric, control), queries, references,
                    metric, k, precision, {});
}

Screen choose_screen_of_packed(const Source& queries, const Source& references,
                               const Metric& metric, int64_t k, Precision precision,
                               const Frame& frame, Packing packed, Control& control) {
    return cheapest(
        in_frame(queries, references, frame_for_queries(frame, queries, control), metric), queries,
        references, metric, k, precision, packed);
}

void force_screen(const std::string& name) {
    const auto found = std::find(std::begin(forcible), std::end(forcible), name);
    if (found == std::end(forcible)) throw std::invalid_argument("no screen is called " + name);
    forced_now = static_cast<Forced>(found - std::begin(forcible));
}
Forced forced_screen() { return forced_now; }

}  // namespace pairtile
