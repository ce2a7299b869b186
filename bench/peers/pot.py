"""POT (Python Optimal Transport): sliced distances over given projections, and those of columns."""

from collections.abc import Callable

import numpy as np
import ot

from bench.case import Arrays
from bench.peers import distribution_version
from bench.slices import Columns, MaxSliced, Sliced


def start(threads: int) -> None:
    """Nothing to set for NumPy's sorts; gradients are PyTorch's, which it limits itself."""


def describe() -> str:
    return distribution_version("pot")


def sliced(case: Sliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]
    weights = {}
    if case.weighted:  # in the dtype of the rows, as it wants them
        for name, of in (("a", "x_weights"), ("b", "y_weights")):
            weights[name] = (arrays[of] / arrays[of].sum()).astype(np.float32)
    if not case.gradient:
        return lambda: float(
            ot.sliced_wasserstein_distance(x, y, projections=directions, p=2, **weights)
        )
    import torch

    torch.set_num_threads(threads)
    rows = [torch.from_numpy(a).requires_grad_() for a in (x, y)]
    along = torch.from_numpy(directions)

    def call() -> object:
        value = ot.sliced_wasserstein_distance(*rows, projections=along, p=2)
        return value.item(), *(g.numpy() for g in torch.autograd.grad(value, rows))

    return call


def columns(case: Columns, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = arrays["x"], arrays["y"]
    return lambda: ot.wasserstein_1d(x, y, p=1)


def max_sliced(case: MaxSliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y, directions = arrays["x"], arrays["y"], arrays["directions"]
    return lambda: float(ot.max_sliced_wasserstein_distance(x, y, projections=directions, p=2))
