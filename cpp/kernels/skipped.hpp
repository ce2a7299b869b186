// Which tiles a sum of kernel values leaves out: those so far away that the kernel has vanished.
#pragma once

#include <memory>

#include "engine/nearest.hpp"
#include "kernels/evaluate.hpp"

namespace pairtile {

// Null: every tile is computed. Of a kernel that has vanished beyond this argument of packed rows;
// `triangle`: only pairs i < j count.
std::unique_ptr<Skipping> skip_vanished(const KernelFrame& from, double beyond, bool triangle,
                                        Control& control);

}  // namespace pairtile
