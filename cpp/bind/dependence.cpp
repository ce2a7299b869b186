// Joint sums of two kernels over paired rows, and products of distances on two lines.
#include <pybind11/stl.h>

#include <algorithm>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "bind/terms.hpp"
#include "kernels/gradient.hpp"
#include "kernels/permuted_products.hpp"
#include "slices/line.hpp"

namespace pairtile {
namespace {

py::array_t<double> array_of(const std::vector<double>& values) {
    return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple bind_joint_sums(const py::array& x, const py::array& y, const std::vector<Term>& x_terms,
                          const std::vector<Term>& y_terms, double x_shift, double y_shift,
                          int workers, const py::object& progress) {
    const Source rows(view_of(x)), beside(view_of(y));
    if (beside.rows() == 0 || beside.rows() % rows.rows() != 0) {
        throw py::value_error("y must hold the rows of x a whole number of times");
    }
    const KernelSpace of_x{rows, terms_of(x_terms), x_shift};
    const KernelSpace of_y{beside, terms_of(y_terms), y_shift};
    JointSums sums;
    run_released(progress, workers,
                 [&](Control& control) { sums = joint_kernel_sums(of_x, of_y, control); });
    return py::make_tuple(array_of(sums.products), array_of(sums.x_rows), array_of(sums.y_rows),
                          sums.x_squares, sums.y_squares);
}

py::array_t<double> bind_joint_gradient(const py::array& x, const py::array& y,
                                        const std::vector<Term>& x_terms,
                                        const std::vector<Term>& y_terms, const py::object& by_row,
                                        bool diagonal, int workers, const py::object& progress) {
    const Source rows(view_of(x)), beside(view_of(y));
    if (beside.rows() != rows.rows()) throw py::value_error("x and y must be paired");
    const double* b = vector_of<double>(by_row, rows.rows(), "by_row");
    const auto of_x = terms_of(x_terms), of_y = terms_of(y_terms);
    py::array_t<double> grad({rows.rows(), rows.d()});
    double* out = grad.mutable_data();
    std::fill_n(out, grad.size(), 0.0);
    run_released(progress, workers, [&](Control& control) {
        joint_kernel_gradient(rows, beside, of_x, of_y, b, diagonal, control, out);
    });
    return grad;
}

using Orders = py::array_t<int64_t, py::array::c_style>;

void check_orders(const Orders& orders, int64_t n) {
    if (orders.ndim() != 2 || orders.shape(1) != n) {
        throw py::value_error("each of the orders must have as many places as there are rows");
    }
    const int64_t* order = orders.data();
    if (std::any_of(order, order + orders.size(), [n](int64_t i) { return i < 0 || i >= n; })) {
        throw py::value_error("orders must hold rows of y");
    }
}

py::array_t<double> bind_permuted_products(const py::array& x, const py::array& y,
                                           const std::vector<Term>& x_terms,
                                           const std::vector<Term>& y_terms, const Orders& orders,
                                           double x_shift, double y_shift, int workers,
                                           const py::object& progress) {
    const Source rows(view_of(x)), beside(view_of(y));
    if (beside.rows() != rows.rows()) throw py::value_error("x and y must be paired");
    check_orders(orders, rows.rows());
    const KernelSpace of_x{rows, terms_of(x_terms), x_shift};
    const KernelSpace of_y{beside, terms_of(y_terms), y_shift};
    py::array_t<double> products(orders.shape(0));
    double* out = products.mutable_data();
    const int64_t *order = orders.data(), count = orders.shape(0);
    run_released(progress, workers, [&](Control& control) {
        permuted_products(of_x, of_y, order, count, control, out);
    });
    return products;
}

py::array_t<double> bind_line_products(const py::array_t<double, py::array::c_style>& x,
                                       const py::array_t<double, py::array::c_style>& y,
                                       const Orders& orders, int workers,
                                       const py::object& progress) {
    if (x.ndim() != 1 || y.ndim() != 1 || x.shape(0) != y.shape(0)) {
        throw py::value_error("x and y must have the same length");
    }
    const int64_t n = x.shape(0), count = orders.shape(0);
    check_orders(orders, n);
    const int64_t* order = orders.data();
    py::array_t<double> products(count);
    double* out = products.mutable_data();
    const double *from_x = x.data(), *from_y = y.data();
    run_released(progress, workers, [&](Control& control) {
        line_products(from_x, from_y, order, n, count, control, out);
    });
    return products;
}

}  // namespace

void register_dependence(py::module_& m) {
    using py::arg;
    m.def("joint_kernel_sums", bind_joint_sums, arg("x"), arg("y"), arg("x_terms"), arg("y_terms"),
          py::kw_only(), arg("x_shift"), arg("y_shift"), arg("workers"),
          arg("progress") = py::none());
    m.def("joint_kernel_gradient", bind_joint_gradient, arg("x"), arg("y"), arg("x_terms"),
          arg("y_terms"), arg("by_row"), py::kw_only(), arg("diagonal"), arg("workers"),
          arg("progress") = py::none());
    m.def("permuted_kernel_products", bind_permuted_products, arg("x"), arg("y"), arg("x_terms"),
          arg("y_terms"), arg("orders").noconvert(), py::kw_only(), arg("x_shift"), arg("y_shift"),
          arg("workers"), arg("progress") = py::none());
    m.def("line_products", bind_line_products, arg("x").noconvert(), arg("y").noconvert(),
          arg("orders").noconvert(), py::kw_only(), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
