"""References packed once, for many searches: the same results as the functions, sooner.

Validates (`validate`, `neighbors`) and hands the packed references to the very functions of the
backend that serve `knn`, `radius_count` and `radius_neighbors`. `index_file` knows the file.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.metrics import METRICS
from pairtile._front import mapped, metrics, scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.threads import resolve_workers
from pairtile.neighbors import index_file
from pairtile.neighbors.plan import SearchPlan
from pairtile.neighbors.radius import RadiusNeighbors, needs_radius, radii_of
from pairtile.neighbors.search import Neighbors, admissible, columns_of, enough_references

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import GroupRule, Metric, Precision


class NeighborIndex:
    """A reference set packed once, for many exact searches from any number of threads.

    Every call of `knn` or `radius_count` looks at the references, brings them into the frame and
    the precision in which they are screened, and lays them out for the micro-kernels. An index
    does so once. Its methods return what the functions of the same name return, bit for bit;
    calls with few queries gain most.

    Parameters
    ----------
    reference : array_like of shape (m, d)
        Real numbers. An array of one of the dtypes float16, bfloat16, int8, uint8, float32 and
        float64 is kept as it is, not copied, and must not be changed while the index is in use:
        a search reads the packed rows and these. Pass a copy if it will be.
    metric, metric_params
        As in `knn`.
    precision : {"default", "float64", "fast"}
        As in `knn`, for all searches. "default" packs in bytes or bfloat16 where the processor
        multiplies them and the references are far enough apart for it, else in float32 or float64.
        Only the neighbours found with "fast", which does not confirm them, may differ from those
        of `knn` within rounding.
    workers : int, optional
        Threads that pack. None is the setting of `set_num_threads`, -1 all allowed cores.
    check_finite : bool, default True
        False skips the search for NaN and Inf; a NaN distance is then never a neighbour.

    Attributes
    ----------
    shape : tuple of int
        Rows and features of the reference set; ``len(index)`` is the number of rows.
    metric : str
        Its name.
    metric_params : dict
        Its parameters.
    precision : str
        As given.

    Raises
    ------
    TypeError, ValueError
        If the array, the metric or the precision is not acceptable, as in `knn`.

    Notes
    -----
    Metrics whose rows are packed as they are gain from it: euclidean, sqeuclidean, cosine,
    inner_product, manhattan and chebyshev. For all others an index holds the references and the
    validated parameters alone. References on a CUDA device stay there, as they are, and serve
    queries on it; from a file they come back in host memory. With ``set_backend("cuda")`` those in
    host memory are copied there once; more than half of what the device has free stay where they
    are, and go there block by block in each search.

    Memory: 1 (bytes), 2 (bfloat16), 4 or 8 bytes per packed number, beside the references
    themselves. What was packed never changes, so calls need no lock. Two things come later, made
    by the first search that they help, or by `save`, and shared by all after it: an order of the
    rows, by which tiles too far away are left out (16 bytes and up to 64 more per row), and the
    references turned by a rotation, of which a few coordinates decide (4 bytes per number and 4 per
    coordinate of each row; `plan` says how many). A search whose queries make
    another precision worthwhile packs the references anew for itself, in blocks, as `knn` does.

    Pickling an index pickles its references and packs them again; one that was loaded from a file
    pickles as the path of that file, so that processes on one machine share its memory.

    Examples
    --------
    >>> import pairtile as pt
    >>> index = pt.NeighborIndex([[0.0], [1.0], [5.0]])
    >>> index
    NeighborIndex(shape=(3, 1), metric='euclidean')
    >>> index.knn([[4.0]], k=2).indices
    array([[2, 1]])
    >>> index.knn(k=1).indices.ravel()
    array([1, 0, 1])
    """

    _columns: list[str] | None  # their names, where the references came as a frame

    def __init__(
        self,
        reference: ArrayLike,
        *,
        metric: Metric = "euclidean",
        metric_params: Mapping[str, Any] | None = None,
        precision: Precision = "default",
        workers: int | None = None,
        check_finite: bool = True,
    ) -> None:
        metric = metrics.check(metric, metric_params)
        scalars.choice("precision", precision, scalars.PRECISIONS)
        threads = resolve_workers(workers)
        reference = validate.table_of("reference", reference)
        rows = validate.matrix(
            "reference",
            reference,
            check_finite=metrics.finite(metric, check_finite),
            workers=threads,
        )
        given = validate.like(reference)(rows)
        self._fill(rows, given, metric, dict(metric_params or {}), precision, threads)
        self._columns = validate.names_of(reference)
        mapped.check()
        mapped.keep(rows)

    def _fill(
        self,
        rows: NDArray[Any],
        given: Any,
        metric: str,
        metric_params: dict[str, Any],
        precision: str,
        workers: int,
        pack: dict[str, Any] | None = None,
        verify: bool = True,
    ) -> None:
        self.shape: tuple[int, int] = rows.shape
        self.metric = metric
        self.metric_params = metric_params
        self.precision = precision
        self._rows = rows
        self._columns = None
        self._mapped: list[Any] = [rows]  # what may be of a file
        self._given = given  # the rows as the kind of array that came in
        self._file: tuple[str, str] | None = None
        self._measure = metrics.resolve(metric, metric_params, reference=rows)
        # blocks of rows where a device does not hold them all
        self._backend = choose.module(validate.streamed("reference", rows, "", None, 0)[0])
        self._index = None
        if METRICS[self._measure.name].plain and hasattr(self._backend, "Index"):
            self._index = self._backend.Index(
                rows,
                self._measure.name,
                precision=precision,
                pack=pack,
                verify=verify,
                workers=workers,
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        precision = f", precision={self.precision!r}" if self.precision != "default" else ""
        return f"NeighborIndex(shape={self.shape}, metric={self.metric!r}{precision})"

    # --- searches ----------------------------------------------------------------------------

    def knn(
        self,
        queries: ArrayLike | None = None,
        k: int = 10,
        *,
        query_groups: ArrayLike | None = None,
        reference_groups: ArrayLike | None = None,
        group_rule: GroupRule | None = None,
        query_times: ArrayLike | None = None,
        reference_times: ArrayLike | None = None,
        reference_mask: ArrayLike | None = None,
        distance_dtype: str | None = None,
        workers: int | None = None,
        check_finite: bool = True,
        progress: Progress = False,
    ) -> Neighbors:
        """The k nearest references of each query, as `pairtile.knn` finds them.

        Parameters
        ----------
        queries : array_like of shape (n, d), optional
            None searches the references among themselves, each row's own index excluded.
        k : int, default 10
            Neighbours per query, 1 to m (to m - 1 without queries).
        query_groups, reference_groups, group_rule, query_times, reference_times, reference_mask
            As in `pairtile.knn`.
        distance_dtype, workers, check_finite, progress
            As in `pairtile.knn`; `check_finite` is about the queries.

        Returns
        -------
        Neighbors
            ``(distances, indices)``, each of shape (n, k).

        Raises
        ------
        TypeError, ValueError
            As in `pairtile.knn`.

        Notes
        -----
        O(n m d) operations; memory beyond index, queries and result is O(tiles).
        """
        distances, indices = self._search(
            "queries",
            queries,
            scalars.count("k", k),
            query_groups=query_groups,
            reference_groups=reference_groups,
            group_rule=group_rule,
            query_times=query_times,
            reference_times=reference_times,
            reference_mask=reference_mask,
            distance_dtype=distance_dtype,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        )
        wrap = validate.like(queries, self._given)
        return Neighbors(wrap(distances), wrap(indices))

    def plan(
        self, queries: ArrayLike | None = None, k: int = 10, *, workers: int | None = None
    ) -> SearchPlan:
        """What `knn` would do with these queries, and why.

        Parameters
        ----------
        queries : array_like of shape (n, d), optional
            None: the references among themselves.
        k : int, default 10
            Neighbours per query, 1 to m (to m - 1 without queries).
        workers : int, optional
            As in `knn`; the plan does not depend on them.

        Returns
        -------
        SearchPlan
            ``(strategy, expected_pairs, reasons)``.

        Raises
        ------
        TypeError, ValueError
            As in `knn`. Numbers are not checked for NaN and Inf.

        Notes
        -----
        The search asks the same question of the same sample, at most 3 % of what it takes. Where
        tiles too far away are to be left out ("near tiles") the plan makes the order of rows that
        searches then share, and ``expected_pairs`` is an estimate from a small part of the rows.

        Examples
        --------
        >>> import pairtile as pt
        >>> pt.NeighborIndex([[0.0], [1.0], [5.0]]).plan([[4.0]], k=2).expected_pairs
        3
        """
        k = scalars.count("k", k)
        threads = resolve_workers(workers)
        q, r = self._sets("queries", queries, check_finite=False, workers=threads)
        enough_references(k, len(q), len(self), itself=r is None)
        backend, index = self._server("queries", q, r)
        strategy, pairs, reasons = backend.knn_plan(
            q,
            r,
            k,
            self._measure.name,
            precision=self.precision,
            metric_params=self._measure.params,
            index=index,
            workers=threads,
        )
        mapped.check(*self._mapped)
        return SearchPlan(strategy, pairs, tuple(reasons))

    def kth_distance(
        self,
        x: ArrayLike | None = None,
        k: int | Sequence[int] | NDArray[np.integer[Any]] = 10,
        *,
        query_groups: ArrayLike | None = None,
        reference_groups: ArrayLike | None = None,
        group_rule: GroupRule | None = None,
        query_times: ArrayLike | None = None,
        reference_times: ArrayLike | None = None,
        reference_mask: ArrayLike | None = None,
        distance_dtype: str | None = None,
        workers: int | None = None,
        check_finite: bool = True,
        progress: Progress = False,
    ) -> NDArray[np.floating[Any]]:
        """Distance of each row of x to its k-th nearest reference, as `pairtile.kth_distance`.

        Parameters
        ----------
        x : array_like of shape (n, d), optional
            None: the references themselves, each row's own index excluded.
        k : int or sequence of int, default 10
            Each 1 to m (to m - 1 without x), in any order.
        query_groups, reference_groups, group_rule, query_times, reference_times, reference_mask
            As in `knn`; those of "queries" are those of the rows of x.
        distance_dtype, workers, check_finite, progress
            As in `knn`.

        Returns
        -------
        ndarray of shape (n,), or (n, len(k)) for a sequence, float32 or float64
            Columns in the order in which k was asked for.

        Raises
        ------
        TypeError, ValueError
            As in `pairtile.kth_distance`.
        """
        most, columns = columns_of(k)
        distances, _ = self._search(
            "x",
            x,
            most,
            query_groups=query_groups,
            reference_groups=reference_groups,
            group_rule=group_rule,
            query_times=query_times,
            reference_times=reference_times,
            reference_mask=reference_mask,
            distance_dtype=distance_dtype,
            workers=workers,
            check_finite=check_finite,
            progress=progress,
        )
        wrap = validate.like(x, self._given)
        kth: NDArray[np.floating[Any]] = wrap(distances.take(columns, axis=1))
        return kth

    def radius_count(
        self,
        queries: ArrayLike | None = None,
        radius: ArrayLike | None = None,
        *,
        radius_of: Literal["query", "reference"] = "query",
        closed: bool = True,
        distance_dtype: str | None = None,
        workers: int | None = None,
        check_finite: bool = True,
        progress: Progress = False,
    ) -> NDArray[np.int64]:
        """How many references lie within a radius of each query, as `pairtile.radius_count`.

        Parameters
        ----------
        queries : array_like of shape (n, d), optional
            None: the references themselves, each row's own index excluded.
        radius : float, or array_like of shape (n,) or (m,)
            Required: one for all, or one per row of the set that `radius_of` names.
        radius_of : {"query", "reference"}
            Whose the radii are.
        closed : bool, default True
            Whether a pair exactly at its radius counts.
        distance_dtype, workers, check_finite, progress
            As in `knn`.

        Returns
        -------
        ndarray of shape (n,), int64
            One count per query, whosever the radii.

        Raises
        ------
        TypeError, ValueError
            As in `pairtile.radius_count`.
        """
        needs_radius("radius_count", queries, radius)
        scalars.choice("radius_of", radius_of, ("query", "reference"))
        backend, rows, reference, options = self._counting(
            queries, distance_dtype=distance_dtype, workers=workers, check_finite=check_finite
        )
        of_query = radius_of == "query"
        of, size = ("queries", len(rows)) if of_query else ("reference", len(self))
        radii = radii_of(radius, of, size, options["dtype"])
        with reporting(progress, len(rows) * len(self)) as (report,):
            by_query_radii, _, by_reference_radii, _ = backend.radius_counts(
                rows,
                reference,
                self._measure.name,
                radii if of_query else None,
                None if of_query else radii,
                closed=bool(closed),
                per_reference=False,
                progress=report,
                **options,
            )
        mapped.check(*self._mapped)
        wrap = validate.like(queries, self._given)
        counts: NDArray[np.int64] = wrap(by_query_radii if of_query else by_reference_radii)
        return counts

    def radius_neighbors(
        self,
        queries: ArrayLike | None = None,
        radius: ArrayLike | None = None,
        *,
        closed: bool = True,
        distance_dtype: str | None = None,
        workers: int | None = None,
        check_finite: bool = True,
        progress: Progress = False,
    ) -> RadiusNeighbors:
        """All references within a radius of each query, as `pairtile.radius_neighbors`.

        Parameters
        ----------
        queries : array_like of shape (n, d), optional
            None: the references themselves, each row's own index excluded.
        radius : float or array_like of shape (n,)
            Required: one for all queries or one for each.
        closed : bool, default True
            Whether a reference exactly at the radius is a neighbour.
        distance_dtype, workers, check_finite, progress
            As in `knn`.

        Returns
        -------
        RadiusNeighbors
            ``(indptr, indices, distances)``, nearest first in each row.

        Raises
        ------
        TypeError, ValueError
            As in `pairtile.radius_neighbors`.
        """
        needs_radius("radius_neighbors", queries, radius)
        backend, rows, reference, options = self._counting(
            queries, distance_dtype=distance_dtype, workers=workers, check_finite=check_finite
        )
        radii = radii_of(radius, "queries", len(rows), options["dtype"])
        with reporting(progress, len(rows) * len(self)) as (report,):
            found = backend.radius_neighbors(
                rows,
                reference,
                self._measure.name,
                radii,
                closed=bool(closed),
                progress=report,
                **options,
            )
        mapped.check(*self._mapped)
        return RadiusNeighbors(*map(validate.like(queries, self._given), found))

    def _sets(
        self, name: str, queries: Any, *, check_finite: bool, workers: int
    ) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Queries and references as the backend takes them: a self-join has no references."""
        if queries is None:
            return self._rows, None
        q = validate.matrix(
            name,
            validate.in_order("reference", self._columns, name, queries),
            check_finite=metrics.finite(self.metric, check_finite),
            workers=workers,
        )
        validate.check_alike(name, q, "reference", self._rows)
        if METRICS[self.metric].on_bits:
            metrics.resolve(self.metric, self._measure.params, **{name: q})
        return q, self._rows

    def _server(self, name: str, q: NDArray[Any], r: NDArray[Any] | None) -> tuple[Any, Any]:
        """The module that searches these sets, and the index that it is given.

        Blocks of rows, if a device does not hold the queries beside its references.
        """
        if r is not None and self._backend is choose.module():
            beside = r if self._index is None else None
            given, _ = validate.streamed(name, q, "reference", beside, 0)
            if given is not q:
                return choose.module(given), None
        return self._backend, self._index

    def _search(
        self,
        name: str,
        queries: ArrayLike | None,
        k: int,
        *,
        distance_dtype: str | None,
        workers: int | None,
        check_finite: bool,
        progress: Progress,
        **predicates: Any,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        threads = resolve_workers(workers)
        q, r = self._sets(name, queries, check_finite=check_finite, workers=threads)
        n, m = len(q), len(self)
        enough_references(k, n, m, itself=r is None)
        predicates = admissible(name, n, m, itself=r is None, **predicates)
        dtype = scalars.float_dtype("distance_dtype", distance_dtype)
        backend, index = self._server(name, q, r)
        with reporting(progress, n * m) as (report,):
            found: tuple[NDArray[Any], NDArray[Any]] = backend.knn(
                q,
                r,
                k,
                self._measure.name,
                dtype=dtype or validate.working_dtype(q, self._rows).name,
                precision=self.precision,
                metric_params=self._measure.params,
                index=index,
                workers=threads,
                progress=report,
                **predicates,
            )
        mapped.check(*self._mapped)
        return found

    def _counting(
        self,
        queries: Any,
        *,
        distance_dtype: str | None,
        workers: int | None,
        check_finite: bool,
    ) -> tuple[Any, NDArray[Any], NDArray[Any] | None, dict[str, Any]]:
        """A backend, both sets and the options that its two radius functions share."""
        metrics.check_distance(self.metric, self.metric_params)
        threads = resolve_workers(workers)
        q, r = self._sets("queries", queries, check_finite=check_finite, workers=threads)
        dtype = scalars.float_dtype("distance_dtype", distance_dtype)
        dtype = dtype or validate.working_dtype(q, self._rows).name
        backend, index = self._server("queries", q, r)
        return (
            backend,
            q,
            r,
            {
                "dtype": dtype,
                "metric_params": self._measure.params,
                "index": index,
                "workers": threads,
            },
        )

    # --- files and pickles -------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write references, packed rows and their order to one file, for `load`.

        It appears under its name when it is complete; an index that another process has loaded
        from there before stays intact. What searches of the references among themselves would want,
        an order of rows or a rotation, is made before and written too.

        Parameters
        ----------
        path : str or path-like
            The file, replaced if there is one.

        Raises
        ------
        OSError
            If it cannot be written; nothing is left behind then.
        """
        facts: dict[str, Any] = {
            "id": secrets.token_hex(16),
            "metric": self.metric,
            "metric_params": {
                name: None if given is None else validate.host(given).tolist()
                for name, given in self.metric_params.items()
            },
            "precision": self.precision,
            "columns": self._columns,
        }
        rows: Any = self._rows
        self._prepare()
        blocks = {"reference": rows if validate.in_host_memory(rows) else rows.get()}
        if self._index is not None and self._index.pack is not None:
            facts["pack"] = dict(self._index.pack)
            blocks.update(facts["pack"].pop("blocks"))
        index_file.write(path, facts, blocks)

    def _prepare(self) -> None:
        """Has the engine make what a search of the references among themselves would."""
        if self._index is None or self._index.pack is None or len(self) == 1:
            return
        self._backend.knn_plan(
            self._rows,
            None,
            min(10, len(self) - 1),
            self._measure.name,
            precision=self.precision,
            metric_params=self._measure.params,
            index=self._index,
            workers=resolve_workers(None),
        )
        mapped.check(*self._mapped)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, workers: int | None = None, verify: bool = True
    ) -> NeighborIndex:
        """An index from a file, whose memory all processes that load it share.

        The file is read once, against its checksums, and mapped. Packed rows
        that this processor would lay out in another way (other block widths, no products of bytes
        or bfloat16) are packed anew in memory from the references, with the same results.

        Parameters
        ----------
        path : str or path-like
            What `save` wrote. It must not be changed in place while in use; saving to it again
            is fine.
        workers : int, optional
            Threads that verify the file, and that pack the references anew.
        verify : bool, default True
            False checks the header alone and takes the numbers as they are: pages then come in
            when a search first needs them. True also compares the order of rows, where the file
            has one, with the rows.

        Returns
        -------
        NeighborIndex
            With the results of the one that was saved.

        Raises
        ------
        ValueError
            If the file is not an index, of another format version (build it again then), truncated
            or damaged.
        OSError
            If it cannot be read.
        ImportError
            If the references are bfloat16 and ml_dtypes is not installed.
        """
        return cls._load(path, None, resolve_workers(workers), bool(verify))

    @classmethod
    def _load(
        cls, path: str | os.PathLike[str], identity: str | None, workers: int, verify: bool
    ) -> NeighborIndex:
        facts, blocks = index_file.read(path, verify=verify, workers=workers)
        index = cls.__new__(cls)
        try:
            found, rows, pack = facts["id"], blocks.pop("reference"), facts.get("pack")
            metrics.check(facts["metric"], facts["metric_params"])
            scalars.choice("precision", facts["precision"], scalars.PRECISIONS)
            rows = validate.matrix("reference", rows, check_finite=False)
            blocks = {name: mapped.guarded(name, block) for name, block in blocks.items()}
            if pack is not None:
                pack["blocks"] = blocks
            index._fill(
                rows,
                rows,
                facts["metric"],
                facts["metric_params"],
                facts["precision"],
                workers,
                pack,
                verify,
            )
            index._columns = facts.get("columns")
            if index._columns is not None and len(index._columns) != rows.shape[1]:
                raise ValueError(f"it names {len(index._columns)} of {rows.shape[1]} columns")
            mapped.keep(rows, *blocks.values())
            index._mapped += blocks.values()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} is damaged: {error}") from error
        if identity not in (None, found):
            raise ValueError(f"{os.fspath(path)} holds another index than the one pickled")
        index._file = (os.path.abspath(path), found)
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        if self._file is not None:
            return _reload, self._file
        return _repack, (
            self._given,
            self.metric,
            self.metric_params,
            self.precision,
            self._columns,
        )


def _reload(path: str, identity: str) -> NeighborIndex:
    # whoever pickled it has loaded it, and verified it or not
    return NeighborIndex._load(path, identity, resolve_workers(None), verify=False)


def _repack(
    reference: Any,
    metric: Any,
    metric_params: dict[str, Any],
    precision: Any,
    columns: list[str] | None = None,
) -> NeighborIndex:
    index = NeighborIndex(
        reference,
        metric=metric,
        metric_params=metric_params,
        precision=precision,
        check_finite=False,
    )
    index._columns = columns
    return index
