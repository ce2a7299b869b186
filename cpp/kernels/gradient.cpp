// One block of pairs at a time: arguments -> kernel values, summed by row and by column, and
// slopes W = v_i w_j ∂k/∂argument. Then the engine's second micro-product, by the chain rule:
//
//   dot product        grad_x += W·y                     grad_y += Wᵀ·x
//   squared distance   grad_x += 2(x·rowsum(W) − W·y)    grad_y += 2(y·colsum(W) − Wᵀ·x)
//   l1 distance        the signs of the differences, feature by feature
//
// Pairs may carry a weight of their own: slopes are multiplied by it before all else.
//
// x − y by the difference of two products is only as good as the rows are long: pairs so near that
// this shows are taken out of W and added from their difference in float64.
#include "kernels/gradient.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "engine/normalisation.hpp"
#include "kernels/driver.hpp"
#include "kernels/second_kernel.hpp"

namespace pairtile {
namespace {

// A pair's contribution may miss by this much of the largest that the kernel has.
template <class T>
constexpr double slope_tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;

double slope_of(const std::vector<KernelTerm>& terms, double argument) {
    double total = 0.0;
    for (const KernelTerm& term : terms) total += slope_of(term, argument);
    return total;
}

// The squared distance below which an error of so much in it, or the rounding `roundoff` of rows of
// length `reach`, could move slope · distance by more than the tolerance.
double steep_below(const std::vector<KernelTerm>& terms, double error, double roundoff,
                   double reach, double tolerance) {
    if (!(error > 0.0)) return -1.0;
    double largest = 0.0;
    for (double s = reach * reach; s > error; s *= 0.5) {
        largest = std::max(largest, std::fabs(slope_of(terms, s)) * std::sqrt(s));
    }
    for (double s = reach * reach; s > error; s *= 0.5) {
        const double here = slope_of(terms, s);
        const double moved = std::fabs(slope_of(terms, s - error) - here) * std::sqrt(s);
        if (moved + std::fabs(here) * roundoff * reach > tolerance * largest) return 2.0 * s;
    }
    return error;
}

// Factors in the tile's type, in units of the largest.
template <class T>
struct Factors {
    double unit = 0.0;
    std::vector<T> value;

    Factors(const double* from, int64_t n) {
        for (int64_t i = 0; i < n; ++i) unit = std::max(unit, std::fabs(from[i]));
        for (int64_t i = 0; i < n; ++i) {
            value.push_back(unit > 0.0 ? static_cast<T>(from[i] / unit) : T(0));
        }
    }
    // In a smaller unit: by a power of two, so that nothing is rounded.
    void shrink_unit(double by) {
        unit /= by;
        for (T& one : value) one *= static_cast<T>(by);
    }
};

// A power of two that brings the slopes of a kernel, which are the steepest at 0, to about 1 where
// they are tiny: times small weights they would not be normal numbers of the tile's type.
template <class T>
double lift_of(const KernelFrame& from, double largest_weight) {
    constexpr double small = 0x1p-40;
    constexpr int most = sizeof(T) == 4 ? 100 : 900;
    if (from.argument != Argument::squared_distance) return 1.0;
    double steepest = 0.0;
    for (const KernelTerm& term : from.terms) {
        const double slope = std::fabs(slope_of(term, 0.0)) / largest_weight;
        if (slope == 0.0) return 1.0;  // not known: that of a cusp
        steepest += slope;
    }
    if (!(steepest < small)) return 1.0;
    return std::ldexp(1.0, std::min(-std::ilogb(steepest), most));
}

// W_ij = l(y_i, y_j) + b_i + b_j at the places of a tile.
class PairWeights : public PanelReader<double> {
  public:
    PairWeights(const Source& y, const std::vector<KernelTerm>& terms, const double* b,
                const Blocking& blocking, Control& control)
        : b_(b), parts_(static_cast<size_t>(control.workers())) {
        for_each_argument(terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
            kernels_.push_back(
                std::make_unique<SecondKernel>(y, group, argument, 1, blocking, control));
        });
    }

    void begin_rows(const Panels<double>& rows) override {
        for (auto& kernel : kernels_) kernel->begin_rows(rows.first, rows.count);
    }
    void begin_cols(const Panels<double>& cols) override {
        for (auto& kernel : kernels_) kernel->begin_cols(cols.first, cols.count);
    }

