#include "slices/moments.hpp"

#include <algorithm>
#include <vector>

#include "engine/buffer.hpp"
#include "slices/sort.hpp"

namespace pairtile {
namespace {

constexpr int64_t most_parts = 64;  // their number, not that of the workers, decides what is added
constexpr int64_t chunk_numbers = 8192;  // of rows in L1 or L2, visited a few columns at a time

// Weight, means and sums of squared deviations of some of the rows.
struct Moments {
    explicit Moments(int64_t d) : mean(static_cast<size_t>(d)), square(static_cast<size_t>(d)) {}

    void merge(const Moments& other) {
        if (other.weight == 0) return;
        const double total = weight + other.weight, share = other.weight / total;
        for (size_t j = 0; j < mean.size(); ++j) {
            const double apart = other.mean[j] - mean[j];
            mean[j] += apart * share;
            square[j] += other.square[j] + apart * apart * (weight * share);
        }
        weight = total;
    }

    double weight = 0;
    std::vector<double> mean, square;
};

// The moments of `count` rows, `stride` apart, less an origin; null weights are ones. They are
// counted from one of the rows that have mass: if that lies far from the others, so much do they
// vary.
template <class S>
void look_at(const S* rows, int64_t stride, int64_t count, const double* weights,
             const std::vector<double>& origin, Moments& found) {
    found.weight = weights ? 0.0 : static_cast<double>(count);
    const S* first = weights ? nullptr : rows;
    for (int64_t i = 0; weights && i < count; ++i) {
        if (weights[i] == 0) continue;  // what has no mass may be of any size
        found.weight += weights[i];
        if (!first) first = rows + i * stride;
    }
    if (!first) return;
    double *sum = found.mean.data(), *square = found.square.data();
    const int64_t d = static_cast<int64_t>(found.mean.size());
    column_sums_of<S>()(rows, stride, count, d, weights, first, origin.data(), sum, square);
    for (int64_t j = 0; j < d; ++j) {
        const double off = sum[j] / found.weight;
        square[j] = std::max(square[j] - sum[j] * off, 0.0);
        sum[j] = (static_cast<double>(first[j]) - origin[static_cast<size_t>(j)]) + off;
    }
}

}  // namespace

void column_moments(const Array& x, const double* weights, double* means, double* variances,
                    Control& control) {
    const int64_t d = x.cols, chunk = std::max<int64_t>(1, chunk_numbers / d);
    const int64_t chunks = (x.rows + chunk - 1) / chunk;
    const int64_t count = std::min(chunks, most_parts), each = (chunks + count - 1) / count * chunk;
    std::vector<double> origin(static_cast<size_t>(d));  // means of values far from 0 lose digits
    int64_t first = 0;
    while (weights && weights[first] == 0 && first + 1 < x.rows) ++first;
    x.read(first, origin.data());
    std::vector<Moments> parts(static_cast<size_t>(count), Moments(d));
    const auto look = [&]<class S>(S) {
        const Source source(x);
        std::vector<Buffer<S>> copies(static_cast<size_t>(control.workers()));
        parallel_for(count, control, [&](int64_t part, int worker) {
            Buffer<S>& copy = copies[static_cast<size_t>(worker)];
            copy.reserve(chunk * d);
            Moments here(d);
            const int64_t end = std::min(x.rows, (part + 1) * each);
            for (int64_t from = part * each; from < end; from += chunk) {
                control.tick(worker);
                const int64_t rows = std::min(chunk, end - from);
                const RowsView<S> view = source.block(from, rows, copy.data());
                look_at(view.data, view.stride, rows, weights ? weights + from : nullptr, origin,
                        here);
                parts[static_cast<size_t>(part)].merge(here);
            }
        });
    };
    if (x.dtype == Dtype::float64) {
        look(double{});
    } else {
        look(float{});
    }
    Moments& all = parts.front();
    for (int64_t part = 1; part < count; ++part) all.merge(parts[static_cast<size_t>(part)]);
    for (int64_t j = 0; j < d; ++j) {
        means[j] = origin[static_cast<size_t>(j)] + all.mean[static_cast<size_t>(j)];
        variances[j] = all.square[static_cast<size_t>(j)] / all.weight;
    }
}

}  // namespace pairtile
