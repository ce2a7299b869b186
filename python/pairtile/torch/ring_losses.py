"""Losses of rows that are spread over the processes of a ring.

    blocks of y go round -> states of rows (and columns), merged block by block -> losses
    they go round once more, each with its gradient -> exact gradients of the mean over all rows

No process ever holds more than two blocks besides its own. A state of a row is what the engine sums
of it; merged over all blocks it is that of one process with all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import pairtile
from pairtile._backends import choose
from pairtile._definitions.debiased import debiased
from pairtile._definitions.softmax import SoftmaxOptions, SoftmaxSides
from pairtile._front import validate
from pairtile.losses import states
from pairtile.losses.positives import Positives, compressed, negatives_by_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile.losses.guide import Guide
    from pairtile.torch.ring import Ring

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Sparse = tuple[Ints, Ints, Floats]

_FAR = np.iinfo(np.int64).max  # the column of none


@dataclass
class Gradients:
    """Of Σ u_i · per_row_i, as far as they are known; None of what nobody wants."""

    x: Tensor | None
    y: Tensor | None
    scale: Any = 0.0  # of the rows, where each has its own
    bias: float = 0.0


@dataclass
class Options:
    """What a loss over processes is asked besides rows and numbers."""

    rows: bool = True  # which directions of softmax
    columns: bool = False
    label_smoothing: float = 0.0
    false_negative_margin: float | None = None
    margin: float = 0.0
    angular_margin: float = 0.0
    tau_plus: float = 0.0
    top_negatives: int | None = None
    positives: str = ""  # the keyword that names them
    column_logits: Tensor | None = None
    workers: int = 1
    check_finite: bool = True
    guide: Guide | None = field(default=None, repr=False)  # of tensors, rows of this process
    # of the rows of x and of y, once all processes agree; columns count from 0 over all processes
    groups: tuple[Floats, Floats] | None = field(default=None, repr=False)
    targets: Ints | None = field(default=None, repr=False)
    sparse: Sparse | None = field(default=None, repr=False)

    def plain(self) -> bool:
        """Whether there is nothing but directions."""
        return self.alike() == Options(self.rows, self.columns).alike()

    def alike(self) -> tuple[Any, ...]:
        """What has to be the same in all processes."""
        return (
            self.rows, self.columns, self.label_smoothing, self.false_negative_margin, self.margin,
            self.angular_margin, self.tau_plus, self.top_negatives, self.positives,
            self.column_logits is not None, self._guided(),
        )  # fmt: skip

    def _guided(self) -> Any:
        guide = self.guide
        if guide is None:
            return None
        return guide.margin, guide.strategy, tuple(guide.y.shape[1:]), str(guide.y.dtype)


# --- arrays of tensors ---------------------------------------------------------------------------


def _array(rows: Tensor) -> Any:
    """Rows as a function on arrays takes them, where they are."""
    return rows.numpy() if rows.is_cpu else validate.on_device(rows)


def _host(numbers: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = numbers.cpu().numpy()
    return found


def _tensor(found: Any, device: torch.device) -> Tensor:
    """What a function on arrays found, or numbers that are to travel."""
    if isinstance(found, np.ndarray):
        return torch.from_numpy(found).to(device)
    shared: Tensor = torch.from_dlpack(found)
    return shared


# --- softmax -------------------------------------------------------------------------------------


def _within(sparse: Sparse, first: int, count: int) -> Sparse:
    """The columns of a block, which count from 0 there."""
    indptr, columns, weights = sparse
    here = (columns >= first) & (columns < first + count)
    before = np.zeros(len(here) + 1, dtype=np.int64)
    np.cumsum(here, out=before[1:])
    return before[indptr], columns[here] - first, weights[here]


class _Largest:
    """The q largest negatives of each row among the blocks that were here: columns over all."""

    def __init__(self, n: int, q: int) -> None:
        self.sizes = np.full((n, q), -np.inf)
        self.columns = np.full((n, q), _FAR)

    def add(self, rows: Ints, sizes: Floats, columns: Ints) -> None:
        """Of some rows; columns that are −1 are none."""
        sizes = np.hstack([self.sizes[rows], np.where(columns < 0, -np.inf, sizes)])
        columns = np.hstack([self.columns[rows], np.where(columns < 0, _FAR, columns)])
        # ties in favour of the smaller column; what is none comes last
        order = np.lexsort((columns, -sizes))[:, : self.columns.shape[1]]
        self.sizes[rows] = np.take_along_axis(sizes, order, axis=1)
        self.columns[rows] = np.take_along_axis(columns, order, axis=1)

    def kept(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Row pointers and columns of a block."""
        here = (self.columns >= first) & (self.columns < first + count)
        columns = np.sort(np.where(here, self.columns - first, count), axis=1)
        return compressed(columns, here.sum(axis=1))


