// With x ascending, Σ_{i<j} (x_j − x_i)|y_j − y_i| = 2D − C. D takes the pairs with y_i <= y_j
// alone and is collected while the points are sorted by y: where two runs merge, every point of the
// later one meets sums over those points of the earlier one that came before it. C takes all pairs
// without the bars and needs no sorting. Chaudhuri and Hu, "A fast algorithm for computing distance
// correlation", Computational Statistics & Data Analysis 135 (2019).
#include "slices/line.hpp"

#include <algorithm>
#include <vector>

#include "engine/compensated.hpp"

namespace pairtile {
namespace {

struct Point {
    double x, y;
};

// 1, x, y and xy of the points so far.
class Moments {
  public:
    void add(const Point& p) {
        count_ += 1.0;
        x_.add(p.x);
        y_.add(p.y);
        xy_.add(p.x * p.y);
    }
    // Σ (p.x − x_i)(p.y − y_i)
    double products_with(const Point& p) const {
        return count_ * p.x * p.y - p.x * y_.value() - p.y * x_.value() + xy_.value();
    }

  private:
    double count_ = 0.0;
    Compensated x_, y_, xy_;
};

void merge(const Point* left, const Point* middle, const Point* end, Point* out,
           Compensated& total) {
    Moments before;
    const Point* right = middle;
    while (right != end) {
        if (left != middle && left->y <= right->y) {
            before.add(*left);
            *out++ = *left++;
        } else {
            total.add(before.products_with(*right));
            *out++ = *right++;
        }
    }
    std::copy(left, middle, out);
}

double product_of(std::vector<Point>& points, std::vector<Point>& scratch, Control& control,
                  int worker) {
    const int64_t n = static_cast<int64_t>(points.size());
    Compensated all, concordant;
    Moments before;
    for (const Point& p : points) {
        all.add(before.products_with(p));
        before.add(p);
    }
    for (int64_t run = 1; run < n; run *= 2) {
        control.tick(worker);
        for (int64_t from = 0; from < n; from += 2 * run) {
            const Point* left = points.data() + from;
            merge(left, points.data() + std::min(from + run, n),
                  points.data() + std::min(from + 2 * run, n), scratch.data() + from, concordant);
        }
        points.swap(scratch);
    }
    return 2.0 * (2.0 * concordant.value() - all.value());
}

}  // namespace

void line_products(const double* x, const double* y, const int64_t* orders, int64_t n,
                   int64_t count, Control& control, double* products) {
    control.expect(count);
    struct Work {
        std::vector<Point> points, scratch;
    };
    std::vector<Work> work(static_cast<size_t>(control.workers()));
    parallel_for(count, control, [&](int64_t o, int worker) {
        Work& mine = work[static_cast<size_t>(worker)];
        mine.points.resize(static_cast<size_t>(n));
        mine.scratch.resize(static_cast<size_t>(n));
        const int64_t* order = orders + o * n;
        for (int64_t i = 0; i < n; ++i) mine.points[static_cast<size_t>(i)] = {x[i], y[order[i]]};
        products[o] = product_of(mine.points, mine.scratch, control, worker);
        control.advance(1);
    });
}

}  // namespace pairtile
