// Kernel sums, relabelled sums and distance quantiles.
#include "engine/kernel_sums.hpp"

#include <pybind11/stl.h>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "bind/terms.hpp"
#include "engine/label_sums.hpp"
#include "engine/quantile.hpp"

namespace pairtile {
namespace {

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
                          const py::array_t<uint8_t, py::array::c_style>& labels,
                          const std::vector<Term>& terms, int64_t n_labels, int workers,
                          const py::object& progress) {
    const Source pooled(view_of(x), view_of(y));
    if (labels.ndim() != 2 || labels.shape(0) != pooled.rows() ||
        labels.shape(1) != (n_labels + 7) / 8) {
        throw py::value_error("labels must have a row per pooled row and a bit per labelling");
    }
    const auto kernel = terms_of(terms);
    const uint8_t* bits = labels.data();
    py::array_t<double> within(n_labels), row(n_labels);
    double *within_data = within.mutable_data(), *row_data = row.mutable_data();
    double total = 0.0;
    run_released(progress, [&](Control& control) {
        total = kernel_label_sums(pooled, bits, n_labels, kernel, workers, control, within_data,
                                  row_data);
    });
    return py::make_tuple(within, row, total);
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
          arg("terms"), py::kw_only(), arg("n_labels"), arg("workers"),
          arg("progress") = py::none());
    m.def("distance_quantile", bind_quantile, arg("x"), arg("y").none(true), arg("metric"),
          arg("q"), arg("squared"), py::kw_only(), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
