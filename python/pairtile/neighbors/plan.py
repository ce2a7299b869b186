"""What a search would do, and why: the answer of the engine as a result."""

from __future__ import annotations

from typing import NamedTuple

from pairtile._front.results import Result


class _SearchPlan(NamedTuple):
    strategy: str
    expected_pairs: int
    reasons: tuple[str, ...]


class SearchPlan(Result, _SearchPlan):
    """How a search would go about its pairs.

    Attributes
    ----------
    strategy : str
        In a few words: "all pairs" where the distance of every pair is computed, "prefix" where a
        few coordinates of rotated rows leave out most pairs by a lower bound, "near tiles" where
        rows too far away for any of their pairs to matter are left out.
    expected_pairs : int
        How many distances would be computed in full, as a sample of the rows lets expect; pairs
        that a cheaper bound leaves out are not among them.
    reasons : tuple of str
        What was weighed, in words and numbers. Costs are those of one pair in features: what a
        float32 tile takes for one of them is 1.

    Notes
    -----
    ``print`` shows one reason a line.
    """

    def __str__(self) -> str:
        first = f"{self.strategy}: {self.expected_pairs:,} distances in full"
        return "\n  ".join([first, *self.reasons])
