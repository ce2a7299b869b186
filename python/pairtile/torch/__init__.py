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
    CircleLoss,
    ClipLoss,
    EnergyDistance,
    GISTLoss,
    InfoNCE,
    MultiSimilarityLoss,
    NTXentLoss,
    SigLipLoss,
    SlicedWasserstein,
    SupConLoss,
    TripletLoss,
    Uniformity,
)

__all__ = [
    "MMD",
    "Alignment",
    "CircleLoss",
    "ClipLoss",
    "EnergyDistance",
    "GISTLoss",
    "InfoNCE",
    "MultiSimilarityLoss",
    "NTXentLoss",
    "SigLipLoss",
    "SlicedWasserstein",
    "SupConLoss",
    "TripletLoss",
    "Uniformity",
    "alignment",
    "circle_loss",
    "cka",
    "clip_loss",
    "energy_distance",
    "gist_loss",
    "hsic",
    "info_nce",
    "kernel_stein_discrepancy",
    "mmd",
    "multi_similarity_loss",
    "nt_xent_loss",
    "siglip_loss",
    "sliced_energy",
    "sliced_wasserstein",
    "supcon_loss",
    "triplet_loss",
    "uniformity",
    "wasserstein_1d",
]

info_nce = of("info_nce")
clip_loss = of("clip_loss")
gist_loss = of("gist_loss")
siglip_loss = of("siglip_loss")
supcon_loss = of("supcon_loss")
nt_xent_loss = of("nt_xent_loss")
triplet_loss = of("triplet_loss")
circle_loss = of("circle_loss")
multi_similarity_loss = of("multi_similarity_loss")
alignment = of("alignment")
uniformity = of("uniformity")
mmd = of("mmd")
energy_distance = of("energy_distance")
sliced_wasserstein = of("sliced_wasserstein")
sliced_energy = of("sliced_energy")
wasserstein_1d = of("wasserstein_1d")
hsic = of("hsic")
cka = of("cka")
kernel_stein_discrepancy = of("kernel_stein_discrepancy")
