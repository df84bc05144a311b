"""Pixel cross entropy with a defined value for an empty set."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmuda.datasets.classes import IGNORE


def cross_entropy(logits: Tensor, label: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Mean cross entropy over the pixels of a batch that carry a label; see :func:`nll` for all but the logits.

    Args:
        logits: (N, C, H, W).
        label: (N, H, W), int64, 255 = ignore.
        class_weight: (C,).
    """
    return nll(torch.log_softmax(logits.float(), dim=1), label, class_weight)


def nll(log_prob: Tensor, label: Tensor, class_weight: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood over the pixels of a batch that carry a label.

    Args:
        log_prob: Log-probabilities (N, C, H, W), for terms that share one log-softmax.
        label: (N, H, W), int64, 255 = ignore.
        class_weight: (C,), above 0; the mean is one weighted by it.

    Returns:
        A scalar in fp32. A batch without one labelled pixel gives 0 with a graph (EHTDI spec T13: the mean over nothing
        would be NaN and poison the network).
    """
    total = F.nll_loss(log_prob, label, class_weight, ignore_index=IGNORE, reduction='sum')
    keep = label != IGNORE
    if class_weight is None:
        return total / keep.sum().clamp(min=1)
    size = (class_weight[label.where(keep, 0)] * keep).sum()
    return total / size.clamp(min=torch.finfo(size.dtype).tiny)


def auxiliary_loss(name: str, weight: float, heads: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
    """The term that a network's auxiliary heads add to a loss.

    Args:
        name: The term's name.
        weight: Weight of every such head.
        heads: Logits (N, C, H, W) of each auxiliary head.
        label: (N, H, W), int64, 255 = ignore.

    Returns:
        The sum of their weighted cross entropies under ``name``; nothing for a network that has no such head.
    """
    return {name: weight * sum(cross_entropy(logits, label) for logits in heads)} if heads else {}


def softmax_confidence(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest class probability and its class, (N, H, W) each, of logits (N, C, H, W)."""
    return torch.softmax(logits.float(), dim=1).max(dim=1)
