// Blocks that one list gives back and the next takes.
#include "slices/kept_memory.hpp"

#include <thread>
#include <vector>

#include "check.hpp"

namespace {

using namespace check;
using pairtile::give_memory;
using pairtile::KeptBuffer;
using pairtile::take_memory;

constexpr size_t some = size_t{1} << 20;

TEST(a_block_goes_to_the_next_of_its_size) {
    const auto [first, bytes] = take_memory(some);
    CHECK(bytes >= some && reinterpret_cast<uintptr_t>(first) % 64 == 0);
    give_memory(first, bytes);
    const auto [again, same] = take_memory(some - 1000);
    CHECK(again == first && same == bytes);
    // while it is in use nobody else gets it
    const auto [other, others] = take_memory(some);
    CHECK(other != first);
    give_memory(again, same);
    give_memory(other, others);
    // half as many bytes are not worth all of it
    const auto [small, few] = take_memory(some / 3);
    CHECK(few < some);
    give_memory(small, few);
}

TEST(kept_buffers_hold_what_is_written) {
    std::vector<std::thread> threads;
    std::vector<int64_t> wrong(8);
    for (size_t t = 0; t < wrong.size(); ++t) {
        threads.emplace_back([&, t] {
            for (int64_t round = 0; round < 60; ++round) {
                // also blocks too small and too large to be kept
                const int64_t size = int64_t{1} << (8 + (round * 5 + static_cast<int64_t>(t)) % 15);
                KeptBuffer<int64_t> one;
                one.reserve(size / 2);
                one.reserve(size);
                KeptBuffer<int64_t> other = std::move(one);
                for (int64_t i = 0; i < size; i += 64)
                    other.data()[i] = i + static_cast<int64_t>(t);
                std::this_thread::yield();
                for (int64_t i = 0; i < size; i += 64) {
                    wrong[t] += other.data()[i] != i + static_cast<int64_t>(t);
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int64_t count : wrong) CHECK(count == 0);
}

}  // namespace
