"""What the compiler made of the GPU kernels: `python -m bench.kernels` writes docs/gpu_kernels.md.

Every file of cuda/ is compiled by nvcc for each architecture, and ptxas says what each kernel
takes. No GPU is needed, nor a built package. Under a simulator of the CUDA runtime that writes
profiles (`GPUSIM_LIBRARY` is set) small fixed cases are run and counted too; elsewhere that part of
the document stays as it is.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "gpu_kernels.md"
ARCHITECTURES = ("sm_80", "sm_90a", "sm_100")
WGMMA = "sm_90a"  # which alone has wgmma
FLAGS = ["-std=c++20", "-O3", "--fmad=false", "--expt-relaxed-constexpr", "--diag-suppress=1675"]
# What stands between `__global__ void` and a kernel's name, if anything.
BOUNDS = r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?"
KERNEL = re.compile(rf"__global__\s+(?:static\s+)?{BOUNDS}void\s+{BOUNDS}(\w+)\s*\(")
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+)(?:\+0)? bytes smem")
HEADS = (
    "kernel", "file", "architecture", "variants", "registers", "shared", "stack", "spilled",
    "waits",
)  # fmt: skip
WAITS = re.compile(r"wgmma\.mma_async instructions are serialized .* in the function '(\w+)'")

# Bytes of registers that a kernel may spill on some architecture, by file and kernel; others none.
SPILLS = {
    # of chebyshev, whose maximum asks for NaN of either number; on 10.0 alone
    ("neighbors/fidelity", "products_sweep"): 192,
    ("neighbors/fidelity", "ratios_sweep"): 204,
    ("neighbors/knn", "knn_sweep"): 160,  # elsewhere 40, around the call that cuts lists
    ("neighbors/pairwise", "pairwise_sweep"): 128,
    ("neighbors/quantile", "count_distances_sweep"): 112,
    ("neighbors/radius", "radius_counts_sweep"): 164,
    ("neighbors/radius", "radius_neighbors_sweep"): 128,
    # around the calls that evaluate kernels, once for a tile
    ("kernels/paired", "paired_sweep"): 60,
    # accumulators of a strip fill the registers that a warp group has
    ("losses/contrastive", "mma_sweep"): 196,  # on 10.0 alone
    ("kernels/tensor_sums", "mma_sweep"): 24,  # likewise
    ("losses/panel_product", "wgmma_panel_product"): 28,  # where sums are added to a gradient
    # around calls (division, powers, a metric), outside of loops over features
    ("engine/pack_transposed", "pack_columns"): 12,
    ("kernels/gradient", "gradient_through_normalization_of"): 4,
    ("losses/softmax", "end_losses"): 12,
    ("losses/softmax", "weigh_pairs"): 8,
    ("neighbors/quantile", "sample_distances_of"): 40,
    ("slices/frame", "centre_of"): 20,
    ("slices/plans", "pay_powers"): 8,
    ("slices/project", "turn_lines"): 8,
}


# In how many variants each wgmma waits for the one before, which ptxas says of a fold whose lanes
# may vote at different times, and of accumulators that other instructions write; others in none.
MAY_WAIT: dict[tuple[str, str], int] = {}


@dataclass
class Usage:
    """What ptxas gave to a kernel on one architecture, over its instantiations."""

    variants: int = 0
    registers: list[int] = field(default_factory=list)
    shared: int = 0
    stack: int = 0
    spilled: int = 0  # bytes stored, or loaded where that is more
    waits: int = 0  # variants whose wgmma wait for one another


class Key(NamedTuple):
    """A kernel of one file on one architecture."""

    file: str
    kernel: str
    architecture: str

    @property
    def place(self) -> tuple[str, str]:
        """As `SPILLS` and `MAY_WAIT` have it."""
        return self.file.removeprefix("cuda/").removesuffix(".cu"), self.kernel

    @property
    def may_spill(self) -> int:
        return SPILLS.get(self.place, 0)

    @property
    def may_wait(self) -> int:
        return MAY_WAIT.get(self.place, 0)


def sources() -> list[Path]:
    """Return the files that nvcc compiles."""
    return sorted((ROOT / "cuda").glob("*/*.cu"))


def kernels_of(file: Path) -> list[str]:
    """Name the kernels of a file or of a header, in their order there."""
    return list(dict.fromkeys(KERNEL.findall(file.read_text())))


def every_kernel() -> set[str]:
    """Name the kernels of cuda/, headers included."""
    files = (file for kind in ("*.cu", "*.cuh") for file in (ROOT / "cuda").glob(f"*/{kind}"))
    return {name for file in files for name in kernels_of(file)}


def compiled(file: Path, architectures: Iterable[str] = ARCHITECTURES) -> dict[Key, Usage]:
    """Compile a file and return what its kernels take."""
    command = ["nvcc", *FLAGS, "-I", str(ROOT / "cpp" / "include"), "-I", str(ROOT / "cuda")]
    for architecture in architectures:
        virtual = architecture.replace("sm_", "compute_")
        command.append(f"-gencode=arch={virtual},code={architecture}")
    command += ["-Xptxas", "-v", "-c", str(file), "-o"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, f"{folder}/object"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"nvcc fails on {file}:\n{done.stdout}{done.stderr}")
    return usages(file, done.stdout + done.stderr)


def usages(file: Path, said: str) -> dict[Key, Usage]:
    """Read what `ptxas -v` said. Kernels of libraries (CUB's) are left out."""
    known = every_kernel()
    found: dict[Key, Usage] = {}
    usage: Usage | None = None
    for line in said.splitlines():
        if entry := ENTRY.search(line):
            name = _name(entry[1])
            usage = None
            if name in known:
                key = Key(file.relative_to(ROOT).as_posix(), name, entry[2])
                usage = found.setdefault(key, Usage())
                usage.variants += 1
        elif usage is not None:
            if stack := STACK.search(line):
                frame, stored, loaded = map(int, stack.groups())
                usage.stack = max(usage.stack, frame)
                usage.spilled = max(usage.spilled, stored, loaded)
            if used := USED.search(line):
                usage.registers.append(int(used[1]))
                if shared := SHARED.search(line):
                    usage.shared = max(usage.shared, int(shared[1]))
                usage = None
    for name in {waits[1] for waits in WAITS.finditer(said)}:
        key = Key(file.relative_to(ROOT).as_posix(), _name(name), WGMMA)
        if key in found:
            found[key].waits += 1
    return found


def _name(mangled: str) -> str:
    """Return the last identifier of a mangled name: _ZN8pairtile3gpu7nearestI… → nearest."""
    rest, name = mangled.removeprefix("_Z").removeprefix("N"), mangled
    while length := re.match(r"\d+", rest):
        start = length.end()
        end = start + int(length[0])
        name, rest = rest[start:end], rest[end:]
    return name


def rows(found: dict[Key, Usage]) -> Iterator[tuple[str, ...]]:
    """Lay out one row per kernel and architecture."""
    order = {name: i for i, name in enumerate(ARCHITECTURES)}
    for key in sorted(found, key=lambda k: (k.file, k.kernel, order.get(k.architecture, 9))):
        usage = found[key]
        low, high = min(usage.registers), max(usage.registers)
        registers = str(low) if low == high else f"{low}–{high}"
        numbers = usage.variants, registers, usage.shared, usage.stack, usage.spilled, usage.waits
        yield f"`{key.kernel}`", key.file, key.architecture, *map(str, numbers)


def stated(text: str, head: str = "spilled") -> dict[Key, int]:
    """Read a document back: a column of numbers by kernel."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(HEADS) and cells[0].startswith("`"):
            found[Key(cells[1], cells[0].strip("`"), cells[2])] = int(cells[HEADS.index(head)])
    return found


def table(heads: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    every = [heads, ["---"] * len(heads), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in every)


# --- What a simulator counts ----------------------------------------------------------------------

COUNTED = (
    "case", "kernel", "file", "launches", "instructions", "float64", "tensor", "shared", "each",
    "memory", "at least", "bound by",
)  # fmt: skip
LOSSES = ("clip", "siglip")
DESIGNED = "cell", "designed for", "at least", "most of it", "share", "bound by"


def cases() -> dict[str, Any]:
    """Small fixed sizes, a few tiles in each direction."""
    from bench.gpu import cells

    return {
        "knn": cells.Knn("", 256, 0, 128, k=10),
        "knn, k=100": cells.Knn("", 256, 0, 128, k=100),
        "knn, k=256": cells.Knn("", 16, 4096, 128, k=256),
        "knn, few queries": cells.Knn("", 16, 2048, 128, k=10),
        "mmd": cells.Mmd("", 256, 256, 64),
        "mmd, fast": cells.Mmd("", 256, 256, 64, precision="fast"),
        "energy": cells.Energy("", 256, 256, 64),
        "permutation": cells.Permutation("", 128, 128, 64, permutations=100),
        "clip": cells.Clip("", 256, 256, 64),
        "siglip": cells.SigLip("", 256, 256, 64),
        "sliced": cells.Sliced("", 2048, 2048, 64, directions=16),
        "columns": cells.Columns("", 2048, 2048, 16),
    }


class Design(NamedTuple):
    """What a cell of bench.gpu is designed for on one H200, and a size that stands for it."""

    seconds: float
    n: int
    m: int


def designs() -> dict[str, Design]:
    """By the names of cells. Searches of one set stand for those of two of its size."""
    k10 = 8e-3
    return {
        "knn-100k": Design(k10, 512, 65536),
        "knn-d768": Design(30e-3, 512, 16384),
        "knn-k100": Design(1.8 * k10, 512, 65536),
        # a fifth of the pairs; of fewer references all would be among the nearest 2,048
        "knn-k2048": Design(6 * k10 / 5, 512, 100_000),
        "knn-1m": Design(0.8, 512, 65536),
        "knn-1k-10m": Design(1.5e-3, 512, 1 << 18),  # 1.4 times one read of the references
        "mmd-100k": Design(30e-3, 2048, 2048),
        "mmd-100k-fast": Design(15e-3, 2048, 2048),
        "energy-100k": Design(45e-3, 2048, 2048),
        "permutation-10k": Design(60e-3, 1024, 1024),
        "sliced-1m": Design(120e-3, 32768, 32768),
        "clip-32k": Design(9e-3, 1536, 1536),
        "siglip-64k": Design(45e-3, 1536, 1536),
        "clip-1m": Design(12.0, 1536, 1536),
    }


def cell_called(name: str) -> Any:
    from bench.gpu import cells

    (cell,) = (cell for cell in cells.CELLS if cell.name == name)
    return cell


def design_case(name: str, halved: str) -> Any:
    """Return a cell at its small size, or half as many rows in the sets that are named."""
    _, n, m = designs()[name]
    return replace(cell_called(name), n=n >> ("x" in halved), m=m >> ("y" in halved))


class Limit(NamedTuple):
    """What a kernel may take of the cases; None where its statistic asks for as much as it asks.

    A warp's access to shared memory is one wavefront of 128 bytes, and four of 16 bytes a lane.
    """

    float64: float | None  # instructions for each pair (key), over all lanes
    each: float = 1.0  # wavefronts for each access


# By file and kernel. Screens, scores and digits have no float64 at all, sums one addition for each
# row and tile; where it is None float64 is what the kernel is for, or it is of rows and not pairs.
LIMITS = {
    ("screened_knn", "wgmma_sweep"): Limit(0, 1.1),
    ("screened_knn", "mma_sweep"): Limit(0, 3),  # ldmatrix: 16 bytes a lane
    ("tensor_sums", "wgmma_sweep"): Limit(0.4, 1.1),
    ("tensor_sums", "mma_sweep"): Limit(0.4, 4),
    ("contrastive", "wgmma_sweep"): Limit(0.3),
    ("contrastive", "mma_sweep"): Limit(0.3, 4),
    ("sigmoid_sweep", "wgmma_sweep"): Limit(0.35),
    ("sigmoid_sweep", "mma_sweep"): Limit(0.35, 4),
    ("panel_product", "wgmma_panel_product"): Limit(0.05),
    ("panel_product", "mma_panel_product"): Limit(0.05, 4),
    ("digit_products", "digit_products_of"): Limit(0),
    ("pack_transposed", "pack_columns"): Limit(0, 1.5),
    ("contrastive", "levels_of"): Limit(0),
    ("project", "project"): Limit(0, 1.7),
    ("project", "pick_columns"): Limit(0),
    ("sort", "DeviceSegmentedRadixSortKernel"): Limit(0, 1.3),
    ("screened_lists", "guess_limits_of"): Limit(0, 2),
    # decided by canonical values
    ("screened_decision", "rescore"): Limit(None, 1.2),
    ("screened_lists", "decide_lists"): Limit(None, 1.5),
    # of rows
    ("survey", "survey_elements"): Limit(None),
    ("survey", "survey_together"): Limit(None),
    ("pack", "centre_of"): Limit(None, 2),
    ("pack", "pack_rows"): Limit(None),
    ("pack", "pack_together"): Limit(None),
    ("pack_on_grid", "pack_rows_on_grid"): Limit(None),
    ("frame", "centre_of"): Limit(None),
    ("wide", "along"): Limit(None),
    ("panel_product", "add_pieces"): Limit(None),
    # of states and values, which are float64
    ("tensor_sums", "merge_row_sums"): Limit(None),
    ("sums", "total_of"): Limit(None, 2),
    ("contrastive", "merge_rows"): Limit(None),
    ("contrastive", "merge_columns"): Limit(None, 4),
    ("sigmoid_sweep", "add_sigmoid_rows"): Limit(None),
    ("softmax_end", "end_of_softmax"): Limit(None),
    ("relabelled_sums", "value_sizes_of"): Limit(None, 1.3),
    ("relabelled_sums", "value_digits_of"): Limit(None, 1.3),
    ("relabelled_sums", "merge_value_sizes"): Limit(None),
    ("transport", "equal_costs"): Limit(None),
    ("levels", "add_shares"): Limit(None),
    ("columns", "walk_columns"): Limit(None, 2.7),  # merges by searches, lane by lane
    ("columns", "square_columns"): Limit(None),
    ("columns", "finish_columns"): Limit(None),
}


class Count(NamedTuple):
    """What a simulator counted of a kernel in a case."""

    case: str
    kernel: str
    file: str
    float64: float
    each: float

    def excess(self) -> str | None:
        """What is beyond its limit, in words."""
        key = self.file, self.kernel.partition("<")[0]
        if key not in LIMITS:
            return f"bench.kernels.LIMITS says nothing of {self.kernel} of {self.file}"
        limit = LIMITS[key]
        if limit.float64 is not None and self.float64 > limit.float64:
            return f"{self}: more float64 for each pair than {limit.float64}"
        if self.each > limit.each:
            return f"{self}: more wavefronts for each access than {limit.each}"
        return None


def case_called(name: str) -> Any:
    if name in cases():
        return cases()[name]
    name, _, halved = name.partition("@")
    return design_case(name, halved)


def run_case(name: str) -> int:
    """Run one case in this process, to be counted; exit status 3 if pairtile cannot do it yet."""
    from bench.gpu.library import Cupy
    from pairtile._backends.cuda import panels

    panels.least_work = 0  # tensor cores take small cases too
    case = case_called(name)
    inputs = case.make(Cupy())
    if "@" in name:
        cell, _, how = name.partition("@")
        whole = cell_called(cell)
        if case.task in LOSSES:
            _as_in_blocks_of(whole, case, cut=how == "blocks")
            inputs = _in_bfloat16(inputs)
        else:
            _as_in_segments_of(whole, case)
    try:
        case.prepare(inputs)()
    except (NotImplementedError, AttributeError) as error:
        print(error, file=sys.stderr)
        return 3
    return 0


def _as_in_segments_of(cell: Any, case: Any) -> None:
    """Cut references as a whole cell does, about as wide: each segment learns what is near."""
    from pairtile import _cuda

    references = cell.m or cell.n
    segments = _cuda.screened_segments(cell.n, references)
    few = max(1, round(segments * (case.m or case.n) / references))
    _cuda.screened_segments = lambda *_: few


def _in_bfloat16(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what the cells have of torch; on the host, for CuPy lacks the type."""
    import ml_dtypes

    import pairtile

    pairtile.set_backend("cuda")
    return {key: array.get().astype(ml_dtypes.bfloat16) for key, array in inputs.items()}


def _blocks_of(cell: Any) -> tuple[int, int]:
    """Return rows and columns of its blocks of weights."""
    from pairtile._backends.cuda import contrastive

    shape: tuple[int, int] = contrastive.block_of(cell.n, cell.m, cell.d, *contrastive.COARSE)
    return shape


def _as_in_blocks_of(cell: Any, case: Any, *, cut: bool) -> None:
    """Pack rows and multiply weights as a whole cell does; in one block, or in four where cut."""
    from pairtile import _cuda
    from pairtile._backends.cuda import contrastive

    height, width = _blocks_of(cell)
    splits = _cuda.panel_splits(
        rows_out=height, features=cell.d, summands=width, most=contrastive.COARSE[1], path="wgmma"
    )
    segments = _cuda.logit_segments(height, width)
    _cuda.panel_splits = lambda **_: splits
    _cuda.logit_segments = lambda *_: segments
    contrastive.block_of = lambda *_: (case.n >> cut, case.m >> cut)
    if 2 * _cuda.panels_bytes(cell.n, cell.d, 1) > contrastive.most_bytes:  # packed chunk by chunk
        contrastive.most_bytes = _cuda.panels_bytes(case.n, case.d, 1)


def profile_of(name: str) -> list[dict[str, Any]] | None:
    """Run a case in a process of its own and return what was counted; None: not there yet."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "profile.json"
        profile = {"GPUSIM_PROFILE": "1", "GPUSIM_PROFILE_JSON": str(file)}
        profile |= {"GPUSIM_PROFILE_FILE": os.devnull, "GPUSIM_CHECK": "none"}
        command = [sys.executable, "-m", "bench.kernels", "--run-case", name]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | profile, capture_output=True, text=True
        )
        if done.returncode == 3:
            return None
        if done.returncode != 0:
            raise RuntimeError(f"{name} fails:\n{done.stderr}")
        entries: list[dict[str, Any]] = json.loads(file.read_text())
    return entries


def pairs_of(case: Any) -> float:
    """Return how many pairs a case has, or keys to be sorted."""
    if case.task in ("sliced", "columns"):
        return float((case.n + case.m) * getattr(case, "directions", case.d))
    return float(case.n * (case.m or case.n))


def count_of(case: Any, entry: dict[str, Any]) -> Count:
    """Return what is limited of a kernel in a case."""
    return Count(
        case.title,
        _short(entry["kernel"]),
        _file_of(entry["name"]),
        32 * entry["instructions"].get("fp64", 0) / pairs_of(case),
        entry["shared_wavefronts"] / max(1, entry["shared_requests"]),
    )


def counts_stated(text: str) -> list[Count]:
    """Read a document back: what was counted."""
    found = []
    for line in text.splitlines():
        row = dict(zip(COUNTED, (c.strip() for c in line.strip("|").split("|")), strict=False))
        if len(row) == len(COUNTED) and row["kernel"].startswith("`"):
            where = row["case"], row["kernel"].strip("`"), row["file"]
            found.append(Count(*where, float(row["float64"]), float(row["each"])))
    return found


def counted(name: str) -> Iterator[tuple[str, ...]]:
    """Run a case; return a row per kernel."""
    case = cases()[name]
    number = pairs_of(case)
    entries = profile_of(name)
    if entries is None:
        yield case.title, "not there yet", *[""] * (len(COUNTED) - 2)
        return
    for entry in sorted(entries, key=lambda e: -e["bound_seconds"]):
        warps = sum(entry["instructions"].values())
        limited = count_of(case, entry)
        yield (
            case.title,
            f"`{limited.kernel}`",
            limited.file,
            str(entry["launches"]),
            f"{32 * warps / number:.4g}",
            f"{limited.float64:.3g}",
            f"{sum(entry['mma_multiply_adds'].values()) / number:.4g}",
            f"{entry['shared_wavefronts'] / number:.3g}",
            f"{limited.each:.3g}",
            f"{entry['global_bytes_moved'] / number:.3g}",
            f"{entry['bound_seconds'] * 1e6:.3g} µs",
            entry["bound_by"],
        )


def by_rows_and_pairs(half: float, whole: float, growth: float) -> float:
    """Return what a n + b n² is for so many times the rows, from half and from all of them."""
    rows = min(max(4 * half - whole, 0.0), whole)
    return rows * growth + (whole - rows) * growth**2


def by_rows(half: float, whole: float, growth: float) -> float:
    """Return what a + b n is for so many times the rows, from half and from all of them."""
    rows = min(max(2 * (whole - half), 0.0), whole)
    return whole - rows + rows * growth


def by_both_sets(
    both: float, x: float, y: float, whole: float, x_growth: float, y_growth: float
) -> float:
    """Return a + b n + c m + e n m, from sets halved both, halved alone, and whole."""
    pairs = max(0.0, 4 * (whole - x - y + both))
    of_x, of_y = (max(0.0, 2 * (whole - half) - pairs) for half in (x, y))
    rest = max(0.0, whole - of_x - of_y - pairs)
    return rest + of_x * x_growth + of_y * y_growth + pairs * x_growth * y_growth


def by_blocks(cut: float, half: float, whole: float, growth: float, blocks: float) -> float:
    """Return a n + b n² + c n times the blocks of a row; `cut` is all rows in twice the blocks."""
    visits = min(max(cut - whole, 0.0), max(4 * half - whole, 0.0), whole)
    return by_rows_and_pairs(half - visits / 2, whole - visits, growth) + visits * growth * blocks


def estimated(name: str) -> tuple[str, ...]:
    """Run a cell of bench.gpu at small sizes; return what its own size takes at least."""
    cell, whole = cell_called(name), design_case(name, "")
    growth = cell.n / whole.n, (cell.m or cell.n) / whole.m
    alone = cell.task == "knn" and growth[1] == 1  # all references are there
    sizes = ("x", "") if alone else ("xy", "x", "y", "") if cell.task == "knn" else ("xy", "")
    if cell.task in LOSSES:
        sizes = ("blocks", *sizes)
    profiles = [profile_of(f"{name}@{how}") for how in sizes]
    found = [{entry["name"]: entry for entry in entries or ()} for entries in profiles]
    if None in profiles:
        return cell.title, "", "not there yet", "", "", ""

    def grown(seconds: list[float]) -> float:
        if alone:
            half, every = seconds
            return by_rows(half, every, growth[0])
        if cell.task == "knn":
            both, x, y, every = seconds
            return by_both_sets(both, x, y, every, *growth)
        if cell.task in LOSSES:
            cut, half, every = seconds
            return by_blocks(cut, half, every, growth[0], cell.n / _blocks_of(cell)[0])
        half, every = seconds
        return by_rows_and_pairs(half, every, growth[0])

    times: dict[str, tuple[float, str]] = {}
    for kernel, entry in found[-1].items():
        of_kernel = [
            entries[kernel]["estimate_seconds"] if kernel in entries else {} for entries in found
        ]
        times[kernel] = max(
            (grown([seconds.get(resource, 0.0) for seconds in of_kernel]), resource)
            for resource in entry["estimate_seconds"]
        )
    total = sum(seconds for seconds, _ in times.values())
    most = max(times, key=lambda kernel: times[kernel][0])
    seconds, bound_by = times[most]
    return (
        cell.title,
        _milliseconds(designs()[name].seconds),
        _milliseconds(total),
        f"`{_short(found[-1][most]['kernel'])}`",
        f"{100 * seconds / total:.0f} %",
        bound_by,
    )


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _short(kernel: str) -> str:
    """Name and template arguments, without namespaces and parameters."""
    return re.sub(r"(?:\(anonymous namespace\)|\w+)::", "", kernel.split("(")[0]) or kernel


def _file_of(mangled: str) -> str:
    """Return the file that a kernel was compiled in, by its anonymous namespace."""
    found = re.search(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_cu_", mangled)
    return found[1] if found else ""


# --- The document ---------------------------------------------------------------------------------

INTRODUCTION = """# GPU kernels as compiled

Written by `python -m bench.kernels`; not by hand. Nothing here was measured on a GPU.

## Registers, shared memory, spills

What ptxas {version} gives to each kernel; of its instantiations (variants) the fewest and the most
registers per thread, and the most of the rest, in bytes: static shared memory per block, stack
frame and spilled registers per thread; and in how many variants each wgmma waits for the one
before, which costs time and nothing else. None may spill but those of `SPILLS` of bench/kernels.py,
and none wait but those of `MAY_WAIT`, as much as these say, which is tested.
"""
COUNTS = """## Counts and estimates of a simulator

Small fixed cases of float32 rows, run in a simulator of the CUDA runtime that counts instructions
of PTX. Per pair of rows, n·m of them (per key for sliced and columns): instructions are warp
instructions times 32 lanes, idle ones included, and float64 those of double precision; tensor,
multiply-adds of tensor cores; shared, wavefronts of shared memory; memory, bytes moved in sectors.
Each is how many wavefronts one access of a warp takes: one of up to 128 bytes where no two lanes
meet in a bank, four of 16 bytes a lane. What float64 and each may come to is stated for every
kernel in `LIMITS` of bench/kernels.py, and tested. The last two columns are an ESTIMATE by the
simulator: work divided by the peak rate of an H200 for that resource alone, a lower bound on its
time, never a measurement. Sizes are far too small to fill a GPU.
"""
DESIGNS = """## Design speed

Cells of `python -m bench.gpu`, what each is designed to take on one H200, and an ESTIMATE: the
cell is run in the simulator at a small size, and with half the rows; of each kernel that says what
grows with the rows and what with the pairs, and the times of its own size are added up. The cell of
k=2048 is run with all of its references and few queries: of fewer references every one would be
among the nearest, or near them. Losses are of bfloat16, and run in twice as many blocks of weights
too, for what grows with these. A lower
bound again, never a measurement; but what the second-level cache (L2) binds may take less, for all
sectors are taken to miss the first, which copies in bulk do. The kernel that takes most of it
follows, with its share and what binds it.
"""


def document(body: list[tuple[str, ...]], counts: str, version: str) -> str:
    return "\n".join([INTRODUCTION.format(version=version), table(HEADS, body), "", counts])


def kept(text: str, renewed: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Return the rows of a document for the other files that still exist."""
    files = {file.relative_to(ROOT).as_posix() for file in sources()} - set(renewed)
    for line in text.splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if len(cells) == len(HEADS) and cells[1] in files:
            yield cells


def counts_in(text: str) -> str:
    """Return what the simulator counted, of an existing document."""
    head = COUNTS.splitlines()[0]
    return head + text.partition(head)[2] if head in text else COUNTS + "\nNone yet.\n"


def count() -> str:
    """Count, and lay out both tables."""
    cases_table = table(COUNTED, [row for name in cases() for row in counted(name)])
    designs_table = table(DESIGNED, [estimated(name) for name in designs()])
    return f"{COUNTS}\n{cases_table}\n\n{DESIGNS}\n{designs_table}\n"


def nvcc_version() -> str:
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"release [\d.]+, V([\d.]+)", said)
    return found[1] if found else "of unknown version"


