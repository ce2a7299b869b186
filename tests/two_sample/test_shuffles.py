"""Shuffles in one call: those of NumPy's generators, which have used up as many random numbers."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import pairtile as pt
from pairtile._backends import choose
from pairtile._backends import numpy as twin
from pairtile.two_sample import shuffles
from pairtile.two_sample.relabelling import Exchange

MODULES = [pytest.param("numpy"), pytest.param("native", marks=pytest.mark.native)]
BIT_GENERATORS = [
    np.random.PCG64,
    np.random.PCG64DXSM,
    np.random.MT19937,
    np.random.Philox,
    np.random.SFC64,
]


def module(name: str) -> Any:
    if name == "numpy":
        return twin
    from pairtile import _native

    return _native


@st.composite
def designs(draw: Any) -> tuple[shuffles.Cells, list[int], NDArray[np.int64]]:
    """Cells of units in any order, how many of each are chosen, and the unit of each row."""
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 5, 17, 64, 100]), min_size=1, max_size=6))
    units = draw(st.permutations(range(sum(sizes))))
    cells = np.split(np.array(units), np.cumsum(sizes)[:-1])
    chosen = [draw(st.integers(0, size)) for size in sizes]
    rows = draw(st.lists(st.integers(0, len(units) - 1), min_size=1, max_size=200))
    return shuffles.Cells.of(cells), chosen, np.array(rows)


def of_cells(cells: shuffles.Cells) -> list[NDArray[np.int64]]:
    return [*np.split(cells.members.astype(np.int64), np.cumsum(cells.sizes)[:-1])]


def bits(words: NDArray[np.uint64], rows: int) -> NDArray[np.bool_]:
    every = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, bitorder="little")
    assert not every[:, rows:].any()
    return every[:, :rows].astype(np.bool_)


LARGE = shuffles.Cells.of([np.arange(5000)[::-1]]), [2500], np.arange(5000)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("kind", BIT_GENERATORS)
@given(design=designs(), seed=st.integers(0, 2**32), half=st.booleans())
@example(design=LARGE, seed=1, half=False)
@example(design=LARGE, seed=1, half=True)
def test_labels_and_orders_are_those_of_permutation(name, kind, design, seed, half):
    cells, chosen, unit = design
    mine, rng = (np.random.Generator(kind(seed)) for _ in range(2))
    if half:  # of a 64-bit number is left over
        mine.random(dtype=np.float32), rng.random(dtype=np.float32)
    orders = module(name).random_orders(mine, *cells, 3)
    for order in orders:
        expected = np.empty(len(cells.members), dtype=np.int64)
        for cell in of_cells(cells):
            expected[cell] = cell[rng.permutation(len(cell))]
        np.testing.assert_array_equal(order, expected)
    for of_row in (None, unit.astype(np.uint32)):
        first = np.array(chosen, dtype=np.uint32)
        labels = module(name).random_labels(mine, *cells, first, of_row, 3)
        rows = len(cells.members) if of_row is None else len(unit)
        for label in bits(labels, rows):
            is_one = np.zeros(len(cells.members), dtype=np.bool_)
            for cell, some in zip(of_cells(cells), chosen, strict=True):
                is_one[cell[rng.permutation(len(cell))[:some]]] = True
            np.testing.assert_array_equal(label, is_one if of_row is None else is_one[of_row])
    assert mine.random() == rng.random()


def test_batches_are_one_sequence(monkeypatch):
    cells = shuffles.Cells.of([np.arange(50)])
    whole = np.concatenate([*shuffles.orders(np.random.default_rng(0), cells, 20)])
    monkeypatch.setattr(shuffles, "_NUMBERS", 350)
    parts = [*shuffles.orders(np.random.default_rng(0), cells, 20)]
    assert [len(part) for part in parts] == [7, 7, 6]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


class Backwards(np.random.Generator):
    """A generator whose permutations are its own."""

    def permutation(self, x: Any, axis: int = 0) -> Any:
        return super().permutation(x, axis)[::-1]


def test_a_generator_with_permutations_of_its_own_is_asked_for_them():
    rng, expected = Backwards(np.random.PCG64(0)), Backwards(np.random.PCG64(0))
    (orders,) = shuffles.orders(rng, shuffles.Cells.of([np.arange(9)]), 4)
    np.testing.assert_array_equal(orders, [expected.permutation(9) for _ in range(4)])


def test_another_numpy_is_asked_for_its_permutations(monkeypatch):
    """Where the module's shuffles are not those of the NumPy that is installed."""

    class Other:
        @staticmethod
        def random_orders(rng: Any, members: Any, sizes: Any, count: int) -> Any:
            return np.tile(members[::-1].astype(np.int64), (count, 1))

    monkeypatch.setattr(choose, "module", lambda *_: Other)
    (orders,) = shuffles.orders(np.random.default_rng(3), shuffles.Cells.of([np.arange(9)]), 4)
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(orders, [rng.permutation(9) for _ in range(4)])


@pytest.mark.native
def test_the_engine_shuffles_as_this_numpy():
    assert shuffles._shuffles_as_numpy(module("native"))


def test_threads_may_share_a_generator():
    """Each of the relabellings that one generator gives goes to one of the calls."""
    rng = np.random.default_rng(8)
    cells = shuffles.Cells.of([np.arange(300)])
    with ThreadPoolExecutor(4) as pool:
        calls = pool.map(lambda _: next(shuffles.orders(rng, cells, 1))[0], range(64))
        found = {tuple(order.tolist()) for order in calls}
    again = np.random.default_rng(8)
    assert found == {tuple(again.permutation(300).tolist()) for _ in range(64)}


@pytest.mark.native
@pytest.mark.parametrize(
    ("members", "sizes", "chosen", "unit", "message"),
    [
        ([0, 0, 1], [3], [1], None, "each of so many numbers once"),
        ([0, 1, 3], [3], [1], None, "each of so many numbers once"),
        ([0, 1, 2], [2], [1], None, "those of the cells"),
        ([0, 1, 2], [2, 1], [1, 2], None, "no more can be chosen"),
        ([0, 1, 2], [2, 1], [1], None, "no more can be chosen"),
        ([0, 1, 2], [3], [1], [0, 3], "units that there are"),
    ],
)
def test_cells_that_are_none(members, sizes, chosen, unit, message):
    numbers = [np.array(a, dtype=np.uint32) for a in (members, sizes, chosen)]
    of_row = None if unit is None else np.array(unit, dtype=np.uint32)
    with pytest.raises(ValueError, match=message):
        module("native").random_labels(np.random.default_rng(0), *numbers, of_row, 2)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
def test_the_smaller_sample_is_labelled(n):
    exchange = Exchange(n, 64)
    words, sizes = exchange.words(exchange.at_random(5, np.random.default_rng(0)))
    assert words.shape == (-(-(n + 64) // 64), 6)
    assert sizes.tolist() == [min(n, 64)] * 6
    assert bits(np.ascontiguousarray(words.T), n + 64).sum(axis=1).tolist() == sizes.tolist()


def test_a_test_of_one_seed_draws_the_same_on_every_backend(monkeypatch):
    x, y = np.random.default_rng(0).normal(size=(2, 40, 3))
    options = {"groups": np.repeat(np.arange(40), 2), "strata": np.repeat([0, 1, 0, 1], 20)}
    nulls = []
    for name in ("numpy", choose.backend()):
        with monkeypatch.context() as patched:
            patched.setattr(choose, "_active", (name, module(name) if name != "cuda" else twin))
            nulls.append(pt.energy_test(x, y, rng=4, **options).null_distribution)
    np.testing.assert_allclose(*nulls, rtol=1e-9)
