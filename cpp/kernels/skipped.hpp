// Which tiles a sum of kernel values leaves out: those so far away that the kernel has vanished.
#pragma once

#include <memory>
#include <vector>

#include "engine/nearest.hpp"
#include "kernels/evaluate.hpp"

namespace pairtile {

// Null: every tile is computed. Of a kernel that has vanished beyond this argument of packed rows;
// `triangle`: only pairs i < j count.
std::unique_ptr<Skipping> skip_vanished(const KernelFrame& from, double beyond, bool triangle,
                                        Control& control);

// Which blocks, of a leaf of the rows' order and one of the columns', are too far apart to matter.
class FarBlocks {
  public:
    FarBlocks(const Skipping& skipping, double reach);

    // Of the block that begins at these places.
    bool operator()(int64_t row, int64_t col) const {
        const int64_t block = col / cols_->leaf();
        return !(gaps_to_box(rule_, of_rows_[static_cast<size_t>(row / cols_->leaf())],
                             cols_->block(0, block / fan_out),
                             static_cast<int>(block % fan_out)) <= largest_);
    }
    double share() const;

  private:
    KeyRule rule_;
    std::shared_ptr<const Order> cols_;
    float largest_;
    std::vector<Box> of_rows_;
};

// The same as skip_vanished() for a sweep of blocks of so many rows and columns.
std::unique_ptr<Skipping> skip_far_blocks(const KernelFrame& from, double beyond, int64_t block,
                                          Control& control);

}  // namespace pairtile
