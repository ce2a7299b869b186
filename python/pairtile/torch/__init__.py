"""Losses and statistics on tensors, with gradients in PyTorch's autograd (extra ``torch``).

Functions have the names and keywords of those in `pairtile`; each has a module. `table` says which
argument's gradient is found where, `autograd` carries tensors to arrays and back.
"""

from pairtile._front.extras import MissingExtraError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        'pairtile.torch needs PyTorch 2.4 or later: pip install "pairtile[torch]"'
    ) from error

from pairtile.torch.functions import of
from pairtile.torch.modules import (
    MMD,
    Alignment,
    ClipLoss,
    EnergyDistance,
    InfoNCE,
    SigLipLoss,
    SlicedWasserstein,
    Uniformity,
)

__all__ = [
    "MMD",
    "Alignment",
    "ClipLoss",
    "EnergyDistance",
    "InfoNCE",
    "SigLipLoss",
    "SlicedWasserstein",
    "Uniformity",
    "alignment",
    "clip_loss",
    "energy_distance",
    "info_nce",
    "mmd",
    "siglip_loss",
    "sliced_wasserstein",
    "uniformity",
]

info_nce = of("info_nce")
clip_loss = of("clip_loss")
siglip_loss = of("siglip_loss")
alignment = of("alignment")
uniformity = of("uniformity")
mmd = of("mmd")
energy_distance = of("energy_distance")
sliced_wasserstein = of("sliced_wasserstein")
