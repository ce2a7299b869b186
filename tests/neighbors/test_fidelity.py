"""Generated sets beside real ones: equal to prdc and to the definitions, bit for bit the twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from metrics import DISTANCES, by_scipy, named, narrowed
from strategies import cast, pairs_of_sets


def prdc(real, fake, k):
    """What the package of that name says."""
    from prdc import compute_prdc

    return pt.PRDC(**{name: float(v) for name, v in compute_prdc(real, fake, k).items()})


def by_definition(real, fake, k, metric="euclidean"):
    """The four formulas, on matrices of SciPy's distances."""
    own = []
    for points in (real, fake):
        distances = by_scipy(points, points, metric)
        np.fill_diagonal(distances, np.inf)
        own.append(np.sort(distances, axis=1)[:, k - 1])
    r, s = own
    d = by_scipy(real, fake, metric)
    return pt.PRDC(
        precision=(d < r[:, None]).any(axis=0).mean(),
        recall=(d < s).any(axis=1).mean(),
        density=(1.0 / k) * (d < r[:, None]).sum(axis=0).mean(),
        coverage=(d.min(axis=1) < r).mean(),
    )


def own_distances(points, k, metric="euclidean"):
    """Distance of each row to its k-th neighbour, by SciPy."""
    distances = by_scipy(points, points, metric)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, k - 1]


def realism_by_definition(real, fake, k, prune, metric="euclidean"):
    """max over the real rows whose radius is at most the quantile, equation 3 of the paper."""
    r = own_distances(real, k, metric)
    kept = r <= np.quantile(r, 1 - prune)
    d = by_scipy(real[kept], fake, metric)
    return (r[kept, None] / d).max(axis=0)


def realism_by_the_program(real, fake, k, percentile, eps):
    """What the authors' program computes: squared distances, pruned radii as 0, eps below."""
    real_squares = by_scipy(real, real, "sqeuclidean")
    radii = np.partition(real_squares, np.arange(k + 1), axis=1)[:, k]
    radii[radii > np.percentile(radii, percentile)] = 0
    return np.max(radii / (by_scipy(fake, real, "sqeuclidean") + eps), axis=1)


def probabilistic_by_the_program(real, fake, k, scale, metric="euclidean"):
    """What the authors' program computes, with every n x m matrix."""

    def mean_radius(points):
        distances = by_scipy(points, points, metric)
        return np.sort(distances, axis=1)[:, k].mean()  # the row itself comes first

    def outside(distances, radius):
        belonging = 1 - distances / (scale * radius)
        belonging[distances >= scale * radius] = 0.0
        return np.prod(1.0 - belonging, axis=0)

    d = by_scipy(real, fake, metric)
    return pt.PrecisionRecall(
        np.mean(1.0 - outside(d, mean_radius(real))), np.mean(1.0 - outside(d.T, mean_radius(fake)))
    )


def sample(seed, n=150, m=120, d=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.2 * rng.normal(size=(m, d)) + 0.3


# --- precision, recall, density, coverage ----------------------------------------------------


@pytest.mark.oracle("prdc")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 3, 5, 50])
def test_equals_prdc(k, dtype):
    """The very floats, no pair being near enough to a radius for rounding to decide."""
    for seed in range(3):
        real, fake = (points.astype(dtype) for points in sample(seed))
        assert pt.precision_recall_density_coverage(real, fake, k=k) == prdc(real, fake, k)


@pytest.mark.oracle("prdc")
@pytest.mark.filterwarnings("default")
def test_equals_prdc_on_real_images():
    from sklearn.datasets import load_digits

    digits = load_digits().data
    real, fake = digits[::2], np.clip(digits[1::2] + 0.5, 0, 16)
    ours = pt.precision_recall_density_coverage(real, fake)
    assert ours == pytest.approx(prdc(real, fake, 5), abs=2e-3)  # distances of pixels often tie
    assert 0.5 < ours.coverage < 1


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("metric", DISTANCES)
def test_equals_the_definition(metric, k):
    real, fake = sample(3)
    found = pt.precision_recall_density_coverage(real, fake, k=k, **named(metric, real))
    assert found == by_definition(real, fake, k, metric)
    assert all(type(value) is float for value in found)
    swapped = pt.precision_recall_density_coverage(fake, real, k=k, **named(metric, real))
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)


@pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16"])
def test_narrow_inputs_are_their_values(dtype):
    real, fake = (cast(20 * points, dtype) for points in sample(4))
    right = by_definition(real.astype(np.float64), fake.astype(np.float64), 5)
    assert pt.precision_recall_density_coverage(real, fake) == pytest.approx(right, abs=0.02)
    wide = pt.precision_recall_density_coverage(real.astype(np.float64), fake.astype(np.float64))
    assert pt.precision_recall_density_coverage(real, fake) == wide


def test_a_pair_at_the_radius_is_outside():
    real, fake = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[-1.0], [4.0], [10.0]])
    assert pt.precision_recall_density_coverage(real, fake, k=1) == (0, 1, 0, 0)
    nearer = np.nextafter(fake, 1.5)
    found = pt.precision_recall_density_coverage(real, nearer, k=1)
    assert found == (2 / 3, 1, 2 / 3, 0.5)


def test_duplicates_have_radius_zero():
    """A row with k copies has radius 0 and holds nobody, not even its copy in the other set."""
    real = np.repeat(np.eye(4), 3, axis=0)
    assert pt.precision_recall_density_coverage(real, real, k=2) == (0, 0, 0, 0)
    assert pt.precision_recall_density_coverage(real, real, k=3) == (1, 1, 1, 1)


def test_distances_that_only_float64_tells_apart():
    """In float32 the radius and the distance of the fake row would be one number."""
    real = np.array([[0.0], [1.0], [1e3]])
    fake = np.array([[-1.0 + 2.0**-40], [2e3], [3e3]])
    assert pt.precision_recall_density_coverage(real, fake, k=1).coverage == 1 / 3
    assert np.float32(1.0 - 2.0**-40) == 1


