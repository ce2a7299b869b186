"""A two-sample test whose kernel is learned: of features in which the samples differ most visibly.

Half of each sample trains an encoder to raise the ratio that test power grows with, MMD² over its
standard deviation (`mmd_power`); the other half is tested with the kernel of its features. The
standard deviation is measured at each step and counts as a constant in the gradient; the median
bandwidth keeps the encoder from growing for nothing (Liu et al., Learning deep kernels, ICML 2020).
"""

import math

import torch
from digits import encoder, load

import pairtile
import pairtile.torch

EACH, STEPS, BATCH, PIXEL = 400, 60, 128, (3, 4)


def samples(generator, changed):
    """Digits, and other digits of which, where `changed`, one pixel hangs at its mean."""
    images, _, more, _ = load()
    images = torch.cat([images, more])
    images = images + 0.05 * torch.randn(images.shape, generator=generator)
    at = torch.randperm(len(images), generator=generator)[: 4 * EACH]
    x, y = images[at[: 2 * EACH]], images[at[2 * EACH :]]
    if changed:
        y[:, *PIXEL] = x[:, *PIXEL].mean() + 0.05 * torch.randn(len(y), generator=generator)
    return x.flatten(1), y.flatten(1)


def learn(x, y):
    """An encoder in whose features the samples differ."""
    torch.manual_seed(0)
    model, generator = encoder(8), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(STEPS):
        rows = (torch.randperm(EACH, generator=generator)[:BATCH] for _ in range(2))
        u, v = (model(side[some]) for side, some in zip((x, y), rows, strict=True))
        seen = pairtile.mmd_power(u.detach(), v.detach())
        spread = math.sqrt(max(seen.variance_h1, 1e-8))
        loss = -pairtile.torch.mmd(u, v) / spread
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def pvalue(x, y, model=None):
    """Of the test on pixels, or on features."""
    with torch.no_grad():
        if model is not None:
            x, y = model(x), model(y)
        return pairtile.mmd_test(x, y, rng=0).pvalue


def main():
    """Both tests of samples that differ, and of samples that do not."""
    for name, changed in (("a pixel hangs", True), ("no difference", False)):
        x, y = samples(torch.Generator().manual_seed(4), changed)
        model = learn(x[:EACH], y[:EACH])
        rest = x[EACH:], y[EACH:]
        print(f"{name}: p = {pvalue(*rest):.3f} of pixels, {pvalue(*rest, model):.3f} learned")


if __name__ == "__main__":
    main()
