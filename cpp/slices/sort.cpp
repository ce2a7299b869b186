#include "slices/sort.hpp"

#include <algorithm>
#include <string_view>

#include "isa/sort_ops.hpp"

namespace pairtile {

#if defined(__x86_64__)
namespace v2 {
extern const SortTables sort_tables;
}
namespace v3 {
extern const SortTables sort_tables;
}
namespace v4 {
extern const SortTables sort_tables;
}
#elif defined(__aarch64__)
namespace neon {
extern const SortTables sort_tables;
}
#endif

namespace {

const SortTables& sort_tables_of(std::string_view isa) {
#if defined(__x86_64__)
    return isa == "v2"             ? v2::sort_tables
           : isa.starts_with("v3") ? v3::sort_tables
                                   : v4::sort_tables;
#elif defined(__aarch64__)
    return isa == "neon" ? neon::sort_tables : neon::sort_tables;
#endif
}

}  // namespace

template <>
const SortOps<uint32_t>& sort_ops<uint32_t>() {
    return sort_tables_of(isa().name).of_32_bits;
}
template <>
const SortOps<uint64_t>& sort_ops<uint64_t>() {
    return sort_tables_of(isa().name).of_64_bits;
}

void sort_by_comparing(uint32_t* keys, int64_t n) { std::sort(keys, keys + n); }
void sort_by_comparing(uint64_t* keys, int64_t n) { std::sort(keys, keys + n); }

template <>
ColumnSums<float> column_sums_of<float>() {
    return sort_tables_of(isa().name).column_sums_float;
}
template <>
ColumnSums<double> column_sums_of<double>() {
    return sort_tables_of(isa().name).column_sums_double;
}

}  // namespace pairtile
