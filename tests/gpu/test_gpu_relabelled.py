"""Sums of relabellings as whole numbers on tensor cores: exact, in any order, for any cut."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gpu_data import TERMS, data
from pairtile._backends import numpy as twin
from pairtile._backends.numpy.kernels import labelled
from pairtile._definitions.kernels import evaluate
from pairtile.two_sample.relabelling import pack

pytestmark = pytest.mark.gpu
# around the tiles of 16 rows and 32 columns, and the 64 rows and labellings of a warp
SHAPES = [(1, 1), (1, 2), (2, 1), (16, 33), (31, 65), (64, 64), (65, 1), (130, 7)]
N_LABELS = [1, 2, 63, 64, 65, 255, 257]
SEVERAL = [
    [(1.0, "gaussian", (0.05,))],
    [(0.5, "laplace", (0.3,)), (-2.0, "gaussian", (0.4,))],
    [(1.0, "energy", (1.0,))],
    [(1.0, "laplace_l1", (0.1,))],
    [(2.0, "polynomial", (3.0, 0.1, 1.0)), (1.0, "matern32", (0.4,)), (0.3, "cosine", ())],
    [(1.0, "linear", ())],
]


@pytest.fixture
def gpu() -> Any:
    pytest.importorskip("cupy", exc_type=ImportError)
    from pairtile._backends import cuda as cuda_backend

    return cuda_backend


@pytest.fixture
def relabelled(gpu: Any) -> Any:
    from pairtile._backends.cuda import relabelled_sums

    return relabelled_sums


@pytest.fixture
def served(relabelled: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[set[int]]]:
    """Which kernels of each call were whole numbers."""
    found: list[set[int]] = []
    sums = relabelled._WholeSums

    class Counted(sums):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.append(self.served)

    monkeypatch.setattr(relabelled, "_WholeSums", Counted)
    return found


def drawn(rows: int, n_labels: int, seed: int = 0) -> Any:
    """Labels as the engine reads them; bits beyond the last row are anything."""
    rng = np.random.default_rng([seed, rows, n_labels])
    return rng.integers(2**64, size=((rows + 63) // 64, n_labels), dtype=np.uint64)


def sums(gpu: Any, x: Any, y: Any, labels: Any, kernels: Any, **options: Any) -> Any:
    return gpu.kernel_label_sums(x, y, labels, kernels, **{"paired": False, "workers": 1} | options)


def same(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def close(found: Any, wanted: Any, share: float = 1e-12) -> None:
    for ours, twins in zip(found, wanted, strict=True):
        for a, b in zip(ours, twins, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=share * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("paired", [False, True], ids=["rows", "pairs"])
@pytest.mark.parametrize("n_labels", N_LABELS)
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_they_are_the_twins(
    gpu: Any, served: list[set[int]], n: int, m: int, n_labels: int, paired: bool
) -> None:
    x, y = data(n, 5, "float32"), data(n if paired else m, 5, "float64", 1)
    labels = drawn(n if paired else n + m, n_labels)
    found = sums(gpu, x, y, labels, SEVERAL, paired=paired)
    assert served == [set(range(len(SEVERAL)))]
    close(found, twin.kernel_label_sums(x, y, labels, SEVERAL, paired=paired, workers=1))


@pytest.mark.parametrize("name", TERMS)
def test_every_kernel(gpu: Any, served: list[set[int]], name: str) -> None:
    x, y = data(40, 37, "float32"), data(51, 37, "float32", 1)
    labels, kernels = drawn(91, 70), [[(1.5, name, TERMS[name])]]
    close(
        sums(gpu, x, y, labels, kernels),
        twin.kernel_label_sums(x, y, labels, kernels, paired=False, workers=1),
    )
    assert served == [{0}]


@pytest.mark.parametrize("negative", [False, True])
def test_every_digit_counts(gpu: Any, served: list[set[int]], negative: bool) -> None:
    """Kernel values that need all of seven digits, against sums of whole numbers."""
    rng = np.random.default_rng(1)
    n = 40
    values = rng.integers(2**49, 2**50, size=n) * (-1 if negative else 1)
    values[::3] = rng.integers(-(2**20), 2**20, size=len(values[::3]))
    x, y = np.eye(n), values[None].astype(np.float64)  # x_i·y is a value, x_i·x_j is 0
    labels = drawn(n + 1, 67)
    v = labelled(labels, 0, n + 1).astype(bool)
    within, row, total = sums(gpu, x, y, labels, [[(1.0, "linear", ())]])
    assert served == [{0}]
    for b in range(67):
        mine = [Fraction(int(k)) for k, is_mine in zip(values, v[:n, b], strict=True) if is_mine]
        every = [Fraction(int(k)) for k in values]
        both = 2 * sum(mine) if v[n, b] else 0
        assert abs(Fraction(within[0, b]) - both) <= abs(both) / 2**52
        rows = sum(mine) + (sum(every) if v[n, b] else 0)
        assert abs(Fraction(row[0, b]) - rows) <= abs(rows) / 2**52
        assert abs(Fraction(total[0]) - 2 * sum(every)) <= abs(2 * sum(every)) / 2**52


def test_seven_digits_are_there(relabelled: Any) -> None:
    """What the test before this counts on, and the limits of each number of digits."""
    part = relabelled._Part(0, [], 0.0)
    mean = 2 * 26 * 1.5 * 2**49 / (41 * 40)
    assert relabelled._with_step(part, 2.0**50, mean).digits == 7
    for digits in range(1, 9):
        most = 2.0 ** (8 * digits - 2)
        for largest, wanted in ((np.nextafter(most, 0), digits), (most, digits + 1)):
            found = relabelled._with_step(part._replace(rounding_step=1.0), largest, 1.0).digits
            assert found == (wanted if wanted <= 8 else 0)
    for largest, mean in ((np.inf, 1.0), (np.nan, np.nan), (1e300, np.inf), (1e-300, 1e-300)):
        assert relabelled._with_step(part, largest, mean).digits == 0
    one = relabelled._with_step(part, 1.0, 0.3)
    assert one.step == 2.0**-48
    assert one.digits == 7
    assert relabelled._with_step(part, 0.0, 0.0).digits == 1


@pytest.mark.parametrize("digits", range(1, 9))
def test_digits_are_joined(relabelled: Any, digits: int) -> None:
    rng = np.random.default_rng(digits)
    some = rng.integers(-(2**40), 2**40, size=(digits, 50))
    wanted = [sum(int(d) << 8 * k for k, d in enumerate(column)) for column in some.T]
    found = relabelled._joined(some)
    for a, b in zip(found, wanted, strict=True):
        assert abs(Fraction(a) - b) <= Fraction(max(abs(b), 1), 2**52)
    if digits > 1:  # other digits of the same number
        some[0] += 5 * 256
        some[1] -= 5
        np.testing.assert_array_equal(relabelled._joined(some), found)


def test_labels_as_words(relabelled: Any) -> None:
    labels = drawn(200, 7)
    for first, rows in ((0, 200), (0, 1), (64, 64), (37, 163), (199, 1), (63, 66)):
        words = relabelled._label_words(labels, first, rows)
        assert words.shape == (-(-rows // 32), 64)
        bits = np.unpackbits(
            words.view(np.uint8).reshape(len(words), 64, 4), axis=2, bitorder="little"
        )
        of_rows = bits.transpose(0, 2, 1).reshape(-1, 64)[:rows]
        np.testing.assert_array_equal(of_rows[:, :7], labelled(labels, first, first + rows))
        assert of_rows[:, 7].all()
        assert not of_rows[:, 8:].any()


def test_the_order_of_rows_does_not_matter(gpu: Any) -> None:
    """Nor which of them are in x: the same whole numbers are added."""
    z = data(150, 9, "float32")
    v = np.random.default_rng(2).random((150, 33)) < 0.4
    order = np.random.default_rng(3).permutation(150)

    def of(rows: Any, n: int) -> Any:
        labels = pack(iter(v[rows].T), 150, 33)
        return sums(gpu, z[rows][:n], z[rows][n:], labels, SEVERAL)

    parts = len(SEVERAL[4])  # sums of three numbers, in the order of the parts
    assert parts == 3
    first = of(np.arange(150), 70)
    same(of(order, 70), first)
    same(of(order, 1), first)
    same(of(np.arange(150)[::-1], 133), first)


def test_relabellings_that_tie_tie_exactly(gpu: Any) -> None:
    """Of rows that come twice either may be labelled; of mirrored rows, all those of one side."""
    half = data(50, 6, "float32")
    rng = np.random.default_rng(4)
    v = rng.random((100, 40)) < 0.5
    swapped = np.concatenate([v[50:], v[:50]])
    for z in (np.concatenate([half, half]), np.concatenate([half, -half])):
        found, others = (
            sums(gpu, z[:37], z[37:], pack(iter(some.T), 100, 40), SEVERAL[:4])
            for some in (v, swapped)
        )
        same(found, others)


@pytest.mark.parametrize("paired", [False, True], ids=["rows", "pairs"])
def test_the_cut_does_not_matter(
    gpu: Any, relabelled: Any, monkeypatch: pytest.MonkeyPatch, paired: bool
) -> None:
    x, y = data(140, 5, "float32"), data(140 if paired else 101, 5, "float32", 1)
    labels = drawn(140 if paired else 241, 70)
    whole = sums(gpu, x, y, labels, SEVERAL, paired=paired)
    for name, value in (("_BLOCK_PAIRS", 1), ("_BLOCK_PAIRS", 64 * 96), ("_PLANES", 1 << 16)):
        with monkeypatch.context() as patch:
            patch.setattr(relabelled, name, value)
            same(sums(gpu, x, y, labels, SEVERAL, paired=paired), whole)


def test_blocks_hold_each_pair_once(gpu: Any, relabelled: Any) -> None:
    x, y = (relabelled.Rows(data(n, 2, "float32")) for n in (300, 170))
    for rows, others, triangle in ((x, x, True), (x, y, False), (y, x, False)):
        similarity = relabelled._Similarity([], rows, others)
        meeting = relabelled._Meeting(similarity, rows, others, triangle)
        for pairs in (1, 5000, 1 << 23):
            seen = np.zeros((rows.n, others.n), dtype=int)
            for (first, stop), (column, end) in meeting.blocks(pairs):
                assert first % 64 == 0
                assert column % 32 == 0
                assert (stop - first) * (end - column) <= max(pairs, 64 * 32)
                seen[first:stop, column:end] += 1
            assert seen.max() == 1
            assert (np.triu(seen, 1) if triangle else seen).sum() == meeting.pairs


def test_kernels_share_a_tile_and_nothing_else(gpu: Any) -> None:
    x, y = data(70, 5, "float32"), data(33, 5, "float32", 1)
    labels = drawn(103, 20)
    many = [[(1.0, "gaussian", (0.01 * (q + 1),))] for q in range(51)]  # more than one group
    long = [[term for kernel in many for term in kernel]]  # more than one part
    kernels = [*SEVERAL, *many, *long]
    within, row, total = sums(gpu, x, y, labels, kernels)
    for q in (0, 1, 2, 3, 4, 5, 6, 30, 56, 57):
        alone = sums(gpu, x, y, labels, [kernels[q]])
        same(alone, (within[q : q + 1], row[q : q + 1], total[q : q + 1]))


def test_values_of_very_different_size_stay_in_float64(gpu: Any, served: list[set[int]]) -> None:
    """One pair of equal rows, all others far apart: the mean is 2^-17 of the largest value."""
    z = np.arange(400, dtype=np.float32)[:, None]
    z[217] = z[8]
    labels = drawn(400, 5)
    narrow, wide = [(1.0, "gaussian", (40.0,))], [(1.0, "gaussian", (1e-4,))]
    found = sums(gpu, z[:150], z[150:], labels, [narrow, wide])
    assert served == [{1}]
    wanted = twin.kernel_label_sums(
        z[:150], z[150:], labels, [narrow, wide], paired=False, workers=1
    )
    close(found, wanted)


def test_small_values_are_whole_numbers_of_a_small_step(gpu: Any, served: list[set[int]]) -> None:
    x, y = data(40, 64, "float32")[21:], data(30, 64, "float32", 1)[16:]
    labels, kernels = drawn(33, 20), [[(1.0, "gaussian", (1.0,))]]
    found = sums(gpu, x, y, labels, kernels)
    assert served == [{0}]
    wanted = twin.kernel_label_sums(x, y, labels, kernels, paired=False, workers=1)
    assert wanted[2] < 1e-15
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_values_that_are_not_finite(gpu: Any, served: list[set[int]], bad: float) -> None:
    x, y = data(20, 3, "float32"), data(9, 3, "float32", 1)
    x[4, 1] = bad
    with np.errstate(all="ignore"):
        _, _, (total,) = sums(gpu, x, y, drawn(29, 3), [[(1.0, "energy", (1.0,))]])
    assert served == [set()]
    assert not np.isfinite(total)


@pytest.mark.parametrize("paired", [False, True], ids=["rows", "pairs"])
def test_ordinary_cores_serve_too(gpu: Any, monkeypatch: pytest.MonkeyPatch, paired: bool) -> None:
    from pairtile._backends.cuda import panels

    x, y = data(70, 5, "float32"), data(70 if paired else 33, 5, "float32", 1)
    labels = drawn(70 if paired else 103, 20)
    rounded = {"paired": True, "rounding_steps": [3e-7] * 4}

    def found() -> Any:
        return sums(gpu, x, y, labels, SEVERAL, paired=paired), (
            sums(gpu, x, y, labels, SEVERAL[:4], **rounded) if paired else ()
        )

    (by_tensor_cores, whole) = found()
    monkeypatch.setattr(panels, "path", "none")
    (by_others, whole_too) = found()
    close(by_others, by_tensor_cores)
    same(whole_too, whole)


def test_values_are_within_half_a_step(gpu: Any) -> None:
    """One labelled pair at a time gives 2 k_ij, within 2^-46 of the mean |k|."""
    x, y = data(6, 4, "float32"), data(5, 4, "float32", 1)
    z = np.concatenate([x, y]).astype(np.float64)
    pairs = [(i, j) for i in range(11) for j in range(i)]
    v = np.zeros((len(pairs), 11), dtype=bool)
    for b, pair in enumerate(pairs):
        v[b, list(pair)] = True
    labels = pack(iter(v), 11, len(pairs))
    for terms in (SEVERAL[0], SEVERAL[2], SEVERAL[5]):
        k = evaluate(z, z, terms)
        mean = np.mean([abs(k[i, j]) for i, j in pairs])
        within, _, _ = sums(gpu, x, y, labels, [terms])
        wanted = np.array([2 * k[i, j] for i, j in pairs])
        error = 2.0**-46 * mean + 2.0**-48 * np.abs(wanted)
        assert (np.abs(within[0] - wanted) <= error).all()


def test_progress(gpu: Any, relabelled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(140, 5, "float32"), data(101, 5, "float32", 1)
    narrow = [(1.0, "gaussian", (40.0,))]  # in float64
    monkeypatch.setattr(relabelled, "_BLOCK_PAIRS", 64 * 32)
    told: list[tuple[int, int]] = []
    sums(gpu, x, y, drawn(241, 3), [*SEVERAL, narrow], progress=lambda *now: told.append(now))
    shares = [done / total for done, total in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 10
