"""Tensor-core sweeps: screened neighbours bit for bit, kernel sums within their bound.

Both paths run where the device has them: mma.sync, and wgmma on compute capability 9.0. Small sets
are sent through them too, which otherwise ordinary cores serve.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_data import params_of, twin_searches_infinite_rows
from pairtile._backends import numpy as twin
from strategies import SEEDS

pytestmark = pytest.mark.gpu
MAPPED = ("weuclidean", "mahalanobis")
METRICS = ("euclidean", "sqeuclidean", "cosine", "inner_product", "correlation", *MAPPED)
SEARCH: dict[str, Any] = {"dtype": "float32", "precision": "default", "workers": 1}
# around the panels of 128 rows, the blocks of 256 and the slices of 64 features
SHAPES = [(1, 40, 1), (130, 257, 16), (257, 129, 65), (100, 1100, 70), (20, 300, 200)]


@pytest.fixture(scope="module", params=["mma", "wgmma"])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The backend, all searches and sums through one kind of tensor cores."""
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


class Screened:
    """How often a search was screened to its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from pairtile._backends.cuda import screened

        self.served: list[bool] = []
        search = screened.knn

        def counted(*args: Any, **options: Any) -> bool:
            self.served.append(search(*args, **options))
            return self.served[-1]

        monkeypatch.setattr(screened, "knn", counted)


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    return Screened(monkeypatch).served


def same(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def check(gpu: Any, x: Any, y: Any, k: int, metric: str, **options: Any) -> None:
    named = {"queries": x} if y is None else {"queries": x, "reference": y}
    options = SEARCH | options | {"metric_params": params_of(metric, **named)}
    same(gpu.knn(x, y, k, metric, **options), twin.knn(x, y, k, metric, **options))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_neighbors(gpu: Any, screened: list[bool], metric: str, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng([n, m, d])
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) for rows in (n, m))
    for k in (1, min(m, 17)):
        check(gpu, x, y, k, metric)
    assert screened == [metric != "correlation" or d > 1] * 2  # a row of one feature is constant


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("d", [192, 193, 256, 257, 331, 770])
def test_rows_around_what_shared_memory_holds(
    gpu: Any, screened: list[bool], metric: str, d: int
) -> None:
    """Of 256 rows up to 192 features stay there with two tiles of columns, up to 256 with one."""
    rng = np.random.default_rng(d)
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) for rows in (260, 700))
    check(gpu, x, y, 10, metric)
    assert screened == [True]


@pytest.mark.parametrize("metric", METRICS)
def test_of_a_set_with_itself(gpu: Any, screened: list[bool], metric: str) -> None:
    x = np.random.default_rng(3).normal(size=(300, 33)).astype(np.float32)
    check(gpu, x, None, 128, metric)
    assert screened == [True]


def lattice(rng: Any, n: int, d: int) -> Any:
    """Whole numbers: exact in the screen, with ties everywhere."""
    return rng.integers(-2, 3, size=(n, d)).astype(np.float32)


def repeated(rng: Any, n: int, d: int) -> Any:
    """Every row dozens of times: more of the same distance than a list of candidates holds."""
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


def copies(rng: Any, n: int, d: int) -> Any:
    """All of one distance."""
    return np.ones((n, d), dtype=np.float32)


def normal(rng: Any, n: int, d: int) -> Any:
    return rng.normal(size=(n, d)).astype(np.float32)


def falling(rng: Any, n: int, d: int) -> Any:
    """Nearer and nearer to the first queries: each comes before all that have come."""
    y = rng.normal(size=(n, d))
    y *= np.linspace(9, 1, n)[:, None] / np.linalg.norm(y, axis=1, keepdims=True)
    return y.astype(np.float32)


def outliers(rng: Any, n: int, d: int) -> Any:
    """A few so far away that all others look alike beside them."""
    return (rng.normal(size=(n, d)) * 10.0 ** (9 * (rng.random(n) > 0.999))[:, None]).astype("f4")


@pytest.fixture
def guessed(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ranks by which limits were guessed from a sample."""
    ranks: list[int] = []
    guess = gpu._cuda.guess_limits
    monkeypatch.setattr(
        gpu._cuda, "guess_limits", lambda **told: ranks.append(told["rank"]) or guess(**told)
    )
    return ranks


