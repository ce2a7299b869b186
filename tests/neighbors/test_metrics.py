"""Metrics with parameters, and those that no cheap micro-kernel screens.

What holds for every metric is tested beside `knn` and the radius functions; here stand parameters,
data that are hard for one metric alone, and bad input.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import nan_euclidean_distances

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from metrics import METRICS, by_scipy, named, narrowed, parameters
from pairtile._definitions.numbers import log_of_one_plus, power, power_by_roots
from strategies import KINDS, SEEDS, pairs_of_sets

DIRECT = ("minkowski", "canberra", "braycurtis", "gower")
MAPPED = ("weuclidean", "mahalanobis")
WITHOUT_PARAMETERS = tuple(name for name in METRICS if parameters(name, 2) is None)
EXPONENTS = (2**-10, 0.1, 1 / 3, 0.5, 1.0, 1.2, 1.5, 2.0, 2.3, 3.0, 7.0, 100.5, 1024.0, math.inf)


def assert_same(native, twin):
    for a, b in zip(native, twin, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def asked(metric, params):
    return {"metric": metric, "metric_params": params}


# --- quantiles -------------------------------------------------------------------------------


@pytest.mark.native
@pytest.mark.parametrize("metric", WITHOUT_PARAMETERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_quantile_is_that_of_all_distances(metric, dtype):
    from pairtile import _native

    x = np.random.default_rng(5).standard_normal((90, 7)).astype(dtype)
    upper = np.triu_indices(len(x), 1)
    distances = _native.pairwise_distances(x, None, metric, dtype="float64", workers=1)
    nearest_first = -1.0 if metric == "inner_product" else 1.0
    for q in (0.0, 0.3, 0.5, 1.0):
        expected = nearest_first * np.quantile(nearest_first * distances[upper], q)
        for tile in ((0, 0), (1, 1)):
            with forced_tile(*tile):
                found = _native.distance_quantile(x, None, metric, q, False, workers=2)
            assert found == pytest.approx(expected, rel=1e-12)


# --- powers ----------------------------------------------------------------------------------


@pytest.mark.oracle("mpmath")
@given(
    x=st.floats(1e-280, 1e280),
    exponent=st.one_of(st.floats(2**-10, 12), st.sampled_from(EXPONENTS[:-1])),
)
def test_powers_are_accurate(x, exponent):
    """Clear of overflow; the reference has 80 digits."""
    import mpmath

    assume(exponent * abs(math.log10(x)) < 150)
    with mpmath.workdps(80):
        right = mpmath.mpf(x) ** mpmath.mpf(exponent)
        error = abs(mpmath.mpf(float(power(np.array([x]), exponent)[0])) / right - 1)
    assert error < 2.0**-50 * max(1.0, exponent)


@given(x=st.floats(1e-6, 1e6), a=st.integers(1, 24), b=st.sampled_from([1, 2, 4, 8, 16]))
def test_powers_are_accurate_by_whole_numbers(x, a, b):
    """y = x^(a/b) where y^b is x^a, in exact arithmetic."""
    y = float(power(np.array([x]), a / b)[0])
    error = abs(Fraction(y) ** b / Fraction(x) ** a - 1)
    assert error < b * 2.0**-50 * max(1.0, a / b)


@given(seed=SEEDS, exponent=st.floats(2**-10, 40))
def test_powers_by_roots_never_fall(seed, exponent):
    """Between neighbouring floats, where an approximation of logarithms would."""
    rng = np.random.default_rng(seed)
    x = 10.0 ** rng.uniform(-3, 3) * (1 + np.arange(400) * 2.0**-52)
    assert (np.diff(power_by_roots(x, exponent)) >= 0).all()


def test_powers_of_whole_numbers_are_exact():
    x = np.arange(1.0, 40)
    for p in (1, 2, 3, 5, 9):
        assert [Fraction(v) for v in power(x, float(p))] == [Fraction(int(v)) ** p for v in x]
    np.testing.assert_array_equal(power(x * x, 0.5), x)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.2, 3.0, 700.3])
def test_powers_at_the_ends(exponent):
    x = np.array([0.0, 5e-324, 1e-310, 1.0, 1e308, np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(power(x, exponent), x**exponent, rtol=1e-13)


@given(x=st.one_of(st.floats(0, 1e308), st.floats(0, 4), st.floats(0, 1e-15)))
def test_logarithms_are_accurate(x):
    assert float(log_of_one_plus(np.array([x]))[0]) == pytest.approx(math.log1p(x), rel=2.0**-51)


def test_logarithms_at_the_ends():
    x = np.array([0.0, 5e-324, 1e-310, 2.0**-53, 1e308, np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(log_of_one_plus(x), np.log1p(x), rtol=2.0**-51)


@pytest.mark.native
def test_every_metric_is_one_that_tests_go_through():
    from pairtile import _native

    on_bits = {"hamming", "jaccard"}  # which test_bits has
    assert set(_native.build_config()["metrics"].split()) == set(METRICS) | on_bits


# --- parameters ------------------------------------------------------------------------------


@pytest.mark.native
@pytest.mark.parametrize("p", EXPONENTS)
@given(sets=pairs_of_sets(rows=st.integers(1, 40)))
def test_minkowski_equals_twin(p, sets):
    x, y = (s.array for s in sets)
    options = asked("minkowski", {"p": p})
    k = min(5, len(y))
    assert_same(*native_and_twin(pt.knn, x, y, k, **options))
    radii = pt.kth_distance(x, y, k, **options)
    assert_same(*native_and_twin(pt.radius_neighbors, x, y, radii, **options))


@pytest.mark.parametrize("p", [0.5, 1, 1.2, 1.5, 2, 3, 7.25, math.inf])
def test_minkowski_by_scipy(p):
    x, y = np.random.default_rng(0).normal(size=(2, 60, 9))
    found = pt.pairwise_distances(x, y, **asked("minkowski", {"p": p}))
    np.testing.assert_allclose(found, cdist(x, y, "minkowski", p=p), rtol=1e-13)


@pytest.mark.parametrize(
    ("p", "same_as"), [(1, "manhattan"), (2, "euclidean"), (np.inf, "chebyshev")]
)
def test_minkowski_is_what_it_has_another_name_for(p, same_as):
    x = np.random.default_rng(1).normal(size=(50, 7))
    assert_same(pt.knn(x, k=9, **asked("minkowski", {"p": p})), pt.knn(x, k=9, metric=same_as))


def test_canberra_and_braycurtis_of_zeros():
    x = np.array([[0.0, 0.0], [0.0, 2.0], [1.0, -1.0], [-1.0, 1.0]])
    canberra = pt.pairwise_distances(x, metric="canberra")
    np.testing.assert_array_equal(
        canberra, [[0, 1, 2, 2], [1, 0, 2, 1 + 1 / 3], [2, 2, 0, 2], [2, 1 + 1 / 3, 2, 0]]
    )
    bray = pt.pairwise_distances(x, metric="braycurtis")
    np.testing.assert_array_equal(bray[0], [0, 1, 1, 1])
    assert bray[2, 3] == np.inf  # apart, with nothing to divide by


def missing_here_and_there(rng, n, d, share=0.4):
    x = rng.normal(size=(n, d))
    x[rng.random((n, d)) < share] = np.nan
    return x


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("d", [1, 2, 5, 9, 40])
def test_nan_euclidean_by_sklearn(d, dtype):
    rng = np.random.default_rng(3)
    x, y = (missing_here_and_there(rng, n, d).astype(dtype) for n in (90, 210))
    x[4], y[7] = np.nan, np.nan
    right = nan_euclidean_distances(x.astype(np.float64), y.astype(np.float64))
    right[np.isnan(right)] = np.inf  # nothing in common
    found = pt.pairwise_distances(x, y, metric="nan_euclidean")
    np.testing.assert_allclose(found, right, rtol=1e-6 if dtype != "float64" else 1e-7, atol=1e-7)
    near = pt.knn(x, y, 210, metric="nan_euclidean")
    np.testing.assert_array_equal(near.distances, np.take_along_axis(found, near.indices, axis=1))
    np.testing.assert_array_equal(np.sort(near.indices, axis=1)[0], np.arange(210))
    counts = pt.radius_count(x, y, 1.0, metric="nan_euclidean")
    np.testing.assert_array_equal(counts, (found <= 1.0).sum(axis=1))


@pytest.mark.native
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_euclidean_equals_twin(dtype):
    rng = np.random.default_rng(4)
    x, y = (missing_here_and_there(rng, n, 11).astype(dtype) for n in (70, 900))
    y[500:] = y[:400]
    for reference in (y, None):
        for k in (1, 8, 60):
            assert_same(*native_and_twin(pt.knn, x, reference, k, metric="nan_euclidean"))
        assert_same(
            *native_and_twin(pt.radius_neighbors, x, reference, 2.0, metric="nan_euclidean")
        )
        for each in (True, False):
            options = {"metric": "nan_euclidean", "check_finite": each}
            assert_same(*native_and_twin(pt.radius_count, x, reference, np.ones(70), **options))
    index = pt.NeighborIndex(y, metric="nan_euclidean")
    assert_same(index.knn(x, 5), pt.knn(x, y, 5, metric="nan_euclidean"))


def test_nan_euclidean_refuses_infinity():
    x, y = np.zeros((5, 2)), np.full((4, 2), np.nan)
    pt.knn(x, y, 1, metric="nan_euclidean")
    y[2, 1] = -np.inf
    calls = {pt.knn: {"k": 1}, pt.radius_neighbors: {"radius": 1.0}, pt.pairwise_distances: {}}
    for call, options in calls.items():
        with pytest.raises(
            ValueError, match=r"^(y|reference) contains Inf; the first bad row is 2"
        ):
            call(x, y, metric="nan_euclidean", **options)
        with pytest.raises(ValueError, match="contains NaN or Inf"):
            call(x, y, metric="euclidean", **options)


@pytest.mark.parametrize("given_as", ["VI", "V"])
def test_mahalanobis_by_scipy(given_as):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 80, 6)) @ rng.normal(size=(6, 6)) + 1e3
    covariance = np.cov(np.concatenate([x, y]), rowvar=False)
    inverse = np.linalg.inv(covariance)
    params = {"VI": inverse} if given_as == "VI" else {"V": covariance}
    found = pt.pairwise_distances(x, y, **asked("mahalanobis", params))
    np.testing.assert_allclose(found, cdist(x, y, "mahalanobis", VI=inverse), rtol=1e-9)


@pytest.mark.native
def test_mahalanobis_of_a_singular_matrix():
    """A direction that does not count: rows that differ in it alone are at distance 0."""
    rng = np.random.default_rng(3)
    a = rng.integers(-3, 4, size=(3, 5)).astype(float)
    options = asked("mahalanobis", {"VI": a.T @ a})
    x = rng.normal(size=(60, 5))
    native, twin = native_and_twin(pt.knn, x, k=9, **options)
    assert_same(native, twin)
    right = cdist(x @ a.T, x @ a.T)
    np.testing.assert_allclose(
        native.distances, np.sort(right, axis=1)[:, 1:10], rtol=1e-6, atol=1e-6
    )
    nothing = pt.pairwise_distances(x, **asked("mahalanobis", {"VI": np.zeros((5, 5))}))
    np.testing.assert_array_equal(nothing, 0)


def test_gower_by_definition():
    x = np.array([[0.0, 1.0, 5.0], [2.0, 1.0, 5.0], [8.0, 3.0, 5.0]])
    params = {"categorical": [1]}
    found = pt.pairwise_distances(x, **asked("gower", params))
    np.testing.assert_allclose(found[0], [0, (2 / 8) / 3, (1 + 1) / 3], rtol=1e-15)
    mask = pt.pairwise_distances(x, **asked("gower", {"categorical": [False, True, False]}))
    np.testing.assert_array_equal(found, mask)
    # ranges are the reference's: what lies beyond them counts more than 1, and what the reference
    # never changes in counts 1 where it differs
    beyond = pt.pairwise_distances([[24.0, 1.0, 6.0]], x, metric="gower")
    right = [[(24 / 8 + 0 + 1) / 3, (22 / 8 + 0 + 1) / 3, (16 / 8 + 2 / 2 + 1) / 3]]
    np.testing.assert_allclose(beyond, right, rtol=1e-15)
    given_ranges = pt.pairwise_distances(x, **asked("gower", {"ranges": [16, 2, 1]}))
    np.testing.assert_allclose(given_ranges[0, 2], (8 / 16 + 1 + 0) / 3, rtol=1e-15)


def test_gower_ranges_are_the_references():
    rng = np.random.default_rng(4)
    real, fake = rng.normal(size=(90, 4)), 3 * rng.normal(size=(70, 4))
    params = {"ranges": np.ptp(real, axis=0)}
    for call in (pt.precision_recall_density_coverage, pt.authenticity):
        np.testing.assert_array_equal(
            call(real, fake, metric="gower"), call(real, fake, **asked("gower", params))
        )
    for call in (pt.knn, pt.distance_to_closest_record):
        assert_same(
            call(fake, real, metric="gower", **({"k": 3} if call is pt.knn else {})),
            call(fake, real, **asked("gower", params), **({"k": 3} if call is pt.knn else {})),
        )
    holey = np.concatenate([real, [[0, -np.inf, 0, 0]]])
    assert_same(
        pt.knn(fake, holey, 3, metric="gower", check_finite=False),
        pt.knn(fake, real, 3, **asked("gower", params)),
    )


def gower_by_pandas_rules(x, y, ranges, compared, most=math.inf):
    """Each pair by itself, of the features that both have."""
    found = np.empty((len(x), len(y)))
    for i, a in enumerate(x):
        for k, b in enumerate(y):
            shares = [
                (u != v) if c or r == 0 else min(abs(u - v) / r, most)
                for u, v, r, c in zip(a, b, ranges, compared, strict=True)
                if not (math.isnan(u) or math.isnan(v))
            ]
            found[i, k] = sum(shares) / len(shares)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("clip", [False, True])
def test_gower_of_the_features_that_both_have(dtype, clip):
    rng = np.random.default_rng(6)
    x, y = (missing_here_and_there(rng, n, 9, 0.25).astype(dtype) for n in (40, 90))
    x[:, 3:5], y[:, 3:5] = np.nan_to_num(np.rint(x[:, 3:5])), np.nan_to_num(np.rint(y[:, 3:5]))
    y[:, 7] = np.where(np.isnan(y[:, 7]), np.nan, 2)  # a column without a range
    x *= 2  # beyond the ranges
    params = {"categorical": [3, 4], "clip": clip}
    wide = [a.astype(np.float64) for a in (x, y)]
    ranges = np.nanmax(wide[1], axis=0) - np.nanmin(wide[1], axis=0)
    compared = np.isin(np.arange(9), [3, 4])
    right = gower_by_pandas_rules(*wide, ranges, compared, 1.0 if clip else math.inf)
    assert (right > 1).any() != clip
    found = pt.pairwise_distances(x, y, metric="gower", metric_params=params)
    np.testing.assert_allclose(found, right, rtol=1e-6 if dtype != "float64" else 1e-14)
    near = pt.knn(x, y, 90, metric="gower", metric_params=params)
    np.testing.assert_array_equal(near.distances, np.take_along_axis(found, near.indices, axis=1))
    counts = pt.radius_count(x, y, 0.4, metric="gower", metric_params=params)
    np.testing.assert_array_equal(counts, (found <= found.dtype.type(0.4)).sum(axis=1))
    index = pt.NeighborIndex(y, metric="gower", metric_params=params)
    assert_same(index.knn(x, 5), pt.knn(x, y, 5, metric="gower", metric_params=params))


@pytest.mark.native
@pytest.mark.parametrize("clip", [False, True])
def test_gower_with_missing_values_equals_twin(clip):
    rng = np.random.default_rng(7)
    x, y = (missing_here_and_there(rng, n, 21, 0.2).astype(np.float32) for n in (70, 900))
    y[500:] = y[:400]
    options = asked("gower", {"categorical": [0, 20], "clip": clip})
    for reference in (y, None):
        assert_same(*native_and_twin(pt.knn, x, reference, 8, **options))
        assert_same(*native_and_twin(pt.radius_neighbors, x, reference, 0.3, **options))


def test_gower_takes_nan_whatever_is_checked_and_refuses_infinity():
    x, y = np.zeros((3, 2)), np.array([[0.0, np.nan], [1.0, 2.0]])
    for check in (True, False):
        found = pt.knn(x, y, 2, metric="gower", check_finite=check)
        np.testing.assert_array_equal(found.distances[0], [0, 1])
    y[1, 1] = np.inf
    with pytest.raises(ValueError, match="reference contains Inf; the first bad row is 1"):
        pt.knn(x, y, 1, metric="gower")


def test_gower_names_rows_without_a_common_feature():
    nan = np.nan
    x, y = np.ones((5, 9)), np.ones((7, 9))
    x[3, 1:], y[6, 0] = nan, nan
    message = "row 3 of queries and row 6 of reference have none in common"
    for check in (True, False):
        with pytest.raises(ValueError, match=message):
            pt.knn(x, y, 1, metric="gower", check_finite=check)
    y[6, 0], y[4] = 1, nan
    with pytest.raises(ValueError, match="row 0 of queries and row 4 of reference"):
        pt.radius_count(x, y, 1.0, metric="gower")
    alone = np.array([[1, nan, nan], [nan, 1, 1], [1, 1, 1]])
    with pytest.raises(ValueError, match="row 1 of queries and row 0 of queries have none"):
        pt.knn(alone, k=1, metric="gower")
    alone[1, 0] = 3  # the row that has one feature shares it with itself, too
    pt.knn(alone, k=1, metric="gower")


# --- hard data -------------------------------------------------------------------------------


@pytest.mark.native
@pytest.mark.parametrize("offset", [0.0, 1e6, -3e9])
@pytest.mark.parametrize("metric", MAPPED)
@pytest.mark.parametrize(
    "screen", ["float32", "int8", "int16", "bfloat16", "float64", "prefix", ""]
)
def test_mapped_rows_far_from_the_origin(metric, offset, screen):
    """Columns whose scales are 10¹⁰ apart, weighted to count alike, far away; near-ties."""
    from pairtile import _native

    rng = np.random.default_rng(5)
    for d in (3, 70):
        scales = 10.0 ** rng.uniform(-5, 5, size=d)
        points = KINDS["near_ties"](rng, 700, d) * scales + offset * scales
        params = {"w": scales**-2} if metric == "weuclidean" else {"VI": np.diag(scales**-2)}
        if metric == "mahalanobis":
            rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
            inverse = rotation @ params["VI"] @ rotation.T
            params = {"VI": (inverse + inverse.T) / 2}
            points = KINDS["near_ties"](rng, 700, d) + offset
        _native._testing.set_screen(screen)
        try:
            call = (pt.knn, points[:20], points[20:], 5)
            assert_same(*native_and_twin(*call, **asked(metric, params)))
        finally:
            _native._testing.set_screen("")


@pytest.mark.native
@pytest.mark.parametrize("metric", MAPPED)
def test_large_sets_choose_their_screen(metric):
    """Enough pairs for the sample that chooses, on both sides of what float32 tells apart."""
    rng = np.random.default_rng(6)
    for offset, dtype in ((0, np.float32), (1e6, np.float64)):
        x = (rng.normal(size=(60, 24)) + offset).astype(dtype)
        y = (rng.normal(size=(80_000, 24)) + offset).astype(dtype)
        options = named(metric, 24)
        with on_backend("native"):
            found = pt.knn(x, y, 10, distance_dtype="float64", workers=2, **options)
            every = pt.pairwise_distances(x.astype(float), y.astype(float), **options)
        right = np.sort(every, axis=1)[:, :10]
        np.testing.assert_array_equal(found.distances, right)
        np.testing.assert_array_equal(np.take_along_axis(every, found.indices, axis=1), right)


@pytest.mark.native
@pytest.mark.parametrize("metric", MAPPED)
@pytest.mark.parametrize("of_data", [-200, -120, 0, 120, 200])
@pytest.mark.parametrize("of_weights", [-290, -100, 0, 100, 290])
def test_extreme_weights(metric, of_data, of_weights):
    """Weights and data beyond any scale, together or one making up for the other."""
    rng = np.random.default_rng(7)
    points = rng.normal(size=(90, 6)) * 10.0**of_data
    w = rng.exponential(size=6) * 10.0**of_weights
    params = {"w": w} if metric == "weuclidean" else {"VI": np.diag(w)}
    call = (pt.knn, points[:30], points[30:], 4)
    assert_same(*native_and_twin(*call, **asked(metric, params)))


@pytest.mark.native
@pytest.mark.parametrize("metric", DIRECT + MAPPED)
@given(
    sets=pairs_of_sets(features=st.integers(1, 12), rows=st.integers(1, 40)),
    exponent=st.integers(-320, 100),
    seed=SEEDS,
)
def test_columns_of_any_scale(metric, sets, exponent, seed):
    """Denormal columns beside ordinary ones."""
    rng = np.random.default_rng(seed)
    with np.errstate(under="ignore"):
        scale = np.where(rng.random(sets[0].values.shape[1]) < 0.5, 1.0, 10.0**exponent)
        x, y = (s.values * scale for s in sets)
    with forced_tile(20, 70):
        assert_same(*native_and_twin(pt.knn, x, y, min(3, len(y)), **named(metric, x)))


@pytest.mark.parametrize("metric", DIRECT + MAPPED)
def test_copies_are_at_distance_zero(metric):
    x = np.repeat(1e6 + np.random.default_rng(8).normal(size=(20, 9)), 2, axis=0)
    found = pt.knn(narrowed(metric, x), k=1, **named(metric, x))
    np.testing.assert_array_equal(found.distances, 0)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(40) ^ 1)


@pytest.mark.parametrize("metric", DIRECT)
def test_fast_is_exact_where_nothing_is_screened(metric):
    x = np.random.default_rng(9).normal(size=(60, 9)).astype(np.float32)
    options = named(metric, x)
    assert_same(pt.knn(x, k=5, precision="fast", **options), pt.knn(x, k=5, **options))
    np.testing.assert_allclose(
        pt.pairwise_distances(x, **options),
        by_scipy(x.astype(float), x.astype(float), metric),
        rtol=1e-6,
        atol=1e-7,
    )


# --- bad input -------------------------------------------------------------------------------

A = np.random.default_rng(10).normal(size=(12, 3))
SQUARE = np.eye(3)
LEANING = SQUARE + np.eye(3, k=1)
BAD = {
    "no p": ("minkowski", None, ValueError, ["minkowski", "'p'"]),
    "p zero": ("minkowski", {"p": 0}, ValueError, ["'p'", "> 0"]),
    "p negative": ("minkowski", {"p": -2}, ValueError, ["'p'", "-2"]),
    "p NaN": ("minkowski", {"p": math.nan}, ValueError, ["'p'", "nan"]),
    "p huge": ("minkowski", {"p": 5000}, ValueError, ["'p'", "1024", "inf"]),
    "p text": ("minkowski", {"p": "3"}, TypeError, ["'p'", "number"]),
    "unknown key": ("minkowski", {"p": 3, "q": 1}, ValueError, ["['p']", "['q']"]),
    "none taken": ("canberra", {"p": 3}, ValueError, ["'canberra' takes no", "['p']"]),
    "no w": ("weuclidean", {}, ValueError, ["weuclidean", "'w'"]),
    "w negative": ("weuclidean", {"w": [1, -2, 1]}, ValueError, ["'w'", "-2", "position 1"]),
    "w short": ("weuclidean", {"w": [1, 2]}, ValueError, ["'w'", "(3,)", "(2,)"]),
    "w NaN": ("weuclidean", {"w": [1, np.nan, 2]}, ValueError, ["'w'", "NaN"]),
    "w text": ("weuclidean", {"w": ["a", "b", "c"]}, TypeError, ["'w'", "real numbers"]),
    "neither VI nor V": ("mahalanobis", None, ValueError, ["'VI'", "'V'", "exactly one"]),
    "both VI and V": ("mahalanobis", {"VI": SQUARE, "V": SQUARE}, ValueError, ["exactly one"]),
    "VI not square": ("mahalanobis", {"VI": np.ones((3, 2))}, ValueError, ["(3, 3)", "(3, 2)"]),
    "VI leaning": ("mahalanobis", {"VI": LEANING}, ValueError, ["'VI'", "symmetric"]),
    "VI indefinite": (
        "mahalanobis",
        {"VI": np.diag([1.0, -1.0, 1.0])},
        ValueError,
        ["'VI'", "positive semidefinite", "-1"],
    ),
    "V singular": (
        "mahalanobis",
        {"V": np.diag([1.0, 0.0, 1.0])},
        ValueError,
        ["'V'", "positive definite", "'VI'"],
    ),
    "categorical beyond": ("gower", {"categorical": [0, 3]}, ValueError, ["column 3", "3 columns"]),
    "mask of the wrong length": ("gower", {"categorical": [True]}, ValueError, ["(3,)", "(1,)"]),
    "categorical names": ("gower", {"categorical": ["a"]}, TypeError, ["categorical", "mask"]),
    "ranges negative": ("gower", {"ranges": [1, 2, -3]}, ValueError, ["ranges", "column 2"]),
    "ranges short": ("gower", {"ranges": [1]}, ValueError, ["ranges", "(3,)"]),
    "clip a number": ("gower", {"clip": 1}, TypeError, ["'clip'", "True or False", "1"]),
}
CALLS = {
    "knn": lambda **o: pt.knn(A, k=1, **o),
    "kth_distance": lambda **o: pt.kth_distance(A, k=1, **o),
    "radius_count": lambda **o: pt.radius_count(A, radius=1.0, **o),
    "radius_neighbors": lambda **o: pt.radius_neighbors(A, radius=1.0, **o),
    "precision_recall_density_coverage": lambda **o: pt.precision_recall_density_coverage(
        A, A, **o
    ),
    "authenticity": lambda **o: pt.authenticity(A, A, **o),
    "distance_to_closest_record": lambda **o: pt.distance_to_closest_record(A, A, **o),
    "pairwise_distances": lambda **o: pt.pairwise_distances(A, **o),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters(case):
    metric, params, error, said = BAD[case]
    for call in CALLS.values():
        with pytest.raises(error) as caught:
            call(**asked(metric, params))
        assert all(part in str(caught.value) for part in said), caught.value


@pytest.mark.native
@pytest.mark.parametrize("metric", ["minkowski", "weuclidean", "mahalanobis", "gower"])
def test_the_seam_says_what_is_missing(metric):
    from pairtile import _native

    with pytest.raises(ValueError, match="lack"):
        _native.pairwise_distances(A, None, metric, dtype="float64", workers=1)


@pytest.mark.parametrize("seed", range(20))
def test_a_covariance_of_dependent_columns_is_refused_each_time(seed):
    """Rounding alone decides whether Cholesky goes through."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(80, 4)) * 10.0 ** rng.integers(-4, 5, size=4)
    x = np.hstack([x, x[:, :1] + x[:, 1:2]])
    with pytest.raises(ValueError, match=r"V.* must be positive definite; where columns depend"):
        pt.pairwise_distances(x, metric="mahalanobis", metric_params={"V": np.cov(x.T)})
    V = np.cov(x[:, :4].T)
    d = pt.pairwise_distances(x[:9, :4], metric="mahalanobis", metric_params={"V": V})
    vi = pt.pairwise_distances(
        x[:9, :4], metric="mahalanobis", metric_params={"VI": np.linalg.inv(V)}
    )
    np.testing.assert_allclose(d, vi, rtol=1e-6)
