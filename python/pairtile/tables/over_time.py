"""Drift of a table over time: each period of it against one reference.

reference, frame -> rows by period -> one encoding of all -> a joint test per period -> Holm
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._front import frames, scalars
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile.tables import features as parts
from pairtile.tables.encode import without_missing
from pairtile.tables.examination import (
    Options,
    UndecidableError,
    bandwidth,
    column_warnings,
    encoded_by,
    joint_test,
    streams,
)
from pairtile.tables.text import over_time_as_text
from pairtile.two_sample import AggregatedTest
from pairtile.two_sample.results import holm

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Progress, Report
    from pairtile._front.words import NullMethod
    from pairtile.tables.encode import Encoded
    from pairtile.tables.features import Tables

FREQUENCIES = ("D", "W", "M", "Q", "Y")


class _Period(NamedTuple):
    label: str
    n: int
    statistic: float | None
    pvalue: float | None
    pvalue_adjusted: float | None
    drift: bool


class Period(Result, _Period):
    """One period against the reference.

    Attributes
    ----------
    label : str
        "2024-05-13" for a day or for the week that begins on this Monday, "2024-05", "2024Q2",
        "2024"; without `freq` the value itself.
    n : int
        Rows of the period.
    statistic, pvalue : float or None
        Of its joint test; None where it has fewer than `min_rows` rows. (An aggregated test has
        no single statistic: None.)
    pvalue_adjusted : float or None
        By Holm's method, over the periods that were tested.
    drift : bool
        Whether that is at most alpha.
    """


@dataclass(frozen=True, repr=False)
class DriftOverTime(Result):
    """A table against one reference, period by period.

    Its `str` is at most a screen, its `repr` a line.

    Attributes
    ----------
    periods : list of Period
        In the order of time, of numbers, or of first appearance; those without rows are left out.
    alpha : float
        Level of all periods together.
    by : str
        The column that says which period a row is of.
    freq : str or None
        "D", "W", "M", "Q", "Y", or None where each value is a period.
    warnings : list of str
        What was done to the tables, and what limits the answer.
    test_name : str
        "energy", "mmd", "aggregated" or "sliced".
    n_reference : int
        Rows of reference given.
    seed : int or None
        `rng`, where it was a seed.
    """

    periods: list[Period]
    alpha: float
    by: str
    freq: str | None
    warnings: list[str]
    test_name: str
    n_reference: int
    seed: int | None

    @property
    def drift(self) -> bool:
        """Whether any period drifted."""
        return any(period.drift for period in self.periods)

    def _brief(self) -> dict[str, Any]:
        names = ("alpha", "by", "freq", "test_name")
        drifted = sum(period.drift for period in self.periods)
        return {"periods": f"{drifted} of {len(self.periods)} drifted"} | {
            name: getattr(self, name) for name in names
        }

    def __str__(self) -> str:
        return over_time_as_text(self)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """A page of one file for others: the periods, their picture and the warnings.

        Parameters
        ----------
        path : str or path-like, optional
            Where to write it.

        Returns
        -------
        str or None
            The page, without a path.
        """
        from pairtile.tables import report

        return report.write(report.of_periods(self), path)

    def plot(self) -> Any:
        """One Matplotlib figure; needs the extra ``plot``.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from pairtile.tables import figures

        return figures.of_periods(self)

    def _repr_html_(self) -> str:
        from pairtile.tables import report

        return report.periods_in_notebook(self)


