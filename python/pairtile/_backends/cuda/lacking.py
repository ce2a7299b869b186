"""What the GPU lacks of the seam: each says so by the name that users know."""

from __future__ import annotations

from typing import Any

from pairtile._backends.refusals import not_on_gpu


def sliced_direction_slopes(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("max_sliced_wasserstein"))


def sliced_plan_distances(*_: Any, **__: Any) -> Any:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("min_sliced_plan"))


def sliced_plan(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("expected_sliced_plan"))


def circle_distances(*_: Any, **__: Any) -> Any:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("sliced_wasserstein_sphere"))


def column_statistics(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("column_statistics"))


def partial_masses(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("partial_wasserstein_1d"))


_FROM_FILES = "sliced transport of rows that are not in memory"


def centre_rows(*_: Any, **__: Any) -> Any:
    """Not on a GPU: sets that are not in memory are read whole for it."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def largest_offset(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def least_line_memory(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def line_centre(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def project_rows(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))