    void operator()(const Tile<double>& tile, int worker, double* out, int64_t ld) {
        const Ops<double>& ops = ops_of<double>(isa());
        Buffer<double>& part = parts_[static_cast<size_t>(worker)];
        part.reserve(ops.rows * ld);
        for (int i = 0; i < tile.rows; ++i) {
            const double own = b_[tile.row + i];
            for (int j = 0; j < tile.cols; ++j) out[i * ld + j] = own + b_[tile.col + j];
        }
        for (auto& kernel : kernels_) {
            (*kernel)(0, tile.local_row, tile.rows, tile.local_col, tile.cols, worker, part.data(),
                      ld);
            ops.add_scaled(part.data(), ld, tile.rows, tile.cols, kernel->factor(), out, ld);
        }
    }

  private:
    const double* b_;
    SecondKernels kernels_;
    std::vector<Buffer<double>> parts_;
};

// A kernel whose pairs have weights, which are packed along with its rows.
class WeightedEvaluator : public KernelEvaluator<double> {
  public:
    WeightedEvaluator(const KernelFrame& from, PairWeights& weights, int workers)
        : KernelEvaluator<double>(from, Precision::float64, workers), weights_(weights) {}

  private:
    PanelReader<double>* reader() override { return &weights_; }

    PairWeights& weights_;
};

template <class T>
class GradientFold {
  public:
    GradientFold(KernelEvaluator<T>& map, const KernelRequest& request, bool itself, bool diagonal,
                 const double* v, const double* w, const KernelGradient& out,
                 PairWeights* pair_weights = nullptr)
        : request_(request),
          from_(map.from()),
          itself_(itself),
          diagonal_(diagonal && from_.argument == Argument::dot),
          v_(v),
          w_(w),
          rows_(v, from_.x.rows()),
          cols_(w, from_.y.rows()),
          recomputes_(request.precision != Precision::fast &&
                      from_.argument == Argument::squared_distance),
          map_(map),
          out_(out),
          pair_weights_(pair_weights),
          memory_(static_cast<size_t>(request.control.workers())) {
        rows_.shrink_unit(lift_of<T>(from_, map_.factor()));
        if (itself) out_.grad_y = nullptr;
        if (from_.argument != Argument::cosine) return;
        add_to_ = out_;
        const auto aside = [](double*& to, std::vector<double>& memory, const Source& of) {
            if (!to) return;
            memory.resize(static_cast<size_t>(of.rows() * of.d()));
            to = memory.data();
        };
        aside(out_.grad_x, by_x_, from_.x);
        aside(out_.grad_y, by_y_, from_.y);
    }

    void block(const PairBlock<T>& block) {
        const Ops<T>& ops = ops_of<T>(isa());
        const Panels<T>&rows = block.rows, &cols = block.cols;
        const int64_t row = block.row, height = block.height, col = block.col, width = block.width;
        const int64_t ld = block.sweep.blocking.strip;
        if (far_ && (*far_)(rows.first + row, cols.first + col)) return;
        Memory& mine = memory_[static_cast<size_t>(block.worker)];
        mine.computed += height * width;
        mine.slopes.reserve(block.sweep.blocking.row_block * ld);
        mine.row_sums.assign(static_cast<size_t>(height), 0.0);
        mine.col_sums.assign(static_cast<size_t>(width), 0.0);
        const double steep =
            steep_limit(block.sweep.formula, rows.largest_norm_bound(row, row + height),
                        cols.largest_norm_bound(col, col + width));
        block.for_each_tile([&](const Tile<T>& tile) {
            const int64_t i = tile.local_row - row;
            add_values(tile, map_.values(tile, rows, block.worker));
            if (!out_.grad_x && !out_.grad_y) return;
            T* slopes = mine.slopes.data() + i * ld;
            map_.slopes(tile, slopes, ld);
            if constexpr (sizeof(T) == 8) weigh(tile, slopes, ld, block.worker, mine);
            if (itself_ && !diagonal_) clear_diagonal(tile, slopes);
            if (steep >= 0.0) add_near_pairs(tile, static_cast<T>(steep), slopes, mine);
            ops.scale_rows_and_cols(slopes, ld, tile.rows, tile.cols, rows_.value.data() + tile.row,
                                    cols_.value.data() + tile.col);
            ops.row_sums(slopes, ld, tile.rows, tile.cols, nullptr, mine.row_sums.data() + i);
            ops.col_sums(slopes, ld, tile.rows, tile.cols, nullptr, mine.col_sums.data());
        });
        if (!out_.grad_x && !out_.grad_y) return;
        if (from_.argument == Argument::l1_distance) {
            add_signs(block, mine.slopes.data());
            return;
        }
        if (out_.grad_x) {
            add_products(height, width, ld, 1, rows, row, cols, col, mine.row_sums,
                         out_.grad_x + (rows.first + row) * from_.x.d(), mine);
        }
        if (!out_.grad_y) return;
        add_products(width, height, 1, ld, cols, col, rows, row, mine.col_sums,
                     out_.grad_y + (cols.first + col) * from_.x.d(), mine);
    }

