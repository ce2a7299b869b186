"""What docs/gpu.md says of what runs on a GPU is what the dispatch has."""

import ast
from pathlib import Path

import pairtile as pt
from pairtile._backends import numpy as twin

ROOT = Path(__file__).parents[2]
# Of the seam: these say that there is no GPU code for them yet, and docs/gpu.md says it too.
REFUSED = {
    "circle_distances": ["sliced_wasserstein_sphere"],
    "column_statistics": ["column_statistics"],
    # of rows that are not in memory, which are read whole for a GPU
    "centre_rows": [],
    "largest_offset": [],
    "least_line_memory": [],
    "line_centre": [],
    "project_rows": [],
    "partial_masses": ["partial_wasserstein_1d"],
    "sliced_direction_slopes": ["max_sliced_wasserstein"],
    "sliced_plan": ["expected_sliced_plan"],
    "sliced_plan_distances": ["min_sliced_plan"],
}
# Nothing of these depends on where arrays are.
SETTINGS = {"backend", "set_backend", "set_num_threads", "show_config", "sphere_directions"}


def served() -> set[str]:
    """The functions of the seam that the CUDA backend exports, without importing CuPy."""
    source = Path(pt.__file__).parent / "_backends" / "cuda" / "__init__.py"
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError("no __all__")


def test_every_function_of_the_seam_runs_there_or_says_that_it_does_not() -> None:
    assert set(twin.__all__) <= served()
    sources = (Path(pt.__file__).parent / "_backends" / "cuda").glob("*.py")
    refusing = {
        node.name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef) and "raise NotImplementedError(" in ast.unparse(node)
    }
    assert refusing & set(twin.__all__) == REFUSED.keys()
    said = [
        line
        for line in (ROOT / "docs" / "gpu.md").read_text().splitlines()
        if "not there yet" in line
    ]
    for public in {name for names in REFUSED.values() for name in names} & set(pt.__all__):
        assert any(f"`{public}`" in line for line in said), public


def test_the_document_names_every_public_function() -> None:
    text = (ROOT / "docs" / "gpu.md").read_text()
    functions = {name for name in pt.__all__ if callable(getattr(pt, name)) and name.islower()}
    missing = {name for name in functions - SETTINGS if f"`{name}`" not in text}
    assert missing == set()
