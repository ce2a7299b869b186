"""`pairtile.torch` beside PyTorch's autograd of the written-out formulas, in float64.

`CASES` holds a call of each function of the table; new ones belong there.
"""

from __future__ import annotations

import inspect
import math
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pairtile as pt
from processes import run_python
from strategies import SEEDS

pytestmark = pytest.mark.oracle("torch")


@pytest.fixture
def torch():
    import torch

    torch.manual_seed(0)
    torch.compiler.reset()  # it counts how often the code of a test was compiled
    return torch


def sets(n=7, m=9, d=3, seed=0, dtype="float64", grad=True):
    import torch

    rng = np.random.default_rng(seed)
    rows = (torch.tensor(rng.normal(size=(k, d)), dtype=getattr(torch, dtype)) for k in (n, m))
    return [x.requires_grad_(grad) for x in rows]


def number(value, grad=True, **options):
    import torch

    return torch.tensor(value, **{"dtype": torch.float64, **options}, requires_grad=grad)


# --- the written-out formulas --------------------------------------------------------------------


def unit(x, normalize):
    return x / x.norm(dim=1, keepdim=True) if normalize else x


def scores(x, y, scale, normalize):
    return scale * unit(x, normalize) @ unit(y, normalize).T


def info_nce(x, y, scale, normalize=False):
    s = scores(x, y, scale, normalize)
    return s.logsumexp(1) - s.diagonal()


def clip_loss(x, y, scale, normalize=False):
    s = scores(x, y, scale, normalize)
    return (s.logsumexp(1) + s.logsumexp(0)) / 2 - s.diagonal()


def siglip_loss(x, y, scale, bias, normalize=False):
    import torch

    s = scores(x, y, scale, normalize) + bias
    z = 2 * torch.eye(*s.shape, dtype=s.dtype) - 1
    return torch.nn.functional.softplus(-z * s).sum(1)


def supcon_loss(x, labels, s, bank=None, bank_labels=None):
    """Of scores s among all, of which the first len(x) are anchors."""
    import torch

    every = x if bank is None else torch.cat([x, bank])
    names = labels if bank is None else torch.cat([labels, bank_labels])
    n = len(x)
    itself = torch.eye(n, len(every), dtype=torch.bool)
    scores = (s * x @ every.T).masked_fill(itself, -math.inf)
    positive = (labels[:, None] == names) & ~itself
    count = positive.sum(1)
    mean = scores.masked_fill(~positive, 0).sum(1) / count.clamp(min=1)
    return torch.where(count > 0, scores.logsumexp(1) - mean, 0.0)


def nt_xent_loss(x, y, s):
    import torch

    names = torch.arange(len(x)).repeat(2)
    return supcon_loss(torch.cat([x, y]), names, s)


def sides(x, labels):
    """Similarities, and which of them are positives and negatives."""
    import torch

    same = labels[:, None] == labels
    return x @ x.T, same & ~torch.eye(len(x), dtype=torch.bool), ~same


def logsumexp(values, mask):
    return values.masked_fill(~mask, -math.inf).logsumexp(1)


def circle_loss(x, labels, margin=0.25, gamma=80.0):
    import torch

    c, positive, negative = sides(x, labels)
    fixed = c.detach()
    f_p = -gamma * (1 + margin - fixed).clamp(min=0) * (c - (1 - margin))
    f_n = gamma * (fixed + margin).clamp(min=0) * (c - margin)
    both = positive.any(1) & negative.any(1)
    total = logsumexp(f_p, positive | ~both[:, None]) + logsumexp(f_n, negative | ~both[:, None])
    return torch.where(both, torch.nn.functional.softplus(total), 0.0)


def triplet_loss(x, labels, margin=0.2):
    """Of the anchors that have both sides; the others lose nothing, and leave the mean."""
    import torch

    _, positive, negative = sides(x, labels)
    d = distances(x, x)
    far = d.masked_fill(~positive, -math.inf).max(1)[0]
    near = d.masked_fill(~negative, math.inf).min(1)[0]
    both = positive.any(1) & negative.any(1)
    return torch.where(both, (far - near + margin).clamp(min=0), 0.0), both


def multi_similarity_loss(x, labels, alpha=2.0, beta=50.0, base=0.5):
    import torch

    c, positive, negative = sides(x, labels)
    one = torch.zeros(len(x), 1, dtype=c.dtype)

    def side(values, mask):
        return torch.cat([values.masked_fill(~mask, -math.inf), one], 1).logsumexp(1)

    return side(-alpha * (c - base), positive) / alpha + side(beta * (c - base), negative) / beta


def distances(x, y):
    squares = ((x[:, None] - y) ** 2).sum(2)
    return (squares + (squares == 0)).sqrt() * (squares != 0)


def mmd(x, y, k, v, w):
    v, w = v / v.sum(), w / w.sum()

    def within(x, w):
        pairs = w[:, None] * w * k(x, x)
        return (pairs.sum() - pairs.diagonal().sum()) / (1 - (w * w).sum())

    return within(x, v) + within(y, w) - 2 * v @ k(x, y) @ w


def energy(x, y):
    d = distances
    return 2 * d(x, y).mean() - d(x, x).mean() - d(y, y).mean()


def uniformity(x):
    import torch

    squares = ((x[:, None] - x) ** 2).sum(2)
    apart = ~torch.eye(len(x), dtype=torch.bool)
    return (-2 * squares[apart]).logsumexp(0) - math.log(len(x) * (len(x) - 1))


def sliced(x, y, directions):
    differences = (x @ directions).sort(0)[0] - (y @ directions).sort(0)[0]
    return (differences**2).mean().sqrt()


