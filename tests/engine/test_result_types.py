"""What every public result type shows of itself: one line, a table, plain data; and its copies.

A type that is added to the package needs an example here.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import math
import pickle
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import pairtile as pt
from pairtile._front.results import Result, brief, plain

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 40, 3))
LABELS = np.arange(40) % 4
NARROW = X.astype(np.float32)

TABLE = {"a": X[:, 0], "b": X[:, 1], "day": np.arange(40) // 20}
NEXT = {"a": Y[:, 0] + 2.0, "b": Y[:, 1], "day": np.arange(40) // 20}

EXAMPLES: dict[str, Callable[[], Any]] = {
    "AggregatedTest": lambda: pt.mmd_aggregated_test(X, Y, n_permutations=50, rng=0),
    "ClosestRecord": lambda: pt.closest_record_test(X, Y, X + 0.01),
    "ColumnDrift": lambda: drift().columns[0],
    "ColumnStatistics": lambda: pt.column_statistics(X, Y),
    "ContrastiveResult": lambda: pt.clip_loss(X, Y, temperature=0.5, grad=True),
    "Dedup": lambda: pt.deduplicate(X, threshold=0.9),
    "DependenceGradient": lambda: pt.hsic(X, Y, return_gradient=True),
    "Encoded": lambda: pt.encode(pa.table(TABLE), pa.table(NEXT)),
    "KID": lambda: pt.kid(X, Y, full=True),
    "KernelTest": lambda: pt.mmd_aggregated_test(X, Y, n_permutations=50, rng=0).per_kernel[3],
    "MMDGradient": lambda: pt.mmd(X, Y, return_gradient=True),
    "MMDPower": lambda: pt.mmd_power(X, Y),
    "MaxSimilarity": lambda: pt.max_similarity(X, Y),
    "MaxSliced": lambda: pt.max_sliced_wasserstein(X, Y, rng=0),
    "NearDuplicates": lambda: pt.near_duplicates(X, threshold=0.9),
    "Neighbors": lambda: pt.knn(NARROW, k=3),
    "OnlineResult": lambda: online(),
    "PRDC": lambda: pt.precision_recall_density_coverage(X, Y),
    "Pairwise": lambda: pt.disco_test(X, labels=LABELS, pairwise=True, n_permutations=19, rng=0)[0],
    "Period": lambda: over_time().periods[0],
    "Power": lambda: pt.power(pt.energy_test, lambda n, rng: (X[:n], Y[:n]), 4, rng=0)[0],
    "PrecisionRecall": lambda: pt.probabilistic_precision_recall(X, Y),
    "RadiusNeighbors": lambda: pt.radius_neighbors(X, radius=1.0),
    "Retrieval": lambda: pt.retrieval_metrics(X, Y),
    "RowDrift": lambda: drift().rows[0],
    "SearchPlan": lambda: pt.NeighborIndex(X).plan(Y, 3),
    "SimilarityHistogram": lambda: pt.similarity_histogram(X, LABELS),
    "SlicedPlan": lambda: pt.min_sliced_plan(X, Y, rng=0),
    "SlicedResult": lambda: pt.sliced_wasserstein(X, Y, full=True, rng=0),
    "SteinGradient": lambda: pt.kernel_stein_discrepancy(X, -X, return_gradient=True),
    "TestResult": lambda: pt.mmd_test(X, Y, rng=0),
}


def drift() -> Any:
    return pt.drift(pa.table(TABLE), pa.table(NEXT), n_permutations=99, rng=0)


def over_time() -> Any:
    return pt.drift_over_time(
        pa.table(TABLE), pa.table(NEXT), "day", min_rows=5, n_permutations=99, rng=0
    )


def online() -> Any:
    watch = pt.OnlineMMD(X, window=5, expected_run_time=20, n_simulations=50, rng=0)
    return watch.update(Y[0])


# reports, with tables and data of their own: tests/tables
REPORTS = {"Drift", "DriftOverTime"}


def result_types() -> list[str]:
    return [
        name
        for name in pt.__all__
        if inspect.isclass(kind := getattr(pt, name))
        and (issubclass(kind, tuple) or dataclasses.is_dataclass(kind))
        and not issubclass(kind, pt.Kernel)
    ]


class Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_every_result_type_has_an_example():
    assert set(result_types()) == set(EXAMPLES) | REPORTS


@pytest.mark.parametrize("name", EXAMPLES)
def test_results_show_themselves(name):
    result = EXAMPLES[name]()
    assert type(result) is getattr(pt, name)
    line = repr(result)
    assert line.startswith(f"{name}(")
    assert "\n" not in line
    assert len(line) < 400
    cells = Cells(result._repr_html_())
    assert cells.tags[0] == "table"
    assert cells.texts[0] == name
    assert f"{cells.texts[1]}={cells.texts[2]}" in line


@pytest.mark.parametrize("name", EXAMPLES)
def test_results_become_plain_data(name):
    result = EXAMPLES[name]()
    data = result.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    fields = getattr(result, "_fields", None) or [f.name for f in dataclasses.fields(result)]
    assert list(data)[: len(fields)] == list(fields)
    for field in fields:
        value = getattr(result, field)
        if isinstance(value, np.ndarray):
            finite = np.isfinite(value)
            found = np.array(data[field], dtype=float)
            np.testing.assert_array_equal(found[finite], value[finite])
        elif isinstance(value, float):
            assert data[field] == (value if math.isfinite(value) else None)


@pytest.mark.parametrize("name", EXAMPLES)
def test_results_survive_copies(name):
    result = EXAMPLES[name]()
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert type(again) is type(result)
        assert again.to_dict() == result.to_dict()
    if isinstance(result, tuple):
        assert len([*result]) == len(result._fields)
        assert type(result._replace(**{result._fields[0]: result[0]})) is type(result)


def test_long_arrays_never_print_whole():
    assert brief(np.arange(7)) == "<int64 array of shape (7,)>"
    assert brief(np.zeros((1000, 3), np.float32)) == "<float32 array of shape (1000, 3)>"
    assert brief(np.array([[1.5], [np.nan]])) == "[[1.5], [nan]]"
    assert brief(list(range(1000))) == "<1000 int>"
    assert brief((1.0, "a", None)) == "(1.0, 'a', None)"
    assert brief((math.nan, -math.inf, 1e-30, 123456789.0)) == "(nan, -inf, 1e-30, 1.23457e+08)"
    assert brief((1,)) == "(1,)"
    assert brief({1: (0.25, 0.5)}) == "{1: (0.25, 0.5)}"
    assert len(brief("x" * 500)) <= 82
    assert len(brief({i: i for i in range(100)})) < 20


def test_plain_data_has_no_infinities():
    data = plain({"a": np.array([1.0, np.inf, -np.inf, np.nan]), 2: (np.float32(0.5), np.True_)})
    assert data == {"a": [1.0, None, None, None], "2": [0.5, True]}
    assert plain(pt.Gaussian(2.0)) == repr(pt.Gaussian(2.0))


def test_tables_are_escaped():
    class _Named(pt.Pairwise):
        pass

    result = _Named("<script>", "&", 1.0, 0.5, 1.0)
    text = result._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.oracle("torch")
def test_results_of_tensors():
    import torch

    result = pt.knn(torch.as_tensor(NARROW), k=3)
    assert repr(result) == (
        "Neighbors(distances=<float32 array of shape (40, 3)>, "
        "indices=<int64 array of shape (40, 3)>)"
    )
    assert result.to_dict() == pt.knn(NARROW, k=3).to_dict()


def test_they_are_one_kind():
    for name in result_types():
        assert issubclass(getattr(pt, name), Result), name
