// Losses of logits with each of their options at sizes around the tiles: values against the
// formulas, pair by pair, and gradients against differences of these values along a direction.
#include <algorithm>
#include <cmath>

#include "check.hpp"
#include "losses/pairs.hpp"
#include "losses/pulls.hpp"
#include "losses/self_softmax.hpp"
#include "losses/sigmoid.hpp"
#include "losses/softmax.hpp"

namespace {

using namespace check;
using namespace pairtile;

using Doubles = std::vector<double>;
const auto ignore = [](int64_t, int64_t) {};
constexpr double scale = 1.5;
constexpr int64_t d = 5;

Source source_of(const Doubles& values) {
    constexpr int64_t size = sizeof(double);
    return Source(Array{reinterpret_cast<const char*>(values.data()),
                        static_cast<int64_t>(values.size()) / d, d, d * size, size, Dtype::float64,
                        false});
}

double product(const Doubles& x, int64_t i, const Doubles& y, int64_t j) {
    double sum = 0.0;
    for (int64_t f = 0; f < d; ++f) {
        sum += x[static_cast<size_t>(i * d + f)] * y[static_cast<size_t>(j * d + f)];
    }
    return sum;
}

// Two sets (or one: y is x) and the weights of the rows.
struct Sets {
    Doubles x, y, upstream;
    bool triangle;

