"""What test_jax.py runs in a process of its own: JAX's threads and `os.fork` do not agree."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

import pairtile as pt
import pairtile.jax as mine

jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(0)
X, Y, Z = (jnp.asarray(RNG.normal(size=(n, 3))) for n in (6, 9, 6))
LABELS = jnp.asarray([0, 1, 0, 2, 1, 0])
W = jnp.linspace(1.0, 2.0, 6)
SCALE = jnp.asarray(1.5)

# name -> (function of arrays alone, arrays)
CASES = {
    "info_nce": (lambda x, y, t, w: mine.info_nce(x, y, temperature=t, weights=w), (X, Y, W, W)),
    "clip_loss": (lambda x, y, s: mine.clip_loss(x, y, logit_scale=s), (X, Z, SCALE)),
    "gist_loss": (
        lambda x, y, s: mine.gist_loss(
            x, y, x_guide=np.asarray(X)[:, :2], y_guide=np.asarray(Z)[:, 1:], logit_scale=s
        ),
        (X, Z, SCALE),
    ),
    "siglip_loss": (
        lambda x, y, t, b: mine.siglip_loss(x, y, temperature=t, bias=b, normalize=True),
        (X, Y, SCALE, -SCALE),
    ),
    "supcon_loss": (lambda x, t: mine.supcon_loss(x, LABELS, temperature=t), (X, SCALE)),
    "nt_xent_loss": (lambda x, y, t: mine.nt_xent_loss(x, y, temperature=t), (X, Z, SCALE)),
    "triplet_loss": (lambda x, w: mine.triplet_loss(x, LABELS, weights=w), (X, W)),
    "circle_loss": (None, None),  # whose weights count as constants
    "multi_similarity_loss": (
        lambda x: mine.multi_similarity_loss(x, LABELS, normalize=True),
        (X,),
    ),
    "alignment": (lambda x, y: mine.alignment(x, y, alpha=1.5), (X, Z)),
    "uniformity": (lambda x: mine.uniformity(x, normalize=True), (X,)),
    "mmd": (lambda x, y, v: mine.mmd(x, y, kernel=pt.Gaussian(1.0), x_weights=v), (X, Y, W)),
    "energy_distance": (mine.energy_distance, (X, Y)),
    "sliced_wasserstein": (
        lambda x, y, v: mine.sliced_wasserstein(x, y, directions=np.eye(3), x_weights=v),
        (X, Z, W),
    ),
    "sliced_energy": (lambda x, y: mine.sliced_energy(x, y, n_projections=5, rng=0), (X, Y)),
    "wasserstein_1d": (
        lambda x, y, v: mine.wasserstein_1d(x, y, p=2, x_weights=v) @ jnp.asarray([1.0, -2.0, 0.5]),
        (X, Y, W),
    ),
    "hsic": (
        lambda x, y: mine.hsic(x, y, x_kernel=pt.Gaussian(1.0), y_kernel="linear"),
        (X, Z),
    ),
    "cka": (mine.cka, (X, Z)),
    "kernel_stein_discrepancy": (
        lambda x, s: mine.kernel_stein_discrepancy(x, s, kernel=pt.Gaussian(1.0)),
        (X, Z),
    ),
}


def refusal(call):
    try:
        call()
    except (TypeError, ValueError, RuntimeError) as error:
        return str(error)
    return "nothing"


def info_nce(x, y, t):
    x, y = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    scores = x @ y.T / t
    return (jax.nn.logsumexp(scores, axis=1) - jnp.diagonal(scores)).mean()


def differences():
    """How far value and gradients are from JAX's own, plain and compiled, in both precisions."""
    off = {}
    for dtype in ("float32", "float64"):
        given = [v.astype(dtype) for v in (X, Z, SCALE)]
        expected = jax.tree.leaves(jax.value_and_grad(info_nce, (0, 1, 2))(X, Z, SCALE))
        for name, wrapped in (("plain", lambda f: f), ("jit", jax.jit)):
            found = wrapped(
                jax.value_and_grad(
                    lambda x, y, t: mine.info_nce(x, y, temperature=t, normalize=True), (0, 1, 2)
                )
            )(*given)
            found = jax.tree.leaves(found)
            assert all(v.dtype == dtype for v in found)
            off[f"{dtype} {name}"] = max(
                float(jnp.abs(a - b).max()) for a, b in zip(found, expected, strict=True)
            )
    return off


def main():
    checked = []
    for name, (function, arrays) in CASES.items():
        if function is not None:
            check_grads(function, arrays, order=1, modes=["rev"])
            check_grads(jax.jit(function), arrays, order=1, modes=["rev"])
        checked.append(name)
    batch = jnp.stack([X, Z])
    print(
        json.dumps(
            {
                "names": sorted(mine.__all__),
                "checked": sorted(checked),
                "off": differences(),
                "vmap": [float(v) for v in jax.vmap(mine.uniformity)(batch)],
                "one by one": [pt.uniformity(np.asarray(v)) for v in (X, Z)],
                "half": str(jax.grad(mine.uniformity)(X.astype(jnp.bfloat16)).dtype),
                "no gradient": refusal(
                    lambda: jax.grad(lambda d: mine.sliced_wasserstein(X, Z, directions=d))(
                        jnp.eye(3)
                    )
                ),
                "twice": refusal(lambda: jax.hessian(mine.uniformity)(X)),
                "keyword": refusal(lambda: mine.info_nce(X, Z, temperature=1.0, grad=True)),
                "both": refusal(lambda: mine.info_nce(X, Z)),
            }
        )
    )


if __name__ == "__main__":
    main()