def test_density_may_exceed_one():
    real, fake = np.linspace(0, 1, 50)[:, None], np.full((10, 1), 0.5)
    found = pt.precision_recall_density_coverage(real, fake + np.arange(10)[:, None] * 1e-9, k=5)
    assert found.density > 1


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@given(data=st.data(), sets=pairs_of_sets(rows=st.integers(2, 70)))
def test_precision_and_recall_equal_twin(metric, data, sets):
    real, fake = (narrowed(metric, s.array) for s in sets)
    k = data.draw(st.integers(1, min(len(real), len(fake)) - 1), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    with forced_tile(*tile):
        native, twin = native_and_twin(
            pt.precision_recall_density_coverage, real, fake, k=k, **named(metric, real), workers=2
        )
    assert native == twin


@pytest.mark.native
def test_workers_make_no_difference():
    real, fake = (points.astype(np.float32) for points in sample(5, 700, 500, 20))
    with on_backend("native"), forced_tile(30, 50):
        right = pt.precision_recall_density_coverage(real, fake, workers=1)
        authentic = pt.authenticity(real, fake, workers=1)
        scores = pt.realism(real, fake, workers=1)
        probabilistic = pt.probabilistic_precision_recall(real, fake, workers=1)
        for workers in (2, 3, 7):
            assert pt.precision_recall_density_coverage(real, fake, workers=workers) == right
            np.testing.assert_array_equal(pt.realism(real, fake, workers=workers), scores)
            again = pt.probabilistic_precision_recall(real, fake, workers=workers)
            assert again == probabilistic
            np.testing.assert_array_equal(pt.authenticity(real, fake, workers=workers), authentic)


def test_progress_is_one_count():
    told = []
    real, fake = sample(6, 600, 400)
    pt.precision_recall_density_coverage(real, fake, progress=lambda *numbers: told.append(numbers))
    total = 600 * 600 + 400 * 400 + 600 * 400
    assert told[-1] == (total, total)
    assert {whole for _, whole in told} == {total}
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# --- realism ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prune", [0, 0.1, 0.5, 0.93, 1])
@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("metric", DISTANCES)
def test_realism_equals_the_definition(metric, k, prune):
    real, fake = sample(11)
    found = pt.realism(real, fake, k=k, prune=prune, **named(metric, real))
    assert (found.shape, found.dtype) == ((120,), np.float64)
    right = realism_by_definition(real, fake, k, prune, metric)
    np.testing.assert_allclose(found, right, rtol=1e-9)


def test_realism_equals_the_authors_program():
    real, fake = sample(12)
    found = pt.realism(real, fake, metric="sqeuclidean")
    right = realism_by_the_program(real, fake, 3, 50, eps=0.0)
    np.testing.assert_allclose(found, right, rtol=1e-9)
    np.testing.assert_allclose(found, np.square(pt.realism(real, fake)), rtol=1e-12)
    near = realism_by_the_program(real, fake, 3, 50, eps=1e-5)
    np.testing.assert_allclose(found, near, rtol=1e-4)


def test_realism_at_distance_zero():
    """Infinite, whatever the radius, unless the real row was left out."""
    real = np.array([[0.0], [0.0], [1.0], [9.0]])  # radii 0, 0, 1, 8
    fake = np.array([[0.0], [0.5], [1.0], [9.0]])
    np.testing.assert_array_equal(pt.realism(real, fake, k=1, prune=0), [np.inf, 2, np.inf, np.inf])
    np.testing.assert_array_equal(
        pt.realism(real, fake, k=1, prune=0.3), [np.inf, 2, np.inf, 0.125]
    )
    np.testing.assert_array_equal(pt.realism(real, fake, k=1), [np.inf, 0, 0, 0])


@pytest.mark.parametrize("metric", DISTANCES)
def test_realism_of_equal_rows(metric):
    real = np.tile([1.0, 2.0, 3.0], (40, 1))
    fake = np.concatenate([real[:5], [[3.0, 2.0, 1.0]]])
    found = pt.realism(real, fake, **named(metric, real))
    np.testing.assert_array_equal(found, [np.inf] * 5 + [0.0])


def test_realism_leaves_out_the_largest_radii():
    """Radii that equal the quantile stay; only the row with the largest reaches the fake one."""
    real, fake = np.array([[0.0], [1.0], [2.0], [3.0], [20.0]]), np.array([[30.0]])
    assert pt.realism(real, fake, k=1, prune=0)[0] == 17 / 10
    for prune in (0.2, 0.5, 1):
        assert pt.realism(real, fake, k=1, prune=prune)[0] == 1 / 27


@pytest.mark.parametrize("near", [1e-75, 1e-100, 1e-150])
@pytest.mark.parametrize("far", [1.0, 1e100, 1e148])
def test_realism_of_rows_much_nearer_than_they_are_far_from_others(near, far):
    """Beside rows far away squares of the radii of near ones vanish: the row whose ratio was best
    among them was thought to be no worse than any other."""
    rng = np.random.default_rng(0)
    real = np.concatenate([near * rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), [[far] * 2]])
    fake = np.concatenate([near * rng.normal(size=(9, 2)), rng.normal(size=(9, 2))])
    distances = pt.pairwise_distances(real, fake)
    own = pt.kth_distance(real, k=2)
    for prune in (0, 0.3):
        kept = own <= np.quantile(own, 1 - prune, method="lower")
        right = (own[kept, None] / distances[kept]).max(axis=0)
        np.testing.assert_array_equal(pt.realism(real, fake, k=2, prune=prune), right)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("fakes", [6, 60])
def test_realism_of_a_row_beyond_float32(metric, fakes):
    """Of few rows tiles hold sums of differences as they are, which may leave float32: a distance
    that is not known yet was taken for one that cannot matter."""
    rng = np.random.default_rng(0)
    real, fake = (rng.normal(size=(n, 12)).astype(np.float32) for n in (600, fakes))
    far = 1e25 if metric == "euclidean" else 3e38
    fake[1] = far * (-1.0) ** np.arange(12)
    distances = pt.pairwise_distances(real.astype(np.float64), fake, metric=metric)
    own = pt.kth_distance(real, k=3, metric=metric, distance_dtype="float64")
    right = (own[:, None] / distances).max(axis=0).astype(np.float32)
    assert right[1] > 0
    np.testing.assert_array_equal(pt.realism(real, fake, prune=0, metric=metric), right)


