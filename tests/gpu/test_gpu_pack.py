"""Rows as the tensor cores read them: what is packed, its norm, and what packing took off a row."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import SEEDS

pytestmark = pytest.mark.gpu
DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
PANEL, SLICE = 128, 64  # rows and features
TOGETHER = ("float16", "bfloat16", "float32", "float64")  # which may take the way of whole loads


@pytest.fixture(scope="module")
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


LAYOUTS: dict[str, Any] = {
    "whole": lambda a, d: a,
    "part": lambda a, d: a[:, 8 : 8 + d],
    "odd part": lambda a, d: a[:, 3 : 3 + d],
    "odd rows": lambda a, d: a[:, 8 : 8 + d],
    "upside down": lambda a, d: a[::-1],
    "reversed": lambda a, d: a[::-1, ::-1],
    "steps": lambda a, d: a[:, : 2 * d : 2],
}


def drawn(rng: Any, n: int, d: int, dtype: str, layout: str) -> Any:
    """An array of which rows are taken as a layout says; of numbers of many sizes."""
    width = (
        d if layout in ("whole", "upside down", "reversed") else 2 * d + 16 + (layout == "odd rows")
    )
    x = rng.normal(size=(n, width)) * np.exp2(rng.integers(-6, 6, size=(n, 1)))
    return (np.abs(x) if dtype == "uint8" else x).astype(kind_of(dtype))


def kind_of(dtype: str) -> Any:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)


def packed(
    cupy: Any, memory: Any, first: int, centre: Any, layout: str = "whole", d: int = 0
) -> tuple[Any, Any, Any, Any]:
    """The rows from `first` on: numbers, norms and residuals, all padded, and the findings."""
    from pairtile._backends.cuda import panels
    from pairtile._backends.cuda.memory import Rows

    bits = cupy.asarray(memory.view(f"u{memory.itemsize}"))  # CuPy may lack the dtype
    rows = Rows(LAYOUTS[layout](bits, d), memory.dtype.name)
    findings = panels.Findings()
    c = None if centre is None else cupy.asarray(centre)
    made = panels.Packed(rows, first, rows.n, None, c, findings.memory)
    n = panels.padded(rows.n - first)
    slices = -(-rows.d // SLICE)
    bits = made.memory.get().view(np.uint16).reshape(n // PANEL, slices, PANEL, 8, 8)
    r, chunk = np.arange(PANEL)[:, None], np.arange(8)[None]
    bits = bits[:, :, r, chunk ^ (r & 7)]  # the swizzle of panels.hpp
    values = (bits.astype(np.uint32) << 16).view(np.float32).astype(float)
    values = values.transpose(0, 2, 1, 3, 4).reshape(n, slices * SLICE)
    return values, made.norms.get(), made.residuals.get(), findings.read()


def judge(
    cupy: Any, memory: Any, first: int, centre: Any, layout: str = "whole", d: int = 0
) -> None:
    values, norms, residuals, found = packed(cupy, memory, first, centre, layout, d)
    x = LAYOUTS[layout](memory, d)
    n, d = len(x) - first, x.shape[1]
    wide = x[first:].astype(float).astype(np.longdouble)
    wanted = wide - (0 if centre is None else centre)
    np.testing.assert_array_equal(values[n:], 0)
    np.testing.assert_array_equal(values[:, d:], 0)
    assert np.all(np.isinf(norms[n:]))
    off = np.abs(values[:n, :d] - wanted)
    assert np.all(off <= np.abs(wanted) * (2.0**-8 + 2.0**-20))  # the nearest of bfloat16
    squares = (values[:n].astype(np.longdouble) ** 2).sum(1)
    assert np.all(np.abs(norms[:n] - squares) <= 2.0**-22 * squares)
    lost = np.sqrt((off**2).sum(1))
    assert np.all(residuals[:n] >= lost)
    slack = 2.0**-24 * np.sqrt((wanted**2).sum(1)) + lost * 1e-3
    exact = centre is None and x.dtype != np.float64  # but for sums
    assert np.all(residuals[:n] <= lost * (1 + 1e-5) + (0 if exact else slack))
    largest, largest_residual, beyond, fractions = found
    longest = np.sqrt(squares.max())
    assert longest <= largest <= longest * (1 + 2.0**-20)
    assert largest_residual == residuals[:n].max()
    assert not beyond
    whole = np.all(wide == np.rint(wide)) and np.all(wanted == np.rint(wanted))
    assert fractions == (not whole)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "d", "layout"),
    [
        (1, 4, "whole"), (7, 64, "whole"), (130, 68, "whole"), (300, 128, "whole"),
        (129, 65, "whole"), (20, 200, "part"), (20, 200, "odd part"), (20, 200, "odd rows"),
        (40, 72, "upside down"), (9, 12, "reversed"), (9, 36, "steps"),
    ],
)  # fmt: skip
def test_rows_as_packed(cupy: Any, n: int, d: int, layout: str, dtype: str, centred: bool) -> None:
    rng = np.random.default_rng([n, d])
    x = drawn(rng, n + 5, d, dtype, layout)
    centre = rng.normal(size=d).astype(np.float32).astype(float) if centred else None
    for first in (0, 5):
        judge(cupy, x, first, centre, layout, d)


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_numbers_are_packed_as_they_are(cupy: Any, dtype: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 100, size=(200, 72)).astype(kind_of(dtype))
    for centre in (None, np.zeros(72)):
        values, _, residuals, (_, lost, _, fractions) = packed(cupy, x, 0, centre)
        np.testing.assert_array_equal(values[:200, :72], x.astype(float))
        assert not residuals.any()
        assert lost == 0
        assert not fractions
    if dtype not in ("int8", "uint8"):
        x[199, 71] = 0.5
        assert packed(cupy, x, 0, None)[3][3]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**41])
def test_rows_beyond_are_found(cupy: Any, dtype: str, bad: float) -> None:
    for row, column in ((0, 0), (199, 71), (130, 5)):
        x = np.random.default_rng(4).normal(size=(200, 72)).astype(kind_of(dtype))
        with np.errstate(over="ignore"):
            x[row, column] = bad
        assert packed(cupy, x, 0, None)[3][2]
        x = np.ascontiguousarray(x[:129])
        assert packed(cupy, x, 0, None)[3][2] == (row == 0)


@given(SEEDS, st.integers(1, 300), st.integers(1, 40), st.sampled_from(TOGETHER), st.booleans())
def test_rows_of_any_shape(
    cupy: Any, seed: int, n: int, fours: int, dtype: str, centred: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = drawn(rng, n, 4 * fours, dtype, "whole")
    centre = rng.normal(size=4 * fours).astype(np.float32).astype(float) if centred else None
    judge(cupy, x, int(rng.integers(n)), centre)
