// The chain rule through x → x/‖x‖.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/isa.hpp"
#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// From the gradient by the rows divided by their lengths to that by the rows, in place.
template <class T>
void through_normalisation(const Source& rows, T* gradient, Control& control) {
    constexpr int64_t rows_at_a_time = 32;
    const int64_t n = rows.rows(), d = rows.d();
    const auto body = [&](int64_t block, int worker) {
        control.tick(worker);
        std::vector<double> row(static_cast<size_t>(d)), unit(row.size());
        const int64_t end = std::min(n, (block + 1) * rows_at_a_time);
        for (int64_t i = block * rows_at_a_time; i < end; ++i) {
            rows.read(i, row.data());
            unit = row;
            isa().normalise(unit.data(), d, false);
            ops_of<T>(isa()).through_normalisation(row.data(), unit.data(), d, gradient + i * d);
        }
    };
    parallel_for((n + rows_at_a_time - 1) / rows_at_a_time, control, body);
}

}  // namespace pairtile
