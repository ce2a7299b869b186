// The sweep computes squared distances; beside each of its tiles stand three dot products: of
// scores, and of the rows of one side with the scores of the other, for
//   (x − y)·(s_x − s_y) = x·s_x + y·s_y − x·s_y − s_x·y.
#include "kernels/stein.hpp"

#include <algorithm>

namespace pairtile {
namespace {

// Scores of the points of one side, packed as its rows are, and row · score of each.
struct ScorePanels {
    Panels<double> scores;
    Buffer<double> own;  // padded with zeros to whole panels

    void pack(const Panels<double>& points, const Source& source, const Frame& frame, double factor,
              double own_factor, Control& control) {
        pack_rows(ops_of<double>(isa()), source, points.first, points.count, frame, TileFormula{},
                  {factor, points.width, false, false}, control, scores);
        const int64_t width = points.width;
        const int64_t padded = (points.count + width - 1) / width * width;
        own.reserve(padded);
        for (int64_t at = 0; at < padded; at += width) {
            const double *x = points.panel_of(at), *s = scores.panel_of(at);
            std::fill_n(own.data() + at, width, 0.0);
            for (int64_t f = 0; f < points.d; ++f) {
                for (int64_t i = 0; i < width; ++i)
                    own[at + i] += x[f * width + i] * s[f * width + i];
            }
            for (int64_t i = 0; i < width; ++i) own[at + i] *= own_factor;
        }
    }
};

class SteinEvaluator : public KernelEvaluator<double>, private PanelReader<double> {
  public:
    SteinEvaluator(const KernelFrame& from, const Source& scores, Control& control)
        : KernelEvaluator<double>(from, Precision::float64, control.workers(),
                                  Accuracy::of_derivatives),
          scores_(scores),
          frame_(choose_frame(scores, scores, false, control)),
          control_(control),
          work_(static_cast<size_t>(control.workers())) {
        // derivatives are by the squared distance of packed rows
        const double unit = from.unit, length = from.frame.scale, score = frame_.scale;
        const double factor = formula().row_factor;
        parts_[0] = 1.0 / (factor * score * score);
        parts_[1] = -2.0 * length / (factor * score);
        parts_[2] = -2.0 * static_cast<double>(from.x.d()) * unit;
        parts_[3] = -4.0 * unit;
        for (Work& work : work_) {
            for (Buffer<double>* row : {&work.x, &work.y, &work.score_x, &work.score_y}) {
                row->reserve(from.x.d());
            }
        }
    }

    // The arguments of this map are the values themselves: they take more than one number of a
    // pair.
    void complete(const Tile<double>& tile, const Panels<double>& rows, int worker) override {
        const Ops<double>& ops = ops_of<double>(isa());
        Work& work = work_[static_cast<size_t>(worker)];
        const int64_t ld = tile.ld;
        for (Buffer<double>* memory : {&work.products, &work.cross, &work.backward, &work.values}) {
            memory->reserve(ops.rows * ld);
        }
        const auto dot = [&](const Panels<double>& left, const Panels<double>& right,
                             const double* bias, Buffer<double>& to) {
            compute_core(ops, Core::dot, left, tile.local_row, right, tile.local_col, tile.cols,
                         bias, to.data(), ld);
        };
        dot(rows_.scores, cols_.scores, nullptr, work.products);
        dot(rows, cols_.scores, cols_.own.data(), work.cross);
        dot(rows_.scores, *col_points_, nullptr, work.backward);
        for (int i = 0; i < tile.rows; ++i) {
            const double own = rows_.own[tile.local_row + i];
            double* __restrict cross = work.cross.data() + i * ld;
            const double* __restrict backward = work.backward.data() + i * ld;
            for (int j = 0; j < tile.cols; ++j) cross[j] = own - cross[j] - backward[j];
        }
        work.row = -1;
        KernelEvaluator<double>::complete(tile, rows, worker);
        for (size_t t = 0; t < from().terms.size(); ++t) {
            ops.stein[static_cast<int>(from().terms[t].kernel)](
                tile.data, work.products.data(), work.cross.data(), ld, tile.rows, tile.cols,
                params(t), parts_, weight(t), t > 0, work.values.data(), ld);
        }
        for (int i = 0; i < tile.rows; ++i) {
            std::copy_n(work.values.data() + i * ld, tile.cols, tile.data + i * ld);
        }
    }

    void evaluate(size_t, size_t, const double* values, int64_t ld, int rows, int cols, double* out,
                  int64_t out_ld) const override {
        for (int i = 0; i < rows; ++i) std::copy_n(values + i * ld, cols, out + i * out_ld);
    }

  private:
    struct Work {
        Buffer<double> products, cross, backward, values;
        Buffer<double> x, y, score_x, score_y;
        int row = -1;  // of the tile, that x and score_x hold
    };

    PanelReader<double>* reader() override { return this; }
    // Products carry the factor of the packed rows.
    void begin_rows(const Panels<double>& rows) override {
        const double factor = formula().row_factor;
        rows_.pack(rows, scores_, frame_, factor, 1.0 / factor, control_);
    }
    void begin_cols(const Panels<double>& cols) override {
        col_points_ = &cols;
        cols_.pack(cols, scores_, frame_, 1.0, -formula().row_factor, control_);
    }

    // Rows so close that their squared distance was computed again: so is the cross product.
    void recomputed(const Tile<double>& tile, int i, int32_t j, int worker) override {
        Work& work = work_[static_cast<size_t>(worker)];
        if (work.row != i) {
            work.row = i;
            from().x.read(tile.row + i, work.x.data());
            scores_.read(tile.row + i, work.score_x.data());
        }
        from().x.read(tile.col + j, work.y.data());
        scores_.read(tile.col + j, work.score_y.data());
        double sum = 0.0;
        for (int64_t f = 0; f < scores_.d(); ++f) {
            sum += (work.x[f] - work.y[f]) * (work.score_x[f] - work.score_y[f]);
        }
        work.cross[i * tile.ld + j] =
            formula().row_factor * from().frame.scale * frame_.scale * sum;
    }

    const Source& scores_;
    Frame frame_;
    Control& control_;
    double parts_[4];
    ScorePanels rows_, cols_;
    const Panels<double>* col_points_ = nullptr;
    std::vector<Work> work_;
};

}  // namespace

void stein_label_sums(const Source& x, const Source& scores, const Labels& labels,
                      const std::vector<KernelTerm>& terms, Control& control,
                      const LabelTotals& out) {
    const KernelFrame from(x, x, terms, Argument::squared_distance, control, false);
    SteinEvaluator map(from, scores, control);
    label_sums(map, labels, control, out);
}

}  // namespace pairtile
