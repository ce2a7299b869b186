"""docs/gpu_kernels.md is about the kernels that are there, and they take no more than they may."""

import importlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RENEW = "renew docs/gpu_kernels.md: python -m bench.kernels"
SAID = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN8pairtile3gpu9knn_sweepILi8EEEvNS0_5SweepE' for 'sm_80'
ptxas info    : Function properties for _ZN8pairtile3gpu9knn_sweepILi8EEEvNS0_5SweepE
    600 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 92 registers, used 1 barriers, 41984 bytes smem
ptxas info    : Compiling entry function '_ZN3cub11knn_sweeperEv' for 'sm_80'
ptxas info    : Function properties for _ZN3cub11knn_sweeperEv
    8 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
ptxas info    : Compiling entry function '_ZN8pairtile3gpu9knn_sweepILi9EEEvNS0_5SweepE' for 'sm_80'
ptxas info    : Function properties for _ZN8pairtile3gpu9knn_sweepILi9EEEvNS0_5SweepE
    0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers
"""


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("bench.kernels")


def test_reports_of_ptxas_are_read(kernels: Any) -> None:
    file = ROOT / "cuda" / "neighbors" / "knn.cu"
    found = kernels.usages(file, SAID)
    key = kernels.Key("cuda/neighbors/knn.cu", "knn_sweep", "sm_80")
    assert found == {key: kernels.Usage(2, [92, 64], shared=41984, stack=600, spilled=12)}
    (row,) = kernels.rows(found)
    assert row[3:] == ("2", "64–92", "41984", "600", "12", "0")
    assert kernels.stated(kernels.table(kernels.HEADS, [row])) == {key: 12}


def test_wgmma_that_wait_are_counted(kernels: Any) -> None:
    """As many as variants, however often ptxas says it of one."""
    said = SAID.replace("sm_80", "sm_90a")
    names = re.findall(r"entry function '(\w+)'", said)
    loss = "ptxas info    : (C7520) Potential Performance Loss: wgmma.mma_async instructions are "
    said += "".join(
        f"{loss}serialized due to something in the function '{name}'\n" for name in names * 2
    )
    ((key, usage),) = kernels.usages(ROOT / "cuda" / "neighbors" / "knn.cu", said).items()
    assert usage.waits == 2
    (row,) = kernels.rows({key: usage})
    assert kernels.stated(kernels.table(kernels.HEADS, [row]), "waits") == {key: 2}


def test_kernels_are_found_in_sources(kernels: Any, tmp_path: Path) -> None:
    file = tmp_path / "some.cu"
    file.write_text(
        "__global__ void plain(int* x) {}\n"
        "template <class T>\n"
        "__global__ void __launch_bounds__(block_threads, sizeof(T) == 4 ? 4 : 2)\n"
        "    bounded(T* x) {}\n"
        "__global__ __launch_bounds__(128) void before(int* x) {}\n"
        "__device__ void not_one(int* x) {}\n"
    )
    assert kernels.kernels_of(file) == ["plain", "bounded", "before"]
    count = sum(
        path.read_text().count("__global__ ")
        for kind in ("*.cu", "*.cuh")
        for path in (ROOT / "cuda").glob(f"*/{kind}")
    )
    files = [path for kind in ("*.cu", "*.cuh") for path in (ROOT / "cuda").glob(f"*/{kind}")]
    assert sum(len(kernels.kernels_of(path)) for path in files) == count > 0


def test_estimates_grow_with_rows_and_pairs(kernels: Any) -> None:
    def seconds(n: float, m: float) -> float:
        return 7 + 3 * n + 2 * m + 0.5 * n * m

    found = kernels.by_both_sets(
        seconds(5, 20), seconds(5, 40), seconds(10, 20), seconds(10, 40), 7, 9
    )
    assert found == pytest.approx(seconds(70, 360))
    squares = [3 * n + 0.5 * n * n for n in (10, 20, 140)]
    assert kernels.by_rows(3 + 2, 3 + 4, 7) == 3 + 4 * 7
    assert kernels.by_rows(5.0, 5.0, 7) == kernels.by_rows(6.0, 5.0, 7) == 5  # does not fall
    assert kernels.by_rows_and_pairs(*squares[:2], 7) == pytest.approx(squares[2])
    assert kernels.by_rows_and_pairs(1.0, 2.0, 7) == 14  # by rows alone
    assert kernels.by_rows_and_pairs(0.0, 4.0, 7) == 4 * 49
    assert kernels.by_rows_and_pairs(5.0, 5.0, 7) == 35  # what does not grow is not taken to fall

    def in_blocks(n: float, blocks: float) -> float:
        return 3 * n + 2 * n * blocks + 0.5 * n * n

    three = in_blocks(20, 2), in_blocks(10, 1), in_blocks(20, 1)
    assert kernels.by_blocks(*three, 7, 11) == pytest.approx(in_blocks(140, 11))


def test_every_design_is_a_cell(kernels: Any) -> None:
    text = kernels.DOCUMENT.read_text()
    for name, design in kernels.designs().items():
        cell, whole = kernels.cell_called(name), kernels.design_case(name, "")
        assert whole.n <= cell.n
        assert whole.m <= (cell.m or cell.n)
        half = kernels.design_case(name, "x")
        assert (half.n, half.m) == (whole.n // 2, whole.m)
        assert f"| {cell.title} | {kernels._milliseconds(design.seconds)} |" in text, RENEW


def test_document_lists_every_kernel(kernels: Any) -> None:
    stated = kernels.stated(kernels.DOCUMENT.read_text())
    listed = {key.kernel for key in stated}
    there = kernels.every_kernel()
    assert not there - listed, f"{sorted(there - listed)} are not listed; {RENEW}"
    assert not listed - there, f"{sorted(listed - there)} are no more; {RENEW}"
    for file in kernels.sources():
        name = file.relative_to(ROOT).as_posix()
        for kernel in kernels.kernels_of(file):
            architectures = {key.architecture for key in stated if key[:2] == (name, kernel)}
            assert architectures == set(kernels.ARCHITECTURES), f"{name}: {kernel}; {RENEW}"


def test_kernels_spill_what_they_may(kernels: Any) -> None:
    stated = kernels.stated(kernels.DOCUMENT.read_text())
    beyond = {key: spilled for key, spilled in stated.items() if spilled > key.may_spill}
    assert beyond == {}, "see SPILLS of bench/kernels.py"
    assert set(kernels.SPILLS) <= {key.place for key in stated}


def test_wgmma_wait_where_they_may(kernels: Any) -> None:
    stated = kernels.stated(kernels.DOCUMENT.read_text(), "waits")
    beyond = {key: waits for key, waits in stated.items() if waits > key.may_wait}
    assert beyond == {}, "see MAY_WAIT of bench/kernels.py"
    assert set(kernels.MAY_WAIT) <= {key.place for key, waits in stated.items() if waits > 0}


def test_counts_are_within_their_limits(kernels: Any) -> None:
    stated = kernels.counts_stated(kernels.DOCUMENT.read_text())
    titles = {case.title for case in kernels.cases().values()}
    assert {count.case for count in stated} == titles, RENEW
    assert [count.excess() for count in stated if count.excess()] == []


def test_what_exceeds_a_limit_is_said(kernels: Any) -> None:
    def excess(**beyond: Any) -> str | None:
        count = kernels.Count("a case", "mma_sweep<X>", "screened_knn", 0.0, 3.0)
        found: str | None = count._replace(**beyond).excess()
        return found

    assert excess() is None
    assert "more float64 for each pair than 0" in (excess(float64=1e-3) or "")
    assert "more wavefronts for each access than 3" in (excess(each=3.01) or "")
    assert excess(kernel="new") == "bench.kernels.LIMITS says nothing of new of screened_knn"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["knn", "mmd", "energy", "clip", "siglip", "permutation"])
def test_a_simulator_counts_within_the_limits(kernels: Any, name: str) -> None:
    """As the table does, but of the code as it is, by whichever tensor cores it was built for."""
    if not os.environ.get("GPUSIM_LIBRARY"):
        pytest.skip("counts are those of a simulator")
    case = kernels.cases()[name]
    counts = [kernels.count_of(case, entry) for entry in kernels.profile_of(name)]
    sweeps = {count.kernel for count in counts if count.kernel in ("mma_sweep", "wgmma_sweep")}
    assert len(sweeps) == (name != "permutation")
    assert [count.excess() for count in counts if count.excess()] == []
    text = kernels.table(kernels.COUNTED, kernels.counted(name))
    assert {(count.kernel, count.file) for count in kernels.counts_stated(text)} == {
        (count.kernel, count.file) for count in counts
    }


@pytest.mark.gpu
def test_references_are_read_once_before_the_sweep(kernels: Any) -> None:
    """To be packed; of the survey the queries alone."""
    if not os.environ.get("GPUSIM_LIBRARY"):
        pytest.skip("counts are those of a simulator")
    case = kernels.cases()["knn, few queries"]
    moved: dict[str, float] = {}
    for entry in kernels.profile_of("knn, few queries"):
        kernel = kernels._short(entry["kernel"])
        moved[kernel] = moved.get(kernel, 0.0) + entry["global_bytes_moved"]
    rows = 4 * case.d * case.n
    assert moved["survey_together<float>"] < 2 * rows  # the queries
    # in float32, and out in bfloat16, queries in whole panels; of the centre 64 features for every
    # sixteen rows
    read, written = case.n + case.m, 256 + case.m
    assert moved["pack_together<float>"] < 1.1 * 4 * case.d * (1.25 * read + 0.5 * written)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neighbors/knn.cu", "kernels/sums.cu", "kernels/tensor_sums.cu"])
def test_kernels_spill_no_more_than_is_stated(kernels: Any, name: str) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("there is no nvcc")
    text = kernels.DOCUMENT.read_text()
    if f"ptxas {kernels.nvcc_version()} " not in text:
        pytest.skip(f"docs/gpu_kernels.md is not by nvcc {kernels.nvcc_version()}")
    stated = kernels.stated(text)
    found = kernels.compiled(ROOT / "cuda" / name, ["sm_90a"])
    assert found
    for key, usage in found.items():
        assert key in stated, f"{key} is not listed; {RENEW}"
        assert usage.spilled <= min(stated[key], key.may_spill), key
        assert usage.waits <= key.may_wait, key
