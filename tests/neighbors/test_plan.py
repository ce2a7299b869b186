"""What a search says it would do is what it does."""

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend


def rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_all_pairs_are_counted():
    index = pt.NeighborIndex(rows(50, 6))
    plan = index.plan(rows(20, 6, 1), 3)
    assert plan.strategy == "all pairs"
    assert plan.expected_pairs == 20 * 50
    assert all(isinstance(reason, str) and reason for reason in plan.reasons)
    assert str(plan).startswith("all pairs: 1,000 distances in full\n")
    assert repr(plan).startswith("SearchPlan(strategy='all pairs', expected_pairs=1000, reasons=(")


def test_numpy_computes_every_distance():
    with on_backend("numpy"):
        plan = pt.NeighborIndex(rows(50, 6)).plan(k=3)
    assert plan == (
        "all pairs",
        2500,
        ("NumPy computes every distance in float64",),
    )


def test_bad_questions():
    index = pt.NeighborIndex(rows(5, 6))
    with pytest.raises(ValueError, match="k"):
        index.plan(rows(3, 6), 6)
    with pytest.raises(ValueError, match="features"):
        index.plan(rows(3, 5), 2)


@pytest.mark.native
def test_reasons_name_what_was_weighed():
    index = pt.NeighborIndex(rows(3000, 20))
    reasons = index.plan(rows(3000, 20, 1), 3).reasons
    assert reasons[0].startswith("tiles of ")
    assert any(reason.startswith("all pairs in float32: a cost of ") for reason in reasons)
    assert any(reason.startswith("all pairs in float64: a cost of ") for reason in reasons)
    assert "precision" in pt.NeighborIndex(rows(9, 3), precision="float64").plan(k=1).reasons[1]


@pytest.mark.native
def test_words_of_16_bits_screen_where_they_are_multiplied_faster():
    from pairtile import _native

    y = rows(20_000, 128)
    reasons = pt.NeighborIndex(y).plan(rows(4000, 128, 1), 5).reasons
    has_words = _native.isa() in ("v3", "v3-vnni")
    assert any("in int16: a cost of" in reason for reason in reasons) == has_words
    assert (reasons[0] == "tiles of int16") == (_native.isa() == "v3")
    # what bytes cannot tell apart
    centres = rows(16, 128, 2)[np.random.default_rng(3).integers(16, size=20_000)]
    near = centres + np.float32(0.1) * y
    reasons = pt.NeighborIndex(near).plan(near[:4000], 5).reasons
    assert (reasons[0] == "tiles of int16") == has_words
    # what they cannot tell apart, either
    near = centres + np.float32(0.01) * y
    reasons = pt.NeighborIndex(near).plan(near[:4000], 5).reasons
    assert reasons[0] in ("tiles of float32", "tiles of bfloat16")


@pytest.mark.native
def test_bytes_screen_where_they_are_multiplied_and_tell_enough():
    from pairtile import _native

    y = rows(20_000, 128)
    reasons = pt.NeighborIndex(y).plan(rows(4000, 128, 1), 5).reasons
    has_bytes = _native.isa() in ("v3-vnni", "v4-vnni", "v4-bf16")
    assert (reasons[0] == "tiles of int8") == has_bytes
    assert any("in int8: a cost of" in reason for reason in reasons) == has_bytes
    # whole clusters within what bytes are off by
    centres = rows(16, 128, 2)[np.random.default_rng(3).integers(16, size=20_000)]
    near = centres + np.float32(0.01) * y
    assert pt.NeighborIndex(near).plan(near[:4000], 5).reasons[0] != "tiles of int8"
