"""The sliced cases: means over directions in their variants, and columns that are lines already."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bench.case import SEED, Arrays, Case


class Pieces(NamedTuple):
    """Which mass goes where: `mass` from the rows of x to those of y, in the order of both."""

    of_x: NDArray[np.int64]
    of_y: NDArray[np.int64]
    mass: NDArray[np.float64]


def pieces(x_levels: NDArray[Any], y_levels: NDArray[Any]) -> Pieces:
    """Merge two quantile functions, given the mass up to each of their steps.

    Levels of equal steps may be whole numbers, of one sample times the size of the other.
    """
    levels = np.concatenate([x_levels, y_levels])
    levels.sort(kind="stable")  # of two runs: a merge
    mass = np.diff(levels, prepend=levels.dtype.type(0)) / levels[-1]
    kept = mass > 0
    below = levels[kept] - mass[kept] * levels[-1] / 2  # the middle of each piece
    of_x, of_y = (np.searchsorted(steps, below) for steps in (x_levels, y_levels))
    last_x, last_y = len(x_levels) - 1, len(y_levels) - 1
    return Pieces(np.minimum(of_x, last_x), np.minimum(of_y, last_y), mass[kept])


def even_pieces(n: int, m: int) -> Pieces:
    """The pieces of n rows against m, all of one weight: the same along every direction."""
    return pieces(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)


def weighted_pieces(x_weights: NDArray[np.float64], y_weights: NDArray[np.float64]) -> Pieces:
    """The pieces of rows with weights, both in the order of a direction."""
    x_levels, y_levels = np.cumsum(x_weights), np.cumsum(y_weights)
    return pieces(x_levels / x_levels[-1], y_levels / y_levels[-1])


@dataclass(frozen=True)
class Sliced(Case):
    """The sliced 2-Wasserstein distance over given directions."""

    directions: int
    weighted: bool = False

    family = "sliced"
    task = "sliced"
    contenders: ClassVar[tuple[str, ...]] = ("pairtile", "pot", "numpy", "torch")
    tolerances: ClassVar = {"relative": 1e-5}
    gradient: ClassVar[bool] = False

    @property
    def title(self) -> str:
        text = f"{super().title}, W₂, {self.directions} directions"
        return text + ", weights" * self.weighted + ", with gradient" * self.gradient

    @property
    def flops(self) -> float:
        """Count the projection, and the way back of a gradient; the sort is priced by `keys`."""
        return 2.0 * (self.n + self.m) * self.d * self.directions * (1 + self.gradient)

    @property
    def keys(self) -> int:
        """Count a row number as a key where one goes with each."""
        return (self.n + self.m) * self.directions * (1 + (self.weighted or self.gradient))

    def make(self) -> Arrays:
        rng = np.random.default_rng(SEED + 1)
        directions = rng.standard_normal((self.d, self.directions))
        directions /= np.linalg.norm(directions, axis=0)
        arrays = super().make() | {"directions": directions.astype(np.float32)}
        if self.weighted:
            arrays |= {"x_weights": rng.random(self.n), "y_weights": rng.random(self.m)}
        return arrays

    def reference(self, arrays: Arrays) -> Arrays:
        x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
        met = even_pieces(self.n, self.m)
        cost, slopes = 0.0, (np.zeros_like(x), np.zeros_like(y))
        for direction in arrays["directions"].T.astype(np.float64):
            along_x, along_y = x @ direction, y @ direction
            order_x, order_y = np.argsort(along_x), np.argsort(along_y)
            if self.weighted:
                met = weighted_pieces(arrays["x_weights"][order_x], arrays["y_weights"][order_y])
            rows_x, rows_y = order_x[met.of_x], order_y[met.of_y]
            gaps = along_x[rows_x] - along_y[rows_y]
            cost += np.sum(met.mass * gaps**2) / self.directions
            if self.gradient:
                for slope, rows, gap in ((slopes[0], rows_x, gaps), (slopes[1], rows_y, -gaps)):
                    pull = np.bincount(rows, met.mass * gap, len(slope))
                    slope += np.outer(pull, direction) / self.directions
        value = np.sqrt(cost)  # whose derivative is that of the cost over 2 √cost
        return {"value": value, "grad_x": slopes[0] / value, "grad_y": slopes[1] / value}


class SlicedGradient(Sliced):
    """The distance, and its derivatives by all rows.

    They jump where two projections change places, which in float32 some neighbours do: errors are
    of all entries together, not of the worst.
    """

    gradient = True
    tolerances: ClassVar = {"relative": 1e-5, "gradient": 1e-3}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        value, *gradients = result
        exact = reference["grad_x"], reference["grad_y"]
        worst = max(
            float(np.linalg.norm(found - right) / np.linalg.norm(right))
            for found, right in zip(gradients, exact, strict=True)
        )
        return super().errors(value, reference) | {"gradient": worst}


class SlicedControl(Sliced):
    """The distance over directions that are drawn, under control by their moments.

    Everybody draws directions of their own: what they leave of an error is below the tolerance
    under control, and far above it without.
    """

    task = "sliced_control"
    contenders = ("pairtile", "numpy")
    tolerances: ClassVar = {"relative": 2e-2}

    @property
    def title(self) -> str:
        return f"{super().title}, control variates"

    def reference(self, arrays: Arrays) -> Arrays:
        x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
        met = even_pieces(self.n, self.m)
        costs, moments = [], []
        for direction in arrays["directions"].T.astype(np.float64):
            along_x, along_y = np.sort(x @ direction), np.sort(y @ direction)
            costs.append(np.sum(met.mass * (along_x[met.of_x] - along_y[met.of_y]) ** 2))
            moments.append([(along_x.mean() - along_y.mean()) ** 2, along_x.var(), along_y.var()])
        return {"value": controlled(np.array(costs), np.array(moments), x, y)}


def controlled(
    costs: NDArray[Any], moments: NDArray[Any], x: NDArray[Any], y: NDArray[Any]
) -> NDArray[np.float64]:
    """The root of the mean cost, less what the moments of each line explain of its error."""
    shift = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    spreads = (float(s.var(axis=0, dtype=np.float64).sum()) for s in (x, y))
    known = np.array([shift @ shift, *spreads]) / x.shape[1]
    means = moments.mean(axis=0)
    slopes, *_ = np.linalg.lstsq(moments - means, costs - costs.mean(), rcond=None)
    value: NDArray[np.float64] = np.sqrt(costs.mean() - (means - known) @ slopes)
    return value


class SlicedFiles(Sliced):
    """The distance of samples that are in files, mapped to memory and not read before."""

    task = "sliced_files"
    contenders = ("pairtile", "numpy")

    @property
    def title(self) -> str:
        return f"{super().title}, from files"


@dataclass(frozen=True)
class Columns(Case):
    """The 1-Wasserstein distance of each column: nothing but sorting."""

    family = "sliced"
    task = "columns"
    tolerances: ClassVar = {"relative": 1e-6}

    @property
    def contenders(self) -> tuple[str, ...]:
        """NumPy's sorts one after the other too, where there is one column: `numpy` takes two."""
        return ("pairtile", "pot", "numpy", "torch", *["numpy_serial"] * (self.d == 1))

    @property
    def title(self) -> str:
        return f"{super().title}, W₁ by column"

    @property
    def flops(self) -> float:
        return 0.0

    @property
    def keys(self) -> int:
        return (self.n + self.m) * self.d

    def scaled(self, scale: float) -> Self:
        """Columns that are short stay as long and become fewer."""
        if self.d == 1:
            return super().scaled(scale)
        return replace(self, d=max(2, round(self.d * scale)))

    def reference(self, arrays: Arrays) -> Arrays:
        gaps = np.sort(arrays["x"], axis=0).astype(np.float64) - np.sort(arrays["y"], axis=0)
        return {"value": np.abs(gaps).mean(axis=0)}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        value = reference["value"]
        return {"relative": float(np.max(np.abs(result - value) / value))}


