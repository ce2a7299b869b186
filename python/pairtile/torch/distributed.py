"""Contrastive losses over the rows of all processes, of which each holds its own.

arguments, checked -> processes agree -> blocks of y round a ring (`ring`, `ring_losses`)
-> the mean over all rows, its gradients by what each process passed
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from pairtile._backends.refusals import not_on_gpu
from pairtile._front import scalars, validate
from pairtile._front.threads import resolve_workers
from pairtile.losses.logits import not_together
from pairtile.torch.autograd import once, times
from pairtile.torch.ring import Ring
from pairtile.torch.ring_losses import Gradients, Options, SigLip, Softmax, SoftmaxOnGpu, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["clip_loss", "info_nce", "siglip_loss"]


class _Groups:
    """Ids of the rows of x and of y in this process."""

    def __init__(self, x_groups: Any, y_groups: Any) -> None:
        self.given = x_groups, y_groups
        self.ids: list[NDArray[Any]] = []

    def check(self, n: int, m: int) -> None:
        x_groups, y_groups = self.given
        if x_groups is None:
            raise ValueError("y_groups needs x_groups")
        if y_groups is None:
            if n != m:
                raise ValueError(f"x_groups needs y_groups: x has {n} rows and y has {m}")
            y_groups = x_groups
        parts = (("x_groups", x_groups, "x", n), ("y_groups", y_groups, "y", m))
        self.ids = [
            validate.labels(*part) if part[3] else np.zeros(0, dtype=np.int64) for part in parts
        ]
        if n and m and len({ids.dtype.kind for ids in self.ids}) > 1:
            dtypes = " and ".join(str(ids.dtype) for ids in self.ids)
            raise TypeError(
                "x_groups and y_groups must all be integers or all be strings, got dtypes " + dtypes
            )


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        name: str,
        ring: Ring,
        options: Options,
        groups: _Groups | None,
        names: tuple[str, ...],
        wanted: tuple[bool, ...],
        *tensors: Tensor,
    ) -> Tensor:
        x, y, *_ = (t.detach() for t in tensors)
        wide = torch.float64 in (x.dtype, y.dtype)
        dtype = torch.float64 if wide else torch.float32
        x, y = (t.to(dtype).contiguous() for t in (x, y))
        wants = dict(zip(names, wanted, strict=True))
        given = dict(zip(names, tensors, strict=True))
        scale = float(given["scale"])
        bias = float(given["bias"]) if "bias" in given else 0.0
        weights, error = None, None
        try:
            weights = _checked(name, x, y, scale, options, groups, given.get("weights"))
        except (TypeError, ValueError) as found:
            error = found
        ring.agree(
            x, y, wide=wide,
            wants=(wants["x"], wants["y"], wants["scale"] or wants.get("bias", False)),
            options=(name, *options.alike(), "weights" in given), failed=error is not None,
        )  # fmt: skip
        if error is not None:
            raise error
        if groups is not None:
            of_x, of_y = ring.numbered(("x_groups", "y_groups"), groups.ids)
            options.groups = of_x, of_y
        x, y = _in_range(ring, x, y, scale, abs(bias), options)
        to = None
        if any(ring.wants):
            one_sided = x.is_cpu
            to = Gradients(
                torch.zeros_like(x) if wants["x"] or not one_sided else None,
                torch.zeros_like(y) if wants["y"] or not one_sided else None,
            )
        mean = _weighted_mean(name, ring, x, y, scale, bias, options, weights, to)
        ctx.name, ctx.names = f"distributed.{name}", names
        by_name = {"x": to and to.x, "y": to and to.y}
        if to is not None:
            for one, number in (("scale", to.scale), ("bias", to.bias)):
                if one in given:
                    by_name[one] = torch.full_like(given[one], number, dtype=torch.float64)
        if wants.get("weights"):
            by_name["weights"] = torch.from_numpy(mean.by_weights)
        kept = [by_name.get(one) if want else None for one, want in wants.items()]
        ctx.save_for_backward(*kept)
        return torch.tensor(mean.loss, dtype=dtype, device=x.device)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            kept = ctx.saved_tensors
            scaled = iter(times(upstream, [t for t in kept if t is not None]))
            found = [None if t is None else next(scaled) for t in kept]
        return (None,) * 6 + (*once(ctx.name, found),)


class _Found:
    """A mean over all rows, and its derivative by the weights of this process's."""

    def __init__(self, loss: float, by_weights: Floats) -> None:
        self.loss, self.by_weights = loss, by_weights


