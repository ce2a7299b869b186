"""Losses over processes whose blocks a GPU computes, against one process on the host, in float64.

PyTorch has no tensors in the memory of a simulator: rows are on the host here, and the backend that
is chosen fetches them.
"""

import json

import pytest

from processes import run_python

pytestmark = [pytest.mark.gpu, pytest.mark.oracle("torch")]

SCRIPT = "import runpy; runpy.run_path('tensors/ring.py', run_name='__main__')"


def test_options_are_those_of_one_process() -> None:
    said = run_python(SCRIPT, PROCESSES="2", CASES="few", PAIRTILE_BACKEND="cuda")
    ranks = json.loads(said.splitlines()[-1])
    assert len(ranks) == 2
    for one in ranks:
        assert len(one["options"]) == 20
        for name, options, _, dtype, off in one["options"]:
            for what, error in off.items():
                # float32's weights are in two parts of bfloat16
                limit = 1e-11 if dtype == "torch.float64" else 2e-5
                assert error < limit, (name, options, dtype, what, error)
