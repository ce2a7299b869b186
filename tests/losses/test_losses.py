"""What holds for every contrastive loss and option: `loss_cases` against formulas and PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, native_and_twin, on_backend
from loss_cases import CASES
from loss_oracle import Wanted
from strategies import SEEDS

if TYPE_CHECKING:
    from loss_cases import Case

native = pytest.mark.native
every_case = pytest.mark.parametrize("name", CASES)

# Around the blocks: 4 to 14 rows by 4 to 32 columns forward, chunks of lcm(rows, cols) backward.
ROWS = st.one_of(st.integers(1, 17), st.sampled_from([31, 33, 63, 65, 97]))
MORE = st.one_of(st.integers(0, 9), st.sampled_from([31, 65, 97]))
FEATURES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 33, 64]))
FIELDS = (
    "lse_row", "lse_col", "grad_x", "grad_y", "grad_scale", "grad_bias", "grad_weights"
)  # fmt: skip


def sets(case: Case, n: int, more: int, d: int, seed: int, dtype: Any = np.float64) -> Any:
    """x and y on a lattice, on which products are exact and what they decide has no doubt."""
    rng = np.random.default_rng(seed)
    m = case.rows_of_y(n, more)
    x, y = (rng.integers(-4, 5, size=(rows, d)) / 4 for rows in (n, m))
    options = case.options(rng, n, 0 if case.y == "none" else m)
    return x.astype(dtype), None if case.y == "none" else y.astype(dtype), options


def check(got: pt.ContrastiveResult, right: Wanted, eps: float, grad: bool = True) -> None:
    atol = eps * (1 + right.size)
    assert got.per_row.dtype == np.float64
    np.testing.assert_allclose(got.per_row, right.per_row, rtol=eps, atol=atol)
    assert isinstance(got.loss, float)
    assert got.loss == pytest.approx(right.loss, rel=eps, abs=atol)
    for name in FIELDS:
        mine, expected = getattr(got, name), right.fields.get(name)
        if expected is None or (not grad and not name.startswith("lse")):
            assert mine is None, name
        elif name.startswith("lse"):
            assert mine.dtype == np.float64
            np.testing.assert_allclose(mine, expected, rtol=eps, atol=atol, err_msg=name)
        else:
            assert np.shape(mine) == np.shape(expected)
            bound = atol * np.max(right.terms[name]) + 1e-300
            np.testing.assert_allclose(mine, expected, rtol=0, atol=bound, err_msg=name)


def common(rng: np.random.Generator, case: Case, n: int, d: int, kind: str) -> dict[str, Any]:
    """Scale, weights and upstream of n rows."""
    rows = case.losses(n)
    options: dict[str, Any] = {}
    if case.scaled:
        options["logit_scale"] = 2.0 / np.sqrt(d)
        if kind == "by row":
            options["logit_scale"] = options["logit_scale"] * (0.5 + rng.random(rows))
    if kind == "weights":
        options["weights"] = 10.0 ** rng.integers(-3, 3) * rng.random(rows)
        options["weights"][rng.integers(rows)] = 1.0
    if kind == "upstream":
        options["grad_rows"] = rng.normal(size=rows)
    return options


KINDS = ("mean", "weights", "upstream", "by row")
EPS = {"float32": 4e-6, "float64": 1e-12}


@every_case
@given(
    n=ROWS, more=MORE, d=FEATURES, dtype=st.sampled_from(list(EPS)), kind=st.sampled_from(KINDS),
    normalize=st.booleans(), seed=SEEDS,
)  # fmt: skip
def test_values_and_gradients_are_their_formulas(name, n, more, d, dtype, kind, normalize, seed):
    case = CASES[name]
    x, y, options = sets(case, n, more, d, seed, dtype)
    options |= common(np.random.default_rng(seed), case, n, d, kind) | {"normalize": normalize}
    right = case.wanted(x, y, **options)
    assume(right.gap > 1e-4)
    got = case.call(x, y, grad=True, **options)
    assert got.grad_x.dtype == np.dtype(dtype)
    check(got, right, EPS[dtype])
    options.pop("grad_rows", None)
    without = case.call(x, y, **options)
    np.testing.assert_array_equal(without.per_row, got.per_row)
    check(without, right, EPS[dtype], grad=False)


@native
@every_case
@given(
    n=ROWS, more=MORE, d=FEATURES, dtype=st.sampled_from(list(EPS)), kind=st.sampled_from(KINDS),
    normalize=st.booleans(), tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)]), seed=SEEDS,
)  # fmt: skip
def test_the_engine_is_its_twin(name, n, more, d, dtype, kind, normalize, tile, seed):
    case = CASES[name]
    x, y, options = sets(case, n, more, d, seed, dtype)
    options |= common(np.random.default_rng(seed), case, n, d, kind) | {"normalize": normalize}
    right = case.wanted(x, y, **options)
    assume(right.gap > 1e-4)
    with forced_tile(*tile):
        got, twin = native_and_twin(case.call, x, y, grad=True, **options)
    fields = {field: getattr(twin, field) for field in FIELDS}
    check(got, Wanted(twin.loss, twin.per_row, fields, right.terms, right.size), EPS[dtype])


@native
@every_case
def test_several_blocks_of_anything_and_any_number_of_workers(name):
    case = CASES[name]
    x, y, options = sets(case, 300, 200, 130, 5, np.float32)
    options |= common(np.random.default_rng(5), case, 300, 130, "weights")
    right = case.wanted(x, y, **options)
    with on_backend("native"):
        got = case.call(x, y, grad=True, workers=1, **options)
        check(got, right, EPS["float32"])
        for workers in (2, 3):
            again = case.call(x, y, grad=True, workers=workers, **options)
            for field in ("loss", "per_row", *FIELDS):
                np.testing.assert_array_equal(getattr(again, field), getattr(got, field))


@native
@pytest.mark.parametrize("name", ["info_nce targets", "clip_loss", "siglip_loss groups"])
def test_more_blocks_of_rows_than_16_bits_number(name):
    """70,000 rows of a feature each, in blocks of one."""
    case = CASES[name]
    rng = np.random.default_rng(9)
    n, m = 70_000, 3
    x, y = rng.normal(size=(n, 1)), rng.normal(size=(m, 1))
    options: dict[str, Any] = {"logit_scale": 0.7}
    if name == "clip_loss":  # many blocks of columns
        x, y = y, x
        options["target_offset"] = 69_000
    elif name == "siglip_loss groups":
        options |= {"x_groups": np.arange(n) % 4, "y_groups": np.arange(m)}
    else:
        options["targets"] = rng.integers(m, size=n)
    with forced_tile(1, 1):
        got, twin = native_and_twin(case.call, x, y, grad=True, **options)
    fields = {field: getattr(twin, field) for field in FIELDS}
    terms = dict.fromkeys(FIELDS, 1.0)
    check(got, Wanted(twin.loss, twin.per_row, fields, terms, 10.0), 1e-12)


@every_case
def test_one_row(name):
    """Nothing to tell it apart from, and no division by what there is none of."""
    case = CASES[name]
    for seed in range(4):
        x, y, options = sets(case, 1, 1 + seed % 2, 3, seed)
        options |= common(np.random.default_rng(seed), case, 1, 3, "mean")
        got = case.call(x, y, grad=True, **options)
        check(got, case.wanted(x, y, **options), 1e-12)
        for field in ("loss", "per_row", "grad_x", "grad_y", "grad_scale"):
            value = getattr(got, field)
            assert value is None or np.isfinite(value).all(), field


@every_case
def test_zero_rows_that_are_normalized(name):
    """They stay zero and have no direction to move in: all is finite, and their gradients are 0."""
    case = CASES[name]
    x, y, options = sets(case, 9, 3, 4, 3)
    zeros = [2, 5]
    x[zeros] = 0
    if y is not None:
        y[0] = 0
    options |= common(np.random.default_rng(3), case, 9, 4, "mean") | {"normalize": True}
    got = case.call(x, y, grad=True, **options)
    assert not got.grad_x[zeros].any()
    assert got.grad_y is None or not got.grad_y[0].any()
    for field in ("loss", "per_row", "grad_x", "grad_y", "grad_scale"):
        value = getattr(got, field)
        assert value is None or np.isfinite(value).all(), field


def difference(f: Any, a: Any, step: float = 1e-5) -> Any:
    """Derivative of f by each number of a, from values on either side."""
    out = np.empty(np.shape(a))
    for index in np.ndindex(out.shape):
        moved = np.array(a, dtype=np.float64)
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        out[index] = (above - f(moved)) / (2 * step)
    return out


@every_case
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_differences(name, normalize, kind):
    case = CASES[name]
    rng = np.random.default_rng(6)
    x, y, options = sets(case, 6, 4, 3, 11)
    x, y = (None if z is None else z + 0.05 * rng.normal(size=z.shape) for z in (x, y))
    x[1] *= 3  # lengths differ
    options |= common(rng, case, 6, 3, kind) | {"normalize": normalize}
    assert case.wanted(x, y, **options).gap > 2e-4
    got = case.call(x, y, grad=True, **options)
    upstream = options.pop("grad_rows", None)

    def value(a, b, **changed):
        result = case.call(a, b, **options | changed)
        return result.loss if upstream is None else upstream @ result.per_row

    if case.loss != "circle_loss":  # whose weights of pairs are constants for the gradient
        by_x = difference(lambda a: value(a, y), x)
        np.testing.assert_allclose(got.grad_x, by_x, atol=1e-8 * (1 + np.abs(by_x).max()))
    if y is not None:
        by_y = difference(lambda b: value(x, b), y)
        np.testing.assert_allclose(got.grad_y, by_y, atol=1e-8 * (1 + np.abs(by_y).max()))
    if case.scaled:
        by_s = difference(lambda s: value(x, y, logit_scale=s), options["logit_scale"])
        np.testing.assert_allclose(got.grad_scale, by_s, atol=1e-8)
        assert np.shape(got.grad_scale) == np.shape(options["logit_scale"])
    if case.loss == "siglip_loss":
        by_bias = difference(lambda b: value(x, y, bias=b), options["bias"])
        np.testing.assert_allclose(got.grad_bias, by_bias, atol=1e-8)
    if kind == "weights":
        by_w = difference(lambda w: value(x, y, weights=w), options["weights"], 1e-6)
        np.testing.assert_allclose(got.grad_weights, by_w, atol=1e-7 * (1 + np.abs(by_w).max()))
    else:
        assert got.grad_weights is None


def moves_with(a: Any, gradient: Any) -> float:
    """⟨a, ∂a⟩: the derivative by the logarithm of the length of all rows."""
    return float(np.sum(np.asarray(a, dtype=np.float64) * gradient))


# S depends on s φ alone where nothing but a product makes it.
HOMOGENEOUS = [
    name
    for name, case in CASES.items()
    if case.scaled and not any(word in name for word in ("margin", "tau", "of groups", "logits"))
]


@pytest.mark.parametrize("name", HOMOGENEOUS)
@given(n=ROWS, more=MORE, d=FEATURES, dtype=st.sampled_from(list(EPS)), seed=SEEDS)
def test_checksums_of_the_scale(name, n, more, d, dtype, seed):
    """⟨x, ∂x⟩ = ⟨y, ∂y⟩ = ∂/∂log s of two sets; of one set, the sum of both is twice that."""
    case = CASES[name]
    x, y, options = sets(case, n, more, d, seed, dtype)
    options |= common(np.random.default_rng(seed), case, n, d, "upstream")
    right = case.wanted(x, y, **options)
    assume(right.gap > 1e-4)
    got = case.call(x, y, grad=True, **options)
    scale = options["logit_scale"]
    along = scale * got.grad_scale
    bound = EPS[dtype] * (1 + right.size) * (scale * right.terms["grad_scale"] + 1e-300)
    along_x = moves_with(x, got.grad_x)
    along_y = 0.0 if y is None else moves_with(y, got.grad_y)
    if case.loss in ("supcon_loss", "nt_xent_loss", "gist_loss"):
        assert along_x + along_y == pytest.approx(2 * along, abs=2 * bound)
    else:
        assert along_x == pytest.approx(along, abs=bound)
        assert along_y == pytest.approx(along, abs=bound)


@every_case
@given(n=ROWS, more=MORE, d=FEATURES, dtype=st.sampled_from(list(EPS)), seed=SEEDS)
def test_normalized_rows_have_gradients_across_them(name, n, more, d, dtype, seed):
    case = CASES[name]
    x, y, options = sets(case, n, more, d, seed, dtype)
    options |= common(np.random.default_rng(seed), case, n, d, "upstream") | {"normalize": True}
    right = case.wanted(x, y, **options)
    assume(right.gap > 1e-4)
    got = case.call(x, y, grad=True, **options)
    for rows, field in ((x, "grad_x"), (y, "grad_y")):
        if rows is not None:
            along = np.sum(rows.astype(np.float64) * getattr(got, field), axis=1)
            terms = np.abs(rows) * right.terms[field]
            bound = EPS[dtype] * (1 + right.size) * terms.sum(axis=1).max() + 1e-300
            np.testing.assert_allclose(along, 0, atol=bound)


@every_case
@given(n=ROWS, more=MORE, d=st.integers(2, 17), seed=SEEDS)
def test_rotations_change_nothing(name, n, more, d, seed):
    case = CASES[name]
    x, y, options = sets(case, n, more, d, seed)
    rng = np.random.default_rng(seed)
    options |= common(rng, case, n, d, "weights")
    right = case.wanted(x, y, **options)
    # products that were exact no more are, and may be decided otherwise where they are equal
    assume(right.gap > 1e-4 and not ("top_negatives" in name and right.gap == np.inf))
    if "top_negatives" in name and "logits" not in name:
        x = x + 0.01 * rng.normal(size=x.shape)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    before = case.call(x, y, grad=True, **options)
    after = case.call(x @ rotation, None if y is None else y @ rotation, grad=True, **options)
    atol = 1e-12 * (1 + right.size)
    np.testing.assert_allclose(after.per_row, before.per_row, rtol=1e-11, atol=atol)
    np.testing.assert_allclose(
        after.grad_x, before.grad_x @ rotation, atol=atol * (right.terms["grad_x"].max() + 1e-300)
    )


BAD = [("x", name) for name in CASES] + [
    ("y", name)
    for name, case in CASES.items()
    # where there is a y, of which each row counts: a NaN is no neighbour, nor anybody's positive
    if case.y != "none"
    and "columns" not in name
    and not any(option in name for option in ("top_negatives", "guide", "gist"))
]


@pytest.mark.parametrize(("bad", "name"), BAD)
def test_a_bad_row_is_never_a_good_loss(name, bad):
    """check_finite=False: a NaN must come out as NaN where it was used, not as a number."""
    case = CASES[name]
    x, y, options = sets(case, 8, 3, 4, 8)
    options |= common(np.random.default_rng(8), case, 8, 4, "mean")
    if "labels" in options:
        options["labels"] = np.arange(8) // 4
    if "x_groups" in options:
        options["x_groups"], options["y_groups"] = ["a"] * 8, ["a"] * len(y)
    some = case.wanted(x, y, **options).per_row != 0
    (x if bad == "x" else y)[2, 1] = np.nan
    found = np.isnan(case.call(x, y, check_finite=False, **options).per_row)
    alone = case.loss in ("info_nce", "siglip_loss") or "rows" in name
    if bad == "x" and (alone or "guide" in name or case.loss == "gist_loss"):
        assert some[2]
        assert found[2]
    else:
        assert found[some].all()
