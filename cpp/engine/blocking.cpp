#include "engine/blocking.hpp"

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>

#include "engine/frame.hpp"
#include "engine/isa.hpp"
#include "engine/tile_formula.hpp"

namespace pairtile {
namespace {

std::atomic<int64_t> forced_rows{0}, forced_cols{0};

int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// Bytes of a packed row: its features, norms, norm_bounds and bias.
template <class T>
int64_t held_per_row(int64_t d) {
    return std::max<int64_t>(d, 1) * static_cast<int64_t>(sizeof(T)) +
           static_cast<int64_t>(sizeof(NormBound) + 2 * sizeof(T));
}

}  // namespace

BlockingLimits limits_within(int64_t memory) {
    BlockingLimits limits;
    if (memory == 0) return limits;
    const int64_t rest = memory - memory / 4;
    limits.row_bytes = std::min(limits.row_bytes, rest / 6);
    limits.col_bytes = std::min(limits.col_bytes, rest / 3);
    limits.states_bytes = rest - limits.row_bytes - limits.col_bytes;
    limits.state_bytes = std::min(limits.state_bytes, limits.states_bytes);
    return limits;
}

int64_t packing_bytes(int64_t d) {
    constexpr int64_t widest_panel = 32, small_things = 64 << 10;
    return (widest_panel + 2) * d * static_cast<int64_t>(sizeof(double)) + small_things;
}

void require_memory(int64_t memory_limit, int64_t least, const char* what) {
    if (memory_limit == 0 || memory_limit >= least) return;
    throw std::invalid_argument("memory_limit=" + std::to_string(memory_limit) +
                                " is too small: " + what + " needs at least " +
                                std::to_string(least) + " bytes beside inputs and results");
}

int64_t least_memory(int64_t d, int64_t state_bytes_per_row, int64_t bytes_per_worker) {
    const auto panels = [d](const auto& ops, int64_t held) {
        // shares of a sixth, a third and a half, of three quarters
        return std::max(8 * ops.rows, 4 * ops.cols) * held;
    };
    constexpr int64_t small_things = int64_t{4} << 20;
    const int64_t sample = std::min(std::max(sample_bytes, 15 * 8 * d), 255 * 8 * d);
    const int64_t rows = std::max(isa().f32.rows, isa().f64.rows);
    return std::max({small_things, 2 * sample, panels(isa().f32, held_per_row<float>(d)),
                     panels(isa().f64, held_per_row<double>(d)), 3 * rows * state_bytes_per_row,
                     8 * bytes_per_worker});
}

namespace {

// Blocks of one size for rows and columns, whose states are those of both.
void make_symmetric(Blocking& blocking, int64_t n, int64_t block, int64_t super) {
    blocking.symmetric = true;
    blocking.row_block = blocking.segment = block;
    blocking.row_super = blocking.col_super =
        super >= n ? round_up(n, block) : super / block * block;
}

// Three super-blocks' worth of tiles of the size that tests force.
template <class T>
Blocking forced_blocking(const Ops<T>& ops, int64_t n, int64_t forced_row, int64_t forced_col,
                         const BlockingLimits& limits) {
    const int64_t rows = ops.rows, cols = ops.cols;
    Blocking blocking;
    blocking.row_block = round_up(forced_row, rows);
    blocking.strip = std::min(round_up(forced_col, cols), round_up(limits.strip_cols, cols));
    blocking.row_super = 3 * blocking.row_block;
    blocking.col_super = 3 * blocking.strip;
    blocking.segment = 2 * blocking.strip;
    const int64_t block = round_up(blocking.row_block, std::lcm(rows, cols));
    if (limits.symmetric) make_symmetric(blocking, n, block, 3 * block);
    return blocking;
}

// Strips, blocks and super-blocks that fit the caches and what is held of a row and a column.
template <class T>
Blocking blocks_that_fit(const Ops<T>& ops, int64_t n, int64_t m, int64_t d, int64_t held_bytes,
                         const BlockingLimits& limits) {
    const int64_t rows = ops.rows, cols = ops.cols;
    const int64_t row_bytes = std::max<int64_t>(d, 1) * static_cast<int64_t>(sizeof(T));
    Blocking blocking;
    // a strip of columns stays in L2 while the row panels of a task pass over it
    constexpr int64_t strip_bytes = 256 << 10, block_bytes = 384 << 10;
    blocking.strip =
        std::clamp(std::min(strip_bytes / row_bytes, limits.col_bytes / held_bytes) / cols * cols,
                   cols, std::max(cols, limits.strip_cols / cols * cols));
    blocking.col_super =
        std::max(blocking.strip, limits.col_bytes / held_bytes / blocking.strip * blocking.strip);
    blocking.col_super = std::min(blocking.col_super, round_up(m, blocking.strip));

    int64_t super = limits.row_bytes / held_bytes;
    if (limits.state_bytes_per_row > 0) {
        super = std::min(super, limits.state_bytes / limits.state_bytes_per_row);
    }
    blocking.row_super = std::min(std::max(rows, super / rows * rows), round_up(n, rows));
    // enough tasks to share out evenly, each with enough rows to pay for loading its strips
    const int64_t wanted = std::min(block_bytes / row_bytes, blocking.row_super / 48);
    blocking.row_block = std::clamp(
        wanted / rows * rows,
        std::min(std::max(4 * rows, round_up(limits.block_rows, rows)), blocking.row_super),
        blocking.row_super);
    return blocking;
}

constexpr int64_t most_segments = 16;

// Few rows: one block of them, and as many segments as there is room for fold state, each of which
// has to learn for itself what is near.
void make_few_rows(Blocking& blocking, int64_t n, int64_t strips, const BlockingLimits& limits) {
    blocking.few_rows = true;
    blocking.row_block = blocking.row_super;
    const int64_t room = limits.state_bytes / std::max<int64_t>(1, n * limits.state_bytes_per_row);
    const int64_t segments = std::clamp<int64_t>(room, 1, most_segments);
    blocking.segment = (strips + segments - 1) / segments * blocking.strip;
}

// Blocks of rows and segments of columns, as many as there is room for their states.
void share_out(Blocking& blocking, int64_t rows, const BlockingLimits& limits) {
    const int64_t tasks = (blocking.row_super + blocking.row_block - 1) / blocking.row_block;
    if (limits.few_rows) {  // blocks of about one size: none is waited for
        blocking.row_block = round_up((blocking.row_super + tasks - 1) / tasks, rows);
    }
    if (limits.state_bytes_per_col > 0) {
        const int64_t most = limits.state_bytes / (limits.state_bytes_per_col * tasks);
        blocking.col_super =
            std::clamp(most / blocking.strip * blocking.strip, blocking.strip, blocking.col_super);
    }
    const int64_t strips = (blocking.col_super + blocking.strip - 1) / blocking.strip;
    int64_t segments = std::clamp<int64_t>(most_segments / tasks, 1, strips);
    if (limits.state_bytes_per_row > 0) {
        const int64_t state = blocking.row_super * limits.state_bytes_per_row;
        segments = std::clamp<int64_t>(limits.states_bytes / state, 1, segments);
    }
    blocking.segment = (strips + segments - 1) / segments * blocking.strip;
}

}  // namespace

template <class T>
Blocking choose_blocking(const Ops<T>& ops, int64_t n, int64_t m, int64_t d,
                         const BlockingLimits& limits) {
    const int64_t forced_row = forced_rows.load(), forced_col = forced_cols.load();
    if (forced_row > 0 && forced_col > 0) {
        return forced_blocking(ops, n, forced_row, forced_col, limits);
    }
    const int64_t held_bytes = held_per_row<T>(d) + limits.beside_bytes;
    Blocking blocking = blocks_that_fit(ops, n, m, d, held_bytes, limits);
    if (limits.symmetric) {
        const int64_t block = round_up(blocking.row_block, std::lcm(ops.rows, ops.cols));
        const int64_t held = std::min(limits.row_bytes, limits.col_bytes) / held_bytes;
        constexpr int64_t enough = 16;  // blocks to share out
        if (n >= enough * block && held >= block &&
            n <= limits.states_bytes / limits.state_bytes_per_row) {
            make_symmetric(blocking, n, block, held);
            return blocking;
        }
    }
    constexpr int64_t few = 32;
    const int64_t strips = (m + blocking.strip - 1) / blocking.strip;
    if (limits.few_rows && n <= std::min(few, blocking.row_super) && strips >= most_segments) {
        make_few_rows(blocking, n, strips, limits);
    } else {
        share_out(blocking, ops.rows, limits);
    }
    return blocking;
}

template <class T>
Blocking contraction_blocking(const Ops<T>& ops, int64_t n, int64_t m, int64_t d, bool triangle) {
    constexpr int64_t side = 256, least_side = 64, enough = 8;  // blocks to share out
    constexpr int64_t row_bytes = int64_t{5} << 20, col_bytes = int64_t{10} << 20;
    // whole register blocks both ways
    const int64_t step = std::lcm<int64_t>(ops.rows, ops.cols);
    const int64_t block = std::max<int64_t>(1, side / step) * step;
    const int64_t bytes = std::max<int64_t>(d, 1) * static_cast<int64_t>(sizeof(T));
    // Of few rows smaller blocks of about one size; a register block of them may be short.
    const auto block_of = [&](int64_t rows, int64_t unit) {
        if (triangle || tile_is_forced() || rows >= enough * block) return block;
        const int64_t blocks =
            std::max<int64_t>(1, rows / std::clamp(rows / enough, least_side, block));
        return std::min(block, round_up((rows + blocks - 1) / blocks, unit));
    };
    Blocking blocking;
    blocking.row_block = block_of(n, ops.rows);
    blocking.strip = blocking.segment = block_of(m, ops.cols);
    const auto super = [&](int64_t of_one, int64_t held) {
        return tile_is_forced() ? of_one : std::max<int64_t>(1, held / bytes / of_one) * of_one;
    };
    blocking.row_super = super(blocking.row_block, row_bytes);
    blocking.col_super = super(blocking.strip, triangle ? row_bytes : col_bytes);
    return blocking;
}

template <class T>
Blocking diagonal_blocking(const Ops<T>& ops, int64_t size) {
    constexpr int64_t rows_at_least = 512, strip_cols = 256;
    Blocking blocking;
    blocking.row_block = std::max<int64_t>(1, rows_at_least / size) * size;
    blocking.row_super = blocking.col_super = blocking.segment = blocking.row_block;
    blocking.strip = round_up(strip_cols, ops.cols);
    return blocking;
}

void force_tile(int64_t rows, int64_t cols) {
    forced_rows = rows;
    forced_cols = cols;
}

bool tile_is_forced() { return forced_rows.load() > 0; }

template Blocking choose_blocking<float>(const Ops<float>&, int64_t, int64_t, int64_t,
                                         const BlockingLimits&);
template Blocking choose_blocking<double>(const Ops<double>&, int64_t, int64_t, int64_t,
                                          const BlockingLimits&);

template Blocking contraction_blocking<float>(const Ops<float>&, int64_t, int64_t, int64_t, bool);
template Blocking diagonal_blocking<float>(const Ops<float>&, int64_t);
template Blocking contraction_blocking<double>(const Ops<double>&, int64_t, int64_t, int64_t, bool);
template Blocking diagonal_blocking<double>(const Ops<double>&, int64_t);

}  // namespace pairtile
