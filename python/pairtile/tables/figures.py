"""A result as one Matplotlib figure (extra `plot`).

The pictures of the report, for a paper or a notebook: effects by column, the statistic among its
values under the null, the distributions of the columns with the largest effects; or the statistic
by period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front.extras import MissingExtraError
from pairtile.tables.markup import fitting, number, percent
from pairtile.tables.svg import heights
from pairtile.two_sample import AggregatedTest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairtile.tables.columns import ColumnDrift
    from pairtile.tables.drift import Drift
    from pairtile.tables.over_time import DriftOverTime
    from pairtile.tables.profile import Profile

_REFERENCE, _EDGE, _CURRENT = "#d5d7dc", "#80848c", "#b23c17"
_EFFECTS = 12  # columns whose effects are drawn
_DISTRIBUTIONS = 8
_IN_A_ROW = 4


def _figure(width: float, height: float) -> Any:
    """A figure of pyplot's, which `plt.show` shows.

    Where a notebook shows figures inline it would be shown twice, as open and as what a cell
    returns: there it is closed, and only the second remains.
    """
    try:
        import matplotlib
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError(
            "plot() needs Matplotlib: pip install 'pairtile[plot]'; to_html() needs nothing"
        ) from error
    figure = pyplot.figure(figsize=(width, height), layout="constrained")
    if "inline" in matplotlib.get_backend():
        pyplot.close(figure)
    return figure


def of_drift(drift: Drift) -> Any:
    """Effects by column, the null distribution, and the most different distributions."""
    columns = sorted(drift.columns, key=lambda column: (-column.effect, column.pvalue))
    pictured = [c for c in columns if c.name in drift.profiles][:_DISTRIBUTIONS]
    rows = -(-len(pictured) // _IN_A_ROW)
    figure = _figure(10, 3.4 + 2 * rows)
    found = "The current rows have drifted" if drift.drift else "No drift found"
    figure.suptitle(f"{found}: p = {number(drift.pvalue)}, at level {number(drift.alpha)}")
    above, below = figure.subfigures(2, 1, height_ratios=[3, max(2 * rows, 0.01)])
    left, right = above.subplots(1, 2)
    _draw_effects(left, columns[:_EFFECTS][::-1], drift.alpha)
    if isinstance(drift.test, AggregatedTest):
        _draw_kernels(right, drift.test, drift.alpha)
    else:
        _draw_null(right, drift.test.statistic, drift.test.null_distribution)
    if not pictured:
        return figure
    places = below.subplots(rows, _IN_A_ROW, squeeze=False).ravel()
    for axes, column in zip(places, pictured, strict=False):
        _title(axes, fitting(column.name, 22))
        _draw_profile(axes, drift.profiles[column.name])
    for axes in places[len(pictured) :]:
        axes.set_axis_off()
    places[0].legend(fontsize="x-small", frameon=False)
    return figure


def _title(axes: Any, words: str) -> None:
    """The title of axes without a frame; a $ in it is a $."""
    axes.set_title(words, loc="left", fontsize="medium", parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, labelsize="small")


def _draw_effects(axes: Any, columns: Sequence[ColumnDrift], alpha: float) -> None:
    _title(axes, "Effect by column")
    colours = [_CURRENT if c.pvalue_adjusted <= alpha else _EDGE for c in columns]
    at = range(len(columns))
    axes.barh(at, [c.effect for c in columns], height=0.6, color=colours)
    axes.set_yticks(at, [fitting(c.name, 24) for c in columns], parse_math=False)


def _draw_null(axes: Any, statistic: float, null: Any) -> None:
    _title(axes, f"Statistic {number(statistic)}, and under the null")
    if len(null):
        axes.hist(null, bins=60, color=_REFERENCE, edgecolor=_EDGE, histtype="stepfilled")
    axes.axvline(statistic, color=_CURRENT)
    axes.set_yticks([])


def _draw_kernels(axes: Any, test: AggregatedTest, alpha: float) -> None:
    _title(axes, "Adjusted p by kernel, and the level")
    values = [one.adjusted_pvalue for one in test.per_kernel]
    axes.semilogy(range(len(values)), values, "o", color=_EDGE)
    axes.axhline(alpha, color=_CURRENT)
    axes.set_xticks([])
    axes.set_xlabel("kernels, in the order of the test")


def _draw_profile(axes: Any, profile: Profile) -> None:
    if profile.levels is not None:
        at = np.arange(len(profile.levels))[::-1]
        axes.barh(at + 0.2, profile.reference, height=0.4, color=_EDGE, label="reference")
        axes.barh(at - 0.2, profile.current, height=0.4, color=_CURRENT, label="current")
        axes.set_yticks(at, [fitting(level, 14) for level in profile.levels], parse_math=False)
        axes.xaxis.set_major_formatter(lambda share, _: percent(share))
        axes.locator_params(axis="x", nbins=3)
        return
    if profile.edges is not None:
        style = {"edgecolor": _EDGE, "facecolor": _REFERENCE, "label": "reference"}
        axes.stairs(profile.reference, profile.edges, fill=True, **style)
        axes.stairs(profile.current, profile.edges, color=_CURRENT, label="current", lw=1.5)
        axes.set_ylim(bottom=0)
        if profile.edges.dtype.kind == "M":
            first, last = profile.edges[[0, -1]]
            axes.set_xticks([first, last], [str(first)[:10], str(last)[:10]])
            axes.get_xticklabels()[0].set_horizontalalignment("left")
            axes.get_xticklabels()[1].set_horizontalalignment("right")
        else:
            axes.locator_params(axis="x", nbins=4)
    axes.set_yticks([])


def of_periods(result: DriftOverTime) -> Any:
    """The statistic by period; those with drift are marked."""
    figure = _figure(10, 3.5)
    axes = figure.add_subplot()
    what, values = heights(result.periods)
    at = np.arange(len(values))
    axes.plot(at, values, "-", color=_EDGE, lw=1)
    drifted = np.array([period.drift for period in result.periods], dtype=bool)
    axes.plot(at[~drifted], values[~drifted], "o", color=_EDGE, ms=4, label="no drift")
    axes.plot(at[drifted], values[drifted], "o", color=_CURRENT, ms=7, label="drift")
    step = max(1, -(-len(values) // 10))
    labels = [fitting(period.label, 14) for period in result.periods[::step]]
    axes.set_xticks(at[::step], labels, parse_math=False)
    axes.set_ylabel(what)
    tested = sum(period.pvalue is not None for period in result.periods)
    found = f"{int(drifted.sum())} of {tested} periods with drift"
    axes.set_title(f"{found}, at level {number(result.alpha)}", loc="left", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
