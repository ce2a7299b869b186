#include "slices/kept_memory.hpp"

#include <mutex>
#include <new>

namespace pairtile {
namespace {

// Smaller blocks the allocator keeps by itself, larger ones are not worth keeping.
constexpr size_t least_block = size_t{1} << 16, most_block = most_kept_bytes / 2;
constexpr std::align_val_t line{64};

struct Block {
    void* memory = nullptr;
    size_t bytes = 0;
};

// Who finds it in use, by another thread or by one that a fork left behind, does without.
class Kept {
  public:
    ~Kept() { clear(); }

    Block take(size_t bytes) {
        const std::unique_lock guard(lock_, std::try_to_lock);
        if (!guard) return {};
        for (int i = 0; i < count_; ++i) {
            const Block found = blocks_[i];
            if (found.bytes < bytes || found.bytes / 2 > bytes) continue;
            blocks_[i] = blocks_[--count_];
            total_ -= found.bytes;
            return found;
        }
        clear();  // calls of another size: what is kept must not add to what they hold
        return {};
    }

    // Whether it is kept.
    bool give(const Block& block) {
        const std::unique_lock guard(lock_, std::try_to_lock);
        if (!guard || count_ == most_blocks || total_ + block.bytes > most_kept_bytes) return false;
        blocks_[count_++] = block;
        total_ += block.bytes;
        return true;
    }

  private:
    static constexpr int most_blocks = 32;

    void clear() {
        while (count_ > 0) ::operator delete(blocks_[--count_].memory, line);
        total_ = 0;
    }

    std::mutex lock_;
    Block blocks_[most_blocks];
    int count_ = 0;
    size_t total_ = 0;
};

Kept& kept() {
    static Kept of_all_calls;
    return of_all_calls;
}

bool may_keep(size_t bytes) { return bytes >= least_block && bytes <= most_block; }

}  // namespace

std::pair<void*, size_t> take_memory(size_t bytes) {
    if (may_keep(bytes)) {
        const Block found = kept().take(bytes);
        if (found.memory) return {found.memory, found.bytes};
    }
    return {::operator new(bytes, line), bytes};
}

void give_memory(void* block, size_t bytes) {
    if (!block || (may_keep(bytes) && kept().give({block, bytes}))) return;
    ::operator delete(block, line);
}

}  // namespace pairtile
