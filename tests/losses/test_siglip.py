"""The sigmoid loss: value and gradients against float64 formulas, PyTorch and differences."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from loss_formulas import ExpectedSigmoid, brute_sigmoid
from strategies import DTYPES, LAYOUTS, SEEDS, cast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native

# Around the blocks: 4 to 14 rows by 4 to 32 columns forward, chunks of lcm(rows, cols) backward.
ROWS = st.one_of(
    st.integers(1, 17), st.sampled_from([31, 33, 63, 65, 223, 225, 239, 241, 256, 257, 300])
)
FEATURES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 64, 255, 257]))
GRADIENTS = ("grad_x", "grad_y", "grad_scale", "grad_bias")


def sets(n: int, m: int, d: int, seed: int = 0, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)


def wide(*arrays: Any) -> list[Floats]:
    return [a.astype(np.float64) for a in arrays]


def check(
    got: pt.ContrastiveResult, expected: ExpectedSigmoid, upstream: float, size: float, eps: float
) -> None:
    """`upstream`: of all rows, at most; `size`: of the scores; `eps`: what the dtype rounds to."""
    n, m = len(expected.grad_x), len(expected.grad_y)
    eps *= 1 + size
    assert got.per_row.dtype == np.float64
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=eps, atol=0)
    assert got.loss == pytest.approx(expected.per_row.mean(), rel=eps)
    assert got.lse_row is got.lse_col is None
    # each entry sums weights of at most `upstream` times rows
    largest = np.abs([np.abs(expected.grad_x).max(), np.abs(expected.grad_y).max()]).max()
    for name in ("grad_x", "grad_y"):
        mine, right = getattr(got, name), getattr(expected, name)
        np.testing.assert_allclose(mine, right, rtol=0, atol=eps * largest, err_msg=name)
    pairs = upstream * n * m
    assert got.grad_bias == pytest.approx(expected.grad_bias, rel=eps, abs=eps * pairs)
    assert got.grad_scale == pytest.approx(expected.grad_scale, rel=eps, abs=eps * pairs * size)


# --- values and gradients -----------------------------------------------------------------------


@given(
    n=ROWS,
    more=st.integers(0, 40),
    d=FEATURES,
    bias=st.sampled_from([0.0, -10.0, 3.5]),
    dtype=st.sampled_from(["float32", "float64"]),
    weighted=st.booleans(),
    seed=SEEDS,
)
def test_the_loss_and_its_gradients_are_their_formulas(n, more, d, bias, dtype, weighted, seed):
    x, y = sets(n, n + more, d, seed, dtype)
    scale = 2.0 / np.sqrt(d)
    upstream = np.random.default_rng(seed).normal(size=n) if weighted else None
    options = {"logit_scale": scale, "bias": bias}
    got = pt.siglip_loss(x, y, grad=True, grad_rows=upstream, **options)
    assert got.grad_x.dtype == got.grad_y.dtype == np.dtype(dtype)
    expected = brute_sigmoid(*wide(x, y), scale, bias, upstream)
    size = np.abs(scale * x @ y.T + bias).max()
    most = 1 / n if upstream is None else np.abs(upstream).max()
    check(got, expected, most, size, 1e-13 if dtype == "float64" else 1e-6)
    without = pt.siglip_loss(x, y, **options)
    np.testing.assert_array_equal(without.per_row, got.per_row)
    assert all(getattr(without, name) is None for name in GRADIENTS)


EDGES = (1, 13, 15, 31, 33, 223, 225, 239, 241, 257)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 33])
def test_ragged_edges_of_every_block(d, dtype):
    for n, m in itertools.combinations_with_replacement(EDGES, 2):
        x, y = sets(n, m, d, n * m, dtype)
        got = pt.siglip_loss(x, y, logit_scale=0.3, bias=-1.0, grad=True)
        expected = brute_sigmoid(*wide(x, y), 0.3, -1.0)
        check(got, expected, 1 / n, 10, 1e-13 if dtype == "float64" else 1e-6)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_loss_and_its_gradients_are_pytorchs(normalize, dtype):
    import torch

    functional = torch.nn.functional
    n, m, d, temperature, offset = 50, 70, 24, 0.3, -2.5
    a, b = sets(n, m, d, 1)
    upstream = np.random.default_rng(1).random(n)
    eps = 1e-12 if dtype == "float64" else 1e-5
    x, y = (torch.tensor(z, requires_grad=True) for z in (a, b))
    scale = torch.tensor(1 / temperature, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(offset, dtype=torch.float64, requires_grad=True)
    rows = [functional.normalize(z) for z in (x, y)] if normalize else [x, y]
    z = 2 * torch.eye(n, m, dtype=torch.float64) - 1
    per_row = -functional.logsigmoid(z * (scale * rows[0] @ rows[1].T + bias)).sum(dim=1)
    (per_row @ torch.tensor(upstream)).backward()
    got = pt.siglip_loss(
        a.astype(dtype), b.astype(dtype), temperature=temperature, bias=offset,
        normalize=normalize, grad=True, grad_rows=upstream,
    )  # fmt: skip
    np.testing.assert_allclose(got.per_row, per_row.detach().numpy(), rtol=eps)
    for mine, leaf in ((got.grad_x, x), (got.grad_y, y)):
        right = leaf.grad.numpy()
        np.testing.assert_allclose(mine, right, rtol=0, atol=eps * np.abs(right).max())
    assert got.grad_scale == pytest.approx(float(scale.grad), rel=10 * eps)
    assert got.grad_bias == pytest.approx(float(bias.grad), rel=10 * eps)


@pytest.mark.oracle("torch")
def test_tensors_come_back_as_tensors():
    import torch

    x, y = sets(6, 6, 3, 2, np.float32)
    expected = pt.siglip_loss(x, y, temperature=1.0, grad=True)
    got = pt.siglip_loss(torch.tensor(x), torch.tensor(y), temperature=1.0, grad=True)
    for name in ("loss", "grad_scale", "grad_bias"):
        assert isinstance(getattr(got, name), float)
    for name, dtype in (("per_row", "float64"), ("grad_x", "float32"), ("grad_y", "float32")):
        tensor = getattr(got, name)
        assert tensor.dtype == getattr(torch, dtype)
        np.testing.assert_array_equal(tensor.numpy(), getattr(expected, name))


def test_a_worked_example():
    # two rows by hand: a positive of score 1, a negative of score 0; then both of score 0
    got = pt.siglip_loss([[1.0], [0.0]], [[1.0], [0.0]], temperature=1.0, grad=True)
    log2 = np.log(2)
    np.testing.assert_allclose(got.per_row, [np.log1p(np.exp(-1)) + log2, 2 * log2])
    assert got.loss == pytest.approx(np.mean(got.per_row))
    # by the bias: −σ(−1)/2 for the first positive, ±1/4 for the others
    assert got.grad_bias == pytest.approx(-0.5 / (1 + np.e) + 0.25)
    assert got.grad_scale == pytest.approx(-0.5 / (1 + np.e))


def numerical_gradient(f: Any, a: Floats, step: float = 1e-5) -> Floats:
    out = np.empty_like(a)
    for index in np.ndindex(a.shape):
        moved = a.copy()
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        out[index] = (above - f(moved)) / (2 * step)
    return out


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_are_finite_differences(normalize):
    x, y = sets(5, 7, 4, 6)
    x[1] *= 30  # lengths differ
    w = np.array([1.0, -0.5, 2.0, 0.25, 0.0])

    def value(a, b, scale, bias):
        options = {"logit_scale": scale, "bias": bias, "normalize": normalize}
        return w @ pt.siglip_loss(a, b, **options).per_row

    got = pt.siglip_loss(
        x, y, logit_scale=1.7, bias=-0.6, normalize=normalize, grad=True, grad_rows=w
    )
    by_x = numerical_gradient(lambda a: value(a, y, 1.7, -0.6), x)
    by_y = numerical_gradient(lambda b: value(x, b, 1.7, -0.6), y)
    np.testing.assert_allclose(got.grad_x, by_x, atol=2e-8)
    np.testing.assert_allclose(got.grad_y, by_y, atol=2e-8)
    by_scale = numerical_gradient(lambda s: value(x, y, s[0], -0.6), np.array([1.7]))
    by_bias = numerical_gradient(lambda b: value(x, y, 1.7, b[0]), np.array([-0.6]))
    assert got.grad_scale == pytest.approx(by_scale[0], abs=2e-8)
    assert got.grad_bias == pytest.approx(by_bias[0], abs=2e-8)


def test_a_bias_is_a_constant_feature():
    x, y = sets(30, 40, 5, 7)
    with_bias = pt.siglip_loss(x, y, logit_scale=2.0, bias=-3.0, grad=True)
    longer = [np.hstack([x, np.full((30, 1), -1.5)]), np.hstack([y, np.ones((40, 1))])]
    got = pt.siglip_loss(*longer, logit_scale=2.0, grad=True)
    np.testing.assert_allclose(got.per_row, with_bias.per_row, rtol=1e-13)
    np.testing.assert_allclose(got.grad_x[:, :5], with_bias.grad_x, atol=1e-13)
    assert got.grad_x[:, 5].sum() == pytest.approx(2.0 * with_bias.grad_bias)


# --- extremes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [0.0, -1e4, 1e4])
@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e6])
def test_scores_of_any_size_neither_overflow_nor_vanish(scale, bias, dtype):
    x, y = sets(70, 70, 8, 9, dtype)
    got = pt.siglip_loss(x, y, logit_scale=scale, bias=bias, grad=True)
    expected = brute_sigmoid(*wide(x, y), scale, bias)
    size = np.abs(scale * x @ y.T).max() + abs(bias)
    eps = (1e-15 if dtype == "float64" else 4e-7) * 70
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=1e-5, atol=eps * (1 + size))
    for name in GRADIENTS:
        assert np.isfinite(getattr(got, name)).all(), name


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 1e-6), ("float64", 1e-14)])
def test_small_losses_keep_their_digits(dtype, eps):
    # The scores are exact: lead on the diagonal and -lead elsewhere.
    n = 40
    x = np.eye(n, dtype=dtype)
    for lead in (2.0, 15.0, 40.0, 80.0):
        got = pt.siglip_loss(x, x, logit_scale=2 * lead, bias=-lead, grad=True)
        np.testing.assert_allclose(got.per_row, n * np.log1p(np.exp(-lead)), rtol=eps)
        weight = 1 / (1 + np.exp(lead)) / n
        right = np.where(x > 0, -1.0, 1.0) * weight * 2 * lead
        np.testing.assert_allclose(got.grad_x, right, rtol=4 * eps)
        np.testing.assert_allclose(got.grad_y, right, rtol=4 * eps)
        assert got.grad_bias == pytest.approx((n * (n - 1) - n) * weight, rel=4 * eps)
        assert got.grad_scale == pytest.approx(-n * weight, rel=4 * eps)


def test_a_bad_row_is_never_a_good_loss():
    # check_finite=False: a NaN must come out as NaN where it was used, not as a number
    x, y = sets(6, 6, 3, 10)
    x[4, 0] = y[2, 1] = np.nan
    got = pt.siglip_loss(x, y, temperature=1.0, check_finite=False)
    assert np.isnan(got.per_row).all(), got.per_row
    y[2, 1] = 0.0
    got = pt.siglip_loss(x, y, temperature=1.0, check_finite=False)
    np.testing.assert_array_equal(np.isnan(got.per_row), np.arange(6) == 4)


def test_normalize_of_any_lengths():
    x, y = sets(20, 20, 6, 11)
    options = {"temperature": 0.2, "bias": -2.0, "normalize": True, "grad": True}
    expected = pt.siglip_loss(x, y, **options)
    lengths = 10.0 ** np.random.default_rng(11).integers(-150, 150, size=(20, 1))
    got = pt.siglip_loss(x * lengths, y, **options)
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=1e-12)
    np.testing.assert_allclose(got.grad_x * lengths, expected.grad_x, rtol=1e-9, atol=1e-13)
    x[4] = 0  # stays zero: it has no direction to move in
    got = pt.siglip_loss(x, y, **options)
    assert not got.grad_x[4].any()
    assert np.isfinite(got.grad_y).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout(dtype):
    rng = np.random.default_rng(12)
    x, y = (cast(2 * rng.normal(size=(33, 9)), dtype) for _ in range(2))
    options = {"logit_scale": 0.1, "bias": 0.5, "grad": True}
    first = pt.siglip_loss(x, y, **options)
    expected = brute_sigmoid(*wide(x, y), 0.1, 0.5)
    check(first, expected, 1 / 33, 40, 1e-14 if dtype == "float64" else 2e-7)
    for left, right in itertools.product(LAYOUTS.values(), repeat=2):
        got = pt.siglip_loss(left(x), right(y), **options)
        for name in ("per_row", *GRADIENTS):
            np.testing.assert_array_equal(getattr(got, name), getattr(first, name))


# --- the engine against its twin ----------------------------------------------------------------


@native
@given(
    n=ROWS,
    more=st.integers(0, 40),
    d=FEATURES,
    dtype=st.sampled_from(["float32", "float64"]),
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)]),
    seed=SEEDS,
)
def test_the_native_loss_is_the_twins(n, more, d, dtype, tile, seed):
    rng = np.random.default_rng(seed)
    x, y = sets(n, n + more, d, seed, dtype)
    upstream, scale, bias = rng.normal(size=n), float(10 ** rng.uniform(-2, 1)), rng.normal()
    options: dict[str, Any] = {
        "logit_scale": scale, "bias": bias, "grad": True, "grad_rows": upstream,
        "normalize": bool(rng.integers(2)),
    }  # fmt: skip
    with forced_tile(*tile):
        got, twin = native_and_twin(pt.siglip_loss, x, y, **options)
    expected = ExpectedSigmoid(twin.per_row, *(getattr(twin, name) for name in GRADIENTS))
    size = scale * np.abs(x.astype(np.float64) @ y.T).max() + abs(bias)
    check(got, expected, np.abs(upstream).max(), size, 1e-13 if dtype == "float64" else 2e-6)


@native
def test_more_rows_than_one_block_of_anything():
    # several super-blocks of the backward sweep, in both directions
    x, y = sets(700, 900, 600, 14, np.float32)
    options = {"logit_scale": 0.05, "bias": -1.0, "grad": True}
    got, twin = native_and_twin(pt.siglip_loss, x, y, **options)
    np.testing.assert_allclose(got.per_row, twin.per_row, rtol=1e-5)
    for name in ("grad_x", "grad_y"):
        mine, right = getattr(got, name), getattr(twin, name)
        np.testing.assert_allclose(mine, right, rtol=0, atol=1e-5 * np.abs(right).max())
    with on_backend("native"):
        for workers in (1, 3):
            again = pt.siglip_loss(x, y, workers=workers, **options)
            for name in ("per_row", *GRADIENTS):
                np.testing.assert_array_equal(getattr(again, name), getattr(got, name))
