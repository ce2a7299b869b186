// The sweep that leaves out tiles: each group of near rows visits the columns nearest to it first,
// and stops at those that no longer matter.
//
//   for each group = a leaf of the rows' order       (in parallel) fold.begin_group
//     until the nearest box is beyond the reach of all its rows
//       a node: the boxes below it are looked at
//       a leaf: for each row panel that it may matter for
//                                                    micro-kernel → L1 tile → fold.tile
//                                                    fold.reach
//   fold.end_group
//
// A fold says how far its rows reach: no pair whose value, in packed units, is beyond may change
// their result. A group's states belong to the worker that visits it.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
#include <vector>

#include "engine/skipping.hpp"
#include "engine/sweep.hpp"

namespace pairtile {
namespace detail {

// Boxes by their gaps, the nearest first. Gaps are not negative: as integers they are in the same
// order.
class Nearest {
  public:
    void clear() { heap_.clear(); }
    void push(float gaps, int level, int64_t node) {
        heap_.push_back(uint64_t{std::bit_cast<uint32_t>(gaps)} << 32 |
                        static_cast<uint64_t>(level) << level_shift | static_cast<uint64_t>(node));
        std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
    }
    bool empty() const { return heap_.empty(); }
    float gaps() const { return std::bit_cast<float>(static_cast<uint32_t>(heap_.front() >> 32)); }
    // Level and number of the nearest.
    std::pair<int, int64_t> pop() {
        const uint64_t first = heap_.front();
        std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
        heap_.pop_back();
        return {static_cast<int>(first >> level_shift & 15),
                static_cast<int64_t>(first & ((uint64_t{1} << level_shift) - 1))};
    }

