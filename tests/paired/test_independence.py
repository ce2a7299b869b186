"""The permutation test of independence: its null, exact ties, kernels, groups, strata, its level.

Oracles: the plain statistics of reordered rows, all permutations of few rows by `itertools`, exact
arithmetic to 50 digits.
"""

from __future__ import annotations

import decimal
import itertools
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

import pairtile as pt
from pairtile.paired.orders import Orders
from strategies import SEEDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def dependent(n: int, d: int, e: int, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x[:, :1] ** 2 + rng.normal(size=(n, e))


# --- the null distribution ----------------------------------------------------------------------


@pytest.mark.parametrize(("d", "e"), [(1, 1), (1, 4), (4, 1), (6, 70)])
@pytest.mark.parametrize("statistic", ["distance_covariance", "hsic"])
def test_the_null_distribution_is_that_of_the_drawn_orders(statistic, d, e, monkeypatch):
    x, y = dependent(40, d, e, seed=5)
    rng = np.random.default_rng(7)
    orders = [rng.permutation(40) for _ in range(12)]
    plain = getattr(pt, statistic)
    null = np.array([plain(x, y[order]) for order in orders])
    for at_a_time in (1 << 26, 8 * y.size * 5, 1):
        monkeypatch.setattr("pairtile.paired.independence._BUFFER", at_a_time)
        result = pt.independence_test(x, y, statistic=statistic, n_permutations=12, rng=7)
        assert isinstance(result, pt.TestResult)
        assert result.statistic == pytest.approx(plain(x, y), rel=1e-12)
        np.testing.assert_allclose(result.null_distribution, null, rtol=1e-11)
        assert result.pvalue == (1 + np.count_nonzero(null >= result.statistic)) / 13


def decimals(x: Floats) -> Any:
    """Distances of rows to 50 digits."""
    rows = [[Decimal(float(v)) for v in row] for row in x]
    return np.array(
        [[sum(((u - v) ** 2 for u, v in zip(a, b, strict=True)), Decimal(0)).sqrt() for b in rows]
         for a in rows]
    )  # fmt: skip


TIED: dict[str, Callable[[np.random.Generator], tuple[Floats, Floats]]] = {
    "no ties": lambda rng: (rng.normal(size=(6, 3)), rng.normal(size=(6, 2))),
    "lines": lambda rng: (rng.normal(size=(6, 1)), rng.normal(size=(6, 1))),
    "lines of integers": lambda rng: tuple(rng.integers(4, size=(2, 6, 1)).astype(float)),
    "lines far away": lambda rng: tuple(1e9 + rng.integers(4, size=(2, 6, 1)) / 8),
    "integers": lambda rng: tuple(rng.integers(3, size=(2, 6, 2)).astype(float)),
    "repeated rows": lambda rng: (
        rng.normal(size=(3, 2))[rng.integers(3, size=6)],
        rng.normal(size=(2, 3))[rng.integers(2, size=6)],
    ),
    "one of them all equal": lambda rng: (np.tile(rng.normal(size=(1, 3)), (6, 1)), np.eye(6)),
    "tenths": lambda rng: (rng.integers(3, size=(6, 1)) / 10, rng.integers(3, size=(6, 2)) / 10),
}


@pytest.mark.parametrize("kind", TIED)
def test_orders_that_tie_in_theory_are_ties(kind):
    told_apart = 0
    with decimal.localcontext(prec=50):
        for seed in range(4):
            x, y = TIED[kind](np.random.default_rng(seed))
            a, b = decimals(x), decimals(y)
            # one centred matrix is enough
            rows = a.sum(axis=1) / 6
            centred = a - rows[:, None] - rows + a.sum() / 36
            exact = {
                order: (centred * b[np.ix_(order, order)]).sum() / 36
                for order in itertools.permutations(range(6))
            }
            observed = exact[tuple(range(6))]
            sizes = ((a * a).sum() / 36).sqrt() * ((b * b).sum() / 36).sqrt()
            tolerance = max(Decimal(2) ** -38 * sizes, Decimal("1e-40"))
            if any(tolerance / 4 < observed - t < 4 * tolerance for t in exact.values()):
                continue
            told_apart += 1
            rng = np.random.default_rng(seed)
            drawn = [tuple(rng.permutation(6)) for _ in range(200)]
            at_least = sum(exact[order] >= observed - tolerance for order in drawn)
            result = pt.independence_test(x, y, n_permutations=200, rng=seed)
            null = [float(exact[order]) for order in drawn]
            np.testing.assert_allclose(
                result.null_distribution, null, rtol=0, atol=1e-14 * float(sizes)
            )
            assert result.pvalue == (1 + at_least) / 201
    assert told_apart > 2


def test_pvalues_are_uniform_under_independence():
    rng = np.random.default_rng(8)
    for e in (1, 2):  # on lines, and over pairs
        pvalues = []
        for _ in range(150):
            x, y = rng.normal(size=(12, 1)), rng.normal(size=(12, e))
            pvalues.append(pt.independence_test(x, y, n_permutations=19, rng=rng).pvalue)
        # p − U/20 is uniform on [0, 1] exactly when p is on its grid
        spread = np.random.default_rng(9).random(150) / 20
        assert stats.kstest(np.array(pvalues) - spread, "uniform").pvalue > 1e-3


INDEPENDENT: dict[str, Callable[[np.random.Generator], tuple[Floats, Floats]]] = {
    "over pairs": lambda rng: (rng.normal(size=(60, 3)), rng.normal(size=(60, 2))),
    "on lines": lambda rng: (rng.normal(size=(60, 1)), rng.exponential(size=(60, 1))),
    "with ties": lambda rng: tuple(rng.integers(3, size=(2, 60, 2)).astype(float)),
}


@pytest.mark.hand
@pytest.mark.parametrize("kind", INDEPENDENT)
@pytest.mark.parametrize("statistic", ["distance_covariance", "hsic"])
def test_level_in_a_long_run(statistic, kind):
    runs = 4000
    rng = np.random.default_rng(11)
    options = {"statistic": statistic, "n_permutations": 99, "rng": rng, "workers": 1}
    pvalues = np.array(
        [pt.independence_test(*INDEPENDENT[kind](rng), **options).pvalue for _ in range(runs)]
    )
    for level in (0.01, 0.05, 0.1):
        rate = np.mean(pvalues <= level)
        assert abs(rate - level) < 4 * np.sqrt(level * (1 - level) / runs)


def test_dependence_without_correlation_is_found():
    rng = np.random.default_rng(10)
    angle = rng.uniform(0, 2 * np.pi, size=(300, 1))
    x, y = np.cos(angle), np.sin(angle)
    assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.15
    for statistic in ("distance_covariance", "hsic"):
        test = pt.independence_test(x, y, statistic=statistic, n_permutations=199, rng=0)
        assert test.pvalue == 1 / 200
        test = pt.independence_test(
            x, rng.permutation(y), statistic=statistic, n_permutations=199, rng=0
        )
        assert test.pvalue > 0.05


# --- kernels -------------------------------------------------------------------------------------

KERNEL_PAIRS: list[tuple[Any, Any]] = [
    ("linear", pt.Gaussian(1.0)),
    (pt.Laplace(2.0, norm="l1"), None),
    (2 * pt.Gaussian(gamma=0.3) + pt.Polynomial(2), "linear"),
    (pt.Matern("median"), "cosine"),
]


@pytest.mark.parametrize(("x_kernel", "y_kernel"), KERNEL_PAIRS)
@pytest.mark.parametrize(("n", "d", "e"), [(30, 2, 3), (30, 4, 1), (2100, 2, 1)])
def test_hsic_of_any_kernels(x_kernel, y_kernel, n, d, e):
    """The null is of the plain statistic of reordered rows, with the kernels in their places."""
    x, y = dependent(n, d, e, seed=3)
    kernels = {"x_kernel": x_kernel or "gaussian", "y_kernel": y_kernel or "gaussian"}
    rng = np.random.default_rng(1)
    orders = [np.arange(n), *(rng.permutation(n) for _ in range(3))]
    expected = [pt.hsic(x, y[order], **kernels) for order in orders]
    result = pt.independence_test(
        x, y, statistic="hsic", x_kernel=x_kernel, y_kernel=y_kernel, n_permutations=3, rng=1
    )
    got = [result.statistic, *result.null_distribution]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert result.pvalue == (1 + np.sum(np.array(expected[1:]) >= expected[0])) / 4


@pytest.mark.parametrize(("d", "e"), [(1, 1), (3, 2)])
def test_distance_covariance_of_any_exponents(d, e):
    x, y = dependent(25, d, e)
    result = pt.independence_test(
        x, y, x_kernel=pt.Energy(0.5), y_kernel="energy", n_permutations=9, rng=0
    )
    k, other = cdist(x, x) ** 0.5, cdist(y, y)
    centre = np.eye(25) - 1 / 25
    assert result.statistic == pytest.approx(np.sum(centre @ k @ centre * other) / 625, rel=1e-11)
    equal = pt.independence_test(x, y, x_kernel="energy", n_permutations=9, rng=0)
    plain = pt.independence_test(x, y, n_permutations=9, rng=0)
    np.testing.assert_array_equal(equal.null_distribution, plain.null_distribution)


def test_the_result_says_which_kernels():
    x, y = dependent(30, 2, 3)
    result = pt.independence_test(x, y, statistic="hsic", y_kernel="linear", rng=0)
    sigma = pt.median_distance(x)
    assert result.kernel == f"Gaussian(sigma={sigma:.6g}), Linear()"
    assert (result.n, result.m, result.null, result.n_permutations) == (30, 30, "permutation", 999)
    low, high = result.pvalue_interval
    assert low <= result.pvalue - 1 / 1000 <= high
    assert pt.independence_test(x, y, rng=0).kernel is None
    # in the unit of the data, whatever unit it is computed in
    huge = pt.independence_test(2.0**300 * x, y, statistic="hsic", n_permutations=9, rng=0)
    assert huge.kernel.startswith(f"Gaussian(sigma={2.0**300 * sigma:.6g}), ")


# --- orders --------------------------------------------------------------------------------------


def kept_together(order: tuple[int, ...], groups: Any, strata: Any) -> bool:
    """Whether an order of rows leaves strata, and the rows of groups beside each other, in order.

    From the definition: the rows of a group take the places of the rows of a group, one by one.
    """
    if any(strata[i] != strata[j] for i, j in enumerate(order)):
        return False
    members = {g: [i for i, other in enumerate(groups) if other == g] for g in groups}
    return all([order[i] for i in rows] in members.values() for rows in members.values())


@st.composite
def designs(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """A group and a stratum for each of up to 7 rows; groups lie within strata."""
    n = draw(st.integers(1, 7))
    groups = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    of_group = draw(st.lists(st.integers(0, 1), min_size=n + 1, max_size=n + 1))
    return groups, [of_group[g] for g in groups]


def every_one(batches: Any) -> NDArray[np.int64]:
    """An order in each line."""
    return np.concatenate(list(batches))


@given(design=designs(), seed=SEEDS)
def test_orders_are_those_of_the_definition(design, seed):
    groups, strata = design
    n = len(groups)
    every = [
        order for order in itertools.permutations(range(n)) if kept_together(order, groups, strata)
    ]
    if len(every) == 1:
        with pytest.raises(ValueError, match="nothing can be exchanged"):
            Orders(n, groups, strata)
        return
    orders = Orders(n, groups, strata)
    assert orders.count() == orders.count(len(every)) == len(every)
    assert orders.count(len(every) - 1) >= len(every)
    found = [tuple(order.tolist()) for order in every_one(orders.every())]
    assert found[0] == tuple(range(n))
    assert sorted(found) == sorted(every)
    first, *drawn = every_one(orders.at_random(20, np.random.default_rng(seed)))
    assert tuple(first.tolist()) == tuple(range(n))
    assert {tuple(order.tolist()) for order in drawn} <= set(every)


@pytest.mark.parametrize(
    ("groups", "strata"),
    [
        (None, None),
        ([0, 0, 1, 2, 1, 2], None),
        (None, [0, 1, 0, 1, 0, 1]),
        (None, [0, 0, 1, 1, 2, 2]),
        ([0, 1, 2, 3, 3, 4], None),
        ([0, 0, 1, 2, 1, 3], [0, 0, 0, 1, 0, 1]),
    ],
)
def test_orders_are_drawn_evenly(groups, strata):
    n = 6 if groups or strata else 4
    orders = Orders(n, groups, strata)
    draws = 100 * orders.count()
    _, *drawn = every_one(orders.at_random(draws, np.random.default_rng(0)))
    _, counts = np.unique(np.array(drawn), axis=0, return_counts=True)
    assert len(counts) == orders.count()
    assert stats.chisquare(counts).pvalue > 1e-3


def test_one_permutation_after_the_other():
    """Of all rows, and of each stratum of a size of its own."""
    rng = np.random.default_rng(5)
    expected = [rng.permutation(8) for _ in range(4)]
    _, *drawn = every_one(Orders(8).at_random(4, np.random.default_rng(5)))
    np.testing.assert_array_equal(drawn, expected)
    strata = np.array([*"abbabbab"])
    _, drawn = every_one(Orders(8, strata=strata).at_random(1, np.random.default_rng(5)))
    rng = np.random.default_rng(5)
    for name in "ab":
        rows = np.flatnonzero(strata == name)
        np.testing.assert_array_equal(drawn[rows], rows[rng.permutation(len(rows))])


def test_rows_of_many_groups_keep_their_order():
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(30), 3))
    rows = [np.flatnonzero(groups == g).tolist() for g in range(30)]
    for order in every_one(Orders(90, groups).at_random(5, np.random.default_rng(1))):
        assert sorted(order[of_group].tolist() for of_group in rows) == sorted(rows)