def _weighted_mean(
    name: str,
    ring: Ring,
    x: Tensor,
    y: Tensor,
    scale: float,
    bias: float,
    options: Options,
    weights: Floats | None,
    to: Gradients | None,
) -> _Found:
    """Σ w_i ℓ_i / Σ w_i over the rows that count; gradients are times the number of processes."""
    given = np.ones(len(x)) if weights is None else weights
    if weights is not None and _total(ring, x, given) == 0:
        raise ValueError("weights sums to 0 over all rows; weights are divided by their sum")
    if name == "siglip_loss":
        if not x.is_cpu:
            raise NotImplementedError(not_on_gpu("siglip_loss over processes"))
        counts = np.ones(len(x), dtype=bool)
        total = _total(ring, x, given)
        sigmoid = SigLip(x, y, scale, bias, options, ring)
        per_row = sigmoid.run(given * (ring.size / max(total, 1e-300)), to)
    else:
        kind = Softmax if x.is_cpu else SoftmaxOnGpu
        softmax = kind(x, y, scale, options, ring)
        per_row, counts = softmax.losses()
        total = _total(ring, x, given * counts)
        shares = np.where(counts, given, 0.0) * (ring.size / total if total > 0 else 0.0)
        if to is not None:
            softmax.gradients(shares, to)
    used = counts & (given > 0)  # what does not count may be anything
    loss = _total(ring, x, given[used] * per_row[used]) / total if total > 0 else 0.0
    by_weights = np.where(counts, per_row - loss, 0.0) * (ring.size / total if total > 0 else 0.0)
    return _Found(loss, by_weights)


def _total(ring: Ring, x: Tensor, values: Floats) -> float:
    return float(ring.sum(torch.tensor(float(values.sum()), dtype=torch.float64, device=x.device)))


def _checked(
    name: str,
    x: Tensor,
    y: Tensor,
    scale: float,
    options: Options,
    groups: _Groups | None,
    weights: Tensor | None,
) -> Floats | None:
    """Errors of what this process passed; the weights of its rows."""
    n, m = len(x), len(y)
    scalars.real("logit_scale", scale, above=0)
    checked(x, y, options)
    if groups is not None:
        groups.check(n, m)
    elif name == "clip_loss" and n != m:
        raise ValueError(f"x has {n} rows and y has {m}; they must be paired")
    elif n > m:
        raise ValueError(f"x has {n} rows and y has {m}; row i of x is paired with row i of y")
    if options.column_logits is not None:
        logits = options.column_logits
        if logits.shape != (m,):
            raise ValueError(
                f"column_logits must have shape ({m},), one per row of y, got {tuple(logits.shape)}"
            )
        if m:
            validate.weights("column_logits", logits, m, signed=True)
    if weights is None:
        return None
    if tuple(weights.shape) != (n,):
        raise ValueError(f"weights must have shape ({n},), one per row, got {tuple(weights.shape)}")
    return validate.weights("weights", weights.detach(), n) if n else np.zeros(0)


def _in_range(
    ring: Ring, x: Tensor, y: Tensor, scale: float, more: float, options: Options
) -> tuple[Tensor, Tensor]:
    """Rows in float64 where float32 could not hold their scores; logits without what all share."""
    more += abs(options.margin)
    extremes = [float(t.abs().max()) if t.numel() else 0.0 for t in (x, y)]
    logits = options.column_logits
    if logits is not None:
        some = logits.double()
        ends = [some.max(), -some.min()] if len(some) else [torch.tensor(-torch.inf)] * 2
        top, bottom = (float(v) for v in ring.largest(torch.stack([e.double() for e in ends])))
        options.column_logits = some - (top - bottom) / 2
        more += abs(top) + abs(bottom)
    largest = float(ring.largest(torch.tensor(max(extremes), dtype=torch.float64, device=x.device)))
    if max(scale, 1.0) * (largest * largest * x.shape[1] + more) + more < 1e37:
        return x, y
    return x.double(), y.double()


def _unit(rows: Tensor) -> Tensor:
    """Rows divided by their lengths; a zero row stays and gets a zero gradient."""
    if rows.dtype in (torch.float16, torch.bfloat16):
        rows = rows.float()
    length = rows.norm(dim=1, keepdim=True)
    return rows * torch.where(length > 0, 1 / torch.where(length > 0, length, 1), 0)


