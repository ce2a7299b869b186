"""Gradients, Stein discrepancies and dependence on the GPU, against the NumPy twin.

All of them are computed in float64 on both sides, so they agree within its rounding.
"""

from typing import Any

import numpy as np
import pytest

import pairtile as pt
from gpu_data import TERMS, data
from pairtile._backends import numpy as twin
from pairtile._definitions.kernels import KERNELS
from pairtile.paired import independence
from pairtile.two_sample.relabelling import pack

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
# Around the tile of 32 rows and the strip of 64 features; 150 references are cut into two segments.
SHAPES = [(1, 1, 1), (2, 33, 3), (33, 31, 64), (31, 65, 70), (40, 150, 5)]
GRADIENT: dict[str, Any] = {"precision": "default", "workers": 1}
JOINT: dict[str, Any] = {"x_shift": 0.3, "y_shift": -0.2, "workers": 1}

SMOOTH = {name for name, kernel in KERNELS.items() if kernel.stein is not None}


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    """Within a share of the largest number of each result."""
    for ours, twins in zip(found, wanted, strict=True):
        a, b = np.asarray(ours), np.asarray(twins)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        size = np.abs(b).max(initial=0.0)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(size, 1e-300))


def host(results: Any) -> list[Any]:
    return [r.get() for r in results]


# --- Gradients ------------------------------------------------------------------------------------


def check_gradient(gpu: Any, x: Any, y: Any, terms: Any, tolerance: float = 1e-12) -> None:
    rng = np.random.default_rng(len(x))
    v = rng.normal(size=len(x))
    w = None if y is None else rng.normal(size=len(y))
    for diagonal in (False, True):
        options: dict[str, Any] = {"diagonal": diagonal, **GRADIENT}
        found = gpu.kernel_gradient(x, y, terms, v, w, **options)
        close(found, twin.kernel_gradient(x, y, terms, v, w, **options), tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_gradients(gpu: Any, name: str, n: int, m: int, d: int) -> None:
    x, y = data(n, d, "float32"), data(m, d, "float64", 1)
    y[m // 2] = x[0]  # equal rows of both sets
    terms = [(1.5, name, TERMS[name])]
    check_gradient(gpu, x, y, terms)
    check_gradient(gpu, y, None, terms)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_every_dtype_and_sums_of_kernels(gpu: Any, dtype: str) -> None:
    x, y = data(34, 66, dtype), data(40, 66, dtype, 1)
    gamma = 1e-3 if "int" not in dtype else 1e-5
    terms = [
        (0.5, "gaussian", (gamma,)),
        (-2.0, "cosine", ()),
        (1.0, "energy", (1.3,)),
        (0.2, "laplace_l1", (gamma,)),
        (1e-3, "linear", ()),
        (0.1, "energy", (1.0,)),
    ]
    check_gradient(gpu, x, y, terms)
    check_gradient(gpu, x, None, terms)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["energy", "laplace", "gaussian", "laplace_l1"])
def test_gradients_of_near_pairs(gpu: Any, name: str) -> None:
    """Rows much nearer to each other than to the origin, one another 1e-9 apart, and the same."""
    rng = np.random.default_rng(4)
    x = 1e4 + rng.normal(size=(40, 6)) * np.logspace(-9, 0, 40)[:, None]
    x[7] = x[8]
    y = np.concatenate([x[::2] + 1e-9, x[:3]])
    check_gradient(gpu, x, y, [(1.0, name, TERMS[name])], 1e-11)
    check_gradient(gpu, x, None, [(1.0, name, TERMS[name])], 1e-11)


@pytest.mark.gpu
def test_gradients_read_any_strides(cupy: Any, gpu: Any) -> None:
    whole = data(66, 20, "float32")
    on_device = cupy.asarray(whole)
    v = np.random.default_rng(0).normal(size=33)
    terms = [(1.0, "energy", (1.0,)), (1.0, "cosine", ())]
    for view in (np.s_[::2, ::2], np.s_[::-2, ::-1], np.s_[:33, 3:]):
        x, a = whole[view], on_device[view]
        for one, other in ((x, a), (np.asfortranarray(x), cupy.asarray(x, order="F"))):
            wanted = twin.kernel_gradient(one, None, terms, v, None, diagonal=False, **GRADIENT)
            found = gpu.kernel_gradient(other, None, terms, v, None, diagonal=False, **GRADIENT)
            close(host(found), wanted)


@pytest.mark.gpu
def test_public_gradients(cupy: Any) -> None:
    x, y = data(40, 5, "float32"), data(50, 5, "float32", 1)
    a, b = cupy.asarray(x), cupy.asarray(y)
    v = np.random.default_rng(0).random(40)
    kernel = pt.Gaussian(2.0) + 0.1 * pt.Polynomial()
    for function, options in (
        (pt.mmd, {"kernel": kernel}),
        (pt.mmd, {"kernel": kernel, "estimator": "biased", "squared": False}),
        (pt.energy_distance, {}),
        (pt.energy_distance, {"estimator": "unbiased"}),
    ):
        for weights in ({}, {"x_weights": v}):
            named: dict[str, Any] = {**options, "return_gradient": True}
            on_device = {key: cupy.asarray(value) for key, value in weights.items()}
            found = function(a, b, **named, **on_device)
            wanted = function(x, y, **named, **weights, precision="float64")
            assert found.value == pytest.approx(wanted.value, rel=1e-9, abs=1e-12)
            assert all(isinstance(part, cupy.ndarray) for part in found[1:])
            for ours, theirs in zip(host(found[1:]), wanted[1:], strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


# --- Stein discrepancies --------------------------------------------------------------------------


def packed(rows: int, n_labels: int) -> Any:
    labels = np.random.default_rng(n_labels).random((n_labels, rows)) < 0.4
    return pack(iter(labels), rows, n_labels)


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(SMOOTH))
@pytest.mark.parametrize(("n", "d"), [(2, 1), (33, 31), (70, 33), (150, 4)])
def test_stein_sums(gpu: Any, name: str, n: int, d: int) -> None:
    x, scores = data(n, d, "float64"), data(n, d, "float32", 1) * 3
    terms = [(1.5, name, TERMS[name]), (0.5, "gaussian", (0.3,))]
    for n_labels in (0, 1, 63, 64, 100):
        labels = packed(n, n_labels)
        found = gpu.stein_label_sums(x, scores, labels, terms, workers=1)
        wanted = twin.stein_label_sums(x, scores, labels, terms, workers=1)
        size = max(abs(wanted[2]), n * np.square(scores).sum())
        for ours, twins in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, twins, rtol=0, atol=1e-13 * size)


