// Contractions and sweeps along a diagonal, of whole numbers: products are exact, and each pair
// comes once.
#include "engine/contraction.hpp"

#include "check.hpp"
#include "engine/diagonal.hpp"

namespace {

using namespace check;
using namespace pairtile;

const auto ignore = [](int64_t, int64_t) {};

std::vector<double> whole(Random& random, int64_t count) {
    std::vector<double> out;
    for (int64_t i = 0; i < count; ++i) {
        out.push_back(static_cast<double>(integer(random, -4, 4)));
    }
    return out;
}

Source source_of(const std::vector<double>& values, int64_t d) {
    constexpr int64_t size = sizeof(double);
    return Source(Array{reinterpret_cast<const char*>(values.data()),
                        static_cast<int64_t>(values.size()) / d, d, d * size, size, Dtype::float64,
                        false});
}

// W_ij = x_i·y_j.
template <class T>
struct Products {
    std::vector<T> by_row, by_col;
    std::vector<uint8_t> seen;
    int64_t m, d;
    std::vector<Buffer<T>> memory;
    std::vector<int> blocks;

    Products(int64_t n, int64_t cols, int64_t features, int workers)
        : by_row(static_cast<size_t>(n * features)),
          by_col(static_cast<size_t>(cols * features)),
          seen(static_cast<size_t>(n * cols)),
          m(cols),
          d(features),
          memory(static_cast<size_t>(workers)) {}

    void begin_blocks(int64_t count) { blocks.assign(static_cast<size_t>(count), 0); }
    void end_blocks() {
        for (const int times : blocks) CHECK(times == 1, times);
    }
    void block(const PairBlock<T>& block) {
        const int64_t ld = block.sweep.blocking.strip;
        Buffer<T>& weights = memory[static_cast<size_t>(block.worker)];
        weights.reserve(block.sweep.blocking.row_block * ld);
        ++blocks[static_cast<size_t>(block.index)];
        block.for_each_tile([&](const Tile<T>& tile) {
            for (int i = 0; i < tile.rows; ++i) {
                std::copy_n(tile.data + i * tile.ld, tile.cols,
                            weights.data() + (tile.local_row - block.row + i) * ld);
                for (int j = 0; j < tile.cols; ++j) {
                    ++seen[static_cast<size_t>((tile.row + i) * m + tile.col + j)];
                }
            }
        });
        add_row_products(block, weights.data(), by_row.data());
        add_col_products(block, weights.data(), by_col.data());
    }
};

template <class T>
void check_contraction(Random& random, int64_t n, int64_t m, int64_t d, bool small) {
    const auto x = whole(random, n * d), y = whole(random, m * d);
    const Source rows = source_of(x, d), cols = source_of(y, d);
    Control control(ignore, 3);
    force_tile(small, small);
    const Frame frame = raw_frame(d);
    const Sweep<T> sweep{
        rows,  cols,   frame, TileFormula{}, contraction_blocking(ops_of<T>(isa()), n, m, d),
        false, control};
    force_tile(0, 0);
    Products<T> fold(n, m, d, control.workers());
    run(sweep, fold);
    for (const uint8_t times : fold.seen) CHECK(times == 1, n, m, d, times);
    std::vector<double> by_row(x.size()), by_col(y.size());
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < m; ++j) {
            const double *a = x.data() + i * d, *b = y.data() + j * d;
            double w = 0.0;
            for (int64_t f = 0; f < d; ++f) w += a[f] * b[f];
            for (int64_t f = 0; f < d; ++f) {
                by_row[static_cast<size_t>(i * d + f)] += w * b[f];
                by_col[static_cast<size_t>(j * d + f)] += w * a[f];
            }
        }
    }
    for (size_t i = 0; i < by_row.size(); ++i) {
        CHECK(static_cast<double>(fold.by_row[i]) == by_row[i], n, m, d, i);
    }
    for (size_t i = 0; i < by_col.size(); ++i) {
        CHECK(static_cast<double>(fold.by_col[i]) == by_col[i], n, m, d, i);
    }
}