@dataclass(frozen=True)
class MaxSliced(Case):
    """The largest 2-Wasserstein distance of all directions; peers take the best of some."""

    directions: int = 10_000

    family = "sliced"
    task = "max_sliced"
    contenders = ("pairtile", "pot", "numpy")
    tolerances: ClassVar = {"short": 1e-6}

    @property
    def title(self) -> str:
        return f"{super().title}, the largest W₂ of a direction"

    @property
    def flops(self) -> float:
        """There is no telling how many directions have to be looked at."""
        return 0.0

    def make(self) -> Arrays:
        directions = np.random.default_rng(SEED + 1).standard_normal((self.d, self.directions))
        directions /= np.linalg.norm(directions, axis=0)
        arrays = super().make()
        arrays["y"][:, 0] *= np.float32(1.2)  # further from x in one direction than in others
        return arrays | {"directions": directions.astype(np.float32)}

    def reference(self, arrays: Arrays) -> Arrays:
        costs = []
        for direction in arrays["directions"].T.astype(np.float64):
            along_x, along_y = np.sort(arrays["x"] @ direction), np.sort(arrays["y"] @ direction)
            costs.append(np.mean((along_x - along_y) ** 2))
        return {"value": np.sqrt(np.max(costs))}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        """By how much it is less than the largest of the directions."""
        return {"short": max(0.0, 1 - float(result) / float(reference["value"]))}


SLICED_CASES: tuple[Case, ...] = (
    Sliced(100_000, 100_000, 64, directions=128),
    Sliced(10_000, 10_000, 784, directions=1_000),
    Sliced(100_000, 70_000, 64, directions=128),
    Sliced(100_000, 100_000, 64, directions=128, weighted=True),
    SlicedGradient(100_000, 100_000, 64, directions=128),
    SlicedControl(100_000, 100_000, 64, directions=128),
    SlicedFiles(1_000_000, 1_000_000, 64, directions=64),
    Columns(10_000_000, 10_000_000, 1),
    Columns(10_000, 10_000, 1_000),
    MaxSliced(2_000, 2_000, 32),
)