# --- each function -------------------------------------------------------------------------------

DIRECTIONS = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


def _loss(name, m, **more):
    def case(mine):
        x, y = sets(6, m)
        scale = number(1.5)
        return lambda x, y, s, *rest: getattr(mine, name)(
            x, y, logit_scale=s, normalize=True, **dict(zip(more, rest, strict=True))
        ), (x, y, scale, *(number(v) for v in more.values()))

    return case


LABELS = [0, 1, 0, 2, 1, 0]


def _supcon(mine):
    import torch

    labels, more = torch.tensor(LABELS), torch.tensor([0, 1, 3])
    x, bank = sets(6, 3)
    given = (x, bank, number(0.6), number(np.linspace(1, 2, 6)))
    return lambda x, b, t, w: mine.supcon_loss(
        x, labels, bank=b, bank_labels=more, temperature=t, weights=w, normalize=True
    ), given


def _nt_xent(mine):
    return lambda x, y, t: mine.nt_xent_loss(x, y, temperature=t), (
        *sets(6, 6),
        number(np.linspace(0.5, 1.5, 12)),
    )


def _gist(mine):
    rng = np.random.default_rng(3)
    g, h = (number(rng.normal(size=(rows, 2)), grad=False) for rows in (6, 9))
    weights = number(np.linspace(1, 2, 6))
    return lambda x, y, t, w: mine.gist_loss(
        x, y, x_guide=g, y_guide=h, temperature=t, weights=w, normalize=True
    ), (*sets(6, 9), number(0.6), weights)


def _labelled(name):
    def case(mine):
        import torch

        labels = torch.tensor(LABELS)
        return lambda x, w: getattr(mine, name)(x, labels, weights=w, normalize=True), (
            sets(6)[0],
            number(np.linspace(1, 2, 6)),
        )

    return case


def _mmd(mine):
    x, y = sets()
    v, w = number(np.linspace(1, 2, 7)), number(np.linspace(2, 1, 9))
    kernel = pt.Gaussian(1.5) + 0.5 * pt.Polynomial(2)
    return lambda x, y, v, w: mine.mmd(x, y, kernel=kernel, x_weights=v, y_weights=w), (x, y, v, w)


def _energy(mine):
    return lambda x, y: mine.energy_distance(x, y, squared=False), sets()


def _sliced(mine):
    v, w = number(np.linspace(1, 2, 7)), number(np.linspace(2, 1, 9))
    return lambda x, y, v, w: mine.sliced_wasserstein(
        x, y, directions=DIRECTIONS, x_weights=v, y_weights=w
    ), (*sets(), v, w)


def _sliced_energy(mine):
    return lambda x, y: mine.sliced_energy(x, y, n_projections=5, rng=0), sets(7, 9)


def _line(mine):
    x, y = sets()
    v, w = number(np.linspace(1, 2, 7)), number(np.linspace(2, 1, 9))
    upstream = number([1.0, -2.0, 0.5], grad=False)
    return lambda x, y, v, w: (
        mine.wasserstein_1d(x, y, p=2, x_weights=v, y_weights=w) * upstream
    ).sum(), (x, y, v, w)


def _alignment(mine):
    return lambda x, y: mine.alignment(x, y, alpha=1.5, normalize=True), sets(6, 6)


def _uniformity(mine):
    return lambda x: mine.uniformity(x, t=1.5, normalize=True), sets()[:1]


def _dependence(name):
    def case(mine):
        return lambda x, y: getattr(mine, name)(
            x, y, x_kernel=pt.Gaussian(1.0), y_kernel=pt.Linear()
        ), sets(7, 7)

    return case


def _stein(mine):
    return lambda x, s: mine.kernel_stein_discrepancy(x, s, kernel=pt.Cauchy(1.5)), sets(7, 7)


# name -> (function of tensors alone, tensors that all require gradients)
CASES = {
    "info_nce": _loss("info_nce", 9),
    "clip_loss": _loss("clip_loss", 6),
    "gist_loss": _gist,
    "siglip_loss": _loss("siglip_loss", 9, bias=-1.0),
    "supcon_loss": _supcon,
    "nt_xent_loss": _nt_xent,
    "triplet_loss": _labelled("triplet_loss"),
    "circle_loss": _labelled("circle_loss"),
    "multi_similarity_loss": _labelled("multi_similarity_loss"),
    "alignment": _alignment,
    "uniformity": _uniformity,
    "mmd": _mmd,
    "energy_distance": _energy,
    "sliced_wasserstein": _sliced,
    "sliced_energy": _sliced_energy,
    "wasserstein_1d": _line,
    "hsic": _dependence("hsic"),
    "cka": _dependence("cka"),
    "kernel_stein_discrepancy": _stein,
}


def case(name):
    import pairtile.torch as mine

    return CASES[name](mine)


def test_every_function_of_the_table_has_a_case():
    from pairtile._front.differentiable import FUNCTIONS
    from pairtile.torch import __all__ as names
    from pairtile.torch.modules import Module

    assert CASES.keys() == FUNCTIONS.keys()
    assert CASES.keys() <= set(names)
    modules = {one._function for one in Module.__subclasses__()}
    assert modules <= FUNCTIONS.keys()
    assert {one.__name__ for one in Module.__subclasses__()} == set(names) - FUNCTIONS.keys()


# a weight that depends on the similarities counts as a constant there, as in the paper
@pytest.mark.parametrize("name", [name for name in CASES if name != "circle_loss"])
def test_gradients_are_those_of_differences(name, torch):
    function, tensors = case(name)
    assert torch.autograd.gradcheck(function, tensors)


