"""What single options of the contrastive losses mean, and what follows from one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import pairtile as pt
from loss_cases import CASES
from loss_oracle import wanted

GRADIENTS = ("grad_x", "grad_y", "grad_scale", "grad_bias", "grad_weights")
SCALED = [name for name, case in CASES.items() if case.scaled]
# Losses that depend on the differences of scores alone.
OF_DIFFERENCES = [
    name
    for name in SCALED
    if not CASES[name].least and CASES[name].loss != "siglip_loss" and "tau" not in name
]


def sets(n: int, m: int, d: int, seed: int, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)


def same(got: Any, right: Any, eps: float = 1e-12, but: tuple[str, ...] = ()) -> None:
    """All fields agree, but for some."""
    for field, value in vars(right).items():
        mine = getattr(got, field)
        if field in but:
            continue
        assert (mine is None) == (value is None), field
        if value is not None:
            bound = eps * max(1.0, np.abs(value).max())
            np.testing.assert_allclose(mine, value, rtol=eps, atol=bound, err_msg=field)


# --- extremes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 4e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("name", OF_DIFFERENCES)
def test_a_common_offset_of_the_scores(name, dtype, eps):
    """A constant feature adds 173², about 3·10⁴, to every score."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    m = case.rows_of_y(40, 7)
    x, y = (rng.integers(-4, 5, size=(rows, 9)) / 4 for rows in (40, m))
    options = case.options(rng, 40, 0 if case.y == "none" else m) | {"logit_scale": 1.0}
    right = case.wanted(x, y, **options)
    far = [np.hstack([z, np.full((len(z), 1), 173.0)]).astype(dtype) for z in (x, y)]
    got = case.call(far[0], None if case.y == "none" else far[1], grad=True, **options)
    atol = eps * 3e4
    np.testing.assert_allclose(got.per_row, right.per_row, rtol=0, atol=atol)
    bound = atol * right.terms["grad_x"].max()
    np.testing.assert_allclose(got.grad_x[:, :9], right.fields["grad_x"], rtol=0, atol=bound)


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 4e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("name", SCALED)
def test_a_temperature_of_a_hundredth(name, dtype, eps):
    case = CASES[name]
    rng = np.random.default_rng(1)
    m = case.rows_of_y(40, 7)
    x, y = (rng.normal(size=(rows, 9)).astype(dtype) for rows in (40, m))
    options = case.options(rng, 40, 0 if case.y == "none" else m)
    options |= {"temperature": 0.01, "normalize": True}
    y = None if case.y == "none" else y
    right = case.wanted(x, y, **options)
    got = case.call(x, y, grad=True, **options)
    atol = eps * (1 + right.size)
    np.testing.assert_allclose(got.per_row, right.per_row, rtol=eps, atol=atol)
    for field in ("grad_x", "grad_y", "grad_scale"):
        mine, expected = getattr(got, field), right.fields[field]
        if expected is not None:
            assert np.isfinite(mine).all()
            bound = atol * np.max(right.terms[field])
            np.testing.assert_allclose(mine, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_columns_far_from_0_cost_no_digits(dtype):
    x, y = sets(30, 50, 6, 2, dtype)
    logits = np.random.default_rng(2).normal(size=50)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    near = pt.info_nce(x, y, column_logits=logits, **options)
    far = pt.info_nce(x, y, column_logits=logits + 3e4, **options)
    np.testing.assert_allclose(far.per_row, near.per_row, rtol=1e-6)
    np.testing.assert_allclose(far.lse_row, near.lse_row + 3e4, rtol=1e-9)
    np.testing.assert_allclose(far.grad_x, near.grad_x, atol=1e-6)


def test_an_angular_margin_at_the_angle_0():
    """The slope there is that of no direction: all is finite."""
    x = np.eye(4)
    for dtype in ("float32", "float64"):
        got = pt.info_nce(
            x.astype(dtype), 3 * x.astype(dtype), temperature=0.1, normalize=True,
            angular_margin=0.5, grad=True,
        )  # fmt: skip
        right = np.log(1 + 3 * np.exp(-10 * np.cos(0.5)))
        np.testing.assert_allclose(got.per_row, right, rtol=1e-5)
        assert np.isfinite(got.grad_x).all()
        assert np.isfinite(got.grad_y).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["info_nce", "clip_loss", "supcon_loss"])
