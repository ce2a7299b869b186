"""Error of the sliced Wasserstein distance against the number of directions, scheme by scheme.

    python -m bench.directions [--runs 40] [--data FILE.npz] [--plot docs/directions.svg]

prints a table of mean squared errors of SW₂² and draws it. Samples are 500 rows of each of two
Gaussians with random means and covariances, and two digits of scikit-learn's data, or the arrays x
and y of a file.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import pairtile as pt

COUNTS = (32, 128, 512, 2048)
DIMENSIONS = (3, 6, 20, 100)
SCHEMES: dict[str, dict[str, Any]] = {
    "independent": {"method": "gaussian", "control": None},
    "orthogonal": {"method": "orthogonal", "control": None},
    "Sobol": {"method": "sobol", "control": None},
    "independent, moments": {"method": "gaussian", "control": "moments"},
    "Sobol, moments": {"method": "sobol", "control": "moments"},
    "default": {},
}
STYLES: dict[str, dict[str, Any]] = {
    "independent": {"color": "#777777", "marker": "s"},
    "orthogonal": {"color": "#0072b2", "marker": "D"},
    "Sobol": {"color": "#e69f00", "marker": "^"},
    "independent, moments": {"color": "#777777", "marker": "s", "linestyle": "--"},
    "Sobol, moments": {"color": "#e69f00", "marker": "^", "linestyle": "--"},
    "default": {"color": "#c1272d", "linewidth": 2.5, "marker": "o", "zorder": 3},
}
Samples = tuple[np.ndarray, np.ndarray]


def gaussians(d: int, n: int = 500) -> Samples:
    """Samples of the problem of Leluc et al. (2024), its covariances over d."""
    rng = np.random.default_rng(d)
    x, y = (
        rng.normal(1, 1, size=d) + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d)
        for _ in range(2)
    )
    return x, y


def digits() -> Samples:
    """The images of ones and of sevens."""
    from sklearn.datasets import load_digits

    data, target = load_digits(return_X_y=True)
    return data[target == 1], data[target == 7]


def errors(x: np.ndarray, y: np.ndarray, runs: int) -> dict[str, list[float]]:
    """Mean squared errors of SW₂² in units of SW₂⁴, for each number of directions."""
    exact = np.mean(
        [pt.sliced_wasserstein(x, y, n_projections=40_000, rng=10**6 + k) ** 2 for k in range(4)]
    )
    return {
        name: [
            float(
                np.mean(
                    [
                        (pt.sliced_wasserstein(x, y, n_projections=n, rng=k, **scheme) ** 2 / exact
                         - 1) ** 2
                        for k in range(runs)
                    ]
                )
            )
            for n in COUNTS
        ]
        for name, scheme in SCHEMES.items()
    }  # fmt: skip


def draw(found: dict[str, dict[str, list[float]]], file: Path) -> None:
    """A panel for each problem."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from bench.plot import TEXT

    with mpl.rc_context(TEXT):
        figure = Figure(figsize=(3.1 * len(found), 3.8), layout="constrained")
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (title, of_schemes) in zip(panels, found.items(), strict=True):
            for name, values in of_schemes.items():
                axes.loglog(COUNTS, np.sqrt(values), label=name, **STYLES[name])
            axes.set(title=title, xlabel="directions")
            axes.set_xticks(COUNTS, [str(n) for n in COUNTS])
            axes.minorticks_off()
            axes.grid(visible=True, alpha=0.3)
        panels[0].set_ylabel("relative error of SW₂²")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
        figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--data", type=Path, help="an .npz with arrays x and y, for the digits")
    parser.add_argument("--plot", type=Path, help="where the picture goes")
    options = parser.parse_args()
    problems = {f"Gaussians, d = {d}": gaussians(d) for d in DIMENSIONS}
    if options.data is None:
        problems["digits, d = 64"] = digits()
    else:
        arrays = np.load(options.data)
        problems[options.data.stem] = arrays["x"], arrays["y"]
    found = {}
    for title, (x, y) in problems.items():
        found[title] = errors(x, y, options.runs)
        print(title, *(f"L={n}" for n in COUNTS), sep="\t")
        for name, values in found[title].items():
            print(name, *(f"{v:.1e}" for v in values), sep="\t", flush=True)
    if options.plot is not None:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
