#include "slices/ascent.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>
#include <vector>

#include "pairtile/slice/lanes.hpp"
#include "slices/frame.hpp"
#include "slices/project.hpp"

namespace pairtile {
namespace {

constexpr int64_t stretch = 10;           // rounds between looks at all climbs
constexpr double apart = 1e-2;            // the angle within which the lower one of two climbs ends
constexpr int64_t most_together = 8;      // climbs that look together, by one worker
constexpr int64_t few_numbers = 1 << 18;  // of samples that are packed for all rounds
constexpr size_t most_pairs = 40;         // steps that a climb remembers

using Vector = std::vector<double>;

double dot(const double* a, const double* b, size_t n) {
    double lane[line_lanes] = {};
    in_lanes(static_cast<int64_t>(n), [&](int l, int64_t i) { lane[l] += a[i] * b[i]; });
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}
double dot(const Vector& a, const Vector& b) { return dot(a.data(), b.data(), a.size()); }
double length_of(const Vector& a) { return std::sqrt(dot(a, a)); }

void add(Vector& a, double factor, const Vector& b) {
    double* out = a.data();
    const double* from = b.data();
    for (size_t i = 0; i < a.size(); ++i) out[i] += factor * from[i];
}

// What of a vector is along the sphere.
void keep_along(Vector& vector, const Vector& point) { add(vector, -dot(vector, point), point); }

// What a climb has learnt of the curvature: the matrix of BFGS as its last steps, and how the
// slopes fell on each.
class Curvature {
  public:
    void learn(const Vector& taken, const Vector& fall) {
        const double product = dot(taken, fall), square = dot(fall, fall);
        if (!(product > 1e-14 * length_of(taken) * std::sqrt(square))) return;
        if (pairs_.empty()) scale_ = product / square;
        if (pairs_.size() == most_pairs) {
            pairs_.push_back(std::move(pairs_.front()));
            pairs_.pop_front();
        } else {
            pairs_.emplace_back();
        }
        Pair& last = pairs_.back();
        last.taken = taken;
        last.fall = fall;
        last.product = product;
    }
    // slope -> step
    void apply(Vector& step) {
        for (auto pair = pairs_.rbegin(); pair != pairs_.rend(); ++pair) {
            pair->share = dot(pair->taken, step) / pair->product;
            add(step, -pair->share, pair->fall);
        }
        for (double& number : step) number *= scale_;
        for (const Pair& pair : pairs_) {
            add(step, pair.share - dot(pair.fall, step) / pair.product, pair.taken);
        }
    }

  private:
    struct Pair {
        Vector taken, fall;
        double product = 0, share = 0;
    };
    std::deque<Pair> pairs_;
    double scale_ = 1;
};

class Climb {
  public:
    Climb(const double* start, double its_unit, int64_t d)
        : end(start, start + d), slope_there(static_cast<size_t>(d)), unit(its_unit) {}

    // After the first look, at the start.
    void begin(double tol) {
        point_ = best = end;
        height_ = best_height = before_ = reached;
        step_ = slope_ = slope_there;
        climbing = length_of(slope_) > tol;
    }
    void look_ahead() {
        end = point_;
        add(end, length_, step_);
        size_ = length_of(end);
        for (double& number : end) number /= size_;
    }
    // Of what is seen at the end.
    void learn(double tol) {
        if (reached > best_height) best = end, best_height = reached;
        // the weak conditions of Wolfe: high enough, and no longer as steep
        const double steep = dot(slope_, step_);
        const bool too_long = !(reached - height_ >= 1e-4 * length_ * steep);
        const bool too_short = !too_long && dot(slope_there, step_) / size_ > 0.9 * steep;
        if (too_long) high_ = length_;
        if (too_short) low_ = length_;
        if (too_long || too_short) {
            length_ = std::isinf(high_) ? 2 * low_ : (low_ + high_) / 2;
        } else {
            move(tol);
        }
        const double span = std::isinf(high_) ? 1.0 : high_ - low_;
        if (!(span * length_of(step_) > 1e-3 * tol)) climbing = false;
    }
    // Whether the last rounds were worth it.
    void look_back(double tol) {
        if (!(best_height - before_ > tol)) climbing = false;
        before_ = best_height;
    }

