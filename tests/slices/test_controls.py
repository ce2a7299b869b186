"""Control variates: exact where they must be, unbiased, their errors, their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from backends import native_and_twin
from pairtile._backends import choose
from pairtile.slices import controls, directions
from pairtile.slices.moments import ColumnMoments
from strategies import SEEDS

KINDS = ("moments", "harmonics")
METHODS = ("auto", "gaussian", "orthogonal", "sobol")


def sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    bent = np.linspace(0.5, 1.5, d)
    return rng.normal(size=(n, d)) * bent, 1.3 * rng.normal(size=(m, d)) + 0.4 * bent[::-1]


def line_costs(x: Any, y: Any, along: Any) -> Any:
    """W_2² on each line, of samples of equal size."""
    return np.mean((np.sort(x @ along, axis=0) - np.sort(y @ along, axis=0)) ** 2, axis=0)


def mean_over_sphere(x: Any, y: Any) -> float:
    """The mean of the cost over many directions, of samples of equal size."""
    d = x.shape[1]
    if d == 2:
        angles = np.arange(100_000) * np.pi / 100_000
        return float(line_costs(x, y, np.stack([np.cos(angles), np.sin(angles)])).mean())
    rng = np.random.default_rng(1000)
    total, parts = 0.0, 40
    for _ in range(parts):
        along = np.concatenate(
            [np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(2000 // d)], axis=1
        )
        total += line_costs(x, y, along).mean()
    return total / parts


def quadratic(along: Any, seed: int) -> Any:
    """A quadratic form of each direction, and its mean over the sphere."""
    form = np.random.default_rng(seed).normal(size=(len(along), len(along)))
    return np.einsum("ij,ik,kj->j", along, form, along), np.trace(form) / len(along)


# --- what controls make exact -------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("d", [1, 2, 3, 6, 12])
def test_harmonics_give_even_functions_their_means(d, method):
    along, _ = directions.chosen_directions(None, d, 400, 0, method=method, controlled=True)
    fit = controls.harmonic_controls(along)
    assert fit.weights.sum() == pytest.approx(1, abs=1e-12)
    found, mean = quadratic(along, 1)
    assert fit.weights @ found == pytest.approx(mean, abs=1e-10)
    degree = controls.harmonic_degree(d, 400)
    assert degree == {1: 2, 2: 40, 3: 6, 6: 2, 12: 2}[d]
    # (θ·v)^k has the mean Γ(d/2) Γ((k+1)/2) / (Γ(1/2) Γ((d+k)/2)) for a unit vector v
    unit = np.ones(d) / math.sqrt(d)
    logs = [math.lgamma(d / 2), math.lgamma((degree + 1) / 2), -math.lgamma(0.5)]
    expected = math.exp(sum(logs) - math.lgamma((d + degree) / 2))
    assert fit.weights @ (unit @ along) ** degree == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("d", "n", "functions"), [(3, 2000, 65), (6, 2000, 20), (2, 2000, 88)])
def test_number_of_harmonics(d, n, functions):
    assert controls.harmonic_functions(d, n) == functions
    along = pt.sphere_directions(d, n, rng=0)
    assert controls.harmonic_controls(along).basis.shape == (n, functions)


@pytest.mark.parametrize(("d", "n"), [(3, 3), (6, 15), (100, 60), (40, 1)])
def test_more_harmonics_than_directions(d, n):
    along = pt.sphere_directions(d, n, rng=0)
    fit = controls.harmonic_controls(along)
    assert fit.weights.sum() == pytest.approx(1, abs=1e-12)
    x, y = sets(30, 30, d)
    got = pt.sliced_wasserstein(
        x, y, method="gaussian", control="harmonics", n_projections=n, rng=0, full=True
    )
    # they fit whatever the costs are, and a mean of theirs says nothing
    assert got.control is None
    assert got.value == pytest.approx(math.sqrt(line_costs(x, y, along).mean()))


@given(seed=SEEDS, d=st.integers(2, 5), n=st.integers(3, 60))
def test_harmonic_weights_do_not_see_the_frame(seed, d, n):
    along = pt.sphere_directions(d, n, rng=seed)
    turned = pt.sphere_directions(d, d, rng=seed, method="orthogonal") @ along
    one, other = (controls.harmonic_controls(a).weights for a in (along, turned))
    np.testing.assert_allclose(one, other, atol=1e-6 * np.abs(one).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("control", ["auto", "moments"])
def test_location_and_scale_are_exact_under_moments(control, dtype):
    # y is x, moved and stretched: a cost is (θ·Δm)² + (s − 1)² θᵀΣθ up to the terms of Δm
    x, _ = sets(60, 1, 15)
    y = 1.7 * x + np.linspace(-1, 1, 15)
    shift = np.mean(y, axis=0) - np.mean(x, axis=0)
    exact = (shift @ shift + 0.7**2 * np.sum(np.var(x, axis=0))) / 15
    got = pt.sliced_wasserstein(
        x.astype(dtype), y.astype(dtype), method="gaussian", control=control, n_projections=40,
        rng=0, full=True,
    )  # fmt: skip
    rel = 1e-11 if dtype == "float64" else 1e-4
    assert got.control == "moments"
    assert got.value == pytest.approx(math.sqrt(exact), rel=rel)
    assert got.standard_error < rel * got.value
    plain = pt.sliced_wasserstein(x, y, method="gaussian", control=None, n_projections=40, rng=0)
    assert abs(plain - math.sqrt(exact)) > 0.01 * plain


@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1.0, 1e30, 1e140])
@pytest.mark.parametrize("control", KINDS)
def test_any_place_and_scale(control, scale):
    x, y = sets(40, 30, 4)
    options = {"method": "gaussian", "control": control, "n_projections": 60, "rng": 0}
    expected = pt.sliced_wasserstein(x, y, return_gradient=True, **options)
    got = pt.sliced_wasserstein(scale * x + 3 * scale, scale * y + 3 * scale,
                                return_gradient=True, **options)  # fmt: skip
    assert got.value == pytest.approx(scale * expected.value, rel=1e-9)
    assert got.standard_error == pytest.approx(scale * expected.standard_error, rel=1e-7)
    np.testing.assert_allclose(got.grad_x, expected.grad_x, rtol=1e-6, atol=1e-10)
    if scale in (1e-30, 1e30):
        narrow = pt.sliced_wasserstein(
            (scale * x).astype(np.float32), (scale * y).astype(np.float32), **options
        )
        assert narrow == pytest.approx(scale * expected.value, rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_are_counted_from_near_their_mean(dtype, weighted):
    x, _ = sets(50_000, 1, 6)
    x[0] = 3e4  # the row from which they are counted first
    x = (x + np.arange(6)).astype(dtype)
    weights = np.random.default_rng(0).random(50_000) + 0.5 if weighted else None
    weights = None if weights is None else weights / weights.sum()
    exact = x.astype(np.float64)
    mean = np.average(exact, axis=0, weights=weights)
    trace = np.average(np.sum((exact - mean) ** 2, axis=1), weights=weights)
    for unit in (1.0, 4.0):
        found = controls.columns_of(ColumnMoments(x, weights, workers=2), unit)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-11, atol=1e-11)
        assert found.trace * unit**2 == pytest.approx(trace, rel=1e-11)


# --- degenerate controls ------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["auto", *KINDS])
@pytest.mark.parametrize("d", [1, 2, 3, 6, 12])
def test_the_distance_of_a_sample_to_itself_is_0(control, d):
    x, _ = sets(30, 1, d)
    got = pt.sliced_wasserstein(x, x[::-1], control=control, rng=0, return_gradient=True)
    assert got.value == 0
    assert got.standard_error in (0, pytest.approx(math.nan, nan_ok=True))
    np.testing.assert_array_equal(got.grad_x, 0)
    np.testing.assert_array_equal(got.grad_y, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_controls_that_do_not_vary_or_go_together_do_no_harm(dtype):
    # the corners of a cube: θᵀΣθ is the same for all θ; and x and y have the same covariance
    corners = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T.astype(dtype)
    moved = (corners + 0.5).astype(dtype)
    for x, y, exact in (
        (corners, moved, 0.25 * 4 / 4),
        (corners, 3 * corners, 4 * 4 / 4),
        (corners, -corners, 0.0),
    ):
        got = pt.sliced_wasserstein(
            x, y, method="gaussian", control="moments", n_projections=50, rng=0, full=True
        )
        assert got.value**2 == pytest.approx(exact, rel=1e-5, abs=1e-10)
        assert got.standard_error <= 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variances_that_vary_by_rounding_are_no_controls(dtype):
    # a cube and a cross have the same variance in all directions, and costs that vary
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    cross = math.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
    x, y = (s.astype(dtype) for s in (corners, cross))
    options = {"method": "gaussian", "n_projections": 50, "rng": 0, "full": True}
    plain = pt.sliced_wasserstein(x, y, control=None, **options)
    got = pt.sliced_wasserstein(x, y, control="moments", **options)
    assert plain.standard_error > 0.01 * plain.value
    assert got.value == pytest.approx(plain.value, rel=1e-6)
    assert got.standard_error == pytest.approx(plain.standard_error, rel=0.1)


@pytest.mark.parametrize(("d", "n"), [(20, 100), (20, 20), (6, 12), (6, 60)])
def test_bases_give_harmonics_of_degree_2_their_means_already(d, n):
    x, y = sets(30, 30, d)
    options = {"method": "orthogonal", "n_projections": n, "rng": 0}
    plain = pt.sliced_wasserstein(x, y, control=None, **options)
    for control in KINDS:
        got = pt.sliced_wasserstein(x, y, control=control, **options)
        assert got == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("control", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_directions(control, n):
    x, y = sets(20, 25, 3)
    got = pt.sliced_wasserstein(
        x, y, method="gaussian", control=control, n_projections=n, rng=0, return_gradient=True
    )
    assert got.value >= 0
    assert np.isfinite(got.grad_x).all()
    assert math.isnan(got.standard_error) or got.standard_error >= 0
    assert got.control is None or n > 3


def test_bases_have_no_harmonics_of_degree_2():
    """Their products with themselves leave eigenvalues that are rounding and no functions."""
    x, y = sets(50, 60, 3)
    for count in (3, 6, 33):
        options = {"method": "orthogonal", "n_projections": count, "rng": 0}
        plain = pt.sliced_wasserstein(x, y, control=None, **options)
        assert pt.sliced_wasserstein(x, y, control="harmonics", **options) == pytest.approx(plain)


def test_a_mean_that_is_no_distance_is_not_taken():
    """With few directions harmonics can make it negative; then it is the plain one."""
    x, y = np.zeros((2, 3)), np.zeros((2, 3))
    x[1, 0] = y[1, 1] = 1.0
    left = 0
    for seed in range(60):
        options = {"method": "gaussian", "n_projections": 7, "rng": seed}
        got = pt.sliced_wasserstein(x, y, control="harmonics", return_gradient=True, **options)
        assert got.value > 0
        if got.control is None:
            plain = pt.sliced_wasserstein(x, y, control=None, return_gradient=True, **options)
            assert got.value == plain.value
            assert got.standard_error == plain.standard_error
            np.testing.assert_array_equal(got.grad_x, plain.grad_x)
            left += 1
    assert 0 < left < 20


# --- how good they are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "control", "d", "n"),
    [
        ("auto", "auto", 2, 64),
        ("auto", "auto", 3, 64),
        ("auto", "auto", 5, 128),
        ("auto", "auto", 12, 40),
        ("auto", None, 4, 64),
        ("gaussian", "moments", 5, 64),
        ("gaussian", "harmonics", 3, 64),
        ("orthogonal", "harmonics", 3, 63),
        ("sobol", "harmonics", 4, 128),
    ],
)
def test_controlled_means_are_unbiased_and_their_errors_cover(method, control, d, n):
    check_unbiased_and_covered(method, control, d, n, runs=80)


@pytest.mark.hand
@pytest.mark.parametrize("method", ["auto", "gaussian", "orthogonal"])
@pytest.mark.parametrize("control", ["auto", None, *KINDS])
@pytest.mark.parametrize("d", [2, 3, 4, 6, 10, 12, 30])
@pytest.mark.parametrize("n", [128, 512])
def test_a_thousand_controlled_means(method, control, d, n):
    check_unbiased_and_covered(method, control, d, n, runs=1000)


def check_unbiased_and_covered(method, control, d, n, runs):
    x, y = sets(25, 25, d, 3)
    exact = mean_over_sphere(x, y)
    rotations = 6 if method == "sobol" else None
    found = [
        pt.sliced_wasserstein(
            x, y, method=method, control=control, n_projections=n, n_rotations=rotations, rng=seed,
            full=True,
        )
        for seed in range(runs)
    ]  # fmt: skip
    squares = np.array([got.value**2 for got in found])
    errors = np.array([2 * got.value * got.standard_error for got in found])
    spread = squares.std(ddof=1)
    assert abs(squares.mean() - exact) < 4.5 * spread / math.sqrt(runs) + 2e-4 * exact
    assert 0.7 < math.sqrt(np.mean(errors**2)) / spread < 1.6
    # few rotations tell the error roughly
    assert np.mean(np.abs(squares - exact) < 2 * errors + 2e-4 * exact) > 0.8


def gaussian_problem(d: int, n: int | None = None) -> Any:
    """The problem of Leluc et al. (2024): two Gaussians with random means and covariances."""
    rng = np.random.default_rng(d)
    means = rng.normal(1, 1, size=(2, d))
    roots = rng.normal(size=(2, d, d))
    return means, roots


def cost_of_gaussians(means: Any, roots: Any, along: Any) -> Any:
    shift = (means[0] - means[1]) @ along
    one, other = (np.linalg.norm(root @ along, axis=0) for root in roots)
    return shift**2 + (one - other) ** 2


def mean_square_errors(d: int, n: int, runs: int) -> dict[str, float]:
    """Of the mean cost of Gaussians, in units of that mean squared."""
    problem = gaussian_problem(d)
    rng = np.random.default_rng(9)
    many = [
        directions.chosen_directions(None, d, 20_000, rng, method="auto", controlled=True).along
        for _ in range(5)
    ]
    exact = np.mean(
        [controls.harmonic_controls(a).weights @ cost_of_gaussians(*problem, a) for a in many]
    )
    errors: dict[str, list[float]] = {"auto": [], "sobol": [], "gaussian": [], "orthogonal": []}
    for seed in range(runs):
        for method, of_method in errors.items():
            along, _ = directions.chosen_directions(
                None, d, n, seed, method=method, controlled=True
            )
            costs = cost_of_gaussians(*problem, along)
            value = costs.mean()
            if method == "auto" and d <= 10:
                value = controls.harmonic_controls(along).weights @ costs
            of_method.append((value - exact) ** 2)
    return {method: float(np.mean(of_method)) for method, of_method in errors.items()}


@pytest.mark.parametrize("d", [2, 3, 4, 6])
def test_what_is_chosen_is_better_than_sobol_points_and_bases(d):
    found = mean_square_errors(d, 500, 12)
    assert found["auto"] < found["sobol"], found
    assert found["auto"] < found["orthogonal"], found
    assert found["auto"] < 0.1 * found["gaussian"], found


# --- gradients ----------------------------------------------------------------------------------


def numerical(f: Any, a: Any, step: float = 1e-5) -> Any:
    out = np.empty_like(a)
    for index in np.ndindex(a.shape):
        moved = a.copy()
        moved[index] += step
        above = f(moved)
        moved[index] -= 2 * step
        out[index] = (above - f(moved)) / (2 * step)
    return out


def held(x: Any, y: Any, v: Any, w: Any, along: Any, beta: Any) -> float:
    """The value with given coefficients of the moments, from the definitions."""
    v, w = v / v.sum(), w / w.sum()
    shift = v @ x - w @ y
    covariances = [np.cov(s.T, aweights=u, ddof=0) for s, u in ((x, v), (y, w))]
    costs = [
        pt.wasserstein_1d(x @ one, y @ one, p=2, x_weights=v, y_weights=w) ** 2 for one in along.T
    ]
    d = len(along)
    above = [np.mean((shift @ along) ** 2) - shift @ shift / d]
    above += [
        np.mean(np.einsum("ij,ik,kj->j", along, c, along)) - np.trace(c) / d for c in covariances
    ]
    return math.sqrt(np.mean(costs) - beta @ np.array(above))


@pytest.mark.parametrize("weighted", ["", "x", "xy"])
def test_gradients_under_moments(weighted):
    x, y = sets(7, 6, 3)
    rng = np.random.default_rng(2)
    v = rng.random(7) if "x" in weighted else np.ones(7)
    w = rng.random(6) if "y" in weighted else np.ones(6)
    given_weights: dict[str, Any] = {}
    if "x" in weighted:
        given_weights["x_weights"] = v
    if "y" in weighted:
        given_weights["y_weights"] = w
    got = pt.sliced_wasserstein(
        x, y, method="gaussian", control="moments", n_projections=30, rng=1, return_gradient=True,
        **given_weights,
    )  # fmt: skip
    along = pt.sphere_directions(3, 30, rng=1)
    # coefficients by least squares from the definitions
    p, q = v / v.sum(), w / w.sum()
    table = [(p @ x - q @ y) @ along]
    table[0] **= 2
    table += [np.diag(along.T @ np.cov(s.T, aweights=u, ddof=0) @ along)
              for s, u in ((x, p), (y, q))]  # fmt: skip
    costs = np.array(
        [pt.wasserstein_1d(x @ one, y @ one, p=2, x_weights=v, y_weights=w) ** 2 for one in along.T]
    )
    beta = np.linalg.lstsq(np.column_stack([np.ones(30), *table]), costs, rcond=None)[0][1:]
    assert got.value == pytest.approx(held(x, y, v, w, along, beta), rel=1e-10)
    for grad, f, at in (
        (got.grad_x, lambda a: held(a, y, v, w, along, beta), x),
        (got.grad_y, lambda a: held(x, a, v, w, along, beta), y),
        (got.grad_x_weights, lambda a: held(x, y, a, w, along, beta), v),
        (got.grad_y_weights, lambda a: held(x, y, v, a, along, beta), w),
    ):
        if grad is not None:
            np.testing.assert_allclose(grad, numerical(f, at), atol=2e-8)
    assert (got.grad_x_weights is None) == ("x" not in weighted)
    assert (got.grad_y_weights is None) == ("y" not in weighted)


@pytest.mark.parametrize(
    "options",
    [
        {"control": "harmonics"},
        {"control": None},
        {"control": None, "p": 1.5},
        {"control": None, "p": 3},
        {"directions": np.eye(3)},
        {"directions": np.eye(3), "direction_weights": [1.0, 2.0, 3.0]},
    ],
)
def test_gradients_are_finite_differences(options):
    x, y = sets(7, 6, 3)
    rng = np.random.default_rng(2)
    v, w = 2 + rng.random(7), rng.random(6)
    options = {"n_projections": 30, "rng": 1, **options}

    def value(a: Any, b: Any, c: Any, e: Any) -> float:
        return float(pt.sliced_wasserstein(a, b, x_weights=c, y_weights=e, **options))

    got = pt.sliced_wasserstein(x, y, x_weights=v, y_weights=w, return_gradient=True, **options)
    for grad, f, at in (
        (got.grad_x, lambda a: value(a, y, v, w), x),
        (got.grad_y, lambda a: value(x, a, v, w), y),
        (got.grad_x_weights, lambda a: value(x, y, a, w), v),
        (got.grad_y_weights, lambda a: value(x, y, v, a), w),
    ):
        np.testing.assert_allclose(grad, numerical(f, at), atol=1e-7)
    assert v @ got.grad_x_weights == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_gradients_by_weights_beyond_the_reach_of_squares(scale):
    x, y = sets(7, 6, 3)
    v = 1 + np.arange(7.0)
    options = {"control": None, "rng": 1, "x_weights": v, "return_gradient": True}
    expected = pt.sliced_wasserstein(x, y, **options)
    got = pt.sliced_wasserstein(scale * x, scale * y, **options)
    assert got.value == pytest.approx(scale * expected.value, rel=1e-9)
    np.testing.assert_allclose(got.grad_x_weights / scale, expected.grad_x_weights, rtol=1e-8)
    np.testing.assert_allclose(got.grad_x, expected.grad_x, rtol=1e-8)
    controlled = pt.sliced_wasserstein(scale * x, scale * y, rng=1, full=True)
    assert controlled.control is None


def test_equal_weights_have_gradients_too():
    x, y = sets(7, 6, 3)
    got = pt.sliced_wasserstein(x, y, x_weights=np.full(7, 3.0), rng=0, return_gradient=True)
    raised = [
        pt.sliced_wasserstein(x, y, x_weights=np.full(7, 3.0) + 1e-5 * e, rng=0) for e in np.eye(7)
    ]
    np.testing.assert_allclose(got.grad_x_weights, (np.array(raised) - got.value) / 1e-5, atol=1e-6)
    assert got.grad_y_weights is None


def test_rows_without_mass_may_be_of_any_size():
    x, y = sets(12, 10, 5)
    v = np.ones(12)
    v[3] = 0
    far = x.copy()
    far[3] = 1e100
    options = {"method": "gaussian", "control": "moments", "rng": 0, "return_gradient": True}
    expected = pt.sliced_wasserstein(x, y, x_weights=v, **options)
    got = pt.sliced_wasserstein(far, y, x_weights=v, **options)
    assert got.value == pytest.approx(expected.value, rel=1e-9)
    np.testing.assert_allclose(got.grad_x, expected.grad_x, atol=1e-12)
    far[3] = 1e200  # where squares are not to be had there may be no control
    plain = pt.sliced_wasserstein(x, y, x_weights=v, **{**options, "control": None})
    got = pt.sliced_wasserstein(far, y, x_weights=v, **options)
    right = plain if got.control is None else expected
    assert got.value == pytest.approx(right.value, rel=1e-9)


def test_weights_whose_sum_leaves_float64_have_gradients():
    x, y = sets(12, 10, 3)
    weights = np.arange(1.0, 13)
    options = {"rng": 0, "return_gradient": True}
    right = pt.sliced_wasserstein(x, y, x_weights=weights, **options).grad_x_weights
    found = pt.sliced_wasserstein(x, y, x_weights=weights * 1e307, **options).grad_x_weights
    np.testing.assert_allclose(found * 1e307, right, rtol=1e-9)


@pytest.mark.parametrize("gradient", [False, True])
def test_moments_that_tell_nothing_cost_no_second_sweep(gradient, monkeypatch):
    """As many controls as directions: the plain mean of costs that are there already."""
    x, y = sets(300, 200, 5)
    sweeps = []

    class Counted:
        def __getattr__(self, name):
            sweeps.append(name)
            return getattr(module, name)

    module = choose.module(x, y)
    monkeypatch.setattr(choose, "module", lambda *_: Counted())
    options = {"method": "gaussian", "n_projections": 3, "rng": 0, "return_gradient": gradient}
    found = pt.sliced_wasserstein(x, y, control="moments", full=True, **options)
    assert sweeps.count("sliced_costs") == 1
    plain = pt.sliced_wasserstein(x, y, control=None, full=True, **options)
    assert found.control is None
    assert found.value == plain.value
    if gradient:
        np.testing.assert_array_equal(found.grad_x, plain.grad_x)


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "n", "method", "used"),
    [
        (1, 128, "auto", None),
        (2, 128, "auto", "harmonics"),
        (3, 128, "auto", "harmonics"),
        (10, 128, "auto", "moments"),
        (10, 1000, "auto", "harmonics"),
        (20, 100, "auto", None),
        (20, 110, "auto", "moments"),
        (20, 12, "auto", None),
        (6, 120, "orthogonal", None),
        (3, 999, "orthogonal", "harmonics"),
        (20, 100, "gaussian", "moments"),
    ],
)
def test_the_control_that_is_chosen(d, n, method, used):
    x, y = sets(20, 20, d)
    got = pt.sliced_wasserstein(x, y, n_projections=n, method=method, rng=0, full=True)
    assert got.control == used
    assert got.standard_error >= 0 or n < d
    for options in (
        {"p": 1},
        {"control": None},
        {"directions": np.eye(d)},
        {"direction_weights": np.ones(n), "n_projections": n},
    ):
        assert pt.sliced_wasserstein(x, y, rng=0, full=True, **options).control is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"p": 1, "control": "moments"}, ["control='moments'", "p = 1"]),
        ({"directions": np.eye(3), "control": "harmonics"}, ["control=", "directions="]),
        ({"direction_weights": np.ones(128), "control": "moments"}, ["direction_weights="]),
        ({"control": "antithetic"}, ["control", "'antithetic'", "auto, moments, harmonics"]),
        ({"directions": np.eye(3), "method": "sobol"}, ["directions=", "method="]),
        ({"method": "halton"}, ["method", "'halton'", "auto, gaussian, orthogonal"]),
        ({"n_rotations": 0}, ["n_rotations must be at least 1"]),
    ],
)
def test_options_that_exclude_each_other(options, words):
    x, y = sets(5, 5, 3)
    with pytest.raises(ValueError) as error:
        pt.sliced_wasserstein(x, y, **options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("control", KINDS)
def test_the_engine_and_its_twin_agree_under_control(control, dtype):
    x, y = (s.astype(dtype) for s in sets(150, 90, 6))
    rng = np.random.default_rng(0)
    got, twin = native_and_twin(
        pt.sliced_wasserstein, x, y, x_weights=rng.random(150), control=control, rng=0,
        return_gradient=True,
    )  # fmt: skip
    rel = 1e-10 if dtype == "float64" else 1e-5
    assert got.value == pytest.approx(twin.value, rel=rel)
    assert got.standard_error == pytest.approx(twin.standard_error, rel=1e4 * rel)
    largest = np.abs(twin.grad_x).max()
    np.testing.assert_allclose(got.grad_x, twin.grad_x, atol=100 * rel * largest)
    largest = np.abs(twin.grad_x_weights).max()
    np.testing.assert_allclose(got.grad_x_weights, twin.grad_x_weights, atol=100 * rel * largest)
    for workers in (1, 2, 3):
        assert pt.sliced_wasserstein(
            x, y, control=control, rng=0, workers=workers
        ) == pt.sliced_wasserstein(x, y, control=control, rng=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_without_mass_may_be_infinite(dtype):
    """Of a caller who does not have them looked for: they weigh nothing in moments either."""
    x, y = (s.astype(dtype) for s in sets(60, 50, 4))
    weights = np.ones(60)
    weights[::7] = 0
    options: dict[str, Any] = {
        "control": "moments", "method": "gaussian", "rng": 0, "full": True, "check_finite": False,
    }  # fmt: skip
    expected = pt.sliced_wasserstein(x[weights > 0], y, **options)
    x[::7] = np.inf
    found = pt.sliced_wasserstein(x, y, x_weights=weights, **options)
    assert found.control == expected.control == "moments"
    assert found.value == pytest.approx(expected.value, rel=1e-5 if dtype == np.float32 else 1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-3)