@pytest.mark.gpu
def test_stein_sums_of_rough_kernels_and_many_labels(gpu: Any, monkeypatch: Any) -> None:
    from pairtile._backends.cuda import stein

    x = data(40, 3, "float32")
    for name in TERMS.keys() - SMOOTH:
        with pytest.raises(ValueError, match="must be smooth"):
            gpu.stein_label_sums(x, x, packed(40, 1), [(1.0, name, TERMS[name])], workers=1)
    labels, terms = packed(40, 300), [(1.0, "gaussian", (0.3,))]
    at_once = gpu.stein_label_sums(x, -x, labels, terms, workers=1)
    monkeypatch.setattr(stein, "_STRIPS", 2)
    for a, b in zip(gpu.stein_label_sums(x, -x, labels, terms, workers=1), at_once, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_stein_kernel_far_from_the_origin(gpu: Any) -> None:
    x = 1e6 + np.random.default_rng(0).normal(size=(50, 4)) * np.logspace(-6, 0, 50)[:, None]
    terms = [(1.0, "matern32", (3.0,))]
    scores = 1e6 - x
    found = gpu.stein_label_sums(x, scores, packed(50, 3), terms, workers=1)
    wanted = twin.stein_label_sums(x, scores, packed(50, 3), terms, workers=1)
    for ours, twins in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, twins, rtol=1e-11)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "kernel",
    [
        pt.InverseMultiquadric(c="median"),
        pt.Matern(1.3, nu=2.5),
        pt.Gaussian(0.7) + pt.RationalQuadratic(1.0),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_stein(cupy: Any, kernel: Any, dtype: str) -> None:
    x, scores = data(45, 3, dtype), data(45, 3, "float32", 1)
    for estimator in ("biased", "unbiased"):
        options: dict[str, Any] = {"kernel": kernel, "estimator": estimator}
        wanted = pt.kernel_stein_discrepancy(x, scores, return_gradient=True, **options)
        found = pt.kernel_stein_discrepancy(
            cupy.asarray(x), cupy.asarray(scores), return_gradient=True, **options
        )
        assert found.value == pytest.approx(wanted.value, rel=1e-10)
        assert isinstance(found.grad_x, cupy.ndarray)
        rtol = 1e-10 if dtype == "float64" else 1e-6
        close(host(found[1:2]), wanted[1:2], rtol)
        close(host(found[2:]), wanted[2:], 1e-6)


@pytest.mark.gpu
def test_public_stein(cupy: Any) -> None:
    x = data(60, 3, "float32")
    a = cupy.asarray(x)
    kernel = pt.InverseMultiquadric(c=1.5) + 0.5 * pt.Matern(2.0)
    for estimator in ("biased", "unbiased"):
        options: dict[str, Any] = {"kernel": kernel, "estimator": estimator}
        found = pt.kernel_stein_discrepancy(a, -a / 2, **options)
        assert found == pytest.approx(pt.kernel_stein_discrepancy(x, -x / 2, **options), rel=1e-9)
        options |= {"n_bootstrap": 99, "rng": 3}
        result, wanted = pt.stein_test(a, -a / 2, **options), pt.stein_test(x, -x / 2, **options)
        assert result.pvalue == wanted.pvalue
        assert result.statistic == pytest.approx(wanted.statistic, rel=1e-9)
        assert isinstance(result.null_distribution, cupy.ndarray)
        null = wanted.null_distribution
        np.testing.assert_allclose(
            result.null_distribution.get(), null, rtol=0, atol=1e-12 * np.abs(null).max()
        )


# --- Dependence -----------------------------------------------------------------------------------


def orders_of(n: int, count: int) -> Any:
    rng = np.random.default_rng(n)
    return np.stack([np.arange(n), *(rng.permutation(n) for _ in range(count - 1))])


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("n", "d", "e"), [(1, 1, 2), (33, 31, 5), (70, 2, 40), (150, 3, 3)])
def test_joint_sums(cupy: Any, gpu: Any, name: str, n: int, d: int, e: int) -> None:
    x, y = data(n, d, "float32"), data(n, e, "float64", 1)
    x_terms = [(1.5, name, TERMS[name])]
    y_terms = [(0.5, "laplace", (0.4,)), (1.0, "cosine", ()), (0.1, "laplace_l1", (0.2,))]
    for orders in (orders_of(n, 1), orders_of(n, 4)):
        several = y[orders.ravel()]
        wanted = twin.joint_kernel_sums(x, several, x_terms, y_terms, **JOINT)
        found = gpu.joint_kernel_sums(
            cupy.asarray(x), cupy.asarray(several), x_terms, y_terms, **JOINT
        )
        close(found, wanted)
        found = gpu.permuted_kernel_products(x, y, x_terms, y_terms, orders, **JOINT)
        close([found], [wanted[0]])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_joint_sums_of_every_dtype(gpu: Any, dtype: str) -> None:
    x, y = data(40, 5, dtype), data(40, 9, "float32", 1)
    terms = [(1.0, "energy", (1.0,))]
    for a, b in ((x, y), (y, x)):
        close(
            gpu.joint_kernel_sums(a, b, terms, terms, **JOINT),
            twin.joint_kernel_sums(a, b, terms, terms, **JOINT),
        )


