"""What a type checker sees of a call: mypy reads this file strictly, and its calls are made, too.

A comment that ignores an error which is none is an error itself: calls that must be refused are.
"""

from typing import Any, assert_type

import numpy as np
import pytest

import pairtile as pt

X, Y = np.random.default_rng(0).normal(size=(2, 12, 3))


def test_statistics_are_numbers() -> None:
    numbers: list[float] = [
        assert_type(pt.mmd(X, Y), float),
        assert_type(pt.mmd(X, Y, estimator="linear", squared=False), float),
        assert_type(pt.energy_distance(X, Y), float),
        assert_type(pt.sliced_wasserstein(X, Y, rng=0), float),
        assert_type(pt.sliced_energy(X, Y, rng=0), float),
        assert_type(pt.hsic(X, Y), float),
        assert_type(pt.cka(X, Y, x_kernel="rbf"), float),
        assert_type(pt.kernel_stein_discrepancy(X, Y), float),
        assert_type(pt.distance_correlation(X, Y), float),
        assert_type(pt.alignment(X, Y), float),
        assert_type(pt.uniformity(X), float),
        assert_type(pt.median_distance(X), float),
        assert_type(pt.cauchy_schwarz_divergence(X, Y), float),
        assert_type(pt.kernel_sum(X, kernel="cosine"), float),
    ]
    assert all(isinstance(number, float) for number in numbers)


def test_a_result_is_what_was_asked_for() -> None:
    results = [
        assert_type(pt.mmd(X, Y, return_gradient=True), pt.MMDGradient),
        assert_type(pt.energy_distance(X, Y, return_gradient=True), pt.MMDGradient),
        assert_type(pt.sliced_wasserstein(X, Y, full=True), pt.SlicedResult),
        assert_type(pt.sliced_wasserstein(X, Y, return_gradient=True), pt.SlicedResult),
        assert_type(pt.sliced_energy(X, Y, full=True, return_gradient=True), pt.SlicedResult),
        assert_type(pt.hsic(X, Y, return_gradient=True), pt.DependenceGradient),
        assert_type(pt.kernel_stein_discrepancy(X, Y, return_gradient=True), pt.SteinGradient),
    ]
    assert all(isinstance(result, tuple) for result in results)


def either(wanted: bool) -> list[object]:
    """Where a checker cannot know which it is."""
    return [
        assert_type(pt.mmd(X, Y, return_gradient=wanted), float | pt.MMDGradient),
        assert_type(pt.energy_distance(X, Y, return_gradient=wanted), float | pt.MMDGradient),
        assert_type(pt.sliced_wasserstein(X, Y, full=wanted), float | pt.SlicedResult),
        assert_type(pt.sliced_energy(X, Y, return_gradient=wanted), float | pt.SlicedResult),
    ]


@pytest.mark.parametrize("wanted", [False, True])
def test_a_switch_that_is_decided_later(wanted: bool) -> None:
    assert all(isinstance(found, float) != wanted for found in either(wanted))


def test_words_are_checked() -> None:
    wrong: list[Any] = [
        lambda: pt.knn(X, k=2, metric="euclid"),  # type: ignore[arg-type]
        lambda: pt.knn(X, k=2, precision="double"),  # type: ignore[arg-type]
        lambda: pt.realism(X, Y, metric="l3"),  # type: ignore[arg-type]
        lambda: pt.witness(X, X, Y, kernel="normal"),  # type: ignore[arg-type]
        lambda: pt.mmd(X, Y, kernel="laplacian"),  # type: ignore[call-overload]
        lambda: pt.mmd(X, Y, estimator="u"),  # type: ignore[call-overload]
        lambda: pt.energy_distance(X, Y, estimator="linear"),  # type: ignore[call-overload]
        lambda: pt.mmd_test(X, Y, method="bootstrap"),  # type: ignore[arg-type]
        lambda: pt.energy_test(X, Y, estimator="block"),  # type: ignore[arg-type]
        lambda: pt.sliced_test(X, Y, statistic="mean"),  # type: ignore[arg-type]
        lambda: pt.mmd_aggregated_test(X, Y, kernels=["cosine"]),  # type: ignore[list-item]
        lambda: pt.independence_test(X, Y, statistic="dcov"),  # type: ignore[arg-type]
        lambda: pt.distance_covariance(X, Y, estimator="u"),  # type: ignore[arg-type]
        lambda: pt.hsic(X, Y, y_kernel="rbfs"),  # type: ignore[call-overload]
        lambda: pt.stein_test(X, Y, kernel="rbfs"),  # type: ignore[arg-type]
        lambda: pt.sphere_directions(3, 4, method="random"),  # type: ignore[arg-type]
        lambda: pt.NeighborIndex(X, metric="l3"),  # type: ignore[arg-type]
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"unknown|laplacian"):
            call()


def test_keywords_are_checked() -> None:
    with pytest.raises(TypeError, match="here it is workers"):
        pt.knn(X, k=2, n_jobs=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="here it is k"):
        pt.NeighborIndex(X).knn(X, n_neighbors=2)  # type: ignore[call-arg]
