"""The comparison behind `pairtile compare`: two tables in, one `Comparison` out.

    tables -> random rows up to max_rows -> standardize -> sigma -> tests -> witness -> Comparison

Nothing is read or printed here: `io` loads what comes in, `cli` prints what goes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import pairtile
from pairtile.app.io import InputError

if TYPE_CHECKING:
    from pairtile.app.io import Table

    Array = np.ndarray[Any, Any]

_TOP_ROWS = 10


@dataclass(frozen=True)
class Options:
    """What the command line sets; the defaults are the command's."""

    n_permutations: int = 999
    rng: int = 0
    alpha: float = 0.05
    max_rows: int = 20_000
    standardize: bool = False


@dataclass(frozen=True)
class Comparison:
    """Every number of the report."""

    n_reference: int
    n_current: int
    d: int
    alpha: float
    mmd: float
    mmd_pvalue: float
    sigma: float
    energy: float
    energy_pvalue: float
    sliced_wasserstein: float
    sliced_wasserstein_error: float
    prdc: dict[str, float] | None
    top_rows: list[tuple[int, float]]

    @property
    def adjusted_pvalue(self) -> float:
        """The smaller of the two p-values, Holm-adjusted for there being two."""
        return min(1.0, 2.0 * min(self.mmd_pvalue, self.energy_pvalue))

    @property
    def drift(self) -> bool:
        """Whether that p-value is at most alpha."""
        return self.adjusted_pvalue <= self.alpha

    def as_json(self) -> dict[str, Any]:
        """The fields of ``--json``."""
        return {
            "version": pairtile.__version__,
            "n_reference": self.n_reference,
            "n_current": self.n_current,
            "d": self.d,
            "alpha": self.alpha,
            "drift": self.drift,
            "mmd": {"statistic": self.mmd, "pvalue": self.mmd_pvalue, "sigma": self.sigma},
            "energy": {"statistic": self.energy, "pvalue": self.energy_pvalue},
            "sliced_wasserstein": self.sliced_wasserstein,
            "prdc": self.prdc,
            "top_rows": [{"index": index, "witness": value} for index, value in self.top_rows],
        }


def compare(reference: Table, current: Table, options: Options) -> Comparison:
    """Test whether two tables come from one distribution, and find the rows that say not.

    Raises
    ------
    InputError
        If the tables have different columns, or the median distance between their rows gives no
        bandwidth, because it is 0 or its square is outside the range of float64.
    """
    _check_columns(reference, current)
    # Three streams of one seed: which rows are taken must not depend on the tests, and both tests
    # get the seed itself, so that pairtile.mmd_test(x, y, rng=seed) gives the same p-value.
    draw_reference, draw_current = map(
        np.random.default_rng, np.random.SeedSequence(options.rng).spawn(2)
    )
    x, _ = _take(reference.values, options.max_rows, draw_reference)
    y, rows = _take(current.values, options.max_rows, draw_current)
    if options.standardize:
        x, y = _standardize(x, y)

    sigma = pairtile.median_distance(x, y, progress=True)
    if sigma == 0:
        raise InputError(
            "the median distance between rows is 0, more than half of all pairs being equal: "
            "there is no scale to compare at"
        )
    if not 1e-150 < sigma < 1e150:
        raise InputError(
            f"the median distance between rows is {sigma:g}, whose square float64 cannot hold; "
            "bring the columns nearer to 1"
        )
    kernel = pairtile.Gaussian(sigma)
    test: dict[str, Any] = {
        "n_permutations": options.n_permutations,
        "rng": options.rng,
        "progress": True,
    }
    mmd = pairtile.mmd_test(x, y, kernel=kernel, **test)
    energy = pairtile.energy_test(x, y, **test)
    sliced = pairtile.sliced_wasserstein(x, y, rng=options.rng, full=True, progress=True)
    assert isinstance(sliced, pairtile.SlicedResult)  # full=True; a float without
    witness = pairtile.witness(y, x, y, kernel=kernel, progress=True)
    top = np.argsort(witness, kind="stable")[:_TOP_ROWS]
    return Comparison(
        n_reference=len(x),
        n_current=len(y),
        d=x.shape[1],
        alpha=options.alpha,
        mmd=mmd.statistic,
        mmd_pvalue=mmd.pvalue,
        sigma=sigma,
        energy=energy.statistic,
        energy_pvalue=energy.pvalue,
        sliced_wasserstein=sliced.value,
        sliced_wasserstein_error=sliced.standard_error,
        prdc=_prdc(x, y),
        top_rows=[(int(rows[i]), float(witness[i])) for i in top],
    )


def _check_columns(reference: Table, current: Table) -> None:
    d, d_current = reference.values.shape[1], current.values.shape[1]
    if d != d_current:
        raise InputError(f"REFERENCE has {d} features per row, CURRENT has {d_current}")
    if reference.columns is not None and current.columns is not None:
        pairs = zip(reference.columns, current.columns, strict=True)
        for index, (name, other) in enumerate(pairs):
            if name != other:
                raise InputError(
                    f"column {index} is {name!r} in REFERENCE and {other!r} in CURRENT"
                )


def _take(values: Array, max_rows: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """At most `max_rows` random rows, in file order, and their indices in the file."""
    if len(values) <= max_rows:
        return values, np.arange(len(values))
    rows = np.sort(rng.choice(len(values), max_rows, replace=False))
    return np.asarray(values[rows]), rows


def _standardize(x: Array, y: Array) -> tuple[Array, Array]:
    """Centre and scale each column over both tables together.

    Over both, because a relabelling of the rows must leave the scaling as it is: only then are
    the permutation p-values those of the scaled data. Constant columns are left unscaled.
    """
    pooled = np.concatenate([x, y]).astype(np.float64)
    constant = pooled.max(axis=0) == pooled.min(axis=0)
    pooled -= pooled.mean(axis=0)
    pooled /= np.where(constant, 1.0, pooled.std(axis=0))
    return pooled[: len(x)], pooled[len(x) :]


def _prdc(x: Array, y: Array) -> dict[str, float] | None:
    """Precision, recall, density and coverage; None where too few rows have five neighbours."""
    k = 5
    if min(len(x), len(y)) <= k:
        return None
    return pairtile.precision_recall_density_coverage(x, y, k=k, progress=True)._asdict()
