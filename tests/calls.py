"""One call of each public function that computes, by name: what tests of the engine run through."""

import numpy as np
import pyarrow as pa

import pairtile as pt
from metrics import METRICS, named

RNG = np.random.default_rng(0)
X = RNG.normal(size=(230, 19)).astype(np.float32)
Y = (RNG.normal(size=(290, 19)) + 0.2).astype(np.float32)
Y64 = Y.astype(np.float64)
V = RNG.random(len(X))
W = RNG.random(len(Y))
U = RNG.normal(size=len(X))
LABELS = np.arange(len(X)) % 7
WEIGHTS = {"x_weights": V, "y_weights": W}
SPHERE_X, SPHERE_Y = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in (X, Y))
OF_X, OF_Y = np.arange(len(X)) % 17, np.arange(len(Y)) % 20  # labels
# of positives, compressed: three of each row
SPARSE = 3 * np.arange(len(X) + 1), np.arange(3 * len(X)) % len(Y), np.tile([1.0, 2.0, 5.0], len(X))
ALL_KERNELS = (
    pt.Gaussian(5.0)
    + pt.Laplace(5.0)
    + pt.Laplace(20.0, norm="l1")
    + pt.RationalQuadratic(3.0)
    + pt.InverseMultiquadric(3.0)
    + pt.Cauchy(4.0)
    + pt.Matern(5.0)
    + pt.Matern(5.0, nu=2.5)
    + pt.Polynomial()
    + pt.Linear()
    + pt.Cosine()
    + pt.Energy(1.5)
)

SUM_BOUND = 1e-5  # of values, nulls and gradients here, in units of the largest

# Decided by the order of canonical values: the same bits on every tile size and instruction set.
ORDERED = {
    **{
        f"knn {metric}": lambda w, metric=metric: pt.knn(X, Y, 12, **named(metric, X), workers=w)
        for metric in METRICS
    },
    "knn self": lambda w: pt.knn(X, k=3, workers=w),
    "knn float64": lambda w: pt.knn(X, Y64, 3, precision="float64", workers=w),
    "knn long": lambda w: pt.knn(X, Y, 200, workers=w),
    "knn predicates": lambda w: pt.knn(
        Y, k=5, query_groups=np.arange(len(Y)) % 5, group_rule="different", workers=w
    ),
    "kth_distance": lambda w: (pt.kth_distance(X, Y, (20, 3), workers=w),),
    "radius_count": lambda w: (
        pt.radius_count(X, Y, 6.0 + 0.01 * W, radius_of="reference", workers=w),
        pt.radius_count(X, radius=5.0, metric="manhattan", workers=w),
    ),
    "radius_neighbors": lambda w: pt.radius_neighbors(X, Y64, 5.5 + V, workers=w),
    "radius_neighbors mahalanobis": lambda w: pt.radius_neighbors(
        X, Y, 5.0, **named("mahalanobis", X), workers=w
    ),
    "radius_neighbors minkowski": lambda w: pt.radius_neighbors(
        X, Y, 3.0, metric="minkowski", metric_params={"p": 2.3}, workers=w
    ),
    "radius_neighbors self": lambda w: pt.radius_neighbors(X, radius=5.5 + V, workers=w),
    "near_duplicates": lambda w: pt.near_duplicates(X, threshold=0.2, workers=w),
    "near_duplicates two": lambda w: pt.near_duplicates(
        X, Y64, threshold=5.5, metric="euclidean", workers=w
    ),
    "deduplicate": lambda w: deduplicated(w, keep="first"),
    "deduplicate medoid": lambda w: deduplicated(w, keep="medoid"),
    "deduplicate scores": lambda w: deduplicated(w, keep=V),
    "max_similarity": lambda w: pt.max_similarity(X, Y, workers=w),
    "max_similarity earlier": lambda w: pt.max_similarity(Y, earlier_only=True, workers=w),
    "top_pairs": lambda w: pt.top_pairs(Y, 400, metric="manhattan", workers=w),
    "precision_recall_density_coverage": lambda w: pt.precision_recall_density_coverage(
        X, Y, workers=w
    ),
    "realism": lambda w: (pt.realism(X, Y, workers=w),),
    "authenticity": lambda w: (pt.authenticity(X, Y, workers=w),),
    "distance_to_closest_record": lambda w: pt.distance_to_closest_record(X, Y, workers=w),
    "closest_record_test": lambda w: pt.closest_record_test(X[:100], X[100:], Y, rng=1, workers=w),
    "pairwise_distances": lambda w: (pt.pairwise_distances(X, Y, workers=w),),
    "triplet_loss": lambda w: fields(
        pt.triplet_loss(X, LABELS, margin=2.0, weights=V, grad=True, workers=w)
    ),
    "triplet_loss semi_hard": lambda w: fields(
        pt.triplet_loss(
            Y64[: len(X)],
            LABELS,
            mining="semi_hard",
            metric="cosine",
            soft=True,
            grad=True,
            workers=w,
        )
    ),
    "similarity_histogram": lambda w: pt.similarity_histogram(Y64[: len(X)], LABELS, workers=w),
    "retrieval_metrics": lambda w: (
        *pt.retrieval_metrics(X, Y, targets=LABELS, workers=w)[1:],
        *pt.retrieval_metrics(X, Y64, normalize=True, workers=w).recall.values(),
    ),
    "NeighborIndex": lambda w: pt.NeighborIndex(Y).knn(X, 5, workers=w),
    "median_distance": lambda w: (pt.median_distance(X, Y, workers=w),),
    "median_distance squared": lambda w: (
        pt.median_distance(Y64, squared=True, quantile=0.9, workers=w),
    ),
}

