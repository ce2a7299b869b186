// Work on side streams, after what was asked of a stream before and before what is asked of it
// next: small launches that would each leave most of the device idle run beside one another.
#pragma once

#include <vector>

#include "engine/launch.hpp"

namespace pairtile::gpu {

using Streams = std::vector<cudaStream_t>;

class Fork {
  public:
    Fork(cudaStream_t stream, const Streams& side) : stream_(stream), side_(side) {
        if (side_.empty()) return;
        check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
        check(cudaEventRecord(event_, stream_), "cudaEventRecord");
        for (const cudaStream_t one : side_) {
            check(cudaStreamWaitEvent(one, event_, 0), "cudaStreamWaitEvent");
        }
    }
    // Joins after an error too: who reuses the memory of the side streams must wait for them.
    ~Fork() {
        for (const cudaStream_t one : side_) {
            if (joined_ || cudaEventRecord(event_, one) != cudaSuccess) break;
            cudaStreamWaitEvent(stream_, event_, 0);
        }
        if (event_) cudaEventDestroy(event_);
    }
    Fork(const Fork&) = delete;

    int64_t lanes() const { return side_.empty() ? 1 : static_cast<int64_t>(side_.size()); }
    cudaStream_t lane(int64_t l) const { return side_.empty() ? stream_ : side_[l]; }

    void join() {
        for (const cudaStream_t one : side_) {
            check(cudaEventRecord(event_, one), "cudaEventRecord");
            check(cudaStreamWaitEvent(stream_, event_, 0), "cudaStreamWaitEvent");
        }
        joined_ = true;
    }

  private:
    cudaStream_t stream_;
    const Streams& side_;
    cudaEvent_t event_ = nullptr;
    bool joined_ = false;
};

}  // namespace pairtile::gpu
