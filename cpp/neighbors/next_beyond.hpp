// Of some rows of a set and others listed for each: the row of another group that is next farther
// than the listed one.
#pragma once

#include "engine/parallel_for.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// Anchors, which are rows of the set, and the rows that are listed for each.
struct ListedRows {
    const int64_t *anchors, *indptr, *rows;
    int64_t count;  // of anchors

    int64_t entries() const { return indptr[count]; }
};

// An entry for each listed row.
struct NextBeyond {
    double *to_listed, *to_next;  // ordered canonical values
    int64_t* next;                // −1 if the anchor's group is the only one
};

// The anchor's value with the listed row, and the row of another group with the least value above
// it, or where none is, with the largest value; of equal values the smallest index. Queries and
// references of the request are one set. Not for metrics that have the largest values first.
void next_beyond(const SearchRequest& request, const int64_t* groups, const ListedRows& listed,
                 Control& control, const NextBeyond& out);

}  // namespace pairtile
