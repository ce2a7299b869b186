// parallel_for and parallel_grid: everything once, in the promised order, and out again on errors.
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "check.hpp"
#include "engine/parallel_for.hpp"

namespace {

using pairtile::Control;
using pairtile::parallel_for;
using pairtile::parallel_grid;
using pairtile::parallel_triangle;

const auto ignore = [](int64_t, int64_t) {};

TEST(parallel_for_runs_every_block_once) {
    for (const int workers : {1, 2, 3, 8}) {
        for (const int64_t blocks : {0, 1, 2, 7, 64, 1000}) {
            Control control(ignore, workers);
            std::vector<std::atomic<int>> runs(static_cast<size_t>(blocks));
            std::vector<std::atomic<int>> busy(static_cast<size_t>(workers));
            std::atomic<int> bad{0};
            parallel_for(blocks, control, [&](int64_t block, int worker) {
                if (block < 0 || block >= blocks || worker < 0 || worker >= workers) {
                    ++bad;
                    return;
                }
                // what belongs to a worker is used by one thread at a time
                bad += busy[static_cast<size_t>(worker)].fetch_add(1) != 0;
                ++runs[static_cast<size_t>(block)];
                --busy[static_cast<size_t>(worker)];
            });
            CHECK(bad == 0, workers, "workers,", blocks, "blocks");
            for (const auto& count : runs) CHECK(count == 1, workers, blocks, count.load());
        }
    }
}

TEST(one_worker_is_the_calling_thread_in_order) {
    Control control(ignore);
    std::vector<int64_t> seen;
    const auto caller = std::this_thread::get_id();
    parallel_for(20, 1, control, [&](int64_t block, int worker) {
        CHECK(worker == 0);
        CHECK(std::this_thread::get_id() == caller);
        seen.push_back(block);
    });
    for (int64_t i = 0; i < 20; ++i) CHECK(seen[static_cast<size_t>(i)] == i);
}

TEST(only_the_calling_thread_asks_the_outside_world) {
    // a loop within a block has a worker 0 too, which is the calling thread in one block alone
    const auto caller = std::this_thread::get_id();
    std::atomic<int> asked{0}, elsewhere{0};
    Control control(
        [&](int64_t, int64_t) {
            ++asked;
            elsewhere += std::this_thread::get_id() != caller;
        },
        2);
    std::atomic<bool> helped{false};
    const auto wait = std::chrono::milliseconds(60);  // beyond the time between two questions
    parallel_for(2, control, [&](int64_t, int) {
        if (std::this_thread::get_id() == caller) {
            for (int k = 0; k < 500 && !helped; ++k) std::this_thread::sleep_for(wait / 6);
        } else {
            std::this_thread::sleep_for(wait);
            parallel_for(3, 1, control, [&](int64_t, int worker) { control.tick(worker); });
            helped = true;
        }
    });
    CHECK(helped);
    CHECK(elsewhere == 0, elsewhere.load());
    std::this_thread::sleep_for(wait);
    parallel_for(1, 1, control, [](int64_t, int) {});
    CHECK(asked > 0);
}

TEST(the_first_exception_comes_out_and_stops_the_rest) {
    for (const int workers : {1, 2, 4}) {
        Control control(ignore, workers);
        std::atomic<int64_t> ran{0};
        bool caught = false;
        try {
            parallel_for(100'000, control, [&](int64_t block, int) {
                ++ran;
                if (block == 10) throw std::out_of_range("block 10");
            });
        } catch (const std::out_of_range& error) {
            caught = std::string(error.what()) == "block 10";
        }
        CHECK(caught, workers, "workers");
        CHECK(control.stopped());
        CHECK(ran < 100'000, ran.load(), "blocks ran after the exception");
    }
}

TEST(all_threads_are_joined_when_the_call_returns) {
    std::atomic<int> inside{0};
    for (int round = 0; round < 50; ++round) {
        Control control(ignore);
        try {
            parallel_for(64, 4, control, [&](int64_t block, int) {
                ++inside;
                const bool fails = block == 5 && round % 2;
                if (!fails) std::this_thread::yield();
                --inside;
                if (fails) throw std::runtime_error("");
            });
        } catch (const std::runtime_error&) {
        }
        CHECK(inside == 0);
    }
}

TEST(a_throwing_poll_abandons_the_call) {
    for (const int workers : {1, 3}) {
        int polls = 0;
        Control control(
            [&](int64_t, int64_t) {
                if (++polls == 2) throw std::runtime_error("interrupted");
            },
            workers);
        std::atomic<int64_t> ran{0};
        bool caught = false;
        const auto start = std::chrono::steady_clock::now();
        try {
            parallel_for(100'000, control, [&](int64_t, int worker) {
                ++ran;
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                control.tick(worker);
            });
        } catch (const std::runtime_error&) {
            caught = true;
        }
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        CHECK(caught);
        CHECK(seconds.count() < 2.0, seconds.count(), "seconds");
        CHECK(ran < 10'000);
    }
}

TEST(workers_fit_into_an_eighth_of_limited_memory) {
    const auto left = [](int64_t memory, int64_t bytes) {
        Control control(ignore, 6, memory);
        control.fit_workers(bytes);
        return control.workers();
    };
    CHECK(left(0, 1 << 20) == 6);
    CHECK(left(8 << 20, 1 << 18) == 4);
    CHECK(left(8 << 20, 1 << 30) == 1);
}

TEST(progress_counts_up_to_the_total) {
    const auto caller = std::this_thread::get_id();
    std::vector<int64_t> done;
    Control control([&](int64_t now, int64_t total) {
        CHECK(total == 300);
        CHECK(std::this_thread::get_id() == caller);
        done.push_back(now);
    });
    control.expect(200);
    control.expect(100);
    const auto start = std::chrono::steady_clock::now();
    parallel_for(300, 2, control, [&](int64_t, int) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        control.advance(1);
    });
    CHECK(!done.empty());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    CHECK(static_cast<double>(done.size()) <= seconds.count() / 0.05, done.size(), "polls");
    for (size_t i = 0; i < done.size(); ++i) {
        CHECK(done[i] >= 0 && done[i] <= 300);
        CHECK(i == 0 || done[i] >= done[i - 1]);
    }
}

