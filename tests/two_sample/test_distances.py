"""The energy test by any metric, against the matrix of distances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import on_backend
from metrics import DISTANCES, by_scipy, named
from pairtile.two_sample import distances as strips


def statistic(d, of_x, estimator):
    """The squared energy distance of the rows called x and the others."""
    x, y = np.flatnonzero(of_x), np.flatnonzero(~of_x)
    if estimator == "biased":
        within = d[np.ix_(x, x)].mean() + d[np.ix_(y, y)].mean()
    else:
        within = sum(d[np.ix_(i, i)].sum() / (len(i) * (len(i) - 1)) for i in (x, y))
    return 2 * d[np.ix_(x, y)].mean() - within


def relabellings(n, m, count, seed):
    rng = np.random.default_rng(seed)
    yield np.arange(n + m) < n
    for _ in range(count):
        of_x = np.zeros(n + m, dtype=bool)
        of_x[rng.permutation(n + m)[:n]] = True
        yield of_x


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("metric", [m for m in DISTANCES if m != "euclidean"])
def test_every_relabelling_is_that_of_the_matrix(metric, estimator, backend):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(19, 5)), 0.3 + rng.normal(size=(24, 5))
    pooled = np.concatenate([x, y])
    params = named(metric, 5)["metric_params"]
    d = by_scipy(pooled, pooled, metric, params) ** 0.7
    np.fill_diagonal(d, 0)
    right = [statistic(d, of_x, estimator) for of_x in relabellings(19, 24, 30, 5)]
    with on_backend(backend):
        found = pt.energy_test(
            x, y, exponent=0.7, estimator=estimator, n_permutations=30, rng=5, **named(metric, 5)
        )
    scale = d.mean()
    assert found.statistic == pytest.approx(right[0], abs=1e-9 * scale)
    np.testing.assert_allclose(found.null_distribution, right[1:], rtol=0, atol=1e-9 * scale)
    assert found.pvalue == (1 + sum(t >= right[0] - 1e-11 * scale for t in right[1:])) / 31
    assert found.kernel is None


@given(n=st.integers(1, 40), m=st.integers(1, 40), per_strip=st.integers(1, 30))
def test_strips_of_any_height(n, m, per_strip):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    pooled = np.concatenate([x, y])
    d = by_scipy(pooled, pooled, "manhattan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "_STRIP", per_strip * (n + m))
        patch.setattr(strips, "_LABELLINGS", 7)
        found = pt.energy_test(x, y, metric="manhattan", n_permutations=20, method="random", rng=1)
    right = [statistic(d, of_x, "biased") for of_x in relabellings(n, m, 20, 1)]
    assert found.statistic == pytest.approx(right[0], abs=1e-12)
    np.testing.assert_allclose(found.null_distribution, right[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["permutation", "cheap_permutation"])
def test_the_euclidean_distance_by_another_name(method):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 150, 4))
    ask = {"n_permutations": 99, "method": method, "rng": 3}
    plain = pt.energy_test(x, y, **ask)
    weighted = {"metric": "weuclidean", "metric_params": {"w": np.ones(4)}}
    found = pt.energy_test(x, y, **weighted, **ask)
    assert found.statistic == pytest.approx(plain.statistic, rel=1e-9)
    np.testing.assert_allclose(found.null_distribution, plain.null_distribution, rtol=1e-9)
    assert found.pvalue == plain.pvalue
    assert pt.energy_test(x, y, metric="l2", **ask).pvalue == plain.pvalue


def test_gower_of_mixed_tables_with_gaps():
    pa = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(4)
    age = rng.integers(20, 60, size=120).astype(float)
    cities = np.array(["Oslo", "Rome", "Wien"])[rng.integers(3, size=120)]
    gap = rng.random(120) < 0.2

    def table(rows, late):
        city = np.where(late & (rng.random(120) < 0.6), "Bari", cities)[rows]
        return pa.table({"city": city, "age": pa.array(age[rows], mask=gap[rows])})

    x, y = table(slice(0, 60), False), table(slice(60, None), True)
    found = pt.energy_test(x, y, metric="gower", n_permutations=199, rng=0)
    assert found.pvalue == 0.005
    ages = np.where(gap, np.nan, age)
    levels = np.concatenate([t["city"].to_numpy() for t in (x, y)])
    parts = [levels[:, None] != levels, np.abs(ages[:, None] - ages) / np.ptp(age[~gap])]
    d = np.nanmean(parts, axis=0)
    np.fill_diagonal(d, 0)
    assert found.statistic == pytest.approx(statistic(d, np.arange(120) < 60, "biased"), rel=1e-9)
    assert abs(pt.energy_test(x, x, metric="gower", n_permutations=9, rng=0).statistic) < 1e-14


def test_ranges_of_gower_are_those_of_both_samples():
    x, y = np.arange(8.0)[:, None], 20 + np.arange(7.0)[:, None]
    found = pt.energy_test(x, y, metric="gower")
    plain = pt.energy_test(x / 26, y / 26)
    assert found.statistic == pytest.approx(plain.statistic, rel=1e-12)
    given_ranges = pt.energy_test(x, y, metric="gower", metric_params={"ranges": [13.0]})
    assert given_ranges.statistic == pytest.approx(2 * plain.statistic, rel=1e-12)


def test_rows_of_one_sample_without_a_common_feature_are_named():
    x = np.array([[1.0, np.nan], [np.nan, 1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="row 1 of x and row 0 of x have none in common"):
        pt.energy_test(x, np.ones((4, 2)), metric="gower")


@pytest.mark.parametrize("method", ["wild_bootstrap", "gamma", "spectrum"])
def test_methods_that_need_a_kernel(method):
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(ValueError, match=rf"method='{method}' needs metric='euclidean', got 'man"):
        pt.energy_test(x, x + 1, metric="manhattan", method=method)


def test_what_is_no_distance():
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(ValueError, match="largest for the nearest rows"):
        pt.energy_test(x, x + 1, metric="inner_product")


def test_progress_and_memory():
    """A report each strip; no matrix."""
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
    seen = []
    tracemalloc.start()
    pt.energy_test(
        x[:1500], x[1500:], metric="chebyshev", n_permutations=9, rng=0,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6 < 3000**2 * 8
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("metric", ["manhattan", "nan_euclidean"])
def test_infinite_distances_are_refused(metric):
    """They would give nan for a statistic, which is no smaller than any other."""
    x, y = np.array([[1e308, -1e308]] * 6), np.array([[-1e308, 1e308]] * 6)
    if metric == "nan_euclidean":
        x, y = np.array([[1.0, np.nan]] * 6), np.array([[np.nan, 2.0], [3.0, 4.0]] * 3)
    with pytest.raises(ValueError, match=f"distances by metric '{metric}' are infinite between"):
        pt.energy_test(x, y, metric=metric, rng=0)
