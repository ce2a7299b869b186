// A block of K is held, and beside it, one after the other, the same places of L in each order.
#include "kernels/joint.hpp"

#include "kernels/held.cuh"

namespace pairtile::gpu {
namespace {

// Sums of K, of L and of their products over the references of a row.
struct Joint {
    double x = 0.0, y = 0.0, xy = 0.0, xx = 0.0, yy = 0.0;

    __device__ void push(double k, double l) {
        x += k;
        y += l;
        xy += k * l;
        xx += k * k;
        yy += l * l;
    }
    __device__ void merge(const Joint& other) {
        x += other.x;
        y += other.y;
        xy += other.xy;
        xx += other.xx;
        yy += other.yy;
    }
};
static_assert(sizeof(Joint) * slots <= 64 * sizeof(double));

struct JointSum {
    const Held& held;
    const double* beside;
    const Place& place;
    Joint sum;

    __device__ void operator()(const HeldPairs&, int64_t first) {
        if (!place.has_query()) return;
        const int64_t row = place.query - held.sweep.first_row;
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            if (j < place.end) sum.push(held.at(j, row), beside[j * held.sweep.rows + row]);
        }
    }
};

__global__ void __launch_bounds__(block_threads)
    joint_sweep(const __grid_constant__ Held held, const double* beside, Joint* states) {
    const Place place(held.sweep);
    JointSum fold{held, beside, place, {}};
    run(held.sweep, place, HeldPairs{}, fold);
    keep(states, held.sweep, place, fold.sum);
}

__global__ void __launch_bounds__(block_threads)
    joint_merge(const __grid_constant__ Held held, const Joint* states,
                const __grid_constant__ JointRows out, int64_t order, int64_t orders) {
    const int64_t row = row_of_thread(), rows = held.sweep.rows;
    if (row >= rows) return;
    const Joint all = merged(states, held.sweep, row);
    out.numbers[order * rows + row] += all.xy;
    if (order > 0) return;
    out.x_rows[held.sweep.first_row + row] += all.x;
    out.y_rows[held.sweep.first_row + row] += all.y;
    out.numbers[orders * rows + row] += all.xx;
    out.numbers[(orders + 1) * rows + row] += all.yy;
}

// A block for some rows of one order.
__global__ void __launch_bounds__(block_threads)
    permuted_products_of(const double* k, const double* l, int64_t n, const int64_t* orders,
                         double* parts) {
    const int64_t* order = orders + int64_t{blockIdx.x} * n;
    double sum = 0.0;
    for (int64_t i = blockIdx.y; i < n; i += gridDim.y) {
        const double* of_row = l + order[i] * n;
        for (int64_t j = threadIdx.x; j < n; j += block_threads) {
            sum += k[i * n + j] * of_row[order[j]];
        }
    }
    const double total = total_of_block(sum);
    if (threadIdx.x == 0) parts[int64_t{blockIdx.x} * gridDim.y + blockIdx.y] = total;
}

// The sweep of another order of the same rows.
Sweep in_order(Sweep sweep, int64_t order) {
    const int64_t queries = order * sweep.queries.rows, references = order * sweep.references.rows;
    sweep.queries.data += queries * sweep.queries.row_stride;
    sweep.references.data += references * sweep.references.row_stride;
    if (sweep.query_scales) {
        sweep.query_scales += queries;
        sweep.reference_scales += references;
    }
    return sweep;
}

}  // namespace

void joint_kernel_sums(const KernelSpace& x, const KernelSpace& y, int64_t orders, bool itself,
                       const HeldMemory& memory, const JointRows& out, cudaStream_t stream) {
    const int64_t n = x.sweep.references.rows;
    auto* states = reinterpret_cast<Joint*>(memory.block(2));
    for (int64_t first = 0; first < n; first += held_width(x.sweep.rows, memory.pairs)) {
        const Held k = block_of(x.sweep, first, itself, memory);
        hold_values(k, x.terms, x.shift, stream);
        for (int64_t order = 0; order < orders; ++order) {
            const Held l = block_of(in_order(y.sweep, order), first, itself, memory, 1);
            hold_values(l, y.terms, y.shift, stream);
            launch("joint sweep", joint_sweep, grid_of(k.sweep), block_threads, stream, k, l.values,
                   states);
            launch("joint merge", joint_merge, thread_per_row(k.sweep), block_threads, stream, k,
                   states, out, order, orders);
        }
    }
}

void kernel_matrix(const KernelSpace& space, bool itself, int64_t after, double* matrix,
                   cudaStream_t stream) {
    Held held = {space.sweep, after, itself, matrix};
    held.sweep.cut = cut_block(held.sweep.rows, held.sweep.references.rows);
    hold_values(held, space.terms, space.shift, stream);
}

void permuted_products(const double* k, const double* l, int64_t n, const int64_t* orders,
                       int64_t count, double* parts, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(permuted_parts));
    launch("permuted products", permuted_products_of, grid, block_threads, stream, k, l, n, orders,
           parts);
}

}  // namespace pairtile::gpu
