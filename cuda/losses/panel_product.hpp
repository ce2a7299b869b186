// Weights of pairs times rows, by tensor cores, both from panels of rows (panels.hpp): nothing is
// packed a second time for the sums over rows, since tensor cores read either operand along its
// rows or along its features.
//
//     by row     out_i += factor / divisor_i · Σ_j W_ij y_j
//     by column  out_j += factor / divisor_j · Σ_i W_ij x_i
#pragma once

#include "engine/tensor_sweep.hpp"

namespace pairtile::gpu {

struct PanelProduct {
    Panels weights;  // of their rows, whose features are their columns
    Panels others;   // as many rows as there are summands
    bool by_column;
    PartProducts products;  // of parts of the weights and of the others
    int splits;             // pieces of the summands, each a block's
    float* partial;         // (splits, rows out, features), where there are several
    double factor;
    const float* divisors;  // of the rows out; null: 1
    float* out;             // (rows out, features)

    PAIRTILE_HD int64_t rows_out() const { return by_column ? weights.d : weights.rows; }
    PAIRTILE_HD int64_t summands() const { return others.rows; }
};

// How many pieces the summands of such a product are best cut into: enough for every
// multiprocessor, none longer than `most`.
int64_t panel_splits(int64_t rows_out, int64_t features, int64_t summands, int64_t most,
                     TensorPath path);

void panel_product(const PanelProduct& product, TensorPath path, cudaStream_t stream);

}  // namespace pairtile::gpu
