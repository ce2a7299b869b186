"""What is measured: one frozen class per kind of work, and the list of all cases.

Neighbours and sliced transport have modules of their own, `bench.neighbors` and `bench.slices`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.case import BLOCK, JUDGED, SEED, Arrays, Case, pairs, squared_distances
from bench.neighbors import NEIGHBOR_CASES
from bench.slices import SLICED_CASES


class GaussianKernel(Case):
    """What the kernel cases share: a bandwidth of the order of the median distance."""

    @property
    def sigma(self) -> float:
        return float(np.sqrt(2 * self.d))

    @property
    def gamma(self) -> float:
        return 1 / (2 * self.sigma**2)


@dataclass(frozen=True)
class Mmd(GaussianKernel):
    """Unbiased MMD² with a Gaussian kernel of given bandwidth."""

    family = "mmd"
    task = "mmd"
    contenders = ("pairtile", "torch", "sklearn", "pairtile_float64")
    tolerances: ClassVar = {"relative": 1e-3}  # of the statistic: three means near ½ cancel in it

    @property
    def title(self) -> str:
        return f"{super().title}, Gaussian, σ={self.sigma:.3g} given"

    @property
    def flops(self) -> float:
        return 2 * self.d * pairs(self.n, self.m)

    def reference(self, arrays: Arrays) -> Arrays:
        def total(a: NDArray[Any], b: NDArray[Any]) -> float:
            blocks = squared_distances(a, b)
            return float(
                sum(np.exp(np.multiply(s, -self.gamma, out=s), out=s).sum() for _, s in blocks)
            )

        x, y, n, m = arrays["x"], arrays["y"], self.n, self.m
        within = (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1))
        return {"value": np.asarray(within - 2 * total(x, y) / (n * m))}


@dataclass(frozen=True)
class Median(Case):
    """The exact median distance of the pooled sample: the usual bandwidth, a cost of its own."""

    family = "mmd"
    task = "median"
    contenders = ("pairtile", "torch", "scipy")
    tolerances: ClassVar = {"relative": 1e-6}

    @property
    def title(self) -> str:
        return f"{super().title}, the median distance alone"

    @property
    def flops(self) -> float:
        return 2 * self.d * pairs(self.n, self.m)

    def reference(self, arrays: Arrays) -> Arrays:
        pooled = np.concatenate([arrays["x"], arrays["y"]])
        squared = np.empty(len(pooled) * (len(pooled) - 1) // 2)
        filled = 0
        for first, block in squared_distances(pooled, pooled):
            for i, row in enumerate(block, start=first):
                squared[filled : filled + len(row) - i - 1] = row[i + 1 :]
                filled += len(row) - i - 1
        low, high = (len(squared) - 1) // 2, len(squared) // 2
        squared.partition([low, high])
        return {"value": np.asarray((np.sqrt(squared[low]) + np.sqrt(squared[high])) / 2)}


@dataclass(frozen=True)
class Permutation(GaussianKernel):
    """The permutation test of the unbiased MMD²; every contender draws the same relabellings."""

    permutations: int
    seed: int = 7

    family = "permutation"
    task = "permutation"
    contenders = ("pairtile", "torch", "numpy")
    tolerances: ClassVar = {"statistic": 1e-3, "null": 1e-3}

    @property
    def title(self) -> str:
        return f"{super().title}, Gaussian, {self.permutations} permutations"

    @property
    def flops(self) -> float:
        """Count the distances, and for each relabelling one multiply-add per pair."""
        return 2 * (self.d + self.permutations) * pairs(self.n, self.m)

    def reference(self, arrays: Arrays) -> Arrays:
        n, m = self.n, self.m
        pooled = np.concatenate([arrays["x"], arrays["y"]])
        kernel = np.concatenate(
            [np.exp(-self.gamma * s) for _, s in squared_distances(pooled, pooled)]
        )
        np.fill_diagonal(kernel, 0)
        rng = np.random.default_rng(self.seed)
        orders = [np.arange(n + m)] + [rng.permutation(n + m) for _ in range(self.permutations)]
        signs = np.zeros((n + m, len(orders)))
        for column, order in enumerate(orders):
            signs[order[:n], column] = 1
        others = 1 - signs
        products = kernel @ signs
        within_x = np.einsum("ib,ib->b", signs, products) / (n * (n - 1))
        within_y = np.einsum("ib,ib->b", others, kernel @ others) / (m * (m - 1))
        between = np.einsum("ib,ib->b", others, products) / (n * m)
        values = within_x + within_y - 2 * between
        return {"statistic": values[0], "null": values[1:]}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        statistic, null = result
        value, exact = float(reference["statistic"]), reference["null"]
        return {
            "statistic": abs(statistic - value) / abs(value),
            "null": float(np.max(np.abs(null - exact)) / np.max(np.abs(exact))),
        }


@dataclass(frozen=True)
class ManyPermutations(Permutation):
    """So many that a loop over them takes a minute."""

    large = True


@dataclass(frozen=True)
class Aggregated(Case):
    """MMDAgg: Gaussian and Laplace kernels, ten given bandwidths each; `resamples` twice over."""

    resamples: int
    method: Literal["permutation", "wild_bootstrap"]
    seed: int = 7

    family = "permutation"
    task = "aggregated"
    contenders = ("pairtile", "numpy")
    tolerances: ClassVar = {"statistics": 1e-6}  # means of values rounded at 2⁻²²

    @property
    def title(self) -> str:
        name = self.method.replace("_", " ")
        return f"{super().title}, MMDAgg with 20 kernels, {self.resamples} resamples, {name}"

    @property
    def bandwidths(self) -> list[float]:
        return [float(b) for b in np.geomspace(0.5, 2, 10) * np.sqrt(2 * self.d)]

    @property
    def flops(self) -> float:
        """Count the distances, and for each kernel and resample one multiply-add per pair.

        The wild bootstrap has pairs (x_i, y_i) in place of rows.
        """
        resampled = pairs(self.n, self.m) if self.method == "permutation" else self.n**2 / 2
        return 2 * (self.d * pairs(self.n, self.m) + 20 * 2 * self.resamples * resampled)

    def reference(self, arrays: Arrays) -> Arrays:
        pooled = np.concatenate([arrays["x"], arrays["y"]])
        n, m = self.n, self.m
        means = np.zeros((20, 3))
        for first, block in squared_distances(pooled, pooled):
            rows = np.arange(first, first + len(block))
            for q, kernel in enumerate(self.kernels(block)):
                kernel[rows - first, rows] = 0
                if self.method == "wild_bootstrap":
                    kernel[rows - first, (rows + n) % (2 * n)] = 0
                for part, (a, b) in enumerate([(0, 0), (1, 1), (0, 1)]):
                    of_a = (rows >= n) == a
                    means[q, part] += kernel[of_a, : n if b == 0 else None][:, n * b :].sum()
        between = n * (n - 1) if self.method == "wild_bootstrap" else n * m
        sizes = np.array([n * (n - 1), m * (m - 1), between])
        return {"value": means / sizes @ [1, 1, -2]}

    def kernels(self, squares: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Yield the values of every kernel from squared distances."""
        for bandwidth in self.bandwidths:
            yield np.exp(squares / -(bandwidth**2))
        distances = np.sqrt(squares)
        for bandwidth in self.bandwidths:
            yield np.exp(distances / -bandwidth)

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        exact = reference["value"]
        return {"statistics": float(np.max(np.abs(result - exact)) / np.max(np.abs(exact)))}


