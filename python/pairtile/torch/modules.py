"""The functions of the table as modules: keywords once, tensors at each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from pairtile._front import words
from pairtile._front.differentiable import FUNCTIONS
from pairtile.torch.functions import on_tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_EXCLUSIVE = ({"temperature", "logit_scale"},)


class Module(torch.nn.Module):
    """A function of the table with its keywords.

    Parameters
    ----------
    **keywords
        Those of the function. A `Parameter` among them is one of the module, another tensor a
        buffer, which moves with the module and is not saved.
    """

    _function: ClassVar[str]
    _call: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, function: str, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls._function = function
        cls._call = staticmethod(on_tensors(FUNCTIONS[function]))

    def __init__(self, **keywords: Any) -> None:
        super().__init__()
        function = FUNCTIONS[self._function]
        known = [*function.keywords, *(["reduction"] if function.per_row else [])]
        for name in keywords:
            if name not in known:
                hint = words.keyword_hint(name, known)
                raise TypeError(f"{type(self).__name__}() takes no keyword {name!r}; {hint}")
        self._held = [name for name, v in keywords.items() if isinstance(v, torch.Tensor)]
        for name in self._held:
            if isinstance(keywords[name], torch.nn.Parameter):
                self.register_parameter(name, keywords[name])
            else:
                self.register_buffer(name, keywords[name], persistent=False)
        self._keywords = {name: v for name, v in keywords.items() if name not in self._held}

    def forward(self, *rows: Tensor, **keywords: Any) -> Tensor:
        """The value for these rows; keywords given here replace those of the module."""
        given = {**self._keywords, **{name: getattr(self, name) for name in self._held}}
        for group in _EXCLUSIVE:
            if group & keywords.keys():
                given = {name: v for name, v in given.items() if name not in group}
        found: Tensor = type(self)._call(*rows, **{**given, **keywords})
        return found

    def extra_repr(self) -> str:
        """The keywords that are no tensors."""
        return ", ".join(f"{name}={v!r}" for name, v in self._keywords.items())


class InfoNCE(Module, function="info_nce"):
    """`info_nce` as a module: ``InfoNCE(temperature=0.1)(x, y)``."""


class ClipLoss(Module, function="clip_loss"):
    """`clip_loss` as a module: ``ClipLoss()(x, y, logit_scale=scale)``."""


class GISTLoss(Module, function="gist_loss"):
    """`gist_loss` as a module: ``GISTLoss(temperature=0.01)(x, y, x_guide=g, y_guide=h)``."""


class SigLipLoss(Module, function="siglip_loss"):
    """`siglip_loss` as a module: ``SigLipLoss(logit_scale=10.0, bias=-10.0)(x, y)``."""


class SupConLoss(Module, function="supcon_loss"):
    """`supcon_loss` as a module: ``SupConLoss(temperature=0.1)(x, labels)``."""


class NTXentLoss(Module, function="nt_xent_loss"):
    """`nt_xent_loss` as a module: ``NTXentLoss(temperature=0.5)(x, y)``."""


class TripletLoss(Module, function="triplet_loss"):
    """`triplet_loss` as a module: ``TripletLoss(margin=0.2)(x, labels)``."""


class CircleLoss(Module, function="circle_loss"):
    """`circle_loss` as a module: ``CircleLoss(margin=0.25)(x, labels)``."""


class MultiSimilarityLoss(Module, function="multi_similarity_loss"):
    """`multi_similarity_loss` as a module: ``MultiSimilarityLoss()(x, labels)``."""


class Alignment(Module, function="alignment"):
    """`alignment` as a module: ``Alignment(normalize=True)(x, y)``."""


class Uniformity(Module, function="uniformity"):
    """`uniformity` as a module: ``Uniformity(normalize=True)(x)``."""


class MMD(Module, function="mmd"):
    """`mmd` as a module: ``MMD(kernel=pairtile.Gaussian(1.0))(x, y)``."""


class EnergyDistance(Module, function="energy_distance"):
    """`energy_distance` as a module: ``EnergyDistance()(x, y)``."""


class SlicedWasserstein(Module, function="sliced_wasserstein"):
    """`sliced_wasserstein` as a module: ``SlicedWasserstein(n_projections=64)(x, y)``."""
