"""Contrastive losses over the rows of all processes, of which each holds its own.

    blocks of y go round the ring -> log-sum-exp of each row over all blocks -> losses of rows
    they go round once more, each with its gradient -> exact gradients of the mean over all rows

No process ever holds more than two blocks besides its own. What the ring carries is computed by the
functions on arrays: a block's softmax, weighted by the share that the block has of the whole sum of
a row, is that part of the softmax over all blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

import pairtile
from pairtile.torch.autograd import once, times

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = Callable[..., tuple[Tensor, list[Tensor] | None]]

__all__ = ["clip_loss", "info_nce", "siglip_loss"]


class _Ring:
    """The processes of a group in a circle, and how many rows each has."""

    def __init__(self, group: Any) -> None:
        self.group = dist.group.WORLD if group is None else group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._next, self._before = (
            dist.get_global_rank(self.group, (self.rank + step) % self.size) for step in (1, -1)
        )

    def agree(self, x: Tensor, y: Tensor, *, wide: bool, wanted: bool, failed: bool) -> None:
        """Tell all how many rows there are; an error in one process is one in all."""
        mine = torch.tensor(
            [len(x), len(y), x.shape[-1], wide, wanted, failed], dtype=torch.int64, device=x.device
        )
        every = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(every, mine, group=self.group)
        told = [one.tolist() for one in every]
        self.rows, self.columns, features, wides, wants, fails = zip(*told, strict=True)
        self.wanted = any(wants)
        if any(fails):
            if failed:
                return
            raise RuntimeError(f"rank {fails.index(1)} of the group refused its rows, and says why")
        for what, values in (("columns", features), ("float64 as working dtype", wides)):
            if len(set(values)) > 1:
                raise ValueError(f"the ranks differ in {what}: {list(values)}")

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


@dataclass
class _Gradients:
    """Of Σ u_i · per_row_i, as far as they are known."""

    x: Tensor
    y: Tensor
    scale: float = 0.0
    bias: float = 0.0

    def add(self, found: Any, y: Tensor) -> None:
        """The gradients of one block, those of its columns to y."""
        self.x += found.grad_x
        y += found.grad_y
        self.scale += float(found.grad_scale)
        self.bias += float(found.grad_bias or 0.0)


# --- one direction of softmax --------------------------------------------------------------------


class _Softmax:
    """Log-softmax of each row over the rows of y in all processes, row i's positive being y_i."""

    def __init__(self, x: Tensor, y: Tensor, options: dict[str, Any]) -> None:
        self.x, self.y, self.options = x, y, options
        self.scale = options["logit_scale"]
        nothing = x.new_empty(0, dtype=torch.float64)
        self.per_row = self.own = nothing
        if len(x):
            own = pairtile.info_nce(x, y, **options)
            self.per_row, self.own = own.per_row, own.lse_row

    def _other(self, block: Tensor, **more: Any) -> tuple[Any, Tensor]:
        """Row i against a block without its positive, in whose place the column given is put."""
        targets = torch.arange(len(self.x)) % len(block)
        found = pairtile.info_nce(self.x, block, targets=targets, **self.options, **more)
        return found, targets.to(self.x.device)

    def losses(self, ring: _Ring, columns: tuple[int, ...]) -> Tensor:
        """Loss of each row."""
        block = self.y
        others = torch.full_like(self.own, -torch.inf)
        self.lse = {}  # of each row over the block that is here after so many steps
        for step in range(1, ring.size):
            (block,) = ring.move([block], columns[ring.owner(step)])
            if len(self.x) and len(block):
                self.lse[step] = self._other(block)[0].lse_row
                others = torch.logaddexp(others, self.lse[step])
        self.whole = torch.logaddexp(self.own, others)
        # not the difference of two sums: a loss may be far smaller than they are
        self.per_row = self.per_row + torch.nn.functional.softplus(
            others - self.own, threshold=torch.inf
        )
        return self.per_row

    def gradients(
        self, ring: _Ring, columns: tuple[int, ...], upstream: float, to: _Gradients
    ) -> None:
        """Add the gradients of `upstream` times the losses."""
        block, by_block = self.y, torch.zeros_like(to.y)
        for step in range(ring.size):
            if len(self.x) and len(block):
                self._add(step, block, by_block, upstream, to)
            block, by_block = ring.move([block, by_block], columns[ring.owner(step + 1)])
        to.y += by_block

    def _add(
        self, step: int, block: Tensor, by_block: Tensor, upstream: float, to: _Gradients
    ) -> None:
        if step == 0:
            share = torch.exp(self.own - self.whole)
            weights = upstream * share
            found = pairtile.info_nce(self.x, block, grad=True, grad_rows=weights, **self.options)
            # the positive counts in full, and not with the block's share
            rest = upstream * torch.expm1(self.own - self.whole)
            at = torch.arange(len(self.x), device=self.x.device)
        else:
            rest = upstream * torch.exp(self.lse[step] - self.whole)
            found, at = self._other(block, grad=True, grad_rows=rest)
        to.add(found, by_block)
        factor = (self.scale * rest).to(self.x.dtype)[:, None]
        positives = block[at]
        to.x += factor * positives
        by_block.index_add_(0, at, factor * self.x)
        to.scale += float(rest @ (self.x.double() * positives.double()).sum(1))


