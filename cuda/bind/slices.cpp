// Sliced transport and energy.
#include "slices/slices.hpp"

#include "bind/families.hpp"

namespace pairtile::gpu {
namespace {

// rows of both sets, features, slices; float64, rows beside the keys, weights, gradients; bytes of
// each row along each line, and of all, 0 being what is usual
using Plan =
    std::tuple<int64_t, int64_t, int64_t, int64_t, bool, bool, bool, bool, int64_t, int64_t>;
using Axes = std::tuple<Address, int64_t, Address, double>;    // directions, slices, centre, scale
using Listed = std::pair<Address, Address>;                    // keys, rows beside them
using Lists = std::tuple<int64_t, Address, Address, Address>;  // rows, keys, beside, levels

Slicing slicing_of(const Plan& plan) {
    const auto& [n, m, d, slices, wide, ranked, weighted, gradient, beside, limit] = plan;
    if (std::max(n, m) > INT32_MAX) {
        throw std::length_error("sliced statistics take at most 2^31 - 1 rows on a GPU");
    }
    return {n,        m,
            d,        slices,
            wide,     ranked,
            weighted, gradient,
            beside,   limit ? std::min(limit, workspace_limit) : workspace_limit};
}

std::vector<Range> slice_batches(const Plan& plan) {
    const Slicing slicing = slicing_of(plan);
    const int64_t step = slices_at_a_time(slicing);
    std::vector<Range> batches;
    for (int64_t first = 0; first < slicing.slices; first += step) {
        batches.emplace_back(first, std::min(slicing.slices, first + step));
    }
    return batches;
}

int64_t slice_least(const Plan& plan) { return least_bytes(slicing_of(plan)); }

int64_t slice_spares(const Plan& plan, int64_t in_batch) {
    return spare_lists(slicing_of(plan), in_batch);
}

int64_t slice_lanes(const Plan& plan, int64_t in_batch) {
    return sorting_lanes(slicing_of(plan), in_batch);
}

template <class T>
Lines<T> lines_of(const Axes& axes, const Range& batch) {
    const auto& [directions, slices, centre, scale] = axes;
    return {at<const T>(directions), slices, batch.first, batch.second - batch.first,
            at<const T>(centre),     scale};
}

SortedLists lists_of(const Lists& lists) {
    const auto& [rows, keys, beside, levels] = lists;
    return {rows, at<const void>(keys), at<const uint32_t>(beside), at<const uint64_t>(levels)};
}

void bind_centre(const View& x, const View& y, double scale, bool wide, Address centre,
                 const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        slice_centre(array_of(x), array_of(y), scale, at<double>(centre), queue);
    } else {
        slice_centre(array_of(x), array_of(y), scale, at<float>(centre), queue);
    }
}

void bind_project(const View& rows, const Axes& axes, const Range& batch, bool wide,
                  const Listed& out, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    void* keys = at<void>(out.first);
    auto* beside = at<uint32_t>(out.second);
    if (wide) {
        project_slices(array_of(rows), lines_of<double>(axes, batch), keys, beside, queue);
    } else {
        project_slices(array_of(rows), lines_of<float>(axes, batch), keys, beside, queue);
    }
}

void bind_pull_back(Address slopes, int64_t rows, int64_t d, const Axes& axes, const Range& batch,
                    bool wide, Address gradient, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        pull_back_slices(at<const double>(slopes), rows, d, lines_of<double>(axes, batch),
                         at<double>(gradient), queue);
    } else {
        pull_back_slices(at<const float>(slopes), rows, d, lines_of<float>(axes, batch),
                         at<float>(gradient), queue);
    }
}

int64_t turn_segments(int64_t rows, int64_t d, int64_t count) {
    return TurnSegments(rows, d, count).segments;
}

void bind_turn(const View& rows, Address slopes, const Axes& axes, const Range& batch, bool wide,
               Address partial, Address out, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    auto *some = at<double>(partial), *to = at<double>(out);
    if (wide) {
        turn_slices(array_of(rows), at<const double>(slopes), lines_of<double>(axes, batch), some,
                    to, queue);
    } else {
        turn_slices(array_of(rows), at<const float>(slopes), lines_of<float>(axes, batch), some, to,
                    queue);
    }
}

Sorting sorting_of(int64_t rows, int64_t count, int64_t slices, const Listed& lists,
                   const Listed& spare) {
    return {rows,
            count,
            sorted_by_segment(rows, slices),
            at<void>(lists.first),
            at<void>(spare.first),
            at<uint32_t>(lists.second),
            at<uint32_t>(spare.second),
            nullptr,
            0};
}

