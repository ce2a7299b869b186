"""PyTorch on the CPU, eager: matrix products and `cdist` in chunks of rows, and autograd."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional

from bench.case import Arrays
from bench.cases import Clip, Energy, Median, Mmd, Permutation, SigLip, SupCon
from bench.neighbors import Knn, float_sets
from bench.peers import distribution_version
from bench.slices import Columns, Sliced, even_pieces

ROWS = 1000  # of a chunk; the whole matrix at once is slower and larger
SCORES = 100_000_000  # of a chunk, at most


def start(threads: int) -> None:
    torch.set_num_threads(threads)


def describe() -> str:
    return distribution_version("torch")


def knn(case: Knn, arrays: Arrays, threads: int) -> Callable[[], object]:
    queries, reference = map(torch.from_numpy, float_sets(arrays))
    rows = max(1, min(ROWS, SCORES // len(reference)))

    def call() -> object:
        norms = reference.square().sum(1)
        distances, indices = [], []
        for first in range(0, len(queries), rows):
            chunk = queries[first : first + rows]
            # ‖y‖² − 2x·y orders like the distance; ‖x‖² is added to the winners only.
            scores = torch.addmm(norms, chunk, reference.T, alpha=-2)
            if case.self_join:
                scores.diagonal(first).fill_(torch.inf)
            best, where = scores.topk(case.k, largest=False)
            distances.append((best + chunk.square().sum(1)[:, None]).clamp_(min=0).sqrt_())
            indices.append(where)
        return torch.cat(distances).numpy(), torch.cat(indices).numpy()

    return call


def _kernel_sum(x: torch.Tensor, y: torch.Tensor, gamma: float) -> float:
    total = 0.0
    for chunk in x.split(ROWS):
        block = torch.cdist(chunk, y).square_().mul_(-gamma).exp_()
        total += block.sum(dtype=torch.float64).item()
    return total


def mmd(case: Mmd, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    n, m = len(x), len(y)

    def call() -> object:
        within_x = (_kernel_sum(x, x, case.gamma) - n) / (n * (n - 1))
        within_y = (_kernel_sum(y, y, case.gamma) - m) / (m * (m - 1))
        return within_x + within_y - 2 * _kernel_sum(x, y, case.gamma) / (n * m)

    return call


def median(case: Median, arrays: Arrays, threads: int) -> Callable[[], object]:
    pooled = torch.from_numpy(np.concatenate([arrays["x"], arrays["y"]]))
    return lambda: torch.pdist(pooled).median().item()


def permutation(case: Permutation, arrays: Arrays, threads: int) -> Callable[[], object]:
    """The kernel matrix once; each relabelling gathers rows and columns and takes block means."""
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    n, m = len(x), len(y)

    def statistic(kernel: torch.Tensor) -> float:
        within_x = kernel[:n, :n].sum(dtype=torch.float64) / (n * (n - 1))
        within_y = kernel[n:, n:].sum(dtype=torch.float64) / (m * (m - 1))
        return float(within_x + within_y - 2 * kernel[:n, n:].mean(dtype=torch.float64))

    def call() -> object:
        pooled = torch.cat([x, y])
        kernel = torch.cdist(pooled, pooled).square_().mul_(-case.gamma).exp_()
        kernel.fill_diagonal_(0)
        rng = np.random.default_rng(case.seed)
        null = []
        for _ in range(case.permutations):
            order = torch.from_numpy(rng.permutation(n + m))
            null.append(statistic(kernel[order][:, order]))
        return statistic(kernel), np.asarray(null)

    return call


def energy(case: Energy, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])

    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        total = sum(
            torch.cdist(chunk, b).sum(dtype=torch.float64).item() for chunk in a.split(ROWS)
        )
        return float(total / (len(a) * len(b)))

    return lambda: 2 * mean(x, y) - mean(x, x) - mean(y, y)


def contrastive(case: Clip, arrays: Arrays, threads: int) -> Callable[[], object]:
    x = torch.from_numpy(arrays["x"]).requires_grad_()
    y = torch.from_numpy(arrays["y"]).requires_grad_()
    scale = torch.tensor(case.logit_scale, requires_grad=True)
    targets = torch.arange(len(x))

    def call() -> object:
        logits = scale * x @ y.T
        rows = functional.cross_entropy(logits, targets)
        columns = functional.cross_entropy(logits.T, targets)
        loss = (rows + columns) / 2
        grad_x, grad_y, _ = torch.autograd.grad(loss, [x, y, scale])
        return loss.item(), grad_x.numpy(), grad_y.numpy()

    return call


def siglip(case: SigLip, arrays: Arrays, threads: int) -> Callable[[], object]:
    """The loss as open_clip and the paper write it, with autograd."""
    x = torch.from_numpy(arrays["x"]).requires_grad_()
    y = torch.from_numpy(arrays["y"]).requires_grad_()
    scale, bias = (torch.tensor(v, requires_grad=True) for v in (case.logit_scale, case.bias))
    signs = 2 * torch.eye(len(x)) - 1

    def call() -> object:
        loss = -functional.logsigmoid(signs * (scale * x @ y.T + bias)).sum() / len(x)
        grad_x, grad_y, *_ = torch.autograd.grad(loss, [x, y, scale, bias])
        return loss.item(), grad_x.numpy(), grad_y.numpy()

    return call


def supcon(case: SupCon, arrays: Arrays, threads: int) -> Callable[[], object]:
    """Step by step as the reference implementation: masks of positives and of the diagonal."""
    x = torch.from_numpy(arrays["x"]).requires_grad_()
    labels = torch.from_numpy(arrays["labels"])[:, None]

    def call() -> object:
        mask = torch.eq(labels, labels.T).float()
        logits = torch.div(torch.matmul(x, x.T), case.temperature)
        logits = logits - logits.max(dim=1, keepdim=True).values.detach()
        others = torch.ones_like(mask) - torch.eye(len(x))
        mask = mask * others
        sums = (torch.exp(logits) * others).sum(1, keepdim=True)
        per_row = (mask * (logits - torch.log(sums))).sum(1) / mask.sum(1)
        loss = -per_row.mean()
        (gradient,) = torch.autograd.grad(loss, [x])
        return loss.item(), gradient.numpy()

    return call


def sliced(case: Sliced, arrays: Arrays, threads: int) -> Callable[[], object]:
    """All lines at once: products, `sort`, of weights the merged levels, and autograd."""
    rows = [torch.from_numpy(arrays[name]).requires_grad_(case.gradient) for name in ("x", "y")]
    weights = [torch.from_numpy(arrays[f"{n}_weights"]) for n in ("x", "y") if case.weighted]
    directions = torch.from_numpy(arrays["directions"])

    def cost() -> torch.Tensor:
        (along_x, order_x), (along_y, order_y) = ((directions.T @ a.T).sort(dim=1) for a in rows)
        if weights:
            steps = [
                w[order].cumsum(1) for w, order in zip(weights, (order_x, order_y), strict=True)
            ]
            for levels in steps:
                levels /= levels[:, -1:].clone()
            merged = torch.cat(steps, dim=1).sort(dim=1).values
            mass = merged.diff(dim=1, prepend=merged.new_zeros(len(merged), 1))
            below = merged - mass / 2
            of_x, of_y = (
                torch.searchsorted(levels, below).clamp_(max=levels.shape[1] - 1)
                for levels in steps
            )
            gaps = along_x.gather(1, of_x) - along_y.gather(1, of_y)
            return (mass * gaps.square()).sum(1).mean()
        if case.n == case.m:
            return (along_x - along_y).square().mean()
        of_x, of_y, mass = map(torch.from_numpy, even_pieces(case.n, case.m))
        return (mass * (along_x[:, of_x] - along_y[:, of_y]).square()).sum(1).mean()

    def call() -> object:
        value = cost().sqrt()
        if not case.gradient:
            return value.item()
        return value.item(), *(g.numpy() for g in torch.autograd.grad(value, rows))

    return call


def columns(case: Columns, arrays: Arrays, threads: int) -> Callable[[], object]:
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])

    def call() -> object:
        along_x, along_y = (a.T.contiguous().sort(dim=1).values for a in (x, y))
        return (along_x - along_y).abs_().mean(dim=1, dtype=torch.float64).numpy()

    return call
