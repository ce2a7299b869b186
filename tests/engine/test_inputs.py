"""What every public function takes, and what it says of what it does not take."""

import contextlib
import re
import signal
import threading

import ml_dtypes
import numpy as np
import pytest
from scipy import sparse

import pairtile as pt
from functions import (
    FUNCTIONS,
    LEAST_ROWS,
    PAIRED,
    PRECISE,
    SAMPLES,
    SINGLE,
    A,
    B,
    G,
    assert_same_bits,
    parts,
)
from strategies import DTYPES, LAYOUTS, cast


@contextlib.contextmanager
def within(seconds):
    """Fail if what is inside takes longer."""

    def late(number, frame):
        raise TimeoutError(f"still running after {seconds} s")

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- what is taken ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_layouts_make_no_difference(name, layout, dtype):
    call, *_ = FUNCTIONS[name]
    a, b = cast(A, dtype), cast(B, dtype)
    right = call(a, b)
    assert_same_bits(call(LAYOUTS[layout](a), LAYOUTS[layout](b)), right)
    assert_same_bits(call(a, LAYOUTS[layout](b)), right)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes(name, dtype):
    """The same numbers in another dtype give the same result, in the dtype of the table."""
    call, *_ = FUNCTIONS[name]
    right = parts(call(A, B))
    for a, b in ((cast(A, dtype), cast(B, dtype)), (cast(A, dtype), cast(B, "float32"))):
        wide = dtype == "float64"
        found = parts(call(a, b))
        for part, expected in zip(found, right, strict=True):
            np.testing.assert_allclose(part, expected, rtol=2e-5, atol=2e-6)
        if name in ("knn", "kth_distance", "pairwise_distances", "witness at"):
            assert found[0].dtype == (np.float64 if wide else np.float32)
        if name in ("info_nce", "clip_loss"):
            assert [part.dtype for part in found[-3:-1]] == 2 * [found[0].dtype if wide else "f4"]
            assert found[1].dtype == np.float64
        if name == "siglip_loss":
            assert [part.dtype for part in found[-4:-2]] == 2 * [found[0].dtype if wide else "f4"]


