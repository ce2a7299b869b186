"""Frames with categories under gower: strings are compared, whatever numbers stand for them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt

LEVELS = ("Oslo", "Rome", "", "Łódź", None)


def tables(rng, *sizes):
    """Tables of a number, a text, a flag and a dictionary column, all with gaps but the flag."""
    for n in sizes:
        text = [LEVELS[i] for i in rng.integers(len(LEVELS), size=n)]
        kind = pa.array([f"k{i}" for i in rng.integers(3, size=n)]).dictionary_encode()
        age = pa.array(rng.integers(20, 60, size=n).astype(float), mask=rng.random(n) < 0.2)
        yield pa.table({"age": age, "city": text, "member": rng.random(n) < 0.5, "kind": kind})


def by_hand(x, y, span, most=np.inf):
    """Gower's dissimilarity of two tables, value by value."""
    rows = [t.to_pylist() for t in (x, y)]
    found = np.empty((len(rows[0]), len(rows[1])))
    for i, a in enumerate(rows[0]):
        for j, b in enumerate(rows[1]):
            shares = [
                min(abs(a[name] - b[name]) / span[name], most)
                if name in span
                else float(a[name] != b[name])
                for name in a
                if a[name] is not None and b[name] is not None
            ]
            found[i, j] = np.mean(shares)
    return found


def spans(*sets):
    ages = [v for t in sets for v in t["age"].to_pylist() if v is not None]
    flags = [v for t in sets for v in t["member"].to_pylist()]
    return {"age": max(ages) - min(ages), "member": int(max(flags)) - int(min(flags)) or 1}


@given(seed=st.integers(0, 10**6), clip=st.booleans())
def test_mixed_tables_go_by_their_values(seed, clip):
    x, y = tables(np.random.default_rng(seed), 12, 9)
    right = by_hand(x, y, spans(y), 1.0 if clip else np.inf)
    options = {"metric": "gower", "metric_params": {"clip": clip}}
    turned = x.select(["kind", "member", "age", "city"])
    for queries in (x, turned):
        found = pt.pairwise_distances(queries, y, **options)
        np.testing.assert_allclose(found, right, rtol=1e-12)
        near = pt.knn(queries, y, 3, **options)
        np.testing.assert_allclose(near.distances, np.sort(right, axis=1)[:, :3], rtol=1e-12)
        counts = pt.radius_count(queries, y, 0.4, **options)
        np.testing.assert_array_equal(counts, (found <= 0.4).sum(axis=1))
    alone = pt.pairwise_distances(x, **options)
    right = by_hand(x, x, spans(x), 1.0 if clip else np.inf)
    np.testing.assert_allclose(alone, right, rtol=1e-12)


def test_functions_of_generated_tables():
    x, y = tables(np.random.default_rng(0), 40, 30)
    levels = sorted({v for t in (x, y) for v in t["city"].to_pylist() if v is not None})
    kinds = sorted(x["kind"].unique().to_pylist())

    def numbers(t):
        place = {None: np.nan, **{v: i for i, v in enumerate([*levels, *kinds])}}
        rows = [[r["age"], place[r["city"]], r["member"], place[r["kind"]]] for r in t.to_pylist()]
        return np.array(rows, dtype=float)

    coded = {"metric": "gower", "metric_params": {"categorical": [1, 3]}}
    a, b = numbers(x), numbers(y)
    for call in (pt.precision_recall_density_coverage, pt.authenticity, pt.realism):
        np.testing.assert_array_equal(call(x, y, metric="gower"), call(a, b, **coded))
    found = pt.distance_to_closest_record(y, x, metric="gower")
    np.testing.assert_array_equal(
        found.distances, pt.distance_to_closest_record(b, a, **coded).distances
    )
    holdout, fake = tables(np.random.default_rng(1), 40, 25)
    np.testing.assert_equal(
        pt.closest_record_test(x, holdout, fake, metric="gower").to_dict(),
        pt.closest_record_test(numbers(x), numbers(holdout), numbers(fake), **coded).to_dict(),
    )
    member = {"metric": "gower", "metric_params": {"categorical": [2]}}  # beside the text columns
    np.testing.assert_array_equal(
        pt.knn(y, x, 2, **member).distances,
        pt.knn(b, a, 2, metric="gower", metric_params={"categorical": [1, 2, 3]}).distances,
    )


def test_a_column_of_two_kinds_is_named():
    x = pa.table({"a": [1.0, 2.0, 3.0], "b": ["u", "v", "u"]})
    y = pa.table({"a": [1.0, 2.0, 3.0], "b": [1, 2, 3]})
    with pytest.raises(TypeError, match="column 'b' of queries has dtype int64, but holds categ"):
        pt.knn(y, x, 1, metric="gower")
    nothing = pa.table({"a": [1.0, 2.0, 3.0], "b": pa.nulls(3)})
    assert pt.knn(nothing, x, 1, metric="gower").distances.tolist() == [[0.0], [0.0], [0.0]]


def test_other_metrics_refuse_categories():
    x = pa.table({"a": [1.0, 2.0, 3.0], "b": ["u", "v", "u"]})
    with pytest.raises(TypeError, match="'b' \\(string\\)"):
        pt.knn(x, k=1)
    with pytest.raises(TypeError, match="'b' \\(string\\)"):
        pt.NeighborIndex(x, metric="gower")


def test_rows_of_generated_sets_without_a_common_feature_are_named():
    nan = np.nan
    real = np.array([[1.0, nan, 1.0], [nan, 1.0, nan], [1.0, 1.0, 1.0]])
    fake = np.ones((3, 3))
    with pytest.raises(ValueError, match="row 1 of real and row 0 of real have none in common"):
        pt.authenticity(real, fake, metric="gower")
    with pytest.raises(ValueError, match="row 1 of fake and row 0 of fake have none in common"):
        pt.precision_recall_density_coverage(fake, real, k=1, metric="gower")
    pt.distance_to_closest_record(real, fake, metric="gower")
