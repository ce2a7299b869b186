"""Contrastive losses: values and gradients against float64 formulas, PyTorch and differences."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from loss_formulas import Expected, brute
from strategies import DTYPES, LAYOUTS, SEEDS, cast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

native = pytest.mark.native

# Around the blocks: 4 to 14 rows by 4 to 32 columns forward, chunks of lcm(rows, cols) backward.
ROWS = st.one_of(
    st.integers(1, 17),
    st.sampled_from([31, 32, 33, 63, 64, 65, 223, 224, 225, 239, 240, 241, 255, 256, 257, 300]),
)
FEATURES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 64, 255, 257]))
LOSSES = ("info_nce", "clip_loss")


def sets(n: int, m: int, d: int, seed: int = 0, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)


def call(loss: str, x: Any, y: Any, **options: Any) -> pt.ContrastiveResult:
    return getattr(pt, loss)(x, y, **options)


def check(got: Any, expected: Expected, size: float, eps: float) -> None:
    """`size`: of the scores; `eps`: roundoff of the working dtype, with what sums of it grow to."""
    n, m = len(expected.grad_x), len(expected.grad_y)
    assert got.per_row.shape == got.lse_row.shape == (n,)
    assert got.per_row.dtype == got.lse_row.dtype == np.float64
    atol = eps * (1 + size)
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=eps, atol=atol)
    np.testing.assert_allclose(got.lse_row, expected.lse_row, rtol=eps, atol=atol)
    assert got.loss == pytest.approx(expected.per_row.mean(), rel=eps, abs=atol)
    if expected.lse_col is None:
        assert got.lse_col is None
    else:
        assert got.lse_col.shape == (m,)
        np.testing.assert_allclose(got.lse_col, expected.lse_col, rtol=eps, atol=atol)
    for name in ("grad_x", "grad_y"):
        mine, right = getattr(got, name), getattr(expected, name)
        assert mine.shape == right.shape
        largest = max(np.abs(expected.grad_x).max(), np.abs(expected.grad_y).max())
        np.testing.assert_allclose(mine, right, rtol=0, atol=atol * largest, err_msg=name)
    scale_of_it = np.abs(expected.grad_x).max() + abs(expected.grad_scale)
    assert got.grad_scale == pytest.approx(expected.grad_scale, abs=atol * scale_of_it * n)


# --- values and gradients -----------------------------------------------------------------------


@given(
    n=ROWS,
    m=ROWS,
    d=FEATURES,
    loss=st.sampled_from(LOSSES),
    dtype=st.sampled_from(["float32", "float64"]),
    weighted=st.booleans(),
    seed=SEEDS,
)
def test_losses_and_gradients_are_their_formulas(n, m, d, loss, dtype, weighted, seed):
    if loss == "clip_loss":
        m = n
    x, y = sets(n, m, d, seed, dtype)
    rng = np.random.default_rng(seed)
    scale = 2.0 / np.sqrt(d)
    targets = rng.integers(m, size=n) if loss == "info_nce" else None
    upstream = rng.normal(size=n) if weighted else None
    options = {"logit_scale": scale, "grad": True, "grad_rows": upstream}
    if targets is not None:
        options["targets"] = targets
    wide = x.astype(np.float64), y.astype(np.float64)
    expected = brute(*wide, scale, loss, targets, upstream)
    got = call(loss, x, y, **options)
    assert got.grad_x.dtype == got.grad_y.dtype == np.dtype(dtype)
    check(got, expected, np.abs(scale * x @ y.T).max(), 1e-12 if dtype == "float64" else 4e-6)
    plain = {k: v for k, v in options.items() if k not in ("grad", "grad_rows")}
    without = call(loss, x, y, **plain)
    np.testing.assert_array_equal(without.per_row, got.per_row)
    assert without.grad_x is without.grad_y is without.grad_scale is None
    assert without.grad_bias is got.grad_bias is None


EDGES = (1, 13, 14, 15, 31, 33, 223, 225, 239, 241, 257)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 5, 33])
def test_ragged_edges_of_every_block(d, dtype):
    eps = 1e-13 if dtype == "float64" else 4e-6
    for n, m in itertools.product(EDGES, EDGES):
        x, y = sets(n, m, d, n * m, dtype)
        wide = x.astype(np.float64), y.astype(np.float64)
        targets = np.arange(n) % m
        got = pt.info_nce(x, y, logit_scale=0.3, grad=True, targets=targets)
        check(got, brute(*wide, 0.3, "info_nce", targets), 10, eps)
        if n == m:
            check(
                pt.clip_loss(x, y, logit_scale=0.3, grad=True),
                brute(*wide, 0.3, "clip_loss"),
                10,
                eps,
            )


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalize", [False, True])
def test_losses_and_gradients_are_pytorchs(normalize, dtype):
    import torch

    functional = torch.nn.functional
    n, m, d, temperature = 50, 70, 24, 0.3
    a, b = sets(n, m, d, 1)
    rng = np.random.default_rng(1)
    targets, upstream = rng.integers(m, size=n), rng.random(n)
    eps = 1e-12 if dtype == "float64" else 1e-5

    def compare(got, per_row, x, y, scale):
        per_row = per_row(x, y, scale)
        (per_row @ torch.tensor(upstream)).backward()
        np.testing.assert_allclose(got.per_row, per_row.detach().numpy(), rtol=eps, atol=eps)
        for mine, tensor in ((got.grad_x, x), (got.grad_y, y)):
            np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=0, atol=10 * eps)
        assert got.grad_scale == pytest.approx(float(scale.grad), rel=100 * eps)

    def scores(x, y, scale):
        if normalize:
            x, y = functional.normalize(x), functional.normalize(y)
        return scale * x @ y.T

    def nce(x, y, scale):
        return functional.cross_entropy(
            scores(x, y, scale), torch.tensor(targets), reduction="none"
        )

    def clip(x, y, scale):
        own = torch.arange(n)
        return 0.5 * sum(
            functional.cross_entropy(s, own, reduction="none")
            for s in (scores(x, y, scale), scores(x, y, scale).T)
        )

    options = {
        "temperature": temperature,
        "normalize": normalize,
        "grad": True,
        "grad_rows": upstream,
    }
    for per_row, (u, v), function, more in (
        (nce, (a, b), pt.info_nce, {"targets": targets}),
        (clip, (a, b[:n]), pt.clip_loss, {}),
    ):
        leaves = [torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (u, v)]
        scale = torch.tensor(1 / temperature, dtype=torch.float64, requires_grad=True)
        got = function(u.astype(dtype), v.astype(dtype), **options, **more)
        compare(got, per_row, *leaves, scale)


@pytest.mark.oracle("torch")
def test_tensors_come_back_as_tensors():
    import torch

    x, y = sets(6, 6, 3, 2, np.float32)
    expected = pt.clip_loss(x, y, temperature=1.0, grad=True)
    got = pt.clip_loss(torch.tensor(x), torch.tensor(y), temperature=1.0, grad=True)
    assert isinstance(got.loss, float)
    assert isinstance(got.grad_scale, float)
    for name, dtype in (("per_row", "float64"), ("lse_col", "float64"), ("grad_x", "float32")):
        tensor = getattr(got, name)
        assert tensor.dtype == getattr(torch, dtype)
        np.testing.assert_array_equal(tensor.numpy(), getattr(expected, name))


def test_a_worked_example():
    # one row: nothing to tell it apart from
    got = pt.info_nce([[3.0, 4.0]], [[1.0, 2.0]], temperature=0.1, grad=True)
    assert (got.loss, got.grad_scale) == (0.0, 0.0)
    assert got.lse_row[0] == pytest.approx(110.0)
    np.testing.assert_array_equal(got.grad_x, 0)
    # equal scores: log of their number
    got = pt.info_nce(np.zeros((3, 2)), np.ones((5, 2)), logit_scale=7.0)
    np.testing.assert_allclose(got.per_row, np.log(5), rtol=1e-15)
    assert got.loss == pytest.approx(np.log(5))
    # two rows by hand
    got = pt.clip_loss([[1.0], [0.0]], [[1.0], [0.0]], temperature=1.0)
    e = np.e
    np.testing.assert_allclose(got.lse_row, [np.log(e + 1), np.log(2)])
    np.testing.assert_allclose(got.per_row, [np.log(e + 1) - 1, np.log(2)])


def test_temperature_is_one_over_logit_scale():
    x, y = sets(20, 20, 4, 3)
    for loss in LOSSES:
        a = call(loss, x, y, temperature=0.25, grad=True)
        b = call(loss, x, y, logit_scale=4.0, grad=True)
        np.testing.assert_array_equal(a.grad_x, b.grad_x)
        assert (a.loss, a.grad_scale) == (b.loss, b.grad_scale)


def test_targets():
    x, y = sets(30, 40, 5, 4)
    rng = np.random.default_rng(4)
    own = pt.info_nce(x, y, temperature=1.0, grad=True)
    same = pt.info_nce(x, y, temperature=1.0, grad=True, targets=np.arange(30, dtype=np.int32))
    np.testing.assert_array_equal(own.grad_y, same.grad_y)
    # all rows may have one target; renumbering y renumbers targets and gradients
    one = pt.info_nce(x, y, temperature=1.0, grad=True, targets=[7] * 30)
    expected = brute(x, y, 1.0, "info_nce", np.full(30, 7))
    check(one, expected, 10, 1e-12)
    order = rng.permutation(40)
    targets = rng.integers(40, size=30)
    before = pt.info_nce(x, y, temperature=1.0, grad=True, targets=targets)
    after = pt.info_nce(x, y[order], temperature=1.0, grad=True, targets=np.argsort(order)[targets])
    np.testing.assert_allclose(after.per_row, before.per_row, rtol=1e-12)
    np.testing.assert_allclose(after.grad_y, before.grad_y[order], atol=1e-13)


def test_grad_rows():
    x, y = sets(25, 25, 6, 5)
    rng = np.random.default_rng(5)
    for loss in LOSSES:
        w = rng.normal(size=25)
        got = call(loss, x, y, temperature=0.5, grad=True, grad_rows=w)
        check(got, brute(x, y, 2.0, loss, upstream=w), 10, 1e-12)
        # gradients are linear in them, and ones over n are the default
        even = call(loss, x, y, temperature=0.5, grad=True, grad_rows=np.full(25, 1 / 25))
        np.testing.assert_array_equal(
            even.grad_x, call(loss, x, y, temperature=0.5, grad=True).grad_x
        )
        nothing = call(loss, x, y, temperature=0.5, grad=True, grad_rows=np.zeros(25))
        assert not nothing.grad_x.any()
        assert not nothing.grad_y.any()
        assert nothing.grad_scale == 0
        single = np.zeros(25)
        single[3] = 1
        alone = call(loss, x, y, temperature=0.5, grad=True, grad_rows=single)
        if loss == "info_nce":
            assert not np.delete(alone.grad_x, 3, axis=0).any()
        assert alone.loss == got.loss


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
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_finite_differences(loss, normalize):
    x, y = sets(5, 5, 4, 6)
    x[1] *= 30  # lengths differ
    w = np.array([1.0, -0.5, 2.0, 0.25, 0.0])

    def value(a, b, scale):
        return w @ call(loss, a, b, logit_scale=scale, normalize=normalize).per_row

    got = call(loss, x, y, logit_scale=1.7, normalize=normalize, grad=True, grad_rows=w)
    np.testing.assert_allclose(
        got.grad_x, numerical_gradient(lambda a: value(a, y, 1.7), x), atol=2e-8
    )
    np.testing.assert_allclose(
        got.grad_y, numerical_gradient(lambda b: value(x, b, 1.7), y), atol=2e-8
    )
    slope = (value(x, y, 1.7 + 1e-5) - value(x, y, 1.7 - 1e-5)) / 2e-5
    assert got.grad_scale == pytest.approx(slope, abs=2e-8)


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("loss", LOSSES)
def test_checksums(loss, dtype, eps):
    x, y = sets(130, 130, 40, 7, dtype)
    w = np.random.default_rng(7).normal(size=130)
    scale = 0.3
    got = call(loss, x, y, logit_scale=scale, grad=True, grad_rows=w)
    along_x, along_y = (
        np.sum(a.astype(np.float64) * g) for a, g in ((x, got.grad_x), (y, got.grad_y))
    )
    # S depends on s·x and on s·y alone
    assert along_x == pytest.approx(scale * got.grad_scale, rel=10 * eps)
    assert along_y == pytest.approx(scale * got.grad_scale, rel=10 * eps)
    unit = call(loss, x, y, temperature=0.1, normalize=True, grad=True, grad_rows=w)
    for a, g in ((x, unit.grad_x), (y, unit.grad_y)):
        along = np.sum(a.astype(np.float64) * g, axis=1)
        np.testing.assert_allclose(along, 0, atol=eps * np.abs(a * g).max() * 10)


def test_rows_of_the_softmax_gradient_sum_to_zero():
    # ∂/∂S has zero row sums: with one constant feature in y, its gradient in x vanishes
    x, y = sets(40, 60, 5, 8)
    y[:, 2] = 3.0
    got = pt.info_nce(x, y, temperature=0.5, grad=True, targets=np.arange(40) + 20)
    np.testing.assert_allclose(got.grad_x[:, 2], 0, atol=1e-14)
    assert np.abs(got.grad_x).max() > 1e-3


# --- extremes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e6])
@pytest.mark.parametrize("loss", LOSSES)
def test_scores_of_any_size_neither_overflow_nor_vanish(loss, scale, dtype):
    x, y = sets(70, 70, 8, 9, dtype)
    got = call(loss, x, y, logit_scale=scale, grad=True)
    expected = brute(x.astype(np.float64), y.astype(np.float64), scale, loss)
    size = np.abs(scale * x @ y.T).max()
    eps = 1e-14 if dtype == "float64" else 4e-7
    for name in ("per_row", "lse_row", "lse_col", "grad_x", "grad_y", "grad_scale"):
        value = getattr(got, name)
        assert value is None or np.isfinite(value).all(), name
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=1e-6, atol=eps * (1 + size))
    np.testing.assert_allclose(got.lse_row, expected.lse_row, rtol=1e-6, atol=eps * (1 + size))
    if dtype == "float64":
        largest = np.abs(expected.grad_x).max()
        atol = 1e-14 * (1 + size) * largest
        np.testing.assert_allclose(got.grad_x, expected.grad_x, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
def test_small_losses_keep_their_digits(loss, dtype):
    # The positive leads by so much that lse − s_pos would round to 0.
    n = 40
    x = np.eye(n, dtype=dtype)
    for lead in (5.0, 12.0, 20.0, 30.0):
        got = call(loss, x, x, logit_scale=lead)
        # all scores are exact: lead on the diagonal and 0 elsewhere
        tail = np.log1p((n - 1) * np.exp(-lead))
        assert got.per_row == pytest.approx(np.full(n, tail), rel=2e-6, abs=3e-15), lead
        assert got.loss == pytest.approx(tail, rel=2e-6, abs=3e-15), lead
    far = call(loss, x, x, logit_scale=1e4, grad=True)
    assert far.loss == 0.0
    assert not far.grad_x.any()


def test_large_scores_cost_small_losses_no_digits():
    # Scores near 1000 with a lead of 3: in float64 the loss has all its digits but those of S.
    x = np.array([[1.0], [1.0], [1.0]])
    y = np.array([[1000.0], [997.0], [996.0]])
    got = pt.info_nce(x, y, logit_scale=1.0, targets=[0, 1, 2]).per_row
    first = np.log1p(np.exp(-3) + np.exp(-4))
    np.testing.assert_allclose(got, [first, first + 3, first + 4], rtol=1e-15)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("dtype", "eps"), [("float32", 2e-5), ("float64", 1e-12)])
def test_a_row_far_below_the_largest_score_of_its_tile(dtype, eps, swapped):
    """e^(score - largest) is 0 there, but the row's softmax is not."""
    x = np.array([0.0, *7 * [300.0]], dtype)[:, None]
    y = (1 + np.arange(8, dtype=dtype) / 1024)[:, None]
    x, y = (y, x) if swapped else (x, y)
    got = pt.clip_loss(x, y, logit_scale=1.0, grad=True)
    right = brute(x.astype(np.float64), y.astype(np.float64), 1.0, "clip_loss")
    np.testing.assert_allclose(got.per_row, right.per_row, rtol=eps)
    for mine, expected in ((got.grad_x, right.grad_x), (got.grad_y, right.grad_y)):
        np.testing.assert_allclose(mine, expected, rtol=eps, atol=eps * np.abs(expected).max())


