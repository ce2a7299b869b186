// Canberra distance Σ |x_j − y_j| / (|x_j| + |y_j|); a feature that is 0 in both rows adds 0.
#pragma once

#include "pairtile/metric/direct.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Canberra : Direct {
    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y) {
        const T size = magnitude(x) + magnitude(y);
        return sum + (size == T{} ? T{} : magnitude(x - y) / size);
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
