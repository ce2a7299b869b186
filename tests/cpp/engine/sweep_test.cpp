// The sweep with a fold that counts: every pair once, in its place, one writer to a state.
#include "engine/sweep.hpp"

#include <memory>
#include <numeric>
#include <string>

#include "check.hpp"
#include "engine/contraction.hpp"

namespace {

using namespace check;
using namespace pairtile;

const auto ignore = [](int64_t, int64_t) {};

// One feature; whole numbers, so that the squared distance of a pair is exact and its own.
struct Points {
    std::vector<double> values;

    Points(int64_t n, int64_t offset, int64_t step) {
        for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<double>(offset + step * i));
    }
    Source source() const {
        constexpr int64_t size = sizeof(double);
        return Source(Array{reinterpret_cast<const char*>(values.data()),
                            static_cast<int64_t>(values.size()), 1, size, size, Dtype::float64,
                            false});
    }
};

struct Case {
    int64_t n, m;
    bool triangle = false, symmetric = false, few_rows = false, earlier = false;
    int64_t tile_rows = 0, tile_cols = 0;
    int64_t state_bytes_per_row = 0, super_bytes = 0;
    int workers = 3;

    // Whether the fold looks at such a pair.
    bool wants(int64_t row, int64_t col) const {
        return earlier ? col < row : !triangle || col > row;
    }
};

// Marks a state as written to while it lives.
class Writing {
  public:
    explicit Writing(std::atomic<int>& state) : state_(state) { alone = state.fetch_add(1) == 0; }
    ~Writing() { state_.fetch_sub(1); }
    Writing(const Writing&) = delete;
    bool alone;

  private:
    std::atomic<int>& state_;
};

template <class T>
class Counting {
  public:
    Counting(const Case& asked, const Points& x, const Points& y)
        : case_(asked),
          x_(x),
          y_(y),
          counts_(new std::atomic<uint8_t>[static_cast<size_t>(asked.n * asked.m)]()) {}

    void begin_rows(const Panels<T>& rows, int64_t segments) {
        CHECK(rows.first == next_row_, "rows left out");
        next_row_ = rows.first + rows.count;
        first_ = rows.first;
        segments_ = segments;
        // the states of all rows, where columns have theirs among them
        const int64_t held = case_.symmetric ? case_.n : rows.count * segments;
        states_.reset(new std::atomic<int>[static_cast<size_t>(held)]());
    }

    void tile(const Tile<T>& tile, const Task& task, const Panels<T>& rows, const Panels<T>& cols) {
        CHECK(task.worker >= 0 && task.worker < case_.workers);
        CHECK(task.segment >= 0 && task.segment < task.segments && task.segments == segments_);
        CHECK(tile.row == rows.first + tile.local_row && rows.first == first_);
        CHECK(tile.col == cols.first + tile.local_col);
        CHECK(tile.local_row >= task.first_row &&
              tile.local_row + tile.rows <= task.first_row + task.rows);
        CHECK(tile.rows > 0 && tile.cols > 0 && tile.ld >= tile.cols);
        std::vector<std::unique_ptr<Writing>> writing;
        const auto write = [&](int64_t state) {
            writing.push_back(std::make_unique<Writing>(states_[static_cast<size_t>(state)]));
            CHECK(writing.back()->alone, "two writers to state", state);
        };
        for (int i = 0; i < tile.rows; ++i) {
            write(case_.symmetric ? tile.row + i : (tile.local_row + i) * segments_ + task.segment);
        }
        for (int j = 0; case_.symmetric && j < tile.cols; ++j) {
            const int64_t col = tile.col + j;
            if (col >= tile.row + tile.rows) write(col);
        }
        bool any = false;
        for (int i = 0; i < tile.rows; ++i) {
            for (int j = 0; j < tile.cols; ++j) {
                const int64_t row = tile.row + i, col = tile.col + j;
                if (!case_.wants(row, col)) continue;  // which the fold passes over
                any = true;
                ++counts_[static_cast<size_t>(row * case_.m + col)];
                const double apart =
                    x_.values[static_cast<size_t>(row)] - y_.values[static_cast<size_t>(col)];
                CHECK(tile.data[i * tile.ld + j] == static_cast<T>(apart * apart), "pair", row,
                      col);
            }
        }
        CHECK(any, "a tile on the other side of the diagonal");
    }

