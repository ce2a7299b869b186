// Projection of a batch of directions, and the way back: first stage of the slices pipeline and,
// for gradients, its last. All are small matrix products by the engine's micro-kernels.
//
// Rows are read through Source, a strip at a time, into the frame of the plan (centred, scaled by a
// power of two): what is projected is (x − centre)·scale, so offsets cost no digits in float32.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/frame.hpp"
#include "engine/isa.hpp"
#include "slices/kept_memory.hpp"
#include "slices/slices.hpp"

namespace pairtile {

// Where values go: a list per direction, `ld` apart, of which `room` elements may be written.
template <class T>
struct Lines {
    T* values;
    int64_t ld, room;
};

// Values of the rows along the directions of a batch, later the derivatives with respect to them:
// one contiguous list per direction.
template <class T>
class Coordinates {
  public:
    // Lists are rounded up to whole micro-kernel blocks, which are written without edges.
    Coordinates(int64_t directions, int64_t rows, const Ops<T>& ops);
    T* of(int64_t direction) { return values_.data() + direction * ld_; }
    int64_t ld() const { return ld_; }
    Lines<T> lines() { return {values_.data(), ld_, ld_}; }

  private:
    int64_t ld_;
    KeptBuffer<T> values_;
};

// Rows packed for both products, of a small sample that is projected again and again.
template <class T>
class PackedRows {
  public:
    PackedRows(const Array& rows, const Frame& frame);

  private:
    template <class>
    friend class Batch;

    int64_t rows_;
    Buffer<T> as_columns_;  // column panels: [row / cols][feature][row % cols]
    Buffer<T> as_rows_;     // the other way round: [feature / cols][row][feature % cols]
};

// What calls on the same two samples have in common: the frame and, of small ones, packed rows.
template <class T>
struct Prepared {
    Frame frame;
    std::optional<PackedRows<T>> x, y;
};

// The directions first, first + count of the slices, packed for the micro-kernels.
template <class T>
class Batch {
  public:
    Batch(const Slices& slices, int64_t first, int64_t count);

    // out[l][i] = row i along direction first + l. The bits of a value depend on nothing but its
    // row and its direction. Along axes the key of the value, if that is what is wanted.
    void project(const Array& rows, const Frame& frame, Lines<T> out, Control& control,
                 bool keys = false) const;
    void project(const Array& rows, const Frame& frame, Coordinates<T>& out, Control& control,
                 bool keys = false) const {
        project(rows, frame, out.lines(), control, keys);
    }
    void project(const PackedRows<T>& rows, Coordinates<T>& out) const;
    // gradient[i][:] += Σ_l slopes[l][i] · direction first + l
    void pull_back(const Array& rows, Coordinates<T>& slopes, T* gradient, Control& control) const;
    // out[l][:] += Σ_i slopes[l][i] · (row i − centre): derivatives by the directions, where slopes
    // of all rows add up to 0
    void add_products(const Array& rows, const Frame& frame, Coordinates<T>& slopes, double* out,
                      Control& control) const;
    void add_products(const PackedRows<T>& rows, const Frame& frame, Coordinates<T>& slopes,
                      double* out) const;

  private:
    // of the packed rows begin, …, end − 1
    void project_packed(const T* packed, int64_t begin, int64_t end, Lines<T> out,
                        Buffer<T>& edge) const;
    // products[l][:] = Σ_i slopes[l][i] · row i, for as many rows from `begin` on; panels of
    // features are of `panel_rows` rows
    void pull_packed(const T* packed, int64_t panel_rows, int64_t begin, int64_t have,
                     Coordinates<T>& slopes, T* products) const;
    template <bool keys>
    void pick_columns(const Array& rows, Lines<T> out, Control& control) const;

    const Ops<T>& ops_;
    int64_t first_, count_, d_;
    bool axes_;
    Buffer<T> as_rows_;     // row panels: [direction / rows][feature][direction % rows]
    Buffer<T> as_columns_;  // column panels: [feature / cols][direction][feature % cols]
};

}  // namespace pairtile
