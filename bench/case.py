"""What every case is: the inputs, the work they imply, and how wrong an answer is.

`harness` lets one process `make` the arrays and the float64 `reference` of a case and store both;
every contender loads the same files, is timed on the function of its module named `task`, and has
its last answer judged by `errors`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

SEED = 20240607
LEAST_ROWS = 32
BLOCK = 512  # rows at a time in the float64 references
JUDGED = 64  # rows whose neighbours or gradients are compared with float64


@dataclass(frozen=True)
class Case:
    """One line of the benchmark. Sizes are the fields; `n` and `m` are numbers of rows."""

    n: int
    m: int
    d: int

    family: ClassVar[str]
    task: ClassVar[str]
    tolerances: ClassVar[dict[str, float]]  # an answer of ours beyond these is a failure
    large: ClassVar[bool] = False

    def scaled(self, scale: float) -> Self:
        """Return the same case with the numbers of rows multiplied by `scale`."""
        return replace(
            self,
            n=max(LEAST_ROWS, round(self.n * scale)),
            m=max(LEAST_ROWS, round(self.m * scale)),
        )

    @property
    def contenders(self) -> tuple[str, ...]:
        """Who enters: us, peers, and those outside the comparison (`bench.peers.OUTSIDE`)."""
        raise NotImplementedError

    @property
    def in_grid(self) -> bool:
        """Whether it counts in the geometric mean of its family."""
        return False

    @property
    def source(self) -> Self:
        """Return the case that makes the arrays and the reference; cases may share one."""
        return self

    @property
    def asks_often(self) -> bool:
        """Whether an index built beforehand is worth timing: there are few queries per call."""
        return False

    @property
    def title(self) -> str:
        return f"{self.family}: {self.n} + {self.m} rows, d={self.d}, float32"

    @property
    def flops(self) -> float:
        """Count the unavoidable multiply-adds, times two: what sgemm would be charged for.

        Zero where the work is of another kind: there is no floor then.
        """
        raise NotImplementedError

    @property
    def keys(self) -> int:
        """Number of keys that are sorted."""
        return 0

    def make(self) -> Arrays:
        """Draw the inputs; the same on every machine."""
        rng = np.random.default_rng(SEED)
        x = rng.standard_normal((self.n, self.d), dtype=np.float32)
        y = rng.standard_normal((self.m, self.d), dtype=np.float32)
        y += np.float32(0.1)
        return {"x": x, "y": y}

    def reference(self, arrays: Arrays) -> Arrays:
        """Compute in float64 what `errors` compares with."""
        raise NotImplementedError

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        """Compare a contender's answer with the float64 one; names as in `tolerances`."""
        value = float(reference["value"])
        return {"relative": abs(float(result) - value) / abs(value)}


def squared_distances(
    x: NDArray[Any], y: NDArray[Any]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (first row, d² to all of y) block by block.

    The expansion through norms is accurate enough in float64: the inputs are centred, float32, and
    no two rows are close.
    """
    wide = y.astype(np.float64)
    norms = np.einsum("ij,ij->i", wide, wide)
    for first in range(0, len(x), BLOCK):
        rows = x[first : first + BLOCK].astype(np.float64)
        block = rows @ wide.T
        block *= -2
        block += norms
        block += np.einsum("ij,ij->i", rows, rows)[:, None]
        yield first, np.maximum(block, 0, out=block)


def pairs(n: int, m: int) -> float:
    """Unordered pairs of the pooled sample, each counted once, the diagonals included."""
    return n * n / 2 + m * m / 2 + n * m
