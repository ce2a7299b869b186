"""Relabellings of a pooled sample, and the statistics that follow from their label sums.

A relabelling is a 0/1 column V_b over the rows (or over the pairs of a wild bootstrap), packed 64
rows to a word; what the engine gives back for it are V_b'KV_b and V_b'K1.

    labels, all or drawn -> words -> kernel_label_sums -> Sums -> statistics, ties -> p-value
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pairtile._front import validate
from pairtile._front.warned import warn
from pairtile.two_sample import shuffles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]


_BITS_OF_BYTES = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


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


def at_least(values: Floats, tolerance: float) -> int:
    """#{b ≥ 0: T_b ≥ T_0 − τ}: the observed value, which comes first, is one of them."""
    return len(values) - int(np.count_nonzero(values < values[0] - tolerance))


def packed(labels: NDArray[np.bool_]) -> Words:
    """Labellings of rows, one in each line: bit i % 64 of word i // 64 is row i."""
    count, rows = labels.shape
    padded = np.zeros((count, 8 * ((rows + 63) // 64)), dtype=np.uint8)
    padded[:, : (rows + 7) // 8] = np.packbits(labels, axis=1, bitorder="little")
    words: Words = padded.view("<u8").astype(np.uint64, copy=False)
    return words


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


class Relabellings(Protocol):
    """What can be relabelled at random and, where there are few ways to, in all of them."""

    def count(self, limit: int | None = None) -> int:
        """How many there are, the observed one included; above `limit`, any number above it."""
        ...

    def at_random(self, count: int, rng: Any) -> Iterator[NDArray[Any]]:
        """Batches of them: the observed one, then `count` at random."""
        ...

    def every(self) -> Iterator[NDArray[Any]]:
        """Batches of them: the observed one, then all others, each once."""
        ...


class Plan(NamedTuple):
    """The relabellings that a test looks at; the first is the observed one."""

    null: str  # "exact" where they are all there are, else "permutation"
    batches: Iterator[NDArray[Any]]
    total: int


def plan(relabellings: Relabellings, n_permutations: int, method: str, rng: Any) -> Plan:
    """All relabellings if there are no more than `n_permutations`, else that many at random.

    With the method "random" always at random.
    """
    if method == "permutation":
        every = relabellings.count(n_permutations)
        if every <= n_permutations:
            return Plan("exact", relabellings.every(), every)
    return Plan("permutation", relabellings.at_random(n_permutations, rng), 1 + n_permutations)


def binomial(n: int, k: int, limit: int | None = None) -> int:
    """Binomial coefficient; above `limit`, any number above it, found in no time."""
    if limit is None:
        return math.comb(n, k)
    value = 1
    for i in range(min(k, n - k)):
        value = value * (n - i) // (i + 1)
        if value > limit:
            break
    return value


def _ways(sizes: NDArray[np.int64], chosen: NDArray[np.bool_], limit: int | None) -> int:
    """In how many ways units can be chosen that have as many rows as those that are.

    By dynamic programming over the units: how many choices of the first few have 0, 1, 2, ... rows.
    """
    if not (sizes != sizes[0]).any():
        return binomial(len(sizes), int(chosen.sum()), limit)
    # those of both sides by turns, small ones first: the count passes a limit early
    rank = np.empty(len(sizes))
    for side in (chosen, ~chosen):
        rank[np.flatnonzero(side)[np.argsort(sizes[side], kind="stable")]] = np.arange(
            side.sum()
        ) / max(1, side.sum())
    target = min(int(sizes[chosen].sum()), int(sizes[~chosen].sum()))
    smaller = chosen if target == sizes[chosen].sum() else ~chosen
    small = limit is not None and limit < 2**61  # so that sums of two counts fit
    ways = np.zeros(target + 1, dtype=np.int64 if small else object)
    ways[0] = 1
    done = 0
    for unit in np.argsort(rank, kind="stable"):
        size = int(sizes[unit])
        if size <= target:
            ways[size:] = ways[size:] + ways[: target + 1 - size]
        done += size * int(smaller[unit])
        if limit is not None:
            np.minimum(ways, limit + 1, out=ways)
            if ways[done] > limit:  # with the units to come as they are
                break
    return int(ways[done])


def _choices(sizes: NDArray[np.int64], chosen: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Every choice of units that has as many rows as the given one, in lexicographic order."""
    if not (sizes != sizes[0]).any():
        return list(itertools.combinations(range(len(sizes)), int(chosen.sum())))
    rows = int(sizes[chosen].sum())
    # bit r: whether some of the units from here on have r rows together
    reach = [1]
    for size in sizes[::-1].tolist():
        reach.append((reach[-1] | reach[-1] << size) & ((2 << rows) - 1))
    begun: list[tuple[tuple[int, ...], int]] = [((), rows)]
    for unit, (size, onward) in enumerate(zip(sizes.tolist(), reach[-2::-1], strict=True)):
        begun = [
            (some, rest)
            for before, missing in begun
            for some, rest in (((*before, unit), missing - size), (before, missing))
            if rest >= 0 and onward >> rest & 1
        ]
    return [some for some, _ in begun]


def pairs_of_rows(n: int, m: int, **others: Any) -> NDArray[np.int64]:
    """The strata that `paired=True` stands for; it takes no others."""
    for name, given in others.items():
        if given is not None:
            raise ValueError(f"paired=True makes strata of pairs of rows and takes no {name}")
    if n != m:
        raise ValueError(f"paired=True needs as many rows in x as in y, got {n} and {m}")
    return np.tile(np.arange(n), 2)


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
            names = validate.labels("strata", strata, "x and y together", rows)
            of_row = by_appearance(names)
            stratum = of_row[first]
            split = np.flatnonzero(of_row != stratum[self.unit])
            if split.size:
                raise ValueError(
                    f"groups are exchanged within strata, but pooled rows "
                    f"{first[self.unit[split[0]]]} and {split[0]} share a group and not a stratum"
                )
        self.rows, self.few_are_y = rows, m < n
        self.sizes = np.bincount(self.unit)
        self.strata = np.split(
            np.argsort(stratum, kind="stable"), np.cumsum(np.bincount(stratum))[:-1]
        )
        if strata is not None:
            self._warn_if_nothing_moves(names)

    def _warn_if_nothing_moves(self, names: NDArray[Any]) -> None:
        """UserWarning that names strata if none of them has rows of both samples."""
        of_x = [bool(self.is_x[units[0]]) for units in self.strata]
        for units, one in zip(self.strata, of_x, strict=True):
            if (self.is_x[units] != one).any():
                return
        first = [int(np.argmax(self.unit == units[0])) for units in self.strata[:3]]
        some = ", ".join(
            f"{names[row].item()!r} rows of {'x' if one else 'y'} only"
            for row, one in zip(first, of_x, strict=False)
        )
        warn(
            f"no stratum has rows of both samples, so nothing can be exchanged and p is 1: of "
            f"{len(of_x)} strata, {some}"
        )

    def count(self, limit: int | None = None) -> int:
        """How many relabellings leave x its number of rows, in each stratum.

        Groups of one size that are exchanged one for one do. The observed one is among them. If
        there are more than `limit`, some number above it.
        """
        total = 1
        for units in self.strata:
            total *= _ways(self.sizes[units], self.is_x[units], limit)
            if limit is not None and total > limit:
                break
        return total

    def at_random(self, count: int, rng: Any) -> Iterator[Words]:
        """Labels 1 of the rows called x, 64 to a word: as observed, then `count` times at random.

        As `rng.permutation` of the units of each stratum in turn leaves them, of which the first
        are x's.
        """
        yield packed(self.is_x[self.unit][None])
        chosen = [self.is_x[units].sum() for units in self.strata]
        unit = None if len(self.is_x) == self.rows else self.unit
        yield from shuffles.labels(rng, shuffles.Cells.of(self.strata), chosen, unit, count)

    def every(self) -> Iterator[Words]:
        """As `at_random`, every relabelling that `count` counts, each once.

        In lexicographic order, in which the observed one is first: units of x precede those of y.
        """
        choices = [_choices(self.sizes[units], self.is_x[units]) for units in self.strata]
        ways = itertools.product(*choices)
        while some := list(itertools.islice(ways, 64)):
            is_x = np.zeros((len(some), len(self.is_x)), dtype=np.bool_)
            for of_units, chosen in zip(is_x, some, strict=True):
                for units, these in zip(self.strata, chosen, strict=True):
                    of_units[units[list(these)]] = True
            yield packed(is_x[:, self.unit])

    def words(self, batches: Iterator[Words]) -> tuple[Words, NDArray[np.int64]]:
        """Labellings as the engine reads them, the smaller sample labelled 1, and its sizes.

        What is not labelled comes out as a difference, which would cancel for a small sample.
        """
        labels = np.concatenate(list(batches))
        sizes = _ones(labels)
        if self.few_are_y:
            labels = ~labels
            labels[:, -1] &= np.uint64((1 << (self.rows - 1) % 64 + 1) - 1)
            sizes = self.rows - sizes
        return np.ascontiguousarray(labels.T), sizes


def _ones(labels: Words) -> NDArray[np.int64]:
    """How many rows each labelling labels 1."""
    counts: NDArray[np.int64] = _BITS_OF_BYTES[labels.view(np.uint8)].sum(axis=1, dtype=np.int64)
    return counts
