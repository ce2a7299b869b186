"""MMD and energy distance, and their permutation tests.

Oracles: the definitions summed over explicit matrices, SciPy and dcor, and for the tests exact
arithmetic: relabellings that tie in theory are found with `decimal`, so that no rounding of the
oracle's own decides a p-value.
"""

from __future__ import annotations

import decimal
import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import on_backend
from processes import of_dcor
from strategies import DTYPES, LAYOUTS, SEEDS, cast, pairs_of_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native

ESTIMATORS = ("unbiased", "biased")
FEATURES = st.sampled_from([1, 2, 3, 5, 8, 17, 64])
ROWS = st.one_of(st.integers(2, 18), st.sampled_from([29, 33, 65]))


def within_mean(k: Floats, w: Floats, estimator: str) -> float:
    """Estimate of E k(X, X') from the kernel matrix of one sample."""
    products = np.outer(w, w)
    if estimator == "biased":
        return float(np.sum(products * k) / w.sum() ** 2)
    products[np.diag_indices(len(w))] = 0
    return float(np.sum(products * k) / (w.sum() ** 2 - np.sum(w**2)))


def definition(
    k: Callable[[Any, Any], Floats],
    x: Floats,
    y: Floats,
    estimator: str,
    v: Floats | None = None,
    w: Floats | None = None,
) -> float:
    """Ê k(x, x') + Ê k(y, y') − 2 Ê k(x, y)."""
    v = np.ones(len(x)) if v is None else v
    w = np.ones(len(y)) if w is None else w
    cross = float(v @ k(x, y) @ w / (v.sum() * w.sum()))
    return within_mean(k(x, x), v, estimator) + within_mean(k(y, y), w, estimator) - 2 * cross


def gaussian(gamma: float) -> Callable[[Any, Any], Floats]:
    return lambda a, b: np.exp(-gamma * cdist(a, b, "sqeuclidean"))


def riesz(exponent: float) -> Callable[[Any, Any], Floats]:
    return lambda a, b: -(cdist(a, b) ** exponent)


KERNELS: dict[str, tuple[Any, Callable[[Any, Any], Floats]]] = {
    "gaussian": (pt.Gaussian(gamma=0.25), gaussian(0.25)),
    "laplace": (pt.Laplace(2.0), lambda a, b: np.exp(-cdist(a, b) / 2)),
    "laplace_l1": (pt.Laplace(3.0, norm="l1"), lambda a, b: np.exp(-cdist(a, b, "cityblock") / 3)),
    "polynomial": (pt.Polynomial(3), lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3),
    "linear": ("linear", lambda a, b: a @ b.T),
    "energy": ("energy", riesz(1)),
    "sum": (
        pt.Gaussian(gamma=0.25) + 2 * pt.Gaussian(gamma=1.0) + 0.1 * pt.Energy(),
        lambda a, b: gaussian(0.25)(a, b) + 2 * gaussian(1.0)(a, b) + 0.1 * riesz(1)(a, b),
    ),
}


@pytest.fixture
def samples() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)), rng.normal(size=(45, 4)) + 0.3


# --- statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", KERNELS)
def test_mmd_is_its_definition(name, estimator, samples):
    x, y = samples
    kernel, formula = KERNELS[name]
    got = pt.mmd(x, y, kernel=kernel, estimator=estimator)
    assert isinstance(got, float)
    assert got == pytest.approx(definition(formula, x, y, estimator), rel=1e-10, abs=1e-13)
    narrow = pt.mmd(x.astype(np.float32), y.astype(np.float32), kernel=kernel, estimator=estimator)
    size = max(np.abs(formula(a, b)).max() for a, b in itertools.product((x, y), repeat=2))
    assert narrow == pytest.approx(got, abs=8e-6 * size)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", KERNELS)
