// The least cost is convex and piecewise linear in the mass that moves, and its pieces are walked
// one after the other, from no mass on (successive shortest paths). On a line each is simple.
// Points with mass left are open. Between two open neighbours lies a block, all of which moves
// already, and moves within the block: no mass passes an open point. The cheapest mass to add joins
// two open neighbours of different samples: the sorted matching of their block is shifted, with new
// mass at one end and a new place for it at the other. A heap holds the price of each block; a
// point that closes makes one block of the two beside it. Chapel and Tavenard, "One for all and all
// for one: efficient computation of partial Wasserstein distances on the line" (2025), for points
// of one weight; here samples of different sizes have points of different weights, and blocks are
// shifted by as much as does not change the price.
//
// Masses are integers. Of n and m points with greatest common divisor g, those of x have m/g units
// each, those of y n/g. The surplus behind a place is the units of x up to there less those of y;
// less the shift of a block it is what flows to the right. The shift is what is left at the open
// points up to the block, that of x less that of y.
#include "slices/partial.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pairtile/slice/cost.hpp"

namespace pairtile {
namespace {

constexpr int64_t nowhere = -1, never = std::numeric_limits<int64_t>::max();

struct Point {
    double at;
    bool of_x;
    int64_t rank;           // from 1, in its own sample
    int64_t surplus;        // behind it
    int64_t left;           // units that do not move
    int64_t before, after;  // open neighbours
};

// Both samples in one order, x before y at the same place.
struct Points {
    explicit Points(const Line& line)
        : line(line),
          divisor(std::gcd(line.n, line.m)),
          x_units(line.m / divisor),
          y_units(line.n / divisor) {
        if (line.n > std::numeric_limits<int64_t>::max() / x_units) {
            throw std::length_error("samples of " + std::to_string(line.n) + " and " +
                                    std::to_string(line.m) + " values have too many units of mass");
        }
        const int64_t size = line.n + line.m;
        list.reserve(static_cast<size_t>(size));
        for (int64_t i = 0, j = 0; i + j < size;) {
            const bool of_x = j == line.m || (i < line.n && line.x[i] <= line.y[j]);
            const double at = of_x ? line.x[i] : line.y[j];
            (of_x ? i : j)++;
            list.push_back({at, of_x, of_x ? i : j, i * x_units - j * y_units,
                            of_x ? x_units : y_units, i + j - 2, i + j});
        }
        list.back().after = nowhere;
    }
    int64_t size() const { return line.n + line.m; }
    Point& operator[](int64_t k) { return list[static_cast<size_t>(k)]; }
    const Point& operator[](int64_t k) const { return list[static_cast<size_t>(k)]; }

    const Line& line;
    int64_t divisor, x_units, y_units;
    std::vector<Point> list;
};

// The price of a block at p = 1, in O(log N) a change. As its shift falls by a unit, flows to the
// right grow by one, from 0 on, and flows to the left shrink; each counts for the length of its
// gap. So lengths are kept by surplus, which does not change, and summed below, at and above the
// shift.
class Gaps {
  public:
    void begin(const Points& points, int64_t k) {
        at_ = points[k + 1].at - points[k].at;
        lengths_ = {{points[k].surplus, at_}};
    }
    void join(Gaps& other) {
        if (other.lengths_.size() > lengths_.size()) lengths_.swap(other.lengths_);
        for (const auto& [surplus, length] : other.lengths_) lengths_[surplus] += length;
        other.lengths_.clear();
        below_ += other.below_;
        at_ += other.at_;
        above_ += other.above_;
    }
    void open(const Points&, int64_t, int64_t, Control&) {}
    double price(bool falling) const { return at_ + (falling ? above_ - below_ : below_ - above_); }
    // How far the shift may go until the price changes.
    int64_t reach(int64_t shift, bool falling) const {
        if (falling) {
            const auto here = lengths_.lower_bound(shift);
            return here == lengths_.begin() ? never : shift - std::prev(here)->first;
        }
        const auto next = lengths_.upper_bound(shift);
        return next == lengths_.end() ? never : next->first - shift;
    }
    void move(const Points&, int64_t shift, bool falling, int64_t) {
        double &behind = falling ? above_ : below_, &ahead = falling ? below_ : above_;
        behind += std::exchange(at_, 0.0);
        const auto here = lengths_.find(shift);
        if (here == lengths_.end()) return;
        at_ = here->second;
        const bool last = here == (falling ? lengths_.begin() : std::prev(lengths_.end()));
        ahead = last ? 0.0 : ahead - at_;
    }

