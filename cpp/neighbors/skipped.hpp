// Whether a search leaves out the tiles that cannot matter, and in which screen.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/skipping.hpp"
#include "neighbors/request.hpp"

namespace pairtile {

// The pairs that a search computes of these queries and references alone, when it skips tiles.
using Pilot = std::function<int64_t(const std::vector<int64_t>& queries,
                                    const std::vector<int64_t>& references, Control& control)>;

// Whether a search is of the kind and size that could skip tiles, for whoever must know it before
// its screen is chosen.
bool may_skip(const SearchRequest& request, int64_t k);

// Null: every tile is computed. The screen may become one of rows as they are, whose error is a
// share of the value: near pairs are what such a search compares.
std::unique_ptr<Skipping> choose_skipping(const SearchRequest& request, Screen& screen, int64_t k,
                                          const Pilot& pilot, Control& control);

// The pairs per query that a search which skips tiles would compute. Two pilots, of a small and of
// a smaller part of both sets, give the power by which their number grows; it is taken to hold up
// to the whole sets.
double expected_pairs_per_row(int64_t queries, int64_t references, bool self, int64_t sample,
                              const Pilot& pilot, Control& control);

}  // namespace pairtile