# Lists of a few more than are decided in shared memory, in whole blocks and beyond, up to all.
LONG = [129, 300, 2048, 2049, 5000, 6000]


@pytest.mark.parametrize("make", [normal, lattice, repeated, clusters, copies, falling, outliers])
@pytest.mark.parametrize("k", LONG)
def test_long_lists(gpu: Any, screened: list[bool], guessed: list[int], k: int, make: Any) -> None:
    rng = np.random.default_rng(k)
    y = make(rng, 6000, 17)
    x = np.concatenate([np.zeros((1, 17), dtype=np.float32), make(rng, 3, 17), y[4321:4323]])
    check(gpu, x, y, k, METRICS[k % 4] if make not in (copies, falling) else "euclidean")
    assert screened == [True]
    assert len(guessed) == (k < 5000)


@pytest.mark.parametrize("metric", METRICS)
def test_long_lists_of_pairs_that_are_admitted(
    gpu: Any, screened: list[bool], guessed: list[int], metric: str
) -> None:
    rng = np.random.default_rng(41)
    x = rng.normal(size=(5000, 9)).astype(np.float32)
    y, few = x[:700], np.arange(40)
    check(gpu, y, None, 150, metric, reference_mask=rng.random(700) < 0.5)
    check(gpu, y[few], x, 150, metric, reference_mask=rng.random(5000) < 0.01)  # fewer than k
    groups = rng.integers(0, 3, size=40), rng.integers(0, 3, size=5000)
    for rule in ("same", "different"):
        told = dict(zip(("query_groups", "reference_groups"), groups, strict=True))
        check(gpu, y[few], x, 300, metric, group_rule=rule, **told)
    times = rng.random(40), rng.random(5000)
    check(gpu, y[few], x, 300, metric, query_times=times[0], reference_times=times[1])
    assert all(screened)
    assert len(guessed) == 5


@pytest.mark.parametrize("make", [normal, lattice, repeated, falling])
@pytest.mark.parametrize("rank", [1, 10])
def test_limits_that_are_guessed_too_tight(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch, rank: int, make: Any
) -> None:
    """Rows whose guess is not proven are decided by all references."""
    guess = gpu._cuda.guess_limits
    monkeypatch.setattr(gpu._cuda, "guess_limits", lambda **told: guess(**told | {"rank": rank}))
    rng = np.random.default_rng(rank)
    x, y = make(rng, 5, 17), make(rng, 4000, 17)
    mask = rng.random(4000) < 0.9
    for k in (300, 1000):
        check(gpu, x, y, k, "euclidean", reference_mask=mask)
    check(gpu, y[:1500], None, 300, "sqeuclidean")
    assert all(screened)


