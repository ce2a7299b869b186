#include "engine/order.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/frame.hpp"
#include "engine/isa.hpp"

namespace pairtile {
namespace {

constexpr int64_t rows_per_block = 4096;

// Keys beyond are taken as this, which moves no two of them apart: squares of gaps stay in range.
constexpr double largest_key = 1e18;
// Exponents of powers whose roundings gap_rounding holds.
constexpr double largest_power = 64.0;
// Beyond what rounding a key to float32 takes off it.
constexpr float key_rounding = 0x1p-22f, key_underflow = 0x1p-120f;

// A key and its row as one number of the same order.
uint64_t entry_of(float key, uint32_t row) {
    const auto bits = std::bit_cast<uint32_t>(key);
    const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return static_cast<uint64_t>(ordered) << 32 | row;
}

uint32_t row_of(uint64_t entry) { return static_cast<uint32_t>(entry); }

// Splits rows into leaves: entries [first, first + count) take their places in the order.
class Splitter {
  public:
    Splitter(const float* keys, int per_row, int leaf, std::vector<uint64_t>& entries)
        : keys_(keys), per_row_(per_row), leaf_(leaf), entries_(entries) {}

    // A part of whole leaves, but for the last.
    struct Part {
        int64_t first, count;
    };

    bool is_leaf(const Part& part) const { return part.count <= leaf_; }

    // The left side has as many leaves as the largest power of two below all of them, so that a
    // node of eight leaves is a part.
    std::pair<Part, Part> split(const Part& part) {
        const int64_t leaves = (part.count + leaf_ - 1) / leaf_;
        const int64_t left =
            static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(leaves - 1)));
        const int64_t middle = left * leaf_;
        fill(part);
        divide(entries_.data() + part.first, part.count, middle);
        return {{part.first, middle}, {part.first + middle, part.count - middle}};
    }

    void split_all(const Part& part, Control& control, int worker) {
        if (is_leaf(part)) return finish(part);
        if (part.count <= near && !is_near_) return split_near(part, control, worker);
        if (part.count > ticking) control.tick(worker);
        const auto [left, right] = split(part);
        split_all(left, control, worker);
        split_all(right, control, worker);
    }

    // The rows of a leaf follow one another by their widest key.
    void finish(const Part& leaf) {
        fill(leaf);
        uint64_t* entries = entries_.data() + leaf.first;
        if (leaf.count > sorting_.few) return std::sort(entries, entries + leaf.count);
        sorting_.sort_few(entries, static_cast<int>(leaf.count), entries);
    }

  private:
    static constexpr int64_t ticking = 4096, looks = 256;
    // rows whose keys fit the cache, if they lie side by side
    static constexpr int64_t near = 8192;

    // The `middle` smallest of n entries, which are all different, to the front.
    void divide(uint64_t* entries, int64_t n, int64_t middle) const {
        // pieces are never this uneven so often, but for keys made up to be so
        int steps = 2 * static_cast<int>(std::bit_width(static_cast<uint64_t>(n)));
        while (n > sorting_.few) {
            if (steps-- == 0) return std::nth_element(entries, entries + middle, entries + n);
            const uint64_t pivot = sorting_.pivot(entries, n);
            int64_t low = sorting_.partition(entries, n, pivot);
            if (low == n) low = sorting_.partition(entries, n, pivot - 1);
            if (low == middle) return;
            if (low < middle) {
                entries += low, n -= low, middle -= low;
            } else {
                n = low;
            }
        }
        sorting_.sort_few(entries, static_cast<int>(n), entries);
    }

