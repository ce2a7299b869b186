"""How tensor cores round, and that the bound of the screens holds for it. Needs no GPU."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import SEEDS

# terms of one addition, and bits that are kept below the largest: compute capability 8.x, 9.0, and
# the smaller groups with fewer bits or the larger ones with fewer
RULES = {"8.x": (8, 24), "9.0": (16, 25), "wide and short": (16, 24)}


def truncated(value: float, unit: float) -> float:
    return float(np.trunc(value / unit) * unit)


def exponent(value: float) -> int:
    return int(np.frexp(value)[1]) - 1 if value else -132


def dot(x: Any, y: Any, terms: int, bits: int, total: float = 0.0) -> float:
    """total + x·y of bfloat16 numbers: products exact, `terms` and the sum so far at a time.

    A product counts as large as the exponents of its factors say.
    """
    for first in range(0, len(x), terms):
        pairs = [(float(a), float(b)) for a, b in zip(x, y, strict=True)][first : first + terms]
        largest = max([exponent(total), *(exponent(a) + exponent(b) for a, b in pairs)])
        unit = 2.0 ** (largest - bits)
        total = truncated(total, unit) + sum(truncated(a * b, unit) for a, b in pairs)
        total = truncated(total, 2.0 ** (exponent(total) - 23))  # to float32, towards zero
    return total


def operands(seed: int, d: int) -> tuple[Any, Any]:
    """Numbers whose products differ much in size, cancel, or all lie just below a power of two."""
    rng = np.random.default_rng(seed)
    kind = seed % 4
    x, y = rng.normal(size=(2, d))
    if kind == 1:
        x *= 2.0 ** rng.integers(-12, 1, size=d)
    elif kind == 2:
        x, y = np.full(d, 1.9921875), np.full(d, 1.9921875)
        y[d // 2 :] *= -1
        x[0] = 128
    elif kind == 3:
        x[: d // 2], y[d // 2 :] = 2.0**-7 * x[: d // 2], -y[: d - d // 2]
    return x.astype(ml_dtypes.bfloat16), y.astype(ml_dtypes.bfloat16)


@pytest.mark.parametrize("rule", RULES)
@given(SEEDS, st.integers(1, 200))
def test_the_bound_of_a_screen_holds(rule: str, seed: int, d: int) -> None:
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    x, y = operands(seed, d)
    wide_x, wide_y = x.astype(float), y.astype(float)
    found = dot(x, y, *RULES[rule])
    bound = cuda.tensor_core_error(d, float(np.linalg.norm(wide_x)), float(np.linalg.norm(wide_y)))
    assert abs(found - wide_x @ wide_y) <= bound


def test_it_is_not_float32() -> None:
    """Sums of float32 are rounded to nearest: here they are exact, and tensor cores are not."""
    x = np.array([1.0] + [2.0**-13] * 7).astype(ml_dtypes.bfloat16)
    y = np.array([1.0] + [1.5 * 2.0**-11] * 7).astype(ml_dtypes.bfloat16)
    exact = x.astype(float) @ y.astype(float)
    assert dot(x, y, 8, 24) < np.float32(exact)


@pytest.mark.oracle("mmasim")
@pytest.mark.parametrize(
    ("rule", "arch", "instruction", "shape"),
    [
        ("8.x", "Ampere", "MMA", "m16n8k16.f32.bf16.bf16.f32"),
        ("9.0", "Hopper", "MMA", "m16n8k16.f32.bf16.bf16.f32"),
        ("9.0", "Hopper", "WGMMA", "m64n128k16.f32.bf16.bf16"),
    ],
)
def test_the_rule_is_that_of_mmasim(rule: str, arch: str, instruction: str, shape: str) -> None:
    """Of one instruction, of chains of them, and from sums of any size and sign."""
    import torch
    from mmasim.nv_ptx import sim as simulated

    unit = getattr(simulated, instruction)(arch, shape)
    rng = np.random.default_rng(8)
    for seed in range(40):
        chain = 1 + seed // 4 % 5
        x, y = operands(seed, 16 * chain)
        start = np.float32(rng.normal() * 2.0 ** rng.integers(-30, 12)) if seed % 3 else 0.0
        a, b = (torch.tensor(v.astype(np.float32)).bfloat16() for v in (x, y))
        total = torch.tensor(start, dtype=torch.float32)
        for first in range(0, len(x), 16):
            total = unit.dpa(a[first : first + 16], b[first : first + 16], total)
        assert float(total) == dot(x, y, *RULES[rule], float(start))
