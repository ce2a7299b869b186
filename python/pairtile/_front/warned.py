"""Warnings that point to the line of the user, however many of our own frames are above it."""

from __future__ import annotations

import sys
import warnings


def warn(message: str) -> None:
    """UserWarning at the first frame outside the package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("pairtile"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