# --- the losses ----------------------------------------------------------------------------------


class _InfoNCE:
    def __init__(self, x: Tensor, y: Tensor, options: dict[str, Any]) -> None:
        self.rows = _Softmax(x, y, options)

    def losses(self, ring: _Ring, gradients: _Gradients | None, upstream: float) -> Tensor:
        per_row = self.rows.losses(ring, ring.columns)
        if gradients is not None:
            self.rows.gradients(ring, ring.columns, upstream, gradients)
        return per_row


class _Clip:
    """Half of one direction and half of the other."""

    def __init__(self, x: Tensor, y: Tensor, options: dict[str, Any]) -> None:
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} rows and y has {len(y)}; they must be paired")
        self.rows, self.columns = _Softmax(x, y, options), _Softmax(y, x, options)

    def losses(self, ring: _Ring, gradients: _Gradients | None, upstream: float) -> Tensor:
        per_row = self.rows.losses(ring, ring.columns) + self.columns.losses(ring, ring.rows)
        if gradients is not None:
            self.rows.gradients(ring, ring.columns, upstream / 2, gradients)
            turned = _Gradients(gradients.y, gradients.x)
            self.columns.gradients(ring, ring.rows, upstream / 2, turned)
            gradients.scale += turned.scale
        return per_row / 2


