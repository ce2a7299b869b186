"""Runs a case: one long-lived process per contender, driven in turns, on the same stored arrays.

cases → make (yardstick process) → warm up each contender → rounds (yardstick, then every contender
once, each round beginning with another) → errors → Outcome. Only one process works at a time. A
contender that fails, runs out of memory or takes too long gets that as its entry; the rest go on.
Who is slow is called less often (`Outcome.due`), or a table of many cases would take hours.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from bench.case import Case
from bench.peers import MODULES, ON_REQUEST, OUTSIDE
from bench.worker import YARDSTICK

OURS = "pairtile"
SHARE_OF_MEMORY = 0.85  # of what is available when a contender starts
PRODUCT_SIZE = 3072  # of the sgemm yardstick at full scale
LEAST_PRODUCT_SIZE = 256
RADIX_PASSES = 3  # over 32-bit keys, eleven bits at a time
SLOW = 20.0  # seconds of a first call after which there is no second
SHORT = 1.0  # seconds below which a first call says too little to drop a peer
BEATEN = 1.2  # times the fastest peer's first call: cannot be the best peer


@dataclass(frozen=True)
class Settings:
    """How to run; the command line fills it in."""

    threads: int
    repeat: int
    scale: float
    timeout: float
    patience: float
    contenders: tuple[str, ...] | None = None


@dataclass
class Entry:
    """What one contender did in one case. Times in seconds, memory in bytes."""

    contender: str
    status: str = "ok"
    version: str | None = None
    first: dict[str, float] = field(default_factory=dict)  # the warm-up: "one_shot", "prebuilt"
    times: dict[str, list[float]] = field(default_factory=dict)  # the rounds
    peak_memory: int | None = None
    candidates: float | None = None  # pairs per query that were confirmed one by one
    errors: dict[str, float] = field(default_factory=dict)
    wrong: bool = False

    def seconds(self, column: str = "one_shot") -> float | None:
        """Return the median time; None for a column it lacks, or where it did not finish.

        One that was not called again after the warm-up has only that call's time.
        """
        if self.status != "ok" or column not in self.first:
            return None
        return median(self.times[column] or [self.first[column]])

    @property
    def once(self) -> bool:
        return self.status == "ok" and not any(self.times.values())


@dataclass
class Outcome:
    """One case: its floor, and an entry per contender."""

    case: Case
    sgemm_rates: list[float]
    copy_rates: list[float]
    entries: list[Entry]

    @property
    def floor(self) -> float | None:
        """Seconds for the case's flops at the sgemm rate, and its keys at the copying rate.

        A key of four bytes is written by the projection, read and written by each radix pass, and
        read once by the reduction.
        """
        if not (self.case.flops or self.case.keys):
            return None
        moved = 4.0 * self.case.keys * (2 + 2 * RADIX_PASSES)
        return self.case.flops / median(self.sgemm_rates) + moved / median(self.copy_rates)

    @property
    def best_peer(self) -> Entry | None:
        return min(self._peers, key=lambda e: e.seconds() or 0.0, default=None)

    @property
    def _peers(self) -> list[Entry]:
        others = (e for e in self.entries if e.contender not in (OURS, *OUTSIDE))
        return [e for e in others if e.seconds() is not None]

    @property
    def ours(self) -> Entry | None:
        return next((e for e in self.entries if e.contender == OURS), None)

    def due(self, patience: float) -> list[Entry]:
        """Return who is called in the next round.

        Not who took more than SLOW in the warm-up, nor who has been timed for `patience` seconds;
        and none of the others than pairtile that took BEATEN times the fastest peer's warm-up.
        """
        quickest = min((e.first["one_shot"] for e in self._peers), default=0.0)

        def is_due(entry: Entry) -> bool:
            if entry.status != "ok":
                return False
            first = entry.first["one_shot"]
            beaten = entry.contender != OURS and first > max(SHORT, BEATEN * quickest)
            spent = sum(map(sum, entry.times.values()))
            return first <= SLOW and not beaten and spent < patience

        return [entry for entry in self.entries if is_due(entry)]


def entrants(case: Case, only: tuple[str, ...] | None) -> list[str]:
    """Who enters a case: all of its contenders, or those named and able to."""
    if only is None:
        return list(case.contenders)
    asked = [name for name, tasks in ON_REQUEST.items() if case.task in tasks]
    return [name for name in (*case.contenders, *asked) if name in only]


class ContenderGone(Exception):
    """The contender's process ended or was stopped; the message is its entry in the table."""


