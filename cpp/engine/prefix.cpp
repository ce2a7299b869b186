#include "engine/prefix.hpp"

#include <algorithm>
#include <limits>

#include "engine/frame.hpp"
#include "engine/isa.hpp"

namespace pairtile {
namespace {

constexpr int64_t chunk = 64;  // products that are added before the sum is rounded to another

int64_t panels_for(int64_t directions) {
    const int64_t width = isa().f32.cols;
    return (directions + width - 1) / width;
}

// [row][columns] as panels of the right operand of products, padded with zeros.
void fill_panels(const double* by_column, int64_t rows, int64_t columns, float* out) {
    const int64_t width = isa().f32.cols;
    for (int64_t p = 0; p * width < columns; ++p) {
        for (int64_t i = 0; i < rows; ++i) {
            for (int64_t c = 0; c < width; ++c) {
                const int64_t column = p * width + c;
                out[(p * rows + i) * width + c] =
                    column < columns ? static_cast<float>(by_column[column * rows + i]) : 0.0f;
            }
        }
    }
}

// out[m × columns] = A·B, A row by row, B in panels of k rows.
void multiply(const float* a, int64_t row_stride, int64_t k_stride, int64_t m, int64_t k,
              const float* b, int64_t columns, float* out, int64_t ld, Control& control) {
    const Ops<float>& ops = isa().f32;
    parallel_for(panels_for(columns), control, [&](int64_t p, int) {
        float* to = out + p * ops.cols;
        for (int64_t i = 0; i < m; ++i) std::fill_n(to + i * ld, ops.cols, 0.0f);
        for (int64_t i = 0; i < m; i += ops.rows) {
            const int here = static_cast<int>(std::min<int64_t>(ops.rows, m - i));
            for (int64_t f = 0; f < k; f += feature_block) {
                ops.product(here, ops.cols, std::min(feature_block, k - f),
                            a + i * row_stride + f * k_stride, row_stride, k_stride,
                            b + (p * k + f) * ops.cols, to + i * ld, ld);
            }
        }
    });
}

double dot(const double* a, const double* b, int64_t d) {
    double lane[8] = {}, total = 0.0;
    int64_t j = 0;
    for (; j + 8 <= d; j += 8) {
        for (int l = 0; l < 8; ++l) lane[l] += a[j + l] * b[j + l];
    }
    for (; j < d; ++j) total += a[j] * b[j];
    for (const double part : lane) total += part;
    return total;
}

// Makes the vectors orthonormal, each to those before it; one that they span already gives way to
// a unit vector.
void orthonormalise(std::vector<double>& vectors, int64_t d, int64_t count) {
    int64_t next_unit = 0;
    for (int64_t c = 0; c < count; ++c) {
        double* v = vectors.data() + c * d;
        for (;;) {
            const double before = std::sqrt(dot(v, v, d));
            double after = before;
            for (int pass = 0; pass < 2 && after > 0.0; ++pass) {
                if (pass > 0 && after > 0.5 * before) break;
                for (int64_t e = 0; e < c; ++e) {
                    const double* u = vectors.data() + e * d;
                    const double along = dot(u, v, d);
                    for (int64_t j = 0; j < d; ++j) v[j] -= along * u[j];
                }
                after = std::sqrt(dot(v, v, d));
            }
            if (after > 1e-10 * before && std::isfinite(after)) {
                for (int64_t j = 0; j < d; ++j) v[j] /= after;
                break;
            }
            std::fill_n(v, d, 0.0);
            v[next_unit++ % d] = 1.0;
        }
    }
}

// ‖P̂P̂ᵀ − I‖ (Frobenius) of the first directions, from above: no singular value is farther from 1,
// and so P̂ no farther from a P with orthonormal rows.
double from_orthonormal(const std::vector<double>& directions, int64_t d, int64_t count) {
    double total = 0.0;
    for (int64_t a = 0; a < count; ++a) {
        for (int64_t b = a; b < count; ++b) {
            const double product = dot(directions.data() + a * d, directions.data() + b * d, d);
            const double off = product - (a == b ? 1.0 : 0.0);
            total += (a == b ? 1.0 : 2.0) * off * off;
        }
    }
    return std::sqrt(total) + static_cast<double>(d + count) * 1e-15;
}

}  // namespace

void Prefix::turn(const Ops<float>& ops, const float* rows, int64_t stride, int64_t count,
                  float* out) const {
    std::fill_n(out, count * directions, 0.0f);
    for (int64_t i = 0; i < count; i += ops.rows) {
        const int here = static_cast<int>(std::min<int64_t>(ops.rows, count - i));
        for (int64_t p = 0; p * ops.cols < directions; ++p) {
            for (int64_t f = 0; f < d; f += chunk) {
                ops.product(here, ops.cols, std::min(chunk, d - f), rows + i * stride + f, stride,
                            1, panels.data() + (p * d + f) * ops.cols,
                            out + i * directions + p * ops.cols, directions);
            }
        }
    }
}

// A coordinate is a sum of d products, cut every `chunk`: it is off by no more than
// γ‖P̂_c‖‖x‖, γ = (chunk + d/chunk + 4)u, and all together by √count times that.
std::shared_ptr<const Prefix> Prefix::of(const std::vector<double>& directions, int64_t d,
                                         int64_t kept, int64_t more, bool guesses) {
    auto prefix = std::make_shared<Prefix>();
    const int64_t count = kept + more;
    prefix->d = d;
    prefix->kept = kept;
    prefix->more = more;
    prefix->guesses = guesses;
    prefix->directions = panels_for(count) * isa().f32.cols;
    prefix->panels.reserve(prefix->directions * d);
    prefix->origin.assign(static_cast<size_t>(std::max<int64_t>(kept + 1, 1)), 0.0);
    fill_panels(directions.data(), d, count, prefix->panels.data());
    std::vector<double> rounded;
    for (int64_t i = 0; i < count * d; ++i) {
        const auto at = static_cast<size_t>(i);
        rounded.push_back(static_cast<double>(static_cast<float>(directions[at])));
    }
    constexpr double u = std::numeric_limits<float>::epsilon() / 2;
    const double gamma = 1.02 * u * static_cast<double>(std::min(d, chunk) + d / chunk + 4);
    const auto lost = [&](int64_t of) {
        return from_orthonormal(rounded, d, of) + gamma * std::sqrt(static_cast<double>(of));
    };
    prefix->lost_all = lost(count);
    prefix->lost_kept = prefix->lost_all;  // no more of some
    return prefix;
}

// The square of the remainder is off by no more than that of the coordinates, (2‖x‖ + e)e where
// these are off by e; the root by no more than the root of that, or that over itself.
Remainder remainder_of(const Prefix& prefix, const float* coordinates, double square) {
    Remainder out;
    const double norm = std::sqrt(square);
    constexpr double least = std::numeric_limits<float>::min();
    const auto left = [&](double of_coordinates, double lost, float& rest) {
        const double e = lost * norm + static_cast<double>(prefix.d) * least;
        const double gap = (2.0 * norm + e) * e + 1e-12 * square;
        const double root = std::sqrt(std::max(0.0, square - of_coordinates));
        rest = static_cast<float>(root);
        const double of_root = (root * root > gap ? gap / root : std::sqrt(gap)) + 0x1p-23 * root;
        return std::hypot(e, of_root);
    };
    double sum = 0.0;
    const auto add = [&](int64_t from, int64_t to) {
        double lane[4] = {};
        int64_t c = from;
        for (; c + 4 <= to; c += 4) {
            for (int l = 0; l < 4; ++l) {
                const double x = coordinates[c + l];
                lane[l] += x * x;
            }
        }
        for (; c < to; ++c) {
            const double x = coordinates[c];
            sum += x * x;
        }
        sum += (lane[0] + lane[1]) + (lane[2] + lane[3]);
    };
    add(0, prefix.kept);
    out.off = left(sum, prefix.lost_kept, out.after_kept);
    if (prefix.more > 0) {
        add(prefix.kept, prefix.kept + prefix.more);
        out.off = std::max(out.off, left(sum, prefix.lost_all, out.after_all));
    }
    return out;
}

SampledRows sample_rows(const Source& source, const Frame& frame, int64_t most) {
    SampledRows out;
    out.d = source.d();
    out.stride = Prefix::padded(out.d);
    const int64_t count = std::min(source.rows(), most);
    out.data.reserve(count * out.stride);
    std::vector<double> row(static_cast<size_t>(out.d));
    for (int64_t s = 0; s < count; ++s) {
        source.read(s * source.rows() / count, row.data());
        if (!all_finite(row.data(), out.d)) continue;
        float* to = out.data.data() + out.count * out.stride;
        double square = 0.0;
        for (int64_t j = 0; j < out.stride; ++j) {
            const auto at = static_cast<size_t>(j);
            to[j] =
                j < out.d ? static_cast<float>((row[at] - frame.centre[at]) * frame.scale) : 0.0f;
            square += static_cast<double>(to[j]) * static_cast<double>(to[j]);
        }
        if (!(square < 0x1p100)) continue;
        out.squares.push_back(square);
        out.index.push_back(s * source.rows() / count);
        ++out.count;
    }
    return out;
}

double effective_dimension(const SampledRows& sample) {
    const Ops<float>& ops = isa().f32;
    constexpr int64_t few = 64, many = 512;
    const int64_t rows = std::min(few, sample.count), cols = std::min(many, sample.count);
    std::vector<int32_t> which;
    for (int64_t j = 0; j < cols; ++j)
        which.push_back(static_cast<int32_t>(j * sample.count / cols));
    std::vector<float> products(which.size());
    double trace = 0.0, squares = 0.0, pairs = 0.0;
    for (const double square : sample.squares) trace += square;
    if (!(trace > 0.0)) return 0.0;
    trace /= static_cast<double>(sample.count);
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t own = i * sample.count / rows;
        ops.dots(sample.row(own), sample.data.data(), sample.stride, which.data(),
                 static_cast<int>(cols), sample.stride, products.data());
        for (size_t j = 0; j < which.size(); ++j) {
            if (which[j] == own) continue;
            const double share = static_cast<double>(products[j]) / trace;
            squares += share * share;
            pairs += 1.0;
        }
    }
    return squares > 0.0 ? pairs / squares : static_cast<double>(sample.d);
}

