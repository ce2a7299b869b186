"""Arguments that are memory maps: what is said when their file becomes shorter during a call.

The mapping is read as it is, page by page. The engine keeps a page that is no longer there from
ending the process; here the call that met it ends with a ValueError.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Guard:
    """What stands between a guarded array and the one it shows, for as long as the array lives."""

    def __init__(self, name: str, source: NDArray[Any], watch: Any) -> None:
        steps = [(n - 1) * step for n, step in zip(source.shape, source.strides, strict=True)]
        low = source.ctypes.data + sum(min(0, step) for step in steps)
        self._name, self._source = name, source
        self._range = watch(low, sum(map(abs, steps)) + source.itemsize)
        self.__array_interface__ = source.__array_interface__

    def check(self) -> None:
        if self._range.lost():
            raise ValueError(
                f"{self._name} is a memory map of {len(self._source)} rows, but its file has "
                "become shorter"
            )


class _Calls(threading.local):
    """The guards of the calls of a thread."""

    def __init__(self) -> None:
        self.guards: weakref.WeakSet[_Guard] = weakref.WeakSet()


_calls = _Calls()


def _is_mapped(a: NDArray[Any]) -> bool:
    base: Any = a
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return isinstance(base, mmap.mmap)


def guarded(name: str, a: NDArray[Any]) -> NDArray[Any]:
    """The array itself; of a memory map, one that `check` knows of while it lives."""
    if not a.size or not _is_mapped(a):
        return a
    watch = getattr(choose.host_module(), "WatchedRange", None)
    if watch is None:  # the engine is not installed
        return a
    guard = _Guard(name, a, watch)
    _calls.guards.add(guard)
    return np.asarray(guard).view(a.dtype)


def _guards_of(arrays: tuple[Any, ...]) -> list[_Guard]:
    found = []
    for base in arrays:
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, _Guard):
            found.append(base)
    return found


def keep(*arrays: Any) -> None:
    """Guarded arrays that outlive this call: it is said of them alone whether they are whole."""
    _calls.guards.difference_update(_guards_of(arrays))


def check(*arrays: Any) -> None:
    """ValueError if a memory map has lost rows: one of these, or of a call of this thread."""
    if not (_calls.guards or arrays):
        return
    guards = [*_calls.guards, *_guards_of(arrays)]
    _calls.guards.clear()  # a call that is over may still be held by its traceback
    for guard in guards:
        guard.check()
    _calls.guards.update(guards[: len(guards) - len(_guards_of(arrays))])
