"""What other packages compute under these names, written out, and which options give the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.special import expit, log_softmax, logsumexp

import pairtile as pt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows_of(n: int, d: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, d))


def cross_entropy(logits: Floats, labels: Any) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(logits)), labels].mean())


def close(result: pt.ContrastiveResult, right: float) -> None:
    assert result.loss == pytest.approx(right, rel=1e-12)


# --- open_clip ------------------------------------------------------------------------------------


def test_clip_loss_of_open_clip():
    images, texts, scale = unit(rows_of(9, 5, 0)), unit(rows_of(9, 5, 1)), 14.0
    logits = scale * images @ texts.T
    labels = np.arange(9)
    right = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    close(pt.clip_loss(images, texts, logit_scale=scale), right)


def test_local_loss_of_open_clip():
    """local_loss=True, gather_with_grad=True: each rank has its rows against those of all."""
    images, texts, scale = unit(rows_of(12, 5, 2)), unit(rows_of(12, 5, 3)), 9.0
    for rank in range(3):
        own = slice(4 * rank, 4 * rank + 4)
        labels = np.arange(4) + 4 * rank
        right = (
            cross_entropy(scale * images[own] @ texts.T, labels)
            + cross_entropy(scale * texts[own] @ images.T, labels)
        ) / 2
        options: dict[str, Any] = {
            "logit_scale": scale, "target_offset": 4 * rank, "direction": "rows"
        }  # fmt: skip
        found = [
            pt.clip_loss(images[own], texts, **options),
            pt.clip_loss(texts[own], images, **options),
        ]
        assert np.mean([part.loss for part in found]) == pytest.approx(right, rel=1e-12)


def test_siglip_loss_of_open_clip():
    """The sum over pairs divided by the rows of a rank; `negative_only` for those of another."""
    images, texts = unit(rows_of(8, 5, 4)), unit(rows_of(8, 5, 5))
    scale, bias = 10.0, -10.0

    def of_pairs(a: Floats, b: Floats, negative_only: bool) -> float:
        labels = -np.ones((len(a), len(b)))
        if not negative_only:
            labels += 2 * np.eye(len(a))
        return float(-np.log(expit(labels * (scale * a @ b.T + bias))).sum() / len(a))

    right = of_pairs(images[:4], texts[:4], False) + of_pairs(images[:4], texts[4:], True)
    close(pt.siglip_loss(images[:4], texts, logit_scale=scale, bias=bias), right)
    right = of_pairs(images[4:], texts[4:], False) + of_pairs(images[4:], texts[:4], True)
    offset = {"logit_scale": scale, "bias": bias, "target_offset": 4}
    close(pt.siglip_loss(images[4:], texts, **offset), right)


# --- SupContrast and SimCLR -----------------------------------------------------------------------


def supcon_of_supcontrast(
    features: Floats, labels: Any, temperature: float, base_temperature: float, mode: str
) -> float:
    """SupConLoss of SupContrast, `features` (examples, views, d)."""
    examples, views = features.shape[:2]
    contrast = np.concatenate([features[:, v] for v in range(views)])
    anchors = contrast if mode == "all" else features[:, 0]
    count = len(anchors) // examples
    mask = np.tile(np.equal.outer(labels, labels).astype(float), (count, views))
    logits = anchors @ contrast.T / temperature
    logits = logits - logits.max(axis=1, keepdims=True)
    others = 1 - np.eye(*mask.shape)
    mask = mask * others
    log_chances = logits - np.log((np.exp(logits) * others).sum(axis=1, keepdims=True))
    positives = mask.sum(axis=1)
    positives = np.where(positives < 1e-6, 1, positives)
    mean = (mask * log_chances).sum(axis=1) / positives
    return float(np.mean(-(temperature / base_temperature) * mean))


@pytest.mark.parametrize("views", [1, 2, 3])
def test_supcon_loss_of_supcontrast(views):
    features = unit(rows_of(14 * views, 6, 6)).reshape(14, views, 6)
    labels = np.array([0, 1, 2, 0, 1, 2, 3, 3, 0, 0, 4, 5, 5, 6])
    below = np.concatenate([features[:, v] for v in range(views)])
    got = pt.supcon_loss(below, np.tile(labels, views), temperature=0.07)
    close(got, supcon_of_supcontrast(features, labels, 0.07, 0.07, "all"))
    # its base temperature is a factor
    right = supcon_of_supcontrast(features, labels, 0.1, 0.07, "all")
    got = pt.supcon_loss(below, np.tile(labels, views), temperature=0.1)
    assert got.loss * 0.1 / 0.07 == pytest.approx(right, rel=1e-12)
    if views > 1:  # contrast_mode="one": the first view against all
        got = pt.supcon_loss(
            features[:, 0], labels, temperature=0.07,
            bank=below[14:], bank_labels=np.tile(labels, views - 1),
        )  # fmt: skip
        close(got, supcon_of_supcontrast(features, labels, 0.07, 0.07, "one"))


def test_contrastive_loss_of_simclr():
    """Its two halves are added: twice the mean over all views."""
    first, second, temperature = unit(rows_of(9, 5, 7)), unit(rows_of(9, 5, 8)), 0.5
    masks = 1e9 * np.eye(9)
    aa = first @ first.T / temperature - masks
    bb = second @ second.T / temperature - masks
    ab = first @ second.T / temperature
    labels = np.arange(9)
    right = cross_entropy(np.hstack([ab, aa]), labels) + cross_entropy(
        np.hstack([ab.T, bb]), labels
    )
    got = pt.nt_xent_loss(first, second, temperature=temperature, normalize=True)
    assert 2 * got.loss == pytest.approx(right, rel=1e-12)
    # and, without labels, of SupContrast: each example a class of its own
    both = np.stack([first, second], axis=1)
    right = supcon_of_supcontrast(both, np.arange(9), temperature, temperature, "all")
    close(got, right)


def test_debiased_loss_of_its_authors():
    """DCL: positives out_1·out_2, the 2N − 2 other views as negatives, clamped at N e^(−1/T)."""
    out_1, out_2 = unit(rows_of(7, 4, 9)), unit(rows_of(7, 4, 10))
    tau, temperature = 0.1, 0.5
    out = np.concatenate([out_1, out_2])
    other = np.concatenate([out_2, out_1])
    for i in range(14):
        negatives = np.delete(out, [i, (i + 7) % 14], axis=0)
        neg = np.exp(negatives @ out[i] / temperature)
        pos = np.exp(out[i] @ other[i] / temperature)
        n = len(neg)
        rest = max((-tau * n * pos + neg.sum()) / (1 - tau), n * np.exp(-1 / temperature))
        got = pt.info_nce(
            out[i][None], np.vstack([other[i], negatives]), temperature=temperature, tau_plus=tau
        )
        close(got, float(-np.log(pos / (pos + rest))))


# --- sentence-transformers ------------------------------------------------------------------------


def test_multiple_negatives_ranking_loss():
    """Anchors against all positives and hard negatives, scale 20, cosines."""
    anchors, positives, hard = rows_of(8, 5, 11), rows_of(8, 5, 12), rows_of(8, 5, 13)
    candidates = np.concatenate([positives, hard])
    scores = 20.0 * unit(anchors) @ unit(candidates).T
    close(
        pt.info_nce(anchors, candidates, logit_scale=20.0, normalize=True),
        cross_entropy(scores, np.arange(8)),
    )
    right = (
        cross_entropy(scores, np.arange(8)) + cross_entropy(scores[:, :8].T, np.arange(8))
    ) / 2  # MultipleNegativesSymmetricRankingLoss
    close(pt.clip_loss(anchors, candidates, logit_scale=20.0, normalize=True), right)


@pytest.mark.parametrize("margin", [0.0, 0.15, -0.1])
def test_masks_of_gist(margin):
    """GISTEmbedLoss, the model as its own guide, strategy "absolute", without positives' pairs."""
    anchors, positives, hard = rows_of(8, 4, 14), rows_of(8, 4, 15), rows_of(8, 4, 16)
    positives += 0.8 * anchors
    a, p, q = unit(anchors), unit(positives), unit(hard)
    own = np.sum(a * p, axis=1, keepdims=True)

    def mask_false_negatives(similarity: Floats, positive: Any) -> Floats:
        false = (similarity > own - margin) & ~positive
        return np.where(false, -np.inf, similarity)

    none = np.zeros((8, 8), dtype=bool)
    blocks = [(a @ p.T, np.eye(8, dtype=bool)), (a @ a.T, none), (a @ q.T, none)]
    scores = np.hstack([mask_false_negatives(*block) for block in blocks]) / 0.1
    assert np.isinf(scores).sum() > 8  # more than the anchors themselves
    candidates = np.concatenate([positives, anchors, hard])
    got = pt.info_nce(
        anchors, candidates, temperature=0.1, normalize=True, false_negative_margin=-margin
    )
    close(got, cross_entropy(scores, np.arange(8)))


