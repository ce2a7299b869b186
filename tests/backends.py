"""Run one call on the compiled engine and on its NumPy twin, or under tiles of a forced size."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pairtile as pt

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

    _native.set_tile(rows, cols)
    try:
        yield
    finally:
        _native.set_tile(0, 0)


def native_and_twin(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, Any]:
    """Results of the same call on the compiled engine and on NumPy."""
    with on_backend("native"):
        native = call(*args, **options)
    with on_backend("numpy"):
        twin = call(*args, **options)
    return native, twin
