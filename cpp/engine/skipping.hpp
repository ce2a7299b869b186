// Which tiles a search may leave out: the rows of both sides in an order that keeps near ones
// together, and what the gap between two boxes says of the pairs between them.
#pragma once

#include <cmath>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/order.hpp"
#include "engine/screen.hpp"

namespace pairtile {

struct Skipping {
    KeyRule rule;
    Source rows, cols;  // as the screen reads them, in their orders
    std::shared_ptr<const Order> row_order, col_order;
    // packed values are not below (√(unit · gaps) − mapping)² − floor, or unit · gaps − floor where
    // gaps are no squares
    double unit = 1.0, floor = 0.0, mapping = 0.0;
    // computed for a row, beyond which it is better to compute all
    double most_pairs_per_row = INFINITY;

    // Boxes with larger gaps hold no pair whose packed value is within reach.
    float largest_gaps(double reach) const;
};

// Columns of a tile where tiles are skipped, and so rows of a leaf: whole panels of any type.
int leaf_columns();

// Some of the rows, at a fixed stride: who asks what skipping would leave out orders these alone.
std::vector<int64_t> some_rows(int64_t rows, int64_t count);

// The order of references that many searches share: the first that it helps makes it, or it is that
// of a file.
struct KeptOrder {
    std::mutex lock;
    MetricId metric = MetricId::count;
    KeyRule rule;
    std::shared_ptr<const Order> order;
    bool checked = true;  // that its rows are a permutation; else the first search does it

    bool made() {
        const std::lock_guard guard(lock);
        return order != nullptr;
    }
};

// Null where the metric has no bound or a row is not finite. `leaf`: columns of a tile; `kept`:
// that of the columns, if there is such a thing.
std::unique_ptr<Skipping> skip_tiles(const Screen& screen, const Metric& metric, int leaf,
                                     KeptOrder* kept, Control& control);
// The same for tiles of values that carry this factor, of rows that no screen is chosen for.
std::unique_ptr<Skipping> skip_tiles(const Source& rows, const Source& cols, double unit,
                                     const Metric& metric, int leaf, Control& control);

// Tests force "always" (where there is a bound) or "never"; "" = choose.
void force_skipping(const std::string& name);
enum class ForcedSkipping { choose, always, never };
ForcedSkipping forced_skipping();

}  // namespace pairtile
