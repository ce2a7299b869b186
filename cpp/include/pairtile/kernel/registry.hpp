// The one list of kernels: X(name at the seam, type). Adding a kernel is one header beside this
// one, one line here, its record in Python (_definitions) and its class there.
#pragma once

#include "pairtile/kernel/cauchy.hpp"
#include "pairtile/kernel/cosine.hpp"
#include "pairtile/kernel/energy.hpp"
#include "pairtile/kernel/gaussian.hpp"
#include "pairtile/kernel/laplace.hpp"
#include "pairtile/kernel/laplace_l1.hpp"
#include "pairtile/kernel/linear.hpp"
#include "pairtile/kernel/matern32.hpp"
#include "pairtile/kernel/matern52.hpp"
#include "pairtile/kernel/polynomial.hpp"
#include "pairtile/kernel/rational_quadratic.hpp"

#define PAIRTILE_KERNELS(X)                  \
    X(gaussian, Gaussian)                    \
    X(laplace, Laplace)                      \
    X(laplace_l1, LaplaceL1)                 \
    X(rational_quadratic, RationalQuadratic) \
    X(cauchy, Cauchy)                        \
    X(matern32, Matern32)                    \
    X(matern52, Matern52)                    \
    X(polynomial, Polynomial)                \
    X(linear, Linear)                        \
    X(cosine, CosineKernel)                  \
    X(energy, Energy)

namespace pairtile {

#define PAIRTILE_KERNEL_ID(name, type) name,
enum class KernelId : int { PAIRTILE_KERNELS(PAIRTILE_KERNEL_ID) count };
#undef PAIRTILE_KERNEL_ID

}  // namespace pairtile
