"""The neighbour cases: a grid of dimensions, k and shapes, and single cases beside it.

From 384 dimensions on the sets are smaller, so that the contenders' own copies of the inputs fit
into memory together and no call takes a minute.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bench.case import JUDGED, LEAST_ROWS, SEED, Arrays, Case, pairs, squared_distances

DIMENSIONS = (3, 16, 64, 128, 384, 768)
NEIGHBORS = (1, 10, 100)
SHAPES = {
    "many": (20_000, 100_000),
    "one": (1, 1_000_000),
    "few": (64, 1_000_000),
    "self": (50_000, 0),
}
WIDE_SHAPES = {
    "many": (5_000, 100_000),
    "one": (1, 250_000),
    "few": (64, 250_000),
    "self": (20_000, 0),
}
FEW = 64  # as many queries or fewer stay so many at every scale
CLUSTERS = 1000
TREES = ("ckdtree", "kdtree", "balltree")  # enter where there is something for them to leave out
TREE_DIMENSIONS = 5  # of isotropic rows; beyond, a tree visits most of them
BRUTE_PAIRS = 5e10  # more of them take a brute-force peer minutes
LEVELS = 8  # of each one-hot encoded variable


def _gaussian(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    return rng.standard_normal((rows, d), dtype=np.float32)


def _clustered(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    """Draw tight clusters in which every row has a near-duplicate."""
    x: NDArray[np.float32] = _gaussian(rng, CLUSTERS, d)[rng.integers(CLUSTERS, size=rows)]
    x += np.float32(0.1) * _gaussian(rng, rows, d)
    half = rows // 2
    x[half : 2 * half] = x[:half] + np.float32(1e-3) * _gaussian(rng, half, d)
    return x[rng.permutation(rows)]


def _uniform(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    return rng.random((rows, d), dtype=np.float32)


def _mixture(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    """Draw from 200 Gaussians whose centres are ten of their widths apart."""
    centres = np.float32(10) * _gaussian(rng, 200, d)
    x: NDArray[np.float32] = centres[rng.integers(200, size=rows)]
    x += _gaussian(rng, rows, d)
    return x


def _sheet(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    """Draw from a four-dimensional sheet, turned, with a little noise off it."""
    x: NDArray[np.float32] = _uniform(rng, rows, 4) @ _gaussian(rng, 4, d)
    x += np.float32(0.01) * _gaussian(rng, rows, d)
    return x


def _power_law(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    """Draw Gaussian rows whose spectrum falls as a power, not along the axes.

    At d=768 the first 64 coordinates of turned rows leave about two of a hundred pairs, where they
    leave a third of those of the embeddings of sentences, and the first 128 four.
    """
    widths = (1 + np.arange(d, dtype=np.float32)) ** np.float32(-2 / 3)
    turn = np.linalg.qr(_gaussian(rng, d, d))[0]
    x: NDArray[np.float32] = (_gaussian(rng, rows, d) * widths) @ turn
    return x


def _one_hot(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.float32]:
    levels = rng.integers(LEVELS, size=(rows, d // LEVELS))
    return np.eye(LEVELS, dtype=np.float32)[levels].reshape(rows, -1)


def _bytes(rng: np.random.Generator, rows: int, d: int) -> NDArray[np.uint8]:
    return rng.integers(256, size=(rows, d), dtype=np.uint8)


DATA: dict[str, Callable[[np.random.Generator, int, int], NDArray[Any]]] = {
    "float32": _gaussian,
    "clusters with near-duplicates": _clustered,
    "uniform": _uniform,
    "200 clusters": _mixture,
    "sheet": _sheet,
    "power law": _power_law,
    "one-hot": _one_hot,
    "uint8": _bytes,
}


@dataclass(frozen=True)
class Knn(Case):
    """The k nearest rows of the reference set, or of the own set (`m` = 0), Euclidean."""

    k: int
    shape: str = "many"  # "many", "few" or "one" query, "self": what `--only` selects by
    data: str = "float32"

    family = "knn"
    task = "knn"
    tolerances: ClassVar = {"distance": 1e-6, "misplaced": 0.0}

    @property
    def contenders(self) -> tuple[str, ...]:
        """Trees enter in few dimensions, and where the rows fill fewer than they have."""
        brute = ("faiss", "sklearn", "torch") if self.n * (self.m or self.n) <= BRUTE_PAIRS else ()
        trees = self.d <= TREE_DIMENSIONS or self.data in ("200 clusters", "sheet")
        return ("pairtile", *brute, *(TREES if trees else ()))

    def scaled(self, scale: float) -> Self:
        least = max(LEAST_ROWS, 2 * self.source.k)
        n = self.n if self.n <= FEW else max(least, round(self.n * scale))
        m = 0 if self.self_join else max(least, round(self.m * scale))
        return replace(self, n=n, m=m)

    @property
    def self_join(self) -> bool:
        return self.m == 0

    @property
    def asks_often(self) -> bool:
        return self.n <= FEW

    @property
    def in_grid(self) -> bool:
        return self.d in DIMENSIONS and self.k in NEIGHBORS and self.data == "float32"

    @property
    def source(self) -> Self:
        """The case of the largest k: its neighbours begin with those of every smaller k."""
        return replace(self, k=max(NEIGHBORS)) if self.in_grid else self

    @property
    def fetched(self) -> int:
        """How many neighbours a peer without self-exclusion must fetch."""
        return self.k + self.self_join

    @property
    def title(self) -> str:
        sets = f"{self.n} rows among themselves" if self.self_join else f"{self.n} × {self.m} rows"
        return f"{self.family}: {sets}, d={self.d}, k={self.k}, {self.data}"

    @property
    def flops(self) -> float:
        return 2.0 * self.n * (self.m or self.n) * self.d

    def make(self) -> Arrays:
        """Draw queries and references as one sample, so that they share clusters."""
        rows = DATA[self.data](np.random.default_rng(SEED), self.n + self.m, self.d)
        if self.self_join:
            return {"queries": rows}
        return {"queries": rows[: self.n], "reference": rows[self.n :]}

    def reference(self, arrays: Arrays) -> Arrays:
        """Exact neighbours of some queries: screened by the expansion, ranked by differences."""
        others = self.coordinates(arrays.get("reference", arrays["queries"]))
        rows = np.linspace(0, self.n - 1, min(JUDGED, self.n)).astype(np.int64)
        judged = self.coordinates(arrays["queries"][rows])
        screened = np.concatenate([block.T for _, block in squared_distances(others, judged)], 1)
        if self.self_join:
            screened[np.arange(len(rows)), rows] = np.inf
        distances = np.empty((len(rows), self.k))
        indices = np.empty((len(rows), self.k), dtype=np.int64)
        for i, row in enumerate(screened):
            error = 1e-12 * np.max(row, where=np.isfinite(row), initial=0)
            near = np.flatnonzero(row <= np.partition(row, self.k - 1)[self.k - 1] + error)
            exact = np.square(others[near].astype(np.float64) - judged[i]).sum(axis=1)
            order = np.argsort(exact, kind="stable")[: self.k]
            distances[i], indices[i] = self.distance(exact[order]), near[order]
        return {"rows": rows, "distances": distances, "indices": indices}

    def coordinates(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return points whose squared Euclidean distance orders as the metric does."""
        return rows

    def distance(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn that squared distance into the metric's."""
        return np.sqrt(squared)

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        rows, exact = reference["rows"], reference["distances"][:, : self.k]
        distances, indices = result
        unit = np.where(exact > 0, exact, 1)  # a distance of zero is judged absolutely
        return {
            "distance": float(np.max(np.abs(distances[rows] - exact) / unit)),
            "misplaced": float(np.mean(indices[rows] != reference["indices"][:, : self.k])),
        }


@dataclass(frozen=True)
class LargeKnn(Knn):
    """A search that takes a minute or more, whoever makes it."""

    large = True


@dataclass(frozen=True)
class Hamming(Knn):
    """The k nearest rows of `d` packed bits; the floor of a matrix product says nothing here."""

    data: str = "packed bits"

    task = "hamming"
    contenders = ("pairtile", "faiss")

    @property
    def flops(self) -> float:
        return 0

    def make(self) -> Arrays:
        rows = _bytes(np.random.default_rng(SEED), self.n + self.m, self.d // 8)
        return {"queries": rows[: self.n], "reference": rows[self.n :]}

    def coordinates(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.unpackbits(rows, axis=1)

    def distance(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        return squared / self.d


def float_sets(arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return queries and references for peers that know no bytes; one array in a self-join."""
    queries = arrays["queries"].astype(np.float32, copy=False)
    reference = arrays.get("reference")
    return queries, queries if reference is None else reference.astype(np.float32, copy=False)


def exclude_self(
    case: Knn, distances: NDArray[Any], indices: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Drop each query's own row, by index, from lists one entry too long (self-joins only)."""
    if not case.self_join:
        return distances, indices
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(indices), case.k
    return distances[~own].reshape(shape), indices[~own].reshape(shape)


@dataclass(frozen=True)
class Fidelity(Case):
    """Precision, recall, density and coverage of a generated set: radii, then counting."""

    k: int

    family = "knn"
    task = "fidelity"
    contenders = ("pairtile", "prdc")
    tolerances: ClassVar = {"absolute": 1e-12}

    @property
    def title(self) -> str:
        return f"{super().title}, k={self.k}, precision, recall, density, coverage"

    @property
    def flops(self) -> float:
        return 2 * self.d * pairs(self.n, self.m)

    def reference(self, arrays: Arrays) -> Arrays:
        real, fake, k = arrays["x"], arrays["y"], self.k

        def radii(x: NDArray[Any]) -> NDArray[np.float64]:
            blocks = squared_distances(x, x)  # the k + 1 nearest include the row itself
            return np.concatenate([np.partition(block, k)[:, k] for _, block in blocks])

        real_radii, fake_radii = radii(real), radii(fake)
        covering = np.zeros(self.m, dtype=np.int64)  # real rows within whose radius it lies
        recalled, covered = 0, 0
        for first, block in squared_distances(real, fake):
            within = block < real_radii[first : first + len(block), None]
            covering += within.sum(axis=0)
            covered += int(np.count_nonzero(within.any(axis=1)))
            recalled += int(np.count_nonzero((block < fake_radii).any(axis=1)))
        return {
            "value": np.array(
                [np.mean(covering > 0), recalled / self.n, np.mean(covering) / k, covered / self.n]
            )
        }

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        return {"absolute": float(np.max(np.abs(np.asarray(result) - reference["value"])))}


@dataclass(frozen=True)
class NearDuplicates(Case):
    """All pairs of unit rows of a cosine from `threshold` on: embeddings with planted copies.

    The spectrum falls as a power of the dimension, as that of embeddings does; every twentieth row
    is a copy with noise, of a cosine around the threshold.
    """

    m: int = 0
    d: int = 384
    threshold: float = 0.95

    family = "knn"
    task = "near_duplicates"
    contenders = ("pairtile", "faiss", "numpy")
    tolerances: ClassVar = {"wrong": 0.0, "similarity": 1e-6}

    def scaled(self, scale: float) -> Self:
        return replace(self, n=max(LEAST_ROWS, round(self.n * scale)))

    @property
    def title(self) -> str:
        return f"knn: near-duplicates among {self.n} rows, d={self.d}, cosine from {self.threshold}"

    @property
    def flops(self) -> float:
        return self.d * float(self.n) ** 2

    def make(self) -> Arrays:
        rng = np.random.default_rng(SEED)
        x = _gaussian(rng, self.n, self.d)
        x *= (1.0 + np.arange(self.d, dtype=np.float32)) ** np.float32(-0.5)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        copies = self.n // 20
        of, to = rng.permutation(self.n)[: 2 * copies].reshape(2, copies)
        away = _gaussian(rng, copies, self.d)
        away *= rng.uniform(0.2, 0.45, (copies, 1)) / np.linalg.norm(away, axis=1, keepdims=True)
        x[to] = x[of] + away
        return {"x": x / np.linalg.norm(x, axis=1, keepdims=True)}

    def reference(self, arrays: Arrays) -> Arrays:
        rows = arrays["x"].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found = []
        for first, squared in squared_distances(rows, rows):
            i, j = np.nonzero(squared <= 2.1 * (1 - self.threshold))
            found.append(np.stack([i + first, j])[:, i + first < j])
        i, j = np.concatenate(found, axis=1)
        similarity = 1 - 0.5 * np.square(rows[i] - rows[j]).sum(axis=1)
        near = similarity >= self.threshold
        return {"i": i[near], "j": j[near], "similarity": similarity[near]}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        """The share of pairs that are in one answer and not in the other; similarities of both."""
        i, j, similarity = result
        places = i * self.n + j
        right = reference["i"] * self.n + reference["j"]
        both, mine, theirs = np.intersect1d(places, right, return_indices=True)
        apart = np.abs(similarity[mine] - reference["similarity"][theirs])
        either = len(np.union1d(places, right))
        return {
            "wrong": 1 - len(both) / either if either else 0.0,
            "similarity": float(apart.max(initial=0)),
        }


def grid() -> Iterator[Knn]:
    for shape, d, k in product(SHAPES, DIMENSIONS, NEIGHBORS):
        n, m = (WIDE_SHAPES if d >= 384 else SHAPES)[shape]
        yield Knn(n, m, d, k, shape)


NEIGHBOR_CASES: tuple[Case, ...] = (
    *grid(),
    Knn(5_000, 100_000, 128, k=1000),
    Knn(2_000, 100_000, 1536, k=10),
    *(Knn(1_000_000, 0, d, k=10, shape="self", data="uniform") for d in (2, 3, 5)),
    *(Knn(n, 0, 3, k=10, shape="self", data="uniform") for n in (100_000, 300_000, 3_000_000)),
    LargeKnn(10_000_000, 0, 3, k=10, shape="self", data="uniform"),
    Knn(200_000, 200_000, 16, k=10, data="200 clusters"),
    Knn(100_000, 0, 32, k=10, shape="self", data="sheet"),
    Knn(5_000, 100_000, 768, k=10, data="power law"),
    Knn(10_000, 100_000, 128, k=10, data="one-hot"),
    Knn(10_000, 100_000, 128, k=10, data="uint8"),
    Knn(10_000, 100_000, 128, k=10, data="clusters with near-duplicates"),
    Knn(2_500, 100_000, 768, k=10, data="clusters with near-duplicates"),
    NearDuplicates(20_000),
    NearDuplicates(100_000),
    Fidelity(10_000, 10_000, 512, k=5),
    Hamming(10_000, 1_000_000, 256, k=10),
)
