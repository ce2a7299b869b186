"""Two towers that learn to recognise two views of one digit: CLIP's loss, PyTorch's and ours.

At one batch size both learn the same. Then memory is limited: a batch of 8,192 is more than
PyTorch's matrix of scores and its copies leave room for, and no trouble without the matrix.
"""

import resource
import sys

import torch
from digits import encoder, load, view
from torch.nn.functional import cross_entropy, normalize

import pairtile.torch

BATCH, STEPS, LARGE, ROOM = 256, 100, 8192, 256 << 20


def theirs(x, y, scale):
    """All scores at once."""
    scores = scale * normalize(x) @ normalize(y).T
    at = torch.arange(len(x))
    return (cross_entropy(scores, at) + cross_entropy(scores.T, at)) / 2


def ours(x, y, scale):
    """Never more of them than a tile."""
    return pairtile.torch.clip_loss(x, y, logit_scale=scale, normalize=True)


class Towers(torch.nn.Module):
    """An encoder for each view, and the logarithm of the scale."""

    def __init__(self):
        super().__init__()
        self.one, self.other = encoder(), encoder()
        self.log_scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x, y):
        """Both embeddings and the scale."""
        return self.one(x), self.other(y), self.log_scale.exp()


def step(model, optimizer, loss, images, generator, batch):
    """One step on a batch of pairs of views."""
    rows = images[torch.randint(len(images), (batch,), generator=generator)]
    value = loss(*model(view(rows, generator), view(rows, generator)))
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


def accuracy(model, images, labels):
    """How often the nearest view in the other tower shows the same number."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        x, y, _ = model(view(images, generator), view(images, generator))
        nearest = (normalize(x) @ normalize(y).T).argmax(1)
    return (labels[nearest] == labels).double().mean().item()


def train(loss, images):
    """A model, its optimizer and its generator, after some steps."""
    torch.manual_seed(0)
    model, generator = Towers(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        step(model, optimizer, loss, images, generator, BATCH)
    return model, optimizer, generator


def limit_memory():
    """No more than ROOM bytes beside what is in use."""
    with open("/proc/self/status") as lines:
        used = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))


def main():
    """Train with both, then with a large batch in little memory."""
    images, _, held_out, labels = load()
    models = {loss.__name__: train(loss, images) for loss in (theirs, ours)}
    for name, (model, *_) in models.items():
        print(f"{name}: accuracy {accuracy(model, held_out, labels):.3f}")
    if not sys.platform.startswith("linux"):
        return
    limit_memory()
    for loss in (theirs, ours):
        model, optimizer, generator = models[loss.__name__]
        try:
            value = step(model, optimizer, loss, images, generator, LARGE)
            print(f"{loss.__name__}: a batch of {LARGE}, loss {value:.2f}")
        except (MemoryError, RuntimeError) as error:
            print(f"{loss.__name__}: a batch of {LARGE}: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
