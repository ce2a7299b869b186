"""Tests of single columns against SciPy, Holm's method against a loop, effects against shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp, kstwo

from pairtile.slices import kolmogorov
from pairtile.tables.columns import chi_square, column_tests, total_variation
from pairtile.tables.features import joined, pair, unnamed
from strategies import SEEDS

SIZES = st.one_of(st.integers(1, 12), st.integers(1, 400))


def the_column(x, y):
    """The one column of two arrays."""
    tables = pair(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    (found,) = column_tests(joined(tables), [(0.0, 0.0)])
    return found


@given(SIZES, st.one_of(st.none(), SIZES), SEEDS, st.sampled_from([0, 1, 9]), st.booleans())
def test_kolmogorov_smirnov_is_scipys(n, m, seed, digits, shifted):
    """Ties, equal sizes, sizes with and without a common factor."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).round(digits)
    y = (rng.normal(size=m or n) + shifted * rng.exponential()).round(digits)
    expected = ks_2samp(x, y)
    distance = kolmogorov.distance(x, y)
    assert distance == pytest.approx(expected.statistic, rel=1e-12)
    (p,) = kolmogorov.pvalues([distance], len(x), len(y))
    assert p == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(12_000, 9_000), (10_001, 7), (10_001, 10_001), (10_001, 1)])
@pytest.mark.parametrize("shift", [0.0, 0.03, 1.0])
def test_large_samples_have_scipys_asymptotic_pvalue(n, m, shift):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(size=m) + shift
    expected = ks_2samp(x, y)
    (p,) = kolmogorov.pvalues([kolmogorov.distance(x, y)], n, m)
    assert p == pytest.approx(expected.pvalue, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(10_000, 3), (4, 10_000)])
def test_up_to_10000_values_the_pvalue_is_exact(n, m):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n), rng.normal(size=m)
    distance = kolmogorov.distance(x, y)
    (p,) = kolmogorov.pvalues([distance], n, m)
    assert p == pytest.approx(ks_2samp(x, y, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 139, 140, 141, 500, 5000, 100_000, 100_001, 200_000])
def test_the_law_of_one_sample_everywhere(n):
    """Every formula that it is pieced together from, and both sides of the seams."""
    z = np.concatenate([np.linspace(0.02, 3, 40 if n < 10_000 else 5), [12, 19.2, 19.3]])
    for x in [*(z / np.sqrt(n)), 0.4 / n, 0.9 / n, 1 - 0.5 / n, 0.6, 1.0]:
        assert kolmogorov.one_sample(n, x) == pytest.approx(kstwo.sf(x, n), rel=3e-9, abs=1e-300)


def test_many_bands_at_once_are_as_each_alone():
    for n, m in ((50, 70), (13, 7), (200, 99), (64, 64)):
        distances = np.arange(0, n * m + 1, max(1, n * m // 50)) / (n * m)
        together = kolmogorov.pvalues(distances, n, m)
        alone = [kolmogorov.pvalues([d], n, m)[0] for d in distances]
        np.testing.assert_allclose(together, alone, rtol=1e-12)
        assert together == sorted(together, reverse=True)


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=6))
def test_chi_square_is_scipys(levels, counts):
    x, y = np.array(counts).T[:, : max(2, levels)] + [[1], [1]]
    there = x + y > 0
    expected = chi2_contingency(np.array([x, y])[:, there], correction=False)
    statistic, p = chi_square(x, y)
    assert statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert p == pytest.approx(expected.pvalue, rel=1e-9)


def test_chi_square_of_levels_that_nobody_has():
    assert chi_square(np.array([3, 0, 5]), np.array([4, 0, 1])) == chi_square(
        np.array([3, 5]), np.array([4, 1])
    )
    assert chi_square(np.array([3, 0]), np.array([9, 0])) == (0.0, 1.0)


@given(SEEDS, st.integers(2, 40), st.integers(2, 40))
def test_columns_by_kind(seed, n, m):
    """What is tested of each kind, from SciPy's functions and plain shares."""
    rng = np.random.default_rng(seed)
    gone = rng.random(n) < 0.3, rng.random(m) < 0.4
    numbers = [np.where(g, np.nan, rng.normal(size=len(g)).round(1)) for g in gone]
    flags = [np.where(g, np.nan, rng.integers(0, 2, len(g))) for g in gone]
    tables = pair(np.column_stack([numbers[0], flags[0]]), np.column_stack([numbers[1], flags[1]]))
    number, flag = column_tests(joined(tables), [(0.25, 0.5), (0.0, 0.0)])

    lacking = [np.count_nonzero(g) for g in gone]
    table = np.array([[n - lacking[0], lacking[0]], [m - lacking[1], lacking[1]]])
    table = table[:, table.sum(axis=0) > 0]
    of_missing = 1.0 if table.shape[1] < 2 else chi2_contingency(table, correction=False).pvalue
    present = [a[~np.isnan(a)] for a in numbers]
    share = abs(lacking[0] / n - lacking[1] / m)
    if all(map(len, present)) and set(np.concatenate(present)) - {0.0, 1.0}:
        ks = ks_2samp(*present)
        p = min(1.0, 2 * min(ks.pvalue, of_missing)) if sum(lacking) else ks.pvalue
        assert number.kind == "number"
        assert number.pvalue == pytest.approx(p, rel=1e-9)
        assert number.statistic == pytest.approx(ks.statistic, rel=1e-12)
        assert number.effect == pytest.approx(max(ks.statistic, share))
        assert (number.missing_reference, number.missing_current) == (0.25, 0.5)

    levels = np.array([[np.sum(a == v) for v in (0, 1)] + [np.isnan(a).sum()] for a in flags])
    levels = levels[:, levels.sum(axis=0) > 0]
    if not np.isnan(np.concatenate(flags)).all():
        assert flag.kind == "flag"
        if levels.shape[1] > 1:
            expected = chi2_contingency(levels, correction=False)
            assert flag.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
            assert flag.pvalue == pytest.approx(expected.pvalue, rel=1e-9)
        shares = levels / levels.sum(axis=1, keepdims=True)
        assert flag.effect == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)


def test_a_column_without_values_in_one_table():
    found = the_column([1.0, 2.0, 3.5], [np.nan] * 4)
    assert np.isnan(found.statistic)
    assert found.to_dict()["statistic"] is None
    assert found.effect == 1.0
    expected = chi2_contingency([[3, 0], [0, 4]], correction=False).pvalue
    assert found.pvalue == pytest.approx(2 * expected)


def test_effects_are_shares():
    assert total_variation(np.array([10, 0]), np.array([0, 3])) == 1.0
    assert total_variation(np.array([1, 1]), np.array([50, 50])) == 0.0
    assert the_column([1, 2, 3, 4], [3, 4, 5, 6]).effect == 0.5


def test_the_pvalues_are_adjusted_over_all_columns():
    rng = np.random.default_rng(1)
    shifts = np.array([0, 0.2, 0.4, 0.6, 2])
    x, y = rng.normal(size=(60, 5)), rng.normal(shifts, size=(50, 5))
    found = column_tests(joined(pair(x, y)), [(0.0, 0.0)] * 5)
    left = sorted(range(5), key=lambda j: found[j].pvalue)
    least = 0.0
    for done, j in enumerate(left):  # Holm's method, step by step
        least = max(least, min(1.0, (5 - done) * found[j].pvalue))
        assert found[j].pvalue_adjusted == pytest.approx(least)


def test_arrays_have_columns_called_x():
    assert unnamed("x", np.eye(3)).names == ["x0", "x1", "x2"]
    assert unnamed("x", [1.0, 2.0]).names == ["x0"]
