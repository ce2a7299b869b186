// A kernel beside the one that is swept: its rows are packed for the same places, its tiles taken
// when they are wanted.
#pragma once

#include <memory>
#include <vector>

#include "kernels/evaluate.hpp"

namespace pairtile {

// Terms of one argument, evaluated wherever the sweep is.
class SecondKernel {
  public:
    SecondKernel(const Source& points, const std::vector<KernelTerm>& terms, Argument argument,
                 int64_t orders, const Blocking& blocking, Control& control)
        : from_(points, points, terms, argument, control),
          map_(from_, Precision::float64, control.workers()),
          sweep_(map_.sweep(blocking, true, control)),
          n_(points.rows() / orders),
          packed_(static_cast<size_t>(orders)),
          tiles_(static_cast<size_t>(control.workers())) {}

    void begin_rows(int64_t first, int64_t count) {
        for (size_t o = 0; o < packed_.size(); ++o) {
            take_rows(sweep_, first_of(o) + first, count, workers(), packed_[o].rows);
        }
    }

    void begin_cols(int64_t first, int64_t count) {
        for (size_t o = 0; o < packed_.size(); ++o) {
            take_cols(sweep_, first_of(o) + first, count, workers(), packed_[o].cols);
        }
    }

    // Values at rows [row, row + height) and columns [col, col + width) of the super-blocks.
    void operator()(int64_t order, int64_t row, int height, int64_t col, int width, int worker,
                    double* out, int64_t ld) {
        const Ops<double>& ops = ops_of<double>(isa());
        const Packed& packed = packed_[static_cast<size_t>(order)];
        Buffer<double>& memory = tiles_[static_cast<size_t>(worker)];
        memory.reserve(ops.rows * ld);
        const Strip<double> strip(packed.cols, col, width);
        map_(compute_tile(ops, sweep_.formula, packed.rows, row, height, strip, memory.data(), ld),
             packed.rows, worker, out, ld);
    }

    double factor() const { return map_.factor(); }

  private:
    struct Packed {
        Panels<double> rows, cols;
    };

    int64_t first_of(size_t order) const { return static_cast<int64_t>(order) * n_; }
    int workers() const { return sweep_.control.workers(); }

    const KernelFrame from_;
    KernelEvaluator<double> map_;
    const Sweep<double> sweep_;
    int64_t n_;
    std::vector<Packed> packed_;
    std::vector<Buffer<double>> tiles_;
};

using SecondKernels = std::vector<std::unique_ptr<SecondKernel>>;

}  // namespace pairtile
