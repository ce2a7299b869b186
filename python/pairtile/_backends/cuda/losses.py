"""Losses over blocks of dot products: softmax with every option, sigmoid, circle and the like."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends import choose
from pairtile._backends.cuda import contrastive
from pairtile._backends.cuda.loss_blocks import Pace, Products
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    to_input_namespace,
    upload,
)
from pairtile._definitions.softmax import SoftmaxOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Positives:
    """Which pairs belong together, in device memory."""

    def __init__(
        self,
        *,
        targets: Ints | None = None,
        labels: tuple[Floats | None, Floats | None] = (None, None),
        width: float = 0.0,
        sparse: tuple[Any, Any, Any] = (None, None, None),
        itself: bool = False,
    ) -> None:
        if labels[0] is not None:
            targets = None
        if sparse[0] is not None:
            targets, labels = None, (None, None)
        self.whole, self.itself = sparse[0] is None, itself
        memory = [upload(part) for part in (targets, *labels, *sparse)]
        self.memory = memory
        at = [address(part) for part in memory]
        self.arguments = (at[0], (at[1], at[2]), width, (at[3], at[4], at[5]), itself)


class RowTerms:
    """What rows are multiplied by, how they count, and their derivatives by the scale."""

    def __init__(
        self, n: int, scale: float, scales: Floats | None, upstream: Floats | None
    ) -> None:
        self.scales = float64(scales)
        self.unit = 1.0
        self.shares = self.by_scale = None
        if upstream is not None:
            # how much each row counts: at most 1, in this unit
            self.unit = float(np.abs(upstream).max()) or 1.0
            self.shares = float64(upstream / self.unit)
            self.by_scale = cupy.zeros(n, dtype=cupy.float64)
        self._scale = scale

    def arguments(self, shares: Any = None) -> tuple[float, int, int, int]:
        """As `_cuda` is told, with shares of other rows where there are any."""
        own = self.shares if shares is None else shares
        return self._scale, address(self.scales), address(own), address(self.by_scale)

    def grad_scale(self) -> Any:
        """By the scale, or by the scale of each row."""
        if self.by_scale is None:
            return None
        found = self.by_scale * self.unit
        return float(found.get().sum()) if self.scales is None else found


def softmax_losses(
    x: Any,
    y: Any,
    scale: float,
    options: SoftmaxOptions,
    *,
    row_scales: Floats | None,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Floats,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, ...]:
    """Losses of the rows, and gradients of the sum of u_i times loss i."""
    targets = options.targets
    if row_scales is None and targets is not None and targets.min() >= 0 and _plain(options):
        own = len(x) == len(y) and np.array_equal(targets, np.arange(len(x)))
        if own or not options.cols:
            return contrastive.softmax_losses(
                x, y, scale, targets=targets, cols=options.cols, normalize=normalize, grad=grad,
                grad_x=grad_x, grad_y=grad_y, row_upstream=row_upstream, workers=workers,
                progress=progress,
            )  # fmt: skip
    with device_of(x, y):
        a = Rows(x)
        b = a if y is x else Rows(y)
        loss = Softmax(
            Products(a, b, scale, normalize=normalize, grad=grad, sides=(grad_x, grad_y)),
            RowTerms(a.n, scale, row_scales, row_upstream if grad else None),
            softmax_positives(options),
            options,
        )
        found = loss.run(row_upstream, progress)
        of_x, of_y = loss.products.gradients() if grad else (None, None)
        arrays = to_input_namespace(x, *found, of_x, of_y)
        return *arrays, _like(x, loss.rows.grad_scale())


def _plain(options: SoftmaxOptions) -> bool:
    """Whether rows have a softmax over all scores as they are, for targets."""
    others = (
        options.row_labels, options.positives[0], options.kept[0], options.row_masked[0],
        options.col_masked[0], options.column_logits, options.false_negative_margin,
    )  # fmt: skip
    numbers = (options.margin, options.angular_margin, options.label_smoothing, options.tau_plus)
    return options.rows and all(one is None for one in others) and not any(numbers)


def softmax_positives(options: SoftmaxOptions, *, itself: bool = False) -> Positives:
    """Which pairs belong together by the options of a softmax loss."""
    return Positives(
        targets=options.targets,
        labels=(options.row_labels, options.col_labels),
        sparse=options.positives,
        itself=itself,
    )


def _like(x: Any, value: Any) -> Any:
    return to_input_namespace(x, value)[0] if hasattr(value, "shape") else value


class Softmax:
    """What a softmax loss is asked."""

    def __init__(
        self,
        products: Products,
        rows: RowTerms,
        positives: Positives,
        asked: SoftmaxOptions,
    ) -> None:
        self.products, self.rows = products, rows
        self._positives, self._asked = positives, asked
        self._sides = asked.rows, asked.cols
        self._mutual = (
            positives.itself and asked.column_logits is None and self._sides == (True, False)
        )
        self._kept, *self._masked = (
            (upload(indptr), upload(columns))
            for indptr, columns in (asked.kept, asked.row_masked, asked.col_masked)
        )
        self._logits = float64(asked.column_logits)
        self.limits: tuple[Any, Any] = (None, None)  # of rows and of columns

    def options(self) -> tuple[Any, ...]:
        """As `_cuda` is told."""
        kept, limits = addresses(self._kept), addresses(self.limits)
        masked = addresses(self._masked[0]), addresses(self._masked[1])
        margins = self._asked.margin, self._asked.angular_margin
        return self._positives.arguments, address(self._logits), *margins, kept, limits, masked

    def run(self, upstream: Floats, progress: Report | None) -> tuple[Any, Any, Any]:
        """Losses of rows, log-sum-exps of rows and of columns; weights become gradients."""
        products = self.products
        n, m = products.x.n, products.y.n
        grad = self.rows.shares is not None
        margin = self._asked.false_negative_margin
        pace = Pace(progress, ((margin is not None) + 1 + 3 * grad) * n * m)
        if margin is not None:
            self.find_limits(margin, pace)
        once = self._mutual and self.rows.scales is None
        of_rows, of_cols = (
            empty_states(count) if wanted else None
            for count, wanted in zip((n, m), self._sides, strict=True)
        )
        for block in products.blocks(pace, once=once):
            _cuda.softmax_states(
                block.arguments, self.options(), self.rows.arguments(),
                addresses((of_rows, of_rows if block.mirrored else of_cols)), current_stream(),
            )  # fmt: skip
        losses, log_sums, terms = self._end((of_rows, of_cols), upstream)
        if grad:
            for block in products.blocks(pace, once=once):
                _cuda.softmax_block_weights(
                    block.arguments, self.options(), self.rows.arguments(),
                    addresses((terms[0], terms[0] if block.mirrored else terms[1])),
                    current_stream(),
                )  # fmt: skip
                products.add(block, self.rows.unit)
                pace.add(2 * block.pairs)
        return losses, *log_sums

    def find_limits(self, margin: float, pace: Pace) -> None:
        """Dot products of rows with their targets, plus the margin."""
        targets = self._asked.targets
        assert targets is not None
        products = self.products
        of_rows, of_cols = (
            cupy.full(rows.n, np.inf, dtype=cupy.float64) if wanted else None
            for rows, wanted in zip((products.x, products.y), self._sides, strict=True)
        )
        self.limits = of_rows, of_cols
        on_device = upload(targets)
        for block in products.blocks(pace, products.holding(targets)):
            _cuda.softmax_limits(
                block.arguments, address(on_device), margin, addresses(self.limits),
                current_stream(),
            )  # fmt: skip

    def _end(
        self, states: tuple[Any, Any], upstream: Floats
    ) -> tuple[Any, list[Any], tuple[Any, Any]]:
        """Losses of the rows, log-sum-exps, and what turns logits into weights."""
        n, m = self.products.x.n, self.products.y.n
        both = all(self._sides)
        grad = self.rows.shares is not None
        log_sums: list[Any] = [None, None]
        terms: list[Any] = [None, None]
        losses: list[Any] = [None, None]
        targets = self._asked.targets
        on_device = upload(targets)
        for side in (1, 0):  # losses of columns are added to those of rows
            if not self._sides[side]:
                continue
            count = (n, m)[side]
            losses[side] = cupy.empty(count, dtype=cupy.float64)
            log_sums[side] = cupy.empty(count, dtype=cupy.float64)
            if grad:
                terms[side] = cupy.empty(count * _cuda.softmax_terms_bytes, dtype=cupy.uint8)
            shares = None
            if grad and side == 1:
                assert targets is not None
                own = np.flatnonzero(targets >= 0)
                of_columns = np.zeros(m)
                of_columns[targets[own]] = upstream[own] / self.rows.unit
                shares = float64(of_columns)
            _cuda.softmax_loss_end(
                count=count,
                states=address(states[side]),
                part=0.5 if both else 1.0,
                whole_weights=self._positives.whole,
                smoothing=self._asked.label_smoothing,
                among=(1, m),
                tau_plus=self._asked.tau_plus if side == 0 else 0.0,
                rows=self.rows.arguments(shares),
                more=(address(losses[1]) if side == 0 else 0, address(on_device)),
                out=(address(losses[side]), address(log_sums[side]), address(terms[side])),
                stream=current_stream(),
            )
        per_row = losses[0]
        if per_row is None:  # of columns alone
            assert targets is not None
            counts = cupy.asarray(targets >= 0)
            columns = cupy.asarray(np.maximum(targets, 0))
            per_row = cupy.where(counts, losses[1].take(columns), 0.0)
        return per_row, log_sums, (terms[0], terms[1])


def empty_states(count: int) -> Any:
    """States of no pairs."""
    states = cupy.empty(count * _cuda.softmax_state_bytes, dtype=cupy.uint8)
    _cuda.softmax_empty(address(states), count, current_stream())
    return states


def supcon_losses(
    x: Any,
    second: Any,
    bank: Any,
    scale: float,
    *,
    row_scales: Floats | None,
    labels: Floats,
    label_width: float,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Floats,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, ...]:
    """Softmax losses of the rows of x and second among these and the bank, self excluded."""
    del workers
    with device_of(x, second, bank):
        rows = _together(x, second)
        candidates = rows if bank is None else _together(x, second, bank)
        n = rows.n
        loss = Softmax(
            Products(rows, candidates, scale, normalize=normalize, grad=grad),
            RowTerms(n, scale, row_scales, row_upstream if grad else None),
            Positives(labels=(labels[:n], labels), width=label_width, itself=True),
            SoftmaxOptions(),
        )
        per_row, lse_row, _ = loss.run(row_upstream, progress)
        of_rows = of_bank = None
        if grad:
            of_rows, of_candidates = loss.products.gradients()
            of_rows = of_rows + of_candidates[:n] if grad_x else None
            of_bank = of_candidates[n:] if grad_y and bank is not None else None
        found = to_input_namespace(x, per_row, lse_row, of_rows, of_bank)
        return *found, _like(x, loss.rows.grad_scale())


def _together(*sets: Any) -> Rows:
    """The rows of several sets one after another."""
    given = [a for a in sets if a is not None]
    if len(given) == 1:
        return Rows(given[0])
    parts = [Rows(a) for a in given]
    dtypes = {part.dtype for part in parts}
    if len(dtypes) == 1:
        return Rows(cupy.concatenate([part.memory for part in parts]), parts[0].dtype)
    dtype = cupy.float64 if "float64" in dtypes else cupy.float32
    return Rows(cupy.concatenate([_widened(part).astype(dtype) for part in parts]))


def _widened(rows: Rows) -> Any:
    """Memory that may hold plain bits, as numbers."""
    if rows.dtype == "bfloat16":
        bits = rows.memory.view(cupy.uint16).astype(cupy.uint32)
        return (bits * 65536).view(cupy.float32)
    return rows.memory.view(rows.dtype)


def sigmoid_losses(
    x: Any,
    y: Any,
    scale: float,
    bias: float,
    *,
    row_scales: Floats | None,
    row_labels: Floats | None,
    col_labels: Floats | None,
    target_offset: int,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Floats,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, ...]:
    """SigLIP losses of the rows, and gradients by x, y, scales and bias, in one sweep."""
    del workers
    n = len(x)
    targets = np.arange(n, dtype=np.int64) + target_offset
    with device_of(x, y):
        a = Rows(x)
        b = a if y is x else Rows(y)
        rows = RowTerms(n, scale, row_scales, row_upstream if grad else None)
        if row_scales is None and row_labels is None:
            folded = contrastive.sigmoid_losses(
                a, b, scale, bias, targets=targets, normalize=normalize,
                upstream=row_upstream if grad else None, wanted=(grad_x, grad_y), progress=progress,
            )  # fmt: skip
            if folded is not None:
                numbers = (
                    math.fsum(sums.get()) * rows.unit if grad else None
                    for sums in (folded.by_scale, folded.by_bias)
                )
                return *to_input_namespace(x, *folded[:3]), *numbers
        products = Products(a, b, scale, normalize=normalize, grad=grad, sides=(grad_x, grad_y))
        positives = Positives(targets=targets, labels=(row_labels, col_labels))
        per_row = cupy.zeros(n, dtype=cupy.float64)
        by_bias = cupy.zeros(n, dtype=cupy.float64) if grad else None
        pace = Pace(progress, n * b.n)
        for block in products.blocks(pace):
            _cuda.sigmoid_losses(
                block.arguments, positives.arguments, rows.arguments(), bias, address(per_row),
                address(by_bias), current_stream(),
            )  # fmt: skip
            if grad:
                products.add(block, rows.unit)
        of_x = of_y = grad_bias = None
        if by_bias is not None:
            of_x, of_y = products.gradients()
            grad_bias = math.fsum(by_bias.get()) * rows.unit
        found = to_input_namespace(x, per_row, of_x, of_y)
        return *found, _like(x, rows.grad_scale()), grad_bias


def pair_losses(
    x: Any,
    loss: str,
    parameters: tuple[float, ...],
    *,
    labels: Floats,
    normalize: bool,
    grad: bool,
    row_upstream: Floats,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, Any]:
    """Circle and multi-similarity losses of the rows, and the gradient."""
    del workers
    mining = parameters[3] if loss == "multi_similarity" else -1.0
    with device_of(x):
        a = Rows(x)
        products = Products(a, a, 1.0, normalize=normalize, grad=grad)
        rows = RowTerms(a.n, 1.0, None, row_upstream if grad else None)
        positives = Positives(labels=(labels, labels), itself=True)
        rule = loss, list(parameters[:3]), positives.arguments, mining
        pace = Pace(progress, ((mining >= 0) + 1 + 3 * grad) * a.n * a.n)
        extremes = _bytes(a.n, _cuda.pair_extremes_bytes if mining >= 0 else 0)
        states = _bytes(a.n, _cuda.pair_state_bytes)
        _cuda.pair_begin(address(extremes), address(states), a.n, current_stream())
        if extremes is not None:
            for block in products.blocks(pace, once=True):
                _cuda.pair_extremes(
                    block.arguments, rule, address(extremes), block.mirrored, current_stream()
                )
        for block in products.blocks(pace, once=True):
            _cuda.pair_states(
                block.arguments, rule, address(extremes), address(states), block.mirrored,
                current_stream(),
            )  # fmt: skip
        per_row = cupy.empty(a.n, dtype=cupy.float64)
        terms = _bytes(a.n, _cuda.pair_terms_bytes if grad else 0)
        _cuda.pair_losses_end(
            rule, address(states), a.n, address(rows.shares), address(per_row), address(terms),
            current_stream(),
        )  # fmt: skip
        gradient = None
        if grad:
            for block in products.blocks(pace, once=True):
                _cuda.pair_block_weights(
                    block.arguments, rule, address(extremes), address(terms), block.mirrored,
                    current_stream(),
                )  # fmt: skip
                products.add(block, rows.unit)
                pace.add(2 * block.pairs)
            of_rows, of_cols = products.gradients()
            gradient = of_rows + of_cols
        found: tuple[Any, Any] = to_input_namespace(x, per_row, gradient)
        return found


def _bytes(count: int, size: int) -> Any:
    return cupy.empty(count * size, dtype=cupy.uint8) if size else None


def row_pulls(x: Any, *arguments: Any, workers: int) -> None:
    """Gradients of triplets, whose rows are on the host."""
    choose.host_module().row_pulls(x, *arguments, workers=workers)
