"""What other packages got wrong, kept as tests: each names the report or the reason."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import pairtile as pt

PRECISIONS = ("default", "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distance_of_large_numbers(dtype):
    """pytorch #42479: cdist([[512695.]], [[512804.]]) gave 0."""
    x, y = np.array([[512695.0]], dtype), np.array([[512804.0]], dtype)
    assert pt.pairwise_distances(x, y) == 109
    assert pt.knn(x, y, 1).distances == 109
    assert pt.knn(np.repeat(x, 40, axis=1), np.repeat(y, 40, axis=1), 1).distances == pytest.approx(
        109 * np.sqrt(40), rel=1e-6
    )
    assert pt.median_distance(x, y) == 109
    assert pt.energy_distance(x, y) == 218
    assert pt.wasserstein_1d(x[0], y[0]) == 109


@pytest.mark.parametrize("step", [1e-170, 1e-150])
def test_rows_that_are_almost_parallel(step):
    """Of unit rows less than 1e-140 apart squares of differences leave float64 in the frame of the
    tiles: which rows were the neighbours was left to chance."""
    rng = np.random.default_rng(0)
    x = np.tile([[1.0, 0.0, 0.0]], (80, 1)) * rng.random((80, 1))
    x[:, 1:] = step * rng.integers(9, size=(80, 2))
    metric = "cosine"
    distances = pt.pairwise_distances(x, metric=metric)
    others = np.where(np.eye(80, dtype=bool), np.inf, distances)
    order = np.argsort(others, axis=1, kind="stable")
    for reference in (None, x):
        wanted = order if reference is None else np.argsort(distances, axis=1, kind="stable")
        for k in (1, 5, 79):
            found = pt.knn(x, reference, k, metric=metric)
            np.testing.assert_array_equal(found.indices, wanted[:, :k])
    index = pt.NeighborIndex(x, metric=metric)
    np.testing.assert_array_equal(index.knn(k=5).indices, order[:, :5])
    i, j = np.triu_indices(80, 1)
    first = np.argsort(distances[i, j], kind="stable")[:900]
    pairs = pt.top_pairs(x, 900, metric=metric)
    np.testing.assert_array_equal(pairs.i, i[first])
    np.testing.assert_array_equal(pairs.j, j[first])
    radius = float(np.median(others[others < np.inf]))
    counts = (others <= radius).sum(axis=1)
    np.testing.assert_array_equal(pt.radius_count(x, radius=radius, metric=metric), counts)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
@pytest.mark.parametrize("far", [1e110, 1e145])
def test_the_nearest_pairs_beside_rows_very_far_away(metric, far):
    """Differences of 1e-75 have squares that vanish beside those of the largest rows: in that unit
    they were taken to tie, and the pair of the first rows won."""
    rng = np.random.default_rng(0)
    x = 1e-75 * rng.permutation(400)[:, None] * np.array([[1.0, 0.5]])
    x[-1] = -far
    i, j = np.triu_indices(400, 1)
    order = np.lexsort((j, i, pt.pairwise_distances(x, metric="sqeuclidean")[i, j]))
    for count in (1, 3, 500):
        found = pt.top_pairs(x, count, metric=metric)
        np.testing.assert_array_equal(found.i, i[order[:count]])
        np.testing.assert_array_equal(found.j, j[order[:count]])


@pytest.mark.parametrize("d", [2, 16, 100])
@pytest.mark.parametrize("offset", [1e3, 1e5, 1e6])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_neighbours_far_from_the_origin(d, offset, precision):
    """FAISS #297, #3245: ‖x‖² + ‖y‖² − 2xy of offset rows is noise, and negative."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(300, d)) + offset).astype(np.float32)
    queries, reference = x[:100], x[100:]
    found = pt.knn(queries, reference, 5, precision=precision)
    right = cdist(queries.astype(float), reference.astype(float))
    ranked = np.take_along_axis(right, found.indices, axis=1)
    np.testing.assert_allclose(ranked, np.sort(right, axis=1)[:, :5], rtol=1e-13)
    np.testing.assert_allclose(found.distances, ranked, rtol=1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_clusters_far_apart(precision):
    """No single centre brings both clusters near the origin."""
    rng = np.random.default_rng(1)
    side = 1e4 * (np.arange(400) % 2)[:, None]
    x = (rng.normal(size=(400, 24)) + side).astype(np.float32)
    found = pt.knn(x, k=5, precision=precision)
    right = cdist(x.astype(float), x.astype(float))
    np.fill_diagonal(right, np.inf)
    ranked = np.take_along_axis(right, found.indices, axis=1)
    np.testing.assert_allclose(ranked, np.sort(right, axis=1)[:, :5], rtol=1e-13)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_features_of_uneven_scale(precision):
    """FAISS #3245: one large column drowns the others, which decide."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, 8)).astype(np.float32)
    x[:, 3] = 3e6 + 0.25 * rng.integers(2, size=500)
    found = pt.knn(x[:50], x[50:], 7, precision=precision)
    right = cdist(x[:50].astype(float), x[50:].astype(float))
    ranked = np.take_along_axis(right, found.indices, axis=1)
    np.testing.assert_allclose(ranked, np.sort(right, axis=1)[:, :7], rtol=1e-13)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_near_duplicate_unit_vectors(metric):
    """cuVS sets d² < 1e-3 of rows of equal norm to 0: near-duplicates collapse into one."""
    rng = np.random.default_rng(3)
    base = rng.normal(size=64)
    near = base / np.linalg.norm(base) + 1e-6 * rng.normal(size=(40, 64))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    for x in (near, near.astype(np.float32)):
        found = pt.knn(x, k=39, metric=metric)
        right = cdist(x.astype(float), x.astype(float))
        if metric == "cosine":
            unit = x / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
            right = cdist(unit, unit)
        assert (found.distances > 0).all()
        ranked = np.take_along_axis(right, found.indices, axis=1)
        np.testing.assert_allclose(ranked, np.sort(right, axis=1)[:, 1:], rtol=1e-9)
        expected = {"euclidean": ranked, "sqeuclidean": ranked**2, "cosine": ranked**2 / 2}[metric]
        np.testing.assert_allclose(found.distances, expected, rtol=1e-6)