def _whole_mean(
    name: str,
    x: Tensor,
    y: Tensor,
    *,
    temperature: Any,
    logit_scale: Any,
    normalize: bool,
    group: Any,
    workers: int | None,
    check_finite: bool,
    bias: Any = None,
    weights: Any = None,
    x_groups: Any = None,
    y_groups: Any = None,
    column_logits: Any = None,
    **options: Any,
) -> Tensor:
    for one, rows in (("x_local", x), ("y_local", y)):
        if not isinstance(rows, Tensor) or rows.ndim != 2:
            raise TypeError(f"{one} must be a 2-D tensor, got {type(rows).__name__}")
    if (temperature is None) == (logit_scale is None):
        both = "neither" if temperature is None else "both"
        raise ValueError(f"pass exactly one of temperature= and logit_scale=, got {both}")
    given = {"scale": 1 / temperature if logit_scale is None else logit_scale}
    given |= {} if bias is None else {"bias": bias}
    for one, number in given.items():
        if not isinstance(number, Tensor):
            given[one] = number = torch.tensor(number, dtype=torch.float64)
        if number.numel() != 1:
            raise ValueError(f"{name} over processes takes one temperature and bias, for all rows")
    if weights is not None:
        given["weights"] = torch.as_tensor(weights)
    if column_logits is not None:
        column_logits = torch.as_tensor(column_logits)
        if torch.is_grad_enabled() and column_logits.requires_grad:
            raise ValueError(f"{name} has no gradient by column_logits, which requires one")
    grouped = x_groups is not None or y_groups is not None
    asked = Options(
        grouped=grouped, column_logits=column_logits, workers=resolve_workers(workers),
        check_finite=check_finite, **options,
    )  # fmt: skip
    if normalize:
        x, y = _unit(x), _unit(y)
    names = ("x", "y", *given)
    tensors = (x, y, *given.values())
    recording = torch.is_grad_enabled()
    wanted = tuple(recording and t.requires_grad for t in tensors)
    value: Tensor = _Mean.apply(
        name, Ring(group), asked, _Groups(x_groups, y_groups) if grouped else None, names, wanted,
        *tensors,
    )  # fmt: skip
    return value


# A graph of `torch.compile` breaks here: processes wait for each other.
_mean = torch.compiler.disable(_whole_mean)


def _softmax_options(label_smoothing: Any, false_negative_margin: Any) -> dict[str, Any]:
    margin = false_negative_margin
    if margin is not None:
        margin = scalars.real("false_negative_margin", margin)
    return {
        "label_smoothing": scalars.real("label_smoothing", label_smoothing, least=0, most=1),
        "false_negative_margin": margin,
    }


