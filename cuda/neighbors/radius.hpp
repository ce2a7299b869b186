// Who lies within a radius: counts per query and per reference, and the neighbours themselves. The
// counting fold on the GPU.
#pragma once

#include <cuda_runtime.h>

#include "engine/sweep.hpp"

namespace pairtile::gpu {

// How a distance is compared with a radius: as it would be returned.
struct Ball {
    bool closed;           // a pair exactly at the radius is inside
    bool narrow;           // distances are rounded to float32, as radii are
    bool negated = false;  // the largest come first: their negatives are compared

    // False for NaN.
    PAIRTILE_HD bool holds(double distance, double radius) const {
        if (negated) distance = -distance;
        if (narrow) distance = static_cast<float>(distance);
        return closed ? distance <= radius : distance < radius;
    }
};

// Which pairs are compared with a radius, and how.
struct Within {
    Sweep sweep;
    Metric metric;
    bool exclude_self;
    Ball ball;
};

// The pairs inside these radii, added to what is counted already; null pointers are not asked for.
struct RadiusCounts {
    const double* radii;  // one per query or one per reference
    int64_t* of_queries;
    int64_t* of_references;
};

// A CSR matrix whose rows begin at indptr. `next` is a copy of that, up to where a row is filled.
struct RadiusRows {
    const int64_t* indptr;
    int64_t* next;
    int64_t* indices;
    double* values;  // ordered canonical values
};

constexpr int64_t radius_state_bytes = 0;  // counts are added up where they are returned
constexpr int64_t radius_least_width = 256;

void radius_counts(const Within& within, const RadiusCounts& by_query_radii,
                   const RadiusCounts& by_reference_radii, cudaStream_t stream);

// Fills the rows of the sweep with what lies within the radii of the queries, in any order.
void radius_neighbors(const Within& within, const double* radii, const RadiusRows& rows,
                      cudaStream_t stream);

// Puts `count` filled rows into the order of (value, index), and writes the distances as D.
template <class D>
void sort_radius_rows(const Metric& metric, int64_t first, int64_t count, const RadiusRows& rows,
                      D* distances, cudaStream_t stream);

}  // namespace pairtile::gpu