def test_realism_takes_the_dtype_of_its_inputs():
    real, fake = (points.astype(np.float32) for points in sample(13))
    narrow = pt.realism(real, fake)
    wide = pt.realism(real.astype(np.float64), fake)
    assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))


@pytest.mark.native
@pytest.mark.parametrize(
    "screen", ["", "float32", "int8", "int16", "bfloat16", "float64", "prefix"]
)
@pytest.mark.parametrize("metric", DISTANCES)
@given(data=st.data(), sets=pairs_of_sets(rows=st.integers(2, 70)))
def test_realism_equals_twin(metric, screen, data, sets):
    from pairtile import _native

    real, fake = (narrowed(metric, s.array) for s in sets)
    k = data.draw(st.integers(1, len(real) - 1), label="k")
    prune = data.draw(st.sampled_from([0, 0.25, 0.5, 1]), label="prune")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    _native._testing.set_screen(screen)
    try:
        with forced_tile(*tile):
            native, twin = native_and_twin(
                pt.realism, real, fake, k=k, prune=prune, **named(metric, real), workers=2
            )
    finally:
        _native._testing.set_screen("")
    np.testing.assert_array_equal(native, twin)


# --- probabilistic precision and recall ------------------------------------------------------


@pytest.mark.parametrize("scale", [0.3, 1.2, 5.0])
@pytest.mark.parametrize("k", [1, 4, 100])
@pytest.mark.parametrize("metric", DISTANCES)
def test_probabilistic_equals_the_authors_program(metric, k, scale):
    real, fake = sample(14)
    found = pt.probabilistic_precision_recall(real, fake, k=k, scale=scale, **named(metric, real))
    right = probabilistic_by_the_program(real, fake, k, scale, metric)
    assert found == pytest.approx(right, rel=1e-10)
    assert all(type(value) is float for value in found)
    swapped = pt.probabilistic_precision_recall(fake, real, k=k, scale=scale, **named(metric, real))
    assert (swapped.recall, swapped.precision) == pytest.approx(found, rel=1e-10)


def test_probabilistic_by_hand():
    """Radii 2 and 4; a pair at the radius is outside, a copy surely inside."""
    real, fake = np.array([[0.0], [1.0], [2.0]]), np.array([[2.0], [4.0]])
    found = pt.probabilistic_precision_recall(real, fake, k=1, scale=2.0)
    assert found == (0.5, (1 - 0.5 * 1 + 1 - 0.25 * 0.75 + 1) / 3)


def test_probabilistic_without_radius():
    """Rows that all have k copies have no ball, and nobody is in it."""
    real = np.repeat(np.eye(4), 5, axis=0)
    assert pt.probabilistic_precision_recall(real, real) == (0, 0)
    found = pt.probabilistic_precision_recall(real, np.eye(4) + 0.25 * np.ones((4, 4)), k=3)
    assert found.precision == 0
    assert found.recall > 0


def test_probabilistic_of_so_many_factors_that_they_underflow():
    real, fake = sample(15, 4000, 3000, 40)
    found = pt.probabilistic_precision_recall(real, fake, scale=4.0)
    assert found == probabilistic_by_the_program(real, fake, 4, 4.0) == (1.0, 1.0)


def test_probabilistic_of_clusters_far_apart():
    """‖x‖² + ‖y‖² − 2xy would keep few digits of the distances within a cluster."""
    rng = np.random.default_rng(16)
    offset = 1e6 * rng.integers(2, size=(300, 1))
    real, fake = rng.normal(size=(300, 12)) + offset, rng.normal(size=(300, 12)) + offset
    found = pt.probabilistic_precision_recall(real, fake)
    assert found == pytest.approx(probabilistic_by_the_program(real, fake, 4, 1.2), rel=1e-10)


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@given(data=st.data(), sets=pairs_of_sets(rows=st.integers(2, 70)))
def test_probabilistic_equals_twin(metric, data, sets):
    real, fake = (narrowed(metric, s.array) for s in sets)
    k = data.draw(st.integers(1, min(len(real), len(fake)) - 1), label="k")
    tile = data.draw(st.sampled_from([(0, 0), (1, 1), (20, 70)]), label="tile")
    with forced_tile(*tile):
        native, twin = native_and_twin(
            pt.probabilistic_precision_recall, real, fake, k=k, **named(metric, real), workers=2
        )
    assert native == pytest.approx(twin, abs=2.0**-38 * (len(real) + len(fake)))


