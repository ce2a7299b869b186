// The instructions that a tensor-core sweep is made of, one function each: copies into shared
// memory, barriers that count bytes, and products of 16-bit tiles.
#pragma once

#include <cstdint>

namespace pairtile::gpu {

__device__ inline uint32_t shared_address(const void* at) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

// --- Compute capability 8.0 and later ------------------------------------------------------------

__device__ inline void copy_async(uint32_t to, const void* from) {  // 16 bytes
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ inline void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
__device__ void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

__device__ inline void load_matrices(uint32_t (&out)[4], uint32_t from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(from)
                 : "memory");
}

// The same, each of the four transposed.
__device__ inline void load_matrices_transposed(uint32_t (&out)[4], uint32_t from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(from)
                 : "memory");
}

// c += a bᵀ: 16 × 16 of bfloat16 times 8 × 16.
__device__ inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same of signed bytes, 16 × 32 times 8 × 32, whose sums are exact.
__device__ inline void multiply(int (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// --- Compute capability 9.0: copies in bulk, products of warp groups -----------------------------

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ inline void barrier_init(uint64_t* barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(arrivals)
                 : "memory");
}
__device__ inline void barrier_arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                 : "memory");
}
__device__ inline void barrier_expect(uint64_t* barrier, int bytes) {
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
        "r"(bytes)
        : "memory");
}
__device__ inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\n"
        "bra again;\n"
        "over:\n"
        "}\n" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
}
__device__ inline void barriers_are_ready() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// Arrives on the barrier when all bytes are there.
__device__ inline void copy_bulk(uint32_t to, const void* from, int bytes, uint64_t* barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(to),
        "l"(from), "r"(bytes), "r"(shared_address(barrier))
        : "memory");
}

// Of a slice (panels.hpp): 128-byte swizzle, 1024 bytes from eight rows to the next eight. Later
// features of the slice are two sixteenths of a kilobyte further for each step of mma_depth.
__device__ inline uint64_t slice_descriptor(uint32_t at) {
    return uint64_t{at >> 4 & 0x3fff} | uint64_t{1} << 16 | uint64_t{64} << 32 | uint64_t{1} << 62;
}
constexpr uint64_t descriptor_step = 2;

__device__ inline void products_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int pending>
__device__ void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// 64 rows and 128 columns of products in the registers of a warp group.
#define PT_SUMS(kind)                                                                             \
    PT_FOUR(kind, 0), PT_FOUR(kind, 1), PT_FOUR(kind, 2), PT_FOUR(kind, 3), PT_FOUR(kind, 4),     \
        PT_FOUR(kind, 5), PT_FOUR(kind, 6), PT_FOUR(kind, 7), PT_FOUR(kind, 8), PT_FOUR(kind, 9), \
        PT_FOUR(kind, 10), PT_FOUR(kind, 11), PT_FOUR(kind, 12), PT_FOUR(kind, 13),               \
        PT_FOUR(kind, 14), PT_FOUR(kind, 15)
#define PT_FOUR(kind, i) kind(c[i][0]), kind(c[i][1]), kind(c[i][2]), kind(c[i][3])
// Adds to what is there unless `adds` is 0; either side has summands in its rows if transposed.
#define PT_PRODUCTS(adds, a_transposed, b_transposed)                                             \
    "{\n"                                                                                         \
    ".reg .pred adds;\n"                                                                          \
    "setp.ne.b32 adds, " adds                                                                     \
    ", 0;\n"                                                                                      \
    "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "                                      \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, "  \
    "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "  \
    "%56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, adds, 1, 1, " a_transposed                \
    ", " b_transposed                                                                             \
    ";\n"                                                                                         \
    "}\n"

// c = a bᵀ, 16 features. What c held is not read.
__device__ inline void start_group(float (&c)[16][4], uint64_t a, uint64_t b) {
    asm volatile(PT_PRODUCTS("0", "0", "0") : PT_SUMS("=f") : "l"(a), "l"(b));
}
// c += a bᵀ.
__device__ inline void multiply_group(float (&c)[16][4], uint64_t a, uint64_t b) {
    asm volatile(PT_PRODUCTS("1", "0", "0") : PT_SUMS("+f") : "l"(a), "l"(b));
}

// Of slices whose rows are the summands, or of their halves: 64 rows or features, `next` bytes to
// the 64 after them, 1024 from eight summands to the next eight. Later summands are two kilobytes
// further for each step of mma_depth.
__device__ inline uint64_t summands_descriptor(uint32_t at, int next) {
    return (slice_descriptor(at) & ~(uint64_t{0x3fff} << 16)) | uint64_t(next >> 4) << 16;
}
constexpr uint64_t summands_step = 128;

// c += a b for 64 rows and 128 columns, 16 summands, which are the rows of b, and of a if
// `transposed`.
template <bool transposed>
__device__ void multiply_summands(float (&c)[16][4], uint64_t a, uint64_t b) {
    asm volatile(PT_PRODUCTS("1", "%66", "1")
                 : PT_SUMS("+f")
                 : "l"(a), "l"(b), "n"(transposed ? 1 : 0));
}
#undef PT_SUMS
#undef PT_FOUR
#undef PT_PRODUCTS

template <int count>
__device__ void registers_give() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

}  // namespace pairtile::gpu
