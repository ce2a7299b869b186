// Contrastive losses in float64, for float64 inputs and for numbers that leave float32: one set's
// rows are the queries, the other's the references.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"
#include "losses/softmax_end.hpp"

namespace pairtile::gpu {

struct WideLogits {
    Sweep sweep;
    double scale;
    const int64_t* targets;  // of the rows of x; null: row i has column i
    bool transposed;         // queries are the rows of y
};

constexpr int64_t wide_softmax_state_bytes = slots * int64_t{sizeof(LogSumExp)};
constexpr int64_t wide_softmax_least_width = 256;

// Folds the logits of each query but its positives into sums[query]; positives[i] of the rows of x.
void wide_softmax_sums(const WideLogits& logits, LogSumExp* states, double* positives,
                       LogSumExp* sums, cudaStream_t stream);

// out[q, f] = factor · Σ_r W_qr · (feature f of reference r) for some features, at most
// contraction_width; sides of x and of y (null: its softmax does not count).
struct WideProducts {
    WideLogits logits;
    const WideSide *of_x, *of_y;
    int64_t first_feature, features;
    double* partial;
};
template <class T>
void wide_softmax_products(const WideProducts& products, double factor, T* out,
                           cudaStream_t stream);

// along[i] = Σ_f x_if g_if of (normalised) rows, g being dense.
template <class T>
void along_rows(const Array& x, const RowScale* scales, const T* g, double* along,
                cudaStream_t stream);

// Turns the gradient at the normalised rows, dense, into the one at x: what lies along a row is
// dropped, the rest divided by its length. That of a zero row is zero.
template <class T>
void through_normalization(const Array& x, const RowScale* scales, T* g, cudaStream_t stream);

}  // namespace pairtile::gpu
