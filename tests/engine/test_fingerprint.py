"""One answer on every instruction set of this machine, for every public function that computes.

What is decided by the order of canonical values has the same bits; sums are near. The tests of the
package run on the best instruction set alone, those of `tests/cpp` on each.
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import calls
import pairtile as pt
from calls import CALLS, LARGE, LARGE_ORDERED, ORDERED, assert_near, assert_same_bits
from processes import run_python

pytestmark = [pytest.mark.native, pytest.mark.host]


def test_every_function_that_computes_is_called():
    public = {name: getattr(pt, name) for name in pt.__all__}
    computing = {
        name
        for name, function in public.items()
        if inspect.isfunction(function) and "workers" in inspect.signature(function).parameters
    }
    assert computing
    called = set(re.findall(r"pt\.(\w+)\(", Path(calls.__file__).read_text()))
    assert computing - called == set()


def results_on(isa, path):
    """What an instruction set computes for every call."""
    said = run_python(
        """
        import os
        import numpy as np
        from pairtile import _native
        from calls import CALLS, LARGE, flat

        print(_native.isa())
        np.savez(os.environ["RESULTS"], **{
            f"{name}/{i}": part
            for name, call in (CALLS | LARGE).items()
            for i, part in enumerate(flat(call(2)))
        })
        """,
        PAIRTILE_ISA=isa,
        RESULTS=str(path),
    )
    assert said.strip() == isa
    with np.load(path) as stored:
        return {
            name: [stored[key] for key in stored.files if key.startswith(f"{name}/")]
            for name in CALLS | LARGE
        }


def test_every_instruction_set(tmp_path):
    from pairtile import _native

    first, *others = (results_on(isa, tmp_path / f"{isa}.npz") for isa in _native.isas())
    wrong = []
    for other in others:
        for name, right in first.items():
            assert right
            same = assert_same_bits if name in ORDERED | LARGE_ORDERED else assert_near
            try:
                same(other[name], right)
            except AssertionError as error:
                wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)
