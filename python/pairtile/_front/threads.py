"""How many threads a call may use: `workers=` of every function, and its default.

The default is the environment variable ``PAIRTILE_NUM_THREADS``, without it every core that the
process may use: those of its affinity, or fewer where a container grants less time than that.
"""

from __future__ import annotations

import functools
import math
import os

from pairtile._front import scalars

# Each costs a thread and its buffers, and no result depends on how many there are.
_MOST = 1024

_default = -1  # what ``workers=None`` stands for; -1 is every allowed core


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of every later call that leaves ``workers=None``.

    The environment variable ``PAIRTILE_NUM_THREADS`` makes the same choice at import.

    Parameters
    ----------
    n : int or None
        At least 1; None and -1 stand for all cores the process may use: those of its affinity, or
        as many as its control group (a container's quota) grants time of, if that is less.

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
    """Cores that this process may use; a share of one counts as one."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1  # which reads a file
    return math.ceil(min(cores, granted_cores()))


@functools.cache
def granted_cores(root: str = "/") -> float:
    """Cores whose time Linux's control groups grant this process, infinity without a limit.

    The least of its group's and of those above it, in either version of control groups. Read once.
    """
    try:
        lines = _text(root, "proc", "self", "cgroup").splitlines()
    except OSError:
        return math.inf
    granted = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = path.strip("/").split("/")
        for depth in range(len(group) + 1):
            # A container sees its own group as the top one, whatever the path says.
            folder = os.path.join(root, "sys", "fs", "cgroup", controllers, *group[:depth])
            granted = min(granted, _granted_by(folder))
    return granted


def _text(*path: str) -> str:
    with open(os.path.join(*path)) as file:
        return file.read()


def _granted_by(folder: str) -> float:
    """Cores granted by one control group: microseconds of each period."""
    try:
        if os.path.exists(os.path.join(folder, "cpu.max")):
            quota, period = _text(folder, "cpu.max").split()
        else:
            quota, period = (_text(folder, f"cpu.cfs_{n}_us") for n in ("quota", "period"))
        cores = int(quota) / int(period)
    except (OSError, ValueError):  # no such group, or "max"
        return math.inf
    return cores if cores > 0 else math.inf


def _start() -> None:
    wanted = os.environ.get("PAIRTILE_NUM_THREADS", "")
    try:
        set_num_threads(int(wanted) if wanted else None)
    except ValueError:
        raise ImportError(
            f"PAIRTILE_NUM_THREADS={wanted!r} must be a number of threads, or -1 for all cores"
        ) from None


_start()