    void strip(const Task& task, const Panels<T>&, const Panels<T>& cols, int64_t col,
               int64_t width) {
        CHECK(task.worker < case_.workers && col >= 0 && width > 0 && col + width <= cols.count);
        ++strips;
    }

    void end_rows(const Panels<T>& rows) {
        CHECK(rows.first + rows.count == next_row_);
        ++supers;
    }

    void check_counts(const std::string& what) const {
        CHECK(next_row_ == case_.n, what, "rows left out");
        for (int64_t i = 0; i < case_.n; ++i) {
            for (int64_t j = 0; j < case_.m; ++j) {
                const int wanted = case_.wants(i, j) ? 1 : 0;
                const int found = counts_[static_cast<size_t>(i * case_.m + j)];
                CHECK(found == wanted, what, "pair", i, j, "came", found, "times");
            }
        }
    }

    std::atomic<int64_t> strips{0};
    int64_t supers = 0;

  private:
    const Case& case_;
    const Points &x_, &y_;
    std::unique_ptr<std::atomic<uint8_t>[]> counts_;
    std::unique_ptr<std::atomic<int>[]> states_;
    int64_t next_row_ = 0, first_ = 0, segments_ = 0;
};

// The same with states of the columns too, which a super-block of them has for each block of rows.
template <class T>
class TwoSided : public Counting<T> {
  public:
    using Counting<T>::Counting;
    void begin_cols(const Panels<T>& cols, int64_t row_blocks) {
        CHECK(!open_ && row_blocks > 0 && cols.count > 0);
        open_ = true;
    }
    void end_cols(const Panels<T>&, int64_t) {
        CHECK(open_);
        open_ = false;
    }
    bool open_ = false;
};

// A contraction with weights of one: each row's sum of the columns, and the other way.
template <class T>
class Multiplying {
  public:
    Multiplying(const Case& asked, const Points& x, const Points& y)
        : case_(asked),
          x_(x),
          y_(y),
          counts_(new std::atomic<uint8_t>[static_cast<size_t>(asked.n * asked.m)]()),
          row_states_(new std::atomic<int>[static_cast<size_t>(asked.n)]()),
          col_states_(new std::atomic<int>[static_cast<size_t>(asked.m)]()),
          by_row_(static_cast<size_t>(asked.n)),
          by_col_(static_cast<size_t>(asked.m)) {}

    void begin_blocks(int64_t count) { seen_.assign(static_cast<size_t>(count), 0); }

    void block(const PairBlock<T>& block) {
        CHECK(block.worker >= 0 && block.worker < case_.workers);
        ++seen_[static_cast<size_t>(block.index)];
        const int64_t row = block.rows.first + block.row, col = block.cols.first + block.col;
        std::vector<std::unique_ptr<Writing>> writing;
        for (int64_t i = row; i < row + block.height; ++i) {
            writing.push_back(std::make_unique<Writing>(row_states_[static_cast<size_t>(i)]));
        }
        for (int64_t j = col; j < col + block.width; ++j) {
            writing.push_back(std::make_unique<Writing>(col_states_[static_cast<size_t>(j)]));
        }
        for (const auto& one : writing) CHECK(one->alone, "two writers to a row or column");
        block.for_each_tile([&](const Tile<T>& tile) {
            for (int i = 0; i < tile.rows; ++i) {
                for (int j = 0; j < tile.cols; ++j) {
                    const int64_t at_row = tile.row + i, at_col = tile.col + j;
                    ++counts_[static_cast<size_t>(at_row * case_.m + at_col)];
                    const double apart = x_.values[static_cast<size_t>(at_row)] -
                                         y_.values[static_cast<size_t>(at_col)];
                    CHECK(tile.data[i * tile.ld + j] == static_cast<T>(apart * apart), "pair",
                          at_row, at_col);
                }
            }
        });
        const std::vector<T> ones(static_cast<size_t>(block.height * block.sweep.blocking.strip),
                                  T(1));
        add_row_products(block, ones.data(), by_row_.data());
        add_col_products(block, ones.data(), by_col_.data());
    }