  private:
    static constexpr int level_shift = 28;  // 2³² rows in leaves of 16 or more
    std::vector<uint64_t> heap_;
};

template <class T>
struct GroupWorkspace {
    Panels<T> rows;
    Buffer<T> tile;
    Nearest nearest;
    std::vector<Box> boxes;      // of the row panels
    std::vector<float> largest;  // gaps of those that may matter to each
    int64_t computed = 0;        // pairs
};

template <class T, class Fold>
void run_group(const Sweep<T>& sweep, const Skipping& skipping, const Ops<T>& ops,
               const Panels<T>& cols, const Task& task, GroupWorkspace<T>& mine, Fold& fold) {
    const Order& order = *skipping.col_order;
    const KeyRule& rule = skipping.rule;
    take_rows(sweep, task.first_row, task.rows, 1, mine.rows);
    const int64_t panels = (task.rows + ops.rows - 1) / ops.rows, ld = order.leaf();
    const auto rows_of = [&](int64_t panel) {
        return std::min<int64_t>(ops.rows, task.rows - panel * ops.rows);
    };
    mine.boxes.clear();
    mine.largest.clear();
    for (int64_t p = 0; p < panels; ++p) {
        const int64_t first = task.first_row + p * ops.rows;
        mine.boxes.push_back(skipping.row_order->box_of(first, rows_of(p)));
        mine.largest.push_back(skipping.largest_gaps(fold.reach(task, first, rows_of(p))));
    }
    Box group = mine.boxes[0];
    for (const Box& box : mine.boxes) {
        for (int j = 0; j < rule.count(); ++j) {
            group.low[j] = std::min(group.low[j], box.low[j]);
            group.high[j] = std::max(group.high[j], box.high[j]);
        }
    }
    float largest = *std::max_element(mine.largest.begin(), mine.largest.end());
    // of a triangle, nodes of which no column comes after a row
    const auto below_diagonal = [&](int level, int64_t node) {
        if (!sweep.triangle) return false;
        int64_t end = (node + 1) * order.leaf();
        for (int l = 0; l < level; ++l) end *= fan_out;
        return end <= task.first_row + 1;
    };
    const auto look_at_block = [&](int level, int64_t block) {
        float gaps[fan_out];
        gaps_to_block(rule, group, order.block(level, block), gaps);
        const int64_t first = block * fan_out;
        const int64_t here = std::min<int64_t>(fan_out, order.nodes(level) - first);
        for (int64_t i = 0; i < here; ++i) {
            if (gaps[i] <= largest && !below_diagonal(level, first + i)) {
                mine.nearest.push(gaps[i], level, first + i);
            }
        }
    };
    mine.nearest.clear();
    look_at_block(order.levels() - 1, 0);
    while (!mine.nearest.empty() && mine.nearest.gaps() <= largest) {
        const auto [level, node] = mine.nearest.pop();
        if (level > 0) {
            look_at_block(level - 1, node);
            continue;
        }
        sweep.control.tick(task.worker);
        const int64_t col = node * order.leaf();
        const Strip<T> strip(cols, col, std::min<int64_t>(order.leaf(), cols.count - col));
        const float* block = order.block(0, node / fan_out);
        for (int64_t p = 0; p < panels; ++p) {
            float& mine_largest = mine.largest[static_cast<size_t>(p)];
            if (panels > 1 && !(gaps_to_box(rule, mine.boxes[static_cast<size_t>(p)], block,
                                            static_cast<int>(node % fan_out)) <= mine_largest)) {
                continue;
            }
            const Tile<T> tile = compute_tile(ops, sweep.formula, mine.rows, p * ops.rows,
                                              rows_of(p), strip, mine.tile.data(), ld);
            fold.tile(tile, task, mine.rows, cols);
            mine.computed += tile.rows * tile.cols;
            mine_largest =
                skipping.largest_gaps(fold.reach(task, task.first_row + p * ops.rows, tile.rows));
        }
        largest = *std::max_element(mine.largest.begin(), mine.largest.end());
    }
}

}  // namespace detail

// Returns how many pairs were computed. Rows and columns of tiles are places in the orders. A few
// groups go first: where they compute more than so many pairs of a row, it ends there, with −1. All
// pairs are expected of it already, as orders take their time.
template <class T, class Fold>
int64_t run_nearest(const Sweep<T>& sweep, const Skipping& skipping, double most_pairs_per_row,
                    Fold& fold) {
    const Ops<T>& ops = ops_of<T>(isa());
    const Order& order = *skipping.row_order;
    const int64_t n = order.count(), m = skipping.col_order->count();
    const int workers = sweep.control.workers();
    detail::refuse_reader(sweep);
    Panels<T> cols;
    take_cols(sweep, 0, m, workers, cols);
    fold.begin_groups(workers, order.leaf());
    std::vector<detail::GroupWorkspace<T>> workspace(static_cast<size_t>(workers));
    for (auto& one : workspace) one.tile.reserve(ops.rows * skipping.col_order->leaf());
    const auto visit = [&](int64_t group, int worker) {
        const int64_t first = group * order.leaf();
        const Task task{group, 0, 1, first, std::min<int64_t>(order.leaf(), n - first), worker};
        fold.begin_group(task);
        detail::run_group(sweep, skipping, ops, cols, task, workspace[static_cast<size_t>(worker)],
                          fold);
        fold.end_group(task);
        return task.rows;
    };
    const auto computed = [&] {
        int64_t pairs = 0;
        for (const auto& one : workspace) pairs += one.computed;
        return pairs;
    };
    const int64_t groups = order.leaves();
    std::vector<int64_t> few;
    int64_t done = 0;
    if (most_pairs_per_row < static_cast<double>(m)) {
        const int64_t count = std::min(groups, std::clamp<int64_t>(groups / 256, 2, 16));
        for (int64_t i = 0; i < count; ++i) few.push_back(groups * (2 * i + 1) / (2 * count));
        std::atomic<int64_t> rows{0};
        parallel_for(count, sweep.control, [&](int64_t i, int worker) {
            rows += visit(few[static_cast<size_t>(i)], worker);
        });
        if (static_cast<double>(computed()) > most_pairs_per_row * static_cast<double>(rows)) {
            sweep.control.expect(-n * m);
            return -1;
        }
        done = rows;
    }
    sweep.control.advance(done * m);
    parallel_for(groups, sweep.control, [&](int64_t group, int worker) {
        if (std::binary_search(few.begin(), few.end(), group)) return;
        sweep.control.advance(visit(group, worker) * m);
    });
    return computed();
}

}  // namespace pairtile
