"""The plain form of LDBE's offline round: spec 6.1 and 6.2 step by step, with their softmaxes, loops and sorts.

It reproduces the golden numbers, judges the fast form in the tests, and is what `tools/benchmark.py offline` times it
against. What the reference computes and throws away (spec 6.2, last line) is left out.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners: (N, C, h, w) -> (N, C, H, W)."""
    return F.interpolate(logits, size=size, mode='bilinear', align_corners=True)


def confident_values(logits: Tensor, stride: int = 5) -> list[list[float]]:
    """6.1 for one image: logits (1, C, H, W) -> per class every ``stride``-th of its pixels' confidences, ascending."""
    prob = torch.softmax(logits, dim=1)[0]  # (C, H, W)
    conf, label = prob.max(dim=0)  # (H, W)
    values = []
    for c in range(prob.shape[0]):
        of_class = conf[label == c].tolist()
        of_class.sort()
        values.append(of_class[::stride])
    return values


def thresholds(pooled: list[list[float]], prop: float, cap: float = 0.999999999) -> list[float]:
    """6.1 over all images: the pooled values of each class -> its threshold, infinite for a class without values."""
    result = []
    for values in pooled:
        if not values:
            result.append(math.inf)
            continue
        descending = sorted(values, reverse=True)
        result.append(min(descending[int(len(values) * prop) - 1], cap))  # index -1, the smallest, if the share is < 1
    return result


def global_rule(logits: Tensor, delta: list[float]) -> tuple[Tensor, Tensor]:
    """6.2: logits (1, C, H, W) -> how many classes exceed their threshold (H, W), and the labels of such pixels."""
    prob = torch.softmax(logits, dim=1)[0]
    count = torch.zeros(prob.shape[1:], dtype=torch.int64)
    for c in range(prob.shape[0]):
        count += prob[c] > torch.tensor(delta[c], dtype=torch.float32)
    return count, keep_where(count > 0, prob.max(dim=0).indices)


def local_rule(logits: Tensor, prop: float) -> tuple[Tensor, Tensor]:
    """6.2: logits (1, C, H, W) -> whether above the image's own threshold (H, W), and the labels of such pixels."""
    conf, label = torch.softmax(logits, dim=1)[0].max(dim=0)
    descending = torch.sort(conf.flatten(), descending=True).values
    mask = conf > descending[int(prop * conf.numel()) - 1]
    return mask, keep_where(mask, label)


def keep_where(mask: Tensor, label: Tensor) -> Tensor:
    """Labels (H, W) with 255 where the mask is not set."""
    return torch.where(mask, label, torch.full_like(label, 255))


def fuse(count: Tensor, mask: Tensor, global_label: Tensor, local_label: Tensor) -> tuple[Tensor, Tensor]:
    """6.2: how many rules take a pixel, and its label by whichever does (H, W) uint8."""
    return count + mask, torch.where(count > 0, global_label, local_label).to(torch.uint8)


def select(logits: Tensor, delta: list[float], prop: float) -> Tensor:
    """6.2: logits (1, C, H, W) at label size -> label (H, W) uint8, 255 where neither rule takes the pixel."""
    count, global_label = global_rule(logits, delta)
    mask, local_label = local_rule(logits, prop)
    return fuse(count, mask, global_label, local_label)[1]


def offline_round(logits: list[Tensor], size: tuple[int, int], prop: float) -> tuple[list[float], list[Tensor]]:
    """Both steps for images whose logits (1, C, h, w) have network-input size; labels (H, W) have ``size``."""
    pooled: list[list[float]] = [[] for _ in range(logits[0].shape[1])]
    for image in logits:
        for values, new in zip(pooled, confident_values(image), strict=True):
            values.extend(new)
    delta = thresholds(pooled, prop)
    return delta, [select(upsample(image, size), delta, prop) for image in logits]
