"""A softmax loss whose columns come in several blocks: states and gradients of each.

Merged and added over blocks they are what the loss of all columns has; and the engine's are those
of its twin. What is public of it is tested with `pairtile.torch.distributed`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import forced_tile, on_backend
from loss_cases import of_seam
from pairtile._backends import choose
from pairtile._backends import numpy as twin
from strategies import SEEDS

# what a call and its test read; other options as they are by default
PLAIN: dict[str, Any] = {
    "row_scales": None, "targets": None, "label_smoothing": 0.0, "rows": True, "cols": False,
    "normalize": False, "workers": 2,
}  # fmt: skip
OPTIONS = (
    "", "cols", "both", "labels", "smoothing", "both smoothing", "labels smoothing margin",
    "margin logits", "limits", "both limits smoothing", "cols limits", "angle", "scales",
    "both scales", "sparse", "sparse smoothing scales", "debiased", "debiased scales", "kept",
    "kept sparse", "kept labels scales", "masked", "both masked smoothing", "cols masked",
    "masked labels logits", "unit", "both unit masked",
)  # fmt: skip


def merged(one, other):
    """By the definition, of sums that are whole."""
    top = np.maximum(one[:, 0], other[:, 0])
    base = np.where(np.isinf(top), 0, top)
    sums = (s[:, 1] * np.exp(s[:, 0] - base) for s in (one, other))
    return np.column_stack([top, sum(sums), one[:, 2:] + other[:, 2:]])


def with_log_sums(states):
    """In place of a maximum, which may be any number near it, and the sum beside it."""
    if states.ndim == 1:
        return states
    with np.errstate(divide="ignore"):
        return np.column_stack([states[:, 0] + np.log(states[:, 1]), states[:, 2:]])


def sparse(matrix):
    """Row pointers, columns and values."""
    rows, columns = np.nonzero(matrix)
    counts = np.bincount(rows, minlength=len(matrix))
    values = matrix[rows, columns].astype(np.float64)
    return np.insert(np.cumsum(counts), 0, 0), columns.astype(np.int64), values


def dense(parts, kind):
    """The matrix of all blocks."""
    found = []
    for which, options in parts:
        indptr, columns, *values = options[kind]
        matrix = np.zeros((len(indptr) - 1, which.stop - which.start))
        rows = np.repeat(np.arange(len(matrix)), np.diff(indptr))
        matrix[rows, columns] = values[0] if values else 1.0
        found.append(matrix)
    return np.concatenate(found, axis=1)


def blocks_of(words, x, y, cuts, rng):
    """The blocks of y with their options."""
    n, m = len(x), len(y)
    common = {
        "rows": "cols" not in words,
        "cols": "cols" in words or "both" in words,
        "label_smoothing": 0.2 if "smoothing" in words else 0.0,
        "margin": 0.25 if "margin" in words else 0.0,
        "angular_margin": 0.5 if "angle" in words else 0.0,
        "tau_plus": 0.1 if "debiased" in words else 0.0,
        "normalize": "unit" in words,
    }
    by_row, by_col = {}, {}
    if "scales" in words:
        by_row["row_scales"] = 1 + rng.random(n)
    if "labels" in words:
        by_row["row_labels"] = rng.integers(1 + n // 3, size=n).astype(np.float64)
        by_col["col_labels"] = rng.integers(1 + n // 3, size=m).astype(np.float64)
    if "logits" in words:
        by_col["column_logits"] = rng.normal(size=m)
    if "limits" in words:
        by_row["row_limits"], by_col["col_limits"] = rng.normal(size=n), rng.normal(size=m)
    targets = rng.permutation(m)[:n]
    weights = rng.random((n, m)) * (rng.random((n, m)) < 3 / m)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    kept, masked = rng.random((n, m)) < 0.4, rng.random((2, n, m)) < 0.3
    for first, last in zip([0, *cuts], [*cuts, m], strict=True):
        own = np.where((targets >= first) & (targets < last), targets - first, -1)
        mine = {} if "labels" in words else {"targets": own.astype(np.int64)}
        if "sparse" in words:
            mine = {"positives": sparse(weights[:, first:last])}
        if "kept" in words:
            mine["kept"] = sparse(kept[:, first:last])[:2]
        if "masked" in words:
            for side, of_side in zip(("row", "col"), masked, strict=True):
                mine[f"{side}_masked"] = sparse(of_side[:, first:last])[:2]
        cols = {name: v[first:last] for name, v in by_col.items()}
        yield slice(first, last), {**PLAIN, **common, **by_row, **cols, **mine}


def rows_of(n, m, d, words, rng, dtype=np.float64):
    """On a lattice, on which products are exact and what they decide has no doubt."""
    x, y = (rng.integers(-4, 5, size=(k, d)) / 4 for k in (n, m))
    if "angle" in words:
        x, y = (rng.normal(size=(k, d)) for k in (n, m))
        x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    return x.astype(dtype), y.astype(dtype)


@pytest.mark.native
@given(
    n=st.sampled_from([1, 3, 14, 40]),
    more=st.sampled_from([0, 1, 33, 90]),
    d=st.integers(2, 17),
    words=st.sampled_from(OPTIONS),
    dtype=st.sampled_from([np.float32, np.float64]),
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32)]),
    seed=SEEDS,
)
def test_the_engine_agrees_with_its_twin(n, more, d, words, dtype, tile, seed):
    from pairtile import _native

    rng = np.random.default_rng(seed)
    m = n + more
    x, y = rows_of(n, m, d, words, rng, dtype)
    eps = 3e-6 if dtype == np.float32 else 1e-12
    for cols, options in blocks_of(words, x, y, [m // 3], rng):
        if cols.start == cols.stop:
            continue
        if words.startswith("debiased") and m < 2:
            continue  # no negative that the sum could be of
        with forced_tile(*tile):
            got = of_seam(_native.softmax_states, x, y[cols], 1.5, **options)
        right = of_seam(twin.softmax_states, x, y[cols], 1.5, **options)
        for mine, expected in zip(got, right, strict=True):
            assert (mine is None) == (expected is None)
            if expected is not None:
                mine, expected = (with_log_sums(states) for states in (mine, expected))
                np.testing.assert_allclose(mine, expected, rtol=eps, atol=20 * eps)
        # positives that are in another block
        elsewhere = right[0][:, 3] == 0
        right[0][elsewhere, 2:4] = np.column_stack([right[0][:, 0] - 1, np.ones(n)])[elsewhere]
        states = {
            "row_states": right[0], "row_weights": rng.normal(size=n),
            "col_states": right[1], "col_weights": None, "negatives": m - 1,
        }  # fmt: skip
        if options["cols"]:
            states["col_weights"] = rng.normal(size=len(right[1]))
            right[1][:, 2:4] = np.column_stack([right[1][:, 0] - 1, np.ones(len(right[1]))])
            own = np.flatnonzero(options["targets"] >= 0)
            right[1][options["targets"][own], 2:4] = right[0][own, 2:4]
        both = {}
        for name, module in (("native", _native), ("twin", twin)):
            with forced_tile(*tile):
                both[name] = of_seam(
                    module.softmax_gradients,
                    x,
                    y[cols],
                    1.5,
                    **options,
                    **states,
                    grad_x=True,
                    grad_y=True,
                )
        for mine, expected in zip(both["native"], both["twin"], strict=True):
            size = max(1.0, np.abs(expected).max(initial=0))
            np.testing.assert_allclose(mine, expected, rtol=0, atol=50 * eps * size)


def mutual(n, share, rng):
    """Options of rows among themselves, of which some leave out pairs that others keep."""
    masked = sparse(rng.random((n, n)) < share)[:2] if share else (None, None)
    return {
        **PLAIN, "targets": np.full(n, -1), "itself": True, "row_masked": masked,
    }  # fmt: skip


@pytest.mark.native
@given(
    n=st.one_of(st.integers(1, 20), st.sampled_from([33, 97, 150])),
    d=st.integers(1, 17),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    normalize=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    tile=st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)]),
    seed=SEEDS,
)
def test_rows_among_themselves(n, d, share, normalize, dtype, tile, seed):
    """Each pair once, for both its rows; against the twin, and its block of all pairs."""
    from pairtile import _native

    rng = np.random.default_rng(seed)
    x, _ = rows_of(n, 1, d, "", rng, dtype)
    eps = 3e-6 if dtype == np.float32 else 1e-12
    options = mutual(n, share, rng) | {"normalize": normalize}
    weights = rng.normal(size=n) * (rng.random(n) < 0.8)
    with forced_tile(*tile):
        got = of_seam(_native.softmax_states, x, x, 1.5, **options)
    right = of_seam(twin.softmax_states, x, x, 1.5, **options)
    for mine, expected in zip(got, right, strict=True):
        assert (mine is None) == (expected is None)
        if expected is not None:
            mine, expected = (with_log_sums(states) for states in (mine, expected))
            np.testing.assert_allclose(mine, expected, rtol=eps, atol=20 * eps)
    states = merged(right[0], np.tile([1.0, 2.0, 0.5, 1.0, 0.0, 0.0], (n, 1)))
    given = {
        "row_states": states, "row_weights": weights, "col_states": None, "col_weights": None,
    }  # fmt: skip
    for grad_x in (True, False):
        wanted = {"grad_x": grad_x, "grad_y": grad_x}
        with forced_tile(*tile):
            got = of_seam(_native.softmax_gradients, x, x, 1.5, **options, **given, **wanted)
        right = of_seam(twin.softmax_gradients, x, x, 1.5, **options, **given, **wanted)
        assert got[1] is right[1] is None
        assert (got[0] is None) == (right[0] is None) == (not grad_x)
        for mine, expected in ((got[0], right[0]), (got[2], right[2])):
            if expected is not None:
                size = max(1.0, np.abs(expected).max(initial=0))
                np.testing.assert_allclose(mine, expected, rtol=0, atol=50 * eps * size)
    # as a block like any other, which leaves out the rows themselves
    both = np.eye(n, dtype=bool)
    indptr, columns = options["row_masked"]
    if indptr is not None:
        both[np.repeat(np.arange(n), np.diff(indptr)), columns] = True
    whole = options | {"itself": False, "row_masked": sparse(both)[:2]}
    by_x, by_y, by_scale = of_seam(
        twin.softmax_gradients, x, x, 1.5, **whole, **given, grad_x=True, grad_y=True
    )
    expected = of_seam(
        twin.softmax_gradients, x, x, 1.5, **options, **given, grad_x=True, grad_y=True
    )
    np.testing.assert_allclose(by_x + by_y, expected[0], rtol=eps, atol=50 * eps)
    np.testing.assert_allclose(by_scale, expected[2], rtol=1e-9, atol=1e-12)


@pytest.mark.native
def test_what_rows_among_themselves_do_not_have():
    from pairtile import _native

    x = np.ones((4, 2))
    options = mutual(4, 0.5, np.random.default_rng(0))
    for more in (
        {"row_scales": np.ones(4)}, {"cols": True}, {"targets": None, "row_labels": np.ones(4)},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="rows among themselves"):
            of_seam(_native.softmax_states, x, x, 1.5, **options | more)
    with pytest.raises(ValueError, match="rows among themselves"):
        of_seam(_native.softmax_states, x, x[:3], 1.5, **mutual(4, 0.0, None))


@pytest.mark.parametrize(
    "words", [w for w in OPTIONS if not {"limits", "kept", "masked"} & {*w.split()}]
)
@pytest.mark.parametrize("backend", [pytest.param("native", marks=pytest.mark.native), "numpy"])
def test_blocks_add_up_to_the_whole(words, backend):
    """Three blocks, against one call of the public function with the same options."""
    rng = np.random.default_rng(4)
    n, m = (30, 30) if "cols" in words or "both" in words else (30, 47)
    x, y = rows_of(n, m, 7, words, rng)
    parts = list(blocks_of(words, x, y, [11, 12], rng))
    upstream = rng.normal(size=n)
    first = parts[0][1]
    both = first["rows"] and first["cols"]
    half = upstream / 2 if both else upstream
    with on_backend(backend):
        module = choose.module(x)
        rows, cols = np.tile([-np.inf, 0, 0, 0, 0, 0], (n, 1)), []
        for which, options in parts:
            found, of_cols, _ = of_seam(module.softmax_states, x, y[which], 1.5, **options)
            rows = merged(rows, found)
            cols.append(of_cols)
        targets = np.full(n, -1)
        for which, options in parts:
            if options["targets"] is not None:
                own = options["targets"]
                targets = np.where(own >= 0, own + which.start, targets)
        col_states = col_weights = None
        if first["cols"]:
            col_states, col_weights = np.concatenate(cols), np.zeros(m)
            col_states[targets, 2:4], col_weights[targets] = rows[:, 2:4], half
        grad_x, grad_y, grad_scale = np.zeros(x.shape), np.zeros(y.shape), 0.0
        scales = first["row_scales"]
        for which, options in parts:
            more = of_seam(
                module.softmax_gradients, x, y[which], 1.5, **options,
                row_states=rows, row_weights=half,
                col_states=None if col_states is None else col_states[which],
                col_weights=None if col_weights is None else col_weights[which],
                grad_x=True, grad_y=True, negatives=m - 1,
            )  # fmt: skip
            grad_x += more[0]
            grad_y[which] += more[1]
            grad_scale = grad_scale + more[2]
        given: dict[str, Any] = {
            "logit_scale": 1.5 if scales is None else scales, "grad_rows": upstream, "grad": True,
            "label_smoothing": first["label_smoothing"],
        }  # fmt: skip
        order = np.arange(n)
        if first["cols"]:
            given["direction"] = "both" if both else "columns"
            order = np.argsort(targets)  # clip_loss pairs row i with row i
            given["grad_rows"] = upstream[order]
            if scales is not None:
                given["logit_scale"] = scales[order]
                grad_scale = grad_scale[order]
            right = pt.clip_loss(x[order], y, **given)
            right_x = np.empty(x.shape)
            right_x[order] = right.grad_x
        else:
            labels, matrix = "labels" in words, None
            if "sparse" in words:
                matrix = sparse(dense(parts, "positives"))
            right = pt.info_nce(
                x, y, margin=first["margin"], angular_margin=first["angular_margin"],
                normalize="angle" in words or "unit" in words,
                x_groups=first["row_labels"].astype(int) if labels else None,
                y_groups=np.concatenate([p["col_labels"] for _, p in parts]).astype(int)
                if labels else None,
                column_logits=np.concatenate([p["column_logits"] for _, p in parts])
                if "logits" in words else None,
                targets=None if labels or matrix is not None else targets,
                positive_weights=matrix, tau_plus=first["tau_plus"], **given,
            )  # fmt: skip
            right_x = right.grad_x
    if first["rows"] and not first["tau_plus"]:  # whose sum lacks the positive
        lse = rows[:, 0] + np.log(rows[:, 1])
        np.testing.assert_allclose(lse[order], right.lse_row, atol=2e-12)
    if "angle" not in words:  # whose rows go through the normalisation there
        np.testing.assert_allclose(grad_x, right_x, atol=1e-11)
        np.testing.assert_allclose(grad_y, right.grad_y, atol=1e-11)
    np.testing.assert_allclose(grad_scale, right.grad_scale, rtol=1e-10, atol=1e-12)