def test_a_hopeless_row_has_the_loss_of_its_distance():
    got = pt.info_nce([[1.0]], [[-3000.0], [3000.0]], logit_scale=1.0, targets=[0], grad=True)
    assert got.per_row[0] == 6000.0
    np.testing.assert_allclose(got.grad_x, [[6000.0]])
    np.testing.assert_allclose(got.grad_y, [[-1.0], [1.0]])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_bad_row_is_never_a_good_loss(loss):
    # check_finite=False: a NaN must come out as NaN where it was used, not as a number
    x, y = sets(6, 6, 3, 10)
    y[2, 1] = np.nan
    got = call(loss, x, y, temperature=1.0, check_finite=False)
    assert np.isnan(got.per_row).all(), got.per_row
    assert np.isnan(got.lse_row).all(), got.lse_row
    assert np.isnan(got.loss)


def test_normalize_of_any_lengths():
    x, y = sets(20, 20, 6, 11)
    expected = pt.clip_loss(x, y, temperature=0.2, normalize=True, grad=True)
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y)]
    np.testing.assert_allclose(
        expected.per_row, pt.clip_loss(*unit, temperature=0.2).per_row, rtol=1e-12
    )
    lengths = 10.0 ** np.random.default_rng(11).integers(-150, 150, size=(20, 1))
    got = pt.clip_loss(x * lengths, y, temperature=0.2, normalize=True, grad=True)
    np.testing.assert_allclose(got.per_row, expected.per_row, rtol=1e-12)
    np.testing.assert_allclose(got.grad_x * lengths, expected.grad_x, rtol=1e-10, atol=1e-14)
    # a zero row stays zero: all its scores are equal, and it has no direction to move in
    x[4] = 0
    got = pt.clip_loss(x, y, temperature=0.2, normalize=True, grad=True)
    assert got.lse_row[4] == pytest.approx(np.log(20))
    assert not got.grad_x[4].any()
    assert np.isfinite(got.grad_y).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_dtype_and_layout(loss, dtype):
    rng = np.random.default_rng(12)
    x, y = (cast(2 * rng.normal(size=(33, 9)), dtype) for _ in range(2))
    wide = x.astype(np.float64), y.astype(np.float64)
    expected = brute(*wide, 0.1, loss)
    first = call(loss, x, y, logit_scale=0.1, grad=True)
    check(first, expected, 40, 1e-13 if dtype == "float64" else 1e-6)
    unit = call(loss, x, y, logit_scale=0.1, grad=True, normalize=True)
    for left, right in itertools.product(LAYOUTS.values(), repeat=2):
        got = call(loss, left(x), right(y), logit_scale=0.1, grad=True)
        for name in ("per_row", "grad_x", "grad_y"):
            np.testing.assert_array_equal(getattr(got, name), getattr(first, name))
        got = call(loss, left(x), right(y), logit_scale=0.1, grad=True, normalize=True)
        np.testing.assert_allclose(got.per_row, unit.per_row, rtol=1e-6)
        np.testing.assert_allclose(got.grad_x, unit.grad_x, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("narrow", ["x", "y"])
def test_mixed_dtypes_work_as_the_wider(narrow):
    x, y = sets(9, 9, 4, 13)
    rounded = (x if narrow == "x" else y).astype(np.float32)
    given = (rounded, y) if narrow == "x" else (x, rounded)
    got = pt.info_nce(*given, temperature=1.0, grad=True)
    assert got.grad_x.dtype == got.grad_y.dtype == np.float64
    expected = brute(*(z.astype(np.float64) for z in given), 1.0, "info_nce")
    check(got, expected, 10, 1e-13)


# --- the engine against its twin ----------------------------------------------------------------


@native
@given(
    n=ROWS,
    m=ROWS,
    d=FEATURES,
    loss=st.sampled_from(LOSSES),
    dtype=st.sampled_from(["float32", "float64"]),
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)]),
    seed=SEEDS,
)
def test_native_losses_are_the_twins(n, m, d, loss, dtype, tile, seed):
    if loss == "clip_loss":
        m = n
    rng = np.random.default_rng(seed)
    x, y = sets(n, m, d, seed, dtype)
    options: dict[str, Any] = {
        "logit_scale": float(10 ** rng.uniform(-2, 1)),
        "grad": True,
        "grad_rows": rng.normal(size=n),
        "normalize": bool(rng.integers(2)),
    }
    if loss == "info_nce":
        options["targets"] = rng.integers(m, size=n)
    with forced_tile(*tile):
        got, twin = native_and_twin(getattr(pt, loss), x, y, **options)
    expected = Expected(
        *(getattr(twin, name) for name in ("per_row", "lse_row", "lse_col", "grad_x", "grad_y")),
        twin.grad_scale,
    )
    size = options["logit_scale"] * np.abs(x.astype(np.float64) @ y.T).max()
    check(got, expected, size, 2e-13 if dtype == "float64" else 4e-6)


