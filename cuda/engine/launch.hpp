// Every CUDA call of this module goes through here: a failure becomes a std::runtime_error that
// names the call and carries CUDA's own words. Memory is never allocated; CuPy owns it. What the
// caller can do something about has a type of its own.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace pairtile::gpu {

struct OutOfMemory : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// There is no code for this device, and none that its driver can compile.
struct NotBuilt : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline bool means_not_built(cudaError_t status) {
    return status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction ||
           status == cudaErrorInvalidPtx || status == cudaErrorUnsupportedPtxVersion ||
           status == cudaErrorJitCompilerNotFound || status == cudaErrorJitCompilationDisabled;
}

inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // or the next launch would be blamed for it
    const std::string words =
        std::string("CUDA error in ") + call + ": " + cudaGetErrorString(status);
    if (status == cudaErrorMemoryAllocation) throw OutOfMemory(words);
    if (means_not_built(status)) throw NotBuilt(words);
    throw std::runtime_error(words);
}

#if defined(__CUDACC__)
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, int threads,
            cudaStream_t stream, const Arguments&... arguments) {
    kernel<<<grid, threads, 0, stream>>>(arguments...);
    check(cudaGetLastError(), name);
}
#endif

}  // namespace pairtile::gpu
