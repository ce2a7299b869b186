// Transport plans in space that lines give: the pieces of each coupling by the rows that it joins,
// and what they cost there.
#include "slices/merge.cuh"
#include "slices/pieces.cuh"

namespace pairtile::gpu {
namespace {

// Pieces lie where they begin in the merged lists, those without mass too; of samples of one size
// whose rows weigh the same, by their rank.
__global__ void __launch_bounds__(block_threads)
    list_even(SortedLists x, SortedLists y, int64_t x_stride, int64_t y_stride, int64_t shares,
              bool one_to_one, Pieces out) {
    const Part part(shares);
    const uint32_t* of_x = x.beside + part.list * x_stride;
    const uint32_t* of_y = y.beside + part.list * y_stride;
    const int64_t first = part.list * out.of_list;
    const EvenPieces pieces(x.rows, y.rows);
    const double pairs = static_cast<double>(x.rows) * static_cast<double>(y.rows);
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t k = part.index * share + s * block_threads + threadIdx.x;
        if (k >= out.of_list) break;
        const EvenPiece piece = one_to_one ? EvenPiece{k, k, y.rows} : pieces.at(k);
        out.rows[first + k] = of_x[piece.i];
        out.columns[first + k] = of_y[piece.j];
        out.mass[first + k] = static_cast<double>(piece.mass) / pairs;
    }
}

// What one row weighs.
__device__ uint64_t weight_of(const uint64_t* levels, int64_t i) {
    return levels[i] - (i ? levels[i - 1] : 0);
}

// Levels of both that are apart by no more than weights were rounded to whole quanta, and by far
// less than either row weighs, are one: the sliver between them is no piece.
__global__ void __launch_bounds__(block_threads)
    list_weighted(SortedLists x, SortedLists y, int64_t x_stride, int64_t y_stride, int64_t shares,
                  Pieces out) {
    const Part part(shares);
    const uint32_t* of_x = x.beside + part.list * x_stride;
    const uint32_t* of_y = y.beside + part.list * y_stride;
    const uint64_t* x_levels = x.levels + part.list * x_stride;
    const uint64_t* y_levels = y.levels + part.list * y_stride;
    const int64_t first = part.list * out.of_list;
    uint64_t level = 0;
    walk_merged(
        x_levels, x.rows, y_levels, y.rows, part.index,
        [&](const Cursor& at) {
            const uint64_t by_x = at.i ? x_levels[at.i - 1] : 0;
            const uint64_t by_y = at.j ? y_levels[at.j - 1] : 0;
            level = by_x > by_y ? by_x : by_y;
        },
        [&](const Cursor& at, bool, uint64_t next) {
            const int64_t k = first + at.i + at.j;
            bool there = next > level && at.i < x.rows && at.j < y.rows;
            if (there && next - level <= static_cast<uint64_t>(x.rows + y.rows)) {
                const uint64_t thousand = 1000 * (next - level);
                there =
                    thousand >= weight_of(x_levels, at.i) || thousand >= weight_of(y_levels, at.j);
            }
            out.rows[k] = of_x[there ? at.i : 0];
            out.columns[k] = of_y[there ? at.j : 0];
            out.mass[k] = there ? static_cast<double>(next - level) * quantum : 0.0;
            level = next;
        });
}

// Squared distances of the rows that pieces join, several lanes to a piece, and the largest of a
// share.
__global__ void __launch_bounds__(block_threads)
    price_pieces(Array x, Array y, Pieces pieces, int64_t shares, int lanes, double* largest) {
    const Part part(shares);
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    const int at_once = block_threads / lanes;
    const int64_t first = part.list * pieces.of_list;
    double most = 0.0;
    for (int s = 0; s < share; s += at_once) {
        const int64_t k = part.index * share + s + threadIdx.x / lanes;
        const bool there = k < pieces.of_list && pieces.mass[first + k] > 0.0;
        double sum = 0.0;
        if (there) {
            const int64_t i = pieces.rows[first + k], j = pieces.columns[first + k];
            for (int64_t f = lane; f < x.cols; f += lanes) {
                const double apart = element<double>(x, i, f) - element<double>(y, j, f);
                sum += apart * apart;
            }
        }
        for (int distance = lanes / 2; distance; distance /= 2) {
            sum += __shfl_xor_sync(all_lanes, sum, distance);
        }
        if (lane == 0 && k < pieces.of_list) pieces.squares[first + k] = sum;
        most = fmax(most, sum);
    }
    most = block_largest(most);
    if (threadIdx.x == 0) largest[blockIdx.x] = most;
}

// Of each list.
__global__ void __launch_bounds__(block_threads)
    largest_of_lists(const double* largest, int64_t shares, double* tops) {
    const double* own = largest + int64_t{blockIdx.x} * shares;
    double most = 0.0;
    for (int64_t s = threadIdx.x; s < shares; s += block_threads) most = fmax(most, own[s]);
    most = block_largest(most);
    if (threadIdx.x == 0) tops[blockIdx.x] = most;
}

// p-th powers in units of the largest distance of the list, where none leaves float64.
__global__ void __launch_bounds__(block_threads)
    pay_powers(Pieces pieces, int64_t shares, double half_p, const double* tops, double* partial) {
    const Part part(shares);
    const int64_t first = part.list * pieces.of_list;
    const double top = tops[part.list] > 0.0 ? tops[part.list] : 1.0;
    double sum = 0.0;
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t k = part.index * share + s * block_threads + threadIdx.x;
        if (k >= pieces.of_list) break;
        const double ratio = pieces.squares[first + k] / top;
        sum += pieces.mass[first + k] * (half_p == 1.0 ? ratio : pow(ratio, half_p));
    }
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// A thread for each run, whose masses are added in their order.
__global__ void __launch_bounds__(block_threads)
    add_runs(const int64_t* starts, int64_t runs, const double* mass, double* totals) {
    const int64_t run = int64_t{blockIdx.x} * block_threads + threadIdx.x;
    if (run >= runs) return;
    double sum = 0.0;
    for (int64_t k = starts[run]; k < starts[run + 1]; ++k) sum += mass[k];
    totals[run] = sum;
}

}  // namespace

