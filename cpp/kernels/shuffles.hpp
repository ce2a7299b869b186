// Random relabellings and orders of rows: the shuffles of NumPy's Generator, many in one call.
#pragma once

#include <cstdint>
#include <span>

namespace pairtile {

// Where random numbers come from: a bit generator of NumPy's, through its C interface.
struct RandomBits {
    void* state;
    uint32_t (*next)(void* state);
};

// What is shuffled: some numbers, and the next ones among themselves, and so on.
struct Cells {
    std::span<const uint32_t> members;  // 0, 1, 2, ..., each in one cell; one cell after the other
    std::span<const uint32_t> sizes;
};

// Labellings of rows by units that are exchanged: of each cell the units that a shuffle brings to
// the first chosen[c] places are labelled 1. labels[b] are the bits of all rows, 64 to a word. Row
// i belongs to unit of_row[i]; null: to unit i.
void random_labels(RandomBits random, const Cells& cells, const uint32_t* chosen,
                   const uint32_t* of_row, int64_t rows, int64_t count, uint64_t* labels);

// orders[b][member i of a cell] = the member that a shuffle brings to its place.
void random_orders(RandomBits random, const Cells& cells, int64_t count, int64_t* orders);

}  // namespace pairtile
