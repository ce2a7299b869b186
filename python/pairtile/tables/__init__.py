"""Ordinary tables in, a decision out: drift of mixed tables, and their encoding as numbers.

    frames -> features -> encode -> joint test ┐
                       -> columns, profile     ├ examination -> Drift -> text, report, figures
                                -> rows        ┘

Loaded when first used; nothing else in the package knows this room but the command.
"""

from pairtile.tables.columns import ColumnDrift
from pairtile.tables.drift import Drift, drift
from pairtile.tables.encode import Encoded, encode
from pairtile.tables.over_time import DriftOverTime, Period, drift_over_time
from pairtile.tables.profile import Profile
from pairtile.tables.rows import RowDrift

__all__ = [
    "ColumnDrift",
    "Drift",
    "DriftOverTime",
    "Encoded",
    "Period",
    "Profile",
    "RowDrift",
    "drift",
    "drift_over_time",
    "encode",
]