size_t bind_sort_scratch(int64_t rows, int64_t count, int64_t slices, bool wide, bool ranked,
                         const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    const Listed none = {0, ranked ? 1 : 0};
    const Sorting sorting = sorting_of(rows, count, slices, none, none);
    return wide ? sort_scratch<double>(sorting, queue) : sort_scratch<float>(sorting, queue);
}

// scratch: address, bytes of each lane
bool bind_sort(int64_t rows, int64_t count, int64_t slices, bool wide, const Listed& lists,
               const Listed& spare, const std::pair<Address, size_t>& scratch,
               const std::vector<Address>& side, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    Streams streams;
    for (const Address one : side) streams.push_back(at<CUstream_st>(one));
    Sorting sorting = sorting_of(rows, count, slices, lists, spare);
    sorting.scratch = at<void>(scratch.first);
    sorting.scratch_bytes = scratch.second;
    return wide ? sort_slices<double>(sorting, streams, queue)
                : sort_slices<float>(sorting, streams, queue);
}

void bind_levels(Address beside, Address quanta, int64_t rows, int64_t count, Address sums,
                 Address levels, const DeviceStream& stream) {
    slice_levels(at<const uint32_t>(beside), at<const uint64_t>(quanta), rows, count,
                 at<uint64_t>(sums), at<uint64_t>(levels), cuda_stream(stream));
}

void bind_transport_costs(const Lists& x, const Lists& y, int64_t count, bool wide, double p,
                          Address partial, Address costs, const DeviceStream& stream) {
    const auto go = wide ? transport_costs<double> : transport_costs<float>;
    go(lists_of(x), lists_of(y), count, p, at<double>(partial), at<double>(costs),
       cuda_stream(stream));
}

void bind_transport_slopes(const Lists& own, const Lists& other, int64_t count, bool wide, double p,
                           Address factors, Address slopes, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    const auto* by_slice = at<const double>(factors);
    if (wide) {
        transport_slopes(lists_of(own), lists_of(other), count, p, by_slice, at<double>(slopes),
                         queue);
    } else {
        transport_slopes(lists_of(own), lists_of(other), count, p, by_slice, at<float>(slopes),
                         queue);
    }
}

void bind_energies(const Lists& x, const Lists& y, int64_t count, bool wide, Address partial,
                   Address costs, const DeviceStream& stream) {
    const auto go = wide ? slice_energies<double> : slice_energies<float>;
    go(lists_of(x), lists_of(y), count, at<double>(partial), at<double>(costs),
       cuda_stream(stream));
}

void bind_energy_slopes(const Lists& own, const Lists& other, int64_t count, bool wide,
                        double factor, Address slopes, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    if (wide) {
        energy_slopes(lists_of(own), lists_of(other), count, factor, at<double>(slopes), queue);
    } else {
        energy_slopes(lists_of(own), lists_of(other), count, factor, at<float>(slopes), queue);
    }
}

// numbers, columns of all batches, levels and how many, quantiles
using Columns = std::tuple<Address, int64_t, Address, int64_t, Address>;

void bind_column_statistics(const Lists& x, const Lists& y, int64_t count, bool wide,
                            Address partial, const Columns& out, const DeviceStream& stream) {
    const auto& [numbers, columns, levels, level_count, quantiles] = out;
    const ColumnNumbers to = {at<double>(numbers), columns, at<const double>(levels), level_count,
                              at<double>(quantiles)};
    const auto go = wide ? column_statistics<double> : column_statistics<float>;
    go(lists_of(x), lists_of(y), count, at<double>(partial), to, cuda_stream(stream));
}

// places of each list; rows of x, of y, mass, squares
using Listing = std::tuple<int64_t, Address, Address, Address, Address>;

Pieces pieces_of(const Listing& listing) {
    const auto& [of_list, rows, columns, mass, squares] = listing;
    return {of_list, at<uint32_t>(rows), at<uint32_t>(columns), at<double>(mass),
            at<double>(squares)};
}

void bind_list_pieces(const Lists& x, const Lists& y, int64_t count, const Listing& out,
                      const DeviceStream& stream) {
    list_pieces(lists_of(x), lists_of(y), count, pieces_of(out), cuda_stream(stream));
}

void bind_pay_pieces(const View& x, const View& y, const Listing& pieces, int64_t count, double p,
                     Address partial, Address tops, Address costs, const DeviceStream& stream) {
    pay_pieces(array_of(x), array_of(y), pieces_of(pieces), count, p, at<double>(partial),
               at<double>(tops), at<double>(costs), cuda_stream(stream));
}

