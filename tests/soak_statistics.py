"""Cases of the kernel statistics for `soak.py`, each against its formula over the whole matrix.

The oracle is NumPy and SciPy in float64 from direct differences, written from the definitions and
without the twin; relabellings are drawn as the docstrings say. What a result may miss is what
docs/numerics.md states.

    kind, dtype, layout -> Samples -> a function of the table CASES -> claims (what, got, expected,
    allowed error) -> those that do not hold
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import pairtile as pt
from backends import forced_tile, on_backend
from formulas import (
    KERNELS,
    RADIAL,
    Chosen,
    Formula,
    Pairs,
    choose,
    energy,
    gaussian,
    log_uniform,
    over,
)
from strategies import KINDS, LAYOUTS, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Claim = tuple[str, Any, Any, Any]


# --- data ----------------------------------------------------------------------------------------


def _one_outlier(rng: np.random.Generator, n: int, d: int) -> Floats:
    a = rng.normal(size=(n, d))
    a[rng.integers(n)] = 1e6
    return a


HOSTILE = KINDS | {
    "one_outlier": _one_outlier,
    "denormals": lambda rng, n, d: 1e-40 * rng.normal(size=(n, d)),
    "two_scales": lambda rng, n, d: rng.normal(size=(n, d)) * 10.0 ** rng.integers(-5, 6, (n, 1)),
    "far_halves": lambda rng, n, d: rng.normal(size=(n, d)) + 1e4 * (np.arange(n)[:, None] < n / 2),
}
# Rows around those of micro-kernel blocks, super-blocks and words of labels.
EDGES = [1, 2, 3, 12, 13, 14, 27, 28, 29, 31, 32, 33, 63, 64, 65, 96, 97, 127, 128, 129, 255, 256]
EDGES += [257, 383, 384, 385, 511, 512, 513, 767, 768, 769]


# --- samples -------------------------------------------------------------------------------------


class Samples(NamedTuple):
    """Two samples as a user passes them, the same as float64, and how to call."""

    rng: np.random.Generator
    x: Any
    y: Any
    a: Floats
    b: Floats
    workers: int
    precision: str

    @property
    def options(self) -> dict[str, Any]:
        return {"workers": self.workers, "precision": self.precision}

    @property
    def narrow(self) -> bool:
        """Whether results are float32."""
        return not any(s.dtype.name == "float64" for s in (self.x, self.y))

    @property
    def bound(self) -> float:
        return 2e-6 if self.narrow and self.precision == "default" else 1e-12

    @property
    def rounding(self) -> float:
        return 6e-8 if self.narrow else 0.0


def weights_of(rng: np.random.Generator, n: int, signed: bool) -> Floats | None:
    kind = rng.integers(4)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random(n) + 1e-3
    if kind == 2:
        return (rng.random(n) < 0.5).astype(float) + (np.arange(n) == 0)
    return rng.normal(size=n) + (1.0 if signed else 0.0) if signed else rng.exponential(size=n) ** 3


def unit(w: Floats | None, n: int) -> Floats:
    return np.full(n, 1 / n) if w is None else w / math.fsum(w)


def means(k: Floats, v: Floats, w: Floats) -> float:
    return float(v @ k @ w)


# --- statistics ----------------------------------------------------------------------------------


def _two_samples(s: Samples, chosen: Chosen, v: Any, w: Any, estimator: str) -> tuple[float, float]:
    """The statistic, and the sum of the largest terms of its three means."""
    p, q = unit(v, len(s.a)), unit(w, len(s.b))
    value = size = 0.0
    for a, u in ((s.a, p), (s.b, q)):
        k = chosen.matrix(a, a)
        share = 1.0
        if estimator == "unbiased":
            np.fill_diagonal(k, 0.0)
            share = 1 - math.fsum(u * u)
        value += means(k, u, u) / share
        size += chosen.largest(a, a) * np.abs(u).sum() ** 2 / abs(share)
    value -= 2 * means(chosen.matrix(s.a, s.b), p, q)
    size += 2 * chosen.largest(s.a, s.b) * np.abs(p).sum() * np.abs(q).sum()
    return value, size


def mmd(s: Samples) -> Iterator[Claim]:
    chosen = choose(s.rng, np.concatenate([s.a, s.b]))
    estimator = s.rng.choice(["unbiased", "biased"]).item()
    v, w = (weights_of(s.rng, n, signed=True) for n in (len(s.a), len(s.b)))
    for u, n in ((v, len(s.a)), (w, len(s.b))):
        if estimator == "unbiased" and (n < 2 or abs(1 - (unit(u, n) ** 2).sum()) < 1e-3):
            estimator = "biased"
    squared = bool(s.rng.random() < 0.8)
    got = pt.mmd(
        s.x, s.y, kernel=chosen.kernel, estimator=estimator, x_weights=v, y_weights=w,
        squared=squared, **s.options,
    )  # fmt: skip
    value, size = _two_samples(s, chosen, v, w, estimator)
    if not squared:
        got, value = got**2, max(value, 0.0)
    yield f"{chosen.name} {estimator}", got, value, s.bound * size


def mmd_of_blocks(s: Samples) -> Iterator[Claim]:
    n = min(len(s.a), len(s.b))
    if n < 2:
        return
    chosen = choose(s.rng, np.concatenate([s.a, s.b]))
    estimator = s.rng.choice(["linear", "block"]).item()
    size = 2 if estimator == "linear" else int(s.rng.integers(2, n + 1))
    option = {} if estimator == "linear" else {"block_size": size}
    got = pt.mmd(s.x[:n], s.y[:n], kernel=chosen.kernel, estimator=estimator, **option, **s.options)
    a, b = s.a[:n], s.b[:n]
    values = []
    for start in range(0, n // size * size, size):
        i, j = a[start : start + size], b[start : start + size]
        h = chosen.matrix(i, i) + chosen.matrix(j, j)
        h -= chosen.matrix(i, j) + chosen.matrix(i, j).T
        values.append((h.sum() - np.trace(h)) / (size * (size - 1)))
    largest = chosen.largest(a, a) + chosen.largest(b, b) + 2 * chosen.largest(a, b)
    yield f"{chosen.name} {estimator} {size}", got, float(np.mean(values)), s.bound * largest


def mmd_gradient(s: Samples) -> Iterator[Claim]:
    names = [name for name in KERNELS if name not in ("laplace_l1", "cosine")]
    chosen = choose(s.rng, np.concatenate([s.a, s.b]), names)
    estimator = s.rng.choice(["unbiased", "biased"]).item()
    if min(len(s.a), len(s.b)) < 2:
        estimator = "biased"
    v, w = (weights_of(s.rng, n, signed=False) for n in (len(s.a), len(s.b)))
    p, q = unit(v, len(s.a)), unit(w, len(s.b))
    if max((p**2).sum(), (q**2).sum()) > 0.999:
        estimator = "biased"
    got = pt.mmd(
        s.x, s.y, kernel=chosen.kernel, estimator=estimator, x_weights=v, y_weights=w,
        return_gradient=True, **s.options,
    )  # fmt: skip
    value, size = _two_samples(s, chosen, v, w, estimator)
    name = f"{chosen.name} {estimator}"
    yield f"{name} value", got.value, value, s.bound * size
    wide = 1e-5 if s.bound > 1e-6 else 1e-12
    sides = (("x", s.a, s.b, p, q, v, got.grad_x, got.grad_x_weights),
             ("y", s.b, s.a, q, p, w, got.grad_y, got.grad_y_weights))  # fmt: skip
    for side, a, b, mine, other, given, by_rows, by_weights in sides:
        share = 1 - math.fsum(mine**2) if estimator == "unbiased" else 1.0
        k, largest = chosen.matrix(a, a), chosen.largest(a, a)
        pull, reach = chosen.pull(a, a, mine)
        if estimator == "unbiased":
            np.fill_diagonal(k, 0.0)
            pull -= np.concatenate(
                [chosen.pull(a[i : i + 1], a[i : i + 1], mine[i : i + 1])[0] for i in range(len(a))]
            )
        push, far = chosen.pull(a, b, other)
        expected = mine[:, None] * (2 / share * pull - 2 * push)
        allowed = 2 * mine * (reach / share + far)
        yield (
            f"{name} grad_{side}",
            by_rows,
            expected,
            wide * allowed[:, None] + s.rounding * np.abs(expected) + 1e-38 * s.narrow,
        )
        within, between = k @ mine, chosen.matrix(a, b) @ other
        mean = float(mine @ within) / share
        free = mine if estimator == "unbiased" else 0.0
        total = len(a) if given is None else math.fsum(given)
        expected = 2 / share * (within - mean * (1 - free) * (share if share == 1 else 1))
        expected = (expected - 2 * (between - float(mine @ between))) / total
        allowed = (4 * largest / share**2 + 4 * chosen.largest(a, b)) / total
        yield f"{name} grad_{side}_weights", by_weights, expected, s.bound * allowed


def energy_distance(s: Samples) -> Iterator[Claim]:
    exponent = float(s.rng.choice([1.0, 1.0, 2.0, 0.5, 0.01 + 1.99 * s.rng.random()]))
    chosen = Chosen("energy", [(1.0, energy(s.rng, 1.0, exponent))])
    estimator = s.rng.choice(["unbiased", "biased"]).item()
    v, w = (weights_of(s.rng, n, signed=False) for n in (len(s.a), len(s.b)))
    if max((unit(v, len(s.a)) ** 2).sum(), (unit(w, len(s.b)) ** 2).sum()) > 0.999:
        estimator = "biased"
    got = pt.energy_distance(
        s.x, s.y, exponent=exponent, estimator=estimator, x_weights=v, y_weights=w, **s.options
    )
    value, size = _two_samples(s, chosen, v, w, estimator)
    pooled = np.concatenate([s.a, s.b])
    line = 4e-12 * float(np.ptp(pooled)) if exponent == 1 and s.a.shape[1] == 1 else math.inf
    yield f"{exponent:.3g} {estimator}", got, value, min(s.bound * size, line)


def sums(s: Samples) -> Iterator[Claim]:
    chosen = choose(s.rng, np.concatenate([s.a, s.b]))
    v = s.rng.normal(size=len(s.a)) if s.rng.random() < 0.5 else None
    w = s.rng.normal(size=len(s.b)) if s.rng.random() < 0.5 else None
    p, q = (np.ones(n) if u is None else u for u, n in ((v, len(s.a)), (w, len(s.b))))
    kernel, name = chosen.kernel, chosen.name
    got = pt.kernel_sum(s.x, s.y, kernel=kernel, x_weights=v, y_weights=w, **s.options)
    k, largest = chosen.matrix(s.a, s.b), chosen.largest(s.a, s.b)
    scale = s.bound * largest
    yield f"{name} x, y", got, p @ k @ q, scale * np.abs(p).sum() * np.abs(q).sum()

    columns = s.rng.normal(size=(len(s.b), int(s.rng.integers(1, 20))))
    got = pt.kernel_matvec(s.x, s.y, columns, kernel=kernel, **s.options)
    expected = k @ columns
    allowed = scale * np.abs(columns).sum(axis=0) + s.rounding * np.abs(expected) + 1e-38 * s.narrow
    yield f"{name} K·v", got, expected, allowed

    alone = s.x.dtype.name != "float64" and s.precision == "default"
    scale = (2e-6 if alone else 1e-12) * chosen.largest(s.a, s.a)
    k = chosen.matrix(s.a, s.a)
    for exclude in (False, True):
        got = pt.kernel_sum(s.x, kernel=kernel, x_weights=v, exclude_diagonal=exclude, **s.options)
        expected = p @ k @ p - exclude * p**2 @ np.diagonal(k)
        yield f"{name} x, excluded: {exclude}", got, expected, scale * np.abs(p).sum() ** 2


def witness(s: Samples) -> Iterator[Claim]:
    chosen = choose(s.rng, np.concatenate([s.a, s.b]))
    half = len(s.b) // 2
    if half < 1:
        return
    z, y, c, b = s.y[:half], s.y[half:], s.b[:half], s.b[half:]
    got = pt.witness(z, s.x, y, kernel=chosen.kernel, **s.options)
    expected = chosen.matrix(c, s.a).mean(axis=1) - chosen.matrix(c, b).mean(axis=1)
    allowed = s.bound * (chosen.largest(c, s.a) + chosen.largest(c, b))
    yield chosen.name, got, expected, allowed + s.rounding * np.abs(expected) + 1e-38 * s.narrow


def log_sum_exp(s: Samples) -> Iterator[Claim]:
    chosen = choose(s.rng, np.concatenate([s.a, s.b]), tuple(RADIAL))
    chosen = chosen._replace(parts=[(abs(w) + 1e-3, part) for w, part in chosen.parts])
    itself = s.rng.random() < 0.4 and len(s.a) > 1
    x, y, a, b = (s.x, None, s.a, s.a) if itself else (s.x, s.y, s.a, s.b)
    exclude = bool(itself and s.rng.random() < 0.7)
    kernel, logs = chosen.kernel, None
    bandwidths = None
    if s.rng.random() < 0.3:
        typical = float(np.median(cdist(a[:50], b[:50]))) or 1.0
        bandwidths = typical * 10 ** s.rng.uniform(-3, 3, size=len(b))
        if s.rng.random() < 0.5:
            kernel, logs = pt.Gaussian(1.0), -(Pairs(a, b).squares) / (2 * bandwidths**2)
        else:
            kernel, logs = pt.Laplace(1.0), -Pairs(a, b).distances / bandwidths
    if logs is None:
        logs = chosen.logarithms(a, b)
    w = None
    if s.rng.random() < 0.4:
        w = 100 * s.rng.normal(size=len(b))
        w[s.rng.random(len(b)) < 0.3] = -np.inf
    got = pt.kernel_logsumexp(
        x, y, kernel=kernel, log_weights=w, bandwidths=bandwidths, exclude_diagonal=exclude,
        **s.options,
    )  # fmt: skip
    terms = logs + (0 if w is None else w)
    if exclude:
        np.fill_diagonal(terms, -np.inf)
    with np.errstate(divide="ignore"):
        expected = logsumexp(terms, axis=1)
    largest = np.where(np.isfinite(expected), np.abs(logs[np.arange(len(a)), terms.argmax(1)]), 0)
    narrow = x.dtype.name != "float64" and (y is None or y.dtype.name != "float64")
    bound = 2e-6 if narrow and s.precision == "default" else 1e-12
    size = np.abs(np.where(np.isfinite(expected), expected, 0))
    allowed = bound * np.maximum(1, largest) + (6e-8 if narrow else 1e-15) * size
    what = f"{kernel if bandwidths is not None else chosen.name} weights={w is not None}"
    yield f"{what} excluded={exclude}", got, expected, allowed


def mmd_power(s: Samples) -> Iterator[Claim]:
    n, m = len(s.a), len(s.b)
    if min(n, m) < 4:
        return
    family = ("gaussian", "laplace", "rational_quadratic", "matern52", "energy")
    if s.rng.random() < 0.3:
        family = ("polynomial", "linear")
    chosen = choose(s.rng, np.concatenate([s.a, s.b]), family)
    got = pt.mmd_power(s.x, s.y, kernel=chosen.kernel, **s.options)
    value, size = _two_samples(s, chosen, None, None, "unbiased")
    yield f"{chosen.name} mmd", got.mmd, value, s.bound * size
    k, o, h = (
        chosen.matrix(a, b).astype(np.longdouble) for a, b in ((s.a, s.a), (s.b, s.b), (s.a, s.b))
    )
    for matrix in (k, o):
        np.fill_diagonal(matrix, 0)

    def within(k: Any) -> tuple[Any, Any, Any]:
        n, rows, squares = len(k), k.sum(axis=1), (k * k).sum()
        return (
            squares / (n * (n - 1)),
            (rows @ rows - squares) / (n * (n - 1) * (n - 2)),
            (rows.sum() ** 2 - 4 * rows @ rows + 2 * squares) / math.perm(n, 4),
        )

    def mixed(k: Any, h: Any) -> Any:
        """Covariance of E[k(X, X') | X] and E[k(X, Y) | X]."""
        n, m = h.shape
        product = k.sum(axis=1) @ h.sum(axis=1)
        rest = k.sum() * h.sum() - product - k.sum(axis=1) @ h.sum(axis=1)
        return product / (n * (n - 1) * m) - rest / (n * (n - 1) * (n - 2) * m)

    (kk, kr, k0), (oo, o_r, o0) = within(k), within(o)
    rows, cols, squares = h.sum(axis=1), h.sum(axis=0), (h * h).sum()
    hh, hr = squares / (n * m), (rows @ rows - squares) / (n * m * (m - 1))
    hc = (cols @ cols - squares) / (n * m * (n - 1))
    h0 = (h.sum() ** 2 - rows @ rows - cols @ cols + squares) / (n * (n - 1) * m * (m - 1))
    null = 2 * (kk - 2 * kr + k0) / (n * (n - 1)) + 2 * (oo - 2 * o_r + o0) / (m * (m - 1))
    null += 4 * (hh - hr - hc + h0) / (n * m)
    full = null + 4 * (kr - k0 + hr - h0 - 2 * mixed(k, h)) / n
    full += 4 * (o_r - o0 + hc - h0 - 2 * mixed(o, h.T)) / m
    allowed = 2 * s.bound * size**2 / min(n, m)
    yield f"{chosen.name} variance_h0", got.variance_h0, float(null), allowed
    yield f"{chosen.name} variance_h1", got.variance_h1, float(full), allowed


def kid(s: Samples) -> Iterator[Claim]:
    n, m, d = len(s.a), len(s.b), s.a.shape[1]
    if min(n, m) < 2:
        return
    chosen = Chosen("cubic", [(1.0, Formula(
        pt.Polynomial(3),
        lambda p: (p.dots / d + 1) ** 3,
        lambda p: (p.norms / d + 1) ** 3,
    ))])  # fmt: skip
    seed, size, subsets = int(s.rng.integers(2**31)), int(s.rng.integers(2, min(n, m) + 1)), 5
    got = pt.kid(s.x, s.y, subsets=subsets, subset_size=size, rng=seed, **s.options)
    draws = np.random.default_rng(seed)
    values = []
    allowed = 0.0
    for _ in range(subsets):
        i, j = (draws.choice(rows, size, replace=False) for rows in (n, m))
        value, largest = _two_samples(
            s._replace(a=s.a[i], b=s.b[j]), chosen, None, None, "unbiased"
        )
        values.append(value)
        allowed = max(allowed, s.bound * largest)
    yield f"mean of {subsets} x {size}", got.mean, np.mean(values), allowed
    yield "std", got.std, np.std(values), 2 * allowed
    full, largest = _two_samples(s, chosen, None, None, "unbiased")
    yield "full", pt.kid(s.x, s.y, full=True, **s.options).mean, full, s.bound * largest


# --- dependence ----------------------------------------------------------------------------------


def _centred_product(k: Floats, other: Floats, estimator: str) -> float:
    n = len(k)
    if estimator == "biased":
        k = k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean()
        other = other - other.mean(axis=0) - other.mean(axis=1)[:, None] + other.mean()
        return float((k * other).sum()) / n**2
    k, other = k.copy(), other.copy()
    for a in (k, other):
        np.fill_diagonal(a, 0.0)
        rows = a.sum(axis=1) / (n - 2)
        a += a.sum() / ((n - 1) * (n - 2)) - rows - rows[:, None]
        np.fill_diagonal(a, 0.0)
    return float((k * other).sum()) / (n * (n - 3))


def _paired(s: Samples) -> tuple[Any, Any, Floats, Floats]:
    """Rows of x and of features of y that depend on them or not."""
    n = min(len(s.a), len(s.b))
    x, y, a, b = s.x[:n], s.y[:n], s.a[:n], s.b[:n]
    if s.rng.random() < 0.5:
        few = int(s.rng.integers(1, a.shape[1] + 1))
        y, b = y[:, :few], b[:, :few]
    if s.rng.random() < 0.3:
        y, b = (x[:, : b.shape[1]], a[:, : b.shape[1]])
    if s.rng.random() < 0.2:
        x, y, a, b = x[:, :1], y[:, :1], a[:, :1], b[:, :1]
    return x, y, a, b


def _matrix_to_centre(chosen: Chosen, a: Floats) -> tuple[Floats, float]:
    """The kernel matrix, of centred rows where that does not matter, and its largest value."""
    if all(part.kernel == pt.Linear() for _, part in chosen.parts):
        a = a - a.mean(axis=0)
    return chosen.matrix(a, a), chosen.largest(a, a)


def dependence(s: Samples) -> Iterator[Claim]:
    x, y, a, b = _paired(s)
    n = len(a)
    estimator = "biased" if n < 4 else s.rng.choice(["unbiased", "biased"]).item()
    if s.rng.random() < 0.5:
        exponent = float(s.rng.choice([1.0, 1.0, 0.5, 2.0]))
        both = (Chosen("energy", [(1.0, energy(s.rng, 1.0, exponent))]),) * 2
        product, correlation = pt.distance_covariance, pt.distance_correlation
        options: dict[str, Any] = {"exponent": exponent}
    else:
        linear_only = s.rng.random() < 0.3
        names = ("linear",) if linear_only else tuple(KERNELS)
        both = choose(s.rng, a, names), choose(s.rng, b, names)
        product, correlation = pt.hsic, pt.cka
        options = {"x_kernel": both[0].kernel, "y_kernel": both[1].kernel}
    options |= {"estimator": estimator, "workers": s.workers}
    (k, k_size), (other, other_size) = (
        _matrix_to_centre(c, z) for c, z in zip(both, (a, b), strict=True)
    )
    expected = _centred_product(k, other, estimator)
    name = f"{product.__name__} {both[0].name} {both[1].name} {estimator} {n} {a.shape[1]}"
    yield name, product(x, y, **options), expected, 4e-12 * k_size * other_size
    got = correlation(x, y, **options)
    yield f"{name} correlation in [-1, 1]", got, 0.0, 1.0
    in_x, in_y = _centred_product(k, k, estimator), _centred_product(other, other, estimator)
    if in_x > 1e-9 * k_size**2 and in_y > 1e-9 * other_size**2:
        allowed = (
            k_size * other_size / (math.sqrt(in_x) * math.sqrt(in_y))
            + k_size**2 / in_x
            + other_size**2 / in_y
        )
        expected = min(1.0, max(-1.0, expected / (math.sqrt(in_x) * math.sqrt(in_y))))
        yield f"{name} correlation", got, expected, 1e-12 * allowed


def cauchy_schwarz(s: Samples) -> Iterator[Claim]:
    chosen = choose(s.rng, np.concatenate([s.a, s.b]), tuple(RADIAL))
    chosen = chosen._replace(parts=[(abs(w) + 1e-3, part) for w, part in chosen.parts])
    got = pt.cauchy_schwarz_divergence(s.x, s.y, kernel=chosen.kernel, workers=s.workers)
    logs = [chosen.logarithms(a, b) for a, b in ((s.a, s.a), (s.b, s.b), (s.a, s.b))]
    xx, yy, xy = (logsumexp(a) - math.log(a.size) for a in logs)
    if min(xx, yy, float(logs[2].max())) > -700:
        allowed = 1e-12 * max(1.0, 4e-2 * float(-logs[2].max()))
        yield chosen.name, got, max(0.0, xx + yy - 2 * xy), 3 * allowed
    else:
        yield f"{chosen.name} is a number or inf", np.isnan(got), False, 0


# --- Stein ---------------------------------------------------------------------------------------


def _stein_matrix(formula: Formula, x: Floats, scores: Floats) -> Floats:
    """k_p of all pairs, with derivatives of k by d² from the formula."""
    d, kernel, p = x.shape[1], formula.kernel, Pairs(x, x)
    s, k, slope = p.squares, formula.matrix(p), formula.slope(p)
    match kernel:
        case pt.Gaussian():
            second = k / (4 * kernel.sigma**4)
        case pt.RationalQuadratic():
            c = 1 / (2 * kernel.alpha * kernel.length_scale**2)
            second = kernel.alpha * (kernel.alpha + 1) * c**2
            second = second * (1 + c * s) ** (-kernel.alpha - 2)
        case pt.InverseMultiquadric():
            second = kernel.beta * (kernel.beta + 1) * (kernel.c**2 + s) ** (-kernel.beta - 2)
        case pt.Matern(nu=1.5):
            rate = math.sqrt(3) / kernel.length_scale
            second = rate**3 / 4 * over(np.exp(-rate * p.distances), p.distances)
        case _:
            rate = math.sqrt(5) / kernel.length_scale
            second = rate**4 / 12 * np.exp(-rate * p.distances)
    cross = np.array([
        np.einsum("ij,ij->i", row - x, score - scores)
        for row, score in zip(x, scores, strict=True)
    ])  # fmt: skip
    return scores @ scores.T * k - 2 * cross * slope - 2 * d * slope - 4 * s * second


def stein(s: Samples) -> Iterator[Claim]:
    n, d = s.a.shape
    if n < 2:
        return
    names = ("gaussian", "rational_quadratic", "inverse_multiquadric", "matern32", "matern52")
    chosen = choose(s.rng, s.a, names)
    typical = float(np.median(cdist(s.a[:64], s.a[:64]))) or 1.0
    scores = s.rng.normal(size=(n, d)) * log_uniform(s.rng, 1e-2, 1e2) / typical
    if s.rng.random() < 0.5:
        scores = -(s.a - s.a.mean(axis=0)) / typical**2
    if s.narrow and np.abs(scores).max() < 1e30:
        scores = scores.astype(np.float32)
    matrix = sum(
        w * _stein_matrix(part, s.a, scores.astype(np.float64)) for w, part in chosen.parts
    )
    size = sum(
        abs(w) * np.diagonal(_stein_matrix(part, s.a, scores.astype(np.float64))).max()
        for w, part in chosen.parts
    )
    estimator, seed = s.rng.choice(["unbiased", "biased"]).item(), int(s.rng.integers(2**31))
    change = float(s.rng.choice([0.5, 0.1]))
    got = pt.stein_test(
        s.x, scores, kernel=chosen.kernel, estimator=estimator, n_bootstrap=20,
        change_probability=change, rng=seed, workers=s.workers,
    )  # fmt: skip
    draws = np.random.default_rng(seed)
    signs = np.array([np.ones(n)] + [
        2.0 * (np.cumsum(draws.random(n) < change) % 2) - 1 for _ in range(20)
    ])  # fmt: skip
    pairs = n * n
    if estimator == "unbiased":
        np.fill_diagonal(matrix, 0.0)
        pairs = n * (n - 1)
    expected = np.einsum("bi,ij,bj->b", signs, matrix, signs, optimize=True) / pairs
    name = f"{chosen.name} {estimator}"
    yield f"{name} null", [got.statistic, *got.null_distribution], expected, 1e-12 * size
    yield from _pvalue(name, got.pvalue, expected, 1e-12 * size, 1e-14 * size)


# --- tests ---------------------------------------------------------------------------------------


def _pvalue(name: str, got: float, values: Floats, loose: float, tight: float) -> Iterator[Claim]:
    """What ties within `tight` counts, what is below by more than `loose` does not."""
    count = len(values)
    most, least = (
        (1 + np.count_nonzero(values[1:] >= values[0] - slack)) / count for slack in (loose, -tight)
    )
    yield f"{name} p", got, (least + most) / 2, (most - least) / 2 + 1e-15


def _labelled(k: Floats, is_x: NDArray[Any], estimator: str) -> float:
    """The statistic of one labelling of the pooled rows."""
    own = np.diagonal(k) if estimator == "unbiased" else np.zeros(len(k))
    value = 0.0
    for rows in (is_x, ~is_x):
        n = int(rows.sum())
        total = k[np.ix_(rows, rows)].sum() - own[rows].sum()
        value += total / (n * (n - 1) if estimator == "unbiased" else n * n)
    return float(value - 2 * k[np.ix_(is_x, ~is_x)].mean())


def _first_seen(labels: NDArray[Any]) -> list[Any]:
    return list(dict.fromkeys(labels.tolist()))


def two_sample_test(s: Samples) -> Iterator[Claim]:
    methods = ["random", "wild_bootstrap", "cheap_permutation", "gamma", "spectrum"]
    method = s.rng.choice(methods).item()
    n, m = (min(rows, 250) for rows in (len(s.a), len(s.b)))
    if method == "wild_bootstrap":
        n = m = min(n, m)
    if method == "gamma" and n + m < 4:  # refused
        return
    if method == "spectrum":  # looks at 512 rows
        n, m = min(n, 200), min(m, 200)
    x, y, a, b = s.x[:n], s.y[:m], s.a[:n], s.b[:m]
    z = np.concatenate([a, b])
    estimator = "biased" if min(n, m) < 2 else s.rng.choice(["unbiased", "biased"]).item()
    families = tuple(KERNELS)
    if method == "gamma":
        families = ("gaussian", "laplace", "energy", "matern32")
    chosen = choose(s.rng, z, families)
    count, seed = int(s.rng.integers(1, 80)), int(s.rng.integers(2**31))
    test: Any = partial(pt.mmd_test, kernel=chosen.kernel)
    if s.rng.random() < 0.3:
        exponent = float(s.rng.choice([1.0, 0.5, 2.0]))
        chosen = Chosen("energy", [(1.0, energy(s.rng, 1.0, exponent))])
        test = partial(pt.energy_test, exponent=exponent)
    options: dict[str, Any] = {"estimator": estimator, "method": method, "workers": s.workers}
    k, size = chosen.matrix(z, z), chosen.largest(z, z)
    draws, is_x = np.random.default_rng(seed), np.arange(n + m) < n
    name, labels = f"{chosen.name} {estimator} {method} {n}+{m}", [is_x]
    loose = 2.0**-36 * size
    if method == "random":
        units = [np.array([i]) for i in range(n + m)]
        if s.rng.random() < 0.4:
            groups = np.concatenate([
                s.rng.integers(max(2, n // 3), size=n),
                1000 + s.rng.integers(max(2, m // 3), size=m),
            ])  # fmt: skip
            sizes = [np.unique(g, return_counts=True)[1] for g in (groups[:n], groups[n:])]
            fewest, most = min(map(len, sizes)), max(map(len, sizes))
            if fewest > 2 and fewest + most > 4:
                units = [np.flatnonzero(groups == g) for g in _first_seen(groups)]
                options["groups"] = groups
        strata = np.zeros(n + m, dtype=int)
        if s.rng.random() < 0.4:
            strata = np.empty(n + m, dtype=int)
            for rows in units:
                strata[rows] = s.rng.integers(3)
            options["strata"] = strata
        in_stratum = [[rows for rows in units if strata[rows[0]] == t] for t in _first_seen(strata)]
        for _ in range(count):
            label = np.zeros(n + m, dtype=bool)
            for some in in_stratum:
                of_x = sum(bool(is_x[rows[0]]) for rows in some)
                for u in draws.permutation(len(some))[:of_x]:
                    label[some[u]] = True
            labels.append(label)
        if any(min(v.sum(), (~v).sum()) < 2 for v in labels):
            return
    elif method == "cheap_permutation":
        bins = int(s.rng.integers(4, 65))
        if n + m < bins or min(n, m) < 3 * (n + m) / bins + 2:
            return
        options["n_bins"] = bins
        of_x = min(max(round(bins * n / (n + m)), 1, bins - m), bins - 1, n)
        edges = [
            *np.arange(of_x) * n // of_x,
            *(n + np.arange(bins - of_x + 1) * m // (bins - of_x)),
        ]
        rows = [np.arange(i, j) for i, j in pairwise(edges)]
        for _ in range(count):
            label = np.zeros(n + m, dtype=bool)
            for u in draws.permutation(bins)[:of_x]:
                label[rows[u]] = True
            labels.append(label)
    got = test(x, y, n_permutations=count, rng=seed, **options)
    if method in ("random", "cheap_permutation"):
        expected = np.array([_labelled(k, v, estimator) for v in labels])
        size *= 4
    elif method == "wild_bootstrap":
        h = k[:n, :n] + k[n:, n:] - k[:n, n:] - k[:n, n:].T
        signs = [np.ones(n)]
        signs += [2.0 * draws.integers(2, size=n, dtype=np.uint8) - 1 for _ in range(count)]
        if estimator == "unbiased":
            np.fill_diagonal(h, 0.0)
        expected = np.einsum("bi,ij,bj->b", signs, h, signs, optimize=True)
        expected /= n * (n - 1) if estimator == "unbiased" else n * n
        size *= 4
    else:
        observed = _labelled(k, is_x, estimator)
        yield f"{name} statistic", got.statistic, observed, 4e-12 * size
        scale = 1 / n + 1 / m
        centred = k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean()
        if method == "spectrum":
            values = np.maximum(np.linalg.eigvalsh(centred), 0) / (n + m) * scale
            null = draws.standard_normal((count, n + m)) ** 2 @ values
            null -= values.sum() if estimator == "unbiased" else 0
            expected = np.array([observed, *null])
            yield f"{name} null", got.null_distribution, null, 1e-11 * size
            yield from _pvalue(name, got.pvalue, expected, 2.0**-36 * size, 1e-11 * size)
            return
        yield from _gamma(name, got, k.astype(np.longdouble), n, m, estimator, observed)
        return
    yield f"{name} null", [got.statistic, *got.null_distribution], expected, 1e-12 * size
    yield from _pvalue(name, got.pvalue, expected, loose, 2e-12 * size)


def _gamma(
    name: str, got: Any, k: Any, n: int, m: int, estimator: str, observed: float
) -> Iterator[Claim]:
    own, count, largest = np.diagonal(k).copy(), n + m, float(np.abs(k).max()) ** 2
    np.fill_diagonal(k, 0)
    if count < 4:
        return
    rows, squares, pairs = k.sum(axis=1), (k * k).sum(), count * (count - 1)
    spread = squares / pairs - 2 * (rows @ rows - squares) / math.perm(count, 3)
    spread += (k.sum() ** 2 - 4 * rows @ rows + 2 * squares) / math.perm(count, 4)
    scale = 1 / n + 1 / m
    mean, variance = scale * (own.mean() - k.sum() / pairs), 2 * scale**2 * spread
    if spread <= 1e-6 * largest or mean <= 1e-6 * scale * math.sqrt(largest):
        yield f"{name} p in (0, 1]", got.pvalue, 0.5, 0.5
        return
    value = observed + (0 if estimator == "biased" else mean)
    shape, unit = float(mean**2 / variance), float(variance / mean)
    yield f"{name} p", got.pvalue, stats.gamma.sf(float(value), shape, scale=unit), 1e-5


def aggregated(s: Samples) -> Iterator[Claim]:
    n, m = min(len(s.a), 60), min(len(s.b), 60)
    method = s.rng.choice(["permutation", "wild_bootstrap"]).item()
    if method == "wild_bootstrap":
        n = m = min(n, m)
    if min(n, m) < 2:
        return
    x, y, z = s.x[:n], s.y[:m], np.concatenate([s.a[:n], s.b[:m]])
    p, of_pairs = Pairs(z, z), np.triu_indices(n + m, 1)
    names = list(s.rng.permutation(["gaussian", "laplace", "laplace_l1"])[: s.rng.integers(1, 4)])
    bandwidths = int(s.rng.integers(1, 8))
    matrices, makers = [], {
        "gaussian": lambda r: np.exp(-p.squares / r**2),
        "laplace": lambda r: np.exp(-p.distances / r),
        "laplace_l1": lambda r: np.exp(-p.absolutes / r),
    }  # fmt: skip
    for name in names:
        values = (p.absolutes if name == "laplace_l1" else p.distances)[of_pairs]
        low, high = np.quantile(values, [0.05, 0.95])
        if not high > 1e-30:
            return
        first, last = (low or high / 100) / 2, 2 * high
        lengths = [math.sqrt(first * last)]
        if bandwidths > 1:
            lengths = np.geomspace(first, last, bandwidths)
        matrices += [makers[name](r) for r in lengths]
    count, seed = int(s.rng.integers(1, 60)), int(s.rng.integers(2**31))
    got = pt.mmd_aggregated_test(
        x, y, kernels=[str(name) for name in names], bandwidths=bandwidths, n_permutations=count,
        method=method, rng=seed, workers=s.workers,
    )  # fmt: skip
    draws, is_x = np.random.default_rng(seed), np.arange(n + m) < n
    if method == "permutation":
        labels = [is_x]
        for _ in range(2 * count):
            labels.append(np.isin(np.arange(n + m), draws.permutation(n + m)[:n]))
        values = np.array([[_labelled(k, v, "unbiased") for v in labels] for k in matrices])
    else:
        signs = [np.ones(n)]
        signs += [2.0 * draws.integers(2, size=n, dtype=np.uint8) - 1 for _ in range(2 * count)]
        values = np.empty((len(matrices), 2 * count + 1))
        for q, k in enumerate(matrices):
            h = k[:n, :n] + k[n:, n:] - k[:n, n:] - k[:n, n:].T
            np.fill_diagonal(h, 0.0)
            values[q] = np.einsum("bi,ij,bj->b", signs, h, signs, optimize=True) / (n * (n - 1))
    name = f"{names} x {bandwidths} {method} {n}+{m}"
    statistics = [kernel.statistic for kernel in got.per_kernel]
    yield f"{name} statistics", statistics, values[:, 0], 4e-12

    def ranks(slack: float) -> NDArray[Any]:
        null, some = values[:, 1 : count + 1], values[:, [0, *range(count + 1, 2 * count + 1)]]
        return 1 + np.sum(null[:, None, :] >= some[:, :, None] - slack, axis=2)

    strict, wide = ranks(-2e-11), ranks(2e-11)
    p_values = np.array([kernel.pvalue for kernel in got.per_kernel])
    between = (strict[:, 0] + wide[:, 0]) / 2, (wide[:, 0] - strict[:, 0]) / 2
    yield f"{name} p", p_values * (1 + count), between[0], between[1] + 1e-9
    if np.array_equal(strict, wide):
        lowest = wide[:, 1:].min(axis=0)
        adjusted = (1 + np.sum(lowest[None] <= wide[:, :1], axis=1)) / (1 + count)
        yield f"{name} adjusted", [k.adjusted_pvalue for k in got.per_kernel], adjusted, 1e-12
        yield f"{name} pvalue", got.pvalue, adjusted.min(), 1e-12


def disco(s: Samples) -> Iterator[Claim]:
    rows = min(300, len(s.a) + len(s.b))
    z, values = s.x[: rows // 2], s.a[: rows // 2]
    cuts = int(s.rng.integers(1, 4))
    if len(z) < cuts + 3:
        return
    edges = [0, *np.sort(s.rng.choice(np.arange(1, len(z)), cuts, replace=False)), len(z)]
    samples = [z[i:j] for i, j in pairwise(edges)]
    samples.append(s.y[: max(1, rows // 4)])
    values = np.concatenate([values, s.b[: max(1, rows // 4)]])
    sizes = [len(sample) for sample in samples]
    exponent = float(s.rng.choice([1.0, 0.5, 2.0, 1.5]))
    count, seed = 15, int(s.rng.integers(2**31))
    got = pt.disco_test(samples, exponent=exponent, n_permutations=count, rng=seed,
                        method="random", workers=s.workers)  # fmt: skip
    total, groups, g = len(values), len(sizes), Pairs(values, values).distances ** exponent
    draws, order = np.random.default_rng(seed), np.arange(total)
    inner = []
    for b in range(count + 1):
        order = draws.permutation(total) if b else order
        parts = np.split(order, np.cumsum(sizes)[:-1])
        inner.append(sum(g[np.ix_(part, part)].sum() / (2 * len(part)) for part in parts))
    within, whole = np.array(inner), g.sum() / (2 * total)
    slack = 1e-12 * total * float(g.max())
    if within.min() > 1e3 * slack:
        expected = (whole - within) / (groups - 1) / (within / (total - groups))
        allowed = slack * (whole / within**2) * (total - groups) / (groups - 1)
        f = [got.statistic, *got.null_distribution]
        yield f"F {sizes} {exponent}", f, np.maximum(expected, 0), 2 * allowed
    yield from _pvalue(f"{sizes} {exponent}", got.pvalue, -within, 2.0**-38 * whole + slack, slack)


def _orders(
    rng: np.random.Generator, n: int, options: dict[str, Any]
) -> Callable[[np.random.Generator], NDArray[Any]] | None:
    """How rows change places, in groups or strata that are drawn into the options or in neither."""
    units, strata = [np.array([i]) for i in range(n)], np.zeros(n, dtype=int)
    if rng.random() < 0.4:
        options["groups"] = rng.integers(max(1, n // 2), size=n)
        units = [np.flatnonzero(options["groups"] == g) for g in _first_seen(options["groups"])]
    if rng.random() < 0.4:
        for rows in units:
            strata[rows] = rng.integers(3)
        options["strata"] = strata
    kinds = [(strata[rows[0]], len(rows)) for rows in units]
    cells = [[rows for rows, k in zip(units, kinds, strict=True) if k == kind]
             for kind in dict.fromkeys(kinds)]  # fmt: skip
    if options and max(map(len, cells)) == 1:  # refused
        return None

    def drawn(draws: np.random.Generator) -> NDArray[Any]:
        order = np.arange(n)
        for cell in cells:
            for rows, at in zip(cell, draws.permutation(len(cell)), strict=True):
                order[rows] = cell[at]
        return order

    return drawn


def independence(s: Samples) -> Iterator[Claim]:
    x, y, a, b = _paired(s)
    n, count, seed = min(len(a), 200), int(s.rng.integers(1, 60)), int(s.rng.integers(2**31))
    x, y, a, b = x[:n], y[:n], a[:n], b[:n]
    statistic = s.rng.choice(["distance_covariance", "hsic", "kernels"]).item()
    if n < 2:
        return
    k, other = Pairs(a, a).distances, Pairs(b, b).distances
    options: dict[str, Any] = {}
    drawn = _orders(s.rng, n, options)
    if drawn is None:
        return
    if statistic == "hsic":
        medians = [float(np.median(d[np.triu_indices(n, 1)])) for d in (k, other)]
        if min(medians) < 1e-100:
            return
        k, other = (np.exp(-((d / r) ** 2) / 2) for d, r in zip((k, other), medians, strict=True))
    if statistic == "kernels":
        chosen, beside = choose(s.rng, a), choose(s.rng, b)
        k, other = chosen.matrix(a, a), beside.matrix(b, b)
        options |= {"x_kernel": chosen.kernel, "y_kernel": beside.kernel}
    got = pt.independence_test(
        x, y, statistic="hsic" if statistic == "kernels" else statistic, **options,
        n_permutations=count, rng=seed, method="random", workers=s.workers,
    )  # fmt: skip
    draws, orders = np.random.default_rng(seed), [np.arange(n)]
    orders += [drawn(draws) for _ in range(count)]
    expected = np.array([_centred_product(k, other[np.ix_(o, o)], "biased") for o in orders])
    size = float(np.abs(k).max()) * float(np.abs(other).max())
    name = f"{statistic} {n} {a.shape[1]} {b.shape[1]} {' '.join(options)}"
    if statistic == "kernels":
        name += f" {chosen.name}, {beside.name}"
    yield f"{name} null", [got.statistic, *got.null_distribution], expected, 4e-12 * size
    yield from _pvalue(name, got.pvalue, expected, 2.0**-36 * size, 4e-12 * size)


def sliced(s: Samples) -> Iterator[Claim]:
    n, m = (min(rows, 150) for rows in (len(s.a), len(s.b)))
    a, b = s.a[:n], s.b[:m]
    statistic = s.rng.choice(["energy", "wasserstein", "max"]).item()
    p = 1.0 if statistic == "energy" else s.rng.choice([1.0, 2.0, 3.5]).item()
    count, seed, slices = (int(s.rng.integers(1, top)) for top in (20, 2**31, 6))
    options = {} if statistic == "energy" else {"p": p}
    got = pt.sliced_test(
        s.x[:n], s.y[:m], statistic=statistic, n_projections=slices, n_permutations=count,
        rng=seed, workers=s.workers, **options,
    )  # fmt: skip
    draws, d = np.random.default_rng(seed), a.shape[1]
    along = pt.sphere_directions(d, slices, rng=draws)
    z = np.concatenate([a, b])
    z -= np.median(z, axis=0)
    labels = [np.arange(n + m) < n]
    if got.null == "exact":
        chosen = itertools.combinations(range(n + m), n)
        labels = [np.isin(np.arange(n + m), some) for some in chosen]
    else:
        for _ in range(count):
            labels.append(np.isin(np.arange(n + m), draws.permutation(n + m)[:n]))
    costs = np.array([[_cost(z @ one, is_x, statistic, p) for one in along.T] for is_x in labels])
    expected = costs.max(axis=1) if statistic == "max" else costs.mean(axis=1)
    if statistic == "energy":
        expected *= math.sqrt(math.pi) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    reach = 2 * float(np.linalg.norm(z, axis=1).max())
    name, slack = f"{statistic} {p} {n}+{m} {d} {slices}", 1e-12 * (p + d) * reach**p
    if got.null == "exact":
        yield f"{name} all", np.sort(got.null_distribution), np.sort(expected), slack
    else:
        yield f"{name} null", [got.statistic, *got.null_distribution], expected, slack
        yield from _pvalue(name, got.pvalue, expected, 2.0**-30 * reach**p + slack, slack)


def _cost(u: Floats, is_x: NDArray[Any], statistic: str, p: float) -> float:
    """The energy distance, or W_p^p, of two samples on a line."""
    x, y = u[is_x], u[~is_x]
    if statistic == "energy":
        between, of_x, of_y = (
            np.abs(np.subtract.outer(*pair)).mean() for pair in ((x, y), (x, x), (y, y))
        )
        return float(2 * between - of_x - of_y)
    moved = np.sort(np.repeat(x, len(y))) - np.sort(np.repeat(y, len(x)))
    return float(np.mean(np.abs(moved) ** p))


def online(s: Samples) -> Iterator[Claim]:
    window = int(s.rng.integers(2, 9))
    n = min(len(s.a), 120)
    if n <= 4 * window:
        return
    reference, stream, a, b = s.x[:n], s.y[:60], s.a[:n], s.b[:60]
    chosen = choose(s.rng, a)
    seed, run_time = int(s.rng.integers(2**31)), 5.0
    detector = pt.OnlineMMD(
        reference, window, expected_run_time=run_time, kernel=chosen.kernel, n_simulations=30,
        rng=seed, workers=s.workers,
    )  # fmt: skip
    got, at = [], 0
    while at < len(stream):
        step = int(s.rng.integers(1, 2 * window))
        got.extend(detector.update(stream[at : at + step]).statistics)
        at += step
    both = np.concatenate([a, b])
    k, size = chosen.matrix(both, both), chosen.largest(both, both)
    for t in range(window - 1, len(b)):
        rows = np.r_[np.arange(n), np.arange(n + t - window + 1, n + t + 1)]
        expected = _labelled(k[np.ix_(rows, rows)], np.arange(len(rows)) < n, "unbiased")
        yield f"{chosen.name} {n} window {window} row {t}", got[t], expected, 4e-12 * size
    draws, length = np.random.default_rng(seed), 2 * window - 1
    first = []
    for _ in range(30):
        drawn = draws.choice(n, size=length, replace=False)
        rows = np.r_[np.setdiff1d(np.arange(n), drawn), drawn[:window]]
        is_reference = np.arange(len(rows)) < n - length
        first.append(_labelled(k[np.ix_(rows, rows)], is_reference, "unbiased"))
    expected = np.quantile(first, 1 - 1 / run_time, method="weibull")
    expected *= (1 / window + 1 / n) / (1 / window + 1 / (n - length))
    yield f"{chosen.name} first threshold", detector.thresholds[0], expected, 4e-12 * size


def median_rules(s: Samples) -> Iterator[Claim]:
    """Bandwidths by name: of the pooled sample, exactly once."""
    z = np.concatenate([s.a, s.b])
    if not 3 <= len(z) <= 500 or not np.ptp(z):
        return
    of_pairs = np.triu_indices(len(z), 1)
    d = Pairs(z, z).distances[of_pairs]
    rule = s.rng.choice(["median", "median:alibi", "median:torchdrift", "mean:alibi",
                         "scale:sklearn", "auto:sklearn"]).item()  # fmt: skip
    ordered, n = np.sort(d), len(z)
    length = {
        "median": lambda: float(np.median(d)),
        "median:alibi": lambda: math.sqrt(ordered[(len(d) - 1) // 2] ** 2 / 2),
        "median:torchdrift": lambda: float(np.sort(np.r_[np.zeros(n), d, d])[(n * n - 1) // 2]),
        "mean:alibi": lambda: math.sqrt(np.mean(d**2) / 2),
        "scale:sklearn": lambda: math.sqrt(z.shape[1] * z.var() / 2),
        "auto:sklearn": lambda: math.sqrt(z.shape[1] / 2),
    }[rule]()
    if not length > 1e-100:
        return
    chosen = Chosen(rule, [(1.0, gaussian(s.rng, length))])
    got = pt.mmd(s.x, s.y, kernel=pt.Gaussian(rule), estimator="biased", **s.options)
    value, size = _two_samples(s, chosen, None, None, "biased")
    # a bandwidth that is off by r in relative terms moves a value by 0.74 r at most
    yield rule, got, value, (s.bound + 1e-12) * size


CASES: list[Callable[[Samples], Iterator[Claim]]] = [
    mmd, mmd_of_blocks, mmd_gradient, energy_distance, sums, witness, log_sum_exp, mmd_power, kid,
    dependence, cauchy_schwarz, stein, two_sample_test, aggregated, disco, independence, sliced,
    online, median_rules,
]  # fmt: skip


def draw_statistic(seed: int, number: int) -> tuple[str, Callable[[], list[str]]]:
    """Name of a case, and what finds the claims that do not hold."""
    rng = np.random.default_rng([seed, number, 1])
    case = CASES[rng.integers(len(CASES))]
    kind, layout = (rng.choice(list(names)).item() for names in (HOSTILE, LAYOUTS))
    dtypes = ["float16", "bfloat16", "int8", "uint8", *3 * ["float32"], *2 * ["float64"]]
    dtype = rng.choice(dtypes).item()
    other = rng.choice(dtypes).item() if rng.random() < 0.2 else dtype
    d = round(log_uniform(rng, 1, 2000)) if rng.random() < 0.8 else 1
    most = max(4, min(900, int((2e7 / (d + 20)) ** 0.5)))
    n, m = (
        min(most, int(rng.choice(EDGES)) if rng.random() < 0.4 else round(log_uniform(rng, 1, 900)))
        for _ in range(2)
    )
    if rng.random() < 0.1:
        n, m = 1, min(3000, 3 * most)
    values = HOSTILE[kind](rng, n + m, d)
    if rng.random() < 0.5:  # neither sample keeps its half of the kind
        values = values[rng.permutation(n + m)]
    x, y = LAYOUTS[layout](cast(values[:n], dtype)), LAYOUTS[layout](cast(values[n:], other))
    samples = Samples(
        rng, x, y, x.astype(np.float64), y.astype(np.float64), int(rng.integers(1, 4)),
        "float64" if rng.random() < 0.2 else "default",
    )  # fmt: skip
    tile = [(0, 0), (0, 0), (1, 1), (14, 32), (50, 300), (20, 70), (64, 512)][rng.integers(7)]
    name = f"{case.__name__} {kind} {dtype} {other} {layout} {n} + {m} x {d}, tile={tile}"
    return name, partial(_complaints, case, samples, tile)


def _complaints(
    case: Callable[[Samples], Iterator[Claim]], samples: Samples, tile: tuple[int, int]
) -> list[str]:
    out = []
    with on_backend("native"), forced_tile(*tile), np.errstate(under="ignore", over="ignore"):
        try:
            for claim in case(samples):
                out += _missed(*claim)
        except (ValueError, ArithmeticError) as error:
            out.append(f"{type(error).__name__}: {error}")
    return out


def _missed(what: str, got: Any, expected: Any, allowed: Any) -> list[str]:
    """What to say of a claim that does not hold."""
    if getattr(got, "dtype", None) == np.float32:
        rounded = np.asarray(expected, dtype=np.float32)
        expected = np.where(np.isfinite(rounded), expected, rounded)  # what is too large is inf
    got, expected, allowed = (
        np.asarray(a, dtype=np.float64) for a in np.broadcast_arrays(got, expected, allowed)
    )
    if not np.isfinite(allowed).all():
        return []
    same = got == expected  # infinities too
    error = np.abs(np.where(same, 0.0, got) - np.where(same, 0.0, expected))
    share = error / (allowed + 1e-300)
    if np.all(share <= 1):
        return []
    worst = np.argmax(np.where(share <= 1, 0, np.nan_to_num(share, nan=np.inf)))
    shown = [float(a.flat[worst]) for a in (got, expected, error, allowed)]
    return [
        f"{what}: {np.count_nonzero(~(share <= 1))} of {got.size}; got {shown[0]!r}, "
        f"expected {shown[1]!r}, error {shown[2]:.3g} > {shown[3]:.3g}"
    ]
