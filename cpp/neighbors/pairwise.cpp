#include "neighbors/pairwise.hpp"

#include "engine/canonical.hpp"

namespace pairtile {

template <class D>
void pairwise_distances(Source x, Source y, const Metric& metric, Control& control, D* distances) {
    x.read_as(metric.traits().reading);
    y.read_as(metric.traits().reading);
    control.expect(x.rows() * y.rows());
    parallel_for(x.rows(), control, [&](int64_t i, int worker) {
        Canonical canonical(metric, x, y);
        canonical.set_row(i);
        for (int64_t j = 0; j < y.rows(); ++j) {
            if (j % 4096 == 0) control.tick(worker);
            distances[i * y.rows() + j] = static_cast<D>(reported(metric, canonical(j)));
        }
        control.advance(y.rows());
    });
}

template void pairwise_distances<float>(Source, Source, const Metric&, Control&, float*);
template void pairwise_distances<double>(Source, Source, const Metric&, Control&, double*);

}  // namespace pairtile
