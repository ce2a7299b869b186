// Bray–Curtis dissimilarity Σ |x_j − y_j| / Σ |x_j + y_j|; 0 where both sums are.
#pragma once

#include "pairtile/metric/direct.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct BrayCurtis : Direct {
    static constexpr int sums = 2;

    template <int sum, class T>
    static PAIRTILE_HD T accumulate(T so_far, T x, T y) {
        return so_far + magnitude(sum == 0 ? x - y : x + y);
    }
    template <class T>
    static PAIRTILE_HD T order(T apart, T together) {
        return apart == T{} && together == T{} ? T{} : apart / together;
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
