"""The functions of the table on tensors: arguments are sorted into tensors and others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from pairtile.torch.autograd import Call, differentiable
from pairtile.torch.table import FUNCTIONS, Differentiable

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
    text = inspect.getdoc(function.plain) or ""
    return _DOC.format(
        summary=text.partition("\n")[0],
        name=function.name,
        rows=", ".join(function.rows),
        reduction=_REDUCTION if function.per_row else "",
        gradients=", ".join(f"`{name}`" for name in function.gradients),
        returns="The loss, or that of each row" if function.per_row else "The statistic",
    )


def _signature(function: Differentiable) -> inspect.Signature:
    parameter = inspect.Parameter
    given = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in function.rows]
    reduction = parameter("reduction", parameter.KEYWORD_ONLY, default="mean")
    keywords = [one.replace(annotation=parameter.empty) for one in function.keywords.values()]
    return inspect.Signature([*given, *keywords, *([reduction] if function.per_row else [])])


def on_tensors(function: Differentiable) -> Callable[..., Tensor]:
    """A function of the table as one that takes tensors and is in autograd."""
    name, named = function.name, frozenset(function.keywords) | frozenset(function.rows)

    def call(*positional: Any, reduction: str = "mean", **keywords: Any) -> Tensor:
        if len(positional) > len(function.rows):
            raise TypeError(
                f"{name}() takes {len(function.rows)} positional arguments: "
                f"{', '.join(function.rows)}; got {len(positional)}"
            )
        given = dict(zip(function.rows, positional, strict=False))
        for one in keywords:
            if one not in named or one in given:
                raise TypeError(
                    f"{name}() on tensors takes no keyword {one!r}"
                    if one not in given
                    else f"{name}() got two values of {one!r}"
                )
        given.update(keywords)
        if reduction != "mean" and not (function.per_row and reduction == "none"):
            known = "'mean' and 'none'" if function.per_row else "'mean'"
            raise ValueError(f"unknown reduction {reduction!r}; known: {known}")
        tensors = {one: v for one, v in given.items() if isinstance(v, torch.Tensor)}
        for one in function.rows:
            if one not in given:
                raise TypeError(f"{name}() lacks the argument {one!r}")
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
    call.__signature__ = _signature(function)  # type: ignore[attr-defined]
    return call


def of(name: str) -> Callable[..., Tensor]:
    """The function of this name on tensors."""
    return on_tensors(FUNCTIONS[name])
