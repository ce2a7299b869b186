// Statistics that hold kernel values of a block of pairs: gradients, Stein discrepancies, joint
// sums of two kernels.
#include "bind/families.hpp"
#include "bind/terms.hpp"
#include "kernels/gradient.hpp"
#include "kernels/held_contraction.hpp"
#include "kernels/joint.hpp"
#include "kernels/stein.hpp"

namespace pairtile::gpu {
namespace {

using Kernels = std::vector<Kernel>;
using Weighed = std::tuple<Sets, Kernels, double>;  // a kernel of many terms, less its shift

// `work` is what a pair costs, in features.
std::vector<Range> held_batches(int64_t rows, int64_t references, int64_t work) {
    std::vector<Range> ranges;
    const int64_t step = held_batch_rows(references, work);
    for (int64_t first = 0; first < rows; first += step) {
        ranges.emplace_back(first, std::min(rows, first + step));
    }
    return ranges;
}

using Memory = std::tuple<Address, int64_t>;  // address, pairs of a block

HeldMemory memory_of(const Memory& memory) {
    return {at<double>(std::get<0>(memory)), std::get<1>(memory)};
}

constexpr Needs no_states = {0, held_least_width};

void bind_gradient(const Sets& sets, const Kernels& kernels, const Range& rows, bool itself,
                   bool diagonal, const Pair& weights, const Memory& memory, Address sums,
                   Address by_rows, Address by_directions, const DeviceStream& stream) {
    const Gradient gradient = {sweep_of(sets, rows, no_states),
                               itself,
                               diagonal,
                               {at<const double>(weights.first), at<const double>(weights.second)},
                               memory_of(memory),
                               at<double>(sums),
                               at<double>(by_rows),
                               at<double>(by_directions)};
    kernel_gradient(gradient, terms_of(kernels), cuda_stream(stream));
}

// Weights and sums are of the first kernel alone, as above: all 1, and not wanted.
void bind_joint_gradient(const Sets& sets, const Kernels& kernels, const Weighed& beside,
                         Address by_row, const Range& rows, bool diagonal, const Pair& weights,
                         const Memory& memory, Address sums, Address by_rows, Address by_directions,
                         const DeviceStream& stream) {
    const Gradient gradient = {
        .sweep = sweep_of(sets, rows, no_states),
        .itself = true,
        .diagonal = diagonal,
        .weights = {at<const double>(weights.first), at<const double>(weights.second)},
        .memory = memory_of(memory),
        .sums = at<double>(sums),
        .by_rows = at<double>(by_rows),
        .by_directions = at<double>(by_directions)};
    const KernelBeside second = {.sweep = sweep_of(std::get<0>(beside), rows, no_states),
                                 .terms = terms_of(std::get<1>(beside)),
                                 .by_row = at<const double>(by_row)};
    joint_kernel_gradient(gradient, terms_of(kernels), second, cuda_stream(stream));
}

void bind_gradient_through_normalization(const View& rows, Address scales, Address by_directions,
                                         Address by_rows, const DeviceStream& stream) {
    gradient_through_normalization(array_of(rows), at<const RowScale>(scales),
                                   at<const double>(by_directions), at<double>(by_rows),
                                   cuda_stream(stream));
}

KernelSpace space_of(const Weighed& weighed, const Range& rows) {
    const auto& [sets, kernels, shift] = weighed;
    return {sweep_of(sets, rows, no_states), terms_of(kernels), shift};
}

// The sets of y hold the rows of all orders, of which one sweep sees the first.
void bind_joint_sums(const Weighed& x, const Weighed& y, const Range& rows, int64_t orders,
                     bool itself, const Memory& memory, Address x_rows, Address y_rows,
                     Address numbers, Address totals, const DeviceStream& stream) {
    const KernelSpace of_x = space_of(x, rows);
    KernelSpace of_y = space_of(y, rows);
    of_y.sweep.queries.rows = of_x.sweep.queries.rows;
    of_y.sweep.references.rows = of_x.sweep.references.rows;
    const cudaStream_t queue = cuda_stream(stream);
    joint_kernel_sums(of_x, of_y, orders, itself, memory_of(memory),
                      {at<double>(x_rows), at<double>(y_rows), at<double>(numbers)}, queue);
    row_totals(at<const double>(numbers), orders + 2, rows.second - rows.first, true,
               at<double>(totals), queue);
}

void bind_kernel_matrix(const Weighed& weighed, bool itself, int64_t after, Address matrix,
                        const DeviceStream& stream) {
    const int64_t n = std::get<1>(std::get<0>(std::get<0>(weighed)));
    kernel_matrix(space_of(weighed, {0, n}), itself, after, at<double>(matrix),
                  cuda_stream(stream));
}

void bind_permuted_products(const Pair& matrices, int64_t n, Address orders, int64_t count,
                            Address parts, Address products, const DeviceStream& stream) {
    const cudaStream_t queue = cuda_stream(stream);
    permuted_products(at<const double>(matrices.first), at<const double>(matrices.second), n,
                      at<const int64_t>(orders), count, at<double>(parts), queue);
    row_totals(at<const double>(parts), count, permuted_parts, false, at<double>(products), queue);
}

// products[s] += the rows of the Stein kernel times the strip s of the table's columns, for strips
// from `columns.first` on.
void bind_stein_products(const Sets& sets, const std::pair<View, View>& scores,
                         const Kernels& kernels, const Range& rows, bool itself, const Table& table,
                         const Range& columns, const Memory& memory, Address products,
                         const DeviceStream& stream) {
    const auto terms = terms_of(kernels);
    for (const KernelTerm& term : terms) {
        if (!has_stein(term.kernel)) throw py::value_error("a Stein kernel must be smooth");
    }
    const Sweep sweep = sweep_of(sets, rows, no_states);
    const Scores beside = {array_of(scores.first), array_of(scores.second)};
    const cudaStream_t queue = cuda_stream(stream);
    const HeldMemory held_memory = memory_of(memory);
    double* partial = held_memory.block(1);
    for (int64_t first = 0; first < sweep.references.rows;
         first += held_width(sweep.rows, held_memory.pairs)) {
        const Held held = block_of(sweep, first, itself, held_memory);
        hold_stein(held, beside, terms, queue);
        double* out = at<double>(products);
        for (int64_t c = columns.first; c < columns.second; c += contraction_width) {
            const auto width =
                static_cast<int>(std::min<int64_t>(contraction_width, columns.second - c));
            held_contract(held, columns_of(table), c, {width, 1.0, partial, out, contraction_width},
                          queue);
            out += sweep.rows * contraction_width;
        }
    }
}

}  // namespace

void bind_dependence(py::module_& m) {
    using py::arg;
    m.attr("held_pairs") = held_pairs;
    m.attr("held_state_numbers") = held_state_numbers;
    m.attr("permuted_parts") = permuted_parts;
    m.def("held_batches", held_batches, arg("rows"), arg("references"), arg("work"));
    m.def("kernel_gradient", bind_gradient, py::kw_only(), arg("sets"), arg("kernels"), arg("rows"),
          arg("itself"), arg("diagonal"), arg("weights"), arg("memory"), arg("sums"),
          arg("by_rows"), arg("by_directions"), arg("stream"), Released());
    m.def("joint_kernel_gradient", bind_joint_gradient, py::kw_only(), arg("sets"), arg("kernels"),
          arg("beside"), arg("by_row"), arg("rows"), arg("diagonal"), arg("weights"), arg("memory"),
          arg("sums"), arg("by_rows"), arg("by_directions"), arg("stream"), Released());
    m.def("gradient_through_normalization", bind_gradient_through_normalization, Released());
    m.def("joint_kernel_sums", bind_joint_sums, py::kw_only(), arg("x"), arg("y"), arg("rows"),
          arg("orders"), arg("itself"), arg("memory"), arg("x_rows"), arg("y_rows"), arg("numbers"),
          arg("totals"), arg("stream"), Released());
    m.def("kernel_matrix", bind_kernel_matrix, arg("space"), py::kw_only(), arg("itself"),
          arg("after"), arg("matrix"), arg("stream"), Released());
    m.def("permuted_products", bind_permuted_products, py::kw_only(), arg("matrices"), arg("n"),
          arg("orders"), arg("count"), arg("parts"), arg("products"), arg("stream"), Released());
    m.def("stein_products", bind_stein_products, py::kw_only(), arg("sets"), arg("scores"),
          arg("kernels"), arg("rows"), arg("itself"), arg("table"), arg("columns"), arg("memory"),
          arg("products"), arg("stream"), Released());
}

}  // namespace pairtile::gpu
