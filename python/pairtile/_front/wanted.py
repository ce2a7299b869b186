"""Whose gradients a call computes: those of all arguments, of none, or of some."""

from __future__ import annotations

from typing import Any


class Only(frozenset[str]):
    """In place of True where a function is asked for gradients: those of these arguments alone.

    What autograd knows and a user of arrays need not say. A function that computes more than it is
    asked for may ignore it.
    """

    __slots__ = ()


def wants(asked: Any, *names: str) -> bool:
    """Whether the gradient of any of these arguments was asked for."""
    if isinstance(asked, Only):
        return not asked.isdisjoint(names)
    return bool(asked)
