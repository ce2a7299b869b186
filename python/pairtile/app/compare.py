"""The comparison behind `pairtile compare`: two tables in, one `Comparison` out.

    tables -> tables.examination: tests, columns, rows -> distances and coverage -> Comparison

Nothing is read or printed here: `io` loads what comes in, `pair` makes it fit, `cli` prints what
goes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pairtile
from pairtile.app.errors import InputError
from pairtile.tables import features
from pairtile.tables.drift import as_drift
from pairtile.tables.examination import Options as Examined
from pairtile.tables.examination import examine
from pairtile.two_sample import TestResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairtile._front.words import NullMethod
    from pairtile.app.table import Table
    from pairtile.tables.drift import Drift
    from pairtile.tables.examination import Examination

_NEIGHBOURS = 5  # of precision, recall, density and coverage
_OPTIONS = {
    "standardize=True": "--standardize",
    "missing='drop'": "--missing drop",
    "max_rows=": "--max-rows ",
    "drop=": "--drop",
}


@dataclass(frozen=True)
class Options:
    """What the command line sets; the defaults are the command's."""

    n_permutations: int = 999
    rng: int = 0
    alpha: float = 0.05
    max_rows: int = 20_000
    standardize: bool | None = None
    test: str | None = None
    method: NullMethod | None = None
    missing: str = "indicator"

    @property
    def tests(self) -> tuple[str, ...]:
        """Those that decide."""
        return ("mmd", "energy") if self.test is None else (self.test,)

    @property
    def too_few_permutations(self) -> str | None:
        """Why no drift can be found with so few, if it cannot."""
        smallest = len(self.tests) / (1 + self.n_permutations)
        if smallest <= self.alpha or self.method in ("gamma", "spectrum"):
            return None
        return (
            f"{self.n_permutations} permutations give no {'adjusted ' * (len(self.tests) > 1)}"
            f"p-value below {smallest:.3g}, which is above alpha {self.alpha:g}: drift cannot be "
            "found"
        )


@dataclass(frozen=True)
class Comparison:
    """Every number of the report."""

    options: Options
    found: Examination
    notes: list[str]
    sliced_wasserstein: float
    sliced_wasserstein_error: float
    prdc: dict[str, float] | None

    @property
    def drift(self) -> bool:
        """Whether the adjusted p-value is at most alpha."""
        return self.found.drift

    @property
    def undecided(self) -> str | None:
        """Why nothing can be said: too few rows, or no scale to compare at.

        Too few permutations are said beforehand, and are the caller's own choice.
        """
        results = self.found.results.values()
        exact = any(getattr(result, "null", None) == "exact" for result in results)
        if results and self.options.too_few_permutations and not exact:
            return None
        return self.found.undecidable

    @property
    def n_reference(self) -> int:
        """Rows of REFERENCE that were compared."""
        return len(self.found.encoded.reference)

    @property
    def n_current(self) -> int:
        """Rows of CURRENT that were compared."""
        return len(self.found.encoded.current)

    @property
    def d(self) -> int:
        """How many columns were compared."""
        return len(self.found.columns)

    def as_json(self) -> dict[str, Any]:
        """The fields of ``--json``."""
        found = self.found
        tests: dict[str, Any] = {}
        for name in dict.fromkeys(("mmd", "energy", *self.options.tests)):
            result = found.results.get(name)
            tests[name] = None
            if isinstance(result, TestResult):
                tests[name] = {"statistic": result.statistic, "pvalue": result.pvalue}
            elif result is not None:
                tests[name] = {"statistic": None, "pvalue": result.pvalue}
        if tests["mmd"] is not None:
            tests["mmd"]["sigma"] = found.sigma
        return {
            "version": pairtile.__version__,
            "n_reference": self.n_reference,
            "n_current": self.n_current,
            "rows_given": [found.n_reference, found.n_current],
            "d": self.d,
            "alpha": self.options.alpha,
            "drift": self.drift,
            "undecided": self.undecided,
            "pvalue_adjusted": found.pvalue if math.isfinite(found.pvalue) else None,
            **tests,
            "null": self.null,
            "sliced_wasserstein": self.sliced_wasserstein,
            "sliced_wasserstein_error": self.sliced_wasserstein_error,
            "prdc": self.prdc,
            "top_rows": [{"index": row.index, "witness": row.witness} for row in found.rows],
            "rows": [row.to_dict() for row in found.rows],
            "columns": [column.to_dict() for column in found.columns],
            "warnings": self.warnings,
        }

    @property
    def null(self) -> str | None:
        """Where the null distributions come from; both tests have theirs from one place."""
        nulls = (getattr(result, "null", None) for result in self.found.results.values())
        return next(nulls, None)

    @property
    def warnings(self) -> list[str]:
        """What is to be said about the files, then about the comparison."""
        return [*self.notes, *map(_in_options, self.found.warnings)]

    def as_drift(self) -> Drift:
        """The same as `pairtile.drift` returns, for the page: of two tests the decisive one."""
        found = self.found
        if not found.results:
            raise InputError(f"no page can be written: {found.undecidable or self.warnings[-1]}")
        decisive = min(found.results, key=lambda test: found.results[test].pvalue)
        page = as_drift(found, decisive, self.options.rng)
        both = "decided by the tests of energy and MMD together: p is the smaller one, adjusted"
        said = [both] if len(found.results) > 1 else []
        return replace(page, warnings=said + self.warnings)


