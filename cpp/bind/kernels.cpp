// Kernel sums, their moments and gradients, products, logarithms, relabelled sums, quantiles.
#include "kernels/sums.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "bind/terms.hpp"
#include "kernels/gradient.hpp"
#include "kernels/log_sum_exp.hpp"
#include "kernels/matvec.hpp"
#include "kernels/relabelled_sums.hpp"
#include "kernels/stein.hpp"
#include "kernels/subset_sums.hpp"
#include "neighbors/quantile.hpp"

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
    run_released(progress, workers, [&](Control& control) {
        kernel_row_sums(rows, cols, kernel, weights, wanted, control, sums);
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
        run_released(progress, workers, [&](Control& control) {
            total = kernel_self_total(rows, kernel, row_weights, wanted, control);
        });
        return total;
    }
    const Source cols(view_of(y.cast<py::array>()));
    const double* col_weights = vector_of<double>(y_weights, cols.rows(), "y_weights");
    run_released(progress, workers, [&](Control& control) {
        total = kernel_total(rows, cols, kernel, row_weights, col_weights, wanted, control);
    });
    return total;
}

py::array_t<double> bind_matvec(const py::array& x, const py::array& y,
                                const py::array_t<double, py::array::c_style>& v,
                                const std::vector<Term>& terms, const std::string& precision,
                                int workers, const py::object& progress) {
    const Source rows(view_of(x)), cols(view_of(y));
    if (v.ndim() != 2 || v.shape(0) != cols.rows() || v.shape(1) < 1) {
        throw py::value_error("v must have a row per row of y and a column");
    }
    const auto kernel = terms_of(terms);
    const Precision wanted = precision_of(precision);
    const double* right = v.data();
    const int64_t c = v.shape(1);
    py::array_t<double> out({rows.rows(), c});
    double* product = out.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        kernel_matvec(rows, cols, right, c, kernel, wanted, control, product);
    });
    return out;
}

py::array_t<double> bind_logsumexp(const py::array& x, const py::object& y,
                                   const std::vector<Term>& terms, const py::object& log_weights,
                                   const py::object& rates, const std::string& precision,
                                   int workers, const py::object& progress) {
    const bool leave_one_out = y.is_none();
    const Source rows(view_of(x));
    const Source cols = leave_one_out ? rows : Source(view_of(y.cast<py::array>()));
    const ColumnShape shape{vector_of<double>(log_weights, cols.rows(), "log_weights"),
                            vector_of<double>(rates, cols.rows(), "rates")};
    const auto kernel = terms_of(terms);
    for (const KernelTerm& term : kernel) {
        if (!has_logarithm(term.kernel) || !(term.weight > 0.0)) {
            throw py::value_error("kernels whose logarithm is taken must be positive");
        }
    }
    const Precision wanted = precision_of(precision);
    py::array_t<double> out(rows.rows());
    double* sums = out.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        kernel_log_sums(rows, cols, kernel, shape, leave_one_out, wanted, control, sums);
    });
    return out;
}

py::tuple bind_moments(const py::array& x, const py::object& y, const std::vector<Term>& terms,
                       const std::string& precision, int workers, const py::object& progress) {
    const Source rows(view_of(x));
    const bool itself = y.is_none();
    const Source cols = itself ? rows : Source(view_of(y.cast<py::array>()));
    const auto kernel = terms_of(terms);
    const Precision wanted = precision_of(precision);
    py::array_t<double> row_sums(rows.rows()), col_sums(itself ? 0 : cols.rows());
    double *by_row = row_sums.mutable_data(), *by_col = col_sums.mutable_data();
    double squares = 0.0;
    run_released(progress, workers, [&](Control& control) {
        squares = kernel_moments(rows, cols, itself, kernel, wanted, control, by_row, by_col);
    });
    return py::make_tuple(row_sums, itself ? row_sums : col_sums, squares);
}

using Indices = py::array_t<int64_t, py::array::c_style>;

