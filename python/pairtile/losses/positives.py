"""What is a positive of each row of x, and which negatives stay in its sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.metrics import normalised
from pairtile._front import scalars, validate
from pairtile.losses import labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Positives:
    """Exactly one of targets, groups of x and y, and a sparse matrix of weights."""

    counts: Mask  # rows that are in the mean
    targets: Ints | None = None
    groups: tuple[Ints, Ints] | None = None
    sparse: tuple[Any, Any, Any] = (None, None, None)

    def seam(self) -> dict[str, Any]:
        """Options of the seam."""
        of_x, of_y = (None, None) if self.groups is None else self.groups
        return {
            "targets": self.targets,
            "row_labels": None if of_x is None else of_x.astype(np.float64),
            "col_labels": None if of_y is None else of_y.astype(np.float64),
            "positives": self.sparse,
        }


def by_target(targets: Any, ignore_index: Any, n: int, m: int) -> Positives:
    """One positive of each row, those equal to `ignore_index` having none."""
    if targets is None:
        if ignore_index is not None:
            raise ValueError("ignore_index needs targets")
        return paired(n, m)
    t = validate.host(targets, "targets")
    if t.dtype.kind not in "iu":
        raise TypeError(f"targets must be integers, got dtype {t.dtype}")
    if t.shape != (n,):
        raise ValueError(f"targets must have shape ({n},), one per row of x, got {t.shape}")
    counts = np.ones(n, dtype=bool)
    if ignore_index is not None:
        counts = t != scalars.count("ignore_index", ignore_index, least=-(2**63))
    bad = np.flatnonzero(counts & ((t < 0) | (t >= m)))
    if bad.size:
        raise ValueError(f"targets[{bad[0]}] is {t[bad[0]]}, and y has rows 0 to {m - 1}")
    return Positives(counts, np.where(counts, t, -1).astype(np.int64))


def paired(n: int, m: int, offset: Any = 0) -> Positives:
    """Row i of x belongs with row offset + i of y."""
    offset = scalars.count("target_offset", offset, least=0)
    if offset + n > m:
        raise ValueError(
            f"x has {n} rows and y has {m}; row i of x is paired with row i of y"
            if offset == 0
            else f"target_offset={offset} pairs {n} rows of x with rows up to {offset + n - 1} of "
            f"y, which has {m}"
        )
    return Positives(np.ones(n, dtype=bool), np.arange(offset, offset + n, dtype=np.int64))


def by_group(x_groups: Any, y_groups: Any, n: int, m: int) -> Positives | None:
    """All rows of y of the same group; None without groups."""
    found = labels.groups(x_groups, y_groups, n, m)
    return None if found is None else Positives(np.isin(*found), groups=found)


def by_weights(positive_weights: Any, n: int, m: int) -> Positives:
    """Positives with weights: a sparse matrix, each row divided by its sum."""
    indptr, columns, weights = _compressed(positive_weights, n, m)
    rows = np.repeat(np.arange(n), np.diff(indptr))
    order = np.lexsort((columns, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    first = np.flatnonzero(np.diff(rows * m + columns, prepend=-1))  # of those given twice
    weights = np.add.reduceat(weights, first) if len(first) else weights
    rows, columns = rows[first], columns[first]
    sizes = np.zeros(n)
    np.maximum.at(sizes, rows, weights)
    weights = weights / np.where(sizes > 0, sizes, 1)[rows]  # so that no sum overflows
    sums = np.bincount(rows, weights, minlength=n)
    some = weights > 0
    rows, columns, weights = rows[some], columns[some], weights[some] / sums[rows[some]]
    found = np.bincount(rows, minlength=n)
    indptr = np.insert(np.cumsum(found), 0, 0).astype(np.int64)
    return Positives(found > 0, sparse=(indptr, columns, weights))


def _compressed(given: Any, n: int, m: int) -> tuple[Ints, Ints, Floats]:
    """Row pointers, columns and weights of a sparse matrix of SciPy, or of the three themselves."""
    if hasattr(given, "tocsr"):
        if given.shape != (n, m):
            raise ValueError(f"positive_weights must have shape {(n, m)}, got {given.shape}")
        matrix = given.tocsr()
        given = matrix.indptr, matrix.indices, matrix.data
    if not isinstance(given, tuple) or len(given) != 3:
        raise TypeError(
            "positive_weights must be a sparse matrix of SciPy or (indptr, indices, data), got "
            f"{type(given).__name__}"
        )
    indptr, columns = (validate.host(part) for part in given[:2])
    if indptr.dtype.kind not in "iu" or columns.dtype.kind not in "iu":
        raise TypeError("positive_weights must have integers as indptr and indices")
    indptr, columns = (np.asarray(part, dtype=np.int64) for part in (indptr, columns))
    if (
        indptr.shape != (n + 1,)
        or columns.ndim != 1
        or indptr[0] != 0
        or indptr[-1] != len(columns)
        or (np.diff(indptr) < 0).any()
    ):
        raise ValueError(
            f"positive_weights must have an indptr that rises from 0 to the number of indices in "
            f"{n} steps, one per row of x"
        )
    data = np.shape(given[2])
    if data != columns.shape:
        raise ValueError(f"positive_weights has {len(columns)} indices and data of shape {data}")
    weights = validate.weights("positive_weights", given[2], len(columns)) if data[0] else None
    bad = np.flatnonzero((columns < 0) | (columns >= m))
    if bad.size:
        raise ValueError(
            f"positive_weights has the column {columns[bad[0]]}, and y has rows 0 to {m - 1}"
        )
    return indptr, columns, np.zeros(0) if weights is None else weights


def largest_negatives(
    x: Any,
    y: Any,
    q: int,
    positives: Positives,
    *,
    scales: Floats | float,
    column_logits: Floats | None,
    normalize: bool,
    workers: int,
    progress: Any,
) -> tuple[Ints, Ints]:
    """Row pointers and columns of the q largest negatives of each row, in order of the columns."""
    n, m = len(x), len(y)
    found, lengths = np.empty((n, min(q, m)), dtype=np.int64), np.zeros(n, dtype=np.int64)
    for rows, _, indices in negatives_by_size(
        x, y, q, positives, scales=scales, column_logits=column_logits, normalize=normalize,
        dtype=validate.working_dtype(x, y).name, workers=workers, progress=progress,
    ):  # fmt: skip
        # in the order of their columns
        indices = np.sort(np.where(indices < 0, m, indices), axis=1)[:, : found.shape[1]]
        found[rows, : indices.shape[1]] = indices
        lengths[rows] = (indices < m).sum(axis=1)
    return compressed(found, lengths)


def compressed(columns: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Row pointers and columns of rows that begin with so many of them."""
    held = columns[np.arange(columns.shape[1]) < lengths[:, None]]
    return np.insert(np.cumsum(lengths), 0, 0), held


