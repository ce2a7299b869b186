"""Calls on torch tensors work on torch's current stream; torch itself is a stand-in here."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pairtile as pt
from gpu_data import data


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


class Tensor:
    """As much of a torch tensor as is asked for."""

    requires_grad = False
    is_cuda = True
    device = SimpleNamespace(type="cuda", index=0)

    def __init__(self, memory: Any) -> None:
        self.memory, self.shape, self.dtype = memory, memory.shape, memory.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        found: dict[str, Any] = self.memory.__cuda_array_interface__
        return found

    def detach(self) -> Any:
        return self


@pytest.fixture
def torch(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    stream = cupy.cuda.Stream(non_blocking=True)
    module = SimpleNamespace(
        Tensor=Tensor,
        stream=stream,
        cuda=SimpleNamespace(
            current_stream=lambda device: SimpleNamespace(
                cuda_stream=stream.ptr, device=SimpleNamespace(index=device.index)
            )
        ),
        is_grad_enabled=lambda: False,
        from_dlpack=Tensor,
        as_tensor=lambda a, device: Tensor(cupy.asarray(a)),
    )
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.mark.gpu
def test_tensors_are_worked_on_in_the_order_of_their_stream(
    cupy: Any, torch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairtile import _cuda

    seen: list[int] = []
    for name in ("knn", "survey", "row_scales", "kernel_row_sums", "weighted_total"):
        launch = getattr(_cuda, name)

        def watched(*args: Any, launch: Any = launch, **options: Any) -> Any:
            seen.append((options.get("stream") or args[-1])[1])
            return launch(*args, **options)

        monkeypatch.setattr(_cuda, name, watched)
    before = cupy.cuda.get_current_stream()
    x, y = (cupy.asarray(data(n, 5, "float32", n)) for n in (30, 40))
    calls: list[Any] = [
        lambda a, b: pt.knn(a, b, k=3, metric="cosine"),
        lambda a, b: pt.knn(queries=a, reference=b, k=3),
        lambda a, b: pt.NeighborIndex(b).knn(a, k=2),
        lambda a, b: pt.energy_distance(a, b),
        lambda a, b: pt.disco_test([a, b], n_permutations=9, rng=0),
    ]
    for call in calls:
        seen.clear()
        call(Tensor(x), Tensor(y))
        assert set(seen) == {torch.stream.ptr}
        assert cupy.cuda.get_current_stream() == before
        seen.clear()
        call(x, y)  # and CuPy's arrays on CuPy's
        assert set(seen) == {before.ptr}
    with pytest.raises(ValueError, match="too large"):
        pt.knn(Tensor(x), Tensor(y), k=1000)
    assert cupy.cuda.get_current_stream() == before


@pytest.mark.gpu
def test_results_are_tensors(cupy: Any, torch: Any) -> None:
    x = data(30, 5, "float32")
    found = pt.knn(Tensor(cupy.asarray(x)), k=3)
    assert isinstance(found.distances, Tensor)
    np.testing.assert_array_equal(found.indices.memory.get(), pt.knn(x, k=3).indices)


def test_tensors_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is said by who asks for the backend."""
    from pairtile._backends import choose

    module = SimpleNamespace(Tensor=Tensor, is_grad_enabled=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(choose, "_load", lambda name: None)
    memory = SimpleNamespace(shape=(3, 2), dtype=np.dtype(float), __cuda_array_interface__={})
    with pytest.raises(TypeError, match="queries is on a CUDA device, and this installation"):
        pt.knn(Tensor(memory), k=1)


@pytest.mark.gpu
def test_a_function_follows_its_tensors(cupy: Any, torch: Any) -> None:
    from pairtile._front import streams

    seen = streams.followed(lambda *_: cupy.cuda.get_current_stream().ptr)
    x = cupy.zeros(3)
    assert seen("a word", Tensor(x)) == torch.stream.ptr
    assert seen("a word", x) == cupy.cuda.get_current_stream().ptr != torch.stream.ptr


@pytest.mark.oracle("torch")
def test_losses_over_processes_follow_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile._front import streams
    from pairtile.torch import distributed

    class Asked(Exception):
        pass

    def asked(given: Any) -> Any:
        raise Asked(given)

    monkeypatch.setattr(streams, "of_tensors", asked)
    with pytest.raises(Asked) as caught:
        distributed._Mean.forward("context", "clip_loss", "tensors")
    assert caught.value.args == (("context", "clip_loss", "tensors"),)
