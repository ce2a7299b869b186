// The pairs that tiles of a prefix leave are finished: by further coordinates first, which leave
// out most of them, then by whole rows.
#pragma once

#include <vector>

#include "engine/prefix.hpp"
#include "neighbors/search.hpp"

namespace pairtile {

template <class T>
class Finish {
  public:
    explicit Finish(const Search<T>& search)
        : formula_(search.formula()),
          ops_(ops_of<T>(isa())),
          workspace_(static_cast<size_t>(search.control().workers())) {}

    // Tiles hold lower bounds; if not, they hold the values and there is nothing to finish.
    bool needed() const { return formula_.prefix != nullptr; }

    // Of the row and the columns at `hits`, counted from `col` on, whose tile values are at
    // `values`: keeps those that may lie below limit(hit), and has their full values at
    // values(worker), as a tile without a prefix would hold them.
    template <class Limit>
    int operator()(const Panels<T>& rows, int64_t row, const Panels<T>& cols, int64_t col,
                   const NormBound& col_bound, const T* values, Limit limit, int32_t* hits,
                   int found, int worker) {
        Workspace& mine = workspace_[static_cast<size_t>(worker)];
        if (mine.values.size() < static_cast<size_t>(found))
            mine.values.resize(static_cast<size_t>(found));
        T* dots = mine.values.data();
        if (const int64_t words = rows.more_words; words > 0) {
            ops_.dots(rows.more.data() + row * words, cols.more.data() + col * words, words, hits,
                      found, words, dots);
            const double reach = rows.norm_bounds[row].norm + col_bound.norm;
            const double slack = formula_.slope * reach * reach;  // of these sums
            int kept = 0;
            for (int h = 0; h < found; ++h) {
                const int32_t j = hits[h];
                const double value = static_cast<double>(values[j]) + static_cast<double>(dots[h]);
                hits[kept] = j;
                kept += !(value > static_cast<double>(limit(j)) + slack);
            }
            found = kept;
        }
        const int64_t words = rows.whole_words;
        ops_.dots(rows.whole.data() + row * words, cols.whole.data() + col * words, words, hits,
                  found, words, dots);
        const T factor = static_cast<T>(formula_.row_factor);
        for (int h = 0; h < found; ++h) dots[h] = cols.bias[col + hits[h]] + factor * dots[h];
        mine.finished += found;
        return found;
    }
    const T* values(int worker) const {
        return workspace_[static_cast<size_t>(worker)].values.data();
    }

    // What those are off by.
    double error(const NormBound& row, const NormBound& col) const {
        return formula_.error({row.norm, 0.0}, {col.norm, 0.0});
    }

    // Pairs.
    int64_t finished() const {
        int64_t pairs = 0;
        for (const Workspace& one : workspace_) pairs += one.finished;
        return pairs;
    }

  private:
    struct alignas(64) Workspace {
        std::vector<T> values;
        int64_t finished = 0;
    };

    const TileFormula formula_;
    const Ops<T>& ops_;
    std::vector<Workspace> workspace_;
};

}  // namespace pairtile