@pytest.mark.gpu
def test_products_on_lines(gpu: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.normal(size=50)), rng.normal(size=50)
    found = gpu.line_products(x, y, orders_of(50, 3), workers=1)
    close([found], [twin.line_products(x, y, orders_of(50, 3), workers=1)])


@pytest.mark.gpu
def test_public_dependence(cupy: Any) -> None:
    x = data(50, 4, "float32")
    y = np.square(x[:, :3]) + data(50, 3, "float32", 1)
    one = x[:, :1]
    kernels: dict[str, Any] = {"x_kernel": pt.Gaussian(1.5), "y_kernel": pt.Laplace(2.0)}
    cases: list[tuple[Any, dict[str, Any]]] = [
        (pt.distance_covariance, {}),
        (pt.distance_covariance, {"exponent": 1.5, "squared": False}),
        (pt.distance_correlation, {}),
        (pt.hsic, kernels),
        (pt.cka, {}),
        (pt.cka, kernels),
    ]
    for function, options in cases:
        for estimator in ("biased", "unbiased"):
            for a, b in ((x, y), (one, y), (one, y[:, :1])):  # distances on a line are sorted
                found = function(cupy.asarray(a), cupy.asarray(b), estimator=estimator, **options)
                wanted = function(a, b, estimator=estimator, **options)
                assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("statistic", ["distance_covariance", "hsic"])
