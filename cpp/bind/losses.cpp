// Softmax losses and their gradients.
#include "losses/softmax.hpp"

#include <numeric>

#include "bind/arrays.hpp"
#include "bind/families.hpp"

namespace pairtile {
namespace {

struct Request {
    Source x, y;
    double scale;
    const int64_t* targets;
    bool symmetric, grad;
    const double* upstream;
    int workers;
};

template <class T>
py::dict losses(const Request& request, const py::object& progress) {
    const py::ssize_t n = request.x.rows(), m = request.y.rows(), d = request.x.d();
    py::dict result;
    ContrastiveOutput<T> out;
    py::array_t<double> per_row(n), lse_row(n);
    py::object lse_col = py::none(), grad_x = py::none(), grad_y = py::none();
    out.per_row = per_row.mutable_data();
    out.lse_row = lse_row.mutable_data();
    if (request.symmetric) {
        py::array_t<double> array(m);
        out.lse_col = array.mutable_data();
        lse_col = array;
    }
    if (request.grad) {
        py::array_t<T> x = zeros<T>({n, d}), y = zeros<T>({m, d});
        out.grad_x = x.mutable_data();
        out.grad_y = y.mutable_data();
        grad_x = x;
        grad_y = y;
    }
    run_released(progress, request.workers, [&](Control& control) {
        contrastive<T>(request.x, request.y, request.scale, request.targets, request.symmetric,
                       request.upstream, control, out);
    });
    result["per_row"] = per_row;
    result["lse_row"] = lse_row;
    result["lse_col"] = lse_col;
    result["grad_x"] = grad_x;
    result["grad_y"] = grad_y;
    result["grad_scale"] = request.grad ? py::object(py::float_(out.grad_scale)) : py::none();
    return result;
}

py::dict bind_contrastive(const py::array& x, const py::array& y, double scale,
                          const py::object& targets, bool symmetric, bool normalize, bool grad,
                          const py::object& row_upstream, int workers, const py::object& progress) {
    Source rows(view_of(x)), cols(view_of(y));
    if (normalize) {
        rows.normalise();
        cols.normalise();
    }
    const size_t n = static_cast<size_t>(rows.rows());
    std::vector<int64_t> own(n);
    std::iota(own.begin(), own.end(), int64_t{0});
    const std::vector<double> even(n, 1.0 / static_cast<double>(rows.rows()));
    const int64_t* wanted = vector_of<int64_t>(targets, rows.rows(), "targets");
    const double* upstream = vector_of<double>(row_upstream, rows.rows(), "row_upstream");
    const Request request{rows,
                          cols,
                          scale,
                          wanted ? wanted : own.data(),
                          symmetric,
                          grad,
                          upstream ? upstream : even.data(),
                          workers};
    const bool wide = rows.holds_float64() || cols.holds_float64();
    return wide ? losses<double>(request, progress) : losses<float>(request, progress);
}

}  // namespace

void register_contrastive(py::module_& m) {
    using py::arg;
    m.def("contrastive", bind_contrastive, arg("x"), arg("y"), arg("scale"),
          arg("targets").none(true), arg("symmetric"), py::kw_only(), arg("normalize"), arg("grad"),
          arg("row_upstream").none(true), arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
