"""Every contrastive loss and option on the GPU, against formulas on the whole matrix in float64."""

from typing import Any

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend
from loss_cases import CASES, of_seam
from loss_oracle import Wanted
from pairtile._backends import numpy as twin

pytestmark = pytest.mark.gpu

FIELDS = (
    "lse_row", "lse_col", "grad_x", "grad_y", "grad_scale", "grad_bias", "grad_weights"
)  # fmt: skip
# Of losses, and of gradients, whose weights are in two parts of bfloat16 where there are no others.
EPS = {"float32": (4e-6, 2e-5), "float64": (1e-12, 1e-12), "float16": (4e-6, 4e-3)}
every_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy", exc_type=ImportError)


@pytest.fixture
def blocks(cupy: Any, monkeypatch: Any) -> Any:
    """Blocks of 256 rows and columns, and which cores compute them."""
    from pairtile._backends.cuda import contrastive, loss_blocks

    def choose(path: str, side: int = 256) -> None:
        monkeypatch.setattr(contrastive, "path", path)
        monkeypatch.setattr(loss_blocks, "height", side)
        monkeypatch.setattr(loss_blocks, "width", side)

    choose("wgmma")
    return choose


def sets(case: Any, n: int, more: int, d: int, seed: int, dtype: Any) -> Any:
    """x and y on a lattice, on which products are exact and what they decide has no doubt."""
    rng = np.random.default_rng(seed)
    m = case.rows_of_y(n, more)
    x, y = (rng.integers(-4, 5, size=(rows, d)) / 4 for rows in (n, m))
    options = case.options(rng, n, 0 if case.y == "none" else m)
    return x.astype(dtype), None if case.y == "none" else y.astype(dtype), options


def common(case: Any, n: int, d: int, kind: str) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    rows = case.losses(n)
    options: dict[str, Any] = {}
    if case.scaled:
        options["logit_scale"] = 2.0 / np.sqrt(d)
        if kind == "by row":
            options["logit_scale"] = options["logit_scale"] * (0.5 + rng.random(rows))
    if kind == "weights":
        options["weights"] = rng.random(rows) + 0.1
    if kind == "upstream":
        options["grad_rows"] = rng.normal(size=rows)
    return options


def host(value: Any) -> Any:
    return value.get() if hasattr(value, "get") else value


def check(got: Any, right: Wanted, eps: tuple[float, float], grad: bool = True) -> None:
    atol = eps[0] * (1 + right.size)
    np.testing.assert_allclose(host(got.per_row), right.per_row, rtol=eps[0], atol=atol)
    assert got.loss == pytest.approx(right.loss, rel=eps[0], abs=atol)
    for name in FIELDS:
        mine, expected = host(getattr(got, name)), right.fields.get(name)
        if expected is None or (not grad and not name.startswith("lse")):
            assert mine is None, name
        elif name.startswith("lse"):
            np.testing.assert_allclose(mine, expected, rtol=eps[0], atol=atol, err_msg=name)
        else:
            assert np.shape(mine) == np.shape(expected)
            bound = eps[1] * (1 + right.size) * np.max(right.terms[name]) + 1e-300
            np.testing.assert_allclose(mine, expected, rtol=0, atol=bound, err_msg=name)


def call(cupy: Any, case: Any, x: Any, y: Any, **options: Any) -> Any:
    return case.call(cupy.asarray(x), None if y is None else cupy.asarray(y), **options)


