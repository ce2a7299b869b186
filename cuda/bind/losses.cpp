// Contrastive losses.
#include "bind/families.hpp"
#include "bind/packed.hpp"
#include "losses/contrastive.hpp"
#include "losses/panel_product.hpp"
#include "losses/sigmoid_sweep.hpp"
#include "losses/wide.hpp"

namespace pairtile::gpu {
namespace {

// factor; factors of rows and columns, targets of rows; the first row and column; whether bounded,
// and the offset
using LogitsArguments = std::tuple<double, Address, Address, Address, Range, bool, double>;

Logits logits_of(const LogitsArguments& arguments) {
    const auto& [factor, rows, cols, targets, first, bounded, offset] = arguments;
    return {static_cast<float>(factor),
            at<const float>(rows),
            at<const float>(cols),
            bounded,
            static_cast<float>(offset),
            at<const int64_t>(targets),
            first.first,
            first.second};
}

TensorSweep logit_sweep(const Packed& rows, const Packed& cols, int64_t segments) {
    TensorSweep sweep = tensor_sweep(panels_of(rows), panels_of(cols), segments);
    // two parts hold a number exactly here, and so must all of their products
    if (sweep.rows.parts == 2) sweep.products = products_of(2, 2);
    return sweep;
}

void bind_softmax_sums(const Packed& rows, const Packed& cols, int64_t segments,
                       const LogitsArguments& logits, const Pair& workspace, Address positives,
                       Address of_rows, Address of_cols, const std::string& path,
                       const DeviceStream& stream) {
    const SoftmaxSums sums = {logit_sweep(rows, cols, segments), logits_of(logits),
                              at<float>(positives), at<LogSumExp>(workspace.first),
                              at<void>(workspace.second)};
    softmax_sums(sums, at<LogSumExp>(of_rows), at<LogSumExp>(of_cols), path_of(path),
                 cuda_stream(stream));
}

void bind_softmax_end(int64_t rows, bool wide, Address of_rows, Address of_cols, Address positives,
                      Address shares, const std::tuple<Address, Address, Address, Address>& out,
                      const Pair& sides, const DeviceStream& stream) {
    const auto& [per_row, lse_row, lse_col, extremes] = out;
    const SoftmaxEnd end = {rows,
                            at<const LogSumExp>(of_rows),
                            at<const LogSumExp>(of_cols),
                            at<const double>(shares),
                            at<double>(per_row),
                            at<double>(lse_row),
                            at<double>(lse_col),
                            at<float>(extremes)};
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        softmax_end(end, at<const double>(positives), at<WideSide>(sides.first),
                    at<WideSide>(sides.second), queue);
    } else {
        softmax_end(end, at<const float>(positives), at<SoftmaxSide>(sides.first),
                    at<SoftmaxSide>(sides.second), queue);
    }
}

void bind_softmax_levels(Address sides, int64_t rows, double offset, Address levels,
                         const DeviceStream& stream) {
    softmax_levels(at<const SoftmaxSide>(sides), rows, static_cast<float>(offset),
                   at<float>(levels), cuda_stream(stream));
}

void bind_softmax_weights(const Packed& rows, const Packed& cols, int64_t segments,
                          const LogitsArguments& logits, const Pair& sides, const Pair& levels,
                          const Packed& weights_out, const std::string& path,
                          const DeviceStream& stream) {
    const SoftmaxWeights weights = {logit_sweep(rows, cols, segments),
                                    logits_of(logits),
                                    at<const SoftmaxSide>(sides.first),
                                    at<const SoftmaxSide>(sides.second),
                                    at<const float>(levels.first),
                                    at<const float>(levels.second),
                                    panels_of(weights_out)};
    softmax_weights(weights, path_of(path), cuda_stream(stream));
}

// bias and scale; shares of the rows; losses and sums by scale and by bias of the rows
using SigmoidArguments = std::tuple<double, double, Address, std::tuple<Address, Address, Address>>;

void bind_sigmoid_sweep(const Packed& rows, const Packed& cols, int64_t segments,
                        const LogitsArguments& logits, const SigmoidArguments& arguments,
                        Address workspace, const Packed& weights, const std::string& path,
                        const DeviceStream& stream) {
    const auto& [bias, scale, shares, out] = arguments;
    const SigmoidSweep sigmoid = {
        logit_sweep(rows, cols, segments), logits_of(logits),     static_cast<float>(bias),
        at<const double>(shares),          at<double>(workspace), panels_of(weights)};
    const auto& [losses, by_scale, by_bias] = out;
    sigmoid_sweep(sigmoid, {at<double>(losses), at<double>(by_scale), at<double>(by_bias)}, scale,
                  path_of(path), cuda_stream(stream));
}

int64_t panel_splits_of(int64_t rows_out, int64_t features, int64_t summands, int64_t most,
                        const std::string& path) {
    return panel_splits(rows_out, features, summands, most, path_of(path));
}

void bind_panel_product(const Packed& weights, const Packed& others, bool by_column, int splits,
                        Address partial, double factor, Address divisors, Address out,
                        const std::string& path, const DeviceStream& stream) {
    const PanelProduct product = {
        .weights = panels_of(weights),
        .others = panels_of(others),
        .by_column = by_column,
        .products = products_of(std::get<5>(weights), std::get<5>(others)),
        .splits = splits,
        .partial = at<float>(partial),
        .factor = factor,
        .divisors = at<const float>(divisors),
        .out = at<float>(out)};
    panel_product(product, path_of(path), cuda_stream(stream));
}

void bind_pack_transposed(const View& x, const Range& rows, Address scales, const Packed& packed,
                          const DeviceStream& stream) {
    pack_transposed(array_of(x), rows.first, rows.second, at<const RowScale>(scales),
                    panels_of(packed), cuda_stream(stream));
}

WideLogits wide_logits(const Sets& sets, const Range& rows, const std::string& statistic,
                       double scale, Address targets, bool transposed) {
    return {sweep_of(sets, rows, needs_of(statistic)), scale, at<const int64_t>(targets),
            transposed};
}

void bind_wide_sums(const Sets& sets, double scale, Address targets, bool transposed,
                    const Range& rows, Address workspace, Address positives, Address sums,
                    const DeviceStream& stream) {
    wide_softmax_sums(wide_logits(sets, rows, "wide_softmax", scale, targets, transposed),
                      at<LogSumExp>(workspace), at<double>(positives), at<LogSumExp>(sums),
                      cuda_stream(stream));
}

void bind_wide_products(const Sets& sets, double scale, Address targets, bool transposed,
                        const Range& rows, const Pair& sides, const Range& features,
                        Address workspace, double factor, bool wide, Address out,
                        const DeviceStream& stream) {
    const WideProducts products = {
        wide_logits(sets, rows, "contraction", scale, targets, transposed),
        at<const WideSide>(sides.first),
        at<const WideSide>(sides.second),
        features.first,
        features.second - features.first,
        at<double>(workspace)};
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        wide_softmax_products(products, factor, at<double>(out), queue);
    } else {
        wide_softmax_products(products, factor, at<float>(out), queue);
    }
}

