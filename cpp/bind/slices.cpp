// Sliced transport and energy.
#include "slices/slices.hpp"

#include <array>
#include <optional>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "engine/survey.hpp"
#include "slices/ascent.hpp"
#include "slices/columns.hpp"
#include "slices/frame.hpp"
#include "slices/moments.hpp"
#include "slices/partial.hpp"
#include "slices/plans.hpp"
#include "slices/project.hpp"
#include "slices/relabelled.hpp"
#include "slices/sphere.hpp"

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

// The gradients of a call, where they are asked for.
template <class T>
struct PointArrays {
    PointArrays(const Slices& slices, bool by_x, bool by_y) {
        const auto wanted = [](bool is, const Array& rows, T*& data) -> py::object {
            if (!is) return py::none();
            py::array_t<T> array = zeros<T>({rows.rows, rows.cols});
            data = array.mutable_data();
            return array;
        };
        x = wanted(by_x, slices.x, gradients.x);
        y = wanted(by_y, slices.y, gradients.y);
    }

    py::object x = py::none(), y = py::none();
    PointGradients<T> gradients;
};

// compute(T()) with the working dtype T.
template <class Compute>
auto in_working_dtype(const Request& request, const Compute& compute) {
    return request.wide() ? compute(double()) : compute(float());
}

py::tuple bind_costs(const py::array& x, const py::array& y, const py::object& directions, double p,
                     const py::object& x_weights, const py::object& y_weights, bool gradient,
                     bool grad_x, bool grad_y, bool weight_gradient, bool moments,
                     const py::object& direction_weights, int workers, const py::object& progress,
                     int64_t memory_limit) {
    const Request request(x, y, directions);
    const Slices& slices = request.slices;
    const int64_t count = slices.count();
    const Transport transport{p, vector_of<double>(x_weights, slices.x.rows, "x_weights"),
                              vector_of<double>(y_weights, slices.y.rows, "y_weights"),
                              vector_of<double>(direction_weights, count, "direction_weights")};
    return in_working_dtype(request, [&]<class T>(T) {
        py::array_t<double> costs(count);
        const PointArrays<T> points(slices, gradient && grad_x, gradient && grad_y);
        TransportResults<T> results{costs.mutable_data(), points.gradients};
        const auto wanted = [](bool is, std::vector<int64_t> shape, double*& data) -> py::object {
            if (!is) return py::none();
            py::array_t<double> array = zeros<double>(shape);
            data = array.mutable_data();
            return array;
        };
        const auto by_row = [&](int64_t rows) {
            return slices.directions ? std::vector{rows} : std::vector{count, rows};
        };
        const py::object of_x =
            wanted(weight_gradient, by_row(slices.x.rows), results.x_weight_slopes);
        const py::object of_y =
            wanted(weight_gradient, by_row(slices.y.rows), results.y_weight_slopes);
        const py::object of_lines = wanted(moments, {count, 4}, results.moments);
        run_released(
            progress, workers,
            [&](Control& control) { transport_slices(slices, transport, results, control); },
            memory_limit);
        return py::make_tuple(costs, points.x, points.y, of_x, of_y, of_lines);
    });
}

py::tuple bind_energy_costs(const py::array& x, const py::array& y, const py::object& directions,
                            bool gradient, bool grad_x, bool grad_y, int workers,
                            const py::object& progress, int64_t memory_limit) {
    const Request request(x, y, directions);
    return in_working_dtype(request, [&]<class T>(T) {
        py::array_t<double> costs(request.slices.count());
        const PointArrays<T> points(request.slices, gradient && grad_x, gradient && grad_y);
        double* out = costs.mutable_data();
        run_released(
            progress, workers,
            [&](Control& control) {
                energy_slices(request.slices, out, points.gradients, control);
            },
            memory_limit);
        return py::make_tuple(costs, points.x, points.y);
    });
}

