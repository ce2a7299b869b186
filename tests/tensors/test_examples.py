"""The examples that train, each in a process of its own, do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from processes import measures_memory, run_python

pytestmark = pytest.mark.oracle("torch", "sklearn")

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def printed(name):
    return run_python(
        f"""
        import runpy, sys
        sys.path.insert(0, {str(EXAMPLES)!r})
        runpy.run_path({str(EXAMPLES / name)!r}, run_name="__main__")
        """,
        OMP_NUM_THREADS="1",
    )


def number(text, before):
    return float(re.search(re.escape(before) + r"\s*([-\d.e+]+)", text)[1])


@measures_memory
def test_two_towers():
    text = printed("two_towers.py")
    theirs, ours = (number(text, f"{name}: accuracy") for name in ("theirs", "ours"))
    assert ours == pytest.approx(theirs, abs=0.02)
    assert ours > 0.5
    assert re.search(r"theirs: a batch of 8192: .*can't allocate memory", text)
    assert 0 < number(text, "ours: a batch of 8192, loss") < 9.1  # log 8192, which guessing gives


def test_grad_cache():
    text = printed("grad_cache.py")
    assert number(text, "largest difference of a gradient:") < 1e-5
    assert number(text, "step 9: loss") < number(text, "step 0: loss") - 0.3


def test_supcon():
    text = printed("supcon.py")
    assert number(text, "SupCon: accuracy") > number(text, "untrained: accuracy") + 0.2


def test_learned_kernel():
    text = printed("learned_kernel.py")
    found = [float(p) for p in re.findall(r"(0\.\d+)", text)]
    (pixels, learned), (_, nothing) = found[:2], found[2:]
    assert learned <= 0.01 < 0.05 < pixels
    assert nothing > 0.05


def test_the_pages_name_every_example():
    pages = "".join(path.read_text(encoding="utf-8") for path in EXAMPLES.parent.glob("*.md"))
    for path in EXAMPLES.glob("*.py"):
        assert f"examples/{path.name})" in pages or path.name == "digits.py"