class Softmax:
    """Log-softmax of rows over the columns of all processes, of columns over rows, or both.

    Where the options do not say otherwise, row i's positive is column i of the same process.
    """

    def __init__(self, x: Tensor, y: Tensor, scale: Any, options: Options, ring: Ring) -> None:
        self.x, self.options, self.ring = x, options, ring
        self.scales = scale if isinstance(scale, np.ndarray) else None
        self.scale = float(np.max(scale, initial=1.0)) if self.scales is not None else scale
        self.targets = options.targets
        if self.targets is None and not options.positives:
            self.targets = self._first(0) + np.arange(len(x))
        # what goes round with a block of columns
        self.block = {"y": y}
        if options.groups is not None:
            self.block["col_labels"] = self._here(options.groups[1])
        if options.column_logits is not None:
            self.block["column_logits"] = options.column_logits.double().contiguous()
        self.masks: dict[int, dict[str, Any]] = {}  # by step
        if options.guide is not None:
            self._guide(options.guide)
        self.states = np.tile(states.EMPTY, (len(x), 1))
        self.col_states = np.tile(states.EMPTY, (len(y), 1))
        self.limits: Floats | None = None
        self.largest: _Largest | None = None

    def _guide(self, guide: Guide) -> None:
        """Rows of the guide go round with a block, and how near is too near to its columns."""
        own = replace(guide, x=_array(guide.x), y=_array(guide.y))
        self.radii = own.radii(np.arange(len(self.x))) if len(self.x) else np.zeros(0)
        self.block["y_guide"] = guide.y
        if self.options.columns:
            self.block["col_radii"] = self._here(self.radii)

    def _masked(self, step: int, block: dict[str, Tensor]) -> dict[str, Any]:
        """The pairs with the columns that are here which the guide takes out of the sums."""
        guide = self.options.guide
        if guide is None or step in self.masks:
            return self.masks.get(step, {})
        there = replace(guide, x=_array(guide.x), y=_array(block["y_guide"]))
        found = self.masks[step] = {}
        if self.options.rows:
            found["row_masked"] = there.near(there.x, there.y, self.radii)
        if self.options.columns:
            every = np.arange(len(there.y))
            found["col_masked"] = there.near_columns(there.y, every, _host(block["col_radii"]))
        return found

    def _here(self, numbers: Floats) -> Tensor:
        """Numbers that travel with the rows, where these are."""
        return _tensor(numbers, self.x.device)

    def _first(self, step: int) -> int:
        """How many columns come before those that are here after so many steps."""
        return sum(self.ring.columns[: self.ring.owner(step)])

    def _positives(self, step: int, count: int) -> tuple[Ints | None, Any]:
        """Targets among the columns that are here, or their part of the matrix of positives."""
        first = self._first(step)
        if self.options.sparse is not None:
            return None, _within(self.options.sparse, first, count)
        if self.targets is None:
            return None, (None, None, None)
        here = (self.targets >= first) & (self.targets < first + count)
        return np.where(here, self.targets - first, -1), (None, None, None)

    def _asked(self, step: int, block: dict[str, Tensor]) -> SoftmaxOptions:
        options, count = self.options, len(block["y"])
        targets, sparse = self._positives(step, count)
        kept: tuple[Any, Any] = (None, None)
        if self.largest is not None:
            kept = self.largest.kept(self._first(step), count)
        away = step > 0 and options.false_negative_margin is not None
        of_cols: dict[str, Any] = {
            name: _host(block[name]) for name in ("col_labels", "column_logits") if name in block
        }
        if away and options.columns:
            of_cols["col_limits"] = _host(block["col_limits"])
        return SoftmaxOptions(
            targets=targets,
            row_labels=None if options.groups is None else options.groups[0],
            positives=sparse,
            kept=kept,
            **self._masked(step, block),
            **of_cols,
            margin=options.margin,
            angular_margin=options.angular_margin,
            label_smoothing=options.label_smoothing,
            tau_plus=options.tau_plus,
            false_negative_margin=None if away else options.false_negative_margin,
            row_limits=self.limits if away and options.rows else None,
            rows=options.rows,
            cols=options.columns,
        )

    def losses(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Loss of each row, and which of them count."""
        ring, options = self.ring, self.options
        self._find_largest()
        travelling = dict(self.block)
        if options.columns:
            travelling["states"] = self._here(self.col_states)
            if options.false_negative_margin is not None:
                travelling["col_limits"] = self._here(np.full(len(self.col_states), np.inf))
        for step in range(ring.size):
            if len(self.x) and len(travelling["y"]):
                x, y = _array(self.x), _array(travelling["y"])
                found, of_cols, limits = choose.module(x, y).softmax_states(
                    x, y, self.scale, self._asked(step, travelling), row_scales=self.scales,
                    workers=options.workers,
                )  # fmt: skip
                self.states = states.merged(self.states, found)
                if step == 0 and options.false_negative_margin is not None:
                    self.limits = limits
                    if options.columns:
                        travelling["col_limits"] = self._here(limits)
                if options.columns:
                    merged = states.merged(_host(travelling["states"]), of_cols)
                    travelling["states"] = self._here(merged)
            if options.columns or step + 1 < ring.size:
                travelling = self._moved(travelling, step)
        share = self.states[:, 3]
        per_row = np.zeros(len(share))
        part = 0.5 if options.rows and options.columns else 1.0
        if options.tau_plus > 0:
            scales = self.scale if self.scales is None else self.scales
            found = debiased(self.states, options.tau_plus, self._negatives(), scales)
            per_row = np.where(share > 0, found.losses, 0.0)
        elif options.rows:
            per_row += part * states.losses(self.states, options.label_smoothing)
        if options.columns:
            self.col_states = _host(travelling["states"]).copy()
            self.col_states[:, 2:4] = self.states[:, 2:4]
            per_row += part * states.losses(self.col_states, options.label_smoothing)
        return per_row, share > 0

    def _negatives(self) -> int:
        """Of a row, in all processes."""
        return sum(self.ring.columns) - 1

    def _find_largest(self) -> None:
        """Blocks go round for the largest negatives, where no others are in the sums."""
        ring, options = self.ring, self.options
        if options.top_negatives is None or options.top_negatives >= sum(ring.columns):
            return
        self.largest = _Largest(len(self.x), options.top_negatives)
        travelling = dict(self.block)
        for step in range(ring.size):
            count = len(travelling["y"])
            if len(self.x) and count:
                targets, sparse = self._positives(step, count)
                groups = None
                if options.groups is not None:
                    of_cols: Floats = _host(travelling["col_labels"])
                    groups = options.groups[0].astype(np.int64), of_cols.astype(np.int64)
                logits = travelling.get("column_logits")
                for rows, sizes, columns in negatives_by_size(
                    _array(self.x), _array(travelling["y"]), min(options.top_negatives, count),
                    Positives(np.ones(len(self.x), dtype=bool), targets, groups, sparse),
                    scales=self.scale if self.scales is None else self.scales,
                    column_logits=None if logits is None else _host(logits), normalize=False,
                    dtype="float64", workers=options.workers, progress=None,
                ):  # fmt: skip
                    first = self._first(step)
                    self.largest.add(rows, sizes, np.where(columns < 0, -1, first + columns))
            if step + 1 < ring.size:
                travelling = self._moved(travelling, step)

    def _moved(self, travelling: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        count = self.ring.columns[self.ring.owner(step + 1)]
        moved = self.ring.move(list(travelling.values()), count)
        return dict(zip(travelling, moved, strict=True))

    def gradients(self, upstream: Floats, to: Gradients) -> None:
        """Add the gradients of Σ upstream · loss."""
        ring, options = self.ring, self.options
        half = upstream / 2 if options.rows and options.columns else upstream
        travelling = dict(self.block)
        if options.columns:
            travelling["states"] = self._here(self.col_states)
            travelling["weights"] = self._here(half)
            if self.limits is not None:
                travelling["col_limits"] = self._here(self.limits)
            elif options.false_negative_margin is not None:
                travelling["col_limits"] = self._here(np.zeros(len(half)))
        wants_y = ring.wants[1]
        if wants_y:
            travelling["grad_y"] = torch.zeros_like(self.block["y"])
        for step in range(ring.size):
            if len(self.x) and len(travelling["y"]):
                x, y = _array(self.x), _array(travelling["y"])
                found = choose.module(x, y).softmax_gradients(
                    x, y, self.scale, self._asked(step, travelling), SoftmaxSides(
                        self.states, half,
                        _host(travelling["states"]) if options.columns else None,
                        _host(travelling["weights"]) if options.columns else None,
                        self._negatives(),
                    ),
                    row_scales=self.scales, grad_x=to.x is not None, grad_y=wants_y,
                    workers=options.workers,
                )  # fmt: skip
                if to.x is not None:
                    to.x += _tensor(found[0], self.x.device)
                if wants_y:
                    travelling["grad_y"] += _tensor(found[1], self.x.device)
                to.scale += found[2]
            if wants_y or step + 1 < ring.size:
                travelling = self._moved(travelling, step)
        if to.y is not None:
            to.y += travelling["grad_y"]


# --- softmax on a GPU, without options -----------------------------------------------------------


class _Direction:
    """Log-softmax of each row over the rows of y in all processes, row i's positive being y_i.

    Of `info_nce` of a block, which has a sweep of its own on a GPU: a block's softmax, weighted by
    the share that the block has of the whole sum of a row, is that part of the softmax over all
    blocks.
    """

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

    def losses(self, ring: Ring, columns: tuple[int, ...]) -> Tensor:
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
        self, ring: Ring, columns: tuple[int, ...], upstream: Tensor, to: Gradients
    ) -> None:
        """Add the gradients of Σ upstream · loss."""
        assert to.y is not None
        block, by_block = self.y, torch.zeros_like(to.y)
        for step in range(ring.size):
            if len(self.x) and len(block):
                self._add(step, block, by_block, upstream, to)
            block, by_block = ring.move([block, by_block], columns[ring.owner(step + 1)])
        to.y += by_block

    def _add(
        self, step: int, block: Tensor, by_block: Tensor, upstream: Tensor, to: Gradients
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
        factor = (self.scale * rest).to(self.x.dtype)[:, None]
        positives = block[at]
        assert to.x is not None
        to.x += found.grad_x + factor * positives
        by_block += found.grad_y
        by_block.index_add_(0, at, factor * self.x)
        to.scale += float(found.grad_scale)
        to.scale += float(rest @ (self.x.double() * positives.double()).sum(1))


class SoftmaxOnGpu:
    """The same as `Softmax` without options."""

    def __init__(self, x: Tensor, y: Tensor, scale: Any, options: Options, ring: Ring) -> None:
        given = {
            "logit_scale": scale,
            "workers": options.workers,
            "check_finite": options.check_finite,
        }
        self.ring = ring
        self.rows = _Direction(x, y, given) if options.rows else None
        self.columns = _Direction(y, x, given) if options.columns else None
        self.part = 0.5 if options.rows and options.columns else 1.0

    def losses(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Loss of each row, all of which count."""
        found = []
        if self.rows is not None:
            found.append(self.rows.losses(self.ring, self.ring.columns))
        if self.columns is not None:
            found.append(self.columns.losses(self.ring, self.ring.rows))
        per_row: Floats = self.part * sum(one.cpu().numpy() for one in found)
        return per_row, np.ones(len(per_row), dtype=bool)

    def gradients(self, upstream: Floats, to: Gradients) -> None:
        """Add the gradients of Σ upstream · loss."""
        assert to.x is not None
        weights = _tensor(self.part * upstream, to.x.device)
        if self.rows is not None:
            self.rows.gradients(self.ring, self.ring.columns, weights, to)
        if self.columns is not None:
            turned = Gradients(to.y, to.x)
            self.columns.gradients(self.ring, self.ring.rows, weights, turned)
            to.scale += turned.scale


# --- sigmoid -------------------------------------------------------------------------------------


class SigLip:
    """One trip: the loss of a pair knows of no other pair."""

    def __init__(
        self, x: Tensor, y: Tensor, scale: Any, bias: float, options: Options, ring: Ring
    ) -> None:
        self.scales = scale if isinstance(scale, np.ndarray) else None
        self.x, self.y, self.numbers = x, y, (0.0 if self.scales is not None else scale, bias)
        self.options, self.ring = options, ring

    def run(self, upstream: Floats, to: Gradients | None) -> Floats:
        """Losses of the rows; the gradients of Σ upstream · loss are added."""
        ring, groups = self.ring, self.options.groups
        per_row = np.zeros(len(self.x))
        travelling = [self.y]
        if groups is not None:
            travelling.append(_tensor(groups[1], self.x.device))
        back = to is not None and ring.wants[1]
        if back:
            travelling.append(torch.zeros_like(self.y))
        for step in range(ring.size):
            if len(self.x) and len(travelling[0]):
                labels = None if groups is None else (groups[0], _host(travelling[1]))
                found = self._block(step, travelling[0], labels, upstream, to)
                per_row += validate.host(found[0])
                if back:
                    travelling[-1] += _tensor(found[2], self.x.device)
                if to is not None:
                    if to.x is not None:
                        to.x += _tensor(found[1], self.x.device)
                    to.scale += found[3] if self.scales is None else validate.host(found[3])
                    to.bias += found[4]
            if back or step + 1 < ring.size:
                travelling = ring.move(travelling, ring.columns[ring.owner(step + 1)])
        if to is not None and to.y is not None:
            to.y += travelling[-1]
        return per_row

    def _block(
        self,
        step: int,
        block: Tensor,
        labels: tuple[Floats, Floats] | None,
        upstream: Floats,
        to: Gradients | None,
    ) -> tuple[Any, ...]:
        if labels is None and step:  # rows of two groups: all pairs are negative
            labels = np.zeros(len(self.x)), np.ones(len(block))
        of_rows, of_cols = (None, None) if labels is None else labels
        x, y = _array(self.x), _array(block)
        found: tuple[Any, ...] = choose.module(x, y).sigmoid_losses(
            x, y, *self.numbers, row_scales=self.scales,
            row_labels=of_rows, col_labels=of_cols, target_offset=0, normalize=False,
            grad=to is not None, grad_x=to is not None and to.x is not None,
            grad_y=to is not None and self.ring.wants[1],
            row_upstream=upstream, workers=self.options.workers,
        )  # fmt: skip
        return found


def checked(x: Tensor, y: Tensor, options: Options) -> None:
    """The errors of rows, as functions on arrays have them; a process may have no rows."""
    for name, rows in (("x", x), ("y", y)):
        if len(rows):
            validate.matrix(name, rows, check_finite=options.check_finite, workers=options.workers)
    if x.shape[1] != y.shape[1]:
        validate.check_alike("x", x, "y", y)
