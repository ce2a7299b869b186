// Random relabellings and orders, drawn from the bit generators of NumPy.
#include "kernels/shuffles.hpp"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "bind/arrays.hpp"
#include "bind/families.hpp"

namespace pairtile {
namespace {

// What the capsule of a bit generator points to: the C interface that NumPy documents.
struct BitGenerator {
    void* state;
    uint64_t (*next_uint64)(void* state);
    uint32_t (*next_uint32)(void* state);
    double (*next_double)(void* state);
    uint64_t (*next_raw)(void* state);
};

// Holds the lock of a bit generator, which is not to be asked from two threads at once.
class Locked {
  public:
    explicit Locked(py::object lock) : lock_(std::move(lock)) { lock_.attr("acquire")(); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    ~Locked() { lock_.attr("release")(); }

  private:
    py::object lock_;
};

// Runs draw(random) with the bit generator of a numpy.random.Generator, without the GIL.
template <class Draw>
void draw_from(const py::object& generator, Draw draw) {
    const py::object bits = generator.attr("bit_generator");
    const auto capsule = bits.attr("capsule").cast<py::capsule>();
    const auto* source = capsule.get_pointer<const BitGenerator>();
    const Locked locked(bits.attr("lock"));
    const py::gil_scoped_release release;
    draw(RandomBits{source->state, source->next_uint32});
}

using Numbers = py::array_t<uint32_t, py::array::c_style>;

// Cells whose members are 0, 1, 2, ..., each of them once.
Cells cells_of(const Numbers& members, const Numbers& sizes) {
    const Cells cells{{members.data(), static_cast<size_t>(members.size())},
                      {sizes.data(), static_cast<size_t>(sizes.size())}};
    uint64_t total = 0;
    for (const uint32_t size : cells.sizes) total += size;
    std::vector<bool> seen(cells.members.size());
    for (const uint32_t member : cells.members) {
        if (member >= seen.size() || seen[member]) {
            throw py::value_error("cells must hold each of so many numbers once");
        }
        seen[member] = true;
    }
    if (total != seen.size()) throw py::value_error("sizes must be those of the cells");
    return cells;
}

py::array_t<uint64_t> bind_random_labels(const py::object& rng, const Numbers& members,
                                         const Numbers& sizes, const Numbers& chosen,
                                         const py::object& unit, int64_t count) {
    const Cells cells = cells_of(members, sizes);
    if (chosen.size() != sizes.size() || !std::equal(chosen.data(), chosen.data() + chosen.size(),
                                                     sizes.data(), std::less_equal<>())) {
        throw py::value_error("of each cell no more can be chosen than it has");
    }
    const int64_t rows = unit.is_none() ? members.size() : py::len(unit);
    const uint32_t* of_row = vector_of<uint32_t>(unit, rows, "unit");
    if (of_row != nullptr && std::any_of(of_row, of_row + rows,
                                         [&](uint32_t of) { return of >= cells.members.size(); })) {
        throw py::value_error("rows must be of units that there are");
    }
    py::array_t<uint64_t> labels({count, (rows + 63) / 64});
    uint64_t* words = labels.mutable_data();
    draw_from(rng, [&](RandomBits random) {
        random_labels(random, cells, chosen.data(), of_row, rows, count, words);
    });
    return labels;
}

py::array_t<int64_t> bind_random_orders(const py::object& rng, const Numbers& members,
                                        const Numbers& sizes, int64_t count) {
    const Cells cells = cells_of(members, sizes);
    py::array_t<int64_t> orders({count, static_cast<int64_t>(members.size())});
    int64_t* places = orders.mutable_data();
    draw_from(rng, [&](RandomBits random) { random_orders(random, cells, count, places); });
    return orders;
}

}  // namespace

void register_shuffles(py::module_& m) {
    using py::arg;
    m.def("random_labels", bind_random_labels, arg("rng"), arg("members").noconvert(),
          arg("sizes").noconvert(), arg("chosen").noconvert(), arg("unit").none(true),
          arg("count"));
    m.def("random_orders", bind_random_orders, arg("rng"), arg("members").noconvert(),
          arg("sizes").noconvert(), arg("count"));
}

}  // namespace pairtile
