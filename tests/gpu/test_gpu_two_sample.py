"""Moments, subsets, the wild bootstrap, and every two-sample function on CuPy arrays."""

from typing import Any

import numpy as np
import pytest

import pairtile as pt
from gpu_data import TERMS, data
from pairtile._backends import numpy as twin
from pairtile._backends.numpy.kernels import labelled
from pairtile._definitions.kernels import evaluate
from pairtile.two_sample.relabelling import pack

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
TOLERANCES = [("float32", 2e-6), ("float64", 1e-13)]
# Around the tile of 32 rows and 32 features; 600 references are cut into two segments.
SHAPES = [(1, 1, 1), (2, 33, 3), (33, 31, 64), (31, 65, 37), (40, 600, 5)]
SUMS: dict[str, Any] = {"precision": "default", "workers": 1}
SEVERAL = [(0.5, "gaussian", (0.01,)), (-2.0, "rational_quadratic", (0.2, 1.3))]
MANY = [(1.0 / 49, "gaussian", (0.1 * t,)) for t in range(1, 50)]  # more than a sweep sees
MIXED = [*SEVERAL, (1.0, "cosine", ()), (0.1, "linear", ()), (0.2, "laplace_l1", (0.1,))]


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def gpu(cupy: Any) -> Any:
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


def matrix(x: Any, y: Any, terms: Any) -> Any:
    return evaluate(x.astype(np.float64), y.astype(np.float64), terms)


