#include "neighbors/repeated_rows.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

namespace pairtile {
namespace {

constexpr int64_t sampled = 512, often = 16;  // so often in the sample

}  // namespace

CommonRows::CommonRows(const Source& source, Control& control) {
    constexpr int64_t rows_per_block = 1024;
    const int64_t n = source.rows();
    const size_t d = static_cast<size_t>(source.d());
    if (n < sampled || (control.memory() > 0 && n > control.memory() / 16)) return;
    // rows as they are read, compared as bytes: NaN has a place in that order too
    const auto bytes_of = [](const std::vector<double>& row) {
        return std::string_view(reinterpret_cast<const char*>(row.data()),
                                row.size() * sizeof(double));
    };
    std::vector<double> row(d);
    std::map<std::string, int64_t, std::less<>> seen;
    for (int64_t i = 0; i < sampled; ++i) {
        source.read(i * n / sampled, row.data());
        const auto at = seen.find(bytes_of(row));
        if (at == seen.end()) {
            seen.emplace(bytes_of(row), 1);
        } else {
            ++at->second;
        }
    }
    std::erase_if(seen, [](const auto& one) { return one.second < often; });
    if (seen.empty()) return;
    uint8_t names = 0;
    for (auto& [bytes, which] : seen) which = ++names;
    which_.resize(static_cast<size_t>(n));
    parallel_for((n + rows_per_block - 1) / rows_per_block, control, [&](int64_t block, int) {
        std::vector<double> mine(d);
        const int64_t end = std::min(n, (block + 1) * rows_per_block);
        for (int64_t i = block * rows_per_block; i < end; ++i) {
            source.read(i, mine.data());
            const auto at = seen.find(bytes_of(mine));
            which_[static_cast<size_t>(i)] =
                at == seen.end() ? 0 : static_cast<uint8_t>(at->second);
        }
    });
}

}  // namespace pairtile
