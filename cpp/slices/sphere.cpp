#include "slices/sphere.hpp"

#include <cmath>

#include "slices/circle.hpp"
#include "slices/pipeline.hpp"

namespace pairtile {
namespace {

constexpr double turns_per_radian = 0.15915494309189534561;  // 1/(2π)

// Of each row, over its first coordinate. Sums of products are never −0: a row that is 0 in the
// plane has the angle 0.
template <class T>
void turn(T* first, const T* second, int64_t rows, const Tick& tick) {
    for (int64_t i = 0; i < rows; ++i) {
        if ((i & 0xffff) == 0) tick();
        first[i] = std::atan2(second[i], first[i]) * T(turns_per_radian);
    }
}

template <class T>
Turns<T> decoded(const Bare<T>* items, T* values, int64_t size) {
    for (int64_t i = 0; i < size; ++i) values[i] = value_of_key<T>(items[i].key);
    return {values, size};
}

}  // namespace

template <class T>
void circle_distances(const Slices& frames, double p, CirclePlan plan, double* distances,
                      Control& control) {
    const int64_t n = frames.x.rows, m = frames.y.rows, circles = frames.count() / 2;
    constexpr int64_t most = std::numeric_limits<int32_t>::max();
    if (n > most || m > most) {  // products of both are counted in 64 bits
        throw std::length_error("statistics on circles take at most 2^31 - 1 rows");
    }
    const Ops<T>& ops = ops_of<T>(isa());
    const Frame raw = raw_frame(frames.x.cols);  // angles are about the origin
    const int64_t step = std::max<int64_t>(1, batch_size(2 * circles, n + m, sizeof(T), 2) / 2);
    Coordinates<T> px(2 * std::min(step, circles), n, ops), py(2 * std::min(step, circles), m, ops);
    std::vector<SortBuffers<Bare<T>>> buffers(static_cast<size_t>(control.workers()));
    control.expect(circles);
    for (int64_t first = 0; first < circles; first += step) {
        const int64_t count = std::min(step, circles - first);
        const Batch<T> batch(frames, 2 * first, 2 * count);
        batch.project(frames.x, raw, px, control);
        batch.project(frames.y, raw, py, control);
        parallel_for(count, control, [&](int64_t c, int worker) {
            const Tick tick{control, worker};
            T *x = px.of(2 * c), *y = py.of(2 * c);
            T *x_values = px.of(2 * c + 1), *y_values = py.of(2 * c + 1);
            turn(x, x_values, n, tick);
            turn(y, y_values, m, tick);
            const auto [of_x, of_y] =
                sorted_lists(x, n, y, m, false, buffers[static_cast<size_t>(worker)], tick);
            const Circle<T> circle(decoded(of_x, x_values, n), decoded(of_y, y_values, m), tick);
            distances[first + c] = plan == CirclePlan::exact ? circle.exact(p) : circle.linear();
            control.advance(1);
        });
    }
}

template void circle_distances<float>(const Slices&, double, CirclePlan, double*, Control&);
template void circle_distances<double>(const Slices&, double, CirclePlan, double*, Control&);

}  // namespace pairtile
