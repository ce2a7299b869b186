// Softmax and sigmoid losses, those of positives and negatives, and their gradients.
#include <algorithm>
#include <cstring>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "losses/pairs.hpp"
#include "losses/pulls.hpp"
#include "losses/self_softmax.hpp"
#include "losses/sigmoid.hpp"
#include "losses/softmax.hpp"

namespace pairtile {
namespace {

Source source_of(const py::array& first, const py::object& second) {
    if (second.is_none()) return Source(view_of(first));
    return Source(view_of(first), view_of(second.cast<py::array>()));
}

// What the losses of logits are asked.
struct LossArguments {
    Source x, y;
    double scale;
    const double* row_scales;
    bool normalise, triangle, grad;
    bool by_x, by_y;  // whose gradient is wanted, where there are any
    const double* upstream;
    int workers;
    const py::object& progress;

    bool wide() const { return x.holds_float64() || y.holds_float64(); }

    // body(request) without the GIL.
    template <class Body>
    void run(Body body) const {
        run_released(progress, workers, [&](Control& control) {
            body(LogitRequest{x, y, scale, row_scales, normalise, triangle,
                              grad ? upstream : nullptr, control});
        });
    }
};

// Gradients of both sides, of a triangle's one, and of the scale or of the scales of rows; None
// without them.
template <class T>
struct Gradients {
    py::object x = py::none(), y = py::none(), scales = py::none();
    LogitGradients<T> to{};
    double* by_scales = nullptr;

    explicit Gradients(const LossArguments& given) {
        if (!given.grad) return;
        if (given.by_x) {
            auto by_x = zeros<T>({given.x.rows(), given.x.d()});
            to.x = by_x.mutable_data();
            x = by_x;
        }
        if (given.triangle) {
            to.y = to.x;
        } else if (given.by_y) {
            auto by_y = zeros<T>({given.y.rows(), given.y.d()});
            to.y = by_y.mutable_data();
            y = by_y;
        }
        if (given.row_scales) {
            auto of_rows = zeros<double>({given.x.rows()});
            by_scales = of_rows.mutable_data();
            scales = of_rows;
        }
    }
    py::object of_scale(const LossArguments& given, double value) const {
        return given.grad && !given.row_scales ? py::object(py::float_(value)) : scales;
    }
};

// A sparse matrix of so many rows, checked: row pointers, columns and perhaps weights, which the
// tuple keeps alive.
struct Sparse {
    const int64_t *indptr = nullptr, *columns = nullptr;
    const double* weights = nullptr;

