"""Exact permutation tests: every relabelling once.

Oracle: `itertools.combinations` over the units, and statistics as means over explicit matrices; for
how many relabellings there are, closed forms and products of polynomials.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

import pairtile as pt
from backends import on_backend
from pairtile.two_sample.relabelling import Exchange, plan
from strategies import SEEDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def energy(x: Floats, y: Floats) -> float:
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def rows_called_x(batches: Any, rows: int) -> NDArray[np.bool_]:
    """A line for each labelling."""
    bits = np.concatenate(list(batches)).astype("<u8").view(np.uint8)
    return np.unpackbits(bits, axis=1, count=rows, bitorder="little").astype(np.bool_)


def relabellings(n: int, m: int, groups: Any = None, strata: Any = None) -> list[tuple[int, ...]]:
    """Rows called x: all choices of groups that leave x as many rows as it has, in each stratum."""
    rows = range(n + m)
    groups = list(rows) if groups is None else list(groups)
    strata = [0] * (n + m) if strata is None else list(strata)
    parts = []
    for stratum in dict.fromkeys(strata):
        mine = [i for i in rows if strata[i] == stratum]
        units = [
            [i for i in mine if groups[i] == g] for g in dict.fromkeys(groups[i] for i in mine)
        ]
        wanted = sum(i < n for i in mine)
        parts.append(
            [
                list(itertools.chain(*some))
                for k in range(len(units) + 1)
                for some in itertools.combinations(units, k)
                if sum(map(len, some)) == wanted
            ]
        )
    return sorted(tuple(sorted(itertools.chain(*chosen))) for chosen in itertools.product(*parts))


def null_of(pooled: Floats, chosen: list[tuple[int, ...]]) -> Floats:
    everyone = np.arange(len(pooled))
    return np.array([energy(pooled[list(c)], pooled[np.setdiff1d(everyone, c)]) for c in chosen])


def check_exact(result: pt.TestResult, pooled: Floats, chosen: list[tuple[int, ...]]) -> None:
    null = null_of(pooled, chosen)
    assert result.null == "exact"
    assert result.n_permutations == len(chosen) == len(result.null_distribution)
    assert result.null_distribution[0] == result.statistic
    np.testing.assert_allclose(np.sort(result.null_distribution), np.sort(null), atol=1e-12)
    expected = np.count_nonzero(null >= result.statistic - 1e-10) / len(chosen)
    assert result.pvalue == expected
    assert result.pvalue_interval == (expected, expected)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 6), (4, 4), (5, 3), (2, 9)])
def test_all_splits_of_rows(n, m):
    pooled = np.random.default_rng(0).normal(size=(n + m, 2))
    chosen = relabellings(n, m)
    count = math.comb(n + m, n)
    assert len(chosen) == count
    result = pt.energy_test(pooled[:n], pooled[n:], n_permutations=count)
    check_exact(result, pooled, chosen)
    below = pt.energy_test(pooled[:n], pooled[n:], n_permutations=count - 1 or 1, rng=0)
    assert below.null == ("permutation" if count > 1 else "exact")
    drawn = pt.energy_test(pooled[:n], pooled[n:], method="random", rng=0)
    assert (drawn.null, drawn.n_permutations) == ("permutation", 999)


def test_the_seed_does_not_matter_and_separation_gives_two_of_seventy():
    x = np.arange(4.0)[:, None]
    results = [pt.energy_test(x, 100 + x, rng=seed) for seed in range(3)]
    assert {r.pvalue for r in results} == {2 / 70}
    reference = stats.permutation_test(
        (x[:, 0], 100 + x[:, 0]),
        lambda a, b: energy(a[:, None], b[:, None]),
        n_resamples=99,
        alternative="greater",
        vectorized=False,
    )
    assert reference.pvalue == 2 / 70
    assert len(pt.mmd_test(x, 100 + x, kernel=pt.Gaussian(9.0)).null_distribution) == 70


@st.composite
def designs(draw: Any) -> tuple[int, int, list[int], list[str] | None]:
    """Sizes, a group for each row and perhaps strata that hold groups whole."""
    sizes = [draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)) for _ in range(2)]
    group = np.repeat(np.arange(len(sizes[0]) + len(sizes[1])), sizes[0] + sizes[1])
    strata = None
    if draw(st.booleans()):
        count = int(group[-1]) + 1
        of_group = draw(st.lists(st.sampled_from("ab"), min_size=count, max_size=count))
        strata = [of_group[g] for g in group]
    return sum(sizes[0]), sum(sizes[1]), group.tolist(), strata


@pytest.mark.filterwarnings("ignore:no stratum has rows of both")
@given(design=designs(), seed=SEEDS, scattered=st.booleans())
def test_all_assignments_of_whole_groups(design, seed, scattered):
    n, m, groups, strata = design
    rng = np.random.default_rng(seed)
    if scattered:
        order = np.r_[rng.permutation(n), n + rng.permutation(m)]
        groups = [groups[i] for i in order]
        strata = strata and [strata[i] for i in order]
    pooled = rng.normal(size=(n + m, 2))
    chosen = relabellings(n, m, groups, strata)
    exchange = Exchange(n, m, groups, strata)
    assert exchange.count() == exchange.count(len(chosen)) == len(chosen)
    assert exchange.count(len(chosen) - 1) >= len(chosen)
    columns = rows_called_x(exchange.every(), n + m)
    assert sorted(tuple(np.flatnonzero(c).tolist()) for c in columns) == chosen
    assert np.flatnonzero(columns[0]).tolist() == list(range(n))
    result = pt.energy_test(
        pooled[:n], pooled[n:], groups=groups, strata=strata, n_permutations=len(chosen)
    )
    check_exact(result, pooled, chosen)


def test_the_backends_agree_on_exact_nulls():
    x, y = np.random.default_rng(1).normal(size=(2, 5, 3))
    results = []
    for name in ("native", "numpy"):
        with on_backend(name):
            results.append(pt.mmd_test(x, y))
    assert results[0].pvalue == results[1].pvalue
    np.testing.assert_allclose(*(r.null_distribution for r in results), atol=1e-12)


# --- pairs of rows --------------------------------------------------------------------------------


def test_pairs_change_places():
    x, y = np.random.default_rng(7).normal(size=(2, 6, 2))
    pooled = np.concatenate([x, y])
    chosen = relabellings(6, 6, strata=[*range(6), *range(6)])
    assert len(chosen) == 2**6
    check_exact(pt.energy_test(x, y, paired=True), pooled, chosen)
    assert pt.energy_test(x, y, paired=True, n_permutations=63, rng=0).null == "permutation"


@pytest.mark.parametrize("method", ["permutation", "random"])
def test_pairs_are_strata(method):
    x, y = np.random.default_rng(8).normal(size=(2, 30, 2))
    strata = [f"person {i}" for i in range(30)] * 2
    options = {"method": method, "n_permutations": 99, "rng": 1}
    for test in (pt.mmd_test, pt.energy_test):
        paired, stratified = (
            test(x, y, paired=True, **options),
            test(x, y, strata=strata, **options),
        )
        assert paired.pvalue == stratified.pvalue
        np.testing.assert_array_equal(paired.null_distribution, stratified.null_distribution)


def test_only_pairs_see_a_shift_beneath_the_differences_of_persons():
    rng = np.random.default_rng(9)
    before = 10 * rng.normal(size=(40, 1))
    after = before + 0.3 + 0.05 * rng.normal(size=(40, 1))
    assert pt.energy_test(before, after, paired=True, rng=0).pvalue <= 0.01
    assert pt.energy_test(before, after, rng=0).pvalue > 0.5


def test_bad_pairs_say_what_is_wrong():
    x, y = np.random.default_rng(10).normal(size=(2, 8, 2))
    for test in (pt.mmd_test, pt.energy_test):
        with pytest.raises(ValueError, match="as many rows in x as in y, got 8 and 7"):
            test(x, y[:7], paired=True)
        with pytest.raises(ValueError, match=r"paired=True .* takes no strata"):
            test(x, y, paired=True, strata=np.zeros(16, int))
        with pytest.raises(ValueError, match=r"paired=True .* takes no groups"):
            test(x, y, paired=True, groups=np.arange(16))
        with pytest.raises(ValueError, match=r"paired= needs method='permutation', got .*'gamma'"):
            test(x, y, paired=True, method="gamma")


def test_strata_of_one_sample_each_are_named():
    x, y = np.random.default_rng(11).normal(size=(2, 4, 2))
    with pytest.warns(UserWarning, match="'a' rows of x only, 'b' rows of y only") as seen:
        result = pt.energy_test(x, y, strata=["a"] * 4 + ["b"] * 4)
    assert seen[0].filename == __file__
    assert (result.pvalue, result.null, result.n_permutations) == (1.0, "exact", 1)
    with pytest.warns(UserWarning, match="of 8 strata, 0 rows of x only, 1 rows of x only, 2 rows"):
        pt.mmd_test(x, y, strata=np.arange(8))
    # where one stratum has both there is something to exchange, and no warning
    assert pt.energy_test(x, y, strata=[0, 1, 1, 1, 0, 2, 2, 2]).n_permutations == 2


# --- how many there are ---------------------------------------------------------------------------


def ways(sizes: list[int], rows: int) -> int:
    """The coefficient of z^rows in Π (1 + z^s)."""
    polynomial = {0: 1}
    for s in sizes:
        grown = dict(polynomial)
        for power, count in polynomial.items():
            grown[power + s] = grown.get(power + s, 0) + count
        polynomial = grown
    return polynomial[rows]


@given(
    of_x=st.lists(st.integers(1, 9), min_size=1, max_size=25),
    of_y=st.lists(st.integers(1, 9), min_size=1, max_size=25),
    limit=st.sampled_from([1, 9, 999, 10**9, 2**62, 10**30]),
)
def test_groups_of_any_size_are_counted(of_x, of_y, limit):
    groups = np.repeat(np.arange(len(of_x) + len(of_y)), of_x + of_y)
    exchange = Exchange(sum(of_x), sum(of_y), groups)
    expected = ways(of_x + of_y, sum(of_x))
    assert exchange.count() == expected
    assert min(exchange.count(limit), limit + 1) == min(expected, limit + 1)


def test_strata_multiply():
    strata = np.r_[[0] * 3, [1] * 2, [0] * 4, [1] * 3]
    assert Exchange(5, 7, strata=strata).count() == math.comb(7, 3) * math.comb(5, 2)


def test_many_rows_and_groups_are_counted_in_no_time():
    assert Exchange(200_000, 300_000).count(999) > 999
    sizes = 1 + np.arange(2000)  # all different, two million rows
    groups = np.repeat(np.arange(2000), sizes)
    n = int(sizes[:1400].sum())
    exchange = Exchange(n, len(groups) - n, groups)
    assert exchange.count(10_000) > 10_000
    assert plan(exchange, 10_000, "permutation", np.random.default_rng(0)).null == "permutation"
    # one small group against many that are larger: it cannot be exchanged
    lonely = np.r_[np.zeros(3, int), 1 + np.arange(60_000) // 6]
    exchange = Exchange(3, 60_000, lonely)
    assert exchange.count(999) == exchange.count() == 1
    assert len(rows_called_x(exchange.every(), 60_003)) == 1


def test_counts_of_plain_samples_are_binomials():
    assert Exchange(30, 12).count() == math.comb(42, 12)
    assert Exchange(1, 5).count(3) > 3


# --- level ----------------------------------------------------------------------------------------


def test_exact_pvalues_are_uniform_under_the_null():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), [1, 2, 3, 2, 2, 1, 3, 2])
    n = 8
    count = len(relabellings(n, 8, groups))
    assert 10 < count < 70
    pvalues = []
    for _ in range(300):
        pooled = rng.normal(size=(8, 2))[groups] + 0.1 * rng.normal(size=(16, 2))
        test = pt.energy_test(pooled[:n], pooled[n:], groups=groups)
        assert test.n_permutations == count
        pvalues.append(test.pvalue)
    # p − U/count is uniform where all values differ; ties of a split with its mirror make p larger
    spread = np.array(pvalues) - rng.random(300) * 2 / count
    assert stats.kstest(spread, "uniform", alternative="greater").pvalue > 1e-3
    assert np.mean(np.array(pvalues) <= 0.1) == pytest.approx(0.1, abs=0.05)


# --- more than two samples ------------------------------------------------------------------------


def ratio(samples: list[Floats]) -> float:
    k, n = len(samples), sum(map(len, samples))
    within = sum(cdist(s, s).sum() / (2 * len(s)) for s in samples)
    pooled = np.concatenate(samples)
    total = cdist(pooled, pooled).sum() / (2 * n)
    return float((total - within) / (k - 1) / (within / (n - k)))


@pytest.mark.parametrize("sizes", [(2, 3), (2, 2, 2), (1, 3, 2)])
def test_all_ways_to_share_rows_out_to_samples(sizes):
    n = sum(sizes)
    pooled = np.random.default_rng(4).normal(size=(n, 2))
    edges = np.cumsum([0, *sizes])
    shared = {
        tuple(tuple(sorted(order[a:b])) for a, b in itertools.pairwise(edges))
        for order in itertools.permutations(range(n))
    }
    null = np.array([ratio([pooled[list(part)] for part in parts]) for parts in shared])
    samples = [pooled[a:b] for a, b in itertools.pairwise(edges)]
    result = pt.disco_test(samples)
    assert (result.null, result.n_permutations) == ("exact", len(shared))
    assert result.null_distribution[0] == result.statistic == pytest.approx(ratio(samples))
    np.testing.assert_allclose(np.sort(result.null_distribution), np.sort(null), rtol=1e-9)
    assert result.pvalue == np.mean(null >= result.statistic - 1e-9)
    drawn = pt.disco_test(samples, method="random", n_permutations=99, rng=0)
    assert (drawn.null, drawn.n_permutations) == ("permutation", 99)
    few = pt.disco_test(samples, n_permutations=len(shared) - 1, rng=0)
    assert few.null == "permutation"


# --- strata of many sizes -------------------------------------------------------------------------


def test_strata_are_drawn_one_after_the_other():
    """Those of one number of rows are drawn at once, as if one after the other."""
    strata = np.r_[np.repeat(np.arange(40), 2), np.repeat(np.arange(40, 50), 3), [50] * 5]
    rng = np.random.default_rng(5)
    order = rng.permutation(len(strata))
    strata, n = strata[order], 60
    exchange = Exchange(n, len(strata) - n, strata=strata)
    columns = exchange.at_random(20, np.random.default_rng(6))
    draws = np.random.default_rng(6)
    for column in rows_called_x(columns, len(strata))[1:]:
        expected = np.zeros(len(strata), dtype=bool)
        for stratum in dict.fromkeys(strata.tolist()):
            rows = np.flatnonzero(strata == stratum)
            expected[rows[draws.permutation(len(rows))[: (rows < n).sum()]]] = True
        np.testing.assert_array_equal(column, expected)
