#include "engine/tensor_sweep.hpp"

#include "engine/launch.hpp"

namespace pairtile::gpu {
namespace {

// Tells which code the device runs: the body for sm_90a has shared memory of its own.
__global__ void which_code(int* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    __shared__ int mark[4];
    mark[threadIdx.x % 4] = 1;
    __syncwarp();
    out[threadIdx.x] = mark[0];
#else
    out[threadIdx.x] = 0;
#endif
}

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
    const TensorPath best = code.sharedSizeBytes > 0 ? TensorPath::wgmma : TensorPath::mma;
    return std::min(best, most);
}

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount); }
int shared_bytes_per_block() { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

}  // namespace pairtile::gpu
