"""Alignment and uniformity against float64 formulas, PyTorch and finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from strategies import DTYPES, FEATURES, LAYOUTS, ROWS, SEEDS, cast, pairs_of_sets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native


def rows_of(n: int, d: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def brute_alignment(x: Floats, y: Floats, alpha: float) -> tuple[float, Floats]:
    """The value, and its gradient by x, which is minus that by y."""
    difference = x - y
    length = np.linalg.norm(difference, axis=1)
    away = length > 0
    slope = np.zeros(len(x))
    slope[away] = alpha * length[away] ** (alpha - 2) / len(x)
    return float(np.mean(length**alpha)), slope[:, None] * difference


def brute_uniformity(x: Floats, t: float) -> tuple[float, Floats]:
    """From the whole matrix, in shares of its sum so that nothing underflows."""
    n = len(x)
    logs = -t * cdist(x, x, "sqeuclidean")
    np.fill_diagonal(logs, -np.inf)
    total = logsumexp(logs)
    shares = np.exp(logs - total)
    by_row = np.stack([shares[i] @ (x[i] - x) for i in range(n)])
    return total - np.log(n * (n - 1)), -4 * t * by_row


def numerical_gradient(f: Callable[[Floats], float], a: Floats, step: float = 1e-6) -> Floats:
    out = np.empty_like(a)
    for index in np.ndindex(a.shape):
        moved = a.copy()
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        out[index] = (above - f(moved)) / (2 * step)
    return out


def near(got: Any, expected: Floats, eps: float) -> None:
    """In units of the largest entry."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=eps * max(np.abs(expected).max(), 1e-30))


# --- alignment ----------------------------------------------------------------------------------


@given(
    n=ROWS,
    d=FEATURES,
    alpha=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=SEEDS,
)
def test_alignment_is_its_formula(n, d, alpha, dtype, seed):
    x, y = rows_of(n, d, seed, dtype), rows_of(n, d, seed + 1, dtype)
    y[n // 2] = x[n // 2]
    value, by_x, by_y = pt.alignment(x, y, alpha=alpha, grad=True)
    expected, gradient = brute_alignment(x.astype(np.float64), y.astype(np.float64), alpha)
    assert value == pytest.approx(expected, rel=1e-12)
    assert pt.alignment(x, y, alpha=alpha) == value
    assert by_x.dtype == by_y.dtype == np.dtype(dtype)
    near(by_x, gradient, 1e-12 if dtype == "float64" else 1e-7)
    np.testing.assert_array_equal(by_y, -by_x)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 2.0, 2.5])
def test_alignment_and_its_gradients_are_pytorchs(alpha, normalize):
    import torch

    a, b = rows_of(70, 9, 1), 3 * rows_of(70, 9, 2)
    x, y = (torch.tensor(z, requires_grad=True) for z in (a, b))
    rows = [torch.nn.functional.normalize(z) for z in (x, y)] if normalize else [x, y]
    expected = (rows[0] - rows[1]).norm(dim=1).pow(alpha).mean()
    expected.backward()
    value, by_x, by_y = pt.alignment(a, b, alpha=alpha, normalize=normalize, grad=True)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    near(by_x, x.grad.numpy(), 1e-12)
    near(by_y, y.grad.numpy(), 1e-12)


@pytest.mark.oracle("torch")
def test_tensors_come_back_as_tensors():
    import torch

    x, y = rows_of(6, 3, 2, np.float32), rows_of(6, 3, 3, np.float32)
    value, by_x, _ = pt.alignment(torch.tensor(x), torch.tensor(y), grad=True)
    assert isinstance(value, float)
    np.testing.assert_array_equal(by_x.numpy(), pt.alignment(x, y, grad=True)[1])
    value, by_x = pt.uniformity(torch.tensor(x), grad=True)
    assert isinstance(value, float)
    assert by_x.dtype == torch.float32
    np.testing.assert_array_equal(by_x.numpy(), pt.uniformity(x, grad=True)[1])