@pytest.mark.parametrize(
    "options",
    [
        {"control": "harmonics", "method": "sobol", "n_rotations": 4, "n_projections": 64},
        {"control": "harmonics", "method": "spiral", "n_projections": 40},
        {"control": None, "method": "orthogonal", "n_projections": 9, "p": 1.5},
        {"directions": 3 * DIRECTIONS, "normalize_directions": True},
    ],
)
def test_sliced_gradients_under_control(options, torch):
    """By points and weights: what harmonics weigh depends on the directions alone."""
    import pairtile.torch as mine

    module = mine.SlicedWasserstein(rng=0, **options)

    def value(x, y, v, w):
        return module(x, y, x_weights=v, y_weights=w)

    _, tensors = case("sliced_wasserstein")
    assert torch.autograd.gradcheck(value, tensors)


def test_sliced_gradients_under_moments_hold_coefficients(torch):
    import pairtile.torch as mine

    _, (x, y, v, w) = case("sliced_wasserstein")
    options = {"control": "moments", "n_projections": 50, "rng": 0}
    value = mine.sliced_wasserstein(x, y, x_weights=v, y_weights=w, **options)
    value.backward()
    plain = [one.detach().numpy() for one in (x, y, v, w)]
    expected = pt.sliced_wasserstein(
        *plain[:2], x_weights=plain[2], y_weights=plain[3], return_gradient=True, **options
    )
    assert value.item() == expected.value
    fields = ("grad_x", "grad_y", "grad_x_weights", "grad_y_weights")
    for one, field in zip((x, y, v, w), fields, strict=True):
        np.testing.assert_array_equal(one.grad.numpy(), getattr(expected, field))


@pytest.mark.parametrize("name", CASES)
def test_the_value_is_that_of_the_function_on_arrays(name, torch):
    function, tensors = case(name)
    with torch.no_grad():
        alone = function(*tensors)
    found = function(*tensors)
    assert found.shape == ()
    assert found.dtype == torch.float64
    assert found.requires_grad
    assert not alone.requires_grad
    assert alone.item() == pytest.approx(found.item(), rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_second_derivative_is_refused(name, torch):
    function, tensors = case(name)
    first = torch.autograd.grad(function(*tensors), tensors, create_graph=True)
    plain = torch.autograd.grad(function(*tensors), tensors)
    for a, b in zip(first, plain, strict=True):
        assert torch.equal(a, b)
    again = f"gradient of {name} was to be differentiated again"
    with pytest.raises(RuntimeError, match=again):
        first[0].sum().backward()
    # a penalty on the gradient, of which the value alone must not be what is differentiated
    value = function(*tensors)
    gradient, *_ = torch.autograd.grad(value, tensors, create_graph=True)
    with pytest.raises(RuntimeError, match=again):
        torch.autograd.grad(value + gradient.pow(2).sum(), tensors)
    with pytest.raises(RuntimeError, match=again):
        torch.autograd.functional.hessian(lambda x: function(x, *tensors[1:]), tensors[0])


@pytest.mark.parametrize("name", CASES)
def test_operators_of_the_library(name, torch):
    """Schema, fake results and registration of autograd, as PyTorch checks them."""
    from pairtile.torch import autograd

    function, tensors = case(name)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autograd, "value", lambda *call: seen.append(call) or [number(0.0)])
        with torch.no_grad():
            function(*tensors)
    ((call, given, _),) = seen
    others = tuple((k, autograd._parts(v)) for k, v in call.others.items() if k != "directions")
    text = autograd._encode(call.function.name, call.names, others)
    if name == "sliced_wasserstein":
        others += (("rng", 0),)
        text = autograd._encode(call.function.name, call.names, others)
    wanted = [tensor.requires_grad for tensor in given]
    torch.library.opcheck(autograd._value, (text, list(given), wanted))
    if call.function.per_row:
        torch.library.opcheck(autograd._rows, (text, list(given), wanted))
        n = call.function.per_row * len(given[0])
        plain = [one.detach() for one in given]
        upstream = torch.ones(n, dtype=torch.float64)
        torch.library.opcheck(autograd._row_gradients, (text, upstream, plain, wanted))


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_graph_does_not_break(name, torch):
    function, tensors = case(name)
    if name == "sliced_wasserstein":  # an array would be a tensor of the graph
        import pairtile.torch as mine

        def function(x, y, v, w):
            return mine.sliced_wasserstein(
                x, y, n_projections=40, n_rotations=2, method="sobol", control="moments",
                x_weights=v, y_weights=w, rng=0,
            )  # fmt: skip

    def scaled(*tensors):
        return 3 * function(*(t * 1.0 for t in tensors))

    compiled = torch.compile(scaled, fullgraph=True, backend="aot_eager")
    found, expected = compiled(*tensors), scaled(*tensors)
    torch.testing.assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(found, tensors), torch.autograd.grad(expected, tensors), strict=True
    ):
        torch.testing.assert_close(a, b)


# --- against autograd of the formulas ------------------------------------------------------------