std::vector<double> principal_directions(const SampledRows& sample, int64_t count,
                                         Control& control) {
    const Ops<float>& ops = isa().f32;
    const int64_t d = sample.d, width = ops.cols;
    // rows far out would be all that float32 sums of squares see
    std::vector<double> ordered = sample.squares;
    if (!ordered.empty()) {
        const auto middle = ordered.begin() + static_cast<std::ptrdiff_t>(ordered.size() / 2);
        std::nth_element(ordered.begin(), middle, ordered.end());
        ordered = {*middle};
    }
    constexpr double far = 64.0;
    std::vector<int64_t> near;
    for (int64_t i = 0; i < sample.count; ++i) {
        if (sample.squares[static_cast<size_t>(i)] <= far * ordered[0]) near.push_back(i);
    }
    const int64_t rows = static_cast<int64_t>(near.size());
    const double largest = ordered.empty() ? 0.0 : ordered[0];
    // so that squares of squares stay in float32
    const float unit = largest > 0.0 ? static_cast<float>(1.0 / std::sqrt(largest)) : 1.0f;

    // X, its columns in panels, and C = XᵀX
    const int64_t features = panels_for(d) * width;
    Buffer<float> x(std::max<int64_t>(rows, 1) * d), panels(features * std::max<int64_t>(rows, 1));
    for (int64_t i = 0; i < rows; ++i) {
        const float* from = sample.row(near[static_cast<size_t>(i)]);
        for (int64_t j = 0; j < d; ++j) x[i * d + j] = from[j] * unit;
        for (int64_t j = 0; j < features; ++j) {
            panels[(j / width * rows + i) * width + j % width] = j < d ? x[i * d + j] : 0.0f;
        }
    }
    Buffer<float> moments(d * features);
    if (rows > 0) {
        multiply(x.data(), 1, d, d, rows, panels.data(), d, moments.data(), features, control);
    } else {
        std::fill_n(moments.data(), d * features, 0.0f);
    }
    double trace = 0.0;
    for (int64_t j = 0; j < d; ++j) trace += static_cast<double>(moments[j * features + j]);
    const float shrink = trace > 0.0 ? static_cast<float>(1.0 / trace) : 1.0f;
    for (int64_t i = 0; i < d * features; ++i) moments[i] *= shrink;

    // orthogonal iteration from signs without a pattern
    std::vector<double> directions(static_cast<size_t>(count * d));
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (double& v : directions) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        v = state >> 63 ? 1.0 : -1.0;
    }
    const int64_t room = panels_for(count) * width;
    Buffer<float> right(room * d), image(d * room);
    constexpr int rounds = 2, powers = 2;
    for (int round = 0; round < rounds; ++round) {
        for (int power = 0; power < powers; ++power) {
            fill_panels(directions.data(), d, count, right.data());
            multiply(moments.data(), features, 1, d, d, right.data(), count, image.data(), room,
                     control);
            for (int64_t c = 0; c < count; ++c) {
                for (int64_t j = 0; j < d; ++j) {
                    directions[static_cast<size_t>(c * d + j)] =
                        static_cast<double>(image[j * room + c]);
                }
            }
        }
        orthonormalise(directions, d, count);
    }
    return directions;
}

}  // namespace pairtile
