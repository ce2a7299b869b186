"""Where functions work on a GPU is said once: their dispatch and docs/gpu.md read it there."""

import ast
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pairtile as pt
from functions import FUNCTIONS, RNG
from pairtile._backends import numpy as twin
from pairtile._backends import places
from pairtile._backends.places import Where
from pairtile._front import words

ROOT = Path(__file__).parents[2]
SPHERE = {  # of rows of length 1, which those of `FUNCTIONS` have not
    "sliced_wasserstein_sphere": lambda a, b: pt.sliced_wasserstein_sphere(
        *(s / (s * s).sum(axis=1, keepdims=True) ** 0.5 for s in (a, b)), n_projections=3, rng=0
    )
}


def served() -> set[str]:
    """The functions of the seam that the CUDA backend exports, without importing CuPy."""
    source = Path(pt.__file__).parent / "_backends" / "cuda" / "__init__.py"
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError("no __all__")


def test_every_function_of_the_seam_runs_there() -> None:
    assert set(twin.__all__) <= served()
    sources = (Path(pt.__file__).parent / "_backends" / "cuda").glob("*.py")
    refusing = {
        node.name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef) and "raise NotImplementedError(" in ast.unparse(node)
    }
    assert refusing & set(twin.__all__) == set()
    assert "not there yet" not in (ROOT / "docs" / "gpu.md").read_text()


def test_every_public_function_has_one_place() -> None:
    functions = {name for name in pt.__all__ if callable(getattr(pt, name)) and name.islower()}
    named = [name for place in places.PLACES for name in place.functions]
    assert len(named) == len(set(named))
    assert set(named) - functions == {"NeighborIndex", "OnlineMMD"}
    assert functions <= set(named)


def test_a_function_without_a_place_is_not_served() -> None:
    """Nor is the package imported that has one."""

    def newcomer(x: Any) -> Any:
        return x

    with pytest.raises(LookupError, match="newcomer has no place in pairtile/_backends/places"):
        words.hint(newcomer, "pairtile")


def test_what_is_not_of_a_gpu_refuses_its_arrays() -> None:
    on_gpu = SimpleNamespace(__dlpack_device__=lambda: (2, 0))
    refused = [place.functions for place in places.PLACES if place.where is Where.REFUSED]
    assert refused == [("OnlineMMD",)]
    for arguments in ((on_gpu,), (), (np.zeros((50, 1)), on_gpu)):
        keywords = {} if arguments else {"reference": on_gpu}
        with pytest.raises(NotImplementedError, match="OnlineMMD works in host memory; copy its"):
            pt.OnlineMMD(*arguments, expected_run_time=99, **keywords)
    monitor = pt.OnlineMMD(RNG.normal(size=(50, 1)), 4, expected_run_time=20, rng=0)
    with pytest.raises(NotImplementedError, match=r"OnlineMMD.update works in host memory"):
        monitor.update(on_gpu)  # type: ignore[arg-type]


def test_the_document_has_the_table_of_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    bench = importlib.import_module("bench.places")
    text = bench.DOCUMENT.read_text()
    assert bench.renewed(text) == text, "renew docs/gpu.md: python -m bench.places"
    assert all(line in text for line in bench.lines())


@pytest.mark.gpu
def test_rows_stay_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No function brings a set to the host but those whose place says so."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    n, d = 96, 23
    shapes: list[tuple[int, ...]] = []
    get = cupy.ndarray.get

    def watched(array: Any, *args: Any, **options: Any) -> Any:
        shapes.append(array.shape)
        return get(array, *args, **options)

    monkeypatch.setattr(cupy.ndarray, "get", watched)
    rng = np.random.default_rng(0)
    x, y = (cupy.asarray(rng.integers(0, 11, size=(n, d)).astype(np.float64)) for _ in range(2))
    calls = {name: function for name, (function, *_) in FUNCTIONS.items()} | SPHERE
    fetched = set()
    for name, function in calls.items():
        shapes.clear()
        function(x, y)
        assert shapes, name  # the dispatch goes there, and reads something back
        columns = {(d,)} if name != "partial_wasserstein_1d" else {(d,), ()}  # one at a time
        if any(shape[1:] in columns and 4 * shape[0] > 3 * n for shape in shapes if shape):
            fetched.add(name)
    said = {Where.FETCHED, Where.HOST}
    assert fetched == {name for name in calls if places.of(name.partition(" ")[0]).where in said}
