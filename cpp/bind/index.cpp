// A packed reference set as an object of Python: made from an array, or from the blocks of a file.

#include <pybind11/stl.h>

#include <algorithm>

#include "bind/arrays.hpp"
#include "bind/families.hpp"
#include "bind/index.hpp"
#include "engine/prefix.hpp"
#include "neighbors/skipped.hpp"

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

// What is held of an order, beside its blocks; None where no search has made one.
py::object order_of(const Index& index, py::dict& blocks, const py::object& owner) {
    std::shared_ptr<const Order> order;  // never replaced: the index keeps it
    KeyRule rule;
    {
        // who makes one meanwhile asks for the GIL
        const py::gil_scoped_release release;
        const std::lock_guard guard(index.order->lock);
        order = index.order->order;
        rule = index.order->rule;
    }
    if (!order || order->empty()) return py::none();
    const auto view = [&](const auto* numbers, int64_t size) {
        using Element = std::remove_cvref_t<decltype(*numbers)>;
        return py::array_t<Element>(static_cast<py::ssize_t>(size), numbers, owner);
    };
    blocks["order_rows"] = view(order->rows(), order->count());
    blocks["order_keys"] = view(order->keys(), order->count() * order->keys_per_row());
    blocks["order_boxes"] = view(order->boxes(), order->box_numbers());
    py::dict facts;
    facts["leaf"] = order->leaf();
    facts["features"] = rule.features;
    facts["centre"] = rule.centre;
    facts["scale"] = rule.scale;
    return facts;
}

// The same of turned references.
py::object rotation_of(const Index& index, py::dict& blocks, const py::object& owner) {
    const TurnedReferences* turned = nullptr;
    {
        const py::gil_scoped_release release;
        turned = index.turned->get();
    }
    if (!turned) return py::none();
    const Rotation& rotation = *turned->rotation;
    const auto take = [&](const std::string& of, const Panels<float>& panels) {
        for (const auto& [name, block] : blocks_of(panels, owner)) {
            blocks[py::str(of + name.cast<std::string>())] = block;
        }
    };
    take("turned_", turned->panels);
    take("guess_", turned->guess);
    const auto view = [&](const Buffer<float>& words, int64_t per_row) {
        return py::array_t<float>(static_cast<py::ssize_t>(turned->panels.count * per_row),
                                  words.data(), owner);
    };
    blocks["turned_whole"] = view(turned->panels.whole, turned->panels.whole_words);
    if (turned->panels.more_words > 0) {
        blocks["turned_more"] = view(turned->panels.more, turned->panels.more_words);
    }
    blocks["directions"] = py::array_t<double>(static_cast<py::ssize_t>(rotation.directions.size()),
                                               rotation.directions.data(), owner);
    py::dict facts;
    facts["packing"] = packing_names[static_cast<int>(rotation.packing)];
    facts["width"] = turned->panels.width;
    facts["kept"] = rotation.prefix->kept;
    facts["more"] = rotation.prefix->more;
    facts["guess"] = rotation.guess->kept;
    return facts;
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
    if (py::object order = order_of(index, blocks, self); !order.is_none()) pack["order"] = order;
    if (py::object rotation = rotation_of(index, blocks, self); !rotation.is_none()) {
        pack["rotation"] = rotation;
    }
    pack["blocks"] = blocks;
    return pack;
}

template <class T>
const T* block(const py::dict& blocks, const std::string& name, int64_t size) {
    const auto array = blocks[name.c_str()].cast<py::array>();
    const bool usable = py::isinstance<py::array_t<T>>(array) && array.size() == size &&
                        (array.flags() & py::array::c_style) &&
                        reinterpret_cast<uintptr_t>(array.data()) % 64 == 0;
    if (!usable) throw py::value_error(name + " is not the block of such a pack");
    return static_cast<const T*>(array.data());
}

