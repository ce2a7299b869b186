// Fills the table of isa/ops.hpp for the instruction set named by PAIRTILE_ISA. Compiled once per
// instruction set; nothing here may come from a template outside that namespace.
// clang-format off
#define PT_QUOTED(path) #path
#define PT_PASTE(folder, name) PT_QUOTED(folder/name.hpp)
#define PT_ISA_HEADER(name) PT_PASTE(isa, name)
// clang-format on
#include PT_ISA_HEADER(PAIRTILE_ISA)
#include "isa/columns.hpp"

#include "isa/tile/dots.hpp"
#include "isa/tile/in_place.hpp"
#include "isa/tile/labels.hpp"
#include "isa/tile/micro.hpp"
#include "isa/tile/normalise.hpp"
#include "isa/tile/octaves.hpp"
#include "isa/tile/pack_panel.hpp"
#include "isa/tile/row_statistics.hpp"
#include "isa/tile/tile.hpp"
#ifdef PT_HAS_INT16
#include "isa/tile/whole.hpp"
#endif

namespace pairtile {
inline namespace PAIRTILE_ISA {

template <class Metric>
constexpr Ops<double>::CanonicalFn tile_if_direct() {
    if constexpr (Metric::traits.quantity == Quantity::terms) {
        return canonical_tile<Metric>;
    } else {
        return nullptr;
    }
}

template <class Kernel, class T>
constexpr typename Ops<T>::LogKernelFn log_kernel_if_positive() {
    if constexpr (requires(T t, const T* p) { Kernel::log_value(t, p); }) {
        return log_kernel_tile<Kernel, T>;
    } else {
        return nullptr;
    }
}

template <class Kernel, class T>
constexpr typename Ops<T>::SteinFn stein_if_smooth() {
    if constexpr (sizeof(T) == 8 && requires(T s, const T* p) { Kernel::stein(s, p); }) {
        return stein_tile<Kernel, T>;
    } else {
        return nullptr;
    }
}

template <class T>  // in sort.cpp
T kth_of_few(const T* values, int n, int64_t k);

template <class T>
constexpr Ops<T> table() {
    Ops<T> ops{};
    ops.rows = Block<T>::rows;
    ops.cols = Block<T>::cols;
    ops.core[static_cast<int>(Core::dot)] = core_tile<Core::dot, T>;
    ops.core[static_cast<int>(Core::short_dot)] = core_tile<Core::short_dot, T>;
    ops.core[static_cast<int>(Core::squared_difference)] = core_tile<Core::squared_difference, T>;
    ops.core[static_cast<int>(Core::absolute_difference)] = core_tile<Core::absolute_difference, T>;
    ops.core[static_cast<int>(Core::largest_difference)] = core_tile<Core::largest_difference, T>;
    ops.in_place[static_cast<int>(Core::squared_difference)] =
        tile_in_place<Core::squared_difference, T>;
    ops.in_place[static_cast<int>(Core::absolute_difference)] =
        tile_in_place<Core::absolute_difference, T>;
#ifdef PT_HAS_INT16
    if constexpr (sizeof(T) == 4) {
        ops.core[static_cast<int>(Core::dot_int16)] = core_tile_whole<Shorts>;
        ops.pack_int16_float32 = pack_whole<int16_t, float>;
        ops.pack_int16_float64 = pack_whole<int16_t, double>;
    }
#endif
    if constexpr (sizeof(T) == 8) {
#define PT_DIRECT(name, type) \
    ops.canonical[static_cast<int>(MetricId::name)] = tile_if_direct<type>();
        PAIRTILE_METRICS(PT_DIRECT)
#undef PT_DIRECT
    }
    if constexpr (sizeof(T) == 4) {
        ops.core[static_cast<int>(Core::differing_bits)] = core_tile<Core::differing_bits, T>;
        ops.pack_bits = pack_bits<T>;
        ops.by_octave = octave_tile;
    }
    ops.product = product<T>;
    ops.dots = dots<T>;
    ops.pack_float32 = pack<float, T>;
    ops.pack_float64 = pack<double, T>;
    ops.select_below = select_below<T>;
    ops.select_between = select_between<T>;
    ops.count_below = count_below<T>;
    ops.kth = kth_of_few<T>;
    ops.select_below_each = select_below_each<T>;
    ops.add_row_norms = add_row_norms<T>;
    ops.divide_by_union = divide_by_union<T>;
#define PT_KERNEL(name, type)                                                             \
    ops.kernel[static_cast<int>(KernelId::name)] = kernel_tile<type, T>;                  \
    ops.log_kernel[static_cast<int>(KernelId::name)] = log_kernel_if_positive<type, T>(); \
    ops.stein[static_cast<int>(KernelId::name)] = stein_if_smooth<type, T>();
    PAIRTILE_KERNELS(PT_KERNEL)
#undef PT_KERNEL
#define PT_SLOPE(name, type) \
    ops.slope[static_cast<int>(KernelId::name)] = kernel_tile<SlopeOf<type>, T>;
    PAIRTILE_KERNELS(PT_SLOPE)
#undef PT_SLOPE
    ops.range = range_of<T>;
    ops.row_sums = row_sums<T>;
    ops.col_sums = col_sums<T>;
    ops.scale_rows_and_cols = scale_rows_and_cols<T>;
    ops.add_scaled = add_scaled<T>;
    ops.scale = scale_tile<T>;
    ops.log_sum_exp_rows = log_sum_exp_rows<T>;
    ops.log_sum_exp_cols = log_sum_exp_cols<T>;
    ops.log_sum_exp_rows_and_cols = log_sum_exp_rows_and_cols<T>;
    ops.softmax_weights = softmax_weights<T>;
    ops.softplus_sums = softplus_sums<T>;
    ops.sigmoid_weights = sigmoid_weights<T>;
    ops.block_dot = block_dot<T>;
    ops.through_normalisation = through_normalisation<T>;
    return ops;
}

constexpr CanonicalOps canonical_table() {
    CanonicalOps ops{};
#define PT_METRIC(name, type)                                           \
    ops.f32[static_cast<int>(MetricId::name)] = canonical<type, float>; \
    ops.f64[static_cast<int>(MetricId::name)] = canonical<type, double>;
    PAIRTILE_METRICS(PT_METRIC)
#undef PT_METRIC
#define PT_METRIC(name, type) ops.bits[static_cast<int>(MetricId::name)] = canonical_bits<type>;
    PAIRTILE_BIT_METRICS(PT_METRIC)
#undef PT_METRIC
    return ops;
}

extern const SortTables sort_tables;  // in sort.cpp
extern const IsaOps isa_ops;
constinit const IsaOps isa_ops = {
    isa_name,          table<float>(), table<double>(), {label_sums<double>, label_sums<int32_t>},
    canonical_table(), survey<float>,  survey<double>,  normalise,
    sort_tables};

}  // namespace PAIRTILE_ISA
}  // namespace pairtile
