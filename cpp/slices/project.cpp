#include "slices/project.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "pairtile/slice/key.hpp"
#include "slices/large_pages.hpp"
#include "slices/sort.hpp"

namespace pairtile {
namespace {

constexpr int64_t strip_bytes = 128 << 10;           // packed rows of one task, which stay in L2
constexpr int64_t block_rows = 512;                  // rows of one task where nothing is packed
constexpr int64_t l1_bytes = 16 << 10;               // of rows that columns are taken from
constexpr int64_t picked_numbers = 1 << 14;          // by a task that takes columns, at least
constexpr int64_t numbers_worth_a_thread = 1 << 16;  // where nothing is computed
constexpr int64_t most_shares = 64;                  // of the rows, with sums of their own
constexpr int64_t share_bytes = int64_t{16} << 20;   // of all these sums

int64_t blocks_of(int64_t size, int64_t block) { return (size + block - 1) / block; }

// The value, or its key in the place of it.
template <bool keys, class T>
void put(T value, T* out) {
    if constexpr (keys) {
        const Key<T> key = key_of_value(value);
        std::memcpy(out, &key, sizeof key);
    } else {
        *out = value;
    }
}

// Part of a column of numbers S, which may lie at any address.
template <class S, bool keys, class T>
void copy_column(const Array& rows, int64_t first, int64_t count, int64_t column, T* out) {
    const char* from = rows.data + first * rows.row_stride + column * rows.col_stride;
    if constexpr (keys && std::is_same_v<S, T>) {
        if (rows.row_stride == sizeof(S) && reinterpret_cast<uintptr_t>(from) % alignof(S) == 0) {
            const auto* values = reinterpret_cast<const Key<T>*>(from);
            return sorting_of<Key<T>>(isa()).to_keys(values, count, reinterpret_cast<Key<T>*>(out));
        }
    }
    const auto copy = [&](auto stride) {
        for (int64_t i = 0; i < count; ++i) {
            S value;
            std::memcpy(&value, from + i * stride, sizeof value);
            put<keys>(static_cast<T>(value), out + i);
        }
    };
    if (rows.row_stride == sizeof(S)) {  // several at a time
        copy(std::integral_constant<int64_t, sizeof(S)>{});
    } else {
        copy(rows.row_stride);
    }
}

}  // namespace

template <class T>
Coordinates<T>::Coordinates(int64_t directions, int64_t rows, const Ops<T>& ops)
    : ld_(blocks_of(rows, ops.cols) * ops.cols) {
    // lists a multiple of 4 KB apart would all fall into the same few cache lines
    if (ld_ * static_cast<int64_t>(sizeof(T)) % 4096 == 0) ld_ += ops.cols;
    values_.reserve(directions * ld_);
    ask_for_large_pages(values_.data(), directions * ld_);
}

template <class T>
Batch<T>::Batch(const Slices& slices, int64_t first, int64_t count)
    : ops_(ops_of<T>(isa())),
      first_(first),
      count_(count),
      d_(slices.x.cols),
      axes_(slices.directions == nullptr) {
    if (axes_) return;
    const int64_t row_panels = blocks_of(count, ops_.rows);
    const int64_t col_panels = blocks_of(d_, ops_.cols);
    as_rows_.reserve(row_panels * ops_.rows * d_);
    as_columns_.reserve(col_panels * ops_.cols * count);
    std::fill_n(as_rows_.data(), row_panels * ops_.rows * d_, T(0));
    std::fill_n(as_columns_.data(), col_panels * ops_.cols * count, T(0));
    std::vector<double> feature(static_cast<size_t>(slices.directions->cols));
    for (int64_t f = 0; f < d_; ++f) {
        slices.directions->read(f, feature.data());
        for (int64_t l = 0; l < count; ++l) {
            const T value = static_cast<T>(feature[static_cast<size_t>(first + l)]);
            as_rows_[(l / ops_.rows * d_ + f) * ops_.rows + l % ops_.rows] = value;
            as_columns_[(f / ops_.cols * count + l) * ops_.cols + f % ops_.cols] = value;
        }
    }
}

template <class T>
void Batch<T>::project(const Array& rows, const Frame& frame, Lines<T> out, Control& control,
                       bool keys) const {
    if (axes_) {
        return keys ? pick_columns<true>(rows, out, control)
                    : pick_columns<false>(rows, out, control);
    }
    const int64_t panel_bytes = ops_.cols * d_ * static_cast<int64_t>(sizeof(T));
    const int64_t panels = std::clamp<int64_t>(strip_bytes / panel_bytes, 1, 16);
    const int64_t strip = panels * ops_.cols;

    const Source source(rows);
    const bool narrow = source.fits_float32();
    struct Workspace {
        Buffer<float> narrow_rows;
        Buffer<double> rows, norms;
        Buffer<T> packed, edge;
    };
    std::vector<Workspace> workspace(static_cast<size_t>(control.workers()));
    parallel_for(blocks_of(rows.rows, strip), control, [&](int64_t block, int worker) {
        Workspace& mine = workspace[static_cast<size_t>(worker)];
        mine.norms.reserve(ops_.cols);
        mine.packed.reserve(strip * d_);
        const int64_t begin = block * strip, end = std::min(rows.rows, begin + strip);
        const int64_t used = blocks_of(end - begin, ops_.cols);
        const auto pack = [&]<class S>(auto packer, Buffer<S>& copy, int64_t panel) {
            const int64_t from = begin + panel * ops_.cols;
            const int64_t have = std::min<int64_t>(ops_.cols, end - from);
            copy.reserve(ops_.cols * d_);
            const RowsView<S> view = source.block(from, have, copy.data());
            packer(view.data, view.stride, static_cast<int>(have), d_, frame.centre.data(),
                   frame.scale, 1.0, Norm::squares, ops_.cols, &mine.packed[panel * ops_.cols * d_],
                   mine.norms.data());
        };
        for (int64_t panel = 0; panel < used; ++panel) {
            if (narrow) {
                pack(ops_.pack_float32, mine.narrow_rows, panel);
            } else {
                pack(ops_.pack_float64, mine.rows, panel);
            }
        }
        project_packed(mine.packed.data(), begin, end, out, mine.edge);
    });
}

template <class T>
void Batch<T>::project(const PackedRows<T>& rows, Coordinates<T>& out) const {
    Buffer<T> edge;
    project_packed(rows.as_columns_.data(), 0, rows.rows_, out.lines(), edge);
}

template <class T>
void Batch<T>::project_packed(const T* packed, int64_t begin, int64_t end, Lines<T> out,
                              Buffer<T>& edge) const {
    const auto product = ops_.core[static_cast<int>(Core::dot)];
    const int64_t used = blocks_of(end - begin, ops_.cols), width = used * ops_.cols;
    for (int64_t first = 0; first < count_; first += ops_.rows) {
        const int64_t lists = std::min<int64_t>(ops_.rows, count_ - first);
        T* place = out.values + first * out.ld + begin;
        int64_t ld = out.ld;
        // a block that reaches beyond the lists is written beside them
        const bool whole = lists == ops_.rows && begin + width <= out.room;
        if (!whole) {
            edge.reserve(ops_.rows * width);
            place = edge.data();
            ld = width;
        }
        product(&as_rows_[first * d_], packed, d_, static_cast<int>(used), nullptr, place, ld);
        if (whole) continue;
        for (int64_t l = 0; l < lists; ++l) {
            std::copy_n(place + l * ld, end - begin, out.values + (first + l) * out.ld + begin);
        }
    }
}

template <class T>
template <bool keys>
void Batch<T>::pick_columns(const Array& rows, Lines<T> out, Control& control) const {
    Array columns = rows;
    columns.data += first_ * rows.col_stride;
    columns.cols = count_;
    // rows that stay in L1 while one column after another is taken from them
    const int64_t row_bytes = std::max<int64_t>(std::abs(rows.row_stride), 1);
    const int64_t rows_in_cache = std::clamp<int64_t>(l1_bytes / row_bytes, 16, block_rows);
    const auto copy_columns = [&]<class S>(int64_t begin, int64_t end, S) {
        for (int64_t i = begin; i < end; i += rows_in_cache) {
            const int64_t count = std::min(rows_in_cache, end - i);
            for (int64_t l = 0; l < count_; ++l) {
                copy_column<S, keys>(columns, i, count, l, out.values + l * out.ld + i);
            }
        }
    };
    const int workers = rows.rows * count_ < numbers_worth_a_thread ? 1 : control.workers();
    const int64_t block = std::max(block_rows, picked_numbers / count_);
    std::vector<std::vector<double>> values(static_cast<size_t>(workers));
    parallel_for(blocks_of(rows.rows, block), workers, control, [&](int64_t number, int worker) {
        const int64_t begin = number * block, end = std::min(rows.rows, begin + block);
        if (!columns.swapped) {
            if (columns.dtype == Dtype::float32) return copy_columns(begin, end, float{});
            if (columns.dtype == Dtype::float64) return copy_columns(begin, end, double{});
        }
        auto& row = values[static_cast<size_t>(worker)];
        row.resize(static_cast<size_t>(count_));
        for (int64_t i = begin; i < end; ++i) {
            columns.read(i, row.data());
            for (int64_t l = 0; l < count_; ++l) {
                put<keys>(static_cast<T>(row[static_cast<size_t>(l)]), out.values + l * out.ld + i);
            }
        }
    });
}

template <class T>
void Batch<T>::pull_back(const Array& rows, Coordinates<T>& slopes, T* gradient,
                         Control& control) const {
    parallel_for(blocks_of(rows.rows, block_rows), control, [&](int64_t block, int) {
        const int64_t begin = block * block_rows, end = std::min(rows.rows, begin + block_rows);
        if (axes_) {
            for (int64_t l = 0; l < count_; ++l) {
                for (int64_t i = begin; i < end; ++i) {
                    gradient[i * d_ + first_ + l] = slopes.of(l)[i];
                }
            }
            return;
        }
        for (int64_t i = begin; i < end; i += ops_.rows) {
            for (int64_t f = 0; f < d_; f += ops_.cols) {
                ops_.product(static_cast<int>(std::min<int64_t>(ops_.rows, end - i)),
                             static_cast<int>(std::min<int64_t>(ops_.cols, d_ - f)), count_,
                             slopes.of(0) + i, 1, slopes.ld(), &as_columns_[f * count_],
                             gradient + i * d_ + f, d_);
            }
        }
    });
}

template <class T>
void Batch<T>::add_products(const Array& rows, const Frame& frame, Coordinates<T>& slopes,
                            double* out, Control& control) const {
    // One share of the rows after another adds its sums to the result, whoever computed them.
    const int64_t sums_of_share = count_ * d_, blocks = blocks_of(rows.rows, feature_block);
    const int64_t fitting = share_bytes / (sums_of_share * static_cast<int64_t>(sizeof(double)));
    const int64_t shares = std::min(blocks, std::clamp<int64_t>(fitting, 1, most_shares));
    Buffer<double> sums(shares * sums_of_share);
    std::fill_n(sums.data(), shares * sums_of_share, 0.0);
    const int64_t width = blocks_of(d_, ops_.cols) * ops_.cols;
    struct Workspace {
        Buffer<double> row;
        Buffer<T> packed, products;
    };
    std::vector<Workspace> workspace(static_cast<size_t>(control.workers()));
    parallel_for(shares, control, [&](int64_t share, int worker) {
        Workspace& mine = workspace[static_cast<size_t>(worker)];
        mine.row.reserve(d_);
        mine.packed.reserve(width * feature_block);
        mine.products.reserve(sums_of_share);
        std::fill_n(mine.packed.data(), width * feature_block, T(0));
        for (int64_t block = share; block < blocks; block += shares) {
            control.tick(worker);
            const int64_t begin = block * feature_block;
            const int64_t have = std::min(feature_block, rows.rows - begin);
            for (int64_t i = 0; i < have; ++i) {
                rows.read(begin + i, mine.row.data());
                for (int64_t first = 0; first < d_; first += ops_.cols) {
                    const double* values = &mine.row[first];
                    const double* centre = &frame.centre[static_cast<size_t>(first)];
                    T* panel = &mine.packed[first * feature_block + i * ops_.cols];
                    const int64_t some = std::min<int64_t>(ops_.cols, d_ - first);
                    for (int64_t f = 0; f < some; ++f) {
                        panel[f] = static_cast<T>((values[f] - centre[f]) * frame.scale);
                    }
                }
            }
            pull_packed(mine.packed.data(), feature_block, begin, have, slopes,
                        mine.products.data());
            double* sum = &sums[share * sums_of_share];
            for (int64_t k = 0; k < sums_of_share; ++k) {
                sum[k] += static_cast<double>(mine.products[k]);
            }
        }
    });
    for (int64_t share = 0; share < shares; ++share) {
        for (int64_t k = 0; k < sums_of_share; ++k) {
            out[k] += sums[share * sums_of_share + k] / frame.scale;
        }
    }
}

template <class T>
void Batch<T>::pull_packed(const T* packed, int64_t panel_rows, int64_t begin, int64_t have,
                           Coordinates<T>& slopes, T* products) const {
    std::fill_n(products, count_ * d_, T(0));
    for (int64_t l = 0; l < count_; l += ops_.rows) {
        for (int64_t f = 0; f < d_; f += ops_.cols) {
            ops_.product(static_cast<int>(std::min<int64_t>(ops_.rows, count_ - l)),
                         static_cast<int>(std::min<int64_t>(ops_.cols, d_ - f)), have,
                         slopes.of(l) + begin, slopes.ld(), 1, packed + f * panel_rows,
                         products + l * d_ + f, d_);
        }
    }
}

template <class T>
void Batch<T>::add_products(const PackedRows<T>& rows, const Frame& frame, Coordinates<T>& slopes,
                            double* out) const {
    Buffer<T> products(count_ * d_);
    for (int64_t begin = 0; begin < rows.rows_; begin += feature_block) {
        const int64_t have = std::min(feature_block, rows.rows_ - begin);
        pull_packed(&rows.as_rows_[begin * ops_.cols], rows.rows_, begin, have, slopes,
                    products.data());
        for (int64_t k = 0; k < count_ * d_; ++k) {
            out[k] += static_cast<double>(products[k]) / frame.scale;
        }
    }
}

template <class T>
PackedRows<T>::PackedRows(const Array& rows, const Frame& frame) : rows_(rows.rows) {
    const Ops<T>& ops = ops_of<T>(isa());
    const int64_t d = rows.cols, cols = ops.cols, panels = blocks_of(rows_, cols);
    as_columns_.reserve(panels * cols * d);
    as_rows_.reserve(blocks_of(d, cols) * cols * rows_);
    std::fill_n(as_rows_.data(), blocks_of(d, cols) * cols * rows_, T(0));
    const Source source(rows);
    const auto pack = [&]<class S>(auto packer, S) {
        Buffer<S> copy(cols * d);
        Buffer<double> norms(cols);
        for (int64_t from = 0; from < rows_; from += cols) {
            const int64_t have = std::min(cols, rows_ - from);
            T* panel = &as_columns_[from * d];
            const RowsView<S> view = source.block(from, have, copy.data());
            packer(view.data, view.stride, static_cast<int>(have), d, frame.centre.data(),
                   frame.scale, 1.0, Norm::squares, static_cast<int>(cols), panel, norms.data());
            for (int64_t f = 0; f < d; ++f) {
                T* column = &as_rows_[f / cols * cols * rows_ + f % cols];
                for (int64_t i = 0; i < have; ++i) column[(from + i) * cols] = panel[f * cols + i];
            }
        }
    };
    if (source.fits_float32()) {
        pack(ops.pack_float32, float{});
    } else {
        pack(ops.pack_float64, double{});
    }
}

template class PackedRows<float>;
template class PackedRows<double>;
template class Coordinates<float>;
template class Coordinates<double>;
template class Batch<float>;
template class Batch<double>;

}  // namespace pairtile
