#include "engine/finite.hpp"

#include <algorithm>
#include <atomic>
#include <vector>

namespace pairtile {

int64_t first_nonfinite(const Array& array, Control& control) {
    if (array.dtype == Dtype::int8 || array.dtype == Dtype::uint8) return -1;
    const Source source(array);
    constexpr int64_t rows_per_block = 4096;
    const int64_t blocks = (array.rows + rows_per_block - 1) / rows_per_block;
    std::atomic<int64_t> first{array.rows};
    parallel_for(blocks, blocks > 4 ? control.workers() : 1, control, [&](int64_t block, int) {
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
