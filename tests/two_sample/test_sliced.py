"""The test by projections: plain means over pairs and plain quantiles, enumerated relabellings."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pairtile as pt
from pairtile.two_sample import sliced
from processes import PEAK, measures_memory, run_python
from strategies import SEEDS, pairs_of_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KINDS = [("energy", 2.0), *itertools.product(("wasserstein", "max"), (1.0, 2.0, 3.5))]
ROWS = st.one_of(st.integers(1, 12), st.sampled_from([31, 64, 130]))


def sets(n: int, m: int, d: int, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.2


def cost(u: Floats, v: Floats, statistic: str, p: float) -> float:
    """Of two samples on a line, by their definitions over all pairs and over repeated values."""
    if statistic == "energy":
        between, of_u, of_v = (
            np.mean(np.abs(np.subtract.outer(a, b))) for a, b in ((u, v), (u, u), (v, v))
        )
        return float(2 * between - of_u - of_v)
    moved = np.sort(np.repeat(u, len(v))) - np.sort(np.repeat(v, len(u)))
    return float(np.mean(np.abs(moved) ** p))


def value(x: Floats, y: Floats, along: Floats, statistic: str, p: float) -> float:
    """The statistic of two samples in space."""
    costs = [cost(x @ one, y @ one, statistic, p) for one in along.T]
    d = len(along)
    longer = math.sqrt(math.pi) * math.gamma((d + 1) / 2) / math.gamma(d / 2)
    return (
        max(costs)
        if statistic == "max"
        else np.mean(costs) * (longer if statistic == "energy" else 1)
    )


# --- the statistic and its null ------------------------------------------------------------------


@pytest.mark.parametrize(("statistic", "p"), KINDS)
@pytest.mark.parametrize(
    ("n", "m", "d"), [(30, 30, 3), (25, 40, 5), (7, 64, 1), (1, 39, 2), (600, 20, 2)]
)
def test_the_statistic_and_its_null_are_the_definition(statistic, p, n, m, d):
    x, y = sets(n, m, d, seed=n)
    options = {"statistic": statistic, "p": p, "n_projections": 6}
    result = pt.sliced_test(x, y, **options, n_permutations=8, rng=3)
    rng = np.random.default_rng(3)
    along = pt.sphere_directions(d, 6, rng=rng)
    pooled = np.concatenate([x, y])
    null = []
    for _ in range(8):
        is_x = np.zeros(n + m, dtype=bool)
        is_x[rng.permutation(n + m)[:n]] = True
        null.append(value(pooled[is_x], pooled[~is_x], along, statistic, p))
    assert isinstance(result, pt.TestResult)
    observed = value(x, y, along, statistic, p)
    assert result.statistic == pytest.approx(observed, rel=1e-12)
    np.testing.assert_allclose(result.null_distribution, null, rtol=1e-11, atol=1e-15)
    at_least = np.sum(np.array(null) >= observed * (1 - 1e-9))
    assert result.pvalue == (1 + at_least) / 9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["gaussian", "orthogonal", "sobol"])
def test_the_statistic_is_that_of_the_plain_functions(method, dtype):
    x, y = (s.astype(dtype) for s in sets(120, 90, 6))
    along = pt.sphere_directions(6, 20, rng=5, method=method)
    options = {"n_projections": 20, "n_permutations": 1, "rng": 5, "method": method}
    rel = 1e-12 if dtype == "float64" else 1e-5
    got = pt.sliced_test(x, y, **options).statistic
    assert got == pytest.approx(pt.sliced_energy(x, y, directions=along), rel=rel)
    for p in (1, 2, 3):
        plain = pt.sliced_wasserstein(x, y, p=p, directions=along) ** p
        got = pt.sliced_test(x, y, statistic="wasserstein", p=p, **options).statistic
        assert got == pytest.approx(plain, rel=rel)
        each = [pt.sliced_wasserstein(x, y, p=p, directions=one[:, None]) ** p for one in along.T]
        got = pt.sliced_test(x, y, statistic="max", p=p, **options).statistic
        assert got == pytest.approx(max(each), rel=rel)


def test_single_columns_are_those_of_the_plain_tests():
    """One direction or many: of a line there is only the line."""
    x, y = sets(40, 25, 1)
    drawn = np.random.default_rng(1)
    pt.sphere_directions(1, 3, rng=drawn)  # relabellings follow in the same stream
    result = pt.sliced_test(x, y, n_projections=3, n_permutations=50, rng=1)
    plain = pt.energy_test(x, y, n_permutations=50, rng=drawn)
    np.testing.assert_allclose(result.null_distribution, plain.null_distribution, rtol=1e-11)
    assert result.pvalue == plain.pvalue
    distance = stats.wasserstein_distance(x[:, 0], y[:, 0])
    test = pt.sliced_test(x, y, statistic="wasserstein", p=1, n_permutations=1, rng=0)
    assert test.statistic == pytest.approx(distance, rel=1e-12)


@given(
    pair=pairs_of_sets(rows=ROWS, features=st.sampled_from([1, 2, 3, 17])),
    kind=st.sampled_from(KINDS),
    seed=SEEDS,
)
def test_any_data(pair, kind, seed):
    """1e-12 of the largest powers that are added, for any dtype, size and number of ties."""
    x, y = (s.values for s in pair)
    statistic, p = kind
    options = {"statistic": statistic, "p": p, "n_projections": 3, "n_permutations": 5}
    result = pt.sliced_test(*(s.array for s in pair), **options, rng=seed)
    rng = np.random.default_rng(seed)
    along = pt.sphere_directions(x.shape[1], 3, rng=rng)
    pooled = np.concatenate([x, y])
    pooled -= np.median(pooled, axis=0)  # which the oracle needs more than the product
    reach = float(np.abs(pooled).max()) * math.sqrt(x.shape[1])
    power = 1.0 if statistic == "energy" else p
    bound = 1e-11 * max(1.0, 2 * reach) ** power if reach > 1 else 1e-11 * (2 * reach) ** power
    got = [result.statistic, *result.null_distribution]
    if result.null == "exact":
        chosen = list(itertools.combinations(range(len(pooled)), len(x)))
        got = [result.statistic, *np.sort(result.null_distribution)]
    else:
        chosen = [tuple(rng.permutation(len(pooled))[: len(x)]) for _ in range(5)]
    labels = [np.isin(np.arange(len(pooled)), some) for some in chosen]
    expected = [value(pooled[of_x], pooled[~of_x], along, statistic, p) for of_x in labels]
    if result.null == "exact":
        expected.sort()
    observed = value(pooled[: len(x)], pooled[len(x) :], along, statistic, p)
    np.testing.assert_allclose(got, [observed, *expected], rtol=1e-9, atol=bound)
    assert 0 < result.pvalue <= 1


# --- relabellings --------------------------------------------------------------------------------


def exact_cost(u: Any, v: Any, statistic: str, p: int) -> Fraction:
    """`cost` of whole numbers, without rounding."""
    if statistic == "energy":
        between, of_u, of_v = (
            Fraction(sum(abs(int(s) - int(t)) for s in a for t in b), len(a) * len(b))
            for a, b in ((u, v), (u, u), (v, v))
        )
        return 2 * between - of_u - of_v
    left = sorted(int(s) for s in u for _ in v)
    right = sorted(int(t) for t in v for _ in u)
    return Fraction(sum(abs(s - t) ** p for s, t in zip(left, right, strict=True)), len(left))


@pytest.mark.parametrize(
    ("statistic", "p"), [("energy", 2), ("wasserstein", 1), ("max", 3), ("wasserstein", 40)]
)
@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 6), (6, 2)])
def test_relabellings_that_tie_in_theory_are_ties(statistic, p, n, m):
    """Whole numbers on a line, of which most relabellings tie: all are looked at, or some drawn."""
    for seed in range(6):
        z = np.random.default_rng(seed).integers(4, size=(n + m, 1)) * (10**9 if seed > 3 else 1)
        values = {
            some: exact_cost(
                z[list(some), 0],
                z[[i for i in range(n + m) if i not in some], 0],
                statistic,
                p,
            )
            for some in itertools.combinations(range(n + m), n)
        }
        # large powers that differ in their last digits tie as well
        observed = values[tuple(range(n))] * (1 - Fraction(1, 10**10))
        options = {"statistic": statistic, "p": p, "n_projections": 2, "rng": seed}
        result = pt.sliced_test(z[:n] / 8, z[n:] / 8, **options)
        at_least = sum(value >= observed for value in values.values())
        assert result.null == "exact"
        assert result.n_permutations == len(values)
        assert result.pvalue == at_least / len(values)
        assert result.null_distribution[0] == result.statistic
        rng = np.random.default_rng(seed)
        pt.sphere_directions(1, 2, rng=rng)
        drawn = [tuple(sorted(rng.permutation(n + m)[:n])) for _ in range(25)]
        at_least = sum(values[some] >= observed for some in drawn)
        result = pt.sliced_test(z[:n] / 8, z[n:] / 8, n_permutations=25, **options)
        assert result.null == "permutation"
        assert result.pvalue == (1 + at_least) / 26


@pytest.mark.parametrize("p", [1, 2, 6])
def test_ties_of_one_row_far_from_many(p):
    """Of which W_p is far larger than values are on average."""
    x, y = np.array([[9.9]]), np.arange(2000.0)[:, None] / 3e9
    y[[5, 700, 1999]] = 9.9
    options = {"statistic": "wasserstein", "p": p, "n_projections": 3}
    result = pt.sliced_test(x, y, n_permutations=2001, rng=0, **options)
    assert result.null == "exact"
    assert result.pvalue == 4 / 2001


@pytest.mark.parametrize(("statistic", "p"), KINDS)
def test_rows_that_are_repeated_tie_in_space(statistic, p):
    """Of two rows that are equal it does not matter which one is called x."""
    rng = np.random.default_rng(0)
    few = rng.normal(size=(3, 4)) + 100
    x, y = few[[0, 0, 1, 2, 2]], few[[0, 1, 1, 2]]
    result = pt.sliced_test(
        x, y, statistic=statistic, p=p, n_projections=5, n_permutations=100, rng=1
    )
    along = pt.sphere_directions(4, 5, rng=1)
    observed = value(x, y, along, statistic, p)
    near = np.isclose(result.null_distribution, observed, rtol=1e-9, atol=0)
    assert near.any()
    at_least = np.sum(near | (result.null_distribution > observed))
    assert result.pvalue == (1 + at_least) / 101


@pytest.mark.parametrize(("statistic", "p"), KINDS)
def test_groups_of_unequal_size_are_exchanged_whole(statistic, p):
    """Samples then differ in size from one relabelling to the next."""
    x, y = sets(13, 12, 2)
    groups = np.array([*"aaabbbbbccccc", *"ddeeeefffggg"])
    options = {"statistic": statistic, "p": p, "n_projections": 4, "n_permutations": 3}
    result = pt.sliced_test(x, y, groups=groups, **options, rng=2)
    assert result.null == "permutation"
    rng = np.random.default_rng(2)
    along = pt.sphere_directions(2, 4, rng=rng)
    pooled = np.concatenate([x, y])
    names = np.array([*"abcdefg"])
    for got in result.null_distribution:
        is_x = np.isin(groups, names[rng.permutation(7)[:3]])
        assert got == pytest.approx(
            value(pooled[is_x], pooled[~is_x], along, statistic, p), rel=1e-11
        )


def test_pairs_change_places():
    x, y = sets(12, 12, 3)
    options = {"n_projections": 4, "n_permutations": 9, "rng": 0}
    paired = pt.sliced_test(x, y, paired=True, **options)
    strata = pt.sliced_test(x, y, strata=np.tile(np.arange(12), 2), **options)
    assert paired.pvalue == strata.pvalue
    np.testing.assert_array_equal(paired.null_distribution, strata.null_distribution)
    # what the rows of a pair share is no difference, and hides none
    far = 3 * np.random.default_rng(0).normal(size=(60, 1))
    options = {"n_projections": 1, "n_permutations": 199, "rng": 0}
    assert pt.sliced_test(far, far + 0.5, paired=True, **options).pvalue == 1 / 200
    assert pt.sliced_test(far, far + 0.5, **options).pvalue > 0.1


# --- how it is computed --------------------------------------------------------------------------


@pytest.mark.parametrize(("statistic", "p"), [("energy", 2), ("wasserstein", 2), ("max", 1)])
def test_batches_and_threads_change_nothing(statistic, p, monkeypatch):
    x, y = sets(150, 170, 4)
    options = {"statistic": statistic, "p": p, "n_projections": 11, "n_permutations": 40, "rng": 0}
    right = pt.sliced_test(x, y, workers=1, **options)
    for numbers in (1 << 23, 1000, 1):
        monkeypatch.setattr(sliced, "_NUMBERS", numbers)
        for workers in (1, 3):
            got = pt.sliced_test(x, y, workers=workers, **options)
            assert got.pvalue == right.pvalue
            # products of matrices of other shapes may round otherwise
            np.testing.assert_allclose(got.null_distribution, right.null_distribution, rtol=1e-12)


@pytest.mark.native
@given(
    rows=st.sampled_from([2, 3, 8, 9, 127, 128, 129, 700]),
    count=st.sampled_from([1, 7, 8, 9, 63, 64, 65, 130]),
    equal=st.sampled_from(["all", "half", "none"]),
    kind=st.sampled_from([("energy", 1.0), *(("", p) for p in (1.0, 2.0, 3.5))]),
    ties=st.booleans(),
    batch=st.sampled_from([1, 500, 1 << 17]),
    seed=SEEDS,
)
def test_native_costs_are_the_twins(rows, count, equal, kind, ties, batch, seed):
    """Of relabellings that call so many rows x as others, or not."""
    from pairtile import _native
    from pairtile._backends.numpy import relabelled

    rng = np.random.default_rng(seed)
    lines = rng.normal(size=(3, rows)) * [[1e-200], [1.0], [1e200]]
    if ties:
        lines = rng.integers(-2, 3, size=(3, rows)).astype(np.float64)
    sizes = rng.integers(1, rows, size=count)
    if equal != "none":
        sizes[:] = rows // 2 if equal == "half" else sizes[0]
    labels = np.array([rng.permutation(rows) < n for n in sizes])
    bits = np.packbits(labels.T, axis=1, bitorder="little")
    options = {"energy": kind[0] == "energy", "p": kind[1], "workers": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relabelled, "_BATCH", batch)
        expected = relabelled.relabelled_line_costs(lines, bits, sizes, **options)
    found = _native.relabelled_line_costs(lines, bits, sizes, **options)
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15)


@measures_memory
@pytest.mark.slow
@pytest.mark.native
def test_memory():
    """64 MB of projections and some lists of rows for each thread, whatever their number."""
    run_python(
        PEAK
        + """
    x, y = rng.normal(size=(2, 400_000, 2)).astype(np.float32)
    for statistic in ("energy", "wasserstein"):
        options = {"n_projections": 40, "n_permutations": 3, "rng": 0, "workers": 2}
        taken = growth(lambda: pt.sliced_test(x, y, statistic=statistic, **options))
        assert taken < 64e6 + 2 * 14 * 8 * 8e5, taken  # all projections are 256 MB
    """,
        MALLOC_MMAP_THRESHOLD_="1000000",  # what was freed is not kept for later calls
    )


def test_more_relabellings_than_go_side_by_side():
    x, y = sets(8, 10, 2)
    count = (1 << 12) + 30
    result = pt.sliced_test(x, y, n_projections=3, n_permutations=count, rng=0)
    few = pt.sliced_test(x, y, n_projections=3, n_permutations=20, rng=0)
    np.testing.assert_allclose(result.null_distribution[:20], few.null_distribution, rtol=1e-12)
    rng = np.random.default_rng(0)
    along = pt.sphere_directions(2, 3, rng=rng)
    pooled = np.concatenate([x, y])
    orders = [rng.permutation(18) for _ in range(count)]
    last = np.isin(np.arange(18), orders[-1][:8])
    expected = value(pooled[last], pooled[~last], along, "energy", 1)
    assert result.null_distribution[-1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("statistic", "p"), [("energy", 2), ("wasserstein", 2), ("max", 60)])
@pytest.mark.parametrize("size", [2.0**-1000, 2.0**-300, 2.0**300, 2.0**1020])
def test_data_of_any_size(statistic, p, size):
    """The p-value does not know the unit; the statistic goes with a power of it."""
    x, y = sets(20, 30, 3)
    options = {"statistic": statistic, "p": p, "n_projections": 5, "n_permutations": 30, "rng": 0}
    right, got = pt.sliced_test(x, y, **options), pt.sliced_test(x * size, y * size, **options)
    assert got.pvalue == right.pvalue
    with np.errstate(over="ignore", under="ignore"):
        power = np.float64(size) ** (1 if statistic == "energy" else p)
        assert got.statistic == pytest.approx(float(right.statistic * power), rel=1e-9)


def test_directions_of_very_different_reach():
    """Powers that one unit for all slices would lose."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)) * [1e-9, 1.0]
    y = rng.normal(size=(30, 2)) * [1e-9, 1.0] + [0, 3]
    options = {"n_projections": 4, "n_permutations": 50, "rng": 1}
    test = pt.sliced_test(x, y, statistic="wasserstein", p=80, **options)
    along = pt.sphere_directions(2, 4, rng=1)
    assert test.statistic == pytest.approx(value(x, y, along, "wasserstein", 80), rel=1e-9)
    assert test.pvalue == 1 / 51


