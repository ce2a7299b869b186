#include "slices/plans.hpp"

#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "engine/canonical.hpp"
#include "slices/pipeline.hpp"

namespace pairtile {
namespace {

constexpr int64_t least_pieces = int64_t{1} << 20;  // of the couplings that are merged together
constexpr int64_t block_rows = 4096;                // of a plan, merged by one thread

// visit(row of x, row of y, mass) for every piece of the coupling that has mass.
template <class T, class Visit>
void for_each_piece(const Sorted<T, Ranked<T>>& x, const Sorted<T, Ranked<T>>& y, const Tick& tick,
                    Visit&& visit) {
    // of as many rows on both sides, each piece is all that a row weighs
    const bool one_to_one = x.size == y.size && !x.weights && !y.weights;
    const double share = 1 / static_cast<double>(x.size);
    couple(x, y, tick, [&](int64_t i, int64_t j, double mass) {
        if (mass > 0) visit(x.items[i].row, y.items[j].row, one_to_one ? share : mass);
    });
}

// The distance of each coupling, paid in space: canonical distances of rows, one worker's own.
class Price {
  public:
    Price(const Source& x, const Source& y, double p)
        : squared_({MetricId::sqeuclidean, {}}, x, y), p_(p) {}

    template <class T>
    double operator()(const Sorted<T, Ranked<T>>& x, const Sorted<T, Ranked<T>>& y,
                      const Tick& tick) {
        double sum = 0, largest = 0;
        pay(x, y, tick, [&](double square, double mass) {
            sum += mass * (p_ == 2 ? square : std::pow(square, p_ / 2));
            largest = std::max(largest, square);
        });
        if (largest == 0) return 0.0;
        // NaN, of rows that were not checked, goes this way too
        if (!(sum < 0x1p-960 || sum > 0x1p960)) return p_ == 2 ? std::sqrt(sum) : root(sum);
        // powers beyond float64: once more, in units of the largest distance
        sum = 0;
        pay(x, y, tick,
            [&](double square, double mass) { sum += mass * std::pow(square / largest, p_ / 2); });
        return std::sqrt(largest) * root(sum);
    }

  private:
    double root(double sum) const { return std::pow(sum, 1 / p_); }

    template <class T, class Add>
    void pay(const Sorted<T, Ranked<T>>& x, const Sorted<T, Ranked<T>>& y, const Tick& tick,
             Add&& add) {
        int64_t steps = 0;
        for_each_piece(x, y, tick, [&](uint32_t row, uint32_t column, double mass) {
            if ((++steps & 0xfff) == 0) tick();  // rows may be long
            squared_.set_row(row);
            add(squared_(column), mass);
        });
    }