// The columns that each row met, in order, and the rows that each column met.
struct Meetings {
    std::vector<std::vector<int64_t>> of_row, of_col;
};

Meetings meetings(int64_t rows, int64_t cols, int workers) {
    Control control(ignore, workers);
    Meetings met{std::vector<std::vector<int64_t>>(static_cast<size_t>(rows)),
                 std::vector<std::vector<int64_t>>(static_cast<size_t>(cols))};
    std::vector<std::atomic<int>> row_busy(static_cast<size_t>(rows)),
        col_busy(static_cast<size_t>(cols));
    std::atomic<int> clashes{0};
    parallel_grid(rows, cols, control, [&](int64_t i, int64_t j, int worker) {
        const size_t row = static_cast<size_t>(i), col = static_cast<size_t>(j);
        clashes += row_busy[row].fetch_add(1) != 0;
        clashes += col_busy[col].fetch_add(1) != 0;
        clashes += worker < 0 || worker >= workers;
        met.of_row[row].push_back(j);  // unguarded on purpose: one writer at a time is promised
        met.of_col[col].push_back(i);
        if ((i + j) % 3 == 0) std::this_thread::yield();
        --row_busy[row];
        --col_busy[col];
    });
    CHECK(clashes == 0, rows, "x", cols, "cells,", workers, "workers:", clashes.load());
    return met;
}

TEST(parallel_grid_meets_every_cell_once_in_a_fixed_order) {
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1},
                                     {1, 9},
                                     {9, 1},
                                     {2, 2},
                                     {3, 5},
                                     {5, 3},
                                     {8, 8},
                                     {13, 40},
                                     {40, 13}}) {
        const Meetings alone = meetings(rows, cols, 1);
        for (const auto& row : alone.of_row) {
            CHECK(std::set<int64_t>(row.begin(), row.end()).size() == static_cast<size_t>(cols));
            CHECK(row.size() == static_cast<size_t>(cols), rows, cols);
        }
        for (const auto& col : alone.of_col) {
            CHECK(std::set<int64_t>(col.begin(), col.end()).size() == static_cast<size_t>(rows));
            CHECK(col.size() == static_cast<size_t>(rows), rows, cols);
        }
        for (const int workers : {2, 3, 7}) {
            for (int round = 0; round < 5; ++round) {
                const Meetings together = meetings(rows, cols, workers);
                CHECK(together.of_row == alone.of_row, rows, cols, workers);
                CHECK(together.of_col == alone.of_col, rows, cols, workers);
            }
        }
    }
}

// The partners of each block, in order; that of a block with itself is among them.
std::vector<std::vector<int64_t>> partners(int64_t blocks, int workers) {
    Control control(ignore, workers);
    std::vector<std::vector<int64_t>> met(static_cast<size_t>(blocks));
    std::vector<std::atomic<int>> busy(static_cast<size_t>(blocks));
    std::atomic<int> clashes{0};
    parallel_triangle(blocks, control, [&](int64_t i, int64_t j, int worker) {
        const size_t a = static_cast<size_t>(i), b = static_cast<size_t>(j);
        clashes += i > j || worker < 0 || worker >= workers;
        clashes += busy[a].fetch_add(1) != 0;
        if (a != b) clashes += busy[b].fetch_add(1) != 0;
        met[a].push_back(j);  // unguarded on purpose: one writer at a time is promised
        if (a != b) met[b].push_back(i);
        if ((i + j) % 3 == 0) std::this_thread::yield();
        --busy[a];
        if (a != b) --busy[b];
    });
    CHECK(clashes == 0, blocks, "blocks,", workers, "workers:", clashes.load());
    return met;
}

TEST(parallel_triangle_meets_every_pair_once_in_a_fixed_order) {
    for (const int64_t blocks : {1, 2, 3, 4, 7, 16, 33}) {
        const auto alone = partners(blocks, 1);
        for (const auto& met : alone) {
            CHECK(met.size() == static_cast<size_t>(blocks), blocks);
            CHECK(std::set<int64_t>(met.begin(), met.end()).size() == met.size(), blocks);
        }
        for (const int workers : {2, 3, 7}) {
            for (int round = 0; round < 5; ++round) {
                CHECK(partners(blocks, workers) == alone, blocks, workers);
            }
        }
    }
}

TEST(an_exception_leaves_the_grid_without_a_deadlock) {
    for (const int workers : {1, 2, 4}) {
        for (const int64_t bad : {0, 7, 63}) {
            Control control(ignore, workers);
            bool caught = false;
            try {
                parallel_grid(8, 8, control, [&](int64_t i, int64_t j, int) {
                    if (i * 8 + j == bad) throw std::runtime_error("cell");
                });
            } catch (const std::runtime_error&) {
                caught = true;
            }
            CHECK(caught, workers, bad);
        }
    }
}

}  // namespace