@pytest.mark.parametrize(("statistic", "p"), KINDS)
def test_samples_that_do_not_vary(statistic, p):
    x = np.full((5, 2), 0.1)
    test = pt.sliced_test(x, x[:3], statistic=statistic, p=p, n_permutations=20, rng=0)
    assert (test.statistic, test.pvalue) == (0, 1)
    assert not test.null_distribution.any()


def test_progress_goes_by_slices():
    told: list[tuple[int, int]] = []
    x, y = sets(20, 20, 2)
    pt.sliced_test(
        x, y, n_projections=5, n_permutations=9, rng=0, progress=lambda *s: told.append(s)
    )
    assert told == sorted(told)
    assert told[-1] == (5, 5)


def test_what_stops_one_slice_stops_all():
    """An exception while threads are at work, and the next call is not stopped by it."""
    x, y = sets(2000, 2000, 3)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    for statistic in ("energy", "wasserstein"):
        with pytest.raises(KeyboardInterrupt):
            pt.sliced_test(x, y, statistic=statistic, workers=2, rng=0, progress=stop)
    assert pt.sliced_test(x, y, n_permutations=9, n_projections=4, rng=0).pvalue == 0.1


# --- what it finds, and what it does not ---------------------------------------------------------


@pytest.mark.parametrize(("statistic", "p"), KINDS)
def test_differences_are_found(statistic, p):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 5))
    y[:, 2] += 1.5
    options = {"statistic": statistic, "p": p, "n_projections": 50, "n_permutations": 99, "rng": 0}
    assert pt.sliced_test(x, y, **options).pvalue == 0.01
    assert pt.sliced_test(x, x[::-1], **options).pvalue == 1


