"""Sets that are not in memory: what counts as one, and how some of its rows are read.

A `Rows` stands where a validated array does: it has a shape and an engine dtype, and gives any
range of its rows as a fresh array. `blocks` searches it block by block.

Rows of a sparse CSR matrix become dense as they are read.

A memory map is read through its file, not through the mapping: touching a page of a mapping whose
file has become shorter kills the process, reading such a file says so.
"""

from __future__ import annotations

import mmap
import os
from io import FileIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._backends.refusals import Finite


_BLOCK = 1 << 24  # bytes of rows read at a time
# what arrays in some memory have, sparse ones and frames
_IN_MEMORY = (
    "__array_interface__", "__cuda_array_interface__", "__dlpack__", "toarray", "iloc",
)  # fmt: skip


def spans(n: int, block: int = 256) -> Iterator[slice]:
    """The rows 0..n in blocks."""
    return (slice(i, min(i + block, n)) for i in range(0, n, block))


def is_rows(x: Any) -> bool:
    """Whether x is a memory map, or has a shape, a dtype and row slicing but is no array in memory.

    h5py, zarr and dask arrays are of the second kind.
    """
    if isinstance(x, np.ndarray):
        return isinstance(x, np.memmap) and getattr(x, "_mmap", None) is not None
    if any(hasattr(x, name) for name in _IN_MEMORY):
        return False
    return hasattr(x, "shape") and hasattr(x, "__getitem__") and _has_numpy_dtype(x)


def is_csr(x: Any) -> bool:
    """Whether x is a sparse matrix or array of SciPy, in host memory and in CSR form."""
    return (
        getattr(x, "format", None) == "csr"
        and hasattr(x, "toarray")
        and isinstance(x.data, np.ndarray)
    )


def steps_of(*sets: Any) -> int:
    """What progress counts of a pass over sets: rows where one is not in memory, else the pass."""
    for s in sets:
        if isinstance(s, Rows):
            return sum(map(len, sets))
    return 1


def _has_numpy_dtype(x: Any) -> bool:
    try:
        np.dtype(x.dtype)
    except (AttributeError, TypeError):
        return False
    return True


def _opened(filename: str | os.PathLike[str] | None) -> FileIO | None:
    """The file of a memory map, None where it has no name or is no longer found under it."""
    try:
        return None if filename is None else FileIO(filename)
    except OSError:
        return None


