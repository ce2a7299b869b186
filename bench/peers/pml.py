"""pytorch-metric-learning: a miner of triplets, and their loss with autograd."""

from collections.abc import Callable

import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer

from bench.case import Arrays
from bench.cases import Triplet
from bench.peers import distribution_version


def start(threads: int) -> None:
    torch.set_num_threads(threads)


def describe() -> str:
    return distribution_version("pml")


def triplet(case: Triplet, arrays: Arrays, threads: int) -> Callable[[], object]:
    x = torch.from_numpy(arrays["x"]).requires_grad_()
    labels = torch.from_numpy(arrays["labels"])
    distance = LpDistance(normalize_embeddings=False)
    miner = BatchHardMiner(distance=distance)
    loss = TripletMarginLoss(margin=case.margin, distance=distance, reducer=MeanReducer())

    def call() -> object:
        value = loss(x, labels, miner(x, labels))
        (gradient,) = torch.autograd.grad(value, [x])
        return value.item(), gradient.numpy()

    return call