def negatives_by_size(
    x: Any,
    y: Any,
    q: int,
    positives: Positives,
    *,
    scales: Floats | float,
    column_logits: Floats | None,
    normalize: bool,
    dtype: str,
    workers: int,
    progress: Any,
) -> Iterator[tuple[Ints, Floats, Ints]]:
    """Of some rows at a time, what orders the scores of a row, and the columns: the largest first.

    The q largest negatives; in other places of a row the column is −1.
    """
    n, m = len(x), len(y)
    metric = "cosine" if normalize else "inner_product"
    if column_logits is not None:
        # s x·y + c orders a row as (x, 1/s)·(y, c) does
        to_device = validate.like(x)
        x64, y64 = (validate.host(rows).astype(np.float64) for rows in (x, y))
        if normalize:
            x64, y64 = normalised(x64), normalised(y64)
        inverse = np.broadcast_to(1 / np.asarray(scales), n)
        x = to_device(np.column_stack([x64, inverse]))
        y = to_device(np.column_stack([y64, column_logits]))
        metric = "inner_product"
    for rows, more in _of_like_number(positives, n):
        of_x = x if len(rows) == n else validate.taken(x, rows)
        predicates = {}
        if positives.groups is not None:
            predicates = {
                "query_groups": positives.groups[0][rows],
                "reference_groups": positives.groups[1],
                "group_rule": "different",
            }
        sizes, indices = choose.module(x, y).knn(
            of_x, y, min(q + more, m), metric, dtype=dtype, precision="default",
            workers=workers, progress=progress, **predicates,
        )  # fmt: skip
        sizes, indices = validate.host(sizes), validate.host(indices)
        kept = (indices >= 0) & ~_positive(positives, rows, indices, m)
        kept &= np.cumsum(kept, axis=1) <= q
        yield rows, sizes, np.where(kept, indices, -1)


def _of_like_number(positives: Positives, n: int) -> Iterator[tuple[Ints, int]]:
    """Rows, and how many positives may be among their neighbours: at most twice as many as are."""
    every = np.arange(n)
    if positives.groups is not None:
        yield every, 0
    elif positives.targets is not None:
        yield every, 1
    else:
        found = np.diff(positives.sparse[0])
        most = np.where(found > 0, 1 << np.ceil(np.log2(np.maximum(found, 1))).astype(np.int64), 0)
        for more in np.unique(most):
            yield np.flatnonzero(most == more), int(more)


def _positive(positives: Positives, rows: Ints, indices: Ints, m: int) -> Mask:
    """Which of the neighbours of these rows are positives."""
    if positives.targets is not None:
        return np.equal(indices, positives.targets[rows][:, None])
    if positives.groups is not None:
        return np.zeros(indices.shape, dtype=bool)
    indptr, columns, _ = positives.sparse
    known = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * m + columns
    return np.isin(rows[:, None] * m + indices, known)
