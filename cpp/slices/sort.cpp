#include "slices/sort.hpp"

#include <algorithm>

#include "isa/sort_ops.hpp"

namespace pairtile {

void sort_by_comparing(uint32_t* keys, int64_t n) { std::sort(keys, keys + n); }
void sort_by_comparing(uint64_t* keys, int64_t n) { std::sort(keys, keys + n); }

template <>
ColumnSums<float> column_sums_of<float>() {
    return isa().sorting.column_sums_float;
}
template <>
ColumnSums<double> column_sums_of<double>() {
    return isa().sorting.column_sums_double;
}

}  // namespace pairtile