def compare(
    reference: Table, current: Table, options: Options, notes: Sequence[str] = ()
) -> Comparison:
    """Test whether two tables come from one distribution, and find what says not.

    Parameters
    ----------
    reference, current : Table
        As `pair.fit` makes them.
    options : Options
        As the command line has them.
    notes : sequence of str
        What is to be said besides.

    Raises
    ------
    InputError
        If no row is left, or the null distribution asked for is not one of such samples.
    """
    frames = reference.frame(), current.frame()
    for table, frame in zip((reference, current), frames, strict=True):
        if options.missing == "drop" and features.incomplete(frame).all():
            raise InputError(
                f"{table.path}: every row lacks a value, and --missing drop leaves none"
            )
    try:
        found = examine(
            features.Tables(*frames, ("REFERENCE", "CURRENT")),
            Examined(
                tests=options.tests,
                alpha=options.alpha,
                n_permutations=options.n_permutations,
                missing=options.missing,
                standardize="auto" if options.standardize is None else options.standardize,
                max_rows=options.max_rows,
                rows_without_drift=False,
                method=options.method,
            ),
            rng=options.rng,
            progress=True,
        )
    except ValueError as error:
        if options.method is None:
            raise
        raise InputError(f"--method {options.method}: {error}") from error
    x, y = found.encoded.reference, found.encoded.current
    sliced = pairtile.sliced_wasserstein(x, y, rng=options.rng, full=True, progress=True)
    assert isinstance(sliced, pairtile.SlicedResult)  # full=True; a float without
    return Comparison(
        options=options,
        found=found,
        notes=list(notes),
        sliced_wasserstein=sliced.value,
        sliced_wasserstein_error=sliced.standard_error,
        prdc=_prdc(x, y),
    )


def _in_options(warning: str) -> str:
    """A warning of `pairtile.drift` in the command's words for its keywords."""
    for keyword, option in _OPTIONS.items():
        warning = warning.replace(keyword, option)
    return warning


def _prdc(x: Any, y: Any) -> dict[str, float] | None:
    """Precision, recall, density and coverage; None where too few rows have five neighbours."""
    if min(len(x), len(y)) <= _NEIGHBOURS:
        return None
    result = pairtile.precision_recall_density_coverage(x, y, k=_NEIGHBOURS, progress=True)
    return {name: getattr(result, name) for name in ("precision", "recall", "density", "coverage")}
