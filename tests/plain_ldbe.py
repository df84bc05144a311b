"""The plain form of LDBE, step by step as its spec has it, with the reference's softmaxes, sorts and loops.

It reproduces the golden numbers, judges the fast forms in the tests, and is what `tools/benchmark.py` times them
against.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# ------------------------------------------------------------------------------------------- sections 4 and 5: training


def label_denoising(logits: Tensor, label: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """4.1 to 4.3: logits (N, C, H, W), labels (N, H, W) with 255 = ignore -> positive, entropy and negative loss."""
    positive = F.cross_entropy(logits, label, ignore_index=255)  # NaN without a label, as in the reference
    prob = F.softmax(logits, dim=1)
    entropy = -(prob * F.log_softmax(prob, dim=1)).sum(1).mean()
    prob = F.softmax(logits, dim=1)
    complement = torch.log(torch.clamp(1 - prob, 1e-5, 1))
    negative = F.nll_loss(complement, negative_label(prob, rank))
    return positive, entropy, negative


def negative_label(prob: Tensor, rank: int) -> Tensor:
    """4.3: the class of a rank, from 1 for the most probable one; (N, C, H, W) -> (N, H, W)."""
    return prob.detach().topk(rank, dim=1).indices[:, rank - 1]


def class_mix(image: Tensor, label: Tensor, conf: Tensor, permutations: np.ndarray) -> tuple[list, Tensor, tuple]:
    """4.4: permutations (N, K) of each sample's sorted classes, -1 pad -> classes chosen, mask, the three mixes."""
    chosen, masks = [], []
    for own, permutation in zip(label, permutations, strict=True):
        classes = own.unique()  # sorted
        order = permutation[permutation >= 0]
        assert sorted(order) == list(range(len(classes)))
        chosen.append([int(classes[i]) for i in order[: len(classes) // 2]])
        mask = torch.zeros(own.shape, dtype=torch.bool)
        for c in chosen[-1]:
            mask |= own == c
        masks.append(mask)
    mixes: tuple[list, list, list] = ([], [], [])
    for i, mask in enumerate(masks):
        j = (i + 1) % len(masks)
        for mixed, values in zip(mixes, (image, label, conf), strict=True):
            mixed.append(torch.where(mask, values[i], values[j]))
    return chosen, torch.stack(masks), tuple(torch.stack(mixed) for mixed in mixes)


def boundary_enhancement(logits: Tensor, label: Tensor, conf: Tensor, threshold: float = 0.97) -> Tensor:
    """4.5: logits (N, C, H, W), labels (N, H, W) with -1 = ignore, their confidences -> loss (NaN for no pixel)."""
    pixel = F.cross_entropy(logits, label, ignore_index=-1, reduction='none')
    weighted = []
    for own, q, y in zip(pixel, conf, label, strict=True):
        weight = (q >= threshold).sum() / (y >= 0).sum()
        weighted.append(weight * own)
    return torch.stack(weighted)[pixel > 0].mean()


def decay(step: int) -> float:
    """4.6: the teacher's share in its update after ``step`` others."""
    return min(1 - 1 / (step + 1), 0.99)


def dense_labels(logits: Tensor, selected: Tensor) -> tuple[Tensor, Tensor]:
    """5.3, point 2: the teacher's logits (N, C, H, W), labels with 255 = none -> dense labels and confidences."""
    conf, label = F.softmax(logits, dim=1).max(1)
    for i in range(len(label)):
        there = selected[i] != 255
        label[i][there] = selected[i][there]
        conf[i][there] = 1.0
    return label, conf


def learning_rate(base: float, iteration: int) -> float:
    """5.4, and 5.1 where the iteration counts from 1."""
    return base * (1 - iteration / 5000) ** 0.9


# ---------------------------------------------------------------------------------------- section 6: pseudo-labels


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
