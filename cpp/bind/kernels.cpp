// Kernel sums, relabelled sums and distance quantiles.
#include "engine/kernel_sums.hpp"

#include <pybind11/stl.h>

#include <cmath>
#include <tuple>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "engine/label_sums.hpp"
#include "engine/quantile.hpp"

namespace pairtile {
namespace {

using Term = std::tuple<double, std::string, std::vector<double>>;

std::vector<KernelTerm> terms_of(const std::vector<Term>& terms) {
    std::vector<KernelTerm> out;
    for (const auto& [weight, name, params] : terms) {
        KernelTerm term{weight, kernel_of(name), {}};
        if (params.size() > static_cast<size_t>(kernel_params)) {
            throw py::value_error("too many parameters for kernel '" + name + "'");
        }
        std::copy(params.begin(), params.end(), term.params);
        out.push_back(term);
    }
    return out;
}

py::array_t<double> bind_row_sums(const py::array& z, const py::array& y,
                                  const std::vector<Term>& terms, const py::object& y_weights,
                                  const std::string& precision, int workers,
                                  const py::object& progress) {
    const Source rows(view_of(z)), cols(view_of(y));
    const double* weights = vector_of<double>(y_weights, cols.rows(), "y_weights");
    const auto kernel = terms_of(terms);
    const Precision wanted = precision_of(precision);
    py::array_t<double> out(rows.rows());
    double* sums = out.mutable_data();
    run_released(progress, [&](Control& control) {
        kernel_row_sums(rows, cols, kernel, weights, wanted, workers, control, sums);
    });
    return out;
}

double bind_total(const py::array& x, const py::object& y, const std::vector<Term>& terms,
                  const py::object& x_weights, const py::object& y_weights,
                  const std::string& precision, int workers, const py::object& progress) {
    const Source rows(view_of(x));
    const double* row_weights = vector_of<double>(x_weights, rows.rows(), "x_weights");
    const auto kernel = terms_of(terms);
    const Precision wanted = precision_of(precision);
    double total = 0.0;
    if (y.is_none()) {
        run_released(progress, [&](Control& control) {
            total = kernel_self_total(rows, kernel, row_weights, wanted, workers, control);
        });
        return total;
    }
    const Source cols(view_of(y.cast<py::array>()));
    const double* col_weights = vector_of<double>(y_weights, cols.rows(), "y_weights");
    run_released(progress, [&](Control& control) {
        total =
            kernel_total(rows, cols, kernel, row_weights, col_weights, wanted, workers, control);
    });
    return total;
}

py::tuple bind_label_sums(const py::array& x, const py::array& y,
                          const py::array_t<uint64_t, py::array::c_style>& labels,
                          const std::vector<std::vector<Term>>& kernels, bool paired, int workers,
                          const py::object& progress) {
    Source pooled(view_of(x), view_of(y));
    if (paired) {
        if (2 * x.shape(0) != pooled.rows()) {
            throw py::value_error("paired rows need samples of one size");
        }
        pooled.interleave();
    }
    const int64_t labelled = pooled.rows() / (paired ? 2 : 1);
    if (labels.ndim() != 2 || labels.shape(0) != (labelled + 63) / 64) {
        throw py::value_error("labels must have a bit per row (or pair) and labelling");
    }
    const Labels bits{labels.data(), labelled, labels.shape(1)};
    std::vector<std::vector<KernelTerm>> wanted;
    for (const auto& terms : kernels) wanted.push_back(terms_of(terms));
    const auto n = static_cast<py::ssize_t>(kernels.size());
    py::array_t<double> within({n, labels.shape(1)}), row({n, labels.shape(1)}), total(n),
        squares(n);
    const LabelTotals out{within.mutable_data(), row.mutable_data(), total.mutable_data(),
                          squares.mutable_data()};
    run_released(progress, [&](Control& control) {
        kernel_label_sums(pooled, bits, wanted, workers, control, out);
    });
    return py::make_tuple(within, row, total, squares);
}

double bind_quantile(const py::array& x, const py::object& y, const std::string& metric, double q,
                     bool squared, int workers, const py::object& progress) {
    const Array first = view_of(x);
    const Source pooled = y.is_none() ? Source(first) : Source(first, view_of(y.cast<py::array>()));
    const Metric id = metric_of(metric, py::none());
    double value = 0.0;
    run_released(progress, [&](Control& control) {
        value = distance_quantile(pooled, id, q, squared, workers, control);
    });
    return value;
}

}  // namespace

void register_kernels(py::module_& m) {
    using py::arg;
    m.def("kernel_total", bind_total, arg("x"), arg("y").none(true), arg("terms"),
          arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(), arg("precision"),
          arg("workers"), arg("progress") = py::none());
    m.def("kernel_row_sums", bind_row_sums, arg("z"), arg("y"), arg("terms"),
          arg("y_weights").none(true), py::kw_only(), arg("precision"), arg("workers"),
          arg("progress") = py::none());
    m.def("kernel_label_sums", bind_label_sums, arg("x"), arg("y"), arg("labels").noconvert(),
          arg("kernels"), py::kw_only(), arg("paired"), arg("workers"),
          arg("progress") = py::none());
    m.def("distance_quantile", bind_quantile, arg("x"), arg("y").none(true), arg("metric"),
          arg("q"), arg("squared"), py::kw_only(), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
