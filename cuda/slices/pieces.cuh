// The pieces of mass that the rows of two sorted lists share.
#pragma once

#include <cstdint>

namespace pairtile::gpu {

constexpr double quantum = 0x1p-62;  // the share of all mass that a quantum of a row is

struct EvenPiece {
    int64_t i, j;
    int64_t mass;  // in units of 1/(nm); 0: there is no such piece
};

// Where all rows weigh the same. Piece k begins where k steps of the two quantile functions are
// behind it: i of x, which come at the multiples of m, and j of y, at the multiples of n; x first.
struct EvenPieces {
    int64_t n, m;
    double of_x;

    __device__ EvenPieces(int64_t n, int64_t m)
        : n(n), m(m), of_x(static_cast<double>(n) / static_cast<double>(n + m)) {}

    __device__ EvenPiece at(int64_t k) const {
        auto i = static_cast<int64_t>(static_cast<double>(k) * of_x);  // off by one at most
        if (i > k) i = k;
        while (i > 0 && i * m > (k - i + 1) * n) --i;
        while ((k - i) * n >= (i + 1) * m) ++i;
        const int64_t j = k - i;
        if (i >= n || j >= m) return {0, 0, 0};
        const int64_t begin = i * m > j * n ? i * m : j * n;
        const int64_t end = (i + 1) * m < (j + 1) * n ? (i + 1) * m : (j + 1) * n;
        return {i, j, end > begin ? end - begin : 0};
    }
};

}  // namespace pairtile::gpu
