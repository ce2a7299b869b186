"""Where each public function works when its arrays are on a GPU, and how it does there.

The face of each function (`_front/words.hint`) asks for its place when the package is imported: a
function without one is an error, and one that takes no arrays on a GPU refuses them by it. The
table of docs/gpu.md is written from here (`python -m bench.places`).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Where(Enum):
    """What of a call stays on the device that its arrays are on."""

    THERE = "there"  # rows are not fetched
    FETCHED = "there; rows fetched"  # work there, and some with rows on the host
    HOST = "host"  # rows or tables are fetched, and nothing is launched for pairs of them
    REFUSED = "refused"
    ELSEWHERE = ""  # takes no rows


class Place(NamedTuple):
    """One line of the table: functions, and what is said of them."""

    functions: tuple[str, ...]
    where: Where
    how: str = ""
    more: str = ""  # what else the line is of, in words


_SCREENED = (
    "by euclidean, sqeuclidean, cosine, correlation, weuclidean, mahalanobis and inner_product, "
    "whatever k, work enough: screened by tensor cores under a proven bound, decided by canonical "
    "values; otherwise canonical float64 values of all pairs. The same bits as on the CPU, all "
    "metrics and predicates"
)
_COUNTED = (
    "by euclidean, sqeuclidean, cosine, correlation, weuclidean and mahalanobis, work enough: "
    "screened by tensor cores; pairs within the bound of a radius, pairs that are listed, and all "
    "others, by canonical values, compared with the radii as the distances that would be returned. "
    "Lists take one sweep, but for those that hold more than a sixteenth of the pairs, which "
    "ordinary cores compute. The same counts and neighbours as on the CPU"
)
_SUMS = (
    "kernels of squared distances, and sums of up to eight: tensor cores, rows in three parts of "
    "bfloat16, near pairs again in float64 by a proven bound ([numerics](numerics.md)); kernels of "
    "products and of the L1 norm, and rows too long for the bound: direct differences and values "
    'in float32 (float64 as soon as one input is, with `precision="float64"`, or near float32\'s '
    "range); sums in float64"
)
_RELABELLED = (
    "kernel values in float64, of each pair once and of all kernels of one distance from its tile, "
    "rounded to whole numbers of a step 2⁻⁴⁶ of their mean ([numerics](numerics.md)), or as on the "
    "CPU for a wild bootstrap; sums of all relabellings by integer tensor cores, which are exact; "
    "where such numbers do not fit 62 bits, sums in float64. The same p-values; drawing the labels "
    "and comparing the statistics on the host"
)
_SORTED = (
    "projections in float32 (float64 for float64), sorted by CUB's radix sort, merged in integers, "
    "summed in float64; gradients without atomics. In host memory the largest difference "
    "(`p=inf`), distances whose p-th powers leave float64, and gradients by weights"
)
_SOFTMAX = (
    "tensor cores: bfloat16 and float16 as they are, float32 in parts; weights of a block of the "
    "matrix at a time, written once, gradients as two products of them; float64 in float64. With "
    "`targets`, `weights` and `grad_rows` a sweep of their own; with any other option as the line "
    "of `supcon_loss`"
)
_BLOCKS = (
    "blocks of products by tensor cores, or in float64, which stay in the second-level cache; the "
    "loss of each pair and its weight from there, gradients as two products of the weights in two "
    "parts of bfloat16 (one where both sets are halves). Of rows among themselves, in "
    "`supcon_loss` without a bank, `nt_xent_loss`, `circle_loss` and `multi_similarity_loss`, "
    "blocks on and above the diagonal alone, unless each row has a scale of its own. "
    "`top_negatives` by `knn` and pairs that a guide leaves out by `radius_neighbors`, the same "
    "ones as on the CPU; the list of these on the host, then there. States of the three blocks of "
    "`gist_loss`, all of whose pairs are computed, are merged on the host"
)
_TRIPLETS = (
    "farthest positives (a pair is computed once for both of its rows) and nearest negatives (by "
    "`knn` with groups, which screens every pair both ways by tensor cores, for less than what "
    'half of them take in float64; small batches in float64) of `mining="batch_hard"`, canonical '
    "values as on the CPU; semi-hard triplets, losses and gradients on the host"
)
_STEIN = (
    "float64, direct differences; gradients too, which are put together on the host; scores are "
    "fetched for the terms of a row with itself, rows for gradients"
)

PLACES = (
    Place(
        (
            "knn", "kth_distance", "max_similarity", "distance_to_closest_record",
            "closest_record_test", "authenticity",
        ),
        Where.THERE, _SCREENED,
    ),
    Place(
        ("radius_count", "radius_neighbors", "precision_recall_density_coverage"),
        Where.THERE, _COUNTED,
    ),
    Place(
        ("NeighborIndex",), Where.THERE,
        "references and norms stay on the device, if they take at most half of what it has free; "
        "`save` and pickle go through the host, and `load` gives an index there",
        ", all searches",
    ),
    Place(
        ("pairwise_distances", "realism", "probabilistic_precision_recall"),
        Where.THERE, "the same values; products in another order",
    ),
    Place(
        ("median_distance",), Where.THERE,
        "one sweep that counts below a bracket and keeps what is inside: the same bits as on the "
        "CPU",
        ', bandwidths of "median", quantiles',
    ),
    Place(("kernel_sum", "witness", "mmd", "energy_distance"), Where.THERE, _SUMS),
    Place(
        ("kernel_matvec",), Where.THERE,
        "values as in the last line, products summed in float64",
    ),
    Place(
        ("kernel_logsumexp", "cauchy_schwarz_divergence"),
        Where.THERE, "float64, whatever the precision",
    ),
    Place(
        ("mmd_power", "kid"), Where.THERE,
        "direct differences; gradients in float64",
        ", `mmd` by blocks, linear `mmd`; gradients of `mmd` and `energy_distance`",
    ),
    Place(
        ("mmd_test", "energy_test", "disco_test", "mmd_aggregated_test"),
        Where.THERE, _RELABELLED,
    ),
    Place(
        ("distance_covariance", "distance_correlation", "hsic", "cka", "independence_test"),
        Where.THERE, "float64, direct differences; gradients too",
    ),
    Place(("kernel_stein_discrepancy", "stein_test"), Where.FETCHED, _STEIN),
    Place(("sliced_wasserstein", "sliced_energy", "wasserstein_1d"), Where.THERE, _SORTED),
    Place(
        ("column_statistics",), Where.THERE,
        "columns sorted as there; one walk over both merged, in float64",
    ),
    Place(
        ("max_sliced_wasserstein",), Where.FETCHED,
        "distances along directions and their slopes, rows times what each gives; the ascent on "
        "the host, and the axes that it starts from, for which the rows are fetched",
    ),
    Place(
        ("min_sliced_plan", "expected_sliced_plan"), Where.THERE,
        "couplings by rows, float64 distances of what they join; plans merged there",
    ),
    Place(
        ("sliced_wasserstein_sphere",), Where.FETCHED,
        "two projections of a circle become one angle, sorted; a block finds the best shift of a "
        "circle; rows are fetched block by block to look at their lengths",
    ),
    Place(
        ("sliced_test", "partial_wasserstein_1d"), Where.HOST,
        "rows are fetched block by block",
    ),
    Place(("drift", "drift_over_time", "encode"), Where.HOST, "they are of tables"),
    Place(("power",), Where.THERE, "where its test runs"),
    Place(("info_nce", "clip_loss"), Where.THERE, _SOFTMAX),
    Place(
        ("siglip_loss",), Where.THERE,
        "tensor cores likewise: one sweep folds each logit while it is in registers and writes its "
        "weight to a panel; with groups, or a scale for each row, as the next line",
    ),
    Place(
        ("supcon_loss", "nt_xent_loss", "gist_loss", "circle_loss", "multi_similarity_loss"),
        Where.THERE, _BLOCKS,
        ", options of `info_nce` and `clip_loss`",
    ),
    Place(
        (), Where.THERE,
        "each process the blocks that come round, as in the last three lines; what is known of a "
        "row travels in device memory, and is merged on the host",
        "losses of `pairtile.torch.distributed`",
    ),
    Place(("triplet_loss",), Where.FETCHED, _TRIPLETS),
    Place(
        ("near_duplicates", "deduplicate", "top_pairs"), Where.THERE,
        "rows are counted as by `radius_count`; canonical values of those that have a pair alone. "
        "The same pairs as on the CPU. What is kept, and medoids, on the host",
    ),
    Place(
        ("similarity_histogram", "retrieval_metrics"), Where.THERE,
        "canonical values of all pairs: the same counts and ranks as on the CPU",
    ),
    Place(
        ("uniformity",), Where.FETCHED,
        "sums over pairs there, in float64; normalisation and what follows on the host",
    ),
    Place(("alignment",), Where.HOST, "rows are fetched block by block"),
    Place(("OnlineMMD",), Where.REFUSED, "host arrays alone"),
    Place(
        ("backend", "set_backend", "set_num_threads", "show_config", "sphere_directions"),
        Where.ELSEWHERE,
    ),
)  # fmt: skip

_OF = {name: place for place in PLACES for name in place.functions}


def of(name: str) -> Place:
    """The place of a public function."""
    if name not in _OF:
        raise LookupError(f"{name} has no place in pairtile/_backends/places.py")
    return _OF[name]


def of_class(name: str) -> Place:
    """The place of a public class: results, and what a call is given, have none of their own."""
    return _OF.get(name, Place((name,), Where.THERE))
