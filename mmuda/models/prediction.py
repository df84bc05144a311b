"""From the maps of many classes to one label map, at the size of the labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def resized_argmax(maps: Tensor, sizes: Sequence[tuple[int, int]], align_corners: bool) -> Tensor:
    """The class with the largest map at every pixel, as ``.argmax(dim=1)`` of the resized maps.

    Class by class: at the size of the labels, the maps of all classes together would be many times the result.

    Args:
        maps: (N, C, h, w), logits or probabilities of at most 255 classes.
        sizes: Heights and widths that the maps are interpolated to, one after the other: two interpolations are not the
            same function as one. A map that has the size already is left alone.
        align_corners: Of the bilinear interpolations.

    Returns:
        Classes (N, H, W) uint8 at the last size; the first of several with equal maps.
    """
    largest = label = None
    for number, one in enumerate(maps.contiguous().split(1, dim=1)):  # (N, 1, h, w)
        for size in sizes:
            if one.shape[-2:] != tuple(size):
                one = F.interpolate(one, size=size, mode='bilinear', align_corners=align_corners)
        if largest is None:
            largest, label = one.clone(), torch.zeros_like(one, dtype=torch.uint8)
            continue
        better = (one > largest).view(torch.uint8).mul_(number)
        torch.maximum(label, better, out=label)  # numbers grow from class to class, so the better one is the larger
        torch.maximum(largest, one, out=largest)
    return label[:, 0]
