"""The process that measures: it takes orders over a pipe, one contender of one cell at a time.

What can go wrong in an order is told in its answer. After an error that leaves the device unusable
the process ends; the next order goes to a fresh one.
"""

import gc
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from bench.gpu import device, library
from bench.gpu.cells import Cell, Inputs
from bench.gpu.peers import PEERS, Peer, as_cupy

OURS = "pairtile"
PROBE = 1 / 8  # of the rows, in the call that says how long the whole takes
REPEAT = 5
SLOW = 2.0  # seconds of a first call after which a peer is not called again
OUR_SLOW = 6.0
PATIENCE = 2.0  # seconds of timed calls of one contender


class Ours(Peer):
    """pairtile, on CuPy arrays or, where CuPy has no such type, on tensors."""

    def prepare(self, cell: Cell, inputs: Inputs) -> Callable[[], Any]:
        return cell.prepare(as_cupy(inputs))


class Worker:
    """The state behind the orders: inputs of the last cell, and the peers that were asked for."""

    def __init__(self) -> None:
        self.library = library.best()
        self._peers: dict[str, Peer] = {OURS: Ours()}
        self._inputs: tuple[Any, Inputs] | None = None

    def describe(self) -> dict[str, Any]:
        """Name the device and the versions."""
        return device.describe()

    def ceilings(self, scale: float) -> dict[str, float]:
        """Measure what the device can do."""
        found = device.ceilings(scale)
        device.free_memory()
        return found

    def measure(self, cell: Cell, contender: str, limit: float) -> dict[str, Any]:
        """Time a contender, unless the whole would take more than `limit` seconds, and judge us."""
        entry: dict[str, Any] = {"status": "ok"}
        try:
            peer = self._peer(contender)
            if peer.probed and not self._fits(peer, cell, limit, entry):
                return entry
            inputs = self._made(cell)
            call = peer.prepare(cell, inputs)
            if call is None:
                return {"status": "has no such function"}
            result = self._time(peer, call, entry, OUR_SLOW if contender == OURS else SLOW)
            if contender == OURS:
                entry["clocks"] = device.clocks()
                entry["errors"] = cell.errors(result, inputs, self.library)
                entry["wrong"] = any(
                    not error <= cell.tolerances[name] for name, error in entry["errors"].items()
                )
        except Exception as error:
            entry |= {"status": _status(error), "message": f"{type(error).__name__}: {error}"[:800]}
            if entry["status"] == "failed":
                entry["traceback"] = traceback.format_exc()[-2000:]
        finally:
            gc.collect()
        return entry

    def _peer(self, name: str) -> Peer:
        if name not in self._peers:
            self._peers[name] = PEERS[name]()
        return self._peers[name]

    def _made(self, cell: Cell) -> Inputs:
        if self._inputs is None or self._inputs[0] != cell.source:
            self._inputs = None
            device.free_memory()
            self._inputs = cell.source, cell.make(self.library)
        return self._inputs[1]

    def _fits(self, peer: Peer, cell: Cell, limit: float, entry: dict[str, Any]) -> bool:
        """Call on fewer rows, which also loads what is loaded late; False after saying why not."""
        small = cell.scaled(PROBE)
        call = peer.prepare(small, small.make(self.library))
        if call is None:
            entry["status"] = "has no such function"
            return False
        call()
        seconds = device.timed(call, own_streams=peer.own_streams).seconds
        more = max(cell.flops / small.flops, cell.moved / small.moved)
        entry["estimate"] = seconds * more
        if entry["estimate"] > limit:
            entry["status"] = "takes too long"
            entry["message"] = (
                f"{small.title}: {seconds:.3g} s; {more:.0f} times the work is over the limit of "
                f"{limit:.3g} s"
            )
        return bool(entry["estimate"] <= limit)

    def _time(self, peer: Peer, call: Callable[[], Any], entry: dict[str, Any], slow: float) -> Any:
        """The first call is the warm-up, unless it took so long that it stays the only one."""
        peak = device.Peak()
        first = device.timed(call, own_streams=peer.own_streams)
        entry["memory"] = peak.bytes()
        entry["first"] = first.seconds
        result = first.result
        del first.result
        seconds: list[float] = []
        while len(seconds) < REPEAT and (entry["first"] <= slow or not peer.probed):
            result = None
            again = device.timed(call, own_streams=peer.own_streams)
            result = again.result
            del again.result
            seconds.append(again.seconds)
            if sum(seconds) >= PATIENCE:
                break
        entry["seconds"] = seconds or [entry["first"]]
        entry["once"] = not seconds
        return result


def _status(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return "not installed"
    if isinstance(error, ImportError):
        return "not available"
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":
        return "out of memory"
    absent = isinstance(error, AttributeError) and "'pairtile' has no attribute" in str(error)
    if absent or isinstance(error, NotImplementedError):
        return "not there yet"
    return "failed"


def serve(pipe: Connection) -> None:
    """Answer orders until the pipe is closed."""
    worker = Worker()
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        answer = getattr(worker, name)(*arguments)
        pipe.send(answer)
        if isinstance(answer, dict) and answer.get("status") == "failed" and not _usable():
            return


def _usable() -> bool:
    try:
        device.synchronize()
    except Exception:
        return False
    return True
