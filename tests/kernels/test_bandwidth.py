"""Bandwidth rules by name, against the formulas of the tools they are named after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

import pairtile as pt
from pairtile.kernels.bandwidth import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def alibi_median(z: Floats) -> float:
    """`sigma_median` of alibi-detect's PyTorch kernels, for x = y."""
    distances = np.sort(squareform(pdist(z, "sqeuclidean")).ravel())
    n = len(z)
    return float(np.sqrt(0.5 * distances[n + (distances.size - n) // 2 - 1]))


def alibi_mean(z: Floats) -> float:
    """`sigma_mean` of alibi-detect's KeOps kernels, for x = y."""
    return float(np.sqrt(0.5 * 2 * pdist(z, "sqeuclidean").sum() / (len(z) * (len(z) - 1))))


def torchdrift_median(z: Floats) -> float:
    """torch.median, the lower one, of the full matrix."""
    distances = np.sort(squareform(pdist(z)).ravel())
    return float(distances[(distances.size - 1) // 2])


FORMULAS: dict[str, Callable[[Floats], float]] = {
    "median": lambda z: float(np.median(pdist(z))),
    "median:alibi": alibi_median,
    "mean:alibi": alibi_mean,
    "median:torchdrift": torchdrift_median,
    "scale:sklearn": lambda z: float(1 / np.sqrt(2 / (z.shape[1] * z.var()))),
    "auto:sklearn": lambda z: float(1 / np.sqrt(2 / z.shape[1])),
}


def test_every_rule_has_a_formula():
    assert set(FORMULAS) == set(RULES)
    assert all(f'"{rule}"' in (pt.median_distance.__doc__ or "") for rule in RULES)


@pytest.mark.parametrize(("n", "m"), [(2, 1), (2, 2), (4, 3), (31, 20), (32, 20)])
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_its_formula_on_the_pooled_sample(rule, n, m):
    rng = np.random.default_rng(n)
    x, y = 3 + rng.normal(size=(n, 4)), rng.normal(size=(m, 4)) * np.arange(1, 5)
    sigma = FORMULAS[rule](np.vstack([x, y]))
    for kernel, explicit in (
        (pt.Gaussian(rule), pt.Gaussian(sigma)),
        (pt.Laplace(rule), pt.Laplace(sigma)),
        (pt.RationalQuadratic(rule), pt.RationalQuadratic(sigma)),
        (pt.InverseMultiquadric(c=rule), pt.InverseMultiquadric(c=sigma)),
        (0.5 * pt.Matern(rule) + pt.Gaussian(rule), 0.5 * pt.Matern(sigma) + pt.Gaussian(sigma)),
    ):
        got = pt.kernel_sum(x, y, kernel=kernel)
        np.testing.assert_allclose(got, pt.kernel_sum(x, y, kernel=explicit), rtol=1e-12)


@pytest.mark.oracle("torch")
def test_the_functions_of_the_tools_themselves():
    import torch
    from sklearn.svm import SVC

    z = np.random.default_rng(0).normal(size=(40, 3))
    median = float(torch.cdist(torch.tensor(z), torch.tensor(z)).median())
    np.testing.assert_allclose(torchdrift_median(z), median)
    machine = SVC(gamma="scale").fit(z, np.arange(40) % 2)
    np.testing.assert_allclose(1 / np.sqrt(2 * machine._gamma), FORMULAS["scale:sklearn"](z))


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"auto:sklearn"}))
def test_rows_that_coincide_have_no_bandwidth(rule):
    with pytest.raises(ValueError, match="set sigma= to a positive number") as raised:
        pt.mmd(np.full((4, 2), 0.1), np.full((5, 2), 0.1), kernel=pt.Gaussian(rule))
    assert rule in str(raised.value)


def test_rules_that_are_refused():
    def refused(words: list[str], call: Callable[[], Any]) -> None:
        with pytest.raises(ValueError) as raised:
            call()
        assert all(word in str(raised.value) for word in words)

    refused(["sigma", "'mean'", "median:alibi"], lambda: pt.Gaussian("mean"))
    refused(["sigma", "median:alibi"], lambda: pt.Laplace("median:alibi", norm="l1"))
    refused(["median:alibi"], lambda: pt.Gaussian("median:alibi")([[0.0]], [[1.0]]))
