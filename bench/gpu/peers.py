"""Who is measured beside pairtile on the same device, each as a careful user would call it.

A peer is a class: made once in the worker, it raises ImportError where it cannot run. `prepare`
returns the call to be timed, or None for a task that it has no function for.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.gpu import plain
from bench.gpu.cells import Cell, Clip, Columns, Inputs, Knn, Mmd, Permutation, SigLip, Sliced
from bench.gpu.library import Cupy, Library, Torch, torch_on_gpu

Call = Callable[[], Any]


class Peer:
    """What the worker asks of everybody."""

    own_streams = False  # work is not on the stream that events are recorded on
    probed = True  # a call on fewer rows says how long the whole takes

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        raise NotImplementedError


class WholeArrays(Peer):
    """The chunked operations of `bench.gpu.plain`."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        library = self.library
        x, y = inputs["x"], inputs["y"]
        match cell:
            case Knn():
                own = None if cell.m else np.arange(cell.n)
                return lambda: plain.knn(library, x, x if y is None else y, cell.k, own)
            case Mmd(precision="default"):
                return lambda: plain.mmd(library, x, y, cell.gamma)
            case Permutation():
                sizes = cell.gamma, cell.permutations, cell.seed
                return lambda: plain.permutation(library, x, y, *sizes)
            case Sliced():
                directions = library.asarray(inputs["directions"])
                return lambda: plain.sliced(library, x, y, directions)
            case Columns():
                return lambda: plain.columns(library, x, y)
        if cell.task == "energy":
            return lambda: plain.energy(library, x, y)
        return None


class CupyArrays(WholeArrays):
    """CuPy: no gradients, so no losses."""

    def __init__(self) -> None:
        super().__init__(Cupy())

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        return super().prepare(cell, as_cupy(inputs))


class TorchEager(WholeArrays):
    """PyTorch, eager; losses by autograd."""

    def __init__(self, device: str = "cuda") -> None:
        if device == "cuda" and torch_on_gpu() is None:
            raise ImportError("torch finds no GPU")
        super().__init__(Torch(device))
        self.torch: Any = importlib.import_module("torch")

    def loss(self, cell: Clip) -> Callable[[Any, Any], Any]:
        """Return the function of x and y that is differentiated."""
        functional = self.torch.nn.functional
        scale = cell.scale
        if isinstance(cell, SigLip):
            bias = cell.bias

            def sigmoid_loss(x: Any, y: Any) -> Any:
                logits = (x @ y.T).float() * scale + bias
                # −log σ(z) is softplus(z) − z: no matrix of signs
                return (functional.softplus(logits).sum() - logits.diagonal().sum()) / len(x)

            return sigmoid_loss
        targets = self.torch.arange(cell.n, device=self.library.device)  # type: ignore[attr-defined]

        def clip_loss(x: Any, y: Any) -> Any:
            logits = (x @ y.T).float() * scale
            rows = functional.cross_entropy(logits, targets)
            return (rows + functional.cross_entropy(logits.T, targets)) / 2

        return clip_loss

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        if not isinstance(cell, Clip):
            return super().prepare(cell, inputs)
        x, y = (inputs[name].detach().clone().requires_grad_() for name in "xy")
        loss = self.loss(cell)

        def call() -> Any:
            value = loss(x, y)
            return value.detach(), *self.torch.autograd.grad(value, [x, y])

        return call


class TorchCompiled(TorchEager):
    """torch.compile of the losses, for this shape; compiling is not in the time."""

    probed = False

    def loss(self, cell: Clip) -> Callable[[Any, Any], Any]:
        compiled: Callable[[Any, Any], Any] = self.torch.compile(super().loss(cell), dynamic=False)
        return compiled

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        return super().prepare(cell, inputs) if isinstance(cell, Clip) else None


class Faiss(Peer):
    """The brute-force search of faiss-gpu; a row's own place is found and dropped."""

    own_streams = True

    def __init__(self) -> None:
        self.faiss: Any = importlib.import_module("faiss")
        if not hasattr(self.faiss, "StandardGpuResources"):
            raise ImportError("faiss was built without GPUs")
        importlib.import_module("faiss.contrib.torch_utils")
        self.resources = self.faiss.StandardGpuResources()

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        if not isinstance(cell, Knn):
            return None
        x = inputs["x"]
        y = x if inputs["y"] is None else inputs["y"]
        k = cell.k + (inputs["y"] is None)
        return lambda: self.faiss.knn_gpu(self.resources, x, y, k)


class Cuvs(Peer):
    """The brute-force search of cuVS, index and all; a row's own place is found and dropped."""

    own_streams = True

    def __init__(self) -> None:
        self.brute_force: Any = importlib.import_module("cuvs.neighbors.brute_force")

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        if not isinstance(cell, Knn):
            return None
        sets = as_cupy(inputs)
        x = sets["x"]
        y = x if sets["y"] is None else sets["y"]
        k = cell.k + (sets["y"] is None)

        def call() -> Any:
            index = self.brute_force.build(y, metric="euclidean")
            return self.brute_force.search(index, x, k)

        return call


class Keops(Peer):
    """PyKeOps, symbolic matrices reduced without being formed; it compiles on the first call."""

    probed = False

    def __init__(self) -> None:
        if torch_on_gpu() is None:
            raise ImportError("torch finds no GPU")
        self.lazy: Any = importlib.import_module("pykeops.torch").LazyTensor

    def _squares(self, a: Any, b: Any) -> Any:
        return ((self.lazy(a[:, None, :]) - self.lazy(b[None, :, :])) ** 2).sum(-1)

    def prepare(self, cell: Cell, inputs: Inputs) -> Call | None:
        x, y = inputs["x"], inputs["y"]
        n, m = cell.n, cell.m
        match cell:
            case Knn():
                own = y is None
                references = x if own else y
                return lambda: self._squares(x, references).Kmin_argKmin(cell.k + own, dim=1)
            case Mmd(precision="default"):

                def total(a: Any, b: Any) -> float:
                    kernel = (-cell.gamma * self._squares(a, b)).exp()
                    return float(kernel.sum(dim=1).double().sum())

                return lambda: (
                    (total(x, x) - n) / (n * (n - 1))
                    + (total(y, y) - m) / (m * (m - 1))
                    - 2 * total(x, y) / (n * m)
                )
        if cell.task == "energy":

            def mean(a: Any, b: Any) -> float:
                sums = self._squares(a, b).sqrt().sum(dim=1).double().sum()
                return float(sums) / (len(a) * len(b))

            return lambda: 2 * mean(x, y) - mean(x, x) - mean(y, y)
        return None


PEERS: dict[str, Callable[[], Peer]] = {
    "torch": TorchEager,
    "torch.compile": TorchCompiled,
    "cupy": CupyArrays,
    "faiss": Faiss,
    "cuvs": Cuvs,
    "pykeops": Keops,
}


def as_cupy(inputs: Inputs) -> Inputs:
    """The same memory as CuPy arrays; bfloat16, which CuPy has no place for, as it is."""
    cupy = importlib.import_module("cupy")

    def viewed(a: Any) -> Any:
        if not hasattr(a, "is_cuda") or str(a.dtype) == "torch.bfloat16":
            return a
        return cupy.from_dlpack(a)

    return {name: viewed(a) for name, a in inputs.items()}
