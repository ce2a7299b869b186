"""Two tables in, a decision out: what `examination` finds, as a result and for one test.

tables -> Examination -> Drift -> text, data, report, figures
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front.results import Result
from pairtile.tables.examination import Examination, Options, examine
from pairtile.tables.features import pair
from pairtile.tables.text import drift_as_text

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pairtile._front.progress import Progress
    from pairtile._front.words import NullMethod
    from pairtile.tables.columns import ColumnDrift
    from pairtile.tables.profile import Profile
    from pairtile.tables.rows import RowDrift
    from pairtile.two_sample import AggregatedTest, TestResult


@dataclass(frozen=True, repr=False)
class Drift(Result):
    """Whether two tables differ, and in what.

    Its `str` is at most a screen, its `repr` a line.

    Attributes
    ----------
    drift : bool
        Whether `pvalue` is at most `alpha`.
    pvalue, alpha : float
        Of the one joint test, and its level.
    test : TestResult or AggregatedTest
        Of all columns together.
    columns : list of ColumnDrift
        Each column by itself, in the table's order. They explain and do not decide.
    rows : list of RowDrift
        The rows of current that are least like reference, first the one that is least so.
    warnings : list of str
        What was done to the tables, and what limits the answer.
    n_reference, n_current : int
        Rows given.
    sampled : tuple of two ints, or None
        Rows used of each, where not all were.
    test_name : str
        "energy", "mmd", "aggregated" or "sliced".
    seed : int or None
        `rng`, where it was a seed.
    profiles : dict
        By the names of the columns, small distributions before and after (`Profile`). They are
        for pictures, and no part of `to_dict`.
    """

    drift: bool
    pvalue: float
    alpha: float
    test: TestResult | AggregatedTest
    columns: list[ColumnDrift]
    rows: list[RowDrift]
    warnings: list[str]
    n_reference: int
    n_current: int
    sampled: tuple[int, int] | None
    test_name: str
    seed: int | None
    profiles: dict[str, Profile]

    def _items(self) -> dict[str, Any]:
        return {k: v for k, v in super()._items().items() if k != "profiles"}

    def _brief(self) -> dict[str, Any]:
        names = ("drift", "pvalue", "alpha", "test_name", "n_reference", "n_current")
        found = [c.name for c in self.columns if c.pvalue_adjusted <= self.alpha]
        return {name: getattr(self, name) for name in names} | {
            "columns": f"{len(found)} of {len(self.columns)} drifted"
        }

    def __str__(self) -> str:
        return drift_as_text(self)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """A page of one file for others: decision, columns with their distributions, rows.

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

        return report.write(report.of_drift(self), path)

    def plot(self) -> Any:
        """One Matplotlib figure; needs the extra ``plot``.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from pairtile.tables import figures

        return figures.of_drift(self)

    def _repr_html_(self) -> str:
        from pairtile.tables import report

        return report.drift_in_notebook(self)


def drift(
    reference: Any,
    current: Any,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    test: str = "energy",
    alpha: float = 0.05,
    n_permutations: int = 999,
    missing: str = "indicator",
    standardize: bool | str = "auto",
    max_rows: int = 20_000,
    top: int = 10,
    workers: int | None = None,
    progress: Progress = False,
    rng: Any = None,
    method: NullMethod | None = None,
) -> Drift:
    """Did the distribution of a table change? One decision, and the columns and rows behind it.

    Parameters
    ----------
    reference, current : frame, series or array_like
        As in `encode`: tables with the same names of columns in any order, of numbers, flags,
        categories, dates, strings and lists of one length; or arrays of numbers of shape (n, d)
        and (m, d), or of one feature.
    columns, drop : sequence of str, optional
        Columns to compare, and columns to leave out. The tables may have others besides.
    test : {"energy", "mmd", "aggregated", "sliced"}
        The joint test, of the matrices of `encode`: `energy_test`, `mmd_test` with a Gaussian
        kernel of median bandwidth (of more than 5,000 rows together the median of 2,048 drawn
        from them), `mmd_aggregated_test` or `sliced_test`.
    alpha : float, default 0.05
        In (0, 1): how often a change is found where there is none.
    n_permutations : int, default 999
        Of the joint test.
    missing : {"indicator", "drop", "raise"}
        As in `encode`.
    standardize : {"auto", True, False}
        As in `encode`; "auto" does so where the scales of columns differ by more than 10×, and
        says so in `warnings`. The scale of a number, flag or date is its standard deviation in
        both tables together, that of a category √Σ_l p_l(1 − p_l); constant columns have none.
    max_rows : int, default 20,000
        Of each table, at least 2; of a larger one as many rows are drawn at random.
    top : int, default 10
        How many rows of current to name.
    workers, progress
        As in `knn`.
    rng : int, numpy.random.Generator or None
        One seed gives one answer.
    method : str, optional
        How the test finds its null distribution, as in the function of that name. By default
        "permutation" up to 5,000 rows of both tables together, and where one has more than 1,000
        times the rows of the other; else (energy, mmd) "cheap_permutation", of rows in random
        order.

    Returns
    -------
    Drift
        Print it, or see `Drift.to_html`, `Drift.plot`, `Drift.to_dict`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable; of tables as in `encode`. Also where the test needs a
        scale and more than half of all pairs of rows are equal: ``test="energy"`` needs none.

    Notes
    -----
    The joint test has the level alpha for rows that are independent, whatever the columns are:
    what is done to columns looks at both tables together and not at which row is whose. Tests of
    single columns use Holm's method among themselves and decide nothing.

    O((n + m)² d) operations for d columns of the matrices; memory O((n + m) d), never n x m.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> income = rng.lognormal(10, 1, 500)
    >>> old = pa.table({"income": income[:300], "city": rng.choice(["A", "B"], 300)})
    >>> new = pa.table({"city": rng.choice(["A", "B", "C"], 200), "income": income[300:]})
    >>> found = pt.drift(old, new, rng=0)
    >>> found.drift, [c.name for c in found.columns if c.pvalue_adjusted < 0.05]
    (True, ['city'])

    References
    ----------
    Székely and Rizzo, "Testing for equal distributions in high dimension", InterStat 5 (2004).
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979).
    """
    options = Options(
        tests=(test,),
        alpha=alpha,
        n_permutations=n_permutations,
        missing=missing,
        standardize=standardize,
        max_rows=max_rows,
        top=top,
        method=method,
        workers=workers,
    )
    tables = pair(reference, current, columns=columns, drop=drop)
    found = examine(tables, options, rng=rng, progress=progress)
    if test not in found.results:
        raise ValueError(f"test={test!r}: {found.reasons[test]}; test='energy' needs none of that")
    return as_drift(found, test, rng)


def as_drift(found: Examination, test: str, rng: Any) -> Drift:
    """What was found, with one of its tests as the joint one."""
    return Drift(
        drift=found.drift,
        pvalue=found.pvalue,
        alpha=float(found.options.alpha),
        test=found.results[test],
        columns=found.columns,
        rows=found.rows,
        warnings=found.warnings,
        n_reference=found.n_reference,
        n_current=found.n_current,
        sampled=found.sampled,
        test_name=test,
        seed=int(rng) if isinstance(rng, (int, np.integer)) else None,
        profiles=found.profiles,
    )