def main(argv: list[str] | None = None) -> int:
    parse = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__)
    parse.add_argument("files", nargs="*", help="only these files of cuda/ are compiled again")
    parse.add_argument("--no-ptxas", action="store_true", help="renew only what is counted")
    parse.add_argument("--jobs", type=int, default=os.cpu_count())
    parse.add_argument("--run-case", help=argparse.SUPPRESS)
    options = parse.parse_args(argv)
    if options.run_case:
        return run_case(options.run_case)
    if shutil.which("nvcc") is None:
        print("nvcc is not installed", file=sys.stderr)
        return 1
    before = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    counts = counts_in(before)
    if os.environ.get("GPUSIM_LIBRARY"):
        counts = count()
    if options.no_ptxas:
        text = before.partition(COUNTS.splitlines()[0])[0] + counts
    else:
        found: dict[Key, Usage] = {}
        files = [ROOT / name for name in options.files] or sources()
        with ThreadPoolExecutor(options.jobs) as pool:
            for part in pool.map(compiled, files):
                found |= part
        body = list(rows(found))
        if options.files:
            order = {name: i for i, name in enumerate(ARCHITECTURES)}
            body += kept(before, options.files)
            body.sort(key=lambda row: (row[1], row[0], order.get(row[2], 9)))
        text = document(body, counts, nvcc_version())
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