py::array_t<double> bind_subset_sums(const py::array& x, const py::array& y, const Indices& x_rows,
                                     const Indices& y_rows, const std::vector<Term>& terms,
                                     bool paired, const std::string& precision, int workers,
                                     const py::object& progress) {
    const Source first(view_of(x)), second(view_of(y));
    const auto check = [](const Indices& rows, int64_t n) {
        const int64_t* at = rows.data();
        return std::all_of(at, at + rows.size(), [n](int64_t i) { return i >= 0 && i < n; });
    };
    if (x_rows.ndim() != 2 || y_rows.ndim() != 2 || x_rows.shape(0) != y_rows.shape(0) ||
        x_rows.shape(1) != y_rows.shape(1) || x_rows.size() == 0 || !check(x_rows, first.rows()) ||
        !check(y_rows, second.rows())) {
        throw py::value_error("x_rows and y_rows must be row numbers, a line for each subset");
    }
    const auto kernel = terms_of(terms);
    const Precision wanted = precision_of(precision);
    const int64_t *in_x = x_rows.data(), *in_y = y_rows.data();
    const int64_t subsets = x_rows.shape(0), size = x_rows.shape(1);
    py::array_t<double> out({subsets, int64_t{sums_of_subset}});
    double* sums = out.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        kernel_subset_sums(first, second, in_x, in_y, subsets, size, paired, kernel, wanted,
                           control, sums);
    });
    return out;
}

py::tuple bind_gradient(const py::array& x, const py::object& y, const std::vector<Term>& terms,
                        const py::object& x_weights, const py::object& y_weights, bool diagonal,
                        bool grad_x, bool grad_y, const std::string& precision, int workers,
                        const py::object& progress) {
    const Source rows(view_of(x));
    const bool itself = y.is_none();
    const Source cols = itself ? rows : Source(view_of(y.cast<py::array>()));
    const auto kernel = terms_of(terms);
    const Precision wanted = precision_of(precision);
    const double* v = vector_of<double>(x_weights, rows.rows(), "x_weights");
    const double* w = itself ? v : vector_of<double>(y_weights, cols.rows(), "y_weights");
    const int64_t m = itself ? 0 : cols.rows();
    auto row_sums = zeros<double>({rows.rows()}), col_sums = zeros<double>({m});
    KernelGradient out{row_sums.mutable_data(), col_sums.mutable_data(), nullptr, nullptr};
    const auto wanted_of = [&](bool is, int64_t count, double*& data) -> py::object {
        if (!is) return py::none();
        auto array = zeros<double>({count, rows.d()});
        data = array.mutable_data();
        return array;
    };
    const py::object by_x = wanted_of(grad_x, rows.rows(), out.grad_x);
    const py::object by_y = wanted_of(grad_y, m, out.grad_y);
    run_released(progress, workers, [&](Control& control) {
        kernel_gradient(rows, cols, itself, diagonal, kernel, v, w, wanted, control, out);
    });
    return py::make_tuple(row_sums, col_sums, by_x, by_y);
}

using Words = py::array_t<uint64_t, py::array::c_style>;

// Words of 64 labels, a line of them per 64 of the rows that are labelled.
Labels labels_of(const Words& words, int64_t rows) {
    if (words.ndim() != 2 || words.shape(0) != (rows + 63) / 64) {
        throw py::value_error("labels must have a bit per row (or pair) and labelling");
    }
    return {words.data(), rows, words.shape(1)};
}

py::tuple bind_label_sums(const py::array& x, const py::array& y, const Words& labels,
                          const std::vector<std::vector<Term>>& kernels, bool paired,
                          const std::vector<double>& rounding_steps, int workers,
                          const py::object& progress) {
    Source pooled(view_of(x), view_of(y));
    if (paired) {
        if (2 * x.shape(0) != pooled.rows()) {
            throw py::value_error("paired rows need samples of one size");
        }
        pooled.interleave();
    }
    if (!rounding_steps.empty() && rounding_steps.size() != kernels.size()) {
        throw py::value_error("rounding_steps must have one number per kernel");
    }
    const Labels bits = labels_of(labels, pooled.rows() / (paired ? 2 : 1));
    std::vector<std::vector<KernelTerm>> wanted;
    for (const auto& terms : kernels) wanted.push_back(terms_of(terms));
    const auto n = static_cast<py::ssize_t>(kernels.size());
    py::array_t<double> within({n, labels.shape(1)}), row({n, labels.shape(1)}), total(n);
    const LabelTotals out{within.mutable_data(), row.mutable_data(), total.mutable_data()};
    run_released(progress, workers, [&](Control& control) {
        kernel_label_sums(pooled, bits, wanted,
                          rounding_steps.empty() ? nullptr : rounding_steps.data(), control, out);
    });
    return py::make_tuple(within, row, total);
}