class _SigLip:
    """One trip: the loss of a pair knows of no other pair."""

    def __init__(self, x: Tensor, y: Tensor, options: dict[str, Any]) -> None:
        self.x, self.y, self.options = x, y, options
        if len(x):
            self.per_row = pairtile.siglip_loss(x, y, **options).per_row
        else:
            self.per_row = x.new_empty(0, dtype=torch.float64)

    def losses(self, ring: _Ring, gradients: _Gradients | None, upstream: float) -> Tensor:
        wanted = gradients is not None
        carried = [self.y, torch.zeros_like(self.y)] if wanted else [self.y]
        for step in range(ring.size):
            if len(self.x) and len(carried[0]) and (step or wanted):
                found = self._block(carried[0], upstream, grad=wanted, own=step == 0)
                if step:
                    self.per_row = self.per_row + found.per_row
                if gradients is not None:
                    gradients.add(found, carried[1])
            if wanted or step + 1 < ring.size:
                carried = ring.move(carried, ring.columns[ring.owner(step + 1)])
        if gradients is not None:
            gradients.y += carried[1]
        return self.per_row

    def _block(self, block: Tensor, upstream: float, *, grad: bool, own: bool) -> Any:
        more: dict[str, Any] = {}
        if grad:
            even = torch.full((len(self.x),), upstream, dtype=torch.float64)
            more.update(grad=True, grad_rows=even)
        if not own:  # rows of two groups: all pairs are negative
            more.update(x_groups=torch.zeros(len(self.x), dtype=torch.int64))
            more.update(y_groups=torch.ones(len(block), dtype=torch.int64))
        return pairtile.siglip_loss(self.x, block, **self.options, **more)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, name: str, group: Any, options: dict[str, Any], wanted: bool, *tensors: Tensor
    ) -> Tensor:
        x, y, *_ = (t.detach() for t in tensors)
        wide = torch.float64 in (x.dtype, y.dtype)
        x, y = (t.to(torch.float64 if wide else torch.float32).contiguous() for t in (x, y))
        ring, loss, error = _Ring(group), None, None
        names = ("logit_scale", "bias")
        options |= {n: float(t) for n, t in zip(names, tensors[2:], strict=False)}
        try:
            loss = _LOSSES[name](x, y, options)
        except (TypeError, ValueError) as found:
            error = found
        ring.agree(x, y, wide=wide, wanted=wanted, failed=error is not None)
        if error is not None or loss is None:
            raise error or RuntimeError(name)
        total = sum(ring.rows)
        gradients = _Gradients(torch.zeros_like(x), torch.zeros_like(y)) if ring.wanted else None
        upstream = ring.size / max(total, 1)
        per_row = loss.losses(ring, gradients, upstream)
        ctx.name = f"distributed.{name}"
        if gradients is not None:
            numbers = [
                torch.full_like(t, value, dtype=torch.float64)
                for t, value in zip(tensors[2:], (gradients.scale, gradients.bias), strict=False)
            ]
            ctx.save_for_backward(gradients.x, gradients.y, *numbers)
        value: Tensor = (ring.sum(per_row.sum()) / max(total, 1)).to(x.dtype)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            scaled: list[Tensor | None] = [*times(upstream, ctx.saved_tensors)]
        return None, None, None, None, *once(ctx.name, scaled)


_LOSSES: dict[str, Any] = {"info_nce": _InfoNCE, "clip_loss": _Clip, "siglip_loss": _SigLip}


def _unit(rows: Tensor) -> Tensor:
    """Rows divided by their lengths; a zero row stays and gets a zero gradient."""
    if rows.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    length = rows.norm(dim=1, keepdim=True)
    return rows * torch.where(length > 0, 1 / torch.where(length > 0, length, 1), 0)


def _whole_mean(
    name: str,
    x: Tensor,
    y: Tensor,
    *,
    temperature: Any,
    logit_scale: Any,
    normalize: bool,
    group: Any,
    bias: Any = None,
    **options: Any,
) -> Tensor:
    for one, rows in (("x_local", x), ("y_local", y)):
        if not isinstance(rows, Tensor) or rows.ndim != 2:
            raise TypeError(f"{one} must be a 2-D tensor, got {type(rows).__name__}")
    if (temperature is None) == (logit_scale is None):
        both = "neither" if temperature is None else "both"
        raise ValueError(f"pass exactly one of temperature= and logit_scale=, got {both}")
    given = [1 / temperature if logit_scale is None else logit_scale]
    given += [] if bias is None else [bias]
    numbers = [
        one if isinstance(one, Tensor) else torch.tensor(one, dtype=torch.float64) for one in given
    ]
    for one in numbers:
        if one.numel() != 1:
            raise ValueError(f"{name} over processes takes one temperature and bias, for all rows")
    if normalize:
        x, y = _unit(x), _unit(y)
    tensors = (x, y, *numbers)
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    value: Tensor = _Mean.apply(name, group, options, wanted, *tensors)
    return value


# A graph of `torch.compile` breaks here: processes wait for each other.
_mean = torch.compiler.disable(_whole_mean)