def close(found: Any, wanted: Any, bound: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


# --- Moments --------------------------------------------------------------------------------------


def check_moments(gpu: Any, x: Any, y: Any, terms: Any, tolerance: float) -> None:
    found = gpu.kernel_moments(x, y, terms, **SUMS)
    k = matrix(x, x if y is None else y, terms)
    if y is None:
        np.fill_diagonal(k, 0.0)
    largest = max(1.0, np.abs(k).max())
    by_row, by_col, squares = found
    assert isinstance(by_row, np.ndarray)
    assert isinstance(by_col, np.ndarray)
    close(by_row, k.sum(axis=1), tolerance * largest * k.shape[1])
    close(by_col, k.sum(axis=0), tolerance * largest * k.shape[0])
    close(squares, (k * k).sum(), 2 * tolerance * largest**2 * k.size)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_moments(cupy: Any, gpu: Any, name: str, dtype: str, tolerance: float) -> None:
    x, y = data(50, 37, dtype), data(300, 37, dtype, 1)
    terms = [(1.5, name, TERMS[name])]
    check_moments(gpu, x, y, terms, tolerance)
    check_moments(gpu, y, None, terms, tolerance)
    a, b = cupy.asarray(x), cupy.asarray(y)
    for on_device, on_host in zip(
        gpu.kernel_moments(a, b, terms, **SUMS),
        gpu.kernel_moments(x, y, terms, **SUMS),
        strict=True,
    ):
        np.testing.assert_array_equal(on_device, on_host)


@pytest.mark.gpu
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_moments_of_a_sum_of_kernels(gpu: Any, n: int, m: int, d: int) -> None:
    x, y = data(n, d, "float32"), data(m, d, "float64", 1)
    check_moments(gpu, x, y, SEVERAL, 1e-12)
    check_moments(gpu, y, None, SEVERAL, 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_of_every_dtype(gpu: Any, dtype: str) -> None:
    x, y = data(40, 5, dtype), data(70, 5, dtype, 1)
    check_moments(gpu, x, y, SEVERAL, 2e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [32, 45, 1000])
def test_moments_of_any_sum_of_kernels(
    cupy: Any, gpu: Any, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More kernels than a sweep sees, or kernels of several numbers of a pair: block by block."""
    from pairtile._backends.cuda import kernels

    monkeypatch.setattr(kernels, "held_rows", rows)
    x, y = data(70, 3, "float32"), data(100, 3, "float32", 1)
    assert len(MANY) > gpu._cuda.most_terms
    for terms in (MIXED, MANY):
        check_moments(gpu, x, y, terms, 1e-13)
        check_moments(gpu, x, None, terms, 1e-13)
    told: list[tuple[int, int]] = []
    gpu.kernel_moments(cupy.asarray(x), None, MIXED, progress=lambda *now: told.append(now), **SUMS)
    assert told == sorted(told)
    assert told[-1] == (70, 70)
    assert len(told) == -(-70 // rows)


# --- Subsets --------------------------------------------------------------------------------------


def subset_sums(x: Any, y: Any, in_x: Any, in_y: Any, terms: Any, paired: bool) -> Any:
    out = np.empty((len(in_x), 3))
    for s, (a, b) in enumerate(zip(in_x, in_y, strict=True)):
        within_x, within_y = matrix(x[a], x[a], terms), matrix(y[b], y[b], terms)
        between = matrix(x[a], y[b], terms)
        np.fill_diagonal(within_x, 0.0)
        np.fill_diagonal(within_y, 0.0)
        if paired:
            np.fill_diagonal(between, 0.0)
        out[s] = within_x.sum(), within_y.sum(), between.sum()
    return out


def check_subsets(
    gpu: Any, x: Any, y: Any, in_x: Any, in_y: Any, terms: Any, tolerance: float
) -> None:
    for paired in (False, True):
        found = gpu.kernel_subset_sums(x, y, in_x, in_y, terms, paired=paired, **SUMS)
        wanted = subset_sums(x, y, in_x, in_y, terms, paired)
        largest = max(1.0, *(np.abs(matrix(s, s, terms)).max() for s in (x, y)))
        assert isinstance(found, np.ndarray)
        assert found.shape == (len(in_x), 3)
        close(found, wanted, tolerance * largest * in_x.shape[1] ** 2)


def drawn(n: int, subsets: int, size: int, seed: int) -> Any:
    rng = np.random.default_rng([seed, subsets, size])
    return np.array([rng.choice(n, size, replace=False) for _ in range(subsets)])


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_subset_sums(cupy: Any, gpu: Any, name: str, dtype: str, tolerance: float) -> None:
    x, y = data(70, 35, dtype), data(90, 35, dtype, 1)
    in_x, in_y = drawn(70, 4, 21, 0), drawn(90, 4, 21, 1)
    terms = [(1.5, name, TERMS[name])]
    check_subsets(gpu, x, y, in_x, in_y, terms, tolerance)
    found = gpu.kernel_subset_sums(
        cupy.asarray(x), cupy.asarray(y), in_x, in_y, terms, paired=True, **SUMS
    )
    wanted = gpu.kernel_subset_sums(x, y, in_x, in_y, terms, paired=True, **SUMS)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("subsets", [1, 2, 7])
@pytest.mark.parametrize("size", [1, 2, 3, 31, 32, 33, 70])
def test_subsets_of_every_size(gpu: Any, subsets: int, size: int) -> None:
    x, y = data(80, 4, "float32"), data(70, 4, "float64", 1)
    in_x, in_y = drawn(80, subsets, size, 0), drawn(70, subsets, size, 1)
    check_subsets(gpu, x, y, in_x, in_y, MIXED, 1e-12)


@pytest.mark.gpu
def test_subsets_are_read_in_place(cupy: Any, gpu: Any) -> None:
    whole = data(90, 20, "float32")
    x, y = whole[::2, ::2], whole[::-1, 10:]
    a = cupy.asarray(whole)
    in_x, in_y = drawn(45, 3, 17, 0), drawn(90, 3, 17, 1)
    found = gpu.kernel_subset_sums(
        a[::2, ::2], a[::-1, 10:], in_x, in_y, MIXED, paired=False, **SUMS
    )
    close(found, subset_sums(x, y, in_x, in_y, MIXED, False), 2e-6 * 17**2 * 20)


@pytest.mark.gpu
def test_subsets_in_batches(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(statistic: str, rows: int, *_: int) -> list[tuple[int, int]]:
        return [(first, min(first + 32, rows)) for first in range(0, rows, 32)]

    x, y = data(80, 4, "float32"), data(70, 4, "float32", 1)
    in_x, in_y = drawn(80, 5, 41, 0), drawn(70, 5, 41, 1)

    def results() -> list[Any]:
        return [
            gpu.kernel_subset_sums(x, y, in_x, in_y, MIXED, paired=True, **SUMS),
            *gpu.kernel_moments(x, y, SEVERAL, **SUMS),
            *wild_sums(gpu, x, y[:66], SEVERAL, 0.25),
        ]

    whole = results()
    monkeypatch.setattr(gpu._cuda, "batches", batches)
    for a, b in zip(results(), whole, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_rows_that_are_not_there(gpu: Any) -> None:
    x = data(9, 4, "float32")
    for wrong in (9, -1):
        rows = np.array([[0, wrong]])
        with pytest.raises(IndexError, match="subsets of 9 rows"):
            gpu.kernel_subset_sums(x, x, rows, rows, SEVERAL, paired=False, **SUMS)


# --- The wild bootstrap ---------------------------------------------------------------------------


def wild_sums(gpu: Any, x: Any, y: Any, terms: Any, rounding_step: float, count: int = 70) -> Any:
    """Of the pairs of as many rows of both as there are."""
    n = min(len(x), len(y))
    labels = pack(iter((np.random.default_rng(count).random((n, count)) < 0.5).T), n, count)
    options: dict[str, Any] = {"paired": True, "rounding_steps": [rounding_step], "workers": 1}
    return gpu.kernel_label_sums(x[:n], y[:n], labels, [terms], **options)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("n_labels", [1, 63, 64, 100])
def test_paired_label_sums(cupy: Any, gpu: Any, name: str, n_labels: int) -> None:
    x, y = data(75, 6, "float32"), data(75, 6, "float64", 1)
    kernels = [[(1.0, name, TERMS[name]), (0.5, "cosine", ())], [(1.0, "energy", (1.0,))]]
    labels = pack(iter(np.random.default_rng(n_labels).random((n_labels, 75)) < 0.4), 75, n_labels)
    options: dict[str, Any] = {"paired": True, "workers": 1}
    wanted = twin.kernel_label_sums(x, y, labels, kernels, **options)
    for a, b in ((x, y), (cupy.asarray(x), cupy.asarray(y))):
        for rounding_steps in ((), (0.0, 0.0)):
            found = gpu.kernel_label_sums(
                a, b, labels, kernels, rounding_steps=rounding_steps, **options
            )
            for ours, twins in zip(found, wanted, strict=True):
                close(ours, twins, 1e-12 * max(1.0, np.abs(twins).max()))


@pytest.mark.gpu
@pytest.mark.parametrize("rounding_step", [2.0**-4, 2.0**-30, 3e-7])
@pytest.mark.parametrize(("n", "d"), [(1, 2), (33, 3), (70, 40)])
def test_rounded_label_sums(gpu: Any, n: int, d: int, rounding_step: float) -> None:
    """Multiples of the rounding step, added exactly."""
    x, y = data(n, d, "float32"), data(n, d, "float32", 1)
    within, row, total = wild_sums(gpu, x, y, SEVERAL, rounding_step)
    h = matrix(x, x, SEVERAL) + matrix(y, y, SEVERAL)
    h -= matrix(x, y, SEVERAL) + matrix(x, y, SEVERAL).T
    whole = np.rint(h / rounding_step)
    np.fill_diagonal(whole, 0.0)
    v = np.random.default_rng(70).random((n, 70)) < 0.5
    # what float64 rounds either way moves an entry by one rounding step
    near = np.abs(np.abs(h / rounding_step % 1) - 0.5) < 1e-9 / rounding_step
    np.fill_diagonal(near, False)
    slack = rounding_step * near.sum()
    close(within[0], rounding_step * np.einsum("ib,ij,jb->b", v, whole, v), slack + 1e-12 * n * n)
    close(row[0], rounding_step * v.T @ whole.sum(axis=1), slack + 1e-12 * n * n)
    close(total[0], rounding_step * whole.sum(), slack + 1e-12 * n * n)
    counts = np.concatenate([within[0], row[0], total]) / rounding_step
    close(counts, np.rint(counts), 1e-6 * np.maximum(1.0, np.abs(counts).max() * 1e-9))


@pytest.mark.gpu
@pytest.mark.parametrize("terms", [SEVERAL, MIXED])
def test_signs_that_tie_tie_exactly(gpu: Any, terms: Any) -> None:
    """Exchanging x_i and y_i turns the signs of row and column i of h, and of nothing else."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 70, 5)).astype(np.float32)
    flipped = rng.random(70) < 0.5
    a, b = (np.where(flipped[:, None], s, t) for s, t in ((y, x), (x, y)))
    signs = np.where(rng.random((70, 40)) < 0.5, 1, -1)
    theirs = signs * np.where(flipped, -1, 1)[:, None]

    def signed(x: Any, y: Any, signs: Any, rounding_step: float) -> Any:
        labels = pack(iter((signs > 0).T), 70, 40)
        within, row, total = gpu.kernel_label_sums(
            x, y, labels, [terms], paired=True, rounding_steps=[rounding_step], workers=1
        )
        return 4 * (within[0] - row[0]) + total[0]

    # a rounding step that is a power of two leaves sums of whole rounding steps exact
    np.testing.assert_array_equal(signed(x, y, signs, 2.0**-28), signed(a, b, theirs, 2.0**-28))
    close(signed(x, y, signs, 0.0), signed(a, b, theirs, 0.0), 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [32, 1000])
@pytest.mark.parametrize("terms", [MIXED, MANY])
def test_rounded_sums_of_any_sum_of_kernels(
    gpu: Any, rows: int, terms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that no sweep sees whole are rounded as a whole, beside others that are."""
    from pairtile._backends.cuda import kernels

    monkeypatch.setattr(kernels, "held_rows", rows)
    n, step = 70, 2.0**-20
    x, y = data(n, 5, "float32"), data(n, 5, "float32", 1)
    v = np.random.default_rng(0).random((n, 67)) < 0.5
    labels = pack(iter(v.T), n, 67)
    options: dict[str, Any] = {"paired": True, "rounding_steps": [step, step], "workers": 1}
    found = gpu.kernel_label_sums(x, y, labels, [SEVERAL, terms], **options)
    wanted = twin.kernel_label_sums(x, y, labels, [SEVERAL, terms], **options)
    h = matrix(x, x, terms) + matrix(y, y, terms)
    h -= matrix(x, y, terms) + matrix(x, y, terms).T
    near = np.abs(np.abs(h / step % 1) - 0.5) < 1e-9 / step  # rounded either way
    for ours, twins in zip(found, wanted, strict=True):
        close(ours, twins, step * near.sum() + 1e-12 * n * n)
        assert (ours / step == np.rint(ours / step)).all()


@pytest.mark.gpu
def test_same_bits_every_time(cupy: Any, gpu: Any) -> None:
    x, y = (cupy.asarray(data(n, 30, "float32")) for n in (100, 900))
    rows = drawn(100, 5, 40, 0)

    def results() -> list[Any]:
        return [
            *gpu.kernel_moments(x, y, SEVERAL, **SUMS),
            gpu.kernel_subset_sums(x, y, rows, rows, MIXED, paired=True, **SUMS),
            *wild_sums(gpu, x, y, MIXED, 0.0),
        ]

    first = results()
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True):
        second = results()
    for a, b, c in zip(first, second, results(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


# --- Public functions -----------------------------------------------------------------------------


def both(cupy: Any, n: int, m: int, d: int = 4, dtype: str = "float32") -> Any:
    x, y = data(n, d, dtype), data(m, d, dtype, 1)
    return (cupy.asarray(x), cupy.asarray(y)), (x, y)


KERNELS = [
    "gaussian",
    "laplace",
    "polynomial",
    "linear",
    "cosine",
    "energy",
    pt.Laplace("median", norm="l1"),
    pt.Gaussian("median:alibi") + 0.5 * pt.Gaussian("median:torchdrift"),
    pt.Gaussian("mean:alibi") + pt.Gaussian("scale:sklearn"),
    pt.Gaussian(2.0) + 0.1 * pt.Laplace(3.0),
]


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear", "block"])
def test_mmd(cupy: Any, kernel: Any, estimator: str) -> None:
    on_device, on_host = both(cupy, 61, 61)
    for squared in (True, False):
        options: dict[str, Any] = {"kernel": kernel, "estimator": estimator, "squared": squared}
        found, wanted = pt.mmd(*on_device, **options), pt.mmd(*on_host, **options)
        assert isinstance(found, float)
        assert found == pytest.approx(wanted, rel=1e-4, abs=2e-5)
    found = pt.mmd(*on_device, kernel=kernel, estimator=estimator, precision="float64")
    wanted = pt.mmd(*on_host, kernel=kernel, estimator=estimator, precision="float64")
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-11)


@pytest.mark.gpu
def test_mmd_of_the_default_bandwidth(cupy: Any) -> None:
    on_device, on_host = both(cupy, 50, 90, dtype="float64")
    weights = np.random.default_rng(0).random(50)
    for options in ({}, {"x_weights": weights}, {"estimator": "biased"}):
        found, wanted = pt.mmd(*on_device, **options), pt.mmd(*on_host, **options)
        assert found == pytest.approx(wanted, rel=1e-10, abs=1e-13)
    found = pt.mmd(*both(cupy, 50, 50)[0], estimator="block", block_size=7)
    assert found == pytest.approx(
        pt.mmd(*both(cupy, 50, 50)[1], estimator="block", block_size=7), abs=1e-5
    )


@pytest.mark.gpu
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize(
    "method", ["permutation", "wild_bootstrap", "cheap_permutation", "gamma", "spectrum"]
)
def test_mmd_test(cupy: Any, method: str, estimator: str) -> None:
    on_device, on_host = both(cupy, 66, 66)
    for kernel in ("gaussian", pt.Gaussian(1.0) + 0.5 * pt.RationalQuadratic(2.0, alpha=1.0)):
        options: dict[str, Any] = {
            "kernel": kernel,
            "method": method,
            "estimator": estimator,
            "n_permutations": 99,
            "rng": 3,
        }
        found, wanted = pt.mmd_test(*on_device, **options), pt.mmd_test(*on_host, **options)
        assert found.pvalue == pytest.approx(wanted.pvalue, rel=1e-9 if method == "gamma" else 0)
        assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9)
        assert found.null == wanted.null
        assert isinstance(found.null_distribution, cupy.ndarray)
        close(found.null_distribution.get(), wanted.null_distribution, 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["permutation", "wild_bootstrap"])
@pytest.mark.parametrize("kernel", ["gaussian", "energy", "linear"])
def test_rounded_wild_bootstrap(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, method: str, kernel: str
) -> None:
    """From so many pairs on terms are rounded; repeated rows make ties."""
    monkeypatch.setattr("pairtile.two_sample.nulls._ROUNDED_PAIRS", 64)
    x, y = np.random.default_rng(0).integers(0, 3, size=(2, 70, 3)).astype(np.float32)
    options: dict[str, Any] = {"n_permutations": 199, "rng": 1, "method": method, "kernel": kernel}
    found = pt.mmd_test(cupy.asarray(x), cupy.asarray(y), **options)
    wanted = pt.mmd_test(x, y, **options)
    assert found.pvalue == wanted.pvalue
    assert found.statistic == pytest.approx(wanted.statistic, rel=1e-6, abs=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["permutation", "wild_bootstrap", "cheap_permutation", "gamma"])
@pytest.mark.parametrize("d", [1, 3])
def test_energy_test(cupy: Any, method: str, d: int) -> None:
    on_device, on_host = both(cupy, 50, 50, d)
    options: dict[str, Any] = {"method": method, "n_permutations": 99, "rng": 1}
    found, wanted = pt.energy_test(*on_device, **options), pt.energy_test(*on_host, **options)
    assert found.pvalue == pytest.approx(wanted.pvalue, rel=1e-9 if method == "gamma" else 0)
    assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9)
    exchanged: dict[str, Any] = {"groups": np.arange(100) // 2, "strata": np.arange(100) % 50 // 10}
    if method == "permutation":
        found = pt.energy_test(*on_device, **exchanged, **options)
        assert found.pvalue == pt.energy_test(*on_host, **exchanged, **options).pvalue


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", KERNELS[:-1], ids=str)
def test_mmd_power(cupy: Any, kernel: Any) -> None:
    on_device, on_host = both(cupy, 60, 75)
    for precision, tolerance in (("default", 2e-5), ("float64", 1e-10)):
        options: dict[str, Any] = {"kernel": kernel, "precision": precision}
        found, wanted = pt.mmd_power(*on_device, **options), pt.mmd_power(*on_host, **options)
        size = {"polynomial": 1e3, "linear": 10.0, "energy": 10.0}.get(str(kernel), 2.0)
        assert found.mmd == pytest.approx(wanted.mmd, abs=tolerance * size)
        for a, b in (
            (found.variance_h0, wanted.variance_h0),
            (found.variance_h1, wanted.variance_h1),
        ):
            assert a == pytest.approx(b, abs=tolerance * size**2 / 60)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["permutation", "wild_bootstrap"])
def test_aggregated_test(cupy: Any, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr("pairtile.two_sample.nulls._ROUNDED_PAIRS", 40)
    on_device, on_host = both(cupy, 45, 45, 2)
    for kernels in (("gaussian", "laplace_l1"), [pt.Gaussian(1.0) + pt.Matern(2.0, nu=1.5)]):
        options: dict[str, Any] = {
            "kernels": kernels,
            "bandwidths": 2,
            "n_permutations": 30,
            "method": method,
            "rng": 2,
        }
        found = pt.mmd_aggregated_test(*on_device, **options)
        wanted = pt.mmd_aggregated_test(*on_host, **options)
        assert found.pvalue == wanted.pvalue
        for a, b in zip(found.per_kernel, wanted.per_kernel, strict=True):
            assert a.kernel == b.kernel  # bandwidths included
            assert (a.pvalue, a.adjusted_pvalue) == (b.pvalue, b.adjusted_pvalue)
            assert a.statistic == pytest.approx(b.statistic, rel=1e-6, abs=1e-9)


@pytest.mark.gpu
def test_bandwidths_of_sampled_rows(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairtile.two_sample.aggregated._SAMPLED_ROWS", 40)
    on_device, on_host = both(cupy, 45, 30, 2)
    options: dict[str, Any] = {"bandwidths": 1, "n_permutations": 20, "rng": 2}
    found = pt.mmd_aggregated_test(*on_device, **options)
    wanted = pt.mmd_aggregated_test(*on_host, **options)
    assert found.pvalue == wanted.pvalue
    assert [k.kernel for k in found.per_kernel] == [k.kernel for k in wanted.per_kernel]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_kid(cupy: Any, dtype: str) -> None:
    on_device, on_host = both(cupy, 90, 70, 33, dtype)
    options: dict[str, Any] = {"subsets": 6, "subset_size": 40, "rng": 1}
    found, wanted = pt.kid(*on_device, **options), pt.kid(*on_host, **options)
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    found, wanted = (pt.kid(*sets, full=True) for sets in (on_device, on_host))
    assert found.mean == pytest.approx(wanted.mean, rel=1e-5, abs=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("samples", [2, 3])
def test_disco_test(cupy: Any, samples: int) -> None:
    on_host = [data(20 + 7 * s, 3, "float32", s) for s in range(samples)]
    on_device = [cupy.asarray(s) for s in on_host]
    options: dict[str, Any] = {"n_permutations": 49, "rng": 1}
    found, wanted = pt.disco_test(on_device, **options), pt.disco_test(on_host, **options)
    assert found.pvalue == wanted.pvalue
    assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9)
    assert isinstance(found.null_distribution, cupy.ndarray)


@pytest.mark.gpu
def test_labels_are_read_as_the_twin_reads_them(gpu: Any) -> None:
    words = pack(iter(np.random.default_rng(0).random((5, 130)) < 0.5), 130, 5)
    ones = labelled(words, 0, 130)
    x = np.eye(130)
    within, row, total = gpu.kernel_label_sums(
        x, 0 * x, words, [[(1.0, "linear", ())]], paired=True, workers=1
    )  # h is the identity, whose diagonal counts nothing
    assert not within.any()
    assert not row.any()
    assert not total.any()
    shifted = np.roll(x, 1, axis=0) + x
    within, _, _ = gpu.kernel_label_sums(
        shifted, 0 * x, words, [[(1.0, "linear", ())]], paired=True, workers=1
    )
    neighbours = 2 * np.einsum("ib,ib->b", ones, np.roll(ones, 1, axis=0))
    close(within[0], neighbours, 1e-12)
