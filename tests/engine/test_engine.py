"""How the engine works, whatever it computes: threads, tiles, ISAs, interruption, memory.

Nearly every test runs all `CALLS`: one call of each public function that computes.
"""

import concurrent.futures
import gc
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import pairtile as pt
from backends import forced_tile, on_backend
from calls import (
    CALLS,
    LARGE,
    ORDERED,
    Y64,
    U,
    V,
    W,
    X,
    Y,
    assert_near,
    assert_same_bits,
    fields,
)
from processes import PEAK, measures_memory, run_python

pytestmark = pytest.mark.native


@pytest.fixture(autouse=True)
def native():
    with on_backend("native"):
        yield


# --- the same answer -------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [(0, 0), (1, 1), (20, 64)])
@pytest.mark.parametrize("name", CALLS)
def test_same_bits_for_any_number_of_workers(name, tile):
    with forced_tile(*tile):
        alone = CALLS[name](1)
        for workers in (2, 3, 7, 7):
            assert_same_bits(CALLS[name](workers), alone)


@pytest.mark.parametrize("name", LARGE)
def test_same_bits_on_large_sets(name):
    alone = LARGE[name](1)
    for workers in (2, 3):
        assert_same_bits(LARGE[name](workers), alone)


@pytest.mark.parametrize("tile", [(1, 1), (14, 32), (33, 100), (500, 40)])
@pytest.mark.parametrize("name", CALLS)
def test_forced_tiles(name, tile):
    chosen = CALLS[name](2)
    with forced_tile(*tile):
        forced = CALLS[name](2)
    (assert_same_bits if name in ORDERED else assert_near)(forced, chosen)


@pytest.mark.host
@pytest.mark.parametrize("isa", ["v1", "sse", "V3", "neon-but-better"])
def test_an_unsupported_instruction_set_is_an_import_error(isa):
    said = run_python(
        """
        try:
            import pairtile
        except ImportError as error:
            print(error)
        """,
        PAIRTILE_ISA=isa,
        PAIRTILE_BACKEND="",
    )
    from pairtile import _native

    assert f"PAIRTILE_ISA='{isa}'" in said
    assert all(known in said for known in _native.isas())


@pytest.mark.host
def test_many_threads_call_at_once():
    """Also while another thread changes the settings that every call reads."""
    from pairtile import _native

    names = list(CALLS)
    right = [CALLS[name](1) for name in names]
    order = np.random.default_rng(4).permutation(np.repeat(np.arange(len(names)), 4))
    done = threading.Event()

    def change_settings():
        while not done.wait(1e-3):
            pt.set_num_threads(1)
            pt.set_num_threads(None)
            pt.set_backend("native")
            _native._testing.set_tile(0, 0)
            _native._testing.set_screen("")

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        changes = pool.submit(change_settings)
        try:
            found = list(pool.map(lambda i: CALLS[names[i]](2 if i % 2 else None), order))
        finally:
            done.set()
        changes.result()
    for i, result in zip(order, found, strict=True):
        assert_same_bits(result, right[i])


@pytest.mark.host
def test_a_forked_child_can_call():
    right = [call(2) for call in CALLS.values()]

    def child():
        with on_backend("native"):
            for call, result in zip(CALLS.values(), right, strict=True):
                assert_same_bits(call(2), result)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    assert not hung
    assert process.exitcode == 0


def test_workers():
    """None is the default of set_num_threads, −1 every core, and no number is too many."""
    right = pt.knn(X, Y, 3, workers=1)
    try:
        for setting in (1, 3, -1, None):
            pt.set_num_threads(setting)
            assert_same_bits(pt.knn(X, Y, 3), right)
    finally:
        pt.set_num_threads(None)
    for workers in (-1, 100_000, 2**40):
        assert_same_bits(pt.knn(X, Y, 3, workers=workers), right)
        assert pt.mmd(X, Y, workers=workers) == pt.mmd(X, Y, workers=1)


@pytest.mark.host
def test_inputs_are_never_written_to():
    """Read-only and writable arrays, whole and strided, keep their bytes."""
    before = [a.copy() for a in (X, Y, Y64, V, W, U)]
    for call in CALLS.values():
        call(2)
    for a, b in zip((X, Y, Y64, V, W, U), before, strict=True):
        assert a.tobytes() == b.tobytes()


