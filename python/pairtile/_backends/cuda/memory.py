"""Arrays in device memory, and how `_cuda` is given them: addresses, strides, the stream."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.refusals import require_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report


_SMALL = 1 << 16  # bytes of what does not grow with the data, and of what CuPy rounds up


@contextmanager
def device_of(*arrays: Any, limited: bool = False) -> Iterator[None]:
    """On the device that all of them are on, the current one for host arrays.

    Where that is out of memory, or none that the module has code for, the error says what helps.
    `limited` is a call that takes a memory limit.
    """
    found = {a.device.id for a in arrays if hasattr(a, "device") and not isinstance(a, np.ndarray)}
    if len(found) > 1:
        raise TypeError(f"arrays are on CUDA devices {sorted(found)}; they must be on one")
    device = cupy.cuda.Device(found.pop() if found else None)
    with device:
        try:
            yield
        except MemoryError as error:
            of_cupy = type(error).__module__.partition(".")[0] == "cupy"
            if not of_cupy and not isinstance(error, _cuda.OutOfMemory):
                raise
            raise MemoryError(_out_of_memory(device.id, error, limited)) from error
        except _cuda.NotBuilt as error:
            raise RuntimeError(_not_built(device.id, error)) from error


def _out_of_memory(device: int, error: MemoryError, limited: bool) -> str:
    free, total = cupy.cuda.runtime.memGetInfo()
    hint = "; memory_limit= bounds the workspace, in bytes" if limited else ""
    return (
        f"CUDA device {device} has {free:,} of its {total:,} bytes free for the inputs, results "
        f"and workspace of this call: {error}{hint}"
    )


def _not_built(device: int, error: RuntimeError) -> str:
    found = cupy.cuda.runtime.getDeviceProperties(device)
    name, major, minor = found["name"].decode(), found["major"], found["minor"]
    return (
        f"CUDA device {device} ({name}) has compute capability {major}.{minor}, which this build "
        f"of pairtile does not serve: it was built for {', '.join(_cuda.architectures())}. Build "
        f"it with -C cmake.define.PAIRTILE_CUDA_ARCHITECTURES={major}{minor} ({error})"
    )


def least_memory(d: int, k: int) -> int:
    """Bytes of workspace of the smallest batch: a list of k for each of 32 queries."""
    lists: int = _cuda.workspace("knn", 32, 1, k)
    return lists + 8 * d + _SMALL


def host_room(memory_limit: int) -> int:
    """Bytes that copies of host arrays may take: the limit, without one half of what is free."""
    free: int = cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()
    return memory_limit or free // 2


def workspace_within(memory_limit: int, d: int, k: int) -> int:
    """What a limit leaves for batches, 0 without one; ValueError where that is too little."""
    require_memory(memory_limit, least_memory(d, k))
    return memory_limit and memory_limit - 8 * d - _SMALL


def device_count() -> int:
    """CUDA devices of this machine, 0 without a driver."""
    try:
        count: int = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
    return count


def current_stream() -> tuple[int, int]:
    """Current device and stream."""
    return cupy.cuda.Device().id, cupy.cuda.get_current_stream().ptr


def address(a: Any) -> int:
    """Device pointer, 0 for None."""
    return 0 if a is None else int(a.data.ptr)


def addresses(pair: tuple[Any, Any]) -> tuple[int, int]:
    """Device pointers of what belongs to the queries and to the references."""
    return address(pair[0]), address(pair[1])


def upload(a: NDArray[Any] | None) -> Any:
    """Native, contiguous copy on the device; as plain bits, because CuPy may lack the dtype."""
    if a is None:
        return None
    native = np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("="))
    return cupy.asarray(native.view(f"u{native.itemsize}"))


def float64(a: Any) -> Any:
    """Numbers of either memory as contiguous float64 on the device."""
    return None if a is None else cupy.asarray(a, dtype=cupy.float64, order="C")


def stable_order(values: Any) -> Any:
    """The order of the values, equal ones as they come."""
    order = cupy.argsort(values)
    ascending = values[order]
    # runs of equal values, each in the order of its places
    starts = cupy.concatenate([cupy.zeros(1, cupy.int64), ascending[1:] != ascending[:-1]])
    runs = cupy.cumsum(starts.astype(cupy.int64))
    return order[cupy.argsort(runs * len(values) + order)]


def to_input_namespace(x: Any, *results: Any) -> tuple[Any, ...]:
    """The results as the kind of array that x is."""
    if not isinstance(x, np.ndarray):
        return results
    return tuple(None if result is None else result.get() for result in results)


class Rows:
    """A matrix in device memory, and how `_cuda` is given it."""

    def __init__(self, x: Any, dtype: str | None = None) -> None:
        self.dtype = dtype or x.dtype.name  # of memory that may be plain bits
        memory = upload(x) if isinstance(x, np.ndarray) else cupy.asarray(x)
        if any(step % memory.itemsize for step in (address(memory), *memory.strides)):
            memory = memory.copy()  # a load must be aligned
        self.memory = memory
        self.n, self.d = memory.shape
        self.view = (address(memory), *memory.shape, *memory.strides, self.dtype)

    def part(self, first: int, stop: int) -> tuple[Any, ...]:
        """How `_cuda` is given the rows [first, stop)."""
        start, _, columns, step, *others = self.view
        return start + first * step, stop - first, columns, step, *others

    def scales(self, *, centred: bool = False) -> Any:
        """What to divide by where rows are L2-normalised, less their means before if `centred`."""
        out = cupy.empty(self.n * _cuda.scale_bytes, dtype=cupy.uint8)
        _cuda.row_scales(self.view, centred, address(out), current_stream())
        return out

    def sample(self, most: int = 64) -> NDArray[np.float64]:
        """Some rows in float64, in host memory."""
        taken = cupy.asnumpy(self.memory[:: -(-self.n // most)])
        if taken.dtype.name != self.dtype:  # uploaded as plain bits
            taken = taken.view(self.dtype)
        sample: NDArray[np.float64] = taken.astype(np.float64)
        return sample

    def survey(self) -> tuple[int, float]:
        """First row with NaN or Inf (-1: none), and the largest finite magnitude."""
        out = cupy.empty(2, dtype=cupy.int64)
        _cuda.survey(self.view, address(out), current_stream())
        first_bad, largest = out.get()
        return int(first_bad), float(largest.view(np.float64))


def workspace(
    statistic: str, batches: Iterable[tuple[int, int]], *references: int, k: int = 0, limit: int = 0
) -> Any:
    """Enough for each of the batches against each of the reference sets, by their sizes."""
    heights = {stop - first for first, stop in batches}
    sizes = (_cuda.workspace(statistic, rows, m, k, limit) for rows in heights for m in references)
    return cupy.empty(max(sizes), dtype=cupy.uint8)


def held_memory(batches: list[tuple[int, int]], references: int, blocks: int = 1) -> Any:
    """Room for blocks of pairs of a batch, and how `_cuda` is given it."""
    rows = max(stop - first for first, stop in batches)
    whole = (rows + 31) // 32 * ((references + 31) // 32) * 1024
    pairs = max(min(_cuda.held_pairs, whole), (rows + 31) // 32 * 1024)  # tiles of 32 x 32
    numbers = cupy.empty(blocks * pairs + _cuda.held_state_numbers, dtype=cupy.float64)
    return numbers, (address(numbers), pairs)


def in_launches(
    batches: list[tuple[int, int]],
    progress: Report | None,
    before: int = 0,
    total: int | None = None,
) -> Iterator[tuple[int, int]]:
    """The batches, each awaited before the next is launched.

    Reported in rows: with those `before` in sweeps that are done, of a `total` over all sweeps.
    """
    n = batches[-1][1]
    for first, stop in batches:
        yield first, stop
        if stop < n or progress is not None:
            cupy.cuda.get_current_stream().synchronize()
        if progress is not None:
            progress(before + stop, total or n)
