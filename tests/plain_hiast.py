"""The plain form of HIAST, step by step as its spec has it, with the reference's softmaxes, lists and loops.

It reproduces the golden numbers, judges the fast forms in the tests, and is what `tools/benchmark.py` times them
against.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# ---------------------------------------------------------------------------------------------------- section 4: losses


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the confident pixels; NaN without one, as in the reference. So the other terms."""
    return F.cross_entropy(logits, label, ignore_index=255)


def kld_to_uniform(logits: Tensor, label: Tensor) -> Tensor:
    """R_c: over the confident pixels, divided by C twice."""
    classes, region = logits.shape[1], (label != 255).float()[:, None]
    return -(F.log_softmax(logits, dim=1) / classes * region).sum() / (region.sum() * classes)


def entropy(logits: Tensor, label: Tensor) -> Tensor:
    """R_i: over the ignored pixels, divided by the number of elements."""
    region = (label == 255).float()[:, None]
    each = -F.softmax(logits, dim=1) * F.log_softmax(logits, dim=1)
    return (each * region).sum() / (region.sum() * logits.shape[1])


def consistency(logits: Tensor, teacher_logits: Tensor, label: Tensor, region: str = 'ignored') -> Tensor:
    """R_cst: soft cross entropy with the teacher, divided by the number of elements."""
    where = {'ignored': label == 255, 'confident': label != 255, 'all': torch.ones_like(label, dtype=torch.bool)}
    mask = where[region].float()[:, None]
    each = -F.softmax(teacher_logits, dim=1) * F.log_softmax(logits, dim=1)
    return (each * mask).sum() / (mask.sum() * logits.shape[1])


# ----------------------------------------------------------------------------------- section 6.1: thresholds and labels


def confident(logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logits (B, C, H, W) -> confidences and classes (B, H, W)."""
    conf, label = torch.softmax(logits, dim=1).max(1)
    return conf.numpy(), label.numpy()


def instance_threshold(
    conf: np.ndarray, label: np.ndarray, threshold: np.ndarray, alpha: float, gamma: float
) -> np.ndarray:
    """t (C,) float32 of a batch, from Python lists of its half-precision confidences."""
    values = [[one] for one in threshold]
    for one, c in zip(conf.astype(np.float16).ravel().tolist(), label.ravel().tolist(), strict=True):
        values[c].append(one)
    shares = 1 - alpha * threshold**gamma
    return np.array([np.quantile(v, q) for v, q in zip(values, shares, strict=True)], np.float32)


def next_threshold(threshold: np.ndarray, found: np.ndarray, beta: float) -> np.ndarray:
    """The moving average."""
    threshold = beta * threshold + (1 - beta) * found
    threshold[threshold >= 1] = 0.999
    return threshold


def select(conf: np.ndarray, label: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Labels of one image (H, W) uint8, pixel by pixel."""
    limits = np.apply_along_axis(lambda row: [threshold[c] for c in row], 1, label)
    chosen = label.copy()
    chosen[conf < limits] = 255
    return chosen.astype(np.uint8)


def class_values(values: np.ndarray, conf: np.ndarray, label: np.ndarray) -> np.ndarray:
    """v (C,) after a batch of labels with 255 (B, H, W)."""
    values = values.copy()
    for c in range(len(values)):
        own = conf[label == c]
        if own.size:
            mean = own.mean(dtype=np.float64)
            values[c] = mean if values[c] == 0 else 0.99 * values[c] + 0.01 * mean
    return values


def pixel_counts(label: np.ndarray, num_classes: int) -> list[int]:
    """How many pixels of each class a label (H, W) has."""
    return [int(sum(sum(label == c))) for c in range(num_classes)]


# ------------------------------------------------------------------------------------ sections 6.2 and 6.3: copy-paste


def donors(pixels: np.ndarray) -> list[int]:
    """Pixels of a class in each image -> the images to take it from, the smallest tenth of them left out."""
    holding = [(int(count), index) for index, count in enumerate(pixels) if count > 0]
    holding.sort(key=lambda pair: pair[0])
    return [index for _, index in holding[round(0.1 * len(holding)) :]]


def hard_classes(values: np.ndarray, number: int, ignored: tuple[int, ...] = ()) -> tuple[list[int], np.ndarray]:
    """The classes of smallest value, and every class's share of the draws."""
    order = sorted((c for c in range(len(values)) if c not in ignored), key=lambda c: values[c])
    weight = np.array([0.0 if c in ignored else (1 - value) ** 2 for c, value in enumerate(values)])
    return order[:number], weight / weight.sum()


def paste(
    image: np.ndarray, label: np.ndarray, donor: np.ndarray, donor_label: np.ndarray, hard: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """All hard classes of a donor on an image."""
    image, label = image.copy(), label.copy()
    for c in hard:
        mask = donor_label == c
        image[mask] = donor[mask]
        label[mask] = c
    return image, label
