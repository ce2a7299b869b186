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
using BlockTold = std::tuple<bool, Address, int64_t, Range, Range, Pair, Address>;

template <class T>
DotBlock<T> block_of(const BlockTold& told) {
    const auto& [wide, dots, pitch, rows, cols, factors, by_col] = told;
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
void with_block(const BlockTold& told, const With& with) {
    if (std::get<0>(told)) {
        with(block_of<double>(told));
    } else {
        with(block_of<float>(told));
    }
}

// targets; labels of rows and columns, and how far apart they may be; a sparse matrix; self
using RuleTold = std::tuple<Address, Pair, double, std::tuple<Address, Address, Address>, bool>;

PairRule rule_of(const RuleTold& told) {
    const auto& [targets, labels, width, sparse, self] = told;
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
using RowsTold = std::tuple<double, Address, Address, Address>;

RowTerms rows_of(const RowsTold& told) {
    const auto& [scale, scales, shares, by_scale] = told;
    return {scale, at<const double>(scales), at<const double>(shares), at<double>(by_scale)};
}

// positives, column logits, margin and angular margin, kept columns, limits of rows and columns,
// pairs masked in sums of rows and of columns
using OptionsTold =
    std::tuple<RuleTold, Address, double, double, Pair, Pair, std::tuple<Pair, Pair>>;

MaskedPairs masked_of(const Pair& told) {
    return {at<const int64_t>(told.first), at<const int64_t>(told.second)};
}

SoftmaxOptions options_of(const OptionsTold& told) {
    const auto& [positives, column_logits, margin, angular_margin, kept, limits, masked] = told;
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
                    const Where& where) {
    WeightProduct product = {tensor_sweep(panels_of(rows), panels_of(cols), 1), at<float>(dots)};
    product.sweep.segments = product.sweep.col_tiles;
    product.sweep.tiles_per_segment = 1;
    // two parts hold a number exactly here, and so must all of their products
    if (product.sweep.rows.parts == 2) product.sweep.products = products_of(2, 2);
    product_block(product, path_of(path), stream_on(where));
}

void bind_wide_block(const Sets& sets, const Range& rows, Address dots, int64_t pitch,
                     const Where& where) {
    wide_block(sweep_of(sets, rows, needs_of("pairwise")), at<double>(dots), pitch,
               stream_on(where));
}

void bind_wide_weight_product(Address weights, const Range& steps, int64_t rows, const View& others,
                              Address scales, double factor, Address out, const Where& where) {
    const WideWeights product = {.weights = at<const double>(weights),
                                 .row_step = steps.first,
                                 .col_step = steps.second,
                                 .rows = rows,
                                 .others = array_of(others),
                                 .scales = at<const RowScale>(scales)};
    wide_weight_product(product, factor, at<double>(out), stream_on(where));
}

void bind_softmax_limits(const BlockTold& block, Address targets, double margin, const Pair& limits,
                         const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        softmax_limits(of, at<const int64_t>(targets), margin, at<double>(limits.first),
                       at<double>(limits.second), stream);
    });
}

void bind_softmax_states(const BlockTold& block, const OptionsTold& options, const RowsTold& rows,
                         const Pair& states, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        softmax_states(of, options_of(options), rows_of(rows), at<SoftmaxState>(states.first),
                       at<SoftmaxState>(states.second), stream);
    });
}

void bind_softmax_empty(Address states, int64_t count, const Where& where) {
    softmax_empty(at<SoftmaxState>(states), count, stream_on(where));
}

void bind_softmax_loss_end(int64_t count, Address states, double part, bool whole_weights,
                           double smoothing, const Range& among, double tau_plus,
                           const RowsTold& rows, const Pair& more,
                           const std::tuple<Address, Address, Address>& out, const Where& where) {
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
    softmax_loss_end(end, stream_on(where));
}

void bind_softmax_block_weights(const BlockTold& block, const OptionsTold& options,
                                const RowsTold& rows, const Pair& terms, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        softmax_block_weights(of, options_of(options), rows_of(rows),
                              at<const SoftmaxTerms>(terms.first),
                              at<const SoftmaxTerms>(terms.second), stream);
    });
}

void bind_sigmoid_losses(const BlockTold& block, const RuleTold& positives, const RowsTold& rows,
                         double bias, Address losses, Address by_bias, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        sigmoid_losses(of, rule_of(positives), rows_of(rows), bias, at<double>(losses),
                       at<double>(by_bias), stream);
    });
}

// loss, parameters, positives, mining
using PairLossTold = std::tuple<std::string, std::vector<double>, RuleTold, double>;

PairLossRule pair_rule_of(const PairLossTold& told) {
    const auto& [loss, parameters, positives, mining] = told;
    PairLossRule rule{.loss = loss == "circle" ? PairLossId::circle : PairLossId::multi_similarity,
                      .parameters = {},
                      .positives = rule_of(positives),
                      .mining = mining};
    std::copy(parameters.begin(), parameters.end(), rule.parameters);
    return rule;
}

void bind_pair_begin(Address extremes, Address states, int64_t count, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    if (extremes) pair_extremes_empty(at<PairExtremes>(extremes), count, stream);
    pair_states_empty(at<PairState>(states), count, stream);
}

void bind_pair_extremes(const BlockTold& block, const PairLossTold& rule, Address extremes,
                        bool mirrored, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        pair_extremes(of, pair_rule_of(rule).positives, at<PairExtremes>(extremes), mirrored,
                      stream);
    });
}

void bind_pair_states(const BlockTold& block, const PairLossTold& rule, Address extremes,
                      Address states, bool mirrored, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        pair_states(of, pair_rule_of(rule), at<const PairExtremes>(extremes), at<PairState>(states),
                    mirrored, stream);
    });
}

void bind_pair_losses_end(const PairLossTold& rule, Address states, int64_t count, Address shares,
                          Address losses, Address terms, const Where& where) {
    pair_losses_end(pair_rule_of(rule), at<const PairState>(states), count,
                    at<const double>(shares), at<double>(losses), at<PairTerms>(terms),
                    stream_on(where));
}

void bind_pair_block_weights(const BlockTold& block, const PairLossTold& rule, Address extremes,
                             Address terms, bool mirrored, const Where& where) {
    const cudaStream_t stream = stream_on(where);
    with_block(block, [&](const auto& of) {
        pair_block_weights(of, pair_rule_of(rule), at<const PairExtremes>(extremes),
                           at<const PairTerms>(terms), mirrored, stream);
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
          arg("where"), Released());
    m.def("softmax_limits", bind_softmax_limits, Released());
    m.def("softmax_states", bind_softmax_states, Released());
    m.def("softmax_empty", bind_softmax_empty, Released());
    m.def("softmax_loss_end", bind_softmax_loss_end, py::kw_only(), arg("count"), arg("states"),
          arg("part"), arg("whole_weights"), arg("smoothing"), arg("among"), arg("tau_plus"),
          arg("rows"), arg("more"), arg("out"), arg("where"), Released());
    m.def("softmax_block_weights", bind_softmax_block_weights, Released());
    m.def("sigmoid_losses", bind_sigmoid_losses, Released());
    m.def("pair_begin", bind_pair_begin, Released());
    m.def("pair_extremes", bind_pair_extremes, Released());
    m.def("pair_states", bind_pair_states, Released());
    m.def("pair_losses_end", bind_pair_losses_end, Released());
    m.def("pair_block_weights", bind_pair_block_weights, Released());
}

}  // namespace pairtile::gpu