# Sums of floats: the same bits on any number of workers, within `SUM_BOUND` on other tiles.
SUMS = {
    "mmd": lambda w: (pt.mmd(X, Y, workers=w),),
    "mmd all kernels": lambda w: (pt.mmd(X, Y, kernel=ALL_KERNELS, estimator="biased", workers=w),),
    "mmd weights": lambda w: (pt.mmd(X, Y, kernel="laplace", **WEIGHTS, workers=w),),
    "mmd float64": lambda w: (pt.mmd(X, Y, precision="float64", workers=w),),
    "energy_distance": lambda w: (pt.energy_distance(X, Y64, workers=w),),
    "kernel_sum": lambda w: (
        pt.kernel_sum(X, kernel=pt.Gaussian(4.0), x_weights=U, workers=w),
        pt.kernel_sum(X, Y, kernel=pt.Matern(4.0), **WEIGHTS, workers=w),
    ),
    "probabilistic_precision_recall": lambda w: pt.probabilistic_precision_recall(
        X, Y64, workers=w
    ),
    "kernel_matvec": lambda w: (
        pt.kernel_matvec(X, Y, np.stack([W, W**2], axis=1), kernel=ALL_KERNELS, workers=w),
        pt.kernel_matvec(X, Y64, W, kernel=pt.Gaussian(4.0), workers=w),
    ),
    "kernel_logsumexp": lambda w: (
        pt.kernel_logsumexp(X, Y, kernel=pt.Matern(2.0), log_weights=W, workers=w),
        pt.kernel_logsumexp(X, kernel=pt.Gaussian(4.0), exclude_diagonal=True, workers=w),
    ),
    "mmd gradient": lambda w: pt.mmd(
        X, Y, kernel=ALL_KERNELS, **WEIGHTS, return_gradient=True, workers=w
    ),
    "energy_distance gradient": lambda w: pt.energy_distance(
        X, Y64, return_gradient=True, workers=w
    ),
    "mmd block": lambda w: (
        pt.mmd(X, Y[: len(X)], estimator="linear", workers=w),
        pt.mmd(X, Y[: len(X)], estimator="block", block_size=20, workers=w),
    ),
    "mmd_power": lambda w: pt.mmd_power(X, Y[: len(X)], kernel=pt.Gaussian(4.0), workers=w)[:2],
    "kid": lambda w: pt.kid(X, Y, subsets=7, subset_size=50, rng=1, workers=w),
    "mmd_aggregated_test": lambda w: pt.mmd_aggregated_test(
        X, Y, n_permutations=19, rng=1, workers=w
    )[:2],
    "disco_test": lambda w: pt.disco_test([X, Y], n_permutations=9, rng=1, workers=w)[:2],
    "cauchy_schwarz_divergence": lambda w: (
        pt.cauchy_schwarz_divergence(X, Y, kernel=pt.Gaussian(4.0), workers=w),
    ),
    "kernel_stein_discrepancy": lambda w: (
        pt.kernel_stein_discrepancy(X, -X, kernel=pt.Matern(4.0, nu=2.5), workers=w),
    ),
    "stein_test": lambda w: pt.stein_test(X, -X, n_bootstrap=19, rng=1, workers=w)[:2],
    "distance_covariance": lambda w: (pt.distance_covariance(X, Y[: len(X)], workers=w),),
    "cka": lambda w: (pt.cka(X, Y[: len(X)], workers=w),),
    "witness": lambda w: (pt.witness(X, X, Y, workers=w),),
    "mmd_test": lambda w: pt.mmd_test(X, Y, n_permutations=70, rng=1, workers=w),
    "energy_test": lambda w: pt.energy_test(X, Y, n_permutations=9, rng=1, workers=w),
    "drift": lambda w: (pt.drift(X, Y, n_permutations=99, rng=1, workers=w).test.statistic,),
    "drift_over_time": lambda w: [
        period.statistic
        for period in pt.drift_over_time(
            table(X[:, :3]),
            table(Y[:, :3], period=OF_Y % 3),
            "period",
            n_permutations=99,
            rng=1,
            workers=w,
        ).periods
    ],
    "sliced_test": lambda w: pt.sliced_test(
        X, Y, n_projections=9, n_permutations=9, rng=1, workers=w
    ),
    "sliced_test max": lambda w: pt.sliced_test(
        X, Y64, statistic="max", n_projections=9, n_permutations=9, rng=1, workers=w
    ),
    "distance_correlation": lambda w: (
        pt.distance_correlation(X, Y64[: len(X), :3], exponent=0.8, workers=w),
        pt.distance_correlation(X[:, :1], Y64[: len(X), :1], workers=w),
    ),
    "hsic gradient": lambda w: pt.hsic(
        X, Y[: len(X)], y_kernel=ALL_KERNELS, return_gradient=True, workers=w
    ),
    "cka gradient": lambda w: pt.cka(
        X, Y[: len(X)], x_kernel="cosine", return_gradient=True, workers=w
    ),
    "kernel_stein_discrepancy gradient": lambda w: pt.kernel_stein_discrepancy(
        X, -X, kernel=pt.Matern(4.0) + pt.Cauchy(4.0), return_gradient=True, workers=w
    ),
    "hsic": lambda w: (pt.hsic(X, Y[: len(X)], y_kernel=ALL_KERNELS, workers=w),),
    "independence_test": lambda w: pt.independence_test(
        X, Y[: len(X)], n_permutations=9, rng=1, workers=w
    ),
    "independence_test on lines": lambda w: pt.independence_test(
        X[:, :1], Y[: len(X), :1], n_permutations=9, rng=1, workers=w
    ),
    "wasserstein_1d": lambda w: (pt.wasserstein_1d(X, Y, p=2, **WEIGHTS, workers=w),),
    "column_statistics": lambda w: pt.column_statistics(X, Y64, workers=w)[1:],
    "partial_wasserstein_1d": lambda w: (
        pt.partial_wasserstein_1d(X[:, :3], Y64[:, :3], 0.6, p=2, workers=w),
    ),
    "sliced_wasserstein": lambda w: pt.sliced_wasserstein(
        X, Y, n_projections=37, rng=2, full=True, return_gradient=True, workers=w
    ),
    "sliced_wasserstein weights": lambda w: pt.sliced_wasserstein(
        X, Y64, p=1, n_projections=9, rng=2, return_gradient=True, **WEIGHTS, workers=w
    ),
    "sliced_energy": lambda w: pt.sliced_energy(
        X, Y, n_projections=37, rng=2, full=True, return_gradient=True, workers=w
    ),
    "max_sliced_wasserstein": lambda w: pt.max_sliced_wasserstein(  # an ascent magnifies rounding
        X.astype(np.float64), Y64, max_iter=9, rng=2, **WEIGHTS, workers=w
    ),
    "min_sliced_plan": lambda w: pt.min_sliced_plan(
        X, Y, n_projections=37, rng=2, **WEIGHTS, workers=w
    ),
    "expected_sliced_plan": lambda w: pt.expected_sliced_plan(
        X, Y64, p=1, n_projections=37, rng=2, workers=w
    ),
    "sliced_wasserstein_sphere": lambda w: (
        pt.sliced_wasserstein_sphere(SPHERE_X, SPHERE_Y, n_projections=9, rng=2, workers=w),
        pt.sliced_wasserstein_sphere(
            SPHERE_X, SPHERE_Y, n_projections=9, method="linear", rng=2, workers=w
        ),
    ),
    "info_nce": lambda w: fields(pt.info_nce(X, Y, temperature=9.0, grad=True, workers=w)),
    "info_nce float64": lambda w: fields(
        pt.info_nce(X, Y64, logit_scale=0.1, grad=True, grad_rows=U, workers=w)
    ),
    "clip_loss": lambda w: fields(
        pt.clip_loss(X, Y[: len(X)], temperature=0.1, normalize=True, grad=True, workers=w)
    ),
    "siglip_loss": lambda w: fields(
        pt.siglip_loss(X, Y, temperature=4.0, bias=-1.0, grad=True, grad_rows=U, workers=w)
    ),
    "siglip_loss normalized": lambda w: fields(
        pt.siglip_loss(X, Y64, temperature=0.1, bias=-5.0, normalize=True, grad=True, workers=w)
    ),
    "info_nce targets": lambda w: info_nce(w, targets=OF_X - 1, ignore_index=-1),
    "info_nce weights": lambda w: info_nce(w, weights=V, temperature=5 + 5 * V),
    "info_nce groups": lambda w: info_nce(
        w, x_groups=OF_X, y_groups=OF_Y, margin=0.5, label_smoothing=0.1
    ),
    "info_nce positive_weights": lambda w: info_nce(w, positive_weights=SPARSE),
    "info_nce top_negatives": lambda w: info_nce(
        w, x_groups=OF_X, y_groups=OF_Y, top_negatives=9, column_logits=10 * W
    ),
    "info_nce top_negatives normalized": lambda w: info_nce(
        w, temperature=0.1, normalize=True, top_negatives=9, angular_margin=0.3
    ),
    # no pair is near the margin
    "info_nce false_negative_margin": lambda w: info_nce(w, false_negative_margin=4.0),
    "info_nce guide": lambda w: info_nce(w, x_guide=X[:, :5], y_guide=Y[:, :5]),
    "clip_loss guide": lambda w: fields(
        pt.clip_loss(
            X,
            Y,
            temperature=9.0,
            x_guide=X[:, :9],
            y_guide=Y[:, :9],
            guide_margin=0.2,
            grad=True,
            workers=w,
        )
    ),
    "gist_loss": lambda w: fields(
        pt.gist_loss(
            X,
            Y,
            temperature=0.1,
            normalize=True,
            x_guide=X[:, :5],
            y_guide=Y[:, :5],
            guide_margin=0.1,
            guide_margin_strategy="relative",
            weights=V,
            grad=True,
            workers=w,
        )
    ),
    "info_nce tau_plus": lambda w: info_nce(w, tau_plus=0.01, column_logits=W),
    "clip_loss target_offset": lambda w: fields(
        pt.clip_loss(
            X,
            Y,
            target_offset=31,
            temperature=9.0,
            false_negative_margin=4.0,
            label_smoothing=0.1,
            weights=V,
            grad=True,
            workers=w,
        )
    ),
    "clip_loss directions": lambda w: tuple(
        part
        for direction in ("rows", "columns")
        for part in fields(
            pt.clip_loss(X, Y64, direction=direction, temperature=5 + V, grad=True, workers=w)
        )
    ),
    "siglip_loss groups": lambda w: fields(
        pt.siglip_loss(
            X, Y, x_groups=OF_X, y_groups=OF_Y, temperature=4 + V, weights=V, grad=True, workers=w
        )
    ),
    "siglip_loss target_offset": lambda w: fields(
        pt.siglip_loss(X, Y, target_offset=31, temperature=4.0, grad=True, workers=w)
    ),
    "supcon_loss": lambda w: fields(
        pt.supcon_loss(X, OF_X, temperature=0.1, normalize=True, grad=True, workers=w)
    ),
    "supcon_loss bank": lambda w: fields(
        pt.supcon_loss(
            X,
            V,
            bank=Y,
            bank_labels=W,
            label_width=0.1,
            no_positive="drop",
            temperature=5 + V,
            weights=V,
            grad=True,
            workers=w,
        )
    ),
    "nt_xent_loss": lambda w: fields(
        pt.nt_xent_loss(X, Y[: len(X)], temperature=0.1, normalize=True, grad=True, workers=w)
    ),
    "circle_loss": lambda w: fields(
        pt.circle_loss(X, OF_X, gamma=20.0, normalize=True, weights=V, grad=True, workers=w)
    ),
    "multi_similarity_loss": lambda w: tuple(
        part
        for mining in (False, True)  # no pair is near what is mined
        for part in fields(
            pt.multi_similarity_loss(
                X, OF_X, mining=mining, normalize=True, grad=True, grad_rows=U, workers=w
            )
        )
    ),
    "alignment": lambda w: pt.alignment(X, Y[: len(X)], alpha=1.5, grad=True, workers=w),
    "uniformity": lambda w: (
        *pt.uniformity(X, t=0.05, grad=True, workers=w),
        *pt.uniformity(Y64, normalize=True, grad=True, workers=w),
        *pt.uniformity(X, t=100.0, grad=True, workers=w),
    ),
}
CALLS = ORDERED | SUMS

