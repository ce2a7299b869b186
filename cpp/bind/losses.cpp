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

// A sparse matrix of so many rows, checked.
struct Sparse {
    const int64_t *indptr = nullptr, *columns = nullptr;
    int64_t entries = 0;

    Sparse(const py::object& pointers, const py::object& indices, int64_t rows, int64_t cols,
           const char* name) {
        if (pointers.is_none()) return;
        indptr = vector_of<int64_t>(pointers, rows + 1, name);
        entries = indptr[rows];
        columns = vector_of<int64_t>(indices, entries, name);
        bool sound = indptr[0] == 0;
        for (int64_t i = 0; i < rows && sound; ++i) {
            sound = indptr[i] <= indptr[i + 1] && indptr[i + 1] <= entries;
            for (int64_t e = indptr[i]; e < indptr[i + 1] && sound; ++e) {
                sound = columns[e] >= 0 && columns[e] < cols &&
                        (e == indptr[i] || columns[e - 1] < columns[e]);
            }
        }
        if (!sound) throw py::value_error(std::string(name) + " is no matrix of sorted columns");
    }
};

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
                       const py::object& row_scales, const py::object& targets,
                       const py::object& row_labels, const py::object& col_labels,
                       double label_width, const py::object& positive_indptr,
                       const py::object& positive_columns, const py::object& positive_weights,
                       const py::object& kept_indptr, const py::object& kept_columns,
                       const py::object& row_masked_indptr, const py::object& row_masked_columns,
                       const py::object& col_masked_indptr, const py::object& col_masked_columns,
                       const py::object& column_logits, double margin, double angular_margin,
                       double label_smoothing, const py::object& false_negative_margin,
                       double tau_plus, bool rows, bool cols, bool normalize, bool grad,
                       bool grad_x, bool grad_y, const py::object& row_upstream, int workers,
                       const py::object& progress) {
    const Source from_x(view_of(x)), from_y(view_of(y));
    const int64_t n = from_x.rows(), m = from_y.rows();
    const LossArguments given{from_x,    from_y,
                              scale,     vector_of<double>(row_scales, n, "row_scales"),
                              normalize, false,
                              grad,      grad_x,
                              grad_y,    vector_of<double>(row_upstream, n, "row_upstream"),
                              workers,   progress};
    const Sparse positive(positive_indptr, positive_columns, n, m, "positives");
    const Sparse kept(kept_indptr, kept_columns, n, m, "kept columns");
    const Sparse row_masked(row_masked_indptr, row_masked_columns, n, m, "masked pairs of rows");
    const Sparse col_masked(col_masked_indptr, col_masked_columns, n, m, "masked pairs of columns");
    SoftmaxOptions options;
    options.positives = {vector_of<int64_t>(targets, n, "targets"),
                         vector_of<double>(row_labels, n, "row_labels"),
                         vector_of<double>(col_labels, m, "col_labels"),
                         label_width,
                         positive.indptr,
                         positive.columns,
                         vector_of<double>(positive_weights, positive.entries, "positive_weights"),
                         false};
    options.rows = rows;
    options.cols = cols;
    options.margin = margin;
    options.angular_margin = angular_margin;
    options.column_logits = vector_of<double>(column_logits, m, "column_logits");
    options.kept_indptr = kept.indptr;
    options.kept_columns = kept.columns;
    options.row_masked = {row_masked.indptr, row_masked.columns};
    options.col_masked = {col_masked.indptr, col_masked.columns};
    if (!false_negative_margin.is_none()) {
        options.false_negative_margin = false_negative_margin.cast<double>();
    }
    options.label_smoothing = label_smoothing;
    options.tau_plus = tau_plus;
    // the slope of an angle needs digits that float32 products do not have
    const bool wide = given.wide() || angular_margin != 0.0;
    return wide ? softmax<double>(given, options) : softmax<float>(given, options);
}

// A block of columns, whose rows may have their positives in another one.
struct BlockArguments {
    LossArguments given;
    SoftmaxOptions options;

    bool wide() const { return given.wide() || options.angular_margin != 0.0; }
};

