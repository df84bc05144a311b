"""From maps of a network's size to those of the labels."""

from collections.abc import Mapping, Sequence
from typing import Any

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


def at_file_size(maps: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """Maps (1, C, h, w) at the size of the image file, less padding, as mmseg brings logits there; never flipped back.

    Args:
        maps: Such as depth.
        meta: ``img_shape`` and ``ori_shape`` (height, width) of the sample, ``pad_shape`` and ``padding_size`` (left,
            right, top, bottom) if it was padded.
    """
    height, width = meta.get('pad_shape', meta['img_shape'])[:2]
    left, right, top, bottom = meta.get('padding_size', (0, 0, 0, 0))
    maps = F.interpolate(maps, size=(height, width), mode='bilinear', align_corners=True)
    maps = maps[..., top : height - bottom, left : width - right]
    if maps.shape[-2:] == tuple(meta['ori_shape']):
        return maps
    return F.interpolate(maps, size=meta['ori_shape'], mode='bilinear', align_corners=True)
