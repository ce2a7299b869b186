"""Sliced transport: Wasserstein and energy distances from sorted one-dimensional projections.

The public face of `cpp/slices` (project → sort → merge → reduce). Of many directions:

    x, y -> `directions` -> costs of the lines -> `controls` -> `mean` over them -> value, error,
                            └> `reach`, where p-th powers leave float64            gradients

`wasserstein` and `energy` are made so; `maximum` climbs to the best direction, `plans` keeps who
meets whom on the lines, `sphere` takes circles for lines. `line`, `columns` and `partial` are of
columns as they are. `moments` are of columns, for `controls`; `kolmogorov` says how often chance
makes the largest step between two distributions.
"""

from pairtile.slices.columns import ColumnStatistics, column_statistics
from pairtile.slices.directions import sphere_directions
from pairtile.slices.energy import energy_factor, sliced_energy
from pairtile.slices.line import wasserstein_1d
from pairtile.slices.maximum import MaxSliced, max_sliced_wasserstein
from pairtile.slices.partial import partial_wasserstein_1d
from pairtile.slices.plans import SlicedPlan, expected_sliced_plan, min_sliced_plan
from pairtile.slices.results import SlicedResult
from pairtile.slices.sphere import sliced_wasserstein_sphere
from pairtile.slices.wasserstein import sliced_wasserstein

__all__ = [
    "ColumnStatistics",
    "MaxSliced",
    "SlicedPlan",
    "SlicedResult",
    "column_statistics",
    "energy_factor",
    "expected_sliced_plan",
    "max_sliced_wasserstein",
    "min_sliced_plan",
    "partial_wasserstein_1d",
    "sliced_energy",
    "sliced_wasserstein",
    "sliced_wasserstein_sphere",
    "sphere_directions",
    "wasserstein_1d",
]
