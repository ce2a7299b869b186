// Lorentzian distance Σ log(1 + |x_j − y_j|).
#pragma once

#include "pairtile/metric/direct.hpp"
#include "pairtile/metric/power.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

struct Lorentzian : Direct {
    template <class T>
    static PAIRTILE_HD T accumulate(T sum, T x, T y) {
        return sum + log_of_one_plus(magnitude(x - y));
    }
};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
