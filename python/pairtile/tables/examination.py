"""The core of `drift` and of the command: all that is found out about two tables.

tables -> rows (missing, sampled) -> Features -> matrices -> joint tests, Holm: the decision
-> tests of single columns, distributions
-> rows of current by the witness function
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front import scalars
from pairtile._front.frames import listed
from pairtile._front.progress import reporting
from pairtile.kernels import Gaussian, median_distance
from pairtile.tables import features as parts
from pairtile.tables.columns import ColumnDrift, column_tests
from pairtile.tables.encode import RATIO, differing_scales, of_features, without_missing
from pairtile.tables.profile import Profile, profile
from pairtile.tables.rows import RowDrift, drifted_rows
from pairtile.two_sample import (
    AggregatedTest,
    TestResult,
    energy_test,
    mmd_aggregated_test,
    mmd_test,
    sliced_test,
)
from pairtile.two_sample.relabelling import binomial
from pairtile.two_sample.results import holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.frames import Column
    from pairtile._front.progress import Progress, Report
    from pairtile._front.words import NullMethod
    from pairtile.tables.encode import Encoded
    from pairtile.tables.features import Feature, Tables

TESTS = ("energy", "mmd", "aggregated", "sliced")
_ALL_PAIRS = 5_000  # pooled rows up to which every relabelling moves single rows
_MOST_TIMES = 1_000  # what one table may have of the rows of the other for bins of one size
_BANDWIDTHS = (1e-150, 1e150)  # what can be squared


class UndecidableError(ValueError):
    """A test that these tables do not allow, whatever the options: there is no scale, or no row."""


@dataclass(frozen=True)
class Options:
    """How two tables are examined; see `drift`."""

    tests: tuple[str, ...] = ("energy",)
    alpha: float = 0.05
    n_permutations: int = 999
    missing: str = "indicator"
    standardize: bool | str = "auto"
    max_rows: int = 20_000
    top: int = 10
    rows_without_drift: bool = True
    method: NullMethod | None = None
    max_categories: int = 50
    workers: int | None = None

    def __post_init__(self) -> None:
        for test in self.tests:
            scalars.choice("test", test, TESTS)
        if not 0 < scalars.real("alpha", self.alpha) < 1:
            raise ValueError(f"alpha must be above 0 and below 1, got {self.alpha!r}")
        scalars.count("n_permutations", self.n_permutations)
        scalars.choice("missing", self.missing, parts.MISSING)
        if self.standardize != "auto" and not isinstance(self.standardize, (bool, np.bool_)):
            raise ValueError(f"standardize must be 'auto', True or False, got {self.standardize!r}")
        scalars.count("max_rows", self.max_rows, least=2)
        scalars.count("top", self.top, least=0)


@dataclass(frozen=True)
class Examination:
    """All that was found.

    Attributes
    ----------
    results : dict
        By the names of the tests that could be computed.
    reasons : dict
        By the names of the others, why not.
    sigma : float or None
        Bandwidth of the MMD test.
    pvalue : float
        Of the test; of several the smallest, adjusted by Holm's method. nan without any.
    undecidable : str or None
        Why nothing can be said at this alpha.
    encoded : Encoded
        What was tested, of the rows used.
    """

    options: Options
    results: dict[str, TestResult | AggregatedTest]
    reasons: dict[str, str]
    sigma: float | None
    pvalue: float
    undecidable: str | None
    columns: list[ColumnDrift]
    profiles: dict[str, Profile]
    rows: list[RowDrift]
    warnings: list[str]
    n_reference: int
    n_current: int
    sampled: tuple[int, int] | None
    encoded: Encoded

    @property
    def drift(self) -> bool:
        """Whether the p-value is at most alpha."""
        return self.pvalue <= self.options.alpha


def examine(
    tables: Tables, options: Options, *, rng: Any = None, progress: Progress = False
) -> Examination:
    """Test two tables (`features.pair`) jointly and column by column, and find the rows."""
    warnings: list[str] = []
    shares = _missing_shares(tables)
    draw_x, draw_y, shuffle, seed = streams(rng)
    given = tables.reference.rows, tables.current.rows
    tables, kept = without_missing(tables, options.missing)
    if (left := (len(kept[0]), len(kept[1]))) != given:
        warnings.append(
            f"missing='drop' left out {given[0] - left[0]:,} of {given[0]:,} rows of "
            f"{tables.names[0]} and {given[1] - left[1]:,} of {given[1]:,} of {tables.names[1]}"
        )
    tables, used, sampled = sample(tables, options.max_rows, draw_x, draw_y)
    if sampled:
        warnings.append(
            f"compared on random samples, {sampled[0]:,} of {left[0]:,} rows of "
            f"{tables.names[0]} and {sampled[1]:,} of {left[1]:,} of {tables.names[1]}; "
            f"max_rows={options.max_rows:,} sets how many"
        )
    features = parts.joined(tables, options.max_categories)
    encoded = encoded_by(features, options.standardize, warnings)
    warnings += column_warnings(features, tables.names)

    rows_of_both = len(encoded.reference) + len(encoded.current)
    half = rows_of_both**2 // 2
    sizes = [half] * len(options.tests)
    sizes += [half * ("mmd" in options.tests)]
    sizes += [len(encoded.current) * rows_of_both * bool(options.top)]
    with reporting(progress, *sizes) as (*of_tests, of_median, of_rows):
        results, reasons, sigma = _joint_tests(
            encoded, options, rng=seed, shuffle=shuffle, reports=of_tests, of_median=of_median
        )
        warnings += [f"the {test} test was not computed: {why}" for test, why in reasons.items()]
        pvalue = min(holm([r.pvalue for r in results.values()]), default=math.nan)
        varies = any(parts.scale(feature) > 0 for feature in features)
        undecidable = _undecidable(results, reasons, options, encoded) if varies else None
        if undecidable and results:
            warnings.insert(0, undecidable)
        rows: list[RowDrift] = []
        if results and (options.rows_without_drift or pvalue <= options.alpha):
            labels = tables.current.index
            positions = kept[1][used[1]]
            rows = drifted_rows(
                encoded,
                options.top,
                positions,
                labels,
                sigma,
                workers=options.workers,
                report=of_rows,
            )
    columns = column_tests(features, [shares[f.name] for f in features])
    warnings += apart_warning(columns, options.alpha)
    return Examination(
        options=options,
        results=results,
        reasons=reasons,
        sigma=sigma,
        pvalue=pvalue,
        undecidable=undecidable,
        columns=columns,
        profiles={f.name: profile(f) for f in features},
        rows=rows,
        warnings=warnings,
        n_reference=given[0],
        n_current=given[1],
        sampled=sampled,
        encoded=encoded,
    )


def _joint_tests(
    encoded: Encoded,
    options: Options,
    *,
    rng: Any,
    shuffle: np.random.Generator,
    reports: list[Report | None],
    of_median: Report | None,
) -> tuple[dict[str, TestResult | AggregatedTest], dict[str, str], float | None]:
    """Results by test, why others were not computed, and the bandwidth of the test that has one."""
    sigma = None
    results: dict[str, TestResult | AggregatedTest] = {}
    reasons: dict[str, str] = {}
    for test, report in zip(options.tests, reports, strict=True):
        try:
            if test == "mmd":
                sigma = bandwidth(encoded, options, of_median)
            results[test] = joint_test(
                test, encoded, options, sigma, rng=rng, shuffle=shuffle, report=report
            )
        except UndecidableError as error:
            reasons[test] = str(error)
    return results, reasons, sigma


def _missing_shares(tables: Tables) -> dict[str, tuple[float, float]]:
    """Of each column, and of each position of lists, in both tables."""
    shares = {}
    for x, y in zip(tables.reference.columns, tables.current.columns, strict=True):
        for j in range(max((c.values.shape[1] for c in (x, y) if c.kind == "list"), default=0)):
            shares[f"{x.name}[{j}]"] = _missing_share(x, j), _missing_share(y, j)
        shares[x.name] = _missing_share(x), _missing_share(y)
    return shares


def _missing_share(column: Column, position: int | None = None) -> float:
    if column.kind == "list" and position is not None and position < column.values.shape[1]:
        return float(np.isnan(column.values[:, position]).mean())
    return 0.0 if column.missing is None else float(column.missing.mean())


def streams(rng: Any) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator, Any]:
    """Generators of which rows of either table are used and in which order; and the tests' rng.

    The tests get a seed as it is: the functions of the same name then say the same.
    """
    if rng is None or isinstance(rng, (int, np.integer)):
        scalars.generator(rng)
        a, b, c = (np.random.default_rng(s) for s in np.random.SeedSequence(rng).spawn(3))
        return a, b, c, rng
    one = scalars.generator(rng)
    return one, one, one, one


def sample(
    tables: Tables, most: int, draw_x: np.random.Generator, draw_y: np.random.Generator
) -> tuple[Tables, tuple[NDArray[np.int64], NDArray[np.int64]], tuple[int, int] | None]:
    """At most so many random rows of either table, in their order; which, and how many if fewer."""
    rows = []
    for frame, draw in zip(tables[:2], (draw_x, draw_y), strict=True):
        if frame.rows <= most:
            rows.append(np.arange(frame.rows))
        else:
            rows.append(np.sort(draw.choice(frame.rows, most, replace=False)))
    sizes = len(rows[0]), len(rows[1])
    if sizes == (tables.reference.rows, tables.current.rows):
        return tables, (rows[0], rows[1]), None
    return tables.rows(rows[0], rows[1]), (rows[0], rows[1]), sizes


def encoded_by(features: list[Feature], standardize: bool | str, warnings: list[str]) -> Encoded:
    """The matrices, standardised where `standardize` says so, and what is to be said of scales."""
    differing = differing_scales(features)
    scaled = bool(differing) if standardize == "auto" else bool(standardize)
    if differing and not (scaled and standardize != "auto"):
        smallest, largest = differing
        scales = (
            f"the scales of columns differ by more than {RATIO:g}× (smallest {smallest!r}, "
            f"largest {largest!r})"
        )
        warnings.append(
            f"{scales}: all columns were standardized"
            if scaled
            else f"{scales} and the largest decide; standardize=True evens them out"
        )
    return of_features(features, standardize=scaled)


def column_warnings(features: list[Feature], names: tuple[str, str]) -> list[str]:
    """What is to be said of columns that say little."""
    said = []
    empty = [f.name for f in features if not any(map(len, f.present))]
    if empty:
        said.append(f"without any value: {listed(empty)}")
    constant = [
        f.name
        for f in features
        if f.name not in empty and parts.scale(f) == 0 and not any(m.any() for m in f.missing)
    ]
    if constant:
        said.append(f"constant over both tables: {listed(constant)}")
    for feature in features:
        lacking = [name for name, a in zip(names, feature.present, strict=True) if not len(a)]
        if len(lacking) == 1:
            said.append(f"column {feature.name!r} has no value in {lacking[0]}")
        if feature.kind == "text":
            said.append(
                f"column {feature.name!r} has so many different values that only the "
                f"{len(feature.levels) - 1} commonest count, the rest as one: {parts.OTHER!r}"
            )
    return said


def apart_warning(columns: list[ColumnDrift], alpha: float) -> list[str]:
    """What is to be said of columns in which the tables have nothing in common."""
    apart = [
        c.name
        for c in columns
        if c.kind != "flag" and c.effect > 1 - 1e-9 and c.pvalue_adjusted <= alpha
    ]
    if not apart:
        return []
    return [
        f"the tables have no values in common in {listed(apart)}: if that is so by nature, as with "
        "identifiers and times of entry, leave such columns out with drop="
    ]


def bandwidth(encoded: Encoded, options: Options, report: Report | None) -> float:
    """The median distance; UndecidableError where it is none for a kernel."""
    x, y = encoded.reference, encoded.current
    if min(len(x), len(y)) < 2:
        raise UndecidableError("it needs at least two rows of each table")
    # Of many rows, the median over some of them, drawn whatever their table: it is right to one per
    # cent, and otherwise as costly as the test.
    sigma = median_distance(
        x,
        y,
        exact=len(x) + len(y) <= _ALL_PAIRS,
        rng=0,
        workers=options.workers,
        progress=report or False,
    )
    if sigma == 0:
        raise UndecidableError(
            "the median distance between rows is 0, more than half of all pairs being equal: "
            "there is no scale to compare at"
        )
    if not _BANDWIDTHS[0] < sigma < _BANDWIDTHS[1]:
        raise UndecidableError(
            f"the median distance between rows is {sigma:g}, whose square float64 cannot hold; "
            "bring the columns nearer to 1"
        )
    return sigma


def joint_test(
    test: str,
    encoded: Encoded,
    options: Options,
    sigma: float | None,
    *,
    rng: Any,
    shuffle: np.random.Generator,
    report: Report | None,
) -> TestResult | AggregatedTest:
    """The one test that decides."""
    x, y = encoded.reference, encoded.current
    common: dict[str, Any] = {
        "n_permutations": options.n_permutations,
        "rng": rng,
        "workers": options.workers,
        "progress": report or False,
    }
    if test in ("aggregated", "sliced"):
        if options.method is not None:
            common["method"] = options.method
        if test == "sliced":
            if options.method not in (None, "permutation", "random"):
                raise ValueError(
                    "test='sliced' has the methods 'permutation' and 'random', got "
                    f"{options.method!r}"
                )
            return sliced_test(x, y, **common)
        if min(len(x), len(y)) < 2:
            raise UndecidableError("it needs at least two rows of each table")
        try:
            return mmd_aggregated_test(x, y, level=options.alpha, **common)
        except ValueError as error:
            if "no bandwidth" in str(error):
                raise UndecidableError(str(error)) from None
            raise
    method = options.method
    if method is None:
        small, large = sorted((len(x), len(y)))
        alone = small + large <= _ALL_PAIRS or large > _MOST_TIMES * small
        method = "permutation" if alone else "cheap_permutation"
    if method == "cheap_permutation":
        # it moves bins of rows that follow one another, which must not be alike by their order
        x, y = x[shuffle.permutation(len(x))], y[shuffle.permutation(len(y))]
    if test == "mmd":
        assert sigma is not None
        return mmd_test(x, y, kernel=Gaussian(sigma), method=method, **common)
    return energy_test(x, y, method=method, **common)


def _undecidable(
    results: dict[str, TestResult | AggregatedTest],
    reasons: dict[str, str],
    options: Options,
    encoded: Encoded,
) -> str | None:
    """Why no p-value could be at most alpha, whatever the rows were."""
    if not results:
        return "; ".join(reasons.values())
    n, m = len(encoded.reference), len(encoded.current)
    if options.method in ("gamma", "spectrum"):  # they approximate a limit
        return None
    relabellings = binomial(n + m, n, limit=10**15)
    if options.method == "wild_bootstrap":
        relabellings = 2 ** min(n, 50)
    ties = 2 if n == m else 1  # the samples in each other's place
    least = len(results) * ties / relabellings
    if least > options.alpha:
        return (
            f"with {n:,} and {m:,} rows no p-value can be below {min(least, 1):.3g}, and alpha is "
            f"{options.alpha:g}: nothing can be said without more rows"
        )
    least = len(results) / (1 + options.n_permutations)
    if least > options.alpha and relabellings > options.n_permutations:
        return (
            f"with {options.n_permutations} permutations no p-value can be below "
            f"{min(least, 1):.3g}, and alpha is {options.alpha:g}: nothing can be said without more"
        )
    return None