@pytest.mark.parametrize("gap", [1e-20, 1e-12, 1e-7])
def test_small_distances_are_not_rounded_to_zero(gap):
    x = np.zeros((2, 6))
    x[1, 4] = gap
    assert pt.knn(x, k=1).distances[0, 0] == gap
    assert pt.pairwise_distances(x)[0, 1] == gap
    assert pt.knn(x.astype(np.float32), k=1).distances[0, 0] == np.float32(gap)


@pytest.mark.parametrize("d", [2, 30])
def test_self_is_excluded_by_index(d):
    """cuml #6544: dropping the first column drops a duplicate instead of the row itself."""
    rng = np.random.default_rng(4)
    x = np.repeat(rng.normal(size=(30, d)).astype(np.float32), 4, axis=0)[rng.permutation(120)]
    found = pt.knn(x, k=5)
    assert (found.indices != np.arange(120)[:, None]).all()
    np.testing.assert_array_equal(found.distances[:, :3], 0)
    assert (found.distances[:, 3:] > 0).all()


def test_long_lists_start_with_short_ones():
    """FAISS: the first 100 of 10,000 are not the 100; they change with the batch, too."""
    x = np.random.default_rng(5).normal(size=(2500, 16)).astype(np.float32)
    long = pt.knn(x, k=2000)
    np.testing.assert_array_equal(pt.knn(x, k=100).indices, long.indices[:, :100])
    one_by_one = [pt.knn(x[i : i + 1], x, 100).indices[0] for i in range(0, 2500, 250)]
    np.testing.assert_array_equal(np.array(one_by_one), pt.knn(x[::250], x, 100).indices)


def test_k_beyond_2048():
    """The GPU libraries stop there."""
    x = np.random.default_rng(6).normal(size=(3000, 3))
    found = pt.knn(x[:5], x, 2999)
    np.testing.assert_array_equal(
        found.indices, np.argsort(cdist(x[:5], x), axis=1, kind="stable")[:, :2999]
    )


def test_float16_of_any_size():
    for n, d in ((1, 1), (3, 7), (17, 33), (65, 129)):
        x = np.random.default_rng(7).normal(size=(n, d)).astype(np.float16)
        found = pt.knn(x, x, n)
        assert found.distances.dtype == np.float32
        right = cdist(x.astype(float), x.astype(float))
        np.testing.assert_allclose(found.distances, np.sort(right, axis=1), rtol=1e-6)


@pytest.mark.parametrize("kernel", [pt.Gaussian(1.0), pt.Laplace(1.0), pt.Energy()])
def test_statistics_of_offset_samples(kernel):
    """Float32 data at 1e6: what float32 keeps of it decides, not the offset."""
    rng = np.random.default_rng(8)
    x = (rng.normal(size=(200, 12)) + 1e6).astype(np.float32)
    y = (rng.normal(size=(150, 12)) + 1e6 + 0.5).astype(np.float32)
    right = pt.mmd(x.astype(np.float64) - 1e6, y.astype(np.float64) - 1e6, kernel=kernel)
    assert pt.mmd(x, y, kernel=kernel) == pytest.approx(right, rel=1e-4, abs=2e-6)


def test_a_sample_against_itself():
    """TorchDrift keeps the diagonal and divides by n(n − 1)."""
    x = np.random.default_rng(9).normal(size=(100, 5)).astype(np.float32)
    assert pt.mmd(x, x, estimator="biased") == pytest.approx(0, abs=1e-7)
    assert pt.mmd(x, x) < 0
    assert pt.energy_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_pvalue_is_never_zero():
    """alibi-detect leaves the observed statistic out of the count."""
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 10
    for test in (pt.mmd_test, pt.energy_test):
        assert test(x, y, n_permutations=19, rng=0).pvalue == 1 / 20


def test_losses_of_large_logits():
    """pytorch-metric-learning's log(num/den + tiny) stops near 87 and its gradient vanishes."""
    x = np.eye(4, dtype=np.float32)[[1, 0, 3, 2]]
    y = np.eye(4, dtype=np.float32)
    result = pt.info_nce(x, y, logit_scale=1000.0, grad=True)
    assert result.loss == pytest.approx(1000)
    assert np.abs(result.grad_x).max() == pytest.approx(250)
