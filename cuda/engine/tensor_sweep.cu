#include "engine/tensor_sweep.hpp"

#include <algorithm>
#include <climits>
#include <cmath>

#include "engine/launch.hpp"

namespace pairtile::gpu {
namespace {

// Tells which code the device runs: the body for sm_90a has more shared memory of its own than a
// device may reserve in every kernel.
constexpr int mark_bytes = 4096;

__global__ void which_code(int* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    __shared__ int mark[mark_bytes / sizeof(int)];
    mark[threadIdx.x % 4] = 1;
    __syncwarp();
    out[threadIdx.x] = mark[0];
#else
    out[threadIdx.x] = 0;
#endif
}

int most_shared_bytes = INT_MAX;

int attribute(cudaDeviceAttr which) {
    int device = 0, value = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
}

}  // namespace

TensorPath tensor_path(TensorPath most) {
    if (attribute(cudaDevAttrComputeCapabilityMajor) < 8) return TensorPath::none;
    cudaFuncAttributes code{};
    check(cudaFuncGetAttributes(&code, which_code), "cudaFuncGetAttributes");
    const TensorPath best =
        code.sharedSizeBytes >= mark_bytes ? TensorPath::wgmma : TensorPath::mma;
    return std::min(best, most);
}

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount); }
int shared_bytes_per_block() {
    return std::min(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin), most_shared_bytes);
}
void limit_shared_bytes(int most) { most_shared_bytes = most; }

int64_t best_pieces(int64_t blocks, int64_t length, int64_t most, double extra) {
    const int64_t machine = multiprocessors();
    int64_t best = 1;
    double least = INFINITY;
    for (int64_t s = 1; s <= std::min(most, length); ++s) {
        const double cost = static_cast<double>(divided_up(blocks * s, machine)) *
                            (static_cast<double>(divided_up(length, s)) + extra);
        if (cost < least) least = cost, best = s;
    }
    return divided_up(length, divided_up(length, best));  // as many as there will be
}

}  // namespace pairtile::gpu