def info_nce(
    x_local: Tensor,
    y_local: Tensor,
    *,
    x_groups: Any = None,
    y_groups: Any = None,
    false_negative_margin: float | None = None,
    label_smoothing: float = 0.0,
    margin: float = 0.0,
    angular_margin: float = 0.0,
    column_logits: Any = None,
    weights: Any = None,
    temperature: float | Tensor | None = None,
    logit_scale: float | Tensor | None = None,
    normalize: bool = False,
    group: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""InfoNCE of the rows of all processes against those of all processes.

    .. math:: \frac1N \sum_i \Bigl(\log \sum_j e^{S_{ij}} - S_{ii}\Bigr), \quad S = s \, x y^T,

    with i and j over the N rows of x and all rows of y, wherever they are.

    Parameters
    ----------
    x_local, y_local : Tensor, shapes (n, d) and (m, d)
        The rows of this process. Row i of x belongs with row i of y; further rows of y are
        negatives for all. Processes may hold different numbers of rows, and none.
    x_groups, y_groups : array_like of int or str, shapes (n,) and (m,), optional
        Ids of these rows: the positives of a row are all rows of y of its id, in any process.
        `y_groups` defaults to `x_groups` where n = m.
    false_negative_margin, label_smoothing, margin, angular_margin, column_logits
        As for `pairtile.info_nce`; `column_logits` are of these rows of y.
    weights : Tensor or array_like, shape (n,), optional
        Weights of these rows in the mean over all.
    temperature, logit_scale : float or Tensor
        Exactly one of them, of one element and the same in all processes.
    normalize : bool, default False
        Divide each row by its Euclidean length first; gradients go through the division.
    group : ProcessGroup, optional
        Of `torch.distributed`; None is the default one.
    workers, check_finite
        As in `pairtile.info_nce`.

    Returns
    -------
    Tensor
        The mean over all rows of all processes, the same in each. Gradients are those of the mean
        times the number of processes, for the tensors that this one passed: averaged over
        processes, as `DistributedDataParallel` does, they are those of one process with all rows.

    Raises
    ------
    TypeError, ValueError
        As from `pairtile.info_nce`, for what this process passed, and where processes differ in
        columns, dtype or options; for weights that sum to 0 over all processes.
    NotImplementedError
        For options of softmax losses, and for `siglip_loss`, on a GPU.
    RuntimeError
        If another process refused its rows, if a gradient is differentiated again, and from
        `torch.distributed`.

    Notes
    -----
    Blocks of y go round a ring, once for the losses and once more, with their gradients, where one
    is wanted. Memory is that of the local rows and of two blocks with their gradients, and with
    groups the ids that there are in all processes; 2NMd flops for the losses of all rows and at
    most 6NMd more for the gradients.

    References
    ----------
    Liu, Zaharia and Abbeel, Ring attention with blockwise transformers for near-infinite context
    (2023), for the ring.
    """
    checks = _softmax_options(label_smoothing, false_negative_margin)
    margin = scalars.real("margin", margin)
    angular = scalars.real("angular_margin", angular_margin, least=0, most=math.pi)
    not_together(margin=margin != 0, angular_margin=angular != 0)
    grouped = x_groups is not None or y_groups is not None
    not_together(false_negative_margin=false_negative_margin is not None, x_groups=grouped)
    if angular and not normalize:
        raise ValueError("angular_margin needs normalize=True")
    value: Tensor = _mean(
        "info_nce", x_local, y_local, temperature=temperature, logit_scale=logit_scale,
        x_groups=x_groups, y_groups=y_groups, margin=margin, angular_margin=angular,
        column_logits=column_logits, weights=weights, normalize=normalize, group=group,
        workers=workers, check_finite=check_finite, **checks,
    )  # fmt: skip
    return value


def clip_loss(
    x_local: Tensor,
    y_local: Tensor,
    *,
    direction: Literal["both", "rows", "columns"] = "both",
    label_smoothing: float = 0.0,
    false_negative_margin: float | None = None,
    weights: Any = None,
    temperature: float | Tensor | None = None,
    logit_scale: float | Tensor | None = None,
    normalize: bool = False,
    group: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""CLIP loss of the paired rows of all processes: the mean of InfoNCE in both directions.

    Parameters
    ----------
    x_local, y_local : Tensor, both of shape (n, d)
        The paired rows of this process.
    direction, label_smoothing, false_negative_margin
        As for `pairtile.clip_loss`.
    weights, temperature, logit_scale, normalize, group, workers, check_finite
        As for `info_nce`.

    Returns
    -------
    Tensor
        As from `info_nce`.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `info_nce`, and for different numbers of rows.

    Notes
    -----
    What `info_nce` takes: sums of columns travel with their block.

    References
    ----------
    Radford et al., Learning transferable visual models from natural language supervision (2021).
    """
    scalars.choice("direction", direction, ("both", "rows", "columns"))
    value: Tensor = _mean(
        "clip_loss", x_local, y_local, temperature=temperature, logit_scale=logit_scale,
        rows=direction != "columns", columns=direction != "rows", weights=weights,
        normalize=normalize, group=group, workers=workers, check_finite=check_finite,
        **_softmax_options(label_smoothing, false_negative_margin),
    )  # fmt: skip
    return value


def siglip_loss(
    x_local: Tensor,
    y_local: Tensor,
    *,
    bias: float | Tensor = 0.0,
    x_groups: Any = None,
    y_groups: Any = None,
    weights: Any = None,
    temperature: float | Tensor | None = None,
    logit_scale: float | Tensor | None = None,
    normalize: bool = False,
    group: Any = None,
    workers: int | None = None,
    check_finite: bool = True,
) -> Tensor:
    r"""SigLIP loss of the rows of all processes against those of all processes.

    Parameters
    ----------
    x_local, y_local : Tensor, shapes (n, d) and (m, d)
        As for `info_nce`.
    bias : float or Tensor, default 0.0
        Added to every score, of one element and the same in all processes.
    x_groups, y_groups, weights, temperature, logit_scale, normalize, group, workers, check_finite
        As for `info_nce`; a row of a group without a positive counts.

    Returns
    -------
    Tensor
        As from `info_nce`: the mean over rows of the sums over all columns.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `info_nce`.

    Notes
    -----
    Blocks go round once, with their gradients: 2NMd flops for the losses of all processes and 4NMd
    more for the gradients.

    References
    ----------
    Zhai, Mustafa, Kolesnikov and Beyer, Sigmoid loss for language image pre-training (2023), whose
    section 3.3 computes it so.
    """
    value: Tensor = _mean(
        "siglip_loss", x_local, y_local, bias=bias, temperature=temperature,
        logit_scale=logit_scale, x_groups=x_groups, y_groups=y_groups, weights=weights,
        normalize=normalize, group=group, workers=workers, check_finite=check_finite,
    )  # fmt: skip
    return value
