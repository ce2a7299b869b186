"""The functions of the table on tensors: arguments are sorted into tensors and others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from pairtile._front.differentiable import FUNCTIONS, Differentiable
from pairtile.torch.autograd import Call, differentiable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_DOC = """{summary}

`pairtile.{name}` on tensors, in autograd: arguments, formula and errors are described there.

Parameters
----------
{rows} : Tensor
    On the CPU, with which memory is shared, or on a CUDA device.
{reduction}**keywords
    Those of `pairtile.{name}`. Gradients go to {gradients}, if they are tensors that require one.

Returns
-------
Tensor
    {returns}, in float64 if rows are in float64, else in float32.

Raises
------
TypeError, ValueError
    As `pairtile.{name}`, and if a tensor without a gradient requires one.
RuntimeError
    If a gradient is differentiated again.
"""
_REDUCTION = """reduction : {"mean", "none"}
    One number, or one for each row.
"""


def _described(function: Differentiable) -> str:
    return _DOC.format(
        summary=function.summary,
        name=function.name,
        rows=", ".join(function.rows),
        reduction=_REDUCTION if function.per_row else "",
        gradients=", ".join(f"`{name}`" for name in function.gradients),
        returns=_returned(function),
    )


def _returned(function: Differentiable) -> str:
    if function.per_row:
        return "The loss, or that of each row"
    return (
        "The statistic, of 2-D rows one for each column" if function.by_column else "The statistic"
    )


def on_tensors(function: Differentiable) -> Callable[..., Tensor]:
    """A function of the table as one that takes tensors and is in autograd."""
    name = function.name

    def call(*positional: Any, reduction: str = "mean", **keywords: Any) -> Tensor:
        given = function.bound(positional, keywords)
        if reduction != "mean" and not (function.per_row and reduction == "none"):
            known = "'mean' and 'none'" if function.per_row else "'mean'"
            raise ValueError(f"unknown reduction {reduction!r}; known: {known}")
        tensors = {one: v for one, v in given.items() if isinstance(v, torch.Tensor)}
        for one in function.rows:
            if one in function.gradients and one not in tensors:
                raise TypeError(
                    f"{one} must be a tensor, got {type(given[one]).__name__}; "
                    f"pairtile.{name} takes arrays"
                )
        others = {one: v for one, v in given.items() if one not in tensors}
        return differentiable(
            Call(function, tuple(tensors), others), list(tensors.values()), reduction
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = _described(function)
    more = inspect.Parameter("reduction", inspect.Parameter.KEYWORD_ONLY, default="mean")
    signature = function.signature(*([more] if function.per_row else []))
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def of(name: str) -> Callable[..., Tensor]:
    """The function of this name on tensors."""
    return on_tensors(FUNCTIONS[name])