def gist_embed_loss(
    embeddings: list[Any],
    guides: list[Any],
    temperature: float,
    margin_strategy: str,
    margin: float,
    contrast_anchors: bool,
    contrast_positives: bool,
) -> Any:
    """`GISTEmbedLoss.forward` of sentence-transformers 5, from the embeddings on."""
    import torch

    def sim_matrix(one: Any, other: Any) -> Any:
        return torch.nn.functional.cosine_similarity(one[:, None], other[None], dim=-1)

    (anchor, positive), (anchor_guide, positive_guide) = embeddings[:2], guides[:2]
    ap_sim = sim_matrix(anchor, positive)
    aa_sim = sim_matrix(anchor, anchor)
    pp_sim = sim_matrix(positive, positive)
    guided_ap_sim = sim_matrix(anchor_guide, positive_guide)
    guided_aa_sim = sim_matrix(anchor_guide, anchor_guide)
    guided_pp_sim = sim_matrix(positive_guide, positive_guide)
    guided_sim = guided_ap_sim.diagonal().view(-1, 1)

    def mask_false_negatives(guided: Any, sim: Any, positive_mask: Any = None) -> Any:
        if margin_strategy == "absolute":
            mask = guided > (guided_sim - margin)
        else:
            mask = guided > (guided_sim * (1 - margin))
        if positive_mask is not None:
            mask = mask & ~positive_mask
        return sim.masked_fill(mask, -torch.inf)

    positive_mask = torch.eye(*guided_ap_sim.shape, dtype=torch.bool)
    scores = [mask_false_negatives(guided_ap_sim, ap_sim, positive_mask)]
    if contrast_anchors:
        scores.append(mask_false_negatives(guided_aa_sim, aa_sim))
    if contrast_positives:
        scores.append(mask_false_negatives(guided_pp_sim, pp_sim))
    if len(embeddings) > 2:
        an_sim = sim_matrix(anchor, embeddings[2])
        scores.append(mask_false_negatives(sim_matrix(anchor_guide, guides[2]), an_sim))
    labels = torch.arange(len(anchor))
    return torch.nn.functional.cross_entropy(torch.cat(scores, dim=1) / temperature, labels)


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("strategy", ["absolute", "relative"])
@pytest.mark.parametrize(("anchors", "positives"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_gist_embed_loss(hard, strategy, anchors, positives):
    """With a guide of its own, whose rows have other features: value and gradients."""
    import torch

    import pairtile.torch

    count = 2 + hard
    for margin in (0.0, 0.05, 0.3):
        sets = [torch.tensor(rows_of(20, 6, 20 + k)) for k in range(count)]
        guides = [torch.tensor(rows_of(20, 3, 30 + k)) for k in range(count)]
        guides[1] += 2 * guides[0]
        options: dict[str, Any] = {
            "contrast_anchors": bool(anchors), "contrast_positives": bool(positives)
        }  # fmt: skip
        theirs, ours = ([z.clone().requires_grad_() for z in sets] for _ in range(2))
        right = gist_embed_loss(theirs, guides, 0.1, strategy, margin, **options)
        right.backward()
        module = pairtile.torch.GISTLoss(
            temperature=0.1, normalize=True, guide_margin=margin, guide_margin_strategy=strategy,
            **options,
        )  # fmt: skip
        got = module(ours[0], torch.cat(ours[1:]), x_guide=guides[0], y_guide=torch.cat(guides[1:]))
        got.backward()
        assert got.item() == pytest.approx(right.item(), rel=1e-12)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-13)
        if not anchors and not positives:
            plain = pairtile.torch.info_nce(
                sets[0], torch.cat(sets[1:]), temperature=0.1, normalize=True, x_guide=guides[0],
                y_guide=torch.cat(guides[1:]), guide_margin=margin, guide_margin_strategy=strategy,
            )  # fmt: skip
            assert plain.item() == pytest.approx(right.item(), rel=1e-12)


# --- MoCo -----------------------------------------------------------------------------------------


@pytest.mark.oracle("torch")
@pytest.mark.parametrize("others", [False, True])
def test_queues_of_moco(others):
    """Queries against their own key and a queue; or against the keys of other rows as well."""
    import torch

    import pairtile.torch

    normalize, temperature = torch.nn.functional.normalize, 0.07
    q, k, queue = (torch.tensor(rows_of(n, 5, 20 + i)) for i, n in enumerate((9, 9, 30)))
    q = (q + k).requires_grad_()

    def plain():
        x, keys, held = normalize(q), normalize(k), normalize(queue)
        positive = x @ keys.T if others else (x * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, x @ held.T], dim=1) / temperature
        labels = torch.arange(9) if others else torch.zeros(9, dtype=torch.long)
        return torch.nn.functional.cross_entropy(logits, labels)

    def ours():
        options = {"temperature": temperature, "normalize": True}
        if others:
            return pairtile.torch.info_nce(q, torch.cat([k, queue]), **options)
        x, keys, first = normalize(q), normalize(k), normalize(queue[0], dim=0)
        none = torch.zeros(9, dtype=torch.long)
        rows = pairtile.torch.info_nce(q, queue, targets=none, reduction="none", **options)
        of_queue = rows + x @ first / temperature  # its log-sum-exp
        return torch.nn.functional.softplus(of_queue - (x * keys).sum(dim=1) / temperature).mean()

    found, right = ours(), plain()
    assert found.item() == pytest.approx(right.item(), rel=1e-12)
    (mine,), (expected,) = (torch.autograd.grad(loss, q) for loss in (found, right))
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-13)


