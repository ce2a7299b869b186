// Losses over blocks of dot products.
#include "bind/families.hpp"
#include "bind/packed.hpp"
#include "losses/block.hpp"
#include "losses/contrastive.hpp"
#include "losses/pairs.hpp"
#include "losses/sigmoid.hpp"
#include "losses/softmax.hpp"

namespace pairtile::gpu {
namespace {

// whether in float64; dot products and their pitch; rows and columns; factors of either; weights
// for columns
using BlockArguments = std::tuple<bool, Address, int64_t, Range, Range, Pair, Address>;

template <class T>
DotBlock<T> block_of(const BlockArguments& arguments) {
    const auto& [wide, dots, pitch, rows, cols, factors, by_col] = arguments;
    return {.dots = at<T>(dots),
            .pitch = pitch,
            .first_row = rows.first,
            .rows = rows.second - rows.first,
            .first_col = cols.first,
            .cols = cols.second - cols.first,
            .row_factors = at<const float>(factors.first),
            .col_factors = at<const float>(factors.second),
            .by_col = at<T>(by_col)};
}

// with(block) in the type that it is in
template <class With>
void with_block(const BlockArguments& arguments, const With& with) {
    if (std::get<0>(arguments)) {
        with(block_of<double>(arguments));
    } else {
        with(block_of<float>(arguments));
    }
}

// targets; labels of rows and columns, and how far apart they may be; a sparse matrix; self
using RuleArguments =
    std::tuple<Address, Pair, double, std::tuple<Address, Address, Address>, bool>;

PairRule rule_of(const RuleArguments& arguments) {
    const auto& [targets, labels, width, sparse, self] = arguments;
    const auto& [indptr, columns, weights] = sparse;
    return {.targets = at<const int64_t>(targets),
            .row_labels = at<const double>(labels.first),
            .col_labels = at<const double>(labels.second),
            .width = width,
            .indptr = at<const int64_t>(indptr),
            .columns = at<const int64_t>(columns),
            .weights = at<const double>(weights),
            .self = self};
}

// scale; scales, shares and sums of derivatives of the rows
using RowsArguments = std::tuple<double, Address, Address, Address>;

RowTerms rows_of(const RowsArguments& arguments) {
    const auto& [scale, scales, shares, by_scale] = arguments;
    return {scale, at<const double>(scales), at<const double>(shares), at<double>(by_scale)};
}

// positives, column logits, margin and angular margin, kept columns, limits of rows and columns,
// pairs masked in sums of rows and of columns
using OptionsArguments =
    std::tuple<RuleArguments, Address, double, double, Pair, Pair, std::tuple<Pair, Pair>>;

MaskedPairs masked_of(const Pair& arguments) {
    return {at<const int64_t>(arguments.first), at<const int64_t>(arguments.second)};
}

SoftmaxOptions options_of(const OptionsArguments& arguments) {
    const auto& [positives, column_logits, margin, angular_margin, kept, limits, masked] =
        arguments;
    return {.positives = rule_of(positives),
            .column_logits = at<const double>(column_logits),
            .margin = margin,
            .angular_margin = angular_margin,
            .kept_indptr = at<const int64_t>(kept.first),
            .kept_columns = at<const int64_t>(kept.second),
            .row_limits = at<const double>(limits.first),
            .col_limits = at<const double>(limits.second),
            .row_masked = masked_of(std::get<0>(masked)),
            .col_masked = masked_of(std::get<1>(masked))};
}

void bind_dot_block(const Packed& rows, const Packed& cols, Address dots, const std::string& path,
                    const DeviceStream& stream) {
    DotSweep product = {tensor_sweep(panels_of(rows), panels_of(cols), 1), at<float>(dots)};
    product.sweep.segments = product.sweep.col_tiles;
    product.sweep.tiles_per_segment = 1;
    // two parts hold a number exactly here, and so must all of their products
    if (product.sweep.rows.parts == 2) product.sweep.products = products_of(2, 2);
    dot_sweep(product, path_of(path), cuda_stream(stream));
}

void bind_wide_block(const Sets& sets, const Range& rows, Address dots, int64_t pitch,
                     const DeviceStream& stream) {
    wide_block(sweep_of(sets, rows, needs_of("pairwise")), at<double>(dots), pitch,
               cuda_stream(stream));
}

void bind_wide_weight_product(Address weights, const Range& steps, int64_t rows, const View& others,
                              Address scales, double factor, Address out,
                              const DeviceStream& stream) {
    const WideWeights product = {.weights = at<const double>(weights),
                                 .row_step = steps.first,
                                 .col_step = steps.second,
                                 .rows = rows,
                                 .others = array_of(others),
                                 .scales = at<const RowScale>(scales)};
    wide_weight_product(product, factor, at<double>(out), cuda_stream(stream));
}

void bind_softmax_limits(const BlockArguments& block, Address targets, double margin,
                         const Pair& limits, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        softmax_limits(of, at<const int64_t>(targets), margin, at<double>(limits.first),
                       at<double>(limits.second), queue);
    });
}

void bind_softmax_states(const BlockArguments& block, const OptionsArguments& options,
                         const RowsArguments& rows, const Pair& states,
                         const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        softmax_states(of, options_of(options), rows_of(rows), at<SoftmaxState>(states.first),
                       at<SoftmaxState>(states.second), queue);
    });
}

void bind_softmax_empty(Address states, int64_t count, const DeviceStream& stream) {
    softmax_empty(at<SoftmaxState>(states), count, cuda_stream(stream));
}

