// Every entry of the table of every instruction set that this processor has, against plain loops.
#include <algorithm>
#include <cstring>
#include <string>

#include "check.hpp"
#include "engine/buffer.hpp"
#include "engine/isa.hpp"
#include "pairtile/metric/metric.hpp"

namespace {

using namespace check;
using namespace pairtile;

constexpr double infinity = std::numeric_limits<double>::infinity();

// body(ops, name of the instruction set) for each of them and each type.
template <class Body>
void for_each_table(Body body) {
    CHECK(!supported_isas().empty());
    for (const IsaOps* isa : supported_isas()) {
        body(isa->f32, std::string(isa->name) + " float");
        body(isa->f64, std::string(isa->name) + " double");
    }
}

// Points feature by feature, `width` of them; those from `count` on are padding.
template <class T>
std::vector<T> panel_of(const std::vector<T>& points, int count, int64_t d, int width) {
    std::vector<T> panel(static_cast<size_t>(d * width));
    for (int i = 0; i < count; ++i) {
        for (int64_t f = 0; f < d; ++f) {
            panel[static_cast<size_t>(f * width + i)] = points[static_cast<size_t>(i * d + f)];
        }
    }
    return panel;
}

constexpr int64_t dimensions[] = {1, 2, 3, 4, 7, 8, 9, 17, 64, 255, 256, 257, 300, 513};

// --- micro-kernels ---

template <class T>
void check_core(const Ops<T>& ops, const std::string& isa, Core core, int64_t d, int panels,
                bool with_bias, Random& random) {
    const int rows = ops.rows, cols = ops.cols * panels;
    const int64_t ld = cols + 5;
    const auto x = normals<T>(random, rows * d), y = normals<T>(random, cols * d);
    const auto bias = normals<T>(random, cols);
    const std::vector<T> row_panel = panel_of(x, rows, d, rows);
    std::vector<T> col_panels;
    for (int p = 0; p < panels; ++p) {
        const std::vector<T> points(y.begin() + p * ops.cols * d,
                                    y.begin() + (p + 1) * ops.cols * d);
        const std::vector<T> panel = panel_of(points, ops.cols, d, ops.cols);
        col_panels.insert(col_panels.end(), panel.begin(), panel.end());
    }
    const T untouched = T(12345);
    std::vector<T> tile(static_cast<size_t>(rows * ld), untouched);
    ops.core[static_cast<int>(core)](row_panel.data(), col_panels.data(), d, panels,
                                     with_bias ? bias.data() : nullptr, tile.data(), ld);
    for (int i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < ld; ++j) {
            const T got = tile[static_cast<size_t>(i * ld + j)];
            if (j >= cols) {
                CHECK(got == untouched, isa, "writes beyond the tile");
                continue;
            }
            long double exact =
                with_bias ? static_cast<long double>(bias[static_cast<size_t>(j)]) : 0.0L;
            long double size = std::fabs(exact);
            for (int64_t f = 0; f < d; ++f) {
                const long double a = x[static_cast<size_t>(i * d + f)],
                                  b = y[static_cast<size_t>(j * d + f)];
                long double term = a * b;
                if (core == Core::squared_difference) term = (a - b) * (a - b);
                if (core == Core::absolute_difference) term = std::fabs(a - b);
                if (core == Core::largest_difference) {
                    exact = std::max(exact, std::fabs(a - b));
                    size = exact;
                    continue;
                }
                exact += term;
                size += std::fabs(term);
            }
            // a chain is cut after so many features, so the error stops growing there
            const int64_t block = core == Core::short_dot ? short_feature_block : feature_block;
            const double terms = static_cast<double>(std::min(d, block) + d / block);
            const double bound = (2 * terms + 4) * roundoff<T>;
            const double error =
                static_cast<double>(std::fabs(got - exact) / std::max(size, 1e-300L));
            CHECK(error <= bound, isa, "core", static_cast<int>(core), "d", d, "off by", error);
        }
    }
}

TEST(micro_kernels_compute_their_cores) {
    Random random(1);
    for_each_table([&](const auto& ops, const std::string& isa) {
        for (const Core core : {Core::dot, Core::short_dot, Core::squared_difference,
                                Core::absolute_difference, Core::largest_difference}) {
            for (const int64_t d : dimensions) {
                for (const int panels : {1, 2, 3}) {
                    check_core(ops, isa, core, d, panels, false, random);
                    if (core == Core::dot) check_core(ops, isa, core, d, panels, true, random);
                }
            }
        }
    });
}

TEST(whole_numbers_come_out_exactly) {
    // integral data is not screened with an error bound: nothing may be rounded
    Random random(2);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int64_t d : dimensions) {
            std::vector<T> x(static_cast<size_t>(ops.rows * d)),
                y(static_cast<size_t>(ops.cols * d));
            for (auto* points : {&x, &y}) {
                for (T& value : *points) value = static_cast<T>(integer(random, -9, 9));
            }
            const auto a = panel_of(x, ops.rows, d, ops.rows),
                       b = panel_of(y, ops.cols, d, ops.cols);
            for (const Core core : {Core::dot, Core::squared_difference, Core::absolute_difference,
                                    Core::largest_difference}) {
                std::vector<T> tile(static_cast<size_t>(ops.rows * ops.cols));
                ops.core[static_cast<int>(core)](a.data(), b.data(), d, 1, nullptr, tile.data(),
                                                 ops.cols);
                for (int i = 0; i < ops.rows; ++i) {
                    for (int j = 0; j < ops.cols; ++j) {
                        T exact = 0;
                        for (int64_t f = 0; f < d; ++f) {
                            const T u = x[static_cast<size_t>(i * d + f)],
                                    v = y[static_cast<size_t>(j * d + f)];
                            if (core == Core::dot) exact += u * v;
                            if (core == Core::squared_difference) exact += (u - v) * (u - v);
                            if (core == Core::absolute_difference) exact += std::fabs(u - v);
                            if (core == Core::largest_difference)
                                exact = std::max<T>(exact, std::fabs(u - v));
                        }
                        CHECK(tile[static_cast<size_t>(i * ops.cols + j)] == exact, isa,
                              static_cast<int>(core), d);
                    }
                }
            }
        }
    });
}

TEST(a_row_of_nan_is_nan_with_every_column_and_no_other) {
    Random random(3);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int64_t d : {int64_t{1}, int64_t{9}, int64_t{300}}) {
            auto x = normals<T>(random, ops.rows * d), y = normals<T>(random, ops.cols * d);
            const int bad_row = ops.rows - 1, bad_col = 2;
            std::fill_n(x.begin() + bad_row * d, d, std::numeric_limits<T>::quiet_NaN());
            std::fill_n(y.begin() + bad_col * d, d, std::numeric_limits<T>::quiet_NaN());
            const auto a = panel_of(x, ops.rows, d, ops.rows),
                       b = panel_of(y, ops.cols, d, ops.cols);
            for (int core = 0; core < 4; ++core) {
                std::vector<T> tile(static_cast<size_t>(ops.rows * ops.cols));
                ops.core[core](a.data(), b.data(), d, 1, nullptr, tile.data(), ops.cols);
                for (int i = 0; i < ops.rows; ++i) {
                    for (int j = 0; j < ops.cols; ++j) {
                        const bool bad = i == bad_row || j == bad_col;
                        CHECK(std::isnan(tile[static_cast<size_t>(i * ops.cols + j)]) == bad, isa,
                              core, d, i, j);
                    }
                }
            }
        }
    });
}

TEST(rows_are_compared_in_place) {
    Random random(31);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const Core core : {Core::squared_difference, Core::absolute_difference}) {
            for (const int64_t d : dimensions) {
                for (const int rows : {1, 2, 3, 4, 7}) {
                    // of few features blocks of columns are turned at a time
                    const int64_t most = d <= 4 && rows % 2 == 1 ? 600 : 9;
                    const int cols = static_cast<int>(integer(random, 1, most));
                    const int64_t stride = d + integer(random, 0, 3), ld = most + 3;
                    auto x = normals<T>(random, rows * d);
                    auto y = normals<T>(random, (cols - 1) * stride + d);
                    const int bad = static_cast<int>(integer(random, 0, cols - 1));
                    const int64_t at = integer(random, 0, d - 1);
                    y[static_cast<size_t>(bad * stride + at)] =
                        static_cast<T>(integer(random, 0, 1) ? NAN : -INFINITY);
                    std::vector<T> tile(static_cast<size_t>(rows * ld));
                    ops.in_place[static_cast<int>(core)](x.data(), rows, y.data(), stride, cols, d,
                                                         tile.data(), ld);
                    for (int i = 0; i < rows; ++i) {
                        for (int j = 0; j < cols; ++j) {
                            const T got = tile[static_cast<size_t>(i * ld + j)];
                            if (j == bad) {
                                CHECK(!std::isfinite(got), isa, d, rows, cols);
                                continue;
                            }
                            long double exact = 0.0L;
                            for (int64_t f = 0; f < d; ++f) {
                                const long double gap =
                                    static_cast<long double>(x[static_cast<size_t>(i * d + f)]) -
                                    y[static_cast<size_t>(j * stride + f)];
                                exact +=
                                    core == Core::squared_difference ? gap * gap : std::fabs(gap);
                            }
                            // half of what a screen allows for
                            const double error = static_cast<double>(std::fabs(got - exact));
                            const double bound =
                                (static_cast<double>(d * sizeof(T)) / 16 + 10) * roundoff<T>;
                            CHECK(error <= bound * static_cast<double>(exact), isa, d, i, j, error);
                        }
                    }
                }
            }
        }
    });
}