    Vector end, slope_there;  // where it looks, and what it sees: the slope along the sphere
    double reached = 0;
    double unit;
    Vector best;
    double best_height = 0;
    bool climbing = false;

  private:
    void move(double tol) {
        const double gain = reached - height_;
        for (double& number : step_) number *= length_;
        keep_along(step_, end);
        keep_along(slope_, end);
        add(slope_, -1, slope_there);
        curvature_.learn(step_, slope_);
        std::swap(point_, end);
        std::swap(slope_, slope_there);
        height_ = reached;
        step_ = slope_;
        curvature_.apply(step_);
        keep_along(step_, point_);
        if (!(dot(step_, slope_) > 0)) step_ = slope_;
        length_ = 1, low_ = 0, high_ = std::numeric_limits<double>::infinity();
        climbing = length_of(slope_) > tol && gain > 1e-3 * tol;
    }

    Vector point_, slope_, step_;
    double height_ = 0, size_ = 1, before_ = 0;
    double length_ = 1, low_ = 0, high_ = std::numeric_limits<double>::infinity();
    Curvature curvature_;
};

using Group = std::vector<Climb*>;

// Log W_p and its slope along the sphere, at the points where climbs look.
template <class T>
class Height {
  public:
    Height(const Slices& samples, const Transport& transport, Control& control)
        : samples_(samples), transport_(transport) {
        prepared_.frame =
            line_frame(samples.x, samples.y, transport.x_weights, transport.y_weights, control);
        if (!is_small()) return;
        prepared_.x.emplace(samples.x, prepared_.frame);
        prepared_.y.emplace(samples.y, prepared_.frame);
    }

    bool is_small() const { return (samples_.x.rows + samples_.y.rows) * d() <= few_numbers; }

    void find(const Group& group, Control& control) const {
        const int64_t count = static_cast<int64_t>(group.size());
        const auto numbers = static_cast<size_t>(count * d());
        Vector lines(numbers), slopes(numbers), costs(group.size());
        for (size_t c = 0; c < group.size(); ++c) {
            double* line = &lines[c * static_cast<size_t>(d())];
            for (const double number : group[c]->end) *line++ = number / group[c]->unit;
        }
        constexpr int64_t each = sizeof(double);
        const Array directions{reinterpret_cast<const char*>(lines.data()), d(), count, each,
                               d() * each};
        Slices slices = samples_;
        slices.directions = &directions;
        TransportResults<T> results{costs.data(), {}};
        results.gradients.directions = slopes.data();
        transport_slices(slices, transport_, results, control, &prepared_);
        for (size_t c = 0; c < group.size(); ++c) {
            Climb& climb = *group[c];
            climb.reached = std::log(costs[c]) / transport_.p + std::log(climb.unit);
            const double* slope = &slopes[c * static_cast<size_t>(d())];
            const bool tells = costs[c] > 0 && std::isfinite(costs[c]);
            const double factor = tells ? 1 / (climb.unit * transport_.p * costs[c]) : 0.0;
            for (double& number : climb.slope_there) number = tells ? factor * *slope++ : 0.0;
            keep_along(climb.slope_there, climb.end);
        }
    }

  private:
    int64_t d() const { return samples_.x.cols; }

    const Slices& samples_;
    const Transport& transport_;
    Prepared<T> prepared_;
};

// Looks of a group are no progress of their own; what they are told is what the call is told.
class Within {
  public:
    Within(Control& control, int worker, int workers)
        : control_([&control, worker](int64_t, int64_t) { control.tick(worker); }, workers) {}
    operator Control&() { return control_; }

