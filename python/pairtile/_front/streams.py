"""The stream that a call on torch tensors works on: torch's current one.

Memory that torch or CuPy takes back after the call is then given out again in the order of that
stream, behind the work that still reads or writes it. Arrays of other libraries are ordered with
CuPy's current stream by DLPack.
"""

from __future__ import annotations

import functools
import sys
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    Function = TypeVar("Function", bound=Callable[..., Any])

_AS_IT_IS: AbstractContextManager[Any] = nullcontext()


def of_tensors(given: Iterable[Any]) -> AbstractContextManager[Any]:
    """On torch's current stream, if one of these is a CUDA tensor and CuPy is installed."""
    torch = sys.modules.get("torch")
    if torch is None:
        return _AS_IT_IS
    firsts = (x[0] if type(x) in (list, tuple) and x else x for x in given)  # sets may come so
    device = next((x.device for x in firsts if isinstance(x, torch.Tensor) and x.is_cuda), None)
    if device is None:
        return _AS_IT_IS
    try:
        from cupy import cuda
    except ImportError:  # which validation says
        return _AS_IT_IS
    stream = torch.cuda.current_stream(device)
    number = stream.device.index
    entered = ExitStack()
    entered.enter_context(cuda.Device(number))
    entered.enter_context(cuda.ExternalStream(stream.cuda_stream, number))
    return entered


def followed(function: Function) -> Function:
    """The function itself, on the stream of the tensors among its arguments."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with of_tensors(args):
            return function(*args)

    return call  # type: ignore[return-value]