# --- interruption and progress ---------------------------------------------------------------


def random_float32(n, d):
    return np.random.default_rng(5).random((n, d), dtype=np.float32)


# Calls that take far longer than any test waits, each with the sizes of its two sets.
LONG = {
    "knn": lambda x, y, **o: pt.knn(x, y, 10, **o),
    "knn ties": lambda x, y, **o: pt.knn(x[:20_000] * 0, y * 0, 10, **o),
    "knn near ties": lambda x, y, **o: pt.knn(
        x[:20_000] * np.float32(1e-3) + 1, y + 1000 * (np.arange(len(y)) % 2)[:, None], 10, **o
    ),
    "knn manhattan": lambda x, y, **o: pt.knn(x, y, 10, metric="manhattan", **o),
    "knn long": lambda x, y, **o: pt.knn(x[:3000], y, 3000, **o),
    "radius_count": lambda x, y, **o: pt.radius_count(x, y, 0.5, **o),
    "radius_count manhattan": lambda x, y, **o: pt.radius_count(x, y, 2.0, metric="manhattan", **o),
    "radius_neighbors": lambda x, y, **o: pt.radius_neighbors(x, y, 0.3, **o),
    "precision_recall_density_coverage": lambda x, y, **o: pt.precision_recall_density_coverage(
        x, y, **o
    ),
    "pairwise_distances": lambda x, y, **o: pt.pairwise_distances(
        np.tile(x[:5000], 30), np.tile(y[:5000], 30), **o
    ),
    "median_distance": lambda x, y, **o: pt.median_distance(x, y, **o),
    "mmd": lambda x, y, **o: pt.mmd(x, y, kernel=pt.Gaussian(1.0), **o),
    "mmd polynomial": lambda x, y, **o: pt.mmd(x, y, kernel="polynomial", **o),
    "energy_distance": lambda x, y, **o: pt.energy_distance(x, y.astype(np.float64), **o),
    "witness": lambda x, y, **o: pt.witness(x, x, y, kernel=pt.Laplace(1.0), **o),
    "kernel_sum": lambda x, y, **o: pt.kernel_sum(x, kernel=pt.Laplace(1.0, norm="l1"), **o),
    "mmd_test": lambda x, y, **o: pt.mmd_test(
        x[:30_000], y[:30_000], kernel=pt.Gaussian(1.0), n_permutations=99, **o
    ),
    "distance_covariance": lambda x, y, **o: pt.distance_covariance(x, y, **o),
    "independence_test": lambda x, y, **o: pt.independence_test(x[:30_000], y[:30_000], **o),
    "independence_test on lines": lambda x, y, **o: pt.independence_test(x[:, :1], y[:, :1], **o),
    "sliced_wasserstein": lambda x, y, **o: pt.sliced_wasserstein(
        x, y, n_projections=20_000, return_gradient=True, **o
    ),
    "sliced_energy": lambda x, y, **o: pt.sliced_energy(
        x, y, n_projections=20_000, return_gradient=True, **o
    ),
    # of equal samples it ends at once
    "max_sliced_wasserstein": lambda x, y, **o: pt.max_sliced_wasserstein(
        x, y**2, max_iter=20_000, tol=0, **o
    ),
    "min_sliced_plan": lambda x, y, **o: pt.min_sliced_plan(x, y, n_projections=20_000, **o),
    "expected_sliced_plan": lambda x, y, **o: pt.expected_sliced_plan(
        x, y, n_projections=20_000, **o
    ),
    "wasserstein_1d": lambda x, y, **o: pt.wasserstein_1d(
        np.tile(x[:50_000], 60), np.tile(y[:49_999], 60), p=3, **o
    ),
    "info_nce": lambda x, y, **o: pt.info_nce(x, y, temperature=1.0, grad=True, **o),
    "clip_loss": lambda x, y, **o: pt.clip_loss(x, y, temperature=1.0, grad=True, **o),
}


@pytest.fixture(scope="module")
def large():
    return random_float32(300_000, 16), random_float32(300_000, 16)


def seconds_to_stop(call, delay):
    """From Ctrl-C after `delay` seconds of the call to KeyboardInterrupt out of it."""
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, interrupt)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
        stopped = time.monotonic()
    finally:
        timer.join()
    return stopped - sent[0]


