"""Sums behind distance covariance, HSIC and CKA on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._backends import choose
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    held_memory,
    in_launches,
    to_input_namespace,
    upload,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Term = tuple[float, str, tuple[float, ...]]

_WORK = 1 << 33  # products of pairs in one launch: well below a second


class _Space:
    """Rows and others, or themselves, with a kernel less its shift, as `_cuda` is given them."""

    def __init__(self, x: Any, terms: Sequence[Term], shift: float, others: Any = None) -> None:
        self.rows, self.terms = Rows(x), terms
        self.others = self.rows if others is None else Rows(others)
        normalised = any(_cuda.reads_normalised_rows(name) for _, name, _ in terms)
        sides = (self.rows, self.others)
        self._scales = {one: one.scales() if normalised else None for one in sides}
        scales = addresses((self._scales[self.rows], self._scales[self.others]))
        self.arguments = (self.rows.view, self.others.view, scales), terms, shift

    @property
    def work(self) -> int:
        """What a pair costs, in features; a few of them however short the rows are."""
        return int(self.rows.d + 8) * len(self.terms)


def joint_kernel_sums(
    x: Any,
    y: Any,
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    *,
    x_shift: float,
    y_shift: float,
    others: tuple[Any, Any] = (None, None),
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats, float, float]:
    """Sums over i != j of K_ij L_ij for each order of y, of K and of L by rows, of K² and of L².

    `y` holds n rows that are paired with those of x, then more orders of them; all but the
    products are of the first. K and L are less their shifts. Everything in float64. j may be of
    `others`, rows of x and of y that share none with these.
    """
    del workers
    with device_of(x, y):
        of_x = _Space(x, x_terms, x_shift, others[0])
        of_y = _Space(y, y_terms, y_shift, others[1])
        n, m = of_x.rows.n, of_x.others.n
        orders = of_y.rows.n // n
        x_rows, y_rows, totals = (
            cupy.zeros(size, dtype=cupy.float64) for size in (n, n, orders + 2)
        )
        batches = _cuda.held_batches(n, m, of_x.work + orders * of_y.work)
        _held, memory = held_memory(batches, m, blocks=2)
        for batch in in_launches(batches, progress):
            numbers = cupy.zeros((orders + 2, batch[1] - batch[0]), dtype=cupy.float64)
            _cuda.joint_kernel_sums(
                x=of_x.arguments,
                y=of_y.arguments,
                rows=batch,
                orders=orders,
                itself=of_x.others is of_x.rows,
                memory=memory,
                x_rows=address(x_rows),
                y_rows=address(y_rows),
                numbers=address(numbers),
                totals=address(totals),
                stream=current_stream(),
            )
        found = totals.get()
        return found[:orders], x_rows.get(), y_rows.get(), float(found[-2]), float(found[-1])


def joint_kernel_gradient(
    x: Any,
    y: Any,
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    by_row: Floats,
    *,
    diagonal: bool,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """Sum over j of l(y_i, y_j) + b_i + b_j times the derivative of k(x_i, x_j) by x_i.

    Over i != j unless `diagonal`, which only kernels of the dot product notice. In float64.
    """
    del workers
    with device_of(x, y):
        of_x, of_y = _Space(x, x_terms, 0.0), _Space(y, y_terms, 0.0)
        sets = of_x.arguments[0]
        n, d = of_x.rows.n, of_x.rows.d
        ones, sums = (cupy.full(n, value, dtype=cupy.float64) for value in (1.0, 0.0))
        numbers = float64(by_row)
        by_rows = cupy.zeros((n, d), dtype=cupy.float64)
        by_directions = cupy.zeros_like(by_rows) if sets[2][0] else None
        batches = _cuda.held_batches(n, n, 2 * of_x.work + of_y.work)
        _held, memory = held_memory(batches, n, blocks=2)
        for batch in in_launches(batches, progress):
            _cuda.joint_kernel_gradient(
                sets=sets,
                kernels=x_terms,
                beside=of_y.arguments,
                by_row=address(numbers),
                rows=batch,
                diagonal=diagonal,
                weights=addresses((ones, ones)),
                memory=memory,
                sums=address(sums),
                by_rows=address(by_rows),
                by_directions=address(by_directions),
                stream=current_stream(),
            )
        if by_directions is not None:
            _cuda.gradient_through_normalization(
                of_x.rows.view, sets[2][0], address(by_directions), address(by_rows),
                current_stream(),
            )  # fmt: skip
        return to_input_namespace(x, by_rows)[0]


def permuted_kernel_products(
    x: Any,
    y: Any,
    x_terms: Sequence[Term],
    y_terms: Sequence[Term],
    orders: NDArray[np.int64],
    *,
    x_shift: float,
    y_shift: float,
    workers: int,
    progress: Report | None = None,
) -> Floats:
    """Sum over i != j of K_ij L_o(i)o(j) for each order o, of matrices that are held.

    K and L are less their shifts. Everything in float64.
    """
    del workers
    with device_of(x, y):
        spaces = _Space(x, x_terms, x_shift), _Space(y, y_terms, y_shift)
        n = spaces[0].rows.n
        matrices = cupy.empty((2, n, n), dtype=cupy.float64)
        for space, matrix in zip(spaces, matrices, strict=True):
            _cuda.kernel_matrix(
                space.arguments, itself=True, after=0, matrix=address(matrix),
                stream=current_stream(),
            )  # fmt: skip
        on_device = upload(orders)
        products = cupy.empty(len(orders), dtype=cupy.float64)
        step = max(1, _WORK // n**2)
        parts = cupy.empty((min(step, len(orders)), _cuda.permuted_parts), dtype=cupy.float64)
        batches = [(o, min(o + step, len(orders))) for o in range(0, len(orders), step)]
        for first, stop in in_launches(batches, progress):
            _cuda.permuted_products(
                matrices=(address(matrices[0]), address(matrices[1])),
                n=n,
                orders=address(on_device) + on_device.itemsize * n * first,
                count=stop - first,
                parts=address(parts),
                products=address(products) + products.itemsize * first,
                stream=current_stream(),
            )
        out: Floats = products.get()
        return out


def line_products(
    x: Floats, y: Floats, orders: NDArray[np.int64], *, workers: int, progress: Report | None = None
) -> Floats:
    """Sum of |x_i - x_j| |y_o(i) - y_o(j)| for each order o; x ascends.

    Computed in host memory, where the columns were sorted: merging runs is a chain of sums that
    carry their rounding errors, with nothing for a GPU to do side by side. Columns on a device do
    not come here; their distances are summed over pairs.
    """
    out: Floats = choose.host_module().line_products(
        x, y, orders, workers=workers, progress=progress
    )
    return out
