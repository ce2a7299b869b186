"""Counts and lists within radii by tensor cores, bit for bit those of the canonical distances.

Both paths run where the device has them, as in test_gpu_tensor.py.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from gpu_data import params_of
from pairtile._backends import numpy as twin
from strategies import SEEDS

pytestmark = pytest.mark.gpu
MAPPED = ("weuclidean", "mahalanobis")
METRICS = ("euclidean", "sqeuclidean", "cosine", "correlation", *MAPPED)
# around the panels of 128 rows, the blocks of 256 and the slices of 64 features
SHAPES = [(1, 40, 1), (130, 257, 16), (257, 129, 65), (20, 1100, 130)]


@pytest.fixture(scope="module", params=["mma", "wgmma"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The backend, all counts through one kind of tensor cores."""
    pytest.importorskip("cupy", exc_type=ImportError)
    from pairtile._backends import cuda as cuda_backend
    from pairtile._backends.cuda import panels

    before = panels.path, panels.least_work
    panels.path, panels.least_work = request.param, 0
    if panels.tensor_path() != request.param:
        panels.path, panels.least_work = before
        pytest.skip(f"{request.param} is not what this device and build have")
    yield cuda_backend
    panels.path, panels.least_work = before


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each search, whether it was screened to its end."""
    from pairtile._backends.cuda import screened_radius

    served: list[bool] = []

    def told(search: Any) -> Any:
        def searched(*args: Any) -> Any:
            found = search(*args)
            served.append(found not in (False, None))
            return found

        return searched

    for name in ("counts", "lists"):
        monkeypatch.setattr(screened_radius, name, told(getattr(screened_radius, name)))
    return served


def same(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_array_equal(a, b)


def distances(x: Any, y: Any, metric: str, dtype: str = "float32") -> Any:
    params = params_of(metric, x=x, y=x if y is None else y)
    options: dict[str, Any] = {"dtype": dtype, "metric_params": params, "workers": 1}
    return twin.pairwise_distances(x, y, metric, **options)


def radii_at(rng: Any, between: Any) -> Any:
    """For each row the distance of some column: one of its pairs is exactly at the radius."""
    ranks = rng.integers(between.shape[1], size=len(between))
    return np.sort(between, axis=1)[np.arange(len(between)), ranks].astype(float)


def check(gpu: Any, x: Any, y: Any, metric: str, *radii: Any, **options: Any) -> Any:
    named = {"queries": x} if y is None else {"queries": x, "reference": y}
    params = params_of(metric, **named)
    options = {"dtype": "float32", "closed": True, "metric_params": params, "workers": 1} | options
    found = gpu.radius_counts(x, y, metric, *radii, **options)
    same(found, twin.radius_counts(x, y, metric, *radii, **options))
    return found


def check_lists(
    gpu: Any, x: Any, y: Any, metric: str, radii: Any, own: Any = None, **options: Any
) -> Any:
    """`own` are options of the GPU alone."""
    named = {"queries": x} if y is None else {"queries": x, "reference": y}
    params = params_of(metric, **named)
    options = {"dtype": "float32", "closed": True, "metric_params": params, "workers": 1} | options
    found = gpu.radius_neighbors(x, y, metric, radii, **options, **(own or {}))
    same(found, twin.radius_neighbors(x, y, metric, radii, **options))
    for some, kind in zip(found, (np.int64, np.int64, options["dtype"]), strict=True):
        assert some.dtype == kind
    return found


def check_all(gpu: Any, rng: Any, x: Any, y: Any, metric: str, dtype: str = "float32") -> None:
    between = distances(x, y, metric, dtype)
    of_x, of_y = radii_at(rng, between), radii_at(rng, between.T)
    of_x[::7], of_y[::5] = 0, np.inf
    for given_radii in ((of_x, None), (None, of_y), (of_x, of_y)):
        closed = bool(rng.integers(2))
        check(gpu, x, y, metric, *given_radii, closed=closed, dtype=dtype)


def few_undecided(monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    """Whether canonical values may decide as many pairs as there are."""
    from pairtile._backends.cuda import screened_radius

    monkeypatch.setattr(screened_radius, "_FEW", 0 if few else 1 << 40)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_counts(gpu: Any, screened: list[bool], metric: str, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng([n, m, d])
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) for rows in (n, m))
    check_all(gpu, rng, x, y, metric)
    # of one feature all angles are 0 or 180°
    assert screened == [True] * 3 or (d == 1 and metric in ("cosine", "correlation"))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_lists(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch, metric: str, n: int, m: int,
    d: int,
) -> None:  # fmt: skip
    few_undecided(monkeypatch, False)
    rng = np.random.default_rng([n, m, d])
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) for rows in (n, m))
    radii = radii_at(rng, distances(x, y, metric))
    radii[::7], radii[3::7] = 0, np.inf
    for closed in (True, False):
        check_lists(gpu, x, y, metric, radii, closed=closed)
    assert screened == [True] * 2 or (d == 1 and metric == "correlation")  # constant rows


@pytest.mark.parametrize("metric", METRICS)
def test_of_a_set_with_itself(gpu: Any, screened: list[bool], metric: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 33)).astype(np.float32)
    x[150:170] = x[20:40]  # repeated rows are in balls of radius 0, a row itself is not
    radii = radii_at(rng, distances(x, None, metric))
    for closed in (True, False):
        check(gpu, x, None, metric, radii, radii, closed=closed)
        found = check(gpu, x, None, metric, np.zeros(300), None, closed=closed)
        assert found[0].sum() == 40 * closed
        check_lists(gpu, x, None, metric, radii / 2, closed=closed)
        listed = check_lists(gpu, x, None, metric, np.zeros(300), closed=closed)
        assert len(listed[1]) == 40 * closed
    assert screened == [True] * 8


def lattice(rng: Any, n: int, d: int) -> Any:
    """Whole numbers: exact in the screen, with ties everywhere."""
    return rng.integers(-2, 3, size=(n, d)).astype(np.float32)


def halves(rng: Any, n: int, d: int) -> Any:
    """The same ties, but none that the screen knows to be exact."""
    return lattice(rng, n, d) / 2


def repeated(rng: Any, n: int, d: int) -> Any:
    return rng.normal(size=(7, d)).astype(np.float32)[rng.integers(7, size=n)]


def clusters(rng: Any, n: int, d: int) -> Any:
    """Far from one another: the screen tells nothing apart within one."""
    centres = 1e4 * rng.normal(size=(3, d))
    return (centres[rng.integers(3, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def shifted(rng: Any, n: int, d: int) -> Any:
    return (1e4 + rng.normal(size=(n, d))).astype(np.float32)


def graded(rng: Any, n: int, d: int) -> Any:
    """Features of very different scales."""
    return (rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-6, 6, size=d)).astype(np.float32)


@pytest.mark.parametrize("draw", [lattice, halves, repeated, clusters, shifted, graded])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation", *MAPPED])
def test_hostile_data(
    gpu: Any,
    screened: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    draw: Any,
) -> None:
    rng = np.random.default_rng(11)
    x, y = draw(rng, 40, 20), draw(rng, 500, 20)
    few_undecided(monkeypatch, False)
    check_all(gpu, rng, x, y, metric)
    check_lists(gpu, x, y, metric, radii_at(rng, distances(x, y, metric)))
    assert screened == [True] * 4
    few_undecided(monkeypatch, True)
    between = distances(y, None, metric)
    radii = radii_at(rng, between)
    check_lists(gpu, y, None, metric, radii, closed=False)  # whether or not ordinary cores do it
    check(gpu, y, None, metric, radii, radii, closed=False)
    if draw is lattice and metric == "euclidean":
        assert screened[-1]
    if draw is clusters:
        assert not screened[-1]


@pytest.mark.parametrize("draw", [lattice, halves])
def test_ties_at_the_radius(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch, draw: Any
) -> None:
    few_undecided(monkeypatch, False)
    rng = np.random.default_rng(2)
    x, y = draw(rng, 70, 6), draw(rng, 300, 6)
    tied = distances(x, y, "euclidean", "float64")[0, 0]
    for closed in (True, False):
        for radius in (tied, np.nextafter(tied, 0), np.nextafter(tied, 9)):
            of_x, of_y = np.full(70, radius), np.full(300, radius)
            check(gpu, x, y, "euclidean", of_x, of_y, closed=closed, dtype="float64")
            check_lists(gpu, x, y, "euclidean", of_x, closed=closed, dtype="float64")
    assert all(screened)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_dtype(gpu: Any, screened: list[bool], metric: str, dtype: str) -> None:
    import ml_dtypes

    rng = np.random.default_rng(5)
    draw = rng.normal(size=(340, 24)) * (20 if "int" in dtype else 1)
    draw = np.abs(draw) if dtype == "uint8" else draw
    z = draw.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    wide = "float64" if dtype == "float64" else "float32"
    for x, y in ((z[:40], z[40:]), (z[:40, ::-2], z[40:, ::-2])):  # any strides
        between = distances(x, y, metric, wide)
        check(gpu, x, y, metric, radii_at(rng, between), radii_at(rng, between.T), dtype=wide)
        check_lists(gpu, x, y, metric, radii_at(rng, between) / 2, dtype=wide)
    assert screened == [True] * 4


def test_odd_radii(gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    few_undecided(monkeypatch, False)
    rng = np.random.default_rng(8)
    x, y = (rng.normal(size=(rows, 12)).astype(np.float32) for rows in (70, 300))
    odd = np.array([-1.0, 0.0, -0.0, np.inf, np.nan, 1e-40, 1e30, 1e300, 5.0, 4.0])
    for closed in (True, False):
        check(gpu, x, y, "euclidean", np.tile(odd, 7), np.tile(odd, 30), closed=closed)
        check(gpu, x, y, "sqeuclidean", np.tile(odd, 7), np.tile(odd, 30), closed=closed)
        check(gpu, np.round(x), np.round(y), "euclidean", np.tile(odd, 7), np.tile(odd, 30))
        check_lists(gpu, x, y, "sqeuclidean", np.tile(odd, 7), closed=closed)
    assert all(screened)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_rows_beyond_the_screen_are_left_to_canonical_values(
    gpu: Any, screened: list[bool], bad: float
) -> None:
    rng = np.random.default_rng(9)
    x, y = (rng.normal(size=(rows, 8)).astype(np.float32) for rows in (40, 300))
    of_x, of_y = np.full(40, 4.0), np.full(300, 3.5)
    y[17, 3] = bad
    check(gpu, x, y, "euclidean", of_x, of_y)
    check(gpu, y, x, "euclidean", of_y, of_x)
    y[17] = 0
    check(gpu, x, y, "cosine", of_x / 4, of_y / 4)
    assert screened == [False] * 3
    check_lists(gpu, x, y, "cosine", of_x / 4)
    assert screened == [False] * 5  # neither lists nor counts


def test_numbers_that_vanish_beside_their_centre(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """About a centre of -1 all are whole, as far as float64 tells; their differences are not
    whole numbers."""
    few_undecided(monkeypatch, False)
    rng = np.random.default_rng(0)
    x = np.full((100, 2), -2.0)
    x[::2] = 1e-20 * rng.permutation(50)[:, None] * np.array([1.0, 0.5])
    radii = np.full(100, 2e-19)
    found = check(gpu, x, None, "euclidean", radii, None, dtype="float64")
    assert 0 < found[0][::2].sum() < 50 * 49
    check_lists(gpu, x, None, "euclidean", radii, dtype="float64")
    assert screened == [True, True]


@pytest.mark.parametrize("step", [1e-170, 1e-150, 1e-20, 1e-9])
def test_rows_that_are_almost_parallel(gpu: Any, screened: list[bool], step: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((80, 1)) * [[1.0, 0.0, 0.0]]
    x[:, 1:] = step * rng.integers(9, size=(80, 2))
    radii = radii_at(rng, distances(x, None, "cosine", "float64"))
    for closed in (True, False):
        check(gpu, x, None, "cosine", radii, radii, dtype="float64", closed=closed)
    assert len(screened) == 2


def test_batches_of_both_sets(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile._backends.cuda import panels, screened_radius

    monkeypatch.setattr(panels, "_PANELS", 1 << 16)  # 512 rows
    monkeypatch.setattr(screened_radius, "_WORK", 1)  # 256 queries
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(rows, 9)).astype(np.float32) for rows in (600, 700))
    of_x, of_y = np.full(600, 3.0), np.full(700, 3.5)
    reports: list[tuple[int, int]] = []
    check(gpu, x, y, "euclidean", of_x, of_y)
    gpu.radius_counts(
        x, y, "euclidean", of_x, of_y, closed=True, dtype="float32", workers=1,
        progress=lambda *done: reports.append(done),
    )  # fmt: skip
    check(gpu, y, None, "cosine", of_y / 4, None)
    assert all(screened)
    assert len(reports) == 6
    assert reports == sorted(reports)
    assert reports[-1] == (600, 600)


def test_where_most_are_undecided_ordinary_cores_count(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_undecided(monkeypatch, True)
    rng = np.random.default_rng(1)
    x = clusters(rng, 300, 20)
    found = check(gpu, x, None, "euclidean", np.full(300, 6.0), np.full(300, 6.5))
    assert found[0].sum() > 0
    assert screened == [False]
    check_lists(gpu, x, None, "euclidean", np.full(300, 6.0))
    assert screened == [False] * 3


def test_lists_longer_than_a_block(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of thousands of neighbours beside empty ones, many of equal distance."""
    few_undecided(monkeypatch, False)
    rng = np.random.default_rng(6)
    y = np.round(rng.normal(size=(10_500, 3)), 1).astype(np.float32)
    radii = np.array([2.5, -1.0, 0.1, 9.0])
    indptr, *_ = check_lists(gpu, y[:4] / 2, y, "euclidean", radii)
    assert indptr[-1] - indptr[-2] == 10_500
    assert screened == [True]