// A word of two bfloat16, the first in the low half.
float bfloat16_of(uint32_t word, int half) {
    const uint32_t bits = half == 0 ? word << 16 : word & 0xffff0000u;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

TEST(products_of_bfloat16) {
    Random random(4);
    for (const IsaOps* isa : supported_isas()) {
        const Ops<float>& ops = isa->f32;
        const auto core = ops.core[static_cast<int>(Core::dot_bfloat16)];
        CHECK((core == nullptr) == (ops.pack_bfloat16_float64 == nullptr), isa->name);
        CHECK(isa->f64.core[static_cast<int>(Core::dot_bfloat16)] == nullptr);
        CHECK(isa->f64.pack_bfloat16_float64 == nullptr);
        if (!core) continue;
        for (const int64_t d : dimensions) {
            const int64_t words = (d + 1) / 2;
            const auto x = normals<double>(random, ops.rows * d),
                       y = normals<double>(random, ops.cols * d);
            const auto centre = normals<double>(random, d);
            std::vector<float> a(static_cast<size_t>(words * ops.rows)),
                b(static_cast<size_t>(words * ops.cols));
            std::vector<double> norms(static_cast<size_t>(ops.cols)), residuals(norms.size());
            ops.pack_bfloat16_float64(x.data(), d, ops.rows, d, centre.data(), 0.25, -2.0, ops.rows,
                                      a.data(), norms.data(), residuals.data());
            ops.pack_bfloat16_float64(y.data(), d, ops.cols, d, centre.data(), 0.25, 1.0, ops.cols,
                                      b.data(), norms.data(), residuals.data());
            const auto word_of = [](const std::vector<float>& panel, int64_t at) {
                uint32_t word;
                std::memcpy(&word, &panel[static_cast<size_t>(at)], sizeof word);
                return word;
            };
            for (int j = 0; j < ops.cols; ++j) {
                double norm = 0.0, residual = 0.0;
                for (int64_t f = 0; f < d; ++f) {
                    const double exact =
                        (y[static_cast<size_t>(j * d + f)] - centre[static_cast<size_t>(f)]) * 0.25;
                    const double kept =
                        bfloat16_of(word_of(b, f / 2 * ops.cols + j), static_cast<int>(f % 2));
                    CHECK(std::fabs(kept - exact) <= std::fabs(exact) * 0x1p-8 * 1.0001, isa->name,
                          kept, exact);
                    norm += exact * exact;
                    residual += (exact - kept) * (exact - kept);
                }
                CHECK(std::fabs(norms[static_cast<size_t>(j)] - norm) <= 1e-12 * norm);
                CHECK(std::fabs(residuals[static_cast<size_t>(j)] - residual) <=
                      1e-9 * residual + 1e-300);
                if (d % 2) CHECK(word_of(b, (words - 1) * ops.cols + j) >> 16 == 0);
            }
            std::vector<float> tile(static_cast<size_t>(ops.rows * ops.cols));
            core(a.data(), b.data(), words, 1, nullptr, tile.data(), ops.cols);
            for (int i = 0; i < ops.rows; ++i) {
                for (int j = 0; j < ops.cols; ++j) {
                    double exact = 0.0, size = 0.0;
                    for (int64_t f = 0; f < 2 * words; ++f) {
                        const double term =
                            static_cast<double>(bfloat16_of(word_of(a, f / 2 * ops.rows + i),
                                                            static_cast<int>(f % 2))) *
                            bfloat16_of(word_of(b, f / 2 * ops.cols + j), static_cast<int>(f % 2));
                        exact += term;
                        size += std::fabs(term);
                    }
                    const double error =
                        std::fabs(tile[static_cast<size_t>(i * ops.cols + j)] - exact);
                    CHECK(error <= static_cast<double>(2 * words + 4) * 0x1p-23 * size, isa->name,
                          d, error / size);
                }
            }
        }
    }
}

// What is different of whole numbers of 8 and of 16 bits.
template <class Code>
struct Whole {
    static constexpr bool bytes = sizeof(Code) == 1;
    static constexpr Core core = bytes ? Core::dot_int8 : Core::dot_int16;
    static constexpr int64_t per_word = 4 / static_cast<int64_t>(sizeof(Code));
    static constexpr int64_t tail = bytes ? int8_tail : int16_tail;
    static int64_t words(int64_t d) { return (d + per_word - 1) / per_word; }
    template <class S>
    static auto packer(const Ops<float>& ops) {
        if constexpr (sizeof(S) == 4) return bytes ? ops.pack_int8_float32 : ops.pack_int16_float32;
        if constexpr (sizeof(S) == 8) return bytes ? ops.pack_int8_float64 : ops.pack_int16_float64;
    }
    static bool expected(const std::string& isa) {
        if (bytes) return isa == "v3-vnni" || isa == "v4-vnni" || isa == "v4-bf16";
        return isa == "v3" || isa == "v3-vnni";
    }
};

// Words of them, those beyond d zero, feature by feature, `width` rows of which `count` are there,
// and their tails.
template <class Code>
std::vector<float> panel_of_codes(const std::vector<Code>& rows, int count, int64_t d, int width,
                                  const std::vector<float>& scales) {
    constexpr int64_t per_word = Whole<Code>::per_word;
    const int64_t words = Whole<Code>::words(d);
    std::vector<float> panel(static_cast<size_t>((words + Whole<Code>::tail) * width));
    for (int i = 0; i < count; ++i) {
        int32_t total = 0;
        for (int64_t f = 0; f < words; ++f) {
            Code word[per_word] = {};
            for (int64_t l = 0; l < per_word && per_word * f + l < d; ++l) {
                word[l] = rows[static_cast<size_t>(i * d + per_word * f + l)];
                total += word[l];
            }
            std::memcpy(&panel[static_cast<size_t>(f * width + i)], word, 4);
        }
        panel[static_cast<size_t>(words * width + i)] = scales[static_cast<size_t>(i)];
        if (!Whole<Code>::bytes) continue;
        const auto start = static_cast<int32_t>(-128 * int64_t{total});
        std::memcpy(&panel[static_cast<size_t>((words + 1) * width + i)], &start, 4);
    }
    return panel;
}

template <class Code>
void check_products_of_codes() {
    Random random(5);
    int64_t seen = 0;
    for (const IsaOps* isa : supported_isas()) {
        const Ops<float>& ops = isa->f32;
        const auto core = ops.core[static_cast<int>(Whole<Code>::core)];
        const std::string name = isa->name;
        CHECK((core != nullptr) == Whole<Code>::expected(name), name);
        CHECK((core == nullptr) == (Whole<Code>::template packer<float>(ops) == nullptr), name);
        CHECK((core == nullptr) == (Whole<Code>::template packer<double>(ops) == nullptr), name);
        CHECK(isa->f64.core[static_cast<int>(Whole<Code>::core)] == nullptr);
        if (!core) continue;
        const auto check = [&](int64_t d, int panels, bool with_bias, auto draw_x, auto draw_y) {
            const int rows = ops.rows - 1, cols = panels * ops.cols;
            const int64_t words = Whole<Code>::words(d) + Whole<Code>::tail, ld = cols + 3;
            std::vector<Code> x(static_cast<size_t>(rows * d)), y(static_cast<size_t>(cols * d));
            for (Code& value : x) value = static_cast<Code>(draw_x());
            for (Code& value : y) value = static_cast<Code>(draw_y());
            std::vector<float> row_scales, col_scales, bias;
            for (int i = 0; i < rows; ++i)
                row_scales.push_back(std::ldexp(-1.0f, static_cast<int>(integer(random, -9, 9))));
            for (int j = 0; j < cols; ++j) {
                col_scales.push_back(std::ldexp(1.0f, static_cast<int>(integer(random, -9, 9))));
                bias.push_back(static_cast<float>(integer(random, -9, 9)));
            }
            const auto a = panel_of_codes(x, rows, d, ops.rows, row_scales);
            std::vector<float> b;
            for (int p = 0; p < panels; ++p) {
                const std::vector<Code> points(y.begin() + p * ops.cols * d,
                                               y.begin() + (p + 1) * ops.cols * d);
                const std::vector<float> scales(col_scales.begin() + p * ops.cols,
                                                col_scales.begin() + (p + 1) * ops.cols);
                const auto panel = panel_of_codes(points, ops.cols, d, ops.cols, scales);
                b.insert(b.end(), panel.begin(), panel.end());
            }
            const float untouched = 12345.0f;
            std::vector<float> tile(static_cast<size_t>(ops.rows * ld), untouched);
            core(a.data(), b.data(), words, panels, with_bias ? bias.data() : nullptr, tile.data(),
                 ld);
            for (int i = 0; i < ops.rows; ++i) {
                for (int64_t j = 0; j < ld; ++j) {
                    const float got = tile[static_cast<size_t>(i * ld + j)];
                    if (j >= cols) {
                        CHECK(got == untouched, name, "writes beyond the tile");
                        continue;
                    }
                    int64_t sum = 0;  // of a row that is padding it is 0
                    for (int64_t f = 0; i < rows && f < d; ++f)
                        sum += int64_t{x[static_cast<size_t>(i * d + f)]} *
                               y[static_cast<size_t>(j * d + f)];
                    const double scale =
                        i < rows ? static_cast<double>(row_scales[static_cast<size_t>(i)]) : 0.0;
                    const double product = scale *
                                           static_cast<double>(col_scales[static_cast<size_t>(j)]) *
                                           static_cast<double>(static_cast<float>(sum));
                    const double start =
                        with_bias ? static_cast<double>(bias[static_cast<size_t>(j)]) : 0.0;
                    CHECK(got == static_cast<float>(product + start), name, d, i, j, got, sum);
                    ++seen;
                }
            }
        };
        // codes as large as their sums allow
        const auto most = [](int64_t d) {
            if (Whole<Code>::bytes) return int64_t{127};
            return std::min<int64_t>(32766, static_cast<int64_t>(45500.0 / std::sqrt(d)));
        };
        for (const int64_t d : dimensions) {
            const int64_t high = most(d), low = Whole<Code>::bytes ? -128 : -high;
            const auto any = [&] { return integer(random, low, high); };
            const auto ends = [&] { return integer(random, 0, 1) ? high : low; };
            for (const int panels : {1, 2, 3}) {
                check(d, panels, panels % 2 == 1, any, any);
                check(d, panels, panels % 2 == 0, ends, ends);
            }
        }
        for (const int64_t d : {int64_t{67}, int64_t{4099}, int64_t{127} << 10}) {
            // all alike, for the largest sums that there are
            const int64_t high = most(d), low = Whole<Code>::bytes && d < 5000 ? -128 : -high;
            for (const int64_t x : {low, -high, high}) {
                for (const int64_t y : {low, -high, high}) {
                    if (under_sanitizer && d > 5000 && x != y) continue;  // which takes long
                    check(
                        d, 1, d == 67, [=] { return x; }, [=] { return y; });
                }
            }
        }
    }
    CHECK(seen > 0 || !Whole<Code>::expected(supported_isas().back()->name));
}

TEST(products_of_bytes_are_whole_numbers_times_two_scales) { check_products_of_codes<int8_t>(); }
TEST(products_of_16_bits_are_whole_numbers_times_two_scales) { check_products_of_codes<int16_t>(); }

template <class Code, class S>
void check_packed_codes(const IsaOps& isa, bool columns, int64_t d, Random& random) {
    constexpr bool bytes = Whole<Code>::bytes;
    constexpr int64_t per_word = Whole<Code>::per_word;
    const Ops<float>& ops = isa.f32;
    // rows of panels that are too narrow for every kind of row are left out
    const int width = columns ? ops.cols : ops.rows, count = width - 2;
    const double factor = columns ? 1.0 : -2.0, scale = 0.25;
    const int64_t stride = d + 3, words = Whole<Code>::words(d);
    std::vector<S> rows = normals<S>(random, count * stride);
    std::vector<double> centre(static_cast<size_t>(d));
    for (double& c : centre) c = static_cast<double>(static_cast<float>(normal(random)));
    const auto at = [&](int i, int64_t f) -> S& {
        return rows[static_cast<size_t>(i * stride + f)];
    };
    for (int64_t f = 0; f < d; ++f) {
        at(1, f) = static_cast<S>(centre[static_cast<size_t>(f)]);      // zero in the frame
        at(3, f) = static_cast<S>(centre[static_cast<size_t>(f)] + 2);  // constant there
        if (count > 4) at(4, f) *= static_cast<S>(1e-3);
    }
    at(2, d / 2) = std::numeric_limits<S>::quiet_NaN();
    if (count > 6) {
        at(4, d - 1) = static_cast<S>(-1e6);
        at(5, 0) = static_cast<S>(1e30);  // beyond the range
        at(6, 0) = std::numeric_limits<S>::infinity();
    }
    std::vector<float> panel(static_cast<size_t>((words + Whole<Code>::tail) * width), 5.0f);
    std::vector<double> norms(static_cast<size_t>(width)), residuals(norms.size());
    const auto pack = Whole<Code>::template packer<S>(ops);
    pack(rows.data(), stride, count, d, centre.data(), scale, factor, width, panel.data(),
         norms.data(), residuals.data());
    const auto word = [&](int64_t f, int i) { return panel[static_cast<size_t>(f * width + i)]; };
    for (int i = 0; i < width; ++i) {
        const auto u = static_cast<size_t>(i);
        const float kept_scale = word(words, i);
        int32_t start = 0;
        if (bytes) {
            const float start_word = word(words + 1, i);
            std::memcpy(&start, &start_word, 4);
        }
        const bool empty = i >= count || i == 1 || i == 2 || i == 5 || i == 6;
        if (i < count && (i == 2 || i == 6)) {
            CHECK(std::isnan(norms[u]) && std::isnan(residuals[u]) && std::isnan(kept_scale),
                  isa.name, i);
        } else if (i < count && i == 5) {
            CHECK(norms[u] == infinity && residuals[u] == infinity && kept_scale == 0.0f, isa.name);
        } else if (empty) {
            CHECK(kept_scale == 0.0f && start == 0, isa.name, i);
        }
        int32_t total = 0;
        double norm = 0.0, residual = 0.0, largest = 0.0, length = 0.0;
        const double step = static_cast<double>(kept_scale) / factor;
        for (int64_t f = 0; f < per_word * words; ++f) {
            Code codes[per_word];
            const float one = word(f / per_word, i);
            std::memcpy(codes, &one, 4);
            const Code code = codes[f % per_word];
            total += code;
            length += static_cast<double>(code) * static_cast<double>(code);
            if (empty || f >= d) {
                CHECK(code == 0, isa.name, i, f);
                continue;
            }
            const double exact =
                sizeof(S) == 4
                    ? static_cast<double>((static_cast<float>(at(i, f)) -
                                           static_cast<float>(centre[static_cast<size_t>(f)])) *
                                          static_cast<float>(scale))
                    : (static_cast<double>(at(i, f)) - centre[static_cast<size_t>(f)]) * scale;
            const double half = bytes ? 0.50001 : 0.51;  // the quotient is rounded, too
            CHECK(std::fabs(exact - step * code) <= half * step, isa.name, i, f, exact, step);
            largest = std::max(largest, std::fabs(exact));
            norm += exact * exact;
            residual += (exact - step * code) * (exact - step * code);
        }
        if (i >= count) continue;
        // products of two such rows fit 32 bits
        CHECK(bytes || length <= 2147483647.0, isa.name, i, length);
        if (bytes) CHECK(start == -128 * total, isa.name, i);
        if (empty && i != 1) continue;
        const double expected =
            bytes ? largest / 127 : std::max(largest / 32766, std::sqrt(norm) / 45000);
        CHECK(std::fabs(step - expected) <= 1e-6 * step, isa.name, i);
        CHECK(std::fabs(norms[u] - norm) <= 1e-12 * norm, isa.name, i);
        CHECK(std::fabs(residuals[u] - residual) <= 1e-9 * residual, isa.name, i);
    }
}

template <class Code>
void check_rows_become_codes() {
    Random random(6);
    for (const IsaOps* isa : supported_isas()) {
        if (!Whole<Code>::template packer<double>(isa->f32)) continue;
        for (const int64_t d : dimensions) {
            for (const bool columns : {false, true}) {
                check_packed_codes<Code, float>(*isa, columns, d, random);
                check_packed_codes<Code, double>(*isa, columns, d, random);
            }
        }
    }
}

TEST(rows_become_bytes) { check_rows_become_codes<int8_t>(); }
TEST(rows_become_16_bits) { check_rows_become_codes<int16_t>(); }

// `count` rows of words, every fourth without a bit and every fifth with all of them.
std::vector<uint32_t> bit_rows(Random& random, int count, int64_t words) {
    std::vector<uint32_t> rows(static_cast<size_t>(count * words));
    for (size_t at = 0; at < rows.size(); ++at) {
        const size_t row = at / static_cast<size_t>(words);
        const auto drawn = static_cast<uint32_t>(integer(random, 0, 0xffffffff));
        rows[at] = row % 4 == 1 ? 0u : row % 5 == 2 ? ~0u : drawn;
    }
    return rows;
}

TEST(bits_are_counted_and_divided_by_those_set_in_either_row) {
    Random random(15);
    for (const IsaOps* isa : supported_isas()) {
        const Ops<float>& ops = isa->f32;
        const auto core = ops.core[static_cast<int>(Core::differing_bits)];
        CHECK(isa->f64.core[static_cast<int>(Core::differing_bits)] == nullptr);
        CHECK(isa->f64.pack_bits == nullptr);
        for (const int64_t words : {1, 2, 7, 8, 30, 31, 32, 62, 63, 255, 256, 257, 512, 600}) {
            const int rows = ops.rows - 1, cols = 2 * ops.cols;
            const int64_t ld = cols + 3;
            const auto x = bit_rows(random, rows, words), y = bit_rows(random, cols, words);
            std::vector<float> a(static_cast<size_t>(words * ops.rows), 5.0f),
                b(static_cast<size_t>(words * cols));
            std::vector<double> counts(static_cast<size_t>(std::max(ops.rows, ops.cols)));
            std::vector<float> row_norms, col_norms;
            ops.pack_bits(x.data(), rows, words, ops.rows, a.data(), counts.data());
            for (int i = 0; i < rows; ++i)
                row_norms.push_back(static_cast<float>(counts[static_cast<size_t>(i)]));
            for (int p = 0; p < 2; ++p) {
                ops.pack_bits(y.data() + p * ops.cols * words, ops.cols, words, ops.cols,
                              b.data() + p * ops.cols * words, counts.data());
                for (int j = 0; j < ops.cols; ++j)
                    col_norms.push_back(static_cast<float>(counts[static_cast<size_t>(j)]));
            }
            const float untouched = 12345.0f;
            std::vector<float> tile(static_cast<size_t>(ops.rows * ld), untouched);
            core(a.data(), b.data(), words, 2, nullptr, tile.data(), ld);
            std::vector<float> share = tile;
            ops.divide_by_union(share.data(), ld, rows, cols, row_norms.data(), col_norms.data());
            for (int i = 0; i < rows; ++i) {
                int64_t of_row = 0;
                for (int64_t f = 0; f < words; ++f) {
                    of_row += __builtin_popcount(x[static_cast<size_t>(i * words + f)]);
                }
                CHECK(row_norms[static_cast<size_t>(i)] == static_cast<float>(of_row), isa->name);
                for (int j = 0; j < ld; ++j) {
                    const size_t at = static_cast<size_t>(i * ld + j);
                    if (j >= cols) {
                        CHECK(tile[at] == untouched && share[at] == untouched, isa->name);
                        continue;
                    }
                    int64_t differing = 0, either = 0;
                    for (int64_t f = 0; f < words; ++f) {
                        const uint32_t u = x[static_cast<size_t>(i * words + f)],
                                       v = y[static_cast<size_t>(j * words + f)];
                        differing += __builtin_popcount(u ^ v);
                        either += __builtin_popcount(u | v);
                    }
                    CHECK(tile[at] == static_cast<float>(differing), isa->name, words, i, j);
                    // both below 2²⁴: one rounding, the nearest float
                    const float expected =
                        either ? static_cast<float>(differing) / static_cast<float>(either) : 0.0f;
                    CHECK(share[at] == expected, isa->name, words, i, j);
                    // rows of whole 64-bit words, as canonical values are computed from
                    std::vector<uint64_t> p(static_cast<size_t>(words + 1) / 2), q(p);
                    std::memcpy(p.data(), &x[static_cast<size_t>(i * words)],
                                static_cast<size_t>(4 * words));
                    std::memcpy(q.data(), &y[static_cast<size_t>(j * words)],
                                static_cast<size_t>(4 * words));
                    const auto canonical = [&](MetricId metric) {
                        return isa->canonical.bits[static_cast<int>(metric)](
                            p.data(), q.data(), static_cast<int64_t>(p.size()));
                    };
                    CHECK(canonical(MetricId::hamming) == static_cast<double>(differing));
                    CHECK(canonical(MetricId::jaccard) ==
                          (either ? static_cast<double>(differing) / static_cast<double>(either)
                                  : 0.0));
                }
            }
        }
    }
}

TEST(products_add_blocks_of_any_shape) {
    Random random(5);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int64_t k : {0, 1, 3, 32, 300}) {
            for (const bool transposed : {false, true}) {
                for (int m = 1; m <= ops.rows; ++m) {
                    for (const int n : {1, 2, ops.cols / 2, ops.cols - 1, ops.cols}) {
                        // no more memory than the matrices have: a sanitizer sees every stray read
                        const auto a = normals<T>(random, m * k),
                                   b = normals<T>(random, k * ops.cols);
                        const int64_t row_stride = transposed ? 1 : k,
                                      k_stride = transposed ? m : 1;
                        const int64_t ld = n + 3;
                        std::vector<T> c(static_cast<size_t>(m * ld), T(7));
                        ops.product(m, n, k, a.data(), row_stride, k_stride, b.data(), c.data(),
                                    ld);
                        for (int i = 0; i < m; ++i) {
                            for (int64_t j = 0; j < ld; ++j) {
                                const T got = c[static_cast<size_t>(i * ld + j)];
                                if (j >= n) {
                                    CHECK(got == T(7), isa, "writes beyond its block");
                                    continue;
                                }
                                long double exact = 0.0L, size = 7.0L;
                                for (int64_t f = 0; f < k; ++f) {
                                    const long double term =
                                        static_cast<long double>(
                                            a[static_cast<size_t>(i * row_stride + f * k_stride)]) *
                                        b[static_cast<size_t>(f * ops.cols + j)];
                                    exact += term;
                                    size += std::fabs(term);
                                }
                                const double error =
                                    static_cast<double>(std::fabs(got - (exact + 7.0L)) / size);
                                CHECK(error <= (2.0 * static_cast<double>(k) + 4) * roundoff<T>,
                                      isa, m, n, k, transposed, error);
                            }
                        }
                    }
                }
            }
        }
    });
}

