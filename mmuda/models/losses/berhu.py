"""The reverse Huber loss of depth regression."""

import torch
from torch import Tensor


def berhu(pred: Tensor, target: Tensor, share: float = 0.2) -> Tensor:
    """Reverse Huber loss (DAF+IDA spec 4): absolute for small errors, squared for large ones.

    With e = |pred - target| and c = ``share`` of the largest e of the whole batch: e up to c, else (e^2 + c^2) / 2c.

    Args:
        pred: Of any shape.
        target: Of the same shape; every value counts.
        share: Where the square begins. No gradient flows through c.

    Returns:
        The mean, a scalar; of a perfect prediction 0 with zero gradient.
    """
    error = (pred - target).abs()
    # Nowhere 0: where() also differentiates the branch that it does not take.
    limit = (share * error.detach().amax()).clamp(min=torch.finfo(error.dtype).tiny)
    return torch.where(error <= limit, error, (error.square() + limit.square()) / (2 * limit)).mean()
