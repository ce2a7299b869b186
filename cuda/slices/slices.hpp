// Sliced transport and energy: project → sort → merge → reduce, a batch of slices at a time.
//
// Every slice is a list of keys, one for each row of a set, and where weights or gradients need
// them the rows beside it. Lists of a set lie `stride_of(rows)` apart. One list is worked on by
// many blocks, each on a fixed share of it, and what they find is added in the order of the shares:
// a result has the same bits every time and on every device.
#pragma once

#include <cuda_runtime.h>

#include "engine/array.hpp"
#include "engine/fork.hpp"
#include "engine/plan.hpp"

namespace pairtile::gpu {

// So that four neighbours in a list can be written at once.
inline int64_t stride_of(int64_t rows) { return divided_up(rows, 8) * 8; }

constexpr int64_t share = 4096;           // pieces, or items, of one block
constexpr int64_t wide_share = 2048;      // where they are staged as 64-bit numbers
constexpr int64_t most_slices = 1 << 20;  // of a batch

// A tile of a matrix product.
constexpr int product_rows = 128;
constexpr int product_cols = 64;

inline int64_t shares_of(int64_t pieces, int64_t of = share) { return divided_up(pieces, of); }

// What a call needs of a batch.
struct Slicing {
    int64_t n, m, d, slices;
    bool wide;      // float64
    bool ranked;    // rows beside the keys
    bool weighted;  // masses in the order of the keys
    bool gradient;
    int64_t beside;  // bytes of each row along each line, beside those that are sorted
    int64_t limit = workspace_limit;  // bytes

    int64_t longest() const { return stride_of(std::max(n, m)); }
    int64_t item_bytes() const { return (wide ? 8 : 4) + (ranked ? 4 : 0); }
};

// One block sorts a list of few rows, and many lists are sorted at once; all blocks together sort
// a long one, and it pays from fewer rows on where there are few lists.
inline bool sorted_by_segment(int64_t rows, int64_t slices) {
    return rows <= 4096 * std::min<int64_t>(slices, 32);
}

// Lists that are sorted beside one another where each is sorted by all blocks: one of a million
// rows does not fill the device.
inline int64_t sorting_lanes(const Slicing& slicing, int64_t in_batch) {
    constexpr int64_t most = 4;
    if (sorted_by_segment(slicing.n, slicing.slices) &&
        sorted_by_segment(slicing.m, slicing.slices)) {
        return 1;
    }
    const int64_t room = slicing.limit / 4 / (slicing.longest() * slicing.item_bytes());
    return std::max<int64_t>(1, std::min({most, room, in_batch}));
}

// Lists that there must be room for beside those that are sorted.
inline int64_t spare_lists(const Slicing& slicing, int64_t in_batch) {
    const bool by_segment = sorted_by_segment(slicing.n, slicing.slices) ||
                            sorted_by_segment(slicing.m, slicing.slices);
    return by_segment ? in_batch : sorting_lanes(slicing, in_batch);
}

// Bytes of a slice, beside those of the lists that all slices share.
inline int64_t bytes_of_slice(const Slicing& slicing) {
    const int64_t longest = slicing.longest();
    int64_t bytes = 2 * longest * slicing.item_bytes();
    bytes += 8 * shares_of(slicing.n + slicing.m, wide_share);
    if (slicing.weighted) bytes += 16 * longest + 16 * shares_of(longest);
    if (slicing.gradient) bytes += (slicing.wide ? 8 : 4) * longest;
    return bytes + slicing.beside * (slicing.n + slicing.m);
}

inline int64_t slices_at_a_time(const Slicing& slicing) {
    int64_t bytes = bytes_of_slice(slicing);
    int64_t fixed = 0;
    const int64_t spare = slicing.longest() * slicing.item_bytes();
    if (spare_lists(slicing, slicing.slices) == slicing.slices) {
        bytes += spare;
    } else {
        fixed = spare * spare_lists(slicing, slicing.slices);
    }
    // sorting costs as much as some 512 features
    constexpr int64_t work = int64_t{1} << 38;
    const int64_t most = std::min({std::max<int64_t>(0, slicing.limit - fixed) / bytes,
                                   work / ((slicing.n + slicing.m) * (slicing.d + 512)),
                                   most_slices, slicing.slices});
    const int64_t batches = divided_up(slicing.slices, std::max<int64_t>(1, most));
    return divided_up(slicing.slices, batches);
}

// What one slice takes at least.
inline int64_t least_bytes(const Slicing& slicing) {
    return bytes_of_slice(slicing) + slicing.longest() * slicing.item_bytes();
}

// Where the lines go: column l of `directions` (d × slices, contiguous), or the axes themselves.
// What is projected is (x·scale − centre).
template <class T>
struct Lines {
    const T* directions;
    int64_t slices;
    int64_t first, count;  // of the batch
    const T* centre;
    double scale;  // a power of two
};

// A robust mean of some rows of both sets, times the scale, rounded so coarsely that whole numbers
// less it are exact.
template <class T>
void slice_centre(const Array& x, const Array& y, double scale, T* centre, cudaStream_t stream);

// Keys of all rows along the lines of the batch, and where asked for the rows beside them.
template <class T>
void project_slices(const Array& rows, const Lines<T>& lines, void* keys, uint32_t* beside,
                    cudaStream_t stream);

// gradient[i][:] += Σ_l slopes[l][i] · line l of the batch
template <class T>
void pull_back_slices(const T* slopes, int64_t rows, int64_t d, const Lines<T>& lines, T* gradient,
                      cudaStream_t stream);

// The rows that are added up by themselves where lines are turned: enough segments to keep a device
// busy, of enough rows each, in no more than the workspace.
struct TurnSegments {
    int64_t segments, rows;