void bind_total_runs(Address starts, int64_t runs, Address mass, Address totals,
                     const DeviceStream& stream) {
    total_runs(at<const int64_t>(starts), runs, at<const double>(mass), at<double>(totals),
               cuda_stream(stream));
}

void bind_angles(Address keys, int64_t rows, int64_t count, bool wide, const DeviceStream& stream) {
    const auto go = wide ? turn_into_angles<double> : turn_into_angles<float>;
    go(at<void>(keys), rows, count, cuda_stream(stream));
}

void bind_circles(const Lists& x, const Lists& y, int64_t count, bool wide, double p, bool linear,
                  Address distances, const DeviceStream& stream) {
    const auto go = wide ? circle_distances<double> : circle_distances<float>;
    go(lists_of(x), lists_of(y), count, p, linear, at<double>(distances), cuda_stream(stream));
}

}  // namespace

void bind_slices(py::module_& m) {
    using py::arg;
    m.attr("slice_share") = wide_share;
    m.attr("column_partials") = column_partials;
    m.def("slice_stride", stride_of);
    m.def("slice_batches", slice_batches);
    m.def("slice_least", slice_least);
    m.def("slice_spares", slice_spares);
    m.def("slice_lanes", slice_lanes);
    m.def("slice_centre", bind_centre, Released());
    m.def("project_slices", bind_project, py::kw_only(), arg("rows"), arg("axes"), arg("batch"),
          arg("wide"), arg("out"), arg("stream"), Released());
    m.def("pull_back_slices", bind_pull_back, py::kw_only(), arg("slopes"), arg("rows"),
          arg("features"), arg("axes"), arg("batch"), arg("wide"), arg("gradient"), arg("stream"),
          Released());
    m.def("turn_segments", turn_segments);
    m.def("turn_slices", bind_turn, py::kw_only(), arg("rows"), arg("slopes"), arg("axes"),
          arg("batch"), arg("wide"), arg("partial"), arg("out"), arg("stream"), Released());
    m.def("sort_scratch", bind_sort_scratch, py::kw_only(), arg("rows"), arg("count"),
          arg("slices"), arg("wide"), arg("ranked"), arg("stream"), Released());
    m.def("sort_slices", bind_sort, py::kw_only(), arg("rows"), arg("count"), arg("slices"),
          arg("wide"), arg("lists"), arg("spare"), arg("scratch"), arg("side"), arg("stream"),
          Released());
    m.def("slice_levels", bind_levels, py::kw_only(), arg("beside"), arg("quanta"), arg("rows"),
          arg("count"), arg("sums"), arg("levels"), arg("stream"), Released());
    m.def("transport_costs", bind_transport_costs, py::kw_only(), arg("x"), arg("y"), arg("count"),
          arg("wide"), arg("p"), arg("partial"), arg("costs"), arg("stream"), Released());
    m.def("transport_slopes", bind_transport_slopes, py::kw_only(), arg("own"), arg("other"),
          arg("count"), arg("wide"), arg("p"), arg("factors"), arg("slopes"), arg("stream"),
          Released());
    m.def("slice_energies", bind_energies, py::kw_only(), arg("x"), arg("y"), arg("count"),
          arg("wide"), arg("partial"), arg("costs"), arg("stream"), Released());
    m.def("energy_slopes", bind_energy_slopes, py::kw_only(), arg("own"), arg("other"),
          arg("count"), arg("wide"), arg("factor"), arg("slopes"), arg("stream"), Released());
    m.def("column_statistics", bind_column_statistics, py::kw_only(), arg("x"), arg("y"),
          arg("count"), arg("wide"), arg("partial"), arg("out"), arg("stream"), Released());
    m.def("list_pieces", bind_list_pieces, py::kw_only(), arg("x"), arg("y"), arg("count"),
          arg("out"), arg("stream"), Released());
    m.def("pay_pieces", bind_pay_pieces, py::kw_only(), arg("x"), arg("y"), arg("pieces"),
          arg("count"), arg("p"), arg("partial"), arg("tops"), arg("costs"), arg("stream"),
          Released());
    m.def("total_runs", bind_total_runs, py::kw_only(), arg("starts"), arg("runs"), arg("mass"),
          arg("totals"), arg("stream"), Released());
    m.def("turn_into_angles", bind_angles, py::kw_only(), arg("keys"), arg("rows"), arg("count"),
          arg("wide"), arg("stream"), Released());
    m.def("circle_distances", bind_circles, py::kw_only(), arg("x"), arg("y"), arg("count"),
          arg("wide"), arg("p"), arg("linear"), arg("distances"), arg("stream"), Released());
}

}  // namespace pairtile::gpu