  private:
    Control control_;
};

// Those that are where a higher one is, or an equal one before them, end.
void end_followers(std::vector<Climb>& climbs) {
    for (size_t i = 0; i < climbs.size(); ++i) {
        if (!climbs[i].climbing) continue;
        for (size_t j = 0; j < climbs.size(); ++j) {
            const double mine = climbs[i].best_height, other = climbs[j].best_height;
            const bool leads = other > mine || (other == mine && j < i);
            if (leads && std::abs(dot(climbs[i].best, climbs[j].best)) > std::cos(apart)) {
                climbs[i].climbing = false;
                break;
            }
        }
    }
}

// All but so many of those that still climb end, the lower ones.
void keep_highest(std::vector<Climb>& climbs, int64_t kept) {
    Group left;
    for (Climb& climb : climbs) {
        if (climb.climbing) left.push_back(&climb);
    }
    std::stable_sort(left.begin(), left.end(), [](const Climb* a, const Climb* b) {
        return a->best_height > b->best_height;
    });
    for (size_t i = static_cast<size_t>(kept); i < left.size(); ++i) left[i]->climbing = false;
}

template <class Body>
void for_each_group(std::vector<Climb>& climbs, bool small, Control& control, const Body& body) {
    Group all;
    for (Climb& climb : climbs) {
        if (climb.climbing) all.push_back(&climb);
    }
    if (!small) {
        Within within(control, 0, control.workers());
        return body(all, within, 0);
    }
    const int64_t count = static_cast<int64_t>(all.size());
    // in groups for all workers: what a climb sees does not depend on who looks with it
    const int64_t workers = control.workers(), share = (count + workers - 1) / workers;
    const int64_t size = std::clamp<int64_t>(share, 1, most_together);
    parallel_for((count + size - 1) / size, control, [&](int64_t g, int worker) {
        const int64_t end = std::min(count, (g + 1) * size);
        Within within(control, worker, 1);
        body(Group(all.begin() + g * size, all.begin() + end), within, worker);
    });
}

}  // namespace

template <class T>
void climb(const Slices& samples, const Transport& transport, const Ascent& ascent, double* points,
           double* heights, Control& control) {
    const int64_t d = samples.x.cols;
    const Height<T> height(samples, transport, control);
    const bool small = height.is_small();
    std::vector<Climb> climbs;
    for (int64_t c = 0; c < ascent.count; ++c) {
        climbs.emplace_back(ascent.starts + c * d, ascent.units[c], d);
        climbs.back().climbing = true;
    }
    control.expect(ascent.rounds);
    for_each_group(climbs, small, control, [&](const Group& group, Control& within, int worker) {
        height.find(group, within);
        control.tick(worker);
        for (Climb* climb : group) climb->begin(ascent.tol);
    });
    control.advance(1);
    for (int64_t done = 1; done < ascent.rounds;) {
        const int64_t rounds = std::min(ascent.rounds, (done / stretch + 1) * stretch) - done;
        for_each_group(climbs, small, control, [&](Group group, Control& within, int worker) {
            for (int64_t r = 0; r < rounds; ++r) {
                std::erase_if(group, [](const Climb* climb) { return !climb->climbing; });
                if (group.empty()) return;
                for (Climb* climb : group) climb->look_ahead();
                height.find(group, within);
                control.tick(worker);
                for (Climb* climb : group) climb->learn(ascent.tol);
                if (!small && r + 1 < rounds) control.advance(1);
            }
        });
        done += rounds;
        control.advance(small ? rounds : 1);
        for (Climb& climb : climbs) climb.look_back(ascent.tol);
        end_followers(climbs);
        if (done == stretch) keep_highest(climbs, ascent.kept);
        const auto goes_on = [](const Climb& climb) { return climb.climbing; };
        if (std::none_of(climbs.begin(), climbs.end(), goes_on)) break;
    }
    for (int64_t c = 0; c < ascent.count; ++c) {
        const Climb& climb = climbs[static_cast<size_t>(c)];
        std::copy(climb.best.begin(), climb.best.end(), points + c * d);
        heights[c] = climb.best_height;
    }
}

#define PT_INSTANTIATE(T)                                                                    \
    template void climb<T>(const Slices&, const Transport&, const Ascent&, double*, double*, \
                           Control&);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile
