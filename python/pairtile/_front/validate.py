"""Arrays that come in: coercion and validation, before anything is computed.

First station of each public function. Behind it stand only arrays the engine understands
(2-D, of one of six dtypes, any strides and byte order, never copied without need); every error is
raised here, in `scalars` or in the function itself, with the argument's name.

    table_of, in_order, aligned    frames as numbers, columns in the order of another's names
    array    any array-like -> array of an engine dtype, any number of dimensions
    matrix   the same, 2-D, not empty, finite; or `Rows` to be read and checked block by block
    sets, pair, check_alike    several or two matrices with the same columns
    labels, weights, unit_weights    one entry per row
    devices  numbers of CUDA devices
    working_dtype, narrowed, like    the dtype results have, and the kind of array they become
"""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pairtile._backends import choose
from pairtile._backends.blocks.reading import load
from pairtile._backends.refusals import (
    Finite,
    first_infinite,
    refuse_rows,
    require_finite,
    says_cuda,
)
from pairtile._backends.rows import Rows, is_csr, is_rows
from pairtile._front import frames, scalars
from pairtile._front.frames import Table
from pairtile._front.mapped import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_ENGINE_DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")


def _is_torch(x: object) -> bool:
    # torch is never imported here: a tensor cannot exist before its module does.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _is_cupy(x: object) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def _adopted(name: str, x: Any) -> Any:
    """Such an array as one of CuPy's on the same memory."""
    choose.require_cuda(name)
    import cupy

    if not hasattr(x, "__dlpack__"):
        return cupy.asarray(x)
    try:
        return cupy.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError):  # a dtype that DLPack lacks
        if not hasattr(x, "__cuda_array_interface__"):
            raise
        return cupy.asarray(x)


def _detached(name: str, x: Any) -> Any:
    """A tensor without its history, which autograd would lose here unseen; a number loses none."""
    if x.requires_grad and x.ndim and sys.modules["torch"].is_grad_enabled():
        raise TypeError(
            f"{name} requires a gradient, and functions of pairtile are not seen by autograd: "
            f"those of pairtile.torch are; or pass {name}.detach()"
        )
    return x.detach()


def _from_torch(name: str, x: Any) -> Any:
    x = _detached(name, x)
    if x.is_cuda:
        choose.require_cuda(name)
        return on_device(x)
    if x.device.type != "cpu":
        raise TypeError(f"{name} is on device {x.device}; only CPU and CUDA tensors are supported")
    x = x.resolve_conj().resolve_neg()
    # NumPy has no bfloat16; widening is exact and float32 is what it works as.
    return x.float().numpy() if str(x.dtype) == "torch.bfloat16" else x.numpy()


def on_device(x: Any) -> Any:
    """A CUDA tensor without history as a CuPy array on the same memory."""
    import cupy

    if str(x.dtype) != "torch.bfloat16":
        return cupy.from_dlpack(x)
    try:  # a CuPy that knows bfloat16
        return cupy.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError):
        return cupy.from_dlpack(x.float())  # widening is exact


@lru_cache(maxsize=64)
def _name_of(dtype: Any) -> str:
    """`dtype.name`, which NumPy puts together each time."""
    name: str = dtype.name
    return name


def _engine_dtype(name: str, dtype: Any) -> Any:
    """What numbers of a dtype become before the engine sees them."""
    if _name_of(dtype) in _ENGINE_DTYPES:
        return dtype
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}")
    return np.dtype(np.float64)


def table_of(name: str, x: Any) -> Any:
    """A frame as a `Table` of numbers; what is no frame as it is."""
    if type(x) is np.ndarray or isinstance(x, Table) or not frames.is_frame(x):
        return x
    return frames.table(name, x)


def names_of(x: Any) -> list[str] | None:
    """Names of the columns of a table; None of anything else."""
    return x.names if isinstance(x, Table) else None


def in_order(x_name: str, names: list[str] | None, y_name: str, y: Any) -> Any:
    """The columns of y, if it is a frame, in the order of these names of x.

    ValueError unless they are the same names. By position where there are none: without `names`,
    for an array, and where one of the two has no names but 0, 1, 2, ….
    """
    y = table_of(y_name, y)
    if names is None or not isinstance(y, Table) or y.names == names:
        return y
    nameless = [str(j) for j in range(len(names))]
    if set(names) != set(y.names) and nameless in (names, y.names):
        return y
    places = frames.order(x_name, names, y_name, y.names)
    return y._replace(names=list(names), values=y.values[:, places])


def aligned(x_name: str, x: Any, y_name: str, y: Any) -> tuple[Any, Any]:
    """Two sets, the columns of y in the order of those of x where both are frames."""
    x = table_of(x_name, x)
    return x, in_order(x_name, names_of(x), y_name, y)


def array(name: str, x: Any) -> NDArray[Any]:
    """Array of an engine dtype with any number of dimensions; a CUDA array stays where it is.

    float16, bfloat16, int8, uint8, float32 and float64 pass unchanged and uncopied. Other real
    numbers, bool, lists and data frames become float64. Anything else is a TypeError.
    """
    if type(x) is np.ndarray:
        return _as_engine_array(name, x)
    x = table_of(name, x)
    if isinstance(x, Table):
        return x.values
    if frames.is_series(x):
        column: NDArray[Any] = frames.table(name, x).values[:, 0]
        return column
    if _is_torch(x):
        x = _from_torch(name, x)
    elif _is_cupy(x):
        choose.require_cuda(name)
    elif says_cuda(x):
        x = _adopted(name, x)
    elif isinstance(x, np.ma.MaskedArray):
        masked = np.count_nonzero(np.ma.getmaskarray(x))
        if masked:
            raise ValueError(f"{name} has {masked} masked entries; drop or fill them")
        x = x.data
    elif hasattr(x, "toarray"):
        raise TypeError(f"{name} is a sparse {type(x).__name__}; pass {name}.toarray()")
    elif not isinstance(x, np.ndarray):
        has_own_dtype = hasattr(x, "__dlpack__") or is_rows(x)
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"{name} cannot be made an array: {error}") from None
        if not has_own_dtype and x.dtype.kind in "biuf":
            x = x.astype(np.float64, copy=False)
    return _as_engine_array(name, x)


def _as_engine_array(name: str, x: Any) -> NDArray[Any]:
    """An array, in host memory or on a device, as one of an engine dtype."""
    if type(x) is np.ndarray or not _is_cupy(x):
        x = guarded(name, np.asarray(x))
    dtype = _engine_dtype(name, x.dtype)
    if dtype != x.dtype:
        x = narrowed(x, dtype)  # what float64 does not hold is Inf, and found as such
    if isinstance(x, np.ndarray) and not x.flags.aligned:
        x = x.copy()
    engine_array: NDArray[Any] = x
    return engine_array


def _check_shape(name: str, shape: tuple[int, ...], given: Any = None) -> None:
    if len(shape) != 2:
        hint = f"; for one feature pass {name}[:, None]" if len(shape) == 1 else ""
        if frames.is_series(given):
            label = getattr(given, "name", None)
            hint = f"; for one feature pass frame[[{'name' if label is None else repr(label)}]]"
        raise ValueError(
            f"{name} must be 2-D (rows, features), got {len(shape)}-D with shape {shape}{hint}"
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty: it has {shape[0]} rows and {shape[1]} columns")


def matrix(
    name: str,
    x: Any,
    *,
    check_finite: Finite = True,
    workers: int = 1,
    blocks: bool | Literal["device"] = False,
    sparse: bool = True,
    now: bool = True,
    sample: bool = False,
) -> Any:
    """`array`, and a ValueError unless it is 2-D with rows, columns and only finite values.

    With `blocks`, a set that is not in memory, or `sparse`, stays so, as `Rows` that are checked
    when read. `metrics.resolve` refuses sparse ones of other metrics. With "device" only what a GPU
    that is chosen does not hold stays so, and is read once here to be checked. With `now=False`,
    what is in memory is left to the backend's knn to check. Of a `sample`, 1-D is one feature.
    """
    x = table_of(name, x)
    in_memory = type(x) is np.ndarray
    device = blocks == "device"
    if device:
        blocks, sparse = not in_memory and _beyond_the_device(x), False
    outside = blocks and not in_memory and _stays_outside(x, sparse)
    if outside:
        shape = tuple(x.shape)
        _check_shape(name, (*shape, 1) if sample and len(shape) == 1 else shape)
        rows = Rows(name, x, _engine_dtype(name, np.dtype(x.dtype)), check_finite=check_finite)
        if device:
            _look_at(rows, workers)
        return rows
    if blocks and sparse and not in_memory and hasattr(x, "tocsr") and not is_csr(x):
        raise TypeError(
            f"{name} is a sparse {type(x).__name__}; pass {name}.toarray(), or {name}.tocsr() to "
            "metrics cosine and inner_product"
        )
    a = array(name, x)
    if sample and a.ndim == 1:
        a = a[:, None]
    _check_shape(name, a.shape, x)
    # The name, not the kind: bfloat16 is a float whose kind NumPy does not know.
    if (now or isinstance(x, Table)) and check_finite and "float" in _name_of(a.dtype):
        what, bad = "Inf", -1
        if check_finite == "but NaN":
            bad = first_infinite(a)
        else:
            what, bad = "NaN or Inf", choose.module(a).first_nonfinite(a, workers=workers)
        require_finite(name, bad, what=what, where=_where(x, a, bad, what))
    return a


def _beyond_the_device(x: Any) -> bool:
    """Whether x is rows in files of which a GPU that is chosen should hold no copy.

    Those of a memory map are read as an array is.
    """
    if choose.backend() != "cuda" or isinstance(x, np.ndarray) or not is_rows(x):
        return False
    if len(x.shape) < 2 or x.shape[1] == 1:  # a column, which is sorted
        return False
    held: int = math.prod(x.shape) * np.dtype(x.dtype).itemsize
    return held > int(choose.module().host_room(0))


def _look_at(rows: Rows, workers: int) -> None:
    """ValueError for the first row that holds NaN or Inf, if they are to be checked."""
    if rows.checked < len(rows):
        for some in rows.parts():
            load(rows, some, workers)


def _stays_outside(x: Any, sparse: bool) -> bool:
    """Whether a set that may be read block by block is one."""
    return is_rows(x) or (sparse and is_csr(x))


def _where(x: Any, a: NDArray[Any], row: int, what: str) -> str:
    """The label of a bad row and the columns that make it bad, of a frame."""
    if not isinstance(x, Table) or row < 0:
        return ""
    label = "" if x.labels is None else f" (label {x.labels[row]})"
    at_fault = np.isinf(a[row]) if what == "Inf" else ~np.isfinite(a[row])
    names = [repr(x.names[j]) for j in np.flatnonzero(at_fault)[:10]]
    return f"{label}, in {'column' if len(names) == 1 else 'columns'} {', '.join(names)}"


def sets(arguments: Mapping[str, Any], **options: Any) -> list[Any]:
    """A `matrix` for each argument by its name, all with the columns of the first.

    Frames are put in the order of the names of the first one.
    """
    given = {name: table_of(name, x) for name, x in arguments.items()}
    framed = next((name for name, x in given.items() if isinstance(x, Table)), "")
    names = names_of(given.get(framed))
    ordered = {name: in_order(framed, names, name, x) for name, x in given.items()}
    found = {name: matrix(name, x, **options) for name, x in ordered.items()}
    (first, a), *others = found.items()
    for name, b in others:
        check_alike(first, a, name, b)
    return list(found.values())


def pair(x_name: str, x: Any, y_name: str, y: Any, **options: Any) -> tuple[Any, Any]:
    """Two matrices with the same columns, on the same device; with the options of `matrix`."""
    if type(x) is type(y) is np.ndarray:  # with no names to go by
        a, b = matrix(x_name, x, **options), matrix(y_name, y, **options)
        check_alike(x_name, a, y_name, b)
        return a, b
    a, b = sets({x_name: x, y_name: y}, **options)
    return a, b


def streamed(
    x_name: str, x: Any, y_name: str, y: Any, memory_limit: int, *, y_check: Finite = False
) -> tuple[Any, Any]:
    """Host arrays that are too large for the GPU that is chosen as `Rows`; others as they are.

    Of two sets, or of one where y is None; under a limit copies are part of it. They were looked
    at, unless `y_check` says what y is to be searched for when it is read.
    """
    given = {x_name: x} if y is None else {x_name: x, y_name: y}
    if choose.backend() != "cuda" or not all(isinstance(s, np.ndarray) for s in given.values()):
        return x, y
    if sum(s.nbytes for s in given.values()) <= choose.module().host_room(memory_limit):
        return x, y
    checks = (False, y_check)
    first, *second = (
        Rows(name, s, s.dtype, check_finite=check)
        for (name, s), check in zip(given.items(), checks, strict=False)
    )
    return first, second[0] if second else None


def check_alike(x_name: str, a: Any, y_name: str, b: Any) -> None:
    """Raise unless two matrices have the same number of columns and are on the same device."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{x_name} has {a.shape[1]} columns and {y_name} has {b.shape[1]}; "
            "both need the same features"
        )
    if type(a) is type(b) is np.ndarray:
        return
    x_place, y_place = _place(a), _place(b)
    if x_place != y_place:
        raise TypeError(f"{x_name} is {x_place} and {y_name} {y_place}; both must be on one device")


def _place(a: Any) -> str:
    """Where a validated set is."""
    return f"on CUDA device {a.device.id}" if _is_cupy(a) else "in host memory"


def extremes(*arrays: Any) -> list[float]:
    """The largest and the smallest numbers of validated arrays, read from a device at once."""
    found = [
        extreme
        for a in arrays
        for some in (map(a.read, a.parts()) if isinstance(a, Rows) else [a])
        for extreme in (some.max(), some.min())
    ]
    if in_host_memory(*arrays):
        return [float(extreme) for extreme in found]
    cupy = sys.modules["cupy"]
    together: list[float] = cupy.stack([cupy.asarray(v, cupy.float64) for v in found]).tolist()
    return together


def near_one(*arrays: Any) -> tuple[list[Any], float]:
    """The matrices in a unit, a power of two, in which squares of distances fit float64.

    None of them is touched unless the largest number of all is beyond 2^±240.
    """
    if all(a is None or a.dtype.name != "float64" for a in arrays):
        return list(arrays), 1.0
    largest = max(map(abs, extremes(*(a for a in arrays if a is not None))))
    if largest == 0 or not math.isfinite(largest) or 2.0**-240 <= largest <= 2.0**240:
        return list(arrays), 1.0
    # of which the reciprocal is a number, too
    unit = 2.0 ** min(max(math.frexp(largest)[1], -1021), 1023)
    return [None if a is None else a[:].astype(np.float64) * (1 / unit) for a in arrays], unit


def in_host_memory(*arrays: Any) -> bool:
    """Whether none of the validated arrays is on a CUDA device."""
    return not any(_is_cupy(a) for a in arrays)


def taken(a: Any, rows: NDArray[np.int64]) -> Any:
    """A copy of these rows of a validated array, where it is."""
    if isinstance(a, Rows):
        return a.taken(rows)
    return a[_to_cupy(rows, a.device)] if _is_cupy(a) else a[rows]


def columns(a: Any, which: NDArray[np.int64]) -> Any:
    """A copy of these columns of a validated array, where it is; in memory of `Rows`."""
    if isinstance(a, Rows):
        return a.columns(which)
    return a[:, _to_cupy(which, a.device)] if _is_cupy(a) else a[:, which]


def working_dtype(*arrays: NDArray[Any]) -> np.dtype[Any]:
    """float64 as soon as one of the validated arrays is float64, else float32."""
    wide = any(_name_of(a.dtype) == "float64" for a in arrays)
    return np.dtype(np.float64 if wide else np.float32)


def narrowed(values: Any, dtype: Any) -> Any:
    """Values rounded to a dtype, those beyond its range to infinity or zero."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype)


def _sets_kind(x: object) -> bool:
    """Whether results are of the kind of this input."""
    return _is_torch(x) or _is_cupy(x) or says_cuda(x)


def like(*inputs: Any) -> Callable[[Any], Any]:
    """How an array result leaves: as the first input that is of torch or on a device, or as it is.

    Pass the inputs as the user gave them; apply what is returned to each array result. Arrays of a
    library whose namespace is known have results of that library, others of CuPy.
    """
    given = next((x for x in inputs if type(x) is not np.ndarray and _sets_kind(x)), None)
    if given is None:
        return lambda result: result
    if _is_cupy(given):
        return lambda result: _to_cupy(result, given.device)
    if not _is_torch(given):
        device = _adopted("the input", given).device
        namespace = getattr(given, "__array_namespace__", None)
        if namespace is None:
            return lambda result: _to_cupy(result, device)
        back = namespace().from_dlpack
        return lambda result: None if result is None else back(_to_cupy(result, device))
    torch = sys.modules["torch"]

    def to_tensor(result: Any) -> Any:
        if result is None:
            return None
        if _is_cupy(result):  # DLPack orders the result after CuPy's stream
            return torch.from_dlpack(result)
        return torch.as_tensor(result, device=given.device)

    return to_tensor


def as_given(x: Any, gradient: Any) -> Any:
    """A gradient by rows in the shape in which these came in: one feature may have been 1-D."""
    if gradient is None or frames.is_frame(x):
        return gradient
    dimensions = x.ndim if hasattr(x, "ndim") else np.ndim(x)  # which asks no CuPy array
    return gradient[:, 0] if dimensions == 1 else gradient


def _to_cupy(result: Any, device: Any) -> Any:
    if result is None:
        return None
    with device:
        return sys.modules["cupy"].asarray(result)


def host(x: Any, name: str = "argument") -> NDArray[Any]:
    """NumPy copy or view of a small per-row argument, whatever it came as."""
    if _is_torch(x):
        x = _from_torch(name, _detached(name, x).cpu())
    elif _is_cupy(x):
        x = x.get()
    elif type(x) is not np.ndarray and says_cuda(x):
        x = _adopted(name, x).get()
    a: NDArray[Any] = np.asarray(x)
    if a.dtype.kind == "O" and frames.is_series(x):  # of nullable numbers, or of strings
        a = np.asarray(a.tolist())
    # the name, as in `matrix`; float32 holds what bfloat16 does
    return a.astype(np.float32) if a.dtype.name == "bfloat16" else a


def labels(name: str, values: Any, rows: str, n: int) -> NDArray[Any]:
    """1-D array of n integers (as int64) or strings, one per row of the argument called `rows`."""
    a = host(values, name)
    if a.ndim != 1 or len(a) != n:
        raise ValueError(f"{name} must have shape ({n},), one per row of {rows}, got {a.shape}")
    if a.dtype.kind in "biu":
        if a.dtype.kind == "u" and a.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} holds {a.max()}, which does not fit int64")
        return np.ascontiguousarray(a, dtype=np.int64)
    if a.dtype.kind in "OT" and all(isinstance(v, str) for v in a):
        values, a = a, np.array(a.tolist(), dtype=np.str_)
    if a.dtype.kind != "U":
        raise TypeError(f"{name} must be integers or strings, got dtype {a.dtype}")
    if values is not a and any(isinstance(v, str) and v[-1:] == "\0" for v in values):
        raise ValueError(f"{name} holds a string that ends in a null character, which NumPy drops")
    return a


