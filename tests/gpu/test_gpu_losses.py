"""Contrastive losses on the GPU: against the NumPy twin and the formula on the whole matrix."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pairtile import _numpy

pytestmark = pytest.mark.gpu

DTYPES = ("float16", "bfloat16", "int8", "uint8", "float32", "float64")
HALVES = ("float16", "bfloat16")
# Around the block of 256 rows, the tile of 128 columns and the slice of 64 features.
SHAPES = [(1, 1, 1), (5, 40, 3), (130, 127, 64), (257, 300, 65), (20, 1030, 17)]


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture(params=["wgmma", "mma"])
def losses(request: Any, cupy: Any, monkeypatch: Any) -> Any:
    """The backend's module, on each kind of tensor core that the device has."""
    import sys

    from pairtile import _cuda
    from pairtile._cuda_backend import contrastive  # noqa: F401

    if _cuda.tensor_path(0, request.param) != request.param:
        pytest.skip(f"no {request.param} here")
    module = sys.modules["pairtile._cuda_backend.contrastive"]
    monkeypatch.setattr(module, "path", request.param)
    return module


def as_dtype(values: Any, dtype: str) -> Any:
    if dtype == "uint8":
        values = np.abs(values)
    return values.astype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)


def sets(n: int, m: int, d: int, dtype: str = "float32", seed: int = 0) -> tuple[Any, Any]:
    """Two sets with a repeated row and a zero row each."""
    rng = np.random.default_rng([seed, n, m, d])
    both = []
    for rows in (n, m):
        z = rng.normal(size=(rows, d)) * (4 if "int" in dtype else 1)
        z[rows // 2] = z[0]
        z[rows // 3] = 0
        both.append(as_dtype(z, dtype))
    return both[0], both[1]


def wide(x: Any) -> Any:
    return x.astype(np.float64)


def seam(module: Any, x: Any, y: Any, scale: float, **options: Any) -> dict[str, Any]:
    """The same call of a backend's function."""
    given: dict[str, Any] = {
        "targets": None, "symmetric": False, "normalize": False, "grad": True,
        "row_upstream": None, "workers": 1,
    }  # fmt: skip
    given |= options
    return module.contrastive(x, y, scale, given.pop("targets"), given.pop("symmetric"), **given)


def check(found: Any, wanted: Any, x: Any, y: Any, scale: float, upstream: Any = None) -> None:
    """Losses to float32's accuracy of the scores; gradients to a share of the largest contribution.

    That is 10^-5 and what moving a score by its error does to its weight, and what one bfloat16
    holds of a weight where both sets are halves. Of rows as they enter the scores.
    """
    n = len(x)
    x, y = wide(x), wide(y)
    size = scale * np.sqrt((x**2).sum(axis=1).max() * (y**2).sum(axis=1).max())
    dtypes = found["dtypes"]
    exact = "float64" in dtypes
    eps = 1e-13 if exact else 1e-6
    for name in ("per_row", "lse_row", "lse_col"):
        mine, right = found[name], wanted[name]
        assert (mine is None) == (right is None)
        if right is not None:
            assert mine.dtype == np.float64
            np.testing.assert_allclose(mine, right, rtol=eps, atol=eps * (1 + size), err_msg=name)
    if wanted["grad_x"] is None:
        assert found["grad_x"] is found["grad_y"] is found["grad_scale"] is None
        return
    share = 1 / n if upstream is None else np.abs(upstream).max()
    for name, others in (("grad_x", y), ("grad_y", x)):
        mine, right = found[name], wanted[name]
        assert mine.shape == right.shape
        assert mine.dtype == ("float64" if exact else "float32")
        # a column takes from all rows, whose weights add up to no more than this
        counts = 1 if name == "grad_x" else max(1, np.abs(wanted["weights"]).sum(0).max() / share)
        largest = 2 * share * scale * np.abs(others).max() * counts
        part = 2.0**-8 if set(dtypes) <= set(HALVES) else 1e-5
        tolerance = (1e-13 if exact else part) + eps * size
        np.testing.assert_allclose(mine, right, rtol=0, atol=tolerance * largest, err_msg=name)
    along = share * n * size / scale
    tolerance = 1e-12 if exact else (2e-3 if set(dtypes) <= set(HALVES) else 1e-5) + eps * size
    assert abs(found["grad_scale"] - wanted["grad_scale"]) <= tolerance * along


def compare(losses: Any, cupy: Any, x: Any, y: Any, scale: float, **options: Any) -> dict[str, Any]:
    """What the GPU finds, having checked it against the twin."""
    from pairtile import _cuda_backend

    on_device = [a if a.dtype.name == "bfloat16" else cupy.asarray(a) for a in (x, y)]
    found = seam(_cuda_backend, *on_device, scale, **options)
    found = {k: v.get() if isinstance(v, cupy.ndarray) else v for k, v in found.items()}
    found["dtypes"] = (x.dtype.name, y.dtype.name)
    wanted = dict(seam(_numpy, x, y, scale, **options))
    n = len(x)
    a, b = wide(x), wide(y)
    if options.get("normalize"):
        a, b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-300) for z in (a, b))
    upstream = options.get("row_upstream")
    if options.get("grad", True):
        u = np.full(n, 1 / n) if upstream is None else upstream
        scores = scale * a @ b.T
        weights = u[:, None] * np.exp(scores - wanted["lse_row"][:, None])
        if options.get("symmetric"):
            weights = (weights + u * np.exp(scores - wanted["lse_col"])) / 2
        targets = options.get("targets")
        weights[np.arange(n), np.arange(n) if targets is None else targets] -= u
        wanted["weights"] = weights
    check(found, wanted, a, b, scale, upstream)
    return found


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("n", "m", "d"), SHAPES)
def test_info_nce_with_targets(
    losses: Any, cupy: Any, n: int, m: int, d: int, normalize: bool
) -> None:
    x, y = sets(n, m, d)
    rng = np.random.default_rng(n)
    options = {
        "targets": rng.integers(m, size=n),
        "row_upstream": rng.normal(size=n),
        "normalize": normalize,
    }
    scale = 6.0 if normalize else 2 / np.sqrt(d)
    found = compare(losses, cupy, x, y, scale, **options)
    without = compare(losses, cupy, x, y, scale, **options | {"grad": False, "row_upstream": None})
    np.testing.assert_array_equal(found["per_row"], without["per_row"])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (127, 5), (129, 64), (300, 130)])
def test_clip(losses: Any, cupy: Any, n: int, d: int, normalize: bool) -> None:
    x, y = sets(n, n, d)
    compare(losses, cupy, x, y, 10.0 if normalize else 1 / np.sqrt(d), symmetric=True,
            normalize=normalize)  # fmt: skip


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(losses: Any, cupy: Any, dtype: str, symmetric: bool, normalize: bool) -> None:
    x, y = sets(70, 70, 33, dtype)
    scale = 5.0 if normalize else 0.01 if "int" in dtype else 0.2
    upstream = np.random.default_rng(1).normal(size=70)
    compare(
        losses, cupy, x, y, scale, symmetric=symmetric, normalize=normalize, row_upstream=upstream
    )


@pytest.mark.parametrize(("left", "right"), [("bfloat16", "float32"), ("float16", "float64")])
def test_mixed_dtypes_work_as_the_wider(losses: Any, cupy: Any, left: str, right: str) -> None:
    x, y = sets(40, 60, 20, left)[0], sets(40, 60, 20, right)[1]
    if left == "bfloat16":
        x = x.astype(np.float32)
    compare(losses, cupy, x, y, 0.3)
