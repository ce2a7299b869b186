"""Contrastive losses over the rows of all processes, of which each holds its own.

arguments, checked -> processes agree -> blocks of y round a ring (`ring`, `ring_losses`)
-> the mean over all rows, its gradients by what each process passed
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from pairtile._front import scalars, streams, validate
from pairtile._front.threads import resolve_workers
from pairtile.losses import positives, softmax
from pairtile.losses.guide import Guide, one_for_each
from pairtile.losses.logits import not_together, scale_of
from pairtile.torch.autograd import chosen, once, times, unrecorded
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


class _Positives:
    """What names positives by their number among the rows of y of all processes."""

    def __init__(self, targets: Any, ignore_index: Any, weights: Any) -> None:
        self.targets, self.ignore_index, self.weights = targets, ignore_index, weights

    def tell(self, options: Options, n: int, m: int) -> None:
        """Into the options, checked: of n rows here and m columns in all processes."""
        if self.weights is not None:
            options.sparse = positives.by_weights(self.weights, n, m).sparse
        elif not n:
            options.targets = np.zeros(0, dtype=np.int64)
        else:
            options.targets = positives.by_target(self.targets, self.ignore_index, n, m).targets


class _Mean(torch.autograd.Function):
    @staticmethod
    @streams.followed
    def forward(
        ctx: Any,
        name: str,
        ring: Ring,
        options: Options,
        groups: _Groups | None,
        named: _Positives | None,
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
        scales = given["scale"]
        by_row = None if scales.shape == (1,) == (len(x),) else scales.numel() != 1
        scale = scales.detach().double().cpu().numpy()
        if by_row is False:
            scale = float(scale)
        bias = float(given["bias"]) if "bias" in given else 0.0
        weights, error = None, None
        try:
            weights = _checked(name, x, y, scale, options, groups, named, given.get("weights"))
        except (TypeError, ValueError) as found:
            error = found
        ring.agree(
            x, y, wide=wide,
            wants=(wants["x"], wants["y"], wants["scale"] or wants.get("bias", False)),
            by_row=by_row, options=(name, *options.alike(), "weights" in given),
            failed=error is not None,
        )  # fmt: skip
        if error is not None:
            raise error
        if groups is not None:
            of_x, of_y = ring.numbered(("x_groups", "y_groups"), groups.ids)
            options.groups = of_x, of_y
        if named is not None:
            try:
                named.tell(options, len(x), sum(ring.columns))
            except (TypeError, ValueError) as found:
                error = found
            ring.check(error, x.device)
        if by_row is None and not ring.by_row:
            scale = float(scale[0])
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
        ctx.tensors = chosen(tensors, wanted)
        by_name = {"x": to and to.x, "y": to and to.y}
        if to is not None:
            for one, number in (("scale", to.scale), ("bias", to.bias)):
                if one in given:
                    value = torch.as_tensor(number, dtype=torch.float64, device=given[one].device)
                    by_name[one] = value.expand(given[one].shape).clone()
        if wants.get("weights"):
            device = given["weights"].device
            by_name["weights"] = torch.from_numpy(mean.by_weights).to(device)
        kept = [by_name.get(one) if want else None for one, want in wants.items()]
        ctx.save_for_backward(*kept)
        return torch.tensor(mean.loss, dtype=dtype, device=x.device)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        with unrecorded():
            kept = ctx.saved_tensors
            scaled = iter(times(upstream, [t for t in kept if t is not None]))
            found = [None if t is None else next(scaled) for t in kept]
        return (None,) * 7 + (*once(ctx.name, found, (upstream, *ctx.tensors)),)


class _Found:
    """A mean over all rows, and its derivative by the weights of this process's."""

    def __init__(self, loss: float, by_weights: Floats) -> None:
        self.loss, self.by_weights = loss, by_weights


