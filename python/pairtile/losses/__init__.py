"""Contrastive losses with their gradients, from scores that are never held at once."""

from pairtile.losses.alignment import alignment, uniformity
from pairtile.losses.logits import ContrastiveResult
from pairtile.losses.siglip import siglip_loss
from pairtile.losses.softmax import clip_loss, info_nce

__all__ = [
    "ContrastiveResult",
    "alignment",
    "clip_loss",
    "info_nce",
    "siglip_loss",
    "uniformity",
]
