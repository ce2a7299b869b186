"""The CUDA backend against the NumPy twin, and the plan of its launches, which needs no GPU.

Neighbours and counts must agree bit for bit: they come from canonical values. Kernel sums must
agree within the rounding of the type they are computed in.
"""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from gpu_data import TERMS, data, list_bytes, twin_searches_infinite_rows
from metrics import BIT_METRICS, DISTANCES, METRICS, narrowed, parameters
from pairtile._backends import numpy as twin
from pairtile._definitions.kernels import KERNELS, evaluate
from pairtile._front import metrics
from pairtile.two_sample.relabelling import pack
from strategies import KINDS, SEEDS, pairs_of_sets

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
# Around the tile of 32 rows and 32 features; 700 references are cut into two segments.
SHAPES = [(1, 1, 1), (5, 40, 3), (33, 31, 8), (31, 65, 33), (40, 700, 5), (64, 64, 70)]
NOT_POSITIVE = ("polynomial", "linear", "cosine", "energy")
SUMS: dict[str, Any] = {"precision": "default", "workers": 1}
SEARCH: dict[str, Any] = {"precision": "default", "workers": 1}
RADII: dict[str, Any] = {"closed": True, "dtype": "float32", "workers": 1}


# --- The plan, without a GPU ----------------------------------------------------------------------


@pytest.fixture
def cuda() -> Any:
    return pytest.importorskip("pairtile._cuda", exc_type=ImportError)


def covers(ranges: list[tuple[int, int]], n: int) -> bool:
    starts, stops = zip(*ranges, strict=True)
    ordered = all(start < stop for start, stop in ranges)
    return ordered and starts[0] == 0 and stops[-1] == n and stops[:-1] == starts[1:]


SIZES = [1, 31, 32, 33, 255, 256, 257, 1000, 46341, 10**6, 2**33 + 1]


# Bytes that each statistic keeps for one row and segment.
STATES = {
    "radius": 0,
    "pairwise": 0,
    "fidelity": 64,
    "sums": 64,
    "contraction": 512,
    "log_sums": 128,
    "moments": 128,
    "quantile": 0,
}


@pytest.mark.parametrize("d", [1, 100, 10**5])
@pytest.mark.parametrize("m", SIZES)
def test_every_pair_is_visited_once(cuda: Any, m: int, d: int) -> None:
    for n in (1, 33, 1000, 10**5):
        for k in {1, min(m, 40), min(m, 5000)}:
            batches = cuda.batches("knn", n, m, d, k)
            assert covers(batches, n)
            rows = batches[0][1]
            segments = cuda.segments("knn", rows, m, k)
            assert covers(segments, m)
            # a list and its length for each row and segment
            assert cuda.workspace("knn", rows, m, k) == rows * len(segments) * list_bytes(k)
        for statistic, state in STATES.items():
            batches = cuda.batches(statistic, n, m, d)
            assert covers(batches, n)
            segments = cuda.segments(statistic, batches[0][1], m)
            assert covers(segments, m)
            rows = batches[0][1]
            assert cuda.workspace(statistic, rows, m) == state * rows * len(segments)


def test_workspace_stays_small(cuda: Any) -> None:
    limit = 1 << 28
    for n in (32, 1000, 10**6):
        for k in (1, 10, 1000, 10**5):
            first, stop = cuda.batches("knn", n, 10**6, 16, k)[0]
            assert cuda.workspace("knn", stop - first, 10**6, k) <= limit
        for statistic in STATES:
            first, stop = cuda.batches(statistic, n, 10**6, 16)[0]
            assert cuda.workspace(statistic, stop - first, 10**6) <= limit
    # one list for each of the fewest rows that a launch can have, and no more
    first, stop = cuda.batches("knn", 32, 10**7, 16, 10**7)[0]
    assert (stop - first, len(cuda.segments("knn", 32, 10**7, 10**7))) == (32, 1)


def test_few_queries_are_spread_over_the_references(cuda: Any) -> None:
    assert len(cuda.segments("knn", 1, 10**6, 10)) >= 512
    for statistic in STATES:
        assert len(cuda.segments(statistic, 1, 10**6)) >= 512
    assert len(cuda.segments("knn", 10**6, 10**6, 10)) == 1
    with pytest.raises(ValueError, match="unknown statistic 'mode'"):
        cuda.segments("mode", 1, 1)


def test_module_knows_what_it_was_built_for(cuda: Any) -> None:
    assert cuda.__version__ == pt.__version__
    assert cuda.architectures()
    assert {name for name in KERNELS if cuda.reads_normalised_rows(name)} == {"cosine"}
    with pytest.raises(ValueError, match="unknown kernel 'sinc'"):
        cuda.reads_normalised_rows("sinc")


def test_stub_names_what_the_module_exports(cuda: Any) -> None:
    stated = set()
    for node in ast.parse(Path(pt.__file__).with_name("_cuda.pyi").read_text()).body:
        if isinstance(node, ast.FunctionDef):
            stated.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stated.add(node.target.id)
    assert stated == {name for name in dir(cuda) if name[0] != "_"} | {"__version__"}


def test_cuda_errors_carry_cuda_s_words(cuda: Any) -> None:
    view = (0, 1, 1, 4, 4, "float32")
    with pytest.raises(RuntimeError, match=r"CUDA error in cudaSetDevice: .*(device|driver)"):
        cuda.survey(view, 0, (4096, 0))  # no machine has that many


