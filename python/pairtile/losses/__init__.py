"""Contrastive losses with their gradients, from scores that are never held at once."""

from pairtile.losses.alignment import alignment, uniformity
from pairtile.losses.analysis import (
    Retrieval,
    SimilarityHistogram,
    retrieval_metrics,
    similarity_histogram,
)
from pairtile.losses.gist import gist_loss
from pairtile.losses.logits import ContrastiveResult
from pairtile.losses.pairs import circle_loss, multi_similarity_loss
from pairtile.losses.siglip import siglip_loss
from pairtile.losses.softmax import clip_loss, info_nce
from pairtile.losses.supcon import nt_xent_loss, supcon_loss
from pairtile.losses.triplet import triplet_loss

__all__ = [
    "ContrastiveResult",
    "Retrieval",
    "SimilarityHistogram",
    "alignment",
    "circle_loss",
    "clip_loss",
    "gist_loss",
    "info_nce",
    "multi_similarity_loss",
    "nt_xent_loss",
    "retrieval_metrics",
    "siglip_loss",
    "similarity_histogram",
    "supcon_loss",
    "triplet_loss",
    "uniformity",
]