// --- a look at rows ---

template <class S>
void check_survey(RowStatisticsFn<S> look, const char* isa, Random& random) {
    for (const int64_t d : {int64_t{1}, int64_t{7}, int64_t{8}, int64_t{29}}) {
        for (const bool integral : {false, true}) {
            constexpr int64_t count = 6;
            const int64_t stride = d + 3;
            auto rows = normals<S>(random, count * stride);
            if (integral) {
                for (S& value : rows) value = std::round(S(9) * value);
            }
            const auto at = [&](int64_t i, int64_t f) -> S& {
                return rows[static_cast<size_t>(i * stride + f)];
            };
            at(1, d - 1) = std::numeric_limits<S>::quiet_NaN();
            at(2, 0) = std::numeric_limits<S>::infinity();
            const bool has_zeros = integral && d > 1;
            for (int64_t f = 0; has_zeros && f < d; ++f) at(4, f) = S(0);
            const auto centre = normals<double>(random, d);
            RowStatistics expected, found;
            for (const int64_t i : {0, 3, 4, 5}) {
                RowStatistics row;
                for (int64_t f = 0; f < d; ++f) {
                    const double value = static_cast<double>(at(i, f));
                    const double shifted = value - centre[static_cast<size_t>(f)];
                    row.largest = std::max(row.largest, std::fabs(shifted));
                    row.largest_raw = std::max(row.largest_raw, std::fabs(value));
                    row.largest_square += shifted * shifted;
                    row.integral = row.integral && value == std::round(value);
                }
                row.zero_row = row.largest_raw == 0.0;
                expected.merge(row);
            }
            look(rows.data(), stride, 2, d, centre.data(), &found);
            look(rows.data() + 2 * stride, stride, count - 2, d, centre.data(), &found);
            CHECK(found.largest == expected.largest, isa, d, integral);
            CHECK(found.largest_raw == expected.largest_raw, isa, d, integral);
            CHECK(std::fabs(found.largest_square - expected.largest_square) <=
                      1e-14 * expected.largest_square,
                  isa, d, integral);
            CHECK(found.integral == expected.integral && expected.integral == integral, isa, d);
            CHECK(found.zero_row == expected.zero_row, isa, d, integral);
            CHECK(found.zero_row || !has_zeros, isa, d);
        }
    }
}