def test_weighted_mmd_is_its_definition(name, estimator, samples):
    x, y = samples
    rng = np.random.default_rng(1)
    kernel, formula = KERNELS[name]
    positive = rng.random(60), 7 * rng.random(45)
    signed = rng.normal(size=60) + 0.5, rng.normal(size=45) - 0.5
    for v, w in ((positive[0], None), (None, positive[1]), positive, signed):
        got = pt.mmd(x, y, kernel=kernel, estimator=estimator, x_weights=v, y_weights=w)
        expected = definition(formula, x, y, estimator, v, w)
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_integer_weights_repeat_rows(samples):
    x, y = samples
    v, w = np.arange(60) % 4, 1 + np.arange(45) % 3
    repeated = np.repeat(x, v, axis=0), np.repeat(y, w, axis=0)
    weights = {"x_weights": v, "y_weights": w}
    for function, kernel in ((pt.mmd, {"kernel": pt.Gaussian(2.0)}), (pt.energy_distance, {})):
        kernel["estimator"] = "biased"
        got = function(x, y, **weights, **kernel)
        assert got == pytest.approx(function(*repeated, **kernel), rel=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_default_bandwidth_is_the_median_of_the_pooled_sample(samples, estimator):
    x, y = samples
    pooled = np.vstack([x, y])
    sigma = np.median(cdist(pooled, pooled)[np.triu_indices(105, 1)])
    expected = definition(gaussian(1 / (2 * sigma**2)), x, y, estimator)
    assert pt.mmd(x, y, estimator=estimator) == pytest.approx(expected, rel=1e-10)
    # scaling the data scales the bandwidth with it
    assert pt.mmd(x * 1e3, y * 1e3, estimator=estimator) == pytest.approx(expected, rel=1e-10)


def test_the_root_is_of_the_positive_part(samples):
    x, y = samples
    for function in (pt.mmd, pt.energy_distance):
        squared = function(x, y)
        assert squared > 0
        assert function(x, y, squared=False) == np.sqrt(squared)
        # halves of one sample: negative, so that the root is 0
        halves = [np.tile(a, (2, 1)) for a in (x[::2], x[::2])]
        assert function(*halves, estimator="unbiased") < 0
        assert function(*halves, estimator="unbiased", squared=False) == 0.0


@pytest.mark.parametrize("exponent", [0.1, 0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_energy_distance_is_its_definition(exponent, estimator, samples):
    x, y = samples
    options = {"exponent": exponent, "estimator": estimator}
    expected = definition(riesz(exponent), x, y, estimator)
    assert pt.energy_distance(x, y, **options) == pytest.approx(expected, rel=1e-10)
    rng = np.random.default_rng(2)
    v, w = rng.random(60), rng.random(45)
    expected = definition(riesz(exponent), x, y, estimator, v, w)
    got = pt.energy_distance(x, y, x_weights=v, y_weights=w, **options)
    assert got == pytest.approx(expected, rel=1e-9)
    # the kernel of the same name gives the same number
    got = pt.mmd(x, y, kernel=pt.Energy(exponent), estimator=estimator)
    assert got == pt.energy_distance(x, y, **options)


def test_energy_distance_is_the_square_of_scipys(samples):
    x, y = samples[0][:, 0], samples[1][:, 0]
    rng = np.random.default_rng(3)
    v, w = rng.random(60), rng.random(45)
    columns = x[:, None], y[:, None]
    expected = stats.energy_distance(x, y)
    assert pt.energy_distance(*columns, squared=False) == pytest.approx(expected, rel=1e-10)
    got = pt.energy_distance(*columns, x_weights=v, y_weights=w, squared=False)
    assert got == pytest.approx(stats.energy_distance(x, y, v, w), rel=1e-10)
    # values of 16 bits, as they are
    whole = np.round(4 * x).astype(np.int8), np.round(4 * y).astype(np.int8)
    got = pt.energy_distance(*(a[:, None] for a in whole), squared=False)
    assert got == pytest.approx(stats.energy_distance(*map(np.float64, whole)), rel=1e-6)


@pytest.mark.oracle("dcor")
def test_energy_distance_is_dcors(samples):
    x, y = samples
    kinds = {"biased": "V_STATISTIC", "unbiased": "U_STATISTIC"}
    cases = [(exponent, estimator) for exponent in (0.5, 1.0, 1.5) for estimator in kinds]
    expected = of_dcor(
        (
            f"dcor.energy_distance(x, y, exponent={exponent}, "
            f"estimation_stat=dcor.EstimationStatistic.{kinds[estimator]})"
            for exponent, estimator in cases
        ),
        x=x,
        y=y,
    )
    for (exponent, estimator), value in zip(cases, expected, strict=True):
        got = pt.energy_distance(x, y, exponent=exponent, estimator=estimator)
        assert got == pytest.approx(value, rel=1e-10)


def test_energy_distance_at_exponent_2_compares_means(samples):
    x, y = samples
    expected = 2 * np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    assert pt.energy_distance(x, y, exponent=2.0) == pytest.approx(expected, rel=1e-10)


def test_equal_samples_are_at_distance_zero(samples):
    x, _ = samples
    shuffled = np.random.default_rng(4).permutation(x)
    assert abs(pt.energy_distance(x, shuffled)) < 1e-12
    assert abs(pt.mmd(x, shuffled, estimator="biased")) < 1e-13


def orthogonal(rng: np.random.Generator, d: int) -> Floats:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


@given(
    sets=pairs_of_sets(rows=ROWS, features=FEATURES, kinds=["normal", "lattice", "clusters"]),
    seed=SEEDS,
    estimator=st.sampled_from(ESTIMATORS),
)
def test_statistics_do_not_see_order_place_or_orientation(sets, seed, estimator):
    x, y = (p.values for p in sets)
    rng = np.random.default_rng(seed)
    rotation = orthogonal(rng, x.shape[1])
    shift = 100 * rng.normal(size=x.shape[1])
    size = 1 + np.abs(np.vstack([x, y])).max()
    for statistic, largest in (
        (lambda a, b: pt.mmd(a, b, kernel=pt.Laplace(2.0), estimator=estimator), 1.0),
        (lambda a, b: pt.energy_distance(a, b, estimator=estimator), size * len(rotation) ** 0.5),
    ):
        expected = statistic(x, y)
        tolerance = 1e-11 * largest * (1 + 100 / size)
        for what, a, b in (
            ("shuffled", rng.permutation(x), rng.permutation(y)),
            ("swapped", y, x),
            ("moved", x + shift, y + shift),
            ("turned", x @ rotation, y @ rotation),
            ("mirrored", -x, -y),
        ):
            assert statistic(a, b) == pytest.approx(expected, abs=tolerance), what


@given(sets=pairs_of_sets(rows=ROWS, features=FEATURES), estimator=st.sampled_from(ESTIMATORS))
def test_energy_distance_of_any_data(sets, estimator):
    x, y = sets
    wide = "float64" in (x.array.dtype.name, y.array.dtype.name)
    got = pt.energy_distance(x.array, y.array, estimator=estimator)
    largest = max(cdist(a.values, b.values).max() for a, b in itertools.product(sets, repeat=2))
    expected = definition(riesz(1), x.values, y.values, estimator)
    bound = 4 * (1e-12 if wide else 2e-6)
    reached = abs(got - expected) / (largest or 1.0)
    assert reached <= bound, f"reached {reached:.3g} of the largest distance, bound {bound:g}"
    if estimator == "biased":
        assert got >= -bound * largest


def test_two_clusters_far_apart_in_float32():
    # The statistic is of the size of a cluster; the distances that make it are 1e4 times larger.
    rng = np.random.default_rng(5)
    x, y = (
        (rng.normal(size=(400, 8)) + 1e4 * (np.arange(400)[:, None] % 2)).astype(np.float32)
        for _ in range(2)
    )
    expected = definition(riesz(1), x.astype(float), y.astype(float), "biased")
    assert pt.energy_distance(x, y) == pytest.approx(expected, abs=2e-6 * 4e4)
    assert pt.energy_distance(x, y, precision="float64") == pytest.approx(expected, abs=1e-12 * 4e4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout(dtype):
    rng = np.random.default_rng(6)
    x, y = (cast(3 * rng.normal(size=(n, 7)), dtype) for n in (30, 20))
    values = x.astype(np.float64), y.astype(np.float64)
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    statistic = pt.mmd(x, y, kernel=pt.Gaussian(3.0))
    expected = definition(gaussian(1 / 18), *values, "unbiased")
    assert statistic == pytest.approx(expected, abs=4 * tolerance)
    test = pt.energy_test(x, y, n_permutations=19, rng=0)
    for layout in LAYOUTS.values():
        assert pt.mmd(layout(x), layout(y), kernel=pt.Gaussian(3.0)) == statistic
        again = pt.energy_test(layout(x), layout(y), n_permutations=19, rng=0)
        assert again.statistic == test.statistic
        np.testing.assert_array_equal(again.null_distribution, test.null_distribution)


@native
@given(sets=pairs_of_sets(rows=ROWS, features=FEATURES), seed=SEEDS)
def test_native_statistics_are_the_twins(sets, seed):
    x, y = (p.values for p in sets)
    rng = np.random.default_rng(seed)
    weights = {"x_weights": rng.random(len(x)) + 0.1, "y_weights": rng.random(len(y)) + 0.1}
    size = float(cdist(np.vstack([x, y]), np.vstack([x, y])).max()) or 1.0
    for estimator, options in itertools.product(ESTIMATORS, ({}, weights)):
        got = {}
        for name in ("native", "numpy"):
            with on_backend(name):
                got[name] = (
                    pt.mmd(x, y, kernel=pt.Gaussian(size / 3), estimator=estimator, **options),
                    pt.energy_distance(x, y, estimator=estimator, **options) / size,
                )
        np.testing.assert_allclose(got["native"], got["numpy"], rtol=0, atol=4e-12)


# --- permutation tests: the null distribution ---------------------------------------------------


def rows_called_x(
    n: int, m: int, draws: int, seed: int, groups: Any = None, strata: Any = None
) -> list[NDArray[np.intp]]:
    """What `rng.permutation(N)[:n]` chooses, draw after draw; of groups, and within strata."""
    rng = np.random.default_rng(seed)
    if groups is None and strata is None:
        return [rng.permutation(n + m)[:n] for _ in range(draws)]
    groups = list(range(n + m)) if groups is None else list(groups)
    strata = [0] * (n + m) if strata is None else list(strata)
    units = list(dict.fromkeys(groups))  # in order of appearance
    out = []
    for _ in range(draws):
        chosen: set[Any] = set()
        for stratum in dict.fromkeys(strata):
            mine = [g for g in units if strata[groups.index(g)] == stratum]
            n_x = sum(groups.index(g) < n for g in mine)
            chosen |= {mine[u] for u in rng.permutation(len(mine))[:n_x]}
        out.append(np.array([i for i, g in enumerate(groups) if g in chosen]))
    return out


def brute_null(
    k: Callable[[Any, Any], Floats],
    pooled: Floats,
    chosen: Sequence[NDArray[np.intp]],
    estimator: str,
) -> Floats:
    others = [np.setdiff1d(np.arange(len(pooled)), rows) for rows in chosen]
    return np.array(
        [
            definition(k, pooled[rows], pooled[rest], estimator)
            for rows, rest in zip(chosen, others, strict=True)
        ]
    )


def check_result(result: pt.TestResult, statistic: float, null: Floats, atol: float) -> None:
    assert isinstance(result.statistic, float)
    assert isinstance(result.pvalue, float)
    assert result.null_distribution.dtype == np.float64
    assert result.statistic == pytest.approx(statistic, abs=atol)
    np.testing.assert_allclose(result.null_distribution, null, rtol=0, atol=atol)
    # all values are far from the observed one, compared with rounding
    assert np.abs(null - statistic).min() > 100 * atol
    expected = (1 + np.count_nonzero(null >= statistic)) / (1 + len(null))
    assert result.pvalue == expected


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", KERNELS)
def test_the_null_distribution_is_that_of_the_drawn_relabellings(name, estimator, samples):
    x, y = samples
    kernel, formula = KERNELS[name]
    result = pt.mmd_test(x, y, kernel=kernel, estimator=estimator, n_permutations=40, rng=5)
    null = brute_null(formula, np.vstack(samples), rows_called_x(60, 45, 40, 5), estimator)
    check_result(result, definition(formula, x, y, estimator), null, 1e-11)


@pytest.mark.parametrize("exponent", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_null_distribution_of_the_energy_test(exponent, estimator, samples):
    result = pt.energy_test(
        *samples, exponent=exponent, estimator=estimator, n_permutations=40, rng=6
    )
    chosen = rows_called_x(60, 45, 40, 6)
    null = brute_null(riesz(exponent), np.vstack(samples), chosen, estimator)
    check_result(result, definition(riesz(exponent), *samples, estimator), null, 1e-11)


def test_the_default_kernel_keeps_the_pooled_median(samples):
    pooled = np.vstack(samples)
    sigma = np.median(cdist(pooled, pooled)[np.triu_indices(105, 1)])
    k = gaussian(1 / (2 * sigma**2))
    result = pt.mmd_test(*samples, n_permutations=25, rng=7)
    null = brute_null(k, pooled, rows_called_x(60, 45, 25, 7), "unbiased")
    check_result(result, definition(k, *samples, "unbiased"), null, 1e-12)


@pytest.mark.parametrize("count", [1, 6, 7, 8, 9, 15, 16, 30, 31, 32, 62, 63, 64, 65, 130])
def test_any_number_of_permutations(count):
    # labellings are looked up four at a time
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(13, 2)), rng.normal(size=(18, 2))
    result = pt.energy_test(x, y, n_permutations=count, rng=8)
    null = brute_null(riesz(1), np.vstack([x, y]), rows_called_x(13, 18, count, 8), "biased")
    check_result(result, definition(riesz(1), x, y, "biased"), null, 1e-13)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 40), (40, 1), (2, 2), (33, 225), (300, 20)])
def test_any_sizes(n, m):
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + 1
    estimators = ESTIMATORS if min(n, m) > 1 else ("biased",)
    for estimator in estimators:
        options = {"n_permutations": 12, "method": "random", "rng": 9}
        result = pt.energy_test(x, y, estimator=estimator, **options)
        chosen = rows_called_x(n, m, 12, 9)
        null = brute_null(riesz(1), np.vstack([x, y]), chosen, estimator)
        bound = 4e-12 * cdist(x, y).max()
        np.testing.assert_allclose(result.null_distribution, null, rtol=0, atol=bound)
        expected = definition(riesz(1), x, y, estimator)
        assert result.statistic == pytest.approx(expected, abs=bound)


GROUPS = np.repeat(np.arange(12), [3, 1, 4, 2, 2, 3, 3, 2, 5, 1, 3, 1])  # 6 of x, 6 of y


def test_groups_are_exchanged_whole():
    rng = np.random.default_rng(10)
    pooled = rng.normal(size=(30, 3)) + 2 * rng.normal(size=(12, 1))[GROUPS]
    x, y = pooled[:15], pooled[15:]
    chosen = rows_called_x(15, 15, 50, 10, groups=GROUPS)
    assert {len(rows) for rows in chosen} > {15}  # sizes differ from draw to draw
    for estimator in ESTIMATORS:
        null = brute_null(riesz(1), pooled, chosen, estimator)
        for labels in (GROUPS, [f"patient {100 - g}" for g in GROUPS], GROUPS - 7):
            result = pt.energy_test(
                x, y, estimator=estimator, groups=labels, n_permutations=50, rng=10
            )
            check_result(result, definition(riesz(1), x, y, estimator), null, 1e-12)


def test_groups_may_lie_scattered():
    rng = np.random.default_rng(11)
    order = np.concatenate([rng.permutation(15), 15 + rng.permutation(15)])
    groups = GROUPS[order]
    pooled = rng.normal(size=(30, 2))
    result = pt.energy_test(pooled[:15], pooled[15:], groups=groups, n_permutations=30, rng=11)
    null = brute_null(riesz(1), pooled, rows_called_x(15, 15, 30, 11, groups=groups), "biased")
    np.testing.assert_allclose(result.null_distribution, null, rtol=0, atol=1e-13)


def test_groups_of_one_row_are_no_groups(samples):
    plain = pt.mmd_test(*samples, n_permutations=20, rng=12)
    grouped = pt.mmd_test(*samples, groups=np.arange(105)[::-1], n_permutations=20, rng=12)
    np.testing.assert_array_equal(plain.null_distribution, grouped.null_distribution)
    one_stratum = pt.mmd_test(*samples, strata=["a"] * 105, n_permutations=20, rng=12)
    np.testing.assert_array_equal(plain.null_distribution, one_stratum.null_distribution)


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["rows", "groups"])
def test_strata_are_shuffled_within(groups):
    rng = np.random.default_rng(13)
    if groups is None:
        strata = rng.permutation(np.repeat(["a", "b", "c"], 10))
    else:
        strata = np.array(["a", "b", "a", "a", "b", "b"] * 2)[GROUPS]
    pooled = rng.normal(size=(30, 3)) + 3.0 * (strata == "a")[:, None]
    chosen = rows_called_x(15, 15, 50, 13, groups=groups, strata=strata)
    if groups is None:  # each stratum keeps its number of rows in x
        for rows in chosen:
            for s in "abc":
                assert np.sum(strata[rows] == s) == np.sum(strata[:15] == s)
    null = brute_null(riesz(1), pooled, chosen, "biased")
    result = pt.energy_test(
        pooled[:15], pooled[15:], groups=groups, strata=strata, n_permutations=50, rng=13
    )
    check_result(result, definition(riesz(1), pooled[:15], pooled[15:], "biased"), null, 1e-12)


