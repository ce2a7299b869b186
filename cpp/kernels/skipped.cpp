#include "kernels/skipped.hpp"

#include <algorithm>
#include <cmath>

#include "engine/blocking.hpp"

namespace pairtile {
namespace {

// The share of some pairs that are within reach: tiles compute no fewer.
double share_within(const KernelFrame& from, const Metric& metric, double beyond) {
    constexpr int64_t rows = 32, cols = 256;
    Canonical canonical(metric, from.x, from.y);
    const int64_t n = std::min(rows, from.x.rows()), m = std::min(cols, from.y.rows());
    int64_t within = 0;
    for (int64_t i = 0; i < n; ++i) {
        canonical.set_row(i * from.x.rows() / n);
        for (int64_t j = 0; j < m; ++j) {
            within += !(from.unit * canonical(j * from.y.rows() / m) > beyond);
        }
    }
    return static_cast<double>(within) / static_cast<double>(n * m);
}

// The share of the pairs that narrow tiles of so many rows of either side would compute.
double share_of_some(const KernelFrame& from, const Metric& metric, double beyond, int64_t sample,
                     int leaf, Control& control) {
    Source x = from.x, y = from.y;
    const auto of_x = some_rows(x.rows(), std::min(sample, x.rows()));
    const auto of_y = some_rows(y.rows(), std::min(sample, y.rows()));
    x.take(of_x.data(), static_cast<int64_t>(of_x.size()));
    y.take(of_y.data(), static_cast<int64_t>(of_y.size()));
    Control own([&](int64_t, int64_t) { control.tick(0); }, control.workers());
    const auto skipping = skip_tiles(x, y, from.unit, metric, leaf, own);
    if (!skipping) return 1.0;
    const Order &rows = *skipping->row_order, &cols = *skipping->col_order;
    const float largest = skipping->largest_gaps(beyond);
    int64_t within = 0;
    for (int64_t i = 0; i < rows.count(); i += leaf) {
        const Box box = rows.box_of(i, std::min<int64_t>(leaf, rows.count() - i));
        for (int64_t block = 0; block * fan_out < cols.leaves(); ++block) {
            float gaps[fan_out];
            gaps_to_block(skipping->rule, box, cols.block(0, block), gaps);
            const int64_t here = std::min<int64_t>(fan_out, cols.leaves() - block * fan_out);
            for (int64_t b = 0; b < here; ++b) within += gaps[b] <= largest;
        }
    }
    return static_cast<double>(within) / static_cast<double>(rows.leaves() * cols.leaves());
}

// The same of all rows, whose boxes are smaller: as the share falls from a quarter of the sample to
// the sample, so it goes on.
double expected_share(const KernelFrame& from, const Metric& metric, double beyond, int64_t sample,
                      int leaf, Control& control) {
    const auto share_of = [&](int64_t some) {
        return share_of_some(from, metric, beyond, some, leaf, control);
    };
    const double some = share_of(sample), fewer = share_of(sample / 4);
    const double quarters =
        0.5 * std::log2(static_cast<double>(std::min(from.x.rows(), from.y.rows())) /
                        static_cast<double>(sample));
    return some * std::pow(std::min(1.0, some / fewer), std::max(0.0, quarters));
}

}  // namespace

std::unique_ptr<Skipping> skip_vanished(const KernelFrame& from, double beyond, bool triangle,
                                        Control& control) {
    const ForcedSkipping forced = forced_skipping();
    if (!(beyond < INFINITY) || from.frame.extreme || forced == ForcedSkipping::never) {
        return nullptr;
    }
    const Metric metric{metric_of(quantity_of(from.argument)), {}};
    const int leaf = leaf_columns();
    double most_pairs = INFINITY;
    if (forced != ForcedSkipping::always) {
        // narrow tiles take longer, and orders some time
        constexpr double clearly = 0.4;
        // costs in nanoseconds, of which the ratio counts: a sample must not take more than a share
        constexpr double share = 0.02, of_pair = 0.4, of_row = 250.0, of_key = 30.0;
        constexpr int64_t most_sampled = 1 << 14, fewest_sampled = 512;
        const int64_t n = from.x.rows(), m = from.y.rows(), pairs = triangle ? n * m / 2 : n * m;
        const double sampling =
            2.5 * (of_row + of_key * static_cast<double>(std::min<int64_t>(from.x.d(), most_keys)));
        int64_t sample = most_sampled;
        while (sample >= fewest_sampled && (static_cast<double>(sample) * sampling >
                                                share * of_pair * static_cast<double>(pairs) ||
                                            sample > 2 * std::min(n, m))) {
            sample /= 2;
        }
        if (tile_is_forced() || sample < fewest_sampled ||
            share_within(from, metric, beyond) > clearly ||
            expected_share(from, metric, beyond, sample, leaf, control) > clearly) {
            return nullptr;
        }
        most_pairs = clearly * static_cast<double>(pairs) / static_cast<double>(n);
    }
    auto skipping = skip_tiles(from.x, from.y, from.unit, metric, leaf, control);
    if (skipping) skipping->most_pairs_per_row = most_pairs;
    return skipping;
}

FarBlocks::FarBlocks(const Skipping& skipping, double reach)
    : rule_(skipping.rule), cols_(skipping.col_order), largest_(skipping.largest_gaps(reach)) {
    const Order& rows = *skipping.row_order;
    for (int64_t i = 0; i < rows.count(); i += rows.leaf()) {
        of_rows_.push_back(rows.box_of(i, std::min<int64_t>(rows.leaf(), rows.count() - i)));
    }
}

double FarBlocks::share() const {
    const int64_t leaf = cols_->leaf(), rows = static_cast<int64_t>(of_rows_.size());
    int64_t far = 0;
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < cols_->leaves(); ++j) far += (*this)(i * leaf, j * leaf);
    }
    return static_cast<double>(far) / static_cast<double>(rows * cols_->leaves());
}

std::unique_ptr<Skipping> skip_far_blocks(const KernelFrame& from, double beyond, int64_t block,
                                          Control& control) {
    const ForcedSkipping forced = forced_skipping();
    if (!(beyond < INFINITY) || from.frame.extreme || forced == ForcedSkipping::never) {
        return nullptr;
    }
    const bool always = forced == ForcedSkipping::always;
    const Metric metric{metric_of(quantity_of(from.argument)), {}};
    // that are left out, to be worth the orders: which take no more than a share of the sweep
    constexpr double worth = 0.2, share = 0.03, of_pair = 1.5, of_row = 250.0, of_key = 30.0;
    const auto n = static_cast<double>(from.x.rows()), m = static_cast<double>(from.y.rows());
    const double ordering =
        (n + m) * (of_row + of_key * static_cast<double>(std::min<int64_t>(from.x.d(), most_keys)));
    if (!always && (tile_is_forced() || ordering > share * of_pair * n * m ||
                    share_within(from, metric, beyond) > 1.0 - worth)) {
        return nullptr;
    }
    auto skipping = skip_tiles(from.x, from.y, from.unit, metric, static_cast<int>(block), control);
    if (skipping && !always && FarBlocks(*skipping, beyond).share() < worth) {
        return nullptr;
    }
    return skipping;
}

}  // namespace pairtile