    // Where blocks are left out: results are kept in the places of the rows until finish().
    void take_places(const Skipping& skipping) {
        rows_at_ = skipping.row_order->rows();
        cols_at_ = skipping.col_order->rows();
        far_.emplace(skipping, map_.slopes_vanish());
        const auto placed = [](const double*& of_rows, const Order& order,
                               std::vector<double>& memory, Factors<T>& factors) {
            for (int64_t i = 0; i < order.count(); ++i) memory.push_back(of_rows[order.rows()[i]]);
            of_rows = memory.data();
            factors = Factors<T>(of_rows, order.count());
        };
        placed(v_, *skipping.row_order, placed_v_, rows_);
        placed(w_, *skipping.col_order, placed_w_, cols_);
        rows_.shrink_unit(lift_of<T>(from_, map_.factor()));
        add_to_ = out_;
        const auto aside = [](double*& to, std::vector<double>& memory, int64_t numbers) {
            if (!to) return;
            memory.resize(static_cast<size_t>(numbers));
            to = memory.data();
        };
        const int64_t n = from_.x.rows(), m = from_.y.rows(), d = from_.x.d();
        aside(out_.row_sums, row_sums_, n);
        aside(out_.col_sums, col_sums_, m);
        aside(out_.grad_x, by_x_, n * d);
        aside(out_.grad_y, by_y_, m * d);
    }
    int64_t computed() const {
        int64_t pairs = 0;
        for (const Memory& one : memory_) pairs += one.computed;
        return pairs;
    }

    // Of the cosine kernel: by rows divided by their lengths so far.
    void finish() {
        if (far_) {
            const auto add = [](const int64_t* at, const std::vector<double>& placed, int64_t d,
                                double* to) {
                for (size_t i = 0; i < placed.size(); ++i) {
                    const auto number = static_cast<int64_t>(i);
                    to[at[number / d] * d + number % d] += placed[i];
                }
            };
            add(rows_at_, row_sums_, 1, add_to_.row_sums);
            add(cols_at_, col_sums_, 1, add_to_.col_sums);
            add(rows_at_, by_x_, from_.x.d(), add_to_.grad_x);
            add(cols_at_, by_y_, from_.x.d(), add_to_.grad_y);
            return;
        }
        if (from_.argument != Argument::cosine) return;
        const auto add = [&](const Source& rows, std::vector<double>& by_unit, double* to) {
            through_normalisation(rows, by_unit.data(), request_.control);
            for (size_t i = 0; i < by_unit.size(); ++i) to[i] += by_unit[i];
        };
        if (add_to_.grad_x) add(request_.x, by_x_, add_to_.grad_x);
        if (add_to_.grad_y) add(request_.y, by_y_, add_to_.grad_y);
    }

  private:
    struct Memory {
        Buffer<T> slopes, product;
        Buffer<double> pair_weights;  // of a tile
        std::vector<double> row_sums, col_sums, x, y;
        std::vector<int32_t> hits;
        int64_t computed = 0;  // pairs
    };

    double steep_limit(const TileFormula& formula, const NormBound& row,
                       const NormBound& col) const {
        if (!recomputes_) return -1.0;
        const double reach = row.norm + col.norm;
        return steep_below(from_.terms, formula.typical_slope * reach * reach,
                           std::numeric_limits<T>::epsilon(), reach, slope_tolerance<T>);
    }

