"""Periods of a table against one reference."""

from __future__ import annotations

import datetime as dt
import importlib
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from pairtile.tables.over_time import FREQUENCIES

QUICK = {"n_permutations": 199, "rng": 0}


def stream(days, *, shift_from="2024-03-01", seed=0):
    """A value that moves from a day on, a category and the day."""
    rng = np.random.default_rng(seed)
    days = np.asarray(days, dtype="datetime64[D]")
    return pa.table(
        {
            "value": rng.normal(size=len(days)) + 2 * (days >= np.datetime64(shift_from)),
            "city": rng.choice(["a", "b"], len(days)),
            "day": days,
        }
    )


def reference(n=150):
    rng = np.random.default_rng(100)
    return pa.table({"city": rng.choice(["a", "b"], n), "value": rng.normal(size=n)})


def every_day(start, count):
    return np.datetime64(start) + np.arange(count)


def test_the_periods_that_drifted_are_found():
    found = pt.drift_over_time(reference(), stream(every_day("2024-01-01", 121)), "day", freq="M")
    assert [(p.label, p.n, p.drift) for p in found.periods] == [
        ("2024-01", 31, False),
        ("2024-02", 29, False),
        ("2024-03", 31, True),
        ("2024-04", 30, True),
    ]
    assert found.drift
    assert (found.by, found.freq, found.alpha, found.n_reference) == ("day", "M", 0.05, 150)


@given(st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)), st.sampled_from(FREQUENCIES))
def test_labels_are_those_of_the_calendar(day, freq):
    frame = stream([day] * 3)
    (period,) = pt.drift_over_time(reference(), frame, "day", freq=freq).periods
    expected = {
        "D": day.isoformat(),
        "W": (day - dt.timedelta(days=day.weekday())).isoformat(),
        "M": f"{day.year}-{day.month:02}",
        "Q": f"{day.year}Q{(day.month + 2) // 3}",
        "Y": f"{day.year}",
    }[freq]
    assert (period.label, period.n, period.pvalue) == (expected, 3, None)


def test_each_period_has_the_joint_test_of_one_encoding():
    old, frame = reference(), stream(every_day("2024-01-01", 90))
    found = pt.drift_over_time(old, frame, "day", freq="M", **QUICK)
    encoded = pt.encode(old, frame.drop_columns("day"))
    start, ps = 0, []
    for period in found.periods:
        rows = encoded.current[start : start + period.n]
        expected = pt.energy_test(encoded.reference, rows, **QUICK)
        assert period.pvalue == expected.pvalue
        assert period.statistic == pytest.approx(expected.statistic, rel=1e-12)
        start += period.n
        ps.append(period.pvalue)
    least = 0.0
    for done, i in enumerate(np.argsort(ps, kind="stable")):  # Holm's method, step by step
        least = max(least, min(1.0, (len(ps) - done) * ps[i]))
        assert found.periods[i].pvalue_adjusted == pytest.approx(least)
        assert found.periods[i].drift == (least <= 0.05)


@pytest.mark.parametrize("test", ["mmd", "sliced", "aggregated"])
def test_other_tests(test):
    found = pt.drift_over_time(
        reference(60), stream(every_day("2024-02-01", 60)), "day", freq="M", test=test, rng=0
    )
    assert [p.drift for p in found.periods] == [False, True]
    assert [p.statistic is None for p in found.periods] == [test == "aggregated"] * 2


def test_small_periods_are_listed_and_not_tested():
    days = [*every_day("2024-01-30", 2), *every_day("2024-02-01", 29)]
    found = pt.drift_over_time(reference(), stream(days), "day", freq="M", **QUICK)
    assert found.periods[0][:5] == ("2024-01", 2, None, None, None)
    assert found.periods[1].pvalue == found.periods[1].pvalue_adjusted
    none = pt.drift_over_time(reference(), stream(days), "day", freq="M", min_rows=40, **QUICK)
    assert not none.drift
    assert none.warnings == [
        "no period has min_rows=40 rows: nothing was tested; a longer freq makes larger ones"
    ]
    assert str(none).startswith("nothing can be said: tested none of 2 periods of 'day'")
    each = pt.drift_over_time(reference(), stream(days), "day", **QUICK)
    assert "each value is a period, freq='W' makes weeks" in each.warnings[0]


def test_there_are_permutations_enough_for_holm():
    """Of 25 periods, with 999 permutations none could be below 0.02."""
    frame = stream(np.repeat(every_day("2024-01-01", 25), 20), shift_from="2024-01-25")
    found = pt.drift_over_time(reference(40), frame, "day", alpha=0.02, rng=0)
    assert found.periods[-1].drift
    assert found.warnings == []
    few = pt.drift_over_time(reference(40), frame, "day", alpha=0.02, n_permutations=999, rng=0)
    assert not few.drift
    assert "with 999 permutations no p-value of 25 periods can be at most" in few.warnings[0]


def test_values_that_are_no_dates_are_periods_of_their_own():
    frame = stream(every_day("2024-01-01", 90)).drop_columns("day")
    for values, labels in (
        ([10.0] * 30 + [9.0] * 60, ["9", "10"]),
        (["late"] * 30 + ["early"] * 60, ["late", "early"]),
        ([True] * 30 + [False] * 60, ["False", "True"]),
        ([dt.datetime(2024, 1, 1, 6)] * 30 + [dt.datetime(2024, 1, 1)] * 60,
         ["2024-01-01T00:00:00.000000", "2024-01-01T06:00:00.000000"]),
    ):  # fmt: skip
        found = pt.drift_over_time(
            reference(), frame.append_column("batch", pa.array(values)), "batch", **QUICK
        )
        assert [p.label for p in found.periods] == labels
        assert sorted(p.n for p in found.periods) == [30, 60]