    // The same of a copy, whose rows are numbered anew.
    void split_near(const Part& part, Control& control, int worker) {
        Buffer<float> keys(part.count * per_row_);
        std::vector<uint64_t> entries(static_cast<size_t>(part.count));
        std::vector<uint32_t> rows(entries.size());
        for (int64_t i = 0; i < part.count; ++i) {
            const auto at = static_cast<size_t>(i);
            rows[at] = row_of(entries_[static_cast<size_t>(part.first + i)]);
            entries[at] = at;
            std::copy_n(keys_of(part.first + i), per_row_, keys.data() + i * per_row_);
        }
        Splitter copy(keys.data(), per_row_, leaf_, entries);
        copy.is_near_ = true;
        copy.split_all({0, part.count}, control, worker);
        for (int64_t i = 0; i < part.count; ++i) {
            entries_[static_cast<size_t>(part.first + i)] =
                rows[row_of(entries[static_cast<size_t>(i)])];
        }
    }

    const float* keys_of(int64_t place) const {
        return keys_ + int64_t{row_of(entries_[static_cast<size_t>(place)])} * per_row_;
    }

    // The key whose numbers lie farthest apart, among some of the rows.
    int widest(const Part& part) const {
        Box box;
        std::fill_n(box.low, per_row_, std::numeric_limits<float>::infinity());
        std::fill_n(box.high, per_row_, -std::numeric_limits<float>::infinity());
        const int64_t step = std::max<int64_t>(1, part.count / looks);
        for (int64_t i = part.first; i < part.first + part.count; i += step) {
            const float* row = keys_of(i);
            for (int j = 0; j < per_row_; ++j) {
                box.low[j] = std::min(box.low[j], row[j]);
                box.high[j] = std::max(box.high[j], row[j]);
            }
        }
        int found = 0;
        for (int j = 1; j < per_row_; ++j) {
            if (box.high[j] - box.low[j] > box.high[found] - box.low[found]) found = j;
        }
        return found;
    }

    void fill(const Part& part) {
        const int key = widest(part);
        for (int64_t i = part.first; i < part.first + part.count; ++i) {
            uint64_t& entry = entries_[static_cast<size_t>(i)];
            entry = entry_of(keys_of(i)[key], row_of(entry));
        }
    }

    const float* keys_;
    int per_row_, leaf_;
    bool is_near_ = false;
    std::vector<uint64_t>& entries_;
    const SortOps<uint64_t>& sorting_ = sorting_of<uint64_t>(isa());
};

// The features that vary most, by a sample of both sets.
std::vector<int64_t> widest_features(const Source& rows, const Source& cols,
                                     const std::vector<double>& centre) {
    constexpr int64_t sample = 512;
    const int64_t d = rows.d();
    std::vector<int64_t> features(static_cast<size_t>(d));
    std::iota(features.begin(), features.end(), int64_t{0});
    if (d <= most_keys) return features;
    std::vector<double> spread(static_cast<size_t>(d)), row(static_cast<size_t>(d));
    for (const Source* source : {&rows, &cols}) {
        const int64_t step = std::max<int64_t>(1, source->rows() / sample);
        for (int64_t i = 0; i < source->rows(); i += step) {
            source->read(i, row.data());
            if (!all_finite(row.data(), d)) continue;
            for (size_t j = 0; j < row.size(); ++j) spread[j] += std::fabs(row[j] - centre[j]);
        }
    }
    std::stable_sort(features.begin(), features.end(), [&](int64_t a, int64_t b) {
        return spread[static_cast<size_t>(a)] > spread[static_cast<size_t>(b)];
    });
    features.resize(most_keys);
    return features;
}

}  // namespace

bool has_gaps(const Metric& metric) {
    switch (metric.traits().quantity) {
        case Quantity::squared_distance:
        case Quantity::absolute_differences:
        case Quantity::largest_difference:
            return true;
        case Quantity::terms:
            return metric.traits().sums_powers && metric.params.p <= largest_power;
        case Quantity::product:
        case Quantity::differing_bits:
            return false;
    }
    return false;
}