# --- sampled softmax ------------------------------------------------------------------------------


def test_log_q_correction_of_sampled_softmax():
    """Scores less log q (tensorflow-recommenders, candidate_sampling_probability)."""
    users, items = rows_of(6, 4, 17), rows_of(10, 4, 18)
    q = np.random.default_rng(19).random(10)
    got = pt.info_nce(users, items, logit_scale=1.0, column_logits=-np.log(q))
    close(got, cross_entropy(users @ items.T - np.log(q), np.arange(6)))


# --- pytorch-metric-learning ----------------------------------------------------------------------

metric_learning = pytest.mark.oracle("torch", "pytorch_metric_learning")
LABELS = np.array([0, 1, 2, 0, 1, 2, 3, 3, 0, 0, 4, 5, 5, 5])


def of_metric_learning(loss: Any, x: Floats, labels: Any, *more: Any) -> tuple[float, Floats]:
    """Value and gradient by x."""
    import torch

    leaf = torch.tensor(x, requires_grad=True)
    value = loss(leaf, torch.tensor(labels), *more)
    value.backward()
    return value.item(), leaf.grad.numpy()


def same(got: pt.ContrastiveResult, right: tuple[float, Floats], eps: float = 1e-12) -> None:
    assert got.loss == pytest.approx(right[0], rel=eps)
    np.testing.assert_allclose(got.grad_x, right[1], atol=eps * np.abs(right[1]).max())