def test_lists_in_batches_of_both_sets(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile._backends.cuda import neighbors, panels, screened_radius

    monkeypatch.setattr(panels, "_PANELS", 1 << 16)  # 512 rows
    monkeypatch.setattr(screened_radius, "_PAIRS", 1)  # 256 queries
    monkeypatch.setattr(neighbors, "_SORTED", 1)
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(rows, 9)).astype(np.float32) for rows in (600, 1100))
    radii = rng.uniform(1, 2.5, size=1100)
    reports: list[tuple[int, int]] = []
    told = {"progress": lambda *done: reports.append(done)}
    check_lists(gpu, x, y, "euclidean", radii[:600], told)
    check_lists(gpu, y, None, "cosine", radii / 10)
    assert screened == [True, True]
    assert len(reports) > 6
    assert reports == sorted(reports)
    assert reports[-1] == (1200, 1200)


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize(("kib", "served"), [(130, False), (200, True), (4000, True)])
def test_lists_within_a_limit(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch, itself: bool, kib: int,
    served: bool,
) -> None:  # fmt: skip
    few_undecided(monkeypatch, False)
    rng = np.random.default_rng(kib)
    x, y = (rng.normal(size=(rows, 40)).astype(np.float32) for rows in (600, 900))
    limit = {"memory_limit": kib << 10}
    check_lists(gpu, x, None if itself else y, "euclidean", np.full(600, 6.0), limit)
    assert screened[0] == served


