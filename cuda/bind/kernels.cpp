// Sums, products and logarithms of kernels.
#include <array>
#include <bit>

#include "bind/families.hpp"
#include "bind/packed.hpp"
#include "bind/terms.hpp"
#include "kernels/log_sum_exp.hpp"
#include "kernels/moments.hpp"
#include "kernels/paired.hpp"
#include "kernels/relabelled_sums.hpp"
#include "kernels/sums.hpp"
#include "kernels/tensor_sums.hpp"
#include "pairtile/kernel/float32.hpp"

namespace pairtile::gpu {
namespace {

void bind_row_sums(const Sets& sets, const Kernel& kernel, const Range& rows, bool wide,
                   bool triangle, Address reference_weights, Address workspace, Address sums,
                   const DeviceStream& stream) {
    const Summation summation = {sweep_of(sets, rows, needs_of("sums"), triangle),
                                 at<const double>(reference_weights), at<Sum>(workspace)};
    const auto sum = wide ? kernel_row_sums<double> : kernel_row_sums<float>;
    sum(summation, term_of(kernel), at<double>(sums), cuda_stream(stream));
}

// Whether tensor cores sum them up.
bool bind_tensor_serves(const std::vector<Kernel>& kernels) {
    const std::vector<KernelTerm> terms = terms_of(kernels);
    TensorTerms found;
    return tensor_terms(terms.data(), static_cast<int>(terms.size()), &found);
}

void bind_pack_on_grid(const View& x, int64_t first, Address centre, const Packed& packed,
                       Address findings, const DeviceStream& stream) {
    pack_on_grid(array_of(x), first, at<const double>(centre), panels_of(packed),
                 at<GridFindings>(findings), cuda_stream(stream));
}

// The numbers of LargestRows in their order.
using Largest = std::array<double, 2 + 2 * max_parts>;
static_assert(sizeof(Largest) == sizeof(LargestRows));

LargestRows largest_of(const Largest& numbers) { return std::bit_cast<LargestRows>(numbers); }

double bind_squared_distance_error(const Largest& x, const Largest& y, int64_t d, int products) {
    return squared_distance_error(largest_of(x), largest_of(y), d, products);
}

double bind_near_distance(const std::vector<Kernel>& kernels, const Largest& x, const Largest& y,
                          int64_t d, int products, double tolerance) {
    const std::vector<KernelTerm> terms = terms_of(kernels);
    return near_distance(terms.data(), static_cast<int>(terms.size()), largest_of(x), largest_of(y),
                         d, products, tolerance);
}

void bind_tensor_row_sums(const std::pair<View, View>& sets, const PackedSets& packed,
                          const std::vector<Kernel>& kernels, int products, double near,
                          bool triangle, Address weights, Address states, Address computed_again,
                          Address sums, const std::string& path, const DeviceStream& stream) {
    const auto& [rows, cols, firsts] = packed;
    const std::vector<KernelTerm> terms = terms_of(kernels);
    TensorSummation summation{};
    summation.sweep = tensor_sweep(panels_of(rows), panels_of(cols),
                                   tensor_sums_segments(std::get<3>(rows), std::get<3>(cols)));
    if (products == 8) summation.sweep.products = eight_products();
    // one set and itself: a tile that lies before its rows has nothing to add
    summation.sweep.triangle = triangle;
    summation.sweep.diagonal = static_cast<int>((firsts.first - firsts.second) / tile_columns);
    summation.rows = array_of(sets.first);
    summation.cols = array_of(sets.second);
    summation.first_row = firsts.first;
    summation.first_col = firsts.second;
    tensor_terms(terms.data(), static_cast<int>(terms.size()), &summation.terms);
    summation.near = near > 0.0 ? static_cast<float>(near) : -INFINITY;
    summation.weights = at<const float>(weights);
    summation.triangle = triangle;
    summation.states = at<double>(states);
    summation.computed_again = at<unsigned long long>(computed_again);
    tensor_row_sums(summation, path_of(path), at<double>(sums), cuda_stream(stream));
}

void bind_weighted_total(Address sums, int64_t n, Address weights, Address total,
                         const DeviceStream& stream) {
    weighted_total(at<const double>(sums), n, at<const double>(weights), at<double>(total),
                   cuda_stream(stream));
}

void bind_log_sums(const Sets& sets, const Kernel& kernel, const Range& rows, bool exclude_self,
                   Address log_weights, Address rates, bool is_first, Address workspace,
                   Address so_far, Address sums, const DeviceStream& stream) {
    const KernelTerm term = term_of(kernel);
    if (!has_logarithm(term.kernel) || !(term.weight > 0.0)) {
        throw py::value_error("kernels whose logarithm is taken must be positive");
    }
    const LogSummation summation = {sweep_of(sets, rows, needs_of("log_sums")),
                                    exclude_self,
                                    {at<const double>(log_weights), at<const double>(rates)},
                                    at<LogSumExp>(workspace)};
    kernel_log_sums(summation, term, is_first, at<LogSumExp>(so_far), at<double>(sums),
                    cuda_stream(stream));
}

void bind_contract(const Sets& sets, const Kernel& kernel, const Range& rows, bool wide,
                   bool exclude_self, const Table& table, const Range& columns, Address workspace,
                   Address out, int64_t out_stride, const DeviceStream& stream) {
    const Contraction contraction = {sweep_of(sets, rows, needs_of("contraction")), exclude_self,
                                     columns_of(table), columns.first, at<double>(workspace)};
    const auto width = static_cast<int>(columns.second - columns.first);
    const auto with = wide ? contract<double> : contract<float>;
    with(contraction, term_of(kernel), width, at<double>(out), out_stride, cuda_stream(stream));
}

void bind_column_totals(Address products, const Range& rows, const Table& table,
                        const Range& columns, Address within, Address all,
                        const DeviceStream& stream) {
    column_totals(at<const double>(products), rows.second - rows.first, rows.first,
                  columns_of(table), columns.first,
                  static_cast<int>(columns.second - columns.first), at<double>(within),
                  at<double>(all), cuda_stream(stream));
}

std::vector<KernelTerm> mixture_of(const std::vector<Kernel>& kernels) {
    if (kernels.empty() || kernels.size() > static_cast<size_t>(most_terms)) {
        throw py::value_error("a sum of 1 to " + std::to_string(most_terms) + " kernels, not " +
                              std::to_string(kernels.size()));
    }
    std::vector<KernelTerm> terms = terms_of(kernels);
    for (const KernelTerm& term : terms) {
        if (argument_of(term.kernel) != argument_of(terms.front().kernel)) {
            throw py::value_error("kernels of one sum must read the same number of a pair");
        }
    }
    return terms;
}

void bind_contract_paired(const Sets& sets, const std::vector<Kernel>& kernels,
                          double rounding_step, const Range& rows, const Table& table,
                          const Range& columns, Address workspace, Address out, int64_t out_stride,
                          const DeviceStream& stream) {
    const Contraction contraction = {sweep_of(sets, rows, needs_of("contraction")), true,
                                     columns_of(table), columns.first, at<double>(workspace)};
    const auto width = static_cast<int>(columns.second - columns.first);
    contract_paired(contraction, mixture_of(kernels), rounding_step, width, at<double>(out),
                    out_stride, cuda_stream(stream));
}

// Rows of a launch and its references; whether only pairs behind a row count, and whether rows are
// pairs.
using Block = std::tuple<Range, Range, bool, bool>;
// Of the terms up to an end: the step, and how many digits there are.
using Part = std::tuple<int, double, int>;

ValueBlock value_block_of(const Sets& sets, const Block& block) {
    const auto& [rows, columns, triangle, paired] = block;
    return value_block(sweep_of(sets, rows, {0, held_least_width}, triangle), columns.first,
                       columns.second, paired);
}

ValueParts value_parts_of(const std::vector<Part>& parts, size_t terms) {
    if (parts.empty() || parts.size() > terms) {
        throw py::value_error("parts of kernels are 1 to as many as there are terms");
    }
    ValueParts out{static_cast<int>(parts.size()), {}};
    for (size_t k = 0; k < parts.size(); ++k) {
        const auto& [end, step, digits] = parts[k];
        out.parts[k] = {step, end, digits};
    }
    return out;
}

int64_t bind_value_size_states(const Sets& sets, const Block& block) {
    return value_size_states(value_block_of(sets, block));
}

void bind_value_sizes(const Sets& sets, const std::vector<Kernel>& kernels,
                      const std::vector<Part>& parts, const Block& block, Address states,
                      Address sizes, const DeviceStream& stream) {
    value_sizes(value_block_of(sets, block), mixture_of(kernels),
                value_parts_of(parts, kernels.size()), at<ValueSize>(states), at<ValueSize>(sizes),
                cuda_stream(stream));
}

// Labels of the rows and of the columns: addresses of the words of the first of each.
void bind_relabelled_sums(const Sets& sets, const std::vector<Kernel>& kernels,
                          const std::vector<Part>& parts, const Block& block, const Pair& labels,
                          int64_t labellings, Address planes, Address sums,
                          const DeviceStream& stream) {
    const ValueBlock pairs = value_block_of(sets, block);
    const ValueParts of_kernels = value_parts_of(parts, kernels.size());
    const int64_t rows = pairs.sweep.rows;
    int count = 0;
    for (int k = 0; k < of_kernels.count; ++k) count += of_kernels.parts[k].digits;
    const DigitPlanes digits = {at<uint32_t>(planes), row_tiles_of(rows),
                                steps_of(pairs.end - pairs.first), count};
    value_digits(pairs, mixture_of(kernels), of_kernels, digits, cuda_stream(stream));
    digit_products({digits,
                    {at<const uint32_t>(labels.first), at<const uint32_t>(labels.second),
                     divided_up(rows, 32), labellings},
                    pairs.sweep.triangle,
                    (pairs.sweep.first_row - pairs.first) / fragment_cols,
                    at<int64_t>(sums)},
                   cuda_stream(stream));
}

void bind_moments(const Sets& sets, const std::vector<Kernel>& kernels, const Range& rows,
                  bool wide, bool exclude_self, Address workspace, Address sums, Address squares,
                  const DeviceStream& stream) {
    const MomentSweep moments = {sweep_of(sets, rows, needs_of("moments")), exclude_self,
                                 at<Moments>(workspace)};
    const auto sum = wide ? kernel_moments<double> : kernel_moments<float>;
    sum(moments, mixture_of(kernels), at<double>(sums), at<double>(squares), cuda_stream(stream));
}

void bind_block_sums(const Sets& sets, const Pair& orders, int64_t size, int64_t blocks,
                     const std::vector<Kernel>& kernels, const Range& rows, bool wide,
                     const std::string& pairs, Address workspace, Address sums,
                     const DeviceStream& stream) {
    Sweep sweep = sweep_of(sets, rows, needs_of("blocks"), pairs == "after");
    sweep.queries.order = at<const int64_t>(orders.first);
    sweep.references.order = at<const int64_t>(orders.second);
    sweep.queries.rows = sweep.references.rows = blocks * size;
    sweep.block = size;
    sweep.cut = {1, blocks * size};
    const auto chosen = pairs == "after"    ? BlockPairs::after
                        : pairs == "others" ? BlockPairs::others
                                            : BlockPairs::all;
    const auto sum = wide ? kernel_block_sums<double> : kernel_block_sums<float>;
    sum({sweep, chosen, at<Sum>(workspace)}, mixture_of(kernels), at<double>(sums),
        cuda_stream(stream));
}

void bind_block_totals(Address sums, int64_t blocks, int64_t size, double factor, Address totals,
                       int64_t stride, const DeviceStream& stream) {
    block_totals(at<const double>(sums), blocks, size, factor, at<double>(totals), stride,
                 cuda_stream(stream));
}

bool bind_float32_will_do(const Kernel& kernel, double largest, double typical, double error) {
    return float32_will_do(term_of(kernel), {largest, typical, error});
}

}  // namespace

void bind_kernels(py::module_& m) {
    using py::arg;
    m.def("reads_normalised_rows", [](const std::string& kernel) {
        return argument_of(kernel_of(kernel)) == pairtile::Argument::cosine;
    });
    m.attr("log_sum_bytes") = sizeof(pairtile::LogSumExp);
    m.attr("contraction_width") = contraction_width;
    m.def("kernel_row_sums", bind_row_sums, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("wide"), arg("triangle"), arg("reference_weights"), arg("workspace"), arg("sums"),
          arg("stream"), Released());
    m.def("tensor_serves", bind_tensor_serves, arg("kernels"));
    m.attr("grid_findings_bytes") = sizeof(GridFindings);
    m.def("pack_on_grid", bind_pack_on_grid, Released());
    m.def("squared_distance_error", bind_squared_distance_error, arg("x"), arg("y"), arg("d"),
          arg("products"));
    m.def("sums_error", sums_error, arg("weighted"));
    m.def("near_distance", bind_near_distance, arg("kernels"), arg("x"), arg("y"), arg("d"),
          arg("products"), arg("tolerance"));
    m.def("tensor_sums_segments", tensor_sums_segments, arg("rows"), arg("columns"));
    m.def("tensor_row_sums", bind_tensor_row_sums, py::kw_only(), arg("sets"), arg("packed"),
          arg("kernels"), arg("products"), arg("near"), arg("triangle"), arg("weights"),
          arg("states"), arg("computed_again"), arg("sums"), arg("path"), arg("stream"),
          Released());
    m.def("weighted_total", bind_weighted_total, Released());
    m.def("kernel_log_sums", bind_log_sums, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("exclude_self"), arg("log_weights"), arg("rates"), arg("is_first"), arg("workspace"),
          arg("so_far"), arg("sums"), arg("stream"), Released());
    m.def("contract", bind_contract, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("wide"), arg("exclude_self"), arg("table"), arg("columns"), arg("workspace"),
          arg("out"), arg("out_stride"), arg("stream"), Released());
    m.def("float32_will_do", bind_float32_will_do, arg("kernel"), arg("largest"), arg("typical"),
          arg("error"));
    m.attr("most_terms") = most_terms;
    m.def("kernel_argument", [](const std::string& kernel) {
        return static_cast<int>(argument_of(kernel_of(kernel)));
    });
    m.def("contract_paired", bind_contract_paired, py::kw_only(), arg("sets"), arg("kernels"),
          arg("rounding_step"), arg("rows"), arg("table"), arg("columns"), arg("workspace"),
          arg("out"), arg("out_stride"), arg("stream"), Released());
    m.def("value_size_states", bind_value_size_states, arg("sets"), arg("block"));
    m.attr("value_size_bytes") = sizeof(ValueSize);
    m.def("value_sizes", bind_value_sizes, py::kw_only(), arg("sets"), arg("kernels"), arg("parts"),
          arg("block"), arg("states"), arg("sizes"), arg("stream"), Released());
    m.attr("digit_bits") = digit_bits;
    m.attr("most_digits") = most_digits;
    m.attr("most_digit_columns") = most_digit_columns;
    m.attr("labellings_together") = labellings_together;
    m.def("relabelled_sums", bind_relabelled_sums, py::kw_only(), arg("sets"), arg("kernels"),
          arg("parts"), arg("block"), arg("labels"), arg("labellings"), arg("planes"), arg("sums"),
          arg("stream"), Released());
    m.def("kernel_moments", bind_moments, py::kw_only(), arg("sets"), arg("kernels"), arg("rows"),
          arg("wide"), arg("exclude_self"), arg("workspace"), arg("sums"), arg("squares"),
          arg("stream"), Released());
    m.def("kernel_block_sums", bind_block_sums, py::kw_only(), arg("sets"), arg("orders"),
          arg("size"), arg("blocks"), arg("kernels"), arg("rows"), arg("wide"), arg("pairs"),
          arg("workspace"), arg("sums"), arg("stream"), Released());
    m.def("block_totals", bind_block_totals, Released());
    m.def("column_totals", bind_column_totals, py::kw_only(), arg("products"), arg("rows"),
          arg("table"), arg("columns"), arg("within"), arg("all"), arg("stream"), Released());
}

}  // namespace pairtile::gpu
