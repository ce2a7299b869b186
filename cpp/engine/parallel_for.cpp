#include "engine/parallel_for.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace pairtile {
namespace {

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

}  // namespace

void Control::poll_if_due() {
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
                threads.start([&work, worker] { work(static_cast<int>(worker)); });
            } catch (const std::system_error&) {
                break;  // no more threads to be had: those that run do the work
            }
        }
        work(0);
    }
    if (failure) std::rethrow_exception(failure);
}

void parallel_grid(int64_t rows, int64_t cols, int workers, Control& control,
                   const std::function<void(int64_t, int64_t, int)>& body) {
    // In round t, row i meets column (i + t) mod n. Cells are handed out round by round; each waits
    // for the cell before it in its row and in its column. Every predecessor was handed out
    // earlier, so somebody is working on it and the wait ends.
    const int64_t n = std::max(rows, cols);
    std::vector<std::atomic<int64_t>> row_done(static_cast<size_t>(n));
    std::vector<std::atomic<int64_t>> col_done(static_cast<size_t>(n));
    parallel_for(n * n, workers, control, [&](int64_t cell, int worker) {
        const int64_t round = cell / n, i = cell % n, j = (i + round) % n;
        const auto wait = [&](const std::atomic<int64_t>& done) {
            while (done.load(std::memory_order_acquire) < round) {
                control.tick(worker);
                std::this_thread::yield();
            }
        };
        wait(row_done[static_cast<size_t>(i)]);
        wait(col_done[static_cast<size_t>(j)]);
        if (i < rows && j < cols) body(i, j, worker);
        row_done[static_cast<size_t>(i)].store(round + 1, std::memory_order_release);
        col_done[static_cast<size_t>(j)].store(round + 1, std::memory_order_release);
    });
}

}  // namespace pairtile