TEST(a_survey_passes_over_rows_that_are_not_finite) {
    Random random(16);
    for (const IsaOps* isa : supported_isas()) {
        check_survey(isa->row_statistics_float32, isa->name, random);
        check_survey(isa->row_statistics_float64, isa->name, random);
    }
}

// --- rows divided by their lengths ---

// One feature after another, each brought near 1 by ldexp.
std::vector<double> normalised(std::vector<double> row, bool centred) {
    const auto sum_of = [&](auto term) {
        double lane[8] = {};
        for (size_t j = 0; j < row.size(); ++j) lane[j % 8] += term(row[j]);
        return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
               ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    };
    double largest = 0.0;
    for (const double value : row) largest = std::fmax(largest, std::fabs(value));
    int exponent = 0;
    if (std::isfinite(largest)) std::frexp(largest, &exponent);
    for (double& value : row) value = std::ldexp(value, -exponent);
    if (centred) {
        const double first = row[0];
        for (double& value : row) value -= first;
        const double mean =
            sum_of([](double value) { return value; }) / static_cast<double>(row.size());
        for (double& value : row) value -= mean;
    }
    const double norm = std::sqrt(sum_of([](double value) { return value * value; }));
    for (double& value : row) value = norm == 0.0 ? 0.0 : value / norm;
    return row;
}

TEST(normalised_rows_have_the_same_bits_everywhere) {
    Random random(19);
    for (const IsaOps* isa : supported_isas()) {
        for (const int64_t d : dimensions) {
            for (const double size : {1.0, 3e-324, 1e-310, 1e-200, 1e200, 1e307, 0.0}) {
                for (const bool centred : {false, true}) {
                    auto row = normals<double>(random, d);
                    for (double& value : row) value *= size;
                    row[0] = size == 3e-324 ? 5e-324 : row[0];
                    const std::vector<double> expected = normalised(row, centred);
                    isa->normalise(row.data(), d, centred);
                    for (int64_t j = 0; j < d; ++j) {
                        const auto at = static_cast<size_t>(j);
                        CHECK(row[at] == expected[at], isa->name, d, size, centred);
                    }
                }
            }
            std::vector<double> equal(static_cast<size_t>(d), 0.1);
            isa->normalise(equal.data(), d, true);
            for (const double value : equal) CHECK(value == 0.0, isa->name, d);
            for (const double bad : {infinity, std::numeric_limits<double>::quiet_NaN()}) {
                auto row = normals<double>(random, d);
                row.back() = bad;
                isa->normalise(row.data(), d, false);
                CHECK(row.back() != row.back(), isa->name, d, bad);
            }
        }
    }
}

TEST(a_gradient_goes_through_the_normalisation_of_its_row) {
    Random random(20);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int64_t d : dimensions) {
            for (const double size : {1.0, 1e-309, 1e-150, 1e300}) {
                if (sizeof(T) == 4 && size != 1.0) continue;  // a float cannot hold the result
                auto row = normals<double>(random, d);
                for (double& value : row) value *= size;
                const std::vector<double> unit = normalised(row, false);
                // of a row so small that a length has few digits, and no reciprocal
                const bool small = size < 1e-300;
                const double factor = small ? 1e-300 : 1.0;  // so that the result is in range
                auto gradient = normals<T>(random, d);
                for (T& value : gradient) value *= static_cast<T>(factor);
                const std::vector<T> by_unit = gradient;
                long double along = 0.0L, length = 0.0L;
                for (size_t j = 0; j < row.size(); ++j) {
                    along += static_cast<long double>(by_unit[j]) * unit[j];
                    length += static_cast<long double>(row[j]) * unit[j];
                }
                ops.through_normalisation(row.data(), unit.data(), d, gradient.data());
                const long double share =
                    small ? 1e-12L : 16.0L * std::numeric_limits<T>::epsilon();
                for (size_t j = 0; j < row.size(); ++j) {
                    const long double exact = (by_unit[j] - along * unit[j]) / length;
                    const long double found = gradient[j];
                    CHECK(std::fabs(found - exact) <= share * factor / length, isa, d, size);
                }
                const std::vector<double> zero(row.size(), 0.0);
                ops.through_normalisation(zero.data(), zero.data(), d, gradient.data());
                for (const T value : gradient) CHECK(value == T(0), isa, d);
            }
        }
    });
}

// --- packing ---

TEST(packing_shifts_scales_and_rounds_once) {
    Random random(6);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int64_t d :
             {int64_t{1}, int64_t{5}, int64_t{8}, int64_t{511}, int64_t{513}, int64_t{1030}}) {
            for (const int count : {1, ops.cols - 1, ops.cols}) {
                for (const Norm norm : {Norm::squares, Norm::absolutes, Norm::largest}) {
                    auto rows = normals<double>(random, count * d);
                    const auto centre = normals<double>(random, d);
                    const double scale = 0.125, factor = -2.0;
                    const int bad = count > 2 ? 1 : -1, worse = count > 2 ? 2 : -1;
                    if (bad >= 0) {  // in the last feature
                        rows[static_cast<size_t>((bad + 1) * d - 1)] =
                            std::numeric_limits<double>::quiet_NaN();
                        rows[static_cast<size_t>((worse + 1) * d - 1)] = -infinity;
                    }
                    std::vector<T> panel(static_cast<size_t>(d * ops.cols), T(3));
                    std::vector<double> norms(static_cast<size_t>(count), 3.0);
                    ops.pack_float64(rows.data(), d, count, d, centre.data(), scale, factor, norm,
                                     ops.cols, panel.data(), norms.data());
                    for (int i = 0; i < ops.cols; ++i) {
                        double exact = 0.0;
                        for (int64_t f = 0; f < d; ++f) {
                            const T got = panel[static_cast<size_t>(f * ops.cols + i)];
                            if (i >= count) {
                                CHECK(got == T(0), isa, "padding");
                            } else if (i == bad || i == worse) {
                                CHECK(std::isnan(got), isa, "a bad row", f);
                            } else {
                                const double shifted = rows[static_cast<size_t>(i * d + f)] -
                                                       centre[static_cast<size_t>(f)];
                                const T packed = static_cast<T>(shifted * scale);
                                CHECK(got == packed * static_cast<T>(factor), isa, i, f);
                                const double size = std::fabs(static_cast<double>(packed));
                                if (norm == Norm::squares) exact += size * size;
                                if (norm == Norm::absolutes) exact += size;
                                if (norm == Norm::largest) exact = std::max(exact, size);
                            }
                        }
                        if (i >= count) continue;
                        const double got = norms[static_cast<size_t>(i)];
                        if (i == bad || i == worse) {
                            CHECK(std::isnan(got), isa, "norm of a bad row");
                        } else {
                            CHECK(std::fabs(got - exact) <= 1e-13 * exact, isa,
                                  static_cast<int>(norm), d, got, exact);
                        }
                    }
                }
            }
        }
    });
}

// --- selection ---

template <class T>
std::vector<T> values_with_ties(Random& random, int n) {
    std::vector<T> values(static_cast<size_t>(n));
    for (T& value : values) {
        value = static_cast<T>(integer(random, -3, 3));
        const int64_t special = integer(random, 0, 19);
        if (special == 0) value = std::numeric_limits<T>::quiet_NaN();
        if (special == 1) value = std::numeric_limits<T>::infinity();
        if (special == 2) value = -std::numeric_limits<T>::infinity();
    }
    return values;
}

// A list in which NaN is the largest.
template <class T>
std::vector<T> sorted_with_nan_last(std::vector<T> values) {
    std::sort(values.begin(), values.end(), [](T a, T b) { return a < b || (a == a && b != b); });
    return values;
}

TEST(kth_of_few_values) {
    Random random(8);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (int n = 1; n <= most_at_once<T>; ++n) {
            for (const bool ties : {false, true}) {
                std::vector<T> values =
                    ties ? values_with_ties<T>(random, n) : normals<T>(random, n);
                if (ties && n > 3) values[1] = -values[2];  // one of them a negative NaN, perhaps
                const std::vector<T> sorted = sorted_with_nan_last(values);
                for (int k = 1; k <= n; ++k) {
                    const T wanted = sorted[static_cast<size_t>(k - 1)];
                    const T got = ops.kth(values.data(), n, k);
                    CHECK(got == wanted || (got != got && wanted != wanted), isa, n, k, got,
                          wanted);
                }
            }
        }
    });
}

