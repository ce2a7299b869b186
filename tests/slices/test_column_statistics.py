"""Distances of columns against SciPy and their definitions, on both backends."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pairtile as pt
from backends import native_and_twin, on_backend
from processes import PEAK, measures_memory, run_python
from strategies import SEEDS, pairs_of_sets

# Around 128 rows, where the radix sort takes over, and the eight lanes of a sum.
ROWS = st.one_of(st.integers(1, 17), st.sampled_from([31, 64, 127, 128, 129, 257, 700]))
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
BACKENDS = [pytest.param("native", marks=pytest.mark.native), "numpy"]


@pytest.fixture(params=BACKENDS, autouse=True)
def backend(request: Any) -> Any:
    with on_backend(request.param):
        yield


only_native = pytest.mark.parametrize(
    "backend", [pytest.param("native", marks=pytest.mark.native)], indirect=True
)


def cramer_von_mises(u: Any, v: Any) -> float:
    """∫ (F − G)² dH, F and G taken behind each value."""
    both = np.concatenate([u, v])
    f, g = ((s <= both[:, None]).mean(axis=1) for s in (u, v))
    return float(((f - g) ** 2).mean())


def w2(u: Any, v: Any) -> float:
    """Of samples that are repeated until they are of one size."""
    common = math.lcm(len(u), len(v))
    at_u, at_v = (np.repeat(np.sort(s), common // len(s)) for s in (u, v))
    return float(np.sqrt(((at_u - at_v) ** 2).mean()))


def assert_right(found: pt.ColumnStatistics, x: Any, y: Any) -> None:
    """`found` against SciPy, column by column."""
    n, m = len(x), len(y)
    for j, (u, v) in enumerate(zip(x.T, y.T, strict=True)):
        # rounding is counted in values; the difference of nearly equal samples has no digits
        size = max(np.abs(u).max(), np.abs(v).max())
        near = {"rel": 1e-11, "abs": 1e-13 * size}
        ks = stats.ks_2samp(u, v, method="asymp" if n + m > 2 else "exact")
        assert found.w1[j] == pytest.approx(stats.wasserstein_distance(u, v), **near)
        assert found.w2[j] ** 2 == pytest.approx(w2(u, v) ** 2, rel=1e-10, abs=1e-13 * size**2)
        assert found.ks[j] == pytest.approx(ks.statistic, abs=1e-14)
        if n + m > 2:  # of round(1/2) = 0 values there is no law
            assert found.ks_pvalue[j] == pytest.approx(ks.pvalue, rel=1e-7, abs=1e-12)
        assert found.energy[j] == pytest.approx(stats.energy_distance(u, v) ** 2, **near)
        assert found.cvm[j] == pytest.approx(cramer_von_mises(u, v), abs=1e-14)
        assert found.crps[j] == found.energy[j] / 2
        quantiles = np.quantile(v, LEVELS) - np.quantile(u, LEVELS)
        np.testing.assert_allclose(found.quantile_difference[j], quantiles, atol=1e-14 * size)


@given(sets=pairs_of_sets(rows=ROWS, features=st.sampled_from([1, 2, 9])))
def test_every_distance_is_scipys(sets):
    """All dtypes, layouts and kinds of data: ties, constant columns, outliers, offsets."""
    x, y = sets
    found = pt.column_statistics(x.array, y.array)
    assert found.names == [f"x{j}" for j in range(x.values.shape[1])]
    assert found.quantile_difference.shape == (x.values.shape[1], 5)
    assert all(a.dtype == np.float64 for a in found[1:])
    assert_right(found, x.values, y.values)


@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=SEEDS)
def test_cramer_von_mises_is_scipys_where_no_values_tie(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=max(n, 2)), rng.normal(size=max(m, 2)) + 0.5
    n, m = len(x), len(y)
    expected = stats.cramervonmises_2samp(x, y, method="asymptotic").statistic
    assert pt.column_statistics(x, y).cvm[0] * n * m / (n + m) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 19, 20, 21, 1000])
def test_quantiles_have_the_bits_of_numpys(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 9)), rng.gamma(2.0, size=(50, 9))
    expected = np.quantile(y, LEVELS, axis=0) - np.quantile(x, LEVELS, axis=0)
    np.testing.assert_array_equal(pt.column_statistics(x, y).quantile_difference, expected.T)


def test_equal_distributions_are_equal_whatever_their_sizes():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, size=(60, 3)).astype(float)
    found = pt.column_statistics(x, rng.permutation(np.repeat(x, 7, axis=0)))
    for name in ("w1", "w2", "ks", "energy", "cvm", "crps"):
        assert not getattr(found, name).any(), name
    np.testing.assert_array_equal(found.ks_pvalue, 1)


def test_the_other_way_round_and_in_another_unit():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 4)), rng.gamma(2.0, size=(200, 4))
    found, turned = pt.column_statistics(x, y), pt.column_statistics(y, x)
    for name in ("w1", "w2", "ks", "ks_pvalue", "energy", "cvm"):
        np.testing.assert_allclose(getattr(turned, name), getattr(found, name), rtol=1e-13)
    np.testing.assert_array_equal(turned.quantile_difference, -found.quantile_difference)
    scaled = pt.column_statistics(-8 * x + 32, -8 * y + 32)
    for name in ("w1", "w2", "energy"):
        np.testing.assert_allclose(getattr(scaled, name), 8 * getattr(found, name), rtol=1e-12)
    for name in ("ks", "ks_pvalue"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(found, name), rtol=1e-12)


def test_they_are_the_other_functions_distances():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(130, 3)), rng.normal([0.0, 0.5, 2.0], size=(217, 3))
    found = pt.column_statistics(x, y)
    np.testing.assert_allclose(found.w1, pt.wasserstein_1d(x, y), rtol=1e-12)
    np.testing.assert_allclose(found.w2, pt.wasserstein_1d(x, y, p=2), rtol=1e-12)
    energies = [pt.energy_distance(x[:, j], y[:, j]) for j in range(3)]
    np.testing.assert_allclose(found.energy, energies, rtol=1e-10)
    # of a forecast by samples and one value, by its definition
    score = np.abs(x[:, 1] - 0.7).mean() - np.abs(np.subtract.outer(x[:, 1], x[:, 1])).mean() / 2
    assert pt.column_statistics(x[:, 1], [0.7]).crps[0] == pytest.approx(score, rel=1e-12)


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e200, 1.5e308])
def test_any_scale(scale):
    x, y = np.array([0.0, 1.0]), np.array([1.0, 0.0, 1.0, 1.0])
    found = pt.column_statistics(scale * x, scale * y)
    near = {"rel": 1e-14, "abs": 5e-324}
    assert found.w1[0] == pytest.approx(0.25 * scale, **near)
    assert found.w2[0] == pytest.approx(0.5 * scale, **near)
    assert found.energy[0] == pytest.approx(0.125 * scale, **near)
    assert found.ks[0] == 0.25
    assert found.cvm[0] == pytest.approx(0.0625 / 3)


def test_two_values_whose_difference_leaves_float64():
    largest = np.finfo(float).max
    found = pt.column_statistics([-largest, *[largest] * 7], [largest])
    assert found.w1[0] == pytest.approx(largest / 4)
    assert found.w2[0] == pytest.approx(largest / math.sqrt(2))


def test_zeros_have_no_sign():
    found = pt.column_statistics([-0.0, 0.0, 1.0], [0.0, 1.0, -0.0])
    assert all(value == 0 for value in (*found.w1, *found.w2, *found.ks, *found.cvm))


def test_one_row_against_many():
    x = np.random.default_rng(3).normal(size=100_000).astype(np.float32)
    found = pt.column_statistics([0.25], x)
    assert found.w1[0] == pytest.approx(np.abs(x.astype(float) - 0.25).mean(), rel=1e-10)
    assert found.w2[0] == pytest.approx(np.sqrt(((x.astype(float) - 0.25) ** 2).mean()), rel=1e-10)
    assert found.ks[0] == pytest.approx(max((x < 0.25).mean(), (x > 0.25).mean()))


@only_native
@given(sets=pairs_of_sets(rows=ROWS, features=st.sampled_from([1, 5, 20])))
def test_any_number_of_workers_gives_the_same_bits(sets):
    x, y = sets
    one, two = (pt.column_statistics(x.array, y.array, workers=w) for w in (1, 3))
    for a, b in zip(one[1:], two[1:], strict=True):
        assert a.tobytes() == b.tobytes()


@only_native
@given(sets=pairs_of_sets(rows=ROWS, features=st.sampled_from([1, 9])))
def test_the_engine_is_its_twin(sets):
    x, y = sets
    size = max(np.abs(x.values).max(), np.abs(y.values).max())
    native, twin = native_and_twin(pt.column_statistics, x.array, y.array)
    for name in ("w1", "w2", "energy", "quantile_difference"):
        a, b = getattr(native, name), getattr(twin, name)
        allowed = 1e-7 if name == "w2" else 1e-14  # the root of what rounding leaves of a square
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=allowed * size)
    np.testing.assert_array_equal(native.ks, twin.ks)
    np.testing.assert_allclose(native.cvm, twin.cvm, rtol=1e-12, atol=1e-15)


# --- arguments and results ----------------------------------------------------------------------


@pytest.mark.oracle("pandas")
def test_frames_are_read_by_name(monkeypatch):
    import pandas as pd

    from pairtile.slices import columns

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(30, 5))
    names = list("abcde")
    left = pd.DataFrame(x, columns=names).astype({"b": "float32"})
    right = pd.DataFrame(y, columns=names)[list("edcba")].assign(c=lambda f: f.c > 0)
    whole = pt.column_statistics(
        left.to_numpy(float), right[names].to_numpy(float), workers=1
    )._replace(names=names)
    seen: list[tuple[int, int]] = []
    for at_once in (1 << 25, 140, 1):  # numbers in work: all columns, two of them, one
        monkeypatch.setattr(columns, "_AT_ONCE", at_once)
        seen.clear()
        found = pt.column_statistics(
            left, right, workers=1, progress=lambda done, total: seen.append((done, total))
        )
        assert found.names == names
        assert seen[-1] == (5, 5)
        for a, b in zip(found[1:], whole[1:], strict=True):
            np.testing.assert_array_equal(a, b)
    assert pt.column_statistics(left["b"], y[:, 1]).names == ["b"]
    assert pt.column_statistics(x, right).names == list("edcba")


@pytest.mark.oracle("pandas")
def test_frames_that_cannot_be_compared():
    import pandas as pd

    x = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, np.nan], "c": ["u", "v"], "d": ["u", "v"]})
    with pytest.raises(TypeError, match=r"x has columns that are not numbers: 'c' \(.*'d'"):
        pt.column_statistics(x, x)
    numbers = x[["a", "b"]]
    with pytest.raises(ValueError, match="the first bad row is 1, in column 'b'"):
        pt.column_statistics(numbers, numbers)
    with pytest.raises(ValueError, match=r"lacks \['b'\]|lacks 'b'"):
        pt.column_statistics(numbers, numbers[["a"]])
    with pytest.raises(ValueError, match="is empty"):
        pt.column_statistics(numbers.iloc[:0], numbers)


def test_the_result_shows_itself():
    rng = np.random.default_rng(5)
    found = pt.column_statistics(rng.normal(size=(20, 7)), rng.normal(size=(30, 7)))
    assert "\n" not in repr(found)
    assert "<float64 array of shape (7,)>" in repr(found)
    assert "<caption>ColumnStatistics</caption>" in found._repr_html_()
    data = json.loads(json.dumps(found.to_dict()))
    assert list(data) == list(found._fields)
    assert data["names"] == [f"x{j}" for j in range(7)]
    assert len(data["quantile_difference"]) == 7


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="y contains NaN or Inf; the first bad row is 1"):
        pt.column_statistics([1.0], [1.0, bad])
    # where nobody looks, it harms its own column alone
    x, y = np.zeros((3, 2)), np.array([[1.0, bad], [2.0, 1.0]])
    found = pt.column_statistics(x, y, check_finite=False)
    assert found.w1[0] == 1.5


def test_faults_are_named():
    with pytest.raises(ValueError, match="x has 2 columns and y has 3"):
        pt.column_statistics(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="y is empty"):
        pt.column_statistics([1.0], [])
    with pytest.raises(TypeError, match="x must hold real numbers"):
        pt.column_statistics([1j], [1.0])


@measures_memory
@only_native
def test_a_few_columns_are_in_work_at_a_time():
    run_python(
        PEAK
        + """
    x, y = rng.normal(size=(2, 500_000, 24)).astype(np.float32)
    taken = growth(lambda: pt.column_statistics(x, y, workers=2))
    assert taken < 8 * 1e6 * 4 + 40e6 < 24 * 1e6 * 4, taken
    """
    )
