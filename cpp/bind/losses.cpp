// Softmax and sigmoid losses and their gradients.
#include <numeric>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "losses/sigmoid.hpp"
#include "losses/softmax.hpp"

namespace pairtile {
namespace {

// What the losses of logits are asked.
struct LossArguments {
    Source x, y;
    double scale;
    bool normalise, grad;
    std::vector<double> even;
    const double* upstream;
    int workers;
    const py::object& progress;

    LossArguments(const py::array& from_x, const py::array& from_y, double by, bool unit,
                  bool gradients, const py::object& row_upstream, int threads,
                  const py::object& report)
        : x(view_of(from_x)),
          y(view_of(from_y)),
          scale(by),
          normalise(unit),
          grad(gradients),
          even(static_cast<size_t>(x.rows()), 1.0 / static_cast<double>(x.rows())),
          upstream(vector_of<double>(row_upstream, x.rows(), "row_upstream")),
          workers(threads),
          progress(report) {
        if (!upstream) upstream = even.data();
    }
    bool wide() const { return x.holds_float64() || y.holds_float64(); }

    // body(request) without the GIL.
    template <class Body>
    void run(Body body) const {
        run_released(progress, workers, [&](Control& control) {
            body(LogitRequest{x, y, scale, normalise, grad ? upstream : nullptr, control});
        });
    }
};

// Gradients of both sides; None without them.
template <class T>
struct Gradients {
    py::object x = py::none(), y = py::none();
    LogitGradients<T> to{};

    explicit Gradients(const LossArguments& given) {
        if (!given.grad) return;
        auto by_x = zeros<T>({given.x.rows(), given.x.d()});
        auto by_y = zeros<T>({given.y.rows(), given.y.d()});
        to = {by_x.mutable_data(), by_y.mutable_data()};
        x = by_x, y = by_y;
    }
};

py::object wanted(bool grad, double value) {
    return grad ? py::object(py::float_(value)) : py::none();
}

template <class T>
py::tuple softmax(const LossArguments& given, const int64_t* targets, bool symmetric) {
    SoftmaxLosses<T> out;
    py::array_t<double> per_row(given.x.rows()), lse_row(given.x.rows());
    py::array_t<double> lse_col(symmetric ? given.y.rows() : 0);
    Gradients<T> gradients(given);
    out.per_row = per_row.mutable_data();
    out.lse_row = lse_row.mutable_data();
    out.lse_col = lse_col.mutable_data();
    out.gradients = gradients.to;
    given.run(
        [&](const LogitRequest& request) { softmax_losses<T>(request, targets, symmetric, out); });
    return py::make_tuple(per_row, lse_row, symmetric ? py::object(lse_col) : py::none(),
                          gradients.x, gradients.y, wanted(given.grad, out.grad_scale));
}

py::tuple bind_softmax(const py::array& x, const py::array& y, double scale,
                       const py::object& targets, bool symmetric, bool normalize, bool grad,
                       const py::object& row_upstream, int workers, const py::object& progress) {
    const LossArguments given(x, y, scale, normalize, grad, row_upstream, workers, progress);
    std::vector<int64_t> own(static_cast<size_t>(given.x.rows()));
    std::iota(own.begin(), own.end(), int64_t{0});
    const int64_t* chosen = vector_of<int64_t>(targets, given.x.rows(), "targets");
    const auto of = given.wide() ? softmax<double> : softmax<float>;
    return of(given, chosen ? chosen : own.data(), symmetric);
}

template <class T>
py::tuple sigmoid(const LossArguments& given, double bias) {
    SigmoidLosses<T> out;
    py::array_t<double> per_row(given.x.rows());
    Gradients<T> gradients(given);
    out.per_row = per_row.mutable_data();
    out.gradients = gradients.to;
    given.run([&](const LogitRequest& request) { sigmoid_losses<T>(request, bias, out); });
    return py::make_tuple(per_row, gradients.x, gradients.y, wanted(given.grad, out.grad_scale),
                          wanted(given.grad, out.grad_bias));
}

py::tuple bind_sigmoid(const py::array& x, const py::array& y, double scale, double bias,
                       bool normalize, bool grad, const py::object& row_upstream, int workers,
                       const py::object& progress) {
    const LossArguments given(x, y, scale, normalize, grad, row_upstream, workers, progress);
    return given.wide() ? sigmoid<double>(given, bias) : sigmoid<float>(given, bias);
}

}  // namespace

void register_losses(py::module_& m) {
    using py::arg;
    m.def("softmax_losses", bind_softmax, arg("x"), arg("y"), arg("scale"),
          arg("targets").none(true), arg("symmetric"), py::kw_only(), arg("normalize"), arg("grad"),
          arg("row_upstream").none(true), arg("workers"), arg("progress") = py::none());
    m.def("sigmoid_losses", bind_sigmoid, arg("x"), arg("y"), arg("scale"), arg("bias"),
          py::kw_only(), arg("normalize"), arg("grad"), arg("row_upstream").none(true),
          arg("workers"), arg("progress") = py::none());
}

}  // namespace pairtile