@pytest.mark.parametrize("statistic", ["distance_covariance", "hsic"])
@pytest.mark.parametrize(
    ("n", "options", "count"),
    [
        (1, {}, 1),
        (2, {}, 2),
        (6, {}, 720),
        (7, {"strata": [0, 0, 0, 1, 1, 2, 2]}, 24),
        (12, {"groups": np.arange(12) // 2}, 720),
        (7, {"groups": [*"aabccdd"]}, 6),
    ],
)
def test_all_orders_where_they_are_few(n, options, count, statistic):
    x, y = (s.round(1) for s in dependent(n, 2, 1, seed=n))
    fixed = {"statistic": statistic}
    if statistic == "hsic":
        fixed |= {"x_kernel": pt.Gaussian(1.0), "y_kernel": "linear"}
    result = pt.independence_test(x, y, **fixed, **options)
    assert (result.null, result.n_permutations) == ("exact", count)
    k = cdist(x, x) if statistic != "hsic" else np.exp(-(cdist(x, x) ** 2) / 2)
    other = cdist(y, y) if statistic != "hsic" else y @ y.T
    centre = np.eye(n) - 1 / n
    groups, strata = options.get("groups", np.arange(n)), options.get("strata", np.zeros(n))
    if n <= 7:
        every = [
            order
            for order in itertools.permutations(range(n))
            if kept_together(order, list(groups), list(strata))
        ]
    else:  # pairs of rows
        every = [
            tuple(itertools.chain(*((2 * i, 2 * i + 1) for i in pairs)))
            for pairs in itertools.permutations(range(6))
        ]
    values = np.array(
        [np.sum(centre @ k @ centre * other[np.ix_(order, order)]) / n**2 for order in every]
    )
    tolerance = 1e-10 * (np.abs(values).max() or 1.0)
    expected = np.mean(values >= values[every.index(tuple(range(n)))] - tolerance)
    assert result.pvalue == pytest.approx(expected, rel=1e-12)
    assert result.pvalue_interval == (result.pvalue, result.pvalue)
    assert result.null_distribution[0] == result.statistic
    np.testing.assert_allclose(
        np.sort(result.null_distribution), np.sort(values), atol=1e-11, rtol=1e-9
    )
    drawn = pt.independence_test(x, y, method="random", n_permutations=9, rng=0, **fixed, **options)
    assert (drawn.null, drawn.n_permutations) == ("permutation", 9)


def test_more_orders_than_permutations_are_drawn():
    x, y = dependent(6, 1, 1)
    assert pt.independence_test(x, y, n_permutations=719, rng=0).null == "permutation"
    assert pt.independence_test(x, y, n_permutations=720).null == "exact"
    assert pt.independence_test(*dependent(7, 1, 1), rng=0).null == "permutation"


# --- groups and strata ---------------------------------------------------------------------------


def visits(rng: np.random.Generator) -> tuple[Floats, Floats, dict[str, Any]]:
    """Rows of 12 patients: x and y are each of the patient, and independent of one another."""
    size = rng.permutation(np.repeat([2, 5], 6))
    patient = np.repeat(np.arange(12), size)
    x, y = rng.normal(size=(2, 12, 1))[:, patient] + 0.3 * rng.normal(size=(2, len(patient), 1))
    return x, y, {"groups": patient}


def sites(rng: np.random.Generator) -> tuple[Floats, Floats, dict[str, Any]]:
    """Rows of three sites that both depend on: independent given the site."""
    site = rng.integers(3, size=50)
    x, y = rng.normal(size=(2, 50, 1)) + 2.0 * site[:, None]
    return x, y, {"strata": site}


DESIGNS = {"groups": visits, "strata": sites}


@pytest.mark.parametrize("kind", DESIGNS)
def test_what_rows_share_is_no_dependence(kind):
    rng = np.random.default_rng(1)
    aware, blind = [], []
    for _ in range(150):
        x, y, options = DESIGNS[kind](rng)
        fixed = {"n_permutations": 19, "rng": rng, "workers": 1}
        aware.append(pt.independence_test(x, y, **options, **fixed).pvalue)
        blind.append(pt.independence_test(x, y, **fixed).pvalue)
    for level in (0.05, 0.1, 0.3):
        spread = math.sqrt(level * (1 - level) / 150)
        assert np.mean(np.array(aware) <= level + 1e-9) < level + 4 * spread
    assert np.mean(np.array(blind) <= 0.1) > 0.3


@pytest.mark.hand
@pytest.mark.parametrize("kind", DESIGNS)
def test_level_of_groups_and_strata_in_a_long_run(kind):
    rng = np.random.default_rng(2)
    runs = 4000
    pvalues = []
    for _ in range(runs):
        x, y, options = DESIGNS[kind](rng)
        fixed = {"n_permutations": 99, "rng": rng, "workers": 1}
        pvalues.append(pt.independence_test(x, y, **options, **fixed).pvalue)
    for level in (0.01, 0.05, 0.1):
        rate = np.mean(np.array(pvalues) <= level + 1e-9)
        print(f"{kind} {level}: {rate:.4f}")
        assert abs(rate - level) < 4 * math.sqrt(level * (1 - level) / runs)


@pytest.mark.parametrize("kind", DESIGNS)
def test_dependence_is_found_all_the_same(kind):
    x, y, options = DESIGNS[kind](np.random.default_rng(3))
    test = pt.independence_test(x, y - 1.5 * x, **options, n_permutations=199, rng=0)
    assert test.pvalue < 0.05


# --- arguments -----------------------------------------------------------------------------------

X, Y = dependent(12, 2, 2)
BAD: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "kernel of the other statistic": (
        {"x_kernel": "gaussian"},
        ValueError,
        ["x_kernel=Gaussian", "statistic='hsic'", "Energy(exponent)"],
    ),
    "unknown kernel": (
        {"statistic": "hsic", "y_kernel": "gauss"},
        ValueError,
        ["y_kernel", "'gauss'"],
    ),
    "method": ({"method": "gamma"}, ValueError, ["method", "'gamma'", "permutation, random"]),
    "groups of another length": ({"groups": [1, 2]}, ValueError, ["groups", "(12,)", "of x"]),
    "strata of floats": ({"strata": np.ones(12)}, TypeError, ["strata", "integers or strings"]),
    "groups that span strata": (
        {"groups": np.arange(12) // 2, "strata": np.arange(12) % 2},
        ValueError,
        ["rows 0 and 1 share a group and not a stratum"],
    ),
    "one group": ({"groups": np.zeros(12, int)}, ValueError, ["no two groups of one size"]),
    "groups of different sizes": (
        {"groups": np.repeat([0, 1, 2], [1, 4, 7])},
        ValueError,
        ["nothing can be exchanged", "no two groups of one size"],
    ),
    "strata of single rows": (
        {"strata": np.arange(12)},
        ValueError,
        ["nothing can be exchanged", "no two rows in one stratum"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    options, error, fragments = BAD[name]
    with pytest.raises(error) as caught:
        pt.independence_test(X, Y, **options)
    for fragment in fragments:
        assert fragment in str(caught.value)