def _weighted_mean(
    name: str,
    ring: Ring,
    x: Tensor,
    y: Tensor,
    scale: Any,
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
        counts = np.ones(len(x), dtype=bool)
        total = _total(ring, x, given)
        sigmoid = SigLip(x, y, scale, bias, options, ring)
        per_row = sigmoid.run(given * (ring.size / max(total, 1e-300)), to)
    else:
        plain = options.plain() and not isinstance(scale, np.ndarray)
        kind = SoftmaxOnGpu if plain and not x.is_cpu else Softmax
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
    scale: Any,
    options: Options,
    groups: _Groups | None,
    named: _Positives | None,
    weights: Tensor | None,
) -> Floats | None:
    """Errors of what this process passed; the weights of its rows."""
    n, m = len(x), len(y)
    if isinstance(scale, np.ndarray):
        if scale.shape != (n,):
            raise ValueError(
                f"temperature and logit_scale must be a number, or have shape ({n},), one per row, "
                f"got {scale.shape}"
            )
        if n:
            scale_of(None, scale)
    else:
        scalars.real("logit_scale", scale, above=0)
    checked(x, y, options)
    if options.guide is not None:
        guide = options.guide
        for one, rows in (("x_guide", guide.x), ("y_guide", guide.y)):
            if rows.ndim != 2:
                raise ValueError(f"{one} must be 2-D (rows, features), got {rows.ndim}-D")
        one_for_each(guide.x, guide.y, n, m)
        if n and m:
            guide.read(n, m, check_finite=options.check_finite, workers=options.workers)
    if groups is not None:
        groups.check(n, m)
    elif named is not None:
        pass  # once it is known how many columns there are
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
    ring: Ring, x: Tensor, y: Tensor, scale: Any, more: float, options: Options
) -> tuple[Tensor, Tensor]:
    """Rows in float64 where float32 could not hold their scores; logits without what all share."""
    more += abs(options.margin)
    extremes = [float(t.abs().max()) if t.numel() else 0.0 for t in (x, y)]
    logits = options.column_logits
    if logits is not None:
        some = logits.to(x.device, torch.float64)
        ends = torch.full((2,), -torch.inf, dtype=torch.float64, device=x.device)
        if len(some):
            ends = torch.stack([some.max(), -some.min()])
        top, bottom = (float(v) for v in ring.largest(ends))
        # the floor of tau_plus knows what all share
        options.column_logits = some if options.tau_plus else some - (top - bottom) / 2
        more += abs(top) + abs(bottom)
    both = torch.tensor([max(extremes), float(np.max(scale, initial=1.0))], dtype=torch.float64)
    largest, scale = ring.largest(both.to(x.device)).tolist()
    if scale * (largest * largest * x.shape[1] + more) + more < 1e37:
        return x, y
    return x.double(), y.double()


def _guide(name: str, guide: Guide, x: Tensor, workers: int) -> Guide:
    """With rows in tensors that may travel, where those of x are."""
    found = {}
    for one, given in (("x_guide", guide.x), ("y_guide", guide.y)):
        rows = torch.as_tensor(given)
        if torch.is_grad_enabled() and rows.requires_grad:
            raise ValueError(f"{name} has no gradient by {one}, which requires one")
        narrow = (torch.float16, torch.bfloat16, torch.float32, torch.int8, torch.uint8)
        dtype = torch.float32 if rows.dtype in narrow else torch.float64
        found[one[0]] = rows.detach().to(x.device, dtype).contiguous()
    if found["x"].dtype != found["y"].dtype:
        found = {one: rows.double() for one, rows in found.items()}
    return replace(guide, **found, workers=workers)


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
    targets: Any = None,
    ignore_index: int | None = None,
    positive_weights: Any = None,
    column_logits: Any = None,
    guide: Guide | None = None,
    **options: Any,
) -> Tensor:
    for one, rows in (("x_local", x), ("y_local", y)):
        if not isinstance(rows, Tensor) or rows.ndim != 2:
            raise TypeError(f"{one} must be a 2-D tensor, got {type(rows).__name__}")
    if (temperature is None) == (logit_scale is None):
        both = "neither" if temperature is None else "both"
        raise ValueError(f"pass exactly one of temperature= and logit_scale=, got {both}")
    given = {"scale": 1 / _number(temperature) if logit_scale is None else _number(logit_scale)}
    given |= {} if bias is None else {"bias": _number(bias)}
    if given["scale"].numel() != 1 and given["scale"].ndim != 1:
        shape = tuple(given["scale"].shape)
        raise ValueError(
            f"temperature and logit_scale must be a number or have one entry per row, got {shape}"
        )
    if bias is not None and given["bias"].numel() != 1:
        raise ValueError(f"{name} takes one bias, for all rows")
    if weights is not None:
        given["weights"] = torch.as_tensor(weights)
    if column_logits is not None:
        column_logits = torch.as_tensor(column_logits)
        if torch.is_grad_enabled() and column_logits.requires_grad:
            raise ValueError(f"{name} has no gradient by column_logits, which requires one")
    grouped = x_groups is not None or y_groups is not None
    if ignore_index is not None and targets is None:
        raise ValueError("ignore_index needs targets")
    how = {
        "x_groups": grouped,
        "targets": targets is not None,
        "positive_weights": positive_weights is not None,
    }
    named = None
    if how["targets"] or how["positive_weights"]:
        named = _Positives(targets, ignore_index, positive_weights)
    threads = resolve_workers(workers)
    asked = Options(
        guide=None if guide is None else _guide(name, guide, x, threads),
        positives=next((word for word, used in how.items() if used), ""),
        column_logits=column_logits, workers=threads, check_finite=check_finite,
        **options,
    )  # fmt: skip
    if normalize:
        x, y = _unit(x), _unit(y)
    names = ("x", "y", *given)
    tensors = (x, y, *given.values())
    recording = torch.is_grad_enabled()
    wanted = tuple(recording and t.requires_grad for t in tensors)
    value: Tensor = _Mean.apply(
        name, Ring(group), asked, _Groups(x_groups, y_groups) if grouped else None, named, names,
        wanted, *tensors,
    )  # fmt: skip
    return value


def _number(value: Any) -> Tensor:
    """Of a number, or of one for each row."""
    return value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)


# A graph of `torch.compile` breaks here: processes wait for each other.
_mean = torch.compiler.disable(_whole_mean)


