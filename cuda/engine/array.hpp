// Where rows come from: arrays in device memory of any supported dtype and stride, read element by
// element into the working type while a tile is staged. Inputs are never written or copied whole.
#pragma once

#include <cmath>

#include "pairtile/math.hpp"

namespace pairtile::gpu {

enum class Dtype : int { float16, bfloat16, int8, uint8, float32, float64 };

struct Array {
    const char* data;
    int64_t rows, cols;
    int64_t row_stride, col_stride;  // bytes, any sign
    Dtype dtype;
    const int64_t* order = nullptr;  // which row of the data each row is; null: as they lie

    PAIRTILE_HD int64_t row(int64_t i) const { return order ? order[i] : i; }

    // Whether the features of a row lie closer together than the rows: the order to read in.
    PAIRTILE_HD bool row_major() const {
        const int64_t row = row_stride < 0 ? -row_stride : row_stride;
        const int64_t col = col_stride < 0 ? -col_stride : col_stride;
        return col <= row;
    }
};

// What divides a row where rows are L2-normalised: x → (x·2^−exponent − first − mean) / norm. Norm
// 0: a zero row. `first` and `mean` are 0 unless rows are taken less their means.
struct RowScale {
    double norm;
    int64_t exponent;
    double first, mean;
};

// Widened without rounding: a half's bits, moved to where a float has them, are the number ·
// 2^−112.
PAIRTILE_HD float from_float16(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
    const uint32_t size = static_cast<uint32_t>(half & 0x7fff) << 13;
    if (size >= 0x0f800000u) return bits_as<float>(sign | 0x7f800000u | (size & 0x007fffffu));
    const float value = bits_as<float>(size) * bits_as<float>(uint32_t{239} << 23);
    return bits_as<float>(sign | bits_as<uint32_t>(value));
}

template <class T>
PAIRTILE_HD T element(const Array& array, int64_t i, int64_t j) {
    const char* at = array.data + i * array.row_stride + j * array.col_stride;
    switch (array.dtype) {
        case Dtype::float16:
            return from_float16(*reinterpret_cast<const uint16_t*>(at));
        case Dtype::bfloat16:
            return bits_as<float>(static_cast<uint32_t>(*reinterpret_cast<const uint16_t*>(at))
                                  << 16);
        case Dtype::int8:
            return *reinterpret_cast<const int8_t*>(at);
        case Dtype::uint8:
            return *reinterpret_cast<const uint8_t*>(at);
        case Dtype::float32:
            return *reinterpret_cast<const float*>(at);
        case Dtype::float64:
            break;
    }
    return static_cast<T>(*reinterpret_cast<const double*>(at));
}

// The same of the normalised row, divided in float64; a zero row stays zero.
template <class T>
PAIRTILE_HD T normalised_element(const Array& array, const RowScale& scale, int64_t i, int64_t j) {
    if (scale.norm == 0.0) return T(0);
    const double x = element<double>(array, i, j);
    const double scaled = ldexp(x, static_cast<int>(-scale.exponent));
    return static_cast<T>((scaled - scale.first - scale.mean) / scale.norm);
}

}  // namespace pairtile::gpu
