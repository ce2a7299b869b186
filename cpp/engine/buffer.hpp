// Uninitialised memory on a cache-line boundary: packed panels and workspace. Or a view of memory
// that somebody else owns.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace pairtile {

template <class T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(int64_t size) { reserve(size); }

    // Memory of somebody else, who keeps it; only for reading.
    static Buffer view(const T* memory, int64_t size) {
        Buffer out;
        out.memory_ = std::unique_ptr<T, Free>(const_cast<T*>(memory), Free{false});
        out.size_ = size;
        return out;
    }

    // Room for `size` elements; what was there before is lost when it grows.
    void reserve(int64_t size) {
        if (size <= size_) return;
        memory_.reset();
        size_ = 0;
        memory_ = std::unique_ptr<T, Free>(static_cast<T*>(
            ::operator new(static_cast<size_t>(size) * sizeof(T), std::align_val_t(64))));
        size_ = size;
    }
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    T& operator[](int64_t i) { return memory_.get()[i]; }
    const T& operator[](int64_t i) const { return memory_.get()[i]; }

  private:
    struct Free {
        bool owned = true;
        void operator()(T* p) const {
            if (owned) ::operator delete(p, std::align_val_t(64));
        }
    };
    std::unique_ptr<T, Free> memory_;
    int64_t size_ = 0;
};

}  // namespace pairtile
