"""From tensors to arrays and back: value and gradients of any function of the table in autograd.

    tensors -> arrays on the same memory -> the function on arrays -> value, gradients -> tensors

A scalar's gradients are computed with it, in one call, and only multiplied in the backward pass.
The loss of each row comes alone; its gradients are computed in the backward pass, when it is known
by what to weight the rows. Eager code goes through an `autograd.Function`; `torch.compile` sees
operators of `torch.library` instead, whose other arguments travel as text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pairtile._front.differentiable import FUNCTIONS, Differentiable
from pairtile._front.results import Result
from pairtile._front.wanted import Only
from pairtile.kernels.kernel import Kernel, kernel_class

TWICE = (
    "pairtile.torch has first derivatives only: a gradient of {name} was to be differentiated "
    "again (create_graph=True)"
)
_NARROW = (torch.float16, torch.bfloat16, torch.float32, torch.int8, torch.uint8)
_KERNEL = "kernel"  # what the parts of one begin with
_SCALARS = ("temperature", "logit_scale", "bias")
_NOTHING = nullcontext()


class Call(NamedTuple):
    """A function, the names of its tensors in their order, and its other arguments."""

    function: Differentiable
    names: tuple[str, ...]
    others: dict[str, Any]


def _dtype(call: Call, tensors: Sequence[Tensor]) -> torch.dtype:
    """Of the value: that in which the function works."""
    function = call.function
    for name, tensor in zip(call.names, tensors, strict=True):
        sets = name in function.gradients and (tensor.ndim == 2 or name in function.rows)
        if sets and tensor.dtype not in _NARROW:
            return torch.float64
    return torch.float32


def _value_shape(call: Call, tensors: Sequence[Tensor]) -> tuple[int, ...]:
    if not call.function.by_column:
        return ()
    rows = tensors[call.names.index(call.function.rows[0])]
    return call.function.value_shape(tuple(rows.shape))


def _array(name: str, tensor: Tensor) -> Any:
    """What a function on arrays gets: memory that is shared on the CPU, the tensor on a GPU."""
    if name in _SCALARS and tensor.numel() == 1:
        return tensor.item()
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_csr:
        parts = tensor.crow_indices(), tensor.col_indices(), tensor.values()
        return tuple(_array(name, part.cpu()) for part in parts)
    if not tensor.is_cpu:
        return tensor
    if tensor.dtype == torch.bfloat16:  # which NumPy lacks
        tensor = tensor.float()
    return (tensor.resolve_neg() if tensor.is_neg() else tensor).numpy()


def _tensor(found: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(found)
    elif not isinstance(found, torch.Tensor):
        # which takes half as long as torch.tensor
        return torch.scalar_tensor(float(found), dtype=dtype, device=device)
    same = found.dtype == dtype and found.device == device
    moved: Tensor = found if same else found.to(device, dtype)
    return moved


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _field(result: Any, field: str | int) -> Any:
    return result[field] if isinstance(field, int) else getattr(result, field)


def _gradients(call: Call, result: Any, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> Any:
    """Those of the wanted tensors, each in the shape of its tensor, or by column.

    For half precision in float32, which autograd rounds once they are scaled.
    """
    of_value = _value_shape(call, tensors)
    for name, tensor, want in zip(call.names, tensors, wanted, strict=True):
        if not want:
            continue
        found = _field(result, call.function.gradients[name])
        gradient = _tensor(0.0 if found is None else found, _wide(tensor), tensor.device)
        if name == "temperature":  # the result has it by 1 / temperature
            gradient = -gradient / tensor.detach() ** 2
        shape: tuple[int, ...] = tensor.shape
        if of_value:
            shape = call.function.gradient_shape(name, shape, of_value)
        if gradient.shape != shape:  # a number for a tensor of one, or 0 for all entries
            gradient = gradient.expand(shape).clone()
        yield gradient


def _run(call: Call, tensors: Sequence[Tensor], **more: Any) -> Any:
    given = {name: _array(name, t) for name, t in zip(call.names, tensors, strict=True)}
    return call.function.plain(**given, **call.others, **more)


def _asked(call: Call, wanted: Sequence[bool]) -> Only:
    """What a function is asked for gradients with: it may leave out those that nobody wants."""
    return Only([name for name, want in zip(call.names, wanted, strict=True) if want])


def value(call: Call, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    """The value, then the gradients of the wanted tensors."""
    function = call.function
    dtype, device = _dtype(call, tensors), tensors[0].device
    if not any(wanted):
        result = _run(call, tensors)
        found = _field(result, function.value) if isinstance(result, Result) else result
        return [_tensor(found, dtype, device)]
    result = _run(call, tensors, **{function.switch: _asked(call, wanted)})
    found = _tensor(_field(result, function.value), dtype, device)
    return [found, *_gradients(call, result, tensors, wanted)]


def rows(call: Call, tensors: Sequence[Tensor]) -> Tensor:
    """The loss of each row."""
    return _tensor(_run(call, tensors).per_row, _dtype(call, tensors), tensors[0].device)


def row_gradients(
    call: Call, upstream: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor]:
    """Gradients of Σ upstream_i · per_row_i."""
    result = _run(call, tensors, grad=_asked(call, wanted), grad_rows=_array("grad_rows", upstream))
    return list(_gradients(call, result, tensors, wanted))


# --- eager ---------------------------------------------------------------------------------------


def unrecorded() -> AbstractContextManager[None]:
    """Of a backward pass, which is recorded only where a graph of the gradients is wanted."""
    return torch.no_grad() if torch.is_grad_enabled() else _NOTHING


class _Once(torch.autograd.Function):
    """A gradient as it is, a function of the tensors that it came from."""

    @staticmethod
    def forward(ctx: Any, name: str, gradient: Tensor, *tensors: Tensor) -> Tensor:
        ctx.name = name
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        raise RuntimeError(TWICE.format(name=ctx.name))


def once(
    name: str, gradients: list[Tensor | None], tensors: Sequence[Tensor]
) -> list[Tensor | None]:
    """The gradients; while a graph of them is made, such that differentiating them is an error.

    By tensors that they depend on, or what leads to one of them would be left out in silence.
    """
    if not torch.is_grad_enabled():
        return gradients
    return [None if g is None else _Once.apply(name, g.detach(), *tensors) for g in gradients]


def times(upstream: Tensor, gradients: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, scaled; those of a loss that is the last, whose upstream is 1, as they are."""
    if upstream.is_cpu and upstream.item() == 1.0:
        return list(gradients)
    # a value on a GPU may have weights on the host
    return [upstream.to(gradient.device) * gradient for gradient in gradients]


