"""Costs whose p-th powers leave float64: of large orders, and of data far from 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._backends import choose
from pairtile._backends.rows import Rows
from pairtile._front import validate

if TYPE_CHECKING:
    from numpy.typing import NDArray


def power(base: float, exponent: float) -> float:
    """base^exponent, infinite where it is too large."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


def out_of_reach(costs: NDArray[np.float64], p: float) -> NDArray[np.bool_]:
    """Of which lines p-th powers may have lost what their root would show."""
    if p == 1:
        return ~np.isfinite(costs)
    return ~((costs > 2.0**-960) & (costs < 2.0**960))


class InReach:
    """Distances whose p-th powers leave float64: in units of the largest difference of each line.

    Of large orders, and of data far from 1; in host memory and in float64, whatever the input. Rows
    without mass stay where they are if it is asked what a share of mass would change there.
    """

    def __init__(
        self,
        a: Any,
        b: Any,
        along: Any,
        p: float,
        wa: Any,
        wb: Any,
        workers: int,
        *,
        massless: bool = False,
        memory_limit: int = 0,
    ) -> None:
        self._p, self._weights = p, (wa, wb)
        self._workers, self._memory_limit = workers, memory_limit
        self._dtype = validate.working_dtype(a, b)
        if any(isinstance(s, Rows) for s in (a, b)):
            # blocks have a unit of their own, in which nothing counts that has no mass
            x, y = (s.wide() if isinstance(s, Rows) else s for s in (a, b))
            self._module, unit = choose.module(x, y), 1.0
        else:
            x, y = (validate.host(s).astype(np.float64) for s in (a, b))
            for rows, w in ((x, wa), (y, wb)):
                # rows without mass, which may be of any size, are like one that has
                if w is not None and not massless:
                    rows[w == 0] = rows[np.argmax(w)]
            on_host = validate.in_host_memory(a, b) and choose.backend() != "cuda"
            self._module = choose.module(x, y) if on_host else choose.host_module()
            largest = max(float(np.abs(s).max()) for s in (x, y))
            exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
            unit = 2.0 ** min(max(exponent, -1021), 1023)
            x, y = x * (1 / unit), y * (1 / unit)
        self._x, self._y = x, y
        self._along = None if along is None else along.astype(np.float64)
        tops = self._costs(math.inf)
        self._tops = np.where(tops > 0, tops, 1.0)
        if self._along is None:
            self._x, self._y = self._x / self._tops, self._y / self._tops
        else:
            self._along = self._along / self._tops
        relative = tops if p == math.inf else np.where(tops > 0, self._costs(p), 0.0)
        self._relative = relative / self._tops if p == math.inf else relative ** (1 / p)
        with np.errstate(over="ignore", under="ignore"):
            self.distances = self._tops * self._relative * unit
        self._unit = unit

    def _costs(self, p: float) -> Any:
        return self._found(p, None)[0]

    def _found(self, p: float, shares: Any, weight_gradient: bool = False) -> Any:
        return self._module.sliced_costs(
            self._x, self._y, self._along, p, *self._weights, gradient=shares is not None,
            weight_gradient=weight_gradient, direction_weights=shares, workers=self._workers,
            progress=None, memory_limit=self._memory_limit,
        )  # fmt: skip

    def value(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], float]:
        """The distance over all lines, and p-th powers in its own unit with their mean."""
        distances = self._tops * self._relative
        top = float(distances.max()) or 1.0
        with np.errstate(under="ignore"):
            powers = (distances / top) ** self._p
        mean = float(np.sum(weights * powers))
        return top * mean ** (1 / self._p) * self._unit, powers, mean

    def gradients(self, weights: NDArray[np.float64], value: float) -> Any:
        """Those of the value by the points and by their mass: of Σ w M^p cost.

        M is the unit of each line.
        """
        value /= self._unit
        share = np.zeros_like(self._tops)
        if value > 0:
            with np.errstate(under="ignore"):
                share = weights / self._p * (self._tops / value) ** (self._p - 1) * self._tops
        share[self._relative == 0] = 0.0
        _, *by_points, of_x, of_y, _ = self._found(self._p, share, weight_gradient=True)
        with np.errstate(over="ignore", under="ignore"):
            return *self._narrowed(by_points), of_x * self._unit, of_y * self._unit

    def gradients_by_column(self, weight_gradient: bool) -> Any:
        """Those of the distance of each column by the points and by the shares of mass of rows."""
        apart = self._relative > 0
        shares = np.where(apart, self._relative, 1.0) ** (1 - self._p) / self._p * apart
        _, *by_points, of_x, of_y, _ = self._found(self._p, shares, weight_gradient)
        if not weight_gradient:
            return *self._narrowed(by_points), None, None
        with np.errstate(over="ignore", under="ignore"):
            by_mass = (slopes * self._tops[:, None] * self._unit for slopes in (of_x, of_y))
            return *self._narrowed(by_points), *by_mass

    def _narrowed(self, gradients: Any) -> Any:
        return [validate.narrowed(g, self._dtype) for g in gradients]