OTHER_FORMS = {
    "list": lambda a: a.tolist(),
    "list of arrays": lambda a: [row.astype(np.float32) for row in a],
    "tuple of int": lambda a: tuple(map(tuple, a.astype(int).tolist())),
    "int64": lambda a: a.astype(np.int64),
    "big-endian int32": lambda a: a.astype(">i4"),
    "uint16": lambda a: a.astype(np.uint16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "unaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype),
    "masked nowhere": lambda a: np.ma.MaskedArray(a),
    "stride 0 copy": lambda a: np.broadcast_to(a[None], (2, *a.shape))[1],
}


@pytest.mark.parametrize("form", OTHER_FORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_forms_work_as_float64(name, form):
    call, *_ = FUNCTIONS[name]
    a, b = (OTHER_FORMS[form](s) for s in (A, B))
    if form == "unaligned":
        a, b = a.reshape(A.shape), b.reshape(B.shape)
    assert_same_bits(call(a, b), call(A, B))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bool_is_zero_and_one(name):
    call, *_ = FUNCTIONS[name]
    a, b = A > 5, B > 5
    assert_same_bits(call(a, b), call(a.astype(np.float64), b.astype(np.float64)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_broadcast_rows(name):
    """Stride 0: one row in memory, many in the array."""
    call, *_ = FUNCTIONS[name]
    rows = np.broadcast_to(A[0], A.shape)
    assert_same_bits(call(rows, B), call(rows.copy(), B))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_maps(name, dtype, tmp_path):
    call, *_ = FUNCTIONS[name]
    maps = []
    for i, s in enumerate((A, B)):
        np.save(tmp_path / f"{i}.npy", cast(s, dtype))
        maps.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    assert_same_bits(call(*maps), call(cast(A, dtype), cast(B, dtype)))


@pytest.mark.oracle("pandas")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_data_frames(name):
    import pandas

    call, *_ = FUNCTIONS[name]
    frames = pandas.DataFrame(A), pandas.DataFrame(B, columns=list("abcdef")).astype("float32")
    assert_same_bits(call(*frames), call(A, B))
    mixed = pandas.DataFrame(A).assign(name="text")
    with pytest.raises(TypeError, match=r"has columns that are not numbers: 'name' \("):
        call(mixed, mixed)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_inputs_keep_their_bytes(name):
    call, *_ = FUNCTIONS[name]
    for dtype in DTYPES:
        a, b = cast(A, dtype), cast(B, dtype)
        before = a.tobytes(), b.tobytes()
        call(a, b)
        assert (a.tobytes(), b.tobytes()) == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_row_and_one_column(name):
    """The smallest sets there are."""
    call, *_ = FUNCTIONS[name]
    least = LEAST_ROWS.get(name, 1)
    for part in parts(call(A[:least, :1], B[:least, :1])):
        assert not np.isnan(part[...]).any() or name.startswith("sliced")


@pytest.mark.parametrize("seed", [0, np.int64(0), np.random.SeedSequence(0)])
def test_rng(seed):
    right = pt.mmd_test(A, B, n_permutations=20, rng=np.random.default_rng(0))
    assert_same_bits(pt.mmd_test(A, B, n_permutations=20, rng=seed), right)
    generator = np.random.default_rng(0)
    assert_same_bits(pt.mmd_test(A, B, n_permutations=20, rng=generator), right)
    assert generator.random() != np.random.default_rng(0).random()


# --- what is not taken -----------------------------------------------------------------------

BAD_ARRAYS = {
    "1-D": (lambda a: a[:, 0], ValueError, "must be 2-D (rows, features), got 1-D"),
    "3-D": (lambda a: a[None], ValueError, "must be 2-D (rows, features), got 3-D"),
    "0-D": (lambda a: 3.0, ValueError, "must be 2-D (rows, features), got 0-D"),
    "object": (lambda a: a.astype(object), TypeError, "must hold real numbers, got dtype object"),
    "strings": (lambda a: a.astype(str), TypeError, "must hold real numbers, got dtype <U"),
    "bytes": (lambda a: a.astype("S8"), TypeError, "must hold real numbers, got dtype |S8"),
    "complex": (lambda a: a + 1j, TypeError, "must hold real numbers, got dtype complex128"),
    "dates": (lambda a: a.astype("M8[s]"), TypeError, "must hold real numbers, got dtype datetime"),
    "records": (
        lambda a: np.zeros((3, 6), [("u", "f4")]),
        TypeError,
        "must hold real numbers, got dtype [('u', '<f4')]",
    ),
    "float8": (
        lambda a: a.astype(ml_dtypes.float8_e4m3fn),
        TypeError,
        "must hold real numbers, got dtype float8_e4m3fn",
    ),
    "None in a list": (lambda a: [[None, 1.0]], TypeError, "must hold real numbers"),
    "a string": (lambda a: "data.npy", TypeError, "must hold real numbers, got dtype <U8"),
    "sparse": (lambda a: sparse.csr_array(a), TypeError, ".toarray()"),
    "masked": (
        lambda a: np.ma.MaskedArray(a, mask=a == a[0, 0]),
        ValueError,
        "masked entries; drop or fill them",
    ),
    "ragged": (lambda a: [[1.0, 2.0], [3.0]], ValueError, "cannot be made an array"),
    "no rows": (lambda a: a[:0], ValueError, "is empty: it has 0 rows and 6 columns"),
    "no columns": (lambda a: a[:, :0], ValueError, "is empty: it has 12 rows and 0 columns"),
    "NaN": (
        lambda a: np.where(np.arange(12)[:, None] >= 7, np.nan, a),
        ValueError,
        "contains NaN or Inf; the first bad row is 7",
    ),
    "-Inf": (
        lambda a: np.where(np.arange(72).reshape(12, 6) == 71, -np.inf, a),
        ValueError,
        "contains NaN or Inf; the first bad row is 11",
    ),
}


@pytest.mark.parametrize("fault", BAD_ARRAYS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_arrays(name, fault):
    """The message begins with the name of the argument at fault, be it the first or the second."""
    call, first, second = FUNCTIONS[name]
    spoil, error, message = BAD_ARRAYS[fault]
    if name in SAMPLES and fault == "1-D":
        return  # one feature: test_frame_arguments.py
    if name == "wasserstein_1d" and fault in ("3-D", "0-D"):
        message = "-D"  # of one feature it takes 1-D
    for argument, sets in ((first, (spoil(A), B)), (second, (A, spoil(B)))):
        with pytest.raises(error) as caught:
            call(*sets)
        said = str(caught.value)
        assert message in said
        if name != "wasserstein_1d" or message != "-D":
            assert said.startswith(argument)
        if fault == "1-D" and message != "-D":
            assert f"{argument}[:, None]" in said


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_bad_row_is_named(dtype, value, layout):
    """In every dtype and layout, wherever in the set it is."""
    for n, row in ((1, 0), (70, 69), (3000, 1024), (3000, 2999)):
        a = np.ones((n, 3))
        a[row, 1] = value
        a[-1, 2] = value
        a = LAYOUTS[layout](cast(np.clip(a, -np.inf, np.inf), "float32").astype(DTYPES[dtype]))
        with pytest.raises(
            ValueError, match=rf"^x contains NaN or Inf; the first bad row is {row}$"
        ):
            pt.pairwise_distances(a, workers=3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "cosine", "canberra"])
def test_the_first_bad_reference_is_named(metric, layout, value):
    """Where there are few queries it is the search that finds it."""
    for d, dtype in ((3, "float32"), (40, "float16"), (40, "float64")):
        a = np.full((4500, d), 0.3)  # whole numbers are searched in another way
        a[[2049, 3000, 4499], d - 1] = value
        a = LAYOUTS[layout](a.astype(dtype))
        for n in (1, 3, 20, 65):
            with pytest.raises(
                ValueError, match=r"^reference contains NaN or Inf; the first bad row is 2049$"
            ):
                pt.knn(np.ones((n, d), dtype), a, k=2, metric=metric, workers=2)
            with pytest.raises(ValueError, match=r"^x contains NaN or Inf; the first bad row is 0"):
                pt.kth_distance(np.full((n, d), value, dtype), a, k=2, metric=metric)


@pytest.mark.parametrize("name", sorted(PAIRED))
def test_different_numbers_of_rows(name):
    with pytest.raises(ValueError, match=r"^x has 12 rows and y has 11; they must be paired$"):
        FUNCTIONS[name][0](A, B[:11, :2])


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - PAIRED - SINGLE))
def test_different_numbers_of_columns(name):
    call, first, _ = FUNCTIONS[name]
    for columns in (5, 1):
        with pytest.raises(ValueError) as caught:
            call(A, B[:, :columns])
        said = str(caught.value)
        for fragment in (first, "6", str(columns)):
            assert re.search(rf"(?<!\w){re.escape(fragment)}(?!\w)", said)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_common_keywords(name):
    call, *_ = FUNCTIONS[name]
    for workers, error, message in (
        (0, ValueError, "workers must be at least 1, or -1 for all allowed cores; got 0"),
        (-2, ValueError, "workers must be at least -1, got -2"),
        (1.5, TypeError, "workers must be an integer, got 1.5"),
        (True, TypeError, "workers must be an integer, got True"),
        ("2", TypeError, "workers must be an integer, got '2'"),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call(A, B, workers=workers)
    for progress in ("yes", 1, None):
        with pytest.raises(TypeError, match=f"progress must be True, False.*got {progress!r}"):
            call(A, B, progress=progress)
    if name in PRECISE:
        with pytest.raises(ValueError, match=r"'half'; known: default, float64, fast"):
            call(A, B, precision="half")
        with pytest.raises(TypeError, match=r"precision must be a string, one of .*got 64"):
            call(A, B, precision=64)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_jobs'; here it is workers"):
        call(A, B, n_jobs=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_that_nobody_looked_for(name, dtype):
    """check_finite=False: some value or a ValueError, but no crash and no endless search."""
    call, *_ = FUNCTIONS[name]
    for value in (np.nan, np.inf):
        some, all_ = A.astype(dtype), np.full_like(A, value, dtype=dtype)
        some[3, 2] = value
        for sets in ((some, B.astype(dtype)), (B.astype(dtype), some), (all_, all_)):
            with within(5), contextlib.suppress(ValueError), np.errstate(all="ignore"):
                call(*sets, check_finite=False)


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("exponent", [154, 200, 307])
def test_quantile_of_distances_beyond_float64(exponent, quantile):
    """Squares overflow; the distances do not, but for the largest of all."""
    x = np.random.default_rng(1).normal(size=(60, 5)) * 10.0**exponent
    x[:30] *= 1e-100
    apart = (x[:, None] - x)[np.triu_indices(60, 1)]
    largest = np.abs(apart).max(axis=1)
    right = np.quantile(largest * np.linalg.norm(apart / largest[:, None], axis=1), quantile)
    with within(5):
        found = pt.median_distance(x, quantile=quantile)
    assert found == pytest.approx(right, rel=1e-12)


def test_bandwidth_of_distances_beyond_float64():
    x = np.random.default_rng(1).normal(size=(60, 5)) * 1e200
    with within(5):
        assert pt.mmd(x[:30], x[30:]) == pytest.approx(pt.mmd(x[:30] / 1e200, x[30:] / 1e200))


SIZES = {
    "float64": (1e-310, 1e-200, 1e-100, 1e80, 1e154, 1e200, 1e300),
    "float32": (1e-40, 1e-20, 1e20, 3e37),
}


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_number_is_too_large_for_a_call(name, dtype):
    """Some value or a ValueError: the suite makes every warning an error of another kind."""
    call, *_ = FUNCTIONS[name]
    for size in SIZES[dtype]:
        a, b = ((s * size).astype(dtype) for s in (A, B))
        for sets in ((a, b), (a, B.astype(dtype))):
            with within(20), contextlib.suppress(ValueError):
                call(*sets)


def test_a_long_double_beyond_float64():
    x = A.astype(np.longdouble) * np.longdouble("1e310")
    with pytest.raises(ValueError, match="x contains NaN or Inf"):
        pt.mmd(x, B)


LABELS = np.repeat(np.arange(6), 2)
# Each: a call, the error, and what the message must hold.
BAD_CALLS = {
    # k and the order of arguments
    "k=0": (lambda: pt.knn(A, B, 0), ValueError, ["k must be at least 1", "0"]),
    "k=-3": (lambda: pt.knn(A, B, -3), ValueError, ["k must be at least 1", "-3"]),
    "k>m": (lambda: pt.knn(A, B[:4], 5), ValueError, ["k=5", "reference has 4 rows"]),
    "k>n-1": (lambda: pt.knn(A, k=12), ValueError, ["k=12", "12 rows", "11 others"]),
    "default k": (lambda: pt.knn(A[:5]), ValueError, ["k=10", "5 rows"]),
    "k float": (lambda: pt.knn(A, B, 2.0), TypeError, ["k must be an integer", "2.0"]),
    "k bool": (lambda: pt.knn(A, B, True), TypeError, ["k must be an integer", "True"]),
    "knn(x, 5)": (lambda: pt.knn(A, 5), TypeError, ["reference", "k=5"]),
    "k before predicates": (
        lambda: pt.knn(A, B, 13, reference_mask=np.ones(12, bool)),
        ValueError,
        ["k=13", "12 rows"],
    ),
    "k first": (lambda: pt.knn(A, B[:1], 2), ValueError, ["k=2", "1 rows"]),
    # metrics
    "metric": (
        lambda: pt.knn(A, B, 1, metric="l3"),
        ValueError,
        ["'l3'", "euclidean, sqeuclidean, cosine, inner_product, manhattan, chebyshev"],
    ),
    "metric of distances": (
        lambda: pt.pairwise_distances(A, metric="Euclidean"),
        ValueError,
        ["'Euclidean'", "did you mean 'euclidean'?", "sqeuclidean, cosine"],
    ),
    "metric not a name": (
        lambda: pt.knn(A, B, 1, metric=np.linalg.norm),
        TypeError,
        ["metric must be a string", "euclidean"],
    ),
    "metric_params": (
        lambda: pt.knn(A, B, 1, metric_params={"p": 3}),
        ValueError,
        ["'euclidean' takes no metric_params", "['p']"],
    ),
    "distance_dtype": (
        lambda: pt.knn(A, B, 1, distance_dtype="float16"),
        ValueError,
        ["distance_dtype", "'float16'"],
    ),
    "distance_dtype nonsense": (
        lambda: pt.knn(A, B, 1, distance_dtype="single64"),
        ValueError,
        ["distance_dtype", "'single64'"],
    ),
    # predicates
    "groups without rule": (
        lambda: pt.knn(A, k=1, query_groups=LABELS),
        ValueError,
        ["group_rule='same'", "'different'"],
    ),
    "rule without groups": (
        lambda: pt.knn(A, k=1, group_rule="same"),
        ValueError,
        ["group_rule='same' needs query_groups"],
    ),
    "unknown rule": (
        lambda: pt.knn(A, k=1, query_groups=LABELS, group_rule="other"),
        ValueError,
        ["group_rule", "'other'", "same, different"],
    ),
    "one side of groups": (
        lambda: pt.knn(A, B, 1, query_groups=LABELS, group_rule="same"),
        ValueError,
        ["query_groups and reference_groups"],
    ),
    "groups of another length": (
        lambda: pt.knn(A, k=1, query_groups=LABELS[:5], group_rule="same"),
        ValueError,
        ["query_groups", "(12,)", "(5,)"],
    ),
    "reference groups of another length": (
        lambda: pt.knn(
            A, B, 1, query_groups=LABELS, reference_groups=LABELS[:5], group_rule="same"
        ),
        ValueError,
        ["reference_groups", "(12,)", "(5,)"],
    ),
    "float groups": (
        lambda: pt.knn(A, k=1, query_groups=LABELS * 1.0, group_rule="same"),
        TypeError,
        ["query_groups must be integers or strings", "float64"],
    ),
    "groups whose names NumPy would make alike": (
        lambda: pt.knn(A, k=1, query_groups=["a", "a\0"] * 6, group_rule="same"),
        ValueError,
        ["query_groups", "null character"],
    ),
    "groups of two kinds": (
        lambda: pt.knn(
            A, B, 1, query_groups=LABELS, reference_groups=LABELS.astype(str), group_rule="same"
        ),
        TypeError,
        ["int64", "<U"],
    ),
    "one side of times": (
        lambda: pt.knn(A, B, 1, reference_times=LABELS),
        ValueError,
        ["query_times and reference_times"],
    ),
    "times of another length": (
        lambda: pt.knn(A, k=1, query_times=LABELS[:3]),
        ValueError,
        ["query_times", "(12,)", "(3,)"],
    ),
    "NaN time": (
        lambda: pt.knn(A, k=1, query_times=np.where(LABELS == 2, np.nan, 1.0)),
        ValueError,
        ["query_times contains NaN", "first bad row is 4"],
    ),
    "string times": (
        lambda: pt.knn(A, k=1, query_times=LABELS.astype(str)),
        TypeError,
        ["query_times must be integers or floats", "<U"],
    ),
    "integer mask": (
        lambda: pt.knn(A, B, 1, reference_mask=np.ones(12, int)),
        TypeError,
        ["reference_mask must be boolean", "int64"],
    ),
    "mask of another length": (
        lambda: pt.knn(A, B, 1, reference_mask=np.ones(11, bool)),
        ValueError,
        ["reference_mask", "(12,)", "(11,)"],
    ),
    # kernels
    "no bandwidth": (lambda: pt.Gaussian(), ValueError, ["exactly one of sigma and gamma"]),
    "both bandwidths": (
        lambda: pt.Gaussian(1.0, gamma=2.0),
        ValueError,
        ["exactly one of sigma and gamma", "1.0", "2.0"],
    ),
    "Laplace without": (lambda: pt.Laplace(), ValueError, ["Laplace", "exactly one"]),
    "sigma=0": (lambda: pt.Gaussian(0.0), ValueError, ["sigma", "> 0", "0.0"]),
    "sigma<0": (lambda: pt.Laplace(-1.0), ValueError, ["sigma", "> 0", "-1.0"]),
    "sigma nan": (lambda: pt.Gaussian(np.nan), ValueError, ["sigma must be finite", "nan"]),
    "sigma string": (lambda: pt.Gaussian("mean"), ValueError, ["sigma", "'median'", "'mean'"]),
    "gamma string": (lambda: pt.Gaussian(gamma="median"), TypeError, ["gamma", "'median'"]),
    "gamma=0": (lambda: pt.Laplace(gamma=0), ValueError, ["gamma", "> 0"]),
    "norm": (lambda: pt.Laplace(1.0, norm="l3"), ValueError, ["norm", "'l3'", "l2, l1"]),
    "nu": (lambda: pt.Matern(nu=0.5), ValueError, ["nu must be 1.5 or 2.5", "0.5"]),
    "length_scale": (lambda: pt.Matern(0), ValueError, ["length_scale", "> 0"]),
    "alpha": (lambda: pt.RationalQuadratic(alpha=0), ValueError, ["alpha", "> 0"]),
    "c": (lambda: pt.InverseMultiquadric(c=-1), ValueError, ["c must be", "> 0", "-1"]),
    "beta": (lambda: pt.InverseMultiquadric(beta=0), ValueError, ["beta", "> 0"]),
    "degree=0": (lambda: pt.Polynomial(0), ValueError, ["degree must be at least 1", "0"]),
    "degree float": (lambda: pt.Polynomial(2.5), TypeError, ["degree must be an integer"]),
    "exponent=0": (lambda: pt.Energy(0), ValueError, ["exponent", "> 0"]),
    "exponent>2": (lambda: pt.Energy(2.5), ValueError, ["exponent", "<= 2", "2.5"]),
    "weight of a kernel": (lambda: "two" * G, TypeError, []),
    "sum of kernel and number": (lambda: G + 1, TypeError, []),
    "median called": (
        lambda: pt.Gaussian("median")(A, B),
        ValueError,
        ["'median'", "give it a number"],
    ),
    "kernel called on 1-D": (lambda: G(A[:, 0], B), ValueError, ["x must be 2-D", "x[:, None]"]),
    "kernel called, columns": (lambda: G(A, B[:, :2]), ValueError, ["6", "2", "x", "y"]),
    "kernel name": (
        lambda: pt.mmd(A, B, kernel="sigmoid"),
        ValueError,
        ["kernel", "'sigmoid'", "gaussian, laplace, polynomial, linear, cosine, energy"],
    ),
    "kernel class": (lambda: pt.mmd(A, B, kernel=pt.Gaussian), TypeError, ["kernel", "Gaussian"]),
    "zero median": (
        lambda: pt.mmd(np.ones((8, 2)), np.ones((8, 2))),
        ValueError,
        ["sigma", "median", "sigma="],
    ),
    "sigma too small": (
        lambda: pt.mmd(A, B, kernel=pt.Gaussian(1e-200)),
        ValueError,
        ["sigma=1e-200", "too small"],
    ),
    # sums
    "kernel_sum needs kernel": (lambda: pt.kernel_sum(A), TypeError, ["kernel"]),
    "y_weights without y": (
        lambda: pt.kernel_sum(A, kernel=G, y_weights=np.ones(12)),
        ValueError,
        ["y_weights needs y"],
    ),
    "exclude_diagonal with y": (
        lambda: pt.kernel_sum(A, B, kernel=G, exclude_diagonal=True),
        ValueError,
        ["exclude_diagonal", "y=None"],
    ),
    "quantile": (lambda: pt.median_distance(A, quantile=1.5), ValueError, ["quantile", "1.5"]),
    "quantile nan": (lambda: pt.median_distance(A, quantile=np.nan), ValueError, ["quantile"]),
    "one row": (lambda: pt.median_distance(A[:1]), ValueError, ["two rows", "1"]),
    # weights
    "weights of another length": (
        lambda: pt.mmd(A, B, x_weights=np.ones(5)),
        ValueError,
        ["x_weights", "(12,)", "(5,)"],
    ),
    "NaN weight": (
        lambda: pt.mmd(A, B, y_weights=np.where(LABELS == 3, np.nan, 1)),
        ValueError,
        ["y_weights contains NaN or Inf", "first bad row is 6"],
    ),
    "weights of zero sum": (
        lambda: pt.mmd(A, B, x_weights=np.resize([1, -1], 12)),
        ValueError,
        ["x_weights sums to 0"],
    ),
    "zero weights": (
        lambda: pt.energy_distance(A, B, y_weights=np.zeros(12)),
        ValueError,
        ["y_weights sums to 0"],
    ),
    "negative weight": (
        lambda: pt.energy_distance(A, B, x_weights=np.where(LABELS == 1, -0.5, 1)),
        ValueError,
        ["x_weights must not be negative", "-0.5 in row 2"],
    ),
    "negative weight, sliced": (
        lambda: pt.sliced_wasserstein(A, B, y_weights=np.where(LABELS == 1, -0.5, 1)),
        ValueError,
        ["y_weights must not be negative", "-0.5 in row 2"],
    ),
    "string weights": (
        lambda: pt.mmd(A, B, x_weights=LABELS.astype(str)),
        TypeError,
        ["x_weights must hold real numbers", "<U"],
    ),
    "one weighted pair": (
        lambda: pt.mmd(A, B, x_weights=np.eye(12)[0]),
        ValueError,
        ["x_weights", "unbiased", "'biased'"],
    ),
    # two samples
    "estimator": (
        lambda: pt.mmd(A, B, estimator="u"),
        ValueError,
        ["estimator", "'u'", "unbiased, biased"],
    ),
    "one row, unbiased": (
        lambda: pt.mmd(A, B[:1], kernel=G),
        ValueError,
        ["y has 1 row", "at least 2", "'biased'"],
    ),
    "one row, test": (
        lambda: pt.mmd_test(A[:1], B, kernel=G),
        ValueError,
        ["x has 1 row", "at least 2"],
    ),
    "energy exponent": (
        lambda: pt.energy_distance(A, B, exponent=3),
        ValueError,
        ["exponent", "<= 2", "3"],
    ),
    "no permutations": (
        lambda: pt.mmd_test(A, B, n_permutations=0),
        ValueError,
        ["n_permutations must be at least 1", "0"],
    ),
    "permutations float": (
        lambda: pt.energy_test(A, B, n_permutations=9.5),
        TypeError,
        ["n_permutations must be an integer", "9.5"],
    ),
    # dependence
    "U-statistic of 3 rows": (
        lambda: pt.distance_correlation(A[:3], B[:3], estimator="unbiased"),
        ValueError,
        ["3 rows", "at least 4", "estimator='biased'"],
    ),
    "dependence estimator": (
        lambda: pt.hsic(A, B, estimator="linear"),
        ValueError,
        ["estimator", "'linear'", "biased, unbiased"],
    ),
    "dependence exponent": (
        lambda: pt.distance_covariance(A, B, exponent=0),
        ValueError,
        ["exponent", "> 0", "<= 2"],
    ),
    "kernel of y": (
        lambda: pt.cka(A, B, y_kernel="laplacian"),
        ValueError,
        ["y_kernel", "'laplacian'", "l1", "l2", "'laplace'", "norm='l1'"],
    ),
    "median of y": (
        lambda: pt.hsic(A, np.ones((12, 1))),
        ValueError,
        ["sigma", "median", "sigma="],
    ),
    "independence statistic": (
        lambda: pt.independence_test(A, B, statistic="pearson"),
        ValueError,
        ["statistic", "'pearson'", "distance_covariance, hsic"],
    ),
    "independence draws": (
        lambda: pt.independence_test(A, B, n_permutations=0),
        ValueError,
        ["n_permutations must be at least 1", "0"],
    ),
    "kernel that can be negative": (
        lambda: pt.cauchy_schwarz_divergence(A, B, kernel="polynomial"),
        ValueError,
        ["positive", "Polynomial", "Gaussian"],
    ),
    "kernel with a negative weight": (
        lambda: pt.cauchy_schwarz_divergence(A, B, kernel=G + -0.5 * pt.Laplace(1.0)),
        ValueError,
        ["positive", "-0.5 * Laplace"],
    ),
    "rng string": (lambda: pt.mmd_test(A, B, rng="seed"), (TypeError, ValueError), ["rng"]),
    "rng negative": (lambda: pt.mmd_test(A, B, rng=-1), ValueError, ["rng"]),
    "groups of the test": (
        lambda: pt.mmd_test(A, B, groups=LABELS),
        ValueError,
        ["groups", "(24,)", "(12,)"],
    ),
    "group in both samples": (
        lambda: pt.mmd_test(A, B, groups=np.arange(24) % 12),
        ValueError,
        ["row 0 of y", "row 0"],
    ),
    "strata of the test": (
        lambda: pt.energy_test(A, B, strata=np.arange(23)),
        ValueError,
        ["strata", "(24,)", "(23,)"],
    ),
    "group in two strata": (
        lambda: pt.mmd_test(A, B, groups=np.arange(24) // 2, strata=np.arange(24) % 2),
        ValueError,
        ["rows 0 and 1", "stratum"],
    ),
    # slices
    "p<1": (lambda: pt.wasserstein_1d(A, B, p=0.5), ValueError, ["p must be", ">= 1", "0.5"]),
    "p inf": (lambda: pt.sliced_wasserstein(A, B, p=np.inf), ValueError, ["p must be finite"]),
    "p string": (lambda: pt.sliced_wasserstein(A, B, p="2"), TypeError, ["p must be a number"]),
    "1-D and 2-D": (lambda: pt.wasserstein_1d(A[:, 0], B), ValueError, ["x is 1-D", "y is 2-D"]),
    "no projections": (
        lambda: pt.sliced_wasserstein(A, B, n_projections=0),
        ValueError,
        ["n_projections must be at least 1", "0"],
    ),
    "directions of another d": (
        lambda: pt.sliced_wasserstein(A, B, directions=np.ones((5, 3))),
        ValueError,
        ["directions has 5 rows", "6 columns"],
    ),
    "directions 1-D": (
        lambda: pt.sliced_energy(A, B, directions=np.ones(6)),
        ValueError,
        ["directions must be 2-D"],
    ),
    "directions NaN": (
        lambda: pt.sliced_energy(A, B, directions=np.full((6, 2), np.nan)),
        ValueError,
        ["directions contains NaN or Inf", "0"],
    ),
    "directions name": (
        lambda: pt.sliced_energy(A, B, directions="halton"),
        ValueError,
        ["directions", "'halton'", "gaussian, orthogonal, sobol, spiral"],
    ),
    "directions longer": (
        lambda: pt.sliced_wasserstein(A, B, directions=3 * np.eye(6)),
        ValueError,
        ["column 0 of directions has length 3", "normalize_directions=True"],
    ),
    "directions zero": (
        lambda: pt.sliced_wasserstein(
            A, B, directions=np.eye(6)[:, :2] * [1, 0], normalize_directions=True
        ),
        ValueError,
        ["column 1 of directions is zero"],
    ),
    "directions and n_rotations": (
        lambda: pt.sliced_wasserstein(A, B, directions=np.eye(6), n_rotations=2),
        ValueError,
        ["directions=", "n_rotations="],
    ),
    "more rotations than directions": (
        lambda: pt.sliced_wasserstein(A, B, n_projections=4, n_rotations=5),
        ValueError,
        ["n_rotations is 5", "n_projections is 4"],
    ),
    "spiral of six": (
        lambda: pt.sliced_wasserstein(A, B, method="spiral"),
        ValueError,
        ['method="spiral" is of d = 3', "6"],
    ),
    "direction_weights": (
        lambda: pt.sliced_wasserstein(A, B, n_projections=4, direction_weights=[1.0, 2.0]),
        ValueError,
        ["direction_weights", "(4,)", "(2,)"],
    ),
    "sphere d": (lambda: pt.sphere_directions(0, 3), ValueError, ["d must be at least 1", "0"]),
    "sphere n": (lambda: pt.sphere_directions(3, 2.5), TypeError, ["n must be an integer", "2.5"]),
    "sphere method": (
        lambda: pt.sphere_directions(3, 2, method="uniform"),
        ValueError,
        ["method", "'uniform'", "gaussian, orthogonal, sobol, spiral"],
    ),
    # losses
    "no temperature": (
        lambda: pt.clip_loss(A, B),
        ValueError,
        ["exactly one of temperature= and logit_scale=", "neither"],
    ),
    "temperature twice": (
        lambda: pt.info_nce(A, B, temperature=1.0, logit_scale=1.0),
        ValueError,
        ["exactly one of temperature= and logit_scale=", "both"],
    ),
    "temperature=0": (
        lambda: pt.clip_loss(A, B, temperature=0),
        ValueError,
        ["temperature", "> 0"],
    ),
    "tiny temperature": (
        lambda: pt.clip_loss(A, B, temperature=1e-320),
        ValueError,
        ["temperature", "not finite"],
    ),
    "logit_scale<0": (
        lambda: pt.info_nce(A, B, logit_scale=-2.0),
        ValueError,
        ["logit_scale", "> 0", "-2.0"],
    ),
    "unpaired": (
        lambda: pt.clip_loss(A, B[:7], temperature=1.0),
        ValueError,
        ["x has 12 rows and y has 7"],
    ),
    "fewer y": (
        lambda: pt.info_nce(A, B[:7], temperature=1.0),
        ValueError,
        ["x has 12 rows and y has 7"],
    ),
    "fewer y for siglip": (
        lambda: pt.siglip_loss(A, B[:7], temperature=1.0),
        ValueError,
        ["x has 12 rows and y has 7"],
    ),
    "bias": (
        lambda: pt.siglip_loss(A, B, temperature=1.0, bias=np.inf),
        ValueError,
        ["bias", "finite"],
    ),
    "bias of another kind": (
        lambda: pt.siglip_loss(A, B, temperature=1.0, bias=None),
        TypeError,
        ["bias must be a number"],
    ),
    "targets of another length": (
        lambda: pt.info_nce(A, B, targets=[1, 2], temperature=1.0),
        ValueError,
        ["targets", "(12,)", "(2,)"],
    ),
    "target out of range": (
        lambda: pt.info_nce(A, B, targets=np.arange(12) + 1, temperature=1.0),
        ValueError,
        ["targets[11] is 12", "0 to 11"],
    ),
    "negative target": (
        lambda: pt.info_nce(A, B, targets=np.arange(12) - 1, temperature=1.0),
        ValueError,
        ["targets[0] is -1"],
    ),
    "float targets": (
        lambda: pt.info_nce(A, B, targets=np.arange(12.0), temperature=1.0),
        TypeError,
        ["targets must be integers", "float64"],
    ),
    "grad_rows without grad": (
        lambda: pt.clip_loss(A, B, temperature=1.0, grad_rows=np.ones(12)),
        ValueError,
        ["grad_rows", "grad=True"],
    ),
    "grad_rows of another length": (
        lambda: pt.clip_loss(A, B, temperature=1.0, grad=True, grad_rows=np.ones(3)),
        ValueError,
        ["grad_rows", "(12,)", "(3,)"],
    ),
    # the rest
    "backend": (
        lambda: pt.set_backend("fortran"),
        ValueError,
        ["'fortran'", "native, numpy, cuda, auto"],
    ),
    "no threads": (lambda: pt.set_num_threads(0), ValueError, ["n must be at least 1", "0"]),
    "threads float": (lambda: pt.set_num_threads(2.5), TypeError, ["n must be an integer"]),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    call, error, fragments = BAD_CALLS[name]
    with pytest.raises(error) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_public_names_are_covered():
    """A new public function belongs in `FUNCTIONS`, and its own faults in `BAD_CALLS`."""
    without_data = {"backend", "set_backend", "set_num_threads", "show_config", "sphere_directions"}
    functions = {
        name
        for name in pt.__all__
        if callable(getattr(pt, name)) and not isinstance(getattr(pt, name), type)
    }
    without_data |= {"power"}  # whose data a function makes
    without_data |= {"sliced_wasserstein_sphere"}  # of rows of length 1: tests/slices
    of_tables = {"drift", "drift_over_time", "encode"}  # of columns of all kinds: tests/tables
    assert functions - without_data - of_tables == {name.split()[0] for name in FUNCTIONS}


# Where a number is taken, and what it decides.
NUMBERS = {
    "temperature": lambda v: pt.info_nce(A, B, temperature=v(0.75)).loss,
    "logit_scale": lambda v: pt.clip_loss(A, B, logit_scale=v(1.5)).loss,
    "margin": lambda v: pt.info_nce(A, B, logit_scale=0.1, margin=v(0.5)).loss,
    "label_smoothing": lambda v: pt.clip_loss(A, B, logit_scale=0.1, label_smoothing=v(0.5)).loss,
    "bias": lambda v: pt.siglip_loss(A, B, logit_scale=0.1, bias=v(-2.0)).loss,
    "label_width": lambda v: pt.supcon_loss(A, A[:, 0], logit_scale=0.1, label_width=v(2.0)).loss,
    "gamma of circle": lambda v: pt.circle_loss(A, A[:, 0] > 4, gamma=v(0.5)).loss,
    "base": lambda v: pt.multi_similarity_loss(A, A[:, 0] > 4, base=v(0.5)).loss,
    "sigma": lambda v: pt.mmd(A, B, kernel=pt.Gaussian(v(3.0))),
    "gamma": lambda v: pt.mmd(A, B, kernel=pt.Laplace(gamma=v(0.25))),
    "alpha": lambda v: pt.mmd(A, B, kernel=pt.RationalQuadratic(v(2.0), v(1.5))),
    "c": lambda v: pt.mmd(A, B, kernel=pt.InverseMultiquadric(v(2.0), v(0.5))),
    "nu": lambda v: pt.mmd(A, B, kernel=pt.Matern(v(2.0), nu=v(2.5))),
    "coef0": lambda v: pt.mmd(A, B, kernel=pt.Polynomial(2, v(0.5), v(1.25))),
    "weight": lambda v: pt.mmd(A, B, kernel=pt.Gaussian(1.0) * v(0.5)),
    "exponent": lambda v: pt.energy_distance(A, B, exponent=v(1.5)),
    "p": lambda v: pt.wasserstein_1d(A[:, 0], B[:, 0], p=v(2.0)),
    "metric_params": lambda v: pt.pairwise_distances(
        A, B, metric="minkowski", metric_params={"p": v(2.5)}
    ).sum(),
    "radius": lambda v: pt.radius_count(A, B, v(3.0)).sum(),
    "quantile": lambda v: pt.median_distance(A, quantile=v(0.25)),
    "bandwidths": lambda v: (
        pt.mmd_aggregated_test(A, B, bandwidths=[v(1.0), v(4.0)], n_permutations=50, rng=0).pvalue
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_may_be_an_array_of_no_dimensions(name):
    call = NUMBERS[name]
    assert call(np.array) == call(np.float64) == call(float)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_may_be_a_tensor(name):
    import torch

    call = NUMBERS[name]
    assert call(torch.tensor) == call(float)
    assert call(lambda v: torch.nn.Parameter(torch.tensor(v)) * 1) == call(float)
    assert call(lambda v: torch.tensor(v, dtype=torch.bfloat16)) == call(float)


@pytest.mark.parametrize("value", [np.array(True), np.array([1.0]), np.array(1j), 1j])
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match="sigma must be a number"):
        pt.Gaussian(value)


def test_kernels_of_equal_parameters_are_equal():
    assert pt.Gaussian(np.array(2.0)) == pt.Gaussian(2.0)
    assert repr(pt.Gaussian(np.array(2.0))) == repr(pt.Gaussian(2.0))


# Arguments beside the sets: w gives 12 numbers in [0.1, 1.1], m a matrix of so many columns.
SIDE_ARRAYS = {
    "weights": lambda w, m: pt.mmd(A, B, x_weights=w()),
    "directions": lambda w, m: pt.sliced_wasserstein(
        A, B, directions=m(9), normalize_directions=True
    ),
    "radius": lambda w, m: pt.radius_count(A, B, 3 * w()),
    "grad_rows": lambda w, m: pt.clip_loss(A, B, temperature=1.0, grad=True, grad_rows=w()).grad_x,
    "temperature": lambda w, m: pt.info_nce(A, B, logit_scale=w(), normalize=True).per_row,
    "weights of rows": lambda w, m: pt.clip_loss(A, B, temperature=9.0, weights=w()).loss,
    "column_logits": lambda w, m: pt.info_nce(A, B, temperature=9.0, column_logits=w()).per_row,
    "labels": lambda w, m: pt.supcon_loss(A, w(), temperature=9.0, label_width=0.3).per_row,
    "v": lambda w, m: pt.kernel_matvec(A, B, w(), kernel=G),
    "log_weights": lambda w, m: pt.kernel_logsumexp(A, B, kernel=G, log_weights=w()),
    "w": lambda w, m: pt.pairwise_distances(
        A, B, metric="weuclidean", metric_params={"w": w()[:6]}
    ),
    "VI": lambda w, m: pt.pairwise_distances(
        A, B, metric="mahalanobis", metric_params={"VI": m(6) @ m(6).T}
    ),
    "ranges": lambda w, m: pt.pairwise_distances(
        A, B, metric="gower", metric_params={"ranges": w()[:6]}
    ),
    "times": lambda w, m: pt.knn(A, B, 2, query_times=w() + 1, reference_times=w()).indices,
    "bandwidths": lambda w, m: (
        pt.mmd_aggregated_test(A, B, bandwidths=w()[:2], n_permutations=50, rng=0).pvalue
    ),
}


@pytest.mark.parametrize(
    "kind", ["ml_dtypes", pytest.param("torch", marks=pytest.mark.oracle("torch"))]
)
@pytest.mark.parametrize("name", SIDE_ARRAYS)
def test_arguments_in_bfloat16(name, kind):
    rng = np.random.default_rng(1)
    numbers, matrix = rng.random(12) + 0.1, rng.integers(-2, 3, (6, 9)).astype(float)

    def given(a):
        return a.astype(ml_dtypes.bfloat16)

    if kind == "torch":
        import torch

        def given(a):
            return torch.tensor(a).to(torch.bfloat16)

    numbers = numbers.astype(ml_dtypes.bfloat16).astype(float)
    call = SIDE_ARRAYS[name]
    found = call(lambda: given(numbers), lambda columns: given(matrix[:, :columns]))
    right = call(
        lambda: np.float32(numbers) if kind == "ml_dtypes" else numbers,
        lambda columns: matrix[:, :columns],
    )
    np.testing.assert_allclose(np.asarray(found), right, rtol=1e-2)
