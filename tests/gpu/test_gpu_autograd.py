"""Functions of `pairtile.torch` on CUDA tensors: values and gradients are those of the CPU, on the
tensors' device, and the work is on torch's current stream.

Where torch has no CUDA, as beside a simulator, tensors are stand-ins that say they are on a device
and whose numbers lie in CuPy's memory. The engine of autograd knows no such device, so that its
forward and backward passes are called in its place.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pairtile as pt
from pairtile._front.differentiable import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.gpu, pytest.mark.oracle("torch")]

RNG = np.random.default_rng(5)
X, Y, Z = RNG.normal(size=(3, 20, 5))
LABELS = np.arange(20) // 4
W = RNG.uniform(0.5, 1.5, size=20)
G = pt.Gaussian(2.0)

# name -> the tensors that have gradients, and other arguments
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "info_nce": ({"x": X, "y": Y, "temperature": 0.7, "weights": W}, {}),
    "clip_loss": ({"x": X, "y": Y, "logit_scale": 1.4}, {"normalize": True}),
    "gist_loss": (
        {"x": X, "y": Y, "temperature": 0.8},
        {"x_guide": Z[:, :3], "y_guide": Y[:, :3], "normalize": True},
    ),
    "siglip_loss": ({"x": X, "y": Y, "temperature": 0.9, "bias": -1.0}, {}),
    "supcon_loss": ({"x": X, "temperature": 0.6}, {"labels": LABELS, "normalize": True}),
    "nt_xent_loss": ({"x": X, "y": Y, "temperature": 0.7}, {}),
    "triplet_loss": ({"x": X}, {"labels": LABELS, "margin": 3.0}),
    "circle_loss": ({"x": X}, {"labels": LABELS, "normalize": True, "gamma": 4.0}),
    "multi_similarity_loss": ({"x": X}, {"labels": LABELS, "normalize": True, "beta": 4.0}),
    "alignment": ({"x": X, "y": Y}, {"alpha": 1.5}),
    "uniformity": ({"x": X}, {"normalize": True}),
    "mmd": ({"x": X, "y": Y, "x_weights": W}, {"kernel": G}),
    "energy_distance": ({"x": X, "y": Y, "y_weights": W}, {}),
    "sliced_wasserstein": ({"x": X, "y": Y}, {"n_projections": 7, "rng": 0}),
    "sliced_energy": ({"x": X, "y": Y}, {"n_projections": 7, "rng": 0}),
    "wasserstein_1d": ({"x": X[:, 0], "y": Y[:, 0]}, {"p": 2}),
    "hsic": ({"x": X, "y": Y}, {"x_kernel": G, "y_kernel": "linear"}),
    "cka": ({"x": X, "y": Y}, {}),
    "kernel_stein_discrepancy": ({"x": X, "scores": -Z}, {"kernel": G}),
}
LOSSES = [name for name in CASES if FUNCTIONS[name].per_row]


def test_every_function_has_a_case() -> None:
    assert CASES.keys() == FUNCTIONS.keys()


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Of the GPU that there is, with a stand-in for its tensors if it is a simulator's."""
    import torch

    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    if torch.cuda.is_available():
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            yield SimpleNamespace(on_device=lambda t: t.to("cuda"), stream=stream.cuda_stream)
        return

    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    class OnDevice(torch.Tensor):
        @staticmethod
        def __new__(cls: Any, numbers: Any) -> Any:
            return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, numbers.size(), dtype=numbers.dtype, device="cuda:0"
            )

        def __init__(self, numbers: Any) -> None:
            self.memory = cupy.asarray(numbers.contiguous().numpy())

        @property
        def __cuda_array_interface__(self) -> Any:
            return self.memory.__cuda_array_interface__

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            return dispatched(func, args, kwargs or {})

    def dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """On the numbers; what comes out is on the device if something that goes in is."""
        seen = []

        def numbers(t: Any) -> Any:
            if isinstance(t, torch.Tensor):
                seen.append(t)
            return torch.from_numpy(t.memory.get()) if isinstance(t, OnDevice) else t

        args, kwargs = tree_map(numbers, args), tree_map(numbers, kwargs)
        there = any(isinstance(t, OnDevice) for t in seen)
        if there and any(not isinstance(t, OnDevice) and t.ndim for t in seen):
            raise RuntimeError("tensors on different devices")
        if kwargs.get("device") is not None:
            there = torch.device(kwargs.pop("device")).type == "cuda"
        found = func(*args, **kwargs)
        if not there:
            return found
        return tree_map(lambda t: OnDevice(t) if isinstance(t, torch.Tensor) else t, found)

    class Device(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            return dispatched(func, args, kwargs or {})

    stream = cupy.cuda.Stream(non_blocking=True)
    told = SimpleNamespace(cuda_stream=stream.ptr, device=SimpleNamespace(index=0))
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: told)
    monkeypatch.setattr(torch, "from_dlpack", lambda a: OnDevice(torch.from_numpy(a.get())))
    with Device():
        yield SimpleNamespace(on_device=OnDevice, stream=stream.ptr)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The streams on which the dispatch was asked for a module."""
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    from pairtile._backends import choose

    seen: list[int] = []
    module = choose.module

    def watched(*arrays: Any) -> Any:
        if any(isinstance(a, cupy.ndarray) for a in arrays):
            seen.append(cupy.cuda.get_current_stream().ptr)
        return module(*arrays)

    monkeypatch.setattr(choose, "module", watched)
    return seen


class Context(SimpleNamespace):
    """What a pass of autograd is given to keep things in."""

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors


def passes(kind: str, name: str, dtype: str, on_device: Any = None) -> tuple[Any, list[Any], Any]:
    """The value, the gradients and the tensors of a forward and a backward pass."""
    import torch

    from pairtile.torch import autograd

    given, others = CASES[name]
    tensors = [torch.tensor(value, dtype=getattr(torch, dtype)) for value in given.values()]
    upstream = torch.tensor(3.0) if kind == "_Value" else torch.linspace(0.5, 1.5, 20)
    if kind == "_Rows" and FUNCTIONS[name].per_row == 2:
        upstream = torch.linspace(0.5, 1.5, 40)
    if on_device is not None:
        tensors, upstream = [on_device(t) for t in tensors], on_device(upstream)
    call = autograd.Call(FUNCTIONS[name], tuple(given), others)
    context, function = Context(), getattr(autograd, kind)
    value = function.forward(context, call, (True,) * len(given), *tensors)
    upstream = upstream.to(value.dtype)
    with torch.no_grad():
        _, _, *gradients = function.backward(context, upstream)
    return value, gradients, tensors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("_Value", name) for name in CASES), *(("_Rows", name) for name in LOSSES)],
)
def test_gradients_are_those_of_the_cpu(
    kind: str, name: str, dtype: str, torch: Any, streams: list[int]
) -> None:
    found, found_gradients, tensors = passes(kind, name, dtype, torch.on_device)
    assert found.device.type == "cuda"
    assert set(streams) == {torch.stream}  # torch's current one
    expected, gradients, _ = passes(kind, name, dtype)
    tolerance = 3e-5 if dtype == "float32" else 1e-9
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape

    def alike(a: Any, b: Any) -> None:
        numbers = b.double().numpy()
        near = tolerance * max(1e-3, float(np.abs(numbers).max()))
        np.testing.assert_allclose(a.cpu().double().numpy(), numbers, rtol=0, atol=near)

    alike(found, expected)
    for mine, right, tensor in zip(found_gradients, gradients, tensors, strict=True):
        assert mine.device == tensor.device
        assert (mine.dtype, mine.shape) == (right.dtype, tensor.shape)
        alike(mine, right)