@native
@given(
    sets=pairs_of_sets(rows=ROWS, features=FEATURES),
    seed=SEEDS,
    count=st.integers(1, 70),
    estimator=st.sampled_from(ESTIMATORS),
)
def test_one_seed_gives_one_null_on_both_backends(sets, seed, count, estimator):
    x, y = (p.array for p in sets)
    largest = float(cdist(*(p.values for p in sets)).max()) or 1.0
    results = []
    for name in ("native", "numpy"):
        with on_backend(name):
            results.append(
                pt.energy_test(x, y, estimator=estimator, n_permutations=count, rng=seed)
            )
    for a, b in zip(results[0], results[1], strict=True):
        scale = 1.0 if a is results[0].pvalue else 1e-10 * 4 * largest
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-15 if scale == 1.0 else scale)


# --- permutation tests: the p-value -------------------------------------------------------------

HALVES = list(itertools.combinations(range(8), 4))


def decimal_kernel(name: str, parameter: float) -> Callable[[Sequence[Any], Sequence[Any]], Any]:
    p = Decimal(parameter)

    def k(a, b):
        squares = sum(((u - v) ** 2 for u, v in zip(a, b, strict=True)), Decimal(0))
        if name == "energy":
            # 0.5 and 2 by roots and powers that decimal has
            root = squares.sqrt()
            return -(root if p == 1 else root.sqrt() if p == Decimal("0.5") else squares)
        if name == "gaussian":
            return (-p * squares).exp()
        if name == "laplace":
            return (-p * squares.sqrt()).exp()
        dot = sum((u * v for u, v in zip(a, b, strict=True)), Decimal(0))
        return dot if name == "linear" else (dot / len(a) + 1) ** int(p)

    return k


