"""Depth Distribution step by step as its spec has it (sections 2.5, 4 and 6): the oracle of the fast forms."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmuda.models.density import Mixtures

# ------------------------------------------------------------------------------------------------------- density


def mixture(mixtures: Mixtures, c: int, u: float, v: float, z: float) -> float:
    """p_c at one point (6.1)."""
    total = 0.0
    for weight, mean, var in zip(
        mixtures.weight[c].tolist(), mixtures.mean[c].tolist(), mixtures.var[c].tolist(), strict=True
    ):
        p = weight
        for x, m, s in zip((u, v, z), mean, var, strict=True):
            p *= math.exp(-((x - m) ** 2) / (2 * s)) / math.sqrt(2 * math.pi * s)
        total += p
    return total


def mapped(p: float | np.ndarray) -> float | np.ndarray:
    return 255 * (1 - np.exp(-1e6 * p))


def target_density(mixtures: Mixtures, classes: Tensor, depth: Tensor) -> Tensor:
    """Cell by cell: each class with the depth of all others zeroed, and the maximum over the classes (section 4)."""
    h, w = classes.shape
    found = torch.zeros(len(mixtures.weight), h, w, dtype=torch.float64)
    for c in range(len(found)):
        own = depth * (classes == c)
        for v in range(h):
            for u in range(w):
                if own[v, u] > 0:
                    found[c, v, u] = mapped(mixture(mixtures, c, u, v, own[v, u].item()))
    return found.amax(0)[None, None]


def source_maps(mixtures: Mixtures, label: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The reference's map files of an image: p_c of every cell, with depth 0 where the label is another (2.5)."""
    (h, w), maps = mixtures.grid, []
    weights, means, variances = (part.numpy() for part in mixtures[1:])
    v, u = np.mgrid[:h, :w]
    for c, (weight, mean, var) in enumerate(zip(weights, means, variances, strict=True)):
        own = (65536 / (depth.astype(np.float32) + 1)) * (label == c)
        z = np.asarray(Image.fromarray(own).resize((w, h), Image.Resampling.NEAREST))
        x = np.stack([u, v, z.astype(np.float64)], -1)[..., None, :]  # (h, w, 1, 3)
        normal = np.exp(-((x - mean) ** 2) / (2 * var)) / np.sqrt(2 * np.pi * var)
        maps.append((weight * normal.prod(-1)).sum(-1))
    return np.stack(maps)


def source_density(maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The map of the predicted class at every cell, mapped."""
    values = mapped(maps)
    return np.take_along_axis(values, classes[None].astype(np.int64), 0)[0]


# ------------------------------------------------------------------------------------------------------- fitting


def em_step(x: Tensor, weight: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of EM with (n, k, d) tensors (6.1).

    Returns:
        The mean log-likelihood of the given parameters, and the next weight, mean and variance.
    """
    error = x[:, None] - mean  # (n, k, d)
    log_prob = -0.5 * (error**2 / var + torch.log(2 * math.pi * var)).sum(-1)
    joint = log_prob + weight.log()
    log_sum = torch.logsumexp(joint, 1, keepdim=True)
    share = torch.exp(joint - log_sum)[..., None]  # (n, k, 1)
    count = share.sum(0) + 1e-6
    mean = (share * x[:, None]).sum(0) / count
    var = (share * x[:, None] ** 2).sum(0) / count - 2 * mean * (share * x[:, None]).sum(0) / count + mean**2 + 1e-6
    return log_sum.mean(), count[:, 0] / len(x), mean, var


def em(x: Tensor, mean: Tensor, var: Tensor, steps: int = 101) -> tuple[Tensor, Tensor, Tensor, float]:
    """EM from given means and variances until the mean log-likelihood grows by less than 1e-3 (6.1)."""
    weight = torch.full((len(mean),), 1 / len(mean), dtype=x.dtype)
    before = -math.inf
    for _ in range(steps):
        likelihood, *after = em_step(x, weight, mean, var)
        if likelihood - before < 1e-3:
            break
        before = likelihood
        weight, mean, var = after
    return weight, mean, var, float(likelihood)


# ------------------------------------------------------------------------------------------------- pseudo-labels


def drop_small_regions(label: np.ndarray, smallest: list[int]) -> np.ndarray:
    """Flood every 8-connected region of one class, and set it to 255 if it has too few pixels (6.2)."""
    label, seen = label.copy(), np.zeros(label.shape, bool)
    for start in zip(*np.nonzero(label != 255), strict=True):
        if seen[start]:
            continue
        c, region, front = label[start], [], [start]
        seen[start] = True
        while front:
            v, u = front.pop()
            region.append((v, u))
            for near in ((v + dv, u + du) for dv in (-1, 0, 1) for du in (-1, 0, 1)):
                inside = 0 <= near[0] < label.shape[0] and 0 <= near[1] < label.shape[1]
                if inside and not seen[near] and label[near] == c:
                    seen[near] = True
                    front.append(near)
        if len(region) < smallest[c]:
            label[tuple(np.transpose(region))] = 255
    return label


# -------------------------------------------------------------------------------------------------------- losses


def berhu(pred: Tensor, target: Tensor) -> Tensor:
    error = (pred - target).abs()
    limit = 0.2 * error.max().item()
    return torch.where(error <= limit, error, (error**2 + limit**2) / (2 * limit)).mean()


def weighted_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    keep = label != 255
    rows = logits.permute(0, 2, 3, 1)[keep]
    return F.cross_entropy(rows, label[keep], weight)


def self_information(logits: Tensor) -> Tensor:
    prob = F.softmax(logits, dim=1)
    return -prob * torch.log2(prob + 1e-30) / math.log2(logits.shape[1])
