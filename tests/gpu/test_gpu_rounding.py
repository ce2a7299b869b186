"""How tensor cores round, and that the bounds of screens and of kernel sums hold for it.

Needs no GPU, but for what packs.
"""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import SEEDS

# terms of one addition, and bits that are kept below the largest: compute capability 8.x, 9.0, and
# the smaller groups with fewer bits or the larger ones with fewer
SLACK = 4.0  # times which a bound of sums exceeds some error at most
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


# --- Kernel sums: rows in three parts on a grid ---------------------------------------------------

PRODUCTS = {  # of parts, in the order in which they are added
    6: [(2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0)],
    8: [(1, 2), (2, 1), (2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0)],
}


class OnGrid(NamedTuple):
    """A row, its parts, and their step."""

    row: Any
    parts: Any
    step: float

    @property
    def packed(self) -> Any:
        return self.parts.sum(axis=0)

    def largest(self) -> list[float]:
        """What packing finds of a set that has this row alone."""
        of_parts = np.linalg.norm(self.parts, axis=1)
        lengths = np.linalg.norm(self.packed), np.linalg.norm(self.row - self.packed)
        return [*map(float, lengths), *of_parts.tolist(), *(of_parts / self.step).tolist()]


def on_grid(x: Any) -> OnGrid:
    """The parts of a row: its numbers in steps that are powers of two, 2⁻⁹ of one another."""
    least = max(float(np.abs(x).max()) / 256, float(np.linalg.norm(x)) / 3900)
    step = 2.0 ** np.ceil(np.log2(least))
    parts, rest, of_part = np.zeros((3, len(x))), np.array(x, dtype=np.float64), step
    for part in parts:
        part[:] = np.rint(rest / of_part) * of_part
        rest -= part
        of_part /= 512
    assert (parts.astype(ml_dtypes.bfloat16).astype(float) == parts).all()
    return OnGrid(np.asarray(x, dtype=np.float64), parts, step)


def screened_square(x: OnGrid, y: OnGrid, products: int, rule: str) -> float:
    """‖x − y‖² from float32 norms and a chain of products, before it is rounded itself."""
    total = 0.0
    for of_x, of_y in PRODUCTS[products]:
        total = dot(x.parts[of_x], y.parts[of_y], *RULES[rule], total)
    norms = np.float32(np.float32(x.packed @ x.packed) + np.float32(y.packed @ y.packed))
    return float(norms) - 2 * total