def test_independence_tests(cupy: Any, statistic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = data(40, 2, "float32")
    y = np.square(x) + 0.5 * data(40, 2, "float32", 1)
    wide = data(40, 5, "float32", 2)
    options: dict[str, Any] = {"statistic": statistic, "n_permutations": 49, "rng": 3}
    if statistic == "hsic":
        options |= {"x_kernel": pt.Gaussian(1.5), "y_kernel": pt.Gaussian(1.5)}

    def check() -> None:
        for a, b in ((x, y), (x, wide), (x[:, :1], y[:, :1])):
            found = pt.independence_test(cupy.asarray(a), cupy.asarray(b), **options)
            wanted = pt.independence_test(a, b, **options)
            assert found.pvalue == wanted.pvalue
            assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9, abs=1e-12)
            assert isinstance(found.null_distribution, cupy.ndarray)
            np.testing.assert_allclose(
                found.null_distribution.get(), wanted.null_distribution, rtol=0, atol=1e-12
            )

    check()
    monkeypatch.setattr(
        independence, "_BUFFER", 8 * 40 * 30
    )  # nothing held, a few orders at a time
    check()


@pytest.mark.gpu
def test_cauchy_schwarz_divergence(cupy: Any) -> None:
    x, y = data(50, 4, "float32"), data(60, 4, "float32", 1) + 30
    kernel = pt.Gaussian(0.5)
    found = pt.cauchy_schwarz_divergence(cupy.asarray(x), cupy.asarray(y), kernel=kernel)
    assert type(found) is float
    assert found == pytest.approx(pt.cauchy_schwarz_divergence(x, y, kernel=kernel), rel=1e-9)


@pytest.mark.gpu
def test_host_arrays_when_cuda_is_chosen(cupy: Any) -> None:
    x, y = data(30, 1, "float32"), data(30, 1, "float32", 1)
    wide = data(30, 3, "float32", 2)
    kernel = pt.Gaussian(1.0)

    def results() -> list[Any]:
        return [
            pt.distance_covariance(x, y),
            pt.distance_covariance(x, wide),
            pt.cauchy_schwarz_divergence(x, y, kernel=kernel),
            pt.kernel_stein_discrepancy(x, -x, kernel=kernel),
            *pt.mmd(x, y, kernel=kernel, return_gradient=True, precision="float64"),
            pt.independence_test(x, y, n_permutations=9, rng=0).pvalue,
        ]

    wanted, chosen = results(), pt.backend()
    pt.set_backend("cuda")
    try:
        found = results()
    finally:
        pt.set_backend(chosen)
    for a, b in zip(found, wanted, strict=True):
        assert type(a) is type(b)
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


# --- Launches -------------------------------------------------------------------------------------


def test_held_batches_cover_the_rows() -> None:
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    for n in (1, 31, 32, 33, 1023, 1025, 10**5):
        for m in (1, 10**3, 10**7):
            for work in (1, 10**3, 10**6):
                batches = cuda.held_batches(n, m, work)
                starts, stops = zip(*batches, strict=True)
                assert (starts[0], stops[-1], starts[1:]) == (0, n, stops[:-1])
                assert max(stop - start for start, stop in batches) <= 1024


def results_of_all(gpu: Any, x: Any, y: Any, labels: Any) -> list[Any]:
    terms = [(1.0, "laplace", (0.4,)), (0.5, "cosine", ())]
    v, w = np.linspace(0, 1, len(x)), np.linspace(1, 2, len(y))
    orders = orders_of(len(x), 2)
    several = x if isinstance(x, np.ndarray) else x.get()
    return [
        *gpu.kernel_gradient(x, y, terms, v, w, diagonal=False, **GRADIENT),
        *gpu.kernel_gradient(x, None, terms, v, None, diagonal=False, **GRADIENT),
        *gpu.stein_label_sums(x, x, labels, [(1.0, "gaussian", (0.02,))], workers=1),
        *gpu.joint_kernel_sums(x, several[orders.ravel()], terms, terms, **JOINT),
        gpu.permuted_kernel_products(x, x, terms, terms, orders, **JOINT),
    ]


