"""Contrastive losses on the GPU: against the NumPy twin and the formula on the whole matrix."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pairtile as pt
from loss_cases import of_seam
from loss_formulas import brute
from pairtile._backends import numpy as twin

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

    from pairtile import _cuda
    from pairtile._backends import cuda as cuda_backend

    assert cuda_backend.softmax_losses
    if _cuda.tensor_path(0, request.param) != request.param:
        pytest.skip(f"{request.param} is not what this device and build have")
    module = sys.modules["pairtile._backends.cuda.contrastive"]
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
        "targets": None, "symmetric": False, "row_scales": None, "row_upstream": None,
        "normalize": False, "grad": True, "grad_x": True, "grad_y": True, "workers": 1,
    }  # fmt: skip
    given |= options
    given["cols"] = given.pop("symmetric")
    if given["targets"] is None:
        given["targets"] = np.arange(len(x))
    if given["row_upstream"] is None:
        given["row_upstream"] = np.full(len(x), 1 / len(x))
    found = of_seam(module.softmax_losses, x, y, scale, **given)
    names = ("per_row", "lse_row", "lse_col", "grad_x", "grad_y", "grad_scale")
    return dict(zip(names, found, strict=True))


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
    from pairtile._backends import cuda as cuda_backend

    on_device = [a if a.dtype.name == "bfloat16" else cupy.asarray(a) for a in (x, y)]
    found = seam(cuda_backend, *on_device, scale, **options)
    found = {k: v.get() if isinstance(v, cupy.ndarray) else v for k, v in found.items()}
    found["dtypes"] = (x.dtype.name, y.dtype.name)
    wanted = dict(seam(twin, x, y, scale, **options | {"progress": None}))
    n = len(x)
    a, b = wide(x), wide(y)
    checked = dict(found)
    if options.get("normalize"):
        lengths = [np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-300) for z in (a, b)]
        a, b = a / lengths[0], b / lengths[1]
        if options.get("grad", True):  # as large as gradients by the rows divided by their lengths
            for name, length in zip(("grad_x", "grad_y"), lengths, strict=True):
                for result in (checked, wanted):
                    dtype = result[name].dtype
                    result[name] = (result[name] * length).astype(dtype)
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
    check(checked, wanted, a, b, scale, upstream)
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


# --- Extremes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("size", [1e-6, 10.0, 60.0, 150.0, 1e4, 1e6])
def test_scores_of_any_size(losses: Any, cupy: Any, size: float, symmetric: bool) -> None:
    x, y = sets(150, 150, 40)
    largest = np.abs(wide(x) @ wide(y).T).max()
    compare(losses, cupy, x, y, size / largest, symmetric=symmetric)


@pytest.mark.parametrize("symmetric", [False, True])
def test_rows_and_columns_far_below_the_largest(losses: Any, cupy: Any, symmetric: bool) -> None:
    # what one offset for all cannot serve: rows whose scores lie all far below those of others
    x, y = sets(140, 140, 24)
    x[:, 0] = 3.0
    x[7, 0] = -3.0
    y[:, 0] = 40.0
    bound = np.linalg.norm(wide(x), axis=1).max() * np.linalg.norm(wide(y), axis=1).max()
    compare(losses, cupy, x, y, 130 / bound, symmetric=symmetric)


@pytest.mark.parametrize("normalize", [False, True])
def test_small_losses_keep_their_digits(losses: Any, cupy: Any, normalize: bool) -> None:
    n = 40
    x = np.eye(n, dtype=np.float32)
    x_gpu = cupy.asarray(x)
    for lead in (5.0, 12.0, 20.0, 30.0, 60.0):
        for loss in (pt.info_nce, pt.clip_loss):
            got = loss(x_gpu, x_gpu, logit_scale=lead, normalize=normalize)
            tail = np.log1p((n - 1) * np.exp(-lead))
            np.testing.assert_allclose(got.per_row.get(), np.full(n, tail), rtol=1e-5)
    far = pt.clip_loss(x_gpu, x_gpu, logit_scale=1e4, grad=True)
    assert far.loss == 0.0
    assert not far.grad_x.get().any()


def test_a_positive_that_dominates_or_is_hopeless(losses: Any, cupy: Any) -> None:
    x, y = sets(130, 130, 16)
    y[:40] = 3 * x[:40]
    y[40:60] = -5 * x[40:60]
    for scale in (0.5, 3.0, 50.0):
        compare(losses, cupy, x, y, scale)
        compare(losses, cupy, x, y, scale, symmetric=True)


@pytest.mark.parametrize("loss", ["info_nce", "clip_loss"])
def test_a_bad_row_is_never_a_good_loss(losses: Any, cupy: Any, loss: str) -> None:
    x, y = sets(6, 6, 3)
    y[2, 1] = np.nan
    got = getattr(pt, loss)(cupy.asarray(x), cupy.asarray(y), temperature=1.0, check_finite=False)
    assert np.isnan(got.per_row.get()).all()
    assert np.isnan(got.lse_row.get()).all()
    assert np.isnan(got.loss)


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e15])
def test_numbers_outside_of_the_parts(losses: Any, cupy: Any, factor: float) -> None:
    x, y = sets(40, 40, 9)
    x *= np.float32(factor)
    compare(losses, cupy, x, y, 0.1 / factor, symmetric=True)


def test_normalize_of_any_lengths(losses: Any, cupy: Any) -> None:
    x, y = sets(50, 50, 9)
    lengths = 10.0 ** np.random.default_rng(2).integers(-25, 25, size=(50, 1))
    x = (x * lengths).astype(np.float32)
    found = compare(losses, cupy, x, y, 5.0, symmetric=True, normalize=True)
    assert found["per_row"][50 // 3] > 0  # a zero row has scores of zero


# --- The public functions -------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("loss", ["info_nce", "clip_loss"])
def test_cupy_arrays_in_and_out(losses: Any, cupy: Any, loss: str, normalize: bool) -> None:
    x, y = sets(60, 60, 12)
    options = {"temperature": 0.5, "normalize": normalize, "grad": True}
    found = getattr(pt, loss)(cupy.asarray(x), cupy.asarray(y), **options)
    wanted = getattr(pt, loss)(wide(x), wide(y), **options)
    assert isinstance(found.loss, float)
    assert isinstance(found.grad_scale, float)
    for name in ("per_row", "lse_row", "lse_col", "grad_x", "grad_y"):
        mine, right = getattr(found, name), getattr(wanted, name)
        if right is None:
            assert mine is None
            continue
        assert isinstance(mine, cupy.ndarray)
        np.testing.assert_allclose(mine.get(), right, atol=1e-4 * np.abs(right).max())
    assert found.grad_scale == pytest.approx(wanted.grad_scale, rel=1e-4, abs=1e-6)


def test_layouts(losses: Any, cupy: Any) -> None:
    x, y = (cupy.asarray(z) for z in sets(70, 70, 33))
    wanted = pt.clip_loss(x, y, temperature=2.0, grad=True)
    twice = cupy.zeros((140, 66), dtype=cupy.float32)
    twice[::2, ::2] = x
    for one in (x.T.copy().T, twice[::2, ::2], x[::-1].copy()[::-1]):
        found = pt.clip_loss(one, y, temperature=2.0, grad=True)
        for name in ("per_row", "grad_x", "grad_y"):
            np.testing.assert_array_equal(getattr(found, name).get(), getattr(wanted, name).get())


def test_torch_tensors_stay_torch_tensors(losses: Any, cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    x, y = (torch.as_tensor(z, device="cuda") for z in sets(60, 60, 12))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        a, b = x.to(dtype), y.to(dtype)
        found = pt.clip_loss(a, b, temperature=0.5, grad=True)
        assert found.grad_x.device == found.per_row.device == x.device
        wanted = pt.clip_loss(a.double().cpu(), b.double().cpu(), temperature=0.5, grad=True)
        torch.testing.assert_close(found.per_row.cpu(), wanted.per_row, rtol=1e-5, atol=1e-5)
        largest = wanted.grad_x.abs().max()
        assert (found.grad_x.cpu() - wanted.grad_x).abs().max() < 1e-2 * largest


# --- How the work is cut --------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_chunks(losses: Any, cupy: Any, monkeypatch: Any, symmetric: bool, normalize: bool) -> None:
    # so little memory that rows and columns are packed and weighed 256 at a time
    n, m = (600, 600) if symmetric else (520, 700)
    x, y = sets(n, m, 70)
    options = {"symmetric": symmetric, "normalize": normalize}
    whole = compare(losses, cupy, x, y, 5.0 if normalize else 0.1, **options)
    monkeypatch.setattr(losses, "most_bytes", 1 << 17)
    calls: list[tuple[int, int]] = []
    options["progress"] = lambda done, total: calls.append((done, total))
    cut = compare(losses, cupy, x, y, 5.0 if normalize else 0.1, **options)
    assert len(calls) > 10
    done = [at for at, _ in calls]
    assert done == sorted(done)
    assert calls[-1] == (4 * n * m, 4 * n * m)
    np.testing.assert_allclose(cut["per_row"], whole["per_row"], rtol=1e-6, atol=1e-6)
    again = compare(losses, cupy, x, y, 5.0 if normalize else 0.1, **options)
    for name in ("per_row", "lse_row", "grad_x", "grad_y", "grad_scale"):
        np.testing.assert_array_equal(again[name], cut[name])


def test_without_tensor_cores(losses: Any, cupy: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(losses, "path", "none")
    x, y = sets(65, 300, 70)
    compare(losses, cupy, x, y, 0.2, targets=np.arange(65)[::-1].copy())
    compare(losses, cupy, x[:, :9], x[::-1, :9], 0.2, symmetric=True, normalize=True)


def test_long_rows_are_multiplied_in_pieces(losses: Any, cupy: Any) -> None:
    # more columns than the features of one piece
    x, y = sets(30, 2500, 20)
    compare(losses, cupy, x, y, 0.3, targets=np.arange(30) * 80)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("dtype", "d"), [("bfloat16", 260), ("bfloat16", 700), ("float32", 200)])
def test_rows_too_long_for_shared_memory(
    losses: Any, cupy: Any, dtype: str, d: int, normalize: bool
) -> None:
    """A panel of 128 rows at a time stays there, or none: more than one tile of columns each."""
    x, y = sets(300, 300, d, dtype)
    scale = 6.0 if normalize else 2 / np.sqrt(d)
    found = compare(losses, cupy, x, y, scale, symmetric=True, normalize=normalize)
    again = compare(losses, cupy, x, y, scale, symmetric=True, normalize=normalize)
    for name in ("per_row", "lse_col", "grad_x", "grad_y", "grad_scale"):
        np.testing.assert_array_equal(again[name], found[name])


def test_float64_formula(losses: Any, cupy: Any) -> None:
    # not the twin's: the whole matrix
    x, y = sets(90, 90, 30)
    rng = np.random.default_rng(3)
    u = rng.normal(size=90)
    found = pt.clip_loss(cupy.asarray(x), cupy.asarray(y), logit_scale=0.3, grad=True, grad_rows=u)
    wanted = brute(wide(x), wide(y), 0.3, "clip_loss", upstream=u)
    np.testing.assert_allclose(found.per_row.get(), wanted.per_row, rtol=1e-5, atol=1e-5)
    for name in ("grad_x", "grad_y"):
        right = getattr(wanted, name)
        np.testing.assert_allclose(
            getattr(found, name).get(), right, rtol=0, atol=1e-5 * np.abs(right).max()
        )
    assert found.grad_scale == pytest.approx(wanted.grad_scale, rel=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_go_through_the_normalisation(losses: Any, cupy: Any, dtype: str) -> None:
    x, y = sets(50, 50, 40, dtype)
    lengths = 10.0 ** np.random.default_rng(4).integers(-2, 3, size=(50, 1))
    x = (x * lengths).astype(dtype)
    found = pt.clip_loss(
        cupy.asarray(x), cupy.asarray(y), temperature=0.3, normalize=True, grad=True
    )
    wanted = pt.clip_loss(wide(x), wide(y), temperature=0.3, normalize=True, grad=True)
    atol = {"float16": 1e-2, "float32": 2e-5, "float64": 1e-13}[dtype]
    for name, rows in (("grad_x", x), ("grad_y", y)):
        size = np.linalg.norm(wide(rows), axis=1, keepdims=True)
        mine, right = getattr(found, name).get() * size, getattr(wanted, name) * size
        np.testing.assert_allclose(mine, right, rtol=0, atol=atol * np.abs(right).max())
        assert not getattr(found, name).get()[50 // 3].any()  # a zero row has no direction


@pytest.mark.parametrize("most_bytes", [1 << 16, 1 << 28])
def test_one_set_with_itself(losses: Any, cupy: Any, monkeypatch: Any, most_bytes: int) -> None:
    monkeypatch.setattr(losses, "most_bytes", most_bytes)
    x = sets(530, 1, 20)[0]
    own = cupy.asarray(x)
    found = pt.clip_loss(own, own, temperature=3.0, grad=True)
    wanted = pt.clip_loss(wide(x), wide(x), temperature=3.0, grad=True)
    np.testing.assert_allclose(found.per_row.get(), wanted.per_row, rtol=1e-5, atol=1e-5)
    for name in ("grad_x", "grad_y"):
        right = getattr(wanted, name)
        np.testing.assert_allclose(
            getattr(found, name).get(), right, rtol=0, atol=1e-5 * np.abs(right).max()
        )


def test_autograd_of_tensors_on_the_gpu(cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    import pairtile.torch as mine

    rows = [torch.as_tensor(z) for z in sets(60, 60, 12)]
    calls = {
        "info_nce": lambda x, y, s: mine.info_nce(x, y, logit_scale=s, normalize=True),
        "clip_loss": lambda x, y, s: mine.clip_loss(x, y, temperature=s, reduction="none").sum(),
        "siglip_loss": lambda x, y, s: mine.siglip_loss(x, y, temperature=s, bias=-1.0),
        "mmd": lambda x, y, s: mine.mmd(x, y, kernel=pt.Gaussian(2.0)) * s,
    }
    for name, call in calls.items():
        found = {}
        for device in ("cpu", "cuda"):
            given = [*rows, torch.tensor(2.0)]
            x, y, s = (v.clone().to(device).requires_grad_() for v in given)
            value = call(x, y, s)
            value.backward()
            assert value.device.type == x.grad.device.type == s.grad.device.type == device
            found[device] = [v.detach().cpu() for v in (value, x.grad, y.grad, s.grad)]
        for a, b in zip(found["cuda"], found["cpu"], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_weights_on_the_host_have_their_gradient_there(cupy: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    import pairtile.torch as mine

    x, y = (torch.as_tensor(z) for z in sets(60, 60, 12))
    weights = torch.linspace(1, 2, 60)
    found = []
    for device in ("cpu", "cuda"):
        a, b, w = x.to(device).requires_grad_(), y.to(device), weights.clone().requires_grad_()
        (3 * mine.info_nce(a, b, temperature=0.5, weights=w)).backward()
        assert (a.grad.device.type, w.grad.device.type) == (device, "cpu")
        found.append([a.grad.cpu(), w.grad])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