  private:
    std::map<int64_t, double> lengths_;
    double below_ = 0, at_ = 0, above_ = 0;
};

// The price of a block at any p, in the time of its points of one sample. The mass of the side
// whose point is on the left slides over that of the other: where one of its points ends and the
// next begins, mass changes from the next to the one, at the point of the other side that is there.
// It is the same price until some end meets the end of a point of the other side. Seen from the
// right it is the other side that slides; that which has fewer points in the block is taken.
template <class Cost>
class Steps {
  public:
    explicit Steps(const Cost& cost) : cost_(cost) {}
    void begin(const Points&, int64_t) {}
    void join(Steps&) {}
    void open(const Points& points, int64_t k, int64_t shift, Control& control) {
        const Point &left = points[k], &right = points[left.after];
        const int64_t left_ends = left.after - right.rank + 1 - left.rank;
        const int64_t right_ends = right.rank - 2 - (k - left.rank);
        from_right_ = right_ends < left_ends;
        const Sides sides(points, left.of_x, from_right_);
        first_ = from_right_ ? sides.size - right.rank + 1 : left.rank;
        last_ = first_ + std::min(left_ends, right_ends);
        moved_ = 0;
        next_ = 0;
        price_ = 0;
        meetings_.clear();
        const int64_t most = std::min(left.left, right.left);
        for (int64_t i = first_; i <= last_; ++i) {
            if ((i & 0xffff) == 0) control.tick(0);
            const int64_t level = sides.level(i, shift), there = level / sides.other_units;
            price_ += change(sides, i, there);
            const int64_t until = (there + 1) * sides.other_units - level;
            if (until < most) meetings_.push_back({until, i});
        }
        std::sort(meetings_.begin(), meetings_.end());
    }
    double price(bool) const { return price_; }
    int64_t reach(int64_t, bool) const {
        return next_ < meetings_.size() ? meetings_[next_].first - moved_ : never;
    }
    void move(const Points& points, int64_t shift, bool falling, int64_t units) {
        moved_ += units;
        const Sides sides(points, falling, from_right_);
        for (; next_ < meetings_.size() && meetings_[next_].first == moved_; ++next_) {
            const int64_t i = meetings_[next_].second;
            const int64_t there = sides.level(i, shift) / sides.other_units;
            price_ += change(sides, i, there) - change(sides, i, there - 1);
        }
    }

  private:
    // Values and units of the side that slides, and of the other, in the order in which it is seen.
    struct Sides {
        Sides(const Points& points, bool x_on_left, bool from_right)
            : x_slides(x_on_left != from_right),
              from_right(from_right),
              own(x_slides ? points.line.x : points.line.y),
              other(x_slides ? points.line.y : points.line.x),
              size(x_slides ? points.line.n : points.line.m),
              other_size(x_slides ? points.line.m : points.line.n),
              own_units(x_slides ? points.x_units : points.y_units),
              other_units(x_slides ? points.y_units : points.x_units),
              sign(x_on_left ? 1 : -1) {}
        // Units of the other side before the end of the i-th point of this one, i from 1. What is
        // left from a place on is minus what is left before it, so the shift is the same from the
        // right: two changes of sign.
        int64_t level(int64_t i, int64_t shift) const { return own_units * i - sign * shift; }
        double value(int64_t i) const { return own[from_right ? size - i : i - 1]; }
        double other_value(int64_t i) const { return other[from_right ? other_size - 1 - i : i]; }

        bool x_slides, from_right;
        const double *own, *other;
        int64_t size, other_size, own_units, other_units, sign;
    };

    double change(const Sides& sides, int64_t i, int64_t there) const {
        const double at = sides.other_value(there);
        const double more = cost_.value(sides.value(i) - at);
        return i < last_ ? more - cost_.value(sides.value(i + 1) - at) : more;
    }

    Cost cost_;
    bool from_right_ = false;
    int64_t first_ = 0, last_ = 0, moved_ = 0;
    size_t next_ = 0;
    double price_ = 0;
    std::vector<std::pair<int64_t, int64_t>> meetings_;  // after how many units, and whose end
};

// |δ|^p, no more than what sums and differences of it bear: so dear a pair is the last to be made.
struct CappedCost {
    PowerCost power;
    double value(double difference) const { return std::min(power.value(difference), 0x1p+300); }
};

template <class Block>
class Path {
  public:
    Path(const Line& line, const Block& block, Control& control)
        : points_(line),
          control_(control),
          blocks_(static_cast<size_t>(points_.size() - 1), block),
          shifts_(blocks_.size()),
          versions_(blocks_.size()) {
        for (int64_t k = 0; k < std::ssize(blocks_); ++k) {
            blocks_[at(k)].begin(points_, k);
            shifts_[at(k)] = points_[k].surplus;
            open(k);
        }
    }