def test_public_functions(gpu: Any, screened: list[bool]) -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    rng = np.random.default_rng(7)
    x, y = (rng.normal(size=(rows, 20)).astype(np.float32) for rows in (150, 170))
    options: dict[str, Any] = {"closed": False, "dtype": "float32", "workers": 1}
    radii = radii_at(rng, distances(x, y, "euclidean"))
    same(
        gpu.radius_neighbors(x, y, "euclidean", radii, **options),
        twin.radius_neighbors(x, y, "euclidean", radii, **options),
    )
    scores = pt.precision_recall_density_coverage(cupy.asarray(x), cupy.asarray(y), k=4)
    of_x, of_y = (np.sort(distances(z, None, "euclidean", "float64"), axis=1)[:, 4] for z in (x, y))
    between = distances(x, y, "euclidean", "float64")
    assert scores.precision == (between < of_x[:, None]).any(axis=0).mean()
    assert scores.recall == (between < of_y).any(axis=1).mean()
    assert len(screened) == 3


@given(
    SEEDS, st.integers(1, 140), st.integers(2, 500), st.integers(1, 80), st.sampled_from(METRICS)
)
def test_counts_of_any_shape(gpu: Any, seed: int, n: int, m: int, d: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    x, y = (np.round(rng.normal(size=(rows, d)), 1).astype(np.float32) for rows in (n, m))
    check_all(gpu, rng, x, y, metric)
    check_lists(gpu, x, y, metric, radii_at(rng, distances(x, y, metric)))
