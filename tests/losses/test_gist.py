"""False negatives by a guide: what is near its limit, beside it, and beyond formulas.

`loss_cases` has the values and gradients, `test_conventions` the loss of sentence-transformers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import on_backend
from pairtile._definitions.metrics import METRICS, paired_cosine
from strategies import SEEDS

BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]
FIELDS = ("loss", "per_row", "lse_row", "lse_col", "grad_x", "grad_y", "grad_scale")


def sets(n: int, m: int, d: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d))


def used(result: pt.ContrastiveResult, x: Any) -> list[bool]:
    """Which rows of y are in the sum of the only row, by their gradients, which point along it."""
    return [bool(abs(row @ x[0]) > 1e-12) for row in result.grad_y]


def same(got: Any, right: Any) -> None:
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(got, field), getattr(right, field), err_msg=field)


# --- the limit ------------------------------------------------------------------------------------


@given(n=st.integers(1, 9), d=st.integers(1, 20), seed=SEEDS)
def test_distances_of_pairs_are_those_of_all_pairs(n, d, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-2, 3, size=(2, n, d)) * 10.0 ** rng.integers(-200, 200, size=(2, n, 1))
    right = np.diagonal(METRICS["cosine"].ordered(a, b))
    assert paired_cosine(a, b).tobytes() == right.tobytes()
    assert paired_cosine(b, a).tobytes() == right.tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_negative_at_the_limit_itself_stays(backend, dtype):
    """The guide's cosines are 1/2 of the positive, 1, 1/2, −1/2 and −1 of others: no rounding."""
    x, y = np.ones((1, 2)), np.column_stack([np.linspace(1.0, 1.4, 5), np.zeros(5)])
    of_x = np.array([[1, 0, 0, 0]], dtype=dtype)
    of_y = np.array([[1, 1, 1, 1], [3, 0, 0, 0], [1, -1, 1, -1], [-1, 1, 1, 1], [-2, 0, 0, 0]])
    apart = 0.5
    with on_backend(backend):
        for margin, stays in (
            (0.0, [True, False, True, True]),
            (-0.5, [True, True, True, True]),  # the distance 0 is not below 0
            (-0.25, [True, False, True, True]),
            (1.0, [True, False, False, True]),  # −1/2 is at the limit
            (np.nextafter(1.0, 2), [True, False, False, False]),
            (np.nextafter(apart, 0) - apart, [True, False, True, True]),
            (np.nextafter(apart, 1) - apart, [True, False, False, True]),
        ):
            got = pt.info_nce(
                x,
                y,
                x_guide=of_x,
                y_guide=of_y.astype(dtype),
                guide_margin=margin,
                temperature=1.0,
                grad=True,
            )
            assert used(got, x) == [*stays, True], margin
        for margin, stays in (
            (0.0, [True, False, True, True]),
            (-1.0, [True, True, True, True]),
            (-0.5, [True, False, True, True]),
            (2.0, [True, False, False, True]),
            (2.5, [True, False, False, False]),
        ):
            got = pt.info_nce(
                x, y, x_guide=of_x, y_guide=of_y.astype(dtype), guide_margin=margin,
                guide_margin_strategy="relative", temperature=1.0, grad=True,
            )  # fmt: skip
            assert used(got, x) == [*stays, True], margin


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_the_guide_takes_for_the_positive_stay_by_a_margin_of_0(backend):
    """Whatever bits their cosine has: equal rows, and rows along them, are equally far."""
    rng = np.random.default_rng(1)
    x, y = sets(40, 120, 6, 1)
    of_x = rng.normal(size=(40, 7))
    of_y = of_x + rng.normal(size=(40, 7))
    of_y = np.vstack([of_y, of_y, 2.0 ** rng.integers(-5, 5, size=(40, 1)) * of_y])
    options: dict[str, Any] = {"temperature": 1.0, "grad": True}
    with on_backend(backend):
        got = pt.info_nce(x, y, x_guide=of_x, y_guide=of_y, **options)
        alike = 1 - METRICS["cosine"].ordered(of_x, of_y)
        near = alike > np.diagonal(alike)[:, None] + 1e-9
        for i in range(40):
            rest = ~near[i]
            rest[[i, 40 + i, 80 + i]] = True
            right = np.log(np.exp(x[i] @ y[rest].T).sum())
            assert got.lse_row[i] == pytest.approx(right, rel=1e-12)
        less = pt.info_nce(x, y, x_guide=of_x, y_guide=of_y, guide_margin=1e-9, **options)
    # the copies leave the sums as soon as there is a margin
    assert (less.lse_row < got.lse_row).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns_leave_out_by_their_own_positive(backend):
    x, y = sets(6, 9, 4, 2)
    rng = np.random.default_rng(2)
    of_x, of_y = rng.normal(size=(6, 3)), rng.normal(size=(9, 3))
    with on_backend(backend):
        got = pt.clip_loss(
            x, y, target_offset=2, x_guide=of_x, y_guide=of_y, guide_margin=0.05, temperature=1.0
        )
    alike = 1 - METRICS["cosine"].ordered(of_x, of_y)
    scores = x @ y.T
    for j in range(9):
        rest = np.ones(6, dtype=bool)
        if 2 <= j < 8:
            rest = alike[:, j] <= alike[j - 2, j] - 0.05
            rest[j - 2] = True
        assert got.lse_col[j] == pytest.approx(np.log(np.exp(scores[rest, j]).sum()))
    # columns are rows of the other set
    turned = pt.info_nce(
        y[2:8], x, x_guide=of_y[2:8], y_guide=of_x, guide_margin=0.05, temperature=1.0
    )
    np.testing.assert_allclose(got.lse_col[2:8], turned.lse_row, rtol=1e-12)


