#include "kernels/permuted_products.hpp"

#include <algorithm>
#include <vector>

#include "kernels/driver.hpp"

namespace pairtile {
namespace {

// Adds the terms of one argument to the matrix, above the diagonal.
class Filling {
  public:
    Filling(KernelEvaluator<double>& map, double* matrix)
        : map_(map), n_(map.from().x.rows()), matrix_(matrix) {}

    void begin_rows(const Panels<double>&, int64_t) {}
    void end_rows(const Panels<double>&) {}

    void tile(const Tile<double>& tile, const Task& task, const Panels<double>& rows,
              const Panels<double>&) {
        double* values = map_.values(tile, rows, task.worker);
        clear_lower(tile, values, tile.ld);
        ops_of<double>(isa()).add_scaled(values, tile.ld, tile.rows, tile.cols, map_.factor(),
                                         matrix_ + tile.row * n_ + tile.col, n_);
    }

  private:
    KernelEvaluator<double>& map_;
    int64_t n_;
    double* matrix_;
};

class Matrix {
  public:
    explicit Matrix(int64_t n) : n_(n), values_(static_cast<size_t>(n * n)) {}

    double* row(int64_t i) { return values_.data() + i * n_; }
    const double* row(int64_t i) const { return values_.data() + i * n_; }

    // Above the diagonal.
    void fill(const KernelSpace& space, Control& control) {
        for (int64_t i = 0; i < n_; ++i) std::fill(row(i) + i + 1, row(i) + n_, -space.shift);
        for_each_kernel_group(
            {space.points, space.points, space.terms, Precision::float64, control, true},
            [&](KernelEvaluator<double>& map, const Blocking&) {
                return Filling(map, values_.data());
            });
    }

    // What is above the diagonal, below it too: by squares of a few lines of memory.
    void mirror() {
        constexpr int64_t side = 32;
        for (int64_t block = 0; block < n_; block += side) {
            const int64_t end = std::min(block + side, n_);
            for (int64_t from = 0; from < end; from += side) {
                for (int64_t i = block; i < end; ++i) {
                    for (int64_t j = from; j < std::min(from + side, i); ++j) row(i)[j] = row(j)[i];
                }
            }
        }
    }

  private:
    int64_t n_;
    std::vector<double> values_;
};

// Σ_j k_j l_{order(j)}, in lanes that are added in pairs.
double gathered_dot(const double* k, const double* l, const int32_t* order, int64_t n) {
    constexpr int lanes = 8;
    double lane[lanes] = {};
    int64_t j = 0;
    for (; j + lanes <= n; j += lanes) {
        for (int i = 0; i < lanes; ++i) lane[i] += k[j + i] * l[order[j + i]];
    }
    for (int i = 0; j + i < n; ++i) lane[i] += k[j + i] * l[order[j + i]];
    for (int half = lanes / 2; half; half /= 2) {
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
    }
    return lane[0];
}

}  // namespace

void permuted_products(const KernelSpace& x, const KernelSpace& y, const int64_t* orders,
                       int64_t count, Control& control, double* products) {
    constexpr int64_t at_a_time = 16;  // orders that meet a row of L while it is in L1
    const int64_t n = x.points.rows();
    Matrix k(n), l(n);
    control.expect(n * n / 2 * count);
    k.fill(x, control);
    l.fill(y, control);
    l.mirror();
    std::vector<std::vector<int32_t>> order(static_cast<size_t>(control.workers())), place = order;
    const int64_t blocks = (count + at_a_time - 1) / at_a_time;
    parallel_for(blocks, control, [&](int64_t block, int worker) {
        const int64_t first = block * at_a_time, here = std::min(at_a_time, count - first);
        std::vector<int32_t>& to = order[static_cast<size_t>(worker)];
        std::vector<int32_t>& from = place[static_cast<size_t>(worker)];  // to, inverted
        to.resize(static_cast<size_t>(at_a_time * n));
        from.resize(to.size());
        for (int64_t o = 0; o < here; ++o) {
            for (int64_t i = 0; i < n; ++i) {
                const int64_t row = orders[(first + o) * n + i];
                to[static_cast<size_t>(o * n + i)] = static_cast<int32_t>(row);
                from[static_cast<size_t>(o * n + row)] = static_cast<int32_t>(i);
            }
            products[first + o] = 0.0;
        }
        for (int64_t row = 0; row < n; ++row) {
            control.tick(worker);
            for (int64_t o = 0; o < here; ++o) {
                const int64_t i = from[static_cast<size_t>(o * n + row)];
                products[first + o] += 2.0 * gathered_dot(k.row(i) + i + 1, l.row(row),
                                                          to.data() + o * n + i + 1, n - i - 1);
            }
        }
        control.advance(here * (n * n / 2));
    });
}

}  // namespace pairtile