def info_nce(
    x_local: Tensor,
    y_local: Tensor,
    *,
    targets: Any = None,
    x_groups: Any = None,
    y_groups: Any = None,
    ignore_index: int | None = None,
    false_negative_margin: float | None = None,
    x_guide: Any = None,
    y_guide: Any = None,
    guide_margin: float = 0.0,
    guide_margin_strategy: Literal["absolute", "relative"] = "absolute",
    label_smoothing: float = 0.0,
    tau_plus: float = 0.0,
    margin: float = 0.0,
    column_logits: Any = None,
    top_negatives: int | None = None,
    angular_margin: float = 0.0,
    positive_weights: Any = None,
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
    targets : array_like of int, shape (n,), optional
        Rows of y that belong with these of x, in any process: they count over all, those of the
        first process first. In all processes or in none.
    x_groups, y_groups : array_like of int or str, shapes (n,) and (m,), optional
        Ids of these rows: the positives of a row are all rows of y of its id, in any process.
        `y_groups` defaults to `x_groups` where n = m.
    ignore_index : int, optional
        Rows whose target it is have loss 0 and leave the mean.
    false_negative_margin, label_smoothing, tau_plus, margin, angular_margin, top_negatives
        As for `pairtile.info_nce`. Not `false_negative_margin` with `targets`: it has to know the
        positive before any other pair.
    x_guide, y_guide : array_like, shapes (n, g) and (m, g), optional
        Rows of a guide for these rows of x and y, as for `pairtile.info_nce`; not with `targets`.
    guide_margin, guide_margin_strategy
        As for `pairtile.info_nce`.
    column_logits : array_like, shape (m,), optional
        As for `pairtile.info_nce`, of these rows of y.
    positive_weights : sparse matrix of shape (n, M), or (indptr, indices, data), optional
        As for `pairtile.info_nce`, of the M rows of y of all processes. In all of them or in none.
    weights : Tensor or array_like, shape (n,), optional
        Weights of these rows in the mean over all.
    temperature, logit_scale : float, or Tensor of one element or shape (n,)
        Exactly one of them, the same in all processes or one for each row.
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
    RuntimeError
        If another process refused its rows, if a gradient is differentiated again, and from
        `torch.distributed`.

    Notes
    -----
    Blocks of y go round a ring, once for the losses and once more, with their gradients, where one
    is wanted; for `top_negatives` once before. Memory is that of the local rows and of two blocks
    with their gradients, with groups the ids that there are in all processes, and with a guide the
    pairs of the local rows that it leaves out; 2NMd flops for the losses of all rows and at most
    6NMd more for the gradients.

    References
    ----------
    Liu, Zaharia and Abbeel, Ring attention with blockwise transformers for near-infinite context
    (2023), for the ring.
    """
    grouped, weighted = x_groups is not None or y_groups is not None, positive_weights is not None
    not_together(targets=targets is not None, x_groups=grouped, positive_weights=weighted)
    not_together(
        false_negative_margin=false_negative_margin is not None, targets=targets is not None
    )
    options = softmax.Options.of(
        label_smoothing, false_negative_margin, margin=margin, angular_margin=angular_margin,
        tau_plus=tau_plus, top_negatives=top_negatives,
    )  # fmt: skip
    options.check(normalize=normalize, x_groups=grouped, positive_weights=weighted)
    guide = Guide.of(x_guide, y_guide, guide_margin, guide_margin_strategy)
    options.check_guide(
        guide, targets=targets is not None, x_groups=grouped, positive_weights=weighted
    )
    value: Tensor = _mean(
        "info_nce", x_local, y_local, temperature=temperature, logit_scale=logit_scale,
        targets=targets, ignore_index=ignore_index, x_groups=x_groups, y_groups=y_groups,
        positive_weights=positive_weights, column_logits=column_logits, weights=weights,
        normalize=normalize, group=group, workers=workers, check_finite=check_finite, guide=guide,
        **asdict(options),
    )  # fmt: skip
    return value


def clip_loss(
    x_local: Tensor,
    y_local: Tensor,
    *,
    direction: Literal["both", "rows", "columns"] = "both",
    label_smoothing: float = 0.0,
    false_negative_margin: float | None = None,
    x_guide: Any = None,
    y_guide: Any = None,
    guide_margin: float = 0.0,
    guide_margin_strategy: Literal["absolute", "relative"] = "absolute",
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
    x_guide, y_guide, guide_margin, guide_margin_strategy
        As for `pairtile.clip_loss`, of the rows of this process.
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
    options = softmax.Options.of(label_smoothing, false_negative_margin)
    guide = Guide.of(x_guide, y_guide, guide_margin, guide_margin_strategy)
    options.check_guide(guide)
    value: Tensor = _mean(
        "clip_loss", x_local, y_local, temperature=temperature, logit_scale=logit_scale,
        rows=direction != "columns", columns=direction != "rows", weights=weights,
        normalize=normalize, group=group, workers=workers, check_finite=check_finite, guide=guide,
        **asdict(options),
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
