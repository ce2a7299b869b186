#include "engine/source.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/isa.hpp"
#include "pairtile/math.hpp"

namespace pairtile {
namespace {

template <class Bits>
Bits load_bits(const char* at, bool swapped) {
    Bits bits;
    std::memcpy(&bits, at, sizeof bits);
    if (swapped) {
        if constexpr (sizeof(Bits) == 2) bits = __builtin_bswap16(bits);
        if constexpr (sizeof(Bits) == 4) bits = __builtin_bswap32(bits);
        if constexpr (sizeof(Bits) == 8) bits = __builtin_bswap64(bits);
    }
    return bits;
}

float from_float16(uint16_t bits) {
    // the exponent as float32 has it; what float16 holds as a subnormal becomes normal by itself
    float value = bits_as<float>(static_cast<uint32_t>(bits & 0x7fff) << 13) * 0x1p112f;
    if ((bits & 0x7c00) == 0x7c00) value = bits & 0x03ff ? NAN : INFINITY;
    return bits & 0x8000 ? -value : value;
}

float from_bfloat16(uint16_t bits) { return bits_as<float>(static_cast<uint32_t>(bits) << 16); }

template <class Out, class Convert>
void read_strided(const Array& array, int64_t row, Out* out, Convert convert) {
    const char* at = array.data + row * array.row_stride;
    for (int64_t j = 0; j < array.cols; ++j, at += array.col_stride) {
        out[j] = static_cast<Out>(convert(at));
    }
}

template <class Out>
void read_as(const Array& array, int64_t row, Out* out) {
    const bool swap = array.swapped;
    switch (array.dtype) {
        case Dtype::float64:
            return read_strided(array, row, out, [swap](const char* at) {
                return bits_as<double>(load_bits<uint64_t>(at, swap));
            });
        case Dtype::float32:
            if (array.contiguous_native()) {
                const float* in =
                    reinterpret_cast<const float*>(array.data + row * array.row_stride);
                for (int64_t j = 0; j < array.cols; ++j) out[j] = in[j];
                return;
            }
            return read_strided(array, row, out, [swap](const char* at) {
                return bits_as<float>(load_bits<uint32_t>(at, swap));
            });
        case Dtype::float16:
            return read_strided(array, row, out, [swap](const char* at) {
                return from_float16(load_bits<uint16_t>(at, swap));
            });
        case Dtype::bfloat16:
            return read_strided(array, row, out, [swap](const char* at) {
                return from_bfloat16(load_bits<uint16_t>(at, swap));
            });
        case Dtype::int8:
            return read_strided(array, row, out,
                                [](const char* at) { return static_cast<int8_t>(*at); });
        case Dtype::uint8:
            return read_strided(array, row, out,
                                [](const char* at) { return static_cast<uint8_t>(*at); });
    }
}

}  // namespace

bool Array::contiguous_native() const {
    const int64_t size = dtype == Dtype::float64 ? 8 : 4;
    return !swapped && (col_stride == size || cols == 1) &&
           reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(size) == 0 &&
           row_stride % size == 0;
}

void Array::read(int64_t row, double* out) const { read_as(*this, row, out); }
void Array::read(int64_t row, float* out) const { read_as(*this, row, out); }

void LinearMap::apply(double* row) const {
    const size_t d = centre.size();
    if (!diagonal.empty()) {
        for (size_t j = 0; j < d; ++j) row[j] = (row[j] - centre[j]) * diagonal[j];
        return;
    }
    std::vector<double> image(d);
    for (size_t j = 0; j < d; ++j) {
        const double x = row[j] - centre[j];
        const double* column = columns.data() + j * d;
        for (size_t i = 0; i < d; ++i) image[i] += column[i] * x;
    }
    std::copy(image.begin(), image.end(), row);
}

void Array::read_bytes(int64_t row, uint8_t* out) const {
    const char* at = data + row * row_stride;
    if (col_stride == 1) {
        std::memcpy(out, at, static_cast<size_t>(cols));
        return;
    }
    for (int64_t j = 0; j < cols; ++j, at += col_stride) out[j] = static_cast<uint8_t>(*at);
}

bool Source::holds_float64() const {
    return parts_[0].dtype == Dtype::float64 ||
           (parts_[1].rows > 0 && parts_[1].dtype == Dtype::float64);
}

void Source::read(int64_t row, double* out) const {
    const Array& part = part_of(row);
    part.read(row, out);
    if (normalised_) isa().normalise(out, d(), centred_);
    if (map_) map_->apply(out);
}

template <class S>
RowsView<S> Source::block(int64_t first, int64_t count, S* copy) const {
    constexpr Dtype in_place = sizeof(S) == 4 ? Dtype::float32 : Dtype::float64;
    int64_t local = first;
    const Array& part = part_of(local);
    if (!order_ && !interleaved_ && as_it_is() && part.dtype == in_place &&
        part.contiguous_native() && local + count <= part.rows) {
        return {reinterpret_cast<const S*>(part.data + local * part.row_stride),
                part.row_stride / static_cast<int64_t>(sizeof(S))};
    }
    for (int64_t i = 0; i < count; ++i) {
        if constexpr (sizeof(S) == 4) {
            int64_t row = first + i;
            const Array& of_row = part_of(row);
            of_row.read(row, copy + i * d());
        } else {
            read(first + i, copy + i * d());
        }
    }
    return {copy, d()};
}

template RowsView<float> Source::block(int64_t, int64_t, float*) const;
template RowsView<double> Source::block(int64_t, int64_t, double*) const;

const float* Source::float32_row(int64_t row) const {
    const Array& part = part_of(row);
    if (!as_it_is() || part.dtype != Dtype::float32 || !part.contiguous_native()) return nullptr;
    return reinterpret_cast<const float*>(part.data + row * part.row_stride);
}

const double* Source::float64_row(int64_t row) const {
    const Array& part = part_of(row);
    if (!as_it_is() || part.dtype != Dtype::float64 || !part.contiguous_native()) return nullptr;
    return reinterpret_cast<const double*>(part.data + row * part.row_stride);
}

}  // namespace pairtile
