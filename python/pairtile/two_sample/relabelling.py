"""Relabellings of a pooled sample, and the statistics that follow from their label sums.

A relabelling is a 0/1 column V_b over the rows (or over the pairs of a wild bootstrap), packed 64
rows to a word; what the engine gives back for it are V_b'KV_b and V_b'K1.

    labels -> pack -> kernel_label_sums -> Sums -> statistics, tie tolerance -> p-value
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]


class Sums(NamedTuple):
    """Kernel sums of L labellings of N rows; leading axes, of kernels, broadcast.

    The diagonal is no part of `within`, `row` and `total`; `own` are its sums over the rows
    labelled 1 and `own_total` over all. `sizes` counts the rows labelled 1.
    """

    within: Floats  # (..., L)
    row: Floats  # (..., L)
    total: Floats  # (..., 1)
    own: Floats  # (..., L)
    own_total: Floats  # (..., 1)
    sizes: NDArray[np.int64]  # (L,)
    rows: int


def statistics(sums: Sums, estimator: str) -> tuple[Floats, Floats]:
    """The statistic of every labelling, and within what others tie with that of the first.

    Relabellings that tie in theory differ by rounding. Where kernel values of both signs cancel,
    the diagonal tells how large those are that were added.
    """
    size, rest = sums.sizes, sums.rows - sums.sizes
    labelled, between = sums.within, sums.row - sums.within
    other = sums.total - 2 * sums.row + sums.within
    if estimator == "biased":
        labelled = (labelled + sums.own) / size**2
        other = (other + (sums.own_total - sums.own)) / rest**2
    else:
        labelled, other = labelled / (size * (size - 1)), other / (rest * (rest - 1))
    between = between / (size * rest)
    magnitude = np.abs(labelled) + np.abs(other) + 2 * np.abs(between)
    tolerance = np.maximum(
        2.0**-40 * magnitude[..., :1], 2.0**-44 * np.abs(sums.own_total) / sums.rows
    )
    return labelled + other - 2 * between, tolerance


def pvalue(observed: float, null: Floats, tolerance: float) -> float:
    """(1 + #{T_b ≥ T_0 − τ}) / (1 + B)."""
    below = int(np.count_nonzero(null < observed - tolerance))
    return (1 + len(null) - below) / (1 + len(null))


def pack(columns: Iterator[NDArray[np.bool_]], rows: int, count: int) -> Words:
    """Labellings as the engine reads them: bit i % 64 of word [i // 64, b] is row i of column b."""
    words = np.zeros(((rows + 63) // 64, count), dtype=np.uint64)
    padded = np.zeros(8 * len(words), dtype=np.uint8)
    for b, column in enumerate(columns):
        packed = np.packbits(column, bitorder="little")
        padded[: len(packed)] = packed
        words[:, b] = padded.view("<u8")
    return words


def own_sums(words: Words, own: Floats) -> Floats:
    """Sum of k(z_i, z_i) over the rows labelled 1, for each labelling."""
    count = words.shape[1]
    sums = np.zeros(count)
    step = max(1, (1 << 15) // count)
    for start in range(0, len(words), step):
        some = words[start : start + step]
        bits = np.unpackbits(some.astype("<u8").view(np.uint8), axis=1, bitorder="little")
        mine = np.zeros((len(some), 64))
        mine.flat[: len(own) - 64 * start] = own[64 * start : 64 * (start + len(some))]
        sums += np.einsum("wbi,wi->b", bits.reshape(len(some), count, 64), mine)
    return sums


def signs(n: int, count: int, rng: Any) -> Iterator[NDArray[np.bool_]]:
    """True for the pairs that keep their sign: first all of them, then at random."""
    yield np.ones(n, dtype=np.bool_)
    for _ in range(count):
        yield rng.integers(2, size=n, dtype=np.uint8).astype(np.bool_)


def signed_sums(within: Floats, row: Floats, total: Floats) -> Floats:
    """Σ_{i≠j} ε_i ε_j h_ij from the sums of the labels V = (1 + ε) / 2."""
    return 4 * (within - row) + total


def by_appearance(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels as 0, 1, 2, ... in the order in which they first appear."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes]


class Exchange:
    """What a permutation test exchanges: rows, or groups of rows, all or within strata."""

    def __init__(self, n: int, m: int, groups: Any = None, strata: Any = None) -> None:
        rows = n + m
        self.unit = np.arange(rows)
        if groups is not None:
            self.unit = by_appearance(validate.labels("groups", groups, "x and y together", rows))
        first = np.unique(self.unit, return_index=True)[1]
        self.is_x = first < n
        mixed = np.flatnonzero(self.is_x[self.unit] != (np.arange(rows) < n))
        if mixed.size:
            raise ValueError(
                f"groups are exchanged whole, but the group of row {mixed[0] - n} of y also has "
                f"rows in x: row {first[self.unit[mixed[0]]]}"
            )
        stratum = np.zeros(len(first), dtype=np.int64)
        if strata is not None:
            of_row = by_appearance(validate.labels("strata", strata, "x and y together", rows))
            stratum = of_row[first]
            split = np.flatnonzero(of_row != stratum[self.unit])
            if split.size:
                raise ValueError(
                    f"groups are exchanged within strata, but pooled rows "
                    f"{first[self.unit[split[0]]]} and {split[0]} share a group and not a stratum"
                )
        self.rows, self.few_are_y = rows, m < n
        self.strata = [np.flatnonzero(stratum == s) for s in range(int(stratum.max()) + 1)]

    def columns(self, count: int, rng: Any) -> Iterator[NDArray[np.bool_]]:
        """Whether each row is called x: first as observed, then in `count` random relabellings."""
        yield self.is_x[self.unit]
        sizes = [int(self.is_x[units].sum()) for units in self.strata]
        for _ in range(count):
            is_x = np.zeros(len(self.is_x), dtype=np.bool_)
            for units, size in zip(self.strata, sizes, strict=True):
                is_x[units[rng.permutation(len(units))[:size]]] = True
            yield is_x[self.unit]

    def words(self, count: int, rng: Any) -> tuple[Words, NDArray[np.int64]]:
        """The packed `columns` with the smaller sample labelled 1, and its size in each.

        What is not labelled comes out as a difference, which would cancel for a small sample.
        """
        sizes = np.empty(count + 1, dtype=np.int64)

        def labelled() -> Iterator[NDArray[np.bool_]]:
            for b, is_x in enumerate(self.columns(count, rng)):
                column = ~is_x if self.few_are_y else is_x
                sizes[b] = column.sum()
                yield column

        return pack(labelled(), self.rows, count + 1), sizes
