"""`pairtile.jax` beside JAX's own gradients and finite differences."""

from __future__ import annotations

import functools
import json

import pytest

from processes import run_python

pytestmark = pytest.mark.oracle("jax")


@functools.cache
def found():
    script = "import runpy; runpy.run_path('tensors/jax_checks.py', run_name='__main__')"
    return json.loads(run_python(script, JAX_PLATFORMS="cpu").splitlines()[-1])


def test_gradients_of_every_function_are_finite_differences():
    from pairtile._front.differentiable import FUNCTIONS

    assert found()["names"] == found()["checked"] == sorted(FUNCTIONS)


def test_value_and_gradients_are_those_of_jax():
    for name, off in found()["off"].items():
        assert off < (1e-6 if "32" in name else 1e-13), name


def test_vmap_goes_over_sets():
    assert found()["vmap"] == pytest.approx(found()["one by one"], rel=1e-12)


def test_gradients_have_the_dtype_of_their_arrays():
    assert found()["half"] == "bfloat16"


def test_what_is_refused():
    said = found()
    assert "no gradient by directions" in said["no gradient"]
    assert "stop_gradient(directions)" in said["no gradient"]
    assert "do not support JVP" in said["twice"]
    assert "takes no keyword 'grad'" in said["keyword"]
    assert "exactly one of temperature= and logit_scale=" in said["both"]


def test_without_jax_the_extra_is_named():
    said = run_python("""
        import sys
        sys.modules["jax"] = None
        try:
            import pairtile.jax
        except ImportError as error:
            print(error)
    """)
    assert 'pip install "pairtile[jax]"' in said