@dataclass(frozen=True)
class Energy(Case):
    """The energy distance 2E‖X−Y‖ − E‖X−X'‖ − E‖Y−Y'‖."""

    family = "energy"
    task = "energy"
    contenders = ("pairtile", "torch", "scipy", "dcor", "pairtile_float64")
    tolerances: ClassVar = {
        "relative": 1e-3
    }  # of the statistic: three means near √(2d) cancel in it

    @property
    def flops(self) -> float:
        return 2 * self.d * pairs(self.n, self.m)

    def reference(self, arrays: Arrays) -> Arrays:
        def mean(a: NDArray[Any], b: NDArray[Any]) -> float:
            total = sum(np.sqrt(s, out=s).sum() for _, s in squared_distances(a, b))
            return float(total) / (len(a) * len(b))

        x, y = arrays["x"], arrays["y"]
        return {"value": np.asarray(2 * mean(x, y) - mean(x, x) - mean(y, y))}


@dataclass(frozen=True)
class Clip(Case):
    """The symmetric contrastive loss of CLIP with its gradients; rows normalised beforehand."""

    logit_scale: float = 1 / 0.07

    family = "contrastive"
    task = "contrastive"
    contenders = ("pairtile", "torch")
    tolerances: ClassVar = {"loss": 2e-6, "gradient": 5e-6}

    @property
    def title(self) -> str:
        return f"{self.family}: CLIP loss and gradient, {self.n} pairs, d={self.d}, float32"

    @property
    def flops(self) -> float:
        """Count three products: the logits once and each gradient once."""
        return 3 * 2.0 * self.n * self.m * self.d

    def make(self) -> Arrays:
        rng = np.random.default_rng(SEED)
        x = rng.standard_normal((self.n, self.d), dtype=np.float32)
        y = x + rng.standard_normal((self.m, self.d), dtype=np.float32) * np.float32(2)
        return {
            name: a / np.linalg.norm(a, axis=1, keepdims=True) for name, a in (("x", x), ("y", y))
        }

    def reference(self, arrays: Arrays) -> Arrays:
        """Compute the loss over all pairs, and the gradients at some rows of x and of y."""
        x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
        scale, n = self.logit_scale, self.n
        by_row, by_column = np.empty(n), np.zeros(n)
        for first in range(0, n, BLOCK):
            # Logits of unit rows lie within ±scale, far inside the range of exp in float64.
            block = np.exp(scale * (x[first : first + BLOCK] @ y.T))
            by_row[first : first + BLOCK] = block.sum(axis=1)
            by_column += block.sum(axis=0)
        matching = scale * np.einsum("ij,ij->i", x, y)
        loss = np.mean((np.log(by_row) + np.log(by_column)) / 2 - matching)

        rows = np.linspace(0, n - 1, min(JUDGED, n)).astype(np.int64)

        def gradient(
            a: NDArray[Any], b: NDArray[Any], a_sums: NDArray[Any], b_sums: NDArray[Any]
        ) -> NDArray[Any]:
            weights = np.exp(scale * (a[rows] @ b.T)) * (1 / a_sums[rows, None] + 1 / b_sums) / 2
            weights[np.arange(len(rows)), rows] -= 1
            return np.asarray(weights @ b * (scale / n))

        return {
            "rows": rows,
            "loss": np.asarray(loss),
            "grad_x": gradient(x, y, by_row, by_column),
            "grad_y": gradient(y, x, by_column, by_row),
        }

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        loss, *gradients = result
        rows, value = reference["rows"], float(reference["loss"])
        worst = 0.0
        for computed, exact in zip(
            gradients, (reference["grad_x"], reference["grad_y"]), strict=True
        ):
            worst = max(
                worst, float(np.max(np.abs(computed[rows] - exact)) / np.max(np.abs(exact)))
            )
        return {"loss": abs(loss - value) / abs(value), "gradient": worst}


