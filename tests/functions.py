"""Every public function that computes, called with two sets, and how it names them.

New ones belong in `FUNCTIONS`: tests of what is taken and refused run through it.
"""

import numpy as np

import pairtile as pt


def rows_of(b):
    """Rows of whatever a test passes, be it good or bad."""
    return len(b) if isinstance(b, (list, tuple)) else (*getattr(b, "shape", ()), 1)[0]


def guide(rows):
    """What another model makes of rows."""
    return np.random.default_rng(rows).normal(size=(rows, 3))


def flattened(found):
    return [found.keep, found.group, *found.pairs]


G = pt.Gaussian(3.0)
NEAR = {"threshold": 9.0, "metric": "euclidean"}
FUNCTIONS = {
    "knn": (lambda a, b, **o: pt.knn(a, b, 2, **o), "queries", "reference"),
    "kth_distance": (lambda a, b, **o: pt.kth_distance(a, b, (2, 1), **o), "x", "reference"),
    "radius_count": (lambda a, b, **o: pt.radius_count(a, b, 8.0, **o), "queries", "reference"),
    "radius_neighbors": (
        lambda a, b, **o: pt.radius_neighbors(a, b, 8.0, **o),
        "queries",
        "reference",
    ),
    "near_duplicates": (
        lambda a, b, **o: pt.near_duplicates(a, b, **NEAR, **o),
        "x",
        "y",
    ),
    "deduplicate": (
        lambda a, b, **o: [
            part
            for s in (a, b)
            for keep in ("first", "medoid")
            for part in flattened(pt.deduplicate(s, keep=keep, **NEAR, **o))
        ],
        "x",
        "x",
    ),
    "max_similarity": (
        lambda a, b, **o: pt.max_similarity(a, b, metric="l2", **o),
        "x",
        "reference",
    ),
    "top_pairs": (
        lambda a, b, **o: [part for s in (a, b) for part in pt.top_pairs(s, 1, metric="l2", **o)],
        "x",
        "x",
    ),
    "precision_recall_density_coverage": (
        lambda a, b, **o: pt.precision_recall_density_coverage(a, b, k=1, **o),
        "real",
        "fake",
    ),
    "realism": (lambda a, b, **o: pt.realism(a, b, k=1, **o), "real", "fake"),
    "probabilistic_precision_recall": (
        lambda a, b, **o: pt.probabilistic_precision_recall(a, b, k=1, **o),
        "real",
        "fake",
    ),
    "authenticity": (lambda a, b, **o: pt.authenticity(a, b, **o), "real", "fake"),
    "distance_to_closest_record": (
        lambda a, b, **o: pt.distance_to_closest_record(a, b, **o),
        "x",
        "reference",
    ),
    "closest_record_test": (
        lambda a, b, **o: pt.closest_record_test(a, b, b, rng=0, **o),
        "train",
        "holdout",
    ),
    "closest_record_test of": (
        lambda a, b, **o: pt.closest_record_test(b, b, a, rng=0, **o),
        "synthetic",
        "train",
    ),
    "pairwise_distances": (lambda a, b, **o: pt.pairwise_distances(a, b, **o), "x", "y"),
    "median_distance": (lambda a, b, **o: pt.median_distance(a, b, **o), "x", "y"),
    "kernel_sum": (lambda a, b, **o: pt.kernel_sum(a, b, kernel=G, **o), "x", "y"),
    "kernel_matvec": (
        lambda a, b, **o: pt.kernel_matvec(a, b, np.ones((rows_of(b), 2)), kernel=G, **o),
        "x",
        "y",
    ),
    "kernel_logsumexp": (lambda a, b, **o: pt.kernel_logsumexp(a, b, kernel=G, **o), "x", "y"),
    "kernel_stein_discrepancy": (
        lambda a, b, **o: pt.kernel_stein_discrepancy(a, b, kernel=G, **o),
        "x",
        "scores",
    ),
    "stein_test": (
        lambda a, b, **o: pt.stein_test(a, b, kernel=G, n_bootstrap=9, rng=0, **o),
        "x",
        "scores",
    ),
    "witness at": (lambda a, b, **o: pt.witness(a, b, b, kernel=G, **o), "z", "x"),
    "witness of": (lambda a, b, **o: pt.witness(b, a, b, kernel=G, **o), "x", "z"),
    "witness to": (lambda a, b, **o: pt.witness(b, b, a, kernel=G, **o), "y", "z"),
    "mmd": (lambda a, b, **o: pt.mmd(a, b, kernel=G, **o), "x", "y"),
    "mmd gradient": (
        lambda a, b, **o: pt.mmd(a, b, kernel=G, return_gradient=True, **o)[:2],
        "x",
        "y",
    ),
    "mmd_power": (lambda a, b, **o: pt.mmd_power(a, b, kernel=G, **o)[:2], "x", "y"),
    "kid": (
        lambda a, b, **o: pt.kid(a, b, subsets=2, subset_size=3, rng=0, **o),
        "real",
        "fake",
    ),
    "energy_distance": (lambda a, b, **o: pt.energy_distance(a, b, **o), "x", "y"),
    "mmd_test": (
        lambda a, b, **o: pt.mmd_test(a, b, kernel=G, n_permutations=9, rng=0, **o),
        "x",
        "y",
    ),
    "mmd_test of blocks": (
        lambda a, b, **o: pt.mmd_test(a, b, kernel=G, estimator="block", block_size=3, **o)[:2],
        "x",
        "y",
    ),
    "energy_test": (
        lambda a, b, **o: pt.energy_test(a, b, n_permutations=9, rng=0, **o),
        "x",
        "y",
    ),
    "mmd_aggregated_test": (
        lambda a, b, **o: pt.mmd_aggregated_test(
            a, b, kernels=[G, "laplace"], bandwidths=2, n_permutations=9, rng=0, **o
        ),
        "x",
        "y",
    ),
    "disco_test": (
        lambda a, b, **o: pt.disco_test([a, b], n_permutations=9, rng=0, **o),
        "samples[0]",
        "samples[1]",
    ),
    "distance_covariance": (lambda a, b, **o: pt.distance_covariance(a, b, **o), "x", "y"),
    "distance_correlation": (lambda a, b, **o: pt.distance_correlation(a, b, **o), "x", "y"),
    "hsic": (lambda a, b, **o: pt.hsic(a, b, x_kernel=G, y_kernel=G, **o), "x", "y"),
    "cka": (lambda a, b, **o: pt.cka(a, b, **o), "x", "y"),
    "independence_test": (
        lambda a, b, **o: pt.independence_test(a, b, n_permutations=9, rng=0, **o),
        "x",
        "y",
    ),
    "cauchy_schwarz_divergence": (
        lambda a, b, **o: pt.cauchy_schwarz_divergence(a, b, kernel=G, **o),
        "x",
        "y",
    ),
    "sliced_test": (
        lambda a, b, **o: pt.sliced_test(a, b, n_projections=5, n_permutations=9, rng=0, **o),
        "x",
        "y",
    ),
    "wasserstein_1d": (lambda a, b, **o: pt.wasserstein_1d(a, b, **o), "x", "y"),
    "column_statistics": (lambda a, b, **o: pt.column_statistics(a, b, **o)[1:], "x", "y"),
    "partial_wasserstein_1d": (
        lambda a, b, **o: pt.partial_wasserstein_1d(a, b, 0.55, p=2, **o),
        "x",
        "y",
    ),
    "sliced_wasserstein": (
        lambda a, b, **o: pt.sliced_wasserstein(
            a, b, n_projections=5, rng=0, return_gradient=True, **o
        ),
        "x",
        "y",
    ),
    "sliced_energy": (
        lambda a, b, **o: pt.sliced_energy(a, b, n_projections=5, rng=0, return_gradient=True, **o),
        "x",
        "y",
    ),
    "max_sliced_wasserstein": (
        lambda a, b, **o: pt.max_sliced_wasserstein(a, b, rng=0, **o).value,
        "x",
        "y",
    ),
    "min_sliced_plan": (
        lambda a, b, **o: pt.min_sliced_plan(a, b, n_projections=5, rng=0, **o),
        "x",
        "y",
    ),
    "expected_sliced_plan": (
        lambda a, b, **o: pt.expected_sliced_plan(a, b, n_projections=5, rng=0, **o),
        "x",
        "y",
    ),
    "info_nce": (
        lambda a, b, **o: pt.info_nce(a, b, temperature=30.0, grad=True, **o),
        "x",
        "y",
    ),
    "clip_loss": (
        lambda a, b, **o: pt.clip_loss(a, b, logit_scale=0.03, normalize=True, grad=True, **o),
        "x",
        "y",
    ),
    "gist_loss": (
        lambda a, b, **o: pt.gist_loss(
            a,
            b,
            x_guide=guide(rows_of(a)),
            y_guide=guide(rows_of(b)),
            temperature=30.0,
            grad=True,
            **o,
        ),
        "x",
        "y",
    ),
    "siglip_loss": (
        lambda a, b, **o: pt.siglip_loss(a, b, logit_scale=0.03, bias=-0.5, grad=True, **o),
        "x",
        "y",
    ),
    "retrieval_metrics": (
        lambda a, b, **o: [
            number
            for part in pt.retrieval_metrics(a, b, k=(1, 3), targets=[0] * rows_of(a), **o)
            for number in (part.values() if isinstance(part, dict) else part)
        ],
        "x",
        "y",
    ),
    "similarity_histogram": (
        lambda a, b, **o: [
            pt.similarity_histogram(s, np.arange(rows_of(s)) // 4, bins=9, **o) for s in (a, b)
        ],
        "x",
        "x",
    ),
    "triplet_loss": (
        lambda a, b, **o: [
            pt.triplet_loss(s, np.arange(rows_of(s)) // 4, margin=20.0, grad=True, **o)
            for s in (a, b)
        ],
        "x",
        "x",
    ),
    "supcon_loss": (
        lambda a, b, **o: pt.supcon_loss(
            a,
            np.arange(rows_of(a)) // 2,
            bank=b,
            bank_labels=np.arange(rows_of(b)) // 2,
            temperature=30.0,
            grad=True,
            **o,
        ),
        "x",
        "bank",
    ),
    "nt_xent_loss": (
        lambda a, b, **o: pt.nt_xent_loss(a, b, temperature=30.0, grad=True, **o),
        "x",
        "y",
    ),
    "circle_loss": (
        lambda a, b, **o: [
            pt.circle_loss(s, np.arange(rows_of(s)) // 2, gamma=2.0, normalize=True, grad=True, **o)
            for s in (a, b)
        ],
        "x",
        "x",
    ),
    "multi_similarity_loss": (
        lambda a, b, **o: [
            pt.multi_similarity_loss(
                s, np.arange(rows_of(s)) // 2, beta=2.0, normalize=True, grad=True, **o
            )
            for s in (a, b)
        ],
        "x",
        "x",
    ),
    "alignment": (lambda a, b, **o: pt.alignment(a, b, grad=True, **o), "x", "y"),
    "uniformity": (
        lambda a, b, **o: [pt.uniformity(s, t=0.01, grad=True, **o) for s in (a, b)],
        "x",
        "x",
    ),
}
# The rest of the sweep keywords, where a function has them.
PRECISE = {
    "knn",
    "kth_distance",
    "kernel_sum",
    "kernel_matvec",
    "kernel_logsumexp",
    "witness at",
    "mmd",
    "mmd_power",
    "energy_distance",
}
# Rows of x and y are paired, and may have different features.
PAIRED = {
    "distance_covariance",
    "distance_correlation",
    "hsic",
    "cka",
    "independence_test",
}
# Statistics of samples, to which 1-D is one feature.
SAMPLES = PAIRED | {
    "median_distance",
    "witness at",
    "witness of",
    "witness to",
    "mmd",
    "mmd gradient",
    "mmd_power",
    "mmd_test",
    "mmd_test of blocks",
    "mmd_aggregated_test",
    "energy_distance",
    "energy_test",
    "disco_test",
    "kid",
    "cauchy_schwarz_divergence",
    "kernel_stein_discrepancy",
    "stein_test",
    "wasserstein_1d",
    "column_statistics",
    "partial_wasserstein_1d",
    "sliced_wasserstein",
    "sliced_energy",
    "sliced_test",
    "max_sliced_wasserstein",
    "min_sliced_plan",
    "expected_sliced_plan",
}
# Called for one set after the other.
SINGLE = {
    "circle_loss",
    "deduplicate",
    "multi_similarity_loss",
    "similarity_histogram",
    "top_pairs",
    "triplet_loss",
    "uniformity",
}
# These need more than one row.
LEAST_ROWS = {
    "knn": 2,
    "kth_distance": 2,
    "top_pairs": 2,
    "precision_recall_density_coverage": 2,
    "realism": 2,
    "probabilistic_precision_recall": 2,
    "authenticity": 2,
    "mmd": 2,
    "mmd gradient": 2,
    "mmd_power": 4,
    "mmd_test": 2,
    "mmd_test of blocks": 6,
    "mmd_aggregated_test": 2,
    "disco_test": 2,
    "kid": 3,
    "kernel_stein_discrepancy": 2,
    "stein_test": 2,
    "uniformity": 2,
}

RNG = np.random.default_rng(0)
# Integers of one byte, so that every dtype holds the same numbers.
A = RNG.integers(0, 11, size=(12, 6)).astype(np.float64)
B = RNG.integers(0, 11, size=(12, 6)).astype(np.float64)


def parts(result):
    """Arrays and numbers of any result, None and kernels left out."""
    if isinstance(result, pt.ContrastiveResult):
        result = tuple(vars(result).values())
    if isinstance(result, (tuple, list)):
        return [part for each in result for part in parts(each)]
    return [] if result is None or isinstance(result, pt.Kernel) else [np.asarray(result)]


def assert_same_bits(result, right):
    for a, b in zip(parts(result), parts(right), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