@native
def test_more_rows_than_one_block_of_anything():
    # several super-blocks of the backward sweep, in both directions
    x, y = sets(700, 900, 600, 14, np.float32)
    options = {"logit_scale": 0.05, "grad": True}
    got, twin = native_and_twin(pt.info_nce, x, y, **options)
    np.testing.assert_allclose(got.per_row, twin.per_row, atol=1e-5)
    for name in ("grad_x", "grad_y"):
        mine, right = getattr(got, name), getattr(twin, name)
        np.testing.assert_allclose(mine, right, rtol=0, atol=1e-5 * np.abs(right).max())
    with on_backend("native"):
        for workers in (1, 3):
            again = pt.info_nce(x, y, workers=workers, **options)
            np.testing.assert_array_equal(again.grad_x, got.grad_x)
            np.testing.assert_array_equal(again.grad_y, got.grad_y)
            assert again.grad_scale == got.grad_scale


@pytest.mark.parametrize("loss", [pt.info_nce, pt.clip_loss])
@pytest.mark.native
@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_scores_beyond_float32(loss, backend):
    with on_backend(backend):
        x = np.float32([[1e20, 0], [0, 1e20]])
        result = loss(x, x, temperature=1.0, grad=True)
        assert result.loss == 0
        assert result.grad_x.dtype == np.float32
        assert not result.grad_x.any()
        swapped = loss(x, x[::-1], temperature=1e10, grad=True)
        assert swapped.loss == pytest.approx(1e30)
        assert np.isfinite(swapped.grad_x).all()
        units = np.eye(3, dtype=np.float32)
        assert loss(units, units, logit_scale=1e100, normalize=True).loss == 0