@dataclass(frozen=True)
class LargeClip(Clip):
    """The sizes at which the matrix of logits alone takes gigabytes; minutes per call."""

    large = True


@dataclass(frozen=True)
class SigLip(Clip):
    """The sigmoid loss with its gradients: no row waits for the sum of another."""

    logit_scale: float = 10.0
    bias: float = -10.0

    task = "siglip"

    @property
    def title(self) -> str:
        return f"{self.family}: SigLIP loss and gradient, {self.n} pairs, d={self.d}, float32"

    def reference(self, arrays: Arrays) -> Arrays:
        x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
        loss = 0.0
        for first in range(0, self.n, BLOCK):
            scores = self.logit_scale * (x[first : first + BLOCK] @ y.T) + self.bias
            own = np.arange(len(scores)), np.arange(self.n)[first : first + BLOCK]
            scores[own] *= -1
            loss += float(np.logaddexp(0, scores).sum()) / self.n
        rows = np.linspace(0, self.n - 1, min(JUDGED, self.n)).astype(np.int64)

        def gradient(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
            weights = 1 / (1 + np.exp(-self.logit_scale * (a[rows] @ b.T) - self.bias))
            weights[np.arange(len(rows)), rows] -= 1
            return np.asarray(weights @ b * (self.logit_scale / self.n))

        return {
            "rows": rows,
            "loss": np.asarray(loss),
            "grad_x": gradient(x, y),
            "grad_y": gradient(y, x),
        }


@dataclass(frozen=True)
class SupCon(Case):
    """The supervised contrastive loss of `n` rows in classes of one size, with its gradient."""

    classes: int
    temperature: float = 0.1

    family = "contrastive"
    task = "supcon"
    contenders = ("pairtile", "torch")
    tolerances: ClassVar = {"loss": 2e-6, "gradient": 5e-6}

    @property
    def title(self) -> str:
        return (
            f"{self.family}: SupCon loss and gradient, {self.n} rows in {self.classes} classes, "
            f"d={self.d}, float32"
        )

    @property
    def flops(self) -> float:
        """Count the products of each pair once, and each pair's share of two gradients."""
        return 3.0 * self.n * self.n * self.d

    def make(self) -> Arrays:
        rng = np.random.default_rng(SEED)
        labels = rng.permutation(np.arange(self.n) % min(self.classes, self.n // 4))
        x = rng.standard_normal((self.n, self.d), dtype=np.float32)
        x += 0.3 * rng.standard_normal((self.n, self.d), dtype=np.float32)[labels]
        return {"x": x / np.linalg.norm(x, axis=1, keepdims=True), "labels": labels}

    def reference(self, arrays: Arrays) -> Arrays:
        x, labels = arrays["x"].astype(np.float64), arrays["labels"]
        losses, gradient = np.empty(self.n), np.zeros(x.shape)
        for first in range(0, self.n, BLOCK):
            rows = np.arange(first, min(first + BLOCK, self.n))
            scores = x[rows] @ x.T / self.temperature
            scores[rows - first, rows] = -np.inf
            alike = labels[rows, None] == labels
            alike[rows - first, rows] = False
            top = scores.max(axis=1, keepdims=True)
            weights = np.exp(scores - top)
            sums = weights.sum(axis=1, keepdims=True)
            counts = alike.sum(axis=1, keepdims=True)
            means = np.where(alike, scores, 0).sum(axis=1) / counts[:, 0]
            losses[rows] = top[:, 0] + np.log(sums[:, 0]) - means
            weights = (weights / sums - alike / counts) / (self.n * self.temperature)
            gradient[rows] += weights @ x
            gradient += weights.T @ x[rows]
        return {"loss": np.asarray(losses.mean()), "gradient": gradient}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        return _loss_and_gradient(result, reference)


@dataclass(frozen=True)
class Triplet(Case):
    """The batch-hard triplet loss with its gradient, of `n` rows in classes of one size."""

    classes: int
    margin: float = 5.0  # of distances near 20

    family = "contrastive"
    task = "triplet"
    contenders = ("pairtile", "pml")
    tolerances: ClassVar = {"loss": 1e-6, "gradient": 1e-5}

    @property
    def title(self) -> str:
        return (
            f"{self.family}: batch-hard triplet loss and gradient, {self.n} rows in "
            f"{self.classes} classes, d={self.d}, float32"
        )

    @property
    def flops(self) -> float:
        """Count the distance of each pair of rows once."""
        return float(self.n) * self.n * self.d

    def make(self) -> Arrays:
        rng = np.random.default_rng(SEED)
        # of a trial size fewer, so that each class has rows enough
        classes = min(self.classes, self.n // 4)
        labels = rng.permutation(np.arange(self.n) % classes)
        centres = rng.standard_normal((classes, self.d), dtype=np.float32)
        x = centres[labels] + rng.standard_normal((self.n, self.d), dtype=np.float32)
        return {"x": x, "labels": labels}

    def reference(self, arrays: Arrays) -> Arrays:
        x, labels = arrays["x"].astype(np.float64), arrays["labels"]
        near, far, positive, negative = (np.empty(self.n) for _ in range(4))
        for first, block in squared_distances(arrays["x"], arrays["x"]):
            rows = np.arange(first, first + len(block))
            alike = labels[rows, None] == labels
            others = np.where(alike, np.inf, block)
            block[~alike] = -np.inf
            block[rows - first, rows] = -np.inf
            positive[rows], negative[rows] = block.argmax(axis=1), others.argmin(axis=1)
            near[rows], far[rows] = np.sqrt(block.max(axis=1)), np.sqrt(others.min(axis=1))
        losses = np.maximum(near - far + self.margin, 0)
        anchors, weights = np.arange(self.n), (losses > 0) / self.n
        gradient = np.zeros(x.shape)
        for other, weight in ((positive, weights / near), (negative, -weights / far)):
            chosen = other.astype(np.int64)
            pull = weight[:, None] * (x - x[chosen])
            np.add.at(gradient, anchors, pull)
            np.add.at(gradient, chosen, -pull)
        return {"loss": np.asarray(losses.mean()), "gradient": gradient}

    def errors(self, result: Any, reference: Arrays) -> dict[str, float]:
        return _loss_and_gradient(result, reference)


def _loss_and_gradient(result: Any, reference: Arrays) -> dict[str, float]:
    loss, gradient = result
    value, exact = float(reference["loss"]), reference["gradient"]
    return {
        "loss": abs(loss - value) / abs(value),
        "gradient": float(np.max(np.abs(gradient - exact)) / np.max(np.abs(exact))),
    }


CASES: tuple[Case, ...] = (
    *NEIGHBOR_CASES,
    Mmd(10_000, 10_000, 64),
    Mmd(10_000, 10_000, 16),
    Mmd(10_000, 10_000, 768),
    Median(10_000, 10_000, 64),
    Permutation(2_000, 2_000, 64, permutations=100),
    ManyPermutations(2_000, 2_000, 64, permutations=1_000),
    Aggregated(2_000, 2_000, 64, resamples=2_000, method="permutation"),
    Aggregated(2_000, 2_000, 64, resamples=2_000, method="wild_bootstrap"),
    Energy(10_000, 10_000, 64),
    *SLICED_CASES,
    *(Clip(n, n, 512) for n in (1_024, 2_048, 4_096, 8_192, 16_384)),
    Clip(8_192, 8_192, 64),
    SigLip(8_192, 8_192, 512),
    SupCon(8_192, 8_192, 128, classes=100),
    Triplet(8_192, 8_192, 128, classes=100),
    *(LargeClip(n, n, 512) for n in (32_768, 65_536)),
)
FAMILIES = tuple(dict.fromkeys(case.family for case in CASES))
