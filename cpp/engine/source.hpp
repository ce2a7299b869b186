// Where rows come from: one or two arrays of any supported dtype, stride and byte order, read row
// by row as float64. First station of the data flow (source → plan → pack → sweep → fold).
//
// Two parts make one pooled sample without a copy. Nothing here ever writes to an input.
#pragma once

#include <cstdint>
#include <vector>

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
    void read_bytes(int64_t row, uint8_t* out) const;
};

class Source {
  public:
    explicit Source(const Array& only) : parts_{only}, split_(only.rows), rows_(only.rows) {}
    Source(const Array& first, const Array& second)
        : parts_{first, second}, split_(first.rows), rows_(first.rows + second.rows) {}

    int64_t rows() const { return rows_; }
    int64_t d() const { return parts_[0].cols; }
    bool holds_float64() const;

    // L2-normalise every row as it is read (cosine); a zero row stays zero.
    void normalise() { normalised_ = true; }
    bool normalised() const { return normalised_; }

    void read(int64_t row, double* out) const;

    // The row as it is, for dtypes of one byte.
    void read_bytes(int64_t row, uint8_t* out) const { part_of(row).read_bytes(row, out); }

    // The row in place, if it lies contiguously in native byte order and is read as it is.
    const float* float32_row(int64_t row) const;
    const double* float64_row(int64_t row) const;

  private:
    const Array& part_of(int64_t& row) const {
        if (row < split_) return parts_[0];
        row -= split_;
        return parts_[1];
    }

    Array parts_[2];
    int64_t split_, rows_;
    bool normalised_ = false;
};

// x / ‖x‖ in float64, guarded by a power of two against overflow. A zero row is left alone.
void normalise_row(double* row, int64_t d);

}  // namespace pairtile
