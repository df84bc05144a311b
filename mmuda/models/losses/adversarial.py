"""What a discriminator, or who wants to mislead it, minimises: the distance of its scores to the label of a domain."""

import torch.nn.functional as F
from torch import Tensor

SOURCE, TARGET = 0, 1
"""The discriminator's labels of the domains (DAF+IDA spec 4, HIAST spec 4)."""


def binary_cross_entropy(scores: Tensor, label: int) -> Tensor:
    """Mean binary cross entropy of scores (before the sigmoid) of any shape with one label, 0 or 1, for all of them."""
    return F.softplus(-scores if label else scores).mean()


def least_squares(scores: Tensor, label: int) -> Tensor:
    """Mean squared distance of scores of any shape to one label for all of them (LSGAN)."""
    return (scores - label).square().mean()