    void weigh(const Tile<T>& tile, T* slopes, int64_t ld, int worker, Memory& mine) const {
        if (!pair_weights_) return;
        mine.pair_weights.reserve(ops_of<T>(isa()).rows * ld);
        double* weights = mine.pair_weights.data();
        (*pair_weights_)(tile, worker, weights, ld);
        for (int i = 0; i < tile.rows; ++i) {
            for (int j = 0; j < tile.cols; ++j) slopes[i * ld + j] *= weights[i * ld + j];
        }
    }

    void add_values(const Tile<T>& tile, T* values) {
        const Ops<T>& ops = ops_of<T>(isa());
        if (itself_) clear_diagonal(tile, values);
        double sums[64] = {};
        ops.row_sums(values, tile.ld, tile.rows, tile.cols, w_ + tile.col, sums);
        for (int i = 0; i < tile.rows; ++i) out_.row_sums[tile.row + i] += map_.factor() * sums[i];
        if (itself_) return;
        double weights[64];
        for (int i = 0; i < tile.rows; ++i) weights[i] = map_.factor() * v_[tile.row + i];
        ops.col_sums(values, tile.ld, tile.rows, tile.cols, weights, out_.col_sums + tile.col);
    }

    void clear_diagonal(const Tile<T>& tile, T* values) const {
        for (int i = 0; i < tile.rows; ++i) {
            const int64_t at = tile.row + i - tile.col;
            if (at >= 0 && at < tile.cols) values[i * tile.ld + at] = T(0);
        }
    }

    // The chain rule's factor from a slope in packed units to a gradient in the data's.
    double unit() const {
        return from_.argument == Argument::squared_distance ? 2.0 * from_.frame.scale
                                                            : from_.frame.scale;
    }

    // Moves the pairs below the limit from W to the gradients.
    void add_near_pairs(const Tile<T>& tile, T limit, T* slopes, Memory& mine) const {
        const int64_t d = from_.x.d();
        mine.hits.resize(static_cast<size_t>(tile.cols));
        mine.x.resize(static_cast<size_t>(d));
        mine.y.resize(static_cast<size_t>(d));
        for (int i = 0; i < tile.rows; ++i) {
            const int found = ops_of<T>(isa()).select_below(tile.data + i * tile.ld, tile.cols,
                                                            limit, mine.hits.data());
            const int64_t row = tile.row + i;
            if (found > 0) from_.x.read(row, mine.x.data());
            for (int h = 0; h < found; ++h) {
                const int64_t at = mine.hits[static_cast<size_t>(h)], col = tile.col + at;
                slopes[i * tile.ld + at] = T(0);
                if (itself_ && row == col) continue;
                from_.y.read(col, mine.y.data());
                double square = 0.0;
                for (size_t f = 0; f < mine.y.size(); ++f) {
                    mine.y[f] = from_.frame.scale * (mine.x[f] - mine.y[f]);
                    square += mine.y[f] * mine.y[f];
                }
                if (square == 0.0) continue;  // whatever the slope
                // in this order: the slope of almost equal rows may be huge
                double factor = unit() * v_[row] * w_[col] * slope_of(from_.terms, square);
                if (pair_weights_) factor *= mine.pair_weights.data()[i * tile.ld + at];
                for (int64_t f = 0; f < d; ++f) {
                    const double part = factor * mine.y[static_cast<size_t>(f)];
                    if (out_.grad_x) out_.grad_x[row * d + f] += part;
                    if (out_.grad_y) out_.grad_y[col * d + f] -= part;
                }
            }
        }
    }

    // gradient += unit · (own row · Σ W − W·other), or unit · W·other for a dot product.
    void add_products(int64_t m, int64_t k, int64_t row_stride, int64_t k_stride,
                      const Panels<T>& own, int64_t own_row, const Panels<T>& other,
                      int64_t other_row, const std::vector<double>& sums, double* gradient,
                      Memory& mine) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const int64_t d = from_.x.d();
        const bool distance = from_.argument == Argument::squared_distance;
        const double factor = unit() * map_.factor() * rows_.unit * cols_.unit;
        mine.product.reserve(m * ops.cols);
        for (int64_t f = 0; f < d; f += ops.cols) {
            const int n = static_cast<int>(std::min<int64_t>(ops.cols, d - f));
            const T* mid = features_at(ops, own, own_row, f);
            std::fill_n(mine.product.data(), m * ops.cols, T(0));
            add_product(ops, m, ops.cols, k, mine.slopes.data(), row_stride, k_stride,
                        features_at(ops, other, other_row, f), mine.product.data(), ops.cols);
            for (int64_t i = 0; i < m; ++i) {
                double* to = gradient + i * d + f;
                const T* product = mine.product.data() + i * ops.cols;
                const double sum = distance ? sums[static_cast<size_t>(i)] : 0.0;
                const double sign = distance ? -factor : factor;
                for (int j = 0; j < n; ++j) {
                    to[j] += factor * sum * static_cast<double>(mid[i * ops.cols + j]) +
                             sign * static_cast<double>(product[j]);
                }
            }
        }
    }