TEST(selections_find_what_a_loop_finds) {
    Random random(7);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
        for (int n = 0; n <= 9 * ops.cols + 5; n += n < 4 * ops.cols + 5 ? 1 : 7) {
            for (int round = 0; round < 8; ++round) {
                std::vector<T> row = values_with_ties<T>(random, n),
                               each = values_with_ties<T>(random, n);
                // few that are selected among many that are not, or are no numbers
                for (T& value : row) {
                    if (round % 2 == 1 && integer(random, 0, 49) > 0) {
                        value = round % 4 == 1 ? T(100) : nan;
                    }
                }
                std::vector<int32_t> out(static_cast<size_t>(n) + 1, -7);
                const auto compare = [&](const char* what, int found, auto keep) {
                    std::vector<int32_t> expected;
                    for (int j = 0; j < n; ++j) {
                        if (keep(j)) expected.push_back(j);
                    }
                    CHECK(found == static_cast<int>(expected.size()), isa, what, n, found,
                          expected.size());
                    CHECK(std::equal(expected.begin(), expected.end(), out.begin()), isa, what, n);
                    CHECK(out[static_cast<size_t>(n)] == -7, isa, what, "writes beyond n");
                };
                const auto value = [&](int j) { return row[static_cast<size_t>(j)]; };
                for (const T threshold : {T(-1), T(0), T(3), inf, -inf, nan}) {
                    compare("select_below", ops.select_below(row.data(), n, threshold, out.data()),
                            [&](int j) { return value(j) <= threshold; });
                    const int64_t count = ops.count_below(row.data(), n, threshold);
                    CHECK(count == std::count_if(row.begin(), row.end(),
                                                 [=](T v) { return v <= threshold; }),
                          isa, n);
                    for (const T low : {T(-2), T(0), -inf}) {
                        compare("select_between",
                                ops.select_between(row.data(), n, low, threshold, out.data()),
                                [&](int j) { return value(j) <= threshold && !(value(j) <= low); });
                    }
                }
                for (const T factor : {T(1), T(0.5), T(2)}) {
                    for (const T offset : {T(0), T(2), T(-1)}) {
                        compare("select_below_each",
                                ops.select_below_each(row.data(), n, factor, each.data(), offset,
                                                      out.data()),
                                [&](int j) {
                                    return value(j) <=
                                           factor * each[static_cast<size_t>(j)] + offset;
                                });
                    }
                }
            }
        }
    });
}

// --- maps and folds of a tile ---

// A tile with rows longer than they are valid, and its neighbourhood to check afterwards.
template <class T>
struct Padded {
    int rows, cols;
    int64_t ld;
    std::vector<T> data;
    Padded(int rows, int cols)
        : rows(rows), cols(cols), ld(cols + 3), data(static_cast<size_t>(rows * ld), T(99)) {}
    T& at(int i, int j) { return data[static_cast<size_t>(i * ld + j)]; }
    bool neighbourhood_untouched() {
        for (int i = 0; i < rows; ++i) {
            for (int64_t j = cols; j < ld; ++j) {
                if (data[static_cast<size_t>(i * ld + j)] != T(99)) return false;
            }
        }
        return true;
    }
};

template <class T, class Fill>
Padded<T> filled(int rows, int cols, Fill fill) {
    Padded<T> tile(rows, cols);
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; ++j) tile.at(i, j) = static_cast<T>(fill(i, j));
    }
    return tile;
}

constexpr int widths[] = {1, 2, 15, 16, 17, 31, 63, 64, 65, 130};

TEST(row_norms_are_added_and_negatives_cut) {
    Random random(8);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : widths) {
            const auto original =
                filled<T>(ops.rows, cols, [&](int, int) { return normal(random); });
            auto tile = original;
            tile.at(ops.rows - 1, 0) = std::numeric_limits<T>::quiet_NaN();
            const auto norms = normals<T>(random, ops.rows);
            ops.add_row_norms(tile.data.data(), tile.ld, ops.rows, cols, norms.data());
            for (int i = 0; i < ops.rows; ++i) {
                for (int j = 0; j < cols; ++j) {
                    if (i == ops.rows - 1 && j == 0) {
                        CHECK(std::isnan(tile.at(i, j)), isa);
                        continue;
                    }
                    const T sum = original.data[static_cast<size_t>(i * tile.ld + j)] +
                                  norms[static_cast<size_t>(i)];
                    CHECK(tile.at(i, j) == std::max(sum, T(0)), isa, cols);
                }
            }
            CHECK(tile.neighbourhood_untouched(), isa);
        }
    });
}

struct Formula {
    KernelId id;
    std::vector<double> params;
    long double (*value)(long double argument, const std::vector<double>& p);
    // how much larger a relative error of the argument or of an exponent comes out
    long double (*condition)(long double argument, const std::vector<double>& p);
};

const std::vector<Formula>& formulas() {
    using P = const std::vector<double>&;
    static const std::vector<Formula> all = {
        {KernelId::gaussian,
         {0.7},
         [](long double s, P p) { return std::exp(-p[0] * s); },
         [](long double s, P p) { return p[0] * s; }},
        {KernelId::laplace,
         {0.7},
         [](long double s, P p) { return std::exp(-p[0] * std::sqrt(s)); },
         [](long double s, P p) { return 2 * p[0] * std::sqrt(s); }},
        {KernelId::laplace_l1,
         {0.7},
         [](long double s, P p) { return std::exp(-p[0] * s); },
         [](long double s, P p) { return p[0] * s; }},
        {KernelId::rational_quadratic,
         {0.3, 1.7},
         [](long double s, P p) { return std::pow(1 + p[0] * s, -static_cast<long double>(p[1])); },
         [](long double s, P p) { return p[1] * (2 + 2 * std::log1p(p[0] * s)); }},
        {KernelId::cauchy,
         {0.3},
         [](long double s, P p) { return 1 / (1 + p[0] * s); },
         [](long double, P) { return 2.0L; }},
        {KernelId::matern32,
         {0.9},
         [](long double s, P p) {
             const long double z = p[0] * std::sqrt(s);
             return (1 + z) * std::exp(-z);
         },
         [](long double s, P p) { return 2 + 2 * p[0] * std::sqrt(s); }},
        {KernelId::matern52,
         {0.9},
         [](long double s, P p) {
             const long double z = p[0] * std::sqrt(s);
             return (1 + z + z * z / 3) * std::exp(-z);
         },
         [](long double s, P p) { return 4 + 2 * p[0] * std::sqrt(s); }},
        {KernelId::linear,
         {},
         [](long double t, P) { return t; },
         [](long double, P) { return 0.0L; }},
        {KernelId::cosine,
         {},
         [](long double t, P) { return t; },
         [](long double, P) { return 0.0L; }},
        {KernelId::energy,
         {1.0},
         [](long double s, P) { return -std::sqrt(s); },
         [](long double, P) { return 1.0L; }},
        {KernelId::energy,
         {2.0},
         [](long double s, P) { return -s; },
         [](long double, P) { return 1.0L; }},
        {KernelId::energy,
         {0.7},
         [](long double s, P p) { return -std::pow(s, static_cast<long double>(p[0]) / 2); },
         [](long double s, P p) { return s > 0 ? 2 + 2 * p[0] * std::fabs(std::log(s)) : 0.0L; }},
    };
    return all;
}

template <class T>
void check_kernel(const Ops<T>& ops, const std::string& isa, const Formula& formula,
                  Random& random) {
    const int rows = ops.rows, cols = 37;
    auto tile = filled<T>(rows, cols, [&](int, int j) {
        const double size = std::exp(uniform(random, -12.0, 4.0));
        return j == 0 ? 0.0 : size;
    });
    T params[kernel_params] = {};
    for (size_t p = 0; p < formula.params.size(); ++p)
        params[p] = static_cast<T>(formula.params[p]);
    // the formula reads the same rounded numbers
    std::vector<double> rounded(params, params + kernel_params);
    for (const T weight : {T(1), T(-0.75)}) {
        for (const bool accumulate : {false, true}) {
            auto out = filled<T>(rows, cols, [](int, int) { return 2.0; });
            ops.kernel[static_cast<int>(formula.id)](tile.data.data(), tile.ld, rows, cols, params,
                                                     weight, accumulate, out.data.data(), out.ld);
            for (int i = 0; i < rows; ++i) {
                for (int j = 0; j < cols; ++j) {
                    const long double argument = tile.at(i, j),
                                      value = formula.value(argument, rounded);
                    const long double exact = weight * value + (accumulate ? 2.0L : 0.0L);
                    const long double size =
                        std::fabs(weight * value) * (8 + 4 * formula.condition(argument, rounded)) +
                        (accumulate ? 4.0L : 0.0L);
                    const double error = static_cast<double>(std::fabs(out.at(i, j) - exact));
                    CHECK(error <= static_cast<double>(size) * roundoff<T> +
                                       std::numeric_limits<T>::min(),
                          isa, "kernel", static_cast<int>(formula.id), "of", tile.at(i, j), "is",
                          out.at(i, j), "exactly", static_cast<double>(exact));
                }
            }
            CHECK(out.neighbourhood_untouched(), isa, static_cast<int>(formula.id));
        }
    }
}

TEST(kernels_of_a_tile) {
    Random random(9);
    for (int id = 0; id < static_cast<int>(KernelId::count); ++id) {
        const auto is_it = [&](const Formula& one) { return static_cast<int>(one.id) == id; };
        const bool stated = std::any_of(formulas().begin(), formulas().end(), is_it);
        // polynomials have a test of their own
        CHECK(stated || id == static_cast<int>(KernelId::polynomial), "no formula of kernel", id);
    }
    for_each_table([&](const auto& ops, const std::string& isa) {
        for (const auto& kernel : ops.kernel) CHECK(kernel != nullptr, isa);
        for (const Formula& formula : formulas()) check_kernel(ops, isa, formula, random);
    });
}

// The derivative of the formula, and 0 in place of an infinite one.
template <class T>
void check_slope(const Ops<T>& ops, const std::string& isa, const Formula& formula,
                 Random& random) {
    const int rows = ops.rows, cols = 37;
    auto tile = filled<T>(rows, cols, [&](int, int j) {
        const double size = std::exp(uniform(random, -6.0, 3.0));
        return j == 0 ? 0.0 : size;
    });
    T params[kernel_params] = {};
    for (size_t p = 0; p < formula.params.size(); ++p)
        params[p] = static_cast<T>(formula.params[p]);
    const std::vector<double> rounded(params, params + kernel_params);
    auto out = filled<T>(rows, cols, [](int, int) { return 0.0; });
    ops.slope[static_cast<int>(formula.id)](tile.data.data(), tile.ld, rows, cols, params, T(1),
                                            false, out.data.data(), out.ld);
    for (int i = 0; i < rows; ++i) {
        CHECK(std::isfinite(out.at(i, 0)), isa, static_cast<int>(formula.id));
        for (int j = 1; j < cols; ++j) {
            const long double at = tile.at(i, j), step = 1e-5L * at;
            const long double exact =
                (formula.value(at + step, rounded) - formula.value(at - step, rounded)) /
                (2 * step);
            const double error = static_cast<double>(std::fabs(out.at(i, j) - exact));
            CHECK(error <= static_cast<double>(std::fabs(exact)) * (1e-8 + 200 * roundoff<T>), isa,
                  "slope", static_cast<int>(formula.id), "at", tile.at(i, j), "is", out.at(i, j),
                  "exactly", static_cast<double>(exact));
        }
    }
    CHECK(out.neighbourhood_untouched(), isa, static_cast<int>(formula.id));
}