void bind_softmax_loss_end(int64_t count, Address states, double part, bool whole_weights,
                           double smoothing, const Range& among, double tau_plus,
                           const RowsArguments& rows, const Pair& more,
                           const std::tuple<Address, Address, Address>& out,
                           const DeviceStream& stream) {
    const auto& [losses, log_sums, terms] = out;
    SoftmaxLossEnd end{};
    end.count = count;
    end.states = at<const SoftmaxState>(states);
    end.part = part;
    end.whole_weights = whole_weights;
    end.smoothing = smoothing;
    end.tau_plus = tau_plus;
    end.others = static_cast<double>(among.second - among.first);
    end.rows = rows_of(rows);
    end.shares = end.rows.shares;
    end.more = at<const double>(more.first);
    end.targets = at<const int64_t>(more.second);
    end.losses = at<double>(losses);
    end.log_sums = at<double>(log_sums);
    end.terms = at<SoftmaxTerms>(terms);
    softmax_loss_end(end, cuda_stream(stream));
}

void bind_softmax_block_weights(const BlockArguments& block, const OptionsArguments& options,
                                const RowsArguments& rows, const Pair& terms,
                                const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        softmax_block_weights(of, options_of(options), rows_of(rows),
                              at<const SoftmaxTerms>(terms.first),
                              at<const SoftmaxTerms>(terms.second), queue);
    });
}

void bind_sigmoid_losses(const BlockArguments& block, const RuleArguments& positives,
                         const RowsArguments& rows, double bias, Address losses, Address by_bias,
                         const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        sigmoid_losses(of, rule_of(positives), rows_of(rows), bias, at<double>(losses),
                       at<double>(by_bias), queue);
    });
}

// loss, parameters, positives, mining
using PairLossArguments = std::tuple<std::string, std::vector<double>, RuleArguments, double>;

PairLossRule pair_rule_of(const PairLossArguments& arguments) {
    const auto& [loss, parameters, positives, mining] = arguments;
    PairLossRule rule{.loss = loss == "circle" ? PairLossId::circle : PairLossId::multi_similarity,
                      .parameters = {},
                      .positives = rule_of(positives),
                      .mining = mining};
    std::copy(parameters.begin(), parameters.end(), rule.parameters);
    return rule;
}

void bind_pair_begin(Address extremes, Address states, int64_t count, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    if (extremes) pair_extremes_empty(at<PairExtremes>(extremes), count, queue);
    pair_states_empty(at<PairState>(states), count, queue);
}

void bind_pair_extremes(const BlockArguments& block, const PairLossArguments& rule,
                        Address extremes, bool mirrored, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        pair_extremes(of, pair_rule_of(rule).positives, at<PairExtremes>(extremes), mirrored,
                      queue);
    });
}

void bind_pair_states(const BlockArguments& block, const PairLossArguments& rule, Address extremes,
                      Address states, bool mirrored, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        pair_states(of, pair_rule_of(rule), at<const PairExtremes>(extremes), at<PairState>(states),
                    mirrored, queue);
    });
}

void bind_pair_losses_end(const PairLossArguments& rule, Address states, int64_t count,
                          Address shares, Address losses, Address terms,
                          const DeviceStream& stream) {
    pair_losses_end(pair_rule_of(rule), at<const PairState>(states), count,
                    at<const double>(shares), at<double>(losses), at<PairTerms>(terms),
                    cuda_stream(stream));
}

void bind_pair_block_weights(const BlockArguments& block, const PairLossArguments& rule,
                             Address extremes, Address terms, bool mirrored,
                             const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    with_block(block, [&](const auto& of) {
        pair_block_weights(of, pair_rule_of(rule), at<const PairExtremes>(extremes),
                           at<const PairTerms>(terms), mirrored, queue);
    });
}

}  // namespace

void bind_loss_blocks(py::module_& m) {
    using py::arg;
    m.attr("tile_columns") = tile_columns;
    m.attr("softmax_state_bytes") = sizeof(SoftmaxState);
    m.attr("softmax_terms_bytes") = sizeof(SoftmaxTerms);
    m.attr("pair_extremes_bytes") = sizeof(PairExtremes);
    m.attr("pair_state_bytes") = sizeof(PairState);
    m.attr("pair_terms_bytes") = sizeof(PairTerms);
    m.def("dot_block", bind_dot_block, Released());
    m.def("wide_block", bind_wide_block, Released());
    m.def("wide_weight_product", bind_wide_weight_product, py::kw_only(), arg("weights"),
          arg("steps"), arg("rows"), arg("others"), arg("scales"), arg("factor"), arg("out"),
          arg("stream"), Released());
    m.def("softmax_limits", bind_softmax_limits, Released());
    m.def("softmax_states", bind_softmax_states, Released());
    m.def("softmax_empty", bind_softmax_empty, Released());
    m.def("softmax_loss_end", bind_softmax_loss_end, py::kw_only(), arg("count"), arg("states"),
          arg("part"), arg("whole_weights"), arg("smoothing"), arg("among"), arg("tau_plus"),
          arg("rows"), arg("more"), arg("out"), arg("stream"), Released());
    m.def("softmax_block_weights", bind_softmax_block_weights, Released());
    m.def("sigmoid_losses", bind_sigmoid_losses, Released());
    m.def("pair_begin", bind_pair_begin, Released());
    m.def("pair_extremes", bind_pair_extremes, Released());
    m.def("pair_states", bind_pair_states, Released());
    m.def("pair_losses_end", bind_pair_losses_end, Released());
    m.def("pair_block_weights", bind_pair_block_weights, Released());
}

}  // namespace pairtile::gpu