@pytest.mark.parametrize("size", [1e-200, 1e-20, 1e20, 1e150])
def test_alignment_at_any_size(size):
    x, y = rows_of(20, 4, 3), rows_of(20, 4, 4)
    value, by_x, _ = pt.alignment(x * size, y * size, alpha=1.0, grad=True)
    expected, gradient = brute_alignment(x, y, 1.0)
    assert value == pytest.approx(size * expected, rel=1e-12)
    near(by_x, gradient, 1e-12)


# --- uniformity ---------------------------------------------------------------------------------


@given(
    n=ROWS.filter(lambda n: n > 1),
    d=FEATURES,
    log_t=st.floats(-3, 4),
    dtype=st.sampled_from(["float32", "float64"]),
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)]),
    seed=SEEDS,
)
@native
def test_uniformity_is_its_formula(n, d, log_t, dtype, tile, seed):
    """From t so small that all pairs count to t so large that only the nearest does."""
    x, t = (rows_of(n, d, seed) / np.sqrt(d)).astype(dtype), 10.0**log_t
    with forced_tile(*tile):
        value, by_x = pt.uniformity(x, t=t, grad=True)
    expected, gradient = brute_uniformity(x.astype(np.float64), t)
    eps = 1e-11 if dtype == "float64" else 5e-6
    assert value == pytest.approx(expected, rel=eps, abs=eps)
    assert by_x.dtype == np.dtype(dtype)
    # log kernel values are known to some digits, so the shares of pairs to fewer where t is large
    near(by_x, gradient, eps * (1 + 1e-3 * abs(expected)))
    assert pt.uniformity(x, t=t) == pytest.approx(value, rel=eps, abs=eps)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("dtype", "eps"), [("float32", 5e-6), ("float64", 1e-12)])
def test_uniformity_and_its_gradient_are_pytorchs(dtype, eps, normalize):
    import torch

    a = rows_of(200, 24, 5)
    x = torch.tensor(a.astype(dtype).astype(np.float64), requires_grad=True)
    rows = torch.nn.functional.normalize(x) if normalize else x / 5
    expected = torch.pdist(rows).pow(2).mul(-2).exp().mean().log()
    expected.backward()
    right = x.grad.numpy()
    if not normalize:
        a, right = a / 5, right * 5
    value, by_x = pt.uniformity(a.astype(dtype), normalize=normalize, grad=True)
    assert value == pytest.approx(expected.item(), rel=eps)
    near(by_x, right, eps)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("t", [0.5, 300.0])
def test_gradients_are_finite_differences(t, normalize):
    x = rows_of(7, 3, 6)
    _, got = pt.uniformity(x, t=t, normalize=normalize, grad=True)
    right = numerical_gradient(lambda a: pt.uniformity(a, t=t, normalize=normalize), x)
    near(got, right, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e-3, 1.0, 10.0, 40.0, 1e3])
def test_kernel_values_that_underflow(size, dtype):
    x = (size * rows_of(600, 20, 7)).astype(dtype)
    value, by_x = pt.uniformity(x, grad=True)
    expected, gradient = brute_uniformity(x.astype(np.float64), 2.0)
    eps = 1e-9 if dtype == "float64" else 5e-6
    assert value == pytest.approx(expected, rel=eps)
    near(by_x, gradient, eps)


def test_rows_so_far_apart_that_one_pair_is_all_that_counts():
    x = rows_of(20, 4, 13) * 1e100
    value, by_x = pt.uniformity(x, grad=True)
    squares = cdist(x, x, "sqeuclidean") + np.diag(np.full(20, np.inf))
    i, j = np.unravel_index(squares.argmin(), squares.shape)
    assert value == pytest.approx(-2 * squares[i, j], rel=1e-12)
    expected = np.zeros_like(x)
    expected[i] = -4 * (x[i] - x[j])
    expected[j] = -expected[i]
    near(by_x, expected, 1e-12)
    value, by_x = pt.uniformity(x * 1e100, grad=True)  # beyond float64
    assert value == -np.inf
    assert not by_x.any()