def drift_over_time(
    reference: Any,
    frame: Any,
    by: str,
    *,
    freq: str | None = None,
    min_rows: int = 20,
    alpha: float = 0.05,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    test: str = "energy",
    n_permutations: int | None = None,
    missing: str = "indicator",
    standardize: bool | str = "auto",
    max_rows: int = 20_000,
    workers: int | None = None,
    progress: Progress = False,
    rng: Any = None,
    method: NullMethod | None = None,
) -> DriftOverTime:
    """When did a table drift? Each period of it is tested against the reference.

    Parameters
    ----------
    reference, frame : frame
        Tables as in `drift`, with named columns.
    by : str
        Column of `frame` that says which period a row is of. It is no feature, and `reference`
        need not have it.
    freq : {"D", "W", "M", "Q", "Y"}, optional
        Length of a period where that column holds dates: a day, a week from Monday on, a month, a
        quarter or a year (of UTC where dates have a time zone). By default each value is a
        period.
    min_rows : int, default 20
        A period of fewer rows is listed and not tested.
    alpha : float, default 0.05
        Of all periods together, by Holm's method.
    n_permutations : int, optional
        Of each test; 999, or twice the number of periods over alpha if that is more: with fewer,
        no p-value could pass Holm's method.
    columns, drop, test, missing, standardize, workers, progress, rng, method
        As in `drift`.
    max_rows : int, default 20,000
        Of the reference, and of each period.

    Returns
    -------
    DriftOverTime
        Print it, or see `DriftOverTime.to_html`, `DriftOverTime.plot`, `DriftOverTime.to_dict`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable, as in `drift`; besides, a `by` that `frame` does not
        have, or `freq` where it holds no dates.

    Notes
    -----
    The encoding is one for all: medians, scales and levels are those of the reference and of all
    periods together, so that statistics of different periods can be compared. It does not look at
    which period a row is of, so that each p-value has its level.

    O(Σ_t (n + m_t)² d) operations for periods of m_t rows.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> days = np.datetime64("2024-01-01") + np.arange(90)
    >>> old = pa.table({"load": rng.normal(size=200)})
    >>> load = rng.normal(size=90) + (days >= np.datetime64("2024-03-01"))
    >>> new = pa.table({"load": load, "day": days})
    >>> result = pt.drift_over_time(old, new, "day", freq="M", rng=0)
    >>> [(period.label, period.drift) for period in result.periods]
    [('2024-01', False), ('2024-02', False), ('2024-03', True)]
    """
    chosen = Options(
        tests=(test,),
        alpha=alpha,
        n_permutations=999 if n_permutations is None else n_permutations,
        missing=missing,
        standardize=standardize,
        max_rows=max_rows,
        method=method,
        workers=workers,
    )
    scalars.count("min_rows", min_rows)
    if freq is not None:
        scalars.choice("freq", freq, FREQUENCIES)
    by = str(by)
    labels, period_of = _periods(frame, by, freq)
    dropped = [] if drop is None else drop
    if isinstance(dropped, str) or by not in dropped:
        dropped = dropped if isinstance(dropped, str) else [*dropped, by]
    names = ("reference", "frame")
    tables = parts.pair(reference, frame, columns=columns, drop=dropped, names=names)
    n_reference = tables.reference.rows
    warnings = []
    if unknown := int(np.count_nonzero(period_of < 0)):
        warnings.append(f"{unknown:,} rows of frame have no {by!r} and are left out")
    tables, kept = without_missing(tables, missing)
    if (lost := n_reference + len(period_of) - len(kept[0]) - len(kept[1])) > 0:
        warnings.append(f"missing='drop' left out {lost:,} rows of reference and frame together")
    period_of, n_used = period_of[kept[1]], tables.reference.rows

    sizes = np.bincount(period_of[period_of >= 0], minlength=len(labels))
    tested = [t for t, size in enumerate(sizes) if size >= min_rows]
    draw_x, draw_y, shuffle, seed = streams(rng)
    found: dict[int, tuple[float | None, float]] = {}
    if tested:
        if n_permutations is None:
            chosen = replace(chosen, n_permutations=max(999, math.ceil(2 * len(tested) / alpha)))
        elif len(tested) > alpha * (1 + n_permutations):
            warnings.append(
                f"with {n_permutations} permutations no p-value of {len(tested)} periods can be at "
                f"most alpha = {alpha:g} by Holm's method; more are needed"
            )
        tables, rows = _sampled(tables, period_of, tested, max_rows, (draw_x, draw_y))
        if sum(rows) < n_used + sum(int(sizes[t]) for t in tested):
            warnings.append(
                f"compared on random samples of at most max_rows={max_rows:,} rows of reference "
                "and of each period"
            )
        columns_of_both = parts.joined(tables)
        encoded = encoded_by(columns_of_both, standardize, warnings)
        warnings += column_warnings(columns_of_both, names)
        slices = np.split(encoded.current, np.cumsum(rows[1:])[:-1])
        pairs = [(len(encoded.reference) + len(y)) ** 2 for y in slices]
        with reporting(progress, *pairs) as reports:
            for t, y, report in zip(tested, slices, reports, strict=True):
                one = encoded._replace(current=y)
                try:
                    found[t] = _tested(one, test, chosen, seed, shuffle, report)
                except UndecidableError as error:
                    warnings.append(f"period {labels[t]!r} was not tested: {error}")
    else:
        longer = "" if freq == "Y" else "; a longer freq makes larger ones"
        if freq is None:
            longer = "; each value is a period, freq='W' makes weeks of dates"
        warnings.append(f"no period has min_rows={min_rows:,} rows: nothing was tested{longer}")
    return DriftOverTime(
        periods=_judged(labels, sizes, found, alpha),
        alpha=float(alpha),
        by=by,
        freq=freq,
        warnings=warnings,
        test_name=test,
        n_reference=n_reference,
        seed=int(rng) if isinstance(rng, (int, np.integer)) else None,
    )