def test_unknown_metrics_never_reach_a_device(cuda: Any) -> None:
    view = (0, 1, 1, 4, 4, "float32")
    nothing = (0, 0, 0)
    with pytest.raises(ValueError, match="unknown metric 'taxicab'"):
        cuda.radius_counts(
            sets=(view, view, (0, 0)),
            measure=("taxicab", 0.0, 0, 0, 0, 0.0, 0),
            rows=(0, 1),
            exclude_self=False,
            closed=False,
            wide_distances=False,
            by_query_radii=nothing,
            by_reference_radii=nothing,
            stream=(4096, 0),
        )


def test_every_kernel_is_tested() -> None:
    assert TERMS.keys() == KERNELS.keys()


# --- With a GPU -----------------------------------------------------------------------------------


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


def params_of(metric: str, *sets: Any) -> dict[str, Any]:
    """Keyword for a backend: parameters of the metric that fit the sets."""
    x = sets[0]
    named = {f"set {i}": rows for i, rows in enumerate(sets) if rows is not None}
    return {
        "metric_params": metrics.resolve(metric, parameters(metric, x.shape[1]), **named).params
    }


def host(results: Any) -> list[Any]:
    return [r.get() for r in results]


def same_neighbors(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        if b is None:
            assert a is None
            continue
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def at_pairs(x: Any, y: Any, metric: str, dtype: str, seed: int = 0) -> tuple[Any, Any]:
    """Radii of either side that are the distance of some pair; one nothing, one infinity."""
    with np.errstate(over="ignore", under="ignore"):
        every = twin.pairwise_distances(
            x, y, metric, dtype=dtype, workers=1, **params_of(metric, x, y)
        )
    rng = np.random.default_rng(seed)
    n, m = every.shape
    of_x = every[np.arange(n), rng.integers(m, size=n)]
    of_y = every[rng.integers(n, size=m), np.arange(m)]
    of_x[-1], of_y[-1] = np.inf, 0
    return of_x, of_y


def check_radii(gpu: Any, x: Any, y: Any, metric: str, dtype: str, of_x: Any, of_y: Any) -> None:
    """Counts of both sides by either radii, and neighbours by those of x, as the twin has them."""
    for closed in (True, False):
        options: dict[str, Any] = {"closed": closed, "dtype": dtype, "workers": 1}
        options |= params_of(metric, x, y)
        for radii in ((of_x, of_y), (of_x, None), (None, of_y)):
            found = gpu.radius_counts(x, y, metric, *radii, **options)
            same_neighbors(found, twin.radius_counts(x, y, metric, *radii, **options))
        found = gpu.radius_neighbors(x, y, metric, of_x, **options)
        same_neighbors(found, twin.radius_neighbors(x, y, metric, of_x, **options))


def check_knn(gpu: Any, x: Any, y: Any, k: int, metric: str, dtype: str, **options: Any) -> None:
    """The neighbours that the twin finds."""
    options |= {"dtype": dtype, **params_of(metric, x, y), **SEARCH}
    same_neighbors(gpu.knn(x, y, k, metric, **options), twin.knn(x, y, k, metric, **options))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_knn(gpu: Any, metric: str, n: int, m: int, d: int) -> None:
    x, y = data(n, d, "float32"), data(m, d, "float32", 1)
    for k in sorted({1, min(m, 10), m}):
        check_knn(gpu, x, y, k, metric, "float32")


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_knn_of_every_dtype(gpu: Any, metric: str, dtype: str) -> None:
    x, y = data(40, 17, dtype), data(70, 17, dtype, 1)
    check_knn(gpu, x, y, 9, metric, "float64" if dtype == "float64" else "float32")


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_knn_self_join(cupy: Any, gpu: Any, metric: str) -> None:
    x = data(300, 6, "float64")
    options: dict[str, Any] = {"dtype": "float64", **params_of(metric, x), **SEARCH}
    for k in (1, 50, 299):  # short lists, long lists, everything
        wanted = twin.knn(x, None, k, metric, **options)
        found = gpu.knn(cupy.asarray(x), None, k, metric, **options)
        same_neighbors(host(found), wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("p", [1 / 1024, 0.3, 0.5, 1.7, 2.5, 7.0, 1000.3, 1024.0])
def test_minkowski_of_any_power(gpu: Any, p: float) -> None:
    x = data(40, 9, "float64") * np.logspace(-3, 3, 9)
    options: dict[str, Any] = {"dtype": "float64", "metric_params": {"p": p}, **SEARCH}
    found = gpu.knn(x, None, 39, "minkowski", **options)
    same_neighbors(found, twin.knn(x, None, 39, "minkowski", **options))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", BIT_METRICS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_bits(gpu: Any, metric: str, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(d)
    x, y = (rng.integers(256, size=(rows, d), dtype=np.uint8) for rows in (n, m))
    x[n // 2] = 0
    y[: m // 3] = y[m // 2]
    if n > 1:
        y[m - 1] = 0
    for k in sorted({1, min(m, 10), m}):
        check_knn(gpu, x, y, k, metric, "float32")
    check_radii(gpu, x, y, metric, "float64", *at_pairs(x, y, metric, "float64"))
    check_knn(gpu, y, None, m - 1, metric, "float64") if m > 1 else None


@pytest.mark.gpu
@pytest.mark.parametrize("metric", [*METRICS, *BIT_METRICS])
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_pairwise_distances(gpu: Any, metric: str, n: int, m: int, d: int) -> None:
    kind = "uint8" if metric in BIT_METRICS else "float32"
    x, y = data(n, d, kind), data(m, d, kind, 1)
    for one, other in ((x, y), (y, None)):
        for dtype in ("float32", "float64"):
            options: dict[str, Any] = {
                "dtype": dtype,
                "workers": 1,
                **params_of(metric, one, other),
            }
            found = gpu.pairwise_distances(one, other, metric, **options)
            wanted = twin.pairwise_distances(one, other, metric, **options)
            same_neighbors([found], [wanted])


@pytest.mark.gpu
@pytest.mark.parametrize("metric", [*DISTANCES, *BIT_METRICS])
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_fidelity_folds(gpu: Any, metric: str, n: int, m: int, d: int) -> None:
    kind = "uint8" if metric in BIT_METRICS else "float32"
    x, y = data(n, d, kind), data(m, d, kind, 1)
    options: dict[str, Any] = {"workers": 1, **params_of(metric, x, y)}
    radii = np.random.default_rng(d).exponential(size=m)
    radii[::3] = -1.0
    if m > 4:
        radii[1], radii[4] = np.inf, 0.0
    for own in (radii, np.full(m, -1.0)):
        found = gpu.largest_radius_ratios(x, y, metric, own, **options)
        same_neighbors([found], [twin.largest_radius_ratios(x, y, metric, own, **options)])
    every = twin.pairwise_distances(x, y, metric, dtype="float64", **options)
    low, high = np.quantile(every, [0.05, 0.9])
    for of_x, of_y in ((low, high), (high, low), (0.0, np.inf)):
        found = gpu.distance_products(x, y, metric, of_x, of_y, **options)
        wanted = twin.distance_products(x, y, metric, of_x, of_y, **options)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-300)


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_an_index_keeps_its_references_on_the_device(cupy: Any, metric: str) -> None:
    x, y = data(40, 9, "float32"), data(90, 9, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    named: dict[str, Any] = {"metric": metric, "metric_params": parameters(metric, 9)}
    index, on_host = pt.NeighborIndex(b, **named), pt.NeighborIndex(y, **named)
    for queries in (a, None):
        theirs = None if queries is None else x
        found = index.knn(queries, k=7)
        assert isinstance(found.indices, cupy.ndarray)
        same_neighbors(host(found), on_host.knn(theirs, k=7))
        same_neighbors(
            host([index.kth_distance(queries, k=3)]), [on_host.kth_distance(theirs, k=3)]
        )
        if metric == "inner_product":
            continue
        counts = index.radius_count(queries, radius=1.0)
        same_neighbors(host([counts]), [on_host.radius_count(theirs, radius=1.0)])
        within = index.radius_neighbors(queries, radius=1.0)
        same_neighbors(host(within), on_host.radius_neighbors(theirs, radius=1.0))
    with pytest.raises(TypeError, match="both must be on one device"):
        index.knn(x, k=1)


@pytest.mark.gpu
def test_an_index_is_saved_from_the_device(cupy: Any, tmp_path: Path) -> None:
    x, y = data(40, 9, "float32"), data(90, 9, "float32", 1)
    index = pt.NeighborIndex(cupy.asarray(y), metric="cosine")
    index.save(tmp_path / "index")
    loaded = pt.NeighborIndex.load(tmp_path / "index")
    same_neighbors(loaded.knn(x, k=5), pt.knn(x, y, k=5, metric="cosine"))


@pytest.mark.gpu
def test_knn_predicates(cupy: Any, gpu: Any) -> None:
    rng = np.random.default_rng(3)
    x, y = data(50, 4, "float32"), data(600, 4, "float32", 1)
    groups = rng.integers(0, 3, 50), rng.integers(0, 3, 600)
    ticks = rng.integers(0, 9, 50), rng.integers(0, 9, 600)
    of_groups = {"query_groups": groups[0], "reference_groups": groups[1]}
    cases: list[dict[str, Any]] = [
        {**of_groups, "group_rule": "same"},
        {**of_groups, "group_rule": "different"},
        {"query_times": ticks[0], "reference_times": ticks[1]},
        {"query_times": ticks[0] / 2, "reference_times": ticks[1] / 2},
        {"reference_mask": rng.random(600) < 0.02},  # fewer than k are left
        {"reference_mask": np.zeros(600, bool)},
    ]
    for case in cases:
        wanted = twin.knn(x, y, 40, "euclidean", dtype="float32", **case, **SEARCH)
        found = gpu.knn(
            cupy.asarray(x), cupy.asarray(y), 40, "euclidean", dtype="float32", **case, **SEARCH
        )
        same_neighbors(host(found), wanted)
    everything = {**of_groups, "group_rule": "different", **cases[2], "reference_mask": y[:, 0] > 0}
    wanted = twin.knn(x, y, 40, "cosine", dtype="float32", **everything, **SEARCH)
    same_neighbors(gpu.knn(x, y, 40, "cosine", dtype="float32", **everything, **SEARCH), wanted)
    of_itself: dict[str, Any] = {
        "query_groups": groups[1],
        "reference_groups": groups[1],
        "group_rule": "same",
        "query_times": ticks[1],
        "reference_times": ticks[1],
    }
    earlier: dict[str, Any] = {"dtype": "float64", "earlier": True, **SEARCH}
    found = gpu.knn(cupy.asarray(y), None, 1, "cosine", **earlier)
    same_neighbors(host(found), twin.knn(y, None, 1, "cosine", **earlier))
    wanted = twin.knn(y, None, 40, "manhattan", dtype="float32", **of_itself, **SEARCH)
    same_neighbors(
        gpu.knn(y, None, 40, "manhattan", dtype="float32", **of_itself, **SEARCH), wanted
    )
    inadmissible = {"reference_mask": np.zeros(600, bool)}
    for metric, missing in (("inner_product", -np.inf), ("cosine", np.inf)):
        distances, indices = gpu.knn(x, y, 2, metric, dtype="float32", **inadmissible, **SEARCH)
        assert (distances == missing).all()
        assert (indices == -1).all()


@pytest.mark.gpu
def test_ties_come_in_order_of_index(gpu: Any) -> None:
    lattice = np.random.default_rng(0).integers(0, 2, (700, 3)).astype(np.int8)
    for k in (1, 2, 5, 31, 32, 33, 100, 699):
        found = gpu.knn(lattice, None, k, "sqeuclidean", dtype="float32", **SEARCH)
        wanted = twin.knn(lattice, None, k, "sqeuclidean", dtype="float32", **SEARCH)
        same_neighbors(found, wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("k", [1, 31, 32, 33, 400, 4000])
@pytest.mark.parametrize("order", ["falling", "rising", "tied", "random", "last", "infinite"])
def test_lists_that_are_cut_back(cuda: Any, gpu: Any, k: int, order: str) -> None:
    m = 4000
    segments = cuda.segments("knn", 35, m, k)
    width = segments[0][1] - segments[0][0]
    assert width > (list_bytes(k) // (32 if k > 32 else 16)) or k in (33, 4000)
    mask = np.arange(m) % 5 != 2
    is_small = np.cumsum(mask) < k
    values = {
        "falling": np.arange(m)[::-1],
        "rising": np.arange(m),
        "tied": np.arange(m) % 3,
        "random": np.random.default_rng(k).permutation(m),
        # all but one are found before the first cut, and that one in the end of a segment
        "last": np.where(is_small, 0.0, np.where(np.arange(m) < 0.75 * width, 1000.0, 500.0)),
        "infinite": np.where(np.arange(m) % 7 == 0, 1.0, 1.7e308),
    }[order]
    y = values[:, None].astype(np.float64)
    x = np.linspace(-5e307 if order == "infinite" else 0.0, 1, 35)[:, None]
    options: dict[str, Any] = {"dtype": "float64", "reference_mask": mask}
    found = gpu.knn(x, y, k, "manhattan", **options, **SEARCH)
    same_neighbors(found, twin.knn(x, y, k, "manhattan", **options, **SEARCH))


@pytest.mark.gpu
def test_extreme_rows(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    twin_searches_infinite_rows(monkeypatch)
    x = data(40, 9, "float64")
    x[1] *= 1e200  # overflows where squares are not scaled
    x[2] *= 1e-200
    x[3] = 5e-324
    x[4, 2] = np.nan
    x[5, 7] = np.inf
    for metric in METRICS:
        check_knn(gpu, x, None, 39, metric, "float64")
    assert gpu.first_nonfinite(x, workers=1) == 4
    assert gpu.first_nonfinite(x[:4], workers=1) == -1


@pytest.mark.gpu
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_radii(gpu: Any, metric: str, n: int, m: int, d: int) -> None:
    x, y = data(n, d, "float32"), data(m, d, "float32", 1)
    for dtype in ("float32", "float64"):
        check_radii(gpu, x, y, metric, dtype, *at_pairs(x, y, metric, dtype))
    # every reference inside: rows as long as they get
    check_radii(gpu, x, y, metric, "float32", np.full(n, np.inf, "f"), np.full(m, np.inf, "f"))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_radii_of_every_dtype(gpu: Any, metric: str, dtype: str) -> None:
    x, y = data(40, 17, dtype), data(70, 17, dtype, 1)
    check_radii(gpu, x, y, metric, "float32", *at_pairs(x, y, metric, "float32"))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", DISTANCES)
def test_radii_self_join(cupy: Any, gpu: Any, metric: str) -> None:
    x = data(300, 6, "float64")
    radii = at_pairs(x, x, metric, "float64")
    check_radii(gpu, x, None, metric, "float64", *radii)
    # arrays and radii that are on the device already
    options: dict[str, Any] = {"closed": False, "dtype": "float64", "workers": 1}
    options |= params_of(metric, x)
    found = gpu.radius_counts(cupy.asarray(x), None, metric, *map(cupy.asarray, radii), **options)
    same_neighbors(host(found), twin.radius_counts(x, None, metric, *radii, **options))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", DISTANCES)
@given(drawn=st.data(), sets=pairs_of_sets(), seed=SEEDS)
def test_radii_of_all_kinds(metric: str, drawn: st.DataObject, sets: Any, seed: int) -> None:
    from pairtile._backends import cuda as cuda_backend

    x, y = (narrowed(metric, points.array) for points in sets)
    dtype = drawn.draw(st.sampled_from(["float32", "float64"]), label="dtype")
    if drawn.draw(st.booleans(), label="self-join"):
        check_radii(cuda_backend, x, None, metric, dtype, *at_pairs(x, x, metric, dtype, seed))
    else:
        check_radii(cuda_backend, x, y, metric, dtype, *at_pairs(x, y, metric, dtype, seed))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", DISTANCES)
def test_neighbors_of_adversarial_data(gpu: Any, metric: str, kind: str) -> None:
    """Near-ties, offsets, duplicates, huge ratios of scale: the order is the canonical one."""
    x = KINDS[kind](np.random.default_rng(1), 300, 11).astype(np.float32)
    for dtype in ("float32", "float64"):
        options: dict[str, Any] = {"dtype": dtype, **params_of(metric, x), **SEARCH}
        wanted = twin.knn(x, None, 20, metric, **options)
        same_neighbors(gpu.knn(x, None, 20, metric, **options), wanted)
        check_radii(gpu, x, None, metric, dtype, wanted[0][:, 9], wanted[0][:, 19])


@pytest.mark.gpu
def test_ties_within_a_radius_come_in_order_of_index(gpu: Any) -> None:
    lattice = np.random.default_rng(0).integers(0, 2, (700, 3)).astype(np.int8)
    for radius in (0, 1, 2):
        radii = np.full(700, radius, "f")
        check_radii(gpu, lattice, None, "manhattan", "float32", radii, radii)


@pytest.mark.gpu
def test_nobody_within_a_radius(cupy: Any, gpu: Any) -> None:
    x = cupy.asarray(np.arange(40.0)[:, None])
    options: dict[str, Any] = {"closed": False, "dtype": "float64", "workers": 1}
    indptr, indices, distances = host(
        gpu.radius_neighbors(x, None, "euclidean", np.ones(40), **options)
    )
    assert indptr.tolist() == [0] * 41
    assert (indices.shape, indices.dtype) == ((0,), np.int64)
    assert (distances.shape, distances.dtype) == ((0,), np.float64)


@pytest.mark.gpu
@pytest.mark.parametrize("metric", DISTANCES)
def test_radii_of_extreme_rows(gpu: Any, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    twin_searches_infinite_rows(monkeypatch)
    x = data(40, 9, "float64")
    x[1] *= 1e200
    x[2] *= 1e-200
    x[3] = 5e-324
    x[4, 2] = np.nan  # within no radius, not even infinity
    x[5, 7] = np.inf
    for dtype in ("float32", "float64"):
        of_x, of_y = (np.nan_to_num(r, nan=1.0) for r in at_pairs(x, x, metric, dtype))
        check_radii(gpu, x, x[::-1], metric, dtype, of_x, of_y)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
def test_kernel_sums(cupy: Any, gpu: Any, name: str, dtype: str, tolerance: float) -> None:
    x, y = data(50, 37, dtype), data(600, 37, dtype, 1)
    rng = np.random.default_rng(5)
    v, w = rng.normal(size=50), rng.normal(size=600)
    terms = [(1.5, name, TERMS[name])]
    largest = np.abs(twin.kernel_row_sums(x, x, [(1.5, name, TERMS[name])], None, **SUMS)).max()
    bound = tolerance * max(1.0, largest)
    a, b = cupy.asarray(x), cupy.asarray(y)
    for weights in (None, w):
        found = gpu.kernel_row_sums(a, b, terms, weights, **SUMS).get()
        wanted = twin.kernel_row_sums(x, y, terms, weights, **SUMS)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=bound * 600 / 50)
    for xw, yw in ((None, None), (v, w)):
        found = gpu.kernel_total(a, b, terms, xw, yw, **SUMS)
        wanted = twin.kernel_total(x, y, terms, xw, yw, **SUMS)
        assert found == pytest.approx(wanted, rel=tolerance, abs=bound * 600)
        found = gpu.kernel_total(b, None, terms, yw, None, **SUMS)
        wanted = twin.kernel_total(y, None, terms, yw, None, **SUMS)
        assert found == pytest.approx(wanted, rel=tolerance, abs=bound * 600 * 12)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
def test_kernel_matrix_times_columns(
    cupy: Any, gpu: Any, name: str, dtype: str, tolerance: float
) -> None:
    x, y = data(50, 37, dtype), data(600, 37, dtype, 1)
    terms = [(1.5, name, TERMS[name]), (-0.5, "gaussian", (0.02,))]
    k = evaluate(x.astype(np.float64), y.astype(np.float64), terms)
    for width in (1, 64, 70):  # 64 columns are one strip
        v = np.random.default_rng(width).normal(size=(600, width))
        found = gpu.kernel_matvec(cupy.asarray(x), cupy.asarray(y), v, terms, **SUMS)
        bound = tolerance * (np.abs(k) @ np.abs(v)).max()
        np.testing.assert_allclose(found.get(), k @ v, rtol=0, atol=bound)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in TERMS if name not in NOT_POSITIVE])
def test_kernel_logarithms(cupy: Any, gpu: Any, name: str) -> None:
    x, y = data(50, 37, "float32") * 100, data(600, 37, "float64", 1)  # most kernels underflow
    terms = [(1.5, name, TERMS[name]), (0.3, "laplace", (0.1,))]
    rng = np.random.default_rng(2)
    weights, rates = rng.normal(size=600), rng.uniform(0.1, 1.0, 600)
    weights[::7] = -np.inf
    nothing, left_out = (None, None), (np.full(600, -np.inf), None)
    for shape in (nothing, (weights, None), (weights, rates), left_out):
        found = gpu.kernel_logsumexp(cupy.asarray(x), cupy.asarray(y), terms, *shape, **SUMS)
        wanted = twin.kernel_logsumexp(x, y, terms, *shape, **SUMS)
        np.testing.assert_allclose(found.get(), wanted, rtol=1e-13, atol=1e-12)
        found = gpu.kernel_logsumexp(y, None, terms[:1], *shape, **SUMS)
        wanted = twin.kernel_logsumexp(y, None, terms[:1], *shape, **SUMS)
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-12)
    for kernel, weight in (*((other, 1.0) for other in NOT_POSITIVE), (name, -1.0)):
        with pytest.raises(ValueError, match="must be positive"):
            gpu.kernel_logsumexp(x, y, [(weight, kernel, TERMS[kernel])], *nothing, **SUMS)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name in TERMS if name not in NOT_POSITIVE])
def test_kernel_logarithms_of_rows_whose_distance_is_infinite(
    cupy: Any, gpu: Any, name: str
) -> None:
    x = cupy.asarray(np.array([[0.0, 1.0], [1e200, 0.0]]))
    terms, l1 = [(1.0, name, TERMS[name])], name == "laplace_l1"
    alone = gpu.kernel_logsumexp(x, x, terms, None, None, **SUMS)
    np.testing.assert_array_equal(alone.get(), [0.0, 0.0])
    far = gpu.kernel_logsumexp(x[:1], x[1:], terms, None, None, **SUMS)
    assert far[0] < -1e198 if l1 else far[0] == -np.inf


@pytest.mark.gpu
def test_public_products_and_logarithms(cupy: Any) -> None:
    x, y = data(50, 7, "float32"), data(60, 7, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    v, kernel = np.random.default_rng(1).normal(size=(60, 3)), pt.Gaussian(2.0)
    for columns in (v, v[:, 0]):
        found = pt.kernel_matvec(a, b, cupy.asarray(columns), kernel=kernel)
        assert isinstance(found, cupy.ndarray)
        wanted = pt.kernel_matvec(x, y, columns, kernel=kernel)
        np.testing.assert_allclose(found.get(), wanted, rtol=1e-5, atol=1e-5)
    for options in ({"y": b}, {"exclude_diagonal": True}):
        found = pt.kernel_logsumexp(a, kernel=kernel, **options)
        assert isinstance(found, cupy.ndarray)
        wanted = pt.kernel_logsumexp(
            x, kernel=kernel, **{**options, "y": y if "y" in options else None}
        )
        np.testing.assert_allclose(found.get(), wanted, rtol=1e-5)


def packed(labels: Any) -> Any:
    return pack(iter(labels.T), *labels.shape)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("n_labels", [1, 63, 64, 100])
def test_label_sums(cupy: Any, gpu: Any, name: str, n_labels: int) -> None:
    x, y = data(33, 6, "float32"), data(70, 6, "float64", 1)
    kernels = [[(1.0, name, TERMS[name]), (0.5, "cosine", ())], [(1.0, "energy", (1.0,))]]
    labels = packed(np.random.default_rng(n_labels).random((103, n_labels)) < 0.4)
    options: dict[str, Any] = {"paired": False, "workers": 1}
    wanted = twin.kernel_label_sums(x, y, labels, kernels, **options)
    for a, b in ((x, y), (cupy.asarray(x), cupy.asarray(y))):
        found = gpu.kernel_label_sums(a, b, labels, kernels, **options)
        for ours, twins in zip(found, wanted, strict=True):
            size = np.abs(twins).max()
            np.testing.assert_allclose(ours, twins, rtol=0, atol=1e-12 * size)


@pytest.mark.gpu
def test_permutation_tests(cupy: Any) -> None:
    x, y = data(60, 5, "float32"), data(80, 5, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    options: dict[str, Any] = {"n_permutations": 99, "rng": 3}
    kernel = pt.Gaussian(2.0) + 0.1 * pt.Laplace(3.0)
    groups = np.arange(140) // 2
    for found, wanted in (
        (pt.mmd_test(a, b, kernel=kernel, **options), pt.mmd_test(x, y, kernel=kernel, **options)),
        (pt.energy_test(a, b, **options), pt.energy_test(x, y, **options)),
        (
            pt.energy_test(a, b, groups=groups, estimator="unbiased", **options),
            pt.energy_test(x, y, groups=groups, estimator="unbiased", **options),
        ),
    ):
        assert found.pvalue == wanted.pvalue
        assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9)
        assert isinstance(found.null_distribution, cupy.ndarray)
        np.testing.assert_allclose(
            found.null_distribution.get(), wanted.null_distribution, rtol=0, atol=1e-12
        )


@pytest.mark.gpu
def test_relabellings_that_tie(cupy: Any) -> None:
    """Repeated rows: half of the relabellings give the very samples that were observed."""
    x, y = np.zeros((1, 3)), np.ones((1, 3))
    for result in (pt.energy_test(cupy.asarray(x), cupy.asarray(y), n_permutations=50, rng=0),):
        assert result.pvalue == 1.0


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sum_of_kernels(gpu: Any, dtype: str) -> None:
    x, y = data(40, 5, dtype), data(300, 5, dtype, 1)
    terms = [(0.5, "gaussian", (0.01,)), (-2.0, "cosine", ()), (1.0, "energy", (1.3,))]
    for precision in ("default", "float64", "fast"):
        found = gpu.kernel_row_sums(x, y, terms, None, precision=precision, workers=1)
        wanted = twin.kernel_row_sums(x, y, terms, None, precision=precision, workers=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-12 if precision == "float64" else 2e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [1e-25, 1e-15, 1e15, 1e18])
def test_kernel_sums_far_from_one(gpu: Any, scale: float) -> None:
    x = (data(60, 8, "float64") * scale).astype(np.float32)
    terms = [(1.0, "energy", (1.0,))]
    found = gpu.kernel_total(x, None, terms, None, None, **SUMS)
    wanted = twin.kernel_total(x, None, terms, None, None, **SUMS)
    assert found == pytest.approx(wanted, rel=1e-6)
    for term in (
        ("gaussian", (0.1 / scale**2,)),
        ("polynomial", (3.0, 0.1, 1.0)),
        ("rational_quadratic", (1 / scale**2, 0.5)),
    ):
        found = gpu.kernel_total(x, None, [(1.0, *term)], None, None, **SUMS)
        wanted = twin.kernel_total(x, None, [(1.0, *term)], None, None, **SUMS)
        assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.gpu
def test_strides_are_read_in_place(cupy: Any, gpu: Any) -> None:
    whole = data(140, 26, "float32")
    on_device = cupy.asarray(whole)
    views = [np.s_[::2, ::2], np.s_[::-1, 3:], np.s_[:70, ::-1], np.s_[7:9, :]]
    for view in views:
        for x, a in ((whole[view], on_device[view]), (whole[view].T, on_device[view].T)):
            k = min(3, len(x) - 1)
            wanted = twin.knn(x, None, k, "cosine", dtype="float32", **SEARCH)
            found = gpu.knn(a, None, k, "cosine", dtype="float32", **SEARCH)
            same_neighbors(host(found), wanted)
            assert gpu.first_nonfinite(a, workers=1) == -1
    np.testing.assert_array_equal(on_device.get(), whole)


@pytest.mark.gpu
def test_batches_change_nothing(cupy: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(150, 5, "float32"), data(90, 5, "float32", 1)
    radii = at_pairs(x, y, "cosine", "float32")
    terms = [(1.0, "laplace", (0.4,))]

    def results() -> list[Any]:
        return [
            *gpu.knn(x, y, 7, "manhattan", dtype="float32", **SEARCH),
            *gpu.radius_counts(x, y, "cosine", *radii, **RADII),
            *gpu.radius_neighbors(x, y, "cosine", radii[0], **RADII),
            *gpu.distance_products(x, y, "canberra", 0.8, 0.9, workers=1),
            gpu.largest_radius_ratios(x, y, "canberra", radii[1], workers=1),
            gpu.pairwise_distances(x, y, "braycurtis", dtype="float32", workers=1),
            gpu.kernel_row_sums(x, y, terms, None, **SUMS),
            gpu.kernel_total(x, None, terms, None, None, **SUMS),
            gpu.kernel_matvec(x, y, y.astype(np.float64), terms, **SUMS),
        ]

    def batches(statistic: str, rows: int, *_: int) -> list[tuple[int, int]]:
        return [(0, 32), (32, 64), (64, rows)]

    whole = results()
    monkeypatch.setattr(gpu._cuda, "batches", batches)
    for a, b in zip(results(), whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_same_bits_every_time_and_on_any_stream(cupy: Any, gpu: Any) -> None:
    x, y = (cupy.asarray(data(n, 30, "float32")) for n in (100, 3000))
    radii = np.full(100, 7, "f"), np.full(3000, 8, "f")
    terms = [(1.0, "gaussian", (0.02,))]
    labels = packed(np.random.default_rng(0).random((3100, 70)) < 0.5)

    def results() -> list[Any]:
        return [
            *host(gpu.knn(x, y, 40, "euclidean", dtype="float32", **SEARCH)),
            *host(gpu.radius_counts(x, y, "euclidean", *radii, **RADII)),
            *host(gpu.radius_neighbors(x, y, "euclidean", radii[0], **RADII)),
            *host(gpu.distance_products(x, y, "euclidean", 6.0, 7.0, workers=1)),
            gpu.kernel_row_sums(x, y, terms, None, **SUMS).get(),
            gpu.kernel_total(y, None, terms, None, None, **SUMS),
            gpu.kernel_matvec(x, y, y.astype(np.float64), terms, **SUMS).get(),
            *gpu.kernel_label_sums(x, y, labels, [terms], paired=False, workers=1),
        ]

    first = results()
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True):
        second = results()
    for a, b, c in zip(first, second, results(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.gpu
def test_progress_reports_and_can_abort(cupy: Any) -> None:
    x = cupy.asarray(data(100, 4, "float32"))
    told: list[tuple[int, int]] = []
    pt.knn(x, k=3, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (10_000, 10_000)
    told.clear()
    pt.radius_neighbors(x, radius=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(5_000, 10_000), (10_000, 10_000)]  # counted, then filled

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pt.knn(x, k=3, progress=stop)
    same_neighbors(host(pt.knn(x, k=3)), pt.knn(x.get(), k=3))


@pytest.mark.gpu
def test_public_functions_keep_the_kind_of_array(cupy: Any) -> None:
    x, y = data(60, 5, "float32"), data(80, 5, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    found = pt.knn(a, b, k=4)
    assert isinstance(found.distances, cupy.ndarray)
    same_neighbors(host(found), pt.knn(x, y, k=4))
    kernel = pt.Gaussian(2.0)
    assert pt.mmd(a, b, kernel=kernel) == pytest.approx(pt.mmd(x, y, kernel=kernel), abs=1e-6)
    assert pt.energy_distance(a, b) == pytest.approx(pt.energy_distance(x, y), rel=1e-5)
    for k in (4, (9, 1)):
        kth = pt.kth_distance(a, b, k)
        assert isinstance(kth, cupy.ndarray)
        np.testing.assert_array_equal(kth.get(), pt.kth_distance(x, y, k))
    radii = pt.kth_distance(x, y, 5), pt.kth_distance(y, x, 5)
    for radius, of in ((radii[0], "query"), (radii[1], "reference"), (2.0, "query")):
        counts = pt.radius_count(a, b, radius, radius_of=of, closed=False)
        assert isinstance(counts, cupy.ndarray)
        wanted = pt.radius_count(x, y, radius, radius_of=of, closed=False)
        np.testing.assert_array_equal(counts.get(), wanted)
    within = pt.radius_neighbors(a, b, cupy.asarray(radii[0]))
    assert all(isinstance(part, cupy.ndarray) for part in within)
    same_neighbors(host(within), pt.radius_neighbors(x, y, radii[0]))
    assert pt.precision_recall_density_coverage(a, b) == pt.precision_recall_density_coverage(x, y)
    authentic = pt.authenticity(a, b)
    assert isinstance(authentic, cupy.ndarray)
    np.testing.assert_array_equal(authentic.get(), pt.authenticity(x, y))
    for metric in ("euclidean", "manhattan"):
        scores = pt.realism(a, b, metric=metric)
        assert isinstance(scores, cupy.ndarray)
        np.testing.assert_array_equal(scores.get(), pt.realism(x, y, metric=metric))
    found_both = pt.probabilistic_precision_recall(a, b)
    assert found_both == pytest.approx(pt.probabilistic_precision_recall(x, y), rel=1e-12)
    every = pt.pairwise_distances(a, b, metric="minkowski", metric_params={"p": 1.5})
    assert isinstance(every, cupy.ndarray)
    wanted = pt.pairwise_distances(x, y, metric="minkowski", metric_params={"p": 1.5})
    np.testing.assert_array_equal(every.get(), wanted)
    closest = pt.distance_to_closest_record(b, a)
    assert isinstance(closest.indices, cupy.ndarray)
    same_neighbors(host(closest), pt.distance_to_closest_record(y, x))
    values = pt.witness(a, a, b, kernel=kernel)
    assert isinstance(values, cupy.ndarray)
    np.testing.assert_allclose(values.get(), pt.witness(x, x, y, kernel=kernel), atol=1e-6)
    with pytest.raises(TypeError, match="both must be on one device"):
        pt.knn(a, y, k=1)
    bad = cupy.asarray(np.where(np.arange(60)[:, None] == 7, np.nan, x))
    with pytest.raises(ValueError, match="first bad row is 7"):
        pt.knn(bad, k=1)


@pytest.mark.gpu
def test_torch_tensors_stay_torch_tensors(cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    x = data(60, 5, "float32")
    tensor = torch.as_tensor(x, device="cuda")
    for one in (tensor, tensor.T.contiguous().T, tensor.bfloat16()):
        found = pt.knn(one, k=4)
        assert found.distances.device == found.indices.device == tensor.device
        on_host = one.float().cpu().numpy()
        same_neighbors([t.cpu().numpy() for t in found], pt.knn(on_host, k=4))
        radii = found.distances[:, 3]
        counts = pt.radius_count(one, radius=radii)
        assert counts.device == tensor.device
        wanted = pt.radius_count(on_host, radius=radii.cpu().numpy())
        np.testing.assert_array_equal(counts.cpu().numpy(), wanted)
        within = pt.radius_neighbors(one, radius=2.0)
        wanted = pt.radius_neighbors(on_host, radius=2.0)
        same_neighbors([t.cpu().numpy() for t in within], wanted)
        authentic = pt.authenticity(one, one)
        assert authentic.device == tensor.device
        assert authentic.dtype == torch.bool


@pytest.mark.gpu
def test_host_arrays_when_cuda_is_chosen(cupy: Any) -> None:
    x = data(60, 5, "float32")
    wanted = pt.knn(x, k=4)
    within = pt.radius_neighbors(x, radius=2.0)
    chosen = pt.backend()
    pt.set_backend("cuda")
    try:
        for one in (x, x.astype(">f4"), np.asfortranarray(x), x[::-1][::-1]):
            same_neighbors(pt.knn(one, k=4), wanted)
            same_neighbors(pt.radius_neighbors(one, radius=2.0), within)
    finally:
        pt.set_backend(chosen)


@pytest.mark.gpu
def test_known_failures_of_other_packages(cupy: Any) -> None:
    far = cupy.asarray(np.array([[512695.0], [512804.0]], dtype=np.float32))
    assert pt.knn(far, k=1).distances.get().ravel().tolist() == [109.0, 109.0]