def weights(name: str, w: Any, n: int, *, signed: bool = False) -> NDArray[np.float64] | None:
    """Finite float64 weights, one per row, as given (None stays None)."""
    if w is None:
        return None
    a = host(w, name)
    if a.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {a.dtype}")
    if a.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one per row, got {a.shape}")
    a = np.ascontiguousarray(a, dtype=np.float64)
    refuse_rows(name, ~np.isfinite(a))
    if not signed and a.min() < 0:
        row = int(np.argmax(a < 0))
        raise ValueError(f"{name} must not be negative, got {a[row]} in row {row}")
    return a


def unit_weights(name: str, w: Any, n: int, *, signed: bool = False) -> NDArray[np.float64] | None:
    """`weights` divided by their sum; a sum that is zero within rounding is a ValueError."""
    a = weights(name, w, n, signed=signed)
    if a is None:
        return None
    size = float(np.abs(a).max())
    if size == 0:
        raise ValueError(f"{name} sums to 0 over {n} rows; weights are divided by their sum")
    a = a / size  # so that no sum of finite weights overflows
    total = math.fsum(a)
    if abs(total) <= 2.0**-50 * math.fsum(np.abs(a)):
        raise ValueError(f"{name} sums to 0 over {n} rows; weights are divided by their sum")
    return a / total


def devices(value: Any, **arrays: Any) -> list[int] | None:
    """Numbers of CUDA devices, None for that of the arrays; only for arrays that are on one."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple, range, np.ndarray)) or np.ndim(value) != 1:
        raise TypeError(f"devices must be a list of device numbers or None, got {value!r}")
    found = [scalars.count(f"devices[{i}]", one, least=0) for i, one in enumerate(value)]
    if not found:
        raise ValueError("devices is empty; give at least one device number, or None")
    for name, a in arrays.items():
        if a is not None and not _is_cupy(a):
            raise TypeError(f"devices is for arrays on CUDA devices, and {name} is on none")
    return found
