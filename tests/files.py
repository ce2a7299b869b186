"""Files to give the command."""

from __future__ import annotations

import numpy as np
import pytest


def save(path, values, header=None):
    """Write a table in the format of the path's suffix."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, rows=values)
    elif path.suffix in (".csv", ".tsv"):
        sep = "," if path.suffix == ".csv" else "\t"
        lines = [sep.join(map(repr, map(float, row))) for row in values]
        path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    else:
        names = header.split(",") if header else [f"c{j}" for j in range(values.shape[1])]
        save_columns(path, dict(zip(names, values.T, strict=True)))
    return path


def save_columns(path, columns):
    """Write a .parquet file of columns that pyarrow makes of what is given."""
    pa = pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    return path
