"""Kernel statistics on the GPU: sums over pairs, products of kernel matrices with columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from pairtile import _cuda
from pairtile._backends.cuda import tensor_sums
from pairtile._backends.cuda.memory import (
    Rows,
    address,
    addresses,
    current_stream,
    device_of,
    float64,
    in_launches,
    to_input_namespace,
    upload,
    workspace,
)
from pairtile._definitions.kernels import KERNELS, cosine
from pairtile._definitions.metrics import manhattan, normalised, sq_distance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pairtile._front.progress import Report

    Floats = NDArray[np.float64]
    Term = tuple[float, str, tuple[float, ...]]


held_rows = 2048  # of either side of a block of kernel values: 32 MB


def _wide(precision: str, sets: Sequence[Rows], terms: Sequence[Term]) -> bool:
    """Whether kernel values are computed in float64."""
    if precision == "float64" or any(rows.dtype == "float64" for rows in sets):
        return True
    found = list(dict.fromkeys(sets))
    largest = max(rows.survey()[1] for rows in found)
    return not all(_float32_will_do(term, found, largest) for term in terms)


def _float32_will_do(term: Term, sets: Sequence[Rows], largest: float) -> bool:
    """The rule of `pairtile/kernel/float32.hpp`, for rows as they are: nothing is scaled here."""
    d = sets[0].d
    argument = KERNELS[term[1]].argument
    if argument is manhattan:
        return _cuda.float32_will_do(term, 2.0 * d * largest, 0.0, 0.0)
    if argument is sq_distance:
        return _cuda.float32_will_do(term, 4.0 * d * largest**2, 0.0, 0.0)
    some = [rows.sample() for rows in sets]
    some = [normalised(a) for a in some] if argument is cosine else some
    products = np.abs(some[0] @ some[-1].T)
    square = max(float(np.einsum("ij,ij->i", a, a).max()) for a in some)
    # float32 adds up to 32 products, of which each addition rounds
    error = 2.0**-24 * (1 + math.sqrt(min(d, 32))) * square
    reach = 1.0 if argument is cosine else d * largest**2
    return _cuda.float32_will_do(term, reach, float(products.max()), error)


def blocks_of_rows(n: int) -> list[tuple[int, int]]:
    """Rows of either side of the blocks of kernel values that are held."""
    return [(first, min(first + held_rows, n)) for first in range(0, n, held_rows)]


def in_one_sweep(terms: Sequence[Term]) -> bool:
    """Whether a sweep sees a sum of kernels whole: they read one number of a pair, and are few."""
    read = {_cuda.kernel_argument(name) for _, name, _ in terms}
    return len(read) == 1 and len(terms) <= _cuda.most_terms


class _Similarity:
    """Weighted kernels between rows of some sets."""

    def __init__(self, terms: Sequence[Term], *sets: Rows) -> None:
        self.terms = terms
        normalised = any(_cuda.reads_normalised_rows(name) for _, name, _ in terms)
        self._scales = {rows: rows.scales() for rows in sets} if normalised else {}

    def arguments(self, x: Rows, y: Rows) -> Iterator[dict[str, Any]]:
        """The arguments of a launch on pairs of x and y, for each kernel."""
        for term in self.terms:
            yield {"sets": self.sets(x, y, term), "kernel": term}

    def arguments_of_sums(self, x: Rows, y: Rows) -> Iterator[dict[str, Any]]:
        """The same for each sum of kernels that read one number of a pair."""
        sums: dict[int, list[Term]] = {}
        for term in self.terms:
            sums.setdefault(_cuda.kernel_argument(term[1]), []).append(term)
        most = _cuda.most_terms
        for terms in sums.values():
            for some in (terms[i : i + most] for i in range(0, len(terms), most)):
                yield {"sets": self.sets(x, y, some[0]), "kernels": some}

    def arguments_of_whole(self, x: Rows, y: Rows) -> dict[str, Any]:
        """The same for the sum of all kernels, which is `in_one_sweep`."""
        (arguments,) = self.arguments_of_sums(x, y)
        return arguments

    def held(self, x: Rows, rows: tuple[int, int], y: Rows, columns: tuple[int, int]) -> Any:
        """The sum of all kernels between some rows of both, in float64: (columns, rows).

        0 for the pair of a row with itself.
        """
        (first, stop), (begin, end) = rows, columns
        x_scales, y_scales = (
            address(self._scales[one]) + _cuda.scale_bytes * at if self._scales else 0
            for one, at in ((x, first), (y, begin))
        )
        values = cupy.empty((end - begin, stop - first), dtype=cupy.float64)
        _cuda.kernel_matrix(
            ((x.part(first, stop), y.part(begin, end), (x_scales, y_scales)), self.terms, 0.0),
            itself=x is y,
            after=begin - first,
            matrix=address(values),
            stream=current_stream(),
        )
        return values

    def sets(self, x: Rows, y: Rows, term: Term) -> tuple[Any, Any, tuple[int, int]]:
        """The rows of both, with what a kernel divides them by."""
        normalised = _cuda.reads_normalised_rows(term[1])
        scales = (self._scales[x], self._scales[y]) if normalised else (None, None)
        return x.view, y.view, addresses(scales)


def _row_sums(
    x: Rows,
    y: Rows,
    terms: Sequence[Term],
    y_weights: Any,
    *,
    precision: str,
    triangle: bool,
    progress: Report | None,
) -> Any:
    """Sum over j of w_j k(x_i, y_j), for each i; only over j > i if `triangle`."""
    sums = tensor_sums.row_sums(
        x, y, terms, y_weights, precision=precision, triangle=triangle, progress=progress
    )
    if sums is not None:
        return sums
    similarity = _Similarity(terms, x, y)
    wide = _wide(precision, (x, y), terms)
    sums = cupy.zeros(x.n, dtype=cupy.float64)
    batches = _cuda.batches("sums", x.n, y.n, x.d)
    states = workspace("sums", batches, y.n)
    for batch in in_launches(batches, progress):
        for arguments in similarity.arguments(x, y):
            _cuda.kernel_row_sums(
                **arguments,
                rows=batch,
                wide=wide,
                triangle=triangle,
                reference_weights=address(y_weights),
                workspace=address(states),
                sums=address(sums),
                stream=current_stream(),
            )
    return sums


def kernel_row_sums(
    z: Any,
    y: Any,
    terms: Sequence[Term],
    y_weights: NDArray[np.float64] | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """Sum over j of w_j k(z_i, y_j), for each i."""
    del workers
    with device_of(z, y):
        sums = _row_sums(
            Rows(z),
            Rows(y),
            terms,
            upload(y_weights),
            precision=precision,
            triangle=False,
            progress=progress,
        )
        return to_input_namespace(z, sums)[0]


def kernel_total(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    x_weights: NDArray[np.float64] | None,
    y_weights: NDArray[np.float64] | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> float:
    """Sum over ordered pairs of w_i w_j k(x_i, y_j); y None: over i != j of x."""
    del workers
    itself = y is None
    with device_of(x, y):
        rows = Rows(x)
        v = upload(x_weights)
        sums = _row_sums(
            rows,
            rows if itself else Rows(y),
            terms,
            v if itself else upload(y_weights),
            precision=precision,
            triangle=itself,
            progress=progress,
        )
        total = cupy.empty(1, dtype=cupy.float64)
        _cuda.weighted_total(address(sums), rows.n, address(v), address(total), current_stream())
        value = float(total.get()[0])
    return 2.0 * value if itself else value


def kernel_logsumexp(
    x: Any,
    y: Any,
    terms: Sequence[Term],
    log_weights: Floats | None,
    rates: Floats | None,
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """Log of the sum over j of e^w_j times the sum over terms of a_t k_t(x_i, y_j)^r_j.

    y None: over j != i of x. Weights and rates None: 0 and 1. Everything in float64.
    """
    del precision, workers
    with device_of(x, y):
        rows = Rows(x)
        others = rows if y is None else Rows(y)
        similarity = _Similarity(terms, rows, others)
        below, powers = upload(log_weights), upload(rates)
        so_far = cupy.empty(rows.n * _cuda.log_sum_bytes, dtype=cupy.uint8)
        sums = cupy.empty(rows.n, dtype=cupy.float64)
        batches = _cuda.batches("log_sums", rows.n, others.n, rows.d)
        states = workspace("log_sums", batches, others.n)
        for batch in in_launches(batches, progress):
            for term, arguments in enumerate(similarity.arguments(rows, others)):
                _cuda.kernel_log_sums(
                    **arguments,
                    rows=batch,
                    exclude_self=y is None,
                    log_weights=address(below),
                    rates=address(powers),
                    is_first=term == 0,
                    workspace=address(states),
                    so_far=address(so_far),
                    sums=address(sums),
                    stream=current_stream(),
                )
        return to_input_namespace(x, sums)[0]


class _Product:
    """Kernel matrix of some rows times columns: batches of rows, strips of columns."""

    def __init__(
        self,
        similarity: _Similarity,
        rows: Rows,
        sets: Sequence[Rows],
        columns: int,
        *,
        wide: bool,
    ) -> None:
        self._similarity = similarity
        self._wide = wide
        self._rows = rows
        step = _cuda.contraction_width
        self.strips = [(c, min(c + step, columns)) for c in range(0, columns, step)]
        work = (rows.d + step) * len(self.strips) * len(similarity.terms)
        sizes = [others.n for others in sets]
        self.batches = _cuda.batches("contraction", rows.n, sum(sizes), work)
        self._partial = workspace("contraction", self.batches, *sizes)

    def add(
        self,
        others: Rows,
        table: tuple[int, bool, int, int],
        batch: tuple[int, int],
        strip: tuple[int, int],
        out: int,
        stride: int,
    ) -> None:
        """Add to what lies at `out`. The pair of a row with itself counts in no product."""
        for arguments in self._similarity.arguments(self._rows, others):
            _cuda.contract(
                **arguments,
                rows=batch,
                wide=self._wide,
                exclude_self=others is self._rows,
                table=table,
                columns=strip,
                workspace=address(self._partial),
                out=out,
                out_stride=stride,
                stream=current_stream(),
            )


def kernel_matvec(
    x: Any,
    y: Any,
    v: Any,
    terms: Sequence[Term],
    *,
    precision: str,
    workers: int,
    progress: Report | None = None,
) -> Any:
    """Sum over j of k(x_i, y_j) v_jc, for each i and each column c."""
    del workers
    with device_of(x, y, v):
        rows, others = Rows(x), Rows(y)
        numbers = float64(v)
        width = numbers.shape[1]
        similarity = _Similarity(terms, rows, others)
        wide = _wide(precision, (rows, others), terms)
        product = _Product(similarity, rows, [others], width, wide=wide)
        out = cupy.zeros((rows.n, width), dtype=cupy.float64)
        table = (address(numbers), False, width, width)
        for batch in in_launches(product.batches, progress):
            for strip in product.strips:
                at = address(out) + out.itemsize * (batch[0] * width + strip[0])
                product.add(others, table, batch, strip, at, width)
        return to_input_namespace(x, out)[0]