def compare(
    cupy: Any, name: str, shape: Any, dtype: str, kind: str, normalize: bool, seed: int = 3
) -> Any:
    case = CASES[name]
    n, more, d = shape
    # of all the pairs of many rows some are near what they are compared with, and float32 is right
    # to a few 1e-6 of their products, of unit rows to 1e-7
    least = 1e-4 if n < 100 else 1e-6 if normalize else 1e-5
    while True:  # until nothing that is decided by a comparison is in doubt
        x, y, options = sets(case, n, more, d, seed, dtype)
        options |= common(case, n, d, kind) | {"normalize": normalize}
        right = case.wanted(x, y, **options)
        if right.gap > least:
            break
        seed += 1
    got = call(cupy, case, x, y, grad=True, **options)
    assert host(got.grad_x).dtype == ("float64" if dtype == "float64" else "float32")
    check(got, right, EPS[dtype])
    return x, y, options, right, got


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients_are_their_formulas(
    blocks: Any, cupy: Any, name: str, dtype: str
) -> None:
    place = list(CASES).index(name)
    kind = ("mean", "weights", "upstream", "by row")[(place + (dtype == "float64")) % 4]
    x, y, options, right, got = compare(
        cupy, name, (37, 30, 9), dtype, kind, place % 2 == 0, seed=place
    )
    options.pop("grad_rows", None)
    without = call(cupy, CASES[name], x, y, **options)
    check(without, right, EPS[dtype], grad=False)
    np.testing.assert_array_equal(host(without.per_row), host(got.per_row))


@every_case
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("path", ["wgmma", "mma", "none"])
def test_several_blocks(blocks: Any, cupy: Any, path: str, normalize: bool, name: str) -> None:
    blocks(path)
    case = CASES[name]
    x, y, options, _, got = compare(cupy, name, (260, 40, 20), "float32", "by row", normalize)
    again = call(cupy, case, x, y, grad=True, **options)
    for field in ("per_row", *FIELDS):
        np.testing.assert_array_equal(host(getattr(again, field)), host(getattr(got, field)))


