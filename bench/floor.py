"""The yardsticks: how fast this machine multiplies matrices and moves sort keys, in this very run.

A time on its own says little about code and much about the machine. `harness` asks the measuring
process for these two rates in every round, between the contenders, so that a slow minute of the
machine slows yardstick and contender alike.
"""

import time
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

COPIES = 200


@lru_cache(maxsize=1)
def _operands(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal((3, size, size), dtype=np.float32)
    return a, b, out


def sgemm_rate(size: int) -> float:
    """Flops per second of one float32 matrix product of `size`³, on all threads of NumPy's BLAS."""
    a, b, out = _operands(size)
    np.matmul(a[:256], b, out=out[:256])  # wakes the thread pool and touches the memory
    start = time.perf_counter()
    np.matmul(a, b, out=out)
    return 2.0 * size**3 / (time.perf_counter() - start)


def copy_rate(keys: int, threads: int) -> float:
    """Bytes per second read plus written when each thread copies float32 arrays of `keys` entries.

    One thread is measured and its rate multiplied: the arrays of one projection lie in the core's
    own cache, which the threads do not share.
    """
    source = np.ones(keys, dtype=np.float32)
    target = np.zeros_like(source)
    start = time.perf_counter()
    for _ in range(COPIES):
        np.copyto(target, source)
    return threads * 2.0 * source.nbytes * COPIES / (time.perf_counter() - start)
