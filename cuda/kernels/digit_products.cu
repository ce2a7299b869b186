// A warp multiplies 64 rows of a plane by 64 labellings, 32 columns at a time: fragments of digits
// come from memory as they are, labels as bits that become bytes in registers. A column of ones
// beside them gives the sums of rows.
#include "kernels/digit_products.hpp"

#include "engine/launch.hpp"
#include "engine/plan.hpp"
#include "engine/tensor_core.cuh"

namespace pairtile::gpu {
namespace {

constexpr int warps = 4;
constexpr int tiles = 4;   // of 16 rows
constexpr int groups = 8;  // of 8 labellings
constexpr int rows_together = tiles * fragment_rows;
static_assert(groups * 8 == labellings_together);

// Of one step of 32 columns.
struct Operands {
    uint4 digits[tiles];
    uint32_t labels[groups];
};

// Four bits as four bytes.
__device__ __forceinline__ uint32_t spread(uint32_t bits) {
    return (bits & 0xf) * 0x00204081 & 0x01010101;
}

// What a warp reads, step after step.
class Reader {
  public:
    __device__ Reader(const DigitProducts& products, int64_t first_labelling, int lane)
        : labels_(products.labels.cols + first_labelling + lane / 4),
          labellings_(products.labels.labellings) {
        const DigitPlanes& planes = products.planes;
        const int64_t first_tile = int64_t{blockIdx.x} * tiles;
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
            const int64_t tile = first_tile + t;
            const int64_t itself = products.triangle ? products.diagonal + tile / 2 : 0;
            begin_[t] = static_cast<int>(itself > 0 ? itself : 0);
            if (tile >= planes.row_tiles) begin_[t] = static_cast<int>(planes.steps);
            digits_[t] = planes.words + planes.fragment(blockIdx.z, tile, begin_[0]) +
                         fragment_word(lane / 4, lane % 4);
        }
        labels_ += begin_[0] * labellings_;
    }
    // The first step there is anything in.
    __device__ int begin() const { return begin_[0]; }

    __device__ __forceinline__ void read(int step, Operands& out) {
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
            out.digits[t] = {};
            if (step >= begin_[t]) out.digits[t] = *reinterpret_cast<const uint4*>(digits_[t]);
            digits_[t] += fragment_words;
        }
#pragma unroll
        for (int n = 0; n < groups; ++n) out.labels[n] = labels_[8 * n];
        labels_ += labellings_;
    }

  private:
    const uint32_t* digits_[tiles];
    const uint32_t* labels_;
    int64_t labellings_;
    int begin_[tiles];
};

struct Accumulators {
    int of_labels[tiles][groups][4];
    int of_rows[tiles][4];

    __device__ __forceinline__ void add(const Operands& operands, int lane) {
        uint32_t digits[tiles][4];
#pragma unroll
        for (int t = 0; t < tiles; ++t) {
            const uint4 words = operands.digits[t];
            digits[t][0] = words.x, digits[t][1] = words.y;
            digits[t][2] = words.z, digits[t][3] = words.w;
            multiply(of_rows[t], digits[t], 0x01010101, 0x01010101);
        }
#pragma unroll
        for (int n = 0; n < groups; ++n) {
            const uint32_t bits = operands.labels[n] >> 4 * (lane % 4);
            const uint32_t low = spread(bits), high = spread(bits >> 16);
#pragma unroll
            for (int t = 0; t < tiles; ++t) multiply(of_labels[t][n], digits[t], low, high);
        }
    }
};

__global__ void __launch_bounds__(warps * 32, 2)
    digit_products_of(const __grid_constant__ DigitProducts products) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const LabelWords& labels = products.labels;
    const int64_t labelling =
        (int64_t{blockIdx.y} * warps + threadIdx.x / 32) * labellings_together;
    if (labelling >= labels.labellings) return;
    Reader reader(products, labelling, lane);
    Accumulators sums = {};
    const auto steps = static_cast<int>(products.planes.steps);
    if (reader.begin() >= steps) return;
    Operands now, next;
    reader.read(reader.begin(), now);
    for (int step = reader.begin() + 1; step < steps; ++step) {
        reader.read(step, next);  // on its way while the last one is multiplied
        sums.add(now, lane);
        now = next;
    }
    sums.add(now, lane);
    const int64_t first_word = int64_t{blockIdx.x} * rows_together / 32;
    int64_t* out = products.sums + int64_t{blockIdx.z} * 2 * labels.labellings;
#pragma unroll
    for (int n = 0; n < groups; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const int64_t b = labelling + 8 * n + 2 * (lane % 4) + e;
            int within = 0, row = 0;
#pragma unroll
            for (int t = 0; t < tiles; ++t) {
                const int64_t word = first_word + t / 2;
                const uint32_t bits =
                    word < labels.row_words ? labels.rows[word * labels.labellings + b] : 0;
                const uint32_t mine = bits >> (t % 2 * fragment_rows + lane / 4);
#pragma unroll
                for (int lower = 0; lower < 2; ++lower) {
                    const int sum = sums.of_labels[t][n][2 * lower + e];
                    const bool is_labelled = mine >> 8 * lower & 1;
                    within += is_labelled ? sum : 0;
                    row += sum + (is_labelled ? sums.of_rows[t][2 * lower] : 0);
                }
            }
#pragma unroll
            for (int other = 4; other < 32; other *= 2) {
                within += __shfl_xor_sync(~0u, within, other);
                row += __shfl_xor_sync(~0u, row, other);
            }
            if (lane >= 4) continue;
            // whole numbers: in any order
            auto* at = reinterpret_cast<unsigned long long*>(out + b);
            atomicAdd(at, static_cast<unsigned long long>(int64_t{within}));
            atomicAdd(at + labels.labellings, static_cast<unsigned long long>(int64_t{row}));
        }
    }
}

}  // namespace

void digit_products(const DigitProducts& products, cudaStream_t stream) {
    const auto small = [](int64_t n) { return static_cast<unsigned>(n); };
    const dim3 grid = {small(divided_up(products.planes.row_tiles, tiles)),
                       small(divided_up(products.labels.labellings, warps * labellings_together)),
                       small(products.planes.count)};
    launch("digit products", digit_products_of, grid, warps * 32, stream, products);
}

}  // namespace pairtile::gpu