Gaps gaps_of(const Metric& metric) {
    switch (metric.traits().quantity) {
        case Quantity::squared_distance:
            return Gaps::squares;
        case Quantity::absolute_differences:
            return Gaps::sum;
        case Quantity::largest_difference:
            return Gaps::largest;
        default:
            return Gaps::powers;
    }
}

bool KeyRule::fits(int64_t d) const {
    if (features.empty() || features.size() > most_keys || centre.size() != features.size() ||
        !(scale > 0.0) || !(scale < INFINITY)) {
        return false;
    }
    for (size_t j = 0; j < features.size(); ++j) {
        const auto twice = std::count(features.begin(), features.end(), features[j]) > 1;
        if (features[j] < 0 || features[j] >= d || twice || !std::isfinite(centre[j])) return false;
    }
    return true;
}

KeyRule key_rule(const Source& rows, const Source& cols, const Metric& metric) {
    KeyRule rule;
    if (!has_gaps(metric)) return rule;
    rule.gaps = gaps_of(metric);
    if (rule.gaps == Gaps::powers) rule.power = metric.params.p;
    const Frame frame = sample_frame(rows, cols, true);
    if (frame.extreme) return rule;
    rule.scale = frame.scale;
    rule.features = widest_features(rows, cols, frame.centre);
    for (const int64_t j : rule.features) {
        rule.centre.push_back(frame.centre[static_cast<size_t>(j)]);
    }
    return rule;
}

namespace {

// The keys of a row.
void keys_of(const std::vector<double>& row, const KeyRule& rule, float* out) {
    for (size_t j = 0; j < rule.features.size(); ++j) {
        const double key =
            (row[static_cast<size_t>(rule.features[j])] - rule.centre[j]) * rule.scale;
        out[j] = static_cast<float>(std::clamp(key, -largest_key, largest_key));
    }
}

}  // namespace

// Whether every row is finite.
bool Order::read_keys(const Source& source, const KeyRule& rule, Control& control,
                      Buffer<float>& keys) const {
    const int64_t n = source.rows(), d = source.d();
    std::atomic<bool> finite{true};
    parallel_for((n + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int) {
        std::vector<double> row(static_cast<size_t>(d));
        const int64_t end = std::min(n, (block + 1) * rows_per_block);
        for (int64_t i = block * rows_per_block; i < end; ++i) {
            source.read(i, row.data());
            if (!all_finite(row.data(), d)) {
                finite = false;
                return;
            }
            keys_of(row, rule, keys.data() + i * keys_);
        }
    });
    return finite;
}

Order::Order(const Source& source, const KeyRule& rule, int leaf, Control& control)
    : leaf_(leaf), keys_(rule.count()) {
    using Part = Splitter::Part;
    const int64_t n = source.rows();
    Buffer<float> keys(n * keys_);
    if (!read_keys(source, rule, control, keys)) return;
    std::vector<uint64_t> entries(static_cast<size_t>(n));
    std::iota(entries.begin(), entries.end(), uint64_t{0});
    Splitter splitter(keys.data(), keys_, leaf_, entries);
    // one level after another while there are few parts, then each part for itself; a few rows are
    // in order before a thread has started
    constexpr size_t enough = 64;
    constexpr int64_t few = 4096;
    std::vector<Part> parts{{0, n}};
    while (n > few && parts.size() < enough &&
           !std::all_of(parts.begin(), parts.end(),
                        [&](const Part& one) { return splitter.is_leaf(one); })) {
        std::vector<std::pair<Part, Part>> halves(parts.size());
        parallel_for(static_cast<int64_t>(parts.size()), control, [&](int64_t i, int) {
            const Part& part = parts[static_cast<size_t>(i)];
            halves[static_cast<size_t>(i)] =
                splitter.is_leaf(part) ? std::pair{part, Part{0, 0}} : splitter.split(part);
        });
        parts.clear();
        for (const auto& [left, right] : halves) {
            parts.push_back(left);
            if (right.count > 0) parts.push_back(right);
        }
    }
    parallel_for(static_cast<int64_t>(parts.size()), control, [&](int64_t i, int worker) {
        splitter.split_all(parts[static_cast<size_t>(i)], control, worker);
    });
    count_ = n;
    rows_.reserve(n);
    of_rows_.reserve(n * keys_);
    parallel_for((n + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int) {
        const int64_t end = std::min(n, (block + 1) * rows_per_block);
        for (int64_t i = block * rows_per_block; i < end; ++i) {
            const int64_t row = row_of(entries[static_cast<size_t>(i)]);
            rows_[i] = row;
            std::copy_n(keys.data() + row * keys_, keys_, of_rows_.data() + i * keys_);
        }
    });
    box_numbers_ = lay_out(leaves(), keys_, levels_);
    boxes_.reserve(box_numbers_);
    make_boxes(boxes_.data(), control);
}

