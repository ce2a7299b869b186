"""Contrastive losses: log-sum-exps of logits, then weights of logits times the rows.

Inputs of at most 32 bits go through tensor cores in parts of bfloat16, as many as hold the numbers
exactly; float64, and numbers too large or too small for that, through sweeps in float64. Rows are
packed in chunks, and weights exist for one block of the matrix at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    in_launches,
    to_input_namespace,
    upload,
    workspace,
)
from pairtile._backends.cuda.panels import Findings, Packed, batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Range = tuple[int, int]
    Shares = NDArray[np.float64]

# The best tensor cores to use ("none": float64 for everything), and the most bytes of each kind of
# workspace. Tests set them.
path = "wgmma"
most_bytes = 1 << 28
_HALVES = ("float16", "bfloat16")
_SMALL, _LARGE = 2.0**-40, 2.0**90  # norms and logits between which float32 is at ease
# Logits t up to `_BOUNDED` are taken as 2^(t - offset), the largest possible one as 2^_HIGH, and
# sums of them are trusted down to 2^-_LOW. A weight is 2^(t - offset) times 2^(offset - lse), both
# at most 2^_HALF.
_BOUNDED, _HIGH, _LOW, _HALF = 200.0, 100.0, 56.0, 75.0
# Parts of the weights where both sets are halves and elsewhere, and the most rows that are summed
# in float32, whose sums tensor cores cut off, not round: few where that would show.
COARSE, _FINE = (1, 1 << 14), (2, 1 << 10)
_WORK = 1 << 43  # multiplications of one launch
_LARGEST_BIAS = 2.0**60  # beside logits that stand for none


def softmax_losses(
    x: Any,
    y: Any,
    scale: float,
    *,
    targets: NDArray[np.int64],
    cols: bool,
    normalize: bool,
    grad: bool,
    grad_x: bool,
    grad_y: bool,
    row_upstream: Shares,
    workers: int,
    progress: Report | None = None,
) -> tuple[Any, ...]:
    """InfoNCE or CLIP losses of the rows, and gradients of the sum of u_i times loss i.

    Every row has a target; with columns, row i has column i of as many. What has other options is
    left to `losses`.
    """
    del workers
    own = np.array_equal(targets, np.arange(len(x)))
    with device_of(x, y):
        a = Rows(x)
        b = a if y is x else Rows(y)
        loss = _Loss(
            a, b, scale, None if own else targets, cols, normalize, row_upstream if grad else None
        )
        found = _on_tensor_cores(loss, progress)
        if found is None:
            found = _in_float64(loss, progress)
        for side, name, wanted in ((a, "grad_x", grad_x), (b, "grad_y", grad_y)):
            if not wanted:
                found.pop(name, None)
            elif normalize and grad:
                _through_normalization(side, found[name])
        arrays = to_input_namespace(x, *(found.get(name) for name in _ARRAYS))
        return *arrays, found.get("grad_scale")


def _through_normalization(rows: Rows, gradient: Any) -> None:
    """Turn the gradient by the rows divided by their lengths into that by the rows, in place."""
    wide = gradient.dtype == cupy.float64
    scales = rows.scales()
    _cuda.through_normalization(
        rows.view, address(scales), address(gradient), wide, current_stream()
    )


_ARRAYS = ("per_row", "lse_row", "lse_col", "grad_x", "grad_y")


class _Loss:
    """What is asked for."""

    def __init__(
        self,
        x: Rows,
        y: Rows,
        scale: float,
        targets: NDArray[np.int64] | None,
        symmetric: bool,
        normalize: bool,
        upstream: Shares | None,
    ) -> None:
        self.x, self.y = x, y
        self.scale = scale
        self.targets = upload(targets)
        self.symmetric = symmetric
        self.normalize = normalize
        self.shares, self.unit = None, 0.0
        if upstream is not None:
            # how much each row counts in either direction: at most 1, in this unit
            self.unit = float(np.abs(upstream).max()) or 1.0
            self.shares = upload((0.5 if symmetric else 1.0) * (upstream / self.unit))
        self.scales = (x.scales(), y.scales()) if normalize else (None, None)

    @property
    def grad(self) -> bool:
        return self.shares is not None

    def grad_scale(self, grad_x: Any, *, wide: bool) -> float:
        """Derivative by the scale, from that by x: each of them sums W_ij times x_i y_j."""
        along = cupy.empty(self.x.n, dtype=cupy.float64)
        _cuda.along_rows(
            self.x.view,
            address(self.scales[0]),
            address(grad_x),
            wide,
            address(along),
            current_stream(),
        )
        total = cupy.empty(1, dtype=cupy.float64)
        _cuda.weighted_total(address(along), self.x.n, 0, address(total), current_stream())
        return float(total.get()[0]) / self.scale


def _ended(
    loss: _Loss, of_rows: Any, of_cols: Any, positives: Any, *, wide: bool
) -> tuple[dict[str, Any], tuple[Any, Any], Any]:
    """Losses and log-sum-exps; what turns logits into weights; extremes of log-sum-exps, base 2."""
    n, m = loss.x.n, loss.y.n
    found = {name: cupy.empty(n, dtype=cupy.float64) for name in ("per_row", "lse_row")}
    found["lse_col"] = cupy.empty(m, dtype=cupy.float64) if loss.symmetric else None
    extremes = cupy.asarray(np.array([np.inf, -np.inf], dtype=np.float32))
    dtype = cupy.float64 if wide else cupy.float32
    of_x, of_y = (
        cupy.zeros((rows + _cuda.rows_together, 4), dtype=dtype) if wanted else None
        for rows, wanted in ((n, loss.grad), (m, loss.grad and loss.symmetric))
    )
    _cuda.softmax_end(
        rows=n,
        wide=wide,
        of_rows=address(of_rows),
        of_cols=address(of_cols) if loss.symmetric else 0,
        positives=address(positives),
        shares=address(loss.shares),
        out=(
            address(found["per_row"]),
            address(found["lse_row"]),
            address(found["lse_col"]),
            address(extremes),
        ),
        sides=addresses((of_x, of_y)),
        stream=current_stream(),
    )
    return found, (of_x, of_y), extremes


# --- On tensor cores ------------------------------------------------------------------------------


def _ones(n: int) -> Any:
    return cupy.full(n + _cuda.rows_together, 1.0, dtype=cupy.float32)


def _padded(n: int) -> int:
    return -(-n // _cuda.rows_together) * _cuda.rows_together


class Side:
    """One of the sets in parts of bfloat16, packed chunk by chunk, or once where it is small.

    Where rows are normalised, they are packed divided by a power of two, and `factors` are what is
    left to divide by.
    """

    def __init__(self, rows: Rows, scales: Any) -> None:
        self.rows = rows
        self.powers = self.factors = None
        if scales is not None:
            self.powers = scales.copy()
            norms = self.powers.view(cupy.float64)[:: _cuda.scale_bytes // 8]  # first of each
            self.factors = _ones(rows.n)
            inverse = 1.0 / cupy.where(norms > 0, norms, 1.0)  # of a zero row any will do
            self.factors[: rows.n] = inverse.astype(cupy.float32)
            norms[...] = 1.0
        self._kept: Packed | None = None
        self.parts = 1
        findings = Findings()
        for first, stop in batches(rows.n, max(1, most_bytes // self.row_bytes)):
            self._pack(first, stop, findings)
        norm, residual, beyond, _ = findings.read()
        self.norm, self.serves = norm, norm > _SMALL and not beyond
        self.needed = 1 if residual == 0 else 2 if rows.dtype == "float16" else 3

    @property
    def small(self) -> bool:
        """Whether all rows are packed at once, and kept, whatever the parts."""
        row_bytes = 3 * self.row_bytes // self.parts
        return _padded(self.rows.n) * row_bytes <= most_bytes // 2

    @property
    def row_bytes(self) -> int:
        rows = _cuda.rows_together
        return int(_cuda.panels_bytes(rows, self.rows.d, self.parts)) // rows

    def split(self, parts: int) -> None:
        """Have this many parts from here on."""
        if parts != self.parts:
            self._kept = None
            self.parts = parts

    def _pack(self, first: int, stop: int, findings: Findings) -> Packed:
        self._kept = None  # before there are others
        packed = Packed(self.rows, first, stop, self.powers, None, findings.memory, self.parts)
        self._kept = packed
        return packed

    def packed(self, first: int, stop: int) -> tuple[Any, ...]:
        """The rows as panels: what is told of them. Good until others are asked for."""
        kept = self._kept
        if kept is None or not (kept.first <= first and stop <= kept.stop):
            whole = _padded(self.rows.n) * self.row_bytes <= most_bytes // 2
            begin, end = (0, self.rows.n) if whole else (first, stop)
            kept = self._pack(begin, end, Findings())
        return kept.part(first, stop)

    @property
    def length(self) -> float:
        """At least that of each row as it enters the scores."""
        return self.norm if self.factors is None else 1.001


class _Tensor:
    """A loss on tensor cores."""

    def __init__(self, loss: _Loss, x: Side, y: Side) -> None:
        self.loss, self.x, self.y = loss, x, y
        self.path = _cuda.tensor_path(cupy.cuda.Device().id, path)
        parts = max(x.needed, y.needed)
        for side in {id(x): x, id(y): y}.values():
            side.split(parts)
        self.products = (0, 1, 3, 6)[parts]
        self.factor = loss.scale * math.log2(math.e)
        # of logits in base 2
        self.largest = self.factor * x.length * y.length
        self.offset: float | None = None
        self._factors: tuple[Any, Any]

    def bound(self, offset: float | None) -> None:
        """Take logits t as 2^(t - offset) from here on; None: as they are, whatever their size."""
        self.offset = offset
        factors = self.x.factors, self.y.factors
        if offset is None:
            factors = tuple(
                _ones(side.rows.n) if side.factors is None else side.factors
                for side in (self.x, self.y)
            )
        self._factors = factors

    def logits(self, rows: Range, cols: Range) -> tuple[Any, ...]:
        of_x, of_y, targets = (address(a) for a in (*self._factors, self.loss.targets))
        return (
            self.factor, of_x and of_x + 4 * rows[0], of_y and of_y + 4 * cols[0],
            targets and targets + 8 * rows[0], (rows[0], cols[0]),
            self.offset is not None, self.offset or 0.0,
        )  # fmt: skip

    def launch(self) -> tuple[int, int]:
        """Rows and columns of a launch."""
        width = min(
            _padded(self.y.rows.n), max(_cuda.rows_together, most_bytes // 2 // self.y.row_bytes)
        )
        work = width * self.x.rows.d * self.products
        return min(most_bytes // 2 // self.x.row_bytes, _WORK // work), width

    def forward(self, progress: Report | None, total: int) -> tuple[Any, Any, Any]:
        """The folds of rows and columns without the positives, and these."""
        n, m = self.x.rows.n, self.y.rows.n
        symmetric = self.loss.symmetric
        of_rows, of_cols = (_no_sums(size) for size in (n, m if symmetric else 0))
        positives = cupy.empty(n, dtype=cupy.float32)
        together = _cuda.rows_together
        height, width = self.launch()
        if symmetric:
            height = min(height, most_bytes * together // (_cuda.softmax_column_bytes * width))
        done = 0
        for cols in batches(m, width):
            for rows in batches(n, height):
                arguments = [(last - first) for first, last in (rows, cols)]
                segments = _cuda.logit_segments(*arguments)
                states = cupy.empty(2 * segments * _padded(arguments[0]), dtype=cupy.float64)
                parts = _padded(arguments[0]) // together * _cuda.softmax_column_bytes
                if self.offset is not None:
                    parts //= 2
                across = cupy.empty(
                    parts * _padded(arguments[1]) if symmetric else 0, dtype=cupy.uint8
                )
                _cuda.softmax_sums(
                    rows=self.x.packed(*rows),
                    cols=self.y.packed(*cols),
                    segments=segments,
                    logits=self.logits(rows, cols),
                    workspace=(address(states), address(across) if symmetric else 0),
                    positives=address(positives) + 4 * rows[0],
                    of_rows=address(of_rows) + 16 * rows[0],
                    of_cols=address(of_cols) + 16 * cols[0] if symmetric else 0,
                    path=self.path,
                    stream=current_stream(),
                )
                done += arguments[0] * arguments[1]
                _pace(progress, done, total)
        return of_rows, of_cols, positives

    def backward(
        self, sides: tuple[Any, Any], progress: Report | None, total: int
    ) -> tuple[Any, Any]:
        """Gradients by x and y."""
        levels = [None, None]
        if self.offset is not None:
            for at, of in enumerate(sides):
                if of is not None:
                    levels[at] = cupy.empty(len(of), dtype=cupy.float32)
                    _cuda.softmax_levels(
                        address(of),
                        len(of),
                        self.offset,
                        address(levels[at]),
                        current_stream(),
                    )
        done = self.x.rows.n * self.y.rows.n

        def write(rows: Range, cols: Range, weights: Any) -> None:
            _cuda.softmax_weights(
                rows=self.x.packed(*rows),
                cols=self.y.packed(*cols),
                segments=_cuda.logit_segments(rows[1] - rows[0], cols[1] - cols[0]),
                logits=self.logits(rows, cols),
                sides=_from(sides, _cuda.softmax_side_bytes, rows, cols),
                levels=_from(levels, 4, rows, cols),
                weights=weights,
                path=self.path,
                stream=current_stream(),
            )

        def tell(pairs: int) -> None:
            nonlocal done
            done += 3 * pairs
            _pace(progress, done, total)

        return self.multiplied(write, (True, True), tell)

    def multiplied(
        self,
        write: Callable[[Range, Range, Any], None],
        wanted: tuple[bool, bool],
        tell: Callable[[int], None],
    ) -> tuple[Any, Any]:
        """The weights of blocks, written as panels in parts, times the rows of either side."""
        x, y = self.x, self.y
        n, m, d = x.rows.n, y.rows.n, x.rows.d
        grads = [
            cupy.zeros((rows, d), dtype=cupy.float32) if want else None
            for rows, want in zip((n, m), wanted, strict=True)
        ]
        coarse = x.rows.dtype in _HALVES and y.rows.dtype in _HALVES
        parts, longest = COARSE if coarse else _FINE
        height, width = block_of(n, m, d, parts, longest)
        memory = cupy.empty(_cuda.panels_bytes(height, width, parts), dtype=cupy.uint8)
        for rows in batches(n, height):
            for cols in batches(m, width):
                weights = address(memory), 0, 0, rows[1] - rows[0], cols[1] - cols[0], parts
                write(rows, cols, weights)
                for by_column, others, own, shared in (
                    (False, y, rows, cols), (True, x, cols, rows)
                ):  # fmt: skip
                    out = grads[by_column]
                    if out is not None:
                        divisors = address(self._factors[by_column])
                        panel_product(
                            weights, others.packed(*shared), by_column=by_column, longest=longest,
                            factor=self.loss.scale * self.loss.unit,
                            divisors=divisors and divisors + 4 * own[0],
                            out=address(out) + 4 * d * own[0], path=self.path,
                        )  # fmt: skip
                tell((rows[1] - rows[0]) * (cols[1] - cols[0]))
        return grads[0], grads[1]


def panel_product(
    weights: Any,
    others: Any,
    *,
    by_column: bool,
    longest: int,
    factor: float,
    divisors: int,
    out: int,
    path: str,
) -> None:
    """Add weights times rows to `out`, sums over at most so many rows being in float32."""
    rows, d = weights[3 + by_column], others[4]
    splits = _cuda.panel_splits(
        rows_out=rows, features=d, summands=others[3], most=longest, path=path
    )
    partial = cupy.empty(splits * rows * d if splits > 1 else 0, dtype=cupy.float32)
    _cuda.panel_product(
        weights=weights, others=others, by_column=by_column, splits=splits,
        partial=address(partial), factor=factor, divisors=divisors, out=out, path=path,
        stream=current_stream(),
    )  # fmt: skip


def block_of(n: int, m: int, d: int, parts: int, longest: int) -> tuple[int, int]:
    """Rows and columns of a block of weights: nearly square ones, none much smaller."""
    # the weights, and the sums of both sides over `longest` of the others
    room = min(most_bytes // (2 * parts), most_bytes * longest // (4 * _padded(d)))
    most = max(_cuda.rows_together**2, room)
    height = _even(n, max(math.isqrt(most), most // _padded(m)))
    return height, _even(m, most // height)


def _even(n: int, most: int) -> int:
    """Rows of as few blocks of at most so many as there can be, all of about as many."""
    together = _cuda.rows_together
    blocks = -(-n // max(together, most // together * together))
    return _padded(-(-n // blocks))


def _from(pair: Any, row_bytes: int, rows: Range, cols: Range) -> tuple[int, int]:
    """Addresses of what belongs to these rows and columns."""
    of_x, of_y = addresses(pair)
    return of_x and of_x + row_bytes * rows[0], of_y and of_y + row_bytes * cols[0]


def _no_sums(n: int) -> Any:
    """Empty log-sum-exps: maximum and sum."""
    states = cupy.zeros((n, 2), dtype=cupy.float64)
    states[:, 0] = -cupy.inf
    return states


def _pace(progress: Report | None, done: int, total: int) -> None:
    if progress is not None:
        cupy.cuda.get_current_stream().synchronize()
        progress(done, total)


def _tensor_of(loss: _Loss) -> _Tensor | None:
    """The loss on tensor cores; None if the inputs are none for them."""
    x, y = loss.x, loss.y
    if (
        path == "none"
        or "float64" in (x.dtype, y.dtype)
        or not 2.0**-90 < loss.scale < _LARGE
        or _cuda.tensor_path(cupy.cuda.Device().id, path) == "none"
    ):
        return None
    left = Side(x, loss.scales[0])
    # what is packed chunk by chunk is good until the next chunk, so that each side has its own
    right = left if y is x and left.small else Side(y, loss.scales[1])
    if not (left.serves and right.serves and loss.scale * left.norm * right.norm < _LARGE):
        return None
    return _Tensor(loss, left, right)


def _on_tensor_cores(loss: _Loss, progress: Report | None) -> dict[str, Any] | None:
    """The results; None if the inputs are none for tensor cores."""
    tensor = _tensor_of(loss)
    if tensor is None:
        return None
    n, m = loss.x.n, loss.y.n
    total = n * m * (4 if loss.grad else 1)
    offset = tensor.largest - _HIGH
    tensor.bound(offset if tensor.largest < _BOUNDED else None)
    while True:
        of_rows, of_cols, positives = tensor.forward(progress, total)
        found, sides, extremes = _ended(loss, of_rows, of_cols, positives, wide=False)
        if tensor.largest <= _HIGH / 2:
            low, high = -tensor.largest, tensor.largest + math.log2(max(n, m))
        else:
            low, high = (float(z) for z in extremes.get())
        # sums of terms so small that others may have vanished beside them
        if tensor.offset is None or low >= offset - _LOW:
            break
        tensor.bound(None)
    if loss.grad:
        tensor.bound((low + high) / 2 if high - low < 2 * _HALF else None)
        grad_x, grad_y = tensor.backward(sides, progress, total)
        found |= {
            "grad_x": grad_x,
            "grad_y": grad_y,
            "grad_scale": loss.grad_scale(grad_x, wide=False),
        }
    return found


class Sigmoid(NamedTuple):
    """SigLIP losses of rows, and with gradients what each row gives of its terms."""

    per_row: Any
    grad_x: Any
    grad_y: Any
    by_scale: Any  # in units of the largest weight of a row, as the next
    by_bias: Any


def sigmoid_losses(
    x: Rows,
    y: Rows,
    scale: float,
    bias: float,
    *,
    targets: NDArray[np.int64],
    normalize: bool,
    upstream: Shares | None,
    wanted: tuple[bool, bool],
    progress: Report | None,
) -> Sigmoid | None:
    """Where each row has its target and all have one scale; None for others than tensor cores.

    One sweep folds logits while they are in registers, and writes their weights as panels.
    """
    n, m = x.n, y.n
    own = n <= m and np.array_equal(targets, np.arange(n))
    if abs(bias) > _LARGEST_BIAS:
        return None
    loss = _Loss(x, y, scale, None if own else targets, False, normalize, upstream)
    tensor = _tensor_of(loss)
    if tensor is None:
        return None
    tensor.factor = scale  # logits are natural ones here
    tensor.bound(0.0)
    per_row, by_scale, by_bias = sums = [
        cupy.zeros(n, dtype=cupy.float64) if some else None for some in (True, loss.grad, loss.grad)
    ]
    done = 0

    def fold(rows: Range, cols: Range, weights: Any) -> None:
        count = rows[1] - rows[0]
        segments = _cuda.logit_segments(count, cols[1] - cols[0])
        partial = cupy.empty(_cuda.sigmoid_sums * segments * _padded(count), dtype=cupy.float64)
        shares, *out = (
            0 if numbers is None else address(numbers) + 8 * rows[0]
            for numbers in (loss.shares, *sums)
        )
        _cuda.sigmoid_sweep(
            rows=tensor.x.packed(*rows),
            cols=tensor.y.packed(*cols),
            segments=segments,
            logits=tensor.logits(rows, cols),
            arguments=(bias, scale, shares, (out[0], out[1], out[2])),
            workspace=address(partial),
            weights=weights,
            path=tensor.path,
            stream=current_stream(),
        )

    def tell(pairs: int) -> None:
        nonlocal done
        done += pairs
        _pace(progress, done, n * m)

    if not loss.grad:
        height, width = tensor.launch()
        for cols in batches(m, width):
            for rows in batches(n, height):
                fold(rows, cols, (0, 0, 0, 0, 0, 0))
                tell((rows[1] - rows[0]) * (cols[1] - cols[0]))
        return Sigmoid(per_row, None, None, None, None)
    grads = tensor.multiplied(fold, wanted, tell)
    for side, gradient in zip((x, y), grads, strict=True):
        if normalize and gradient is not None:
            _through_normalization(side, gradient)
    return Sigmoid(per_row, *grads, by_scale, by_bias)


# --- In float64 -----------------------------------------------------------------------------------


def _in_float64(loss: _Loss, progress: Report | None) -> dict[str, Any]:
    """Each sweep has one set as queries, the other as references, and folds for its queries."""
    x, y = loss.x, loss.y
    directions = (False, True) if loss.symmetric else (False,)
    n_sweeps = len(directions) + (2 if loss.grad else 0)
    sweeps = 0

    def arguments(transposed: bool) -> dict[str, Any]:
        sets = (y, x) if transposed else (x, y)
        scales = loss.scales[::-1] if transposed else loss.scales
        return {
            "sets": (sets[0].view, sets[1].view, addresses(scales)),
            "scale": loss.scale,
            "targets": address(loss.targets),
            "transposed": transposed,
        }

    def steps(statistic: str, transposed: bool, work: int) -> Iterator[tuple[Range, Any]]:
        nonlocal sweeps
        queries, references = (y, x) if transposed else (x, y)
        ranges = _cuda.batches(statistic, queries.n, references.n, work)
        states = workspace(statistic, ranges, references.n)
        before = sweeps * queries.n
        for batch in in_launches(ranges, progress, before, n_sweeps * queries.n):
            yield batch, states
        sweeps += 1

    positives = cupy.empty(x.n, dtype=cupy.float64)
    sums = [_no_sums(x.n), _no_sums(y.n if loss.symmetric else 0)]
    for transposed in directions:
        for batch, states in steps("wide_softmax", transposed, x.d):
            _cuda.wide_softmax_sums(
                **arguments(transposed),
                rows=batch,
                workspace=address(states),
                positives=address(positives),
                sums=address(sums[transposed]),
                stream=current_stream(),
            )
    found, sides, _ = _ended(loss, sums[0], sums[1], positives, wide=True)
    if not loss.grad:
        return found
    wide = "float64" in (x.dtype, y.dtype)
    dtype = cupy.float64 if wide else cupy.float32
    strip = _cuda.contraction_width
    strips = [(f, min(f + strip, x.d)) for f in range(0, x.d, strip)]
    for name, queries, transposed in (("grad_x", x, False), ("grad_y", y, True)):
        out = cupy.empty((queries.n, x.d), dtype=dtype)
        for batch, states in steps("contraction", transposed, (x.d + strip) * len(strips)):
            for features in strips:
                _cuda.wide_softmax_products(
                    **arguments(transposed),
                    rows=batch,
                    sides=addresses(sides),
                    features=features,
                    workspace=address(states),
                    factor=loss.scale * loss.unit,
                    wide=wide,
                    out=address(out),
                    stream=current_stream(),
                )
        found[name] = out
    found["grad_scale"] = loss.grad_scale(found["grad_x"], wide=wide)
    return found