    Sparse(const py::tuple& parts, bool weighted, int64_t rows, int64_t cols, const char* name) {
        if (parts.size() != (weighted ? 3 : 2)) {
            throw py::value_error(std::string(name) + " has the wrong number of parts");
        }
        if (py::object(parts[0]).is_none()) return;
        indptr = vector_of<int64_t>(parts[0], rows + 1, name);
        const int64_t entries = indptr[rows];
        columns = vector_of<int64_t>(parts[1], entries, name);
        bool sound = indptr[0] == 0;
        for (int64_t i = 0; i < rows && sound; ++i) {
            sound = indptr[i] <= indptr[i + 1] && indptr[i + 1] <= entries;
            for (int64_t e = indptr[i]; e < indptr[i + 1] && sound; ++e) {
                sound = columns[e] >= 0 && columns[e] < cols &&
                        (e == indptr[i] || columns[e - 1] < columns[e]);
            }
        }
        if (!sound) throw py::value_error(std::string(name) + " is no matrix of sorted columns");
        if (weighted) weights = vector_of<double>(parts[2], entries, name);
    }
};

// Those of Python (_definitions/softmax.py), which keep alive what these point to.
SoftmaxOptions softmax_options(const py::object& given, int64_t n, int64_t m) {
    const auto vector = [&](const char* name, int64_t length) {
        return vector_of<double>(given.attr(name), length, name);
    };
    const auto number = [&](const char* name) { return given.attr(name).cast<double>(); };
    const auto pairs = [&](const char* name) -> PairList {
        const Sparse list(given.attr(name), false, n, m, name);
        return {list.indptr, list.columns};
    };
    const Sparse positives(given.attr("positives"), true, n, m, "positives");
    SoftmaxOptions options;
    options.positives.targets = vector_of<int64_t>(given.attr("targets"), n, "targets");
    options.positives.row_labels = vector("row_labels", n);
    options.positives.col_labels = vector("col_labels", m);
    options.positives.indptr = positives.indptr;
    options.positives.columns = positives.columns;
    options.positives.weights = positives.weights;
    options.rows = given.attr("rows").cast<bool>();
    options.cols = given.attr("cols").cast<bool>();
    options.margin = number("margin");
    options.angular_margin = number("angular_margin");
    options.column_logits = vector("column_logits", m);
    options.kept = pairs("kept");
    if (!given.attr("false_negative_margin").is_none()) {
        options.false_negative_margin = number("false_negative_margin");
    }
    options.row_limits = vector("row_limits", n);
    options.col_limits = vector("col_limits", m);
    options.row_masked = pairs("row_masked");
    options.col_masked = pairs("col_masked");
    options.label_smoothing = number("label_smoothing");
    options.tau_plus = number("tau_plus");
    return options;
}

// The slope of an angle needs digits that float32 products do not have.
bool needs_float64(const LossArguments& given, const SoftmaxOptions& options) {
    return given.wide() || options.angular_margin != 0.0;
}

template <class T>
py::tuple softmax(const LossArguments& given, const SoftmaxOptions& options) {
    SoftmaxLosses<T> out;
    py::array_t<double> per_row(given.x.rows()), lse_row(options.rows ? given.x.rows() : 0);
    py::array_t<double> lse_col(options.cols ? given.y.rows() : 0);
    Gradients<T> gradients(given);
    out.per_row = per_row.mutable_data();
    out.lse_row = lse_row.mutable_data();
    out.lse_col = lse_col.mutable_data();
    out.gradients = gradients.to;
    out.grad_scales = gradients.by_scales;
    given.run([&](const LogitRequest& request) { softmax_losses<T>(request, options, out); });
    return py::make_tuple(per_row, options.rows ? py::object(lse_row) : py::none(),
                          options.cols ? py::object(lse_col) : py::none(), gradients.x, gradients.y,
                          gradients.of_scale(given, out.grad_scale));
}

py::tuple bind_softmax(const py::array& x, const py::array& y, double scale,
                       const py::object& options, const py::object& row_scales, bool normalize,
                       bool grad, bool grad_x, bool grad_y, const py::object& row_upstream,
                       int workers, const py::object& progress) {
    const Source from_x(view_of(x)), from_y(view_of(y));
    const int64_t n = from_x.rows();
    const LossArguments given{from_x,    from_y,
                              scale,     vector_of<double>(row_scales, n, "row_scales"),
                              normalize, false,
                              grad,      grad_x,
                              grad_y,    vector_of<double>(row_upstream, n, "row_upstream"),
                              workers,   progress};
    const SoftmaxOptions asked = softmax_options(options, n, from_y.rows());
    return needs_float64(given, asked) ? softmax<double>(given, asked)
                                       : softmax<float>(given, asked);
}

// A block of columns, whose rows may have their positives in another one.
struct BlockArguments {
    LossArguments given;
    SoftmaxOptions options;

