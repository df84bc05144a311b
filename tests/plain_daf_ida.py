"""DAF+IDA step by step as its spec has it (sections 4, 5 and 11): the oracle of the fast forms."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the labelled pixels by mask, transpose and boolean gather of every value (spec 6.3)."""
    keep = label != 255  # (N, H, W)
    rows = logits.permute(0, 2, 3, 1)  # (N, H, W, C)
    rows = rows[keep[..., None].expand_as(rows)].view(-1, rows.shape[-1])  # (n, C)
    return F.cross_entropy(rows, label[keep].long())


def berhu(pred: Tensor, target: Tensor) -> Tensor:
    error = (pred - target).abs()
    limit = 0.2 * error.max().item()
    large = error > limit
    return torch.where(large, (error**2 + limit**2) / (2 * limit), error).mean()


def self_information(logits: Tensor) -> Tensor:
    prob = F.softmax(logits, dim=1)
    return -prob * torch.log2(prob + 1e-30) / np.log2(logits.shape[1])


def bce(scores: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def up(maps: Tensor, image: Tensor) -> Tensor:
    return F.interpolate(maps, size=image.shape[2:], mode='bilinear', align_corners=True)


def adversarial_iteration(
    network: Callable[[Tensor], tuple[Tensor, Tensor]],
    discriminator: nn.Module,
    source: dict[str, Tensor],
    target: dict[str, Tensor],
    powers: tuple[int, int],
    adv_weight: float,
    disc_weight: float,
) -> list[float]:
    """One iteration of DAF (powers 1, 2) or IDA (powers 0, 0) up to the optimizers' steps (spec 11).

    Returns:
        CE, berHu (DAF only), adversarial and the discriminator's target term.
    """
    b, a = powers
    discriminator.requires_grad_(False)
    zs, ds = network(source['image'])
    zs, ds = up(zs, source['image']), up(ds, source['image'])
    terms = [cross_entropy(zs, source['label'])]
    if b:
        terms.append(berhu(ds, source['depth']))
    sum(weight * term for weight, term in zip((1, 1e-3), terms, strict=False)).backward()
    zt, dt = network(target['image'])
    zt, dt = up(zt, target['image']), up(dt, target['image'])
    seen_target = self_information(zt)
    for _ in range(a):
        seen_target = seen_target * dt
    adversarial = bce(discriminator(seen_target), 0.0)
    (adv_weight * adversarial).backward()
    discriminator.requires_grad_(True)
    seen_source = self_information(zs)
    for _ in range(b):
        seen_source = seen_source * ds
    (disc_weight * bce(discriminator(seen_source.detach()), 0.0)).backward()
    last = disc_weight * bce(discriminator(seen_target.detach()), 1.0)
    last.backward()
    return [value.item() for value in (*terms, adversarial, last)]


def score_and_label(logits: Tensor, depth: Tensor, rare_classes: tuple[int, ...] | None = None) -> tuple[float, Tensor]:
    """Score and label of one image, logits (1, C, H, W) and depth (1, 1, H, W) at the size of its label (spec 6.2)."""
    score = (self_information(logits) * depth).mean().item()
    label = logits.argmax(1)[0]
    if rare_classes is not None:
        shown = sum(int((label == number).any()) for number in rare_classes)
        score *= (len(rare_classes) - shown) / len(rare_classes) + 0.5
    return score, label