def null_pvalues(kind: str, runs: int, permutations: int, **options: Any) -> Floats:
    """Of samples of one distribution: with ties, in groups, or in pairs that go together."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(runs):
        x, y = rng.normal(size=(12, 2)), rng.normal(size=(9, 2))
        exchange: dict[str, Any] = {}
        if kind == "ties":
            x, y = np.round(x), np.round(y)
        elif kind == "groups":
            common = rng.normal(size=(7, 2)).repeat(3, axis=0)
            x, y = x + 2 * common[:12], y + 2 * common[12:]
            exchange["groups"] = np.arange(7).repeat(3)
        elif kind == "pairs":
            x, exchange["paired"] = x[:9] + 3 * y, True
            y = rng.normal(size=(9, 2)) + 3 * y
        options |= {"n_permutations": permutations, "n_projections": 10, "workers": 1}
        found.append(pt.sliced_test(x, y, **exchange, **options, rng=rng).pvalue)
    return np.array(found)


@pytest.mark.parametrize("kind", ["plain", "ties", "groups", "pairs"])
def test_level(kind):
    """P(p ≤ α) is at most α for any α, and about α without ties."""
    runs = 300
    pvalues = null_pvalues(kind, runs, 19)
    for level in (0.05, 0.1, 0.3):
        spread = math.sqrt(level * (1 - level) / runs)
        rate = np.mean(pvalues <= level + 1e-9)
        assert rate < level + 4 * spread
        if kind in ("plain", "pairs"):
            assert rate > level - 4 * spread


@pytest.mark.hand
@pytest.mark.parametrize(("statistic", "p"), [("energy", 2), ("wasserstein", 2), ("max", 2)])
@pytest.mark.parametrize("kind", ["plain", "ties", "groups", "pairs"])
def test_level_in_a_long_run(kind, statistic, p):
    runs = 4000
    pvalues = null_pvalues(kind, runs, 99, statistic=statistic, p=p)
    for level in (0.01, 0.05, 0.1):
        rate = np.mean(pvalues <= level + 1e-9)
        print(f"{kind} {statistic} {level}: {rate:.4f}")
        assert rate < level + 4 * math.sqrt(level * (1 - level) / runs)


# --- arguments -----------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "statistic": ({"statistic": "sinkhorn"}, ValueError, ["'sinkhorn'", "energy, wasserstein"]),
    "p": ({"statistic": "max", "p": 0.5}, ValueError, ["p must be", ">= 1", "0.5"]),
    "p of energy": ({"p": 3}, ValueError, ["p=3", "'wasserstein'"]),
    "projections": ({"n_projections": 0}, ValueError, ["n_projections", "at least 1"]),
    "method": ({"method": "halton"}, ValueError, ["method", "'halton'", "orthogonal"]),
    "permutations": ({"n_permutations": 0}, ValueError, ["n_permutations", "at least 1"]),
    "pairs of unequal samples": ({"paired": True}, ValueError, ["paired", "8", "6"]),
    "group in both": ({"groups": np.zeros(14, int)}, ValueError, ["groups", "row 0"]),
    "strata of another length": ({"strata": np.zeros(3, int)}, ValueError, ["strata", "(14,)"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    options, error, fragments = BAD[name]
    with pytest.raises(error) as caught:
        pt.sliced_test(*sets(8, 6, 2), **options)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_pairs_and_strata_are_one_or_the_other():
    x, y = sets(6, 6, 2)
    for name in ("groups", "strata"):
        with pytest.raises(ValueError, match=f"paired=True .*{name}"):
            pt.sliced_test(x, y, paired=True, **{name: np.arange(12)})


# --- relabellings by their word -----------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["energy", "wasserstein", "max"])
def test_relabellings_are_drawn_on_demand(statistic):
    """ "random" looks at drawn ones where all could be looked at; directions are the default's."""
    x, y = sets(4, 3, 5)
    options = {"statistic": statistic, "n_projections": 6, "rng": 3}
    every = pt.sliced_test(x, y, **options)
    assert (every.null, every.n_permutations) == ("exact", 35)
    named = pt.sliced_test(x, y, method="permutation", **options)
    np.testing.assert_array_equal(named.null_distribution, every.null_distribution)
    drawn = pt.sliced_test(x, y, method="random", **options)
    assert (drawn.null, drawn.n_permutations) == ("permutation", 999)
    assert drawn.statistic == every.statistic
    # one of them all, but for the order of sums
    gaps = np.abs(drawn.null_distribution[:, None] - every.null_distribution).min(axis=1)
    assert gaps.max() <= 1e-12 * every.null_distribution.max()
    assert abs(drawn.pvalue - every.pvalue) < 0.06


def test_drawn_relabellings_follow_the_directions_in_the_same_stream():
    x, y = sets(4, 3, 1)
    drawn = np.random.default_rng(1)
    pt.sphere_directions(1, 3, rng=drawn)
    result = pt.sliced_test(x, y, method="random", n_projections=3, n_permutations=50, rng=1)
    plain = pt.energy_test(x, y, method="random", n_permutations=50, rng=drawn)
    np.testing.assert_allclose(result.null_distribution, plain.null_distribution, rtol=1e-11)


def test_an_unknown_method_is_told_of_both_kinds():
    with pytest.raises(ValueError, match=r"method 'halton'.*orthogonal.*random"):
        pt.sliced_test(*sets(4, 3, 2), method="halton")