def _sampled(
    tables: Tables,
    period_of: NDArray[np.int64],
    tested: list[int],
    most: int,
    draws: tuple[np.random.Generator, np.random.Generator],
) -> tuple[Tables, list[int]]:
    """At most so many rows of the reference and of each period, one after another; how many."""
    of_reference = _some(np.arange(tables.reference.rows), most, draws[0])
    of_periods = [_some(np.flatnonzero(period_of == t), most, draws[1]) for t in tested]
    sizes = [len(rows) for rows in (of_reference, *of_periods)]
    return tables.rows(of_reference, np.concatenate(of_periods)), sizes


def _judged(
    labels: list[str],
    sizes: NDArray[np.int64],
    found: dict[int, tuple[float | None, float]],
    alpha: float,
) -> list[Period]:
    """All periods with what was found of those that were tested, by Holm's method."""
    adjusted = dict(zip(found, holm([p for _, p in found.values()]), strict=True))
    periods = []
    for t, (label, size) in enumerate(zip(labels, sizes, strict=True)):
        statistic, p = found.get(t, (None, None))
        q = adjusted.get(t)
        periods.append(Period(label, int(size), statistic, p, q, q is not None and q <= alpha))
    return periods


def _some(rows: NDArray[np.int64], most: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of the rows, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(draw.choice(rows, most, replace=False))


def _tested(
    encoded: Encoded,
    test: str,
    options: Options,
    rng: Any,
    shuffle: np.random.Generator,
    report: Report | None,
) -> tuple[float | None, float]:
    """Statistic and p-value of one period."""
    sigma = bandwidth(encoded, options, None) if test == "mmd" else None
    result = joint_test(test, encoded, options, sigma, rng=rng, shuffle=shuffle, report=report)
    statistic = None if isinstance(result, AggregatedTest) else result.statistic
    return statistic, result.pvalue


def _periods(frame: Any, by: str, freq: str | None) -> tuple[list[str], NDArray[np.int64]]:
    """Labels of the periods, and which of them each row is of; −1 for none."""
    if not frames.is_frame(frame):
        raise TypeError(
            f"frame must be a table with named columns, one of which says when; got "
            f"{type(frame).__name__}"
        )
    (column,) = frames.read("frame", frame, [by]).columns
    if column.kind == "number" and (np.abs(column.values) >= 2.0**53).any():
        raise ValueError(
            f"column {by!r} of frame holds numbers from 2^53 on, which float64 cannot tell apart; "
            "pass it as strings or dates"
        )
    if freq is not None and column.kind != "date":
        raise TypeError(
            f"freq={freq!r} needs dates, and column {by!r} of frame is {column.kind} "
            f"({column.dtype}); convert it, with pandas.to_datetime say, or leave freq out: each "
            "value is then a period"
        )
    if column.kind in ("list", "other"):
        raise TypeError(
            f"column {by!r} of frame ({column.dtype}) must hold dates, numbers or strings"
        )
    values = column.values
    present = np.ones(len(values), dtype=np.bool_)
    if column.missing is not None:
        present = ~column.missing
    period_of = np.full(len(values), -1, dtype=np.int64)
    if column.kind in ("text", "category"):
        position: dict[str, int] = {}
        period_of[present] = [position.setdefault(v, len(position)) for v in values[present]]
        return list(position), period_of
    if column.kind == "date":
        values = _beginnings(values, freq)
    different, period_of[present] = np.unique(values[present], return_inverse=True)
    return _labels(different, freq), period_of


def _beginnings(dates: NDArray[Any], freq: str | None) -> NDArray[Any]:
    """The first day of each date's period."""
    if freq is None:
        return dates
    if freq == "W":
        days = dates.astype("datetime64[D]")
        since_monday = (days - np.datetime64("1970-01-05")).astype(np.int64) % 7
        return days - np.where(np.isnat(days), 0, since_monday)
    if freq == "Q":
        months = dates.astype("datetime64[M]")
        in_quarter = months.astype(np.int64) % 3
        return months - np.where(np.isnat(months), 0, in_quarter)
    return dates.astype(f"datetime64[{freq}]")


def _labels(values: NDArray[Any], freq: str | None) -> list[str]:
    if values.dtype.kind != "M":
        return [frames.level_text(v) for v in values]
    if freq == "Q":
        months = values.astype(np.int64)
        return [f"{1970 + month // 12}Q{month % 12 // 3 + 1}" for month in months]
    if freq is None and (values == values.astype("datetime64[D]")).all():
        values = values.astype("datetime64[D]")
    return [str(v) for v in values]