// W_p^p of each direction, and its derivatives by it.
py::tuple bind_direction_slopes(const py::array& x, const py::array& y, const py::array& directions,
                                double p, const py::object& x_weights, const py::object& y_weights,
                                int workers, const py::object& progress) {
    const Request request(x, y, directions);
    const Slices& slices = request.slices;
    const Transport transport{p, vector_of<double>(x_weights, slices.x.rows, "x_weights"),
                              vector_of<double>(y_weights, slices.y.rows, "y_weights")};
    return in_working_dtype(request, [&]<class T>(T) {
        py::array_t<double> costs(slices.count());
        py::array_t<double> slopes = zeros<double>({slices.count(), slices.x.cols});
        TransportResults<T> results{costs.mutable_data(), {}};
        results.gradients.directions = slopes.mutable_data();
        run_released(progress, workers, [&](Control& control) {
            transport_slices(slices, transport, results, control);
        });
        return py::make_tuple(costs, slopes.attr("T"));
    });
}

// Climbs from `starts`, R × d: the highest points on their ways, and log W_p there.
py::tuple bind_climbs(const py::array& x, const py::array& y,
                      const py::array_t<double, py::array::c_style>& starts,
                      const py::object& units, double p, const py::object& x_weights,
                      const py::object& y_weights, int64_t rounds, int64_t kept, double tol,
                      int workers, const py::object& progress) {
    const Request request(x, y, py::none());
    const Slices& samples = request.slices;
    if (starts.ndim() != 2 || starts.shape(1) != samples.x.cols) {
        throw py::value_error("starts must be points with the features of x");
    }
    const int64_t count = starts.shape(0);
    const Transport transport{p, vector_of<double>(x_weights, samples.x.rows, "x_weights"),
                              vector_of<double>(y_weights, samples.y.rows, "y_weights")};
    const Ascent ascent{
        starts.data(), vector_of<double>(units, count, "units"), count, rounds, kept, tol};
    return in_working_dtype(request, [&]<class T>(T) {
        py::array_t<double> points({count, samples.x.cols}), heights(count);
        double *of_points = points.mutable_data(), *of_heights = heights.mutable_data();
        run_released(progress, workers, [&](Control& control) {
            climb<T>(samples, transport, ascent, of_points, of_heights, control);
        });
        return py::make_tuple(points, heights);
    });
}

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

// Distances of the plans of all directions, and with `whole` the mean of the plans before them.
template <bool whole>
py::object bind_plan(const py::array& x, const py::array& y, const py::array& directions, double p,
                     const py::object& x_weights, const py::object& y_weights, int workers,
                     const py::object& progress) {
    const Request request(x, y, directions);
    const Slices& slices = request.slices;
    const Transport transport{p, vector_of<double>(x_weights, slices.x.rows, "x_weights"),
                              vector_of<double>(y_weights, slices.y.rows, "y_weights")};
    py::array_t<double> distances(slices.count());
    double* out = distances.mutable_data();
    return in_working_dtype(request, [&]<class T>(T) -> py::object {
        Plan plan;
        run_released(progress, workers, [&](Control& control) {
            if constexpr (whole) {
                plan = mean_plan<T>(slices, transport, out, control);
            } else {
                plan_distances<T>(slices, transport, out, control);
            }
        });
        if constexpr (!whole) return distances;
        return py::make_tuple(array_of(plan.rows), array_of(plan.columns), array_of(plan.mass),
                              distances);
    });
}

py::array_t<double> bind_circles(const py::array& x, const py::array& y, const py::array& frames,
                                 double p, bool linear, int workers, const py::object& progress) {
    const Request request(x, y, frames);
    const auto plan = linear ? CirclePlan::linear : CirclePlan::exact;
    py::array_t<double> distances(request.slices.count() / 2);
    double* out = distances.mutable_data();
    in_working_dtype(request, [&]<class T>(T) {
        run_released(progress, workers, [&](Control& control) {
            circle_distances<T>(request.slices, p, plan, out, control);
        });
    });
    return distances;
}

