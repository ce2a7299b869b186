// The frame that rows are packed in: a centre taken off, a power of two as the scale. Chosen from
// the data before any pair is computed; never depends on the number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/parallel_for.hpp"
#include "engine/source.hpp"

namespace pairtile {

// The affine frame of the packed rows: (x − centre)·scale.
struct Frame {
    std::vector<double> centre;
    double scale = 1.0;
    bool narrow = false;          // centre and scale are float32 numbers, as both sources are
    bool integral = false;        // every (x − centre)·scale is an integer
    double largest = 0.0;         // max |(x − centre)·scale|
    double largest_square = 0.0;  // max ‖(x − centre)·scale‖² over all rows
    bool has_zero_row = false;    // before centring
    bool extreme = false;         // squares of the raw data leave the range of float64
};

// Rows as they are.
Frame raw_frame(int64_t d);

// `centred` for what is invariant to translation. Both sources share one frame. Reads every row.
Frame choose_frame(const Source& x, const Source& y, bool centred, Control& control);

// The same from a sample of the rows. The centre and the scale are those of all rows as well; norms
// and ranges are of the sample alone, so the error of a row must follow from its own norm.
constexpr int64_t centre_sample = 4096;
constexpr int64_t sample_bytes = int64_t{8} << 20;  // held of it at once
Frame sample_frame(const Source& x, const Source& y, bool centred, int64_t most = centre_sample);

// The frame of references alone, for a search of these queries among them: what holds of every row
// of both. Exact frames read every query.
Frame frame_for_queries(Frame frame, const Source& queries, Control& control);

}  // namespace pairtile
