"""The tables beside the shared headers: every definition has a line, and its NumPy is right."""

import re
from pathlib import Path

import numpy as np
import pytest

import pairtile as pt
from calls import ALL_KERNELS
from metrics import METRICS, parameters

INCLUDE = Path(__file__).parents[2] / "cpp" / "include" / "pairtile"
CELL = re.compile(r"(?<!\\)\|")


def table(folder):
    """NumPy expressions of a folder's README by the name of their header."""
    found = {}
    for line in (INCLUDE / folder / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in CELL.split(line)][1:-1]
        if len(cells) > 3 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = cells[2].strip("`").replace("\\|", "|")
    return found


def value(expression, **names):
    with np.errstate(divide="ignore"):  # in the branch of a where that is not taken
        return eval(expression, {"np": np, **names})


@pytest.mark.parametrize("folder", ["metric", "kernel", "fold", "slice", "loss"])
def test_every_header_is_named(folder):
    text = (INCLUDE / folder / "README.md").read_text(encoding="utf-8")
    for header in (INCLUDE / folder).glob("*.hpp"):
        assert f"`{header.stem}`" in text or f"`{header.name}`" in text
    assert {path.stem for path in (INCLUDE / folder).glob("*.hpp")} >= table(folder).keys()


def test_metrics():
    rng = np.random.default_rng(0)
    d, metrics = 7, table("metric")
    assert metrics.keys() == {*METRICS, "hamming", "jaccard"}
    for _ in range(5):
        x, y = rng.normal(size=(2, d))
        for metric in METRICS:
            given = parameters(metric, d)
            names = dict(given or {})
            if metric == "gower":  # a feature that is only compared has no range
                names["ranges"] = np.where(given["categorical"], 0.0, given["ranges"])
            found = pt.pairwise_distances(x[None], y[None], metric=metric, metric_params=given)
            assert found == pytest.approx(value(metrics[metric], x=x, y=y, **names), rel=1e-12)
        x, y = rng.random((2, 8 * d)) < 0.5
        for metric in ("hamming", "jaccard"):
            found = pt.pairwise_distances(np.packbits(x)[None], np.packbits(y)[None], metric=metric)
            assert found == pytest.approx(value(metrics[metric], x=x, y=y), rel=1e-6)


def test_kernels():
    rng = np.random.default_rng(1)
    kernels, d = table("kernel"), 4
    for _ in range(5):
        x, y = rng.normal(size=(2, d))
        names = {"s": ((x - y) ** 2).sum(), "a": np.abs(x - y).sum(), "t": x @ y, "x": x, "y": y}
        seen = set()
        for _, part in ALL_KERNELS._parts():
            ((scale, name, p),) = part._terms(d, {})
            seen.add(name)
            expected = scale * value(kernels[name], p=p, **names)
            assert pt.kernel_sum(x[None], y[None], kernel=part) == pytest.approx(
                expected, rel=1e-11
            )
        assert seen == kernels.keys()


MERGE = {"product": np.multiply, "log_sum_exp": np.logaddexp, "max_ratio": np.maximum}


@pytest.mark.parametrize("name", table("fold"))
def test_folds(name):
    """A fold of all pairs is one of the folds of two halves."""
    v, w = np.random.default_rng(2).random((2, 50))

    def fold(rows):
        names = {"v": v[rows], "w": w[rows], "low": 0.2, "high": 0.4, "k": 3}
        return np.atleast_1d(value(table("fold")[name], **names))

    whole, first, second = np.arange(50), np.arange(25), np.arange(25, 50)
    if name == "top_k":
        best = np.r_[first[fold(first)], second[fold(second)]]
        assert (best[fold(best)] == fold(whole)).all()
    else:
        merged = MERGE.get(name, np.add)(fold(first), fold(second))
        np.testing.assert_allclose(merged, fold(whole), rtol=1e-14)


@pytest.mark.parametrize("name", table("loss"))
def test_losses(name):
    """Of the rows of one set, by the row that `loss` gives of each."""
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(9, 4)) / 2, np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    loss, q = {
        "circle": (lambda: pt.circle_loss(x, labels, margin=0.3, gamma=2.0), (0.3, 2.0)),
        "multi_similarity": (
            lambda: pt.multi_similarity_loss(x, labels, alpha=1.5, beta=3.0, base=0.4),
            (1.5, 3.0, 0.4),
        ),
    }[name]
    alike, products = labels[:, None] == labels, x @ x.T
    np.fill_diagonal(products, np.nan)
    for found, same, c in zip(loss().per_row, alike, products, strict=True):
        p, n = c[same & ~np.isnan(c)], c[~same]
        assert found == pytest.approx(value(table("loss")[name], p=p, n=n, q=q), rel=1e-12)


def test_slices():
    expressions = table("slice")
    delta = np.array([-2.0, -0.5, 3.0])
    cost, slope = value(expressions["cost"], delta=delta, p=3)
    above, _ = value(expressions["cost"], delta=delta + 1e-6, p=3)
    np.testing.assert_allclose((above - cost) / 1e-6, slope, rtol=1e-5)
    numbers = np.array([-np.inf, -2.0, -1e-300, 0.0, 1e-300, 2.0, np.inf])
    keys = value(expressions["key"], bits=numbers.view(np.uint64))
    assert (np.diff(keys.astype(object)) > 0).all()