    // Moves a share of all mass.
    void move(double share) {
        double wanted = share * all_units();
        while (wanted > 0 && !offers_.empty()) {
            control_.tick(0);
            const Offer best = offers_.top();
            offers_.pop();
            if (best.version != versions_[at(best.left)]) continue;
            wanted -= take(best.left, wanted);
        }
    }

    // What is moved of each point, divided by the units of all.
    void masses(double* x_mass, double* y_mass) const {
        const double all = all_units();
        for (const Point& point : points_.list) {
            const int64_t units = (point.of_x ? points_.x_units : points_.y_units) - point.left;
            (point.of_x ? x_mass : y_mass)[point.rank - 1] = static_cast<double>(units) / all;
        }
        for (const int64_t k : part_of_) {
            const Point& point = points_[k];
            (point.of_x ? x_mass : y_mass)[point.rank - 1] += part_ / all;
        }
    }

  private:
    struct Offer {
        double price;
        int64_t left;
        uint32_t version;
        bool operator>(const Offer& other) const {
            return price != other.price ? price > other.price : left > other.left;
        }
    };

    double all_units() const {
        return static_cast<double>(points_.x_units) * static_cast<double>(points_.line.n);
    }
    static size_t at(int64_t k) { return static_cast<size_t>(k); }

    // Moves units between the ends of a block, at most as many as are wanted, at one price.
    double take(int64_t k, double wanted) {
        Point& left = points_[k];
        const int64_t r = left.after;
        Point& right = points_[r];
        const int64_t units =
            std::min({left.left, right.left, blocks_[at(k)].reach(shifts_[at(k)], left.of_x)});
        if (static_cast<double>(units) > wanted) {
            part_ = wanted;
            part_of_ = {k, r};
            return wanted;
        }
        left.left -= units;
        right.left -= units;
        shifts_[at(k)] += left.of_x ? -units : units;
        blocks_[at(k)].move(points_, shifts_[at(k)], left.of_x, units);
        versions_[at(k)]++;
        int64_t block = k;
        if (right.left == 0) block = close(r);
        if (left.left == 0) block = close(k);
        if (left.left > 0 && right.left > 0) {
            offer(k);
        } else if (block != nowhere) {
            open(block);
        }
        return static_cast<double>(units);
    }

    // The block of which the two beside a point become a part, if there is one.
    int64_t close(int64_t k) {
        const int64_t before = points_[k].before, after = points_[k].after;
        if (before != nowhere) points_[before].after = after;
        if (after != nowhere) points_[after].before = before;
        if (after != nowhere) versions_[at(k)]++;
        if (before == nowhere) return nowhere;
        versions_[at(before)]++;
        if (after == nowhere) return nowhere;
        blocks_[at(before)].join(blocks_[at(k)]);
        return before;
    }

    void open(int64_t k) {
        const Point& left = points_[k];
        if (left.of_x == points_[left.after].of_x) return;  // no mass passes
        blocks_[at(k)].open(points_, k, shifts_[at(k)], control_);
        offer(k);
    }
    void offer(int64_t k) {
        offers_.push({blocks_[at(k)].price(points_[k].of_x), k, versions_[at(k)]});
    }

    Points points_;
    Control& control_;
    std::vector<Block> blocks_;  // each by the open point on its left
    std::vector<int64_t> shifts_;
    std::vector<uint32_t> versions_;
    std::priority_queue<Offer, std::vector<Offer>, std::greater<>> offers_;
    double part_ = 0;  // of a unit or more, where less is wanted than a block could take
    std::vector<int64_t> part_of_;
};

}  // namespace

void partial_masses(const Line& line, double share, double p, Control& control, double* x_mass,
                    double* y_mass) {
    const auto with = [&](const auto& block) {
        Path path(line, block, control);
        path.move(share);
        path.masses(x_mass, y_mass);
    };
    if (p == 1) return with(Gaps{});
    if (p == 2) return with(Steps<SquaredCost>{SquaredCost{}});
    with(Steps<CappedCost>{CappedCost{PowerCost{p}}});
}

}  // namespace pairtile
