#include "kernels/held_contraction.hpp"

#include "engine/multiply_add.cuh"
#include "kernels/held.cuh"

namespace pairtile::gpu {
namespace {

struct OfColumns {
    Columns columns;
    int64_t first;

    __device__ bool row_major() const { return true; }
    __device__ double own(const Held&, const Place&, int64_t) const { return 0.0; }
    __device__ double of(const Held& held, int64_t j, int c) const {
        return columns.element(held.first_reference + j, first + c);
    }
    __device__ double factor(double theirs, double) const { return theirs; }
};

__device__ double feature(const Array& array, const RowScale* scales, int64_t i, int64_t f) {
    if (f >= array.cols) return 0.0;
    return scales ? normalised_element<double>(array, scales[i], i, f)
                  : element<double>(array, i, f);
}

template <Chain chain>
struct OfFeatures {
    bool references_row_major;
    int64_t first;

    __device__ bool row_major() const { return references_row_major; }
    __device__ double own(const Held& held, const Place& place, int64_t c) const {
        if (chain == Chain::reference || !place.has_query()) return 0.0;
        return feature(held.sweep.queries, held.sweep.query_scales, place.query, first + c);
    }
    __device__ double of(const Held& held, int64_t j, int c) const {
        return feature(held.sweep.references, held.sweep.reference_scales, j, first + c);
    }
    __device__ double factor(double theirs, double mine) const {
        if (chain == Chain::reference) return theirs;
        if (chain == Chain::difference) return mine - theirs;
        return mine > theirs ? 1.0 : (mine < theirs ? -1.0 : 0.0);
    }
};

template <class Source>
struct HeldMultiplyAdd {
    const Held& held;
    const Place& place;
    const Source& source;
    Factors& factors;
    double own[columns_per_thread];
    Sum sums[columns_per_thread];

    __device__ void operator()(const HeldPairs&, int64_t first) {
        __syncthreads();  // nothing is staged between two tiles
#pragma unroll
        for (int p = 0; p < pairs_per_thread; ++p) {
            const int64_t j = first + place.column(p);
            const bool counts = place.has_query() && j < place.end;
            factors.tile[place.column(p)][place.row] =
                counts ? held.at(j, place.query - held.sweep.first_row) : 0.0;
        }
        const bool row_major = source.row_major();
        for (int e = static_cast<int>(threadIdx.x); e < tile_cols * contraction_width;
             e += block_threads) {
            const int j = row_major ? e / contraction_width : e % tile_cols;
            const int c = row_major ? e % contraction_width : e / tile_cols;
            factors.columns[j][c] = first + j < place.end ? source.of(held, first + j, c) : 0.0;
        }
        __syncthreads();
        multiply_add(factors, place, sums,
                     [&](double theirs, int c) { return source.factor(theirs, own[c]); });
    }
};

template <class Source>
__global__ void __launch_bounds__(block_threads, 2)
    held_contraction_sweep(const __grid_constant__ Held held, const __grid_constant__ Source source,
                           double* partial) {
    __shared__ Factors factors;
    const Place place(held.sweep);
    HeldMultiplyAdd<Source> fold{held, place, source, factors, {}, {}};
#pragma unroll
    for (int c = 0; c < columns_per_thread; ++c) {
        fold.own[c] = source.own(held, place, place.slot * columns_per_thread + c);
    }
    run(held.sweep, place, HeldPairs{}, fold);
    keep_columns(partial, held.sweep, place, fold.sums);
}

__global__ void __launch_bounds__(block_threads)
    held_contraction_merge(const __grid_constant__ Held held,
                           const __grid_constant__ ProductOut product) {
    merge_columns(product.partial, held.sweep, product.factor, product.columns, product.out,
                  product.stride);
}

template <class Source>
void contract_with(const Held& held, const Source& source, const ProductOut& product,
                   cudaStream_t stream) {
    launch("held contraction sweep", held_contraction_sweep<Source>, grid_of(held.sweep),
           block_threads, stream, held, source, product.partial);
    launch("held contraction merge", held_contraction_merge, thread_per_entry(held.sweep),
           block_threads, stream, held, product);
}

}  // namespace

void held_contract(const Held& held, const Columns& columns, int64_t first_column,
                   const ProductOut& product, cudaStream_t stream) {
    contract_with(held, OfColumns{columns, first_column}, product, stream);
}

void held_contract_features(const Held& held, Chain chain, int64_t first_feature,
                            const ProductOut& product, cudaStream_t stream) {
    const bool row_major = held.sweep.references.row_major();
    switch (chain) {
        case Chain::reference:
            return contract_with(held, OfFeatures<Chain::reference>{row_major, first_feature},
                                 product, stream);
        case Chain::difference:
            return contract_with(held, OfFeatures<Chain::difference>{row_major, first_feature},
                                 product, stream);
        case Chain::sign:
            return contract_with(held, OfFeatures<Chain::sign>{row_major, first_feature}, product,
                                 stream);
    }
}

}  // namespace pairtile::gpu
