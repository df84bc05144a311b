"""Entropy of the prediction: how much each pixel has to say, and the mean over all of them (DAF+IDA spec 4)."""

import math

import torch
from torch import Tensor


def self_information(logits: Tensor) -> Tensor:
    """Weighted self-information -p log p / log C of every class, the discriminator's input of AdvEnt.

    Args:
        logits: (N, C, H, W), fp32.

    Returns:
        (N, C, H, W), each 0 to 0.53 / log2 C. They sum over the classes to the pixel's entropy, 0 (certain) to 1.
    """
    log_prob = torch.log_softmax(logits, dim=1)
    return log_prob.exp() * log_prob / -math.log(logits.shape[1])


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean over all pixels of the entropy, 0 to 1, of logits (N, C, H, W): what MinEnt minimises."""
    return self_information(logits).sum(1).mean()