py::tuple bind_relabelled(const py::array_t<double, py::array::c_style>& lines,
                          const py::array_t<uint8_t, py::array::c_style>& bits,
                          const py::array_t<int64_t, py::array::c_style>& sizes, bool energy,
                          double p, int workers, const py::object& progress) {
    const int64_t count = lines.shape(0);
    const Relabellings labels{bits.data(), sizes.data(), lines.shape(1), sizes.shape(0)};
    if (bits.shape(0) != labels.rows || bits.shape(1) != labels.bytes()) {
        throw py::value_error("bits must have a row for each row and a bit for each relabelling");
    }
    py::array_t<double> costs({count, labels.count}), of_costs(count);
    py::array_t<int64_t> exponents(count);
    double *out = costs.mutable_data(), *out_sizes = of_costs.mutable_data();
    int64_t* out_exponents = exponents.mutable_data();
    run_released(progress, workers, [&](Control& control) {
        relabelled_line_costs(lines.data(), count, labels, energy, p, out, out_sizes, out_exponents,
                              control);
    });
    return py::make_tuple(costs, of_costs, exponents);
}

py::tuple bind_column_statistics(const py::array& x, const py::array& y,
                                 const py::array_t<double, py::array::c_style>& levels, int workers,
                                 const py::object& progress, int64_t memory_limit) {
    const Request request(x, y, py::none());
    const Slices& slices = request.slices;
    return in_working_dtype(request, [&]<class T>(T) {
        std::array<py::array_t<double>, 5> numbers;
        for (auto& one : numbers) one = py::array_t<double>(slices.count());
        const int64_t level_count = levels.size();
        py::array_t<double> quantiles(std::vector{slices.count(), level_count});
        const ColumnResults results{numbers[0].mutable_data(), numbers[1].mutable_data(),
                                    numbers[2].mutable_data(), numbers[3].mutable_data(),
                                    numbers[4].mutable_data(), quantiles.mutable_data()};
        run_released(
            progress, workers,
            [&](Control& control) {
                column_statistics<T>(slices.x, slices.y, levels.data(), level_count, results,
                                     control);
            },
            memory_limit);
        return py::make_tuple(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4],
                              quantiles);
    });
}

py::tuple bind_partial(const py::array_t<double, py::array::c_style>& x,
                       const py::array_t<double, py::array::c_style>& y, double share, double p) {
    py::array_t<double> x_mass(x.size()), y_mass(y.size());
    const Line line{x.data(), x.size(), y.data(), y.size()};
    double *of_x = x_mass.mutable_data(), *of_y = y_mass.mutable_data();
    run_released(py::none(), 1,
                 [&](Control& control) { partial_masses(line, share, p, control, of_x, of_y); });
    return py::make_tuple(x_mass, y_mass);
}

py::array_t<int64_t> bind_centre_rows(int64_t rows, int64_t d) {
    return array_of(centre_rows(rows, d));
}

py::array_t<double> bind_line_centre(const py::array& x, const py::array& y) {
    return array_of(line_centre(view_of(x), view_of(y), nullptr, nullptr));
}

double bind_largest_offset(const py::array& x, const py::object& centre, int workers) {
    const Array rows = view_of(x);
    const double* from = vector_of<double>(centre, rows.cols, "centre");
    double largest = 0;
    run_released(py::none(), workers, [&](Control& control) {
        largest =
            largest_offset(Source(rows), std::vector<double>(from, from + rows.cols), control);
    });
    return largest;
}

template <class T>
void project_into(py::array_t<T>& out, const Array& rows, const Array& directions,
                  const Frame& frame, int workers) {
    if (out.ndim() != 2 || out.shape(0) != directions.cols || out.shape(1) != rows.rows ||
        directions.rows != rows.cols || (rows.rows > 1 && out.strides(1) != sizeof(T))) {
        throw py::value_error("out must have a contiguous line of values for each direction");
    }
    const Slices slices{rows, rows, &directions};
    const Batch<T> batch(slices, 0, directions.cols);
    const Lines<T> lines{out.mutable_data(), out.strides(0) / static_cast<int64_t>(sizeof(T)),
                         rows.rows};
    run_released(py::none(), workers,
                 [&](Control& control) { batch.project(rows, frame, lines, control); });
}

