"""Words of other packages: what is taken under another name, and what a wrong word is answered."""

import inspect
import os
import pickle
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

import pairtile as pt
from pairtile._definitions import metrics
from pairtile._front import scalars, threads, words
from pairtile.kernels import kernel
from pairtile.slices import controls, directions
from pairtile.two_sample import aggregated, nulls, statistics
from processes import run_python

pytestmark = pytest.mark.host

X, Y = np.random.default_rng(0).normal(size=(2, 20, 3))
LABELS = np.arange(20) // 4

FUNCTIONS = {name: one for name in pt.__all__ if inspect.isfunction(one := getattr(pt, name))}
METHODS = {
    f"{name}.{method}": function
    for name in pt.__all__
    if inspect.isclass(one := getattr(pt, name))
    for method, function in vars(one).items()
    if inspect.isfunction(function) and not method.startswith("_")
}
CLASSES = {
    name: one
    for name in pt.__all__
    if inspect.isclass(one := getattr(pt, name)) and not issubclass(one, tuple)
    if one is not pt.Kernel
}


def said_by(call, *args, **keywords):
    with pytest.raises(TypeError) as caught:
        call(*args, **keywords)
    return str(caught.value)


# --- keywords --------------------------------------------------------------------------------

FOREIGN = {
    "random_state": {"rng"},
    "seed": {"rng"},
    "n_jobs": {"workers"},
    "n_neighbors": {"k"},
    "nearest_k": {"k"},
    "n_resamples": {"n_permutations", "n_bootstrap"},
    "n_perm": {"n_permutations", "n_bootstrap"},
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS, *CLASSES])
def test_a_keyword_of_another_package(name):
    """Of every function, method and constructor: ours if it has it, else what it is elsewhere."""
    call = {**FUNCTIONS, **METHODS, **CLASSES}[name]
    known = set(inspect.signature(call).parameters)
    for word, ours in FOREIGN.items():
        if word in known:
            continue
        said = said_by(call, **{word: 1})
        assert said.startswith(f"{name}() got an unexpected keyword argument {word!r}; ")
        if here := ours & known:
            assert said.endswith(f"; here it is {here.pop()}")
        else:
            assert said.endswith(", which it does not take")
            assert all(f" {one}" in said for one in ours)


def test_a_keyword_that_is_nearly_right():
    for call, word, meant in (
        (pt.knn, "metrics", "metric"),
        (pt.mmd_test, "n_permutation", "n_permutations"),
        (pt.mmd, "Kernel", "kernel"),
        (pt.NeighborIndex, "metric_param", "metric_params"),
        (pt.Gaussian, "Sigma", "sigma"),
    ):
        assert said_by(call, **{word: 1}).endswith(f"{word!r}; did you mean {meant}?")
    said = said_by(pt.Gaussian, bandwidth=2.0)
    assert (
        said == "Gaussian() got an unexpected keyword argument 'bandwidth'; it takes sigma, gamma"
    )
    assert said_by(pt.backend, of=1).endswith("; it takes none")