class Process:
    """A contender's process, started with every thread pool limited and told not to spin."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._pipe, theirs = Pipe()
        number = str(settings.threads)
        pools = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA")
        environment = os.environ | {f"{pool}_NUM_THREADS": number for pool in pools}
        environment |= {
            "VECLIB_MAXIMUM_THREADS": number,
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
            "OPENBLAS_THREAD_TIMEOUT": "20",  # spins for 2^20 cycles, under a millisecond
        }
        command = [sys.executable, "-m", "bench.worker", str(theirs.fileno()), name, number]
        # CUDA reserves addresses for far more memory than there is
        limit = 0 if name in ON_REQUEST else _memory_limit()
        self._child = subprocess.Popen(
            [*command, str(limit)],
            env=environment,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def order(self, name: str, *arguments: object, timeout: float | None = None) -> Any:
        """Have the contender do something and return its answer, or raise ContenderGone."""
        try:
            self._pipe.send((name, arguments))
            if not self._pipe.poll(timeout):
                self.stop()
                raise ContenderGone(f"over {timeout:g} s")
            status, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            code = self._child.wait()
            raise ContenderGone(f"killed (exit status {code})") from None
        if status != "done":
            if status == "failed":
                print(f"{self.name}: {answer}", file=sys.stderr)
            raise ContenderGone(status)
        return answer

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def stop(self) -> None:
        self._pipe.close()
        self._child.kill()
        self._child.wait()


class Ring:
    """All the processes of one invocation, started when first needed and kept for the next case."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._processes: dict[str, Process] = {}
        self._made: tuple[Case, tempfile.TemporaryDirectory[str]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.stop()
        if self._made is not None:
            self._made[1].cleanup()

    def process(self, name: str) -> Process:
        process = self._processes.get(name)
        if process is None or not process.alive:
            process = self._processes[name] = Process(name, self.settings)
        return process

    def run(self, case: Case) -> Outcome:
        """Measure every contender of the case, taking turns."""
        names = entrants(case, self.settings.contenders)
        outcome = Outcome(case, [], [], [Entry(name) for name in names])
        for entry in outcome.entries:
            if importlib.util.find_spec(MODULES.get(entry.contender, entry.contender)) is None:
                entry.status = "not installed"
        self._measure(outcome, self._inputs(case))
        return outcome

    def _inputs(self, case: Case) -> Path:
        """Have the arrays of the case stored, unless they still are from the one before."""
        if self._made is None or self._made[0] != case.source:
            if self._made is not None:
                self._made[1].cleanup()
            folder = tempfile.TemporaryDirectory(prefix="pairtile-bench-")
            self._made = case.source, folder
            self.process(YARDSTICK).order("make", case.source, Path(folder.name))
        return Path(self._made[1].name)

    def _measure(self, outcome: Outcome, folder: Path) -> None:
        case, entries = outcome.case, outcome.entries
        yardstick = self.process(YARDSTICK)
        for entry in entries:
            entry.version = self._ask(entry, "describe")
            warm = self._ask(entry, "warm_up", case, folder)
            if warm is not None:
                entry.peak_memory, entry.first = warm
                entry.times = {column: [] for column in entry.first}

        product = round(PRODUCT_SIZE * min(1.0, self.settings.scale) ** 0.5)
        for turn in range(self.settings.repeat):
            sgemm, copy = yardstick.order("rates", case, max(LEAST_PRODUCT_SIZE, product))
            outcome.sgemm_rates.append(sgemm)
            outcome.copy_rates.append(copy)
            due = outcome.due(self.settings.patience)
            if not due:
                break
            first = turn % len(due)
            for entry in due[first:] + due[:first]:
                for column, times in entry.times.items():
                    seconds = self._ask(entry, "run", column)
                    if seconds is not None:
                        times.append(seconds)

        for entry in entries:
            entry.errors = self._ask(entry, "errors", case, folder) or {}
            entry.wrong = any(
                not error <= case.tolerances[name] for name, error in entry.errors.items()
            )
            entry.candidates = self._ask(entry, "candidates", case, folder)
            self._ask(entry, "forget")

    def _ask(self, entry: Entry, order: str, *arguments: object) -> Any:
        """Give a contender an order; None once it is out of this case, whatever the reason."""
        if entry.status != "ok":
            return None
        process = self.process(entry.contender)
        try:
            return process.order(order, *arguments, timeout=self.settings.timeout)
        except ContenderGone as gone:
            entry.status = str(gone)
            process.stop()
            return None


def _memory_limit() -> int:
    """Bytes a contender may take, so that one that asks for too much does not end the others.

    Zero, no limit, where the system does not say what is available.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return int(SHARE_OF_MEMORY * available * 1024)
