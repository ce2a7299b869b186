"""Every contrastive loss and option in PyTorch, from whole matrices: gradients by autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from loss_oracle import one_set, two_sets


def per_row(
    loss: str,
    x: torch.Tensor,
    y: torch.Tensor | None,
    s: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    labels: Any = None,
    bank_labels: Any = None,
    normalize: bool = False,
    **options: Any,
) -> torch.Tensor:
    """Losses of the rows; s of one number or one per row."""
    if normalize:
        x, y = (None if z is None else functional.normalize(z) for z in (x, y))
    if loss == "gist_loss":
        assert s is not None
        return gist(x, y, s.expand(len(x))[:, None], **options)
    if loss in ("info_nce", "clip_loss", "siglip_loss"):
        belong = torch.tensor(two_sets(loss, len(x), len(y), options))
        others = y
    else:
        anchors = torch.cat([x, y]) if loss == "nt_xent_loss" else x
        others = anchors if y is None or loss == "nt_xent_loss" else torch.cat([x, y])
        x = anchors
        belong = torch.tensor(one_set(loss, len(x), labels, bank_labels, options))
    products = x @ others.T
    if s is not None:
        s = s.expand(len(x))[:, None]
    return LOSSES[loss](products, s, bias, belong, options)


def cross_entropy(scores: Any, shares: Any, among: Any, smoothing: float) -> Any:
    """PyTorch's own, by the chances of classes; what is not in a sum is at minus infinity."""
    some = shares.any(dim=1)
    even = among.double() / among.sum(dim=1, keepdim=True).clamp(min=1)
    target = ((1 - smoothing) * shares + smoothing * even)[some]
    masked = scores[some].masked_fill(~among[some], -1e300)
    found = torch.zeros(len(scores), dtype=scores.dtype)
    found[some] = functional.cross_entropy(masked, target, reduction="none")
    return found


def softmax(products: Any, s: Any, bias: Any, belong: Any, options: Any) -> Any:
    positive = belong > 0
    phi = products
    if options.get("angular_margin"):
        phi = torch.where(positive, torch.cos(torch.acos(phi) + options["angular_margin"]), phi)
    phi = phi - options.get("margin", 0.0) * positive.double()
    scores = s * phi
    if options.get("column_logits") is not None:
        scores = scores + torch.tensor(options["column_logits"])
    direction = options.get("direction", "rows")
    smoothing = options.get("label_smoothing", 0.0)
    limit = options.get("false_negative_margin")
    losses = []
    of_guide = guided(positive, options)
    if direction != "columns":
        among = allowed(products, positive, limit) & of_guide[0]
        if options.get("top_negatives") is not None:
            among = positive | top(scores.masked_fill(positive, -torch.inf), **options)
        if options.get("tau_plus"):
            losses.append(debiased(scores, s, positive, options["tau_plus"]))
        else:
            losses.append(cross_entropy(scores, belong, among, smoothing))
    if direction != "rows":
        among = allowed(products.T, positive.T, limit) & of_guide[1]
        found = cross_entropy(scores.T, belong.T, among, smoothing)
        losses.append(found[belong.argmax(dim=1)])
    return sum(losses) / len(losses)


def allowed(products: Any, positive: Any, limit: float | None) -> Any:
    if limit is None:
        return torch.ones_like(positive)
    own = products.masked_fill(~positive, -torch.inf).amax(dim=1, keepdim=True)
    own[~positive.any(dim=1)] = torch.inf
    return positive | (products <= own + limit)


def cosines(a: Any, b: Any) -> Any:
    a, b = (torch.as_tensor(z, dtype=torch.float64) for z in (a, b))
    return functional.cosine_similarity(a[:, None], b[None], dim=-1)


def guided(positive: Any, options: Any) -> Any:
    """The pairs that stay in the sums of rows and of columns, the latter transposed."""
    every = torch.ones_like(positive)
    if options.get("x_guide") is None:
        return every, every.T
    alike = cosines(options["x_guide"], options["y_guide"])
    found = []
    for c, p in ((alike, positive), (alike.T, positive.T)):
        own = c.masked_fill(~p, -torch.inf).amax(dim=1, keepdim=True)
        own[~p.any(dim=1)] = torch.inf
        found.append(p | ~false_negative(c, own, **options))
    return found


def false_negative(
    alike: Any,
    own: Any,
    guide_margin: float = 0.0,
    guide_margin_strategy: str = "absolute",
    **_: Any,
) -> Any:
    if guide_margin_strategy == "absolute":
        return alike > (own - guide_margin)
    return alike > (own * (1 - guide_margin))


