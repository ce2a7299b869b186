"""What is measured on a GPU, the most telling first.

A cell makes its inputs on the device, prepares the call of pairtile, counts the work nobody can
avoid, and judges an answer against float64.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

import pairtile as pt
from bench.case import JUDGED, SEED, pairs
from bench.gpu import plain
from bench.gpu.library import Library, Torch, chunk_rows, unit_rows

LEAST_ROWS = 48
RADIX_PASSES = 4  # over 32-bit keys, eight bits at a time
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One line of the table. Rows of `x` and `y`, features; other sizes in the subclasses."""

    name: str
    n: int
    m: int
    d: int

    task: ClassVar[str]
    tolerances: ClassVar[dict[str, float]]

    def scaled(self, factor: float) -> Self:
        """Return the same cell with the numbers of rows multiplied."""
        n, m = (max(LEAST_ROWS, round(rows * factor)) if rows else 0 for rows in (self.n, self.m))
        return replace(self, n=n, m=m)

    @property
    def source(self) -> tuple[object, ...]:
        """What the inputs depend on; cells may share them."""
        return self.task, self.n, self.m, self.d

    @property
    def title(self) -> str:
        raise NotImplementedError

    @property
    def flops(self) -> float:
        """Multiply-adds nobody can avoid, times two."""
        raise NotImplementedError

    @property
    def moved(self) -> float:
        """Bytes that must cross the device's memory: at least every input once."""
        return 4.0 * (self.n + self.m) * self.d

    def floors(self, ceilings: dict[str, float]) -> dict[str, float]:
        """Seconds for the products and for the traffic; the longer is the floor.

        Products in bfloat16, or in what a machine without it has.
        """
        products = ceilings.get("bfloat16 product") or ceilings["float32 product"]
        return {"products": self.flops / products, "traffic": self.moved / ceilings["copy"]}

    def make(self, library: Library) -> Inputs:
        """Draw two normal samples, the second shifted."""
        y = library.normal((self.m, self.d), SEED + 1)
        y += 0.1
        return {"x": library.normal((self.n, self.d), SEED), "y": y}

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        """Return the call of pairtile that is measured; inputs are CuPy arrays or tensors."""
        raise NotImplementedError

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        """Compare an answer with float64; names as in `tolerances`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Knn(Cell):
    """The k nearest rows of y for each row of x; m = 0: of the others of x."""

    k: int

    task = "knn"
    tolerances: ClassVar = {"misplaced": 0.0, "distance": 1e-6}

    def scaled(self, factor: float) -> Self:
        small = super().scaled(factor)
        return replace(small, k=min(self.k, (small.m or small.n) - 1))

    @property
    def title(self) -> str:
        sets = f"{self.n:,} × {self.m:,}" if self.m else f"{self.n:,} among themselves"
        return f"knn, {sets}, d={self.d}, k={self.k}"

    @property
    def flops(self) -> float:
        return 2.0 * self.n * (self.m or self.n) * self.d

    def make(self, library: Library) -> Inputs:
        made = {"x": library.normal((self.n, self.d), SEED), "y": None}
        if self.m:
            made["y"] = library.normal((self.m, self.d), SEED + 1)
        return made

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        return lambda: pt.knn(inputs["x"], inputs["y"], self.k)

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        x, y = inputs["x"], inputs["y"]
        rows = np.linspace(0, self.n - 1, min(JUDGED, self.n)).astype(np.int64)
        queries = library.wide(x[library.asarray(rows)])
        own = rows if y is None else None
        distances, indices = _nearest(library, queries, x if y is None else y, self.k, own)
        found_distances, found_indices = (_taken(part, rows) for part in result)
        scale = np.maximum(distances, np.finfo(np.float32).tiny)
        return {
            "misplaced": float(np.mean(found_indices != indices)),
            "distance": float(np.max(np.abs(found_distances - distances) / scale)),
        }


def _nearest(
    library: Library, queries: Any, reference: Any, k: int, own: NDArray[np.int64] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Neighbours in float64; the references are widened in parts, whose lists are merged.

    `own` is the reference that a query is itself: one more is sought, and it is left out.
    """
    sought = k if own is None else k + 1
    step = max(sought, chunk_rows(reference.shape[1], 8))
    lists = []
    for first in range(0, len(reference), step):
        part = library.wide(reference[first : first + step])
        values, places = plain.knn(library, queries, part, min(sought, len(part)), None)
        lists.append((library.host(values), library.host(places) + first))
    values, places = (np.concatenate(parts, axis=1) for parts in zip(*lists, strict=True))
    if own is not None:
        values = np.where(places == own[:, None], np.inf, values)
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(values, order, 1), np.take_along_axis(places, order, 1)


