// The chain rule through x → x/‖x‖.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// From the gradient by the rows of `unit`, which are those of `raw` divided by their lengths, to
// that by the rows of `raw`, in place: what points along a row is lost. That of a zero row is 0.
template <class T>
void through_normalisation(const Source& raw, const Source& unit, T* gradient, Control& control) {
    constexpr int64_t rows_at_a_time = 256;
    const int64_t n = raw.rows();
    const size_t d = static_cast<size_t>(raw.d());
    const auto body = [&](int64_t block, int worker) {
        std::vector<double> row(d), direction(d);
        const int64_t end = std::min(n, (block + 1) * rows_at_a_time);
        for (int64_t i = block * rows_at_a_time; i < end; ++i) {
            control.tick(worker);
            raw.read(i, row.data());
            unit.read(i, direction.data());
            T* g = gradient + i * raw.d();
            double along = 0.0, length = 0.0;
            for (size_t f = 0; f < d; ++f) along += static_cast<double>(g[f]) * direction[f];
            for (size_t f = 0; f < d; ++f) length += row[f] * direction[f];
            for (size_t f = 0; f < d; ++f) {
                const double across = static_cast<double>(g[f]) - along * direction[f];
                g[f] = length > 0.0 ? static_cast<T>(across / length) : T(0);
            }
        }
    };
    parallel_for((n + rows_at_a_time - 1) / rows_at_a_time, control, body);
}

}  // namespace pairtile
