"""LDBE: Domain Adaptive Semantic Segmentation without Source Data (You et al., ACM MM 2021, arXiv 2110.06484).

Both stages see target images and pseudo-labels of them on disk, nothing of the source but the weights they start from.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmuda.datasets.classes import IGNORE
from mmuda.models.losses import nll, softmax_confidence
from mmuda.models.uda.base import Batch, Losses, UDASegmentor, labels_of
from mmuda.models.uda.mixing import draw_classes, paste, pixels_of, present_classes
from mmuda.registry import MODELS


@MODELS.register_module()
class LabelDenoising(UDASegmentor):
    """Stage 1: positive learning where a pseudo-label was selected, entropy and negative learning everywhere.

    One iteration (LDBE spec 4.1 to 4.3):

    .. code:: text

     tgt  target crop -> cross entropy with the selected pseudo-labels
                      -> entropy of the prediction
                      -> negative learning: less of a class of medium rank, whose rank is drawn once per iteration

    Args:
        positive_weight: Weight of the cross entropy.
        entropy_weight: Weight of the entropy.
        negative_weight: Weight of the negative learning.
        entropy: ``'double_softmax'``, the reference's (T10), or ``'shannon'``, the paper's.
        entropy_pixels: ``'all'``, as the reference, or ``'unselected'``: those without a pseudo-label, as the paper.
    """

    def __init__(
        self,
        *,
        positive_weight: float = 1.0,
        entropy_weight: float = 1.0,
        negative_weight: float = 1.0,
        entropy: str = 'double_softmax',
        entropy_pixels: str = 'all',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if entropy not in ('double_softmax', 'shannon'):
            raise ValueError(f"model.entropy={entropy!r}: choose 'double_softmax' or 'shannon'")
        if entropy_pixels not in ('all', 'unselected'):
            raise ValueError(f"model.entropy_pixels={entropy_pixels!r}: choose 'all' or 'unselected'")
        self.positive_weight = positive_weight
        self.entropy_weight = entropy_weight
        self.negative_weight = negative_weight
        self.entropy = entropy
        self.entropy_pixels = entropy_pixels

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        image, label = data['target']['image'], labels_of(data['target'], 'target')
        logits = self.upsample(self.main_head(image), image)  # (N, C, H, W)
        yield 'tgt', self.losses(logits, label, draw_rank(logits.shape[1]))

    def losses(self, logits: Tensor, label: Tensor, rank: int) -> Losses:
        """The three terms of logits (N, C, H, W), from one log-softmax, for labels (N, H, W) and a negative rank."""
        log_prob = logits.log_softmax(1)
        prob = log_prob.exp()
        selected = label != IGNORE
        if self.entropy == 'shannon':
            entropy = -(prob * log_prob).sum(1)  # (N, H, W)
        else:
            entropy = double_softmax_entropy(prob)
        counted = ~selected if self.entropy_pixels == 'unselected' else torch.ones_like(selected)
        return {
            'loss_seg': self.positive_weight * nll(log_prob, label),
            'loss_entropy': self.entropy_weight * (entropy * counted).sum() / counted.sum().clamp(min=1),
            'loss_negative': self.negative_weight * negative_learning(prob, rank),
            'selected_ratio': selected.float().mean(),
        }


@MODELS.register_module()
class BoundaryEnhancement(UDASegmentor):
    """Stage 2: class mixing between target images, with dense labels whose gaps a mean teacher fills.

    One iteration (LDBE spec 4.4, 4.5 and 5.3):

    .. code:: text

          target crop -> teacher (no gradient): classes and confidences where no pseudo-label was selected
          half of a crop's classes are pasted on the next crop of the batch, with their labels and confidences
     tgt  mixed -> cross entropy, weighted for each image by its share of confident pixels

    Args:
        confidence: From this on a pixel counts as confident.
    """

    def __init__(self, *, confidence: float = 0.97, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.teacher is None:
            raise ValueError(
                'BoundaryEnhancement needs model.teacher, e.g. dict(momentum=0.01, warm_up=True, '
                "copy_buffers_every=None, mode='train')"
            )
        self.confidence = confidence

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        target = data['target']
        label, conf = self.dense_labels(target['image'], labels_of(target, 'target'))
        image, label, conf = class_mix(target['image'], label, conf, target['keys'])
        self.note(mixed=image, mixed_label=label, confidence=conf)
        logits = self.upsample(self.main_head(image), image)  # (N, C, H, W)
        yield (
            'tgt',
            {
                'loss_mixed': confidence_weighted_cross_entropy(logits, label, conf, self.confidence),
                'confident_ratio': (conf >= self.confidence).float().mean(),
            },
        )

    @torch.no_grad()
    def dense_labels(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Fill what is ignored in labels (N, H, W) by the teacher's predictions on the images before mixing.

        Returns:
            Labels without 255 and their confidences, (N, H, W) each; a label that was there has confidence 1.
        """
        logits = self.upsample(self.main_head(image, self.teacher.model), image)  # (N, C, H, W)
        conf, predicted = softmax_confidence(logits)
        selected = label != IGNORE
        return torch.where(selected, label, predicted), torch.where(selected, 1.0, conf)