BlockArguments block_of(const py::array& x, const py::array& y, double scale,
                        const py::object& row_scales, const py::object& targets,
                        const py::object& row_labels, const py::object& col_labels,
                        const py::object& positive_indptr, const py::object& positive_columns,
                        const py::object& positive_weights, const py::object& kept_indptr,
                        const py::object& kept_columns, const py::object& row_masked_indptr,
                        const py::object& row_masked_columns, const py::object& col_masked_indptr,
                        const py::object& col_masked_columns, const py::object& column_logits,
                        double margin, double angular_margin, double label_smoothing,
                        double tau_plus, const py::object& false_negative_margin,
                        const py::object& row_limits, const py::object& col_limits, bool rows,
                        bool cols, bool normalize, bool itself, bool grad_x, bool grad_y,
                        int workers, const py::object& progress) {
    const Source from_x(view_of(x)), from_y(view_of(y));
    const int64_t n = from_x.rows(), m = from_y.rows();
    const Sparse positive(positive_indptr, positive_columns, n, m, "positives");
    const Sparse kept(kept_indptr, kept_columns, n, m, "kept columns");
    const Sparse row_masked(row_masked_indptr, row_masked_columns, n, m, "masked pairs of rows");
    const Sparse col_masked(col_masked_indptr, col_masked_columns, n, m, "masked pairs of columns");
    SoftmaxOptions options;
    options.positives = {vector_of<int64_t>(targets, n, "targets"),
                         vector_of<double>(row_labels, n, "row_labels"),
                         vector_of<double>(col_labels, m, "col_labels"),
                         0.0,
                         positive.indptr,
                         positive.columns,
                         vector_of<double>(positive_weights, positive.entries, "positive_weights"),
                         false};
    options.kept_indptr = kept.indptr;
    options.kept_columns = kept.columns;
    options.row_masked = {row_masked.indptr, row_masked.columns};
    options.col_masked = {col_masked.indptr, col_masked.columns};
    options.tau_plus = tau_plus;
    options.rows = rows;
    options.cols = cols;
    options.margin = margin;
    options.angular_margin = angular_margin;
    options.column_logits = vector_of<double>(column_logits, m, "column_logits");
    options.label_smoothing = label_smoothing;
    if (!false_negative_margin.is_none()) {
        options.false_negative_margin = false_negative_margin.cast<double>();
    }
    options.row_limits = vector_of<double>(row_limits, n, "row_limits");
    options.col_limits = vector_of<double>(col_limits, m, "col_limits");
    const double* scales = vector_of<double>(row_scales, n, "row_scales");
    if (itself && (n != m || scales || cols || !options.positives.targets)) {
        throw py::value_error("rows among themselves have one scale, and no columns of their own");
    }
    return {{from_x, itself ? from_x : from_y, scale, scales, normalize, itself, true, grad_x,
             grad_y, nullptr, workers, progress},
            options};
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
                              const py::object& row_scales, const py::object& targets,
                              const py::object& row_labels, const py::object& col_labels,
                              const py::object& positive_indptr, const py::object& positive_columns,
                              const py::object& positive_weights, const py::object& kept_indptr,
                              const py::object& kept_columns, const py::object& row_masked_indptr,
                              const py::object& row_masked_columns,
                              const py::object& col_masked_indptr,
                              const py::object& col_masked_columns, const py::object& column_logits,
                              double margin, double angular_margin, double label_smoothing,
                              double tau_plus, const py::object& false_negative_margin,
                              const py::object& row_limits, const py::object& col_limits, bool rows,
                              bool cols, bool normalize, bool itself, int workers,
                              const py::object& progress) {
    const BlockArguments block =
        block_of(x, y, scale, row_scales, targets, row_labels, col_labels, positive_indptr,
                 positive_columns, positive_weights, kept_indptr, kept_columns, row_masked_indptr,
                 row_masked_columns, col_masked_indptr, col_masked_columns, column_logits, margin,
                 angular_margin, label_smoothing, tau_plus, false_negative_margin, row_limits,
                 col_limits, rows, cols, normalize, itself, false, false, workers, progress);
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

py::tuple bind_softmax_gradients(
    const py::array& x, const py::array& y, double scale, const py::object& row_scales,
    const py::object& targets, const py::object& row_labels, const py::object& col_labels,
    const py::object& positive_indptr, const py::object& positive_columns,
    const py::object& positive_weights, const py::object& kept_indptr,
    const py::object& kept_columns, const py::object& row_masked_indptr,
    const py::object& row_masked_columns, const py::object& col_masked_indptr,
    const py::object& col_masked_columns, const py::object& column_logits, double margin,
    double angular_margin, double label_smoothing, double tau_plus,
    const py::object& false_negative_margin, const py::object& row_limits,
    const py::object& col_limits, bool rows, bool cols, bool normalize, bool itself,
    int64_t negatives, const py::object& row_states, const py::object& row_weights,
    const py::object& col_states, const py::object& col_weights, bool grad_x, bool grad_y,
    int workers, const py::object& progress) {
    const BlockArguments block =
        block_of(x, y, scale, row_scales, targets, row_labels, col_labels, positive_indptr,
                 positive_columns, positive_weights, kept_indptr, kept_columns, row_masked_indptr,
                 row_masked_columns, col_masked_indptr, col_masked_columns, column_logits, margin,
                 angular_margin, label_smoothing, tau_plus, false_negative_margin, row_limits,
                 col_limits, rows, cols, normalize, itself, grad_x, grad_y, workers, progress);
    const int64_t n = block.given.x.rows(), m = block.given.y.rows();
    const auto of_rows = states_of(row_states, n, "row_states");
    const auto of_cols = states_of(col_states, m, "col_states");
    const SoftmaxSides sides{of_rows.data(), of_cols.data(),
                             vector_of<double>(row_weights, n, "row_weights"),
                             vector_of<double>(col_weights, m, "col_weights"), negatives};
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
    m.def("softmax_losses", bind_softmax, arg("x"), arg("y"), arg("scale"), py::kw_only(),
          arg("row_scales").none(true), arg("targets").none(true), arg("row_labels").none(true),
          arg("col_labels").none(true), arg("label_width"), arg("positive_indptr").none(true),
          arg("positive_columns").none(true), arg("positive_weights").none(true),
          arg("kept_indptr").none(true), arg("kept_columns").none(true),
          arg("row_masked_indptr") = py::none(), arg("row_masked_columns") = py::none(),
          arg("col_masked_indptr") = py::none(), arg("col_masked_columns") = py::none(),
          arg("column_logits").none(true), arg("margin"), arg("angular_margin"),
          arg("label_smoothing"), arg("false_negative_margin").none(true), arg("tau_plus"),
          arg("rows"), arg("cols"), arg("normalize"), arg("grad"), arg("grad_x"), arg("grad_y"),
          arg("row_upstream"), arg("workers"), arg("progress") = py::none());
    m.def("softmax_states", bind_softmax_states, arg("x"), arg("y"), arg("scale"), py::kw_only(),
          arg("row_scales") = py::none(), arg("targets").none(true), arg("row_labels").none(true),
          arg("col_labels").none(true), arg("positive_indptr") = py::none(),
          arg("positive_columns") = py::none(), arg("positive_weights") = py::none(),
          arg("kept_indptr") = py::none(), arg("kept_columns") = py::none(),
          arg("row_masked_indptr") = py::none(), arg("row_masked_columns") = py::none(),
          arg("col_masked_indptr") = py::none(), arg("col_masked_columns") = py::none(),
          arg("column_logits").none(true), arg("margin"), arg("angular_margin"),
          arg("label_smoothing"), arg("tau_plus") = 0.0, arg("false_negative_margin").none(true),
          arg("row_limits").none(true), arg("col_limits").none(true), arg("rows"), arg("cols"),
          arg("normalize") = false, arg("itself") = false, arg("workers"),
          arg("progress") = py::none());
    m.def("softmax_gradients", bind_softmax_gradients, arg("x"), arg("y"), arg("scale"),
          py::kw_only(), arg("row_scales") = py::none(), arg("targets").none(true),
          arg("row_labels").none(true), arg("col_labels").none(true),
          arg("positive_indptr") = py::none(), arg("positive_columns") = py::none(),
          arg("positive_weights") = py::none(), arg("kept_indptr") = py::none(),
          arg("kept_columns") = py::none(), arg("row_masked_indptr") = py::none(),
          arg("row_masked_columns") = py::none(), arg("col_masked_indptr") = py::none(),
          arg("col_masked_columns") = py::none(), arg("column_logits").none(true), arg("margin"),
          arg("angular_margin"), arg("label_smoothing"), arg("tau_plus") = 0.0,
          arg("false_negative_margin").none(true), arg("row_limits").none(true),
          arg("col_limits").none(true), arg("rows"), arg("cols"), arg("normalize") = false,
          arg("itself") = false, arg("negatives") = 0, arg("row_states"),
          arg("row_weights").none(true), arg("col_states").none(true),
          arg("col_weights").none(true), arg("grad_x"), arg("grad_y"), arg("workers"),
          arg("progress") = py::none());
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