Order::Order(const int64_t* rows, const float* keys, const float* boxes, int64_t count,
             int keys_per_row, int leaf)
    : leaf_(leaf),
      keys_(keys_per_row),
      count_(count),
      rows_(Buffer<int64_t>::view(rows, count)),
      of_rows_(Buffer<float>::view(keys, count * keys_per_row)) {
    box_numbers_ = lay_out(leaves(), keys_, levels_);
    boxes_ = Buffer<float>::view(boxes, box_numbers_);
}

bool Order::is_permutation() const {
    std::vector<bool> seen(static_cast<size_t>(count_));
    for (int64_t i = 0; i < count_; ++i) {
        const int64_t row = rows_[i];
        if (row < 0 || row >= count_ || seen[static_cast<size_t>(row)]) return false;
        seen[static_cast<size_t>(row)] = true;
    }
    return true;
}

bool Order::is_of(const Source& source, const KeyRule& rule, Control& control) const {
    if (count_ != source.rows() || keys_ != rule.count() || !is_permutation()) return false;
    const int64_t d = source.d();
    std::atomic<bool> same{true};
    parallel_for((count_ + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int) {
        std::vector<double> row(static_cast<size_t>(d));
        float keys[most_keys];
        const int64_t end = std::min(count_, (block + 1) * rows_per_block);
        for (int64_t i = block * rows_per_block; i < end && same; ++i) {
            source.read(rows_[i], row.data());
            keys_of(row, rule, keys);
            // what is not finite has no keys, and is in no order
            if (!all_finite(row.data(), d) ||
                !std::equal(keys, keys + keys_, of_rows_.data() + i * keys_)) {
                same = false;
            }
        }
    });
    if (!same) return false;
    Buffer<float> boxes(box_numbers_);
    make_boxes(boxes.data(), control);
    return std::equal(boxes.data(), boxes.data() + box_numbers_, boxes_.data());
}

int64_t Order::lay_out(int64_t leaves, int keys_per_row, std::vector<Level>& levels) {
    int64_t numbers = 0;
    for (int64_t nodes = leaves;; nodes = (nodes + fan_out - 1) / fan_out) {
        levels.push_back({nodes, numbers});
        numbers += (nodes + fan_out - 1) / fan_out * 2 * fan_out * keys_per_row;
        if (nodes <= fan_out) return numbers;
    }
}

int64_t Order::box_numbers_of(int64_t count, int leaf, int keys_per_row) {
    std::vector<Level> levels;
    return lay_out((count + leaf - 1) / leaf, keys_per_row, levels);
}

Box Order::box_of(int64_t first, int64_t count) const {
    Box box;
    const float* row = of_rows_.data() + first * keys_;
    for (int j = 0; j < keys_; ++j) box.low[j] = box.high[j] = row[j];
    for (int64_t i = 1; i < count; ++i) {
        row += keys_;
        for (int j = 0; j < keys_; ++j) {
            box.low[j] = std::min(box.low[j], row[j]);
            box.high[j] = std::max(box.high[j], row[j]);
        }
    }
    for (int j = 0; j < keys_; ++j) {
        box.low[j] -= std::fabs(box.low[j]) * key_rounding + key_underflow;
        box.high[j] += std::fabs(box.high[j]) * key_rounding + key_underflow;
    }
    return box;
}