TEST(slopes_of_a_tile) {
    Random random(11);
    for_each_table([&](const auto& ops, const std::string& isa) {
        for (const auto& slope : ops.slope) CHECK(slope != nullptr, isa);
        for (const Formula& formula : formulas()) check_slope(ops, isa, formula, random);
    });
}

// Value and derivatives of the formula, by differences of the fifth order.
void check_stein(const Ops<double>& ops, const std::string& isa, const Formula& formula,
                 Random& random) {
    const auto stein = ops.stein[static_cast<int>(formula.id)];
    if (stein == nullptr) return;
    const int rows = ops.rows, cols = 37;
    const auto any = [&](int, int) { return normal(random); };
    auto squares = filled<double>(rows, cols, [&](int, int j) {
        return j == 0 ? 0.0 : std::exp(uniform(random, -6.0, 3.0));
    });
    auto scores = filled<double>(rows, cols, any), cross = filled<double>(rows, cols, any);
    double params[kernel_params] = {};
    std::copy(formula.params.begin(), formula.params.end(), params);
    const double parts[] = {0.7, -1.3, -2.1, -3.9}, weight = -0.75;
    for (const bool accumulate : {false, true}) {
        auto out = filled<double>(rows, cols, [](int, int) { return 2.0; });
        stein(squares.data.data(), scores.data.data(), cross.data.data(), squares.ld, rows, cols,
              params, parts, weight, accumulate, out.data.data(), out.ld);
        for (int i = 0; i < rows; ++i) {
            CHECK(std::isfinite(out.at(i, 0)), isa, static_cast<int>(formula.id));
            for (int j = 1; j < cols; ++j) {
                const long double at = squares.at(i, j);
                // differences of small numbers are rounded most
                const long double step = (at < 1.0L ? 2e-3L : 1e-3L) * at;
                const auto k = [&](int steps) {
                    return formula.value(at + steps * step, formula.params);
                };
                const long double slope = (8 * (k(1) - k(-1)) - (k(2) - k(-2))) / (12 * step);
                const long double curvature =
                    (16 * (k(1) + k(-1)) - (k(2) + k(-2)) - 30 * k(0)) / (12 * step * step);
                const long double terms[] = {parts[0] * k(0) * scores.at(i, j),
                                             slope * parts[1] * cross.at(i, j), slope * parts[2],
                                             parts[3] * at * curvature};
                long double exact = accumulate ? 2.0L : 0.0L, size = 0.0L;
                for (const long double term : terms) {
                    exact += weight * term;
                    size += std::fabs(term);
                }
                const double error = static_cast<double>(std::fabs(out.at(i, j) - exact));
                CHECK(error <= 1e-9 * static_cast<double>(size) + 1e-15, isa, "stein",
                      static_cast<int>(formula.id), "at", squares.at(i, j), "is", out.at(i, j),
                      "exactly", static_cast<double>(exact));
            }
        }
        CHECK(out.neighbourhood_untouched(), isa, static_cast<int>(formula.id));
    }
}

TEST(stein_kernels_of_a_tile) {
    Random random(12);
    for (const IsaOps* isa : supported_isas()) {
        int64_t smooth = 0;
        for (const auto& stein : isa->f64.stein) smooth += stein != nullptr;
        CHECK(smooth > 0, isa->name);
        for (const auto& stein : isa->f32.stein) CHECK(stein == nullptr, isa->name);
        for (const Formula& formula : formulas()) check_stein(isa->f64, isa->name, formula, random);
    }
}

TEST(range_sums_by_column_and_factors_of_a_tile) {
    Random random(12);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : {1, 15, 37}) {
            auto tile = filled<T>(ops.rows, cols, [&](int, int) { return normal(random); });
            T low, high;
            ops.range(tile.data.data(), tile.ld, ops.rows, cols, &low, &high);
            T least = tile.at(0, 0), most = least;
            for (int i = 0; i < ops.rows; ++i) {
                for (int j = 0; j < cols; ++j) {
                    least = std::min(least, tile.at(i, j)), most = std::max(most, tile.at(i, j));
                }
            }
            CHECK(low == least && high == most, isa, cols, low, high);
            std::vector<double> weights(static_cast<size_t>(ops.rows)), sums(40, 1.0);
            for (double& w : weights) w = normal(random);
            ops.col_sums(tile.data.data(), tile.ld, ops.rows, cols, weights.data(), sums.data());
            for (int j = 0; j < cols; ++j) {
                double sum = 1.0;
                for (int i = 0; i < ops.rows; ++i) {
                    sum += weights[static_cast<size_t>(i)] * static_cast<double>(tile.at(i, j));
                }
                CHECK(std::fabs(sums[static_cast<size_t>(j)] - sum) < 1e-13, isa, cols, j);
            }
            for (size_t j = static_cast<size_t>(cols); j < 40; ++j) CHECK(sums[j] == 1.0, isa, j);

            auto before = tile;
            const std::vector<T> by_row(static_cast<size_t>(ops.rows), T(3)), by_col(40, T(-0.5));
            ops.scale_rows_and_cols(tile.data.data(), tile.ld, ops.rows, cols, by_row.data(),
                                    by_col.data());
            for (int i = 0; i < ops.rows; ++i) {
                for (int j = 0; j < cols; ++j) {
                    CHECK(tile.at(i, j) == before.at(i, j) * T(-1.5), isa, i, j);
                }
            }
            CHECK(tile.neighbourhood_untouched(), isa, cols);
        }
    });
}

TEST(polynomials_by_octave) {
    Random random(13);
    std::vector<float> coefficients(octave_coefficients);
    for (float& c : coefficients) c = static_cast<float>(normal(random));
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        if constexpr (sizeof(T) == 8) {
            CHECK(ops.by_octave == nullptr, isa);
        } else {
            for (const int cols : widths) {
                // 0 and all octaves, and what lies beyond them; the ends of octaves are steps
                auto tile = filled<float>(ops.rows, cols, [&](int i, int j) {
                    if (i == 0) return j % 2 ? 1e30 : infinity;
                    return i == 1 ? 0.0 : 4.0 * (std::exp2(uniform(random, 0, 16)) - 1.0);
                });
                tile.at(ops.rows - 1, cols - 1) = std::numeric_limits<float>::quiet_NaN();
                auto out = filled<float>(ops.rows, cols, [](int, int) { return 7.0; });
                ops.by_octave(tile.data.data(), tile.ld, ops.rows, cols, 0.5f, coefficients.data(),
                              out.data.data(), out.ld);
                for (int i = 0; i < ops.rows; ++i) {
                    for (int j = 0; j < cols; ++j) {
                        if (std::isnan(tile.at(i, j))) {
                            CHECK(std::isnan(out.at(i, j)), isa, cols);
                            continue;
                        }
                        const float u = std::min(std::fma(0.5f, tile.at(i, j), 2.0f),
                                                 std::nextafter(0x1p17f, 0.0f));
                        const int octave = std::ilogb(u) - 1;
                        const double t = std::ldexp(double{u}, -octave - 1) - 1.5;
                        double exact = 0.0, size = 0.0;
                        for (int k = octave_degree; k >= 0; --k) {
                            const auto at = static_cast<size_t>(k * octaves + octave);
                            exact = exact * t + double{coefficients[at]};
                            size = size * std::fabs(t) + std::fabs(double{coefficients[at]});
                        }
                        const double step = i > 1 ? 20 * std::ldexp(1.0, -23) : 0.0;
                        const bool near_a_step = 0.5 - std::fabs(t) < step;
                        CHECK(near_a_step || std::fabs(double{out.at(i, j)} - exact) <=
                                                 40 * roundoff<float> * size,
                              isa, cols, tile.at(i, j), out.at(i, j), exact);
                    }
                }
                CHECK(out.neighbourhood_untouched(), isa, cols);
            }
        }
    });
}

TEST(polynomial_kernels_of_a_tile) {
    Random random(10);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (int degree = 1; degree <= 9; ++degree) {
            const T params[kernel_params] = {static_cast<T>(degree), T(0.3), T(-0.8)};
            auto tile = filled<T>(ops.rows, 35, [&](int, int) { return 4 * normal(random); });
            auto out = filled<T>(ops.rows, 35, [](int, int) { return 0.0; });
            ops.kernel[static_cast<int>(KernelId::polynomial)](tile.data.data(), tile.ld, ops.rows,
                                                               35, params, T(1), false,
                                                               out.data.data(), out.ld);
            for (int i = 0; i < ops.rows; ++i) {
                for (int j = 0; j < 35; ++j) {
                    const long double a = static_cast<long double>(params[1]) * tile.at(i, j),
                                      b = params[2];
                    const long double exact = std::pow(a + b, degree);
                    const long double size = degree * std::pow(std::fabs(a) + std::fabs(b), degree);
                    const double error =
                        static_cast<double>(std::fabs(out.at(i, j) - exact) / size);
                    CHECK(error <= 6 * roundoff<T>, isa, degree, tile.at(i, j), error);
                }
            }
        }
    });
}

TEST(row_sums_and_block_products) {
    Random random(11);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : widths) {
            auto tile = filled<T>(ops.rows, cols, [&](int, int) { return normal(random); });
            auto other = filled<T>(ops.rows, cols, [&](int, int) { return normal(random); });
            const auto weights = normals<double>(random, cols);
            std::vector<double> plain(static_cast<size_t>(ops.rows), 5.0), weighted(plain);
            ops.row_sums(tile.data.data(), tile.ld, ops.rows, cols, nullptr, plain.data());
            ops.row_sums(tile.data.data(), tile.ld, ops.rows, cols, weights.data(),
                         weighted.data());
            long double dot = 0.0L, dot_size = 0.0L;
            for (int i = 0; i < ops.rows; ++i) {
                long double sum = 5.0L, weighted_sum = 5.0L, size = 5.0L;
                for (int j = 0; j < cols; ++j) {
                    const long double value = tile.at(i, j), w = weights[static_cast<size_t>(j)];
                    sum += value;
                    weighted_sum += w * value;
                    size += std::fabs(value) * (1 + std::fabs(w));
                    dot += value * other.at(i, j);
                    dot_size += std::fabs(value * other.at(i, j));
                }
                const double bound = 1e-14 * static_cast<double>(size);
                CHECK(std::fabs(plain[static_cast<size_t>(i)] - static_cast<double>(sum)) <= bound,
                      isa, cols);
                CHECK(std::fabs(weighted[static_cast<size_t>(i)] -
                                static_cast<double>(weighted_sum)) <= bound,
                      isa, cols);
            }
            std::vector<double> of_cols(static_cast<size_t>(cols), 5.0);
            ops.col_sums(tile.data.data(), tile.ld, ops.rows, cols, nullptr, of_cols.data());
            auto added = other;
            ops.add_scaled(tile.data.data(), tile.ld, ops.rows, cols, T(0.5), added.data.data(),
                           added.ld);
            for (int j = 0; j < cols; ++j) {
                long double sum = 5.0L, size = 5.0L;
                for (int i = 0; i < ops.rows; ++i) {
                    sum += tile.at(i, j);
                    size += std::fabs(tile.at(i, j));
                    CHECK(added.at(i, j) == other.at(i, j) + T(0.5) * tile.at(i, j), isa, cols);
                }
                CHECK(std::fabs(of_cols[static_cast<size_t>(j)] - static_cast<double>(sum)) <=
                          1e-14 * static_cast<double>(size),
                      isa, cols);
            }
            const double got = ops.block_dot(tile.data.data(), tile.ld, other.data.data(), other.ld,
                                             ops.rows, cols);
            CHECK(
                std::fabs(got - static_cast<double>(dot)) <= 1e-14 * static_cast<double>(dot_size),
                isa, cols);
            auto scaled = tile;
            ops.scale(scaled.data.data(), scaled.ld, ops.rows, cols, T(-1.5));
            for (int i = 0; i < ops.rows; ++i) {
                for (int j = 0; j < cols; ++j)
                    CHECK(scaled.at(i, j) == tile.at(i, j) * T(-1.5), isa);
            }
            CHECK(scaled.neighbourhood_untouched(), isa);
        }
    });
}