def info_nce(
    x_local: Tensor,
    y_local: Tensor,
    *,
    temperature: float | Tensor | None = None,
    logit_scale: float | Tensor | None = None,
    normalize: bool = False,
    group: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""InfoNCE of the rows of all processes against those of all processes.

    .. math:: \frac1N \sum_i \Bigl(\log \sum_j e^{S_{ij}} - S_{ii}\Bigr), \quad S = s \, x y^T,

    with i and j over the N rows of x and all rows of y, wherever they are.

    Parameters
    ----------
    x_local, y_local : Tensor, shapes (n, d) and (m, d)
        The rows of this process. Row i of x belongs with row i of y; further rows of y are
        negatives for all. Processes may hold different numbers of rows, and none.
    temperature, logit_scale : float or Tensor
        Exactly one of them, of one element and the same in all processes.
    normalize : bool, default False
        Divide each row by its Euclidean length first; gradients go through the division.
    group : ProcessGroup, optional
        Of `torch.distributed`; None is the default one.
    workers, check_finite
        As in `pairtile.info_nce`.

    Returns
    -------
    Tensor
        The mean over all rows of all processes, the same in each. Gradients are those of the mean
        times the number of processes, for the tensors that this one passed: averaged over
        processes, as `DistributedDataParallel` does, they are those of one process with all rows.

    Raises
    ------
    TypeError, ValueError
        As from `pairtile.info_nce`, for what this process passed, and where processes differ in
        columns or dtype.
    RuntimeError
        If another process refused its rows, if a gradient is differentiated again, and from
        `torch.distributed`.

    Notes
    -----
    Blocks of y go round a ring, once for the losses and once more, with their gradients, where one
    is wanted. Memory is that of the local rows, of two blocks with their gradients, and of one
    number for each local row and process; 2NMd flops for the losses of all rows and 8NMd more for
    the gradients.

    References
    ----------
    Liu, Zaharia and Abbeel, Ring attention with blockwise transformers for near-infinite context
    (2023), for the ring.
    """
    value: Tensor = _mean(
        "info_nce", x_local, y_local, temperature=temperature, logit_scale=logit_scale,
        normalize=normalize, group=group, workers=workers, check_finite=check_finite,
    )  # fmt: skip
    return value


def clip_loss(
    x_local: Tensor,
    y_local: Tensor,
    *,
    temperature: float | Tensor | None = None,
    logit_scale: float | Tensor | None = None,
    normalize: bool = False,
    group: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""CLIP loss of the paired rows of all processes: the mean of InfoNCE in both directions.

    Parameters
    ----------
    x_local, y_local : Tensor, both of shape (n, d)
        The paired rows of this process.
    temperature, logit_scale, normalize, group, workers, check_finite
        As for `info_nce`.

    Returns
    -------
    Tensor
        As from `info_nce`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `info_nce`, and for different numbers of rows.

    Notes
    -----
    Twice what `info_nce` takes: one ring for each direction.

    References
    ----------
    Radford et al., Learning transferable visual models from natural language supervision (2021).
    """
    value: Tensor = _mean(
        "clip_loss", x_local, y_local, temperature=temperature, logit_scale=logit_scale,
        normalize=normalize, group=group, workers=workers, check_finite=check_finite,
    )  # fmt: skip
    return value


def siglip_loss(
    x_local: Tensor,
    y_local: Tensor,
    *,
    bias: float | Tensor = 0.0,
    temperature: float | Tensor | None = None,
    logit_scale: float | Tensor | None = None,
    normalize: bool = False,
    group: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""SigLIP loss of the rows of all processes against those of all processes.

    Parameters
    ----------
    x_local, y_local : Tensor, shapes (n, d) and (m, d)
        As for `info_nce`.
    bias : float or Tensor, default 0.0
        Added to every score, of one element and the same in all processes.
    temperature, logit_scale, normalize, group, workers, check_finite
        As for `info_nce`.

    Returns
    -------
    Tensor
        As from `info_nce`: the mean over rows of the sums over all columns.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `info_nce`.

    Notes
    -----
    Blocks go round once, with their gradients: 2NMd flops for the losses of all processes and 4NMd
    more for the gradients.

    References
    ----------
    Zhai, Mustafa, Kolesnikov and Beyer, Sigmoid loss for language image pre-training (2023), whose
    section 3.3 computes it so.
    """
    value: Tensor = _mean(
        "siglip_loss", x_local, y_local, bias=bias, temperature=temperature,
        logit_scale=logit_scale, normalize=normalize, group=group,
        workers=workers, check_finite=check_finite,
    )  # fmt: skip
    return value