@pytest.mark.host
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c(name, large):
    # The best of a few tries: on a busy machine the scheduler alone takes its time.
    for delay in (0.15, 0.4):
        tries = []
        while not tries or (min(tries) > 0.2 and len(tries) < 4):
            tries.append(seconds_to_stop(lambda: LONG[name](*large, workers=2), delay))
        assert min(tries) <= 0.2
    assert_same_bits(pt.knn(X, Y, 3), pt.knn(X, Y, 3, workers=1))


@pytest.mark.host
@pytest.mark.parametrize("name", LONG)
def test_an_exception_in_progress_aborts(name, large):
    class Stop(Exception):
        pass

    def progress(done, total):
        assert threading.current_thread() is threading.main_thread()
        raise Stop(done, total)

    start = time.monotonic()
    with pytest.raises(Stop) as stop:
        LONG[name](*large, workers=2, progress=progress)
    assert time.monotonic() - start < 5
    done, total = stop.value.args
    assert type(done) is type(total) is int
    assert 0 <= done < total


@pytest.mark.host
def test_interrupted_again_and_again():
    """No thread, lock or state survives an interrupted call."""
    x = random_float32(100_000, 8)
    threads = threading.active_count()
    names = ["knn", "mmd", "median_distance", "sliced_energy", "clip_loss"]
    for round_ in range(4):
        for name in names:
            seconds_to_stop(lambda name=name: LONG[name](x, x, workers=3), 0.02 + 0.03 * round_)
    assert threading.active_count() == threads
    status = Path("/proc/self/status")
    if status.exists() and threads == 1:
        (count,) = (line for line in status.read_text().splitlines() if line.startswith("Threads"))
        # scipy's and scikit-learn's BLAS keep theirs
        assert int(count.split()[1]) < threads + 64


MEDIUM = {
    "knn": lambda x, y, **o: pt.knn(x, y, 10, **o),
    "radius_neighbors": lambda x, y, **o: pt.radius_neighbors(x, y, 0.5, **o),
    "precision_recall_density_coverage": lambda x, y, **o: pt.precision_recall_density_coverage(
        x, y, **o
    ),
    "median_distance": lambda x, y, **o: pt.median_distance(x, y, **o),
    "mmd": lambda x, y, **o: pt.mmd(x, y, **o),
    "energy_distance": lambda x, y, **o: pt.energy_distance(x, y, **o),
    "witness": lambda x, y, **o: pt.witness(x, x, y, **o),
    "mmd_test": lambda x, y, **o: pt.mmd_test(x[:5000], y[:5000], n_permutations=99, **o),
    "sliced_wasserstein": lambda x, y, **o: pt.sliced_wasserstein(x, y, n_projections=900, **o),
    "wasserstein_1d": lambda x, y, **o: pt.wasserstein_1d(x, y, **o),
    "clip_loss": lambda x, y, **o: pt.clip_loss(
        x[:9000], y[:9000], temperature=1.0, grad=True, **o
    ),
    "pairwise_distances": lambda x, y, **o: pt.pairwise_distances(x[:3000], y[:3000], **o),
}


@pytest.mark.host
@pytest.mark.parametrize("name", MEDIUM)
def test_progress(name):
    told = []
    x = random_float32(15_000, 16)
    MEDIUM[name](x, x[::-1], workers=2, progress=lambda *numbers: told.append(numbers))
    assert told[-1][0] == told[-1][1] > 0
    assert all(0 <= done <= total == told[-1][1] for done, total in told)
    done = [part for part, _ in told]
    assert done == sorted(done)
    quiet = MEDIUM[name](x, x[::-1], workers=2)
    loud = MEDIUM[name](x, x[::-1], workers=2, progress=lambda *_: None)
    if name not in ("mmd_test", "sliced_wasserstein"):  # random, unless seeded
        parts = [quiet, loud]
        if not isinstance(quiet, tuple):
            parts = [fields(r) if hasattr(r, "loss") else np.atleast_1d(r) for r in parts]
        assert_same_bits(*parts)


