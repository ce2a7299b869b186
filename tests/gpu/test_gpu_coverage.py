"""What docs/gpu.md says of what runs on a GPU is what the dispatch has."""

import ast
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pairtile as pt
from loss_cases import CASES
from pairtile._backends import choose
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
    "pairs_within": ["near_duplicates", "deduplicate"],
    "nearest_pairs": ["top_pairs"],
    # of pairs, which are on the host
    "connected_rows": [],
    "group_medoids": [],
    "keep_first": [],
    "distance_histogram": ["similarity_histogram"],
    "farthest_of_group": ["triplet_loss"],
    "joint_kernel_gradient": [],  # of functions that run there, but for their gradients
    "pair_losses": ["circle_loss", "multi_similarity_loss"],
    "pair_ranks": ["retrieval_metrics"],
    "next_beyond": ["triplet_loss"],
    "partial_masses": ["partial_wasserstein_1d"],
    "row_pulls": ["triplet_loss"],
    "sigmoid_losses": ["siglip_loss"],
    "sliced_direction_slopes": ["max_sliced_wasserstein"],
    "sliced_plan": ["expected_sliced_plan"],
    "sliced_plan_distances": ["min_sliced_plan"],
    # of losses over processes with options, and all of those on the CPU
    "softmax_gradients": [],
    "softmax_states": [],
    "supcon_losses": ["supcon_loss", "nt_xent_loss"],
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


@pytest.fixture
def refusing(monkeypatch: Any) -> None:
    """Calls served by what the CUDA backend has in place of losses, which needs no GPU."""
    path = Path(pt.__file__).parent / "_backends" / "cuda" / "lacking.py"
    spec = importlib.util.spec_from_file_location("lacking", path)
    assert spec is not None
    assert spec.loader is not None
    lacking = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lacking)

    def softmax_losses(x: Any, y: Any, scale: float, *, targets: Any, **options: Any) -> None:
        lacking.refuse_options(targets, square=len(x) == len(y), **options)
        raise AssertionError("served")

    functions = {
        "sigmoid_losses": lacking.sigmoid_losses,
        "supcon_losses": lacking.supcon_losses,
        "pair_losses": lacking.pair_losses,
        "softmax_losses": softmax_losses,
        "knn": twin.knn,
        "first_nonfinite": twin.first_nonfinite,
    }
    monkeypatch.setattr(choose, "module", lambda *_: SimpleNamespace(**functions))


SERVED = {"info_nce", "info_nce targets", "clip_loss", "clip_loss rows"}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("refusing")
def test_a_loss_that_a_gpu_lacks_is_named(name: str) -> None:
    case = CASES[name]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(case.rows_of_y(9, 3), 4))
    options = case.options(rng, 9, 0 if case.y == "none" else len(y))
    if case.scaled:
        options["temperature"] = 1.0
    if name == "clip_loss rows":
        del options["label_smoothing"]
    if name in SERVED:
        with pytest.raises(AssertionError, match="served"):
            case.call(x, y, **options)
        options["temperature"] = np.ones(9)
    with pytest.raises(NotImplementedError, match="does not run on a GPU") as caught:
        case.call(x, y, **options)
    said = str(caught.value)
    if "info_nce" in name or "clip_loss" in name:
        used = {"target_offset", "direction", "temperature", *options} | {"x_groups"}
        assert any(option in said for option in used), said
    else:
        assert said.startswith(f"{case.loss} does not run")
