"""How many threads a call may use: `workers=` of every function, and its default."""

from __future__ import annotations

import os

from pairtile._front import scalars

# Each costs a thread and its buffers, and no result depends on how many there are.
_MOST = 1024

_default = -1  # what ``workers=None`` stands for; -1 is every allowed core


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of every later call that leaves ``workers=None``.

    Parameters
    ----------
    n : int or None
        At least 1; None and -1 stand for all cores the process may run on.

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer, or is 0 or below -1.
    """
    global _default
    if n is not None:
        resolve_workers(n, "n")
    _default = -1 if n is None else int(n)


def resolve_workers(workers: int | None, name: str = "workers") -> int:
    """Number of threads: None is the default of `set_num_threads`, -1 every allowed core.

    More than any machine has use for count as `_MOST`.
    """
    if workers is None:
        workers = _default
    threads = scalars.count(name, workers, least=-1)
    if threads == 0:
        raise ValueError(f"{name} must be at least 1, or -1 for all allowed cores; got 0")
    return min(allowed_cores() if threads == -1 else threads, _MOST)


def allowed_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
