// The first coordinates of rotated rows, and the length of the rest: from them alone follows a
// lower bound of every distance, at a fraction of its cost.
//
// With orthonormal directions P and a row x, v(x) = (Px, √(‖x‖² − ‖Px‖²)) is as long as x, and no
// two v are farther apart than their rows are: what is left of either row differs by no less than
// its length does. Their product is likewise not below that of the rows.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/buffer.hpp"
#include "engine/parallel_for.hpp"
#include "engine/source.hpp"
#include "isa/ops.hpp"

namespace pairtile {

struct Frame;

// Orthonormal directions as panels for Ops::product, and what they are off by.
struct Prefix {
    int64_t d = 0;           // features of a row
    int64_t kept = 0;        // coordinates that tiles hold
    int64_t more = 0;        // and that pairs get which these do not exclude
    Buffer<float> panels;    // [panel][d][Ops::cols], padded with zeros
    int64_t directions = 0;  // room for those of a row: whole panels
    // ‖P̂x as computed − Px‖ <= lost·‖x‖ for the first coordinates, and for all
    double lost_kept = 0.0, lost_all = 0.0;
    bool guesses = false;        // no pairs are finished that this leaves
    std::vector<double> origin;  // zeros: what is packed has been centred

    // Numbers of a row in its whole, and in the second step, padded with zeros for Ops::dots.
    int64_t whole_words() const { return guesses ? 0 : padded(d); }
    int64_t more_words() const { return more > 0 ? padded(more + 2) : 0; }
    static int64_t padded(int64_t numbers) { return (numbers + 15) / 16 * 16; }

    // out[i · directions + c]: coordinate c of each of the rows, which lie `stride` apart.
    void turn(const Ops<float>& ops, const float* rows, int64_t stride, int64_t count,
              float* out) const;

    // Of these many directions as rows of [direction][d], float64, of which `kept` and `more` are
    // to be used.
    static std::shared_ptr<const Prefix> of(const std::vector<double>& directions, int64_t d,
                                            int64_t kept, int64_t more, bool guesses = false);
};

// What a turned row is packed from: the length of what is left after the first coordinates and
// after all, and how far (P̂x, length) may be from the exact one.
struct Remainder {
    float after_kept = 0.0f, after_all = 0.0f;
    double off = 0.0;
};
// Of a row with Σ x² = square and these coordinates.
Remainder remainder_of(const Prefix& prefix, const float* coordinates, double square);

// Rows of a sample in the frame, as float32, finite and near to one another.
struct SampledRows {
    int64_t d = 0, count = 0, stride = 0;
    Buffer<float> data;
    std::vector<double> squares;  // Σ x² of each
    std::vector<int64_t> index;   // its row

    const float* row(int64_t i) const { return data.data() + i * stride; }
};
SampledRows sample_rows(const Source& source, const Frame& frame, int64_t most);

// tr(C)² / tr(C²) of the sample's second moments C: how many directions it spreads over.
double effective_dimension(const SampledRows& sample);

// About the first principal directions of the sample, by falling variance: [count][d].
std::vector<double> principal_directions(const SampledRows& sample, int64_t count,
                                         Control& control);

}  // namespace pairtile
