#include "losses/panel_product.hpp"

#include <algorithm>

#include "engine/launch.hpp"
#include "engine/tensor_core.cuh"

namespace pairtile::gpu {
namespace {

// What is copied at a time: 64 rows of 64 features, half of a slice.
constexpr int unit = slice_features;
constexpr int unit_bytes = unit * slice_row_bytes;

__device__ const char* unit_of(const Panels& panels, int part, int row_unit, int slice) {
    constexpr int of_panel = panel_rows / unit;
    const int slices = panels.slices_per_row();
    const int64_t at = (int64_t{row_unit / of_panel} * panels.parts + part) * slices + slice;
    return panels.slices + at * slice_bytes + row_unit % of_panel * unit_bytes;
}

// The pieces that a block multiplies, one after the other: a unit of summands and a pair of parts.
struct Summands {
    int first, end, at, product = 0;

    __device__ explicit Summands(const PanelProduct& of) {
        const int units = static_cast<int>((of.summands() + unit - 1) / unit);
        const int piece = (units + of.splits - 1) / of.splits;
        first = at = static_cast<int>(blockIdx.z) * piece;
        end = min(units, first + piece);
    }
    __device__ int count(const PanelProduct& of) const {
        return of.products.count * max(0, end - first);
    }
    __device__ void next() {
        if (++at == end) at = first, ++product;
    }