def double_softmax_entropy(prob: Tensor) -> Tensor:
    """The reference's "entropy" (LDBE spec 4.2, T10): the cross entropy of p = ``prob`` with softmax(p), in place of p.

    Args:
        prob: Probabilities (N, C, H, W).

    Returns:
        log sum_c exp(p_c) - sum_c p_c^2, (N, H, W): log(C) where p is uniform, log(e + C - 1) - 1 where it is certain.
    """
    return _DoubleSoftmaxEntropy.apply(prob)


class _DoubleSoftmaxEntropy(torch.autograd.Function):
    """Its derivative, softmax(p) - 2 p, falls off on the way to its value."""

    @staticmethod
    def forward(ctx: Any, prob: Tensor) -> Tensor:
        grad = prob.exp()
        total = grad.sum(1, keepdim=True)
        ctx.save_for_backward(grad.div_(total).sub_(prob, alpha=2))
        return total.log().squeeze(1) - prob.square().sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return ctx.saved_tensors[0] * grad_output[:, None]


def draw_rank(num_classes: int) -> int:
    """The rank of the negative class: half the classes plus one of -3..3 (LDBE spec 4.3), at least 2.

    From Python's generator, which ``IterationSeedHook`` seeds alike on every process: one rank per iteration.
    """
    return min(max(num_classes // 2 + random.randint(-3, 3), 2), num_classes)


def negative_learning(prob: Tensor, rank: int) -> Tensor:
    """Mean over all pixels of -log(1 - p) of a class of medium rank, a heuristic complementary label (LDBE spec 4.3).

    The true class of a wrong prediction is likely to be among the first ranks, where negative learning would be wrong.

    Args:
        prob: Probabilities (N, C, H, W).
        rank: Which class of each pixel, counted from 1 for the most probable one.

    Returns:
        A scalar. Where 1 - p is below 1e-5 it counts as 1e-5, without gradient.
    """
    complement = 1 - prob.gather(1, class_of_rank(prob.detach(), rank))
    return -complement.clamp(1e-5, 1).log().mean()


def class_of_rank(prob: Tensor, rank: int) -> Tensor:
    """The class of a rank, counted from 1 for the most probable one, at each pixel of (N, C, H, W): (N, 1, H, W)."""
    from_below = prob.shape[1] + 1 - rank
    nearer = min(rank, from_below)
    return prob.topk(nearer, dim=1, largest=rank == nearer).indices[:, -1:]


def class_mix(image: Tensor, label: Tensor, conf: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Paste half of each sample's classes, rounded down, on the next sample, the first after the last (LDBE spec 4.4).

    Args:
        image: (N, 3, H, W).
        label: (N, H, W).
        conf: Confidences of the labels, (N, H, W).
        keys: Random numbers (N, 1 + C) that choose the classes; see ``DrawKeys``.

    Returns:
        Image, label and confidence of each mix; a batch of one comes back as it is.
    """
    own = pixels_of(draw_classes(present_classes(label, keys.shape[1] - 1), keys), label)  # (N, H, W)
    return (
        paste(image, image.roll(-1, 0), own),
        torch.where(own, label, label.roll(-1, 0)),
        torch.where(own, conf, conf.roll(-1, 0)),
    )


def confidence_weighted_cross_entropy(logits: Tensor, label: Tensor, conf: Tensor, threshold: float) -> Tensor:
    """Cross entropy with one weight per sample, the share of its pixels that are confident (LDBE spec 4.5).

    Args:
        logits: (N, C, H, W).
        label: (N, H, W), int64, 255 = ignore.
        conf: Confidences of the labels, (N, H, W).
        threshold: From this confidence on, inclusive, a pixel is confident.

    Returns:
        A scalar in fp32: the weighted sum over the number of pixels of the batch whose cross entropy is above 0; of a
        batch without one, 0 with a graph.
    """
    pixel = F.cross_entropy(logits, label, ignore_index=IGNORE, reduction='none')  # (N, H, W)
    weight = (conf >= threshold).sum((1, 2)) / (label != IGNORE).sum((1, 2)).clamp(min=1)  # (N,)
    return (weight[:, None, None] * pixel).sum() / (pixel > 0).sum().clamp(min=1)
