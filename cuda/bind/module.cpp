// The GPU module: device pointers, strides and the caller's stream come in as numbers, launches go
// out. It owns no memory; `pairtile._backends.cuda` takes inputs, results and workspace from CuPy.
#include <limits>
#include <sstream>

#include "bind/families.hpp"
#include "bind/packed.hpp"
#include "engine/contraction.hpp"
#include "engine/row_map.hpp"
#include "engine/survey.hpp"
#include "kernels/log_sum_exp.hpp"
#include "kernels/moments.hpp"
#include "kernels/sums.hpp"
#include "losses/wide.hpp"
#include "neighbors/farthest.hpp"
#include "neighbors/fidelity.hpp"
#include "neighbors/histogram.hpp"
#include "neighbors/knn.hpp"
#include "neighbors/pairwise.hpp"
#include "neighbors/quantile.hpp"
#include "neighbors/radius.hpp"
#include "neighbors/ranks.hpp"

namespace pairtile::gpu {
namespace {

using Ranges = std::vector<Range>;

std::vector<std::string> architectures() {
    std::istringstream built(PAIRTILE_CUDA_ARCHITECTURES);
    std::vector<std::string> names;
    for (std::string name; built >> name;) names.push_back(name);
    return names;
}

// By the names under which the plan of each statistic without parameters is exported.
constexpr std::pair<const char*, Needs> all_needs[] = {
    {"blocks", {blocks_state_bytes, std::numeric_limits<int64_t>::max()}},
    {"radius", {radius_state_bytes, radius_least_width}},
    {"pairwise", {pairwise_state_bytes, pairwise_least_width}},
    {"farthest", {farthest_state_bytes, farthest_least_width}},
    {"histogram", {histogram_state_bytes, histogram_least_width}},
    {"ranks", {ranks_state_bytes, ranks_least_width}},
    {"fidelity", {fidelity_state_bytes, fidelity_least_width}},
    {"sums", {sums_state_bytes, sums_least_width}},
    {"contraction", {contraction_state_bytes, contraction_least_width}},
    {"log_sums", {log_sums_state_bytes, log_sums_least_width}},
    {"moments", {moments_state_bytes, moments_least_width}},
    {"quantile", {quantile_state_bytes, quantile_least_width}},
    {"wide_softmax", {wide_softmax_state_bytes, wide_softmax_least_width}},
};

// `work` is what a pair costs, in features; `limit` the bytes of workspace, 0 for what is usual.
Ranges batches(const std::string& statistic, int64_t rows, int64_t references, int64_t work,
               int64_t k, int64_t limit) {
    Ranges ranges;
    const Needs needs = needs_of(statistic, k).within(limit);
    const int64_t step = batch_rows(references, work, needs.state_bytes, needs.limit);
    for (int64_t first = 0; first < rows; first += step) {
        ranges.emplace_back(first, std::min(rows, first + step));
    }
    return ranges;
}

Ranges segments(const std::string& statistic, int64_t rows, int64_t references, int64_t k,
                int64_t limit) {
    const Cut cut = cut_for(needs_of(statistic, k).within(limit), rows, references);
    Ranges ranges;
    for (int64_t s = 0; s < cut.segments; ++s) {
        ranges.emplace_back(s * cut.width, std::min(references, (s + 1) * cut.width));
    }
    return ranges;
}

int64_t workspace(const std::string& statistic, int64_t rows, int64_t references, int64_t k,
                  int64_t limit) {
    const Needs needs = needs_of(statistic, k).within(limit);
    return rows * cut_for(needs, rows, references).segments * needs.state_bytes;
}

void bind_survey(const View& x, Address findings, const DeviceStream& stream) {
    survey(array_of(x), at<Findings>(findings), cuda_stream(stream));
}

void bind_row_scales(const View& x, bool centred, Address scales, const DeviceStream& stream) {
    row_scales(array_of(x), centred, at<RowScale>(scales), cuda_stream(stream));
}

void bind_sample_centre(const View& x, const View& y, Address centre, const DeviceStream& stream) {
    sample_centre(array_of(x), array_of(y), at<double>(centre), cuda_stream(stream));
}

void bind_pack(const View& x, int64_t first, Address scales, Address centre, const Packed& packed,
               Address findings, const DeviceStream& stream) {
    pack(array_of(x), first, at<const RowScale>(scales), at<const double>(centre),
         panels_of(packed), at<PackFindings>(findings), cuda_stream(stream));
}

// Centre, lengths of the columns, transform.
using MapArguments = std::tuple<Address, Address, Address>;

RowMap map_of(const MapArguments& map) {
    const auto& [centre, lengths, transform] = map;
    return {at<const double>(centre), at<const double>(lengths), at<const double>(transform)};
}

void bind_map_rows(const View& x, const MapArguments& map, Address out,
                   const DeviceStream& stream) {
    map_rows(array_of(x), map_of(map), at<double>(out), cuda_stream(stream));
}

void bind_widen_residuals(const View& x, const MapArguments& map, Address residuals,
                          Address findings, const DeviceStream& stream) {
    widen_residuals(array_of(x), map_of(map), at<float>(residuals), at<PackFindings>(findings),
                    cuda_stream(stream));
}

std::string bind_tensor_path(int device, const std::string& most) {
    check(cudaSetDevice(device), "cudaSetDevice");
    static constexpr const char* names[] = {"none", "mma", "wgmma"};
    return names[static_cast<int>(tensor_path(path_of(most)))];
}

}  // namespace

Needs needs_of(const std::string& statistic, int64_t k) {
    if (statistic == "knn") return {knn_state_bytes(k), knn_least_width(k)};
    for (const auto& [name, needs] : all_needs) {
        if (statistic == name) return needs;
    }
    throw py::value_error("unknown statistic '" + statistic + "'");
}

}  // namespace pairtile::gpu