// As label_sums has it, by the definition.
std::vector<double> labelled(const std::vector<double>& kernel, int64_t ld, int height,
                             int64_t width, const std::vector<uint64_t>& columns,
                             const uint64_t* rows, int shift, int64_t n_labels) {
    std::vector<double> out(static_cast<size_t>(n_labels * label_lanes), 0.5);
    for (int64_t b = 0; b < n_labels; ++b) {
        for (int r = 0; r < height; ++r) {
            if (rows && !(rows[b] >> (shift + r) & 1)) continue;
            for (int64_t j = 0; j < width; ++j) {
                const uint64_t word = columns[static_cast<size_t>(j / 64 * n_labels + b)];
                if (!(word >> (j % 64) & 1)) continue;
                out[static_cast<size_t>(b * label_lanes + r % label_lanes)] +=
                    kernel[static_cast<size_t>(r * ld + j)];
            }
        }
    }
    return out;
}

template <class T>
void check_labels(LabelOps::SumFn<T> sums, const std::string& isa, int64_t width, int64_t n_labels,
                  bool of_rows, Random& random) {
    constexpr int most = label_rows<T>;
    const int64_t ld = width + 3, words = (width + 63) / 64;
    const int height = static_cast<int>(integer(random, 1, most));
    const int shift = most * static_cast<int>(integer(random, 0, 64 / most - 1));
    std::vector<double> kernel(static_cast<size_t>(most * ld));
    for (double& value : kernel) value = static_cast<double>(integer(random, -5000, 5000));
    // a row whose sums come as near as can be to what int32_t holds, on either side
    if (width > 0) {
        std::fill_n(kernel.begin(), width, 0.0);
        kernel[0] = integer(random, 0, 1) ? 2147483647.0 : -2147483647.0;
    }
    std::vector<uint64_t> columns(static_cast<size_t>(words * n_labels)), rows(columns);
    rows.resize(static_cast<size_t>(n_labels));
    for (uint64_t& word : columns) word = random();  // bits beyond the width are anything
    for (uint64_t& word : rows) word = random();
    if (n_labels > 0 && words > 0) columns[0] = ~uint64_t{0};
    const uint64_t* chosen = of_rows ? rows.data() : nullptr;
    Buffer<T> tables(label_table_entries<T>), of_labels(n_labels * most);
    std::vector<double> out(static_cast<size_t>(n_labels * label_lanes), 0.5);
    sums(kernel.data(), ld, height, width, columns.data(), chosen, shift, n_labels, tables.data(),
         of_labels.data(), out.data());
    CHECK(out == labelled(kernel, ld, height, width, columns, chosen, shift, n_labels), isa, width,
          n_labels, height, shift, of_rows);
}

TEST(labels_choose_rows_and_columns_of_whole_numbers) {
    Random random(14);
    for (const IsaOps* isa : supported_isas()) {
        for (const int64_t width : {0, 1, 4, 5, 59, 60, 63, 64, 65, 128, 200}) {
            for (const int64_t n_labels : {0, 1, 2, 3, 4, 5, 7, 33}) {
                for (const bool of_rows : {false, true}) {
                    check_labels(isa->labels.f64, std::string(isa->name) + " double", width,
                                 n_labels, of_rows, random);
                    check_labels(isa->labels.i32, std::string(isa->name) + " int", width, n_labels,
                                 of_rows, random);
                }
            }
        }
    }
}

long double exact_log_sum_exp(const std::vector<long double>& values) {
    long double top = -infinity, sum = 0.0L;
    for (const long double value : values) top = std::max(top, value);
    if (std::isinf(top)) return top;
    for (const long double value : values) sum += std::exp(value - top);
    return top + std::log(sum);
}

TEST(log_sum_exp_of_rows_and_columns) {
    Random random(12);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : widths) {
            for (const double spread : {0.1, 5.0, 1e3}) {
                for (const bool masked : {false, true}) {
                    const int rows = static_cast<int>(integer(random, 1, ops.rows));
                    auto tile = filled<T>(rows, cols, [&](int i, int j) {
                        if (masked && (i == 0 || j == 1 || integer(random, 0, 5) == 0))
                            return -infinity;
                        return spread * normal(random);
                    });
                    // every other state is new, the others hold one value from before
                    const auto fold = [&](int count, auto op, auto values_of) {
                        std::vector<double> max(static_cast<size_t>(count), -infinity),
                            sum(static_cast<size_t>(count), 0.0);
                        for (int i = 1; i < count; i += 2)
                            max[static_cast<size_t>(i)] = 1.5, sum[static_cast<size_t>(i)] = 2.0;
                        op(tile.data.data(), tile.ld, rows, cols, max.data(), sum.data());
                        for (int i = 0; i < count; ++i) {
                            std::vector<long double> values = values_of(i);
                            if (i % 2) values.insert(values.end(), 2, 1.5L);
                            const long double exact = exact_log_sum_exp(values);
                            const double m = max[static_cast<size_t>(i)],
                                         s = sum[static_cast<size_t>(i)];
                            if (std::isinf(
                                    exact)) {  // nothing but masked pairs: still the identity
                                CHECK(m == -infinity && !(s > 0.0) && !std::isnan(s), isa,
                                      "masked:", m, s);
                                continue;
                            }
                            CHECK(m == static_cast<double>(
                                           *std::max_element(values.begin(), values.end())),
                                  isa, m);
                            const double got = m + std::log(s), size = 1.0 + std::fabs(m);
                            CHECK(std::fabs(got - static_cast<double>(exact)) <=
                                      20 * roundoff<T> * (1 + 0.05 * size) + 1e-15 * size,
                                  isa, cols, spread, got, static_cast<double>(exact));
                        }
                    };
                    fold(rows, ops.log_sum_exp_rows, [&](int i) {
                        std::vector<long double> values;
                        for (int j = 0; j < cols; ++j) values.push_back(tile.at(i, j));
                        return values;
                    });
                    fold(cols, ops.log_sum_exp_cols, [&](int j) {
                        std::vector<long double> values;
                        for (int i = 0; i < rows; ++i) values.push_back(tile.at(i, j));
                        return values;
                    });
                }
            }
        }
    });
}

// Both at once: masked rows and columns, sums nearly all of which is one term, references that are
// kept from tile to tile and such that are not.
TEST(log_sum_exp_of_rows_and_columns_at_once) {
    Random random(15);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : {1, 2, 15, 33, 224, 300}) {
            for (const double spread : {0.1, 5.0, 1e3}) {
                for (const bool masked : {false, true}) {
                    const int rows = static_cast<int>(integer(random, 1, ops.rows));
                    std::vector<double> row_max(static_cast<size_t>(rows), -infinity),
                        row_sum(row_max.size(), 0.0), col_max(static_cast<size_t>(cols), -infinity),
                        col_sum(col_max.size(), 0.0);
                    std::vector<std::vector<long double>> by_row(row_max.size()),
                        by_col(col_max.size());
                    for (int part = 0; part < 3; ++part) {
                        const double offset = part * normal(random) * spread;
                        auto tile = filled<T>(rows, cols, [&](int i, int j) {
                            if (masked && (i == 0 || j == 1 || integer(random, 0, 5) == 0))
                                return -infinity;
                            return offset + spread * normal(random);
                        });
                        ops.log_sum_exp_rows_and_cols(tile.data.data(), tile.ld, rows, cols,
                                                      row_max.data(), row_sum.data(),
                                                      col_max.data(), col_sum.data());
                        for (int i = 0; i < rows; ++i) {
                            for (int j = 0; j < cols; ++j) {
                                by_row[static_cast<size_t>(i)].push_back(tile.at(i, j));
                                by_col[static_cast<size_t>(j)].push_back(tile.at(i, j));
                            }
                        }
                    }
                    const auto check = [&](const auto& values, double max, double sum) {
                        const long double exact = exact_log_sum_exp(values);
                        if (std::isinf(exact)) {
                            CHECK(max == -infinity && sum == 0.0, isa, "masked:", max, sum);
                            return;
                        }
                        const double got = max + std::log(sum), size = 1.0 + std::fabs(max);
                        CHECK(std::fabs(got - static_cast<double>(exact)) <=
                                  20 * roundoff<T> * (1 + 0.05 * size) + 1e-15 * size,
                              isa, cols, spread, got, static_cast<double>(exact));
                        // a loss: what the others add to the largest keeps its digits
                        const long double top = *std::max_element(values.begin(), values.end());
                        long double others = -1.0L;
                        for (const long double value : values) others += std::exp(value - top);
                        const double loss = (max - static_cast<double>(top)) + std::log(sum);
                        const double right = static_cast<double>(std::log1p(others));
                        if (others > 1e-6L)
                            CHECK(
                                std::fabs(loss - right) <= 32 * roundoff<T> * right + 1e-14 * size,
                                isa, cols, spread, loss, right);
                    };
                    for (size_t i = 0; i < row_max.size(); ++i) {
                        check(by_row[i], row_max[i], row_sum[i]);
                    }
                    for (size_t j = 0; j < col_max.size(); ++j) {
                        check(by_col[j], col_max[j], col_sum[j]);
                    }
                }
            }
        }
    });
}

