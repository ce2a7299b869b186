"""What all backends refuse, in the same words."""

from __future__ import annotations


def require_finite(name: str, first_bad: int, start: int = 0) -> None:
    """ValueError if there is a bad row, counted from the row `start` of the argument."""
    if first_bad >= 0:
        raise ValueError(f"{name} contains NaN or Inf; the first bad row is {start + first_bad}")


def require_memory(memory_limit: int, least: int) -> None:
    """ValueError if there is a limit and it is less than the least bytes of workspace."""
    if 0 < memory_limit < least:
        raise ValueError(
            f"memory_limit={memory_limit} is too small: this search needs at least {least} bytes "
            "beside inputs and results"
        )
