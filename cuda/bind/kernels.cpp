// Sums, products and logarithms of kernels.
#include "bind/families.hpp"
#include "bind/terms.hpp"
#include "kernels/log_sum_exp.hpp"
#include "kernels/sums.hpp"

namespace pairtile::gpu {
namespace {

void bind_row_sums(const Sets& sets, const Kernel& kernel, const Range& rows, bool wide,
                   bool triangle, Address reference_weights, Address workspace, Address sums,
                   const Where& where) {
    const Summation summation = {sweep_of(sets, rows, needs_of("sums"), triangle),
                                 at<const double>(reference_weights), at<Sum>(workspace)};
    const auto sum = wide ? kernel_row_sums<double> : kernel_row_sums<float>;
    sum(summation, term_of(kernel), at<double>(sums), stream_on(where));
}

void bind_weighted_total(Address sums, int64_t n, Address weights, Address total,
                         const Where& where) {
    weighted_total(at<const double>(sums), n, at<const double>(weights), at<double>(total),
                   stream_on(where));
}

void bind_log_sums(const Sets& sets, const Kernel& kernel, const Range& rows, bool exclude_self,
                   Address log_weights, Address rates, bool is_first, Address workspace,
                   Address so_far, Address sums, const Where& where) {
    const Term term = term_of(kernel);
    if (!has_logarithm(term.kernel) || !(term.weight > 0.0)) {
        throw py::value_error("kernels whose logarithm is taken must be positive");
    }
    const LogSummation summation = {sweep_of(sets, rows, needs_of("log_sums")),
                                    exclude_self,
                                    {at<const double>(log_weights), at<const double>(rates)},
                                    at<LogSumExp>(workspace)};
    kernel_log_sums(summation, term, is_first, at<LogSumExp>(so_far), at<double>(sums),
                    stream_on(where));
}

void bind_contract(const Sets& sets, const Kernel& kernel, const Range& rows, bool wide,
                   bool exclude_self, const Table& table, const Range& columns, Address workspace,
                   Address out, int64_t out_stride, const Where& where) {
    const Contraction contraction = {sweep_of(sets, rows, needs_of("contraction")), exclude_self,
                                     columns_of(table), columns.first, at<double>(workspace)};
    const auto width = static_cast<int>(columns.second - columns.first);
    const auto with = wide ? contract<double> : contract<float>;
    with(contraction, term_of(kernel), width, at<double>(out), out_stride, stream_on(where));
}

void bind_column_totals(Address products, const Range& rows, const Table& table,
                        const Range& columns, Address within, Address all, const Where& where) {
    column_totals(at<const double>(products), rows.second - rows.first, rows.first,
                  columns_of(table), columns.first,
                  static_cast<int>(columns.second - columns.first), at<double>(within),
                  at<double>(all), stream_on(where));
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
          arg("where"), Released());
    m.def("weighted_total", bind_weighted_total, Released());
    m.def("kernel_log_sums", bind_log_sums, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("exclude_self"), arg("log_weights"), arg("rates"), arg("is_first"), arg("workspace"),
          arg("so_far"), arg("sums"), arg("where"), Released());
    m.def("contract", bind_contract, py::kw_only(), arg("sets"), arg("kernel"), arg("rows"),
          arg("wide"), arg("exclude_self"), arg("table"), arg("columns"), arg("workspace"),
          arg("out"), arg("out_stride"), arg("where"), Released());
    m.def("column_totals", bind_column_totals, py::kw_only(), arg("products"), arg("rows"),
          arg("table"), arg("columns"), arg("within"), arg("all"), arg("where"), Released());
}

}  // namespace pairtile::gpu
