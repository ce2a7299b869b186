"""Checks of the build itself: versions, floating-point flags, and instruction sets kept apart.

A function compiled for AVX-512 and picked by the linker for the baseline path crashes older
machines. Two tests stand against it: no object of an instruction set may define a symbol that the
linker could merge with another's, and the linked module may hold AVX instructions only inside the
namespaces of the instruction sets. Both read the build tree that ``pip install .`` leaves in
``build/``; without one they skip, with ``CI`` set they fail.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pairtile

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(pairtile.__file__).parent
PYTHON_TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"

native = pytest.mark.native
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files with binutils")
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="about x86-64 instruction sets")


def _tool(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _native_path() -> Path:
    spec = importlib.util.find_spec("pairtile._native")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _code(library: Path, scratch: Path) -> str:
    _tool("objcopy", "-O", "binary", "--only-section=.text", library, scratch)
    return hashlib.sha256(scratch.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def build_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build tree of the installed module: same machine code, symbols not yet stripped."""
    scratch = tmp_path_factory.mktemp("code") / "text"
    installed = _native_path()
    for tree in (ROOT / "build").glob(f"{PYTHON_TAG}-*"):
        linked = tree / installed.name
        if linked.exists() and _code(linked, scratch) == _code(installed, scratch):
            return tree
    message = f"no build tree of {installed} in {ROOT / 'build'}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


# --- Versions and names ---------------------------------------------------------------------------


def test_installed_metadata_has_the_version_of_the_package() -> None:
    assert importlib.metadata.version("pairtile") == pairtile.__version__


@native
def test_native_has_the_version_of_the_package() -> None:
    from pairtile import _native

    assert _native.__version__ == pairtile.__version__


