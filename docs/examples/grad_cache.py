"""A batch whose activations do not fit: embeddings first, then their gradients, then the encoder.

The loss needs all embeddings at once, which are small; only the encoder's activations are large.
So the encoder runs without a graph, the loss gives the gradient of each embedding, and the encoder
runs again, piece by piece, with that gradient to begin from (GradCache: Gao, Zhang, Han and Callan,
2021). The gradients are those of the whole batch.
"""

import torch
from digits import encoder, load, view

import pairtile.torch

BATCH, PIECE = 2048, 256


def whole(model, x, y, loss):
    """Gradients with all activations in memory."""
    model.zero_grad()
    loss(model(x), model(y)).backward()
    return [p.grad.clone() for p in model.parameters()]


def in_pieces(model, x, y, loss):
    """The same gradients with the activations of a piece."""
    model.zero_grad()
    with torch.no_grad():
        embedded = [torch.cat([model(part) for part in side.split(PIECE)]) for side in (x, y)]
    leaves = [side.requires_grad_() for side in embedded]
    loss(*leaves).backward()
    for side, leaf in zip((x, y), leaves, strict=True):
        for part, gradient in zip(side.split(PIECE), leaf.grad.split(PIECE), strict=True):
            model(part).backward(gradient)
    return [p.grad.clone() for p in model.parameters()]


def main():
    """Compare both, and train for a few steps."""
    images, *_ = load()
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, module = encoder(), pairtile.torch.InfoNCE(temperature=0.1, normalize=True)

    def batch():
        rows = images[torch.randint(len(images), (BATCH,), generator=generator)]
        return view(rows, generator), view(rows, generator)

    x, y = batch()
    pairs = zip(whole(model, x, y, module), in_pieces(model, x, y, module), strict=True)
    off = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    print(f"largest difference of a gradient: {off:.1e}")

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for number in range(10):
        x, y = batch()
        in_pieces(model, x, y, module)
        optimizer.step()
        if number in (0, 9):
            with torch.no_grad():
                print(f"step {number}: loss {module(model(x), model(y)).item():.3f}")


if __name__ == "__main__":
    main()
