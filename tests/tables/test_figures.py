"""The figures of Matplotlib: what they draw is what was found."""

import builtins

import numpy as np
import pytest

from drift_results import a_drift, a_test, over_time
from pairtile._front.extras import MissingExtraError
from pairtile.kernels import Gaussian
from pairtile.two_sample import AggregatedTest
from pairtile.two_sample.aggregated import KernelTest

pytestmark = pytest.mark.host
ACCENT = (0xB2 / 255, 0x3C / 255, 0x17 / 255, 1.0)


@pytest.fixture
def pyplot(monkeypatch):
    """Of a backend without windows; every figure is closed afterwards."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


def drawn(figure):
    """The axes of a drawn figure, by title."""
    figure.canvas.draw()
    return {axes.get_title(loc="left"): axes for axes in figure.get_axes() if axes.axison}


@pytest.mark.oracle("matplotlib")
def test_effects_null_and_distributions(pyplot):
    result = a_drift(["age", "city", "day", "vip", "a note", "income"])
    figure = result.plot()
    assert pyplot.fignum_exists(figure.number)
    assert figure.get_suptitle() == "The current rows have drifted: p = 0.001, at level 0.05"
    axes = drawn(figure)
    assert len(axes) == 8
    columns = sorted(result.columns, key=lambda c: c.effect)
    bars = axes["Effect by column"].patches
    assert [bar.get_width() for bar in bars] == [c.effect for c in columns]
    assert [bar.get_facecolor() == pytest.approx(ACCENT) for bar in bars] == [
        c.pvalue_adjusted <= 0.05 for c in columns
    ]
    names = [label.get_text() for label in axes["Effect by column"].get_yticklabels()]
    assert names == [c.name for c in columns]
    (line,) = axes["Statistic 0.0123, and under the null"].lines
    assert line.get_xdata()[0] == 0.0123
    for name in ("age", "day"):
        reference, current = (patch.get_data() for patch in axes[name].patches)
        profile = result.profiles[name]
        np.testing.assert_array_equal(reference.values, profile.reference)
        np.testing.assert_array_equal(current.values, profile.current)
    profile = result.profiles["city"]
    widths = [bar.get_width() for bar in axes["city"].patches]
    np.testing.assert_array_equal(widths, [*profile.reference, *profile.current])
    assert [t.get_text() for t in axes["city"].get_yticklabels()] == ["a", "b", "missing"]


@pytest.mark.oracle("matplotlib")
@pytest.mark.parametrize(
    ("columns", "fields", "pictures"),
    [
        (1, {}, 1),
        (1, {"profiles": {}}, 0),
        (5, {"drift": False, "rows": []}, 5),
        (60, {}, 8),
        (2, {"test": a_test(0, "gamma")}, 2),
    ],
)
def test_sizes(pyplot, columns, fields, pictures):
    axes = drawn(a_drift([f"c{i}" for i in range(columns)], **fields).plot())
    assert len(axes) == 2 + pictures
    assert len(axes["Effect by column"].patches) == min(columns, 12)


@pytest.mark.oracle("matplotlib")
def test_kernels(pyplot):
    kernels = (KernelTest(Gaussian(1.0), 0.1, 0.01, 0.02), KernelTest(Gaussian(2.0), 0.1, 0.3, 0.5))
    axes = drawn(
        a_drift(["a"], test=AggregatedTest(True, 0.02, kernels), test_name="aggregated").plot()
    )
    points, level = axes["Adjusted p by kernel, and the level"].lines
    assert list(points.get_ydata()) == [0.02, 0.5]
    assert level.get_ydata()[0] == 0.05


@pytest.mark.oracle("matplotlib")
def test_periods(pyplot):
    result = over_time([f"w{i}" for i in range(40)])
    (axes,) = drawn(result.plot()).values()
    line, others, drifted = axes.lines
    np.testing.assert_array_equal(
        line.get_ydata(), [np.nan if p.statistic is None else p.statistic for p in result.periods]
    )
    assert list(drifted.get_xdata()) == [i for i, p in enumerate(result.periods) if p.drift]
    assert len(others.get_xdata()) + len(drifted.get_xdata()) == 40
    assert [t.get_text() for t in axes.get_xticklabels()] == [f"w{i}" for i in range(0, 40, 4)]


@pytest.mark.oracle("matplotlib")
def test_names_are_not_formulas(pyplot):
    names = ["$x_1$", "cost $", r"$\frac{1}{$", "a_b^c", "<b>"]
    axes = drawn(a_drift(names, levels=names).plot())
    assert names[2] in axes
    labels = {t.get_text() for t in axes["cost $"].get_yticklabels()}
    assert labels == set(names)
    drawn(over_time(names).plot())


@pytest.mark.oracle("matplotlib")
def test_a_notebook_shows_it_once(pyplot, monkeypatch):
    """As what the cell returns, not as an open figure too."""
    import matplotlib

    monkeypatch.setattr(
        matplotlib, "get_backend", lambda: "module://matplotlib_inline.backend_inline"
    )
    figure = a_drift(["a"]).plot()
    assert not pyplot.fignum_exists(figure.number)
    figure.canvas.draw()


def test_without_matplotlib(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for result in (a_drift(["a"]), over_time("a")):
        with pytest.raises(MissingExtraError, match=r"pip install 'pairtile\[plot\]'"):
            result.plot()