@metric_learning
def test_supcon_loss_of_metric_learning():
    from pytorch_metric_learning import losses

    x = rows_of(14, 6, 20)
    right = of_metric_learning(losses.SupConLoss(temperature=0.1), x, LABELS)
    # it takes the mean over rows whose loss is not 0
    options = {"temperature": 0.1, "normalize": True, "grad": True}
    same(pt.supcon_loss(x, LABELS, no_positive="drop", **options), right)


@metric_learning
def test_nt_xent_loss_of_metric_learning():
    from pytorch_metric_learning import losses

    x, y = rows_of(7, 6, 21), rows_of(7, 6, 22)
    value, gradient = of_metric_learning(
        losses.NTXentLoss(temperature=0.2), np.vstack([x, y]), np.tile(np.arange(7), 2)
    )
    got = pt.nt_xent_loss(x, y, temperature=0.2, normalize=True, grad=True)
    same(got, (value, gradient[:7]))
    np.testing.assert_allclose(got.grad_y, gradient[7:], atol=1e-12 * np.abs(gradient).max())


@metric_learning
@pytest.mark.parametrize(("margin", "gamma"), [(0.4, 80), (0.25, 256), (0.0, 2)])
def test_circle_loss_of_metric_learning(margin, gamma):
    from pytorch_metric_learning import losses, reducers

    x = rows_of(14, 3, 23)
    loss = losses.CircleLoss(m=margin, gamma=gamma, reducer=reducers.MeanReducer())
    right = of_metric_learning(loss, x, LABELS)
    got = pt.circle_loss(x, LABELS, margin=margin, gamma=gamma, normalize=True, grad=True)
    same(got, right)


