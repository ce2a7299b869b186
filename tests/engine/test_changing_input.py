"""Arrays that another thread changes during a call, and memory maps whose file becomes shorter.

Any answer or an error is right; a crash or a call that does not end is not. Each case runs in a
process of its own, which would be gone.
"""

import pytest

from calls import CALLS
from processes import run_python

# What the rows become and are again: without a value, beyond float32, nearer to each other, whole.
CHANGES = {
    "nan": "np.full_like(a, np.nan)",
    "huge": "a * a.dtype.type(1e30)",
    "near": "a / a.dtype.type(1000)",
    "whole": "np.rint(50 * a)",
}


def change_during(names, kind, seconds):
    run_python(f"""
        import sys, threading, time, warnings
        import numpy as np

        warnings.simplefilter("ignore")
        import calls

        before = {{name: getattr(calls, name).copy() for name in ("X", "Y", "Y64")}}
        after = {{name: {CHANGES[kind]} for name, a in before.items()}}
        done = False

        def change():
            rng = np.random.default_rng(0)
            while not done:
                for rows in (after, before):
                    for name, a in before.items():
                        some = rng.integers(len(a), size=60)
                        getattr(calls, name)[some] = rows[name][some]
                    time.sleep(0.0003)
                for name in before:
                    getattr(calls, name)[:] = (after if rng.random() < 0.3 else before)[name]

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for name in {names!r}:
                start, rounds = time.monotonic(), 0
                while rounds < 3 or time.monotonic() - start < {seconds}:
                    try:
                        calls.CALLS[name](2)
                    except (ValueError, RuntimeError):
                        pass
                    rounds += 1
        finally:
            done = True
            thread.join()
    """)


@pytest.mark.native
@pytest.mark.host
@pytest.mark.parametrize("kind", CHANGES)
def test_searches_of_changing_rows(kind):
    names = ["knn euclidean", "knn self", "radius_count", "radius_neighbors", "median_distance"]
    change_during(names, kind, 0.4)


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.parametrize("kind", CHANGES)
def test_every_call_of_changing_rows(kind):
    change_during(list(CALLS), kind, 0.15)


@pytest.mark.native
@pytest.mark.host
def test_the_neighbours_of_rows_that_draw_together():
    """More of them are collected than were counted."""
    run_python("""
        import threading, time
        import numpy as np
        import pairtile as pt

        far = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32) * 10
        near, x, end = far / np.float32(30), far.copy(), time.monotonic() + 3

        def change():
            while time.monotonic() < end:
                x[:] = near
                time.sleep(0.001)
                x[:] = far
                time.sleep(0.001)

        thread = threading.Thread(target=change)
        thread.start()
        while time.monotonic() < end:
            found = pt.radius_neighbors(x, radius=2.0)
            assert found.indices.size == found.indptr[-1]
            assert found.indices.size == 0 or 0 <= found.indices.min() <= found.indices.max() < 4000
        thread.join()
    """)


MAPPED = {
    "mmd": "pt.mmd(m, b, kernel=pt.Gaussian(3.0))",
    "median_distance": "pt.median_distance(m)",
    "realism": "pt.realism(m, b)",
    "pairwise_distances": "pt.pairwise_distances(m[:, :2], b[:9, :2])",
    "sliced_wasserstein": "pt.sliced_wasserstein(m, b, n_projections=64)",
    "clip_loss": "pt.clip_loss(m, m[::-1], temperature=1.0)",
    "kernel_sum": "pt.kernel_sum(np.asarray(m), b, kernel=pt.Energy(1.0))",
    "NeighborIndex": "pt.NeighborIndex(m).knn(b, 5)",
    "a loaded index": "index.knn(b, 5)",
}


@pytest.mark.native
@pytest.mark.host
@pytest.mark.parametrize("name", MAPPED)
def test_a_memory_map_whose_file_becomes_shorter(name, tmp_path):
    """A bus error would end the process; the next call is about arrays of its own."""
    path = str(tmp_path / "a.bin")
    out = run_python(f"""
        import os, threading, time
        import numpy as np
        import pairtile as pt

        path = {path!r}
        a = np.random.default_rng(0).normal(size=(20000, 32)).astype(np.float32)
        b = a[:2000].copy()
        if {name!r} == "a loaded index":
            pt.NeighborIndex(a).save(path)
            index = pt.NeighborIndex.load(path, verify=False)
        else:
            a.tofile(path)
            m = np.memmap(path, dtype=np.float32, mode="r", shape=a.shape)
        threading.Timer(0.03, os.truncate, (path, 12288)).start()
        kept = None
        for _ in range(50):
            try:
                {MAPPED[name]}
            except ValueError as error:
                assert "become shorter" in str(error), error
                kept = error
                break
            time.sleep(0.02)
        else:
            print("nothing was said")
        pt.mmd(b, b)
    """)
    assert out == ""


@pytest.mark.native
@pytest.mark.host
@pytest.mark.parametrize("progress", ["False", "lambda done, total: None"])
def test_lost_rows_before_what_the_engine_makes_of_them(progress, tmp_path):
    """Distances that are other ones the second time they are counted are an error of their own."""
    path = str(tmp_path / "a.bin")
    assert "become shorter" in run_python(f"""
        import os, threading
        import numpy as np
        import pairtile as pt

        path = {path!r}
        a = np.random.default_rng(0).normal(size=(20000, 32)).astype(np.float32)
        for round in range(6):
            a.tofile(path)
            m = np.memmap(path, dtype=np.float32, mode="r", shape=a.shape)
            cut = threading.Timer(0.05 * round, os.truncate, (path, 12288))
            cut.start()
            try:
                pt.median_distance(m, progress={progress})
            except ValueError as error:
                print(error)
            cut.join()
    """)
