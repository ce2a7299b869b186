"""The example of a gradient flow: it comes near, and halfway is nearer to both than either is."""

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

import pairtile as pt

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "flow.py"


def test_points_flow_onto_a_shape(tmp_path, capsys):
    example = runpy.run_path(str(EXAMPLE))
    example["main"](tmp_path / "flow.svg")
    printed = capsys.readouterr().out
    distances = [float(found) for found in re.findall(r": (0\.\d+)", printed)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.03 * distances[0]
    paths = list(ElementTree.parse(tmp_path / "flow.svg").iter("{http://www.w3.org/2000/svg}path"))
    assert len(paths) == 15
    assert {path.get("d").count("M") for path in paths} == {example["POINTS"]}


def test_a_barycentre_is_nearest_on_average():
    example = runpy.run_path(str(EXAMPLE))
    rng = np.random.default_rng(1)
    shapes = [example["shape"](name, rng) for name in ("heart", "star")]
    between = example["flow"](shapes, [0.5, 0.5], rng)[-1]

    def mean_square(y):
        return np.mean([pt.sliced_wasserstein(x, y, rng=0) ** 2 for x in shapes])

    # the mean of a parallelogram: half of what either shape has
    assert mean_square(between) < 0.6 * min(map(mean_square, shapes))
