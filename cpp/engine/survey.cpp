#include "engine/survey.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

namespace pairtile {
namespace {

// x·0 is 0 for every finite x and NaN otherwise; lanes let the compiler vectorise the sum.
template <class T>
bool all_finite(const T* row, int64_t d) {
    T lane[16] = {};
    int64_t j = 0;
    for (; j + 16 <= d; j += 16) {
        for (int l = 0; l < 16; ++l) lane[l] += row[j + l] * T(0);
    }
    for (int l = 0; j + l < d; ++l) lane[l] += row[j + l] * T(0);
    T total = 0;
    for (int l = 0; l < 16; ++l) total += lane[l];
    return total == T(0);
}

}  // namespace

int64_t first_nonfinite(const Array& array, int workers, Control& control) {
    if (array.dtype == Dtype::int8 || array.dtype == Dtype::uint8) return -1;
    const Source source(array);
    constexpr int64_t rows_per_block = 4096;
    const int64_t blocks = (array.rows + rows_per_block - 1) / rows_per_block;
    std::atomic<int64_t> first{array.rows};
    parallel_for(blocks, blocks > 4 ? workers : 1, control, [&](int64_t block, int) {
        std::vector<double> wide;
        const int64_t end = std::min(array.rows, (block + 1) * rows_per_block);
        const int64_t first_row = block * rows_per_block;
        // rows without a gap are one long row
        const float* all =
            array.row_stride == 4 * array.cols ? source.float32_row(first_row) : nullptr;
        if (all && all_finite(all, (end - first_row) * array.cols)) return;
        for (int64_t i = first_row; i < end; ++i) {
            bool finite;
            if (const float* row = source.float32_row(i)) {
                finite = all_finite(row, array.cols);
            } else if (const double* row = source.float64_row(i)) {
                finite = all_finite(row, array.cols);
            } else {
                wide.resize(static_cast<size_t>(array.cols));
                source.read(i, wide.data());
                finite = all_finite(wide.data(), array.cols);
            }
            if (finite) continue;
            int64_t seen = first.load();
            while (i < seen && !first.compare_exchange_weak(seen, i)) {
            }
            return;
        }
    });
    return first.load() == array.rows ? -1 : first.load();
}

}  // namespace pairtile