void Order::put(const Level& level, int64_t node, const Box& box, float* boxes) const {
    float* block = boxes + level.first + node / fan_out * 2 * fan_out * keys_;
    for (int j = 0; j < keys_; ++j) {
        block[(2 * j) * fan_out + node % fan_out] = box.low[j];
        block[(2 * j + 1) * fan_out + node % fan_out] = box.high[j];
    }
}

void Order::make_boxes(float* boxes, Control& control) const {
    std::fill_n(boxes, box_numbers_, 0.0f);
    constexpr int64_t leaves_per_block = 256;
    parallel_for(
        (leaves() + leaves_per_block - 1) / leaves_per_block, control, [&](int64_t block, int) {
            const int64_t end = std::min(leaves(), (block + 1) * leaves_per_block);
            for (int64_t i = block * leaves_per_block; i < end; ++i) {
                const int64_t first = i * leaf_;
                put(levels_[0], i, box_of(first, std::min<int64_t>(leaf_, count() - first)), boxes);
            }
        });
    for (size_t at = 1; at < levels_.size(); ++at) {
        const Level &level = levels_[at], &below = levels_[at - 1];
        for (int64_t node = 0; node < level.nodes; ++node) {
            const int64_t here = std::min<int64_t>(fan_out, below.nodes - node * fan_out);
            const float* block = boxes + below.first + node * 2 * fan_out * keys_;
            Box box;
            for (int j = 0; j < keys_; ++j, block += 2 * fan_out) {
                box.low[j] = *std::min_element(block, block + here);
                box.high[j] = *std::max_element(block + fan_out, block + fan_out + here);
            }
            put(level, node, box, boxes);
        }
    }
}

void gaps_to_block(const KeyRule& rule, const Box& box, const float* block, float* out) {
    const int keys = rule.count();
    float sum[fan_out] = {};
    const auto add = [&](auto combine) {
        for (int j = 0; j < keys; ++j, block += 2 * fan_out) {
            const float low = box.low[j], high = box.high[j];
            for (int i = 0; i < fan_out; ++i) {
                const float above = block[i] - high, below = low - block[fan_out + i];
                const float gap = above > below ? above : below;
                sum[i] = combine(sum[i], gap > 0.0f ? gap : 0.0f);
            }
        }
    };
    switch (rule.gaps) {
        case Gaps::squares:
            add([](float all, float gap) { return all + gap * gap; });
            break;
        case Gaps::sum:
            add([](float all, float gap) { return all + gap; });
            break;
        case Gaps::largest:
            add([](float all, float gap) { return all > gap ? all : gap; });
            break;
        case Gaps::powers:
            add([&](float all, float gap) {
                return all + static_cast<float>(std::pow(static_cast<double>(gap), rule.power));
            });
            break;
    }
    for (int i = 0; i < fan_out; ++i) out[i] = sum[i];
}

float gaps_to_box(const KeyRule& rule, const Box& box, const float* block, int at) {
    float sum = 0.0f;
    for (int j = 0; j < rule.count(); ++j, block += 2 * fan_out) {
        const float above = block[at] - box.high[j], below = box.low[j] - block[fan_out + at];
        const float gap = std::max({above, below, 0.0f});
        switch (rule.gaps) {
            case Gaps::squares:
                sum += gap * gap;
                break;
            case Gaps::sum:
                sum += gap;
                break;
            case Gaps::largest:
                sum = std::max(sum, gap);
                break;
            case Gaps::powers:
                sum += static_cast<float>(std::pow(static_cast<double>(gap), rule.power));
                break;
        }
    }
    return sum;
}

}  // namespace pairtile
