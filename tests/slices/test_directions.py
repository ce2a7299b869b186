"""Directions: how they are drawn, in sets of their own rotation, and how given ones are checked."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

import pairtile as pt
from pairtile.slices import directions

METHODS = ("gaussian", "orthogonal", "sobol", "spiral")


def of_numpy(dtype):
    return lambda a: (a.astype(dtype), a.astype(dtype).astype(np.float64))


def of_torch(a):
    import torch

    rounded = torch.tensor(a).to(torch.bfloat16)
    return rounded, rounded.double().numpy()


# an array as it is given, and its numbers
SIXTEEN_BITS = {
    "float16": of_numpy(np.float16),
    "bfloat16": of_numpy(ml_dtypes.bfloat16),
    "torch": of_torch,
}
KINDS = [pytest.param(k, marks=pytest.mark.oracle(k)) if k == "torch" else k for k in SIXTEEN_BITS]


def sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.4


@pytest.mark.parametrize("method", METHODS)
def test_each_direction_by_itself_is_uniform(method):
    # one coordinate of a uniform point of the sphere in R³ is uniform
    drawn = np.stack([pt.sphere_directions(3, 7, rng=k, method=method) for k in range(400)])
    for column in (0, 3, 6):
        for along in np.eye(3):
            found = stats.kstest(along @ drawn[:, :, column].T, stats.uniform(-1, 2).cdf)
            assert found.pvalue > 1e-4, (column, along)


@pytest.mark.parametrize("n", [1, 2, 3, 50, 5000])
def test_spiral(n):
    points = pt.sphere_directions(3, n, rng=0, method="spiral")
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), 1, rtol=1e-12)
    # every cap of the sphere has its share of them
    if n >= 50:
        rng = np.random.default_rng(1)
        for along in rng.normal(size=(20, 3)):
            heights = np.sort(along @ points / np.linalg.norm(along))
            shares = (np.arange(n) + 0.5) / n
            assert np.abs((heights + 1) / 2 - shares).max() < 2 / n**0.75
    with pytest.raises(ValueError, match="of d = 3, got d = 4"):
        pt.sphere_directions(4, n, method="spiral")


def test_spiral_is_rotated_as_a_whole():
    one, other = (pt.sphere_directions(3, 40, rng=k, method="spiral") for k in (0, 1))
    np.testing.assert_allclose(one.T @ one, other.T @ other, atol=1e-12)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_rotations", [1, 2, 4, 17])
def test_rotations_are_sets_drawn_one_after_the_other(method, n_rotations):
    x, y = sets(30, 20, 3)
    rng = np.random.default_rng(5)
    sizes = [len(part) for part in np.array_split(np.arange(17), n_rotations)]
    parts = [pt.sphere_directions(3, k, rng=rng, method=method) for k in sorted(sizes)]
    costs = [
        [pt.sliced_wasserstein(x, y, directions=one[:, None]) ** 2 for one in part.T]
        for part in parts
    ]
    got = pt.sliced_wasserstein(
        x,
        y,
        n_projections=17,
        method=method,
        n_rotations=n_rotations,
        rng=5,
        full=True,
        control=None,
    )
    every = np.concatenate(costs)
    assert sorted(map(len, costs)) == sorted(sizes)
    assert got.value == pytest.approx(math.sqrt(every.mean()), rel=1e-12)
    if n_rotations == 1:
        assert math.isnan(got.standard_error)
        return
    sums = np.array([np.sum(part - every.mean()) for part in costs])
    spread = n_rotations / (n_rotations - 1) * np.sum(sums**2)
    expected = math.sqrt(spread) / 17 / (2 * got.value)
    assert got.standard_error == pytest.approx(expected, rel=1e-9)


def test_strings_as_directions_are_deprecated():
    x, y = sets(20, 20, 3)
    for function in (pt.sliced_wasserstein, pt.sliced_energy):
        expected = function(x, y, method="orthogonal", rng=0)
        with pytest.warns(DeprecationWarning, match="pass method=.orthogonal.") as caught:
            assert function(x, y, directions="orthogonal", rng=0) == expected
        assert caught[0].filename == __file__


@pytest.mark.parametrize("function", [pt.sliced_wasserstein, pt.sliced_energy])
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("float64", 1e-10)])
def test_given_directions_have_length_1(function, dtype, near):
    x, y = sets(20, 20, 3)
    along = np.eye(3, dtype=dtype)
    plain = function(x, y, directions=along)
    within, beyond = along.copy(), along.copy()
    within[:, 1] *= 1 + 0.8 * near
    beyond[:, 1] *= 1 - 1.2 * near
    assert function(x, y, directions=within) == pytest.approx(plain, rel=2 * near)
    with pytest.raises(ValueError, match=r"column 1 .* normalize_directions=True"):
        function(x, y, directions=beyond)
    for scale in (1e-300, 1e-3, 1e3, 1e300):
        longer = along.astype(np.float64) * [scale, 1, -scale]
        with pytest.raises(ValueError, match="normalize_directions=True"):
            function(x, y, directions=longer)
        found = function(x, y, directions=longer, normalize_directions=True)
        assert found == pytest.approx(plain, rel=1e-12)
    longer[:, 2] = 0
    for normalize in (False, True):
        with pytest.raises(ValueError, match="column 2 of directions is zero"):
            function(x, y, directions=longer, normalize_directions=normalize)


@pytest.mark.parametrize("name", KINDS)
def test_directions_rounded_to_16_bits_are_those_of_length_1(name):
    x, y = sets(30, 30, 6)
    rounded, wide = SIXTEEN_BITS[name](pt.sphere_directions(6, 300, rng=6))
    lengths = np.linalg.norm(wide, axis=0)
    assert np.abs(lengths - 1).max() > 1e-4  # which float32 does not allow
    for function in (pt.sliced_wasserstein, pt.sliced_energy):
        found = function(x, y, directions=rounded)
        assert found == pytest.approx(function(x, y, directions=wide / lengths), rel=1e-12)
        with pytest.raises(ValueError, match="normalize_directions=True"):
            function(x, y, directions=rounded * 1.02)


@pytest.mark.parametrize("name", KINDS)
def test_points_of_a_sphere_in_16_bits(name):
    points = [pt.sphere_directions(4, 40, rng=k).T for k in (0, 1)]
    rounded, wide = zip(*map(SIXTEEN_BITS[name], points), strict=True)
    on_it = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in wide]
    found, expected = (pt.sliced_wasserstein_sphere(*a, rng=0) for a in (rounded, on_it))
    assert found == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="rows of length 1"):
        pt.sliced_wasserstein_sphere(rounded[0] * 1.02, rounded[1], rng=0)


@pytest.mark.parametrize("d", [2, 3, 4, 5, 7, 10])
def test_directions_of_the_default_are_spread_evenly(d):
    n = 2000
    along, starts = directions.chosen_directions(
        None, d, n, 0, method="auto", controlled=True, n_rotations=1
    )
    assert along.shape == (d, n)
    np.testing.assert_array_equal(starts, [0])
    np.testing.assert_allclose(np.linalg.norm(along, axis=0), 1, rtol=1e-12)
    # below what independent directions would leave, about 4 of these units at the most
    excess = along @ along.T / n - np.eye(d) / d
    assert np.abs(excess).max() < 1.2 / (d * math.sqrt(n))