LONG_X, LONG_Y = RNG.normal(size=(2, 5000, 7)).astype(np.float32)
WIDE = RNG.normal(size=(5000, 600)).astype(np.float32)
# Sizes at which blocks are several on both sides, and at which neighbours are screened in bfloat16.
LARGE_ORDERED = {
    "large knn long": lambda w: pt.knn(LONG_X, LONG_Y, 5, workers=w),
    "large knn wide": lambda w: pt.knn(WIDE, k=3, workers=w),
    "large knn of few": lambda w: pt.knn(LONG_X[:2], LONG_Y, 5, workers=w),
    "large knn of bytes": lambda w: pt.knn(np.int8(20 * LONG_X), k=9, workers=w),
    "large radius_neighbors self": lambda w: pt.radius_neighbors(LONG_Y, radius=1.0, workers=w),
    "large max_similarity earlier": lambda w: pt.max_similarity(WIDE, earlier_only=True, workers=w),
    "large near_duplicates": lambda w: pt.near_duplicates(WIDE, threshold=0.13, workers=w),
    "large top_pairs": lambda w: pt.top_pairs(WIDE, 1000, workers=w),
    "large radius_neighbors": lambda w: pt.radius_neighbors(LONG_X, LONG_Y, 1.0, workers=w),
}
LARGE_SUMS = {
    "large mmd": lambda w: (pt.mmd(LONG_X, LONG_Y, workers=w),),
    "large energy_distance": lambda w: (pt.energy_distance(WIDE[:2500], WIDE[2500:], workers=w),),
    "large witness": lambda w: (pt.witness(LONG_X, LONG_X, LONG_Y, kernel="laplace", workers=w),),
    "large mmd_test": lambda w: pt.mmd_test(
        LONG_X[:2000], LONG_Y[:2000], n_permutations=19, rng=0, workers=w
    ),
    "large clip_loss": lambda w: fields(
        pt.clip_loss(LONG_X, LONG_Y, logit_scale=1.0, grad=True, workers=w)
    ),
    "large info_nce of groups": lambda w: fields(
        pt.info_nce(
            LONG_X,
            LONG_Y,
            x_groups=np.arange(5000) // 10,
            label_smoothing=0.1,
            temperature=1.0,
            grad=True,
            workers=w,
        )
    ),
    "large supcon_loss": lambda w: fields(
        pt.supcon_loss(LONG_X, np.arange(5000) // 10, temperature=1.0, grad=True, workers=w)
    ),
    "large sliced_energy": lambda w: pt.sliced_energy(
        LONG_X, LONG_Y, n_projections=64, rng=0, return_gradient=True, workers=w
    ),
}
LARGE = LARGE_ORDERED | LARGE_SUMS


def deduplicated(workers, **options):
    found = pt.deduplicate(X, threshold=0.4, workers=workers, **options)
    return found.keep, found.group, *found.pairs


def info_nce(workers, temperature=9.0, **options):
    return fields(pt.info_nce(X, Y, temperature=temperature, grad=True, workers=workers, **options))


def table(rows, **more):
    return pa.table({**{f"x{j}": column for j, column in enumerate(rows.T)}, **more})


def fields(result):
    return tuple(vars(result).values())


def flat(result):
    """The arrays and numbers of a result, None left out."""
    return [np.asarray(part) for part in result if part is not None]


def assert_same_bits(result, right):
    for a, b in zip(flat(result), flat(right), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def assert_near(result, right):
    for a, b in zip(flat(result), flat(right), strict=True):
        if a.dtype.kind == "U":  # a word, such as the control that was used
            assert a == b
            continue
        scale = max(np.abs(b).max(), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=SUM_BOUND * scale)