@pytest.mark.parametrize("name", ["siglip_loss", "supcon_loss bank", "nt_xent_loss", "circle_loss"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8"])
def test_every_dtype(blocks: Any, cupy: Any, name: str, dtype: str) -> None:
    """The same numbers in float32; bfloat16 arrays are in host memory, for CuPy lacks them."""
    import ml_dtypes

    case = CASES[name]
    x, y, options = sets(case, 40, 13, 5, 2, "float32")
    x = np.abs(x * 4)
    y = None if y is None else np.abs(y * 4)
    options |= common(case, 40, 5, "mean")
    if "float" in dtype:
        x, y = x / 4, None if y is None else y / 4
    else:
        options |= {"normalize": True}
    wide = call(cupy, case, x, y, grad=True, **options)
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    x, y = x.astype(kind), None if y is None else y.astype(kind)
    if dtype == "bfloat16":
        pt.set_backend("cuda")
        try:
            got = case.call(x, y, grad=True, **options)
        finally:
            pt.set_backend("auto")
    else:
        got = call(cupy, case, x, y, grad=True, **options)
    np.testing.assert_allclose(host(got.per_row), host(wide.per_row), rtol=1e-6, atol=1e-6)
    largest = np.abs(host(wide.grad_x)).max()
    np.testing.assert_allclose(host(got.grad_x), host(wide.grad_x), atol=1e-2 * largest)


@pytest.mark.parametrize("name", ["info_nce groups", "clip_loss target_offset", "siglip_loss"])
@pytest.mark.parametrize("path", ["wgmma", "none"])
def test_small_losses_keep_their_digits(blocks: Any, cupy: Any, path: str, name: str) -> None:
    blocks(path)
    n = 40
    x = cupy.asarray(np.eye(n, dtype=np.float32))
    for lead in (5.0, 12.0, 30.0):
        options: dict[str, Any] = {"logit_scale": lead}
        if name == "siglip_loss":
            found = pt.siglip_loss(x, x, bias=-lead / 2, **options)
            right = n * np.log1p(np.exp(-lead / 2))
        elif name == "info_nce groups":
            names = np.arange(n)
            found = pt.info_nce(x, x, x_groups=names, y_groups=names, **options)
            right = np.log1p((n - 1) * np.exp(-lead))
        else:
            found = pt.clip_loss(x, x, false_negative_margin=1.0, **options)
            right = np.log1p((n - 1) * np.exp(-lead))
        np.testing.assert_allclose(found.per_row.get(), np.full(n, right), rtol=1e-5)


@pytest.mark.parametrize("path", ["wgmma", "none"])
@pytest.mark.parametrize("loss", ["info_nce", "siglip_loss", "supcon_loss", "circle_loss"])
def test_a_bad_row_is_never_a_good_loss(blocks: Any, cupy: Any, loss: str, path: str) -> None:
    blocks(path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3)).astype(np.float32)
    x[2, 1] = np.nan
    a = cupy.asarray(x)
    labels = np.arange(8) // 2
    options = {"check_finite": False} | ({} if loss == "circle_loss" else {"temperature": 1.0})
    second = labels if loss in ("supcon_loss", "circle_loss") else a
    if loss == "info_nce":
        options["tau_plus"] = 0.1
    got = getattr(pt, loss)(a, second, **options)
    assert np.isnan(got.per_row.get()).all()
    assert np.isnan(got.loss)


def test_progress_counts_every_sweep(blocks: Any, cupy: Any) -> None:
    rng = np.random.default_rng(0)
    x = cupy.asarray(rng.normal(size=(300, 5)).astype(np.float32))
    y = cupy.asarray(rng.normal(size=(270, 5)).astype(np.float32))
    for grad in (False, True):
        calls: list[tuple[int, int]] = []

        def tell(done: int, total: int, calls: Any = calls) -> None:
            calls.append((done, total))

        pt.clip_loss(y, x, temperature=1.0, false_negative_margin=0.1, grad=grad, progress=tell)
        done = [at / total for at, total in calls]
        assert done == sorted(done)
        assert done[-1] == 1.0
        assert len(done) > 4


# Losses of rows among themselves, and how many sweeps over blocks of products they take.
MUTUAL: dict[str, tuple[Any, dict[str, Any], int]] = {
    "supcon": (pt.supcon_loss, {"logit_scale": 0.7}, 2),
    "circle": (pt.circle_loss, {"gamma": 32.0}, 2),
    "multi-similarity": (pt.multi_similarity_loss, {}, 2),
    "mined": (pt.multi_similarity_loss, {"mining": True}, 3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", MUTUAL)
def test_rows_among_themselves_take_half_of_the_blocks(
    blocks: Any, loss: str, dtype: str, monkeypatch: Any
) -> None:
    """Each block above the diagonal stands for its transpose, forward and backward."""
    from pairtile import _cuda

    blocks("none" if dtype == "float64" else "wgmma")
    name = "wide_block" if dtype == "float64" else "dot_block"
    computed: list[int] = []
    product = getattr(_cuda, name)
    monkeypatch.setattr(_cuda, name, lambda *told: computed.append(1) or product(*told))
    rng = np.random.default_rng(0)
    # on a lattice, where no comparison is in doubt
    x, labels = (rng.integers(-2, 3, size=(520, 3)) / 4).astype(dtype), rng.integers(0, 9, 520)
    function, options, sweeps = MUTUAL[loss]
    weights = rng.random(520)
    with on_backend("native"):
        wanted = function(x, labels, grad=True, weights=weights, **options)
    told: list[tuple[int, int]] = []
    with on_backend("cuda"):
        found = function(
            x, labels, grad=True, weights=weights, progress=lambda *now: told.append(now), **options
        )
    assert len(computed) == sweeps * 6  # of 9
    assert told[-1][0] == told[-1][1]
    eps, gradient = EPS[dtype]
    np.testing.assert_allclose(found.per_row, wanted.per_row, rtol=eps, atol=eps)
    if wanted.grad_scale is not None:
        assert found.grad_scale == pytest.approx(wanted.grad_scale, rel=gradient)
    size = float(np.abs(wanted.grad_x).max())
    np.testing.assert_allclose(found.grad_x, wanted.grad_x, rtol=0, atol=gradient * size)


def test_rows_with_scales_of_their_own_take_every_block(blocks: Any, monkeypatch: Any) -> None:
    """(i, j) is not (j, i) then."""
    from pairtile import _cuda

    computed: list[int] = []
    product = _cuda.dot_block
    monkeypatch.setattr(_cuda, "dot_block", lambda *told: computed.append(1) or product(*told))
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(260, 3)).astype(np.float32), rng.integers(0, 9, 260)
    with on_backend("cuda"):
        pt.supcon_loss(x, labels, logit_scale=np.full(260, 0.7))
    assert len(computed) == 4


@pytest.mark.parametrize("path", ["wgmma", "mma"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("dtype", "d"), [("float16", 20), ("float32", 20), ("float16", 260)])
def test_siglip_is_folded_in_the_sweep(
    blocks: Any, dtype: str, d: int, normalize: bool, path: str, monkeypatch: Any
) -> None:
    """Several blocks of weights, losses near 0 and large, columns before and after positives."""
    from pairtile import _cuda
    from pairtile._backends.cuda import contrastive

    blocks(path)
    monkeypatch.setattr(contrastive, "most_bytes", 1 << 17)
    monkeypatch.delattr(_cuda, "dot_block")  # of blocks that are written and read again
    folded: list[int] = []
    sweep = _cuda.sigmoid_sweep
    monkeypatch.setattr(_cuda, "sigmoid_sweep", lambda **told: folded.append(1) or sweep(**told))
    rng = np.random.default_rng(2)
    n, m = 270, 400
    y = rng.normal(size=(m, d)).astype(dtype)
    x = (y[7 : 7 + n] + 0.3 * rng.normal(size=(n, d))).astype(dtype)
    options: dict[str, Any] = {
        "logit_scale": 9.0 if normalize else 12 / d, "bias": -5.0, "normalize": normalize,
        "target_offset": 7,
    }  # fmt: skip
    upstream = rng.normal(size=n)
    with on_backend("native"):
        wanted = pt.siglip_loss(
            x.astype(np.float64), y.astype(np.float64), grad=True, grad_rows=upstream, **options
        )
    told: list[tuple[int, int]] = []
    with on_backend("cuda"):
        found = pt.siglip_loss(
            x, y, grad=True, grad_rows=upstream, progress=lambda *now: told.append(now), **options
        )
        assert len(folded) == 2 * 2
        alone = pt.siglip_loss(x, y, **options)
    assert told[-1] == (n * m, n * m)
    eps, gradient = EPS[dtype]
    for one in (found, alone):
        np.testing.assert_allclose(one.per_row, wanted.per_row, rtol=eps)
    for name in ("grad_x", "grad_y"):
        right = getattr(wanted, name)
        size = float(np.abs(right).max())
        np.testing.assert_allclose(getattr(found, name), right, rtol=0, atol=gradient * size)
    assert found.grad_scale == pytest.approx(wanted.grad_scale, rel=2e-5)
    assert found.grad_bias == pytest.approx(wanted.grad_bias, rel=2e-5)


def test_siglip_of_groups_and_of_scales_goes_by_blocks(blocks: Any, monkeypatch: Any) -> None:
    from pairtile import _cuda

    monkeypatch.delattr(_cuda, "sigmoid_sweep")
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    ids = np.arange(9) // 2
    for options in ({"x_groups": ids}, {"logit_scale": np.full(9, 1.5)}):
        given: dict[str, Any] = {"logit_scale": 1.5, "bias": -1.0, "grad": True, **options}
        with on_backend("native"):
            wanted = pt.siglip_loss(x, x, **given)
        with on_backend("cuda"):
            found = pt.siglip_loss(x, x, **given)
        np.testing.assert_allclose(found.per_row, wanted.per_row, rtol=4e-6)
        np.testing.assert_allclose(found.grad_x, wanted.grad_x, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalize", [False, True])
def test_rows_among_themselves(blocks: Any, dtype: str, normalize: bool) -> None:
    """As one block of a loss, against the NumPy twin."""
    from pairtile._backends import cuda

    n = 270
    rng = np.random.default_rng(4)
    x = (rng.integers(-4, 5, size=(n, 7)) / 4).astype(dtype)
    indptr, columns, _ = compressed(rng.random((n, n)) < 0.2)
    options = {
        **ROWS_ONLY, "targets": np.full(n, -1), "row_masked": (indptr, columns),
        "normalize": normalize, "itself": True,
    }  # fmt: skip
    found = of_seam(cuda.softmax_states, x, x, 1.5, **options)
    wanted = of_seam(twin.softmax_states, x, x, 1.5, **options)
    eps = 1e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found[0], wanted[0], rtol=eps, atol=20 * eps)
    states = wanted[0].copy()
    states[:, 3] = 1.0
    given = {
        "row_states": states, "row_weights": rng.normal(size=n), "col_states": None,
        "col_weights": None,
    }  # fmt: skip
    for grad_x in (True, False):
        wants = {"grad_x": grad_x, "grad_y": grad_x}
        mine = of_seam(cuda.softmax_gradients, x, x, 1.5, **options, **given, **wants)
        right = of_seam(twin.softmax_gradients, x, x, 1.5, **options, **given, **wants)
        assert mine[1] is right[1] is None
        assert (mine[0] is None) == (right[0] is None) == (not grad_x)
        if grad_x:
            np.testing.assert_allclose(mine[0], right[0], atol=20 * eps)
        assert mine[2] == pytest.approx(right[2], rel=100 * eps, abs=100 * eps)


@pytest.mark.parametrize("loss", [pt.info_nce, pt.clip_loss, pt.gist_loss])
def test_a_guide_may_be_in_either_memory(blocks: Any, cupy: Any, loss: Any) -> None:
    """The same pairs leave the sums, and on the CPU too."""
    rng = np.random.default_rng(5)
    x, y = (rng.normal(size=(rows, 9)).astype(np.float32) for rows in (60, 80))
    of_x, of_y = (rng.normal(size=(rows, 5)).astype(np.float32) for rows in (60, 80))
    of_y[:60] += of_x
    options: dict[str, Any] = {"temperature": 0.5, "guide_margin": 0.1, "grad": True}
    a, b = cupy.asarray(x), cupy.asarray(y)
    found = [
        loss(a, b, x_guide=place(of_x), y_guide=place(of_y), **options)
        for place in (np.asarray, cupy.asarray)
    ]
    wanted = loss(x, y, x_guide=of_x, y_guide=of_y, **options)
    for field in ("per_row", *FIELDS):
        one, other = (host(getattr(each, field)) for each in found)
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(host(found[0].per_row), wanted.per_row, rtol=1e-5)
    np.testing.assert_allclose(host(found[0].grad_y), wanted.grad_y, atol=1e-6)


# What a block of columns is asked, all of which are of one loss: where positives are, and options.
ROWS_ONLY: dict[str, Any] = {"row_scales": None, "cols": False, "normalize": False, "workers": 1}
BLOCKS = (
    "targets", "labels", "logits", "angle", "own limits", "limits", "both", "columns", "scales",
    "scales both", "sparse", "sparse scales smoothing", "debiased", "debiased scales", "heavily",
    "heavily scales", "kept", "kept sparse", "kept labels scales", "masked", "masked both",
    "masked labels scales", "unit", "unit masked both",
)  # fmt: skip


def compressed(matrix: Any) -> tuple[Any, Any, Any]:
    """Row pointers, columns and entries of those that are not 0."""
    rows, columns = np.nonzero(matrix)
    counts = np.bincount(rows, minlength=len(matrix))
    return np.insert(np.cumsum(counts), 0, 0), columns.astype(np.int64), matrix[rows, columns]


def asked(word: str, n: int, m: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    targets = np.where(np.arange(n) % 5 == 0, -1, rng.permutation(max(n, m))[:n] % m)
    options: dict[str, dict[str, Any]] = {
        "targets": {"rows": True},
        "labels": {
            "targets": None,
            "row_labels": rng.integers(0, 4, n) * 1.0,
            "col_labels": rng.integers(0, 5, m) * 1.0,
            "label_smoothing": 0.1,
        },
        "logits": {"column_logits": rng.normal(size=m), "margin": 0.2},
        "angle": {"angular_margin": 0.3},
        "own limits": {"targets": np.arange(n), "false_negative_margin": 0.1, "cols": True},
        "limits": {
            "row_limits": rng.normal(size=n), "col_limits": rng.normal(size=m), "cols": True,
            "targets": np.full(n, -1),
        },
        "both": {"targets": np.arange(n), "cols": True, "label_smoothing": 0.2},
        "columns": {"targets": np.arange(n), "rows": False, "cols": True},
    }  # fmt: skip
    found = {**ROWS_ONLY, "targets": targets, **options.get(word, {})}
    if word in options:
        return found
    words = word.split()
    if "both" in words or "labels" in words:
        found |= options["both" if "both" in words else "labels"]
    if "scales" in words:
        found["row_scales"] = 1 + rng.random(n)
    if "smoothing" in words:
        found["label_smoothing"] = 0.2
    if "debiased" in words:
        found["tau_plus"] = 0.1
    if "heavily" in words:  # so that some sums are at their floor
        found["tau_plus"] = 0.9
    if "sparse" in words:
        found["targets"] = None
        weights = rng.random((n, m)) * (rng.random((n, m)) < 3 / m)
        found["positives"] = compressed(weights)
    if "masked" in words:
        for side in ("row", "col"):
            found[f"{side}_masked"] = compressed(rng.random((n, m)) < 0.3)[:2]
    found["normalize"] = "unit" in words
    if "kept" in words:
        found["kept"] = compressed(rng.random((n, m)) < 0.4)[:2]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("word", BLOCKS)
def test_states_and_gradients_of_a_block(blocks: Any, word: str, dtype: str) -> None:
    """Of rows whose positives may be elsewhere, against the NumPy twin."""
    from pairtile._backends import cuda

    blocks("wgmma")
    n, m, d = 70, 300, 9
    rng = np.random.default_rng(1)
    x, y = (rng.integers(-4, 5, size=(rows, d)) / 4 for rows in (n, m))
    if word == "angle":
        x, y = (z / np.linalg.norm(z + 0.1, axis=1, keepdims=True) for z in (x, y))
    x, y = x.astype(dtype), y.astype(dtype)
    options = asked(word, n, m)
    found = of_seam(cuda.softmax_states, x, y, 1.5, **options)
    wanted = of_seam(twin.softmax_states, x, y, 1.5, **options)
    eps = 1e-5 if dtype == "float32" else 1e-11
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=eps, atol=20 * eps)
    of_rows, of_cols, _ = wanted
    for states in (of_rows, of_cols):
        if states is not None:  # positives that are in another block
            away = states[:, 3] == 0
            states[away, 2], states[away, 3] = states[away, 0] - 1, 1
    states = {
        "row_states": of_rows, "row_weights": rng.normal(size=n), "col_states": of_cols,
        "col_weights": None if of_cols is None else rng.normal(size=m), "negatives": m - 1,
    }  # fmt: skip
    for sides in ((True, True), (False, True)):
        told = {**options, **states, "grad_x": sides[0], "grad_y": sides[1]}
        found = of_seam(cuda.softmax_gradients, x, y, 1.5, **told)
        wanted = of_seam(twin.softmax_gradients, x, y, 1.5, **told)
        for a, b in zip(found, wanted, strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                size = max(1.0, float(np.abs(b).max()))
                np.testing.assert_allclose(a, b, rtol=0, atol=50 * eps * size)
