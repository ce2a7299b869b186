// Where rows come from: one or two arrays of any supported dtype, stride and byte order, read row
// by row as float64. First station of the data flow (source → plan → pack → sweep → fold).
//
// Two parts make one pooled sample without a copy. Nothing here ever writes to an input.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "pairtile/metric/traits.hpp"

namespace pairtile {

enum class Dtype : uint8_t { float16, bfloat16, int8, uint8, float32, float64 };

struct Array {
    const char* data = nullptr;
    int64_t rows = 0, cols = 0;
    int64_t row_stride = 0, col_stride = 0;  // bytes, any sign
    Dtype dtype = Dtype::float64;
    bool swapped = false;  // stored in the other byte order

    bool contiguous_native() const;
    void read(int64_t row, double* out) const;
    void read(int64_t row, float* out) const;  // of no more than 32 bits
    void read_bytes(int64_t row, uint8_t* out) const;
    bool operator==(const Array&) const = default;
};

// Rows in memory, `stride` elements apart.
template <class S>
struct RowsView {
    const S* data;
    int64_t stride;
};

// x -> A(x − centre) in float64; A is diagonal, or dense.
struct LinearMap {
    std::vector<double> centre;
    std::vector<double> diagonal;  // of A; if empty,
    std::vector<double> columns;   // A column by column

    void apply(double* row) const;
};

class Source {
  public:
    explicit Source(const Array& only) : parts_{only}, split_(only.rows), rows_(only.rows) {}
    Source(const Array& first, const Array& second)
        : parts_{first, second}, split_(first.rows), rows_(first.rows + second.rows) {}

    int64_t rows() const { return rows_; }
    int64_t d() const { return parts_[0].cols; }
    bool holds_float64() const;

    // As a metric wants its rows; a zero row stays zero. A map depends on the data, and is set by
    // map_by().
    void read_as(Reading reading) {
        centred_ = reading == Reading::centred_unit;
        normalised_ = centred_ || reading == Reading::unit;
    }
    void normalise() { read_as(Reading::unit); }
    bool normalised() const { return normalised_; }

    // Take the rows of both parts in turn: x_0, y_0, x_1, y_1, … of samples of one size.
    void interleave() { interleaved_ = true; }
    bool interleaved() const { return interleaved_; }

    // Read every row through this map, which the caller keeps.
    void map_by(const LinearMap* map) { map_ = map; }

    // Take these rows alone, in this order; the caller keeps their indices, which are those of what
    // was taken before.
    void take(const int64_t* rows, int64_t count) {
        if (order_) {
            auto both = std::make_shared<std::vector<int64_t>>(rows, rows + count);
            for (int64_t& row : *both) row = order_[row];
            rows = both->data();
            taken_ = std::move(both);
        }
        order_ = rows;
        rows_ = count;
    }

    void read(int64_t row, double* out) const;

    // Whether rows can be read as float32 without loss.
    bool fits_float32() const { return !holds_float64() && as_it_is(); }

    // `count` rows as S: in place where they lie so, else copied to `copy`. With S = float only
    // where fits_float32().
    template <class S>
    RowsView<S> block(int64_t first, int64_t count, S* copy) const;
    // The row as it is, for dtypes of one byte.
    void read_bytes(int64_t row, uint8_t* out) const { part_of(row).read_bytes(row, out); }

    // The row in place, if it lies contiguously in native byte order and is read as it is.
    const float* float32_row(int64_t row) const;
    const double* float64_row(int64_t row) const;

    // The same rows, read the same way.
    bool operator==(const Source&) const = default;

  private:
    const Array& part_of(int64_t& row) const {
        if (order_) row = order_[row];
        if (interleaved_) {
            const Array& part = parts_[row % 2];
            row /= 2;
            return part;
        }
        if (row < split_) return parts_[0];
        row -= split_;
        return parts_[1];
    }

    bool as_it_is() const { return !normalised_ && !map_; }

    Array parts_[2];
    int64_t split_, rows_;
    bool normalised_ = false, centred_ = false, interleaved_ = false;
    const LinearMap* map_ = nullptr;
    const int64_t* order_ = nullptr;
    std::shared_ptr<const std::vector<int64_t>> taken_;  // the order, where it is of several
};

template <class S>
bool is_zero(const S* row, int64_t d) {
    for (int64_t j = 0; j < d; ++j) {
        if (row[j] != S(0)) return false;
    }
    return true;
}

// x·0 is 0 for every finite x and NaN otherwise; lanes let the compiler vectorise the sum.
template <class S>
bool all_finite(const S* row, int64_t d) {
    int64_t j = 0;
    if (d < 16) {
        S sum = 0;
        for (; j < d; ++j) sum += row[j] * S(0);
        return sum == S(0);
    }
    S lane[16] = {};
    for (; j + 16 <= d; j += 16) {
        for (int l = 0; l < 16; ++l) lane[l] += row[j + l] * S(0);
    }
    for (int l = 0; j + l < d; ++l) lane[l] += row[j + l] * S(0);
    S total = 0;
    for (int l = 0; l < 16; ++l) total += lane[l];
    return total == S(0);
}

}  // namespace pairtile
