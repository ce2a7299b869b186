// Fills the table of isa/sort_ops.hpp for the instruction set named by PAIRTILE_ISA, as ops.cpp
// does its own.
// clang-format off
#define PT_QUOTED(path) #path
#define PT_PASTE(folder, name) PT_QUOTED(folder/name.hpp)
#define PT_KEYS_HEADER(name) PT_PASTE(isa/keys, name)
// clang-format on
#include PT_KEYS_HEADER(PAIRTILE_ISA)

#include "isa/tile/sort.hpp"
#include "isa/tile/column_sums.hpp"
#include "isa/tile/line_sums.hpp"

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class K>
constexpr SortOps<K> sort_ops = {to_keys<K>,
                                 most_sorted<K>,
                                 sort_few<K>,
                                 pivot_of<K>,
                                 partition<K>,
                                 add_moments<K>,
                                 add_costs<AbsoluteCost, K>,
                                 add_costs<SquaredCost, K>,
                                 add_squares_and_moments<K>};

template float kth_of_few<float>(const float*, int, int64_t);
template double kth_of_few<double>(const double*, int, int64_t);

extern const SortTables sort_tables;
constinit const SortTables sort_tables = {sort_ops<uint32_t>, sort_ops<uint64_t>,
                                          column_sums<float>, column_sums<double>};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
