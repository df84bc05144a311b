"""Pixel cross entropy with a defined value for an empty set."""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross entropy over the pixels of a batch that carry a label.

    Args:
        logits: (N, C, H, W).
        label: (N, H, W), int64, 255 = ignore.

    Returns:
        A scalar in fp32. A batch without one labelled pixel gives 0 with a graph (EHTDI spec T13: the mean over nothing
        would be NaN and poison the network).
    """
    total = F.cross_entropy(logits.float(), label, ignore_index=IGNORE, reduction='sum')
    return total / (label != IGNORE).sum().clamp(min=1)


def softmax_confidence(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest class probability and its class, (N, H, W) each, of logits (N, C, H, W)."""
    return torch.softmax(logits.float(), dim=1).max(dim=1)