void list_pieces(const SortedLists& x, const SortedLists& y, int64_t count, const Pieces& out,
                 cudaStream_t stream) {
    const int64_t x_stride = stride_of(x.rows), y_stride = stride_of(y.rows);
    if (x.levels) {
        const int64_t shares = shares_of(x.rows + y.rows, merged_share<uint64_t>);
        launch("list_pieces", list_weighted, block_per_share(count, shares), block_threads, stream,
               x, y, x_stride, y_stride, shares, out);
        return;
    }
    const int64_t shares = shares_of(out.of_list);
    launch("list_pieces", list_even, block_per_share(count, shares), block_threads, stream, x, y,
           x_stride, y_stride, shares, out.of_list < x.rows + y.rows, out);
}

void pay_pieces(const Array& x, const Array& y, const Pieces& pieces, int64_t count, double p,
                double* partial, double* tops, double* costs, cudaStream_t stream) {
    const int64_t shares = shares_of(pieces.of_list);
    const unsigned blocks = block_per_share(count, shares);
    int lanes = 1;
    while (lanes < 32 && 4 * lanes < x.cols) lanes *= 2;
    launch("price_pieces", price_pieces, blocks, block_threads, stream, x, y, pieces, shares, lanes,
           partial);
    launch("largest_of_lists", largest_of_lists, static_cast<unsigned>(count), block_threads,
           stream, partial, shares, tops);
    launch("pay_pieces", pay_powers, blocks, block_threads, stream, pieces, shares, p / 2, tops,
           partial);
    finish_costs(partial, count, shares, 1.0, costs, stream);
}

void total_runs(const int64_t* starts, int64_t runs, const double* mass, double* totals,
                cudaStream_t stream) {
    launch("total_runs", add_runs, static_cast<unsigned>(divided_up(runs, block_threads)),
           block_threads, stream, starts, runs, mass, totals);
}

}  // namespace pairtile::gpu
