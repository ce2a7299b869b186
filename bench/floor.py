"""The yardsticks: how fast this machine multiplies matrices and moves sort keys, in this very run.

A time on its own says little about code and much about the machine. `harness` asks the measuring
process for these two rates in every round, between the contenders, so that a slow minute of the
machine slows yardstick and contender alike.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

COPIED = 1 << 27  # bytes read and written by each thread


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

    Short ones stay in the core's own cache; for long ones the threads share the memory.
    """
    copies = max(2, COPIED // (8 * keys))
    arrays = [np.ones((2, keys), dtype=np.float32) for _ in range(threads)]

    def copy(pair: NDArray[np.float32]) -> None:
        for _ in range(copies):
            np.copyto(pair[1], pair[0])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, arrays))  # touches the memory
        start = time.perf_counter()
        list(pool.map(copy, arrays))
        return threads * 8.0 * keys * copies / (time.perf_counter() - start)