Packing packing_of(const py::dict& facts) {
    const auto name = facts["packing"].cast<std::string>();
    const auto which = std::find(std::begin(packing_names), std::end(packing_names), name);
    if (which == std::end(packing_names)) {
        throw py::value_error("unknown packing '" + name + "'");
    }
    return static_cast<Packing>(which - std::begin(packing_names));
}

// Blocks named `of` and what they are.
template <class T>
void view_panels(const py::dict& blocks, const std::string& of, int64_t rows,
                 const PanelShape& shape, Panels<T>& out) {
    const int64_t panels = (rows + shape.width - 1) / shape.width, points = panels * shape.width;
    out.count = rows;
    out.width = shape.width;
    out.d = shape.words;
    out.data =
        Buffer<T>::view(block<T>(blocks, of + "data", points * shape.words), points * shape.words);
    out.norms = Buffer<T>::view(block<T>(blocks, of + "norms", points), points);
    const double* bounds = block<double>(blocks, of + "extents", 2 * panels);
    out.panel_bounds = Buffer<NormBound>::view(reinterpret_cast<const NormBound*>(bounds), panels);
}

// The order of a pack in place, if this processor would make one of such leaves.
void view_order(const py::dict& pack, int64_t rows, int64_t d, const Metric& metric,
                KeptOrder& kept) {
    const auto facts = pack["order"].cast<py::dict>();
    const int leaf = leaf_columns();
    if (facts["leaf"].cast<int>() != leaf) return;
    KeyRule rule;
    rule.gaps = gaps_of(metric);
    rule.features = facts["features"].cast<std::vector<int64_t>>();
    rule.centre = facts["centre"].cast<std::vector<double>>();
    rule.scale = facts["scale"].cast<double>();
    if (!has_gaps(metric) || rule.gaps == Gaps::powers || !rule.fits(d)) {
        throw py::value_error("there is no such order of its rows");
    }
    const auto blocks = pack["blocks"].cast<py::dict>();
    const int keys = rule.count();
    kept.order = std::make_shared<const Order>(
        block<int64_t>(blocks, "order_rows", rows), block<float>(blocks, "order_keys", rows * keys),
        block<float>(blocks, "order_boxes", Order::box_numbers_of(rows, leaf, keys)), rows, keys,
        leaf);
    kept.metric = metric.id;
    kept.rule = std::move(rule);
    kept.checked = false;
}

// ValueError unless the order is that of these rows.
void verify_order(Source rows, const Metric& metric, KeptOrder& kept, int workers) {
    rows.read_as(metric.traits().reading);
    bool right = false;
    run_released(py::none(), workers,
                 [&](Control& control) { right = kept.order->is_of(rows, kept.rule, control); });
    if (!right) throw py::value_error("its order is not one of its rows");
    kept.checked = true;
}

