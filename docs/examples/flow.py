"""Points that flow down the sliced Wasserstein distance: onto a shape, and to shapes between two.

The gradient of SW_2² by a point says where its projections go, on average over the directions. A
step of size m·d/2, for m points in d dimensions, would on a line carry all of them to their places
at once; in the plane a few dozen steps, each along directions of its own, draw the shape. Down a
weighted sum of distances to several shapes the same steps find their barycentre (Bonneel, Rabin,
Peyré and Pfister, Sliced and Radon Wasserstein barycenters of measures, 2015).
"""

import sys
from pathlib import Path

import numpy as np

import pairtile

POINTS, STEPS, PICTURE = 400, 40, Path(__file__).parents[1] / "flow.svg"


def shape(name, rng):
    """Points along a curve around the origin, about 1 away."""
    t = 2 * np.pi * rng.random(POINTS)
    if name == "heart":
        ways = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        curve = np.stack([16 * np.sin(t) ** 3, ways + 2], axis=1) / 14
    else:
        curve = (0.8 + 0.3 * np.cos(5 * t))[:, None] * np.stack([np.sin(t), np.cos(t)], axis=1)
    return curve + 0.02 * rng.normal(size=curve.shape)


def step(y, shapes, weights, rng):
    """The points y moved down Σ w SW_2²(shape, y)."""
    down = np.zeros_like(y)
    for x, weight in zip(shapes, weights, strict=True):
        found = pairtile.sliced_wasserstein(x, y, n_projections=32, rng=rng, return_gradient=True)
        down -= weight * found.value * found.grad_y  # half of what the square has
    return y + y.size * down


def flow(shapes, weights, rng):
    """The points before each step and after the last one."""
    seen = [0.3 * rng.normal(size=(POINTS, 2))]
    for _ in range(STEPS):
        seen.append(step(seen[-1], shapes, weights, rng))
    return seen


def dots(points, colour, column, row):
    """One SVG path with a dot for each point."""
    x, y = (points * [70, -70] + [100 + 200 * column, 110 + 220 * row]).round(1).T
    path = "".join(f"M{a:g} {b:g}h0" for a, b in zip(x, y, strict=True))
    return f'<path d="{path}" stroke="{colour}"/>'


def text(words, column, row):
    """A line of text below a panel."""
    return f'<text x="{100 + 200 * column}" y="{215 + 220 * row}">{words}</text>'


def main(picture=PICTURE):
    """Draw both flows, and print how far the first one came."""
    rng = np.random.default_rng(0)
    heart, star = shape("heart", rng), shape("star", rng)
    parts = []
    seen = flow([heart], [1], rng)
    for column, at in enumerate((0, 1, 3, 10, STEPS)):
        distance = pairtile.sliced_wasserstein(heart, seen[at], rng=0)
        print(f"step {at}: {distance:.3f}")
        parts += [dots(heart, "#c8c8c8", column, 0), dots(seen[at], "#c1272d", column, 0)]
        parts.append(text(f"step {at}: {distance:.3f}", column, 0))
    for column, share in enumerate((0, 0.25, 0.5, 0.75, 1)):
        between = flow([heart, star], [1 - share, share], rng)[-1]
        parts += [dots(between, "#0072b2", column, 1)]
        parts.append(text(f"{1 - share:g} heart + {share:g} star", column, 1))
    Path(picture).write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 440" font-size="15" '
        'font-family="sans-serif" text-anchor="middle">\n'
        '<rect width="1000" height="440" fill="#fff"/>\n'
        '<g fill="none" stroke-width="3" stroke-linecap="round">\n'
        + "\n".join(part for part in parts if part.startswith("<path"))
        + "\n</g>\n"
        + "\n".join(part for part in parts if part.startswith("<text"))
        + "\n</svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
