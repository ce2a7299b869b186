"""What all backends refuse, in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Finite = bool | Literal["but NaN"]  # what is checked: Inf and NaN, nothing, or Inf alone
_CUDA_KINDS = (2, 13)  # DLPack's numbers of device memory and of managed memory


def says_cuda(x: object) -> bool:
    """Whether an array of whatever library says that it is in the memory of a CUDA device."""
    if hasattr(x, "__dlpack_device__"):
        return x.__dlpack_device__()[0] in _CUDA_KINDS
    return hasattr(x, "__cuda_array_interface__")


def refuse_cuda(name: str, given: Iterable[Any]) -> None:
    """NotImplementedError if one of these arrays is on a CUDA device."""
    if any(says_cuda(x) for x in given):
        raise NotImplementedError(f"{name} works in host memory; copy its arrays there first")


def first_infinite(x: Any) -> int:
    """First row holding Inf, -1 if there is none; of an array in either memory."""
    step = max(1, (1 << 20) // x.shape[1])
    for start in range(0, len(x), step):
        some = x[start : start + step]
        bad = ((some == float("inf")) | (some == -float("inf"))).any(axis=1)
        if bad.any():
            return start + int(bad.argmax())
    return -1


def require_finite(
    name: str, first_bad: int, start: int = 0, what: str = "NaN or Inf", where: str = ""
) -> None:
    """ValueError if there is a bad row, counted from the row `start` of the argument."""
    if first_bad >= 0:
        raise ValueError(f"{name} contains {what}; the first bad row is {start + first_bad}{where}")


def refuse_rows(name: str, bad: Any, what: str = "NaN or Inf") -> None:
    """ValueError if a row of this mask is True."""
    require_finite(name, int(bad.argmax()) if bad.any() else -1, what=what)


def require_memory(
    memory_limit: int,
    least: int,
    what: str = "this search",
    beside: str = "inputs and results",
) -> None:
    """ValueError if there is a limit and it is less than the least bytes of workspace."""
    if 0 < memory_limit < least:
        raise ValueError(
            f"memory_limit={memory_limit} is too small: {what} needs at least {least} bytes "
            f"beside {beside}"
        )
