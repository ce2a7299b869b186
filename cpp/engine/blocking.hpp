// How the work of a sweep is cut into blocks: for caches, for the memory that a call may use, for
// sharing out. Depends on sizes and the instruction set, never on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "isa/ops.hpp"

namespace pairtile {

// The blocking of an n × m sweep.
struct Blocking {
    int64_t row_super, col_super;  // packed at a time
    int64_t row_block;             // rows of one task
    int64_t strip;                 // columns of one tile
    int64_t segment;               // columns of one task
    bool few_rows = false;         // one block of rows: each task packs the columns it needs
    // a triangle of square tasks: each tile serves the states of its rows and of its columns, one
    // per row, which have one writer at a time
    bool symmetric = false;

    // Fold states of a row among m columns.
    int64_t segments(int64_t m) const {
        if (symmetric) return 1;
        const int64_t at_a_time = few_rows ? m : std::min(col_super, m);
        return (at_a_time + segment - 1) / segment;
    }
};

struct BlockingLimits {
    int64_t row_bytes = int64_t{16} << 20;      // packed rows held at a time
    int64_t col_bytes = int64_t{8} << 20;       // packed columns, anew for each of these
    int64_t state_bytes = int64_t{24} << 20;    // fold state of these rows, in one segment
    int64_t states_bytes = int64_t{384} << 20;  // and in all segments
    int64_t state_bytes_per_row = 0;            // fold state per row and segment
    int64_t state_bytes_per_col = 0;            // fold state per column and row block
    int64_t beside_bytes = 0;                   // held of a point beside its panel
    int64_t strip_cols = 256;                   // at most
    int64_t block_rows = 0;                     // at least, in a task
    bool few_rows = false;                      // a fold that run() may hand all rows at once
    bool symmetric = false;                     // a self-join whose tiles may serve both sides
};

// The limits of a call that may use so many bytes, 0 standing for the ones above. A quarter is left
// for the sample that the frame is chosen from and for what each thread holds.
BlockingLimits limits_within(int64_t memory);

// What a thread holds while it packs rows of d features.
int64_t packing_bytes(int64_t d);

// std::invalid_argument where there is a limit and it is less than what this takes at least.
void require_memory(int64_t memory_limit, int64_t least, const char* what);

// The least memory with which rows of d features can be swept at all.
int64_t least_memory(int64_t d, int64_t state_bytes_per_row, int64_t bytes_per_worker);

template <class T>
Blocking choose_blocking(const Ops<T>& ops, int64_t n, int64_t m, int64_t d,
                         const BlockingLimits& limits);

// Of an n × m contraction of rows of d features: blocks whose weights stay in L2, smaller ones of
// few rows. Of a triangle square blocks, and as many rows as columns at a time.
template <class T>
Blocking contraction_blocking(const Ops<T>& ops, int64_t n, int64_t m, int64_t d,
                              bool triangle = false);

// Of a sweep along a diagonal of groups of `size`: whole groups in a task.
template <class T>
Blocking diagonal_blocking(const Ops<T>& ops, int64_t size);

// Tests force small tiles; 0 = choose.
void force_tile(int64_t rows, int64_t cols);
bool tile_is_forced();

}  // namespace pairtile
