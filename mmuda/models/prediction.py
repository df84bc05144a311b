"""From the maps of many classes to one label map, at the size of the labels."""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def max_at(maps: Tensor, size: tuple[int, int], align_corners: bool) -> tuple[Tensor, Tensor]:
    """Scale the maps of every class and take their maximum, as ``F.interpolate(maps, ...).max(dim=1)`` does.

    Class by class: at the size of a label map, the maps of all classes would be many times larger than the result.

    Args:
        maps: (N, C, h, w), logits or probabilities; at most 255 classes, as in any label map.
        size: Height and width (H, W) of the result; maps of this size are not interpolated.
        align_corners: Of the bilinear interpolation.

    Returns:
        The largest value, (N, H, W) as ``maps``, and its class, uint8; the first one where several are equal.
    """
    largest = label = None
    for number, one in enumerate(maps.split(1, dim=1)):  # (N, 1, h, w)
        if one.shape[-2:] != tuple(size):
            one = F.interpolate(one, size=size, mode='bilinear', align_corners=align_corners)
        if largest is None:
            largest, label = one.clone(), torch.zeros_like(one, dtype=torch.uint8)
            continue
        better = (one > largest).view(torch.uint8).mul_(number)
        torch.maximum(label, better, out=label)  # the numbers grow: a later class is the larger number
        torch.maximum(largest, one, out=largest)
    return largest[:, 0], label[:, 0]
