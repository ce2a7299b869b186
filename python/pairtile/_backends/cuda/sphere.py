"""Distances of angles on circles on the GPU: two coordinates projected, one angle sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import address, current_stream, device_of, in_launches
from pairtile._backends.cuda.slices import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pairtile._backends.cuda.slices import SortedList
    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]


class _Circles(Lines):
    """Two sets and circles, each of which takes two lines of a batch: c, and c + half of them."""

    def __init__(self, x: Any, y: Any, frames: NDArray[Any]) -> None:
        super().__init__(x, y, frames, centred=False)  # angles are about the origin

    def _cut(self, plan: tuple[Any, ...]) -> list[tuple[int, int]]:
        step = max(stop - first for first, stop in super()._cut(plan)) // 2 * 2 or 2
        return [(i, min(i + step, self.slices)) for i in range(0, self.slices, step)]

    def _along(self, frames: NDArray[Any]) -> NDArray[Any]:
        """The first axes of the planes of a batch, then the second ones."""
        sides = (frames[:, i + s : j : 2] for i, j in self.batches for s in (0, 1))
        return np.concatenate(list(sides), axis=1)

    def angles(self, progress: Report | None) -> Iterator[tuple[tuple[int, int], list[SortedList]]]:
        """The circles of each batch, and the sorted angles of both sets."""
        halved = progress and (lambda done, total: progress(done // 2, total // 2))
        for batch in in_launches(self.batches, halved):
            first, stop = (line // 2 for line in batch)
            lists = []
            for s, rows in enumerate(self.sets):
                self._project(s, batch)
                _cuda.turn_into_angles(
                    keys=address(self._buffers[s][0]),
                    rows=rows.n,
                    count=stop - first,
                    wide=self.wide,
                    stream=current_stream(),
                )
                lists.append(self._order(s, stop - first, None))
            yield (first, stop), lists


def circle_distances(
    x: Any,
    y: Any,
    frames: NDArray[Any],
    p: float,
    *,
    linear: bool,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """W_p in turns of the angles in each plane, that of columns 2l and 2l + 1 of `frames`."""
    del workers
    with device_of(x, y):
        circles = _Circles(x, y, frames)
        for (first, stop), (of_x, of_y) in circles.angles(progress):
            _cuda.circle_distances(
                x=of_x,
                y=of_y,
                count=stop - first,
                wide=circles.wide,
                p=p,
                linear=linear,
                distances=circles.costs_from(first),
                stream=current_stream(),
            )
        distances: Floats = circles.costs[: circles.slices // 2].get()
        return distances