def rows_of_sums(kind: str, seed: int, d: int) -> tuple[Any, Any]:
    """Two rows whose products are of one sign, alternate in size, cancel, or are met last."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, d))
    if kind == "one sign":  # near to one another
        x = np.abs(x)
        y = x * (1 + 2.0**-9 * rng.normal(size=d))
    elif kind == "alternating":
        x *= np.where(np.arange(d) % 2, 2.0**-10, 1.0)
        y = x + 2.0**-12 * rng.normal(size=d)
    elif kind == "cancelling":
        y[1::2] = -y[: d - 1 : 2] * x[: d - 1 : 2] / x[1::2] * (1 + 2.0**-20)
        y[np.abs(y) > 64] = 64
    elif kind == "one large":
        x[0] = y[0] = 100.0
        x[1:], y[1:] = (2.0**-4 * np.abs(s[1:]) for s in (x, y))
    elif kind == "rising":
        x = np.abs(x) * 2.0 ** np.linspace(-8, 0, d)
        y = x * (1 + 2.0**-12 * rng.normal(size=d))
    return x.astype(np.float32), y.astype(np.float32)


KINDS = ("any", "one sign", "alternating", "cancelling", "one large", "rising")


def share_of_bound(kind: str, seed: int, d: int, products: int, rule: str) -> float:
    """The error of a squared distance in units of its bound."""
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    x, y = map(on_grid, rows_of_sums(kind, seed, d))
    exact = float(((x.row - y.row).astype(np.longdouble) ** 2).sum())
    bound = cuda.squared_distance_error(x.largest(), y.largest(), d, products)
    return abs(screened_square(x, y, products, rule) - exact) / bound


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("products", PRODUCTS)
@given(st.sampled_from(KINDS), SEEDS, st.integers(1, 150))
def test_the_bound_of_a_squared_distance_holds(
    products: int, rule: str, kind: str, seed: int, d: int
) -> None:
    assert share_of_bound(kind, seed, d, products, rule) <= 1


@pytest.mark.parametrize("rule", RULES)
def test_the_bound_of_a_squared_distance_is_near(rule: str) -> None:
    """Some rows come within a factor of SLACK of it: it is no bound of something else."""
    most = max(share_of_bound("alternating", seed, 16, 6, rule) for seed in range(40))
    assert most > 1 / SLACK


def test_where_steps_are_too_many_every_addition_counts() -> None:
    """Sums of 24 bits of steps lose next to nothing; longer ones as much as any, and more."""
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)

    def error(steps: float, d: int = 64) -> float:
        row = [1.0, 0.0, 1.0, 0.0, 0.0, steps, 0.0, 0.0]
        found: float = cuda.squared_distance_error(row, row, d, 6) * 2.0**24
        return found

    assert error(4000.0) == pytest.approx(6 + 2 * 4, rel=1e-5)
    assert error(4000.0, 4096) == error(4000.0)
    assert error(4200.0) == pytest.approx(6 + 2 * 11 * 9, rel=1e-5)
    # smaller parts fill their bits sooner
    row = [1.0, 0.0, 1.0, 2.0**-9, 0.0, 4000.0, 3.0, 0.0]
    wide = [*row[:6], 5.0, 0.0]
    assert cuda.squared_distance_error(row, row, 64, 6) < 15 * 2.0**-24
    assert cuda.squared_distance_error(wide, wide, 64, 6) > 15 * 2.0**-24


def test_eight_products_are_added_where_six_leave_much_near() -> None:
    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    pytest.importorskip("cupy", exc_type=ImportError)
    from pairtile._backends.cuda import tensor_sums

    terms = [(-1.0, "energy", (1.0,))]
    for expected in PRODUCTS:
        x, y = (on_grid(row).largest() for row in rows_of_sums("any", 0, 64))
        if expected == 8:  # second and third parts are large
            x[3:5] = y[3:5] = [2.0**-6 * x[0], 2.0**-14 * x[0]]
        products, near = tensor_sums._near_pairs(terms, x, y, 64, weighted=False)
        assert products == expected
        left = 2e-6 - cuda.sums_error(weighted=False)
        assert near == cuda.near_distance(terms, x, y, 64, products, left)
        six, eight = (cuda.squared_distance_error(x, y, 64, count) for count in PRODUCTS)
        assert eight < six


@pytest.mark.gpu
@pytest.mark.parametrize("d", [1, 33, 64, 130])
def test_rows_are_packed_on_their_grid(d: int) -> None:
    """Parts, norms and what the largest rows are, for rows of very different size."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    from pairtile._backends.cuda import memory, tensor_sums

    rng = np.random.default_rng(d)
    x = (rng.normal(size=(300, d)) * 2.0 ** rng.integers(-20, 10, size=(300, 1))).astype(np.float32)
    x[7], x[9, 0] = 0.0, 2.0**11
    packed = tensor_sums._OnGrid(memory.Rows(cupy.asarray(x)), 0, 300, cupy.zeros(d), 3)
    slices, panels = -(-d // 64), 4  # of 128 rows
    raw = packed.memory.get().view(ml_dtypes.bfloat16)
    raw = raw.reshape(panels, 3, slices, 128, 8, 8).astype(float)
    order = np.arange(8)[None] ^ (np.arange(128) % 8)[:, None]  # the swizzle
    raw = np.take_along_axis(raw, order[None, None, None, :, :, None], axis=4)
    parts = raw.transpose(1, 0, 3, 2, 4, 5).reshape(3, 512, 64 * slices)
    assert not parts[:, 300:].any()
    assert not parts[:, :, d:].any()
    rows = [on_grid(row) for row in x if row.any()]
    expected = np.array([row.parts for row in rows]).transpose(1, 0, 2)
    assert (parts[:, :300, :d][:, x.any(axis=1)] == expected).all()
    assert not parts[:, 7].any()
    norms = np.array([row.packed @ row.packed for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(packed.norms.get()[:300][x.any(axis=1)], norms)
    found, beyond = packed.largest()
    largest = np.max([row.largest() for row in rows], axis=0)
    assert (np.array(found) >= largest * (1 - 1e-12)).all()
    np.testing.assert_allclose(found, largest, rtol=1e-6)
    assert not beyond
    x[3, 0] = np.inf
    assert tensor_sums._OnGrid(memory.Rows(cupy.asarray(x)), 0, 300, cupy.zeros(d), 3).largest()[1]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("products", PRODUCTS)
def test_the_bound_holds_for_what_is_summed(
    kind: str, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Square roots of squared distances, one pair for each sum, none of them computed again."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    from pairtile import _cuda
    from pairtile._backends.cuda import memory, panels, tensor_sums

    monkeypatch.setattr(panels, "least_work", 0)
    monkeypatch.setattr(tensor_sums, "_near_pairs", lambda *_, **__: (products, -1.0))
    monkeypatch.setattr(_cuda, "sample_centre", lambda x, y, centre, stream: None)
    monkeypatch.setattr(cupy, "empty", cupy.zeros)  # a centre that is none
    d = 96
    rows = [rows_of_sums(kind, seed, d) for seed in range(3)]
    for x, y in rows:
        a, b = (memory.Rows(cupy.asarray(row[None])) for row in (x, y))
        found = tensor_sums.row_sums(
            a, b, [(-1.0, "energy", (1.0,))], None,
            precision="default", triangle=False, progress=None,
        )  # fmt: skip
        square = float(found[0]) ** 2
        exact = float(((x.astype(np.longdouble) - y) ** 2).sum())
        bound = _cuda.squared_distance_error(
            on_grid(x).largest(), on_grid(y).largest(), d, products
        )
        assert abs(square - exact) <= bound + 2.0**-21 * exact  # and a root


@pytest.mark.gpu
@pytest.mark.oracle("mmasim")
@pytest.mark.parametrize(
    ("arch", "instruction", "shape"),
    [
        ("Ampere", "MMA", "m16n8k16.f32.bf16.bf16.f32"),
        ("Hopper", "WGMMA", "m64n128k16.f32.bf16.bf16"),
    ],
)
def test_the_bound_of_a_squared_distance_holds_in_mmasim(
    arch: str, instruction: str, shape: str
) -> None:
    import torch
    from mmasim.nv_ptx import sim as simulated

    cuda = pytest.importorskip("pairtile._cuda", exc_type=ImportError)
    unit = getattr(simulated, instruction)(arch, shape)
    for kind in KINDS:
        for seed in range(4):
            x, y = map(on_grid, rows_of_sums(kind, seed, 64))
            total = torch.tensor(0.0, dtype=torch.float32)
            for of_x, of_y in PRODUCTS[6]:
                a, b = (torch.tensor(s).bfloat16() for s in (x.parts[of_x], y.parts[of_y]))
                for first in range(0, 64, 16):
                    total = unit.dpa(a[first : first + 16], b[first : first + 16], total)
            norms = np.float32(np.float32(x.packed @ x.packed) + np.float32(y.packed @ y.packed))
            exact = float(((x.row - y.row).astype(np.longdouble) ** 2).sum())
            bound = cuda.squared_distance_error(x.largest(), y.largest(), 64, 6)
            assert abs(float(norms) - 2 * float(total) - exact) <= bound


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