def _pulled(
    call: Call, upstream: Tensor, gradients: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor]:
    """The gradients of what has this gradient by the value."""
    names = [name for name, want in zip(call.names, wanted, strict=True) if want]
    return [
        call.function.pulled(
            name, upstream.to(gradient if upstream.ndim else gradient.device), gradient
        )
        for name, gradient in zip(names, gradients, strict=True)
    ]


def chosen(tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    """Those that are wanted."""
    return [tensor for tensor, want in zip(tensors, wanted, strict=True) if want]


def spread(gradients: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor | None]:
    """One gradient or None for each tensor, from those of the wanted ones."""
    each = iter(gradients)
    return [next(each) if want else None for want in wanted]


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, wanted: tuple[bool, ...], *tensors: Tensor) -> Tensor:
        found, *gradients = value(call, tensors, wanted)
        ctx.save_for_backward(*gradients)
        ctx.call, ctx.wanted, ctx.tensors = call, wanted, chosen(tensors, wanted)
        return found

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        with unrecorded():
            if upstream.ndim:
                scaled = _pulled(ctx.call, upstream, ctx.saved_tensors, ctx.wanted)
            else:
                scaled = times(upstream, ctx.saved_tensors)
        found = spread(scaled, ctx.wanted)
        return None, None, *once(ctx.call.function.name, found, (upstream, *ctx.tensors))


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, wanted: tuple[bool, ...], *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.call, ctx.wanted = call, wanted
        return rows(call, tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        with unrecorded():
            found = row_gradients(ctx.call, upstream, ctx.saved_tensors, ctx.wanted)
        from_these = upstream, *ctx.saved_tensors
        return None, None, *once(ctx.call.function.name, spread(found, ctx.wanted), from_these)


# --- compiled ------------------------------------------------------------------------------------


def _parts(value: Any) -> Any:
    """A value as tuples of constants, kernels among them, which the tracer knows only by fields."""
    if isinstance(value, Kernel):
        names = [one.name for one in fields(value)]  # type: ignore[arg-type]
        known = tuple((name, _parts(getattr(value, name))) for name in names)
        return (_KERNEL, type(value).__name__, known)
    if isinstance(value, np.random.Generator):
        raise TypeError("under torch.compile rng must be a seed or None, not a Generator")
    return tuple(_parts(one) for one in value) if isinstance(value, tuple) else value


def _whole(parts: Any) -> Any:
    """What `_parts` took apart, as JSON gives it back."""
    if not isinstance(parts, list):
        return parts
    if len(parts) == 3 and parts[0] == _KERNEL:
        kernel: Any = object.__new__(kernel_class(parts[1]))
        vars(kernel).update((name, _whole(one)) for name, one in parts[2])
        return kernel
    return tuple(_whole(one) for one in parts)


def _encode(function: str, names: tuple[str, ...], others: tuple[tuple[str, Any], ...]) -> str:
    """The arguments that are no tensors, as text."""
    return json.dumps((function, names, others))


# Run while the graph is traced, where its arguments are constants.
_constant = torch.compiler.assume_constant_result(_encode)


@lru_cache(maxsize=256)
def _decode(text: str) -> Call:
    function, names, others = json.loads(text)
    given = {name: _whole(parts) for name, parts in others}
    return Call(FUNCTIONS[function], tuple(names), given)


def _value_op(call: str, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    return value(_decode(call), tensors, wanted)


def _value_like(call: str, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    known = _decode(call)
    shape = _value_shape(known, tensors)
    empty = torch.empty(shape, dtype=_dtype(known, tensors), device=tensors[0].device)
    return [empty, *_empty_like(known, tensors, wanted)]


def _empty_like(call: Call, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> list[Tensor]:
    of_value = _value_shape(call, tensors)
    shapes = (
        call.function.gradient_shape(name, tuple(t.shape), of_value)
        for name, t in zip(call.names, tensors, strict=True)
    )
    return [
        torch.empty(shape, dtype=_wide(t), device=t.device)
        for shape, t, want in zip(shapes, tensors, wanted, strict=True)
        if want
    ]


def _keep_value(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    text, tensors, ctx.wanted = inputs
    ctx.tensors = chosen(tensors, ctx.wanted)
    ctx.call = _decode(text)
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _value_backward(ctx: Any, upstream: list[Tensor]) -> Any:
    scaled = _pulled(ctx.call, upstream[0], ctx.saved_tensors, ctx.wanted)
    found = spread(scaled, ctx.wanted)
    return None, once(ctx.call.function.name, found, (upstream[0], *ctx.tensors)), None


def _rows_op(call: str, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> Tensor:
    return rows(_decode(call), tensors)


def _rows_like(call: str, tensors: Sequence[Tensor], wanted: Sequence[bool]) -> Tensor:
    known = _decode(call)
    n = known.function.per_row * tensors[0].shape[0]
    return torch.empty(n, dtype=_dtype(known, tensors), device=tensors[0].device)


def _keep_rows(ctx: Any, inputs: Any, output: Tensor) -> None:
    ctx.text, tensors, ctx.wanted = inputs
    ctx.save_for_backward(*tensors)


def _rows_backward(ctx: Any, upstream: Tensor) -> Any:
    found = _row_gradients(ctx.text, upstream, list(ctx.saved_tensors), ctx.wanted)
    from_these = upstream, *ctx.saved_tensors
    name = _decode(ctx.text).function.name
    return None, once(name, spread(found, ctx.wanted), from_these), None


def _row_gradients_op(
    call: str, upstream: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor]:
    return row_gradients(_decode(call), upstream, tensors, wanted)


def _row_gradients_like(
    call: str, upstream: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor]:
    return _empty_like(_decode(call), tensors, wanted)


def _operator(name: str, run: Any, like: Any, schema: str) -> Any:
    op = torch.library.custom_op(f"pairtile::{name}", run, mutates_args=(), schema=schema)
    op.register_fake(like)
    return op


_TENSORS = "str call, Tensor[] tensors, bool[] wanted"
_value = _operator("value", _value_op, _value_like, f"({_TENSORS}) -> Tensor[]")
_value.register_autograd(_value_backward, setup_context=_keep_value)
_rows = _operator("rows", _rows_op, _rows_like, f"({_TENSORS}) -> Tensor")
_rows.register_autograd(_rows_backward, setup_context=_keep_rows)
_row_gradients = _operator(
    "row_gradients",
    _row_gradients_op,
    _row_gradients_like,
    "(str call, Tensor upstream, Tensor[] tensors, bool[] wanted) -> Tensor[]",
)


# --- both ----------------------------------------------------------------------------------------


def _scalars_as_tensors(call: Call, tensors: list[Tensor]) -> tuple[Call, list[Tensor]]:
    """Numbers that change from step to step, such as a temperature, moved among the tensors.

    As text they would be a part of the graph, and another number another graph.
    """
    moved = {name: v for name, v in call.others.items() if name in _SCALARS and type(v) is float}
    others = {name: v for name, v in call.others.items() if name not in moved}
    more = [torch.full((), v, dtype=torch.float64) for v in moved.values()]
    return Call(call.function, (*call.names, *moved), others), [*tensors, *more]


def differentiable(call: Call, tensors: list[Tensor], reduction: str) -> Tensor:
    """The value, or with the reduction "none" the loss of each row, in autograd."""
    recording = torch.is_grad_enabled()
    wanted = tuple(recording and t.requires_grad for t in tensors)
    for name, want in zip(call.names, wanted, strict=True):
        if want and name not in call.function.gradients:
            raise call.function.refuse(name, f"{name}.detach()")
    alone = reduction == "mean"
    found: Tensor
    if torch.compiler.is_compiling():
        call, tensors = _scalars_as_tensors(call, tensors)
        wanted += (False,) * (len(tensors) - len(wanted))
        others = tuple((name, _parts(other)) for name, other in call.others.items())
        text = _constant(call.function.name, call.names, others)
        found = (
            _value(text, tensors, list(wanted))[0] if alone else _rows(text, tensors, list(wanted))
        )
    elif any(wanted):
        found = (_Value if alone else _Rows).apply(call, wanted, *tensors)
    else:
        found = value(call, tensors, wanted)[0] if alone else rows(call, tensors)
    return found