void bind_project_rows(const py::array& x, const py::array& directions, const py::object& centre,
                       double scale, const py::array& out, int workers) {
    const Array rows = view_of(x), along = view_of(directions);
    const double* from = vector_of<double>(centre, rows.cols, "centre");
    Frame frame = raw_frame(rows.cols);
    frame.centre.assign(from, from + rows.cols);
    frame.scale = scale;
    if (py::isinstance<py::array_t<double>>(out)) {
        auto lines = out.cast<py::array_t<double>>();
        project_into(lines, rows, along, frame, workers);
    } else {
        auto lines = out.cast<py::array_t<float>>();
        project_into(lines, rows, along, frame, workers);
    }
}

py::tuple bind_column_moments(const py::array& x, const py::object& weights, int workers) {
    const Array rows = view_of(x);
    const double* of_rows = vector_of<double>(weights, rows.rows, "weights");
    py::array_t<double> means(rows.cols), variances(rows.cols);
    double *mean = means.mutable_data(), *variance = variances.mutable_data();
    run_released(py::none(), workers,
                 [&](Control& control) { column_moments(rows, of_rows, mean, variance, control); });
    return py::make_tuple(means, variances);
}

}  // namespace

void register_slices(py::module_& m) {
    using py::arg;
    m.def("sliced_costs", bind_costs, arg("x"), arg("y"), arg("directions").none(true), arg("p"),
          arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(), arg("gradient"),
          arg("grad_x") = true, arg("grad_y") = true, arg("weight_gradient") = false,
          arg("moments") = false, arg("direction_weights").none(true), arg("workers"),
          arg("progress") = py::none(), arg("memory_limit") = 0);
    m.def("sliced_energy_costs", bind_energy_costs, arg("x"), arg("y"),
          arg("directions").none(true), py::kw_only(), arg("gradient"), arg("grad_x") = true,
          arg("grad_y") = true, arg("workers"), arg("progress") = py::none(),
          arg("memory_limit") = 0);
    m.def("sliced_direction_slopes", bind_direction_slopes, arg("x"), arg("y"), arg("directions"),
          arg("p"), arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(),
          arg("workers"), arg("progress") = py::none());
    m.def("sliced_climbs", bind_climbs, arg("x"), arg("y"), arg("starts"), arg("units"), arg("p"),
          arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(), arg("rounds"),
          arg("kept"), arg("tol"), arg("workers"), arg("progress") = py::none());
    m.def("sliced_plan_distances", bind_plan<false>, arg("x"), arg("y"), arg("directions"),
          arg("p"), arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(),
          arg("workers"), arg("progress") = py::none());
    m.def("sliced_plan", bind_plan<true>, arg("x"), arg("y"), arg("directions"), arg("p"),
          arg("x_weights").none(true), arg("y_weights").none(true), py::kw_only(), arg("workers"),
          arg("progress") = py::none());
    m.def("circle_distances", bind_circles, arg("x"), arg("y"), arg("frames"), arg("p"),
          py::kw_only(), arg("linear"), arg("workers"), arg("progress") = py::none());
    m.def("relabelled_line_costs", bind_relabelled, arg("lines"), arg("bits"), arg("sizes"),
          py::kw_only(), arg("energy"), arg("p"), arg("workers"), arg("progress") = py::none());
    m.def("column_statistics", bind_column_statistics, arg("x"), arg("y"), arg("levels"),
          py::kw_only(), arg("workers"), arg("progress") = py::none(), arg("memory_limit") = 0);
    m.def("partial_masses", bind_partial, arg("x"), arg("y"), arg("share"), arg("p"));
    m.def("least_line_memory", least_line_memory, arg("n"), arg("m"), py::kw_only(), arg("wide"),
          arg("weighted"));
    m.def("centre_rows", bind_centre_rows, arg("n"), arg("d"));
    m.def("line_centre", bind_line_centre, arg("x"), arg("y"));
    m.def("largest_offset", bind_largest_offset, arg("x"), arg("centre"), py::kw_only(),
          arg("workers"));
    m.def("project_rows", bind_project_rows, arg("x"), arg("directions"), arg("centre"),
          arg("scale"), arg("out"), py::kw_only(), arg("workers"));
    m.def("column_moments", bind_column_moments, arg("x"), arg("weights").none(true), py::kw_only(),
          arg("workers"));
}

}  // namespace pairtile