TEST(softmax_weights_of_a_tile) {
    Random random(13);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : widths) {
            auto tile = filled<T>(ops.rows, cols, [&](int, int) { return 3 * normal(random); });
            const auto row_upstream = normals<T>(random, ops.rows),
                       col_upstream = normals<T>(random, cols);
            std::vector<T> row_max(static_cast<size_t>(ops.rows), T(9)),
                row_log(row_max.size(), T(0.5));
            std::vector<T> col_max(static_cast<size_t>(cols), T(11)),
                col_log(col_max.size(), T(0.25));
            for (const bool with_cols : {false, true}) {
                auto out = filled<T>(ops.rows, cols, [](int, int) { return 1.0; });
                const SoftmaxSide<T> rows_side{row_upstream.data(), row_max.data(), row_log.data()};
                SoftmaxSide<T> cols_side{col_upstream.data(), col_max.data(), col_log.data()};
                if (!with_cols) cols_side = {nullptr, nullptr, nullptr};
                ops.softmax_weights(tile.data.data(), tile.ld, ops.rows, cols, rows_side, cols_side,
                                    out.data.data(), out.ld);
                for (int i = 0; i < ops.rows; ++i) {
                    for (int j = 0; j < cols; ++j) {
                        const long double s = tile.at(i, j);
                        const long double by_row =
                            row_upstream[static_cast<size_t>(i)] * std::exp(s - 9.5L);
                        const long double by_col =
                            with_cols ? col_upstream[static_cast<size_t>(j)] * std::exp(s - 11.25L)
                                      : 0.0L;
                        const double size =
                            static_cast<double>(std::fabs(by_row) + std::fabs(by_col));
                        const double error =
                            std::fabs(out.at(i, j) - static_cast<double>(by_row + by_col));
                        CHECK(error <= 60 * roundoff<T> * size, isa, cols, error / size);
                    }
                }
                CHECK(out.neighbourhood_untouched(), isa);
            }
        }
    });
}

TEST(sigmoid_of_a_tile) {
    Random random(14);
    for_each_table([&]<class T>(const Ops<T>& ops, const std::string& isa) {
        for (const int cols : widths) {
            for (const double spread : {1.0, 12.0}) {
                auto tile =
                    filled<T>(ops.rows, cols, [&](int, int) { return spread * normal(random); });
                const auto upstream = normals<T>(random, ops.rows);
                auto out = filled<T>(ops.rows, cols, [](int, int) { return 1.0; });
                std::vector<double> sums(static_cast<size_t>(ops.rows), 1.0);
                const T bias = T(-1.5);
                ops.softplus_sums(tile.data.data(), tile.ld, ops.rows, cols, bias, sums.data());
                std::vector<double> again(sums.size(), 1.0);
                ops.sigmoid_weights(tile.data.data(), tile.ld, ops.rows, cols, bias,
                                    upstream.data(), again.data(), out.data.data(), out.ld);
                CHECK(again == sums, isa, cols);
                for (int i = 0; i < ops.rows; ++i) {
                    long double sum = 1.0L;
                    for (int j = 0; j < cols; ++j) {
                        const long double t = static_cast<T>(static_cast<T>(tile.at(i, j)) + bias);
                        sum += t > 0 ? t + std::log1p(std::exp(-t)) : std::log1p(std::exp(t));
                        const double right = static_cast<double>(upstream[static_cast<size_t>(i)] /
                                                                 (1.0L + std::exp(-t)));
                        CHECK(
                            std::fabs(out.at(i, j) - right) <= 10 * roundoff<T> * std::fabs(right),
                            isa, cols, static_cast<double>(t), out.at(i, j), right);
                    }
                    const double right = static_cast<double>(sum),
                                 got = sums[static_cast<size_t>(i)];
                    CHECK(std::fabs(got - right) <= 10 * roundoff<T> * right, isa, cols, got,
                          right);
                }
                CHECK(out.neighbourhood_untouched(), isa);
            }
        }
    });
}

// --- canonical values ---

// What every metric needs, for up to 530 features.
struct AllParams : MetricParams {
    std::vector<double> numbers, matrix;

    AllParams(Random& random, int64_t d, double exponent)
        : numbers(normals<double>(random, d)), matrix(normals<double>(random, d * d)) {
        for (double& one : numbers) one = one < -1.0 ? 0.0 : std::fabs(one);
        p = exponent;
        weights = ranges = numbers.data();
        transform = matrix.data();
        features = static_cast<double>(d);
        if (exponent == 3.0) clip = 1.0;
    }
};

// By the metric's own header, compiled for the baseline: what has no formula of its own below is
// held to it, and to what Python says of it.
double by_header(MetricId metric, const std::vector<double>& x, const std::vector<double>& y,
                 const AllParams& params) {
    switch (metric) {
#define PT_CANONICAL(name, type) \
    case MetricId::name:         \
        return canonical<type>(x.data(), y.data(), static_cast<int64_t>(x.size()), params);
        PAIRTILE_METRICS(PT_CANONICAL)
#undef PT_CANONICAL
        default:
            return NAN;
    }
}

double canonical_reference(MetricId metric, const std::vector<double>& x,
                           const std::vector<double>& y, const AllParams& params) {
    if (metric == MetricId::mahalanobis) {
        std::vector<double> image;
        for (size_t i = 0; i < x.size(); ++i) {
            std::vector<double> row(
                params.matrix.begin() + static_cast<int64_t>(i * x.size()),
                params.matrix.begin() + static_cast<int64_t>((i + 1) * x.size()));
            std::vector<double> difference(x);
            for (size_t j = 0; j < x.size(); ++j) difference[j] -= y[j];
            image.push_back(-canonical_reference(MetricId::inner_product, row, difference, params));
        }
        return -canonical_reference(MetricId::inner_product, image, image, params);
    }
    double lane[8] = {}, second[8] = {};
    for (size_t j = 0; j < x.size(); ++j) {
        const double difference = x[j] - y[j];
        double& sum = lane[j % 8];
        switch (metric) {
            case MetricId::inner_product:
                sum += x[j] * y[j];
                break;
            case MetricId::manhattan:
                sum += std::fabs(difference);
                break;
            case MetricId::chebyshev:
                sum = std::max(sum, std::fabs(difference));
                break;
            case MetricId::minkowski: {
                const double size = std::fabs(difference);
                const double cube = size * (size * size);
                sum += params.p == 3.0 ? cube : size * std::sqrt(size);
                break;
            }
            case MetricId::canberra:
                if (x[j] != 0.0 || y[j] != 0.0) {
                    sum += std::fabs(difference) / (std::fabs(x[j]) + std::fabs(y[j]));
                }
                break;
            case MetricId::braycurtis:
                sum += std::fabs(difference);
                second[j % 8] += std::fabs(x[j] + y[j]);
                break;
            case MetricId::weuclidean:
                sum += params.weights[j] * difference * difference;
                break;
            case MetricId::gower:
                sum += params.ranges[j] > 0.0
                           ? std::min(std::fabs(difference) / params.ranges[j], params.clip)
                           : (difference == 0.0 ? 0.0 : 1.0);
                second[j % 8] += 1.0;
                break;
            case MetricId::euclidean:
            case MetricId::sqeuclidean:
            case MetricId::cosine:
                sum += difference * difference;
                break;
            default:
                return by_header(metric, x, y, params);
        }
    }
    const auto combine = [metric](double a, double b) {
        return metric == MetricId::chebyshev ? std::max(a, b) : a + b;
    };
    const auto tree = [&combine](const double* part) {
        return combine(combine(combine(part[0], part[4]), combine(part[2], part[6])),
                       combine(combine(part[1], part[5]), combine(part[3], part[7])));
    };
    const double value = tree(lane);
    if (metric == MetricId::braycurtis) return value == 0.0 ? 0.0 : value / tree(second);
    if (metric == MetricId::gower) return value / tree(second);
    if (metric == MetricId::cosine) return 0.5 * value;
    return metric == MetricId::inner_product ? -value : value;
}

TEST(canonical_values_have_the_same_bits_everywhere) {
    Random random(14);
    for (int64_t d = 1; d <= 530; d += d < 40 ? 1 : 49) {
        for (int round = 0; round < (d < 40 ? 20 : 2); ++round) {
            auto x = normals<double>(random, d), y = normals<double>(random, d);
            for (double& one : x) one = one > 1.5 ? 0.0 : one;  // both 0 here and there
            for (double& one : y) one = one > 1.5 ? 0.0 : one;
            const AllParams params(random, d, round % 2 ? 3.0 : 1.5);
            const std::vector<float> narrow(y.begin(), y.end());
            const std::vector<double> widened(narrow.begin(), narrow.end());
            for (const IsaOps* isa : supported_isas()) {
                for (int m = 0; m < static_cast<int>(MetricId::count); ++m) {
                    const MetricId metric = static_cast<MetricId>(m);
                    if (Metric{metric, {}}.on_bits()) continue;
                    const double wide = isa->canonical.f64[m](x.data(), y.data(), d, params);
                    CHECK(wide == canonical_reference(metric, x, y, params), isa->name, m, d);
                    CHECK(isa->canonical.f32[m](x.data(), narrow.data(), d, params) ==
                              canonical_reference(metric, x, widened, params),
                          isa->name, m, d);
                }
            }
        }
    }
}

TEST(tiles_of_canonical_values_hold_the_same_bits) {
    Random random(15);
    for (const IsaOps* isa : supported_isas()) {
        const Ops<double>& ops = isa->f64;
        for (const int64_t d : {1, 7, 8, 9, 17, 64, 257}) {
            constexpr int panels = 3;
            const int rows = ops.rows, cols = panels * ops.cols;
            const int64_t ld = cols + 3;
            const auto x = normals<double>(random, rows * d), y = normals<double>(random, cols * d);
            const AllParams params(random, d, d % 2 ? 3.0 : 1.5);
            std::vector<double> col_panels;
            for (int p = 0; p < panels; ++p) {
                const std::vector<double> points(y.begin() + p * ops.cols * d,
                                                 y.begin() + (p + 1) * ops.cols * d);
                const auto panel = panel_of(points, ops.cols, d, ops.cols);
                col_panels.insert(col_panels.end(), panel.begin(), panel.end());
            }
            const auto row_panel = panel_of(x, rows, d, rows);
            for (int m = 0; m < static_cast<int>(MetricId::count); ++m) {
                if (!ops.canonical[m]) continue;
                std::vector<double> tile(static_cast<size_t>(rows * ld), -1.0);
                ops.canonical[m](row_panel.data(), col_panels.data(), d, panels, params,
                                 tile.data(), ld);
                for (int i = 0; i < rows; ++i) {
                    for (int j = 0; j < cols; ++j) {
                        CHECK(tile[static_cast<size_t>(i * ld + j)] ==
                                  isa->canonical.f64[m](&x[static_cast<size_t>(i * d)],
                                                        &y[static_cast<size_t>(j * d)], d, params),
                              isa->name, m, d, i, j);
                    }
                    CHECK(tile[static_cast<size_t>(i * ld + cols)] == -1.0, isa->name, m);
                }
            }
        }
    }
}

}  // namespace
