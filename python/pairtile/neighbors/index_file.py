"""The file of a `NeighborIndex`: one header, and blocks of memory to be mapped as they lie.

    magic · format version · header length · file size · checksum     28 bytes, little-endian
    header     JSON: what the blocks belong to, dtype, shape and offset of each, and checksums
    blocks     C-contiguous, little-endian, each at a multiple of 64 bytes

Nothing a file says is believed: lengths and offsets are checked against its size before they are
used, and all that follows the header against a CRC-32 of every 16 MB, unless the caller does
without. Blocks that are needed are the references; the panels of their rows, and the order of rows
with its boxes, are there where the index had them. Version 3 came with the order: files of earlier
ones are refused.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import secrets
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAGIC = b"pairtile"
VERSION = 3
_PREAMBLE = struct.Struct("<8sIIQI")
_ALIGNMENT = 64
_CHUNK = 1 << 24  # bytes converted at a time
_DTYPES = ("float16", "bfloat16", "int8", "uint8", "int64", "float32", "float64")


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _checksum(length: int, size: int, header: bytes) -> int:
    return zlib.crc32(struct.pack("<IQ", length, size) + header)


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes  # after which NumPy knows the name

        name = ml_dtypes.bfloat16
    return np.dtype(name).newbyteorder("<")


def write(
    path: str | os.PathLike[str], facts: Mapping[str, Any], blocks: Mapping[str, NDArray[Any]]
) -> None:
    """Write beside the path and rename, so that no reader ever sees half a file."""

    def table(header_length: int, checksums: list[str] | None = None) -> tuple[bytes, int]:
        end, entries = _PREAMBLE.size + header_length, {}
        for name, block in blocks.items():
            offset = _aligned(end)
            entries[name] = {"dtype": block.dtype.name, "shape": block.shape, "offset": offset}
            end = offset + block.nbytes
        if checksums is None:
            checksums = ["0" * 8] * -(-(end - start(header_length)) // _CHUNK)
        return json.dumps({**facts, "blocks": entries, "checksums": checksums}).encode(), end

    def start(header_length: int) -> int:
        return _PREAMBLE.size + header_length

    # offsets depend on the length of the header, in which they stand: leave them some room
    length = len(table(0)[0]) + 16 * (len(blocks) + 1)
    size = table(length)[1]
    path = os.fspath(path)
    draft = f"{path}.{secrets.token_hex(8)}"
    try:
        with open(draft, "x+b") as file:
            file.seek(start(length))
            for block in blocks.values():
                file.seek(_aligned(file.tell()))
                _write_block(file, block)
            file.seek(start(length))
            parts = iter(lambda: file.read(_CHUNK), b"")
            header = table(length, [f"{zlib.crc32(part):08x}" for part in parts])[0].ljust(length)
            checksum = _checksum(length, size, header)
            file.seek(0)
            file.write(_PREAMBLE.pack(MAGIC, VERSION, length, size, checksum) + header)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _write_block(file: BinaryIO, block: NDArray[Any]) -> None:
    dtype = _dtype(block.dtype.name)
    rows = max(1, _CHUNK // max(1, block.nbytes // len(block)))
    for start in range(0, len(block), rows):
        part = np.ascontiguousarray(block[start : start + rows], dtype=dtype)
        file.write(part.view(np.uint8).data)


def read(
    path: str | os.PathLike[str], *, verify: bool, workers: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Facts of the header, and the blocks as read-only views of the mapped file.

    To `verify` is to read the file once, by as many threads as there are `workers`.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        preamble = file.read(_PREAMBLE.size)
        if not preamble or preamble[: len(MAGIC)] != MAGIC[: len(preamble)]:
            raise ValueError(f"{path} is not a file of a NeighborIndex")
        if len(preamble) < _PREAMBLE.size:
            raise ValueError(f"{path} is truncated: it ends after {size} bytes")
        _, version, length, expected, checksum = _PREAMBLE.unpack(preamble)
        if version != VERSION:
            how = "build the index again" if version < VERSION else "it is of a later pairtile"
            raise ValueError(
                f"{path} has format version {version}; this pairtile reads version {VERSION}: {how}"
            )
        if size < expected:
            raise ValueError(f"{path} is truncated: it has {size} bytes of {expected}")
        # a length beyond the file reads what there is, which has another checksum
        header = file.read(min(length, size))
        if size != expected or checksum != _checksum(length, size, header):
            raise ValueError(f"{path} is damaged: its header does not match its checksum")
        memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        try:
            facts = json.loads(header)
            entries = facts.pop("blocks")
            checksums = facts.pop("checksums", [])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        if verify:
            _verify(path, file, _PREAMBLE.size + length, size, checksums, workers)
    try:
        return facts, {name: _view(memory, **entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _verify(path: str, file: BinaryIO, start: int, size: int, checksums: Any, workers: int) -> None:
    """ValueError unless the checksums are those of the file from `start` on."""

    def damaged(which: tuple[int, Any]) -> bool:
        at, expected = which
        part = os.pread(file.fileno(), min(_CHUNK, size - at), at)
        return bool(f"{zlib.crc32(part):08x}" != expected)

    starts = range(start, size, _CHUNK)
    if not isinstance(checksums, list) or len(checksums) != len(starts):
        raise ValueError(f"{path} is damaged: it has not a checksum for every {_CHUNK} bytes")
    with ThreadPoolExecutor(workers) as pool:
        try:
            for at, bad in zip(
                starts, pool.map(damaged, zip(starts, checksums, strict=True)), strict=True
            ):
                if bad:
                    raise ValueError(
                        f"{path} is damaged: bytes {at} to {min(at + _CHUNK, size) - 1} do not "
                        "match their checksum"
                    )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _view(memory: mmap.mmap, dtype: Any, shape: Any, offset: Any) -> NDArray[Any]:
    if dtype not in _DTYPES or not all(isinstance(n, int) and n > 0 for n in [offset, *shape]):
        raise ValueError(f"no block can be {dtype} of shape {shape} at {offset}")
    count, kind = math.prod(shape), _dtype(dtype)
    if offset % _ALIGNMENT or offset + count * kind.itemsize > len(memory):
        raise ValueError(f"a block of {count} {dtype} at {offset} is not inside the file")
    return np.frombuffer(memory, dtype=kind, count=count, offset=offset).reshape(shape)
