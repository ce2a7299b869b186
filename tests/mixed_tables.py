"""Tables of every kind of column, to test with: drawn by hypothesis, and one that drifts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from strategies import SEEDS

ROWS = st.one_of(st.integers(1, 4), st.integers(5, 40))
WORDS = ["", "a", "b", "naïve", "数", "other", "missing", "a=b", "<script>"]


def _numbers(rng, n):
    return rng.normal(size=n).round(2).tolist()


def _whole(rng, n):
    return rng.integers(-5, 6, n).tolist()


def _flags(rng, n):
    return (rng.random(n) < 0.4).tolist()


def _bits(rng, n):
    return rng.integers(0, 2, n).astype(float).tolist()


def _words(rng, n):
    return [WORDS[i] for i in rng.integers(0, len(WORDS), n)]


def _dates(rng, n):
    days = np.datetime64("2024-01-01") + rng.integers(0, 400, n)
    return days.astype("datetime64[us]").tolist()


def _vectors(rng, n):
    return rng.normal(size=(n, 2)).round(2).tolist()


COLUMNS = {
    "numbers": _numbers,
    "whole": _whole,
    "flags": _flags,
    "bits": _bits,
    "words": _words,
    "dates": _dates,
    "vectors": _vectors,
    "constant": lambda rng, n: [3.5] * n,
}
TYPES = {
    "numbers": pa.float64(),
    "whole": pa.int64(),
    "flags": pa.bool_(),
    "bits": pa.float64(),
    "words": pa.string(),
    "dates": pa.timestamp("us"),
    "vectors": pa.list_(pa.float64(), 2),
    "constant": pa.float64(),
}


@st.composite
def pairs_of_tables(draw):
    """Two tables with the same columns, in one order, as dicts of lists and their types."""
    n, m = draw(ROWS), draw(ROWS)
    names = draw(st.lists(st.text(max_size=5), min_size=1, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(sorted(COLUMNS))) for _ in names]
    holes = [draw(st.sampled_from([0.0, 0.0, 0.2, 1.0])) for _ in names]
    rng = np.random.default_rng(draw(SEEDS))
    both = []
    for size in (n, m):
        table = {}
        for name, kind, share in zip(names, kinds, holes, strict=True):
            values = COLUMNS[kind](rng, size)
            table[name] = [None if rng.random() < share else v for v in values]
        both.append(table)
    types = {name: TYPES[kind] for name, kind in zip(names, kinds, strict=True)}
    return both[0], both[1], types


def arrow(table, types):
    return pa.table({name: pa.array(values, types[name]) for name, values in table.items()})


def customers(rng, n, *, income=0.0, cities=("Rome", "Oslo", "Bern"), since="2022-01-01"):
    """Numbers, categories, flags and dates; three of them can drift."""
    return {
        "age": rng.integers(18, 80, n).tolist(),
        "income": rng.lognormal(10 + income, 0.5, n).tolist(),
        "city": [cities[i] for i in rng.integers(0, len(cities), n)],
        "active": (rng.random(n) < 0.3).tolist(),
        "score": [None if rng.random() < 0.1 else v for v in rng.normal(size=n).tolist()],
        "signup": (np.datetime64(since) + rng.integers(0, 365, n)).astype("M8[us]").tolist(),
    }