    void add_signs(const PairBlock<T>& block, const T* slopes) const {
        const Ops<T>& ops = ops_of<T>(isa());
        const Panels<T>&rows = block.rows, &cols = block.cols;
        const int64_t row = block.row, height = block.height, col = block.col, width = block.width;
        const int64_t d = from_.x.d(), wide = ops.cols, ld = block.sweep.blocking.strip;
        const double factor = unit() * map_.factor() * rows_.unit * cols_.unit;
        for (int64_t f = 0; f < d; ++f) {
            const T* x = features_at(ops, rows, row, f) + f % wide;
            const T* y = features_at(ops, cols, col, f) + f % wide;
            for (int64_t i = 0; i < height; ++i) {
                const T mine = x[i * wide];
                double total = 0.0;
                for (int64_t j = 0; j < width; ++j) {
                    const T other = y[j * wide];
                    const T part = slopes[i * ld + j];
                    const double signed_part = mine > other   ? static_cast<double>(part)
                                               : mine < other ? -static_cast<double>(part)
                                                              : 0.0;
                    total += signed_part;
                    if (out_.grad_y)
                        out_.grad_y[(cols.first + col + j) * d + f] -= factor * signed_part;
                }
                if (out_.grad_x) out_.grad_x[(rows.first + row + i) * d + f] += factor * total;
            }
        }
    }

    const KernelRequest& request_;
    const KernelFrame& from_;
    bool itself_, diagonal_;
    const double *v_, *w_;
    Factors<T> rows_, cols_;
    bool recomputes_;
    KernelEvaluator<T>& map_;
    KernelGradient out_, add_to_{};
    PairWeights* pair_weights_;
    std::vector<double> by_x_, by_y_;
    // where blocks are left out: the row at each place, and what is in places
    std::optional<FarBlocks> far_;
    const int64_t *rows_at_ = nullptr, *cols_at_ = nullptr;
    std::vector<double> placed_v_, placed_w_, row_sums_, col_sums_;
    std::vector<Memory> memory_;
};

}  // namespace

int64_t kernel_gradient(const Source& x, const Source& y, bool itself, bool diagonal,
                        const std::vector<KernelTerm>& terms, const double* v, const double* w,
                        Precision precision, Control& control, const KernelGradient& out) {
    const KernelRequest request{x, y, terms, precision, control};
    return for_each_kernel_group(request, [&]<class T>(KernelEvaluator<T>& map, const Blocking&) {
        return GradientFold<T>(map, request, itself, diagonal, v, w, out);
    });
}

void joint_kernel_gradient(const Source& x, const Source& y, const std::vector<KernelTerm>& x_terms,
                           const std::vector<KernelTerm>& y_terms, const double* b, bool diagonal,
                           Control& control, double* grad) {
    const KernelRequest request{x, x, x_terms, Precision::float64, control};
    const std::vector<double> ones(static_cast<size_t>(x.rows()), 1.0);
    std::vector<double> sums(ones.size());
    const KernelGradient out{sums.data(), nullptr, grad, nullptr};
    const Blocking blocking =
        contraction_blocking(ops_of<double>(isa()), x.rows(), x.rows(), x.d());
    for_each_argument(x_terms, [&](const std::vector<KernelTerm>& group, Argument argument) {
        const KernelFrame from(x, x, group, argument, control);
        PairWeights weights(y, y_terms, b, blocking, control);
        WeightedEvaluator map(from, weights, control.workers());
        sweep_kernel<double>(map, request, [&](KernelEvaluator<double>& of, const Blocking&) {
            return GradientFold<double>(of, request, true, diagonal, ones.data(), ones.data(), out,
                                        &weights);
        });
    });
}

}  // namespace pairtile
