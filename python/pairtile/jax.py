"""Losses and statistics on JAX arrays, with gradients for `jax.grad` (extra ``jax``).

Functions have the names and keywords of those in `pairtile`. JAX calls them back on the host, under
`jax.jit` too, and gets the gradients with the value; `pairtile._front.differentiable` says which
argument's gradient is found where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pairtile._front.differentiable import FUNCTIONS, Differentiable
from pairtile._front.extras import MissingExtraError
from pairtile._front.results import Result

try:
    import jax
except ImportError as error:
    raise MissingExtraError(
        'pairtile.jax needs JAX 0.4.34 or later: pip install "pairtile[jax]"'
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "alignment",
    "circle_loss",
    "cka",
    "clip_loss",
    "energy_distance",
    "gist_loss",
    "hsic",
    "info_nce",
    "kernel_stein_discrepancy",
    "mmd",
    "multi_similarity_loss",
    "nt_xent_loss",
    "siglip_loss",
    "sliced_energy",
    "sliced_wasserstein",
    "supcon_loss",
    "triplet_loss",
    "uniformity",
    "wasserstein_1d",
]

_DOC = """{summary}

`pairtile.{name}` on JAX arrays: arguments, formula and errors are described there. Arrays are
arguments of the function that `jax.grad` and `jax.jit` see, everything else is a constant.

Returns
-------
jax.Array
    The value, in float64 if rows are, else in float32.

Raises
------
TypeError, ValueError
    For unknown arguments, a derivative by an array that has none, and a second derivative.
RuntimeError
    JAX's, with the text of the error that `pairtile.{name}` raises.
"""
_NARROW = ("float16", "bfloat16", "float32", "int8", "uint8")


def _field(result: Any, field: str | int) -> Any:
    return result[field] if isinstance(field, int) else getattr(result, field)


def _host(name: str, array: Any) -> Any:
    on_host = np.asarray(array)
    scalar = name in ("temperature", "logit_scale", "bias") and on_host.size == 1
    return float(on_host.reshape(())) if scalar else on_host


def _gradient(function: Differentiable, result: Any, name: str, given: Any, like: Any) -> Any:
    found = _field(result, function.gradients[name])
    if name == "temperature":  # the result has it by 1 / temperature
        found = -np.asarray(found) / np.asarray(given) ** 2
    return np.broadcast_to(np.asarray(found, dtype=like.dtype), like.shape)


def _differentiable(
    function: Differentiable, arrays: dict[str, Any], others: dict[str, Any]
) -> Callable[..., Any]:
    """The function of these arrays alone, with its rule of differentiation."""
    names = tuple(arrays)
    likes = {name: jax.ShapeDtypeStruct(np.shape(a), a.dtype) for name, a in arrays.items()}
    wide = any(
        (len(like.shape) == 2 or name in function.rows) and like.dtype.name not in _NARROW
        for name, like in likes.items()
        if name in function.gradients
    )
    first = likes.get(function.rows[0])
    shape = function.value_shape(() if first is None else first.shape)
    value_like = jax.ShapeDtypeStruct(shape, np.float64 if wide else np.float32)
    known = {
        name: jax.ShapeDtypeStruct(function.gradient_shape(name, like.shape, shape), like.dtype)
        for name, like in likes.items()
        if name in function.gradients
    }

    def run(host: Sequence[Any], **more: Any) -> tuple[Any, dict[str, Any]]:
        given = {name: _host(name, array) for name, array in zip(names, host, strict=True)}
        return function.plain(**given, **others, **more), given

    def value(*host: Any) -> Any:
        result, _ = run(host)
        found = _field(result, function.value) if isinstance(result, Result) else result
        return np.asarray(found, dtype=value_like.dtype)

    def value_and_gradients(*host: Any) -> Any:
        result, given = run(host, **{function.switch: True})
        gradients = (_gradient(function, result, n, given[n], like) for n, like in known.items())
        return np.asarray(_field(result, function.value), dtype=value_like.dtype), *gradients

    def call(*tensors: Any) -> Any:
        return jax.pure_callback(value, value_like, *tensors, vmap_method="sequential")

    def forward(*tensors: Any) -> Any:
        for name, tensor in zip(names, tensors, strict=True):
            if tensor.perturbed and name not in function.gradients:
                raise function.refuse(name, f"jax.lax.stop_gradient({name})")
        found, *gradients = jax.pure_callback(
            value_and_gradients,
            (value_like, *known.values()),
            *(tensor.value for tensor in tensors),
            vmap_method="sequential",
        )
        return found, dict(zip(known, gradients, strict=True))

    def backward(gradients: dict[str, Any], upstream: Any) -> Any:
        if isinstance(upstream, jax.custom_derivatives.SymbolicZero):
            return (None,) * len(names)
        return tuple(
            function.pulled(name, upstream, gradients[name]).astype(likes[name].dtype)
            if name in gradients
            else None
            for name in names
        )

    rule = jax.custom_vjp(call)
    rule.defvjp(forward, backward, symbolic_zeros=True)
    found: Callable[..., Any] = rule
    return found


def _of(name: str) -> Callable[..., Any]:
    """The function of this name on JAX arrays."""
    function = FUNCTIONS[name]

    def call(*positional: Any, **keywords: Any) -> Any:
        given = function.bound(positional, keywords)
        arrays = {one: v for one, v in given.items() if isinstance(v, (jax.Array, np.ndarray))}
        others = {one: v for one, v in given.items() if one not in arrays}
        return _differentiable(function, arrays, others)(*arrays.values())

    call.__name__ = call.__qualname__ = name
    call.__doc__ = _DOC.format(summary=function.summary, name=name)
    call.__signature__ = function.signature()  # type: ignore[attr-defined]
    return call


info_nce = _of("info_nce")
clip_loss = _of("clip_loss")
gist_loss = _of("gist_loss")
siglip_loss = _of("siglip_loss")
supcon_loss = _of("supcon_loss")
nt_xent_loss = _of("nt_xent_loss")
triplet_loss = _of("triplet_loss")
circle_loss = _of("circle_loss")
multi_similarity_loss = _of("multi_similarity_loss")
alignment = _of("alignment")
uniformity = _of("uniformity")
mmd = _of("mmd")
energy_distance = _of("energy_distance")
sliced_wasserstein = _of("sliced_wasserstein")
sliced_energy = _of("sliced_energy")
wasserstein_1d = _of("wasserstein_1d")
hsic = _of("hsic")
cka = _of("cka")
kernel_stein_discrepancy = _of("kernel_stein_discrepancy")