@native
def test_stub_names_what_native_exports() -> None:
    from pairtile import _native

    stated, for_tests = set(), set()
    for node in ast.parse((PACKAGE / "_native.pyi").read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            stated.add(node.name)
            if node.name == "_testing":
                for_tests = {f.name for f in node.body if isinstance(f, ast.FunctionDef)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stated.add(node.target.id)
    exported = {name for name in dir(_native) if name[0] != "_"} | {"__version__"}
    assert {name for name in stated if name[0] != "_" or name == "__version__"} == exported
    assert for_tests == {name for name in dir(_native._testing) if name[0] != "_"} != set()


# --- Floating point -------------------------------------------------------------------------------

BANNED = re.compile(
    r"-ffast-math|-Ofast|-funsafe-math-optimizations|-fassociative-math|-freciprocal-math"
    r"|-ffinite-math-only|-ffp-contract=(?:fast|on)|use_fast_math"
    r"|pragma\s+(?:GCC|clang)\s+(?:optimi[sz]e|target|fp\b)|__attribute__\s*\(\(\s*optimize"
    r"|pragma\s+STDC\s+FP_CONTRACT\s+ON"
)


def test_no_fast_math_in_any_source() -> None:
    recipes = [ROOT / name for name in ("CMakeLists.txt", "CMakePresets.json", "pyproject.toml")]
    code = [p for folder in ("cpp", "cuda") for p in (ROOT / folder).rglob("*") if p.is_file()]
    for path in recipes + code:
        comment = "//.*" if path in code else "#.*"
        assert not BANNED.search(re.sub(comment, "", path.read_text())), path


@native
def test_compiled_without_fast_math_or_contraction(build_tree: Path) -> None:
    flags = [
        line
        for line in (build_tree / "build.ninja").read_text().splitlines()
        if line.lstrip().startswith("FLAGS = ")
    ]
    assert flags
    for line in flags:
        assert "-ffp-contract=off" in line
        assert not BANNED.search(line)


# --- Instruction sets -----------------------------------------------------------------------------

# A mangled name inside pairtile::v3, say: 8pairtile2v3, or S_2v3 where pairtile was said before.
INSIDE = re.compile(r"(?:8pairtile|S[0-9A-Z]*_)\d(v4_bf16|v[34]_vnni|v[234]|neon)")


@linux
@native
def test_isa_objects_define_nothing_the_linker_could_share(build_tree: Path) -> None:
    objects = sorted(build_tree.glob("CMakeFiles/pairtile_isa_*.dir/**/*.o"))
    assert objects
    for path in objects:
        isa = path.relative_to(build_tree).parts[1].removeprefix("pairtile_isa_")[: -len(".dir")]
        for line in _tool("nm", "--defined-only", path).splitlines():
            _, kind, name = line.split(maxsplit=2)
            if kind in "WVu" and name != "DW.ref.__gxx_personality_v0":  # a pointer, no code
                assert set(INSIDE.findall(name)) == {isa}, (
                    f"{path.name} for {isa} defines the weak symbol {name}"
                )
        # code that would run at import, before anyone asked what the processor can do
        assert ".init_array" not in _tool("objdump", "-h", path), f"{path} has static initialisers"


AVX512 = re.compile(r"%zmm|%k[0-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])\b")
# VEX-encoded: everything with a leading v, and the three-operand integer instructions of BMI
AVX = re.compile(
    r"%ymm|\tv[a-z]|\t(?:andn|bextr|blsi|blsr|blsmsk|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx)\b"
)


@linux
@x86
@native
def test_avx_only_inside_its_namespaces(build_tree: Path) -> None:
    name = ""
    allowed: set[str] = set()
    seen: set[str] = set()
    strays: set[str] = set()
    multiply_bytes: set[str] = set()
    library = build_tree / _native_path().name
    for line in _tool("objdump", "-d", "--no-show-raw-insn", library).splitlines():
        if line.endswith(">:"):
            name = line.split("<", 1)[1].removesuffix(">:")
            allowed = set(INSIDE.findall(name))
            seen |= allowed
        elif AVX512.search(line):
            if not allowed & {"v4", "v4_vnni", "v4_bf16"}:
                strays.add(name)
        elif AVX.search(line) and not allowed - {"v2"}:
            strays.add(name)
        if "vpdpbusd" in line:
            multiply_bytes |= allowed
    assert seen == {"v2", "v3", "v3_vnni", "v4", "v4_vnni", "v4_bf16"}
    assert multiply_bytes == {"v3_vnni", "v4_vnni", "v4_bf16"}
    assert not strays


# --- Threads --------------------------------------------------------------------------------------


@linux
@native
def test_calls_share_no_state_but_what_is_atomic(build_tree: Path) -> None:
    """What outlives a call: instruction set, what tests force, memory maps, memory of lists."""
    shared = set()
    for path in build_tree.glob("CMakeFiles/*.dir/cpp/**/*.o"):
        for line in _tool("objdump", "-tC", path).splitlines():
            if re.search(r" O \.(?:data|bss|tdata|tbss)(?!\.rel)\S*\t.*pairtile::", line):
                shared.add(line.rsplit("::", 1)[1])
    # of watched memory maps: slots of atomics, and under the lock the handler that ours came before
    watched = {"slots", "lock", "before", "page"}
    tables = {"v3_vnni", "v4_vnni", "v4_bf16"}  # of instruction sets, made once
    forced = {"forced_rows", "forced_cols", "forced_now"}
    kept = {"of_all_calls"}  # memory under a lock
    assert shared == {"chosen"} | forced | tables | watched | kept


# --- Light ----------------------------------------------------------------------------------------


@linux
@native
def test_native_needs_only_the_standard_libraries() -> None:
    needed = set(re.findall(r"NEEDED.*\[(\w+)", _tool("readelf", "-d", _native_path())))
    assert needed <= {"libstdc", "libgcc_s", "libm", "libc", "libpthread", "ld"}


@linux
@native
def test_native_exports_only_its_init_function() -> None:
    exported = _tool("nm", "-D", "--defined-only", _native_path()).split()[2::3]
    assert exported == ["PyInit__native"]


def test_installed_size() -> None:
    files = [
        p
        for p in PACKAGE.rglob("*")
        if p.is_file() and p.parent.name != "__pycache__" and not p.name.startswith("_cuda.")
    ]
    assert sum(p.stat().st_size for p in files) < 8_000_000
    assert {"py.typed", "_native.pyi"} <= {p.name for p in files}