TEST(a_contraction_multiplies_both_ways) {
    choose_isa("");
    Random random(31);
    for (const bool small : {false, true}) {
        for (const int64_t n : {1, 15, 241, 530}) {
            for (const int64_t m : {1, 33, 257, 700}) {
                check_contraction<float>(random, n, m, integer(random, 1, 40), small);
                check_contraction<double>(random, n, m, integer(random, 1, 40), small);
            }
        }
    }
}

// A first sweep that leaves twice the products behind, after it has seen each of them.
template <class T>
struct Doubles {
    std::vector<uint8_t> seen;
    int64_t m;
    int begun = 0, ended = 0;

    void begin_rows(const Panels<T>&, int64_t segments) { begun += segments == 1; }
    void begin_cols(const Panels<T>&, int64_t row_blocks) { begun += row_blocks == 1; }
    void end_cols(const Panels<T>&, int64_t) { ++ended; }
    void end_rows(const Panels<T>&) { ++ended; }
    void tile(const Tile<T>& tile, const Task& task, const Panels<T>&, const Panels<T>&) {
        CHECK(task.segment == 0 && task.row_block == 0);
        for (int i = 0; i < tile.rows; ++i) {
            for (int j = 0; j < tile.cols; ++j) {
                ++seen[static_cast<size_t>((tile.row + i) * m + tile.col + j)];
                tile.data[i * tile.ld + j] *= 2;
            }
        }
    }
};

TEST(tiles_are_kept_from_one_sweep_to_the_next) {
    choose_isa("");
    Random random(32);
    constexpr int64_t sizes[][2] = {{1, 1}, {15, 700}, {300, 33}, {530, 257}};
    for (const auto& [n, m] : sizes) {
        const int64_t d = 9;
        const auto x = whole(random, n * d), y = whole(random, m * d);
        const Source rows = source_of(x, d), cols = source_of(y, d);
        Control control(ignore, 3);
        const Frame frame = raw_frame(d);
        const Blocking blocking = contraction_blocking(ops_of<float>(isa()), n, m, d);
        const Sweep<float> sweep{rows, cols, frame, TileFormula{}, blocking, false, control};
        CHECK(can_keep<float>(blocking, n, m, d));
        Doubles<float> first{std::vector<uint8_t>(static_cast<size_t>(n * m)), m};
        Products<float> kept(n, m, d, 3), plain(n, m, d, 3);
        run_kept(
            sweep, first, [&] { CHECK(first.ended == 2); }, kept);
        run(sweep, plain);
        run_first(sweep, first);
        CHECK(first.begun == 4 && first.ended == 4);
        for (const uint8_t times : first.seen) CHECK(times == 2, n, m);
        for (size_t i = 0; i < x.size(); ++i) CHECK(kept.by_row[i] == 2 * plain.by_row[i], n, m);
        for (size_t i = 0; i < y.size(); ++i) CHECK(kept.by_col[i] == 2 * plain.by_col[i], n, m);
    }
}

TEST(only_few_tiles_are_kept) {
    const auto fits = [](int64_t n, int64_t m, int64_t d) {
        return can_keep<float>(contraction_blocking(isa().f32, n, m, d), n, m, d);
    };
    CHECK(fits(2048, 2048, 512));
    CHECK(!fits(2600, 2600, 512));
    CHECK(!fits(4096, 1024, 2048));  // more rows than are packed at a time
    CHECK(!fits(1, int64_t{2} << 20, 1));
    CHECK(fits(1008, 1024, 64));
    CHECK(!fits(1200, 1200, 64));
}

// The same of a triangle: W is symmetric, 0 on the diagonal, and met once for each pair.
template <class T>
struct HalfProducts {
    Products<T> of;

    void begin_blocks(int64_t) {}
    void block(const PairBlock<T>& block) {
        const int64_t ld = block.sweep.blocking.strip;
        Buffer<T>& weights = of.memory[static_cast<size_t>(block.worker)];
        weights.reserve(block.sweep.blocking.row_block * ld);
        block.for_each_tile([&](const Tile<T>& tile) {
            for (int i = 0; i < tile.rows; ++i) {
                T* to = weights.data() + (tile.local_row - block.row + i) * ld;
                for (int j = 0; j < tile.cols; ++j) {
                    const bool above = tile.col + j > tile.row + i;
                    to[j] = above ? tile.data[i * tile.ld + j] : T(0);
                    of.seen[static_cast<size_t>((tile.row + i) * of.m + tile.col + j)] += above;
                }
            }
        });
        add_row_products(block, weights.data(), of.by_row.data());
        add_col_products(block, weights.data(), of.by_row.data());
    }
};

