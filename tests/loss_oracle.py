"""Every contrastive loss and option from whole float64 matrices: what the tests compare with.

`wanted` takes what the public functions take, by the same names, and gives values and gradients by
the chain rule; with each gradient the sum of the sizes of its terms, which is what an error is
measured by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logsumexp, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass
class Wanted:
    """`fields` as in ContrastiveResult; `terms` of the gradients among them.

    `size` is that of the largest exponent, `gap` how near anything that is decided by a comparison
    comes to being decided otherwise; `counts` are the rows that are in the mean.
    """

    loss: float
    per_row: Floats
    fields: dict[str, Any]
    terms: dict[str, Any]
    size: float
    gap: float = np.inf
    counts: Any = None


@dataclass
class Matrix:
    """Losses from a matrix of products C, and their derivatives by each entry.

    `slopes` and `masses` are of Σ u_i per_row_i by C, and sums of sizes of what it is made of;
    `by_scale` and `scale_masses` those by the scale of each row, `bias` and its mass by a bias.
    """

    per_row: Floats
    slopes: Floats
    masses: Floats
    size: float
    by_scale: Floats | None = None
    scale_masses: Floats | None = None
    bias: tuple[float, float] | None = None
    lse: dict[str, Floats] = field(default_factory=dict)
    gap: float = np.inf


def wanted(
    loss: str,
    x: Any,
    y: Any = None,
    *,
    labels: Any = None,
    bank_labels: Any = None,
    temperature: Any = None,
    logit_scale: Any = None,
    weights: Any = None,
    grad_rows: Any = None,
    normalize: bool = False,
    **options: Any,
) -> Wanted:
    """What the public function of that name should find; y is the bank of supcon_loss."""
    x, y = (None if z is None else np.asarray(z).astype(np.float64) for z in (x, y))
    s = None
    if temperature is not None or logit_scale is not None:
        s = np.asarray(logit_scale if temperature is None else 1 / np.asarray(temperature))
    if loss in ("info_nce", "clip_loss", "siglip_loss"):
        anchors, others = x, y
        belong = two_sets(loss, len(x), len(y), options)
    elif loss == "gist_loss":  # each row of x, and its row of y, against all
        anchors, others = np.concatenate([x, y[: len(x)]]), np.concatenate([y, x])
        belong = np.eye(len(x), len(y))
    else:
        anchors = np.concatenate([x, y]) if loss == "nt_xent_loss" else x
        others = anchors if y is None or loss == "nt_xent_loss" else np.concatenate([x, y])
        belong = one_set(loss, len(anchors), labels, bank_labels, options)
    counts = np.ones(len(belong), dtype=bool)
    if loss == "info_nce" or options.get("no_positive") == "drop":
        counts = belong.any(axis=1)
    w = counts if weights is None else np.where(counts, weights, 0.0)
    shares = w / w.sum() if w.sum() > 0 else 0.0 * w
    u = shares if grad_rows is None else np.where(counts, grad_rows, 0.0)

    a, b = (unit(z) if normalize else z for z in (anchors, others))
    products = a @ b.T
    sizes = np.abs(a) @ np.abs(b).T  # of the terms of products
    exact = not normalize  # rows that are divided by their lengths are rounded
    found = MATRICES[loss](products, s, belong, u, {"exact": exact, **options}, sizes)
    mean = float(shares @ found.per_row)
    by_a, by_b = found.slopes @ b, found.slopes.T @ a
    terms_a, terms_b = found.masses @ np.abs(b), found.masses.T @ np.abs(a)
    if others is not anchors and loss == "supcon_loss":  # anchors, then the bank
        n = len(anchors)
        by_a, terms_a = by_a + by_b[:n], terms_a + terms_b[:n]
        by_b, terms_b, others = by_b[n:], terms_b[n:], others[n:]
    elif loss == "gist_loss":
        (by_a, by_b), (terms_a, terms_b) = (
            of_both(x, y, *parts) for parts in ((by_a, by_b), (terms_a, terms_b))
        )
        anchors, others = x, y
    elif others is anchors:
        by_a, terms_a, by_b, terms_b = by_a + by_b, terms_a + terms_b, None, None
    if normalize:
        by_a, terms_a = through_unit(anchors, by_a, terms_a)
        if by_b is not None:
            by_b, terms_b = through_unit(others, by_b, terms_b)
    if loss == "nt_xent_loss":
        (by_a, by_b), (terms_a, terms_b) = (np.split(z, 2) for z in (by_a, terms_a))
    fields = {"grad_x": by_a, "grad_y": by_b, **found.lse}
    terms = {"grad_x": terms_a, "grad_y": terms_b}
    if s is not None:
        assert found.by_scale is not None
        fields["grad_scale"] = found.by_scale if s.ndim else float(found.by_scale.sum())
        terms["grad_scale"] = found.scale_masses if s.ndim else float(found.scale_masses.sum())
    if found.bias is not None:
        fields["grad_bias"], terms["grad_bias"] = found.bias
    if weights is not None and grad_rows is None:
        total = max(w.sum(), 1e-300)
        fields["grad_weights"] = np.where(counts, (found.per_row - mean) / total, 0.0)
        # losses are off by an error of scores, however small they are
        terms["grad_weights"] = np.full(len(w), (1 + np.abs(found.per_row).max()) / total)
    return Wanted(mean, found.per_row, fields, terms, found.size, found.gap, counts)


def of_both(x: Floats, y: Floats, by_rows: Floats, by_columns: Floats) -> tuple[Floats, Floats]:
    """Of rows [x; some of y] and columns [y; x], what belongs to x and to y."""
    n, m = len(x), len(y)
    by_y = by_columns[:m].copy()
    by_y[:n] += by_rows[n:]
    return by_rows[:n] + by_columns[m:], by_y


def unit(rows: Floats) -> Floats:
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-300)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def through_unit(rows: Floats, by_unit: Floats, terms: Floats) -> tuple[Floats, Floats]:
    """Through a -> a/‖a‖; a row of zeros has no direction to move in."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    u = unit(rows)
    along = np.sum(u * by_unit, axis=1, keepdims=True)
    more = np.abs(u) * np.sum(np.abs(u) * terms, axis=1, keepdims=True)
    return inverse * (by_unit - u * along), inverse * (terms + more)


