#include "bind/arrays.hpp"

namespace pairtile {
namespace {

Dtype dtype_of(const py::dtype& dtype) {
    const char kind = dtype.kind();
    const auto size = dtype.itemsize();
    if (kind == 'f' && size == 2) return Dtype::float16;
    if (kind == 'f' && size == 4) return Dtype::float32;
    if (kind == 'f' && size == 8) return Dtype::float64;
    if (kind == 'i' && size == 1) return Dtype::int8;
    if (kind == 'u' && size == 1) return Dtype::uint8;
    // NumPy has no bfloat16; the type that ml_dtypes registers is known by its name
    if (size == 2 && py::str(dtype.attr("name")).cast<std::string>() == "bfloat16") {
        return Dtype::bfloat16;
    }
    throw py::type_error(
        "the engine takes float16, bfloat16, int8, uint8, float32 and float64, not " +
        py::str(static_cast<py::object>(dtype)).cast<std::string>());
}

}  // namespace

Array view_of(const py::array& array) {
    if (array.ndim() != 2) throw py::value_error("the engine takes 2-D arrays");
    Array view;
    view.data = static_cast<const char*>(array.data());
    view.rows = array.shape(0);
    view.cols = array.shape(1);
    view.row_stride = array.strides(0);
    view.col_stride = array.strides(1);
    view.dtype = dtype_of(array.dtype());
    const char order = array.dtype().byteorder();
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    view.swapped = order == '>';
#else
    view.swapped = order == '<';
#endif
    return view;
}

Metric metric_of(const std::string& name, const py::object& params, int64_t d) {
    const MetricId id = metric_named(name);
    if (id == MetricId::count) throw py::value_error("unknown metric '" + name + "'");
    Metric metric{id, {}};
    const py::dict given = params.is_none() ? py::dict() : params.cast<py::dict>();
    if (const char* key = metric.traits().parameter; key && !given.contains(key)) {
        throw py::value_error("metric_params of '" + name + "' lack '" + key + "'");
    }
    MetricParams& with = metric.params;
    with.features = static_cast<double>(d);
    for (const auto& [key, value] : given) {
        const std::string what = key.cast<std::string>();
        const py::object object = py::reinterpret_borrow<py::object>(value);
        if (what == "p") with.p = object.cast<double>();
        if (what == "w") with.weights = vector_of<double>(object, d, "w");
        if (what == "ranges") with.ranges = vector_of<double>(object, d, "ranges");
        if (what == "clip") with.clip = object.cast<double>();
        if (what == "transform") {
            with.transform = vector_of<double>(object.attr("reshape")(-1), d * d, "transform");
        }
        if (what == "n_bits") with.n_bits = object.cast<int64_t>();
    }
    return metric;
}

KernelId kernel_of(const std::string& name) {
    const KernelId id = kernel_named(name);
    if (id == KernelId::count) throw py::value_error("unknown kernel '" + name + "'");
    return id;
}

Precision precision_of(const std::string& name) {
    if (name == "default") return Precision::standard;
    if (name == "float64") return Precision::float64;
    if (name == "fast") return Precision::fast;
    throw py::value_error("unknown precision '" + name + "'");
}

}  // namespace pairtile
