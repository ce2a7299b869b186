// Pairs are put in the order of their rows by counting; then each row is its own.
#include "losses/pulls.hpp"

#include <algorithm>
#include <vector>

namespace pairtile {
namespace {

struct Pull {
    int64_t other;
    double weight;
};

// The pulls of one row, each partner once.
void merge(std::vector<Pull>& pulls) {
    std::stable_sort(pulls.begin(), pulls.end(),
                     [](const Pull& a, const Pull& b) { return a.other < b.other; });
    size_t kept = 0;
    for (size_t k = 1; k < pulls.size(); ++k) {
        if (pulls[k].other == pulls[kept].other) {
            pulls[kept].weight += pulls[k].weight;
        } else {
            pulls[++kept] = pulls[k];
        }
    }
    pulls.resize(pulls.empty() ? 0 : kept + 1);
}

}  // namespace

template <class T>
void add_pulls(const Source& rows, const double* lengths, const Pulls& pulls, Control& control,
               T* gradient) {
    constexpr int64_t rows_at_a_time = 32;
    const int64_t n = rows.rows(), d = rows.d();
    std::vector<int64_t> ends(static_cast<size_t>(n) + 1, 0);
    for (int64_t p = 0; p < pulls.count; ++p) ++ends[static_cast<size_t>(pulls.one[p]) + 1];
    for (size_t i = 1; i < ends.size(); ++i) ends[i] += ends[i - 1];
    std::vector<int64_t> order(static_cast<size_t>(pulls.count));
    std::vector<int64_t> next(ends.begin(), ends.end() - 1);
    for (int64_t p = 0; p < pulls.count; ++p) {
        order[static_cast<size_t>(next[static_cast<size_t>(pulls.one[p])]++)] = p;
    }
    const auto read = [&](int64_t row, double* __restrict out) {
        rows.read(row, out);
        if (!lengths || !(lengths[row] > 0.0)) return;
        const double length = lengths[row];
        for (int64_t f = 0; f < d; ++f) out[f] /= length;
    };
    parallel_for((n + rows_at_a_time - 1) / rows_at_a_time, control, [&](int64_t block, int w) {
        std::vector<double> own(static_cast<size_t>(d)), other(own.size()), sum(own.size());
        std::vector<Pull> mine;
        for (int64_t i = block * rows_at_a_time; i < std::min(n, (block + 1) * rows_at_a_time);
             ++i) {
            control.tick(w);
            mine.clear();
            for (int64_t e = ends[static_cast<size_t>(i)]; e < ends[static_cast<size_t>(i) + 1];
                 ++e) {
                const int64_t p = order[static_cast<size_t>(e)];
                mine.push_back({pulls.other[p], pulls.weights[p]});
            }
            if (mine.empty()) continue;
            merge(mine);
            read(i, own.data());
            std::fill(sum.begin(), sum.end(), 0.0);
            for (const Pull& pull : mine) {
                read(pull.other, other.data());
                const double weight = pull.weight;
                const double* __restrict a = own.data(), * __restrict b = other.data();
                double* __restrict to = sum.data();
                for (int64_t f = 0; f < d; ++f) to[f] += weight * (a[f] - b[f]);
            }
            T* out = gradient + i * d;
            for (int64_t f = 0; f < d; ++f) {
                out[f] = static_cast<T>(static_cast<double>(out[f]) + sum[static_cast<size_t>(f)]);
            }
        }
    });
}

template void add_pulls<float>(const Source&, const double*, const Pulls&, Control&, float*);
template void add_pulls<double>(const Source&, const double*, const Pulls&, Control&, double*);

}  // namespace pairtile
