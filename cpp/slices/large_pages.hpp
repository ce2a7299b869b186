// Long lists in large pages, where the system has them for those who ask: a fault for every 2 MB
// instead of every 4 KB, and addresses that stay translated while a sort goes all over them.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pairtile {

template <class T>
void ask_for_large_pages([[maybe_unused]] T* memory, [[maybe_unused]] int64_t size) {
#if defined(MADV_HUGEPAGE)
    constexpr uint64_t page = 4096, least = 4 << 20;
    const auto begin = (reinterpret_cast<uint64_t>(memory) + page - 1) / page * page;
    const auto end = (reinterpret_cast<uint64_t>(memory) + size * sizeof(T)) / page * page;
    // a request: whether it is granted changes no result
    if (end >= begin + least) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace pairtile