    TurnSegments(int64_t n, int64_t d, int64_t lines) {
        const int64_t tiles = divided_up(d, product_rows) * divided_up(lines, product_cols);
        const int64_t room = workspace_limit / 4 / (8 * d * lines);
        const int64_t most = std::min({divided_up(wanted_blocks, tiles), room, n / 1024});
        rows = divided_up(n, std::max<int64_t>(1, most));
        segments = divided_up(n, rows);
    }
};

// out[l][:] += Σ_i slopes[l][i] · row i: how what the slopes are of changes as line l of the batch
// turns. Of slopes that add up to 0 over both sets, so that the centre does not matter.
template <class T>
void turn_slices(const Array& rows, const T* slopes, const Lines<T>& lines, double* partial,
                 double* out, cudaStream_t stream);

// Lists to be sorted; null rows: keys alone. The rows of equal keys keep their order.
struct Sorting {
    int64_t rows, count;
    bool by_segment;
    void *keys, *spare_keys;
    uint32_t *beside, *spare_beside;
    void* scratch;
    size_t scratch_bytes;  // of each lane
};

// Bytes of scratch memory that each lane needs.
template <class T>
size_t sort_scratch(Sorting sorting, cudaStream_t stream);

// Whether the sorted lists are in the spare memory. Lists that are sorted one by one are dealt out
// to the side streams, each with spare memory for a list and scratch memory of its own.
template <class T>
bool sort_slices(Sorting sorting, const Streams& side, cudaStream_t stream);

// levels[l][k] = quanta of the first k + 1 rows of list l. Whole numbers, which no order of adding
// them up can change.
void slice_levels(const uint32_t* beside, const uint64_t* quanta, int64_t rows, int64_t count,
                  uint64_t* sums, uint64_t* levels, cudaStream_t stream);

// One sorted set of a batch. Levels: null where all rows weigh the same.
struct SortedLists {
    int64_t rows;
    const void* keys;
    const uint32_t* beside;
    const uint64_t* levels;
};

// costs[l] = W_p^p along line l of the batch
template <class T>
void transport_costs(const SortedLists& x, const SortedLists& y, int64_t count, double p,
                     double* partial, double* costs, cudaStream_t stream);

// slopes[l][i] = factors[l] · ∂W_p^p/∂(row i of `own` along line l)
template <class T>
void transport_slopes(const SortedLists& own, const SortedLists& other, int64_t count, double p,
                      const double* factors, T* slopes, cudaStream_t stream);

// costs[l] = 2 ∫ (F − G)² dt along line l, and factor · its derivative
template <class T>
void slice_energies(const SortedLists& x, const SortedLists& y, int64_t count, double* partial,
                    double* costs, cudaStream_t stream);
template <class T>
void energy_slopes(const SortedLists& own, const SortedLists& other, int64_t count, double factor,
                   T* slopes, cudaStream_t stream);

// What the couplings of a batch join: `of_list` places for each of them, in the order of the lists.
// Places without mass are no pieces.
struct Pieces {
    int64_t of_list;
    uint32_t *rows, *columns;  // of x and of y
    double* mass;
    double* squares;  // of distances
};

void list_pieces(const SortedLists& x, const SortedLists& y, int64_t count, const Pieces& out,
                 cudaStream_t stream);

// Σ mass · (‖x_i − y_j‖² / top)^{p/2} of each list, top being the largest of its squares.
void pay_pieces(const Array& x, const Array& y, const Pieces& pieces, int64_t count, double p,
                double* partial, double* tops, double* costs, cudaStream_t stream);

// totals[r] = Σ mass[k] over starts[r] <= k < starts[r + 1]
void total_runs(const int64_t* starts, int64_t runs, const double* mass, double* totals,
                cudaStream_t stream);

// Angles in turns of `count` circles, whose coordinates are the lists c and count + c: over the
// first of them.
template <class T>
void turn_into_angles(void* keys, int64_t rows, int64_t count, cudaStream_t stream);

// distances[c] = W_p of the angles of circle c; `linear`: by way of the uniform distribution, p
// = 2.
template <class T>
void circle_distances(const SortedLists& x, const SortedLists& y, int64_t count, double p,
                      bool linear, double* distances, cudaStream_t stream);

// How two samples differ in each column of a batch: numbers[q · columns + l] are W_1, W_2, the
// largest |F − G|, 2 ∫ (F − G)² dt and ∫ (F − G)² dH, H being the distribution of both;
// quantiles[l][:] those of y less those of x.
struct ColumnNumbers {
    double* numbers;
    int64_t columns;  // of all batches
    const double* levels;
    int64_t level_count;
    double* quantiles;
};

constexpr int64_t column_partials = 5;  // numbers that a share of both lists comes to

template <class T>
void column_statistics(const SortedLists& x, const SortedLists& y, int64_t count, double* partial,
                       const ColumnNumbers& out, cudaStream_t stream);

}  // namespace pairtile::gpu