def gist(
    x: Any,
    y: Any,
    s: Any,
    *,
    x_guide: Any,
    y_guide: Any,
    contrast_anchors: bool = True,
    contrast_positives: bool = True,
    **options: Any,
) -> Any:
    """As `forward` of sentence-transformers' GISTEmbedLoss goes about it, products for cosines."""
    n = len(x)
    positive, positive_guide = y[:n], y_guide[:n]
    own = cosines(x_guide, positive_guide).diagonal().view(-1, 1)
    pairs = [(x, positive, x_guide, positive_guide)]
    if contrast_anchors:
        pairs.append((x, x, x_guide, x_guide))
    if contrast_positives:
        pairs.append((positive, positive, positive_guide, positive_guide))
    pairs.append((x, y[n:], x_guide, y_guide[n:]))
    scores = []
    for place, (a, b, g, h) in enumerate(pairs):
        mask = false_negative(cosines(g, h), own, **options)
        if place == 0:
            mask = mask & ~torch.eye(n, dtype=torch.bool)
        scores.append((s * (a @ b.T)).masked_fill(mask, -torch.inf))
    return functional.cross_entropy(torch.cat(scores, dim=1), torch.arange(n), reduction="none")


def top(scores: Any, top_negatives: int, **_: Any) -> Any:
    q = min(top_negatives, scores.shape[1])
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :q]
    found = torch.zeros(scores.shape, dtype=torch.bool).scatter(1, order, True)
    return found & torch.isfinite(scores)


def debiased(scores: Any, s: Any, positive: Any, tau: float) -> Any:
    n = scores.shape[1] - 1
    own = (scores.exp() * positive).sum(dim=1)
    negatives = (scores.exp() * ~positive).sum(dim=1)
    floor = n * torch.exp(-s[:, 0])
    rest = torch.maximum((negatives - n * tau * own) / (1 - tau), floor)
    found = torch.log(own + rest) - (scores * positive).sum(dim=1)
    return torch.where(positive.any(dim=1), found, 0.0)


def supcon(products: Any, s: Any, bias: Any, belong: Any, options: Any) -> Any:
    n, m = products.shape
    shares = belong / belong.sum(dim=1, keepdim=True).clamp(min=1)
    return cross_entropy(s * products, shares, ~torch.eye(n, m, dtype=torch.bool), 0.0)


def siglip(products: Any, s: Any, bias: Any, belong: Any, options: Any) -> Any:
    return -functional.logsigmoid((2 * belong - 1) * (s * products + bias)).sum(dim=1)


def circle(products: Any, s: Any, bias: Any, belong: Any, options: Any) -> Any:
    m, gamma = options.get("margin", 0.25), options.get("gamma", 80.0)
    negative = (belong == 0) & ~torch.eye(len(products), dtype=torch.bool)
    with torch.no_grad():
        alpha_p, alpha_n = functional.relu(1 + m - products), functional.relu(products + m)
    of_p = (-gamma * alpha_p * (products - (1 - m))).masked_fill(belong == 0, -torch.inf)
    of_n = (gamma * alpha_n * (products - m)).masked_fill(~negative, -torch.inf)
    both = belong.any(dim=1) & negative.any(dim=1)
    found = torch.zeros(len(products), dtype=products.dtype)
    sums = of_p[both].logsumexp(dim=1) + of_n[both].logsumexp(dim=1)
    found[both] = torch.logaddexp(sums, torch.zeros_like(sums))
    return found


def multi_similarity(products: Any, s: Any, bias: Any, belong: Any, options: Any) -> Any:
    alpha, beta, base = (
        options.get(k, v) for k, v in (("alpha", 2.0), ("beta", 50.0), ("base", 0.5))
    )
    positive = belong > 0
    negative = ~positive & ~torch.eye(len(products), dtype=torch.bool)
    if options.get("mining"):
        least = products.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
        most = products.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
        positive = positive & (products - 0.1 < most)
        negative = negative & (products + 0.1 > least)
    found = torch.zeros(len(products), dtype=products.dtype)
    for k, sign, which in ((alpha, -1, positive), (beta, 1, negative)):
        exponents = (sign * k * (products - base)).masked_fill(~which, -torch.inf)
        one = torch.zeros((len(products), 1), dtype=products.dtype)
        found = found + torch.cat([exponents, one], dim=1).logsumexp(dim=1) / k
    return found


LOSSES = {
    "info_nce": softmax,
    "clip_loss": lambda p, s, b, w, o: softmax(p, s, b, w, {"direction": "both", **o}),
    "siglip_loss": siglip,
    "supcon_loss": supcon,
    "nt_xent_loss": supcon,
    "circle_loss": circle,
    "multi_similarity_loss": multi_similarity,
}
