// Held pairs times columns: the labels of a bootstrap, or the features of the references, which
// make slopes a gradient.
#pragma once

#include "engine/contraction.hpp"
#include "kernels/held.hpp"

namespace pairtile::gpu {

// What comes of a product of held pairs and columns: out[r, c] += factor · the sum over j for the
// rows r of the block and c < columns, at most `contraction_width`. `partial` is workspace.
struct ProductOut {
    int columns;
    double factor;
    double* partial;  // (segments, rows of the sweep, width)
    double* out;
    int64_t stride;
};

// Σ_j K_rj v[j, first_column + c]; v has a row for each reference of the set.
void held_contract(const Held& held, const Columns& columns, int64_t first_column,
                   const ProductOut& product, cudaStream_t stream);

// By the chain rule, what a slope is multiplied by: the reference for a dot product, what leads
// there from the query for a distance, its signs for the L1 distance.
enum class Chain { reference, difference, sign };

// Σ_j K_rj · that of feature first_feature + c. Differences are taken pair by pair, so that rows
// which are near to each other lose nothing.
void held_contract_features(const Held& held, Chain chain, int64_t first_feature,
                            const ProductOut& product, cudaStream_t stream);

}  // namespace pairtile::gpu
