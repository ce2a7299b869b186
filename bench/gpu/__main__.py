"""The command line of `bench.gpu`: steps, then cells, all within a budget of seconds."""

import argparse
import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.gpu import record, steps
from bench.gpu.cells import Cell, chosen
from bench.gpu.record import OURS
from bench.harness import ContenderGone

PEERS = ("torch", "torch.compile", "cupy", "faiss", "cuvs", "pykeops")
COMPILED = ("torch.compile", "pykeops")
OUT = steps.ROOT / "docs" / "benchmarks"
LEAST_LIMIT, TIMES_OURS = 10.0, 3.0  # seconds a peer may take, or times our own
COMPILING = 60.0  # seconds for a peer that compiles first
LEAST_LEFT = 5.0  # seconds below which nothing is started any more
SPARE = 1.3  # times a known time, that a cell needs
AROUND = 60.0  # seconds for inputs, warm-up and judge of a call


def missing() -> str | None:
    """What this machine lacks, in words."""
    if importlib.util.find_spec("pairtile._cuda") is None:
        return "pairtile was built without its GPU module: pip install with PAIRTILE_CUDA=ON"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: pip install 'pairtile[cuda]'"
    import cupy

    return None if cupy.is_available() else "CuPy finds no NVIDIA GPU"


class Process:
    """The measuring process, started anew where it was lost."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._child: Any = None
        self._pipe: Any = None

    def order(self, name: str, *arguments: object, timeout: float) -> Any:
        """Return the answer, or raise ContenderGone."""
        if self._child is None or not self._child.is_alive():
            self._start()
        try:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(timeout):
                self.stop()
                raise ContenderGone(f"stopped after {timeout:.0f} s")
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._child.join(10)
            code = self._child.exitcode
            self.stop()
            raise ContenderGone(f"the process ended (exit status {code})") from None

    def _start(self) -> None:
        from bench.gpu.worker import serve  # needs CuPy

        self._pipe, theirs = self._context.Pipe()
        self._child = self._context.Process(target=serve, args=(theirs,))
        self._child.start()
        theirs.close()

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._pipe.close()
            self._child = None


@contextmanager
def measuring() -> Iterator[Process]:
    """A process for as long as it is needed."""
    process = Process()
    try:
        yield process
    finally:
        process.stop()


class Run:
    """One invocation: the document that grows, and the seconds that are left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.file = options.out / "gpu.json"
        self._end: float = time.monotonic() + options.budget
        self.document = record.load(self.file)
        self.document.setdefault("cells", {})
        self.document.setdefault("steps", {})
        self.document["commit"] = record.commit()

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def save(self) -> None:
        record.save(self.document, self.file)

    def steps(self) -> None:
        """Tests and sanitizers, each within its share of the budget."""
        options = self.options
        left_out = {"tests"} if options.no_tests else set()
        left_out |= set(steps.SANITIZERS) if options.no_sanitizers else set()
        for name, command in steps.commands().items():
            if name in left_out:
                continue
            print("+", *command, flush=True)
            step = steps.run(name, command, min(self.left, steps.SHARES[name] * options.budget))
            self.document["steps"][name] = step
            self.save()
            print(f"{name}: {step['status']} in {step['seconds']:.0f} s", flush=True)
            if step["status"] not in ("ok", "not available"):
                print(step["said"], flush=True)

    def machine(self, process: Process) -> None:
        """What is measured on, and what it can do."""
        machine = process.order("describe", timeout=AROUND + self.left)
        self.document["machine"] = machine
        self.document["rehearsal"] = "gpusim" in machine["device"]
        self.document["ceilings"] = process.order(
            "ceilings", self.options.scale, timeout=AROUND + self.left
        )
        self.save()

    def cells(self, process: Process, cells: list[Cell]) -> None:
        """Every cell, ours first and then the peers, written as soon as it is known."""
        names = [OURS, *(() if self.options.no_peers else PEERS)]
        for cell in cells:
            before = self.document["cells"].get(cell.name)
            if before is not None and before["sizes"] != asdict(cell):
                before = None
            kept = {}
            if self.options.resume and before is not None:
                kept = {
                    name: entry
                    for name, entry in before["contenders"].items()
                    if entry["status"] in (("ok",) if name == OURS else record.SETTLED)
                }
            if kept.keys() >= set(names):
                continue
            known = None if before is None or OURS in kept else record.seconds_of(before)
            if self.left < max(LEAST_LEFT, SPARE * (known or 0)):
                print(f"{cell.title}: not started, {max(0, self.left):.0f} s are left", flush=True)
                continue
            entry = {
                "title": cell.title,
                "sizes": asdict(cell),
                "flops": cell.flops,
                "moved": cell.moved,
                "floors": cell.floors(self.document["ceilings"]),
                "commit": self.document["commit"],
                "contenders": kept,
            }
            for name in names:
                if name not in kept and self.left > LEAST_LEFT:
                    kept[name] = self._contender(process, cell, name, record.seconds_of(entry))
                    self.document["cells"][cell.name] = entry
                    self.save()
            print(record.line(entry), flush=True)

    def _contender(
        self, process: Process, cell: Cell, name: str, ours: float | None
    ) -> dict[str, Any]:
        left = max(0.0, self.left)
        limit = left if name == OURS else min(left, max(LEAST_LIMIT, TIMES_OURS * (ours or 0.0)))
        if name in COMPILED:
            limit = min(left, COMPILING)
        order: dict[str, Any]
        try:
            order = process.order("measure", cell, name, limit, timeout=limit + AROUND)
        except ContenderGone as gone:
            order = {"status": "failed", "message": str(gone)}
        return order

    @property
    def failures(self) -> list[str]:
        """What the exit status stands for: tests, reports of sanitizers, wrong or failed cells."""
        found = [name for name, s in self.document["steps"].items() if "failed" in s["status"]]
        for cell in self.document["cells"].values():
            ours = cell["contenders"].get(OURS)
            if ours and (ours["status"] == "failed" or ours.get("wrong")):
                found.append(cell["title"])
        return found


def main(argv: list[str] | None = None) -> int:
    parse = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parse.add_argument("--only", metavar="NAMES", help="cells by name or its beginning: knn,mmd")
    parse.add_argument("--budget", type=float, default=360.0, help="seconds for everything")
    parse.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of rows")
    parse.add_argument("--resume", action="store_true", help="keep what the JSON file has")
    parse.add_argument("--no-tests", action="store_true")
    parse.add_argument("--no-sanitizers", action="store_true")
    parse.add_argument("--no-peers", action="store_true")
    parse.add_argument("--out", type=Path, default=OUT, help="folder for gpu.json, .md and .svg")
    options = parse.parse_args(argv)
    try:
        cells = chosen(options.only)
    except ValueError as error:
        parse.error(str(error))
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    if options.scale != 1:
        cells = [cell.scaled(options.scale) for cell in cells]
    run = Run(options)
    run.steps()
    with measuring() as process:
        run.machine(process)
        run.cells(process, cells)
    (options.out / "gpu.md").write_text(record.markdown(run.document))
    try:
        record.draw(run.document, options.out / "gpu.svg")
    except ImportError:
        print("no picture: Matplotlib is not installed")
    print("failed: " + "; ".join(run.failures) if run.failures else "nothing failed")
    return int(bool(run.failures))


if __name__ == "__main__":
    sys.exit(main())
