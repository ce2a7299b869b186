"""What contrastive losses refuse, and what they say: `BAD_CALLS` of `test_inputs` has the rest."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import pairtile as pt
from loss_cases import CASES

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 12, 6))
GUIDE = RNG.normal(size=(12, 3))
SPARSE = np.arange(13), np.arange(12), np.ones(12)  # one positive of each row, compressed

BAD_CALLS = {
    "temperatures of another length": (
        lambda: pt.clip_loss(A, B, temperature=np.ones(3)),
        ValueError,
        ["temperature and logit_scale", "(12,)", "one per row of x", "(3,)"],
    ),
    "temperatures of two views": (
        lambda: pt.nt_xent_loss(A, B, logit_scale=np.ones(12)),
        ValueError,
        ["(24,)", "x, then of y", "(12,)"],
    ),
    "a temperature of 0": (
        lambda: pt.info_nce(A, B, temperature=np.arange(12.0)),
        ValueError,
        ["temperature must be finite and > 0", "0.0 in row 0"],
    ),
    "a tiny temperature": (
        lambda: pt.info_nce(A, B, temperature=[1.0] * 11 + [1e-320]),
        ValueError,
        ["temperature", "inverse", "row 11"],
    ),
    "a logit_scale of infinity": (
        lambda: pt.info_nce(A, B, logit_scale=[1.0, np.inf] * 6),
        ValueError,
        ["logit_scale contains NaN or Inf", "row is 1"],
    ),
    "temperatures in a matrix": (
        lambda: pt.info_nce(A, B, temperature=np.ones((12, 1))),
        ValueError,
        ["temperature", "one entry per row", "(12, 1)"],
    ),
    "temperatures that are words": (
        lambda: pt.info_nce(A, B, temperature=["warm"] * 12),
        TypeError,
        ["temperature must hold real numbers"],
    ),
    "weights of another length": (
        lambda: pt.info_nce(A, B, temperature=1.0, weights=np.ones(3)),
        ValueError,
        ["weights must have shape (12,)", "(3,)"],
    ),
    "weights of one view": (
        lambda: pt.nt_xent_loss(A, B, temperature=1.0, weights=np.ones(12)),
        ValueError,
        ["weights must have shape (24,)", "(12,)"],
    ),
    "negative weights of rows": (
        lambda: pt.siglip_loss(A, B, temperature=1.0, weights=np.arange(12) - 1),
        ValueError,
        ["weights must not be negative", "-1", "row 0"],
    ),
    "weights that are all 0": (
        lambda: pt.circle_loss(A, [0] * 12, weights=np.zeros(12)),
        ValueError,
        ["weights sums to 0 over 12 rows"],
    ),
    "ignore_index without targets": (
        lambda: pt.info_nce(A, B, temperature=1.0, ignore_index=-100),
        ValueError,
        ["ignore_index needs targets"],
    ),
    "ignore_index that is no integer": (
        lambda: pt.info_nce(A, B, temperature=1.0, targets=np.arange(12), ignore_index=1.5),
        TypeError,
        ["ignore_index must be an integer"],
    ),
    "a target that is not ignored": (
        lambda: pt.info_nce(A, B, temperature=1.0, targets=[-2] * 12, ignore_index=-1),
        ValueError,
        ["targets[0] is -2"],
    ),
    "groups of another length": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_groups=[1, 2]),
        ValueError,
        ["x_groups must have shape (12,), one per row of x", "(2,)"],
    ),
    "groups of y of another length": (
        lambda: pt.siglip_loss(A, B, temperature=1.0, x_groups=[1] * 12, y_groups=[1]),
        ValueError,
        ["y_groups must have shape (12,), one per row of y", "(1,)"],
    ),
    "groups of y missing": (
        lambda: pt.info_nce(A, B[:7], temperature=1.0, x_groups=[1] * 12),
        ValueError,
        ["x_groups needs y_groups", "12", "7"],
    ),
    "groups of x missing": (
        lambda: pt.siglip_loss(A, B, temperature=1.0, y_groups=[1] * 12),
        ValueError,
        ["y_groups needs x_groups"],
    ),
    "groups of two kinds": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_groups=[1] * 12, y_groups=["a"] * 12),
        TypeError,
        ["x_groups and y_groups", "integers", "strings", "int64", "<U1"],
    ),
    "groups that are floats": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_groups=np.ones(12)),
        TypeError,
        ["x_groups must be integers or strings", "float64"],
    ),
    "groups and targets": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_groups=[1] * 12, targets=np.arange(12)),
        ValueError,
        ["targets and x_groups cannot be used together"],
    ),
    "groups and positive_weights": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_groups=[1] * 12, positive_weights=SPARSE),
        ValueError,
        ["x_groups and positive_weights cannot be used together"],
    ),
    "targets and positive_weights": (
        lambda: pt.info_nce(A, B, temperature=1.0, targets=np.arange(12), positive_weights=SPARSE),
        ValueError,
        ["targets and positive_weights cannot be used together"],
    ),
    "groups and target_offset": (
        lambda: pt.siglip_loss(
            A[:5], B, temperature=1.0, x_groups=[1] * 5, y_groups=[1] * 12, target_offset=1
        ),
        ValueError,
        ["x_groups and target_offset cannot be used together"],
    ),
    "two margins": (
        lambda: pt.info_nce(A, B, temperature=1.0, margin=0.1, angular_margin=0.1, normalize=True),
        ValueError,
        ["margin and angular_margin cannot be used together"],
    ),
    "angular_margin without normalize": (
        lambda: pt.info_nce(A, B, temperature=1.0, angular_margin=0.1),
        ValueError,
        ["angular_margin needs normalize=True"],
    ),
    "angular_margin beyond pi": (
        lambda: pt.info_nce(A, B, temperature=1.0, angular_margin=4, normalize=True),
        ValueError,
        ["angular_margin", "<= 3.14159", "4"],
    ),
    "margin": (
        lambda: pt.info_nce(A, B, temperature=1.0, margin=np.nan),
        ValueError,
        ["margin must be finite"],
    ),
    "label_smoothing": (
        lambda: pt.clip_loss(A, B, temperature=1.0, label_smoothing=1.5),
        ValueError,
        ["label_smoothing", "<= 1", "1.5"],
    ),
    "tau_plus": (
        lambda: pt.info_nce(A, B, temperature=1.0, tau_plus=1),
        ValueError,
        ["tau_plus must be below 1"],
    ),
    "negative tau_plus": (
        lambda: pt.info_nce(A, B, temperature=1.0, tau_plus=-0.1),
        ValueError,
        ["tau_plus", ">= 0", "-0.1"],
    ),
    "tau_plus and label_smoothing": (
        lambda: pt.info_nce(A, B, temperature=1.0, tau_plus=0.1, label_smoothing=0.1),
        ValueError,
        ["tau_plus and label_smoothing cannot be used together"],
    ),
    "tau_plus and groups": (
        lambda: pt.info_nce(A, B, temperature=1.0, tau_plus=0.1, x_groups=[1] * 12),
        ValueError,
        ["tau_plus and x_groups cannot be used together"],
    ),
    "tau_plus and top_negatives": (
        lambda: pt.info_nce(A, B, temperature=1.0, tau_plus=0.1, top_negatives=2),
        ValueError,
        ["tau_plus and top_negatives cannot be used together"],
    ),
    "tau_plus and false_negative_margin": (
        lambda: pt.info_nce(A, B, temperature=1.0, tau_plus=0.1, false_negative_margin=0.0),
        ValueError,
        ["false_negative_margin and tau_plus cannot be used together"],
    ),
    "false_negative_margin and top_negatives": (
        lambda: pt.info_nce(A, B, temperature=1.0, top_negatives=2, false_negative_margin=0.0),
        ValueError,
        ["false_negative_margin and top_negatives cannot be used together"],
    ),
    "false_negative_margin and positive_weights": (
        lambda: pt.info_nce(
            A, B, temperature=1.0, positive_weights=SPARSE, false_negative_margin=0.0
        ),
        ValueError,
        ["false_negative_margin and positive_weights cannot be used together"],
    ),
    "false_negative_margin": (
        lambda: pt.clip_loss(A, B, temperature=1.0, false_negative_margin="small"),
        TypeError,
        ["false_negative_margin must be a number"],
    ),
    "a guide of x alone": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_guide=GUIDE),
        ValueError,
        ["x_guide needs y_guide"],
    ),
    "a guide of y alone": (
        lambda: pt.clip_loss(A, B, temperature=1.0, y_guide=GUIDE),
        ValueError,
        ["y_guide needs x_guide"],
    ),
    "a guide of another number of rows": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_guide=GUIDE[:5], y_guide=GUIDE),
        ValueError,
        ["x_guide has 5 rows and x has 12"],
    ),
    "a guide of more rows than y": (
        lambda: pt.gist_loss(A, B, temperature=1.0, x_guide=GUIDE, y_guide=np.ones((13, 3))),
        ValueError,
        ["y_guide has 13 rows and y has 12"],
    ),
    "guides of different features": (
        lambda: pt.clip_loss(A, B, temperature=1.0, x_guide=GUIDE, y_guide=A),
        ValueError,
        ["x_guide has 3 columns and y_guide has 6"],
    ),
    "a guide with a NaN": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_guide=GUIDE, y_guide=GUIDE * np.nan),
        ValueError,
        ["y_guide contains NaN or Inf; the first bad row is 0"],
    ),
    "a guide in one dimension": (
        lambda: pt.info_nce(A, B, temperature=1.0, x_guide=GUIDE, y_guide=GUIDE[:, 0]),
        ValueError,
        ["y_guide must be 2-D"],
    ),
    "a margin without a guide": (
        lambda: pt.info_nce(A, B, temperature=1.0, guide_margin=0.1),
        ValueError,
        ["guide_margin needs x_guide and y_guide"],
    ),
    "a strategy without a guide": (
        lambda: pt.clip_loss(A, B, temperature=1.0, guide_margin_strategy="relative"),
        ValueError,
        ["guide_margin_strategy needs x_guide and y_guide"],
    ),
    "an unknown strategy": (
        lambda: pt.info_nce(
            A, B, temperature=1.0, x_guide=GUIDE, y_guide=GUIDE, guide_margin_strategy="both"
        ),
        ValueError,
        ["guide_margin_strategy", "'both'", "absolute", "relative"],
    ),
    "guide_margin": (
        lambda: pt.gist_loss(
            A, B, temperature=1.0, x_guide=GUIDE, y_guide=GUIDE, guide_margin=np.nan
        ),
        ValueError,
        ["guide_margin must be finite"],
    ),
    "no guide": (
        lambda: pt.gist_loss(A, B, temperature=1.0, x_guide=None, y_guide=None),
        ValueError,
        ["gist_loss needs x_guide and y_guide"],
    ),
    "more anchors than positives": (
        lambda: pt.gist_loss(A, B[:5], temperature=1.0, x_guide=GUIDE, y_guide=GUIDE[:5]),
        ValueError,
        ["x has 12 rows and y has 5"],
    ),
    **{
        f"a guide and {name}": (
            lambda option=option: pt.info_nce(
                A, B, temperature=1.0, x_guide=GUIDE, y_guide=GUIDE, **option
            ),
            ValueError,
            [f"x_guide and {name} cannot be used together"],
        )
        for name, option in {
            "x_groups": {"x_groups": np.arange(12)},
            "positive_weights": {"positive_weights": SPARSE},
            "top_negatives": {"top_negatives": 2},
            "tau_plus": {"tau_plus": 0.1},
            "false_negative_margin": {"false_negative_margin": 0.0},
        }.items()
    },
    "a guide and a false_negative_margin": (
        lambda: pt.clip_loss(
            A, B, temperature=1.0, x_guide=GUIDE, y_guide=GUIDE, false_negative_margin=0.0
        ),
        ValueError,
        ["x_guide and false_negative_margin cannot be used together"],
    ),
    "no top_negatives": (
        lambda: pt.info_nce(A, B, temperature=1.0, top_negatives=0),
        ValueError,
        ["top_negatives must be at least 1", "0"],
    ),
    "column_logits of another length": (
        lambda: pt.info_nce(A, B, temperature=1.0, column_logits=np.zeros(3)),
        ValueError,
        ["column_logits must have shape (12,), one per row of y", "(3,)"],
    ),
    "column_logits of none": (
        lambda: pt.info_nce(A, B, temperature=1.0, column_logits=0.0),
        ValueError,
        ["column_logits must have one entry per row of y", "()"],
    ),
    "column_logits of impossible rows": (
        lambda: pt.info_nce(A, B, temperature=1.0, column_logits=np.full(12, -np.inf)),
        ValueError,
        ["column_logits contains NaN or Inf", "row is 0"],
    ),
    "positive_weights of another shape": (
        lambda: pt.info_nce(A, B, temperature=1.0, positive_weights=csr_array((12, 7))),
        ValueError,
        ["positive_weights must have shape (12, 12)", "(12, 7)"],
    ),
    "positive_weights that are dense": (
        lambda: pt.info_nce(A, B, temperature=1.0, positive_weights=np.eye(12)),
        TypeError,
        ["positive_weights must be a sparse matrix of SciPy", "ndarray"],
    ),
    "positive_weights of a bad indptr": (
        lambda: pt.info_nce(A, B, temperature=1.0, positive_weights=([0, 1], [0], [1.0])),
        ValueError,
        ["positive_weights", "indptr", "12 steps"],
    ),
    "positive_weights with floats as indices": (
        lambda: pt.info_nce(
            A, B, temperature=1.0, positive_weights=(SPARSE[0], SPARSE[1] * 1.0, SPARSE[2])
        ),
        TypeError,
        ["positive_weights", "integers", "indices"],
    ),
    "positive_weights out of range": (
        lambda: pt.info_nce(
            A, B, temperature=1.0, positive_weights=(SPARSE[0], SPARSE[1] + 1, SPARSE[2])
        ),
        ValueError,
        ["positive_weights has the column 12", "0 to 11"],
    ),
    "positive_weights with less data": (
        lambda: pt.info_nce(A, B, temperature=1.0, positive_weights=(*SPARSE[:2], np.ones(3))),
        ValueError,
        ["positive_weights has 12 indices", "(3,)"],
    ),
    "negative positive_weights": (
        lambda: pt.info_nce(A, B, temperature=1.0, positive_weights=(*SPARSE[:2], -SPARSE[2])),
        ValueError,
        ["positive_weights must not be negative", "-1.0"],
    ),
    "direction": (
        lambda: pt.clip_loss(A, B, temperature=1.0, direction="down"),
        ValueError,
        ["direction", "'down'", "both, rows, columns"],
    ),
    "target_offset": (
        lambda: pt.clip_loss(A[:4], B, temperature=1.0, target_offset=9),
        ValueError,
        ["target_offset=9", "4 rows of x", "12"],
    ),
    "negative target_offset": (
        lambda: pt.siglip_loss(A, B, temperature=1.0, target_offset=-1),
        ValueError,
        ["target_offset must be at least 0", "-1"],
    ),
    "labels of another length": (
        lambda: pt.supcon_loss(A, [1, 2], temperature=1.0),
        ValueError,
        ["labels must have shape (12,), one per row of x", "(2,)"],
    ),
    "labels of pairs of another length": (
        lambda: pt.multi_similarity_loss(A, [1, 2]),
        ValueError,
        ["labels must have shape (12,), one per row of x", "(2,)"],
    ),
    "labels that are floats": (
        lambda: pt.circle_loss(A, np.ones(12)),
        TypeError,
        ["labels must be integers or strings", "float64"],
    ),
    "labels that are words with a width": (
        lambda: pt.supcon_loss(A, ["a"] * 12, temperature=1.0, label_width=1.0),
        TypeError,
        ["labels must hold real numbers"],
    ),
    "labels of another length with a width": (
        lambda: pt.supcon_loss(A, [1.0], temperature=1.0, label_width=1.0),
        ValueError,
        ["labels must have shape (12,), one per row of x", "(1,)"],
    ),
    "negative label_width": (
        lambda: pt.supcon_loss(A, np.ones(12), temperature=1.0, label_width=-1.0),
        ValueError,
        ["label_width", ">= 0", "-1.0"],
    ),
    "labels of a bank of another kind": (
        lambda: pt.supcon_loss(A, [1] * 12, bank=B, bank_labels=["a"] * 12, temperature=1.0),
        TypeError,
        ["labels and bank_labels", "int64", "<U1"],
    ),
    "labels of a bank of another length": (
        lambda: pt.supcon_loss(A, [1] * 12, bank=B, bank_labels=[1], temperature=1.0),
        ValueError,
        ["bank_labels must have shape (12,), one per row of bank", "(1,)"],
    ),
    "a bank without labels": (
        lambda: pt.supcon_loss(A, [1] * 12, bank=B, temperature=1.0),
        ValueError,
        ["bank and bank_labels must be given together"],
    ),
    "no_positive": (
        lambda: pt.supcon_loss(A, [1] * 12, no_positive="skip", temperature=1.0),
        ValueError,
        ["no_positive", "'skip'", "zero, drop"],
    ),
    "two views of other lengths": (
        lambda: pt.nt_xent_loss(A, B[:7], temperature=1.0),
        ValueError,
        ["x has 12 rows and y has 7"],
    ),
    "gamma of the circle": (
        lambda: pt.circle_loss(A, [1] * 12, gamma=0),
        ValueError,
        ["gamma", "> 0"],
    ),
    "margin of the circle": (
        lambda: pt.circle_loss(A, [1] * 12, margin=np.inf),
        ValueError,
        ["margin must be finite"],
    ),
    "alpha and beta": (
        lambda: pt.multi_similarity_loss(A, [1] * 12, beta=-1.0),
        ValueError,
        ["beta", "> 0", "-1.0"],
    ),
    "mining": (
        lambda: pt.multi_similarity_loss(A, [1] * 12, mining="hard"),
        TypeError,
        ["mining must be True or False", "'hard'"],
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    call, error, fragments = BAD_CALLS[name]
    with pytest.raises(error) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value)


# --- of every loss --------------------------------------------------------------------------------


def called(name, **changed):
    """A call of twelve rows with other options than it should have."""
    case = CASES[name]
    options = case.options(np.random.default_rng(1), 12, 0 if case.y == "none" else 12)
    if case.scaled:
        options["temperature"] = 0.5
    return case.call(A, None if case.y == "none" else B, **options | changed)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.scaled])
@pytest.mark.parametrize("word", ["temperature", "logit_scale"])
@pytest.mark.parametrize("value", [0.0, -0.5, np.nan, np.inf])
def test_scales_are_positive_and_finite(name, word, value):
    with pytest.raises(ValueError, match=f"{word} must be finite, > 0; got {value}"):
        called(name, **{"temperature": None, word: value})


@pytest.mark.parametrize("name", CASES)
def test_weights_count_for_something_and_for_each_row(name):
    rows = CASES[name].losses(12)
    with pytest.raises(ValueError, match=f"weights sums to 0 over {rows} rows"):
        called(name, weights=np.zeros(rows))
    with pytest.raises(ValueError, match=rf"weights must have shape \({rows},\)"):
        called(name, weights=np.ones(rows + 1))
    with pytest.raises(ValueError, match="weights contains NaN or Inf; the first bad row is 3"):
        called(name, weights=np.where(np.arange(rows) == 3, np.nan, 1.0))


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_rows_are_asked_for_with_the_gradient(name):
    rows = CASES[name].losses(12)
    with pytest.raises(ValueError, match="grad_rows weights the gradients; it needs grad=True"):
        called(name, grad_rows=np.ones(rows))
    with pytest.raises(ValueError, match=rf"grad_rows must have shape \({rows},\)"):
        called(name, grad_rows=np.ones(rows + 1), grad=True)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_are_finite(name, bad):
    case = CASES[name]
    spoilt = A.copy()
    spoilt[7, 2] = bad
    options = case.options(np.random.default_rng(1), 12, 0 if case.y == "none" else 12)
    if case.scaled:
        options["temperature"] = 0.5
    with pytest.raises(ValueError, match="x contains NaN or Inf; the first bad row is 7"):
        case.call(spoilt, None if case.y == "none" else B, **options)


LABELLED = ["supcon_loss", "triplet_loss", "circle_loss", "multi_similarity_loss"]


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("labels", [np.zeros(11, int), np.zeros(13, int), np.zeros((12, 1), int)])
def test_labels_are_one_for_each_row(name, labels):
    options = {"temperature": 1.0} if name == "supcon_loss" else {}
    with pytest.raises(ValueError, match=r"labels must have shape \(12,\), one per row of x"):
        getattr(pt, name)(A, labels, **options)
