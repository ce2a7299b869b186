"""What a long call shows: a bar on a terminal, lines in a log, tqdm in a notebook, or nothing.

Time is a number that the tests turn forward.
"""

import io
import os
import subprocess
import sys
import types

import numpy as np
import pytest

import pairtile as pt
from pairtile._front import progress

pytestmark = pytest.mark.host


class Stream(io.StringIO):
    """Standard error, of a terminal or not, that can fail."""

    def __init__(self, terminal=False, fault=None):
        super().__init__()
        self.terminal, self.fault = terminal, fault

    def isatty(self):
        return self.terminal

    def write(self, text):
        if self.fault is not None:
            raise self.fault
        return super().write(text)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(monkeypatch, stream, steps, sizes=(100,)):
    """Report these (seconds, done, total) of the first of several calls."""
    clock = Clock()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=clock))
    with progress.reporting(True, *sizes) as reports:
        for seconds, done, total in steps:
            clock.now = seconds
            if reports[0] is not None:
                reports[0](done, total)
    return reports


def test_a_log_gets_a_line_every_ten_seconds(monkeypatch):
    stream = Stream()
    steps = [(s, s, 100) for s in range(1, 36)]
    run(monkeypatch, stream, steps)
    assert stream.getvalue().splitlines() == [
        "pairtile: 10 % done, about 90 s left",
        "pairtile: 20 % done, about 80 s left",
        "pairtile: 30 % done, about 70 s left",
    ]


def test_a_short_call_leaves_no_line(monkeypatch):
    stream = Stream()
    run(monkeypatch, stream, [(3.0, 50, 100), (9.9, 100, 100)])
    assert stream.getvalue() == ""


def test_calls_are_one_count(monkeypatch):
    stream = Stream()
    run(monkeypatch, stream, [(10.0, 1, 2), (15.0, 2, 2), (20.0, 2, 2)], sizes=(100, 300))
    assert stream.getvalue().splitlines() == [
        "pairtile: 12 % done, about 70 s left",
        "pairtile: 25 % done, about 60 s left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch):
    stream = Stream(terminal=True)
    run(monkeypatch, stream, [(0.05, 1, 100), (2.0, 20, 100), (2.05, 21, 100), (5.0, 50, 100)])
    drawn = stream.getvalue().split("\r")
    assert [text for text in drawn if text.strip()] == [
        f"[{'######':<30}]  20%     8.0 s left ",
        f"[{15 * '#':<30}]  50%     5.0 s left ",
    ]
    assert drawn[-1] == ""
    assert not drawn[-2].strip()  # wiped


def test_nothing_done_is_no_pace(monkeypatch):
    for terminal in (False, True):
        stream = Stream(terminal)
        run(monkeypatch, stream, [(50.0, 0, 100), (60.0, 0, 0)])
        assert "left" not in stream.getvalue().partition("100")[0]


def closed():
    stream = Stream()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream",
    [None, closed(), Stream(fault=BrokenPipeError()), Stream(True, fault=ValueError("closed"))],
    ids=["none", "closed", "broken pipe", "terminal gone"],
)
def test_no_standard_error_breaks_no_call(monkeypatch, stream):
    run(monkeypatch, stream, [(10.0, 10, 100), (20.0, 20, 100)])
    x = np.arange(8.0)[:, None]
    assert pt.knn(x, k=1, progress=True).indices.shape == (8, 1)


def test_no_standard_error_from_the_start():
    """As under pythonw, cron and daemons: `2>&-`."""
    code = "import pairtile as pt; print(pt.kth_distance([[0.0], [3.0]], k=1, progress=True)[0])"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stdout) == (0, "3.0\n")


# --- notebooks -------------------------------------------------------------------------------


class ZMQInteractiveShell:
    """As IPython calls the shell of a notebook."""


class TerminalInteractiveShell:
    pass


def notebook(monkeypatch, shell, tqdm):
    """A session of IPython, with this module in place of tqdm."""
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setitem(sys.modules, "tqdm", tqdm)


def fake_tqdm(bars):
    class Bar:
        def __init__(self, total, **look):
            self.total, self.n, self.seen, self.closed = total, 0, [], False
            bars.append(self)

        def update(self, more):
            self.n += more
            self.seen.append((self.n, self.total))

        def close(self):
            self.closed = True

    module = types.ModuleType("tqdm")
    module.tqdm = Bar
    module.__spec__ = types.SimpleNamespace(name="tqdm")
    return module


def test_a_notebook_gets_a_bar_of_tqdm(monkeypatch):
    bars, stream = [], Stream()
    notebook(monkeypatch, ZMQInteractiveShell(), fake_tqdm(bars))
    run(monkeypatch, stream, [(0.1, 1, 4), (99.0, 3, 4)], sizes=(40, 60))
    (bar,) = bars
    assert bar.seen == [(10, 100), (30, 100), (100, 100)]
    assert bar.closed
    assert stream.getvalue() == ""


def test_the_bar_is_closed_after_an_error(monkeypatch):
    bars = []
    notebook(monkeypatch, ZMQInteractiveShell(), fake_tqdm(bars))

    def interrupted():
        with progress.reporting(True, 10) as (report,):
            report(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [bar.closed for bar in bars] == [True]


def test_a_notebook_without_tqdm_gets_lines(monkeypatch):
    stream = Stream()
    notebook(monkeypatch, ZMQInteractiveShell(), None)
    run(monkeypatch, stream, [(10.0, 50, 100)])
    assert stream.getvalue() == "pairtile: 50 % done, about 10 s left\n"


def test_ipython_on_a_terminal_keeps_its_bar(monkeypatch):
    bars, stream = [], Stream(terminal=True)
    notebook(monkeypatch, TerminalInteractiveShell(), fake_tqdm(bars))
    run(monkeypatch, stream, [(2.0, 50, 100)])
    assert bars == []
    assert "50%" in stream.getvalue()


@pytest.mark.oracle("tqdm")
def test_the_real_tqdm(monkeypatch):
    import tqdm

    stream = Stream()
    notebook(monkeypatch, ZMQInteractiveShell(), tqdm)
    run(monkeypatch, stream, [(0.5, 1, 2)], sizes=(2_000_000,))
    assert "pairtile:" in stream.getvalue()
    assert "2.00M" in stream.getvalue()