// The turned references of a pack in place, if this processor would pack them so.
void view_rotation(const py::dict& pack, int64_t rows, int64_t d, const Metric& metric,
                   KeptTurned& kept) {
    const auto facts = pack["rotation"].cast<py::dict>();
    const auto number = [&](const char* name) { return facts[name].cast<int64_t>(); };
    auto turned = std::make_shared<TurnedReferences>();
    auto rotation = std::make_shared<Rotation>();
    rotation->packing = packing_of(facts);
    const bool coarse = rotation->packing == Packing::bfloat16;
    const int64_t of_prefix = number("kept"), more = number("more"), guess = number("guess");
    if (!(coarse || rotation->packing == Packing::float32) || of_prefix < 1 || of_prefix > d ||
        more < 0 || more > d || guess < 1 || guess > d || metric.on_bits()) {
        throw py::value_error("there is no such rotation of its rows");
    }
    const int64_t most = std::max(of_prefix + more, guess);
    const PanelShape shape = panel_shape(rotation->packing, of_prefix + 1);
    if (shape.width == 0 || shape.width != number("width")) return;
    const auto blocks = pack["blocks"].cast<py::dict>();
    const int64_t directions = blocks["directions"].cast<py::array>().size() / d;
    const double* direction = block<double>(blocks, "directions", directions * d);
    if (directions < most || directions > d) {
        throw py::value_error("there is no such rotation of its rows");
    }
    rotation->directions.assign(direction, direction + directions * d);
    rotation->prefix = Prefix::of(rotation->directions, d, of_prefix, more);
    rotation->guess = Prefix::of(rotation->directions, d, guess, 0, true);
    // what it is off by is that of directions which are orthonormal, but for rounding
    constexpr double rounding = 1e-3;
    if (!(rotation->prefix->lost_all < rounding) || !(rotation->guess->lost_all < rounding)) {
        throw py::value_error("its rotation is none");
    }
    Panels<float>& panels = turned->panels;
    view_panels(blocks, "turned_", rows, shape, panels);
    view_panels(blocks, "guess_", rows, panel_shape(rotation->packing, guess + 1), turned->guess);
    const auto words = [&](const char* name, int64_t per_row) {
        return Buffer<float>::view(block<float>(blocks, name, rows * per_row), rows * per_row);
    };
    panels.whole_words = rotation->prefix->whole_words();
    panels.whole = words("turned_whole", panels.whole_words);
    panels.more_words = rotation->prefix->more_words();
    if (more > 0) panels.more = words("turned_more", panels.more_words);
    turned->rotation = std::move(rotation);
    kept.set(std::move(turned));
}

// The panels of a pack in place, if this processor would pack them so.
bool view_pack(const py::dict& pack, int64_t rows, int64_t d, Index* index) {
    index->packing = packing_of(pack);
    const PanelShape shape = panel_shape(index->packing, d);
    if (shape.width == 0 || shape.width != pack["width"].cast<int64_t>()) return false;
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
        view_panels(blocks, "", rows, shape, index->wide);
    } else {
        view_panels(blocks, "", rows, shape, index->narrow);
    }
    return true;
}

// With `verify` what a pack says of the order of the references is compared with them.
std::unique_ptr<Index> make_index(const py::array& reference, const std::string& metric,
                                  const std::string& precision, const py::object& pack, bool verify,
                                  int workers) {
    const Array rows = view_of(reference);
    const Metric id = metric_of(metric);
    const Precision wanted = precision_of(precision);
    auto index = std::make_unique<Index>();
    bool packed = false;
    if (!pack.is_none()) {
        try {
            const auto given = pack.cast<py::dict>();
            packed = view_pack(given, rows.rows, rows.cols, index.get());
            if (given.contains("order")) {
                view_order(given, rows.rows, rows.cols, id, *index->order);
            }
            if (given.contains("rotation")) {
                view_rotation(given, rows.rows, rows.cols, id, *index->turned);
            }
        } catch (const py::cast_error& error) {
            throw py::value_error(std::string("not a pack: ") + error.what());
        }
        if (verify && index->order->order) {
            verify_order(Source(rows), id, *index->order, workers);
        }
    }
    if (packed) return index;
    run_released(py::none(), workers, [&](Control& control) {
        Index anew = pack_index(Source(rows), id, wanted, control);
        anew.order = std::move(index->order);
        // panels of another frame would not do
        *index = std::move(anew);
    });
    return index;
}

}  // namespace

const Index* check_index(const Index* index, const Source& references) {
    if (index && !index->fits(references.rows(), references.d())) {
        throw py::value_error("the index is of other references");
    }
    return index;
}

void register_index(py::module_& m) {
    using py::arg;
    py::class_<Index>(m, "Index")
        .def(py::init(&make_index), arg("reference"), arg("metric"), py::kw_only(),
             arg("precision"), arg("pack") = py::none(), arg("verify") = true, arg("workers"),
             py::keep_alive<1, 5>())
        .def_property_readonly("pack", pack_of);
}

}  // namespace pairtile