class Rows:
    """Rows of an argument called `name`, read when they are asked for, as `dtype`."""

    def __init__(
        self, name: str, source: Any, dtype: np.dtype[Any], *, check_finite: Finite
    ) -> None:
        self.name = name
        self.source = source
        self.dtype = dtype
        if isinstance(source, np.memmap) and source.ndim == 1:
            self.source = source = source[:, None]
        n, *features = source.shape
        self.shape = int(n), int(features[0]) if features else 1  # 1-D is one feature
        stored = np.dtype(source.dtype)
        self.sparse = is_csr(source)
        self._converted = stored.name != dtype.name
        self.row_bytes = self.shape[1] * (
            stored.itemsize
            + (dtype.itemsize if self._converted else 0)
            + (4 if self.sparse and source.indices.itemsize > 4 else 0)  # copied to int32 by SciPy
        )
        chunks = getattr(source, "chunks", None)  # of h5py, zarr and dask
        first = chunks[0] if isinstance(chunks, tuple) and chunks else 1
        # rows that are stored, and read, together
        self.chunk_rows = int(first[0] if isinstance(first, tuple) else first)
        self.check = check_finite
        # the first rows of which it is known that they hold neither NaN nor Inf, or not asked
        self.checked = 0 if check_finite and "float" in dtype.name else len(self)
        # told once of each row, in order, by whoever reads it first
        self.listener: Callable[[slice, NDArray[Any]], None] | None = None
        self.heard = 0

    def __len__(self) -> int:
        return self.shape[0]

    def wide(self) -> Rows:
        """The same rows as float64, taken to be checked."""
        return Rows(self.name, self.source, np.dtype(np.float64), check_finite=False)

    def read(self, rows: slice) -> NDArray[Any]:
        """These rows in memory, of the engine dtype."""
        if isinstance(self.source, np.memmap):
            block = self._read_map(rows)
        elif self.sparse:
            block = self._read_csr(rows)
        else:
            block = np.asarray(self.source[rows.start : rows.stop])
            if len(self.source.shape) == 1:
                block = block[:, None]
        expected = (rows.stop - rows.start, self.shape[1])
        if block.shape != expected:
            raise ValueError(
                f"{self.name}[{rows.start}:{rows.stop}] has shape {block.shape} where {expected} "
                "was expected"
            )
        if self._converted:
            block = block.astype(self.dtype)
        if self.listener is not None and rows.start <= self.heard < rows.stop:
            start, self.heard = self.heard, rows.stop
            self.listener(slice(start, rows.stop), block[start - rows.start :])
        return block

    def parts(self) -> Iterator[slice]:
        """All rows, as many at a time as are worth while."""
        return spans(len(self), max(self.chunk_rows, _BLOCK // self.row_bytes))

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self.read(slice(*rows.indices(len(self))[:2]))

    def taken(self, which: NDArray[np.int64]) -> NDArray[Any]:
        """These rows, in ascending order, in memory."""
        found = np.empty((len(which), self.shape[1]), self.dtype)
        for rows in self.parts():
            first, last = np.searchsorted(which, [rows.start, rows.stop])
            if first < last:
                found[first:last] = self.read(rows)[which[first:last] - rows.start]
        return found

    def columns(self, which: NDArray[np.int64]) -> NDArray[Any]:
        """These columns of all rows in memory, of the engine dtype."""
        found = np.empty((len(self), len(which)), self.dtype)
        for rows in self.parts():
            found[rows] = self.read(rows)[:, which]
        return found

    def _read_csr(self, rows: slice) -> NDArray[Any]:
        csr = self.source
        start, stop = csr.indptr[rows.start], csr.indptr[rows.stop]
        columns = csr.indices[start:stop]
        if len(columns) and not 0 <= columns.min() <= columns.max() < self.shape[1]:
            raise ValueError(
                f"{self.name} is damaged: rows {rows.start} to {rows.stop - 1} have columns from "
                f"{columns.min()} to {columns.max()}, but there are {self.shape[1]}"
            )
        parts = csr.data[start:stop], columns, csr.indptr[rows.start : rows.stop + 1] - start
        block: NDArray[Any] = type(csr)(
            parts, shape=(rows.stop - rows.start, self.shape[1])
        ).toarray()
        return block

    def _read_map(self, rows: slice) -> NDArray[Any]:
        part = self.source[rows]
        self._check_size(self.source._mmap.size())
        if self.source.mode != "c" and part.itemsize in part.strides:
            # rows or columns are contiguous; a mapping in mode "c" has changes the file lacks
            file = _opened(self.source.filename)
            if file is not None:
                with file:
                    if self._is_mapped(file):
                        return self._read_file(file, part)
        return np.array(part, order="K", subok=False)

    def _is_mapped(self, file: FileIO) -> bool:
        """Whether the file of that name is still the one that was mapped, as far as can be seen."""
        if os.fstat(file.fileno()).st_size != self.source._mmap.size():
            return False
        first = self.source[:1]
        return bool(self._read_file(file, first).tobytes() == first.tobytes())

    def _offset(self, part: NDArray[Any]) -> int:
        """Position in the file of the first element of a part of the map."""
        mapped = np.frombuffer(self.source._mmap, np.uint8).ctypes.data
        start: int = self.source.offset - self.source.offset % mmap.ALLOCATIONGRANULARITY
        return start + part.ctypes.data - mapped

    def _check_size(self, size: int) -> None:
        """ValueError unless a file of this size holds every row."""
        last = self._offset(self.source) + sum(
            max(0, step) * (n - 1) for n, step in zip(self.shape, self.source.strides, strict=True)
        )
        if size >= last + self.source.itemsize:
            return
        row_step, column_step = self.source.strides
        found = 0
        if row_step > 0 and column_step > 0:
            last_column = self._offset(self.source) + column_step * (self.shape[1] - 1)
            found = max(0, (size - last_column - self.source.itemsize) // row_step + 1)
        raise ValueError(
            f"{self.name} is a memory map of {self.shape[0]} rows, but its file has become shorter "
            f"and holds {found} of them"
        )

    def _read_file(self, file: FileIO, part: NDArray[Any]) -> NDArray[Any]:
        by_row = part.strides[1] == part.itemsize or part.shape[1] == 1
        lines = part if by_row else part.T
        out = np.empty(lines.shape, dtype=part.dtype)
        at = self._offset(lines)
        if lines.strides[0] == out.strides[0]:
            self._fill(file, out, at)
        else:
            for i, line in enumerate(out):
                self._fill(file, line, at + i * lines.strides[0])
        return out if by_row else out.T

    def _fill(self, file: FileIO, out: NDArray[Any], at: int) -> None:
        file.seek(at)
        room = out.view(np.uint8).reshape(-1).data
        while room:
            count = file.readinto(room)
            if not count:
                self._check_size(os.fstat(file.fileno()).st_size)
                raise ValueError(f"{self.name}: its file ended at byte {file.tell()}")
            room = room[count:]