    // of the weights that belong to a unit of rows out, and of the others, a slice of features
    __device__ const char* weights(const PanelProduct& of, int out) const {
        const int last = static_cast<int>((of.rows_out() - 1) / unit);  // again beyond the last
        const int part = of.products.row_part[product], own = min(out, last);
        return of.by_column ? unit_of(of.weights, part, at, own)
                            : unit_of(of.weights, part, own, at);
    }
    __device__ const char* others(const PanelProduct& of, int slice) const {
        return unit_of(of.others, of.products.col_part[product], at,
                       min(slice, of.others.slices_per_row() - 1));
    }
};

// Sums of two rows, eight apart, and of the features 8 g + 2 (l % 4) and the one after from
// `feature` on.
template <int groups>
__device__ __forceinline__ void write_sums(const float (&sums)[groups][4], const PanelProduct& of,
                                           int64_t upper, int64_t feature) {
    const int64_t rows = of.rows_out(), d = of.others.d;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int64_t row = upper + 8 * half;
        if (row >= rows) return;
        float* out = (of.splits > 1 ? of.partial + int64_t{blockIdx.z} * rows * d : of.out) +
                     row * d + feature;
        const auto factor = static_cast<float>(
            of.divisors ? of.factor / static_cast<double>(of.divisors[row]) : of.factor);
#pragma unroll
        for (int g = 0; g < groups; ++g) {
            const int64_t left = d - feature - 8 * g;
            if (left <= 0) break;
            float2 value = make_float2(sums[g][2 * half], sums[g][2 * half + 1]);
            auto* both = reinterpret_cast<float2*>(out + 8 * g);
            const bool paired = d % 2 == 0;
            if (of.splits == 1) {
                float2 before = make_float2(out[8 * g], 0.0f);
                if (paired) {
                    before = *both;
                } else if (left > 1) {
                    before.y = out[8 * g + 1];
                }
                value.x = fmaf(factor, value.x, before.x);
                value.y = fmaf(factor, value.y, before.y);
            }
            if (paired) {
                *both = value;
            } else {
                out[8 * g] = value.x;
                if (left > 1) out[8 * g + 1] = value.y;
            }
        }
    }
}

// --- mma.sync: compute capability 8.0 and later --------------------------------------------------

constexpr int mma_threads = 256;
constexpr int mma_rows = 256, mma_features = 128;
constexpr int mma_units = mma_rows / unit + mma_features / unit;
constexpr int mma_stage_bytes = mma_units * unit_bytes;

template <bool by_column>
__global__ void __launch_bounds__(mma_threads, 1)
    mma_panel_product(const __grid_constant__ PanelProduct product, int stages) {
    extern __shared__ __align__(1024) char staged[];
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int first_out = static_cast<int>(blockIdx.y) * (mma_rows / unit);
    const int first_slice = static_cast<int>(blockIdx.x) * (mma_features / unit);
    const uint32_t base = shared_address(staged);
    Summands coming(product);
    const int steps = coming.count(product);
    int fetched = 0, free_stage = 0;
    const auto fetch = [&] {
        if (fetched < steps) {
#pragma unroll
            for (int u = 0; u < mma_units; ++u) {
                constexpr int of_rows = mma_rows / unit;
                const char* from = u < of_rows ? coming.weights(product, first_out + u)
                                               : coming.others(product, first_slice + u - of_rows);
                const uint32_t to = base + free_stage * mma_stage_bytes + u * unit_bytes;
                for (int at = static_cast<int>(threadIdx.x) * 16; at < unit_bytes;
                     at += mma_threads * 16) {
                    copy_async(to + at, from + at);
                }
            }
            coming.next();
            ++fetched;
        }
        if (++free_stage == stages) free_stage = 0;
        copies_commit();
    };
    for (int s = 0; s + 1 < stages; ++s) fetch();

    // a warp has 32 rows, half of a unit
    const int first_row = warp % 2 * 32;
    float sums[2][mma_features / 8][4] = {};
    int stage = 0;
    for (int q = 0; q < steps; ++q) {
        // the group of this step is complete when at most the later stages − 2 are pending
        if (stages == 2) {
            copies_wait<0>();
        } else {
            copies_wait<1>();
        }
        __syncthreads();
        fetch();
        const uint32_t at = base + stage * mma_stage_bytes;
        const uint32_t weights = at + warp / 2 * unit_bytes;
        if (++stage == stages) stage = 0;
#pragma unroll
        for (int k = 0; k < unit / mma_depth; ++k) {
            uint32_t a[2][4];
#pragma unroll
            for (int s = 0; s < 2; ++s) {
                const int r = first_row + 16 * s;
                if (by_column) {  // summands are the rows
                    load_matrices_transposed(
                        a[s], weights + swizzled(k * mma_depth + lane / 16 * 8 + lane % 8,
                                                 r / 8 + lane / 8 % 2));
                } else {
                    load_matrices(a[s], weights + swizzled(r + lane % 16, 2 * k + lane / 16));
                }
            }
#pragma unroll
            for (int pair = 0; pair < mma_features / 16; ++pair) {
                constexpr int of_unit = unit / 16;
                uint32_t b[4];
                const uint32_t others = at + (mma_rows / unit + pair / of_unit) * unit_bytes;
                load_matrices_transposed(b, others + swizzled(k * mma_depth + lane % 16,
                                                              pair % of_unit * 2 + lane / 16));
#pragma unroll
                for (int s = 0; s < 2; ++s) {
                    multiply(sums[s][2 * pair], a[s], b[0], b[1]);
                    multiply(sums[s][2 * pair + 1], a[s], b[2], b[3]);
                }
            }
        }
    }
#pragma unroll
    for (int s = 0; s < 2; ++s) {
        write_sums(sums[s], product, int64_t{blockIdx.y} * mma_rows + warp * 32 + 16 * s + lane / 4,
                   int64_t{blockIdx.x} * mma_features + 2 * (lane % 4));
    }
}

// --- wgmma: compute capability 9.0 ---------------------------------------------------------------

// Three warp groups of 64 rows each, and one that copies.
constexpr int wgmma_groups = 3, wgmma_rows = wgmma_groups * unit;
constexpr int wgmma_threads = (1 + wgmma_groups) * 128;
constexpr int wgmma_most_stages = 5;
constexpr int wgmma_stage_bytes(int features) {
    return (wgmma_groups + features / unit) * unit_bytes;
}
// As in a sweep: their sum must be no more than what the launch gave.
constexpr int registers_to_copy = 32, registers_to_multiply = 160;
static_assert(registers_to_copy + wgmma_groups * registers_to_multiply <=
              65536 / wgmma_threads * (1 + wgmma_groups));

template <int features, bool by_column>
__global__ void __launch_bounds__(wgmma_threads, 1)
    wgmma_panel_product(const __grid_constant__ PanelProduct product, int stages) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    extern __shared__ char dynamic[];
    __shared__ uint64_t full[wgmma_most_stages], empty[wgmma_most_stages];
    constexpr int stage_bytes = wgmma_stage_bytes(features);
    const int thread = static_cast<int>(threadIdx.x), group = thread / 128;
    const uint32_t base = (shared_address(dynamic) + 1023) & ~1023u;
    const int steps = Summands(product).count(product);
    if (thread == 0) {
        for (int s = 0; s < stages; ++s) {
            barrier_init(&full[s], 1);
            barrier_init(&empty[s], 4 * wgmma_groups);
        }
        barriers_are_ready();
    }
    __syncthreads();

    int stage = 0;
    uint32_t phase = 0;
    const auto advance = [&] {
        if (++stage == stages) stage = 0, phase ^= 1;
    };
    if (group == 0) {
        registers_give<registers_to_copy>();
        if (thread != 0) return;
        const int first_out = static_cast<int>(blockIdx.y) * wgmma_groups;
        const int first_slice = static_cast<int>(blockIdx.x) * (features / unit);
        Summands step(product);
        for (int q = 0; q < steps; ++q, step.next(), advance()) {
            barrier_wait(&empty[stage], phase ^ 1);
            barrier_expect(&full[stage], stage_bytes);
            uint32_t to = base + stage * stage_bytes;
            for (int g = 0; g < wgmma_groups; ++g, to += unit_bytes) {
                copy_bulk(to, step.weights(product, first_out + g), unit_bytes, &full[stage]);
            }
            for (int f = 0; f < features / unit; ++f, to += unit_bytes) {
                copy_bulk(to, step.others(product, first_slice + f), unit_bytes, &full[stage]);
            }
        }
        return;
    }

