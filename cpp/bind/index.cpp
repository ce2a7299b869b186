// A packed reference set as an object of Python: made from an array, or from the blocks of a file.
#include "neighbors/index.hpp"
#include "bind/arrays.hpp"
#include "bind/families.hpp"

namespace pairtile {
namespace {

constexpr const char* packing_names[] = {"int8", "int16", "bfloat16", "float32", "float64"};

// Blocks are handed out and taken back as views; `blocks` are keyed as the fields of Panels.
template <class T>
py::dict blocks_of(const Panels<T>& panels, const py::object& owner) {
    const auto view = [&](const auto& buffer, py::ssize_t size) {
        using Element = std::remove_cvref_t<decltype(buffer[0])>;
        return py::array_t<Element>(size, buffer.data(), owner);
    };
    const py::ssize_t count = (panels.count + panels.width - 1) / panels.width;
    py::dict blocks;
    blocks["data"] = view(panels.data, count * panels.width * panels.d);
    blocks["norms"] = view(panels.norms, count * panels.width);
    static_assert(sizeof(NormBound) == 2 * sizeof(double));
    blocks["extents"] =
        py::array_t<double>({count, py::ssize_t{2}},
                            reinterpret_cast<const double*>(panels.panel_bounds.data()), owner);
    return blocks;
}

py::dict pack_of(const py::object& self) {
    const auto& index = self.cast<const Index&>();
    const Frame& frame = index.frame;
    const bool wide = index.packing == Packing::float64;
    py::dict blocks = wide ? blocks_of(index.wide, self) : blocks_of(index.narrow, self);
    blocks["centre"] = py::array_t<double>(static_cast<py::ssize_t>(frame.centre.size()),
                                           frame.centre.data(), self);
    py::dict pack;
    pack["packing"] = packing_names[static_cast<int>(index.packing)];
    pack["width"] = wide ? index.wide.width : index.narrow.width;
    pack["scale"] = frame.scale;
    pack["narrow"] = frame.narrow;
    pack["integral"] = frame.integral;
    pack["largest"] = frame.largest;
    pack["largest_square"] = frame.largest_square;
    pack["has_zero_row"] = frame.has_zero_row;
    pack["extreme"] = frame.extreme;
    pack["blocks"] = blocks;
    return pack;
}

template <class T>
const T* block(const py::dict& blocks, const char* name, int64_t size) {
    const auto array = blocks[name].cast<py::array>();
    const bool usable = py::isinstance<py::array_t<T>>(array) && array.size() == size &&
                        (array.flags() & py::array::c_style) &&
                        reinterpret_cast<uintptr_t>(array.data()) % 64 == 0;
    if (!usable) throw py::value_error(std::string(name) + " is not the block of such a pack");
    return static_cast<const T*>(array.data());
}

template <class T>
void view_panels(const py::dict& blocks, int64_t rows, const PanelShape& shape, Panels<T>& out) {
    const int64_t panels = (rows + shape.width - 1) / shape.width, points = panels * shape.width;
    out.count = rows;
    out.width = shape.width;
    out.d = shape.words;
    out.data =
        Buffer<T>::view(block<T>(blocks, "data", points * shape.words), points * shape.words);
    out.norms = Buffer<T>::view(block<T>(blocks, "norms", points), points);
    out.panel_bounds = Buffer<NormBound>::view(
        reinterpret_cast<const NormBound*>(block<double>(blocks, "extents", 2 * panels)), panels);
}

// The panels of a pack in place, if this processor would pack them so.
std::unique_ptr<Index> view_of_pack(const py::dict& pack, int64_t rows, int64_t d) {
    auto index = std::make_unique<Index>();
    const auto name = pack["packing"].cast<std::string>();
    const auto which = std::find(std::begin(packing_names), std::end(packing_names), name);
    if (which == std::end(packing_names)) {
        throw py::value_error("unknown packing '" + name + "'");
    }
    index->packing = static_cast<Packing>(which - std::begin(packing_names));
    const PanelShape shape = panel_shape(index->packing, d);
    if (shape.width == 0 || shape.width != pack["width"].cast<int64_t>()) return nullptr;
    const auto blocks = pack["blocks"].cast<py::dict>();
    const double* centre = block<double>(blocks, "centre", d);
    index->frame.centre.assign(centre, centre + d);
    index->frame.scale = pack["scale"].cast<double>();
    index->frame.narrow = pack["narrow"].cast<bool>();
    index->frame.integral = pack["integral"].cast<bool>();
    index->frame.largest = pack["largest"].cast<double>();
    index->frame.largest_square = pack["largest_square"].cast<double>();
    index->frame.has_zero_row = pack["has_zero_row"].cast<bool>();
    index->frame.extreme = pack["extreme"].cast<bool>();
    if (index->packing == Packing::float64) {
        view_panels(blocks, rows, shape, index->wide);
    } else {
        view_panels(blocks, rows, shape, index->narrow);
    }
    return index;
}

std::unique_ptr<Index> make_index(const py::array& reference, const std::string& metric,
                                  const std::string& precision, const py::object& pack,
                                  int workers) {
    const Array rows = view_of(reference);
    if (!pack.is_none()) {
        try {
            auto index = view_of_pack(pack.cast<py::dict>(), rows.rows, rows.cols);
            if (index) return index;
        } catch (const py::cast_error& error) {
            throw py::value_error(std::string("not a pack: ") + error.what());
        }
    }
    const Metric id = metric_of(metric);
    const Precision wanted = precision_of(precision);
    auto index = std::make_unique<Index>();
    run_released(py::none(), workers,
                 [&](Control& control) { *index = pack_index(Source(rows), id, wanted, control); });
    return index;
}

}  // namespace

void register_index(py::module_& m) {
    using py::arg;
    py::class_<Index>(m, "Index")
        .def(py::init(&make_index), arg("reference"), arg("metric"), py::kw_only(),
             arg("precision"), arg("pack") = py::none(), arg("workers"), py::keep_alive<1, 5>())
        .def_property_readonly("pack", pack_of);
}

}  // namespace pairtile