# --- who belongs with whom ------------------------------------------------------------------------


def two_sets(loss: str, n: int, m: int, options: dict[str, Any]) -> Floats:
    """Weights of positives: rows that sum to 1, or are 0."""
    belong = np.zeros((n, m))
    groups = options.get("x_groups")
    if options.get("positive_weights") is not None:
        given = options["positive_weights"]
        if isinstance(given, tuple):
            for i in range(n):
                for e in range(given[0][i], given[0][i + 1]):
                    belong[i, given[1][e]] += given[2][e]
        else:
            belong = np.asarray(given.todense(), dtype=np.float64)
    elif groups is not None:
        of_y = options.get("y_groups")
        belong = np.array(
            [[float(p == q) for q in (groups if of_y is None else of_y)] for p in groups]
        )
    else:
        targets = options.get("targets")
        if targets is None:
            targets = np.arange(n) + options.get("target_offset", 0)
        for i, target in enumerate(targets):
            if target != options.get("ignore_index"):
                belong[i, target] = 1
    if loss == "siglip_loss":
        return belong
    return belong / np.where(belong.any(axis=1), belong.sum(axis=1), 1)[:, None]


def one_set(loss: str, n: int, labels: Any, bank_labels: Any, options: dict[str, Any]) -> Floats:
    """Whether a candidate belongs with an anchor: 1 or 0."""
    if loss == "nt_xent_loss":
        return np.roll(np.eye(n), n // 2, axis=1)
    every = list(labels) + ([] if bank_labels is None else list(bank_labels))
    width = options.get("label_width")

    def same(p: Any, q: Any) -> bool:
        return bool(p == q if width is None else abs(p - q) <= width)

    belong = np.array([[float(same(p, q)) for q in every] for p in labels])
    np.fill_diagonal(belong, 0)
    return belong


# --- softmax --------------------------------------------------------------------------------------


def cross_entropy(
    scores: Floats, shares: Floats, among: Any, smoothing: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Losses of the rows, log-sum-exps, derivatives by the scores and the sizes of their terms."""
    masked = np.where(among, scores, -np.inf)
    some = among.any(axis=1)
    lse = np.full(len(scores), -np.inf)
    lse[some] = logsumexp(masked[some], axis=1)
    chances = np.zeros(scores.shape)
    chances[some] = softmax(masked[some], axis=1)
    even = among / np.maximum(among.sum(axis=1, keepdims=True), 1)
    target = (1 - smoothing) * shares + smoothing * even
    target[~shares.any(axis=1)] = chances[~shares.any(axis=1)] = 0
    losses = np.zeros(len(scores))
    for i in np.flatnonzero(shares.any(axis=1)):
        t = target[i] > 0
        losses[i] = target[i, t] @ (lse[i] - scores[i, t])
    return losses, lse, chances - target, chances + target


def nearest_to(values: Floats, limit: Any, where: Any) -> float:
    return float(np.abs(values - limit).min(initial=np.inf, where=where & np.isfinite(limit)))


def allowed(alike: Floats, own: Floats, decided: Any, options: dict[str, Any]) -> tuple[Any, float]:
    """Which cosines of a guide are not above that of the row's positive; and the nearest miss.

    `decided` are those that no comparison has to. Cosines are exact to far more digits than any
    other number that a comparison decides.
    """
    margin = options.get("guide_margin", 0.0)
    relative = options.get("guide_margin_strategy") == "relative"
    limit = own * (1 - margin) if relative else own - margin
    return alike <= limit, 1e8 * nearest_to(alike, limit, ~decided)


def guided(belong: Floats, options: dict[str, Any]) -> tuple[Any, Any, float]:
    """Which pairs a guide leaves in the sums of rows and of columns."""
    alike = unit(np.asarray(options["x_guide"])) @ unit(np.asarray(options["y_guide"])).T
    positive, found, gap = belong > 0, [], np.inf
    for c, p in ((alike, positive), (alike.T, positive.T)):
        own = np.where(p, c, -np.inf).max(axis=1, keepdims=True)
        own[~p.any(axis=1)] = np.inf
        among, near = allowed(c, own, p, options)
        found.append(p | among)
        gap = min(gap, near)
    return found[0], found[1].T, gap


def gist_matrix(
    products: Floats, s: Floats, belong: Floats, u: Floats, options: dict[str, Any], sizes: Floats
) -> Matrix:
    n, m = belong.shape
    s = np.broadcast_to(s, n)[:, None]
    g, h = (unit(np.asarray(options[name])) for name in ("x_guide", "y_guide"))
    positive = np.eye(n, m + 2 * n)

    def of_rows(both: Floats) -> Floats:
        return np.hstack([both[:n], both[n:, :n]])  # with y, with x, and the positives' own

    own = np.sum(g * h[:n], axis=1, keepdims=True)
    alike = np.hstack([g @ h.T, g @ g.T, h[:n] @ h[:n].T])
    same = np.hstack([np.eye(n, m), np.eye(n), np.eye(n)]) > 0
    among, gap = allowed(alike, own, same, options)
    among = np.where(same, positive > 0, among)
    for contrast, place in (("contrast_anchors", m), ("contrast_positives", m + n)):
        among[:, place : place + n] &= options.get(contrast, True)
    joint = of_rows(products)
    losses, lse, slopes, mass = cross_entropy(s * joint, positive, among, 0.0)
    slopes, mass = u[:, None] * slopes, np.abs(u)[:, None] * mass

    def back(rows: Floats) -> Floats:
        both = np.zeros(products.shape)
        both[:n], both[n:, :n] = rows[:, : m + n], rows[:, m + n :]
        return both

    return Matrix(
        losses, back(s * slopes), back(s * mass), np.abs(s * joint).max(),
        np.sum(slopes * joint, axis=1), np.sum(mass * of_rows(sizes), axis=1),
        lse={"lse_row": lse}, gap=gap,
    )  # fmt: skip


def softmax_matrix(
    products: Floats, s: Floats, belong: Floats, u: Floats, options: dict[str, Any], sizes: Floats
) -> Matrix:
    direction = options.get("direction", "rows")
    n, m = products.shape
    s = np.broadcast_to(s, n)[:, None]
    positive = belong > 0
    phi, slope, gap = np.array(products), np.ones(products.shape), np.inf
    if options.get("angular_margin"):
        angle = np.arccos(np.clip(products[positive], -1, 1))
        phi[positive] = np.cos(angle + options["angular_margin"])
        gap = np.sin(angle).min(initial=1.0)  # along 0 and π there is no slope
        slope[positive] = np.sin(angle + options["angular_margin"]) / np.maximum(
            np.sin(angle), 1e-9
        )
    phi[positive] -= options.get("margin", 0.0)
    c = options.get("column_logits")
    scores = s * phi + (0 if c is None else np.asarray(c))
    smoothing, tau = options.get("label_smoothing", 0.0), options.get("tau_plus", 0.0)
    part = 0.5 if direction == "both" else 1.0
    per_row, by_scale = np.zeros(n), np.zeros(n)
    by_score, masses = np.zeros((n, m)), np.zeros((n, m))
    lse: dict[str, Floats] = {}
    size = np.abs(scores).max()
    limit = options.get("false_negative_margin")
    of_guide: Any = None, None
    if options.get("x_guide") is not None:
        *of_guide, gap = guided(belong, options)

    if direction != "columns":
        among = np.ones((n, m), dtype=bool)
        if limit is not None:
            own = np.where(positive, products, -np.inf).max(axis=1, keepdims=True) + limit
            own[~positive.any(axis=1)] = np.inf
            among = positive | (products <= own)
            gap = min(gap, nearest_to(products, own, ~positive))
        if of_guide[0] is not None:
            among = of_guide[0]
        if options.get("top_negatives") is not None:
            among, gap = largest(scores, positive, options["top_negatives"], options["exact"])
        if tau:
            losses, lse["lse_row"], slopes, mass, alone, gap, worse = debiased(
                scores, positive, s[:, 0], tau
            )
            by_scale += u * alone
            size *= worse
        else:
            losses, lse["lse_row"], slopes, mass = cross_entropy(scores, belong, among, smoothing)
        per_row += part * losses
        by_score += part * u[:, None] * slopes
        masses += part * np.abs(u[:, None]) * mass
    if direction != "rows":
        among = np.ones((n, m), dtype=bool)
        if limit is not None:
            own = np.where(positive, products, -np.inf).max(axis=0) + limit
            own[~positive.any(axis=0)] = np.inf
            among = positive | (products <= own)
            gap = min(gap, nearest_to(products, own, ~positive))
        if of_guide[1] is not None:
            among = of_guide[1]
        losses, lse["lse_col"], slopes, mass = cross_entropy(scores.T, belong.T, among.T, smoothing)
        of_row = belong.argmax(axis=1)
        per_row += part * losses[of_row]
        upstream = np.zeros(m)
        upstream[of_row] = u
        by_score += part * (upstream[:, None] * slopes).T
        masses += part * (np.abs(upstream)[:, None] * mass).T
    return Matrix(
        per_row, by_score * s * slope, masses * s * np.abs(slope), size,
        by_scale + np.sum(by_score * phi, axis=1),
        np.abs(by_scale) + np.sum(masses * np.maximum(np.abs(phi), sizes), axis=1),
        lse=lse, gap=gap,
    )  # fmt: skip


def largest(scores: Floats, positive: Any, q: int, exact: bool) -> tuple[Any, float]:
    """The positives and the q largest others of each row, ties by index; and the nearest miss.

    Scores that are exact tie only where they are equal.
    """
    among, gap = positive.copy(), np.inf
    for i, row in enumerate(scores):
        others = np.flatnonzero(~positive[i])
        order = others[np.argsort(-row[others], kind="stable")]
        among[i, order[:q]] = True
        if len(order) > q and not (exact and row[order[q - 1]] == row[order[q]]):
            gap = min(gap, row[order[q - 1]] - row[order[q]])
    return among, gap


def debiased(scores: Floats, positive: Any, s: Floats, tau: float) -> tuple[Any, ...]:
    """Chuang et al. (2020), row by row; by how much it may enlarge an error of the scores."""
    n, m = scores.shape
    losses, lse, alone = np.zeros(n), np.empty(n), np.zeros(n)
    slopes, mass = np.zeros((n, m)), np.zeros((n, m))
    gap, worse = np.inf, 1.0
    for i in range(n):
        t = int(positive[i].argmax())
        shift = max(scores[i].max(), -s[i])
        e = np.exp(scores[i] - shift)
        negatives = np.delete(e, t).sum()
        estimate = (negatives - (m - 1) * tau * e[t]) / (1 - tau)
        floor = (m - 1) * np.exp(-s[i] - shift)
        rest = max(estimate, floor)
        lse[i] = shift + np.log(e[t] + rest)
        if not positive[i].any():
            continue
        gap = min(gap, abs(estimate - floor) / (e[t] + rest)) if m > 1 else gap
        losses[i] = lse[i] - scores[i, t]
        slopes[i, t] = e[t] / (e[t] + rest) - 1
        mass[i, t] = e[t] / (e[t] + rest) + 1
        if estimate > floor:
            chances = e / (1 - tau) / (e[t] + rest)
            chances[t] *= -(m - 1) * tau
            slopes[i] += chances
            mass[i] += np.abs(chances)
            worse = max(worse, np.abs(chances).sum())
        else:
            alone[i] = -floor / (e[t] + rest)
    return losses, lse, slopes, mass, alone, gap, worse


def supcon_matrix(
    products: Floats, s: Floats, belong: Floats, u: Floats, options: dict[str, Any], sizes: Floats
) -> Matrix:
    n, m = products.shape
    s = np.broadcast_to(s, n)[:, None]
    scores = s * products
    shares = belong / np.maximum(belong.sum(axis=1, keepdims=True), 1)
    losses, lse, slopes, mass = cross_entropy(scores, shares, ~np.eye(n, m, dtype=bool), 0.0)
    slopes, mass = u[:, None] * slopes, np.abs(u)[:, None] * mass
    return Matrix(
        losses, s * slopes, s * mass, np.abs(scores).max(),
        np.sum(slopes * products, axis=1), np.sum(mass * sizes, axis=1),
        lse={"lse_row": lse},
    )  # fmt: skip


# --- pairs by themselves, and weighted ------------------------------------------------------------


def siglip_matrix(
    products: Floats, s: Floats, belong: Floats, u: Floats, options: dict[str, Any], sizes: Floats
) -> Matrix:
    s = np.broadcast_to(s, len(products))[:, None]
    z = np.where(belong > 0, 1.0, -1.0)
    scores = s * products + options.get("bias", 0.0)
    by_score = -z * expit(-z * scores) * u[:, None]
    masses = np.abs(by_score)
    return Matrix(
        np.logaddexp(0, -z * scores).sum(axis=1), s * by_score, s * masses, np.abs(scores).max(),
        np.sum(by_score * products, axis=1), np.sum(masses * sizes, axis=1),
        (float(by_score.sum()), float(masses.sum())),
    )  # fmt: skip


def circle_matrix(
    products: Floats, s: None, belong: Floats, u: Floats, options: dict[str, Any], sizes: Floats
) -> Matrix:
    m, gamma = options.get("margin", 0.25), options.get("gamma", 80.0)
    n = len(products)
    negative = (belong == 0) & ~np.eye(n, dtype=bool)
    per_row, slopes = np.zeros(n), np.zeros(products.shape)
    for i, row in enumerate(products):
        p, q = np.flatnonzero(belong[i]), np.flatnonzero(negative[i])
        if not len(p) or not len(q):
            continue
        alpha_p, alpha_n = np.maximum(1 + m - row[p], 0), np.maximum(row[q] + m, 0)
        of_p, of_n = -gamma * alpha_p * (row[p] - (1 - m)), gamma * alpha_n * (row[q] - m)
        total = logsumexp(of_p) + logsumexp(of_n)
        per_row[i] = np.logaddexp(0, total)
        slopes[i, p] = -expit(total) * softmax(of_p) * gamma * alpha_p
        slopes[i, q] = expit(total) * softmax(of_n) * gamma * alpha_n
    size = gamma * (np.abs(products).max() + 1 + abs(m)) ** 2
    slopes *= u[:, None]
    return Matrix(per_row, slopes, np.abs(slopes), size)


def multi_similarity_matrix(
    products: Floats, s: None, belong: Floats, u: Floats, options: dict[str, Any], sizes: Floats
) -> Matrix:
    alpha, beta, base = (
        options.get(k, v) for k, v in (("alpha", 2.0), ("beta", 50.0), ("base", 0.5))
    )
    n = len(products)
    negative = (belong == 0) & ~np.eye(n, dtype=bool)
    per_row, slopes, gap = np.zeros(n), np.zeros(products.shape), np.inf
    for i, row in enumerate(products):
        p, q = np.flatnonzero(belong[i]), np.flatnonzero(negative[i])
        if options.get("mining"):
            hardest = row[p].min(initial=np.inf), row[q].max(initial=-np.inf)
            for side, limit in ((row[q] + 0.1, hardest[0]), (row[p] - 0.1, hardest[1])):
                if np.isfinite(limit):
                    gap = min(gap, np.abs(side - limit).min(initial=np.inf))
            p, q = p[row[p] - 0.1 < hardest[1]], q[row[q] + 0.1 > hardest[0]]
        for sign, k, which in ((-1, alpha, p), (1, beta, q)):
            exponents = np.append(sign * k * (row[which] - base), 0.0)
            per_row[i] += logsumexp(exponents) / k
            slopes[i, which] = sign * softmax(exponents)[:-1]
    slopes *= u[:, None]
    size = max(alpha, beta) * (np.abs(products).max() + abs(base))
    return Matrix(per_row, slopes, np.abs(slopes), size, gap=gap)


MATRICES = {
    "info_nce": softmax_matrix,
    "clip_loss": lambda p, s, b, u, o, z: softmax_matrix(p, s, b, u, {"direction": "both", **o}, z),
    "gist_loss": gist_matrix,
    "siglip_loss": siglip_matrix,
    "supcon_loss": supcon_matrix,
    "nt_xent_loss": supcon_matrix,
    "circle_loss": circle_matrix,
    "multi_similarity_loss": multi_similarity_matrix,
}