    registers_take<registers_to_multiply>();
    const int warp = thread % 128 / 32, lane = thread % 32;
    float sums[features / panel_rows][panel_rows / 8][4] = {};
    const auto release = [&](int which) {
        if (lane == 0) barrier_arrive(&empty[which]);
        __syncwarp();
    };
    for (int q = 0; q < steps; ++q, advance()) {
        barrier_wait(&full[stage], phase);
        __syncwarp();  // the lanes of a warp multiply together
        const uint32_t at = base + stage * stage_bytes, own = at + (group - 1) * unit_bytes;
        const uint64_t a = by_column ? summands_descriptor(own, unit_bytes) : slice_descriptor(own);
        const uint64_t b = summands_descriptor(at + wgmma_groups * unit_bytes, unit_bytes);
        constexpr uint64_t next_features = panel_rows / unit * unit_bytes >> 4;
        products_fence();
#pragma unroll
        for (int k = 0; k < unit / mma_depth; ++k) {
            const uint64_t rows = a + k * (by_column ? summands_step : descriptor_step);
#pragma unroll
            for (int half = 0; half < features / panel_rows; ++half) {
                multiply_summands<by_column>(sums[half], rows,
                                             b + k * summands_step + half * next_features);
            }
        }
        products_commit();
        if (q > 0) {
            products_wait<1>();
            release(stage == 0 ? stages - 1 : stage - 1);
        }
    }
    products_wait<0>();
#pragma unroll
    for (int half = 0; half < features / panel_rows; ++half) {
        write_sums(sums[half], product,
                   int64_t{blockIdx.y} * wgmma_rows + (group - 1) * unit + warp * 16 + lane / 4,
                   int64_t{blockIdx.x} * features + half * panel_rows + 2 * (lane % 4));
    }
#else
    __trap();  // not built for this device: see tensor_path
#endif
}

// --- Several pieces ------------------------------------------------------------------------------

__global__ void __launch_bounds__(block_threads)
    add_pieces(const __grid_constant__ PanelProduct product) {
    const int64_t d = product.others.d, entries = product.rows_out() * d;
    const int64_t entry = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (entry >= entries) return;
    double sum = 0.0;
    for (int s = 0; s < product.splits; ++s) {
        sum += static_cast<double>(product.partial[s * entries + entry]);
    }
    const double factor = product.divisors
                              ? product.factor / static_cast<double>(product.divisors[entry / d])
                              : product.factor;
    product.out[entry] = static_cast<float>(static_cast<double>(product.out[entry]) + factor * sum);
}

struct Tile {
    int rows, features;
};
Tile tile_of(int64_t features, TensorPath path) {
    if (path == TensorPath::mma) return {mma_rows, mma_features};
    return {wgmma_rows, features > 128 ? 256 : 128};
}

template <class Kernel>
void launch_product(Kernel kernel, const PanelProduct& product, Tile tile, int threads, int shared,
                    int stages, cudaStream_t stream) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
          "panel product");
    const dim3 grid(static_cast<unsigned>(divided_up(product.others.d, tile.features)),
                    static_cast<unsigned>(divided_up(product.rows_out(), tile.rows)),
                    static_cast<unsigned>(product.splits));
    kernel<<<grid, threads, shared, stream>>>(product, stages);
    check(cudaGetLastError(), "panel product");
}

template <bool by_column>
void multiply_panels(const PanelProduct& product, TensorPath path, cudaStream_t stream) {
    const Tile tile = tile_of(product.others.d, path);
    // 1 KiB to align the dynamic part, and what is static
    const int room = shared_bytes_per_block() - 2048;
    if (path == TensorPath::mma) {
        const int stages = std::min(3, room / mma_stage_bytes);
        return launch_product(mma_panel_product<by_column>, product, tile, mma_threads,
                              stages * mma_stage_bytes, stages, stream);
    }
    const int bytes = wgmma_stage_bytes(tile.features);
    const int stages = std::min(wgmma_most_stages, room / bytes);
    const auto kernel = tile.features == 256 ? wgmma_panel_product<256, by_column>
                                             : wgmma_panel_product<128, by_column>;
    launch_product(kernel, product, tile, wgmma_threads, 1024 + stages * bytes, stages, stream);
}

}  // namespace

int64_t panel_splits(int64_t rows_out, int64_t features, int64_t summands, int64_t most,
                     TensorPath path) {
    const Tile tile = tile_of(features, path);
    const int64_t blocks = divided_up(rows_out, tile.rows) * divided_up(features, tile.features);
    const int64_t units = divided_up(summands, unit);
    const int64_t least = divided_up(units, std::max<int64_t>(1, most / unit));
    // a piece costs eight units more than it has
    const int64_t splits = least * best_pieces(blocks * least, divided_up(units, least), 8, 8.0);
    return divided_up(units, divided_up(units, splits));  // none of them empty
}

void panel_product(const PanelProduct& product, TensorPath path, cudaStream_t stream) {
    if (product.by_column) {
        multiply_panels<true>(product, path, stream);
    } else {
        multiply_panels<false>(product, path, stream);
    }
    if (product.splits == 1) return;
    launch("panel product pieces", add_pieces,
           static_cast<unsigned>(divided_up(product.rows_out() * product.others.d, block_threads)),
           block_threads, stream, product);
}

}  // namespace pairtile::gpu
