"""The layers of the code: which room may know which, read off its includes and imports."""

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
    assert files_with(r"\bdetail::") <= {"engine/sweep.hpp", "engine/diagonal.hpp"}