    void end_blocks() {
        for (const int seen : seen_) CHECK(seen == 1, "a block came", seen, "times");
    }

    void check_counts(const std::string& what) const {
        for (int64_t i = 0; i < case_.n * case_.m; ++i) {
            const int found = counts_[static_cast<size_t>(i)];
            CHECK(found == 1, what, "pair", i / case_.m, i % case_.m, "came", found, "times");
        }
        const auto total = [](const Points& points) {
            return static_cast<T>(std::accumulate(points.values.begin(), points.values.end(), 0.0));
        };
        for (const T sum : by_row_) CHECK(sum == total(y_), what, "sum of a row", sum);
        for (const T sum : by_col_) CHECK(sum == total(x_), what, "sum of a column", sum);
    }

  private:
    const Case& case_;
    const Points &x_, &y_;
    std::unique_ptr<std::atomic<uint8_t>[]> counts_;
    std::unique_ptr<std::atomic<int>[]> row_states_, col_states_;
    std::vector<T> by_row_, by_col_;
    std::vector<int> seen_;
};

template <class T, class Fold>
void check_sweep(const Case& asked, const std::string& isa, bool packed = false) {
    const Points x(asked.n, 0, 1);
    const bool half = asked.triangle || asked.earlier, itself = half || asked.symmetric;
    const Points y = itself ? x : Points(asked.m, 1, 1);
    const Source rows = x.source(), cols = itself ? rows : y.source();
    const Ops<T>& ops = ops_of<T>(pairtile::isa());
    Control control(ignore, asked.workers);
    const Frame frame = raw_frame(1);
    const TileFormula formula = formula_for_argument<T>(Argument::squared_distance, 1);
    BlockingLimits limits;
    limits.symmetric = asked.symmetric;
    limits.few_rows = asked.few_rows;
    limits.state_bytes_per_row = asked.state_bytes_per_row;
    if (asked.super_bytes > 0) limits.row_bytes = limits.col_bytes = asked.super_bytes;
    force_tile(asked.tile_rows, asked.tile_cols);
    const Blocking blocking = choose_blocking(ops, asked.n, asked.m, 1, limits);
    force_tile(0, 0);
    const std::string what =
        isa + (sizeof(T) == 4 ? " float " : " double ") + std::to_string(asked.n) + " x " +
        std::to_string(asked.m) + (asked.triangle ? " triangle" : "") +
        (asked.earlier ? " earlier" : "") + (asked.symmetric ? " symmetric" : "") + " tile " +
        std::to_string(asked.tile_rows);
    CHECK(blocking.few_rows == asked.few_rows, what);
    CHECK(blocking.symmetric == asked.symmetric, what);
    if (asked.super_bytes > 0) {
        CHECK(blocking.row_super < asked.n && blocking.col_super < asked.m, what);
    }
    Panels<T> panels;
    if (packed) {
        pack_rows(ops, cols, 0, asked.m, frame, formula, {1.0, ops.cols, false, false}, control,
                  panels);
    }
    Sweep<T> sweep{.rows = rows,
                   .cols = cols,
                   .frame = frame,
                   .formula = formula,
                   .blocking = blocking,
                   .triangle = asked.triangle,
                   .control = control,
                   .earlier = asked.earlier};
    if (packed) sweep.packed = &panels;
    Fold fold(asked, x, y);
    run(sweep, fold);
    fold.check_counts(what);
    if constexpr (!ContractionFold<Fold, T>) {
        CHECK(fold.strips > 0 || asked.n * asked.m <= (half ? 1 : 0), what);
        CHECK(fold.supers == (asked.n + blocking.row_super - 1) / blocking.row_super, what);
    }
}

// Those that add products of bytes or of bfloat16 to another have its tiles, and are left out.
template <class Body>
void for_each_isa(Body body) {
    for (const IsaOps* one : supported_isas()) {
        if (std::string(one->name).find('-') != std::string::npos) continue;
        choose_isa(one->name);
        body(std::string(one->name));
    }
}

