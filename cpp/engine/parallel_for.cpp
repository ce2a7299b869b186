#include "engine/parallel_for.hpp"

#include <algorithm>
#include <cassert>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace pairtile {
namespace {

// Whether a loop started this thread. A loop within one of its blocks has a worker 0 as well, which
// must not ask the outside world: the calling thread may be asking at the same time.
thread_local bool helping = false;

// Joins whatever was started, also when a thread could not be started or the caller throws.
class JoiningThreads {
  public:
    template <class Body>
    void start(Body&& body) {
        threads_.emplace_back(std::forward<Body>(body));
    }
    ~JoiningThreads() {
        for (std::thread& thread : threads_) thread.join();
    }

  private:
    std::vector<std::thread> threads_;
};

// How many rounds each of a set of blocks has been through.
class Rounds {
  public:
    Rounds(int64_t blocks, Control& control)
        : done_(static_cast<size_t>(blocks)), control_(control) {}

    // A round before this one was handed out earlier, so somebody is working on it and the wait
    // ends.
    void wait_for(int64_t block, int64_t round, int worker) {
        while (done_[static_cast<size_t>(block)].load(std::memory_order_acquire) < round) {
            control_.tick(worker);
            std::this_thread::yield();
        }
    }
    // Once for each round: said again, when others may be rounds ahead, it would set them back.
    void finish(int64_t block, int64_t round) {
        assert(done_[static_cast<size_t>(block)] == round);
        done_[static_cast<size_t>(block)].store(round + 1, std::memory_order_release);
    }

  private:
    std::vector<std::atomic<int64_t>> done_;
    Control& control_;
};

}  // namespace

void Control::fit_workers(int64_t bytes_per_worker) {
    if (memory_ == 0) return;
    workers_ = static_cast<int>(std::clamp<int64_t>(memory_ / 8 / bytes_per_worker, 1, workers_));
}

void Control::poll_if_due() {
    if (helping) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return;
    last_ = now;
    const int64_t done = done_.load(std::memory_order_relaxed);
    if (poll_) poll_(std::min(done, total_), total_);
}

void parallel_for(int64_t blocks, int workers, Control& control,
                  const std::function<void(int64_t, int)>& body) {
    std::atomic<int64_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_lock;
    const auto work = [&](int worker) {
        try {
            for (int64_t block; (block = next.fetch_add(1)) < blocks;) {
                control.tick(worker);
                body(block, worker);
            }
        } catch (const Control::Stopped&) {
        } catch (...) {
            const std::lock_guard guard(failure_lock);
            if (!failure) failure = std::current_exception();
            control.stop();
        }
    };
    {
        JoiningThreads threads;
        const int64_t helpers = std::min<int64_t>(workers, blocks) - 1;
        for (int64_t worker = 1; worker <= helpers; ++worker) {
            try {
                threads.start([&work, worker] {
                    helping = true;
                    work(static_cast<int>(worker));
                });
            } catch (const std::system_error&) {
                break;  // no more threads to be had: those that run do the work
            }
        }
        work(0);
    }
    if (failure) std::rethrow_exception(failure);
}

void parallel_grid(int64_t rows, int64_t cols, Control& control,
                   const std::function<void(int64_t, int64_t, int)>& body) {
    // In round t, row i meets column (i + t) mod n. Cells are handed out round by round; each waits
    // for the cell before it in its row and in its column.
    const int64_t n = std::max(rows, cols);
    Rounds of_rows(n, control), of_cols(n, control);
    parallel_for(n * n, control, [&](int64_t cell, int worker) {
        const int64_t round = cell / n, i = cell % n, j = (i + round) % n;
        of_rows.wait_for(i, round, worker);
        of_cols.wait_for(j, round, worker);
        if (i < rows && j < cols) body(i, j, worker);
        of_rows.finish(i, round);
        of_cols.finish(j, round);
    });
}

void parallel_triangle(int64_t blocks, Control& control,
                       const std::function<void(int64_t, int64_t, int)>& body) {
    // A round-robin tournament of an odd number of players: in round t, t + s meets t − s mod n for
    // s = 0, 1, ..., so that each block plays once, one of them against itself.
    const int64_t n = blocks | 1, games = (n + 1) / 2;
    Rounds rounds(n, control);
    parallel_for(n * games, control, [&](int64_t cell, int worker) {
        const int64_t round = cell / games, apart = cell % games;
        const auto [i, j] = std::minmax({(round + apart) % n, (round - apart + n) % n});
        rounds.wait_for(i, round, worker);
        rounds.wait_for(j, round, worker);
        if (j < blocks) body(i, j, worker);
        rounds.finish(i, round);
        if (j != i) rounds.finish(j, round);
    });
}

}  // namespace pairtile