def test_two_rows_by_hand():
    value, by_x = pt.uniformity([[0.0], [3.0]], t=2.0, grad=True)
    assert value == pytest.approx(-18.0)
    np.testing.assert_allclose(by_x, [[12.0], [-12.0]])
    value, by_x = pt.uniformity([[1.0, 2.0]] * 3, grad=True)
    assert value == pytest.approx(0.0, abs=1e-12)
    assert not by_x.any()


def test_normalize_of_any_lengths_and_zero_rows():
    x, y = rows_of(30, 5, 8), rows_of(30, 5, 9)
    lengths = 10.0 ** np.random.default_rng(8).integers(-150, 150, size=(30, 1))
    options: dict[str, Any] = {"normalize": True, "grad": True}
    value, by_x = pt.uniformity(x, **options)
    scaled, by_scaled = pt.uniformity(x * lengths, **options)
    assert scaled == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(by_scaled * lengths, by_x, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(np.einsum("ij,ij->i", x, by_x), 0, atol=1e-12)
    x[4] = 0  # stays zero: it has no direction to move in
    for gradients in (pt.uniformity(x, **options)[1:], pt.alignment(x, y, **options)[1:]):
        assert not gradients[0][4].any()
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@native
@given(sets=pairs_of_sets(kinds=["normal", "lattice", "repeated", "all_equal", "clusters"]))
def test_the_engine_is_its_twin(sets):
    x = sets[0].array
    if len(x) < 2:
        return
    (value, by_x), (twin, by_twin) = native_and_twin(pt.uniformity, x, t=0.01, grad=True)
    assert value == pytest.approx(twin, rel=5e-6, abs=5e-6)
    near(by_x, by_twin, 2e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout(dtype):
    x, y = cast(2 * rows_of(33, 9, 10), dtype), cast(2 * rows_of(33, 9, 11), dtype)
    first = *pt.uniformity(x, t=0.1, grad=True), *pt.alignment(x, y, grad=True)
    expected = brute_uniformity(x.astype(np.float64), 0.1)
    assert first[0] == pytest.approx(expected[0], rel=1e-6)
    near(first[1], expected[1], 5e-6)
    for layout in LAYOUTS.values():
        a, b = layout(x), layout(y)
        again = *pt.uniformity(a, t=0.1, grad=True), *pt.alignment(a, b, grad=True)
        for got, right in zip(again, first, strict=True):
            np.testing.assert_array_equal(got, right)


@native
def test_the_same_bits_on_any_number_of_threads():
    x = rows_of(900, 40, 12, np.float32)
    with on_backend("native"):
        for t in (0.01, 1.0, 50.0):
            first = pt.uniformity(x, t=t, grad=True, workers=1)
            again = pt.uniformity(x, t=t, grad=True, workers=3)
            assert first[0] == again[0]
            np.testing.assert_array_equal(first[1], again[1])


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pt.alignment(np.ones((3, 2)), np.ones((4, 2))), ValueError, "3 rows and y has 4"),
        (lambda: pt.alignment(np.ones((3, 2)), np.ones((3, 1))), ValueError, "2 columns"),
        (lambda: pt.alignment(np.ones(3), np.ones(3)), ValueError, "2-D"),
        (lambda: pt.alignment(np.ones((3, 2)), np.ones((3, 2)), alpha=0), ValueError, "alpha"),
        (lambda: pt.alignment([["a"]], [["b"]]), TypeError, "x must hold real numbers"),
        (lambda: pt.uniformity(np.ones((1, 2))), ValueError, "single row"),
        (lambda: pt.uniformity(np.ones((2, 2)), t=-1.0), ValueError, "t must be finite, > 0"),
        (lambda: pt.uniformity([[1.0], [np.nan]]), ValueError, "first bad row is 1"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
