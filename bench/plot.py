"""Pictures of what was measured, log–log, as SVG.

Of neighbours: time per pair against d and against k; of uniform rows among themselves, time against
their number. Of contrastive losses: time and peak memory against the batch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.peers import DISTRIBUTIONS
from bench.summary import Document

D, K = 128, 10  # the dimension of the picture over k, and the k of the one over d
GROWTH_D = 3
STYLES: dict[str, dict[str, Any]] = {
    "pairtile": {"color": "#c1272d", "linewidth": 2.5, "marker": "o", "zorder": 3},
    "faiss": {"color": "#0072b2", "marker": "s"},
    "sklearn": {"color": "#e69f00", "marker": "^"},
    "torch": {"color": "#009e73", "marker": "D"},
    "ckdtree": {"color": "#56b4e9", "marker": "<"},
    "kdtree": {"color": "#9467bd", "marker": "v", "linestyle": ":"},
    "balltree": {"color": "#cc79a7", "marker": "^", "linestyle": ":"},
    "floor": {"color": "#777777", "linestyle": "--"},
}
# Text stays text and ids stay the same: a small file, and no change where nothing changed.
TEXT: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "pairtile", "font.size": 11}
LABELS = DISTRIBUTIONS | {
    "ckdtree": "SciPy k-d tree",
    "kdtree": "scikit-learn k-d tree",
    "balltree": "scikit-learn ball tree",
    "floor": "sgemm floor",
}


def name(document: Document) -> str:
    """The file that the picture of a document is."""
    cases = document["cases"]
    if any(case["task"] == "contrastive" for case in cases):
        return "contrastive.svg"
    return "growth.svg" if cases and all(map(_is_growth, cases)) else "knn.svg"


def draw(document: Document, file: Path) -> None:
    """Draw the losses of a document if it has any, else its neighbours.

    A document of nothing but uniform rows among themselves shows how their time grows.
    """
    drawings = {"contrastive.svg": _losses, "growth.svg": _growth, "knn.svg": _neighbors}
    drawings[name(document)](document, file)


def _is_growth(case: Document) -> bool:
    sizes: Document = case["sizes"]
    return bool(case["task"] == "knn" and sizes["data"] == "uniform" and sizes["m"] == 0)


def _growth(document: Document, file: Path) -> None:
    with mpl.rc_context(TEXT):
        figure = Figure(figsize=(6, 4.6), layout="constrained")
        axes = figure.subplots()
        cases = [case for case in document["cases"] if case["sizes"]["d"] == GROWTH_D]
        k = cases[0]["sizes"]["k"]
        title = f"{k} nearest of uniform rows among themselves, d = {GROWTH_D}"
        _panel(axes, title, "n", [case | {"floor": None} for case in cases], _seconds)
        axes.set(xlabel="rows", ylabel="seconds")
        _save(figure, axes, file)


def _losses(document: Document, file: Path) -> None:
    cases = [case for case in document["cases"] if case["task"] == "contrastive"]
    d = max({case["sizes"]["d"] for case in cases})
    chosen = [case for case in cases if case["sizes"]["d"] == d]
    with mpl.rc_context(TEXT):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _panel(left, f"CLIP loss and gradient, d = {d}", "n", chosen, _seconds)
        _panel(right, "beyond inputs and gradients", "n", chosen, _megabytes)
        left.set(xlabel="batch", ylabel="seconds")
        right.set(xlabel="batch", ylabel="peak memory in MB")
        _save(figure, left, file)


def _neighbors(document: Document, file: Path) -> None:
    """Draw the cases of many queries on float32 rows; ValueError if the document has none."""
    cases = [
        case
        for case in document["cases"]
        if case["task"] == "knn"
        and case["sizes"]["shape"] == "many"
        and case["sizes"]["data"] == "float32"
    ]
    panels = [
        (f"k = {K}", "d", [case for case in cases if case["sizes"]["k"] == K]),
        (f"d = {D}", "k", [case for case in cases if case["sizes"]["d"] == D]),
    ]
    if not any(chosen for _, _, chosen in panels):
        raise ValueError(f"there is no case of many queries with k={K} or d={D} to draw")
    with mpl.rc_context(TEXT):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, (title, variable, chosen) in zip((left, right), panels, strict=True):
            _panel(axes, title, variable, chosen, _per_pair)
        left.set_ylabel("nanoseconds per pair")
        _save(figure, left if panels[0][2] else right, file)


def _save(figure: Figure, labelled: Any, file: Path) -> None:
    handles, labels = labelled.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
    figure.savefig(file, format="svg", metadata={"Date": None})


def _panel(
    axes: Any,
    title: str,
    variable: str,
    cases: list[Document],
    figure_of: Callable[[Document, str], float | None],
) -> None:
    axes.set(title=title, xlabel=variable, xscale="log", yscale="log")
    axes.grid(which="major", color="#dddddd")
    ticks = sorted({case["sizes"][variable] for case in cases})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    for name, style in STYLES.items():
        points = sorted(
            (case["sizes"][variable], y) for case in cases if (y := figure_of(case, name))
        )
        if points:
            axes.plot(*zip(*points, strict=True), label=LABELS[name], **style)


def _seconds(case: Document, name: str) -> float | None:
    medians = {entry["contender"]: entry["median"] for entry in case["contenders"]}
    return (medians | {"floor": case["floor"]}).get(name)


def _megabytes(case: Document, name: str) -> float | None:
    """Peak above the inputs, less the gradients that both return."""
    sizes = case["sizes"]
    gradients = 4 * (sizes["n"] + sizes["m"]) * sizes["d"]
    peaks = {entry["contender"]: entry["peak_memory"] for entry in case["contenders"]}
    peak = peaks.get(name)
    return max(peak - gradients, 1 << 20) / 2**20 if peak else None


def _per_pair(case: Document, name: str) -> float | None:
    seconds = _seconds(case, name)
    return 1e9 * seconds / (case["sizes"]["n"] * case["sizes"]["m"]) if seconds else None