class Exact:
    """The statistic of each of the 70 ways to call 4 of 8 rows x, to 50 digits."""

    def __init__(self, pooled: Floats, k: Any, estimator: str):
        rows = [[Decimal(float(v)) for v in row] for row in pooled]
        self.matrix = [[k(a, b) for b in rows] for a in rows]
        self.estimator = estimator
        self.largest = max(abs(v) for row in self.matrix for v in row) or Decimal(1)
        self.means = {x: self._means(x) for x in HALVES}
        self.statistics = {x: xx + yy - 2 * xy for x, (xx, yy, xy) in self.means.items()}

    def _means(self, x: tuple[int, ...]) -> tuple[Any, Any, Any]:
        y = tuple(sorted(set(range(8)) - set(x)))
        return self._mean(x, x), self._mean(y, y), self._mean(x, y)

    def _mean(self, left: tuple[int, ...], right: tuple[int, ...]) -> Any:
        no_diagonal = left == right and self.estimator == "unbiased"
        pairs = [self.matrix[i][j] for i in left for j in right if not (no_diagonal and i == j)]
        return sum(pairs, Decimal(0)) / len(pairs)

    def tolerance(self, x: tuple[int, ...]) -> Any:
        """Within which the documentation counts ties; of its own rounding at least."""
        xx, yy, xy = self.means[x]
        stated = Decimal(2) ** -40 * (abs(xx) + abs(yy) + 2 * abs(xy))
        return max(stated, Decimal("1e-40") * self.largest)