LABELS = [0, 0, 1, 1, 2, 2]
FACTORS: dict[str, Any] = {
    "info_nce": lambda x, y, s: pt.info_nce(x, y, logit_scale=s, grad=True),
    "info_nce by row": lambda x, y, s: pt.info_nce(x, y, logit_scale=[s] * 6, grad=True),
    "clip_loss": lambda x, y, s: pt.clip_loss(x, y, logit_scale=s, grad=True),
    "siglip_loss": lambda x, y, s: pt.siglip_loss(x, y, logit_scale=s, grad=True),
    "supcon_loss": lambda x, _, s: pt.supcon_loss(x, LABELS, logit_scale=s, grad=True),
    "nt_xent_loss": lambda x, y, s: pt.nt_xent_loss(x, y, logit_scale=s, grad=True),
    "gist_loss": lambda x, y, s: pt.gist_loss(
        x, y, x_guide=np.eye(6), y_guide=np.eye(6), logit_scale=s, grad=True
    ),
    "alpha": lambda x, _, s: pt.multi_similarity_loss(x, LABELS, alpha=s, grad=True),
    "beta": lambda x, _, s: pt.multi_similarity_loss(x, LABELS, beta=s, grad=True),
    "circle_loss": lambda x, _, s: pt.circle_loss(x, LABELS, gamma=s, grad=True),
}


TO_THRESHOLDS = ("alpha", "beta", "circle_loss")  # of about 1: exponents are as large as factors


@pytest.mark.native
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *itertools.product(FACTORS, (1e-100, 1e-46, 1e-40)),
        *((name, 1e40) for name in FACTORS if name not in TO_THRESHOLDS),
    ],
)
def test_factors_beyond_float32(name, size):
    """Of rows in float32: what is made of both may be well within it."""
    x, y = (rows.astype(np.float32) for rows in sets(6, 6, 4, 21))
    if size > 1:
        x, y = (rows * np.float32(1e-20) for rows in (x, y))
    got = FACTORS[name](x, y, size)
    right = FACTORS[name](x.astype(np.float64), y.astype(np.float64), size)
    assert got.loss == pytest.approx(right.loss, rel=1e-6)
    np.testing.assert_allclose(got.per_row, right.per_row, rtol=1e-6)
    for field in ("grad_x", "grad_y", "grad_scale"):
        mine, expected = getattr(got, field, None), getattr(right, field, None)
        if expected is not None:  # rounded to float32 at the end
            least = 1e-44 if field != "grad_scale" else 0
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=least, err_msg=field)
