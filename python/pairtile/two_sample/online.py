"""MMD over a stream: a window of the latest rows against a fixed reference.

A new row costs its kernel row, against the reference and against the window; the three sums of the
statistic follow from that row and the one that leaves.

    reference -> simulated streams -> thresholds
    rows -> kernel sums with the reference, kernel values with the window -> statistics
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pairtile._backends import choose
from pairtile._definitions.kernels import evaluate
from pairtile._front import scalars, validate
from pairtile._front.progress import reporting
from pairtile._front.results import Result
from pairtile._front.threads import resolve_workers
from pairtile.kernels.kernel import Kernel, as_kernel, diagonal, median_sizes, resolve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pairtile._front.progress import Progress
    from pairtile._front.words import KernelName

    Floats = NDArray[np.float64]


class _OnlineResult(NamedTuple):
    statistics: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    drift: NDArray[np.bool_]


class OnlineResult(Result, _OnlineResult):
    """What `OnlineMMD.update` found for each row.

    Attributes
    ----------
    statistics : ndarray of shape (r,), float64
        Unbiased squared MMD of the reference and the window that ends with this row; nan
        until the window is full.
    thresholds : ndarray of shape (r,), float64
        What the statistic is compared with; nan until the window is full.
    drift : ndarray of shape (r,), bool
        Where the statistic exceeds its threshold.
    """


def _simulated_statistics(
    k_within: Floats, to_all: Floats, total: float, n: int, window: int
) -> Floats:
    """MMD² of every window of a stream of reference rows, against the reference without them.

    `k_within` is the kernel of the stream's rows with zero diagonal, `to_all` the sum of each
    over the other n − 1 reference rows, `total` the sum over all pairs i != j of the reference.
    """
    length = len(k_within)
    rest = n - length
    inner = k_within.sum(axis=1)
    reference = (total - 2 * to_all.sum() + inner.sum()) / (rest * (rest - 1))
    corner = np.zeros((length + 1, length + 1))
    corner[1:, 1:] = k_within.cumsum(axis=0).cumsum(axis=1)
    low, high = np.arange(length - window + 1), np.arange(window, length + 1)
    own = corner[high, high] - corner[low, high] - corner[high, low] + corner[low, low]
    across = np.concatenate([[0.0], np.cumsum(to_all - inner)])
    cross = (across[high] - across[low]) / (rest * window)
    statistics: Floats = reference + own / (window * (window - 1)) - 2 * cross
    return statistics


class OnlineMMD:
    r"""Drift detector: the MMD of a fixed reference and the latest rows of a stream.

    The statistic is the unbiased squared MMD of `reference` and the last `window` rows, as
    ``mmd(reference, rows)`` with the same kernel gives it. Thresholds are such that a stream
    without drift raises its first false alarm after `expected_run_time` full windows on
    average.

    Parameters
    ----------
    reference : array_like of shape (n, d)
        Real numbers; more than 4 windows of rows.
    window : int
        W, rows of the stream that are compared, at least 2.
    expected_run_time : float
        Mean number of statistics up to and including the first false alarm, greater than 1.
    kernel : Kernel or str, default "gaussian"
        As in `mmd`; rules such as "median" look at the reference.
    n_simulations : int, optional
        Streams drawn for the thresholds, ten for each row of the expected run time by default;
        at least that many rows.
    rng : int, numpy.random.Generator or None
        One seed gives one set of thresholds.
    workers, check_finite, progress
        As in `knn`.

    Attributes
    ----------
    statistic : float
        Of the present window, nan until it is full.
    threshold : float
        What it is compared with, nan until the window is full.
    drift : bool
        Whether the one exceeds the other.
    thresholds : ndarray of shape (W,), float64
        Of the first W full windows; the last holds from then on.
    n_seen : int
        Rows since the start or the last `reset`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not acceptable.

    Notes
    -----
    A row costs O((n + W) d) operations, however long the stream; memory O(n d + W d + W²). The
    sum within the window is added afresh once every W rows, so that rounding does not pile up.

    Each of S simulated streams is 2W − 1 reference rows in random order, met by the reference
    without them. The t-th threshold is the 1 − 1/expected_run_time quantile of the t-th
    statistic over the streams that have not passed an earlier one, times (1/W + 1/n) over
    (1/W + 1/(n − 2W + 1)): to that the null distribution is proportional. Setting up costs
    O(n² d + S W² d).

    References
    ----------
    Cobb, Van Looveren and Klaise, "Sequential multivariate change detection with calibrated and
    memoryless false detection rates", AISTATS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import pairtile as pt
    >>> rng = np.random.default_rng(0)
    >>> detector = pt.OnlineMMD(rng.normal(size=(300, 2)), 10, expected_run_time=100, rng=0)
    >>> bool(detector.update(rng.normal(2, 1, size=(20, 2))).drift[-1])
    True
    """

    def __init__(
        self,
        reference: ArrayLike,
        window: int,
        *,
        expected_run_time: float,
        kernel: Kernel | KernelName = "gaussian",
        n_simulations: int | None = None,
        rng: Any = None,
        workers: int | None = None,
        check_finite: bool = True,
        progress: Progress = False,
    ):
        chosen = as_kernel(kernel)
        self.window = scalars.count("window", window, least=2)
        run_time = scalars.real("expected_run_time", expected_run_time, above=1)
        least = int(np.ceil(run_time))
        streams = 10 * least
        if n_simulations is not None:
            streams = scalars.count("n_simulations", n_simulations, least=least)
        self._workers = workers
        threads = resolve_workers(workers)
        reference = validate.table_of("reference", reference)
        self._names = validate.names_of(reference)
        a = validate.matrix(
            "reference", reference, check_finite=check_finite, workers=threads, sample=True
        )
        if not isinstance(a, np.ndarray):
            raise NotImplementedError("OnlineMMD runs in host memory; copy the reference there")
        n = len(a)
        if n <= 4 * self.window:
            raise ValueError(
                f"reference has {n} rows, and a window of {self.window} needs more than "
                f"{4 * self.window}: false alarms are simulated with rows of it"
            )
        self._reference = np.array(a)  # of its own: a stream outlives the caller's array
        generator = scalars.generator(rng)
        with reporting(progress, *median_sizes(chosen, n), n * n) as (*medians, report):
            self._terms = resolve(chosen, a, None, workers=threads, reports=medians)
            to_all = self._to_reference(self._reference, progress=report)
        to_all -= diagonal(a, self._terms)
        self._mean_reference = float(to_all.sum()) / (n * (n - 1))
        self.thresholds = self._calibrate(to_all, 1 / run_time, streams, generator)
        self.reset()

    def _values(self, x: NDArray[Any], y: NDArray[Any]) -> Floats:
        return evaluate(
            np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), self._terms
        )

    def _to_reference(self, rows: NDArray[Any], progress: Any = None) -> Floats:
        sums: Floats = choose.module(rows).kernel_row_sums(
            rows,
            self._reference,
            self._terms,
            None,
            precision="float64",
            workers=resolve_workers(self._workers),
            progress=progress,
        )
        return sums

    def _calibrate(
        self, to_all: Floats, rate: float, streams: int, rng: np.random.Generator
    ) -> Floats:
        n, w = len(self._reference), self.window
        length, total = 2 * w - 1, float(to_all.sum())
        statistics = np.empty((streams, w))
        for s in range(streams):
            rows = rng.choice(n, size=length, replace=False)
            k = self._values(self._reference[rows], self._reference[rows])
            np.fill_diagonal(k, 0.0)
            statistics[s] = _simulated_statistics(k, to_all[rows], total, n, w)
        thresholds = np.empty(w)
        for t in range(w):
            # of B + 1 exchangeable values, the new one exceeds this quantile of B at this rate
            thresholds[t] = np.quantile(statistics[:, t], 1 - rate, method="weibull")
            statistics = statistics[statistics[:, t] <= thresholds[t]]
        scaled: Floats = thresholds * ((1 / w + 1 / n) / (1 / w + 1 / (n - length)))
        return scaled

    def reset(self) -> None:
        """Forget the stream, not the thresholds: the window is empty again."""
        w = self.window
        self.n_seen = 0
        self._rows = np.zeros((w, self._reference.shape[1]))  # a ring: row t lies at t mod W
        self._cross = np.zeros(w)
        self._kernel = np.zeros((w, w))
        self._within = 0.0  # Σ_{i≠j} of the ring

    @property
    def statistic(self) -> float:
        """Of the present window."""
        w = self.window
        if self.n_seen < w:
            return float("nan")
        cross = float(self._cross.sum()) / (len(self._reference) * w)
        return self._mean_reference + self._within / (w * (w - 1)) - 2 * cross

    @property
    def threshold(self) -> float:
        """What the statistic is compared with."""
        full = self.n_seen - self.window
        return float("nan") if full < 0 else float(self.thresholds[min(full, self.window - 1)])

    @property
    def drift(self) -> bool:
        """Whether the statistic exceeds its threshold."""
        return self.statistic > self.threshold

    def update(self, rows: ArrayLike, *, check_finite: bool = True) -> OnlineResult:
        """Take rows of the stream, one after the other.

        Parameters
        ----------
        rows : array_like of shape (r, d), or (d,) for a single row
            Real numbers. Of one feature, 1-D is r rows of it. The columns of a frame are put in the
            order of those of `reference`; so is a pandas Series that holds one row.
        check_finite : bool, default True
            As in `knn`.

        Returns
        -------
        OnlineResult
            ``(statistics, thresholds, drift)``, an entry for each row.

        Raises
        ------
        TypeError, ValueError
            If the rows are not acceptable; none of them is taken then.
        """
        a = validate.matrix("rows", self._as_rows(rows), check_finite=check_finite, sample=True)
        validate.check_alike("rows", a, "reference", self._reference)
        statistics, thresholds = np.empty(len(a)), np.empty(len(a))
        for start in range(0, len(a), self.window):  # no row lasts longer than a window
            block = np.asarray(a[start : start + self.window], dtype=np.float64)
            to_reference = self._to_reference(a[start : start + self.window])
            before = self._values(block, self._rows)
            among = self._values(block, block)
            for i, row in enumerate(block):
                before[i + 1 :, self.n_seen % self.window] = among[i + 1 :, i]
                self._take(row, float(to_reference[i]), before[i])
                statistics[start + i], thresholds[start + i] = self.statistic, self.threshold
        return OnlineResult(statistics, thresholds, statistics > thresholds)

    def _as_rows(self, rows: Any) -> Any:
        """What a stream brings, its columns in the order of the reference's."""
        one_feature = self._reference.shape[1] == 1
        if not one_feature and hasattr(rows, "to_frame") and hasattr(rows, "index"):
            rows = rows.to_frame().T  # a row of a pandas frame
        rows = validate.in_order("reference", self._names, "rows", rows)
        if one_feature or validate.names_of(rows) is not None:
            return rows
        given = validate.array("rows", rows)
        return given[None] if given.ndim == 1 else given

    def _take(self, row: Floats, to_reference: float, to_window: Floats) -> None:
        """The new row takes the place of the oldest one."""
        at = self.n_seen % self.window
        self._within -= 2 * float(self._kernel[at].sum())
        to_window = to_window * (np.arange(self.window) < self.n_seen)  # places filled so far
        to_window[at] = 0.0
        self._kernel[at], self._kernel[:, at] = to_window, to_window
        self._rows[at], self._cross[at] = row, to_reference
        self.n_seen += 1
        if at == self.window - 1:
            self._within = float(self._kernel.sum())
        else:
            self._within += 2 * float(to_window.sum())

    def snapshot(self) -> dict[str, Any]:
        """State of the stream, for `restore`: plain arrays and numbers, copied.

        Reference and thresholds are not in it; pickle the detector to keep everything.
        """
        return {
            "n_seen": self.n_seen,
            "within": self._within,
            "rows": self._rows.copy(),
            "cross": self._cross.copy(),
            "kernel": self._kernel.copy(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a `snapshot` of this detector, or of one with the same reference and window.

        Raises
        ------
        ValueError
            If its arrays have other shapes than this detector's.
        """
        arrays = {name: np.array(snapshot[name]) for name in ("rows", "cross", "kernel")}
        for name, mine in (("rows", self._rows), ("cross", self._cross), ("kernel", self._kernel)):
            if arrays[name].shape != mine.shape:
                raise ValueError(
                    f"the snapshot's {name} have shape {arrays[name].shape}, this detector's "
                    f"{mine.shape}"
                )
        self.n_seen, self._within = int(snapshot["n_seen"]), float(snapshot["within"])
        self._rows, self._cross, self._kernel = (
            arrays["rows"],
            arrays["cross"],
            arrays["kernel"],
        )
