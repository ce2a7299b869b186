// Canonical values of pairs read straight from the sources: what screened candidates are rescored
// with and what inexact tile entries are recomputed by.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/isa.hpp"
#include "engine/source.hpp"
#include "pairtile/metric/metric.hpp"

namespace pairtile {

class Canonical {
  public:
    Canonical(const Metric& metric, const Source& rows, const Source& cols)
        : metric_(metric),
          rows_(rows),
          cols_(cols),
          ops_(isa().canonical),
          row_(rows.d()),
          col_(rows.d()) {
        if (!metric.on_bits()) return;
        row_bits_.resize(static_cast<size_t>(rows.d() + 7) / 8);
        col_bits_.resize(row_bits_.size());
    }

    void set_row(int64_t i) {
        if (i == current_) return;
        current_ = i;
        if (metric_.on_bits()) return read_bits(rows_, i, row_bits_);
        rows_.read(i, row_.data());
        if (metric_.unit_rows()) row_is_zero_ = is_zero(row_.data(), rows_.d());
    }

    // Asks for column j ahead of its use: candidates lie anywhere in memory.
    void prefetch(int64_t j) const {
        constexpr int64_t line = 64, most = 16 * line;
        const auto touch = [&](const void* row, int64_t bytes) {
            for (int64_t at = 0; at < std::min(bytes, most); at += line) {
                __builtin_prefetch(static_cast<const char*>(row) + at);
            }
        };
        if (const float* y = cols_.float32_row(j)) return touch(y, rows_.d() * 4);
        if (const double* y = cols_.float64_row(j)) touch(y, rows_.d() * 8);
    }

    // The ordered canonical value of (current row, j).
    double operator()(int64_t j) {
        const int id = static_cast<int>(metric_.id);
        if (metric_.on_bits()) {
            read_bits(cols_, j, col_bits_);
            return ops_.bits[id](row_bits_.data(), col_bits_.data(),
                                 static_cast<int64_t>(row_bits_.size()));
        }
        const MetricParams& params = metric_.params;
        if (const float* y = cols_.float32_row(j)) {
            return ops_.f32[id](row_.data(), y, rows_.d(), params);
        }
        if (const double* y = cols_.float64_row(j)) {
            return ops_.f64[id](row_.data(), y, rows_.d(), params);
        }
        cols_.read(j, col_.data());
        if (metric_.unit_rows() && (row_is_zero_ || is_zero(col_.data(), rows_.d()))) {
            return 1.0;
        }
        return ops_.f64[id](row_.data(), col_.data(), rows_.d(), params);
    }

    // The same of both rows times a factor, where they themselves lead beyond float64's range.
    double of_scaled(int64_t j, double factor) {
        const auto d = static_cast<size_t>(rows_.d());
        std::vector<double> row(row_.data(), row_.data() + d), col(d);
        cols_.read(j, col.data());
        for (size_t k = 0; k < d; ++k) row[k] *= factor, col[k] *= factor;
        return ops_.f64[static_cast<int>(metric_.id)](row.data(), col.data(), rows_.d(),
                                                      metric_.params);
    }

  private:
    // The padding of the last word stays zero.
    static void read_bits(const Source& source, int64_t i, std::vector<uint64_t>& words) {
        source.read_bytes(i, reinterpret_cast<uint8_t*>(words.data()));
    }

    Metric metric_;
    const Source& rows_;
    const Source& cols_;
    const CanonicalOps& ops_;
    Buffer<double> row_, col_;
    std::vector<uint64_t> row_bits_, col_bits_;
    int64_t current_ = -1;
    bool row_is_zero_ = false;
};

}  // namespace pairtile
