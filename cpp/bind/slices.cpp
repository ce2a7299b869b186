// Sliced transport and energy.
#include "slices/slices.hpp"

#include <optional>

#include "bind/arrays.hpp"
#include "bind/families.hpp"

namespace pairtile {
namespace {

// The arrays of one call, viewed; the caller keeps them alive.
struct Request {
    Request(const py::array& x, const py::array& y, const py::object& lines)
        : slices{view_of(x), view_of(y)} {
        if (!lines.is_none()) directions = view_of(lines.cast<py::array>());
        if (slices.y.cols != slices.x.cols || (directions && directions->rows != slices.x.cols)) {
            throw py::value_error("x, y and directions must have the same features");
        }
        if (directions) slices.directions = &*directions;
    }
    Request(const Request&) = delete;

    bool wide() const {
        return slices.x.dtype == Dtype::float64 || slices.y.dtype == Dtype::float64;
    }

    Slices slices;
    std::optional<Array> directions;
};

// compute(costs, gradients, control) for results of dtype T.
template <class T, class Compute>
py::tuple results(const Request& request, bool gradient, int workers, const py::object& progress,
                  const Compute& compute) {
    const Slices& slices = request.slices;
    py::array_t<double> costs(slices.count());
    py::object grad_x = py::none(), grad_y = py::none();
    PointGradients<T> gradients;
    if (gradient) {
        py::array_t<T> x = zeros<T>({slices.x.rows, slices.x.cols});
        py::array_t<T> y = zeros<T>({slices.y.rows, slices.y.cols});
        gradients = {x.mutable_data(), y.mutable_data()};
        grad_x = x;
        grad_y = y;
    }
    double* out = costs.mutable_data();
    run_released(progress, workers, [&](Control& control) { compute(out, gradients, control); });
    return py::make_tuple(costs, grad_x, grad_y);
}

template <class Compute>
py::tuple in_working_dtype(const Request& request, bool gradient, int workers,
                           const py::object& progress, const Compute& compute) {
    return request.wide() ? results<double>(request, gradient, workers, progress, compute)
                          : results<float>(request, gradient, workers, progress, compute);
}

py::tuple bind_costs(const py::array& x, const py::array& y, const py::object& directions, double p,
                     const py::object& x_weights, const py::object& y_weights, bool gradient,
                     const py::object& direction_weights, int workers, const py::object& progress) {
    const Request request(x, y, directions);
    const Slices& slices = request.slices;
    const double* of_x = vector_of<double>(x_weights, slices.x.rows, "x_weights");
    const double* of_y = vector_of<double>(y_weights, slices.y.rows, "y_weights");
    const double* of_directions =
        vector_of<double>(direction_weights, slices.count(), "direction_weights");
    return in_working_dtype(
        request, gradient, workers, progress, [&](double* costs, auto gradients, Control& control) {
            transport_slices(slices, p, of_x, of_y, of_directions, costs, gradients, control);
        });
}

py::tuple bind_energy_costs(const py::array& x, const py::array& y, const py::object& directions,
                            bool gradient, int workers, const py::object& progress) {
    const Request request(x, y, directions);
    return in_working_dtype(request, gradient, workers, progress,
                            [&](double* costs, auto gradients, Control& control) {
                                energy_slices(request.slices, costs, gradients, control);
                            });
}

}  // namespace

void register_slices(py::module_& m) {
    using py::arg;
    m.def("sliced_costs", bind_costs, arg("x"), arg("y"), arg("directions").none(true), arg("p"),
          arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(), arg("gradient"),
          arg("direction_weights").none(true), arg("workers"), arg("progress") = py::none());
    m.def("sliced_energy_costs", bind_energy_costs, arg("x"), arg("y"),
          arg("directions").none(true), py::kw_only(), arg("gradient"), arg("workers"),
          arg("progress") = py::none());
}

}  // namespace pairtile