template <class T>
void check_triangle(Random& random, int64_t n, int64_t d, bool small) {
    const auto x = whole(random, n * d);
    const Source rows = source_of(x, d);
    Control control(ignore, 3);
    force_tile(small, small);
    const Frame frame = raw_frame(d);
    const Sweep<T> sweep{
        rows, rows,   frame, TileFormula{}, contraction_blocking(ops_of<T>(isa()), n, n, d, true),
        true, control};
    force_tile(0, 0);
    HalfProducts<T> fold{{n, n, d, control.workers()}};
    run(sweep, fold);
    for (int64_t i = 0; i < n; ++i) {
        std::vector<double> sum(static_cast<size_t>(d));
        for (int64_t j = 0; j < n; ++j) {
            CHECK(fold.of.seen[static_cast<size_t>(i * n + j)] == (j > i), n, d, i, j);
            const double *a = x.data() + i * d, *b = x.data() + j * d;
            double w = 0.0;
            for (int64_t f = 0; f < d && j != i; ++f) w += a[f] * b[f];
            for (int64_t f = 0; f < d; ++f) sum[static_cast<size_t>(f)] += w * b[f];
        }
        for (int64_t f = 0; f < d; ++f) {
            CHECK(static_cast<double>(fold.of.by_row[static_cast<size_t>(i * d + f)]) ==
                      sum[static_cast<size_t>(f)],
                  n, d, i, f);
        }
    }
}

TEST(a_contraction_of_a_triangle_serves_both_rows_of_a_pair) {
    choose_isa("");
    Random random(33);
    for (const bool small : {false, true}) {
        for (const int64_t n : {1, 2, 15, 241, 530, 900}) {
            check_triangle<float>(random, n, integer(random, 1, 40), small);
            check_triangle<double>(random, n, integer(random, 1, 40), small);
        }
    }
}

// Pairs within groups, counted; those of other groups may come too, but never twice.
template <class T>
struct Within {
    int64_t n;
    std::vector<std::atomic<int>> seen;
    explicit Within(int64_t rows) : n(rows), seen(static_cast<size_t>(rows * rows)) {}

    void tile(const Tile<T>& tile, const Panels<T>&, int) {
        for (int i = 0; i < tile.rows; ++i) {
            for (int j = 0; j < tile.cols; ++j) {
                ++seen[static_cast<size_t>((tile.row + i) * n + tile.col + j)];
            }
        }
    }
};

TEST(a_sweep_along_a_diagonal_meets_every_pair_of_a_group) {
    choose_isa("");
    Random random(32);
    for (const int64_t size : {1, 2, 7, 40, 300, 700}) {
        for (const int64_t groups : {1, 3, 11}) {
            for (const bool triangle : {false, true}) {
                const int64_t n = size * groups;
                if (n > 2500) continue;
                const auto x = whole(random, n);
                const Source rows = source_of(x, 1);
                Control control(ignore, 3);
                const Frame frame = raw_frame(1);
                Sweep<double> sweep{rows,
                                    rows,
                                    frame,
                                    TileFormula{},
                                    diagonal_blocking(ops_of<double>(isa()), size),
                                    triangle,
                                    control};
                sweep.group = size;
                Within<double> fold(n);
                run(sweep, fold);
                for (int64_t i = 0; i < n; ++i) {
                    for (int64_t j = 0; j < n; ++j) {
                        const int times = fold.seen[static_cast<size_t>(i * n + j)];
                        const bool wanted = i / size == j / size && (!triangle || i < j);
                        CHECK(times <= 1 && (times == 1 || !wanted), size, groups, i, j, times);
                    }
                }
            }
        }
    }
}

}  // namespace
