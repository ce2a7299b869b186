"""Point sets to test with: sizes around every block, hard data, all dtypes and memory layouts.

Hypothesis draws sizes, names and a seed; NumPy makes the numbers, so that an example is cheap and
its printed form short. `point_sets` gives one set, `pairs_of_sets` two with the same features, both
as `Points`: `.array` is what a user passes, `.values` the same numbers as plain float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Micro-kernel blocks are 4 to 14 rows by 4 to 32 columns, folds work on lanes of 8 and 16.
ROWS = st.one_of(
    st.integers(1, 18), st.sampled_from([27, 28, 29, 31, 32, 33, 63, 64, 65, 97, 129, 257])
)
# Up to 4 features are compared directly, longer sums are cut every 256.
FEATURES = st.one_of(
    st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 64, 65, 255, 256, 257, 511, 513])
)
SEEDS = st.integers(0, 2**32 - 1)


def _unit_rows(a: Floats) -> Floats:
    return a / np.linalg.norm(a, axis=1, keepdims=True)


def _repeated(rng: np.random.Generator, n: int, d: int) -> Floats:
    few = rng.normal(size=(1 + n // 10, d))
    return few[rng.integers(len(few), size=n)]


def _constant_columns(rng: np.random.Generator, n: int, d: int) -> Floats:
    a = rng.normal(size=(n, d))
    constant = rng.random(d) < 0.5
    a[:, constant] = 1e3 * rng.normal(size=constant.sum())
    return a


def _one_hot(rng: np.random.Generator, n: int, d: int) -> Floats:
    return np.eye(d)[rng.integers(d, size=n)]


def _clusters(rng: np.random.Generator, n: int, d: int) -> Floats:
    return rng.normal(size=(n, d)) + 1e4 * rng.integers(2, size=(n, 1))


def _near_ties(rng: np.random.Generator, n: int, d: int) -> Floats:
    centres = rng.normal(size=(1 + n // 16, d))
    return centres[rng.integers(len(centres), size=n)] + 1e-7 * rng.normal(size=(n, d))


def _uneven_columns(rng: np.random.Generator, n: int, d: int) -> Floats:
    return rng.normal(size=(n, d)) * 10.0 ** rng.integers(-6, 7, size=d)


def _outlier(rng: np.random.Generator, n: int, d: int) -> Floats:
    a = rng.normal(size=(n, d))
    a[rng.integers(n)] *= 1e8
    return a


def _near_unit_vectors(rng: np.random.Generator, n: int, d: int) -> Floats:
    return _unit_rows(_unit_rows(rng.normal(size=(1, d))) + 1e-6 * rng.normal(size=(n, d)))


def _some_zero_rows(rng: np.random.Generator, n: int, d: int) -> Floats:
    return rng.normal(size=(n, d)) * (rng.random((n, 1)) < 0.7)


# What the values look like; each function draws n rows of d features as float64.
KINDS: dict[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "lattice": lambda rng, n, d: rng.integers(-3, 4, size=(n, d)).astype(np.float64),
    "one_hot": _one_hot,
    "repeated": _repeated,
    "all_equal": lambda rng, n, d: np.tile(rng.normal(size=(1, d)), (n, 1)),
    "constant_columns": _constant_columns,
    "zero_rows": _some_zero_rows,
    "offset": lambda rng, n, d: 1e6 + rng.normal(size=(n, d)),
    "huge": lambda rng, n, d: 1e15 * rng.normal(size=(n, d)),
    "tiny": lambda rng, n, d: 1e-15 * rng.normal(size=(n, d)),
    "clusters": _clusters,
    "near_ties": _near_ties,
    "near_unit_vectors": _near_unit_vectors,
    "uneven_columns": _uneven_columns,
    "outlier": _outlier,
}

DTYPES: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "int8": np.int8,
    "uint8": np.uint8,
    "float32": np.float32,
    "float64": np.float64,
}


def cast(values: Floats, dtype: str) -> NDArray[Any]:
    """The values in a dtype, brought into its range where they do not fit."""
    if dtype in ("int8", "uint8"):
        low, high = (-128, 127) if dtype == "int8" else (0, 255)
        return np.clip(np.rint(values), low, high).astype(dtype)
    if dtype == "float16":
        values = np.clip(values, -6e4, 6e4)
    return values.astype(DTYPES[dtype])


def _frozen(a: NDArray[Any]) -> NDArray[Any]:
    a = a.copy()
    a.flags.writeable = False
    return a


def _big_endian(a: NDArray[Any]) -> NDArray[Any]:
    # ml_dtypes knows no other byte order than the machine's.
    return a if a.dtype.name == "bfloat16" else a.astype(a.dtype.newbyteorder(">"))


def _within_wider(a: NDArray[Any]) -> NDArray[Any]:
    wide = np.zeros((2 * len(a), a.shape[1] + 3), dtype=a.dtype)
    wide[1::2, 2:-1] = a
    return wide[1::2, 2:-1]


# How the array lies in memory; none of these changes a value.
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "reversed_rows": lambda a: a[::-1].copy()[::-1],
    "reversed_columns": lambda a: a[:, ::-1].copy()[:, ::-1],
    "every_other_row": _within_wider,
    "big_endian": _big_endian,
    "read_only": _frozen,
}


class Points(NamedTuple):
    """A point set as a user passes it, and its values as float64."""

    array: NDArray[Any]
    values: Floats

    @classmethod
    def of(cls, rows: Any, dtype: Any = None) -> Points:
        array = np.asarray(rows, dtype=dtype)
        return cls(array, array.astype(np.float64))


@st.composite
def point_sets(
    draw: st.DrawFn,
    *,
    rows: st.SearchStrategy[int] = ROWS,
    features: st.SearchStrategy[int] = FEATURES,
    kinds: Sequence[str] = tuple(KINDS),
    dtypes: Sequence[str] = tuple(DTYPES),
    layouts: Sequence[str] = tuple(LAYOUTS),
) -> Points:
    """One point set."""
    n, d = draw(rows), draw(features)
    kind = draw(st.sampled_from(kinds))
    values = KINDS[kind](np.random.default_rng(draw(SEEDS)), n, d)
    dtype, layout = draw(st.sampled_from(dtypes)), draw(st.sampled_from(layouts))
    return Points.of(LAYOUTS[layout](cast(values, dtype)))


@st.composite
def pairs_of_sets(
    draw: st.DrawFn,
    *,
    rows: st.SearchStrategy[int] = ROWS,
    other_rows: st.SearchStrategy[int] | None = None,
    features: st.SearchStrategy[int] = FEATURES,
    kinds: Sequence[str] = tuple(KINDS),
    dtypes: Sequence[str] = tuple(DTYPES),
    layouts: Sequence[str] = tuple(LAYOUTS),
) -> tuple[Points, Points]:
    """Two point sets with the same features, cut from one pooled sample.

    Most have one dtype, some two.
    """
    n, d = draw(rows), draw(features)
    m = draw(rows if other_rows is None else other_rows)
    kind = draw(st.sampled_from(kinds))
    values = KINDS[kind](np.random.default_rng(draw(SEEDS)), n + m, d)
    dtype = draw(st.sampled_from(dtypes))
    other = draw(st.sampled_from(dtypes)) if draw(st.booleans()) else dtype
    layout = st.sampled_from(layouts)
    return (
        Points.of(LAYOUTS[draw(layout)](cast(values[:n], dtype))),
        Points.of(LAYOUTS[draw(layout)](cast(values[n:], other))),
    )
