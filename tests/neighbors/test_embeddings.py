"""Farthest rows of groups, histograms and ranks: the engine's, pair by pair those of its twin.

What is public of them is tested with the losses; here under every screen, on data made to tie, to
cancel and to leave the range of cheap arithmetic.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import forced_tile
from pairtile._backends import numpy as twin
from strategies import SEEDS, pairs_of_sets, point_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.native

SCREENS = st.sampled_from(["", "int8", "int16", "bfloat16", "float32", "float64"])
TILES = st.sampled_from([(0, 0), (1, 1), (14, 32), (50, 70)])


@contextlib.contextmanager
def forced(screen: str, tile: tuple[int, int]) -> Iterator[None]:
    from pairtile import _native

    _native._testing.set_screen(screen)
    try:
        with forced_tile(*tile):
            yield
    finally:
        _native._testing.set_screen("")


def check(name, *args, screen, tile):
    from pairtile import _native

    with forced(screen, tile):
        got = getattr(_native, name)(*args, workers=2)
    for mine, right in zip(got, getattr(twin, name)(*args, workers=1), strict=True):
        assert mine.dtype == right.dtype
        np.testing.assert_array_equal(mine, right)


@given(
    points=point_sets(),
    metric=st.sampled_from(["sqeuclidean", "cosine", "manhattan", "chebyshev", "canberra"]),
    classes=st.sampled_from([1, 3, 50]),
    screen=SCREENS,
    tile=TILES,
    seed=SEEDS,
)
def test_the_farthest_of_a_group(points, metric, classes, screen, tile, seed):
    groups = np.random.default_rng(seed).integers(classes, size=len(points.array))
    check("farthest_of_group", points.array, metric, groups, screen=screen, tile=tile)


@given(
    points=point_sets(),
    metric=st.sampled_from(["sqeuclidean", "cosine", "manhattan", "chebyshev"]),
    classes=st.sampled_from([1, 2, 3, 50]),
    most=st.sampled_from([0, 1, 5, 60]),
    screen=SCREENS,
    tile=TILES,
    seed=SEEDS,
)
def test_the_next_beyond_listed_rows(points, metric, classes, most, screen, tile, seed):
    """Of some anchors in any order; lists hold rows of any group, some of them twice."""
    rng = np.random.default_rng(seed)
    n = len(points.array)
    groups = rng.integers(classes, size=n)
    anchors = rng.permutation(n)[: rng.integers(1, n + 1)]
    indptr = np.insert(np.cumsum(rng.integers(most + 1, size=len(anchors))), 0, 0)
    listed = rng.integers(n, size=indptr[-1])
    args = points.array, metric, groups, anchors, indptr.astype(np.int64), listed
    check("next_beyond", *args, screen=screen, tile=tile)


@given(
    points=point_sets(),
    metric=st.sampled_from(["cosine", "sqeuclidean", "manhattan"]),
    classes=st.sampled_from([1, 3, 50]),
    bins=st.sampled_from([1, 2, 7, 300]),
    screen=SCREENS,
    tile=TILES,
    seed=SEEDS,
)
def test_histograms(points, metric, classes, bins, screen, tile, seed):
    """Half of the limits are distances of the data themselves."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(classes, size=len(points.array))
    values = twin.pairwise_distances(
        points.array[:20], points.array, metric, dtype="float64", workers=1
    )
    limits = rng.choice(values.ravel(), size=bins - 1)
    limits[::2] = rng.uniform(0, values.max() + 1, size=len(limits[::2]))
    limits.sort()
    args = points.array, metric, groups, classes, limits
    check("distance_histogram", *args, screen=screen, tile=tile)


@given(
    sets=pairs_of_sets(),
    metric=st.sampled_from(["inner_product", "cosine", "sqeuclidean", "manhattan"]),
    few=st.booleans(),
    screen=SCREENS,
    tile=TILES,
    seed=SEEDS,
)
def test_ranks(sets, metric, few, screen, tile, seed):
    """Targets of one row each, or of many."""
    x, y = (points.array for points in sets)
    targets = np.random.default_rng(seed).integers(
        1 + (len(y) - 1) // (9 if few else 1), size=len(x)
    )
    check("pair_ranks", x, y, metric, targets, screen=screen, tile=tile)
