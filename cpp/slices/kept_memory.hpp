// Memory of lists that one call gives back and the next one takes. The system would take back every
// page and clear it anew, which costs as much as to sort what it holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

namespace pairtile {

// What stays of all calls together, at most.
inline constexpr size_t most_kept_bytes = size_t{32} << 20;

// A block on a cache-line boundary, of no less than so many bytes, and how many it has.
std::pair<void*, size_t> take_memory(size_t bytes);
void give_memory(void* block, size_t bytes);

// Uninitialised numbers in such a block.
template <class T>
class KeptBuffer {
  public:
    KeptBuffer() = default;
    KeptBuffer(const KeptBuffer&) = delete;
    KeptBuffer& operator=(const KeptBuffer&) = delete;
    KeptBuffer(KeptBuffer&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    KeptBuffer& operator=(KeptBuffer&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~KeptBuffer() { give_memory(memory_, bytes_); }

    // Room for `size` elements; what was there before is lost when it grows.
    void reserve(int64_t size) {
        const size_t bytes = static_cast<size_t>(size) * sizeof(T);
        if (bytes <= bytes_) return;
        give_memory(std::exchange(memory_, nullptr), std::exchange(bytes_, 0));
        std::tie(memory_, bytes_) = take_memory(bytes);
    }
    T* data() { return static_cast<T*>(memory_); }
    const T* data() const { return static_cast<const T*>(memory_); }

  private:
    void* memory_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace pairtile