    bool wide() const { return needs_float64(given, options); }
};

BlockArguments block_of(const py::array& x, const py::array& y, double scale,
                        const py::object& options, const py::object& row_scales, bool normalize,
                        bool itself, bool grad_x, bool grad_y, int workers,
                        const py::object& progress) {
    const Source from_x(view_of(x)), from_y(view_of(y));
    const int64_t n = from_x.rows(), m = from_y.rows();
    const SoftmaxOptions asked = softmax_options(options, n, m);
    const double* scales = vector_of<double>(row_scales, n, "row_scales");
    if (itself && (n != m || scales || asked.cols || !asked.positives.targets)) {
        throw py::value_error("rows among themselves have one scale, and no columns of their own");
    }
    return {{from_x, itself ? from_x : from_y, scale, scales, normalize, itself, true, grad_x,
             grad_y, nullptr, workers, progress},
            asked};
}

constexpr int64_t state_numbers = 6;
static_assert(sizeof(SoftmaxState) == state_numbers * sizeof(double));

std::vector<SoftmaxState> states_of(const py::object& given, int64_t n, const char* name) {
    std::vector<SoftmaxState> states(static_cast<size_t>(n));
    if (given.is_none()) return {};
    const auto array = given.cast<py::array_t<double, py::array::c_style>>();
    if (array.ndim() != 2 || array.shape(0) != n || array.shape(1) != state_numbers) {
        throw py::value_error(std::string(name) + " must hold six numbers for each row");
    }
    std::memcpy(static_cast<void*>(states.data()), array.data(),
                states.size() * sizeof(SoftmaxState));
    return states;
}

py::object array_of(const std::vector<SoftmaxState>& states) {
    py::array_t<double> out(
        {static_cast<py::ssize_t>(states.size()), static_cast<py::ssize_t>(state_numbers)});
    std::memcpy(out.mutable_data(), states.data(), states.size() * sizeof(SoftmaxState));
    return out;
}

py::tuple bind_softmax_states(const py::array& x, const py::array& y, double scale,
                              const py::object& options, const py::object& row_scales,
                              bool normalize, bool itself, int workers,
                              const py::object& progress) {
    const BlockArguments block = block_of(x, y, scale, options, row_scales, normalize, itself,
                                          false, false, workers, progress);
    const bool cols = block.options.cols;
    std::vector<SoftmaxState> of_rows(static_cast<size_t>(block.given.x.rows()));
    std::vector<SoftmaxState> of_cols(cols ? static_cast<size_t>(block.given.y.rows()) : 0);
    py::array_t<double> limits(block.given.x.rows());
    const SoftmaxStates out{of_rows.data(), of_cols.data(), limits.mutable_data()};
    block.given.run([&](const LogitRequest& request) {
        block.wide() ? softmax_states<double>(request, block.options, out)
                     : softmax_states<float>(request, block.options, out);
    });
    return py::make_tuple(array_of(of_rows), cols ? array_of(of_cols) : py::none(), limits);
}

template <class T>
py::tuple block_gradients(const BlockArguments& block, const SoftmaxSides& sides) {
    SoftmaxLosses<T> out;
    Gradients<T> gradients(block.given);
    out.gradients = gradients.to;
    out.grad_scales = gradients.by_scales;
    block.given.run([&](const LogitRequest& request) {
        softmax_gradients<T>(request, block.options, sides, out);
    });
    return py::make_tuple(gradients.x, gradients.y,
                          gradients.of_scale(block.given, out.grad_scale));
}

py::tuple bind_softmax_gradients(const py::array& x, const py::array& y, double scale,
                                 const py::object& options, const py::object& of_all,
                                 const py::object& row_scales, bool normalize, bool itself,
                                 bool grad_x, bool grad_y, int workers,
                                 const py::object& progress) {
    const BlockArguments block = block_of(x, y, scale, options, row_scales, normalize, itself,
                                          grad_x, grad_y, workers, progress);
    const int64_t n = block.given.x.rows(), m = block.given.y.rows();
    const bool rows = block.options.rows, cols = block.options.cols;
    const auto of_rows = states_of(of_all.attr("row_states"), n, "row_states");
    const auto of_cols = states_of(of_all.attr("col_states"), m, "col_states");
    const SoftmaxSides sides{of_rows.data(), of_cols.data(),
                             vector_of<double>(of_all.attr("row_weights"), n, "row_weights"),
                             vector_of<double>(of_all.attr("col_weights"), m, "col_weights"),
                             of_all.attr("negatives").cast<int64_t>()};
    if (of_rows.empty() || (rows && !sides.row_weights) ||
        (cols && (of_cols.empty() || !sides.col_weights || !block.options.positives.targets))) {
        throw py::value_error(
            "a side that has a loss needs states, weights and, of columns, targets");
    }
    return block.wide() ? block_gradients<double>(block, sides)
                        : block_gradients<float>(block, sides);
}

// Of a set with itself and a bank: a row is one of the columns too, and has the gradient of both.
template <class T>
py::tuple supcon(const LossArguments& given, const SoftmaxOptions& options, bool bank_wanted) {
    SoftmaxLosses<T> out;
    const int64_t n = given.x.rows();
    py::array_t<double> per_row(n), lse_row(n);
    Gradients<T> gradients(given);
    out.per_row = per_row.mutable_data();
    out.lse_row = lse_row.mutable_data();
    out.gradients = gradients.to;
    out.grad_scales = gradients.by_scales;
    given.run([&](const LogitRequest& request) {
        if (request.triangle) return self_softmax_losses<T>(request, options.positives, out);
        softmax_losses<T>(request, options, out);
        if (!request.upstream || !out.gradients.x) return;
        for (int64_t i = 0; i < n * given.x.d(); ++i) out.gradients.x[i] += out.gradients.y[i];
    });
    py::object bank = py::none();
    if (given.grad && bank_wanted && given.y.rows() > n)
        bank = gradients.y[py::slice(n, given.y.rows(), 1)];
    return py::make_tuple(per_row, lse_row, gradients.x, bank,
                          gradients.of_scale(given, out.grad_scale));
}

// Rows are x and `second`, columns these and the bank.
py::tuple bind_supcon(const py::array& x, const py::object& second, const py::object& bank,
                      double scale, const py::object& row_scales, const py::object& labels,
                      double label_width, bool normalize, bool grad, bool grad_x, bool grad_y,
                      const py::object& row_upstream, int workers, const py::object& progress) {
    const Source rows = source_of(x, second);
    if (!second.is_none() && !bank.is_none()) {
        throw py::value_error("rows of two arrays have no bank");
    }
    const Source cols = bank.is_none() ? rows : source_of(x, bank);
    const bool triangle = bank.is_none() && row_scales.is_none();
    const LossArguments given{rows,
                              cols,
                              scale,
                              vector_of<double>(row_scales, rows.rows(), "row_scales"),
                              normalize,
                              triangle,
                              grad,
                              grad_x,
                              grad_x || grad_y,  // rows are columns too
                              vector_of<double>(row_upstream, rows.rows(), "row_upstream"),
                              workers,
                              progress};
    SoftmaxOptions options;
    const double* of_all = vector_of<double>(labels, cols.rows(), "labels");
    options.positives = {nullptr, of_all, of_all, label_width, nullptr, nullptr, nullptr, true};
    return given.wide() ? supcon<double>(given, options, grad_y)
                        : supcon<float>(given, options, grad_y);
}

template <class T>
py::tuple pairs(const LossArguments& given, const PairLossOptions& options) {
    py::array_t<double> per_row(given.x.rows());
    Gradients<T> gradients(given);
    double* losses = per_row.mutable_data();
    given.run([&](const LogitRequest& request) {
        pair_losses<T>(request, options, losses, gradients.to.x);
    });
    return py::make_tuple(per_row, gradients.x);
}

py::tuple bind_pairs(const py::array& x, const std::string& loss, const py::tuple& numbers,
                     const py::object& labels, bool normalize, bool grad,
                     const py::object& row_upstream, int workers, const py::object& progress) {
    const Source rows(view_of(x));
    const LossArguments given{
        rows,      rows,
        1.0,       nullptr,
        normalize, true,
        grad,      true,
        true,      vector_of<double>(row_upstream, rows.rows(), "row_upstream"),
        workers,   progress};
    const bool circle = loss == "circle";
    if (!circle && loss != "multi_similarity") throw py::value_error("unknown loss " + loss);
    std::vector<double> parameters;
    for (const py::handle number : numbers) parameters.push_back(number.cast<double>());
    if (parameters.size() != (circle ? 2 : 4)) {
        throw py::value_error("wrong number of parameters of " + loss);
    }
    const PairLossOptions options{
        circle ? PairLossId::circle : PairLossId::multi_similarity, parameters.data(),
        vector_of<double>(labels, rows.rows(), "labels"), circle ? -1.0 : parameters[3]};
    return given.wide() ? pairs<double>(given, options) : pairs<float>(given, options);
}

template <class T>
py::tuple sigmoid(const LossArguments& given, const Positives& positives, double bias) {
    SigmoidLosses<T> out;
    py::array_t<double> per_row(given.x.rows());
    Gradients<T> gradients(given);
    out.per_row = per_row.mutable_data();
    out.gradients = gradients.to;
    out.grad_scales = gradients.by_scales;
    given.run(
        [&](const LogitRequest& request) { sigmoid_losses<T>(request, positives, bias, out); });
    return py::make_tuple(per_row, gradients.x, gradients.y,
                          gradients.of_scale(given, out.grad_scale),
                          given.grad ? py::object(py::float_(out.grad_bias)) : py::none());
}

py::tuple bind_sigmoid(const py::array& x, const py::array& y, double scale, double bias,
                       const py::object& row_scales, const py::object& row_labels,
                       const py::object& col_labels, int64_t target_offset, bool normalize,
                       bool grad, bool grad_x, bool grad_y, const py::object& row_upstream,
                       int workers, const py::object& progress) {
    const Source from_x(view_of(x)), from_y(view_of(y));
    const int64_t n = from_x.rows(), m = from_y.rows();
    const LossArguments given{from_x,    from_y,
                              scale,     vector_of<double>(row_scales, n, "row_scales"),
                              normalize, false,
                              grad,      grad_x,
                              grad_y,    vector_of<double>(row_upstream, n, "row_upstream"),
                              workers,   progress};
    Positives positives;
    positives.row_labels = vector_of<double>(row_labels, n, "row_labels");
    positives.col_labels = vector_of<double>(col_labels, m, "col_labels");
    std::vector<int64_t> own(positives.row_labels ? 0 : static_cast<size_t>(n));
    for (size_t i = 0; i < own.size(); ++i) own[i] = static_cast<int64_t>(i) + target_offset;
    if (!positives.row_labels) positives.targets = own.data();
    return given.wide() ? sigmoid<double>(given, positives, bias)
                        : sigmoid<float>(given, positives, bias);
}

template <class T>
void pull(const Source& rows, const double* lengths, const Pulls& pulls, py::object gradient,
          int workers) {
    auto out = gradient.cast<py::array_t<T, py::array::c_style>>();
    if (out.ptr() != gradient.ptr() || out.ndim() != 2 || out.shape(0) != rows.rows() ||
        out.shape(1) != rows.d()) {
        throw py::value_error("gradient must be contiguous and of the shape of x");
    }
    T* to = out.mutable_data();
    run_released(py::none(), workers,
                 [&](Control& control) { add_pulls<T>(rows, lengths, pulls, control, to); });
}

void bind_pulls(const py::array& x, const py::object& lengths,
                const py::array_t<int64_t, py::array::c_style>& one, const py::object& other,
                const py::object& weights, const py::array& gradient, int workers) {
    const Source rows(view_of(x));
    const int64_t count = one.size(), n = rows.rows();
    const Pulls pulls{one.data(), vector_of<int64_t>(other, count, "other"),
                      vector_of<double>(weights, count, "weights"), count};
    const auto is_row = [n](int64_t row) { return row >= 0 && row < n; };
    if (!pulls.other || !pulls.weights || !std::all_of(pulls.one, pulls.one + count, is_row) ||
        !std::all_of(pulls.other, pulls.other + count, is_row)) {
        throw py::value_error("one and other must be rows of x, with weights");
    }
    const double* by_row = vector_of<double>(lengths, n, "lengths");
    if (gradient.dtype().is(py::dtype::of<float>())) {
        return pull<float>(rows, by_row, pulls, gradient, workers);
    }
    pull<double>(rows, by_row, pulls, gradient, workers);
}

}  // namespace

void register_losses(py::module_& m) {
    using py::arg;
    m.def("softmax_losses", bind_softmax, arg("x"), arg("y"), arg("scale"), arg("options"),
          py::kw_only(), arg("row_scales").none(true), arg("normalize"), arg("grad"), arg("grad_x"),
          arg("grad_y"), arg("row_upstream"), arg("workers"), arg("progress") = py::none());
    m.def("softmax_states", bind_softmax_states, arg("x"), arg("y"), arg("scale"), arg("options"),
          py::kw_only(), arg("row_scales") = py::none(), arg("normalize") = false,
          arg("itself") = false, arg("workers"), arg("progress") = py::none());
    m.def("softmax_gradients", bind_softmax_gradients, arg("x"), arg("y"), arg("scale"),
          arg("options"), arg("sides"), py::kw_only(), arg("row_scales") = py::none(),
          arg("normalize") = false, arg("itself") = false, arg("grad_x"), arg("grad_y"),
          arg("workers"), arg("progress") = py::none());
    m.def("supcon_losses", bind_supcon, arg("x"), arg("second").none(true), arg("bank").none(true),
          arg("scale"), py::kw_only(), arg("row_scales").none(true), arg("labels"),
          arg("label_width"), arg("normalize"), arg("grad"), arg("grad_x"), arg("grad_y"),
          arg("row_upstream"), arg("workers"), arg("progress") = py::none());
    m.def("pair_losses", bind_pairs, arg("x"), arg("loss"), arg("parameters"), py::kw_only(),
          arg("labels"), arg("normalize"), arg("grad"), arg("row_upstream"), arg("workers"),
          arg("progress") = py::none());
    m.def("row_pulls", bind_pulls, arg("x"), arg("lengths").none(true), arg("one"), arg("other"),
          arg("weights"), arg("gradient"), py::kw_only(), arg("workers"));
    m.def("sigmoid_losses", bind_sigmoid, arg("x"), arg("y"), arg("scale"), arg("bias"),
          py::kw_only(), arg("row_scales").none(true), arg("row_labels").none(true),
          arg("col_labels").none(true), arg("target_offset"), arg("normalize"), arg("grad"),
          arg("grad_x"), arg("grad_y"), arg("row_upstream"), arg("workers"),
          arg("progress") = py::none());
}

}  // namespace pairtile
