"""Class mixing: some classes of one image, drawn by random keys, on another; on the device, without waiting for it."""

import torch
from torch import Tensor

from mmuda.datasets.classes import IGNORE


def paste(top: Tensor, ground: Tensor, mask: Tensor) -> Tensor:
    """Images (N, 3, h, w): ``top`` where ``mask`` (N, h, w) is set, else ``ground``."""
    return torch.where(mask[:, None], top, ground)


def present_classes(label: Tensor, num_ids: int) -> Tensor:
    """Which ids occur in each label map (N, h, w): bool (N, 1 + num_ids), column 0 for ignore, 1 + c for class c."""
    present = torch.zeros(len(label), num_ids + 1, dtype=torch.bool, device=label.device)
    return present.scatter_(1, _column(label).flatten(1), True)


def draw_classes(pool: Tensor, keys: Tensor, at_least: int = 0) -> Tensor:
    """Half of each row's pool, rounded down: those with the smallest random ``keys``.

    Args:
        pool: Which ids may be drawn, bool, in the columns of :func:`present_classes`.
        keys: Random numbers, one per id, of the shape of ``pool`` (see ``DrawKeys``).
        at_least: Size of a draw from a pool whose half is less.
    """
    wanted = (pool.sum(1, keepdim=True) // 2).clamp(min=at_least)
    rank = keys.masked_fill(~pool, torch.inf).argsort(1).argsort(1)
    return pool & (rank < wanted)


def pixels_of(chosen: Tensor, label: Tensor) -> Tensor:
    """The pixels (N, h, w), bool, of label maps whose id is ``chosen``, in the columns of :func:`present_classes`."""
    return chosen.gather(1, _column(label).flatten(1)).view_as(label)


def _column(label: Tensor) -> Tensor:
    return torch.where(label == IGNORE, 0, label + 1)