@pytest.mark.gpu
def test_batches_change_nothing(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(90, 5, "float32"), data(40, 5, "float32", 1)
    labels = packed(90, 70)
    whole = results_of_all(gpu, x, y, labels)
    told: list[tuple[int, int]] = []

    def batches(rows: int, *_: int) -> list[tuple[int, int]]:
        return [(0, 32), (32, rows)]

    def report(done: int, total: int) -> None:
        told.append((done, total))

    monkeypatch.setattr(gpu._cuda, "held_batches", batches)
    close(results_of_all(gpu, x, y, labels), whole, 1e-14)
    v = np.ones(90)
    terms = [(1.0, "gaussian", (0.1,))]
    gpu.kernel_gradient(x, x, terms, v, v, diagonal=False, progress=report, **GRADIENT)
    assert told == [(32, 180), (90, 180), (122, 180), (180, 180)]


@pytest.mark.gpu
def test_blocks_change_nothing(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held pairs that do not fit at once: 90 rows against 32 and 64 references at a time."""
    x, y = data(90, 5, "float32"), data(100, 5, "float64", 1)
    labels = packed(90, 70)
    whole = results_of_all(gpu, x, y, labels)
    for pairs in (1, 96 * 64):
        monkeypatch.setattr(gpu._cuda, "held_pairs", pairs)
        close(results_of_all(gpu, x, y, labels), whole, 1e-14)


@pytest.mark.gpu
def test_same_bits_every_time_and_on_any_stream(cupy: Any, gpu: Any) -> None:
    x, y = data(100, 30, "float32"), data(200, 30, "float32", 1)
    labels = packed(100, 70)
    first = results_of_all(gpu, x, y, labels)
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True):
        second = results_of_all(gpu, x, y, labels)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("name", TERMS)
def test_joint_gradients_of_every_kernel(gpu: Any, cupy: Any, name: str, diagonal: bool) -> None:
    """Rows that change places with others, a kernel of two terms beside, and the diagonal."""
    terms = [(1.0, name, TERMS[name]), (0.5, "gaussian", (0.2,))]
    beside = [(0.7, "laplace", (0.3,)), (-0.4, "linear", ())]
    for n, d, e in ((1, 1, 1), (33, 65, 3), (150, 5, 70)):
        x, y = data(n, d, "float32"), data(n, e, "float64", seed=1)
        numbers = np.random.default_rng(n).normal(size=n)
        options: dict[str, Any] = {"diagonal": diagonal, "workers": 1}
        for x_terms, y_terms in ((terms, beside), (terms[:1], terms)):
            found = gpu.joint_kernel_gradient(
                cupy.asarray(x), cupy.asarray(y), x_terms, y_terms, numbers, **options
            )
            wanted = twin.joint_kernel_gradient(x, y, x_terms, y_terms, numbers, **options)
            close([found.get()], [wanted])


@pytest.mark.gpu
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("function", [pt.hsic, pt.cka])
def test_gradients_of_hsic_and_cka(cupy: Any, function: Any, estimator: str) -> None:
    x, y = data(70, 5, "float32"), data(70, 3, "float64", seed=1)
    y[:, :3] += x[:, :3]
    options: dict[str, Any] = {"estimator": estimator, "return_gradient": True}
    found = function(cupy.asarray(x), cupy.asarray(y), **options)
    wanted = function(x, y, **options)
    assert found.value == pytest.approx(wanted.value, rel=1e-9)
    assert found.grad_x.dtype == "float32"
    for ours, right, eps in (
        (found.grad_x, wanted.grad_x, 1e-6), (found.grad_y, wanted.grad_y, 1e-10),
    ):  # fmt: skip
        assert isinstance(ours, cupy.ndarray)
        np.testing.assert_allclose(ours.get(), right, atol=eps * np.abs(right).max())