    Sets(Random& random, int64_t rows, int64_t cols, bool one)
        : x(normals<double>(random, rows * d)),
          y(one ? x : normals<double>(random, cols * d)),
          upstream(normals<double>(random, rows)),
          triangle(one) {}
    int64_t n() const { return static_cast<int64_t>(upstream.size()); }
    int64_t m() const { return static_cast<int64_t>(y.size()) / d; }
};

struct Found {
    Doubles per_row, by_x, by_y;
    explicit Found(const Sets& sets)
        : per_row(sets.upstream.size()), by_x(sets.x.size()), by_y(sets.y.size()) {}
};

// run(request, found) of a loss.
template <class Run>
Found found_by(const Sets& sets, bool grad, Run run) {
    Control control(ignore, 2);
    Found found(sets);
    run(LogitRequest{source_of(sets.x), source_of(sets.y), scale, nullptr, false, sets.triangle,
                     grad ? sets.upstream.data() : nullptr, control},
        found);
    return found;
}

// wanted(sets, i): the loss of a row.
template <class Run, class Wanted>
void check_loss(Random& random, const char* name, const Sets& sets, Run run, Wanted wanted) {
    const Found found = found_by(sets, true, run), without = found_by(sets, false, run);
    for (int64_t i = 0; i < sets.n(); ++i) {
        const size_t at = static_cast<size_t>(i);
        const double right = wanted(sets, i);
        CHECK(std::fabs(found.per_row[at] - right) <= 1e-12 * (1.0 + std::fabs(right)), name, i,
              sets.n(), sets.m(), found.per_row[at], right);
        CHECK(found.per_row[at] == without.per_row[at], name, i);
    }
    constexpr double step = 1e-6;
    const Doubles along_x = normals<double>(random, static_cast<int64_t>(sets.x.size()));
    const Doubles along_y = sets.triangle ? along_x : normals<double>(random, sets.m() * d);
    double slope = 0.0, size = 1.0, difference = 0.0;
    const auto add = [&](const Doubles& gradient, const Doubles& along) {
        for (size_t k = 0; k < along.size(); ++k) {
            slope += gradient[k] * along[k];
            size += std::fabs(gradient[k] * along[k]);
        }
    };
    add(found.by_x, along_x);
    if (!sets.triangle) add(found.by_y, along_y);
    for (const double sign : {1.0, -1.0}) {
        Sets moved = sets;
        for (size_t k = 0; k < moved.x.size(); ++k) moved.x[k] += sign * step * along_x[k];
        for (size_t k = 0; k < moved.y.size(); ++k) moved.y[k] += sign * step * along_y[k];
        for (int64_t i = 0; i < sets.n(); ++i) {
            difference +=
                sign / (2.0 * step) * sets.upstream[static_cast<size_t>(i)] * wanted(moved, i);
        }
    }
    CHECK(std::fabs(slope - difference) <= 1e-6 * size, name, sets.n(), sets.m(), slope, difference,
          size);
}

double log_sum_exp(const Doubles& logits) {
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0.0;
    for (const double s : logits) sum += std::exp(s - top);
    return top + std::log(sum);
}

bool belongs(const Positives& positives, int64_t i, int64_t j) {
    if (positives.targets) return positives.targets[i] == j;
    if (positives.self && i == j) return false;
    return std::fabs(positives.row_labels[i] - positives.col_labels[j]) <= positives.width;
}

// −log softmax of a row's positives (or of its target's column), of what is not left out.
double softmax_loss(const Sets& sets, const SoftmaxOptions& options, int64_t i, bool row) {
    const Positives& positives = options.positives;
    const int64_t count = row ? sets.m() : sets.n();
    const int64_t fixed = row ? i : positives.targets[i];
    Doubles all, own;
    for (int64_t k = 0; k < count; ++k) {
        const int64_t r = row ? i : k, c = row ? k : fixed;
        if (positives.self && r == c) continue;
        const double mine = product(sets.x, r, sets.y, c);
        const bool positive = belongs(positives, r, c);
        if (!positive && options.false_negative_margin &&
            mine >
                product(sets.x, i, sets.y, positives.targets[i]) + *options.false_negative_margin) {
            continue;
        }
        if (!positive && row && options.kept.indptr &&
            !std::binary_search(options.kept.columns + options.kept.indptr[r],
                                options.kept.columns + options.kept.indptr[r + 1], c)) {
            continue;
        }
        const PairList& masked = row ? options.row_masked : options.col_masked;
        if (!positive && masked.given() &&
            std::binary_search(masked.columns + masked.indptr[r],
                               masked.columns + masked.indptr[r + 1], c)) {
            continue;
        }
        const double logit = scale * (positive ? mine - options.margin : mine) +
                             (options.column_logits ? options.column_logits[c] : 0.0);
        all.push_back(logit);
        if (positive) own.push_back(logit);
    }
    if (own.empty()) return 0.0;
    double pull = 0.0, even = 0.0;
    for (const double s : own) pull += s / static_cast<double>(own.size());
    for (const double s : all) even += s / static_cast<double>(all.size());
    const double smoothing = options.label_smoothing;
    return log_sum_exp(all) - (1.0 - smoothing) * pull - smoothing * even;
}

void check_softmax(Random& random, const char* name, const Sets& sets,
                   const SoftmaxOptions& options) {
    const auto run = [&](const LogitRequest& request, Found& found) {
        Doubles of_rows(sets.upstream.size()), of_cols(static_cast<size_t>(sets.m()));
        SoftmaxLosses<double> out;
        out.per_row = found.per_row.data();
        out.lse_row = of_rows.data();
        out.lse_col = of_cols.data();
        if (request.upstream) out.gradients = {found.by_x.data(), found.by_y.data()};
        if (request.triangle) {
            out.gradients.y = out.gradients.x;
            self_softmax_losses<double>(request, options.positives, out);
        } else {
            softmax_losses<double>(request, options, out);
        }
    };
    check_loss(random, name, sets, run, [&](const Sets& at, int64_t i) {
        double loss = 0.0;
        if (options.rows) loss += softmax_loss(at, options, i, true);
        if (options.cols) loss += softmax_loss(at, options, i, false);
        return options.rows && options.cols ? loss / 2.0 : loss;
    });
}

Doubles labels_of(Random& random, int64_t n, int64_t classes) {
    Doubles labels;
    for (int64_t i = 0; i < n; ++i) {
        labels.push_back(static_cast<double>(integer(random, 0, classes)));
    }
    return labels;
}

TEST(softmax_losses_are_their_formulas) {
    Random random(71);
    for (const int64_t n : {1, 15, 70}) {
        for (const int64_t more : {0, 1, 40, 260}) {
            const Sets sets(random, n, n + more, false);
            std::vector<int64_t> targets, indptr{0}, kept, of_cols{0}, listed;
            for (int64_t i = 0; i < n; ++i) {
                targets.push_back(i + more / 2);
                for (int64_t j = integer(random, 0, 3); j < sets.m(); j += integer(random, 1, 40)) {
                    kept.push_back(j);
                }
                indptr.push_back(static_cast<int64_t>(kept.size()));
                for (int64_t j = integer(random, 0, 3); j < sets.m(); j += integer(random, 1, 9)) {
                    listed.push_back(j);
                }
                of_cols.push_back(static_cast<int64_t>(listed.size()));
            }
            const Doubles logits = normals<double>(random, sets.m());
            const Doubles rows = labels_of(random, n, 9), cols = labels_of(random, sets.m(), 9);
            SoftmaxOptions plain;
            plain.positives.targets = targets.data();
            check_softmax(random, "plain", sets, plain);
            SoftmaxOptions both = plain;
            both.cols = true;
            check_softmax(random, "both", sets, both);
            both.false_negative_margin = 0.5;
            both.label_smoothing = 0.2;
            check_softmax(random, "both, with what is left out", sets, both);
            both.rows = false;
            check_softmax(random, "columns, with what is left out", sets, both);
            SoftmaxOptions masked = plain;
            masked.row_masked = {indptr.data(), kept.data()};
            check_softmax(random, "masked", sets, masked);
            masked.cols = true;
            masked.label_smoothing = 0.2;
            check_softmax(random, "both, masked in rows", sets, masked);
            masked.col_masked = {of_cols.data(), listed.data()};
            check_softmax(random, "both, masked in either", sets, masked);
            masked.rows = false;
            check_softmax(random, "columns, masked", sets, masked);
            SoftmaxOptions groups;
            groups.positives.row_labels = rows.data();
            groups.positives.col_labels = cols.data();
            groups.margin = 0.3;
            groups.column_logits = logits.data();
            check_softmax(random, "groups", sets, groups);
            groups.kept = {indptr.data(), kept.data()};
            check_softmax(random, "groups, with what is kept", sets, groups);
        }
    }
}

TEST(losses_of_one_set_are_their_formulas) {
    Random random(72);
    for (const int64_t n : {2, 15, 70, 330}) {
        const Sets sets(random, n, n, true);
        const Doubles labels = labels_of(random, n, n / 3);
        SoftmaxOptions options;
        options.positives.row_labels = options.positives.col_labels = labels.data();
        options.positives.self = true;
        check_softmax(random, "one set", sets, options);

        const double parameters[] = {2.0, 5.0, 0.5};
        const auto run = [&](const LogitRequest& request, Found& found) {
            pair_losses<double>(request,
                                {PairLossId::multi_similarity, parameters, labels.data(), -1.0},
                                found.per_row.data(), found.by_x.data());
        };
        check_loss(random, "multi-similarity", sets, run, [&](const Sets& at, int64_t i) {
            Doubles positives{0.0}, negatives{0.0};
            for (int64_t j = 0; j < n; ++j) {
                const double c = product(at.x, i, at.x, j);
                if (j == i) continue;
                if (belongs(options.positives, i, j)) {
                    positives.push_back(-2.0 * (c - 0.5));
                } else {
                    negatives.push_back(5.0 * (c - 0.5));
                }
            }
            return log_sum_exp(positives) / 2.0 + log_sum_exp(negatives) / 5.0;
        });
    }
}

TEST(sigmoid_losses_are_their_formulas) {
    Random random(73);
    for (const int64_t n : {1, 15, 70}) {
        for (const int64_t m : {1, 33, 300}) {
            const Sets sets(random, n, m, false);
            const Doubles rows = labels_of(random, n, 4), cols = labels_of(random, m, 4);
            Positives positives;
            positives.row_labels = rows.data();
            positives.col_labels = cols.data();
            const auto run = [&](const LogitRequest& request, Found& found) {
                SigmoidLosses<double> out;
                out.per_row = found.per_row.data();
                if (request.upstream) out.gradients = {found.by_x.data(), found.by_y.data()};
                sigmoid_losses<double>(request, positives, -1.0, out);
            };
            check_loss(random, "sigmoid", sets, run, [&](const Sets& at, int64_t i) {
                double loss = 0.0;
                for (int64_t j = 0; j < m; ++j) {
                    const double s = scale * product(at.x, i, at.y, j) - 1.0;
                    loss += std::log1p(std::exp(belongs(positives, i, j) ? -s : s));
                }
                return loss;
            });
        }
    }
}

TEST(pulls_of_pairs_in_any_order) {
    Random random(75);
    for (const int64_t n : {1, 7, 70}) {
        const Doubles x = normals<double>(random, n * d);
        Doubles lengths;
        for (int64_t i = 0; i < n; ++i) lengths.push_back(i % 5 == 0 ? 0.0 : 0.5 + double(i));
        for (const int64_t count : {int64_t{0}, int64_t{1}, 20 * n}) {
            std::vector<int64_t> one, other;
            for (int64_t p = 0; p < count; ++p) {
                one.push_back(integer(random, 0, n - 1));
                other.push_back(integer(random, 0, n - 1));
            }
            const Doubles weights = normals<double>(random, count);
            const Pulls pulls{one.data(), other.data(), weights.data(), count};
            for (const bool divided : {false, true}) {
                const auto z = [&](int64_t i, int64_t f) {
                    const double length = divided ? lengths[static_cast<size_t>(i)] : 0.0;
                    const double value = x[static_cast<size_t>(i * d + f)];
                    return length > 0.0 ? value / length : value;
                };
                Doubles right(x.size(), 0.5), found(right), again(right);
                for (int64_t p = 0; p < count; ++p) {
                    const size_t at = static_cast<size_t>(p);
                    for (int64_t f = 0; f < d; ++f) {
                        right[static_cast<size_t>(one[at] * d + f)] +=
                            weights[at] * (z(one[at], f) - z(other[at], f));
                    }
                }
                const double* by = divided ? lengths.data() : nullptr;
                Control control(ignore, 3), alone(ignore, 1);
                add_pulls<double>(source_of(x), by, pulls, control, found.data());
                add_pulls<double>(source_of(x), by, pulls, alone, again.data());
                for (size_t k = 0; k < right.size(); ++k) {
                    CHECK(std::fabs(found[k] - right[k]) <= 1e-12 * (1.0 + std::fabs(right[k])), n,
                          count, k, found[k], right[k]);
                    CHECK(found[k] == again[k], n, count, k);
                }
            }
        }
    }
}

// One side's gradient alone has the bits that it has beside the other's.
TEST(a_gradient_of_one_side_alone) {
    Random random(76);
    const Sets sets(random, 70, 110, false);
    std::vector<int64_t> targets;
    for (int64_t i = 0; i < sets.n(); ++i) targets.push_back(i);
    const Positives positives{targets.data()};
    for (const bool sigmoid : {false, true}) {
        const auto gradients = [&](bool by_x, bool by_y) {
            return found_by(sets, true, [&](const LogitRequest& request, Found& found) {
                const LogitGradients<double> to{by_x ? found.by_x.data() : nullptr,
                                                by_y ? found.by_y.data() : nullptr};
                Doubles lse(found.per_row.size());
                if (sigmoid) {
                    SigmoidLosses<double> out;
                    out.per_row = found.per_row.data(), out.gradients = to;
                    sigmoid_losses<double>(request, positives, -1.0, out);
                    found.per_row.push_back(out.grad_scale);
                } else {
                    SoftmaxOptions options;
                    options.positives = positives;
                    SoftmaxLosses<double> out;
                    out.per_row = found.per_row.data(), out.gradients = to;
                    out.lse_row = lse.data();
                    softmax_losses<double>(request, options, out);
                    found.per_row.push_back(out.grad_scale);
                }
            });
        };
        const Found both = gradients(true, true);
        const Doubles none(both.by_x.size(), 0.0), neither(both.by_y.size(), 0.0);
        for (const int which : {0, 1, 2}) {
            const Found found = gradients(which == 1, which == 2);
            CHECK(found.per_row == both.per_row, sigmoid, which);
            CHECK(found.by_x == (which == 1 ? both.by_x : none), sigmoid, which);
            CHECK(found.by_y == (which == 2 ? both.by_y : neither), sigmoid, which);
        }
    }
}

}  // namespace