py::tuple bind_stein(const py::array& x, const py::array& scores, const Words& labels,
                     const std::vector<Term>& terms, int workers, const py::object& progress) {
    const Source rows(view_of(x)), of_rows(view_of(scores));
    if (of_rows.rows() != rows.rows() || of_rows.d() != rows.d()) {
        throw py::value_error("scores must have the shape of x");
    }
    const Labels bits = labels_of(labels, rows.rows());
    const auto kernel = terms_of(terms);
    for (const KernelTerm& term : kernel) {
        if (!has_stein(term.kernel)) throw py::value_error("kernels need two derivatives");
    }
    py::array_t<double> within(labels.shape(1)), row(labels.shape(1));
    double total = 0.0;
    const LabelTotals out{within.mutable_data(), row.mutable_data(), &total};
    run_released(progress, workers, [&](Control& control) {
        stein_label_sums(rows, of_rows, bits, kernel, control, out);
    });
    return py::make_tuple(within, row, total);
}

double bind_quantile(const py::array& x, const py::object& y, const std::string& metric, double q,
                     bool squared, int workers, const py::object& progress) {
    const Array first = view_of(x);
    const Source pooled = y.is_none() ? Source(first) : Source(first, view_of(y.cast<py::array>()));
    const SearchRequest request{pooled, pooled, metric_of(metric, py::none(), pooled.d())};
    double value = 0.0;
    run_released(progress, workers, [&](Control& control) {
        value = distance_quantile(request, q, squared, control);
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
    m.def("kernel_matvec", bind_matvec, arg("x"), arg("y"), arg("v").noconvert(), arg("terms"),
          py::kw_only(), arg("precision"), arg("workers"), arg("progress") = py::none());
    m.def("kernel_logsumexp", bind_logsumexp, arg("x"), arg("y").none(true), arg("terms"),
          arg("log_weights").none(true), arg("rates").none(true), py::kw_only(), arg("precision"),
          arg("workers"), arg("progress") = py::none());
    m.def("stein_label_sums", bind_stein, arg("x"), arg("scores"), arg("labels").noconvert(),
          arg("terms"), py::kw_only(), arg("workers"), arg("progress") = py::none());
    m.def("kernel_moments", bind_moments, arg("x"), arg("y").none(true), arg("terms"),
          py::kw_only(), arg("precision"), arg("workers"), arg("progress") = py::none());
    m.def("kernel_subset_sums", bind_subset_sums, arg("x"), arg("y"), arg("x_rows").noconvert(),
          arg("y_rows").noconvert(), arg("terms"), py::kw_only(), arg("paired"), arg("precision"),
          arg("workers"), arg("progress") = py::none());
    m.def("kernel_gradient", bind_gradient, arg("x"), arg("y").none(true), arg("terms"),
          arg("x_weights"), arg("y_weights").none(true), py::kw_only(), arg("diagonal"),
          arg("grad_x") = true, arg("grad_y") = true, arg("precision"), arg("workers"),
          arg("progress") = py::none());
    m.def("kernel_label_sums", bind_label_sums, arg("x"), arg("y"), arg("labels").noconvert(),
          arg("kernels"), py::kw_only(), arg("paired"),
          arg("rounding_steps") = std::vector<double>{}, arg("workers"),
          arg("progress") = py::none());
    m.def("distance_quantile", bind_quantile, arg("x"), arg("y").none(true), arg("metric"),
          arg("q"), arg("squared"), py::kw_only(), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