# --- nothing left, nothing left out, nothing there ------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", [pt.info_nce, pt.clip_loss, pt.gist_loss])
def test_all_negatives_are_masked(backend, loss):
    """The positive stays: losses are 0, and so are gradients."""
    x, y = sets(12, 12, 5, 3)
    of_x, of_y = sets(12, 12, 3, 4)
    with on_backend(backend):
        got = loss(
            x, y, x_guide=of_x, y_guide=of_y, guide_margin=2.5, temperature=0.1, normalize=True,
            grad=True,
        )  # fmt: skip
    assert got.loss == 0
    for field in FIELDS[1:]:
        value = getattr(got, field)
        if value is not None and not field.startswith("lse"):
            np.testing.assert_allclose(value, 0, atol=1e-13)


@pytest.mark.parametrize("loss", [pt.info_nce, pt.clip_loss])
def test_a_guide_that_masks_nothing_is_none(loss):
    x, y = sets(12, 12, 5, 5)
    of_x, of_y = sets(12, 12, 3, 6)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    got = loss(x, y, x_guide=of_x, y_guide=of_y, guide_margin=-2.5, **options)
    same(got, loss(x, y, **options))


def test_gist_without_masks_is_one_set_of_candidates():
    """Two of the three sums are InfoNCE; a row's own is never among them."""
    x, y = sets(9, 14, 5, 7)
    of_x, of_y = sets(9, 14, 3, 8)
    options: dict[str, Any] = {"temperature": 0.5, "grad": True}
    guide: dict[str, Any] = {"x_guide": of_x, "y_guide": of_y, "guide_margin": -2.5}
    got = pt.gist_loss(x, y, contrast_positives=False, **guide, **options)
    kept = np.ones((9, 23))
    kept[np.arange(9), 14 + np.arange(9)] = 0
    scores = np.where(kept > 0, 2 * x @ np.vstack([y, x]).T, -np.inf)
    right = np.log(np.exp(scores).sum(axis=1)) - np.diagonal(scores)
    np.testing.assert_allclose(got.per_row, right, rtol=1e-12)
    got = pt.gist_loss(x, y, contrast_anchors=False, contrast_positives=False, **guide, **options)
    right = pt.info_nce(x, y, **options)
    for field in ("per_row", "lse_row", "grad_x", "grad_y", "grad_scale"):
        np.testing.assert_allclose(getattr(got, field), getattr(right, field), atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_row(backend):
    with on_backend(backend):
        for rows in (1, 3):
            x, y = sets(1, rows, 4, 9)
            of_x, of_y = sets(1, rows, 2, 10)
            guide = {"x_guide": of_x, "y_guide": of_y, "guide_margin": 0.1}
            for loss in (pt.info_nce, pt.gist_loss):
                got = loss(x, y, temperature=1.0, grad=True, **guide)
                assert np.isfinite(got.grad_x).all()
                assert rows > 1 or got.loss == 0
            if rows == 1:
                assert pt.clip_loss(x, y, temperature=1.0, **guide).loss == 0


def test_rows_of_zeros_are_as_far_from_all():
    """Their cosine is 0: of the positive, so that what is alike at all leaves the sum."""
    x, y = sets(1, 4, 3, 11)
    of_x = np.array([[1.0, 0.0]])
    of_y = np.array([[0.0, 0.0], [1.0, 9.0], [-1.0, 9.0], [0.0, 1.0]])
    got = pt.info_nce(x, y, x_guide=of_x, y_guide=of_y, temperature=1.0, grad=True)
    assert used(got, x) == [True, False, True, True]
    got = pt.info_nce(x, y, x_guide=0 * of_x, y_guide=of_y, temperature=1.0, grad=True)
    assert used(got, x) == [True] * 4


def test_rows_without_a_positive_leave_nothing_out():
    x, y = sets(3, 5, 4, 12)
    of_x, of_y = sets(3, 5, 2, 13)
    got = pt.info_nce(
        x, y, targets=[4, -1, 0], ignore_index=-1, x_guide=of_x, y_guide=of_y, temperature=1.0
    )
    assert got.per_row[1] == 0
    assert got.lse_row[1] == pytest.approx(np.log(np.exp(x[1] @ y.T).sum()))


# --- what does not matter ------------------------------------------------------------------------


@pytest.mark.native
def test_any_number_of_workers():
    x, y = (a.astype(np.float32) for a in sets(300, 470, 40, 14))
    of_x, of_y = sets(300, 470, 24, 15)
    of_y[:300] += of_x
    guide: dict[str, Any] = {"x_guide": of_x, "y_guide": of_y, "guide_margin": 0.3}
    options: dict[str, Any] = {"temperature": 0.1, "normalize": True, "grad": True, **guide}
    for loss in (pt.info_nce, pt.clip_loss, pt.gist_loss):
        first = loss(x, y, workers=1, **options)
        for workers in (2, 3):
            same(loss(x, y, workers=workers, **options), first)


def test_the_kind_of_the_guides_rows_does_not_matter():
    x, y = sets(20, 30, 5, 16)
    of_x, of_y = (np.round(8 * a) for a in sets(20, 30, 3, 17))
    options: dict[str, Any] = {"temperature": 1.0, "grad": True, "guide_margin": 0.1}
    right = pt.gist_loss(x, y, x_guide=of_x, y_guide=of_y, **options)
    for kind in ("float16", "float32", "int8", ">f8"):
        got = pt.gist_loss(
            x, y, x_guide=of_x.astype(kind), y_guide=np.asfortranarray(of_y), **options
        )
        same(got, right)
    same(pt.gist_loss(x, y, x_guide=of_x.tolist(), y_guide=of_y[::1], **options), right)


@pytest.mark.parametrize("narrow", ["x", "y"])
def test_rows_of_two_types_work_as_the_wider(narrow):
    """Also where rows of x meet rows of x, and of y those of y."""
    x, y = sets(20, 30, 5, 20)
    guides: dict[str, Any] = {"x_guide": x[:, :3], "y_guide": y[:, :3]}
    given = {"x": x, "y": y}
    given[narrow] = given[narrow].astype(np.float32)
    wide = {name: rows.astype(np.float64) for name, rows in given.items()}
    options: dict[str, Any] = {"temperature": 1.0, "grad": True, **guides}
    same(pt.gist_loss(**given, **options), pt.gist_loss(**wide, **options))


def test_a_guide_is_a_mask_by_hand():
    """The same pairs taken out by giving each row its own candidates."""
    x, y = sets(15, 25, 4, 18)
    of_x, of_y = sets(15, 25, 6, 19)
    got = pt.info_nce(x, y, x_guide=of_x, y_guide=of_y, guide_margin=0.2, temperature=1.0)
    alike = 1 - METRICS["cosine"].ordered(of_x, of_y)
    left = scipy.sparse.csr_array(alike > np.diagonal(alike)[:, None] - 0.2)
    assert 15 < left.nnz < 300
    for i in range(15):
        rest = [j for j in range(25) if j == i or not left[i, j]]
        one = pt.info_nce(x[i : i + 1], y[rest], targets=[rest.index(i)], temperature=1.0)
        assert got.per_row[i] == pytest.approx(one.loss, rel=1e-12)


def test_progress_counts_searches_and_sweeps():
    x, y = sets(30, 40, 4, 20)
    of_x, of_y = sets(30, 40, 3, 21)
    for loss, pairs in ((pt.info_nce, 2), (pt.clip_loss, 3)):
        told: list[tuple[int, int]] = []
        loss(
            x, y, x_guide=of_x, y_guide=of_y, temperature=1.0,
            progress=lambda done, total, told=told: told.append((done, total)),
        )  # fmt: skip
        assert told[-1] == (pairs * 1200, pairs * 1200)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
    told = []
    pt.gist_loss(
        x, y, x_guide=of_x, y_guide=of_y, temperature=1.0, grad=True,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1] == (9000, 9000)
