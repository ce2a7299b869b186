"""Contrastive losses with their gradients, from scores that are never held at once."""

from pairtile.losses.softmax import ContrastiveResult, clip_loss, info_nce

__all__ = ["ContrastiveResult", "clip_loss", "info_nce"]