def _taken(a: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of an array of any library, on the host."""
    part = a[rows.tolist()]
    if hasattr(part, "get"):
        return np.asarray(part.get())
    return np.asarray(part.float().cpu() if str(part.dtype) == "torch.bfloat16" else part.cpu())


class Gaussian(Cell):
    """A bandwidth of the order of the median distance."""

    @property
    def sigma(self) -> float:
        return float(np.sqrt(2 * self.d))

    @property
    def gamma(self) -> float:
        return 1 / (2 * self.sigma**2)


@dataclass(frozen=True)
class Mmd(Gaussian):
    """Unbiased MMD² of given bandwidth."""

    precision: Literal["default", "float64", "fast"] = "default"

    task = "mmd"
    # Of the kernel's largest value, in each of three means; and of the statistic, which is small.
    tolerances: ClassVar = {"mean": 6e-6, "relative": 1e-2}

    @property
    def title(self) -> str:
        kind = "" if self.precision == "default" else f', precision="{self.precision}"'
        return f"mmd, {self.n:,} + {self.m:,}, d={self.d}, Gaussian{kind}"

    @property
    def flops(self) -> float:
        return 2.0 * self.d * pairs(self.n, self.m)

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        kernel = pt.Gaussian(sigma=self.sigma)
        return lambda: pt.mmd(inputs["x"], inputs["y"], kernel=kernel, precision=self.precision)

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        x, y = (library.wide(inputs[name]) for name in "xy")
        value = plain.mmd(library, x, y, self.gamma)
        return {"mean": abs(result - value), "relative": abs(result - value) / abs(value)}


@dataclass(frozen=True)
class Energy(Cell):
    """The energy distance."""

    task = "energy"
    tolerances: ClassVar = {"mean": 6e-6, "relative": 1e-2}

    @property
    def title(self) -> str:
        return f"energy distance, {self.n:,} + {self.m:,}, d={self.d}"

    @property
    def flops(self) -> float:
        return 2.0 * self.d * pairs(self.n, self.m)

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        return lambda: pt.energy_distance(inputs["x"], inputs["y"])

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        x, y = (library.wide(inputs[name]) for name in "xy")
        value = plain.energy(library, x, y)
        size = float(np.sqrt(2 * self.d))  # of a distance; the largest is not much more
        return {"mean": abs(result - value) / size, "relative": abs(result - value) / abs(value)}


@dataclass(frozen=True)
class Permutation(Gaussian):
    """The permutation test of the unbiased MMD²; everybody draws the same relabellings."""

    permutations: int
    seed: int = 7

    task = "permutation"
    tolerances: ClassVar = {"statistic": 1e-3, "null": 1e-3}

    @property
    def title(self) -> str:
        sets = f"{self.n:,} + {self.m:,}, d={self.d}"
        return f"permutation test of MMD², {sets}, {self.permutations:,} relabellings"

    @property
    def flops(self) -> float:
        return 2.0 * (self.d + self.permutations) * pairs(self.n, self.m)

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        kernel = pt.Gaussian(sigma=self.sigma)
        options: dict[str, Any] = {"n_permutations": self.permutations, "rng": self.seed}
        return lambda: pt.mmd_test(inputs["x"], inputs["y"], kernel=kernel, **options)

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        x, y = (library.wide(inputs[name]) for name in "xy")
        value, null = plain.permutation(library, x, y, self.gamma, self.permutations, self.seed)
        found = _taken(result.null_distribution, np.arange(self.permutations))
        return {
            "statistic": abs(result.statistic - value) / abs(value),
            "null": float(np.max(np.abs(found - null)) / np.max(np.abs(null))),
        }


@dataclass(frozen=True)
class Sliced(Cell):
    """The sliced 2-Wasserstein distance over given directions."""

    directions: int

    task = "sliced"
    tolerances: ClassVar = {"relative": 1e-5}

    @property
    def title(self) -> str:
        return f"sliced W₂, {self.n:,} + {self.m:,}, d={self.d}, {self.directions} directions"

    @property
    def flops(self) -> float:
        """Count the projection only; the sort is priced by what it moves."""
        return 2.0 * (self.n + self.m) * self.d * self.directions

    @property
    def moved(self) -> float:
        """Count each key as written, read and written by every radix pass, and read."""
        return 4.0 * (self.n + self.m) * self.directions * (2 + 2 * RADIX_PASSES) + super().moved

    def make(self, library: Library) -> Inputs:
        directions = np.random.default_rng(SEED).standard_normal((self.d, self.directions))
        directions /= np.linalg.norm(directions, axis=0)
        return super().make(library) | {"directions": directions.astype(np.float32)}

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        options: dict[str, Any] = {"p": 2, "directions": inputs["directions"]}
        return lambda: pt.sliced_wasserstein(inputs["x"], inputs["y"], **options)

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        x, y, directions = (
            library.wide(a)
            for a in (inputs["x"], inputs["y"], library.asarray(inputs["directions"]))
        )
        value = plain.sliced(library, x, y, directions)
        return {"relative": abs(result - value) / value}


@dataclass(frozen=True)
class Columns(Cell):
    """How both samples differ in each column; Wasserstein distances alone are judged."""

    task = "columns"
    tolerances: ClassVar = {"relative": 1e-5}

    @property
    def title(self) -> str:
        return f"statistics of columns, {self.n:,} + {self.m:,}, d={self.d}"

    @property
    def flops(self) -> float:
        """Count a multiply-add for each number; the sort is priced by what it moves."""
        return 2.0 * (self.n + self.m) * self.d

    @property
    def moved(self) -> float:
        """Count each key as written, read and written by every radix pass, and read."""
        return (3 + 2 * RADIX_PASSES) * super().moved

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        return lambda: pt.column_statistics(inputs["x"], inputs["y"])[1:3]

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        exact = plain.columns(library, *(library.wide(inputs[name]) for name in "xy"))
        worst = 0.0
        for both in zip(result, exact, strict=True):
            found, wanted = map(library.host, both)
            worst = max(worst, float(np.max(np.abs(found - wanted) / wanted)))
        return {"relative": worst}


@dataclass(frozen=True)
class Clip(Cell):
    """The contrastive loss of CLIP with its gradients: unit rows, bfloat16 where there is torch."""

    scale: float = 1 / 0.07

    task = "clip"
    tolerances: ClassVar = {"loss": 1e-4, "gradient": 1e-2}

    @property
    def title(self) -> str:
        return f"CLIP loss and gradient, N={self.n:,}, d={self.d}"

    @property
    def flops(self) -> float:
        """Count three products: the logits once, and each gradient."""
        return 3 * 2.0 * self.n * self.m * self.d

    def make(self, library: Library) -> Inputs:
        x = library.normal((self.n, self.d), SEED)
        y = library.normal((self.m, self.d), SEED + 1)
        y *= 2
        y += x
        sets = {"x": unit_rows(library, x), "y": unit_rows(library, y)}
        if isinstance(library, Torch):
            return {name: a.bfloat16() for name, a in sets.items()}
        return sets

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        options: dict[str, Any] = {"logit_scale": self.scale, "grad": True}
        return lambda: pt.clip_loss(inputs["x"], inputs["y"], **options)

    def errors(self, result: Any, inputs: Inputs, library: Library) -> dict[str, float]:
        rows = np.linspace(0, self.n - 1, min(JUDGED, self.n)).astype(np.int64)
        exact = self._exact(inputs, library, rows)
        worst = 0.0
        for name in ("grad_x", "grad_y"):
            found = _taken(getattr(result, name), rows)
            worst = max(
                worst, float(np.max(np.abs(found - exact[name])) / np.abs(exact[name]).max())
            )
        return {"loss": abs(result.loss - exact["loss"]) / abs(exact["loss"]), "gradient": worst}

    def _exact(self, inputs: Inputs, library: Library, rows: NDArray[np.int64]) -> dict[str, Any]:
        x, y = (library.wide(inputs[name]) for name in "xy")
        return plain.clip(library, x, y, self.scale, rows)


@dataclass(frozen=True)
class SigLip(Clip):
    """The pairwise sigmoid loss with its gradients."""

    scale: float = 10.0
    bias: float = -10.0

    task = "siglip"

    @property
    def title(self) -> str:
        return f"SigLIP loss and gradient, N={self.n:,}, d={self.d}"

    def prepare(self, inputs: Inputs) -> Callable[[], Any]:
        options: dict[str, Any] = {"logit_scale": self.scale, "bias": self.bias, "grad": True}
        loss: Any = getattr(pt, "siglip_loss")  # noqa: B009  (older versions have none)
        return lambda: loss(inputs["x"], inputs["y"], **options)

    def _exact(self, inputs: Inputs, library: Library, rows: NDArray[np.int64]) -> dict[str, Any]:
        x, y = (library.wide(inputs[name]) for name in "xy")
        return plain.siglip(library, x, y, self.scale, self.bias, rows)


CELLS: tuple[Cell, ...] = (
    Knn("knn-100k", 100_000, 0, 128, k=10),
    Mmd("mmd-100k", 100_000, 100_000, 64),
    Mmd("mmd-100k-fast", 100_000, 100_000, 64, precision="fast"),
    Clip("clip-32k", 32_768, 32_768, 512),
    Sliced("sliced-1m", 1_000_000, 1_000_000, 64, directions=128),
    Columns("columns-1m", 1_000_000, 1_000_000, 64),
    Knn("knn-d768", 100_000, 0, 768, k=10),
    Knn("knn-k100", 100_000, 0, 128, k=100),
    Knn("knn-k2048", 20_000, 100_000, 128, k=2048),
    Knn("knn-1k-10m", 1_000, 10_000_000, 128, k=10),
    Energy("energy-100k", 100_000, 100_000, 64),
    Permutation("permutation-10k", 10_000, 10_000, 64, permutations=1000),
    SigLip("siglip-64k", 65_536, 65_536, 768),
    Knn("knn-1m", 1_000_000, 0, 128, k=15),
    Clip("clip-1m", 1_048_576, 1_048_576, 512),
)


def chosen(only: str | None) -> list[Cell]:
    """Cells by name or by the beginning of one, separated by commas, in the order of `CELLS`."""
    if not only:
        return list(CELLS)
    starts = tuple(part.strip() for part in only.split(",") if part.strip())
    unknown = [s for s in starts if not any(cell.name.startswith(s) for cell in CELLS)]
    if unknown:
        names = ", ".join(cell.name for cell in CELLS)
        raise ValueError(f"no cell is called {', '.join(unknown)}; there are {names}")
    return [cell for cell in CELLS if cell.name.startswith(starts)]
