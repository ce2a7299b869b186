// Every CUDA call of this module goes through here: a failure becomes a std::runtime_error that
// names the call and carries CUDA's own words. Memory is never allocated; CuPy owns it.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace pairtile::gpu {

inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // or the next launch would be told of it once more
    throw std::runtime_error(std::string("CUDA error in ") + call + ": " +
                             cudaGetErrorString(status));
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
