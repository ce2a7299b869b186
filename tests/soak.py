"""Random calls until the time is up: searches and kernel statistics in turn.

    python tests/soak.py --minutes 30 --seed 0
    python tests/soak.py --of statistics --seed 0 --case 1234   # one of them again

A case is all that (seed, number) decides: shapes far beyond those of the tests, kind of data,
dtype, layout, metric or kernel, predicates, block sizes, precision, threads and which call it is.
A search must equal that of the NumPy twin to the last bit; `soak_statistics` has the statistics,
which are held to formulas.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import pairtile as pt
from backends import forced_tile, on_backend
from metrics import METRICS, named
from soak_statistics import draw_statistic
from strategies import DTYPES, KINDS, LAYOUTS, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Metrics that cost the twin d operations of Python speed for a pair, or their square.
SLOW = ("mahalanobis", "minkowski")


def _size(rng: np.random.Generator, least: int, most: int) -> int:
    """Small and large sizes alike: uniform in the logarithm."""
    return round(least * (most / least) ** rng.random())


def _predicates(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if rng.random() < 0.2:
        options |= {
            "query_groups": rng.integers(4, size=n),
            "reference_groups": rng.integers(4, size=m),
            "group_rule": rng.choice(["same", "different"]).item(),
        }
    if rng.random() < 0.2:
        options |= {"query_times": rng.random(n), "reference_times": rng.random(m)}
    if rng.random() < 0.2:
        options["reference_mask"] = rng.random(m) < rng.random()
    return options


def _by_index(
    reference: NDArray[Any], x: NDArray[Any], k: int, workers: int, options: dict[str, Any]
) -> pt.Neighbors:
    return pt.NeighborIndex(reference, **options).knn(x, k, workers=workers)


def draw_search(seed: int, number: int) -> tuple[str, Callable[[], list[str]]]:
    """Name of a case, and what compares it with the twin."""
    rng = np.random.default_rng([seed, number])
    metric = rng.choice(METRICS).item()
    kind, dtype, layout = (rng.choice(list(names)).item() for names in (KINDS, DTYPES, LAYOUTS))
    d = _size(rng, 1, 40 if metric in SLOW else 800)
    pairs = 2e8 / (d + 8) / (20 if metric in SLOW else 1)
    n = _size(rng, 2, min(3000, pairs / 2))
    m = _size(rng, 2, min(30_000, pairs / n))
    itself = rng.random() < 0.3
    if itself:
        n = m = max(2, min(n, int(pairs**0.5)))

    values = KINDS[kind](rng, n + m, d)
    x, y = LAYOUTS[layout](cast(values[:n], dtype)), None
    if not itself:
        y = LAYOUTS[layout](cast(values[n:], dtype))
    options: dict[str, Any] = {**named(metric, d), "workers": int(rng.integers(1, 4))}
    calls = ["knn", "index"]
    if metric != "inner_product":
        calls += ["radius_count", "radius_neighbors"]
    if metric == "euclidean":
        calls += ["prdc", "realism"]
    call = rng.choice(calls).item()
    tile = [(0, 0), (0, 0), (20, 70), (64, 512)][rng.integers(4)]
    k = _size(rng, 1, m - itself)
    name = f"{call} {metric} {kind} {dtype} {layout} {n} x {m} x {d}, k={k}, tile={tile}"

    def radii() -> NDArray[Any]:
        with on_backend("numpy"):
            some = pt.knn(x[:50], x if y is None else y, min(k, 50), **named(metric, d))
        return rng.choice(some.distances.ravel(), size=n)

    match call:
        case "knn":
            options |= _predicates(rng, n, m)
            options["precision"] = rng.choice(["default", "float64"]).item()
            if rng.random() < 0.3:
                options["distance_dtype"] = "float64"
            run = partial(pt.knn, x, y, k=k, **options)
        case "index":
            workers = options.pop("workers")
            reference = x if y is None else y
            k = min(k, len(reference))
            run = partial(_by_index, reference, x, k, workers, options)
        case "radius_count" | "radius_neighbors":
            options["closed"] = bool(rng.random() < 0.5)
            run = partial(getattr(pt, call), x, y, radii(), **options)
        case "prdc" | "realism":
            other = x[::-1] if y is None else y
            k = min(k, n - 1, len(other) - 1)
            function = pt.realism if call == "realism" else pt.precision_recall_density_coverage
            run = partial(function, x, other, k=k, workers=options["workers"])
    return name, partial(differences, run, tile)


def outcome(run: Callable[[], Any]) -> tuple[NDArray[Any], ...] | str:
    """The arrays of the result, or what was raised."""
    try:
        result = run()
    except ValueError as error:
        return str(error)
    return tuple(map(np.asarray, result if isinstance(result, tuple) else (result,)))


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, dtypes included."""
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and a == b
    return all(
        s.dtype == t.dtype and np.array_equal(s, t, equal_nan=True)
        for s, t in zip(a, b, strict=True)
    )


def differences(run: Callable[[], Any], tile: tuple[int, int]) -> list[str]:
    """What the engine makes of a call that the twin does not."""
    with on_backend("native"), forced_tile(*tile):
        native = outcome(run)
    with on_backend("numpy"):
        twin = outcome(run)
    return [] if same(native, twin) else ["differs from the twin"]


TABLES = {"searches": draw_search, "statistics": draw_statistic}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", choices=TABLES, help="one kind of calls alone")
    parser.add_argument("--case", type=int, help="this one alone")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    numbers = itertools.count() if asked.case is None else [asked.case]
    tables = list(TABLES) if asked.of is None else [asked.of]
    done: collections.Counter[str] = collections.Counter()
    wrong = 0
    for number, table in ((number, table) for number in numbers for table in tables):
        if time.monotonic() > end:
            break
        name, check = TABLES[table](asked.seed, number)
        complaints = check()
        done[name.split()[0]] += 1
        wrong += bool(complaints)
        for complaint in complaints:
            print(f"{table} case {number}, {name}: {complaint}", flush=True)
    print(f"seed {asked.seed}: {done.total()} cases, {wrong} wrong; {dict(done)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
