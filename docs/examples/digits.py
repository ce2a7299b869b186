"""What the examples share: scikit-learn's digits, two views of a digit, a small encoder."""

import torch
from sklearn.datasets import load_digits


def load(train=1400):
    """Images and labels to learn from, and those to judge by."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 8, 8)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], torch.tensor(labels)[order]
    return images[:train], labels[:train], images[train:], labels[train:]


def view(images, generator):
    """The images moved by up to a pixel either way, brighter or darker, with noise; flat."""
    n = len(images)
    rows, columns = (torch.randint(-1, 2, (n, 1, 1), generator=generator) for _ in range(2))
    at = torch.arange(8)
    moved = images[torch.arange(n)[:, None, None], (at[:, None] + rows) % 8, (at + columns) % 8]
    light = 0.7 + 0.6 * torch.rand(n, 1, 1, generator=generator)
    return (light * moved + 0.1 * torch.randn(n, 8, 8, generator=generator)).flatten(1)


def encoder(width=32):
    """From pixels to a vector."""
    return torch.nn.Sequential(
        torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, width)
    )


def probe(train, train_labels, test, test_labels):
    """Accuracy of a logistic regression on features."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=2000).fit(train.numpy(), train_labels.numpy())
    return model.score(test.numpy(), test_labels.numpy())