@pytest.mark.parametrize("batch", [256, 3072])
def test_more_equal_rows_than_there_is_room_for(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Where they come at once a sweep has to confirm them, where they come in batches the decision
    has to put them in order before it has seen all."""
    from pairtile._backends.cuda import panels

    monkeypatch.setattr(panels, "_PANELS", 128 * batch)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 20)).astype(np.float32)
    for k in (140, 9):
        check(gpu, x, x[rng.integers(3, size=3000)], k, "euclidean")
    assert all(screened)


@pytest.mark.parametrize("draw", [lattice, repeated, clusters, shifted, graded])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product", "correlation", *MAPPED])
def test_hostile_data(gpu: Any, screened: list[bool], metric: str, draw: Any) -> None:
    rng = np.random.default_rng(11)
    x, y = draw(rng, 40, 20), draw(rng, 1000, 20)
    check(gpu, x, y, 9, metric)
    check(gpu, x[:3], draw(rng, 3000, 20), 140, metric)
    check(gpu, y[:400], None, 9, metric)
    assert len(screened) == 3  # whether or not the numbers then fit the screen


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_dtype(gpu: Any, screened: list[bool], metric: str, dtype: str) -> None:
    import ml_dtypes

    rng = np.random.default_rng(5)
    draw = rng.normal(size=(340, 24)) * (20 if "int" in dtype else 1)
    draw = np.abs(draw) if dtype == "uint8" else draw
    z = draw.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    wide = "float64" if dtype == "float64" else "float32"
    check(gpu, z[:40], z[40:], 6, metric, dtype=wide)
    check(gpu, z[:40, ::-2], z[40:, ::-2], 6, metric, dtype=wide)  # any strides
    assert len(screened) == 2


def test_predicates(gpu: Any, screened: list[bool]) -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(70, 12)).astype(np.float32), rng.normal(size=(900, 12))
    y = y.astype(np.float32)
    groups = {
        "query_groups": rng.integers(3, size=70),
        "reference_groups": rng.integers(3, size=900),
    }
    for rule in ("same", "different"):
        check(gpu, x, y, 11, "euclidean", group_rule=rule, **groups)
    times = {"query_times": rng.integers(9, size=70), "reference_times": rng.integers(9, size=900)}
    check(gpu, x, y, 11, "euclidean", **times)
    check(gpu, x, y, 11, "euclidean", **{key: t.astype(float) for key, t in times.items()})
    # almost nobody: most candidates are turned away when they are looked at
    check(gpu, x, y, 11, "euclidean", reference_mask=rng.random(900) < 0.02)
    check(gpu, x, y, 11, "euclidean", reference_mask=np.zeros(900, dtype=bool))
    assert all(screened)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_rows_beyond_the_screen_are_left_to_canonical_values(
    gpu: Any, screened: list[bool], bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin_searches_infinite_rows(monkeypatch)
    rng = np.random.default_rng(9)
    x, y = (rng.normal(size=(rows, 8)).astype(np.float32) for rows in (40, 300))
    y[17, 3] = bad
    check(gpu, x, y, 5, "euclidean")
    x[5, 1] = bad
    check(gpu, x, None, 5, "euclidean")
    assert screened == [False, False]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_references_are_looked_at_as_they_are_packed(
    gpu: Any, screened: list[bool], metric: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ml_dtypes

    from pairtile._backends.cuda import panels
    from pairtile._backends.cuda.memory import Rows

    surveys: list[int] = []
    survey = Rows.survey
    monkeypatch.setattr(Rows, "survey", lambda rows: surveys.append(rows.n) or survey(rows))
    monkeypatch.setattr(panels, "_PANELS", 1 << 15)  # 256 references
    rng = np.random.default_rng(9)
    kind = getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype
    x, y = (rng.normal(size=(rows, 8)).astype(kind) for rows in (40, 700))
    options = {"dtype": "float64" if dtype == "float64" else "float32", "check_finite": True}
    check(gpu, x, y, 5, metric, **options)
    assert screened == [True]
    assert not surveys
    y[[699, 650], [7, 0]] = np.nan, np.inf  # in the last batch
    with pytest.raises(ValueError, match="reference contains NaN or Inf; the first bad row is 650"):
        gpu.knn(x, y, 5, metric, **SEARCH | options)
    assert screened == [True, False]
    assert surveys == [700]


def test_numbers_that_vanish_beside_their_centre(gpu: Any, screened: list[bool]) -> None:
    """About a centre of -1 all are whole, as far as float64 tells; their differences are not
    whole numbers."""
    rng = np.random.default_rng(0)
    x = np.full((800, 2), -2.0)
    x[::2] = 1e-20 * rng.permutation(400)[:, None] * np.array([1.0, 0.5])
    for metric in ("euclidean", "sqeuclidean"):
        check(gpu, x, None, 9, metric, dtype="float64")
        check(gpu, x[:40], x[40:], 9, metric, dtype="float64")
    assert all(screened)


@pytest.mark.parametrize("step", [1e-170, 1e-150, 1e-20, 1e-9])
def test_rows_that_are_almost_parallel(gpu: Any, screened: list[bool], step: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((300, 1)) * [[1.0, 0.0, 0.0]]
    x[:, 1:] = step * rng.integers(9, size=(300, 2))
    for k in (1, 9, 128):
        check(gpu, x, None, k, "cosine", dtype="float64")
        check(gpu, x[:40], x, k, "cosine", dtype="float64")
    assert all(screened)


def test_images_that_the_map_rounds(gpu: Any, screened: list[bool]) -> None:
    """Of a row a few last bits are left: the map may lose them, differences do not."""
    rng = np.random.default_rng(7)
    t = rng.uniform(-1, 1, size=400) * 2.0**20
    x = np.stack([t, t + rng.integers(-9, 9, size=400) * 2.0**-33], axis=1)
    params = {"transform": np.array([[2.0**10, -(2.0**10)], [0.0, 0.0]])}
    options = SEARCH | {"dtype": "float64", "metric_params": params}
    for y in (None, x[100:]):
        found = gpu.knn(x, y, 5, "mahalanobis", **options)
        same(found, twin.knn(x, y, 5, "mahalanobis", **options))
    assert screened == [True, True]


@pytest.mark.parametrize("far", [2.0**20, 2.0**39, 1e110])
def test_near_rows_beside_rows_very_far_away(gpu: Any, screened: list[bool], far: float) -> None:
    rng = np.random.default_rng(0)
    x = 1e-75 * rng.permutation(300)[:, None] * np.array([[1.0, 0.5]])
    x[-1] = -far
    for k in (1, 9, 128):
        check(gpu, x, None, k, "euclidean", dtype="float64")
    assert screened == [far < 1e100] * 3


def test_batches_of_both_sets(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile._backends.cuda import panels
    from pairtile._backends.cuda import screened as search

    monkeypatch.setattr(panels, "_PANELS", 1 << 15)  # 256 references
    monkeypatch.setattr(search, "_CANDIDATES", 1 << 19)
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(rows, 9)).astype(np.float32) for rows in (300, 700))
    reports: list[tuple[int, int]] = []
    check(gpu, x, y, 12, "euclidean")
    gpu.knn(x, y, 12, "euclidean", **SEARCH, progress=lambda *done: reports.append(done))
    check(gpu, y, None, 12, "cosine")
    assert all(screened)
    assert len(reports) > 1
    assert reports[-1] == (300, 300)


def test_few_queries_meet_many_references_in_one_batch(gpu: Any) -> None:
    """Or batches of references would be packed for each batch of queries."""
    from pairtile._backends.cuda import screened as search

    queries, references = SimpleNamespace(n=1000, d=128), SimpleNamespace(n=10**7, d=128)
    cut = search._Cut(queries, references, 10, False, 0)
    assert len(cut.of_r) > 1
    assert cut.next(1000)[0] == 1000


@pytest.mark.parametrize("metric", METRICS[:4])  # constant rows have no correlation
def test_batches_of_rows_that_rounding_changes_more_and_less(
    gpu: Any, screened: list[bool], monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    """The bound of the decision is that of all references, whichever batch comes last."""
    from pairtile._backends.cuda import panels

    monkeypatch.setattr(panels, "_PANELS", 1 << 15)  # 256 references
    rng = np.random.default_rng(4)
    x = np.full((40, 8), 8192.0)  # nothing is lost of them
    y = np.zeros((768, 8))
    y[:256] = 8192 + rng.normal(scale=40.0, size=(256, 8))
    y[np.arange(256, 768), np.arange(512) % 8] = 1.0
    for part in (x, y[:256]):  # the centre is the origin
        part[1::2] = -part[::2]
    for order in (y, y[::-1]):
        check(gpu, x, order, 9, metric, dtype="float64")
    assert all(screened)


@given(
    SEEDS, st.integers(1, 140), st.integers(2, 700), st.integers(1, 80), st.sampled_from(METRICS)
)
def test_neighbors_of_any_shape(gpu: Any, seed: int, n: int, m: int, d: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    x, y = (np.round(rng.normal(size=(rows, d)), 1).astype(np.float32) for rows in (n, m))
    check(gpu, x, y, int(rng.integers(1, min(m, 30) + 1)), metric)


# --- Kernel sums ----------------------------------------------------------------------------------

GAUSSIAN = (1.0, "gaussian", (1 / 128,))
ROOT = (1.0, "energy", (1.0,))
SUMS = {
    "gaussian": [GAUSSIAN],
    "energy": [ROOT],
    "energy 0.5": [(1.0, "energy", (0.5,))],
    "energy 1.5": [(-2.0, "energy", (1.5,))],
    "energy 2": [(1.0, "energy", (2.0,))],
    "laplace": [(1.0, "laplace", (1 / 12,))],
    "matern32": [(1.0, "matern32", (1 / 6,))],
    "matern52": [(1.0, "matern52", (1 / 5,))],
    "cauchy": [(1.0, "cauchy", (1 / 128,))],
    "rational_quadratic": [(1.0, "rational_quadratic", (1 / 256, 1.7))],
    "several": [GAUSSIAN, (0.5, "gaussian", (1 / 512,)), (2.0, "energy", (1.0,))],
    "one of each": [
        (0.3, "laplace", (1 / 12,)),
        (-0.5, "cauchy", (1 / 128,)),
        (0.7, "rational_quadratic", (1 / 256, 1.7)),
        GAUSSIAN,
        (1.1, "matern52", (1 / 5,)),
        (0.2, "matern32", (1 / 6,)),
    ],
}
VALUES: dict[str, Callable[..., Any]] = {
    "gaussian": lambda s, rate: np.exp(-rate * s),
    "energy": lambda s, exponent: -(s ** (exponent / 2)),
    "laplace": lambda s, rate: np.exp(-rate * np.sqrt(s)),
    "matern32": lambda s, rate: (1 + rate * np.sqrt(s)) * np.exp(-rate * np.sqrt(s)),
    "matern52": lambda s, rate: (
        (1 + rate * np.sqrt(s) + rate**2 * s / 3) * np.exp(-rate * np.sqrt(s))
    ),
    "cauchy": lambda s, q: 1 / (1 + q * s),
    "rational_quadratic": lambda s, q, alpha: (1 + q * s) ** -alpha,
}


@pytest.fixture
def by_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    from pairtile._backends.cuda import tensor_sums

    served: list[bool] = []
    row_sums = tensor_sums.row_sums

    def counted(*args: Any, **options: Any) -> Any:
        sums = row_sums(*args, **options)
        served.append(sums is not None)
        return sums

    monkeypatch.setattr(tensor_sums, "row_sums", counted)
    return served


def mean_error(
    gpu: Any, x: Any, y: Any, terms: Any, wx: Any, wy: Any, precision: str = "default"
) -> float:
    """Of a mean over pairs, relative to the largest kernel value."""
    options: dict[str, Any] = {"workers": 1}
    found = gpu.kernel_total(x, y, terms, wx, wy, precision=precision, **options)
    z = x if y is None else y
    squares = ((x[:, None].astype(float) - z[None].astype(float)) ** 2).sum(-1)
    values = sum(a * VALUES[name](squares, *p) for a, name, p in terms)
    if y is None:
        np.fill_diagonal(values, 0)
    vx = np.ones(len(x)) if wx is None else wx
    vy = (vx if y is None else np.ones(len(z))) if wy is None else wy
    return float(abs(found - vx @ values @ vy) / (vx.sum() * vy.sum() * np.abs(values).max()))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize(("n", "m", "d"), [(130, 257, 64), (257, 300, 65), (300, 140, 7)])
def test_sums(
    gpu: Any, by_tensor_cores: list[bool], name: str, n: int, m: int, d: int, weighted: bool
) -> None:
    rng = np.random.default_rng([n, m])
    x, y = (rng.normal(size=(rows, d)).astype(np.float32) for rows in (n, m))
    wx, wy = (rng.random(rows) if weighted else None for rows in (n, m))
    assert mean_error(gpu, x, y, SUMS[name], wx, wy) < 1e-7
    assert mean_error(gpu, y, None, SUMS[name], wy, None) < 1e-7
    assert mean_error(gpu, x, y, SUMS[name], wx, wy, precision="fast") < 1e-5
    assert by_tensor_cores[0] or (d < 64 and name != "gaussian")


def test_sums_in_batches(
    gpu: Any, by_tensor_cores: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile._backends.cuda import panels, tensor_sums

    monkeypatch.setattr(panels, "_PANELS", 3 << 15)
    monkeypatch.setattr(tensor_sums, "_ROWS", 256)
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=(rows, 9)).astype(np.float32) for rows in (600, 700))
    terms = [(1.0, "gaussian", (0.03,))]
    assert mean_error(gpu, x, y, terms, None, rng.random(700)) < 1e-7
    assert mean_error(gpu, y, None, terms, rng.random(700), None) < 1e-7
    assert by_tensor_cores == [True, True]


def test_near_pairs_are_computed_again(gpu: Any, by_tensor_cores: list[bool]) -> None:
    """Rows 10⁻⁶ apart: from norms their distance would be wrong in the first digit."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(400, 32)).astype(np.float32)
    y = rng.normal(size=(500, 32)).astype(np.float32)
    y[100] = x[300] + np.float32(1e-6)
    sums = gpu.kernel_row_sums(x, y, [ROOT], None, precision="default", workers=1)
    lone = np.zeros(500)
    lone[100] = 1.0
    near = gpu.kernel_row_sums(x, y, [ROOT], lone, precision="default", workers=1)[300]
    assert by_tensor_cores == [True, True]
    squares = ((x[:, None].astype(float) - y[None].astype(float)) ** 2).sum(-1)
    np.testing.assert_allclose(sums, -np.sqrt(squares).sum(1), rtol=1e-6)
    np.testing.assert_allclose(near, -np.sqrt(squares[300, 100]), rtol=1e-5)


@pytest.mark.parametrize("name", ["cauchy", "rational_quadratic", "laplace"])
def test_kernels_beyond_float32_are_left_to_float64(
    gpu: Any, by_tensor_cores: list[bool], name: str
) -> None:
    x = np.random.default_rng(3).normal(size=(300, 16)).astype(np.float32)
    params = (1e-30, 1e30) if name == "rational_quadratic" else (1e-30,)
    assert mean_error(gpu, x, None, [(1.0, name, params)], None, None) < 1e-12
    assert by_tensor_cores == [False]


def test_kernels_too_narrow_are_left_to_differences(gpu: Any, by_tensor_cores: list[bool]) -> None:
    x = (np.random.default_rng(2).normal(size=(300, 16)) + 1e3).astype(np.float32)
    x[0] = 0  # far from all others, so that their distances from norms have no digits left
    assert mean_error(gpu, x, None, [(1.0, "gaussian", (10.0,))], None, None) < 2e-6
    assert by_tensor_cores == [False]


def test_blocks_with_little_shared_memory(
    gpu: Any, screened: list[bool], by_tensor_cores: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of compute capability 8.6, 8.9 and 12.0, where there is room for one stage of a sweep."""
    from pairtile import _cuda
    from pairtile._backends.cuda import panels

    monkeypatch.setattr(panels, "path", "mma")  # devices with wgmma have more
    rng = np.random.default_rng(8)
    x, y = (rng.normal(size=(rows, 70)).astype(np.float32) for rows in (300, 700))
    radii = np.full(300, 11.0)

    def results() -> list[Any]:
        return [
            *gpu.knn(x, y, 5, "euclidean", **SEARCH, metric_params={}),
            *gpu.radius_counts(
                x, y, "euclidean", radii, None, closed=True, dtype="float32", workers=1
            )[:2],
            gpu.kernel_row_sums(x, y, [GAUSSIAN], None, precision="default", workers=1),
            gpu.kernel_row_sums(x, y, [ROOT], None, precision="default", workers=1),
        ]

    wanted = results()
    _cuda.limit_shared_bytes(99 << 10)
    try:
        same(results(), wanted)
    finally:
        _cuda.limit_shared_bytes(227 << 10)
    assert screened == [True] * 2
    assert by_tensor_cores == [True] * 4


@pytest.mark.parametrize("name", ["gaussian", "energy", "several"])
def test_additions_within_a_strip(
    gpu: Any, by_tensor_cores: list[bool], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Equal values whose sums in float32 are all rounded down, by nearly half a unit."""
    import cupy

    from pairtile import _cuda

    monkeypatch.setattr(_cuda, "sample_centre", lambda x, y, centre, stream: None)
    monkeypatch.setattr(cupy, "empty", cupy.zeros)  # a centre that is none
    unit = 2.0**-24
    for steps in range(15, 20):  # below 1, whatever an approximation is off by
        value = 1 - steps * unit
        terms = {
            "gaussian": [(1.0, "gaussian", (steps * unit,))],
            "energy": [(-1.0, "energy", (1.0,))],
            "several": [(0.5, "gaussian", (steps * unit,))] * 2,
        }[name]
        x = np.zeros((1, 1), dtype=np.float32)
        y = np.full((256, 1), value if name == "energy" else 1.0, dtype=np.float32)
        (one,), (all_,) = (
            gpu.kernel_row_sums(x, rows, terms, None, precision="default", workers=1)
            for rows in (y[:1], y)
        )
        assert one == pytest.approx(value, abs=4 * unit)
        assert abs(all_ - 256 * one) <= 5.5 * unit * 256 * one
    assert by_tensor_cores == [True] * 10
