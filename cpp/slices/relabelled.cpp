#include "slices/relabelled.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "engine/buffer.hpp"
#include "slices/sort.hpp"

namespace pairtile {
namespace {

constexpr int lanes = 8;              // relabellings of one byte
constexpr int64_t stretch = 1 << 15;  // rows between two looks at the clock
using Lanes = std::array<double, lanes>;

struct Work {
    Buffer<Ranked<double>> items, scratch;
    Buffer<double> values, gaps, x, y;
    Buffer<uint64_t> bits;  // of 64 relabellings, in the order of the values
    std::vector<int64_t> of_x, of_y;
    std::vector<double> shares;
    int64_t pieces_of = -1;
};

// What each of the eight bits of a byte adds where `one` stands for 1.
class Steps {
  public:
    explicit Steps(double one) {
        for (size_t byte = 0; byte < table_.size(); ++byte) {
            for (size_t l = 0; l < lanes; ++l) table_[byte][l] = byte >> l & 1 ? one : 0.0;
        }
    }
    const Lanes& operator[](uint8_t byte) const { return table_[byte]; }

  private:
    std::array<Lanes, 256> table_;
};

// Σ gap · (N k − n i)², or of its size: k of the i smallest values are called x. Whole numbers, of
// the size of their own deviation where they are added up.
template <bool squared>
void count_along(const uint8_t* bytes, const double* gaps, int64_t rows, const Steps& steps,
                 const Lanes& sizes, const Tick& tick, Lanes& sums) {
    Lanes rise{}, total{};
    for (int64_t begin = 0; begin < rows; begin += stretch) {
        tick();
        const int64_t end = std::min(rows, begin + stretch);
        for (int64_t i = begin; i < end; ++i) {
            const Lanes& step = steps[bytes[i * lanes]];
            const double gap = gaps[i];
            for (size_t l = 0; l < lanes; ++l) {
                rise[l] += step[l] - sizes[l];
                total[l] += gap * (squared ? rise[l] * rise[l] : std::fabs(rise[l]));
            }
        }
    }
    sums = total;
}

// The values of either sample in their order.
void deal(const uint64_t* bits, int64_t bit, const double* values, int64_t rows, double* x,
          double* y) {
    int64_t of_x = 0;
    for (int64_t i = 0; i < rows; ++i) {
        x[of_x] = values[i];
        y[i - of_x] = values[i];
        of_x += static_cast<int64_t>(bits[i] >> bit & 1);
    }
}

// On which pieces both quantile functions of n and m values are constant; ends are whole numbers in
// units of 1/(nm).
void find_pieces(int64_t n, int64_t m, Work& mine) {
    if (mine.pieces_of == n) return;
    mine.of_x.clear(), mine.of_y.clear(), mine.shares.clear();
    const double unit = 1 / (static_cast<double>(n) * static_cast<double>(m));
    int64_t left_x = m, left_y = n;
    for (int64_t i = 0, j = 0; i < n;) {
        const int64_t piece = std::min(left_x, left_y);
        mine.of_x.push_back(i);
        mine.of_y.push_back(j);
        mine.shares.push_back(static_cast<double>(piece) * unit);
        left_x -= piece;
        left_y -= piece;
        if (left_x == 0) ++i, left_x = m;
        if (left_y == 0) ++j, left_y = n;
    }
    mine.pieces_of = n;
}

double sum_of(const Lanes& lane) {
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

template <class Power>
double transport(Work& mine, int64_t n, int64_t m, const Power& power) {
    Lanes sum{};
    const double *x = mine.x.data(), *y = mine.y.data();
    if (n == m) {
        int64_t i = 0;
        for (; i + lanes <= n; i += lanes) {
            for (int64_t l = 0; l < lanes; ++l) {
                sum[static_cast<size_t>(l)] += power(x[i + l] - y[i + l]);
            }
        }
        for (size_t l = 0; i < n; ++i, ++l) sum[l] += power(x[i] - y[i]);
        return sum_of(sum) / static_cast<double>(n);
    }
    find_pieces(n, m, mine);
    const size_t count = mine.shares.size();
    for (size_t i = 0; i < count; ++i) {
        sum[i % lanes] += mine.shares[i] * power(x[mine.of_x[i]] - y[mine.of_y[i]]);
    }
    return sum_of(sum);
}

class Line {
  public:
    Line(const double* line, const Relabellings& labels, Work& work, const Tick& tick)
        : labels_(labels), rows_(labels.rows), mine_(work), tick_(tick) {
        for (auto* list : {&mine_.items, &mine_.scratch}) list->reserve(rows_);
        for (auto* list : {&mine_.values, &mine_.gaps, &mine_.x, &mine_.y}) list->reserve(rows_);
        mine_.bits.reserve(rows_);
        for (int64_t i = 0; i < rows_; ++i) {
            mine_.items[i] = {key_of_value(line[i]), static_cast<uint32_t>(i)};
        }
        items_ = sort_items(mine_.items.data(), mine_.scratch.data(), rows_, tick);
        const auto value = [this](int64_t i) { return value_of_key<double>(items_[i].key); };
        const double middle = value(rows_ / 2);
        int spread;
        std::frexp((value(rows_ - 1) - middle) - (value(0) - middle), &spread);
        exponent = spread;
        for (int64_t i = 0; i < rows_; ++i) {
            mine_.values[i] = std::ldexp(value(i) - middle, -spread);
        }
        for (int64_t i = 0; i + 1 < rows_; ++i) {
            mine_.gaps[i] = mine_.values[i + 1] - mine_.values[i];
        }
        mine_.gaps[rows_ - 1] = 0;
    }

    template <bool squared>
    void counted(const Steps& steps, double* costs) {
        for_each_word([&](int64_t byte) {
            const auto* bytes = reinterpret_cast<const uint8_t*>(mine_.bits.data());
            for (int64_t b = 0; b < 8 && 8 * (byte + b) < labels_.count; ++b) {
                const int64_t first = 8 * (byte + b);
                const int64_t some = std::min<int64_t>(lanes, labels_.count - first);
                Lanes sizes{}, sums;
                std::copy_n(labels_.sizes + first, some, sizes.begin());
                count_along<squared>(bytes + b, mine_.gaps.data(), rows_, steps, sizes, tick_,
                                     sums);
                for (int64_t l = 0; l < some; ++l) {
                    const double n = sizes[static_cast<size_t>(l)];
                    const double pairs = n * (static_cast<double>(rows_) - n);
                    const double sum = sums[static_cast<size_t>(l)] / pairs;
                    costs[first + l] = squared ? 2 * sum / pairs : sum;
                }
            }
        });
    }

    template <class Power>
    void dealt(const Power& power, double* costs) {
        for_each_word([&](int64_t byte) {
            for (int64_t b = 0; b < 64 && 8 * byte + b < labels_.count; ++b) {
                tick_();
                const int64_t n = labels_.sizes[8 * byte + b];
                deal(mine_.bits.data(), b, mine_.values.data(), rows_, mine_.x.data(),
                     mine_.y.data());
                costs[8 * byte + b] = transport(mine_, n, rows_ - n, power);
            }
        });
    }

    // 2 F (1 − F) lies within x, 2 G (1 − G) within y, and twice F + G − 2 F G between them.
    double size_of_energy() const {
        const double n = static_cast<double>(labels_.sizes[0]);
        const double of_x = 1 / n, of_y = 1 / (static_cast<double>(rows_) - n);
        double both = 0, sum = 0;
        for (int64_t i = 0; i < rows_; ++i) {
            both += labels_.bits[items_[i].row * labels_.bytes()] & 1 ? of_x : of_y;
            sum += 2 * mine_.gaps[i] * both * (2 - both);
        }
        return sum;
    }
    double size_of_power(double p) const {
        double sum = 0;
        for (int64_t i = 0; i < rows_; ++i) sum += std::pow(std::fabs(mine_.values[i]), p);
        return sum / static_cast<double>(rows_);
    }

    int exponent;

  private:
    // compute(byte) where eight bytes of each row are at hand, in the order of the line.
    template <class Compute>
    void for_each_word(const Compute& compute) {
        const int64_t bytes = labels_.bytes();
        for (int64_t byte = 0; byte < bytes; byte += 8) {
            tick_();
            const size_t some = static_cast<size_t>(std::min<int64_t>(8, bytes - byte));
            for (int64_t i = 0; i < rows_; ++i) {
                mine_.bits[i] = 0;
                std::memcpy(&mine_.bits[i], labels_.bits + items_[i].row * bytes + byte, some);
            }
            compute(byte);
        }
    }

    const Relabellings& labels_;
    int64_t rows_;
    Work& mine_;
    const Tick& tick_;
    const Ranked<double>* items_;
};

}  // namespace

void relabelled_line_costs(const double* lines, int64_t count, const Relabellings& labels,
                           bool energy, double p, double* costs, double* sizes, int64_t* exponents,
                           Control& control) {
    if (labels.rows > std::numeric_limits<uint32_t>::max()) {
        throw std::length_error("sliced statistics take at most 2^32 - 1 rows");
    }
    const Steps steps(static_cast<double>(labels.rows));
    std::vector<Work> work(static_cast<size_t>(control.workers()));
    control.expect(count);
    parallel_for(count, control, [&](int64_t l, int worker) {
        const Tick tick{control, worker};
        Line line(lines + l * labels.rows, labels, work[static_cast<size_t>(worker)], tick);
        double* out = costs + l * labels.count;
        if (energy) {
            line.counted<true>(steps, out);
        } else if (p == 1) {
            line.counted<false>(steps, out);
        } else if (p == 2) {
            line.dealt([](double moved) { return moved * moved; }, out);
        } else {
            line.dealt([p](double moved) { return std::pow(std::fabs(moved), p); }, out);
        }
        sizes[l] = energy ? line.size_of_energy() : line.size_of_power(p);
        exponents[l] = line.exponent;
        control.advance(1);
    });
}

}  // namespace pairtile
