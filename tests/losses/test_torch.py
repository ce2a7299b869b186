"""Every contrastive loss, option and reduction against PyTorch's autograd, tensors in and out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import pairtile as pt
from loss_cases import CASES

pytestmark = pytest.mark.oracle("torch")

N, MORE, D = 26, 9, 7


def data(case: Any) -> Any:
    rng = np.random.default_rng(8)
    m = case.rows_of_y(N, MORE)
    x, y = rng.normal(size=(N, D)), rng.normal(size=(m, D))
    return x, None if case.y == "none" else y, case.options(rng, N, 0 if case.y == "none" else m)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "weighted mean", "upstream", "by row"])
def test_values_and_gradients_are_autograds(name, normalize, dtype, reduction):
    import torch

    from loss_torch import per_row

    case = CASES[name]
    a, b, options = data(case)
    a, b = (None if z is None else z.astype(dtype) for z in (a, b))
    rng, rows = np.random.default_rng(4), case.losses(N)
    options = {"normalize": normalize} | options | case.least
    more: dict[str, Any] = {}
    scale = rng.random(rows) + 0.5 if reduction == "by row" else np.array(0.8)
    if case.scaled:
        more["temperature"] = 1 / scale
    w, u = rng.random(rows), rng.normal(size=rows)
    more |= {"weighted mean": {"weights": w}, "upstream": {"grad_rows": u}}.get(reduction, {})
    right = case.wanted(a, b, **options, **more)
    assert right.gap > 1e-4

    def leaf(values: Any) -> Any:
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    x, y = leaf(a), None if b is None else leaf(b)
    s, bias, weights = leaf(scale), leaf(options.get("bias", 0.0)), leaf(w)
    of_torch = {k: v for k, v in options.items() if k not in ("bias", "no_positive")}
    losses = per_row(case.loss, x, y, s if case.scaled else None, bias, **of_torch)
    counts = torch.tensor(right.counts)
    if reduction == "upstream":
        loss = losses[counts] @ torch.tensor(u)[counts]
    elif reduction == "weighted mean":
        loss = (losses @ (weights * counts)) / (weights * counts).sum()
    else:
        loss = losses[counts].mean()
    loss.backward()

    got = case.call(a, b, grad=True, **options, **more)
    eps = (1e-12 if dtype == "float64" else 2e-6) * (1 + right.size)
    np.testing.assert_allclose(got.per_row, losses.detach().numpy(), rtol=eps, atol=eps)
    if reduction != "upstream":
        assert got.loss == pytest.approx(loss.item(), rel=eps, abs=eps)
    leaves = {"grad_x": x, "grad_y": y}
    if case.scaled:
        leaves["grad_scale"] = s
    if case.loss == "siglip_loss":
        leaves["grad_bias"] = bias
    if reduction == "weighted mean":
        leaves["grad_weights"] = weights
    for field, tensor in leaves.items():
        mine = getattr(got, field)
        if tensor is None:
            assert mine is None
        else:
            bound = eps * np.max(right.terms[field])
            np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=0, atol=bound)


@pytest.mark.parametrize("name", CASES)
def test_tensors_come_back_as_tensors(name):
    import torch

    def tensors(options: dict[str, Any]) -> dict[str, Any]:
        return {
            k: torch.tensor(v) if isinstance(v, np.ndarray) and v.dtype.kind in "if" else v
            for k, v in options.items()
        }

    case = CASES[name]
    x, y, options = data(case)
    options["weights"] = np.random.default_rng(4).random(case.losses(N))
    if case.scaled:
        options["temperature"] = np.full(case.losses(N), 0.7)
    x, y = (None if z is None else z.astype(np.float32) for z in (x, y))
    right = case.call(x, y, grad=True, **options)
    tensor_of_y = None if y is None else torch.tensor(y)
    got = case.call(torch.tensor(x), tensor_of_y, grad=True, **tensors(options))
    for field, value in vars(right).items():
        mine = getattr(got, field)
        if isinstance(value, np.ndarray):
            assert mine.dtype == getattr(torch, value.dtype.name)
            np.testing.assert_array_equal(mine.numpy(), value)
        else:
            assert type(mine) is type(value)
            assert mine == value


def test_positives_of_a_sparse_tensor_by_its_parts():
    import torch

    rng = np.random.default_rng(5)
    dense = rng.random((6, 8)) * (rng.random((6, 8)) < 0.4)
    x, y = rng.normal(size=(2, 8, 3))
    sparse = scipy.sparse.csr_array(dense)
    parts = tuple(torch.tensor(part) for part in (sparse.indptr, sparse.indices, sparse.data))
    got = pt.info_nce(x[:6], y, positive_weights=parts, temperature=1.0)
    scores = torch.tensor(x[:6] @ y.T)
    shares = torch.tensor(dense / np.maximum(dense.sum(axis=1, keepdims=True), 1e-300))
    right = torch.nn.functional.cross_entropy(scores, shares, reduction="none")
    np.testing.assert_allclose(got.per_row, right.numpy() * dense.any(axis=1), rtol=1e-12)
