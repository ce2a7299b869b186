#include "engine/mapped.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <stdexcept>

namespace pairtile {
namespace {

// All that the handler looks at, which may run at any instruction of any thread.
struct Slot {
    std::atomic<uintptr_t> begin{0}, end{0};  // begin 0: free
    std::atomic<bool> lost{false};
};
Slot slots[4096];

std::mutex lock;  // of who takes slots and installs the handler
struct sigaction before;
const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));

// Puts zeros in place of the rest of the range, from the page that could not be read.
bool replaced(Slot& slot, uintptr_t at) {
    const uintptr_t begin = slot.begin.load(), end = slot.end.load();
    const uintptr_t first = at / page * page;
    if (begin == 0 || at < begin / page * page || at >= end) return false;
    const size_t bytes = (end - first + page - 1) / page * page;
    void* const wanted = reinterpret_cast<void*>(first);
    const int error = errno;
    const bool done = mmap(wanted, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == wanted;
    errno = error;
    if (done) slot.lost = true;
    return done;
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
    const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
    for (Slot& slot : slots) {
        if (replaced(slot, at)) return;
    }
    if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        return before.sa_handler(signal);
    }
    sigaction(signal, &before, nullptr);  // the instruction is tried again, and fails as ever
}

// Others install handlers too, and take away ours with their own.
void install() {
    struct sigaction now;
    if (sigaction(SIGBUS, nullptr, &now) != 0) return;
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error) return;
    before = now;
    struct sigaction ours = {};
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

WatchedRange::WatchedRange(const void* data, size_t bytes) {
    const std::lock_guard guard(lock);
    slot_ = 0;
    while (slot_ < std::size(slots) && slots[slot_].begin.load() != 0) ++slot_;
    if (slot_ == std::size(slots)) throw std::runtime_error("too many memory maps are in use");
    install();
    const auto begin = reinterpret_cast<uintptr_t>(data);
    slots[slot_].lost = false;
    slots[slot_].end = begin + bytes;
    slots[slot_].begin = begin;
}

WatchedRange::~WatchedRange() { slots[slot_].begin = 0; }

bool WatchedRange::lost() const { return slots[slot_].lost; }

}  // namespace pairtile
