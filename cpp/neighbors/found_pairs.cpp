#include "neighbors/found_pairs.hpp"

#include <algorithm>

#include "pairtile/fold/top_k.hpp"

namespace pairtile {

void FoundPairs::starts(int64_t rows, int64_t* indptr) const {
    std::fill_n(indptr, rows + 1, int64_t{0});
    for (const List& list : lists_) {
        for (const Piece& piece : list.pieces) {
            for (const FoundPair& pair : piece) {
                ++indptr[pair.row + 1];
                if (both_ways_) ++indptr[pair.col + 1];
            }
        }
    }
    for (int64_t i = 0; i < rows; ++i) indptr[i + 1] += indptr[i];
}

void FoundPairs::take(int64_t rows, const int64_t* indptr, bool by_value, Control& control,
                      int64_t* indices, double* values) {
    std::vector<Piece*> pieces;
    for (List& list : lists_) {
        for (Piece& piece : list.pieces) pieces.push_back(&piece);
    }
    std::vector<int64_t> next(indptr, indptr + rows);
    const auto put = [&](uint32_t row, uint32_t col, double value) {
        const int64_t at = __atomic_fetch_add(&next[row], 1, __ATOMIC_RELAXED);
        indices[at] = col;
        values[at] = value;
    };
    parallel_for(static_cast<int64_t>(pieces.size()), control, [&](int64_t block, int worker) {
        control.tick(worker);
        Piece piece;
        piece.swap(*pieces[static_cast<size_t>(block)]);
        for (const FoundPair& pair : piece) {
            put(pair.row, pair.col, pair.value);
            if (both_ways_) put(pair.col, pair.row, pair.value);
        }
    });
    constexpr int64_t rows_per_block = 64;
    parallel_for(
        (rows + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int worker) {
            control.tick(worker);
            std::vector<Neighbor> row;
            const int64_t end = std::min(rows, (block + 1) * rows_per_block);
            for (int64_t i = block * rows_per_block; i < end; ++i) {
                if (indptr[i + 1] - indptr[i] < 2) continue;
                row.clear();
                for (int64_t at = indptr[i]; at < indptr[i + 1]; ++at) {
                    row.push_back({values[at], indices[at]});
                }
                std::sort(row.begin(), row.end(), [by_value](const Neighbor& a, const Neighbor& b) {
                    return by_value ? a.before(b) : a.index < b.index;
                });
                for (size_t c = 0; c < row.size(); ++c) {
                    const size_t at = static_cast<size_t>(indptr[i]) + c;
                    indices[at] = row[c].index;
                    values[at] = row[c].value;
                }
            }
        });
}

}  // namespace pairtile
