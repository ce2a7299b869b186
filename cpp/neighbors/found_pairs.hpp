// Pairs that a sweep finds, collected by all threads and put in order when it is over.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/parallel_for.hpp"

namespace pairtile {

struct FoundPair {
    uint32_t row, col;
    double value;  // ordered and canonical
};

// Lists of pieces that never move: growing them copies nothing.
class FoundPairs {
  public:
    // With `both_ways` a pair (i, j) stands for (j, i) too.
    FoundPairs(int workers, bool both_ways)
        : lists_(static_cast<size_t>(workers)), both_ways_(both_ways) {}

    void add(int worker, const FoundPair& pair) {
        std::vector<Piece>& pieces = lists_[static_cast<size_t>(worker)].pieces;
        if (pieces.empty() || pieces.back().size() == piece_size) {
            pieces.emplace_back().reserve(piece_size);
        }
        pieces.back().push_back(pair);
    }

    void clear() {
        for (List& list : lists_) list.pieces.clear();
    }

    // Where the pairs of each of the rows begin, and their number at the end.
    void starts(int64_t rows, int64_t* indptr) const;

    // What was found of each row, sorted by (value, column), or by column alone: the order does not
    // depend on which thread found it. The pairs are gone then.
    void take(int64_t rows, const int64_t* indptr, bool by_value, Control& control,
              int64_t* indices, double* values);

  private:
    static constexpr size_t piece_size = 4096;
    using Piece = std::vector<FoundPair>;
    struct alignas(64) List {  // of one thread
        std::vector<Piece> pieces;
    };

    std::vector<List> lists_;
    bool both_ways_;
};

}  // namespace pairtile