    Canonical squared_;
    double p_;
};

// One coupling by the rows of x: row i has the pieces starts[i], ..., starts[i + 1] − 1.
struct Coupling {
    std::vector<int64_t> starts;
    std::vector<uint32_t> columns;
    std::vector<double> mass;
};

template <class T>
Coupling by_rows(const Sorted<T, Ranked<T>>& x, const Sorted<T, Ranked<T>>& y, const Tick& tick) {
    const auto at = [](uint32_t row) { return static_cast<size_t>(row); };
    Coupling out;
    out.starts.resize(static_cast<size_t>(x.size) + 1);
    for_each_piece(x, y, tick, [&](uint32_t row, uint32_t, double) { ++out.starts[at(row) + 1]; });
    for (size_t i = 1; i < out.starts.size(); ++i) out.starts[i] += out.starts[i - 1];
    out.columns.resize(static_cast<size_t>(out.starts.back()));
    out.mass.resize(out.columns.size());
    // the pieces of a row come one after another
    uint32_t current = x.items[0].row;
    size_t next = static_cast<size_t>(out.starts[at(current)]);
    for_each_piece(x, y, tick, [&](uint32_t row, uint32_t column, double mass) {
        if (row != current) current = row, next = static_cast<size_t>(out.starts[at(row)]);
        out.columns[next] = column;
        out.mass[next++] = mass;
    });
    return out;
}

// The pieces of one row in the order in which they are added up.
struct Piece {
    uint32_t column, turn;
    double mass;
};

// sum += couplings, which are gone then.
void add_to(Coupling& sum, std::span<Coupling> couplings, int64_t n, Control& control) {
    const int64_t blocks = (n + block_rows - 1) / block_rows;
    std::vector<Coupling> merged(static_cast<size_t>(blocks));  // starts: where each row ends
    std::vector<std::vector<Piece>> pieces(static_cast<size_t>(control.workers()));
    parallel_for(blocks, control, [&](int64_t b, int worker) {
        Coupling& mine = merged[static_cast<size_t>(b)];
        std::vector<Piece>& row_pieces = pieces[static_cast<size_t>(worker)];
        for (int64_t row = b * block_rows; row < std::min(n, (b + 1) * block_rows); ++row) {
            if ((row & 0xff) == 0) control.tick(worker);
            row_pieces.clear();
            const auto gather = [&](const Coupling& from) {
                const auto i = static_cast<size_t>(row);
                for (auto k = from.starts[i]; k < from.starts[i + 1]; ++k) {
                    const auto piece = static_cast<size_t>(k);
                    row_pieces.push_back({from.columns[piece],
                                          static_cast<uint32_t>(row_pieces.size()),
                                          from.mass[piece]});
                }
            };
            if (!sum.starts.empty()) gather(sum);
            for (const Coupling& one : couplings) gather(one);
            std::sort(row_pieces.begin(), row_pieces.end(), [](const Piece& a, const Piece& b) {
                return std::pair(a.column, a.turn) < std::pair(b.column, b.turn);
            });
            for (size_t k = 0; k < row_pieces.size(); ++k) {
                const Piece& piece = row_pieces[k];
                if (k && row_pieces[k - 1].column == piece.column) {
                    mine.mass.back() += piece.mass;
                } else {
                    mine.columns.push_back(piece.column);
                    mine.mass.push_back(piece.mass);
                }
            }
            mine.starts.push_back(static_cast<int64_t>(mine.columns.size()));
        }
    });
    for (Coupling& one : couplings) one = {};
    Coupling out;
    out.starts.push_back(0);
    for (Coupling& one : merged) {
        const int64_t before = out.starts.back();
        for (const int64_t end : one.starts) out.starts.push_back(before + end);
        out.columns.insert(out.columns.end(), one.columns.begin(), one.columns.end());
        out.mass.insert(out.mass.end(), one.mass.begin(), one.mass.end());
        one = {};
    }
    sum = std::move(out);
}

// The pipeline with the price of each coupling as its cost.
template <class T, class Visit>
void run_priced(const Slices& slices, const Transport& transport, double* distances,
                Control& control, const Visit& visit, const BatchDone& batch_done = {}) {
    const Source x(slices.x), y(slices.y);
    std::vector<std::optional<Price>> prices(static_cast<size_t>(control.workers()));
    const Reduce<T, Ranked<T>> reduce = [&](const auto& of_x, const auto& of_y, int64_t l, T*, T*,
                                            const Tick& tick) {
        auto& price = prices[static_cast<size_t>(tick.worker)];
        if (!price) price.emplace(x, y, transport.p);
        visit(of_x, of_y, l, tick);
        return (*price)(of_x, of_y, tick);
    };
    run<T, Ranked<T>>(slices, frame_of(slices, control), transport.x_weights, transport.y_weights,
                      distances, {}, control, reduce, batch_done);
}

}  // namespace

template <class T>
void plan_distances(const Slices& slices, const Transport& transport, double* distances,
                    Control& control) {
    run_priced<T>(slices, transport, distances, control,
                  [](const auto&, const auto&, int64_t, const Tick&) {});
}

template <class T>
Plan mean_plan(const Slices& slices, const Transport& transport, double* distances,
               Control& control) {
    const int64_t n = slices.x.rows, count = slices.count();
    Coupling sum;
    std::vector<Coupling> couplings(static_cast<size_t>(count));  // until they are merged
    int64_t merged = 0;                                           // directions
    run_priced<T>(
        slices, transport, distances, control,
        [&](const auto& x, const auto& y, int64_t l, const Tick& tick) {
            couplings[static_cast<size_t>(l)] = by_rows(x, y, tick);
        },
        [&](int64_t first, int64_t some) {
            // wait for as many pieces as the sum has, so that those of the sum do not move often
            const int64_t held = (first + some - merged) * (n + slices.y.rows);
            const int64_t enough = std::max<int64_t>(least_pieces, std::ssize(sum.columns));
            if (first + some < count && held < enough) return;
            const std::span held_ones(&couplings[static_cast<size_t>(merged)],
                                      static_cast<size_t>(first + some - merged));
            add_to(sum, held_ones, n, control);
            merged = first + some;
        });
    Plan plan;
    plan.rows.reserve(sum.columns.size());
    plan.columns.assign(sum.columns.begin(), sum.columns.end());
    for (int64_t row = 0; row < n; ++row) {
        const auto i = static_cast<size_t>(row);
        plan.rows.resize(static_cast<size_t>(sum.starts[i + 1]), row);
    }
    plan.mass = std::move(sum.mass);
    for (double& mass : plan.mass) mass /= static_cast<double>(count);
    return plan;
}

#define PT_INSTANTIATE(T)                                                                \
    template void plan_distances<T>(const Slices&, const Transport&, double*, Control&); \
    template Plan mean_plan<T>(const Slices&, const Transport&, double*, Control&);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile
