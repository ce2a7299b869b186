"""SupCon pretraining, then a linear probe: features in which one line separates the digits.

The encoder learns from 200 labelled digits by `supcon_loss`, with two views of each; then a
logistic regression reads its features, and those of an encoder that has learnt nothing.
"""

import torch
from digits import encoder, load, probe, view

import pairtile.torch

LABELLED, STEPS = 200, 100


def main():
    """Accuracy on digits that neither has seen."""
    images, labels, test, test_labels = load(train=LABELLED)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    untrained, trained = encoder(), encoder()
    optimizer = torch.optim.Adam(trained.parameters(), lr=3e-3)
    for number in range(STEPS):
        x = torch.cat([view(images, generator), view(images, generator)])
        loss = pairtile.torch.supcon_loss(
            trained(x), labels.repeat(2), temperature=0.1, normalize=True
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number in (0, STEPS - 1):
            print(f"step {number}: loss {loss.item():.3f}")
    for name, model in (("untrained", untrained), ("SupCon", trained)):
        with torch.no_grad():
            features = [model(rows.flatten(1)) for rows in (images, test)]
        print(f"{name}: accuracy {probe(features[0], labels, features[1], test_labels):.3f}")


if __name__ == "__main__":
    main()