@metric_learning
@pytest.mark.parametrize("mining", [False, True])
def test_multi_similarity_loss_of_metric_learning(mining):
    import torch
    from pytorch_metric_learning import losses, miners

    x = rows_of(14, 3, 24)
    pairs = []
    if mining:
        miner = miners.MultiSimilarityMiner(epsilon=0.1)
        pairs = [miner(torch.tensor(x), torch.tensor(LABELS))]
        assert 0 < len(pairs[0][0]) < np.equal.outer(LABELS, LABELS).sum() - 14
    right = of_metric_learning(losses.MultiSimilarityLoss(), x, LABELS, *pairs)
    options = {"normalize": True, "grad": True}
    same(pt.multi_similarity_loss(x, LABELS, mining=mining, **options), right)


@metric_learning
def test_bank_is_the_cross_batch_memory_of_metric_learning():
    import torch
    from pytorch_metric_learning import losses

    x, bank = rows_of(14, 6, 25), rows_of(20, 6, 26)
    bank_labels = np.arange(20) % 6
    loss = losses.SupConLoss(temperature=0.1)
    leaf = torch.tensor(x, requires_grad=True)
    # what is in the memory beside the batch itself
    memory = torch.cat([leaf, torch.tensor(bank)])
    labels = torch.tensor(np.concatenate([LABELS, bank_labels]))
    a, b = np.nonzero(np.equal.outer(LABELS, labels.numpy()) & ~np.eye(14, 34, dtype=bool))
    c, d = np.nonzero(~np.equal.outer(LABELS, labels.numpy()))
    pairs = tuple(torch.tensor(i) for i in (a, b, c, d))
    value = loss(leaf, torch.tensor(LABELS), pairs, memory, labels)
    value.backward()
    got = pt.supcon_loss(
        x, LABELS, bank=bank, bank_labels=bank_labels, no_positive="drop",
        temperature=0.1, normalize=True, grad=True,
    )  # fmt: skip
    same(got, (value.item(), leaf.grad.numpy()))


@metric_learning
@pytest.mark.parametrize("name", ["CosFaceLoss", "ArcFaceLoss"])
def test_margins_of_metric_learning(name):
    """The columns are the weights of the classes."""
    import torch
    from pytorch_metric_learning import losses

    x = rows_of(14, 6, 27)
    margin = 0.35 if name == "CosFaceLoss" else 28.6
    loss = getattr(losses, name)(6, 6, margin=margin, scale=16)
    loss.W = torch.nn.Parameter(torch.tensor(rows_of(6, 6, 28).T))
    classes = loss.W.detach().numpy().T
    right = of_metric_learning(loss, x, LABELS)
    angles = np.arccos(np.sum(unit(x) * unit(classes)[LABELS], axis=1))
    assert angles.max() < np.pi - np.deg2rad(28.6)  # beyond, ArcFaceLoss goes on another way
    option = {"margin": margin} if name == "CosFaceLoss" else {"angular_margin": np.deg2rad(margin)}
    got = pt.info_nce(
        x, classes, targets=LABELS, logit_scale=16, normalize=True, grad=True, **option
    )
    same(got, right, 1e-7 if name == "ArcFaceLoss" else 1e-12)
    np.testing.assert_allclose(
        got.grad_y, loss.W.grad.numpy().T, atol=1e-7 * np.abs(got.grad_y).max()
    )


def test_positives_of_one_anchor_are_averaged_outside_the_logarithm():
    """L_out of Khosla et al., not L_in: the mean of logarithms, not the logarithm of the mean."""
    x, y = rows_of(4, 3, 29), rows_of(6, 3, 30)
    groups, others = [0, 1, 0, 2], np.array([0, 0, 1, 2, 1, 3])
    got = pt.info_nce(x, y, x_groups=groups, y_groups=others, temperature=1.0)
    scores = x @ y.T
    for i, group in enumerate(groups):
        own = scores[i, others == group]
        assert got.per_row[i] == pytest.approx(np.mean(logsumexp(scores[i]) - own), rel=1e-12)
