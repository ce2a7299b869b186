"""The layers of the code: which room may know which, read off its includes and imports."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAMILIES = ("neighbors", "kernels", "losses", "slices")

# What a room may include besides itself. No family knows another.
CPP = {
    "include/pairtile": set(),
    "isa": {"pairtile"},
    "engine": {"pairtile", "isa"},
    **{family: {"pairtile", "isa", "engine"} for family in FAMILIES},
    "bind": {"pairtile", "isa", "engine", *FAMILIES},
}
CUDA = {
    "engine": {"pairtile"},
    **{family: {"pairtile", "engine"} for family in FAMILIES},
    "bind": {"pairtile", "engine", *FAMILIES},
}
# What a part of the Python package may import besides itself, public names aside; `choose` alone
# knows the backends, by name and not by import.
FOUNDATION = {"_definitions", "_backends", "_front"}
STATISTICS = {"kernels", "neighbors", "losses", "slices", "two_sample", "paired", "stein"}
PYTHON = {
    "_definitions": set(),
    "_backends": {"_definitions", "_front", "_cuda"},
    "_front": {"_definitions", "_backends"},
    "kernels": FOUNDATION,
    "neighbors": FOUNDATION,
    "losses": FOUNDATION,
    "slices": FOUNDATION,
    "two_sample": FOUNDATION | {"kernels", "slices"},
    "stein": FOUNDATION | {"kernels", "two_sample"},
    "paired": FOUNDATION | {"kernels", "two_sample"},
    "sklearn": FOUNDATION | {"neighbors"},
    "torch": FOUNDATION | STATISTICS,
    "jax": FOUNDATION | STATISTICS,
    "tables": FOUNDATION | STATISTICS,
    "app": FOUNDATION | STATISTICS | {"tables"},
    "__init__": FOUNDATION | STATISTICS | {"sklearn", "tables"},
    "__main__": {"app"},
}
PACKAGE = ROOT / "python" / "pairtile"


def imported(path):
    """The modules of the package that a file imports, wherever in it, type hints included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("part", PYTHON)
def test_a_package_imports_none_above_it(part):
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else []
    files += sorted((PACKAGE / part).rglob("*.py"))
    assert files
    known = {p.stem for p in PACKAGE.iterdir() if p.stem.isidentifier()} - {"pairtile"}
    for path in files:
        parts = {m.split(".")[1] for m in imported(path) if m.startswith("pairtile.")}
        assert (parts & known) <= PYTHON[part] | {part}, path


def test_no_production_code_imports_the_numpy_backend():
    """It is what the engine is tested against, and the fallback that `choose` loads by name."""
    inside = PACKAGE / "_backends" / "numpy"
    found = [
        (str(path.relative_to(PACKAGE)), module)
        for path in sorted(PACKAGE.rglob("*.py"))
        if inside not in path.parents
        for module in imported(path)
        if module.startswith("pairtile._backends.numpy")
    ]
    assert found == []


def includes(folder):
    """(file, included file) of all files below a folder."""
    for path in sorted(folder.rglob("*.*")):
        if path.suffix in {".hpp", ".cpp", ".cuh", ".cu"}:
            for found in re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE):
                yield path.relative_to(ROOT), found


@pytest.mark.parametrize(
    ("tree", "room", "allowed"),
    [("cpp", *one) for one in CPP.items()] + [("cuda", *one) for one in CUDA.items()],
)
def test_a_room_includes_none_above_or_beside_it(tree, room, allowed):
    own = Path(room).name
    found = list(includes(ROOT / tree / room))
    assert found
    assert [pair for pair in found if pair[1].split("/")[0] not in allowed | {own}] == []


@pytest.mark.parametrize("tree", ["cpp", "cuda"])
def test_what_is_included_exists(tree):
    """CUDA's files see the shared headers and their own."""
    places = [ROOT / tree, ROOT / "cpp" / "include"]
    missing = [
        (str(file), found)
        for file, found in includes(ROOT / tree)
        if not any((place / found).is_file() for place in places)
    ]
    assert missing == []


def test_every_folder_is_a_room_of_the_layers():
    folders = {str(p.parent.relative_to(ROOT / "cpp")) for p in (ROOT / "cpp").rglob("*.[hc]pp")}
    assert {f for f in folders if not any(f == r or f.startswith(r + "/") for r in CPP)} == set()
    assert {p.parent.name for p in (ROOT / "cuda").rglob("*.*")} == set(CUDA)


def test_one_file_calls_the_micro_kernels():
    """There is one loop over pairs: who wants tiles asks for them and computes none."""
    projection = ROOT / "cpp" / "slices" / "project.cpp"  # of rows, not of pairs

    def files_with(pattern):
        rooms = (ROOT / "cpp" / room for room in ("engine", "bind", *FAMILIES))
        files = {p for room in rooms for p in room.rglob("*.[hc]pp")} - {projection}
        found = (p for p in files if re.search(pattern, p.read_text()))
        return {p.relative_to(ROOT / "cpp").as_posix() for p in found}

    assert files_with(r"\.core\[") == {"engine/tile.hpp"}
    assert files_with(r"\bTile<\w+>( \w+)?\{|\bTile<\w+> \w+;") == set()
    own = {"engine/sweep.hpp", "engine/diagonal.hpp", "engine/nearest.hpp"}
    own.add("neighbors/few_queries.hpp")
    assert files_with(r"\bdetail::") <= own
