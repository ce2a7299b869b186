"""The contrastive losses with each of their options, as calls that tests run through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

import pairtile as pt
from loss_oracle import Wanted, wanted
from pairtile._definitions.softmax import SoftmaxOptions, SoftmaxSides

if TYPE_CHECKING:
    from collections.abc import Callable

    Options = Callable[[np.random.Generator, int, int], dict[str, Any]]


def of_seam(function: Any, x: Any, y: Any, scale: float, **given: Any) -> Any:
    """A softmax function of a backend, whose options and states are among the arguments by name."""

    def taken(kind: Any) -> Any:
        return kind(**{name: given.pop(name) for name in kind._fields if name in given})

    told = [taken(SoftmaxOptions)]
    if "row_states" in given:
        told.append(taken(SoftmaxSides))
    return function(x, y, scale, *told, **given)


class Case(NamedTuple):
    """A public function, options for n rows of x and m of y, and how many rows y may have.

    `y`: "more" rows than x, "any", "same" as x, or "none"; y is the bank of supcon_loss.
    """

    loss: str
    options: Options = lambda rng, n, m: {}
    y: str = "more"
    least: dict[str, Any] = {}  # noqa: RUF012  (of keywords that each call needs)

    def call(self, x: Any, y: Any, **options: Any) -> pt.ContrastiveResult:
        function = getattr(pt, self.loss)
        labels = options.pop("labels", None)
        if self.loss == "supcon_loss" and self.y != "none":
            return function(x, labels, bank=y, **options | self.least)
        second = labels if self.y == "none" else y
        return function(x, second, **options | self.least)

    def wanted(self, x: Any, y: Any, **options: Any) -> Wanted:
        return wanted(self.loss, x, None if self.y == "none" else y, **options | self.least)

    def rows_of_y(self, n: int, more: int) -> int:
        return n + more if self.y == "more" else n if self.y in ("same", "none") else max(1, more)

    def losses(self, n: int) -> int:
        """How many rows have a loss."""
        return 2 * n if self.loss == "nt_xent_loss" else n

    @property
    def scaled(self) -> bool:
        return self.loss not in ("circle_loss", "multi_similarity_loss")


def _targets(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return {"targets": rng.integers(m, size=n)}


def _ignored(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    targets = rng.integers(m, size=n)
    return {"targets": np.where(rng.random(n) < 0.4, -100, targets), "ignore_index": -100}


def _groups(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    kinds = 1 + (n + m) // 5
    names = np.array([f"g{i}" for i in range(kinds)])
    return {
        "x_groups": names[rng.integers(kinds, size=n)],
        "y_groups": names[rng.integers(kinds, size=m)],
    }


def _sparse(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    dense = rng.random((n, m)) * (rng.random((n, m)) < min(1.0, 2.0 / m))
    return {"positive_weights": scipy.sparse.csr_array(dense)}


def _labels(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return {"labels": rng.integers(1 + n // 4, size=n)}


def _with_bank(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    labels = rng.integers(1 + (n + m) // 6, size=n + m)
    return {"labels": labels[:n], "bank_labels": labels[n:], "no_positive": "drop"}


def _ages(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    ages = rng.integers(4 * (n + m), size=n + m) / 4.0
    return {"labels": ages[:n], "bank_labels": ages[n:], "label_width": 1.25}


def also(first: Options, **more: Any) -> Options:
    """Options with others that are fixed."""
    return lambda rng, n, m: first(rng, n, m) | more


def _none(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return {}


def _logits(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return {"column_logits": rng.normal(size=m)}


def _guided(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    of_x, of_y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    of_y[:n] += 2 * of_x[:m]  # most rows are alike to their positive
    return {"x_guide": of_x, "y_guide": of_y}


def _guided_offset(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return _guided(rng, n, m) | _offset(rng, n, m)


def _guided_targets(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return _ignored(rng, n, m) | _guided(rng, n, m)


def _offset(rng: np.random.Generator, n: int, m: int) -> dict[str, Any]:
    return {"target_offset": int(rng.integers(m - n + 1))}


UNIT = {"normalize": True}

CASES = {
    "info_nce": Case("info_nce"),
    "info_nce targets": Case("info_nce", _targets, "any"),
    "info_nce ignore_index": Case("info_nce", _ignored, "any"),
    "info_nce groups": Case("info_nce", _groups, "any"),
    "info_nce positive_weights": Case("info_nce", _sparse, "any"),
    "info_nce label_smoothing": Case("info_nce", also(_groups, label_smoothing=0.2), "any"),
    "info_nce margin": Case("info_nce", also(_targets, margin=0.25), "any"),
    "info_nce margin of groups": Case("info_nce", also(_groups, margin=0.25), "any"),
    "info_nce angular_margin": Case("info_nce", also(_targets, angular_margin=0.4), "any", UNIT),
    "info_nce column_logits": Case("info_nce", _logits),
    "info_nce tau_plus": Case("info_nce", also(_targets, tau_plus=0.1), "any"),
    "info_nce tau_plus with logits": Case("info_nce", also(_logits, tau_plus=0.02, margin=0.1)),
    "info_nce false_negative_margin": Case(
        "info_nce", also(_ignored, false_negative_margin=0.3), "any"
    ),
    "info_nce guide": Case("info_nce", also(_guided_targets, label_smoothing=0.1), "any"),
    "info_nce guide relative with margin": Case(
        "info_nce", also(_guided, guide_margin=0.2, guide_margin_strategy="relative", margin=0.1)
    ),
    "info_nce top_negatives": Case("info_nce", also(_ignored, top_negatives=3), "any"),
    "info_nce top_negatives of groups": Case(
        "info_nce", also(_groups, top_negatives=5, margin=0.25, label_smoothing=0.1), "any"
    ),
    "info_nce top_negatives with weights": Case("info_nce", also(_sparse, top_negatives=4), "any"),
    "info_nce top_negatives with logits": Case("info_nce", also(_logits, top_negatives=4)),
    "clip_loss": Case("clip_loss", y="same"),
    "clip_loss target_offset": Case("clip_loss", _offset),
    "clip_loss rows": Case("clip_loss", also(_offset, direction="rows", label_smoothing=0.1)),
    "clip_loss columns": Case("clip_loss", also(_offset, direction="columns")),
    "clip_loss label_smoothing": Case("clip_loss", also(_offset, label_smoothing=0.3)),
    "clip_loss false_negative_margin": Case(
        "clip_loss", also(_offset, false_negative_margin=0.3, label_smoothing=0.1)
    ),
    "clip_loss columns false_negative_margin": Case(
        "clip_loss", also(_offset, direction="columns", false_negative_margin=0.3)
    ),
    "clip_loss guide": Case(
        "clip_loss", also(_guided_offset, guide_margin=0.1, label_smoothing=0.1)
    ),
    "clip_loss columns guide": Case(
        "clip_loss", also(_guided_offset, direction="columns", guide_margin=-0.1)
    ),
    "gist_loss": Case("gist_loss", _guided),
    "gist_loss relative": Case(
        "gist_loss", also(_guided, guide_margin=0.1, guide_margin_strategy="relative")
    ),
    "gist_loss anchors": Case("gist_loss", also(_guided, contrast_positives=False)),
    "gist_loss positives": Case("gist_loss", also(_guided, contrast_anchors=False), "same"),
    "siglip_loss": Case("siglip_loss", also(_none, bias=-1.5)),
    "siglip_loss groups": Case("siglip_loss", also(_groups, bias=-1.0), "any"),
    "siglip_loss target_offset": Case("siglip_loss", also(_offset, bias=0.5)),
    "supcon_loss": Case("supcon_loss", _labels, "none"),
    "supcon_loss drop": Case("supcon_loss", also(_labels, no_positive="drop"), "none"),
    "supcon_loss bank": Case("supcon_loss", _with_bank, "any"),
    "supcon_loss label_width": Case("supcon_loss", _ages, "any"),
    "nt_xent_loss": Case("nt_xent_loss", y="same"),
    "circle_loss": Case("circle_loss", also(_labels, gamma=8.0), "none"),
    "circle_loss normalized": Case("circle_loss", _labels, "none", UNIT),
    "multi_similarity_loss": Case("multi_similarity_loss", also(_labels, beta=5.0), "none"),
    "multi_similarity_loss mining": Case(
        "multi_similarity_loss", also(_labels, mining=True), "none", UNIT
    ),
}
