#include "slices/columns.hpp"

#include <algorithm>
#include <cmath>

#include "pairtile/slice/column.hpp"
#include "slices/pipeline.hpp"

namespace pairtile {
namespace {

constexpr int64_t stretch = 1 << 16;  // of sums that are added up by themselves, between two ticks

// A sorted column in a unit, a power of two, in which no square leaves float64.
template <class T>
struct Column {
    const Bare<T>* items;
    int64_t size;
    double scale;
    const double* levels = nullptr;  // `couple` asks: rows weigh all the same

    double scaled(Key<T> key) const { return scale * static_cast<double>(value_of_key<T>(key)); }
    double value(int64_t i) const { return scaled(items[i].key); }
    double quantile(double level) const {
        return column_quantile(size, level, [this](int64_t i) { return value(i); });
    }
};

template <class T>
double scale_of(const Sorted<T, Bare<T>>& x, const Sorted<T, Bare<T>>& y) {
    double largest = 0;
    for (const auto* side : {&x, &y}) {
        for (const int64_t end : {int64_t{0}, side->size - 1}) {
            largest = std::max(largest, std::fabs(side->value(end)));
        }
    }
    return scale_near_one(largest);
}

// Sums over the walk from the smallest value of both columns to the largest. `height` is F − G in
// units of 1/(nm), an exact integer; between equal values it is not looked at.
template <class T>
class Walk {
  public:
    Walk(const Column<T>& x, const Column<T>& y)
        : x_(x),
          up_(y.size),
          down_(x.size),
          last_(std::min(x.items[0].key, y.items[0].key)),
          previous_(x.scaled(last_)) {}

    // The next value of both. Without branches: which column it is from nobody can predict.
    void step(Key<T> key, bool from_x) {
        const double value = x_.scaled(key), gap = value - previous_;
        const double height = static_cast<double>(height_), size = std::fabs(height);
        const bool other = key != last_;
        part_.first += size * gap;
        part_.square += height * height * gap;
        part_.square_by_rank += other ? equal_ * height * height : 0.0;
        largest_ = std::max(largest_, other ? size : 0.0);
        equal_ = other ? 1.0 : equal_ + 1.0;
        height_ += from_x ? up_ : -down_;
        last_ = key;
        previous_ = value;
    }
    void end_stretch() {
        total_.first += part_.first;
        total_.square += part_.square;
        total_.square_by_rank += part_.square_by_rank;
        part_ = {};
    }

    double pairs() const { return static_cast<double>(up_) * static_cast<double>(down_); }
    double first() const { return total_.first / pairs(); }
    double square() const { return total_.square / pairs() / pairs(); }
    double square_by_rank() const {
        return total_.square_by_rank / pairs() / pairs() / static_cast<double>(up_ + down_);
    }
    double largest() const { return largest_ / pairs(); }

  private:
    struct Sums {
        double first = 0, square = 0, square_by_rank = 0;
    };

    const Column<T>& x_;
    int64_t up_, down_, height_ = 0;
    Key<T> last_;
    double previous_, equal_ = 0, largest_ = 0;
    Sums part_, total_;
};

template <class T>
Walk<T> walk(const Column<T>& x, const Column<T>& y, const Tick& tick) {
    Walk<T> sums(x, y);
    int64_t i = 0, j = 0;
    while (i < x.size || j < y.size) {
        tick();
        int64_t left = stretch;
        for (; left > 0 && i < x.size && j < y.size; --left) {
            const Key<T> of_x = x.items[i].key, of_y = y.items[j].key;
            const bool from_x = of_x <= of_y;
            sums.step(from_x ? of_x : of_y, from_x);
            i += from_x;
            j += !from_x;
        }
        if (j == y.size) {
            for (; left > 0 && i < x.size; --left) sums.step(x.items[i++].key, true);
        }
        if (i == x.size) {
            for (; left > 0 && j < y.size; --left) sums.step(y.items[j++].key, false);
        }
        sums.end_stretch();
    }
    return sums;
}

// W_2² of two columns in their unit.
template <class T>
double squares(const Column<T>& x, const Column<T>& y, const Tick& tick) {
    const auto square = [&](int64_t i, int64_t j) {
        const double difference = x.value(i) - y.value(j);
        return difference * difference;
    };
    double total = 0;
    if (x.size != y.size) {
        couple(x, y, tick,
               [&](int64_t i, int64_t j, double mass) { total += mass * square(i, j); });
        return total;
    }
    constexpr int64_t lanes = 8;
    for (int64_t begin = 0; begin < x.size; begin += stretch) {
        tick();
        const int64_t end = std::min(x.size, begin + stretch), whole = end - (end - begin) % lanes;
        double lane[lanes] = {};
        for (int64_t i = begin; i < whole; i += lanes) {
            for (int64_t l = 0; l < lanes; ++l) lane[l] += square(i + l, i + l);
        }
        for (int64_t i = whole; i < end; ++i) lane[i - whole] += square(i, i);
        for (const double sum : lane) total += sum;
    }
    return total / static_cast<double>(x.size);
}

}  // namespace

template <class T>
void column_statistics(const Array& x, const Array& y, const double* levels, int64_t level_count,
                       const ColumnResults& results, Control& control) {
    require_countable(x.rows, y.rows);
    const Reduce<T, Bare<T>> reduce = [&](const auto& of_x, const auto& of_y, int64_t column, T*,
                                          T*, const Tick& tick) {
        const double scale = scale_of(of_x, of_y);
        const Column<T> u{of_x.items, of_x.size, scale}, v{of_y.items, of_y.size, scale};
        const Walk<T> sums = walk(u, v, tick);
        results.w2[column] = std::sqrt(squares(u, v, tick)) / scale;
        results.ks[column] = sums.largest();
        results.energy[column] = 2 * sums.square() / scale;
        results.cvm[column] = sums.square_by_rank();
        for (int64_t q = 0; q < level_count; ++q) {
            results.quantile_differences[column * level_count + q] =
                (v.quantile(levels[q]) - u.quantile(levels[q])) / scale;
        }
        return sums.first() / scale;
    };
    run(Slices{x, y}, Frame{}, nullptr, nullptr, results.w1, PointGradients<T>{}, control, reduce);
}

template void column_statistics<float>(const Array&, const Array&, const double*, int64_t,
                                       const ColumnResults&, Control&);
template void column_statistics<double>(const Array&, const Array&, const double*, int64_t,
                                        const ColumnResults&, Control&);

}  // namespace pairtile
