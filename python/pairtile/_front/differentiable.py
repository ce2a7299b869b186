"""Which functions have gradients, and where their results keep them.

A function that is added here is one of `pairtile.torch`, in autograd and in `torch.compile`, and
one of `pairtile.jax`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pairtile
from pairtile._front import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Differentiable:
    """A function on arrays that gives its gradients when asked.

    Attributes
    ----------
    name : str
        Of the function in `pairtile`, and of that on tensors.
    rows : tuple of str
        Its arguments without a default: sets of rows, or labels.
    gradients : mapping
        For each argument with a gradient, the field of the result that holds it.
    switch : str
        The keyword that asks for gradients.
    value : str or int
        The field of the value, in a result with gradients.
    per_row : int
        Losses of rows for each row of x; 0 where there are none.
    by_column : bool
        Whether 2-D rows are a problem for each column: their gradients are of the value of their
        own column, and those of arguments without columns are side by side.
    """

    name: str
    rows: tuple[str, ...]
    gradients: Mapping[str, str | int]
    switch: str = "grad"
    value: str | int = "loss"
    per_row: int = 1
    by_column: bool = False

    @cached_property
    def plain(self) -> Callable[..., Any]:
        """The function on arrays."""
        function: Callable[..., Any] = getattr(pairtile, self.name)
        return function

    @cached_property
    def keywords(self) -> Mapping[str, inspect.Parameter]:
        """The keywords that the function on tensors takes from that on arrays."""
        apart = {*self.rows, self.switch, "grad_rows", "full", "progress", "devices"}
        parameters = inspect.signature(self.plain).parameters
        return {name: one for name, one in parameters.items() if name not in apart}

    def bound(self, positional: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        """Arguments by their names, as far as these are known."""
        if len(positional) > len(self.rows):
            raise TypeError(
                f"{self.name}() takes {len(self.rows)} positional arguments: "
                f"{', '.join(self.rows)}; got {len(positional)}"
            )
        given = dict(zip(self.rows, positional, strict=False))
        for name in keywords:
            if name in given:
                raise TypeError(f"{self.name}() got two values of {name!r}")
            if name not in self.keywords and name not in self.rows:
                hint = words.keyword_hint(name, [*self.rows, *self.keywords])
                raise TypeError(f"{self.name}() on tensors takes no keyword {name!r}; {hint}")
        given.update(keywords)
        for name in self.rows:
            if name not in given:
                raise TypeError(f"{self.name}() lacks the argument {name!r}")
        return given

    def value_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the value, from that of the first rows."""
        return shape[1:] if self.by_column else ()

    def gradient_shape(
        self, name: str, shape: tuple[int, ...], value: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The shape of the gradient by an argument, from its own and that of the value."""
        return shape if name in self.rows else (*shape, *value)

    def pulled(self, name: str, upstream: Any, gradient: Any) -> Any:
        """The gradient by an argument of what has this gradient by the value."""
        summed = upstream.ndim and name not in self.rows
        return gradient @ upstream if summed else upstream * gradient

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return (inspect.getdoc(self.plain) or "").partition("\n")[0]

    def signature(self, *more: inspect.Parameter) -> inspect.Signature:
        """That of the function on tensors, with more keywords."""
        parameter = inspect.Parameter
        given = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in self.rows]
        keywords = [one.replace(annotation=parameter.empty) for one in self.keywords.values()]
        return inspect.Signature([*given, *keywords, *more])

    def refuse(self, name: str, way_out: str) -> ValueError:
        """The error of an argument that has no gradient where one is wanted."""
        return ValueError(
            f"{self.name} has no gradient by {name}, which requires one; pass {way_out}"
        )


_PAIR = {"x": "grad_x", "y": "grad_y"}
_WEIGHTS = {"weights": "grad_weights"}
_SOFTMAX = {"temperature": "grad_scale", "logit_scale": "grad_scale", **_WEIGHTS}
_SAMPLES = {**_PAIR, "x_weights": "grad_x_weights", "y_weights": "grad_y_weights"}

_SCORED = {"x": "grad_x", "scores": "grad_scores"}
_TWO, _LABELLED = ("x", "y"), ("x", "labels")

FUNCTIONS = {
    function.name: function
    for function in (
        Differentiable("info_nce", _TWO, {**_PAIR, **_SOFTMAX}),
        Differentiable("clip_loss", _TWO, {**_PAIR, **_SOFTMAX}),
        Differentiable("gist_loss", _TWO, {**_PAIR, **_SOFTMAX}),
        Differentiable("siglip_loss", _TWO, {**_PAIR, **_SOFTMAX, "bias": "grad_bias"}),
        Differentiable("supcon_loss", _LABELLED, {"x": "grad_x", "bank": "grad_y", **_SOFTMAX}),
        Differentiable("nt_xent_loss", _TWO, {**_PAIR, **_SOFTMAX}, per_row=2),
        Differentiable("triplet_loss", _LABELLED, {"x": "grad_x", **_WEIGHTS}),
        Differentiable("circle_loss", _LABELLED, {"x": "grad_x", **_WEIGHTS}),
        Differentiable("multi_similarity_loss", _LABELLED, {"x": "grad_x", **_WEIGHTS}),
        Differentiable("alignment", _TWO, {"x": 1, "y": 2}, "grad", 0, 0),
        Differentiable("uniformity", ("x",), {"x": 1}, "grad", 0, 0),
        Differentiable("mmd", _TWO, _SAMPLES, "return_gradient", "value", 0),
        Differentiable("energy_distance", _TWO, _SAMPLES, "return_gradient", "value", 0),
        Differentiable("sliced_wasserstein", _TWO, _SAMPLES, "return_gradient", "value", 0),
        Differentiable("sliced_energy", _TWO, _PAIR, "return_gradient", "value", 0),
        Differentiable(
            "wasserstein_1d", _TWO, _SAMPLES, "return_gradient", "value", 0, by_column=True
        ),
        Differentiable("hsic", _TWO, _PAIR, "return_gradient", "value", 0),
        Differentiable("cka", _TWO, _PAIR, "return_gradient", "value", 0),
        Differentiable(
            "kernel_stein_discrepancy", ("x", "scores"), _SCORED, "return_gradient", "value", 0
        ),
    )
}
