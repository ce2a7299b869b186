"""Small pictures as inline SVG: a column in both samples, a null distribution, a series of periods.

Each is an image with a title, which screen readers read and pointers show. What is drawn of the
reference is grey, what is drawn of the current rows has the accent: fill against line, so that the
two also differ without colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile.tables import markup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pairtile.tables.over_time import Period
    from pairtile.tables.profile import Profile

    Floats = NDArray[np.float64]

ACCENT = "#d2622a"  # on paper and on black alike, where there is no style sheet


class Paint(NamedTuple):
    """How parts of a picture are painted: attributes of their elements."""

    area: str  # of the reference, under a curve
    bar: str  # of the reference
    line: str  # of the current rows, or of what was observed
    mark: str  # of the current rows, filled
    axis: str


PAGE = Paint(*(f'class="{word}"' for word in Paint._fields))
NOTEBOOK = Paint(
    area='fill-opacity=".3"',
    bar='fill-opacity=".45"',
    line=f'fill="none" stroke="{ACCENT}" stroke-width="1.5"',
    mark=f'fill="{ACCENT}"',
    axis='fill="none" stroke="currentColor" stroke-opacity=".45"',
)


def _picture(title: str, width: float, height: float, parts: list[str]) -> str:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    head = f'<svg role="img" {size} font-size="11" fill="currentColor">'
    return f"{head}<title>{markup.text(title, 500)}</title>{''.join(parts)}</svg>"


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{at}>{markup.text(words)}</text>'


def _steps(heights: Floats, width: float, base: float) -> str:
    """The outline of bars of equal width standing on `base`, from the left end to the right."""
    edges = np.linspace(0, width, len(heights) + 1).round(1)
    tops = (base - heights).round(1)
    path = [f"M0 {base:g}"]
    for top, edge in zip(tops, edges[1:], strict=True):
        path.append(f"V{top:g}H{edge:g}")
    return "".join([*path, f"V{base:g}"])


def _end(value: Any, whole_days: bool) -> str:
    """An end of an axis, a number or a date."""
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[D]" if whole_days else "datetime64[s]"))
    return markup.number(float(value))


def distribution(title: str, profile: Profile, paint: Paint) -> str:
    """The distribution of a column in both samples: a histogram, or a bar per level.

    Parameters
    ----------
    title : str
        What the picture shows.
    profile : Profile
        Shares of rows, in bins or by level.
    paint : Paint
        How it is painted.

    Returns
    -------
    str
        An element `svg`, or nothing for a column without values.
    """
    if not len(profile.reference):
        return ""
    if profile.levels is not None:
        return _levels(title, profile, profile.levels, paint)
    assert profile.edges is not None
    width, base = 250.0, 52.0
    shares = np.stack([profile.reference, profile.current])
    reference, current = shares * ((base - 2) / max(shares.max(), 1e-300))
    first, last = profile.edges[0], profile.edges[-1]
    days = isinstance(first, np.datetime64) and last - first >= np.timedelta64(2, "D")
    ends = _end(first, days), _end(last, days)
    parts = [
        f'<path {paint.area} d="{_steps(reference, width, base)}"/>',
        f'<path {paint.line} d="{_steps(current, width, base)}"/>',
        f'<path {paint.axis} d="M0 {base:g}H{width:g}"/>',
        _text(0, base + 11, ends[0]),
        _text(width, base + 11, ends[1], "end"),
    ]
    return _picture(f"{title}, from {ends[0]} to {ends[1]}", width, base + 14, parts)


def _levels(title: str, profile: Profile, levels: Sequence[str], paint: Paint) -> str:
    width, left, room, pitch = 250.0, 84.0, 72.0, 15.0
    most = max(*profile.reference, *profile.current, 1e-300)
    parts = []
    for row, (level, before, after) in enumerate(
        zip(levels, profile.reference, profile.current, strict=True)
    ):
        top = pitch * row
        bars = (
            f'<rect {paint.bar} x="{left:g}" y="{top + 2:g}" width="{room * before / most:.1f}" '
            f'height="5"/><rect {paint.mark} x="{left:g}" y="{top + 7:g}" '
            f'width="{room * after / most:.1f}" height="5"/>'
        )
        words = _text(0, 10, markup.fitting(level, 12))
        # an inner svg cuts off what is wider than it
        label = f'<svg width="{left - 4:g}" height="{pitch:g}" y="{top:g}">{words}</svg>'
        shares = f"{markup.percent(before)[:-2]} → {markup.percent(after)}"
        parts += [label, bars, _text(width, top + 11, shares, "end")]
    return _picture(title, width, pitch * len(levels), parts)


def null_distribution(statistic: float, null: Floats, paint: Paint) -> str:
    """A histogram of the values under the null, and where the observed one lies among them."""
    width, base = 720.0, 140.0
    low, high = float(min(null.min(), statistic)), float(max(null.max(), statistic))
    margin = 0.04 * (high - low) or abs(high) or 1.0
    low = max(low - margin, 0.0) if low >= 0 else low - margin
    high += margin
    counts, _ = np.histogram(null, bins=60, range=(low, high))
    heights = counts * ((base - 30) / counts.max())
    at = width * (statistic - low) / (high - low)
    side, anchor = (-6, "end") if at > width / 2 else (6, "start")
    shown = markup.number(statistic)
    parts = [
        f'<path {paint.area} d="{_steps(heights, width, base)}"/>',
        f'<path {paint.axis} d="M0 {base:g}H{width:g}"/>',
        f'<path {paint.line} d="M{at:.1f} {base:g}V8"/>',
        _text(round(at, 1) + side, 20, f"observed {shown}", anchor),
        _text(0, base + 16, markup.number(low)),
        _text(width, base + 16, markup.number(high), "end"),
    ]
    title = (
        f"Histogram of {len(null):,} values of the statistic under the null; observed {shown}, "
        f"largest {markup.number(float(null.max()))}"
    )
    return _picture(title, width, base + 24, parts)


def heights(periods: Sequence[Period]) -> tuple[str, Floats]:
    """What a picture of periods shows of each, and its name; nan where there is none.

    The statistic; of tests that have no single one, the digits before an adjusted p-value.
    """
    if any(period.statistic is not None for period in periods):
        return "statistic", np.array(
            [np.nan if p.statistic is None else p.statistic for p in periods], dtype=np.float64
        )
    p = [np.nan if p.pvalue_adjusted is None else p.pvalue_adjusted for p in periods]
    return "−log₁₀ p", -np.log10(np.array(p, dtype=np.float64))


def series(periods: Sequence[Period], paint: Paint) -> str:
    """The statistic of each period, a gap where there is none; periods with drift are filled."""
    width, top, base, left = 720.0, 22.0, 150.0, 46.0
    what, values = heights(periods)
    seen = values[np.isfinite(values)]
    low, high = (min(0.0, seen.min()), max(0.0, seen.max())) if len(seen) else (0.0, 1.0)
    if not high > low:
        high = low + 1.0
    x = left + 6 + (width - left - 12) * (np.arange(len(periods)) + 0.5) / max(len(periods), 1)
    y = base - (base - top) * (values - low) / (high - low)
    path, pen = [], "M"
    for across, down in zip(x, y, strict=True):
        if np.isnan(down):
            pen = "M"
            continue
        path.append(f"{pen}{across:.1f} {down:.1f}")
        pen = "L"
    parts = [
        f'<path {paint.axis} d="M{left:g} {top:g}V{base:g}H{width:g}"/>',
        f'<path {paint.axis} d="{"".join(path)}"/>',
        _text(0, 10, what),
        _text(left - 4, top + 4, markup.number(float(high)), "end"),
        _text(left - 4, base, markup.number(float(low)), "end"),
    ]
    for period, value, across, down in zip(periods, values, x, y, strict=True):
        if np.isnan(down):
            continue
        told = f"{what} {markup.number(float(value))}, p {markup.number(period.pvalue_adjusted)}"
        look, size = (paint.mark, 4) if period.drift else (paint.bar, 2.5)
        parts.append(
            f'<circle {look} cx="{across:.1f}" cy="{down:.1f}" r="{size}">'
            f"<title>{markup.text(period.label)}: {told}</title></circle>"
        )
    every = max(1, -(-len(periods) // 8))
    parts += [
        _text(round(across, 1), base + 16, markup.fitting(period.label, 13), "middle")
        for period, across in list(zip(periods, x, strict=True))[::every]
    ]
    title = f"{what} of {len(periods):,} periods; those with drift are filled"
    return _picture(title, width, base + 22, parts)
