"""The processes of a group in a circle, round which blocks of rows travel."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ring:
    """The processes of a group in a circle, and how many rows each has.

    Attributes
    ----------
    rank, size : int
        Of this process among them, and their number.
    rows, columns : tuple of int
        Rows of x and of y that each process has, once they agree.
    wants : tuple of bool
        Whether any process wants the gradients by x, by y, and by numbers.
    by_row : bool
        Whether each row has a temperature of its own.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    wants: tuple[bool, ...]
    by_row: bool

    def __init__(self, group: Any) -> None:
        self.group = dist.group.WORLD if group is None else group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._next, self._before = (
            dist.get_global_rank(self.group, (self.rank + step) % self.size) for step in (1, -1)
        )

    def agree(
        self,
        x: Tensor,
        y: Tensor,
        *,
        wide: bool,
        wants: tuple[bool, bool, bool],
        by_row: bool | None,
        options: Any,
        failed: bool,
    ) -> None:
        """Tell all how many rows there are; an error in one process is one in all.

        `by_row` is None where this process cannot tell: a temperature of one row.
        """
        alike = zlib.crc32(repr(options).encode())
        shape = {None: 0, False: 1, True: 2}[by_row]
        mine = torch.tensor(
            [len(x), len(y), x.shape[-1], wide, alike, failed, shape, *wants],
            dtype=torch.int64,
            device=x.device,
        )
        every = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(every, mine, group=self.group)
        told = [one.tolist() for one in every]
        self.rows, self.columns, features, wides, marks, fails, shapes, *wanted = zip(
            *told, strict=True
        )
        self.wants = tuple(any(some) for some in wanted)
        self.by_row = 2 in shapes
        if any(fails):
            if failed:
                return
            self._refused(fails)
        for what, values in (("columns", features), ("float64 as working dtype", wides)):
            if len(set(values)) > 1:
                raise ValueError(f"the ranks differ in {what}: {list(values)}")
        if len(set(marks)) > 1:
            raise ValueError(f"the ranks differ in options; this one has {options}")
        if {1, 2} <= set(shapes):
            raise ValueError("the ranks differ in whether each row has a temperature of its own")

    def _refused(self, fails: Any) -> None:
        raise RuntimeError(f"rank {fails.index(1)} of the group refused its rows, and says why")

    def check(self, error: Exception | None, device: torch.device) -> None:
        """An error that one process found once they agreed, in all of them."""
        mine = torch.tensor(int(error is not None), device=device)
        every = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(every, mine, group=self.group)
        if error is not None:
            raise error
        fails = [int(one) for one in every]
        if any(fails):
            self._refused(fails)

    def owner(self, step: int) -> int:
        """Whose block is here after so many steps."""
        place: int = (self.rank - step) % self.size
        return place

    def move(self, tensors: list[Tensor], count: int) -> list[Tensor]:
        """Send these on, and take as many of `count` rows from the process before."""
        received = [t.new_empty((count, *t.shape[1:])) for t in tensors]
        if self.size == 1:
            return tensors
        moves = []
        for out, came in zip(tensors, received, strict=True):
            if len(out):
                moves.append(dist.P2POp(dist.isend, out, self._next, self.group))
            if count:
                moves.append(dist.P2POp(dist.irecv, came, self._before, self.group))
        if moves:
            for work in dist.batch_isend_irecv(moves):
                work.wait()
        return received

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        dist.all_reduce(value, group=self.group)
        return value

    def largest(self, value: Tensor) -> Tensor:
        """The largest of all processes."""
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=self.group)
        return value

    def numbered(
        self, names: tuple[str, ...], ids: list[NDArray[Any]]
    ) -> list[NDArray[np.float64]]:
        """Ids as numbers, equal ones alike in all processes."""
        mine = np.unique(np.concatenate(ids)) if sum(map(len, ids)) else None
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, mine, group=self.group)
        known = [some for some in every if some is not None]
        if len({some.dtype.kind in "iu" for some in known}) > 1:
            raise TypeError(f"{' and '.join(names)} must be integers in all ranks, or strings")
        if not known:
            return [np.zeros(0) for _ in ids]
        of_all = np.unique(np.concatenate(known))
        return [
            (np.searchsorted(of_all, some) if len(some) else some).astype(np.float64)
            for some in ids
        ]