# --- both ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", DISTANCES)
def test_the_order_of_rows_does_not_matter(metric):
    real, fake = sample(17, 333, 222)
    rng = np.random.default_rng(18)
    a, b = rng.permutation(len(real)), rng.permutation(len(fake))
    right = pt.realism(real, fake, **named(metric, real))
    np.testing.assert_array_equal(pt.realism(real[a], fake[b], **named(metric, real)), right[b])
    whole = pt.probabilistic_precision_recall(real, fake, **named(metric, real))
    shuffled = pt.probabilistic_precision_recall(real[a], fake[b], **named(metric, real))
    assert shuffled == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("name", [pytest.param("native", marks=pytest.mark.native), "numpy"])
def test_unchecked_nan_leaves_other_rows_alone(name):
    real, fake = sample(19)
    with on_backend(name):
        right = pt.realism(real, fake, prune=0.5)
        fake[7, 2] = np.nan
        found = pt.realism(real, fake, prune=0.5, check_finite=False)
        assert found[7] == 0
        np.testing.assert_array_equal(np.delete(found, 7), np.delete(right, 7))
        real[5, 1] = np.nan  # an infinite radius around nothing
        assert np.isfinite(pt.realism(real, fake, check_finite=False)).all()
        assert 0 <= pt.probabilistic_precision_recall(real, fake, check_finite=False).recall <= 1


# --- authenticity and the closest record -----------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("metric", DISTANCES)
def test_authenticity_by_definition(metric, dtype):
    real, fake = (points.astype(dtype) for points in sample(7))
    fake[:10] = real[:10] + np.asarray(1e-3, dtype) * fake[:10]  # copies, all but
    across = by_scipy(fake, real, metric)
    own = by_scipy(real, real, metric)
    np.fill_diagonal(own, np.inf)
    nearest = across.argmin(axis=1)
    right = across.min(axis=1) > own.min(axis=1)[nearest]
    found = pt.authenticity(real, fake, **named(metric, real))
    assert (found.shape, found.dtype) == ((120,), np.bool_)
    np.testing.assert_array_equal(found, right)
    assert not found[:10].any()
    assert found.any()


def test_authenticity_of_copies_and_ties():
    real = np.array([[0.0], [1.0], [5.0]])
    fake = np.array([[0.0], [2.0], [1.5], [9.0], [9.5], [3.0]])
    # 2 is as far from 1 as 1 from 0; 3 lies halfway between 1, which it is too far from, and 5.
    expected = [False, False, False, False, True, True]
    np.testing.assert_array_equal(pt.authenticity(real, fake), expected)


@pytest.mark.native
@pytest.mark.parametrize("metric", DISTANCES)
@given(sets=pairs_of_sets(rows=st.integers(2, 70)))
def test_authenticity_equals_twin(metric, sets):
    real, fake = (narrowed(metric, s.array) for s in sets)
    native, twin = native_and_twin(pt.authenticity, real, fake, **named(metric, real), workers=2)
    np.testing.assert_array_equal(native, twin)


@pytest.mark.parametrize("metric", DISTANCES)
def test_distance_to_closest_record(metric):
    train, synthetic = sample(8)
    found = pt.distance_to_closest_record(synthetic, train, **named(metric, train))
    assert isinstance(found, pt.Neighbors)
    assert found.distances.shape == found.indices.shape == (120, 1)
    across = by_scipy(synthetic, train, metric)
    np.testing.assert_array_equal(found.indices[:, 0], across.argmin(axis=1))
    np.testing.assert_allclose(found.distances[:, 0], across.min(axis=1), rtol=1e-9)
    narrow = pt.distance_to_closest_record(
        synthetic, train, **named(metric, train), distance_dtype="float32"
    )
    np.testing.assert_array_equal(narrow.distances, found.distances.astype(np.float32))


