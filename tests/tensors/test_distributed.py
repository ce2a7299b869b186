"""Losses over processes against one process: PyTorch's autograd of the whole batch, in float64.

Each number of processes is started once and goes through all cases (`ring`); the tests look at what
it found.
"""

from __future__ import annotations

import functools
import json

import pytest

from processes import run_python

pytestmark = pytest.mark.oracle("torch")

SCRIPT = "import runpy; runpy.run_path('tensors/ring.py', run_name='__main__')"

sizes = pytest.mark.parametrize("size", [2, 3])


@functools.cache
def found(size):
    """What each process found, in the order of their ranks."""
    return json.loads(run_python(SCRIPT, PROCESSES=str(size)).splitlines()[-1])


@sizes
@pytest.mark.parametrize("name", ["info_nce", "clip_loss", "siglip_loss"])
def test_value_and_gradients_are_those_of_one_process(size, name):
    for one in found(size):
        cases = [case for case in one["cases"] if case[0] == name]
        assert len(cases) == 12
        for _, which, dtype, normalize, off in cases:
            for what, error in off.items():
                limit = 1e-11 if dtype == "torch.float64" else 5e-6
                assert error < limit, (which, dtype, normalize, what)


@sizes
@pytest.mark.parametrize("name", ["info_nce", "clip_loss", "siglip_loss"])
def test_options_are_those_of_one_process(size, name):
    """Whatever the cut, and whichever gradients are wanted."""
    for one in found(size):
        cases = [case for case in one["options"] if case[0] == name]
        assert len(cases) >= 30
        for _, options, which, dtype, off in cases:
            for what, error in off.items():
                limit = 1e-11 if dtype == "torch.float64" else 5e-6
                assert error < limit, (options, which, dtype, what)


@sizes
def test_what_a_gpu_sweeps_by_itself_is_the_same(size):
    """Weights of rows too: their gradients were once those of the first row's weight."""
    for one in found(size):
        assert len(one["swept"]) == 15
        for name, options, which, _, off in one["swept"]:
            assert max(off.values()) < 1e-11, (name, options, which, off)


@sizes
def test_averaged_over_processes_gradients_of_a_model_are_those_of_one(size):
    assert all(one["tower"] < 1e-5 for one in found(size))


@sizes
def test_losses_of_separate_rows_keep_their_digits(size):
    assert all(one["separate"] < 2e-6 for one in found(size))


@sizes
def test_further_rows_are_negatives_of_all(size):
    assert all(one["more columns"] < 1e-11 for one in found(size))


@sizes
def test_no_process_sees_more_rows_than_the_largest_batch(size):
    assert {one["rows"] for one in found(size)} <= {9 if size == 2 else 7}


@sizes
def test_an_error_in_one_process_is_one_in_all(size):
    for rank, one in enumerate(found(size)):
        bad, columns, dtypes, options, groups, kinds, weights, *guides, twice, value = one[
            "refusals"
        ]
        if rank == 1:
            assert bad[0] == "ValueError"
            assert "NaN" in bad[1]
        else:
            assert bad[0] == "RuntimeError"
            assert "rank 1 of the group refused" in bad[1]
        assert columns[0] == dtypes[0] == "ValueError"
        assert "the ranks differ in columns" in columns[1]
        assert "the ranks differ in float64" in dtypes[1]
        assert options[0] == "ValueError"
        assert "the ranks differ in options" in options[1]
        assert groups[0] == ("ValueError" if rank == 1 else "RuntimeError")
        assert kinds == ["TypeError", kinds[1]]
        assert "must be integers in all ranks, or strings" in kinds[1]
        assert weights[0] == "ValueError"
        assert "weights sums to 0 over all rows" in weights[1]
        features, rows, margins, targets = guides
        assert features[0] == margins[0] == "ValueError"
        assert "the ranks differ in options" in features[1]
        assert "the ranks differ in options" in margins[1]
        assert rows[0] == ("ValueError" if rank == 1 else "RuntimeError")
        assert ("y_guide has" if rank == 1 else "rank 1 of the group refused") in rows[1]
        assert "x_guide and targets cannot be used together" in targets[1]
        assert "differentiated again" in twice[1]
        assert value == found(size)[0]["refusals"][-1]
