// How two samples differ column by column, off their sorted lists: one walk over both merged, their
// pieces for W_2, and quantiles.
#include "pairtile/slice/column.hpp"
#include "pairtile/slice/key.hpp"
#include "slices/merge.cuh"
#include "slices/pieces.cuh"

namespace pairtile::gpu {
namespace {

// Both lists of a column, in a unit in which no square leaves float64.
template <class T>
struct Column {
    const Key<T>*x, *y;
    int64_t n, m;
    double scale;

    __device__ Column(const SortedLists& of_x, const SortedLists& of_y, int64_t x_stride,
                      int64_t y_stride, int64_t list)
        : x(static_cast<const Key<T>*>(of_x.keys) + list * x_stride),
          y(static_cast<const Key<T>*>(of_y.keys) + list * y_stride),
          n(of_x.rows),
          m(of_y.rows) {
        double largest = 0.0;
        const Key<T> ends[] = {x[0], x[n - 1], y[0], y[m - 1]};
        for (const Key<T> end : ends) {
            largest = fmax(largest, fabs(static_cast<double>(value_of_key<T>(end))));
        }
        scale = scale_near_one(largest);
    }
    __device__ double scaled(Key<T> key) const {
        return scale * static_cast<double>(value_of_key<T>(key));
    }
};

// How many of the first i keys are this one, which is none of those before it.
template <class K>
__device__ int64_t equal_before(const K* keys, int64_t i, K key) {
    if (i == 0 || keys[i - 1] != key) return 0;
    if (i == 1 || keys[i - 2] != key) return 1;
    return i - first_not(0, i, [=](int64_t p) { return keys[p] < key; });
}

constexpr int walk_numbers = 4;

// Over the merged values, F − G being an exact integer in units of 1/(nm) between two of them: sums
// of |F − G| and of (F − G)² by what lies between, of (F − G)² by ranks, and the largest |F − G|.
// Between equal values it is not looked at.
template <class T>
__global__ void __launch_bounds__(block_threads)
    walk_columns(SortedLists x, SortedLists y, int64_t x_stride, int64_t y_stride, int64_t shares,
                 double* partial) {
    const Part part(shares);
    const Column<T> column(x, y, x_stride, y_stride, part.list);
    double first = 0.0, square = 0.0, by_rank = 0.0, largest = 0.0;
    double previous = 0.0, equal = 0.0;
    Key<T> last = 0;
    walk_merged(
        column.x, column.n, column.y, column.m, part.index,
        [&](const Cursor& at) {
            if (at.i + at.j == 0) return;
            const Key<T> by_x = at.i ? column.x[at.i - 1] : 0, by_y = at.j ? column.y[at.j - 1] : 0;
            last = by_x > by_y ? by_x : by_y;
            previous = column.scaled(last);
            equal = static_cast<double>(equal_before(column.x, at.i, last) +
                                        equal_before(column.y, at.j, last));
        },
        [&](const Cursor& at, bool, Key<T> key) {
            const double value = column.scaled(key);
            const double height = static_cast<double>(at.i * column.m - at.j * column.n);
            const double size = fabs(height);
            if (height != 0.0) {
                first += size * (value - previous);
                square += height * height * (value - previous);
            }
            if (key != last) {
                by_rank += equal * height * height;
                largest = fmax(largest, size);
                equal = 0.0;
            }
            equal += 1.0;
            last = key;
            previous = value;
        });
    const double found[walk_numbers] = {block_total(first), block_total(square),
                                        block_total(by_rank), block_largest(largest)};
    if (threadIdx.x != 0) return;
    for (int q = 0; q < walk_numbers; ++q) {
        partial[int64_t{q} * gridDim.x + blockIdx.x] = found[q];
    }
}

// W_2² in units of 1/n, or of 1/(nm) where the samples are of two sizes.
template <class T, bool equal_sizes>
__global__ void __launch_bounds__(block_threads)
    square_columns(SortedLists x, SortedLists y, int64_t x_stride, int64_t y_stride, int64_t shares,
                   double* partial) {
    const Part part(shares);
    const Column<T> column(x, y, x_stride, y_stride, part.list);
    const EvenPieces pieces(column.n, column.m);
    const auto square = [&](int64_t i, int64_t j) {
        const double apart = column.scaled(column.x[i]) - column.scaled(column.y[j]);
        return apart * apart;
    };
    double sum = 0.0;
    for (int s = 0; s < share / block_threads; ++s) {
        const int64_t k = part.index * share + s * block_threads + threadIdx.x;
        if constexpr (equal_sizes) {
            if (k < column.n) sum += square(k, k);
        } else if (k < column.n + column.m) {
            const EvenPiece piece = pieces.at(k);
            if (piece.mass > 0) sum += static_cast<double>(piece.mass) * square(piece.i, piece.j);
        }
    }
    sum = block_total(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// A block for each column: what the shares of its list came to, in the units of the data, and the
// differences of quantiles.
template <class T>
__global__ void __launch_bounds__(block_threads)
    finish_columns(SortedLists x, SortedLists y, int64_t x_stride, int64_t y_stride,
                   int64_t walk_shares, int64_t square_shares, const double* partial,
                   ColumnNumbers out) {
    const int64_t list = blockIdx.x, lists = gridDim.x;
    const Column<T> column(x, y, x_stride, y_stride, list);
    const auto number = [&](int64_t q) { return partial + (q * lists + list) * walk_shares; };
    double sums[walk_numbers] = {}, squares = 0.0;
    for (int64_t s = threadIdx.x; s < walk_shares; s += block_threads) {
        for (int q = 0; q < 3; ++q) sums[q] += number(q)[s];
        sums[3] = fmax(sums[3], number(3)[s]);
    }
    const double* of_squares = partial + walk_numbers * lists * walk_shares + list * square_shares;
    for (int64_t s = threadIdx.x; s < square_shares; s += block_threads) squares += of_squares[s];
    const double first = block_total(sums[0]), square = block_total(sums[1]);
    const double by_rank = block_total(sums[2]), largest = block_largest(sums[3]);
    squares = block_total(squares);
    const double n = static_cast<double>(column.n), m = static_cast<double>(column.m);
    const double pairs = n * m;
    if (threadIdx.x == 0) {
        double* to = out.numbers + list;
        to[0] = first / pairs / column.scale;
        to[out.columns] = sqrt(squares / (column.n == column.m ? n : pairs)) / column.scale;
        to[2 * out.columns] = largest / pairs;
        to[3 * out.columns] = 2.0 * (square / pairs / pairs) / column.scale;
        to[4 * out.columns] = by_rank / pairs / pairs / (n + m);
    }
    for (int64_t q = threadIdx.x; q < out.level_count; q += block_threads) {
        const double level = out.levels[q];
        const double of_x =
            column_quantile(column.n, level, [&](int64_t i) { return column.scaled(column.x[i]); });
        const double of_y =
            column_quantile(column.m, level, [&](int64_t j) { return column.scaled(column.y[j]); });
        out.quantiles[list * out.level_count + q] = (of_y - of_x) / column.scale;
    }
}

}  // namespace

template <class T>
void column_statistics(const SortedLists& x, const SortedLists& y, int64_t count, double* partial,
                       const ColumnNumbers& out, cudaStream_t stream) {
    const int64_t x_stride = stride_of(x.rows), y_stride = stride_of(y.rows);
    const int64_t walk_shares = shares_of(x.rows + y.rows, merged_share<Key<T>>);
    const bool equal = x.rows == y.rows;
    const int64_t square_shares = shares_of(equal ? x.rows : x.rows + y.rows);
    double* of_squares = partial + walk_numbers * count * walk_shares;
    launch("walk_columns", walk_columns<T>, block_per_share(count, walk_shares), block_threads,
           stream, x, y, x_stride, y_stride, walk_shares, partial);
    launch("square_columns", equal ? square_columns<T, true> : square_columns<T, false>,
           block_per_share(count, square_shares), block_threads, stream, x, y, x_stride, y_stride,
           square_shares, of_squares);
    launch("finish_columns", finish_columns<T>, static_cast<unsigned>(count), block_threads, stream,
           x, y, x_stride, y_stride, walk_shares, square_shares, partial, out);
}

#define PT_INSTANTIATE(T)                                                                        \
    template void column_statistics<T>(const SortedLists&, const SortedLists&, int64_t, double*, \
                                       const ColumnNumbers&, cudaStream_t);
PT_INSTANTIATE(float)
PT_INSTANTIATE(double)
#undef PT_INSTANTIATE

}  // namespace pairtile::gpu