def test_rows_without_a_period_are_left_out():
    frame = stream(every_day("2024-01-01", 60))
    days = [None if i < 10 else v for i, v in enumerate(frame["day"].to_pylist())]
    frame = frame.set_column(2, "day", pa.array(days, pa.date32()))
    found = pt.drift_over_time(reference(), frame, "day", freq="M", **QUICK)
    assert [p.n for p in found.periods] == [21, 29]
    assert found.warnings == ["10 rows of frame have no 'day' and are left out"]


def test_missing_values_and_samples():
    frame = stream(every_day("2024-01-01", 60))
    values = [None if i % 3 == 0 else v for i, v in enumerate(frame["value"].to_pylist())]
    frame = frame.set_column(0, "value", pa.array(values))
    found = pt.drift_over_time(
        reference(), frame, "day", freq="M", missing="drop", max_rows=25, min_rows=5, **QUICK
    )
    assert [p.n for p in found.periods] == [20, 20]  # of the rows left
    assert found.warnings == [
        "missing='drop' left out 20 rows of reference and frame together",
        "compared on random samples of at most max_rows=25 rows of reference and of each period",
    ]


def test_the_column_of_time_may_be_in_the_reference_too():
    old = reference().append_column("day", pa.array(every_day("2023-01-01", 150)))
    frame = stream(every_day("2024-01-01", 31))
    alone = pt.drift_over_time(old, frame, "day", freq="M", **QUICK)
    assert (
        alone.to_dict()
        == pt.drift_over_time(reference(), frame, "day", freq="M", drop=["day"], **QUICK).to_dict()
    )


@pytest.mark.oracle("pandas", "polars")
def test_frames_of_any_package():
    frame = stream(every_day("2024-01-01", 60))
    expected = pt.drift_over_time(reference(), frame, "day", freq="W", min_rows=5, **QUICK)
    polars = importlib.import_module("polars")
    for make in (lambda t: t.to_pandas(), polars.from_arrow):
        found = pt.drift_over_time(
            make(reference()), make(frame), "day", freq="W", min_rows=5, **QUICK
        )
        assert found.to_dict() == expected.to_dict()


def test_on_a_screen_and_as_data():
    frame = stream(np.repeat(every_day("2024-01-01", 100), 20))
    found = pt.drift_over_time(reference(40), frame, "day", freq="D", **QUICK)
    assert len(str(found).splitlines()) <= 24
    assert max(map(len, str(found).splitlines())) <= 80
    assert repr(found).startswith("DriftOverTime(periods='")
    assert "\n" not in repr(found)
    data = json.loads(found.to_json())
    assert data["periods"][0]["label"] == "2024-01-01"
    assert len(data["periods"]) == 100
    assert data["seed"] == 0


def test_messages():
    frame = stream(every_day("2024-01-01", 60))
    for arguments, error, message in (
        ((frame, "when"), ValueError, "frame has no column 'when'; it has 'value'"),
        ((np.eye(3), "day"), TypeError, "frame must be a table with named columns"),
    ):
        with pytest.raises(error, match=message):
            pt.drift_over_time(reference(), *arguments)
    with pytest.raises(TypeError, match=r"freq='W' needs dates, and column 'value' of frame is n"):
        pt.drift_over_time(reference(), frame, "value", freq="W")
    with pytest.raises(ValueError, match="unknown freq 'H'; known: D, W, M, Q, Y"):
        pt.drift_over_time(reference(), frame, "day", freq="H")
    with pytest.raises(ValueError, match="min_rows must be at least 1"):
        pt.drift_over_time(reference(), frame, "day", min_rows=0)
    with pytest.raises(ValueError, match="frame must have the columns of reference"):
        pt.drift_over_time(reference(), frame, "city")
    lists = frame.append_column("v", pa.array([[1.0]] * 60))
    with pytest.raises(TypeError, match=r"column 'v' of frame .* must hold dates, numbers or str"):
        pt.drift_over_time(reference(), lists, "v")


@pytest.mark.parametrize("test", ["energy", "mmd", "sliced", "aggregated"])
def test_lines_of_any_test_fit_a_screen(test):
    frame = stream(every_day("2024-01-01", 90)).rename_columns(["value", "city", "d" * 60])
    found = pt.drift_over_time(reference(), frame, "d" * 60, freq="M", test=test, **QUICK)
    assert max(map(len, str(found).splitlines())) <= 80


def test_periods_that_float64_cannot_tell_apart_are_refused():
    frame = stream(every_day("2024-01-01", 90))
    batch = pa.array([2**53 + i % 2 for i in range(90)])
    with pytest.raises(ValueError, match=r"column 'batch' of frame holds numbers from 2\^53 on"):
        pt.drift_over_time(reference(), frame.append_column("batch", batch), "batch")


@pytest.mark.oracle("pandas")
def test_the_name_of_the_column_need_be_no_string():
    import pandas as pd

    rng = np.random.default_rng(0)
    old, new = pd.DataFrame({0: rng.normal(size=50)}), pd.DataFrame({0: rng.normal(size=60)})
    new[1] = rng.integers(0, 2, 60)
    assert [p.label for p in pt.drift_over_time(old, new, 1, **QUICK).periods] == ["0", "1"]
