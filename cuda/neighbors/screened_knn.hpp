// Exact k nearest neighbours by tensor cores: products of bfloat16 screen all pairs under a proven
// bound on their error, what may be a neighbour is kept, and canonical values decide.
//
// A screened value is s = x̂·ŷ − ½‖ŷ‖² (x̂·ŷ alone for the inner product), larger is nearer. With
// ρ = ‖x − x̂‖ + max ‖y − ŷ‖ and e the error of the arithmetic (see docs/numerics.md), a row whose
// k-th best screened value stands for the squared distance D keeps the pairs up to
// (√(D + e) + 2ρ)² + e. That holds for any k values seen so far, so that it tightens as a sweep
// goes on.
//
// Where lists are long, a sweep first guesses that limit from a sample of the references, so that
// from the first tile on few pairs are kept. The decision proves the guess: the limit that follows
// from the k-th best candidate is no lower. A row that was guessed wrong is decided by all
// references.
#pragma once

#include "engine/tensor_sweep.hpp"
#include "neighbors/knn.hpp"

namespace pairtile::gpu {

constexpr int64_t screened_short_k = 128;  // up to which the decision stays in shared memory

struct Candidate {
    float value;
    int32_t column;  // a reference
};

// Room for the candidates of a (row, segment): what is kept, what comes until the next look, and a
// whole tile; of a long list half of it comes, or all that there is.
inline int64_t candidate_room(int64_t k, int64_t references) {
    if (k <= screened_short_k) return divided_up(192 + 4 * k, 32) * 32;
    const int64_t all = divided_up(references, tile_columns) * tile_columns;
    return std::min(divided_up(k + k / 2 + 448, 32) * 32, all + tile_columns);
}

// A sweep takes some queries and some references; the decision follows the sweeps over all of
// these.
struct ScreenedSearch {
    TensorSweep sweep;
    Array queries, references;  // for canonical values
    const RowScale* query_scales;
    const RowScale* reference_scales;
    Metric metric;
    int64_t k, room;
    int64_t first_query, first_reference;  // of the packed rows and columns
    Predicate predicate;
    const PackFindings* of_cols;
    bool exact;  // screened values are multiples of a half, without error

    int segments, first_segment;  // of all sweeps, of this one
    Candidate* candidates;        // (padded rows, segments, room)
    int* counts;                  // (padded rows, segments)
    double* scratch;              // room for each warp of each block of a sweep
    const float* guesses;         // of the limit of each row; null: none
    const int64_t* numbers;       // of the references, where these are a sample; null: all
};

// Room of a list: for k, and for what comes before the k first are found again, or for all that
// there is; and for as many more as a block has threads.
inline int64_t list_room(int64_t k, int64_t references) {
    return std::min(k + k / 2 + 512, references + 256);
}

// Where a decision about long lists works.
struct ListSpace {
    Neighbor* lists;  // (blocks, 2, room)
    int64_t room;
    int blocks;
};

// How many segments of references a sweep is cut into: such that the blocks of the last wave are
// many, and each has at least 32 tiles; no more than `most`.
int64_t screened_segments(int64_t rows, int64_t references, int64_t most = INT64_MAX);

void screened_sweep(const ScreenedSearch& search, TensorPath path, cudaStream_t stream);
template <class D>
void screened_decision(const ScreenedSearch& search, D* distances, int64_t* indices,
                       cudaStream_t stream);
template <class D>
void screened_lists(const ScreenedSearch& search, const ListSpace& space, D* distances,
                    int64_t* indices, cudaStream_t stream);

// limits[row] = what the rank-th best of a sample allows, -inf where there is none. `sample` is a
// sweep of all queries over some references, which found the candidates.
void guess_limits(const ScreenedSearch& sample, int rank, float* limits, cudaStream_t stream);

}  // namespace pairtile::gpu
