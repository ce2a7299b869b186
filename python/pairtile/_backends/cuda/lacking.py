"""What the GPU lacks of the seam: each says so by the name that users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairtile._backends.refusals import not_on_gpu

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Options of softmax losses by their names in the seam, and what they are when they are not used.
_OPTIONS = {
    "row_scales": (None, "a temperature or logit_scale for each row"),
    "row_labels": (None, "x_groups"),
    "positive_indptr": (None, "positive_weights"),
    "kept_indptr": (None, "top_negatives"),
    "column_logits": (None, "column_logits"),
    "margin": (0.0, "margin"),
    "angular_margin": (0.0, "angular_margin"),
    "label_smoothing": (0.0, "label_smoothing"),
    "false_negative_margin": (None, "false_negative_margin"),
    "tau_plus": (0.0, "tau_plus"),
}


def refuse_options(
    targets: NDArray[np.int64] | None, *, rows: bool, cols: bool, square: bool, **options: Any
) -> None:
    """NotImplementedError naming an option of a softmax loss that is used."""
    loss = "clip_loss" if cols else "info_nce"
    used = [
        name
        for key, (unused, name) in _OPTIONS.items()
        if (options[key] is not None if unused is None else options[key] != unused)
    ]
    if targets is not None and targets.min() < 0:
        used.append("ignore_index")
    if cols and not rows:
        used.append("direction")
    if cols and not square:
        used.append("target_offset or another number of rows in y")
    if used:
        raise NotImplementedError(not_on_gpu(f"{loss} with {used[0]}"))


def sigmoid_losses(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("siglip_loss"))


def softmax_states(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("a loss over processes with options"))


def softmax_gradients(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("a loss over processes with options"))


def supcon_losses(x: Any, second: Any, *_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    del x
    raise NotImplementedError(not_on_gpu("supcon_loss" if second is None else "nt_xent_loss"))


def pair_losses(x: Any, loss: str, *_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    del x
    raise NotImplementedError(not_on_gpu(f"{loss}_loss"))


def farthest_of_group(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("triplet_loss"))


def next_beyond(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("triplet_loss"))


def row_pulls(*_: Any, **__: Any) -> None:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("triplet_loss"))


def distance_histogram(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("similarity_histogram"))


def pair_ranks(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("retrieval_metrics"))


def pairs_within(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("near_duplicates or deduplicate"))


def nearest_pairs(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("top_pairs"))


def connected_rows(*_: Any, **__: Any) -> Any:
    """Not on a GPU: pairs are on the host."""
    raise NotImplementedError(not_on_gpu("deduplicate"))


def keep_first(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu("deduplicate"))


def group_medoids(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu("deduplicate"))


def joint_kernel_gradient(*_: Any, **__: Any) -> Any:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("the gradient of hsic, cka or kernel_stein_discrepancy"))


def sliced_direction_slopes(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("max_sliced_wasserstein"))


def sliced_plan_distances(*_: Any, **__: Any) -> Any:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("min_sliced_plan"))


def sliced_plan(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("expected_sliced_plan"))


def circle_distances(*_: Any, **__: Any) -> Any:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("sliced_wasserstein_sphere"))


def column_statistics(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("column_statistics"))


def partial_masses(*_: Any, **__: Any) -> tuple[Any, ...]:
    """Not on a GPU yet."""
    raise NotImplementedError(not_on_gpu("partial_wasserstein_1d"))


_FROM_FILES = "sliced transport of rows that are not in memory"


def centre_rows(*_: Any, **__: Any) -> Any:
    """Not on a GPU: sets that are not in memory are read whole for it."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def largest_offset(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def least_line_memory(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def line_centre(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))


def project_rows(*_: Any, **__: Any) -> Any:
    """Not on a GPU."""
    raise NotImplementedError(not_on_gpu(_FROM_FILES))
