// Blocks that one list gives back and the next takes.
#include "slices/kept_memory.hpp"

#include <thread>
#include <utility>
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
    // however often
    for (int round = 0; round < 100; ++round) {
        const auto [one, held] = take_memory(some - 64);
        CHECK(held == some, round);
        give_memory(one, held);
    }
    // half as many bytes are not worth all of it
    const auto [small, few] = take_memory(some / 3);
    CHECK(few < some);
    give_memory(small, few);
}

// A block that was kept has more bytes than are asked for, a new one has as many.
int kept_of(std::vector<std::pair<void*, size_t>>& blocks, size_t bytes, int count) {
    int kept = 0;
    for (int i = 0; i < count; ++i) {
        blocks.push_back(take_memory(bytes));
        kept += blocks.back().second > bytes;
    }
    return kept;
}

TEST(no_more_is_kept_than_stated) {
    constexpr size_t bytes = size_t{4} << 20;
    constexpr int most = pairtile::most_kept_bytes / bytes;
    std::vector<std::pair<void*, size_t>> blocks;
    CHECK(kept_of(blocks, bytes + 64, 2 * most) == 0);
    for (int round = 0; round < 3; ++round) {
        for (const auto& [memory, held] : blocks) give_memory(memory, held);
        blocks.clear();
        const int kept = kept_of(blocks, bytes, 2 * most);
        CHECK(round > 0 || kept == most - 1, kept);  // and 64 bytes each
        CHECK(kept < most, round, kept);
    }
    for (const auto& [memory, held] : blocks) give_memory(memory, held);
    blocks.clear();
    // what a call of another size finds of no use goes
    const auto [large, many] = take_memory(8 * some);
    const auto [small, few] = take_memory(some + 64);
    give_memory(small, few);
    CHECK(kept_of(blocks, some, 1) == 1);
    give_memory(blocks.back().first, blocks.back().second);
    blocks.back() = take_memory(8 * some);
    CHECK(kept_of(blocks, some, 1) == 0);
    for (const auto& [memory, held] : blocks) give_memory(memory, held);
    give_memory(large, many);
    blocks.clear();
    // nor more blocks than there is room for
    constexpr size_t least = size_t{1} << 16;
    CHECK(kept_of(blocks, least + 64, 40) == 0);
    for (const auto& [memory, held] : blocks) give_memory(memory, held);
    blocks.clear();
    const int kept = kept_of(blocks, least, 40);
    CHECK(kept > 0 && kept < 40, kept);
    for (const auto& [memory, held] : blocks) give_memory(memory, held);
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