void bind_along_rows(const View& x, Address scales, Address g, bool wide, Address along,
                     const DeviceStream& stream) {
    const auto* of = at<const RowScale>(scales);
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        along_rows(array_of(x), of, at<const double>(g), at<double>(along), queue);
    } else {
        along_rows(array_of(x), of, at<const float>(g), at<double>(along), queue);
    }
}

void bind_through_normalization(const View& x, Address scales, Address g, bool wide,
                                const DeviceStream& stream) {
    const auto* of = at<const RowScale>(scales);
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        through_normalization(array_of(x), of, at<double>(g), queue);
    } else {
        through_normalization(array_of(x), of, at<float>(g), queue);
    }
}

}  // namespace

void bind_losses(py::module_& m) {
    using py::arg;
    m.attr("softmax_column_bytes") = softmax_column_bytes;
    m.attr("softmax_side_bytes") = sizeof(SoftmaxSide);
    m.def("logit_segments", logit_segments, arg("rows"), arg("cols"));
    m.def("panel_splits", panel_splits_of, py::kw_only(), arg("rows_out"), arg("features"),
          arg("summands"), arg("most"), arg("path"));
    m.def("pack_transposed", bind_pack_transposed, Released());
    m.def("softmax_sums", bind_softmax_sums, py::kw_only(), arg("rows"), arg("cols"),
          arg("segments"), arg("logits"), arg("workspace"), arg("positives"), arg("of_rows"),
          arg("of_cols"), arg("path"), arg("stream"), Released());
    m.def("softmax_end", bind_softmax_end, py::kw_only(), arg("rows"), arg("wide"), arg("of_rows"),
          arg("of_cols"), arg("positives"), arg("shares"), arg("out"), arg("sides"), arg("stream"),
          Released());
    m.def("softmax_levels", bind_softmax_levels, Released());
    m.def("softmax_weights", bind_softmax_weights, py::kw_only(), arg("rows"), arg("cols"),
          arg("segments"), arg("logits"), arg("sides"), arg("levels"), arg("weights"), arg("path"),
          arg("stream"), Released());
    m.attr("sigmoid_sums") = sigmoid_sums;
    m.def("sigmoid_sweep", bind_sigmoid_sweep, py::kw_only(), arg("rows"), arg("cols"),
          arg("segments"), arg("logits"), arg("arguments"), arg("workspace"), arg("weights"),
          arg("path"), arg("stream"), Released());
    m.def("panel_product", bind_panel_product, py::kw_only(), arg("weights"), arg("others"),
          arg("by_column"), arg("splits"), arg("partial"), arg("factor"), arg("divisors"),
          arg("out"), arg("path"), arg("stream"), Released());
    m.def("wide_softmax_sums", bind_wide_sums, py::kw_only(), arg("sets"), arg("scale"),
          arg("targets"), arg("transposed"), arg("rows"), arg("workspace"), arg("positives"),
          arg("sums"), arg("stream"), Released());
    m.def("wide_softmax_products", bind_wide_products, py::kw_only(), arg("sets"), arg("scale"),
          arg("targets"), arg("transposed"), arg("rows"), arg("sides"), arg("features"),
          arg("workspace"), arg("factor"), arg("wide"), arg("out"), arg("stream"), Released());
    m.def("along_rows", bind_along_rows, Released());
    m.def("through_normalization", bind_through_normalization, Released());
}

}  // namespace pairtile::gpu
