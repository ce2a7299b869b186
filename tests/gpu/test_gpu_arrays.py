"""Arrays of other libraries on a device: computed where they are."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pairtile as pt
from gpu_data import data
from pairtile._front import validate


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


class Plain:
    """What has nothing but an interface to its memory, as arrays of Numba do."""

    def __init__(self, memory: Any) -> None:
        self.memory, self.shape, self.dtype = memory, memory.shape, memory.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        found: dict[str, Any] = self.memory.__cuda_array_interface__
        return found

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("copied to the host")

    __getitem__ = __array__


class Shared(Plain):
    """What also comes by DLPack, as arrays of JAX do."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: Any) -> Any:
        raise NotImplementedError  # the simulator takes the other interface


class Named(Shared):
    """An array with a namespace, whose results are its own again."""

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=Named)


def memory_of(a: Any) -> Any:
    return a if hasattr(a, "get") else a.memory


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Plain, Shared, Named])
def test_arrays_that_lie_on_a_device_are_computed_there(cupy: Any, kind: Any) -> None:
    x, y = data(40, 5, "float32"), data(50, 5, "float32", 1)
    a, b = kind(cupy.asarray(x)), kind(cupy.asarray(y))
    result = kind if kind is Named else cupy.ndarray
    wanted = pt.knn(x, y, 4)
    for found in (pt.knn(a, b, 4), pt.knn(a, cupy.asarray(y), 4)):
        for one, right in zip(found, wanted, strict=True):
            assert isinstance(one, result)
            np.testing.assert_array_equal(memory_of(one).get(), right)
    found = pt.knn(cupy.asarray(x), b, 4)  # the first input says what results are
    assert isinstance(found.distances, cupy.ndarray)
    radii = kind(cupy.asarray(np.linspace(0, 4, 40)))
    counts = pt.radius_count(a, b, radii)
    assert isinstance(counts, result)
    np.testing.assert_array_equal(
        memory_of(counts).get(), pt.radius_count(x, y, np.linspace(0, 4, 40))
    )
    assert isinstance(pt.energy_distance(a, b), float)
    index = pt.NeighborIndex(b)
    assert isinstance(index.knn(a, k=3).indices, result)
    gradient = pt.info_nce(a, kind(cupy.asarray(x + 1)), temperature=1.0, grad=True)
    assert isinstance(gradient.grad_x, result)
    with pytest.raises(TypeError, match="queries is on CUDA device 0 and reference in host memory"):
        pt.knn(a, y, 4)
    with pytest.raises(ValueError, match="first bad row is 3"):
        pt.knn(kind(cupy.asarray(np.where(np.arange(40)[:, None] == 3, np.nan, x))), k=1)


def test_arrays_in_host_memory_stay_there() -> None:
    class OnHost:
        def __init__(self, a: Any) -> None:
            self._a = a

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

        def __dlpack__(self, **_: Any) -> Any:
            return self._a.__dlpack__()

        def __array__(self, *args: Any, **options: Any) -> Any:
            return self._a

    x = data(30, 4, "float32")
    found = pt.knn(OnHost(x), k=3)
    assert type(found.distances) is np.ndarray
    np.testing.assert_array_equal(found.indices, pt.knn(x, k=3).indices)


def test_an_array_on_a_device_without_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    from pairtile._backends import choose

    monkeypatch.setattr(choose, "_load", lambda name: None)
    array = Shared(np.zeros((3, 2)))
    with pytest.raises(TypeError, match="x is on a CUDA device, and this installation"):
        validate.array("x", array)


def test_two_devices_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    class Array:
        shape = 5, 2

        def __init__(self, device: int) -> None:
            self.device = SimpleNamespace(id=device)

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(ndarray=Array))
    validate.check_alike("x", Array(1), "y", Array(1))
    with pytest.raises(TypeError, match="x is on CUDA device 0 and y on CUDA device 1; both must"):
        validate.check_alike("x", Array(0), "y", Array(1))
    with pytest.raises(TypeError, match="x is in host memory and y on CUDA device 1; both must"):
        validate.check_alike("x", np.zeros((3, 2)), "y", Array(1))


@pytest.mark.gpu
def test_arrays_on_two_devices(cupy: Any) -> None:
    from pairtile._backends.cuda.memory import device_of

    class Elsewhere(cupy.ndarray):
        @property
        def device(self) -> Any:
            return cupy.cuda.Device(1)

    x = cupy.asarray(data(20, 3, "float32"))
    y = Elsewhere(x.shape, x.dtype, x.data)
    pairs: list[tuple[Any, str, str, dict[str, Any]]] = [
        (pt.knn, "queries", "reference", {"k": 2}),
        (pt.radius_count, "queries", "reference", {"radius": 1.0}),
        (pt.energy_distance, "x", "y", {}),
        (pt.sliced_wasserstein, "x", "y", {}),
        (pt.clip_loss, "x", "y", {"temperature": 1.0}),
        (pt.precision_recall_density_coverage, "real", "fake", {}),
    ]
    for call, first, second, options in pairs:
        told = f"{first} is on CUDA device 0 and {second} on CUDA device 1; both must be on one"
        with pytest.raises(TypeError, match=told):
            call(x, y, check_finite=False, **options)
    with pytest.raises(TypeError, match=r"on CUDA devices \[0, 1\]"), device_of(x, y):
        pass