def _reflected(rng: np.random.Generator) -> Floats:
    half = rng.normal(size=(4, 3))
    return np.vstack([half[:2], -half[:2], half[2:], -half[2:]])


TIED = {
    "no ties": lambda rng: rng.normal(size=(8, 3)),
    "integers": lambda rng: rng.integers(0, 3, size=(8, 2)).astype(np.float64),
    "a line of integers": lambda rng: rng.permutation(8).astype(np.float64)[:, None],
    "corners of a cube": lambda rng: rng.permutation(
        np.array(list(itertools.product([0.1, 0.7], repeat=3)))
    ),
    "reflected": _reflected,
    "repeated rows": lambda rng: rng.normal(size=(3, 2))[rng.integers(3, size=8)],
    "pairs": lambda rng: np.repeat(rng.normal(size=(4, 5)), 2, axis=0),
    "all equal": lambda rng: np.tile(rng.normal(size=(1, 3)), (8, 1)),
    "far away": lambda rng: 1e6 + rng.integers(0, 2, size=(8, 3)) / 8,
    "tiny": lambda rng: 1e-15 * rng.integers(0, 3, size=(8, 2)),
    "permuted columns": lambda rng: np.array(list(itertools.permutations(rng.normal(size=4))))[
        rng.permutation(24)[:8]
    ],
}
TESTED = {
    "energy": (lambda **o: pt.energy_test(**o), ("energy", 1.0)),
    "energy_half": (lambda **o: pt.energy_test(exponent=0.5, **o), ("energy", 0.5)),
    "energy_2": (lambda **o: pt.energy_test(exponent=2.0, **o), ("energy", 2.0)),
    "gaussian": (
        lambda **o: pt.mmd_test(kernel=pt.Gaussian(gamma=0.375), **o),
        ("gaussian", 0.375),
    ),
    "laplace": (lambda **o: pt.mmd_test(kernel=pt.Laplace(gamma=0.5), **o), ("laplace", 0.5)),
    "linear": (lambda **o: pt.mmd_test(kernel="linear", **o), ("linear", 0.0)),
    "polynomial": (lambda **o: pt.mmd_test(kernel=pt.Polynomial(3), **o), ("polynomial", 3.0)),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("statistic", TESTED)
@pytest.mark.parametrize("kind", TIED)
def test_relabellings_that_tie_in_theory_are_ties(kind, statistic, estimator):
    test, kernel = TESTED[statistic]
    draws, told_apart = 300, 0
    with decimal.localcontext(prec=50):
        for seed in range(8):
            pooled = TIED[kind](np.random.default_rng(seed))
            exact = Exact(pooled, decimal_kernel(*kernel), estimator)
            observed = exact.statistics[0, 1, 2, 3]
            tolerance = exact.tolerance((0, 1, 2, 3))
            # neither clearly a tie nor clearly none, for a fold with an error of its own
            doubtful = max(4 * tolerance, Decimal(2) ** -38 * exact.largest)
            if any(tolerance / 4 < observed - t < doubtful for t in exact.statistics.values()):
                continue
            told_apart += 1
            at_least = {x for x, t in exact.statistics.items() if t >= observed - tolerance}
            drawn = [tuple(sorted(rows)) for rows in rows_called_x(4, 4, draws, seed)]
            assert len(set(drawn)) > 60  # of 70
            given = {"x": pooled[:4], "y": pooled[4:], "estimator": estimator}
            result = test(n_permutations=draws, method="random", rng=seed, **given)
            null = [float(exact.statistics[x]) for x in drawn]
            atol = 1e-11 * float(exact.largest)
            np.testing.assert_allclose(result.null_distribution, null, rtol=1e-9, atol=atol)
            expected = (1 + sum(x in at_least for x in drawn)) / (1 + draws)
            assert result.pvalue == expected, (
                f"seed {seed}: p = {result.pvalue}, exactly {expected}; "
                f"{len(at_least)} of 70 splits are at least the observed one"
            )
            assert test(n_permutations=draws, **given).pvalue == len(at_least) / 70
    assert told_apart > 3


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("few_are", ["x", "y"])
def test_ties_of_very_unequal_samples(few_are, estimator):
    # Rows are copies of 6 points: relabellings with the same points among the few rows tie.
    rng = np.random.default_rng(19)
    points, few, many, draws = rng.normal(size=(6, 3)), 2, 3000, 200
    which = rng.integers(6, size=few + many)
    which[:few] = which[-few:] = [0, 1]
    n, m = (few, many) if few_are == "x" else (many, few)
    chosen = rows_called_x(n, m, draws, 19)
    if few_are == "y":
        chosen = [np.setdiff1d(np.arange(n + m), rows) for rows in chosen]
    counts = np.bincount(which, minlength=6)
    k = riesz(1)(points, points)

    def statistic(rows):
        of_few = np.bincount(which[rows], minlength=6)
        of_many = counts - of_few
        own = (few**2, many**2) if estimator == "biased" else (few**2 - few, many**2 - many)
        xx, yy = of_few @ k @ of_few / own[0], of_many @ k @ of_many / own[1]
        return xx + yy - 2 * of_few @ k @ of_many / (few * many)

    observed = statistic(np.arange(few))
    null = np.array([statistic(rows) for rows in chosen])
    ties = np.isclose(null, observed, rtol=0, atol=1e-9)
    assert 5 < ties.sum() < draws / 2
    result = pt.energy_test(
        points[which[:n]], points[which[n:]], estimator=estimator, n_permutations=draws, rng=19
    )
    assert result.pvalue == (1 + np.count_nonzero(ties | (null > observed))) / (1 + draws)
    np.testing.assert_allclose(result.null_distribution, null, rtol=0, atol=1e-11)


def check_uniform(pvalues: list[float], draws: int) -> None:
    """Kolmogorov–Smirnov against the discrete uniform on 1/(1+B), …, 1."""
    # p − U/(1 + B) is uniform on [0, 1] exactly when p is on its grid
    spread = np.random.default_rng(14).random(len(pvalues)) / (1 + draws)
    assert min(pvalues) >= 1 / (1 + draws)
    assert max(pvalues) <= 1
    assert stats.kstest(np.array(pvalues) - spread, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "test",
    [
        lambda x, y, **o: pt.mmd_test(x, y, **o),
        lambda x, y, **o: pt.mmd_test(x, y, kernel=pt.Laplace(1.5), estimator="biased", **o),
        lambda x, y, **o: pt.energy_test(x, y, **o),
        lambda x, y, **o: pt.energy_test(x, y, estimator="unbiased", **o),
    ],
    ids=["mmd", "mmd biased", "energy", "energy unbiased"],
)
def test_pvalues_are_uniform_under_the_null(test):
    rng = np.random.default_rng(15)
    pvalues = [
        test(rng.normal(size=(9, 2)), rng.normal(size=(7, 2)), n_permutations=49, rng=rng).pvalue
        for _ in range(400)
    ]
    check_uniform(pvalues, 49)


def test_pvalues_of_grouped_data_are_uniform_only_with_groups():
    # Rows of a group resemble each other: exchanging single rows takes them for drift.
    rng = np.random.default_rng(16)
    groups = np.repeat(np.arange(14), 3)
    with_groups, without = [], []
    for _ in range(400):
        pooled = rng.normal(size=(14, 2))[groups] + 0.2 * rng.normal(size=(42, 2))
        x, y = pooled[:21], pooled[21:]
        with_groups.append(pt.energy_test(x, y, groups=groups, n_permutations=49, rng=rng).pvalue)
        without.append(pt.energy_test(x, y, n_permutations=49, rng=rng).pvalue)
    check_uniform(with_groups, 49)
    assert np.mean(np.array(without) <= 0.05) > 0.2


def test_pvalues_of_stratified_data_are_uniform_only_with_strata():
    # x has more rows of stratum 0, which differ from those of stratum 1; within them nothing does
    rng = np.random.default_rng(17)
    strata = np.array([0] * 9 + [1] * 3 + [0] * 3 + [1] * 9)
    with_strata, without = [], []
    for _ in range(400):
        pooled = rng.normal(size=(24, 2)) + 3.0 * strata[:, None]
        x, y = pooled[:12], pooled[12:]
        with_strata.append(pt.energy_test(x, y, strata=strata, n_permutations=49, rng=rng).pvalue)
        without.append(pt.energy_test(x, y, n_permutations=49, rng=rng).pvalue)
    check_uniform(with_strata, 49)
    assert np.mean(np.array(without) <= 0.05) > 0.5


def test_drift_is_found():
    rng = np.random.default_rng(18)
    x, y = rng.normal(size=(100, 5)), rng.normal(size=(80, 5))
    for test in (pt.mmd_test, pt.energy_test):
        assert test(x, y, n_permutations=199, rng=0).pvalue > 0.05
        assert test(x, y + 0.8, n_permutations=199, rng=0).pvalue == 1 / 200
        # a change of spread, means equal
        assert test(x, 2.5 * y, n_permutations=199, rng=0).pvalue == 1 / 200


def test_the_seed_decides_and_999_is_the_default(samples):
    results = [pt.energy_test(*samples, rng=seed) for seed in (1, 1, 2, np.random.default_rng(1))]
    assert results[0].null_distribution.shape == (999,)
    np.testing.assert_array_equal(results[0].null_distribution, results[1].null_distribution)
    np.testing.assert_array_equal(results[0].null_distribution, results[3].null_distribution)
    assert not np.array_equal(results[0].null_distribution, results[2].null_distribution)
    assert len({r.statistic for r in results}) == 1


def test_the_statistic_is_what_the_plain_function_returns(samples):
    for estimator in ESTIMATORS:
        test = pt.mmd_test(*samples, estimator=estimator, n_permutations=5, rng=0)
        assert test.statistic == pytest.approx(pt.mmd(*samples, estimator=estimator), rel=1e-12)
        test = pt.energy_test(*samples, exponent=1.3, estimator=estimator, n_permutations=5, rng=0)
        plain = pt.energy_distance(*samples, exponent=1.3, estimator=estimator)
        assert test.statistic == pytest.approx(plain, rel=1e-12)


# --- sizes and signs ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_biased_statistics_are_never_negative(seed):
    """Of a sample and its own rows in another order all that is left is rounding."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rng.integers(3, 80), rng.integers(1, 6))) * 10.0 ** rng.integers(-3, 6)
    y = x[rng.permutation(len(x))]
    assert pt.energy_distance(x, y) >= 0
    assert pt.energy_distance(x, y, return_gradient=True).value >= 0
    assert pt.mmd(x, y, estimator="biased") >= 0
    test = pt.energy_test(x, y, n_permutations=9, rng=0)
    assert test.statistic >= 0
    assert test.null_distribution.min() >= 0


def test_kernels_that_are_not_positive_may_be_negative():
    x, y = np.array([[1.0], [-1.0]]), np.array([[3.0], [-3.0]])
    kernel = pt.Gaussian(1.0) + -4.0 * pt.Gaussian(3.0)
    assert pt.mmd(x, y, kernel=kernel, estimator="biased") < 0


@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e154, 1e200, 1e290])
@pytest.mark.parametrize("d", [1, 3])
def test_statistics_of_any_size(size, d, backend):
    x, y = np.random.default_rng(0).normal(size=(2, 20, d))
    y += 1
    with on_backend(backend):
        energy = pt.energy_distance(x * size, y * size)
        assert energy == pytest.approx(size * pt.energy_distance(x, y), rel=1e-10)
        found = pt.energy_distance(x * size, y * size, return_gradient=True)
        right = pt.energy_distance(x, y, return_gradient=True)
        np.testing.assert_allclose(found.grad_x, right.grad_x, rtol=1e-8)
        test = pt.energy_test(x * size, y * size, n_permutations=99, rng=0)
        assert test.pvalue == pt.energy_test(x, y, n_permutations=99, rng=0).pvalue
        assert test.statistic == pytest.approx(energy, rel=1e-10)
        assert pt.median_distance(x * size) == pytest.approx(size * pt.median_distance(x))
        assert pt.mmd(x * size, y * size) == pytest.approx(pt.mmd(x, y), rel=1e-10)
        many = pt.disco_test([x * size, y * size], n_permutations=9, rng=0)
        assert many.statistic == pytest.approx(
            pt.disco_test([x, y], n_permutations=9, rng=0).statistic
        )


@pytest.mark.parametrize("method", ["permutation", "cheap_permutation", "wild_bootstrap", "gamma"])
@pytest.mark.parametrize("exponent", [1.0, 1.7])
def test_the_energy_test_at_the_end_of_float64(exponent, method):
    """Sums over pairs would be beyond it; the p-value is that of smaller units."""
    x, y = np.random.default_rng(0).uniform(-1, 1, size=(2, 60, 2))
    y *= 0.3
    options = {"exponent": exponent, "method": method, "n_permutations": 99, "rng": 0}
    found = pt.energy_test(x * 2.0**1023, y * 2.0**1023, **options)
    right = pt.energy_test(x, y, **options)
    assert found.pvalue == pytest.approx(right.pvalue, rel=1e-9)
    assert found.pvalue < 0.1
    if exponent == 1:
        assert found.statistic == pytest.approx(2.0**1023 * right.statistic, rel=1e-10)
