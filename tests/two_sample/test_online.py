"""MMD over a stream.

What is kept from row to row is held to the plain statistic of reference and window; thresholds are
held to what they promise, the mean run time of streams without drift.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import pairtile as pt
from backends import on_backend


def detector(reference, window=5, run_time=20.0, **options):
    return pt.OnlineMMD(reference, window, expected_run_time=run_time, **{"rng": 0, **options})


@pytest.mark.parametrize("kernel", [pt.Gaussian(1.2), "gaussian", "energy", pt.Polynomial(2)])
@pytest.mark.parametrize("sizes", [[1] * 23, [23], [3, 7, 1, 12], [2, 0, 21]])
def test_the_statistic_is_that_of_reference_and_window(kernel, sizes):
    rng = np.random.default_rng(0)
    reference, stream = rng.normal(size=(40, 3)), 1 + rng.normal(size=(23, 3))
    online = detector(reference, kernel=kernel)
    plain = pt.Gaussian(pt.median_distance(reference)) if kernel == "gaussian" else kernel
    found = []
    for rows in np.split(stream, np.cumsum(sizes)[:-1]):
        if len(rows):
            result = online.update(rows)
            found.extend(result.statistics)
            assert np.array_equal(result.drift, result.statistics > result.thresholds)
    assert np.isnan(found[:4]).all()
    size = largest_mean(plain, reference, stream)
    for t in range(4, 23):
        expected = pt.mmd(reference, stream[t - 4 : t + 1], kernel=plain)
        assert abs(found[t] - expected) <= 1e-12 * size, t
    assert online.statistic == found[-1]
    assert online.drift == (online.statistic > online.threshold)


def largest_mean(kernel, x, y):
    """What the terms of the statistic are as large as."""
    return max(
        abs(pt.kernel_sum(a, b, kernel=kernel)) / (len(a) * len(b)) for a in (x, y) for b in (x, y)
    )


def test_a_long_stream_gathers_no_error():
    rng = np.random.default_rng(1)
    reference, stream = rng.normal(size=(30, 2)), rng.normal(size=(400, 2))
    stream[:300] *= 1e6  # large terms come and go
    online = detector(reference, kernel=pt.Linear())
    online.update(stream)
    expected = pt.mmd(reference, stream[-5:], kernel=pt.Linear())
    assert abs(online.statistic - expected) <= 1e-12


def test_thresholds_follow_the_number_of_full_windows():
    rng = np.random.default_rng(2)
    online = detector(rng.normal(size=(40, 2)))
    assert np.isnan(online.threshold)
    assert not online.drift
    result = online.update(rng.normal(size=(12, 2)))
    expected = [*[np.nan] * 4, *online.thresholds, *[online.thresholds[-1]] * 3]
    np.testing.assert_array_equal(result.thresholds, expected)
    online.reset()
    assert online.n_seen == 0
    assert np.isnan(online.statistic)


def test_rows_one_by_one_and_without_a_second_dimension():
    rng = np.random.default_rng(3)
    reference, rows = rng.normal(size=(30, 2)), rng.normal(size=(7, 2))
    online, other = detector(reference), detector(reference)
    for row in rows:
        online.update(row)
    other.update(rows)
    assert abs(online.statistic - other.statistic) < 1e-14


def test_drift_is_found_soon():
    rng = np.random.default_rng(4)
    online = detector(rng.normal(size=(200, 3)), 10, 200.0)
    calm = online.update(rng.normal(size=(30, 3)))
    assert calm.drift.sum() <= 1
    changed = online.update(rng.normal(2, 1, size=(20, 3)))
    assert changed.drift[9:].all()


def mean_run_time(online_of, runs, limit, rng):
    """Mean number of full windows until the first alarm, and its standard error."""
    times = []
    for _ in range(runs):
        online = online_of(rng)
        alarms = np.flatnonzero(online.update(rng.normal(size=(limit, 2))).drift)
        assert alarms.size, "a longer stream is needed"
        times.append(alarms[0] - online.window + 2)
    return np.mean(times), np.std(times) / np.sqrt(runs)


def test_streams_without_drift_run_as_long_as_expected():
    def fresh(rng):
        return detector(
            rng.normal(size=(150, 2)), 4, 15.0, kernel=pt.Gaussian(1.5), rng=rng, workers=1
        )

    mean, error = mean_run_time(fresh, 100, 220, np.random.default_rng(5))
    # a run time is close to geometric: its standard deviation is its mean
    assert abs(mean - 15) < 4 * error, f"{mean:.1f} ± {error:.1f}"


@pytest.mark.hand
def test_long_run_times():
    def fresh(rng):
        return detector(
            rng.normal(size=(300, 2)), 10, 100.0, n_simulations=3000, rng=rng, workers=1
        )

    mean, error = mean_run_time(fresh, 200, 2000, np.random.default_rng(6))
    print(f"expected 100, found {mean:.1f} ± {error:.1f}")
    assert abs(mean - 100) < 4 * error


def test_state_and_seed_make_the_detector():
    rng = np.random.default_rng(7)
    reference, stream = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
    online, same, other = (detector(reference, rng=seed) for seed in (0, 0, 1))
    assert np.array_equal(online.thresholds, same.thresholds)
    assert not np.array_equal(online.thresholds, other.thresholds)
    online.update(stream[:13])
    state, copy = online.snapshot(), pickle.loads(pickle.dumps(online))
    after = online.update(stream[13:])
    for again in (copy, same):
        if again is same:
            same.restore(state)
        for mine, theirs in zip(again.update(stream[13:]), after, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    online.restore(state)
    online.restore(state)  # what was handed out is no part of the detector
    np.testing.assert_array_equal(online.update(stream[13:]).statistics, after.statistics)
    with pytest.raises(ValueError, match="the snapshot's rows"):
        detector(reference, 6).restore(state)


def test_the_reference_is_a_copy():
    reference = np.random.default_rng(8).normal(size=(40, 2))
    online, same = detector(reference), detector(reference.copy())
    reference[:] = 0
    rows = np.ones((6, 2))
    assert online.update(rows).statistics[-1] == same.update(rows).statistics[-1]


@pytest.mark.native
def test_backends_agree():
    reference = np.random.default_rng(9).normal(size=(40, 2)).astype(np.float32)
    found = []
    for name in ("native", "numpy"):
        with on_backend(name):
            online = detector(reference)
            online.update(reference[:8] + 1)
            found.append((online.statistic, *online.thresholds))
    np.testing.assert_allclose(*found, atol=1e-13)


R = np.random.default_rng(10).normal(size=(30, 2))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((R, 1), {"expected_run_time": 20}, ["window", "at least 2"]),
        ((R, 8), {"expected_run_time": 20}, ["30 rows", "32"]),
        ((R, 5), {"expected_run_time": 1}, ["expected_run_time"]),
        ((R, 5), {"expected_run_time": 20, "n_simulations": 19}, ["n_simulations", "20"]),
        ((np.ones((30, 2)), 5), {"expected_run_time": 20}, ["sigma='median'"]),
        ((R * np.nan, 5), {"expected_run_time": 20}, ["reference", "NaN"]),
    ],
)
def test_detectors_that_are_refused(arguments, options, words):
    with pytest.raises(ValueError) as raised:
        pt.OnlineMMD(*arguments, **options)
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.ones((3, 4)), ["rows", "4 columns", "2"]),
        (np.ones((0, 2)), ["rows", "empty"]),
        ([[1.0, np.nan]], ["rows", "NaN"]),
        (np.ones((1, 2, 2)), ["rows", "2-D"]),
    ],
)
def test_rows_that_are_refused_leave_the_stream_as_it_was(rows, words):
    online = detector(R)
    online.update(R[:7])
    before = online.statistic
    with pytest.raises(ValueError) as raised:
        online.update(rows)
    assert all(word in str(raised.value) for word in words)
    assert online.n_seen == 7
    assert online.statistic == before