def test_rows_that_do_not_count_have_no_gradient_at_any_logit(loss, dtype):
    """0 times a weight that would be infinite, were it taken."""
    x, y = (z * np.asarray(1e16, dtype) for z in sets(20, 20, 3, 11, dtype))
    upstream = np.where(np.arange(20) == 5, 0.0, 1.0)
    second = np.arange(20) // 2 if loss == "supcon_loss" else y
    got = getattr(pt, loss)(x, second, logit_scale=1.0, grad=True, grad_rows=upstream)
    for field in ("grad_x", "grad_y", "grad_scale"):
        value = getattr(got, field)
        assert value is None or np.isfinite(value).all(), field
    if loss == "info_nce":
        assert not got.grad_x[5].any()


def single_positives(loss: str, n: int) -> dict[str, Any]:
    """Each way of saying that row i belongs with row i alone."""
    if loss == "info_nce of groups":
        return {"x_groups": np.arange(n), "y_groups": np.arange(n)}
    if loss == "info_nce of weights":
        return {"positive_weights": scipy.sparse.csr_array(np.eye(n))}
    return {"targets": np.arange(n)} if loss == "info_nce" else {}


@pytest.mark.parametrize("lead", [8.0, 14.0])
@pytest.mark.parametrize(
    "loss",
    ["info_nce", "info_nce of groups", "info_nce of weights", "clip_loss", "nt_xent_loss",
     "supcon_loss", "supcon_loss with a bank"],
)  # fmt: skip
def test_gradients_of_small_losses_keep_their_digits(loss, lead):
    """A single positive's weight, p - 1, is no difference of numbers near 1."""
    n = 40
    x = np.eye(n, dtype=np.float32)
    tail = (n - 1) * np.exp(-lead)
    if "supcon" in loss or loss == "nt_xent_loss":
        tail *= 2  # of the other rows' partners as well
    weight = lead * tail / (1 + tail) / n
    options: dict[str, Any] = {"logit_scale": lead, "grad": True}
    if loss == "supcon_loss":
        got = pt.supcon_loss(np.vstack([x, x]), np.tile(np.arange(n), 2), **options)
        own = got.grad_x[np.arange(n), np.arange(n)]
    elif loss == "supcon_loss with a bank":
        got = pt.supcon_loss(x, np.arange(n), bank=x, bank_labels=np.arange(n), **options)
        own = got.grad_y[np.arange(n), np.arange(n)]
    else:
        name = loss.split()[0]
        got = getattr(pt, name)(x, x, **single_positives(loss, n), **options)
        own = got.grad_y[np.arange(n), np.arange(n)]
    # of y's rows, each a positive of one row: all other terms point along other features
    np.testing.assert_allclose(own, -weight, rtol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_negative_at_the_margin_itself_stays(dtype):
    """Left out are false negatives with C above that of the positive and the margin: not equal."""
    x = np.array([[1.0, 0.0]], dtype)
    y = np.array([[0.5, 1.0], [0.5, -1.0], [0.75, 0.0], [0.875, 0.0]], dtype)
    options: dict[str, Any] = {"logit_scale": 1.0, "targets": [0], "grad": True}
    got = pt.info_nce(x, y, false_negative_margin=0.25, **options)
    right = pt.info_nce(x, y[:3], **options)
    assert got.per_row == pytest.approx(right.per_row, rel=1e-6)
    assert not got.grad_y[3].any()
    # of both directions
    got = pt.clip_loss(y[1::-1], y[:2], logit_scale=1.0, false_negative_margin=2.0)
    np.testing.assert_allclose(got.per_row, np.log(1 + np.exp(2)), rtol=1e-6)
    got = pt.clip_loss(y[1::-1], y[:2], logit_scale=1.0, false_negative_margin=1.75)
    np.testing.assert_array_equal(got.per_row, 0)


def test_debiasing_where_the_floor_is_above_all_logits():
    """Rows that are not divided by their lengths may lie below -1: no exponential overflows."""
    got = pt.info_nce(
        [[1.0]], [[-10.0], [-11.0], [-12.0]], targets=[0], logit_scale=100.0, tau_plus=0.1,
        grad=True,
    )  # fmt: skip
    assert got.per_row[0] == pytest.approx(900 + np.log(2))
    np.testing.assert_allclose(got.grad_x, [[1000.0]])
    np.testing.assert_allclose(got.grad_y, [[-100.0], [0.0], [0.0]])


def test_small_debiased_losses_keep_their_digits():
    x = np.eye(40)
    got = pt.info_nce(x, x, logit_scale=14.0, tau_plus=0.1)
    np.testing.assert_allclose(got.per_row, np.log1p(39 * np.exp(-28.0)), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_angular_margin_of_rows_along_one_another(dtype):
    """Cosines a rounding above 1 are no angles: all is finite."""
    x = np.random.default_rng(12).normal(size=(60, 7)).astype(dtype)
    got = pt.info_nce(x, 3 * x, temperature=0.1, normalize=True, angular_margin=0.5, grad=True)
    for field in ("per_row", "grad_x", "grad_y"):
        assert np.isfinite(getattr(got, field)).all(), field


# --- which rows count -----------------------------------------------------------------------------


def test_weights_of_rows():
    x, y = sets(20, 20, 5, 3)
    w = np.random.default_rng(3).random(20)
    for name in ("info_nce", "clip_loss", "siglip_loss", "nt_xent_loss"):
        loss = getattr(pt, name)
        weights = np.tile(w, 2) if name == "nt_xent_loss" else w
        options: dict[str, Any] = {"temperature": 0.7, "grad": True}
        even = loss(x, y, weights=np.full(len(weights), 3.0), **options)
        same(even, loss(x, y, **options), but=("grad_weights",))
        got = loss(x, y, weights=weights, **options)
        assert got.loss == pytest.approx(np.average(got.per_row, weights=weights))
        by_weight = (got.per_row - got.loss) / weights.sum()
        np.testing.assert_allclose(got.grad_weights, by_weight, rtol=1e-10)
        # a multiple of them is the same; huge ones too
        same(loss(x, y, weights=1e300 * weights, **options), got, but=("grad_weights",))
        # gradients of rows are theirs
        upstream = loss(x, y, grad_rows=weights / weights.sum(), **options)
        np.testing.assert_allclose(upstream.grad_x, got.grad_x, atol=1e-15)
        assert upstream.grad_weights is None
        assert loss(x, y, weights=weights, temperature=0.7).grad_weights is None


def test_a_row_of_weight_0_is_as_good_as_none():
    x, y = sets(9, 12, 4, 4)
    w = np.ones(9)
    w[[2, 5]] = 0
    rest = np.flatnonzero(w)
    options: dict[str, Any] = {"temperature": 1.0, "grad": True}
    got = pt.info_nce(x, y, weights=w, **options)
    without = pt.info_nce(x[rest], y, targets=rest, **options)
    assert got.loss == pytest.approx(without.loss)
    np.testing.assert_allclose(got.grad_x[rest], without.grad_x, atol=1e-15)
    np.testing.assert_allclose(got.grad_y, without.grad_y, atol=1e-15)
    assert not got.grad_x[[2, 5]].any()


def test_ignore_index():
    x, y = sets(9, 12, 4, 5)
    targets = np.array([3, -100, 2, 7, -100, 0, 11, 5, 5])
    rest = np.flatnonzero(targets >= 0)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    got = pt.info_nce(x, y, targets=targets, ignore_index=-100, **options)
    without = pt.info_nce(x[rest], y, targets=targets[rest], **options)
    assert got.loss == pytest.approx(without.loss)
    assert not got.per_row[targets < 0].any()
    np.testing.assert_allclose(got.lse_row[rest], without.lse_row)
    np.testing.assert_allclose(got.grad_y, without.grad_y, atol=1e-15)
    # a row of y may be the one that is not meant
    zero = pt.info_nce(x, y, targets=np.zeros(9, dtype=int), ignore_index=0, **options)
    assert zero.loss == 0


NOTHING_COUNTS = {
    "ignore_index": {"targets": np.full(6, -1), "ignore_index": -1},
    "ignore_index and smoothing": {
        "targets": np.full(6, -1), "ignore_index": -1, "label_smoothing": 0.3
    },
    "ignore_index and debiasing": {
        "targets": np.full(6, -1), "ignore_index": -1, "tau_plus": 0.3
    },
    "groups": {"x_groups": list("abcdef"), "y_groups": list("ghijklmn")},
    "groups and negatives": {
        "x_groups": list("abcdef"), "y_groups": list("ghijklmn"), "top_negatives": 2
    },
    "positive_weights": {"positive_weights": scipy.sparse.csr_array((6, 8))},
    "zeros stored": {
        "positive_weights": (np.arange(7), np.arange(6), np.zeros(6)), "top_negatives": 3
    },
    "weights of others": {
        "targets": [1, -1, -1, -1, -1, -1], "ignore_index": -1, "weights": np.eye(6)[3]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING_COUNTS)
def test_no_row_counts(name):
    """The loss is 0 and so are its gradients."""
    x, y = sets(6, 8, 3, 6)
    got = pt.info_nce(x, y, temperature=1.0, grad=True, **NOTHING_COUNTS[name])
    assert got.loss == 0
    if "weights of others" not in name:
        assert not got.per_row.any()
    for field in GRADIENTS:
        value = getattr(got, field)
        assert value is None or not np.any(value), field


def test_anchors_without_positives():
    x, _ = sets(8, 1, 4, 7)
    labels = [0, 1, 2, 0, 1, 3, 4, 0]  # 2, 3 and 4 have one row each
    alone = [2, 5, 6]
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    zero = pt.supcon_loss(x, labels, **options)
    drop = pt.supcon_loss(x, labels, no_positive="drop", **options)
    assert not zero.per_row[alone].any()
    assert zero.loss == pytest.approx(zero.per_row.sum() / 8)
    assert drop.loss == pytest.approx(zero.per_row.sum() / 5)
    np.testing.assert_allclose(drop.grad_x, zero.grad_x * 8 / 5, rtol=1e-12)
    np.testing.assert_array_equal(zero.lse_row, drop.lse_row)
    every = pt.supcon_loss(x, np.arange(8), no_positive="drop", **options)
    assert every.loss == 0
    assert not every.grad_x.any()


def test_one_class_only():
    x, _ = sets(7, 1, 4, 8)
    labels = ["a"] * 7
    got = pt.supcon_loss(x, labels, temperature=1.0, grad=True)
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    log_sums = np.log(np.exp(scores).sum(axis=1))
    np.fill_diagonal(scores, 0)
    np.testing.assert_allclose(got.per_row, log_sums - scores.sum(axis=1) / 6, rtol=1e-12)
    circle = pt.circle_loss(x, labels, grad=True)
    assert circle.loss == 0
    assert not circle.grad_x.any()
    multi = pt.multi_similarity_loss(x, labels, alpha=1.5, beta=9.0)
    far = np.exp(-1.5 * (x @ x.T - 0.5))
    np.fill_diagonal(far, 0)
    np.testing.assert_allclose(multi.per_row, np.log1p(far.sum(axis=1)) / 1.5, rtol=1e-12)
    assert pt.multi_similarity_loss(x, labels, mining=True).loss == 0


def test_different_classes_only():
    x, _ = sets(7, 1, 4, 9)
    labels = np.arange(7)
    assert pt.circle_loss(x, labels).loss == 0
    multi = pt.multi_similarity_loss(x, labels, alpha=1.5, beta=9.0)
    near = np.exp(9 * (x @ x.T - 0.5))
    np.fill_diagonal(near, 0)
    np.testing.assert_allclose(multi.per_row, np.log1p(near.sum(axis=1)) / 9, rtol=1e-12)
    assert pt.multi_similarity_loss(x, labels, mining=True).loss == 0
    assert pt.supcon_loss(x, labels, temperature=1.0).loss == 0


# --- positives ------------------------------------------------------------------------------------


def test_groups_may_be_integers_or_strings_of_both_sets_or_one():
    x, y = sets(9, 9, 4, 10)
    ids = np.array([5, -2, 7, 5, 5, 7, -2, 2**62, 2**62 + 1])  # apart in int64, not in float64
    options: dict[str, Any] = {"temperature": 1.0, "grad": True}
    for loss in (pt.info_nce, pt.siglip_loss):
        right = loss(x, y, x_groups=ids, y_groups=ids, **options)
        same(loss(x, y, x_groups=ids, **options), right, 0)
        same(loss(x, y, x_groups=[f"id {i}" for i in ids], **options), right, 0)
    alone = pt.info_nce(x, y, x_groups=np.arange(9), **options)
    same(alone, pt.info_nce(x, y, **options))
    alone = pt.siglip_loss(x, y, x_groups=np.arange(9), bias=-2.0, **options)
    same(alone, pt.siglip_loss(x, y, bias=-2.0, **options))


def test_positive_weights_are_groups_and_targets():
    x, y = sets(9, 12, 4, 11)
    rng = np.random.default_rng(11)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True, "margin": 0.2, "top_negatives": 4}
    of_x, of_y = rng.integers(4, size=9), rng.integers(5, size=12)
    matrix = scipy.sparse.csr_array(np.equal.outer(of_x, of_y).astype(float))
    right = pt.info_nce(x, y, x_groups=of_x, y_groups=of_y, **options)
    for given in (3 * matrix, matrix.tocsc(), scipy.sparse.coo_matrix(matrix), matrix.tolil()):
        same(pt.info_nce(x, y, positive_weights=given, **options), right)
    targets = rng.integers(12, size=9)
    single = (np.arange(10), targets, 5.0 * np.ones(9))
    same(
        pt.info_nce(x, y, positive_weights=single, **options),
        pt.info_nce(x, y, targets=targets, **options),
    )


def test_positive_weights_in_any_order_twice_and_zero():
    x, y = sets(3, 5, 4, 12)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    tidy = [0, 2, 3, 5], [1, 4, 0, 2, 3], [0.25, 0.75, 1.0, 0.5, 0.5]
    untidy = (
        np.array([0, 4, 5, 8]), np.array([4, 1, 4, 3, 0, 3, 2, 0]),
        np.array([2.0, 1.0, 1.0, 0.0, 7.0, 1e-30, 1e-30, 0.0]),
    )  # fmt: skip
    right = pt.info_nce(x, y, positive_weights=tuple(map(np.array, tidy)), **options)
    same(pt.info_nce(x, y, positive_weights=untidy, **options), right)
    scores = 2 * x @ y.T
    mean = [0.25 * scores[0, 1] + 0.75 * scores[0, 4], scores[1, 0], scores[2, 2:4].mean()]
    np.testing.assert_allclose(right.per_row, right.lse_row - mean, rtol=1e-12)


def test_a_label_width_of_0_is_equality():
    x, bank = sets(12, 8, 5, 13)
    labels, more = np.arange(12) % 4, np.arange(8) % 5
    options: dict[str, Any] = {"bank": bank, "temperature": 1.0, "grad": True}
    right = pt.supcon_loss(x, labels, bank_labels=more, **options)
    got = pt.supcon_loss(x, labels / 3, bank_labels=more / 3, label_width=0.0, **options)
    same(got, right, 0)
    # all are positives
    wide = pt.supcon_loss(x, labels, bank_labels=more, label_width=10, **options)
    same(wide, pt.supcon_loss(x, [0] * 12, bank_labels=[0] * 8, **options), 1e-13)


def test_the_width_of_labels_is_closed_and_in_float64():
    x, _ = sets(4, 1, 3, 14)
    labels = np.array([0.1, 0.2, 0.30000000000000004, 5.0])
    width = 0.2 - 0.1  # a little less than the other difference
    assert labels[2] - labels[1] > width
    got = pt.supcon_loss(x, labels, label_width=width, no_positive="drop", temperature=1.0)
    assert (got.per_row != 0).tolist() == [True, True, False, False]
    assert got.loss == pytest.approx(got.per_row[:2].mean())


def test_a_bank_is_rows_that_are_no_anchors():
    x, bank = sets(10, 14, 5, 15)
    labels, more = np.arange(10) % 3, np.arange(14) % 4
    together = np.vstack([x, bank]), np.concatenate([labels, more])
    upstream = np.arange(24) < 10
    options: dict[str, Any] = {"temperature": 0.5, "normalize": True, "grad": True}
    got = pt.supcon_loss(x, labels, bank=bank, bank_labels=more, grad_rows=np.ones(10), **options)
    right = pt.supcon_loss(*together, grad_rows=upstream, **options)
    np.testing.assert_allclose(got.per_row, right.per_row[:10], rtol=1e-12)
    np.testing.assert_allclose(got.grad_x, right.grad_x[:10], atol=1e-13)
    np.testing.assert_allclose(got.grad_y, right.grad_x[10:], atol=1e-13)
    assert got.grad_scale == pytest.approx(right.grad_scale)


def test_nt_xent_is_supcon_of_two_views():
    x, y = sets(9, 9, 5, 16)
    rng = np.random.default_rng(16)
    options: dict[str, Any] = {
        "temperature": 0.2 + rng.random(18), "normalize": True, "grad": True,
        "weights": rng.random(18),
    }  # fmt: skip
    got = pt.nt_xent_loss(x, y, **options)
    right = pt.supcon_loss(np.vstack([x, y]), np.tile(np.arange(9), 2), **options)
    same(got, right, but=("grad_x", "grad_y"))
    np.testing.assert_allclose(np.vstack([got.grad_x, got.grad_y]), right.grad_x, atol=1e-14)


# --- what is in the sums --------------------------------------------------------------------------


def test_top_negatives_of_all_are_all():
    x, y = sets(12, 20, 5, 17)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    right = pt.info_nce(x, y, **options)
    for q in (19, 20, 1000):
        same(pt.info_nce(x, y, top_negatives=q, **options), right)
    few = [pt.info_nce(x, y, top_negatives=q, temperature=0.5).per_row for q in (1, 2, 5, 19)]
    assert (np.diff(few, axis=0) >= 0).all()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("logits", [False, True])
def test_top_negatives_are_those_of_the_largest_scores(normalize, logits):
    x, y = sets(40, 60, 5, 18, np.float32)
    rng = np.random.default_rng(18)
    scale = 0.5 + rng.random(40)
    options: dict[str, Any] = {
        "logit_scale": scale, "normalize": normalize, "top_negatives": 6,
        "column_logits": rng.normal(size=60) if logits else None,
    }  # fmt: skip
    got = pt.info_nce(x, y, **options)
    right = wanted("info_nce", x, y, **options)
    assert right.gap > 1e-5
    np.testing.assert_allclose(got.lse_row, right.fields["lse_row"], rtol=1e-5)


def test_equal_negatives_are_taken_by_index():
    x = np.ones((1, 2))
    y = np.array([[1.0, 1.0], [2.0, 2.0], [0.0, 0.0], [3.0, 1.0], [1.0, 3.0]])
    got = pt.info_nce(x, y, top_negatives=2, temperature=1.0, grad=True)
    assert np.abs(got.grad_y).max(axis=1).astype(bool).tolist() == [True, True, False, True, False]


def test_a_false_negative_margin():
    x = np.array([[1.0, 0.0]])
    y = np.array([[1.0, 0.0], [1.25, 0.0], [1.0, 5.0], [0.5, 0.0]])
    for margin, left_out in ((0.125, [1]), (0.25, []), (-0.25, [1, 2]), (-0.75, [1, 2, 3])):
        rest = [j for j in range(4) if j not in left_out]
        got = pt.info_nce(x, y, false_negative_margin=margin, temperature=1.0, grad=True)
        right = pt.info_nce(x, y[rest], temperature=1.0, grad=True)
        assert got.loss == pytest.approx(right.loss)
        np.testing.assert_allclose(got.grad_y[rest], right.grad_y, atol=1e-15)
        assert not got.grad_y[left_out].any()


def test_options_that_do_nothing():
    x, y = sets(12, 20, 5, 19)
    right = pt.info_nce(x, y, temperature=0.5, grad=True)
    for option in (
        {"label_smoothing": 0.0}, {"tau_plus": 0.0}, {"margin": 0.0}, {"angular_margin": 0.0},
        {"column_logits": np.zeros(20)}, {"false_negative_margin": 1e9},
        {"weights": np.ones(12)}, {"ignore_index": -100, "targets": np.arange(12)},
    ):  # fmt: skip
        got = pt.info_nce(x, y, temperature=0.5, grad=True, **option)
        same(got, right, but=("grad_weights",))


def test_debiasing_with_one_column():
    """There are no negatives to correct."""
    for x in (0.5, -3000.0):
        got = pt.info_nce([[x]], [[1.0]], tau_plus=0.2, temperature=1.0, grad=True)
        assert got.loss == got.grad_scale == 0
        assert not got.grad_x.any()


# --- rectangles -----------------------------------------------------------------------------------


def test_directions_of_clip():
    x, y = sets(8, 13, 5, 20)
    options: dict[str, Any] = {
        "temperature": 0.5, "target_offset": 3, "grad": True, "label_smoothing": 0.1
    }  # fmt: skip
    rows = pt.clip_loss(x, y, direction="rows", **options)
    cols = pt.clip_loss(x, y, direction="columns", **options)
    both = pt.clip_loss(x, y, direction="both", **options)
    assert rows.lse_col is None
    assert cols.lse_row is None
    np.testing.assert_allclose(both.per_row, (rows.per_row + cols.per_row) / 2, rtol=1e-12)
    for field in GRADIENTS[:3]:
        halves = (getattr(rows, field) + getattr(cols, field)) / 2
        np.testing.assert_allclose(getattr(both, field), halves, atol=1e-14)
    # two ways to sum: one exponential for rows and columns, or one for columns alone
    np.testing.assert_allclose(both.lse_col, cols.lse_col, rtol=1e-15)
    options["targets"] = np.arange(8) + options.pop("target_offset")
    same(rows, pt.info_nce(x, y, **options))
    # columns are rows of the other set
    turned = pt.info_nce(y[3:11], x, temperature=0.5, label_smoothing=0.1)
    np.testing.assert_allclose(cols.per_row, turned.per_row, rtol=1e-12)


def test_rectangles_of_clip_make_the_square():
    """What three ranks compute of their own rows, in each direction, is the loss of all rows."""
    x, y = sets(12, 12, 5, 21)
    whole = pt.clip_loss(x, y, temperature=0.5, grad=True)
    grad_x, grad_y, losses = np.zeros(x.shape), np.zeros(y.shape), np.zeros(12)
    for start, stop in ((0, 3), (3, 8), (8, 12)):
        own = slice(start, stop)
        options: dict[str, Any] = {
            "temperature": 0.5, "target_offset": start, "direction": "rows",
            "grad": True, "grad_rows": np.full(stop - start, 1 / 24),
        }  # fmt: skip
        forth = pt.clip_loss(x[own], y, **options)
        back = pt.clip_loss(y[own], x, **options)
        losses[own] = (forth.per_row + back.per_row) / 2
        grad_x[own] += forth.grad_x
        grad_y += forth.grad_y
        grad_y[own] += back.grad_x
        grad_x += back.grad_y
    np.testing.assert_allclose(losses, whole.per_row, rtol=1e-12)
    np.testing.assert_allclose(grad_x, whole.grad_x, atol=1e-14)
    np.testing.assert_allclose(grad_y, whole.grad_y, atol=1e-14)


def test_rectangles_of_siglip_make_the_square():
    x, y = sets(12, 12, 5, 22)
    options: dict[str, Any] = {"temperature": 0.5, "bias": -1.0, "grad": True}
    whole = pt.siglip_loss(x, y, **options)
    parts = [
        pt.siglip_loss(x[a:b], y, target_offset=a, grad_rows=np.full(b - a, 1 / 12), **options)
        for a, b in ((0, 5), (5, 6), (6, 12))
    ]
    for field, join in (
        ("per_row", np.concatenate), ("grad_x", np.concatenate),
        ("grad_y", sum), ("grad_scale", sum), ("grad_bias", sum),
    ):  # fmt: skip
        found = join([getattr(part, field) for part in parts])
        np.testing.assert_allclose(found, getattr(whole, field), rtol=1e-12, atol=1e-14)


# --- scales ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCALED)
def test_one_temperature_for_each_row(name):
    case = CASES[name]
    rng = np.random.default_rng(23)
    m = case.rows_of_y(10, 4)
    x, y = sets(10, m, 5, 23)
    y = None if case.y == "none" else y
    options = case.options(rng, 10, 0 if y is None else m) | {"grad": True}
    one = case.call(x, y, temperature=0.5, **options)
    each = case.call(x, y, temperature=[0.5] * case.losses(10), **options)
    same(each, one, but=("grad_scale",))
    assert each.grad_scale.shape == (case.losses(10),)
    assert each.grad_scale.sum() == pytest.approx(one.grad_scale, abs=1e-14)
    temperatures = 0.3 + rng.random(case.losses(10))
    by_scale = case.call(x, y, logit_scale=1 / temperatures, **options)
    same(case.call(x, y, temperature=temperatures, **options), by_scale, 0)


def test_mining_drops_what_the_margin_only_touches():
    # the positive at 0.1 and the negative at 0 are exactly the margin apart
    x = np.array([[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]])
    got = pt.multi_similarity_loss(x, [0, 0, 1], mining=True, normalize=False, grad=True)
    assert got.loss == 0
    assert not got.grad_x.any()
