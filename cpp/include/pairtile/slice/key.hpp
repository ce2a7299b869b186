// Numbers as unsigned integers that compare as they do: what projections are sorted by.
//
// −0 is made +0 first, so equal values have equal keys; NaN sorts last or first, by its sign, and
// cannot derail what compares keys.
#pragma once

#include <type_traits>

#include "pairtile/math.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <class T>
PAIRTILE_HD Key<T> key_of_value(T value) {
    using K = Key<T>;
    constexpr int sign_bit = 8 * sizeof(K) - 1;
    const K bits = bits_as<K>(value + T(0));
    // all bits of a negative number flip, only the sign of a positive one
    return bits ^ ((K(0) - (bits >> sign_bit)) | (K(1) << sign_bit));
}

template <class T>
PAIRTILE_HD T value_of_key(Key<T> key) {
    using K = Key<T>;
    constexpr int sign_bit = 8 * sizeof(K) - 1;
    return bits_as<T>(key ^ (((key >> sign_bit) - K(1)) | (K(1) << sign_bit)));
}

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