PYBIND11_MODULE(_cuda, m) {
    using namespace pairtile::gpu;
    using py::arg;
    m.doc() = "The GPU engine of pairtile; see the public package for documentation.";
    m.attr("__version__") = PAIRTILE_VERSION;
    m.def("architectures", architectures);
    py::register_exception<OutOfMemory>(m, "OutOfMemory", PyExc_MemoryError);
    py::register_exception<NotBuilt>(m, "NotBuilt", PyExc_RuntimeError);

    // the plan, which needs no GPU
    m.def("batches", batches, arg("statistic"), arg("rows"), arg("references"), arg("work"),
          arg("k") = 0, arg("limit") = 0);
    m.def("segments", segments, arg("statistic"), arg("rows"), arg("references"), arg("k") = 0,
          arg("limit") = 0);
    m.def("workspace", workspace, arg("statistic"), arg("rows"), arg("references"), arg("k") = 0,
          arg("limit") = 0);
    m.attr("scale_bytes") = sizeof(RowScale);

    // launches, in the order of the stream
    m.def("survey", bind_survey, Released());
    m.def("row_scales", bind_row_scales, Released());
    m.attr("findings_bytes") = sizeof(PackFindings);
    m.attr("rows_together") = rows_together;
    m.def("tensor_path", bind_tensor_path, arg("device"), arg("most") = "wgmma");
    m.def("limit_shared_bytes", limit_shared_bytes, arg("most"));
    m.def("tensor_core_error", tensor_core_error, arg("d"), arg("x"), arg("y"));
    m.def("panels_bytes", panels_bytes, arg("rows"), arg("d"), arg("parts"));
    m.def("sample_centre", bind_sample_centre, Released());
    m.def("pack", bind_pack, Released());
    m.def("map_rows", bind_map_rows, Released());
    m.def("widen_residuals", bind_widen_residuals, Released());
    bind_neighbors(m);
    bind_kernels(m);
    bind_slices(m);
    bind_dependence(m);
    bind_losses(m);
    bind_loss_blocks(m);
}
