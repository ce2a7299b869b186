// What a fold over screened pairs needs to know of them: which of a tile may lie below a limit,
// what their values are off by, and their canonical values where that settles nothing.
#pragma once

#include <algorithm>
#include <vector>

#include "neighbors/search.hpp"

namespace pairtile {

template <class T>
class PairFilter {
  public:
    explicit PairFilter(const Search<T>& search)
        : formula(search.formula()),
          ops(ops_of<T>(isa())),
          hits_(static_cast<size_t>(search.control().workers())) {
        for (size_t w = 0; w < hits_.size(); ++w) {
            canonical_.emplace_back(search.metric(), search.query_places(),
                                    search.reference_places());
        }
    }

    // What a row's tile values lack, and what they are off by at any size.
    double norm(const Panels<T>& rows, int64_t local_row) const {
        return formula.add_norms ? static_cast<double>(rows.norms[local_row]) : 0.0;
    }
    double error(const Tile<T>& tile, const Panels<T>& rows, int64_t local_row) const {
        return formula.error(rows.norm_bounds[local_row], tile.col_bound);
    }

    // Room for the places of a tile's row that a selection finds.
    std::vector<int32_t>& hits(const Tile<T>& tile, int worker) {
        std::vector<int32_t>& hits = hits_[static_cast<size_t>(worker)];
        hits.resize(static_cast<size_t>(tile.cols));
        return hits;
    }

    double canonical(int64_t row, int64_t col, int worker) {
        Canonical& canonical = canonical_[static_cast<size_t>(worker)];
        canonical.set_row(row);
        return canonical(col);
    }
    // The ordered canonical value of a pair that has this value in packed units.
    double ordered(double value, int64_t row, int64_t col, int worker) {
        return formula.exact() ? unpacked(value) : canonical(row, col, worker);
    }
    // Rounding must not make a distance negative.
    double unpacked(double value) const { return std::max(value, 0.0) / formula.unit; }

    const TileFormula formula;
    const Ops<T>& ops;

  private:
    std::vector<Canonical> canonical_;
    std::vector<std::vector<int32_t>> hits_;
};

}  // namespace pairtile
