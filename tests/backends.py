"""Run one call on the compiled engine and on its NumPy twin, or cut into small blocks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

import pairtile as pt
from pairtile._backends.blocks import neighbors as blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_backend(name: str) -> Iterator[None]:
    """Serve every call inside from this backend."""
    before = pt.backend()
    pt.set_backend(name)
    try:
        yield
    finally:
        pt.set_backend(before)


@contextlib.contextmanager
def forced_tile(rows: int, cols: int) -> Iterator[None]:
    """Cut the work of every native call inside into small blocks; (0, 0) lets the plan choose."""
    from pairtile import _native

    _native._testing.set_tile(rows, cols)
    try:
        yield
    finally:
        _native._testing.set_tile(0, 0)


def native_and_twin(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, Any]:
    """Results of the same call on the compiled engine and on NumPy."""
    with on_backend("native"):
        native = call(*args, **options)
    with on_backend("numpy"):
        twin = call(*args, **options)
    return native, twin


@contextlib.contextmanager
def blocks_of(queries: int, references: int, merged: int = 20) -> Iterator[None]:
    """Read sets that are not in memory so many rows at a time, whatever memory there is."""
    choose = blocks._cut

    def forced(q: Any, r: Any, *args: Any, **options: Any) -> Any:
        rows = queries if r is None else references
        cut = choose(q, r, *args, **options)
        return cut._replace(queries=queries, references=rows, merged=merged)

    blocks._cut = forced
    try:
        yield
    finally:
        blocks._cut = choose


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def assert_same_bits(found: Any, expected: Any) -> None:
    for a, b in zip(parts(found), parts(expected), strict=True):
        assert type(a) is type(b)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            assert a.tobytes() == b.tobytes()
        else:
            assert a == b
