// Threads for one call: blocks handed out by an atomic counter, the calling thread working too.
//
// Which thread computes a block is free; what a block computes and the order in which its results
// are merged is not, so the number of workers never changes a bit of the answer. No pool survives a
// call: nothing hangs after fork and nothing spins beside another library's threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

namespace pairtile {

// What one call may use and how it is told to stop: its threads, its progress and interruption, and
// the memory beside inputs and results (bytes, 0: what each sweep is tuned for). Only the calling
// thread asks the outside world, at most every 50 ms; the other threads see the stop flag.
class Control {
  public:
    // poll(done, total) may throw: the call is then abandoned and the exception passed on.
    using Poll = std::function<void(int64_t done, int64_t total)>;
    explicit Control(Poll poll, int workers = 1, int64_t memory = 0)
        : poll_(std::move(poll)), workers_(workers), memory_(memory) {}

    // Threads, the calling one among them; their number never changes a bit of the answer.
    int workers() const { return workers_; }
    // As many as fit, each holding so many bytes, into an eighth of limited memory; at least one.
    void fit_workers(int64_t bytes_per_worker);

    int64_t memory() const { return memory_; }

    void expect(int64_t work) { total_ += work; }
    void advance(int64_t work) { done_.fetch_add(work, std::memory_order_relaxed); }

    // Called often from inside blocks, at least every few milliseconds.
    void tick(int worker) {
        if (worker == 0) poll_if_due();
        if (stopped()) throw Stopped{};
    }
    bool stopped() const { return stop_.load(std::memory_order_relaxed); }
    void stop() { stop_.store(true, std::memory_order_relaxed); }

    struct Stopped {};  // unwinds a worker; never leaves parallel_for

  private:
    void poll_if_due();

    Poll poll_;
    int workers_;
    int64_t memory_;
    std::atomic<bool> stop_{false};
    std::atomic<int64_t> done_{0};
    int64_t total_ = 0;
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// body(block, worker) for every block in [0, blocks), worker in [0, workers). The first exception
// of any thread stops the others and is thrown here.
void parallel_for(int64_t blocks, int workers, Control& control,
                  const std::function<void(int64_t block, int worker)>& body);
inline void parallel_for(int64_t blocks, Control& control,
                         const std::function<void(int64_t block, int worker)>& body) {
    parallel_for(blocks, control.workers(), control, body);
}

// body(i, j, worker) for every cell of a rows × cols grid, such that cells of one row run in a
// fixed order one after another, and so do cells of one column: states kept per row and per column
// have one writer at a time and a fixed order of additions, without private copies.
void parallel_grid(int64_t rows, int64_t cols, Control& control,
                   const std::function<void(int64_t i, int64_t j, int worker)>& body);

// The same for the cells i <= j of the square of one set of blocks, a block having one state: cells
// that share a block run in a fixed order one after another.
void parallel_triangle(int64_t blocks, Control& control,
                       const std::function<void(int64_t i, int64_t j, int worker)>& body);

}  // namespace pairtile