# --- memory ----------------------------------------------------------------------------------


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.host
@measures_memory
def test_nothing_leaks():
    """Neither results nor what an aborted call had allocated; a callable is let go."""

    def progress(done, total):
        raise ZeroDivisionError

    bad = X.copy()
    bad[100, 3] = np.nan

    def everything():
        for call in CALLS.values():
            call(2)
        for call in (
            lambda: pt.knn(X, bad, 3),
            lambda: pt.knn(X, Y, 3, progress=progress),
            lambda: pt.mmd_test(X, Y, n_permutations=9, progress=progress),
            lambda: pt.clip_loss(Y, X, temperature=1.0),
            lambda: pt.median_distance(X, bad),
        ):
            with pytest.raises((ValueError, ZeroDivisionError)):
                call()

    for _ in range(4):
        everything()
    gc.collect()
    before = resident_bytes()
    references = [sys.getrefcount(a) for a in (X, Y, Y64, V, progress)]
    for _ in range(10):
        everything()
    gc.collect()
    assert resident_bytes() - before < 3 << 20
    assert [sys.getrefcount(a) for a in (X, Y, Y64, V, progress)] == references


@pytest.mark.host
@measures_memory
def test_memory_is_tiles():
    """Every sweep over 2·10⁸ pairs and more fits in 100 MB beyond inputs and results."""
    said = run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent("""
        x, y = rng.random((2, 15_000, 16), dtype=np.float32)
        pt.knn(x[:50], y[:50], 3)
        calls = {
            "knn": (lambda: pt.knn(x, y, 10), 15_000 * 10 * 12),
            "knn k=1000": (lambda: pt.knn(x[:2000], y, 1000), 2000 * 1000 * 12),
            "radius_count": (lambda: pt.radius_count(x, y, 1.0), 15_000 * 8),
            "prdc": (lambda: pt.precision_recall_density_coverage(x, y), 0),
            "mmd": (lambda: pt.mmd(x, y), 0),
            "energy": (lambda: pt.energy_distance(x, y), 0),
            "median": (lambda: pt.median_distance(x), 0),
            "witness": (lambda: pt.witness(x, x, y), 0),
            "mmd_test": (lambda: pt.mmd_test(x[:4000], y[:4000], n_permutations=99), 0),
            "dcov": (lambda: pt.distance_covariance(x, y), 0),
            "dependence": (lambda: pt.independence_test(x[:4000], y[:4000], n_permutations=9), 0),
            "clip_loss": (
                lambda: pt.clip_loss(x[:9000], y[:9000], temperature=1.0, grad=True),
                9000 * 16 * 4 * 2,
            ),
            "sliced": (
                lambda: pt.sliced_wasserstein(x, y, n_projections=500, return_gradient=True),
                15_000 * 16 * 4 * 2,
            ),
        }
        for name, (call, result) in calls.items():
            print(name, growth(call) - result, sep=":")
        """)
    )
    used = {name: int(number) for name, number in (line.split(":") for line in said.splitlines())}
    assert len(used) == 13
    assert {name: number for name, number in used.items() if number > 100e6} == {}


@measures_memory
@pytest.mark.slow
def test_memory_of_a_large_search():
    said = run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent("""
        x, y = rng.random((2, 200_000, 16), dtype=np.float32)
        found = pt.knn(x, y, 10)
        assert (np.diff(found.distances, axis=1) >= 0).all()
        print(status("VmHWM"))
        """)
    )
    assert int(said) < 1e9


@measures_memory
@pytest.mark.slow
def test_memory_of_a_large_loss():
    """CLIP loss with gradients: inputs, gradients and at most 64 MB."""
    said = run_python(
        textwrap.dedent(PEAK)
        + textwrap.dedent("""
        x, y = rng.normal(size=(2, 8192, 512)).astype(np.float32)
        pt.clip_loss(x[:50], y[:50], temperature=1.0, grad=True)
        print(growth(lambda: pt.clip_loss(x, y, temperature=20.0, grad=True)))
        print(growth(lambda: pt.clip_loss(x, y, temperature=0.05, normalize=True, grad=True)))
        """)
    )
    gradients = 2 * 8192 * 512 * 4
    plain, normalized = map(int, said.split())
    assert plain < gradients + 64e6
    assert normalized < gradients + 64e6


@pytest.mark.host
def test_an_installation_without_the_gpu_module_says_so():
    """As an import system that finds nothing does, which `from pairtile import _cuda` hides."""
    assert "cuda" not in run_python("""
        import sys
        from importlib.machinery import PathFinder

        class WithoutCuda(PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                if name == "pairtile._cuda":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, WithoutCuda)
        import pairtile._backends.choose
        print(pairtile._backends.choose.config()["backends"])
    """)
