// Uninitialised memory on a cache-line boundary: packed panels and workspace.
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

    // Room for `size` elements; what was there before is lost when it grows.
    void reserve(int64_t size) {
        if (size <= size_) return;
        memory_.reset();
        size_ = 0;
        memory_.reset(static_cast<T*>(
            ::operator new(static_cast<size_t>(size) * sizeof(T), std::align_val_t(64))));
        size_ = size;
    }
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    T& operator[](int64_t i) { return memory_.get()[i]; }
    const T& operator[](int64_t i) const { return memory_.get()[i]; }

  private:
    struct Free {
        void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
    };
    std::unique_ptr<T, Free> memory_;
    int64_t size_ = 0;
};

}  // namespace pairtile