@pytest.mark.oracle("torch")
def test_torch_tensors_stay_torch_tensors():
    import torch

    real, fake = sample(9)
    tensors = torch.as_tensor(real), torch.as_tensor(fake)
    authentic = pt.authenticity(*tensors)
    assert isinstance(authentic, torch.Tensor)
    np.testing.assert_array_equal(authentic.numpy(), pt.authenticity(real, fake))
    assert isinstance(pt.distance_to_closest_record(*tensors).indices, torch.Tensor)
    assert isinstance(pt.realism(*tensors), torch.Tensor)
    right = pt.precision_recall_density_coverage(real, fake)
    assert pt.precision_recall_density_coverage(*tensors) == right


# --- what is not taken -----------------------------------------------------------------------

A, B = sample(10, 8, 6)
BAD_CALLS = {
    "k=0": (lambda: pt.precision_recall_density_coverage(A, B, k=0), ValueError, ["k must be at"]),
    "k float": (
        lambda: pt.precision_recall_density_coverage(A, B, k=5.0),
        TypeError,
        ["k must be an integer", "5.0"],
    ),
    "few real rows": (
        lambda: pt.precision_recall_density_coverage(A[:4], B, k=4),
        ValueError,
        ["k=4", "4 rows of real has 3 others"],
    ),
    "few fake rows": (
        lambda: pt.precision_recall_density_coverage(A, B, k=6),
        ValueError,
        ["k=6", "6 rows of fake has 5 others"],
    ),
    "k by position": (
        lambda: pt.precision_recall_density_coverage(A, B, 3),
        TypeError,
        ["positional"],
    ),
    "realism, k=0": (lambda: pt.realism(A, B, k=0), ValueError, ["k must be at"]),
    "realism, few real rows": (
        lambda: pt.realism(A[:3], B),
        ValueError,
        ["k=3", "3 rows of real has 2 others"],
    ),
    "prune below 0": (lambda: pt.realism(A, B, prune=-0.1), ValueError, ["prune", "-0.1"]),
    "prune above 1": (lambda: pt.realism(A, B, prune=1.5), ValueError, ["prune", "<= 1", "1.5"]),
    "prune NaN": (lambda: pt.realism(A, B, prune=np.nan), ValueError, ["prune", "nan"]),
    "prune not a number": (lambda: pt.realism(A, B, prune="half"), TypeError, ["prune", "'half'"]),
    "probabilistic, few fake rows": (
        lambda: pt.probabilistic_precision_recall(A, B[:4]),
        ValueError,
        ["k=4", "4 rows of fake has 3 others"],
    ),
    "scale 0": (
        lambda: pt.probabilistic_precision_recall(A, B, scale=0),
        ValueError,
        ["scale", "> 0"],
    ),
    "scale infinite": (
        lambda: pt.probabilistic_precision_recall(A, B, scale=np.inf),
        ValueError,
        ["scale", "finite"],
    ),
    "one real row": (
        lambda: pt.authenticity(A[:1], B),
        ValueError,
        ["1 rows of real has 0 others"],
    ),
    "no reference": (
        lambda: pt.distance_to_closest_record(A, None),
        TypeError,
        ["reference must hold real numbers", "object"],
    ),
    **{
        f"inner_product, {function.__name__}": (
            lambda function=function: function(A, B, metric="inner_product"),
            ValueError,
            ["'inner_product'", "a distance is needed"],
        )
        for function in (
            pt.precision_recall_density_coverage,
            pt.probabilistic_precision_recall,
            pt.realism,
            pt.authenticity,
            pt.distance_to_closest_record,
        )
    },
    "metric_params": (
        lambda: pt.authenticity(A, B, metric_params={"p": 3}),
        ValueError,
        ["takes no metric_params"],
    ),
    "distance_dtype": (
        lambda: pt.distance_to_closest_record(A, B, distance_dtype="f2"),
        ValueError,
        ["distance_dtype", "'f2'"],
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    call, error, fragments = BAD_CALLS[name]
    with pytest.raises(error) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)
