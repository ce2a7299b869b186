"""What docs/gpu.md says of what runs on a GPU is what the dispatch has."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairtile as pt
from functions import FUNCTIONS
from pairtile._backends import numpy as twin

ROOT = Path(__file__).parents[2]
# Nothing of these depends on where arrays are.
SETTINGS = {"backend", "set_backend", "set_num_threads", "show_config", "sphere_directions"}

# What docs/gpu.md says is done on the host with the rows themselves.
FETCHED = {
    "alignment",
    "kernel_stein_discrepancy",
    "max_sliced_wasserstein",
    "sliced_test",
    "stein_test",
    "triplet_loss",
    "uniformity",
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


def test_the_document_names_every_public_function() -> None:
    text = (ROOT / "docs" / "gpu.md").read_text()
    functions = {name for name in pt.__all__ if callable(getattr(pt, name)) and name.islower()}
    missing = {name for name in functions - SETTINGS if f"`{name}`" not in text}
    assert missing == set()


@pytest.mark.gpu
def test_rows_stay_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No function brings a set to the host but those that say so."""
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
    fetched = set()
    for name, (function, *_) in FUNCTIONS.items():
        shapes.clear()
        function(x, y)
        assert shapes, name  # the dispatch goes there, and reads something back
        if any(shape[1:] == (d,) and 4 * shape[0] > 3 * n for shape in shapes):
            fetched.add(name)
    assert fetched == FETCHED


def test_the_document_says_what_is_done_on_the_host() -> None:
    text = (ROOT / "docs" / "gpu.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|") and "the host" in line]
    assert {name for name in FETCHED if not any(f"`{name}`" in line for line in lines)} == set()
