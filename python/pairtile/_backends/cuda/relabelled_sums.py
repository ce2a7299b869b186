"""Sums over the samples of every relabelling of a resampling test.

    kernels -> parts that read one number of a pair -> sizes of their values -> a step for each
            -> blocks of pairs: whole numbers of it as digits, times labels on tensor cores -> sums

Where tensor cores do not serve, values and sums are in float64.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.blocks import reading
from pairtile._backends.cuda import panels
from pairtile._backends.cuda.kernels import (
    _Product,
    _Similarity,
    blocks_of_rows,
    in_one_sweep,
)
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    current_stream,
    device_of,
    in_launches,
    upload,
    workspace,
)
from pairtile._backends.cuda.streaming import meetings, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    _Span = tuple[int, int]
    Term = tuple[float, str, tuple[float, ...]]


def _rows_of_bits(labels: NDArray[np.uint64], rows: int) -> NDArray[np.uint8]:
    """Labels of words of 64 rows as packed bits of one row after the other."""
    out = np.empty((rows, (labels.shape[1] + 7) // 8), dtype=np.uint8)
    for w, words in enumerate(labels):
        of_labels = words[:, None].astype("<u8").view(np.uint8)
        bits = np.unpackbits(of_labels, axis=1, bitorder="little").T
        out[64 * w : 64 * (w + 1)] = np.packbits(bits[: rows - 64 * w], axis=1, bitorder="little")
    return out


def kernel_label_sums(
    x: Any,
    y: Any,
    labels: NDArray[np.uint64],
    kernels: Sequence[Sequence[Term]],
    *,
    paired: bool,
    rounding_steps: Sequence[float] = (),
    workers: int,
    progress: Report | None = None,
) -> tuple[Floats, Floats, Floats]:
    """For each kernel matrix K and 0/1 labelling V_b: V_b'KV_b, V_b'K1; for each K: 1'K1.

    K has a zero diagonal and is that of the pooled rows, or with `paired` that of
    h = k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(y_i, x_j), rounded to multiples
    of the rounding steps (one per kernel, 0 for none). Bit i % 64 of labels[i // 64, b] is V_ib.
    """
    del workers
    n_labels = labels.shape[1]
    found: dict[int, tuple[Floats, Floats, float]] = {}
    with device_of(x, y):
        sets = None if too_large(x, y) and not paired else (Rows(x), Rows(y))
        steps = list(rounding_steps) or [0.0] * len(kernels)
        whole = None
        if panels.tensor_path() != "none":
            terms = [term for of_kernel in kernels for term in of_kernel]
            meet = partial(_of_blocks, x, y, terms)
            if sets is not None:
                meet = partial(iter, _of_whole(*sets, terms, paired=paired))
            whole = _WholeSums(
                (len(x), 0 if paired else len(y)), x.shape[1], meet, kernels, steps,
                _share(progress, 0, 2), paired=paired,
            )  # fmt: skip
            progress = _share(progress, 1, 2)
        served = set() if whole is None else whole.served
        left = [q for q in range(len(kernels)) if q not in served]
        jobs = len(left) + bool(served)
        if whole is not None and served:
            found |= whole.sums(labels, _share(progress, 0, jobs))
        if left:
            held = sets or (Rows(x), Rows(y))
            packed = _rows_of_bits(labels, held[0].n + (0 if paired else held[1].n))
            bits = upload(packed)
            for job, q in enumerate(left, start=jobs - len(left)):
                report = _share(progress, job, jobs)
                if steps[q] > 0 and not in_one_sweep(kernels[q]):
                    found[q] = _rounded_sums(held, packed, kernels[q], steps[q], n_labels, report)
                elif paired:
                    found[q] = _paired_sums(held, bits, kernels[q], steps[q], n_labels, report)
                else:
                    found[q] = _label_sums(held, bits, kernels[q], n_labels, report)
    within, row, total = zip(*(found[q] for q in range(len(kernels))), strict=True)
    return np.stack(within), np.stack(row), np.array(total)


def _share(progress: Report | None, part: int, parts: int) -> Report | None:
    """What reports one of several equal parts of a call."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, parts * total)


# --- Whole numbers, added exactly -----------------------------------------------------------------

# A step is at most this share of the mean |k|; what counts as a tie is four times that or more.
_STEP = 2.0**-46
_SMALLEST, _LARGEST = 2.0**-500, 2.0**500  # steps that can be divided by
_BLOCK_PAIRS = 1 << 23  # at a time: some milliseconds, and 64 MB of digits
_BLOCK_ROWS = 2048
_PLANES = 1 << 28  # bytes of the digits of a block
_WORK = 1 << 36  # pairs times features, well below a second
_LABEL_ROWS = 32  # whose labels are a word


class _Part(NamedTuple):
    """What of a kernel reads one number of a pair: it has digits of its own."""

    kernel: int
    terms: Sequence[Term]
    rounding_step: float  # the step that it is to have, 0 for any
    step: float = 1.0
    digits: int = 1


class _Meeting(NamedTuple):
    """Two sets whose pairs are wanted; in a triangle those behind a row itself."""

    similarity: _Similarity
    rows: Rows
    others: Rows
    triangle: bool
    row_labels: tuple[int, int] = (0, 0)  # of which sample, and of its rows from which on
    other_labels: tuple[int, int] = (0, 0)

    @property
    def pairs(self) -> int:
        n: int = self.rows.n
        return n * (n - 1) // 2 if self.triangle else n * int(self.others.n)

    def blocks(self, pairs: int) -> Iterator[tuple[_Span, _Span]]:
        """Rows and columns of blocks of at most so many pairs, if that is 64 x 32."""
        height = min(_BLOCK_ROWS, max(64, math.isqrt(pairs // 2) // 64 * 64))
        width = min(_cuda.most_digit_columns, max(32, pairs // height // 32 * 32))
        for first in range(0, self.rows.n, height):
            for column in range(first if self.triangle else 0, self.others.n, width):
                yield (
                    (first, min(first + height, self.rows.n)),
                    (column, min(column + width, self.others.n)),
                )


def _of_whole(x: Rows, y: Rows, terms: Sequence[Term], *, paired: bool) -> list[_Meeting]:
    """The samples, which the device holds."""
    similarity = _Similarity(terms, x, y)
    if paired:
        return [_Meeting(similarity, x, y, True)]
    return [
        _Meeting(similarity, x, x, True),
        _Meeting(similarity, x, y, False, (0, 0), (1, 0)),
        _Meeting(similarity, y, y, True, (1, 0), (1, 0)),
    ]


def _of_blocks(x: NDArray[Any], y: NDArray[Any], terms: Sequence[Term]) -> Iterator[_Meeting]:
    """Blocks of samples which the device does not hold, each while it is there."""
    for a, b, of_a, of_b in ((x, None, 0, 0), (x, y, 0, 1), (y, None, 1, 1)):
        for rows, cols, mine, theirs in meetings(a, b, ordered=False, together=_LABEL_ROWS):
            one = Rows(mine)
            other = one if theirs is None else Rows(theirs)
            similarity = _Similarity(terms, one, other)
            labels = (of_a, rows.start), (of_b, cols.start)
            yield _Meeting(similarity, one, other, theirs is None, *labels)


class _WholeSums:
    """Sums of the kernels whose values fit whole numbers of a step.

    The step is the given one, if any, else a power of two that depends on the size of all
    values alone. So rounding makes the kernel another one, as symmetric as before, and sums of
    whole numbers are exact in any order: relabellings that tie in theory do tie.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        d: int,
        meet: Callable[[], Iterator[_Meeting]],
        kernels: Sequence[Sequence[Term]],
        rounding_steps: Sequence[float],
        progress: Report | None,
        *,
        paired: bool,
    ) -> None:
        self._sizes, self._d, self._meet, self._paired = sizes, d, meet, paired
        self._pairs = sum(sizes) * (sum(sizes) - 1) // 2
        groups = _groups(kernels, rounding_steps)
        sized = [
            self._sized(parts, _share(progress, g, len(groups))) for g, parts in enumerate(groups)
        ]
        refused = {part.kernel for parts in sized for part in parts if part.digits == 0}
        self.served = {part.kernel for parts in sized for part in parts} - refused
        kept = ([p for p in parts if p.kernel in self.served] for parts in sized)
        self._groups = [parts for parts in kept if parts]

    def sums(
        self, labels: NDArray[np.uint64], progress: Report | None
    ) -> dict[int, tuple[Floats, Floats, float]]:
        """V'KV, V'K1 and 1'K1 of each kernel that is served."""
        n_labels = labels.shape[1]
        n, m = self._sizes
        words = [upload(_label_words(labels, 0, n))]
        if m:
            words.append(upload(_label_words(labels, n, m)))
        found = {q: (np.zeros(n_labels), np.zeros(n_labels), 0.0) for q in self.served}
        for g, parts in enumerate(self._groups):
            sums = self._digit_sums(parts, words, _share(progress, g, len(self._groups)))
            first = 0
            for part in parts:
                of_part = sums[first : first + part.digits]
                first += part.digits
                # of the pairs i < j; the last labelling has all rows
                within, row = (part.step * _joined(of_part[:, k]) for k in (0, 1))
                a, b, c = found[part.kernel]
                found[part.kernel] = (
                    a + 2.0 * within[:n_labels],
                    b + row[:n_labels],
                    c + 2.0 * float(within[n_labels]),
                )
        return found

    def _arguments(self, parts: Sequence[_Part]) -> Iterator[tuple[_Meeting, dict[str, Any]]]:
        """The arguments of launches on the pairs of two sets, for some kernels."""
        terms = [term for part in parts for term in part.terms]
        ends = np.cumsum([len(part.terms) for part in parts]).tolist()
        arguments = [(end, part.step, part.digits) for part, end in zip(parts, ends, strict=True)]
        for meeting in self._meet():
            sets = meeting.similarity.sets(meeting.rows, meeting.others, terms[0])
            yield meeting, {"sets": sets, "kernels": terms, "parts": arguments}

    def _pairs_at_once(self, parts: Sequence[_Part], planes: int) -> int:
        work = (4 if self._paired else 1) * (self._d + 8 * sum(len(part.terms) for part in parts))
        most: int = min(_BLOCK_PAIRS, _PLANES // max(1, planes), _WORK // work)
        return most

    def _launches(
        self, parts: Sequence[_Part], planes: int, progress: Report | None
    ) -> Iterator[tuple[_Meeting, tuple[_Span, _Span], dict[str, Any]]]:
        """Blocks of pairs and their launches, each awaited before the next is launched."""
        most = self._pairs_at_once(parts, planes)
        stream = cupy.cuda.get_current_stream()
        met, launched = 0, False
        for meeting, arguments in self._arguments(parts):
            blocks = list(meeting.blocks(most))
            report = reading.within(progress, met, meeting.pairs, self._pairs)
            for done, block in enumerate(blocks, start=1):
                if launched:
                    stream.synchronize()
                yield (
                    meeting,
                    block,
                    {
                        **arguments,
                        "block": (*block, meeting.triangle, self._paired),
                    },
                )
                launched = True
                if report is not None:
                    stream.synchronize()
                    report(done, len(blocks))
            met += meeting.pairs

    def _sized(self, parts: Sequence[_Part], progress: Report | None) -> list[_Part]:
        """With step and digits, of which there are 0 where eight are too few."""
        sizes = cupy.zeros((len(parts), 2), dtype=cupy.float64)
        for _, _, arguments in self._launches(parts, 0, progress):
            count = _cuda.value_size_states(arguments["sets"], arguments["block"]) * len(parts)
            states = cupy.empty(count * _cuda.value_size_bytes, dtype=cupy.uint8)
            _cuda.value_sizes(
                **arguments, states=address(states), sizes=address(sizes), stream=current_stream()
            )
        return [
            _with_step(part, float(largest), float(total) / max(1, self._pairs))
            for part, (largest, total) in zip(parts, sizes.get(), strict=True)
        ]

    def _digit_sums(
        self, parts: Sequence[_Part], words: Sequence[Any], progress: Report | None
    ) -> Any:
        """Sums of digits, (planes, 2, labellings): over labelled pairs, and of labelled rows."""
        planes = sum(part.digits for part in parts)
        labellings = words[0].shape[1]
        sums = cupy.zeros((planes, 2, labellings), dtype=cupy.int64)
        memory = cupy.empty(0, dtype=cupy.uint8)
        for meeting, (rows, columns), arguments in self._launches(parts, planes, progress):
            needed = planes * _plane_bytes(rows, columns)
            if memory.size < needed:
                memory = cupy.empty(needed, dtype=cupy.uint8)
            _cuda.relabelled_sums(
                **arguments,
                labels=(
                    _word_of(words, meeting.row_labels, rows[0]),
                    _word_of(words, meeting.other_labels, columns[0]),
                ),
                labellings=labellings,
                planes=address(memory),
                sums=address(sums),
                stream=current_stream(),
            )
        return sums.get()


def _groups(
    kernels: Sequence[Sequence[Term]], rounding_steps: Sequence[float]
) -> list[list[_Part]]:
    """Parts of kernels that read the same number of a pair, and so share its tile.

    None of a kernel that has parts, but is rounded as a whole.
    """
    by_argument: dict[int, list[_Part]] = {}
    for q, (terms, rounding_step) in enumerate(zip(kernels, rounding_steps, strict=True)):
        if rounding_step > 0 and not in_one_sweep(terms):
            continue
        of_kernel: dict[int, list[Term]] = {}
        for term in terms:
            of_kernel.setdefault(_cuda.kernel_argument(term[1]), []).append(term)
        for argument, some in of_kernel.items():
            by_argument.setdefault(argument, []).extend(
                _Part(q, some[i : i + _cuda.most_terms], rounding_step)
                for i in range(0, len(some), _cuda.most_terms)
            )
    groups: list[list[_Part]] = []
    for parts in by_argument.values():
        room = 0
        for part in parts:
            room -= len(part.terms)
            if room < 0:
                groups.append([])
                room = _cuda.most_terms - len(part.terms)
            groups[-1].append(part)
    return groups


def _with_step(part: _Part, largest: float, mean: float) -> _Part:
    """The step that values of this size have, and digits for the largest of them; 0: too many."""
    if largest == 0.0:
        return part
    step = part.rounding_step
    if step == 0.0 and math.isfinite(mean):
        step = _STEP * 2.0 ** (math.frexp(mean)[1] - 1)  # a power of two
    digits = 0
    if _SMALLEST < step < _LARGEST and math.isfinite(largest):
        # a digit is from -128 to 127, and the first of them has a bit to spare
        digits = -(-(math.frexp(largest / step)[1] + 2) // _cuda.digit_bits)
    return part._replace(step=step, digits=digits if digits <= _cuda.most_digits else 0)


def _label_words(labels: NDArray[np.uint64], first: int, rows: int) -> NDArray[np.uint32]:
    """Labels of rows from `first` on, 32 to a word; behind them one of all rows, then of none."""
    n_labels = labels.shape[1]
    step = _cuda.labellings_together
    words = np.zeros((-(-rows // 32), -(-(n_labels + 1) // step) * step), dtype=np.uint32)
    halves = np.stack([labels & np.uint64(2**32 - 1), labels >> np.uint64(32)], axis=1)
    halves = halves.reshape(-1, n_labels)[first // 32 :]
    shift = np.uint64(first % 32)
    words[:, :n_labels] = (halves[: len(words)] >> shift) & np.uint64(2**32 - 1)
    if shift:
        after = halves[1 : len(words) + 1]
        words[: len(after), :n_labels] |= (
            (after << (np.uint64(32) - shift)) & np.uint64(2**32 - 1)
        ).astype(np.uint32)
    words[:, n_labels] = 2**32 - 1
    return words


def _word_of(words: Sequence[Any], of: tuple[int, int], row: int) -> int:
    """Address of the labels of a row of a meeting that is the first of 32."""
    sample, first = of
    table = words[sample]
    bytes_before: int = table.itemsize * table.shape[1] * ((first + row) // _LABEL_ROWS)
    return address(table) + bytes_before


def _plane_bytes(rows: _Span, columns: _Span) -> int:
    """Of a digit of a block of pairs, in tiles of 32 x 32."""
    height, width = (-(-(stop - first) // 32) * 32 for first, stop in (rows, columns))
    return height * width


def _joined(digits: NDArray[np.int64]) -> Floats:
    """The whole numbers whose digits these are, the lowest first; equal ones have the same bits."""
    *low, high = digits
    carry = np.zeros_like(high)
    below = np.zeros_like(high)
    for place, digit in enumerate(low):
        carried = digit + carry
        carry = carried >> _cuda.digit_bits
        below += (carried & (2**_cuda.digit_bits - 1)) << (_cuda.digit_bits * place)
    unit = 2.0 ** (_cuda.digit_bits * len(low))
    joined: Floats = unit * (high + carry).astype(np.float64) + below.astype(np.float64)
    return joined


# --- Float64 --------------------------------------------------------------------------------------


class _Totals:
    """V'KV and V'K1 of labellings, and 1'K1, from strips of columns of KV.

    A column of ones behind V gives the last.
    """

    def __init__(self, n_labels: int) -> None:
        self.columns = n_labels + 1
        self._within, self._all = (cupy.zeros(self.columns, dtype=cupy.float64) for _ in range(2))

    def add(
        self,
        products: Any,
        batch: tuple[int, int],
        table: tuple[int, bool, int, int],
        strip: tuple[int, int],
    ) -> None:
        """Add what the rows of a batch give; `table` holds the labels of their set."""
        _cuda.column_totals(
            products=address(products),
            rows=batch,
            table=table,
            columns=strip,
            within=address(self._within) + self._within.itemsize * strip[0],
            all=address(self._all) + self._all.itemsize * strip[0],
            stream=current_stream(),
        )

    def get(self) -> tuple[Floats, Floats, float]:
        of_labels, of_all = self._within.get(), self._all.get()
        return of_labels[:-1], of_all[:-1], float(of_all[-1])


def _label_sums(
    sets: tuple[Rows, Rows],
    bits: Any,
    terms: Sequence[Term],
    n_labels: int,
    progress: Report | None,
) -> tuple[Floats, Floats, float]:
    """The sums of one kernel.

    Everything in float64: relabellings that tie must tie.
    """
    stride = bits.shape[1]
    tables = [(address(bits) + stride * first, True, stride, n_labels) for first in (0, sets[0].n)]
    totals = _Totals(n_labels)
    similarity = _Similarity(terms, *sets)
    pooled = sets[0].n + sets[1].n
    for rows, table, before in zip(sets, tables, (0, sets[0].n), strict=True):
        product = _Product(similarity, rows, sets, totals.columns, wide=True)
        for batch in in_launches(product.batches, progress, before, pooled):
            for strip in product.strips:
                shape = batch[1] - batch[0], _cuda.contraction_width
                products = cupy.zeros(shape, dtype=cupy.float64)
                for others, their_table in zip(sets, tables, strict=True):
                    at = address(products)
                    product.add(others, their_table, batch, strip, at, shape[1])
                totals.add(products, batch, table, strip)
    return totals.get()


def _paired_sums(
    sets: tuple[Rows, Rows],
    bits: Any,
    terms: Sequence[Term],
    rounding_step: float,
    n_labels: int,
    progress: Report | None,
) -> tuple[Floats, Floats, float]:
    """The same of pairs of rows.

    With a rounding step h is counted in whole numbers of it, whose sums are exact up to 2⁵³; what
    they are multiplied by comes last.
    """
    x, y = sets
    totals = _Totals(n_labels)
    similarity = _Similarity(terms, x, y)
    all_arguments = list(similarity.arguments_of_sums(x, y))
    if rounding_step > 0:
        all_arguments = [similarity.arguments_of_whole(x, y)]
    step = _cuda.contraction_width
    strips = [(c, min(c + step, totals.columns)) for c in range(0, totals.columns, step)]
    work = (4 * x.d + step) * len(strips) * len(all_arguments)
    batches = _cuda.batches("contraction", x.n, y.n, work)
    partial = workspace("contraction", batches, y.n)
    table = (address(bits), True, bits.shape[1], n_labels)
    for batch in in_launches(batches, progress):
        for strip in strips:
            products = cupy.zeros((batch[1] - batch[0], step), dtype=cupy.float64)
            for arguments in all_arguments:
                _cuda.contract_paired(
                    **arguments,
                    rounding_step=rounding_step,
                    rows=batch,
                    table=table,
                    columns=strip,
                    workspace=address(partial),
                    out=address(products),
                    out_stride=step,
                    stream=current_stream(),
                )
            totals.add(products, batch, table, strip)
    unit = rounding_step or 1.0
    within, row, total = totals.get()
    return unit * within, unit * row, unit * total


def _rounded_sums(
    sets: tuple[Rows, Rows],
    bits: NDArray[np.uint8],
    terms: Sequence[Term],
    rounding_step: float,
    n_labels: int,
    progress: Report | None,
) -> tuple[Floats, Floats, float]:
    """The same with a rounding step, of sums of kernels that no sweep sees whole.

    Their values are held, block by block. Sums of whole numbers are exact in any order.
    """
    x, y = sets
    similarity = _Similarity(terms, x, y)
    within = cupy.zeros(n_labels, dtype=cupy.float64)
    of_rows = cupy.zeros(x.n, dtype=cupy.float64)
    labels = upload(np.unpackbits(bits, axis=1, count=n_labels, bitorder="little"))
    blocks = blocks_of_rows(x.n)
    for rows in in_launches(blocks, progress):
        products = cupy.zeros((rows[1] - rows[0], n_labels), dtype=cupy.float64)
        for columns in blocks:
            inner, outer = (
                similarity.held(x, rows, one, columns) + similarity.held(y, rows, other, columns)
                for one, other in ((x, y), (y, x))
            )
            whole = np.rint((inner - outer) / rounding_step)
            if rows == columns:
                whole = cupy.where(cupy.eye(len(whole), dtype=bool), 0.0, whole)
            products += whole.T @ labels[slice(*columns)].astype(cupy.float64)
            of_rows[slice(*rows)] += whole.sum(axis=0)
        within += (labels[slice(*rows)] * products).sum(axis=0)
    row = of_rows @ labels.astype(cupy.float64)
    total = float(of_rows.sum())
    return rounding_step * within.get(), rounding_step * row.get(), rounding_step * total