def test_other_errors_are_as_python_has_them():
    assert said_by(pt.knn) == "knn() missing 1 required positional argument: 'queries'"
    assert "takes 2 positional arguments but 3" in said_by(pt.mmd, X, Y, "rbf")
    assert "multiple values for argument 'y'" in said_by(pt.mmd, X, Y, y=Y)

    def fails(**keywords):
        raise TypeError("from inside")

    assert said_by(words.hinted(fails, "fails"), word=1) == "from inside"

    def fails_deeper(*, good):
        fails(wrong=good)

    assert said_by(words.hinted(fails_deeper, "fails_deeper"), good=1) == "from inside"


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS, *CLASSES])
def test_hints_leave_signatures_alone(name):
    call = {**FUNCTIONS, **METHODS, **CLASSES}[name]
    plain = call.__init__ if inspect.isclass(call) else call
    plain = inspect.unwrap(plain)
    assert plain.__doc__ == (call.__init__ if inspect.isclass(call) else call).__doc__
    kinds = {one.kind for one in inspect.signature(call).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.getsource(call).lstrip().startswith(("def ", "@", "class "))


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_pickles_by_its_public_name(name):
    one = getattr(pt, name)
    assert pickle.loads(pickle.dumps(one)) is one
    if name in FUNCTIONS:
        assert f"{one.__module__}.{one.__qualname__}" == f"pairtile.{name}"


# --- metrics, kernels and other words --------------------------------------------------------

METRICS = {
    "l2": "euclidean",
    "l1": "manhattan",
    "cityblock": "manhattan",
    "cos": "cosine",
    "dot": "inner_product",
    "ip": "inner_product",
}
KERNELS = {"rbf": "gaussian", "cos": "cosine", "dot": "linear", "ip": "linear"}


def same(found, right):
    for a, b in zip(found, right, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("alias", METRICS)
def test_metrics_by_other_names(alias):
    ours = METRICS[alias]
    calls = [
        lambda metric: pt.knn(X, Y, 3, metric=metric),
        lambda metric: [pt.kth_distance(X, Y, 3, metric=metric)],
        lambda metric: [pt.pairwise_distances(X, Y, metric=metric)],
        lambda metric: pt.NeighborIndex(Y, metric=metric).knn(X, 3),
        lambda metric: pt.NeighborIndex(Y, metric=metric).metric,
    ]
    if ours != "inner_product":
        calls += [
            lambda metric: [pt.radius_count(X, Y, 0.8, metric=metric)],
            lambda metric: pt.radius_neighbors(X, Y, 0.8, metric=metric),
            lambda metric: pt.NeighborIndex(Y, metric=metric).radius_neighbors(X, 0.8),
            lambda metric: pt.precision_recall_density_coverage(X, Y, metric=metric),
            lambda metric: [pt.realism(X, Y, metric=metric)],
            lambda metric: pt.probabilistic_precision_recall(X, Y, metric=metric),
            lambda metric: [pt.authenticity(X, Y, metric=metric)],
            lambda metric: pt.distance_to_closest_record(X, Y, metric=metric),
        ]
    for call in calls:
        same(call(alias), call(ours))
    if ours in ("euclidean", "cosine"):
        found, right = (pt.triplet_loss(X, LABELS, metric=m).loss for m in (alias, ours))
        assert found == right
    else:
        with pytest.raises(ValueError, match=f"unknown metric '{alias}'"):
            pt.triplet_loss(X, LABELS, metric=alias)


@pytest.mark.parametrize("alias", KERNELS)
def test_kernels_by_other_names(alias):
    ours = KERNELS[alias]
    assert pt.mmd(X, Y, kernel=alias) == pt.mmd(X, Y, kernel=ours)
    assert pt.hsic(X, Y, x_kernel=alias) == pt.hsic(X, Y, x_kernel=ours)
    if ours == "gaussian":
        found, right = (
            pt.mmd_aggregated_test(X, Y, kernels=[name], n_permutations=9, rng=0)
            for name in (alias, ours)
        )
        assert found == right


def test_laplacian_has_two_meanings():
    for call in (
        lambda: pt.mmd(X, Y, kernel="laplacian"),
        lambda: pt.hsic(X, Y, y_kernel="laplacian"),
        lambda: pt.mmd_aggregated_test(X, Y, kernels=("laplacian",)),
    ):
        with pytest.raises(ValueError, match=r"'laplacian'.* l1 .* l2 .*'laplace'.*norm='l1'"):
            call()


def test_words_that_are_nearly_right():
    for call, meant in (
        (lambda: pt.knn(X, k=2, metric="euklidean"), "euclidean"),
        (lambda: pt.knn(X, k=2, metric="Chebyshev"), "chebyshev"),
        (lambda: pt.mmd(X, Y, kernel="gausssian"), "gaussian"),
        (lambda: pt.mmd(X, Y, estimator="unbiassed"), "unbiased"),
        (lambda: pt.mmd_test(X, Y, method="permutations"), "permutation"),
        (lambda: pt.knn(X, k=2, precision="float_64"), "float64"),
    ):
        with pytest.raises(ValueError, match=f"did you mean '{meant}'\\? known: "):
            call()
    with pytest.raises(ValueError, match="unknown metric 'zebra'; known: euclidean, "):
        pt.knn(X, k=2, metric="zebra")


def test_the_type_checker_knows_the_same_words():
    known = {
        words.Metric: {*metrics.METRICS, *METRICS},
        words.KernelName: {*kernel._NAMED, *KERNELS},
        words.AggregatedKernel: {*aggregated._FAMILIES, "rbf"},
        words.NullMethod: {*nulls.METHODS},
        words.DirectionMethod: {*directions.METHODS},
        words.SlicedMethod: {"auto", *directions.METHODS},
        words.SlicedControl: {*controls.CONTROLS},
        words.Precision: {*scalars.PRECISIONS},
        words.Estimator: {*statistics.ESTIMATORS},
    }
    for literal, taken in known.items():
        assert set(get_args(literal)) == taken
    assert METRICS == words.METRICS
    assert KERNELS == words.KERNELS


# --- memory_limit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("1.5 GB", 15 * 10**8),
        ("512MiB", 512 * 2**20),
        ("64 kb", 64_000),
        ("3K", 3000),
        ("2TiB", 2**41),
        (" 1000 ", 1000),
        ("100B", 100),
        (".5GiB", 2**29),
        ("9" * 400 + "TB", 2**62),
        (10**30, 2**62),
    ],
)
def test_memory_limits_in_words(text, size):
    assert scalars.memory_limit(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1XB", "1 GBs", "-1GB", "1e9", "iB", "1,5GB", "5iB"])
def test_memory_limits_that_are_none(text):
    with pytest.raises(ValueError, match=r"^memory_limit must be .*'1GB'.*got"):
        pt.knn(X, k=2, memory_limit=text)


def test_memory_limits_that_are_too_small():
    with pytest.raises(ValueError, match="memory_limit must be at least 1, got 0"):
        pt.knn(X, k=2, memory_limit="0GB")
    same(pt.knn(X, k=2, memory_limit="1GB"), pt.knn(X, k=2))
    same(pt.knn(X, k=2, memory_limit="99999999TB"), pt.knn(X, k=2))


# --- threads ---------------------------------------------------------------------------------


def group(root, line, files):
    """A machine's files: the groups of a process, and what they grant."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return threads.granted_cores.__wrapped__(str(root))


@pytest.mark.parametrize(
    ("line", "files", "granted"),
    [
        # a container of version 2, which sees its group as the top
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, np.inf),
        ("0::/", {}, np.inf),
        # a service below a slice: the least of the two
        ("0::/a.slice/b", {"a.slice/cpu.max": "200000 100000", "a.slice/b/cpu.max": "max 1"}, 2),
        ("0::/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        # version 1, on the host and in a container that does not see the path
        (
            "7:cpu,cpuacct:/docker/x\n5:cpuset:/other",
            {
                "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        ("4:cpu:/x", {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, np.inf),
        # another controller's files are none of ours
        ("3:cpuset:/", {"cpuset/cpu.cfs_quota_us": "1", "cpuset/cpu.cfs_period_us": "1"}, np.inf),
        ("0::/", {"cpu.max": "nonsense"}, np.inf),
    ],
)
def test_cores_that_control_groups_grant(tmp_path, line, files, granted):
    assert group(tmp_path, line, files) == granted


def test_without_control_groups(tmp_path):
    assert threads.granted_cores.__wrapped__(str(tmp_path)) == np.inf


@pytest.mark.parametrize(("granted", "used"), [(np.inf, 8), (1.5, 2), (2.0, 2), (0.1, 1), (90, 8)])
def test_a_quota_counts_in_whole_cores(monkeypatch, granted, used):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "granted_cores", lambda: granted)
    assert threads.allowed_cores() == threads.resolve_workers(-1) == used
    assert threads.resolve_workers(5) == 5  # what was asked for


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("3", "3"), ("", "all"), ("-1", "all"), ("0", "ImportError"), ("many", "ImportError")],
)
def test_threads_from_the_environment(setting, expected):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pairtile._front import threads as t\n"
            "n = t.resolve_workers(None)\n"
            "print('all' if t._default == -1 and n == t.allowed_cores() else n)",
        ],
        env={**os.environ, "PAIRTILE_NUM_THREADS": setting},
        capture_output=True,
        text=True,
        check=False,
    )
    if expected == "ImportError":
        assert f"ImportError: PAIRTILE_NUM_THREADS={setting!r} must be" in done.stderr
    else:
        assert done.stdout.strip() == expected, done.stderr


@pytest.mark.native
def test_an_import_loads_little_beside_numpy():
    """Hints, tables and frames cost those who import the engine next to nothing."""
    said = run_python(
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import pairtile\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    loaded = set(said.split())
    assert "pairtile.kernels.kernel" in loaded
    heavy = {"decimal", "difflib", "html", "pandas", "pathlib", "polars", "pyarrow", "scipy"}
    heavy |= {"sklearn", "torch", "tqdm", "urllib.parse", "pairtile.app", "pairtile.tables"}
    assert loaded & heavy == set()
