"""Kernel sums by tensor cores: Gaussians, energy kernels of exponent 1, and their sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from pairtile import _cuda
from pairtile._cuda_backend import panels
from pairtile._cuda_backend.memory import Rows, address, where
from pairtile._cuda_backend.panels import Findings, Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairtile._progress import Report

    Term = tuple[float, str, tuple[float, ...]]

_TOLERANCE = 2e-6  # of the largest kernel value, for what a squared distance may be off by
# Of a batch: two blocks for each multiprocessor of a large device, and launches well below a second.
_ROWS = 2 * 132 * 256