// The sizes around those of panels, and the tiles that cut them everywhere.
constexpr int64_t sizes[] = {1, 2, 13, 14, 15, 31, 33, 64, 97, 130};

template <class T>
void check_all(const std::string& isa) {
    for (const int64_t tile : {0, 1, 20}) {
        for (const int64_t n : sizes) {
            for (const int64_t m : {int64_t{1}, int64_t{33}, n, int64_t{300}}) {
                Case asked{n, m};
                asked.tile_rows = tile;
                asked.tile_cols = 2 * tile;
                check_sweep<T, Counting<T>>(asked, isa);
                check_sweep<T, TwoSided<T>>(asked, isa);
                check_sweep<T, Counting<T>>(asked, isa, true);
                check_sweep<T, Multiplying<T>>(asked, isa);
            }
            Case half{n, n};
            half.triangle = true;
            half.tile_rows = tile;
            half.tile_cols = 2 * tile;
            check_sweep<T, Counting<T>>(half, isa);
            std::swap(half.triangle, half.earlier);
            check_sweep<T, Counting<T>>(half, isa);
            std::swap(half.triangle, half.earlier);
            if (tile == 0) continue;  // of its own accord only a large set is symmetric
            half.symmetric = true;
            half.state_bytes_per_row = 8;
            check_sweep<T, Counting<T>>(half, isa);
        }
    }
}

TEST(a_sweep_hands_over_every_pair_once) {
    for_each_isa([](const std::string& isa) {
        check_all<float>(isa);
        check_all<double>(isa);
    });
}

template <class T>
void check_blocks(const std::string& isa) {
    // several super-blocks on both sides
    Case blocks{700, 900};
    blocks.super_bytes = 4096;
    check_sweep<T, Counting<T>>(blocks, isa);
    check_sweep<T, TwoSided<T>>(blocks, isa);
    check_sweep<T, Multiplying<T>>(blocks, isa);
    blocks.m = blocks.n;
    blocks.triangle = true;
    check_sweep<T, Counting<T>>(blocks, isa);
    std::swap(blocks.triangle, blocks.earlier);
    check_sweep<T, Counting<T>>(blocks, isa);
    // few rows, in segments and in one
    for (const int64_t state : {int64_t{8}, int64_t{12} << 20}) {
        Case few{2, 9000};
        few.few_rows = true;
        few.state_bytes_per_row = state;
        check_sweep<T, Counting<T>>(few, isa);
    }
    // squares of their own accord
    Case squares{3700, 3700};  // 16 blocks, of the largest panels
    squares.triangle = squares.symmetric = true;
    squares.state_bytes_per_row = 8;
    check_sweep<T, Counting<T>>(squares, isa);
}

// Each segment learns for itself what is near, so rows that are enough to share have but one.
TEST(segments_are_for_rows_too_few_to_share) {
    for_each_isa([](const std::string& isa) {
        const auto blocks = [](int64_t n, int64_t d) {
            BlockingLimits limits;
            limits.few_rows = true;
            limits.state_bytes_per_row = 512;
            return choose_blocking(pairtile::isa().f32, n, 100000, d, limits);
        };
        for (const int64_t d : {1, 16, 64, 768}) {
            for (const int64_t n : {1, 7, 32}) {
                CHECK(blocks(n, d).few_rows, isa);
                CHECK(blocks(n, d).segments(100000) > 8, isa);
            }
            for (const int64_t n : {1000, 2500, 20000}) {
                const Blocking many = blocks(n, d);
                CHECK(!many.few_rows, isa);
                CHECK(many.segments(100000) == 1, isa);
                CHECK(many.row_block <= n / 8, isa);
            }
            // no block is much smaller than the others, which would wait for it
            for (const int64_t n : {100, 150, 1000}) {
                const int64_t block = blocks(n, d).row_block, rows = pairtile::isa().f32.rows;
                const int64_t last = n - (n - 1) / block * block;
                CHECK(block - last < rows * ((n - 1) / block + 1), isa);
            }
        }
    });
}

TEST(blocks_that_a_sweep_chooses_cover_every_pair) {
    for_each_isa([](const std::string& isa) {
        check_blocks<float>(isa);
        check_blocks<double>(isa);
    });
}

}  // namespace
