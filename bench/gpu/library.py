"""The few array operations of `bench.gpu.plain`, by torch or by CuPy, on one device.

Both have the same operators, slices and in-place arithmetic; here is what they call differently.
"""

import importlib
import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Library(Protocol):
    """Arrays on a device."""

    name: str

    def normal(self, shape: tuple[int, int], seed: int) -> Any:
        """Draw standard normal float32."""

    def asarray(self, a: NDArray[Any]) -> Any:
        """Copy to the device."""

    def host(self, a: Any) -> NDArray[Any]:
        """Copy to NumPy."""

    def wide(self, a: Any) -> Any:
        """Widen to float64."""

    def exp(self, a: Any) -> Any:
        """Overwrite with the exponentials."""

    def sqrt(self, a: Any) -> Any:
        """Overwrite with the roots."""

    def log1p(self, a: Any) -> Any:
        """Overwrite with log(1 + a)."""

    def log(self, a: Any) -> Any:
        """Return the logarithms."""

    def sum(self, a: Any, axis: int | None = None) -> Any:
        """Add up in float64."""

    def square_sums(self, a: Any) -> Any:
        """Return the squared lengths of the rows."""

    def scores(self, norms: Any, a: Any, b: Any) -> Any:
        """Return norms − 2 a bᵀ."""

    def distances(self, a: Any, b: Any) -> Any:
        """Return Euclidean distances."""

    def smallest(self, a: Any, k: int) -> tuple[Any, Any]:
        """Return the k smallest of each row in order, and where they are."""

    def sorted(self, a: Any) -> Any:
        """Sort each row."""

    def stacked(self, parts: list[Any]) -> Any:
        """Put rows under one another."""


class Cupy:
    """CuPy on the current device, to which NumPy's own functions dispatch."""

    name = "cupy"

    def __init__(self) -> None:
        self.xp: Any = importlib.import_module("cupy")

    def normal(self, shape: tuple[int, int], seed: int) -> Any:
        # NumPy's generator: CuPy's needs a library of its own
        rng = np.random.default_rng(seed)
        return self.xp.asarray(rng.standard_normal(shape, dtype=np.float32))

    def asarray(self, a: NDArray[Any]) -> Any:
        return self.xp.asarray(a)

    def host(self, a: Any) -> NDArray[Any]:
        return np.asarray(self.xp.asnumpy(a))

    def wide(self, a: Any) -> Any:
        return a.astype(np.float64)

    def exp(self, a: Any) -> Any:
        return np.exp(a, out=a)

    def sqrt(self, a: Any) -> Any:
        return np.sqrt(a, out=a)

    def log1p(self, a: Any) -> Any:
        return np.log1p(a, out=a)

    def log(self, a: Any) -> Any:
        return np.log(a)

    def sum(self, a: Any, axis: int | None = None) -> Any:
        return a.sum(axis=axis, dtype=np.float64)

    def square_sums(self, a: Any) -> Any:
        return self.xp.einsum("ij,ij->i", a, a)

    def scores(self, norms: Any, a: Any, b: Any) -> Any:
        found = a @ b.T
        found *= -2
        found += norms
        return found

    def distances(self, a: Any, b: Any) -> Any:
        squares = self.scores(self.square_sums(b), a, b)
        squares += self.square_sums(a)[:, None]
        return np.sqrt(squares.clip(0, None))

    def smallest(self, a: Any, k: int) -> tuple[Any, Any]:
        order = self.xp.argsort(a, axis=1)[:, :k]
        rows = self.xp.arange(len(a))[:, None]
        return a[rows, order], order

    def sorted(self, a: Any) -> Any:
        return self.xp.sort(a, axis=1)

    def stacked(self, parts: list[Any]) -> Any:
        return self.xp.concatenate(parts)


class Torch:
    """PyTorch, eager, products in full float32."""

    name = "torch"

    def __init__(self, device: str = "cuda") -> None:
        self.torch: Any = importlib.import_module("torch")
        self.device = device
        self.torch.set_float32_matmul_precision("highest")

    def normal(self, shape: tuple[int, int], seed: int) -> Any:
        generator = self.torch.Generator(device=self.device).manual_seed(seed)
        return self.torch.randn(shape, generator=generator, device=self.device)

    def asarray(self, a: NDArray[Any]) -> Any:
        return self.torch.as_tensor(np.ascontiguousarray(a), device=self.device)

    def host(self, a: Any) -> NDArray[Any]:
        return np.asarray(a.detach().float().cpu() if a.dtype == self.torch.bfloat16 else a.cpu())

    def wide(self, a: Any) -> Any:
        return a.double()

    def exp(self, a: Any) -> Any:
        return a.exp_()

    def sqrt(self, a: Any) -> Any:
        return a.sqrt_()

    def log1p(self, a: Any) -> Any:
        return a.log1p_()

    def log(self, a: Any) -> Any:
        return a.log()

    def sum(self, a: Any, axis: int | None = None) -> Any:
        if axis is None:
            return a.sum(dtype=self.torch.float64)
        return a.sum(axis, dtype=self.torch.float64)

    def square_sums(self, a: Any) -> Any:
        return a.square().sum(1)

    def scores(self, norms: Any, a: Any, b: Any) -> Any:
        return self.torch.addmm(norms, a, b.T, alpha=-2)

    def distances(self, a: Any, b: Any) -> Any:
        return self.torch.cdist(a, b)

    def smallest(self, a: Any, k: int) -> tuple[Any, Any]:
        values, places = a.topk(k, largest=False, sorted=True)
        return values, places

    def sorted(self, a: Any) -> Any:
        return a.sort(1).values

    def stacked(self, parts: list[Any]) -> Any:
        return self.torch.cat(parts)


def torch_on_gpu() -> Any:
    """Return the module torch where it finds a GPU, else None."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def best() -> Library:
    """Choose who makes the inputs and judges: torch where it finds the GPU, else CuPy."""
    return Cupy() if torch_on_gpu() is None else Torch()


def unit_rows(library: Library, a: Any) -> Any:
    """Divide each row by its length, in place."""
    lengths = library.sqrt(library.square_sums(a))
    a /= lengths[:, None]
    return a


def chunk_rows(columns: int, itemsize: int = 4, most: float = 2.0**31) -> int:
    """Rows of a chunk whose block of pairs stays within `most` bytes."""
    return max(1, math.floor(most / (itemsize * columns)))
