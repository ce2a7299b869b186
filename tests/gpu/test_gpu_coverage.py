"""What docs/gpu.md says of what runs on a GPU is what the dispatch has."""

import ast
from pathlib import Path

import pairtile as pt
from pairtile._backends import numpy as twin

ROOT = Path(__file__).parents[2]
# Nothing of these depends on where arrays are.
SETTINGS = {"backend", "set_backend", "set_num_threads", "show_config", "sphere_directions"}


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