@given(
    n=st.integers(1, 40),
    d=st.integers(1, 20),
    name=st.sampled_from(["info_nce", "clip_loss", "siglip_loss"]),
    by=st.sampled_from(["temperature", "logit_scale"]),
    reduction=st.sampled_from(["mean", "none"]),
    normalize=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=SEEDS,
)
def test_losses_are_their_formulas(n, d, name, by, reduction, normalize, dtype, seed):
    import torch

    import pairtile.torch as mine

    x, y = sets(n, n, d, seed, dtype)
    setting = number(0.7, dtype=getattr(torch, dtype))
    more = {"bias": number(-0.5)} if name == "siglip_loss" else {}
    leaves = [x, y, setting, *more.values()]
    upstream = torch.tensor(np.random.default_rng(seed).normal(size=n))
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    scale = 1 / wide[2] if by == "temperature" else wide[2]
    per_row = globals()[name](*wide[:2], scale, *wide[3:], normalize=normalize)
    expected = per_row.mean() if reduction == "mean" else per_row
    found = getattr(mine, name)(
        x, y, **{by: setting}, **more, normalize=normalize, reduction=reduction
    )
    assert found.dtype == x.dtype
    assert found.shape == expected.shape
    tolerance = {"float32": 2e-5, "float64": 1e-10}[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    of = (3.0, 3.0) if reduction == "mean" else (upstream.to(found.dtype), upstream)
    (found * of[0]).sum().backward()
    (expected * of[1]).sum().backward()
    for leaf, right in zip(leaves, wide, strict=True):
        size = 1 + float(right.grad.abs().max())
        assert leaf.grad.dtype == leaf.dtype
        torch.testing.assert_close(leaf.grad.double(), right.grad, rtol=0, atol=tolerance * size)


@given(
    n=st.integers(2, 30),
    d=st.integers(1, 9),
    name=st.sampled_from(["supcon_loss", "nt_xent_loss", "circle_loss", "multi_similarity_loss"]),
    reduction=st.sampled_from(["mean", "none"]),
    seed=SEEDS,
)
def test_losses_of_rows_among_themselves_are_their_formulas(n, d, name, reduction, seed):
    import torch

    import pairtile.torch as mine

    rng = np.random.default_rng(seed)
    x, y = sets(n, n, d, seed)
    labels = torch.tensor(rng.integers(0, 3, size=n))
    if name == "supcon_loss":
        more = torch.tensor(rng.integers(0, 3, size=n))
        leaves = [x, y, number(0.8)]
        expected = supcon_loss(x, labels, 1 / leaves[2], y, more)
        options = {"bank": y, "bank_labels": more, "temperature": leaves[2]}
        found = mine.supcon_loss(x, labels, reduction=reduction, **options)
    elif name == "nt_xent_loss":
        leaves = [x, y, number(0.8)]
        expected = nt_xent_loss(x, y, leaves[2])
        found = mine.nt_xent_loss(x, y, logit_scale=leaves[2], reduction=reduction)
    elif name == "triplet_loss":
        leaves = [x]
        expected, counted = triplet_loss(x, labels)
        found = mine.triplet_loss(x, labels, reduction=reduction)
        expected = expected * counted / counted.sum().clamp(min=1) * n  # of which a mean follows
        if reduction == "none":
            expected = triplet_loss(x, labels)[0]
    else:
        leaves = [x]
        expected = globals()[name](unit(x, True), labels)
        found = getattr(mine, name)(x, labels, reduction=reduction, normalize=True)
    if reduction == "mean":
        expected = expected.mean()
    upstream = torch.tensor(rng.normal(size=expected.shape))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for a, b in zip(
        torch.autograd.grad((found * upstream).sum(), leaves),
        torch.autograd.grad((expected * upstream).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


GROUPS = np.array([0, 1, 1, 2, 0, 5, 1])
OPTIONS = {
    "targets": {"targets": np.array([0, 8, -100, 3, 3, 1, 0]), "ignore_index": -100},
    "groups": {"x_groups": GROUPS, "y_groups": np.arange(9) % 3},
    "margins": {"margin": 0.2, "label_smoothing": 0.1},
    "debiased": {"tau_plus": 0.1},
    "angular": {"angular_margin": 0.2, "normalize": True},
    "log-q": {"column_logits": np.linspace(-1, 1, 9)},
    "false negatives": {"false_negative_margin": 0.0},
    "guide": {
        "x_guide": np.linspace(-1, 1, 14).reshape(7, 2) ** 2,
        "y_guide": np.linspace(-1, 2, 18).reshape(9, 2) ** 3,
        "guide_margin": 0.05,
    },
    "positive weights": {
        "positive_weights": (np.arange(8) * 2, np.arange(14) * 5 % 9, np.ones(14))
    },
}


@pytest.mark.parametrize("rowwise", [False, True], ids=["one temperature", "one for each row"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_keep_their_gradients(options, rowwise, torch):
    import pairtile.torch as mine

    x, y = sets()
    temperature = number(np.linspace(0.5, 1.5, 7) if rowwise else 0.7)
    weights = number(np.linspace(1, 2, 7))

    def loss(x, y, t, w):
        return mine.info_nce(x, y, temperature=t, weights=w, **options)

    def rows(x, y, t):
        return mine.info_nce(x, y, temperature=t, reduction="none", **options)

    assert torch.autograd.gradcheck(loss, (x, y, temperature, weights))
    assert torch.autograd.gradcheck(rows, (x, y, temperature))


def test_positive_weights_may_be_a_sparse_tensor(torch):
    import pairtile.torch as mine

    x, y = sets()
    parts = OPTIONS["positive weights"]["positive_weights"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, that its support is in beta
        sparse = torch.sparse_csr_tensor(*(torch.tensor(part) for part in parts), size=(7, 9))
    found = mine.info_nce(x, y, temperature=1.0, positive_weights=sparse)
    expected = mine.info_nce(x, y, temperature=1.0, positive_weights=parts)
    assert found.item() == expected.item()


@given(n=st.integers(2, 30), m=st.integers(2, 30), d=st.integers(1, 9), seed=SEEDS)
def test_statistics_are_their_formulas(n, m, d, seed):
    import torch

    import pairtile.torch as mine

    rng = np.random.default_rng(seed)
    x, y = sets(n, m, d, seed)
    v, w = number(rng.random(n) + 0.1), number(rng.random(m) + 0.1)
    z = torch.tensor(rng.normal(size=(n, d)), requires_grad=True)
    directions = np.linalg.qr(rng.normal(size=(d, d)))[0]

    def gaussian(a, b):
        return torch.exp(-((a[:, None] - b) ** 2).sum(2) / 2)

    pairs = [
        (
            mine.mmd(x, y, kernel=pt.Gaussian(1.0), x_weights=v, y_weights=w),
            mmd(x, y, gaussian, v, w),
            (x, y, v, w),
        ),
        (mine.energy_distance(x, y), energy(x, y), (x, y)),
        (mine.alignment(x, z), ((x - z) ** 2).sum(1).mean(), (x, z)),
        (mine.uniformity(x), uniformity(x), (x,)),
        (
            mine.sliced_wasserstein(x, z, directions=directions),
            sliced(x, z, torch.tensor(directions)),
            (x, z),
        ),
    ]
    for found, expected, leaves in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        for a, b in zip(
            torch.autograd.grad(2 * found, leaves),
            torch.autograd.grad(2 * expected, leaves),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_distances_of_columns_have_gradients_of_their_own(p, torch):
    import pairtile.torch as mine

    x, y = sets(9, 9)
    found = mine.wasserstein_1d(x, y, p=p)
    expected = ((x.sort(0)[0] - y.sort(0)[0]).abs() ** p).mean(0) ** (1 / p)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    upstream = torch.tensor([1.0, 0.0, -3.0])
    for a, b in zip(
        torch.autograd.grad(found, (x, y), upstream),
        torch.autograd.grad(expected, (x, y), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_may_be_one_column_without_a_second_dimension(dtype, torch):
    import pairtile.torch as mine

    x, y = [v.detach()[:, 0].clone().requires_grad_() for v in sets(dtype=dtype)]
    w = number(np.linspace(1, 2, 7))
    found = mine.wasserstein_1d(x, y, p=2, x_weights=w)
    assert found.shape == ()
    assert found.dtype == x.dtype
    found.backward()
    plain = pt.wasserstein_1d(
        x.detach(), y.detach(), p=2, x_weights=w.detach(), return_gradient=True
    )
    assert found.item() == pytest.approx(plain.value, rel=1e-7)
    assert torch.equal(x.grad, plain.grad_x)
    assert torch.equal(w.grad, plain.grad_x_weights)
    assert mine.mmd(x, y, kernel=pt.Gaussian(1.0)).dtype == x.dtype


# --- dtypes and memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_under_autocast_results_are_in_float32(dtype, torch):
    import pairtile.torch as mine

    layer = torch.nn.Linear(5, 4)
    rows = torch.randn(20, 5)
    with torch.autocast("cpu", dtype=getattr(torch, dtype)):
        x, y = layer(rows), layer(rows.flip(0))
        assert x.dtype == getattr(torch, dtype)
        found = mine.info_nce(x, y, temperature=0.5)
        per_row = mine.info_nce(x, y, temperature=0.5, reduction="none")
    assert found.dtype == per_row.dtype == torch.float32
    gradients = torch.autograd.grad(found + per_row.mean(), [x, y], retain_graph=True)
    wide = [v.detach().double().requires_grad_() for v in (x, y)]
    expected = torch.autograd.grad(2 * info_nce(*wide, 2.0).mean(), wide)
    for a, b in zip(gradients, expected, strict=True):
        assert a.dtype == x.dtype
        torch.testing.assert_close(a.double(), b, rtol=1e-2, atol=1e-4)
    found.backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.abs().max() > 0


def test_gradients_in_half_precision_are_scaled_before_they_are_rounded(torch):
    """What a scaler of gradients is for: 1e-9 is 0 in float16, 6e-5 is not."""
    import pairtile.torch as mine

    x, y = sets(4, 4, dtype="float16")
    (mine.info_nce(x, y, temperature=1e6) * 65536).backward()
    wide = [v.detach().double().requires_grad_() for v in (x, y)]
    (info_nce(*wide, 1e-6).mean() * 65536).backward()
    torch.testing.assert_close(x.grad.double(), wide[0].grad, rtol=1e-2, atol=1e-6)
    assert float(x.grad.abs().max()) > 0


def test_memory_is_shared(torch, monkeypatch):
    import pairtile.torch as mine
    from pairtile._front.differentiable import FUNCTIONS

    function = FUNCTIONS["info_nce"]
    plain, seen = function.plain, []

    def spy(**given):
        result = plain(**given)
        seen.append((given, result))
        return result

    monkeypatch.setitem(function.__dict__, "plain", spy)
    for dtype in ("float16", "float32", "float64"):
        x, y = sets(dtype=dtype)
        mine.info_nce(x.t().contiguous().t(), y, temperature=1.0)
        loss = mine.info_nce(x, y, temperature=1.0)
        given, result = seen.pop()
        for tensor, array in ((x, given["x"]), (y, given["y"])):
            assert array.__array_interface__["data"][0] == tensor.data_ptr()
        if dtype == "float64":
            kept = loss.grad_fn.saved_tensors
            assert [t.data_ptr() for t in kept] == [
                g.__array_interface__["data"][0] for g in (result.grad_x, result.grad_y)
            ]


def test_gradients_stay_where_their_tensors_are(torch):
    """A value on a GPU may have weights on the host. Without a GPU: tensors of another device that
    have no numbers, but refuse to meet those of the host, except for numbers of the host."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from pairtile._front.differentiable import FUNCTIONS
    from pairtile.torch import autograd

    call = autograd.Call(FUNCTIONS["info_nce"], ("x", "weights", "temperature"), {})
    with FakeTensorMode():
        upstream = torch.empty((), device="cuda")
        gradients = [
            torch.empty(7, 3, device="cuda"), torch.empty(7, dtype=torch.float64), torch.empty(()),
        ]  # fmt: skip
        with pytest.raises(RuntimeError, match="device"):
            upstream * gradients[1]
        for found in (
            autograd.times(upstream, gradients),
            autograd._pulled(call, upstream, gradients, (True,) * 3),
        ):
            assert [g.device.type for g in found] == ["cuda", "cpu", "cpu"]
            assert [g.shape for g in found] == [g.shape for g in gradients]
            assert [g.dtype for g in found] == [g.dtype for g in gradients]


def test_inputs_that_change_before_the_backward_pass_are_noticed(torch):
    import pairtile.torch as mine

    x, y = sets()
    moved = x * 1
    per_row = mine.info_nce(moved, y, temperature=1.0, reduction="none")
    with torch.no_grad():
        moved.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        per_row.sum().backward()


def test_gradients_that_are_changed_are_not_given_again(torch):
    """They may be the memory that the graph keeps."""
    import pairtile.torch as mine

    x, y = sets()
    loss = mine.info_nce(x, y, temperature=1.0)
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    x.grad.zero_()
    loss.backward(retain_graph=True)
    assert torch.equal(x.grad, first)
    (found,) = torch.autograd.grad(loss, x, retain_graph=True)
    found.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, x)


# --- what a call costs ---------------------------------------------------------------------------


def calls_of(function):
    """How often Python code calls a function, of Python or of C, while this one runs."""
    made = []
    function()  # once before, for what is remembered
    sys.setprofile(lambda frame, event, what: made.append(event))
    try:
        function()
    finally:
        sys.setprofile(None)
    return made.count("call") + made.count("c_call")


@pytest.mark.parametrize("name", ["info_nce", "clip_loss", "siglip_loss"])
def test_autograd_takes_few_calls_beyond_the_function_on_arrays(name, torch):
    """A call is a small fraction of a microsecond, and both are to be within 100 of each other."""
    import pairtile.torch as mine

    x, y = sets(8, 8, 4, dtype="float32")
    arrays = [rows.detach().numpy() for rows in (x, y)]

    def there_and_back():
        getattr(mine, name)(x, y, temperature=1.0).backward()
        x.grad = y.grad = None

    plain = calls_of(lambda: getattr(pt, name)(*arrays, temperature=1.0, grad=True))
    assert calls_of(there_and_back) - plain <= 150


# --- what is computed ----------------------------------------------------------------------------


def test_nothing_but_what_requires_a_gradient_is_differentiated(torch, monkeypatch):
    import pairtile.torch as mine
    from pairtile._front.differentiable import FUNCTIONS

    function = FUNCTIONS["clip_loss"]
    plain, asked = function.plain, []
    monkeypatch.setitem(
        function.__dict__,
        "plain",
        lambda **given: asked.append(given.get("grad", False)) or plain(**given),
    )
    x, y = sets(7, 7)
    mine.clip_loss(x.detach(), y.detach(), temperature=1.0)
    with torch.no_grad():
        mine.clip_loss(x, y, temperature=1.0)
    assert asked == [False, False]
    loss = mine.clip_loss(x, y.detach(), temperature=1.0)
    assert asked.pop() == {"x"}
    loss.backward()
    assert x.grad is not None
    assert y.grad is None


@pytest.mark.parametrize("name", CASES)
def test_one_gradient_alone_is_that_among_all(name, torch):
    """Of a set, of a scale, of weights: the bits do not depend on what else is wanted."""
    function, tensors = case(name)
    value = function(*tensors)
    right = torch.autograd.grad(value, tensors)
    for at, expected in enumerate(right):
        given = [one.detach().requires_grad_(i == at) for i, one in enumerate(tensors)]
        alone = function(*given)
        assert alone.item() == pytest.approx(value.item(), rel=1e-12)
        (found,) = torch.autograd.grad(alone, given[at])
        assert torch.equal(found, expected), at


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(
    ("name", "wanted", "asked"),
    [
        ("info_nce", "x", (True, True, False)),
        ("info_nce", "y", (True, False, True)),
        ("info_nce", "logit_scale", (True, False, False)),
        ("info_nce", "weights", (False, False, False)),
        ("clip_loss", "y", (True, False, True)),
        ("siglip_loss", "x", (True, True, False)),
        ("siglip_loss", "bias", (True, False, False)),
        ("supcon_loss", "x", (True, True, False)),
        ("supcon_loss", "bank", (True, False, True)),
        ("supcon_loss", "weights", (False, False, False)),
        ("nt_xent_loss", "y", (True, True, False)),
        ("nt_xent_loss", "logit_scale", (True, False, False)),
    ],
)
def test_the_backend_computes_no_other_gradient(name, wanted, asked, reduction, torch, monkeypatch):
    import pairtile.torch as mine
    from pairtile._backends import choose

    x, y = sets(6, 6, grad=False)
    given = {"logit_scale": number(1.5, grad=False)}
    given["weights"] = number(np.linspace(1, 2, 12 if name == "nt_xent_loss" else 6), grad=False)
    second = {"y": y}
    if name == "siglip_loss":
        given["bias"] = number(-1.0, grad=False)
    if name == "supcon_loss":
        labels = torch.tensor(LABELS)
        second = {"labels": labels}
        given |= {"bank": y, "bank_labels": labels}
    (x if wanted == "x" else {**second, **given}[wanted]).requires_grad_()
    module, seen = choose.module(x.numpy(force=True)), []

    class Spy:
        def __getattr__(self, function):
            def call(*args, **options):
                found = getattr(module, function)(*args, **options)
                if function.endswith("losses"):
                    seen.append(tuple(options[flag] for flag in ("grad", "grad_x", "grad_y")))
                    given = sum(np.ndim(one) == 2 for one in found)
                    assert given == options["grad"] * sum(seen[-1][1:])
                return found

            return call

    monkeypatch.setattr(choose, "module", lambda *_: Spy())
    loss = getattr(mine, name)(x, *second.values(), reduction=reduction, **given)
    loss.sum().backward()
    assert seen[-1] == asked


@pytest.mark.parametrize(
    ("name", "wanted", "gradients"),
    [  # by which of its sets each call of the backend has gradients; a set by itself is x to it
        ("mmd", "x", ["x", "", "x"]),
        ("mmd", "y", ["", "x", "y"]),
        ("mmd", "x_weights", ["", "", ""]),
        ("energy_distance", "x", ["x", "", "x"]),
        ("hsic", "x", ["x"]),
        ("hsic", "y", ["x"]),
        ("cka", "y", ["x", "x"]),
        ("kernel_stein_discrepancy", "scores", ["x"]),
        ("sliced_wasserstein", "x", ["x"]),
        ("sliced_wasserstein", "y", ["y"]),
        ("sliced_wasserstein", "y_weights", [""]),
        ("sliced_energy", "y", ["y"]),
        ("wasserstein_1d", "y", ["y"]),
        ("wasserstein_1d", "x_weights", [""]),
    ],
)
def test_statistics_compute_no_other_gradient(name, wanted, gradients, torch, monkeypatch):
    import pairtile.torch as mine
    from pairtile._backends import choose

    x, y = sets(6, 6, grad=False)
    second = "scores" if name == "kernel_stein_discrepancy" else "y"
    given = {"x": x, second: y}
    if wanted.endswith("weights"):
        given[wanted] = number(np.linspace(1, 2, 6), grad=False)
    given[wanted].requires_grad_()
    module, seen = choose.module(x.numpy(force=True)), []
    by_rows = {
        "kernel_gradient": slice(2, 4),
        "joint_kernel_gradient": slice(0, 1),
        "sliced_costs": slice(1, 3),
        "sliced_energy_costs": slice(1, 3),
    }

    class Spy:
        def __getattr__(self, function):
            def call(*args, **options):
                found = getattr(module, function)(*args, **options)
                if function in by_rows:
                    each = (found if isinstance(found, tuple) else (found,))[by_rows[function]]
                    sides = zip("xy", each, strict=False)
                    seen.append("".join(side for side, g in sides if g is not None and len(g)))
                return found

            return call

    monkeypatch.setattr(choose, "module", lambda *_: Spy())
    monkeypatch.setattr(choose, "over", lambda *_: Spy())
    rows = {one: given.pop(one) for one in ("x", second)}
    options = {"n_projections": 4, "rng": 0} if name.startswith("sliced") else {}
    getattr(mine, name)(*rows.values(), **given, **options).sum().backward()
    assert seen == gradients


def test_a_scale_may_be_a_vector_of_one(torch):
    import pairtile.torch as mine

    x, y = sets()
    one = torch.nn.Parameter(torch.tensor([0.8]))
    mine.info_nce(x, y, temperature=one).backward()
    number_ = number(0.8)
    mine.info_nce(x, y, temperature=number_).backward()
    assert one.grad.shape == (1,)
    assert one.grad.item() == pytest.approx(number_.grad.item(), rel=1e-6)


def test_compiled_code_follows_a_number_that_changes(torch):
    import pairtile.torch as mine

    x, y = sets()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def loss(x, y, temperature):
        return mine.info_nce(x, y, temperature=temperature)

    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for temperature in (0.1, 0.2, 0.3, 0.4, 0.5):
        expected = mine.info_nce(x, y, temperature=temperature)
        assert compiled(x, y, temperature).item() == expected.item()
    assert len(graphs) <= 2


def test_compiled_losses_of_rows(torch):
    import pairtile.torch as mine

    x, y = sets(7, 7)

    def rows(x, y):
        return mine.clip_loss(x, y, temperature=0.5, reduction="none")

    upstream = torch.linspace(-1, 1, 7, dtype=torch.float64)
    compiled = torch.compile(rows, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x, y), rows(x, y)
    torch.testing.assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(found, (x, y), upstream),
        torch.autograd.grad(expected, (x, y), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


# --- modules -------------------------------------------------------------------------------------


def test_a_module_has_the_parameters_it_was_given(torch):
    import pairtile.torch as mine

    x, y = sets(6, 6, dtype="float32")
    scale = torch.nn.Parameter(torch.tensor(2.0))
    bias = torch.nn.Parameter(torch.tensor(-1.0))
    module = mine.SigLipLoss(logit_scale=scale, bias=bias, normalize=True)
    assert dict(module.named_parameters()) == {"logit_scale": scale, "bias": bias}
    assert set(module.state_dict()) == {"logit_scale", "bias"}
    module(x, y).backward()
    assert scale.grad is not None
    assert bias.grad is not None
    assert repr(module) == "SigLipLoss(normalize=True)"
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = module(x, y).item()
    optimizer.step()
    assert module(x, y).item() < before


def test_what_is_passed_to_forward_takes_precedence(torch):
    import pairtile.torch as mine

    x, y = sets(6, 6)
    scale = number(2.0)
    module = mine.ClipLoss(temperature=0.1)
    found = module(x, y, logit_scale=scale)
    found.backward()
    assert found.item() == mine.clip_loss(x, y, logit_scale=2.0).item()
    assert scale.grad.item() != 0
    assert module(x, y).item() == mine.clip_loss(x, y, temperature=0.1).item()
    assert module(x, y, reduction="none").shape == (6,)
    assert mine.ClipLoss()(x, y, logit_scale=2.0).item() == found.item()


def test_a_compiled_module_with_a_kernel(torch):
    import pairtile.torch as mine

    x, y = (v.detach() for v in sets())
    for module in (
        mine.MMD(kernel=pt.Gaussian("median") + 2 * pt.Laplace(2.0), squared=False),
        mine.EnergyDistance(exponent=1.5),
        mine.SlicedWasserstein(n_projections=8, rng=0),
    ):
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        assert compiled(x, y).item() == pytest.approx(module(x, y).item(), rel=1e-12)


def test_tensors_of_a_module_move_with_it(torch):
    import pairtile.torch as mine

    module = mine.MMD(x_weights=torch.ones(7))
    assert dict(module.named_buffers()).keys() == {"x_weights"}
    assert module.double().x_weights.dtype == torch.float64
    assert module.state_dict() == {}


# --- what is refused -----------------------------------------------------------------------------


def test_functions_on_arrays_say_where_gradients_are(torch):
    x, y = sets()
    weights = torch.ones(7, requires_grad=True)
    calls = [
        lambda x, y, **o: pt.info_nce(x, y, temperature=1.0, **o),
        lambda x, y, **o: pt.mmd(x, y, **o),
        lambda x, y, **o: pt.knn(x, y, 2, **o),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"(x|queries) requires a gradient.*pairtile\.torch"):
            call(x, y.detach())
        with torch.no_grad():
            expected = call(x, y)
        found = call(x.detach(), y.detach())
        assert repr(found) == repr(expected)
    with pytest.raises(TypeError, match=r"^x_weights requires a gradient.*pairtile\.torch"):
        pt.mmd(x.detach(), y.detach(), x_weights=weights)


def test_bad_calls(torch):
    import pairtile.torch as mine

    x, y = sets()
    with pytest.raises(TypeError, match=r"x must be a tensor.*pairtile\.info_nce takes arrays"):
        mine.info_nce(x.detach().numpy(), y, temperature=1.0)
    with pytest.raises(TypeError, match="lacks the argument 'y'"):
        mine.info_nce(x, temperature=1.0)
    with pytest.raises(TypeError, match="positional arguments: x, y; got 3"):
        mine.info_nce(x, y, 0.1)
    with pytest.raises(TypeError, match="takes no keyword 'n_jobs'; here it is workers"):
        mine.info_nce(x, y, temperature=1.0, n_jobs=2)
    with pytest.raises(
        TypeError, match="takes no keyword 'temperature_'; did you mean temperature"
    ):
        mine.InfoNCE(temperature_=1.0)
    for name in ("grad", "grad_rows", "progress", "tau"):
        with pytest.raises(TypeError, match=f"takes no keyword '{name}'"):
            mine.info_nce(x, y, temperature=1.0, **{name: True})
        with pytest.raises(TypeError, match=f"takes no keyword '{name}'"):
            mine.InfoNCE(**{name: True})
    with pytest.raises(TypeError, match="two values of 'y'"):
        mine.info_nce(x, y, y=y, temperature=1.0)
    with pytest.raises(ValueError, match="unknown reduction 'sum'; known: 'mean' and 'none'"):
        mine.info_nce(x, y, temperature=1.0, reduction="sum")
    with pytest.raises(ValueError, match="unknown reduction 'none'; known: 'mean'"):
        mine.mmd(x, y, reduction="none")
    with pytest.raises(ValueError, match="exactly one of temperature= and logit_scale="):
        mine.info_nce(x, y)
    directions = torch.tensor(DIRECTIONS, requires_grad=True)
    with pytest.raises(ValueError, match=r"no gradient by directions.*directions\.detach"):
        mine.sliced_wasserstein(x, y, directions=directions)
    with pytest.raises(TypeError, match="only CPU and CUDA tensors"):
        mine.info_nce(x.to("meta"), y.to("meta"), temperature=1.0)
    with pytest.raises(ValueError, match="x contains NaN"):
        mine.info_nce(x * math.nan, y, temperature=1.0)


def test_functions_describe_themselves(torch):
    import pairtile.torch as mine

    text = inspect.getdoc(mine.info_nce)
    assert "cross-entropy of each row" in text
    assert "`temperature`" in text
    parameters = inspect.signature(mine.info_nce).parameters
    assert list(parameters)[:2] == ["x", "y"]
    assert {"temperature", "normalize", "reduction"} <= parameters.keys()
    assert not {"grad", "grad_rows"} & parameters.keys()
    assert "reduction" not in inspect.signature(mine.mmd).parameters


def test_without_pytorch_the_extra_is_named():
    done = run_python("""
        import sys
        sys.modules["torch"] = None
        import pairtile
        try:
            import pairtile.torch
        except ImportError as error:
            print(error)
    """)
    assert 'pip install "pairtile[torch]"' in done
