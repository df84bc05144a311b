"""HIAST: Hard-aware Instance Adaptive Self-Training (Zhu et al., TPAMI 2025, arXiv 2302.06992), and its predecessor.

The last stages of both: they see target images and pseudo-labels of them on disk, nothing of the source but the weights
they start from. The warm-up before them is :class:`Adversarial`; pixels are selected by ``InstanceAdaptive``, hard
classes pasted by ``HardClassCopyPaste``.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmuda.datasets.classes import IGNORE
from mmuda.models.uda.base import Batch, Losses, UDASegmentor, labels_of
from mmuda.registry import MODELS

TERMS = ('cross_entropy', 'kld', 'entropy', 'consistency')
REGIONS = ('ignored', 'confident', 'all')
_BAND = 8192  # pixels: what a CPU computes of so many stays in its cache


@MODELS.register_module()
class IAST(UDASegmentor):
    """Self-training with region-adaptive regularisation (Mei et al., ECCV 2020; HIAST spec 4).

    One iteration:

    .. code:: text

     tgt  target crop -> cross entropy where a pseudo-label was selected, kept from certainty by the divergence from
                         the uniform distribution; entropy where none was

    Args:
        kld_weight: Weight of that divergence.
        entropy_weight: Weight of the entropy.
    """

    def __init__(self, *, kld_weight: float = 0.1, entropy_weight: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kld_weight = kld_weight
        self.entropy_weight = entropy_weight

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        image, label = data['target']['image'], labels_of(data['target'], 'target')
        logits = self.upsample(self.main_head(image), image)  # (N, C, H, W)
        yield 'tgt', region_adaptive_terms(logits, label, (1.0, self.kld_weight, self.entropy_weight))


@MODELS.register_module()
class HIAST(UDASegmentor):
    """The same on a strong view, beside consistency with the mean teacher's prediction on the weak one.

    One iteration (HIAST spec 5.3); the loader has pasted hard classes on the crop and made the two views of it:

    .. code:: text

          weak view -> teacher (no gradient): class probabilities
     tgt  strong view -> cross entropy and divergence from the uniform distribution where a pseudo-label was selected,
                         entropy and soft cross entropy with the teacher where none was

    Args:
        kld_weight: Weight of the divergence.
        entropy_weight: Weight of the entropy.
        consistency_weight: Weight of the soft cross entropy.
        consistency_region: Where it counts: ``'ignored'``, ``'confident'`` or ``'all'`` pixels.
    """

    def __init__(
        self,
        *,
        kld_weight: float = 0.1,
        entropy_weight: float = 1.0,
        consistency_weight: float = 0.5,
        consistency_region: str = 'ignored',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.teacher is None:
            raise ValueError('HIAST needs model.teacher, e.g. dict(momentum=0.001)')
        if consistency_region not in REGIONS:
            raise ValueError(f'model.consistency_region={consistency_region!r}: choose one of {", ".join(REGIONS)}')
        self.weights = 1.0, kld_weight, entropy_weight, consistency_weight
        self.consistency_region = consistency_region

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        target = data['target']
        weak, label = target['image'], labels_of(target, 'target')
        if 'strong' not in target:
            raise ValueError(
                "HIAST learns from two views: put dict(type='mmuda.StrongView') before mmuda.Pack in "
                'train_dataloader.dataset.target.pipeline'
            )
        strong = target['strong']
        with torch.no_grad():
            teacher_logits = self.upsample(self.main_head(weak, self.teacher.model), weak)  # (N, C, H, W)
        self.note(weak=weak, strong=strong, pseudo_label=label, teacher=teacher_logits)
        logits = self.upsample(self.main_head(strong), strong)  # (N, C, H, W)
        yield 'tgt', region_adaptive_terms(logits, label, self.weights, teacher_logits, self.consistency_region)


def region_adaptive_terms(
    logits: Tensor,
    label: Tensor,
    weights: tuple[float, ...],
    teacher_logits: Tensor | None = None,
    region: str = 'ignored',
) -> Losses:
    """The total of :func:`region_adaptive_loss` as ``loss``, and each of its terms by name for the log."""
    loss, terms = region_adaptive_loss(logits, label, weights, teacher_logits, region)
    return {'loss': loss, **dict(zip(TERMS, terms, strict=False))}


def region_adaptive_loss(
    logits: Tensor,
    label: Tensor,
    weights: tuple[float, ...],
    teacher_logits: Tensor | None = None,
    region: str = 'ignored',
) -> tuple[Tensor, Tensor]:
    """Cross entropy, divergence from uniform, entropy and consistency with a teacher, from one log-softmax (spec 4).

    With p the probabilities, q the teacher's, y the label, C classes, and the N_c pixels that have a label or the N_i
    that have none, of the whole batch::

        cross_entropy = -sum log p_y / N_c                     where there is a label
        kld           = -sum_k log p_k / (C^2 N_c)             there, too
        entropy       = -sum_k p_k log p_k / (C N_i)           where there is none
        consistency   = -sum_k q_k log p_k / (C N)             in ``region``, of N pixels

    The divisors C are the reference's; its weights belong to them. A region without a pixel counts 0.

    Args:
        logits: (N, C, H, W), fp32.
        label: (N, H, W), int64, 255 = none.
        weights: Of the terms in that order; without a teacher of the first three.
        teacher_logits: (N, C, H, W), fp32; no gradient flows to them.
        region: One of :data:`REGIONS`.

    Returns:
        The weighted sum, and the weighted terms without gradient, (3,) or (4,).
    """
    return _RegionAdaptiveLoss.apply(logits, label, weights, teacher_logits, region)


class _RegionAdaptiveLoss(torch.autograd.Function):
    """Its derivative falls off on the way to its value, and is all that is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, label: Tensor, weights: tuple[float, ...], teacher_logits: Tensor | None, region: str
    ) -> tuple[Tensor, Tensor]:
        label = label[:, None]  # (N, 1, H, W)
        confident = label != IGNORE
        ignored = ~confident
        where = {'ignored': ignored, 'confident': confident, 'all': torch.ones_like(confident)}[region]
        shares = [pixels / pixels.sum().clamp(min=1).to(logits.dtype) for pixels in (confident, ignored, where)]
        label = label.where(confident, 0)
        grad = torch.empty_like(logits)
        rows = _BAND // (len(logits) * logits.shape[3]) + 1 if logits.device.type == 'cpu' else logits.shape[2]
        terms = 0
        for begin in range(0, logits.shape[2], rows):
            band = slice(begin, begin + rows)
            parts = [
                None if map_ is None else map_[:, :, band] for map_ in (grad, logits, label, teacher_logits, *shares)
            ]
            terms = terms + torch.stack(_fill_gradient(*parts, weights))
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(terms)
        return terms.sum(), terms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * grad_output, None, None, None, None


def _fill_gradient(
    grad: Tensor,
    logits: Tensor,
    label: Tensor,
    teacher_logits: Tensor | None,
    share_c: Tensor,
    share_i: Tensor,
    share_t: Tensor,
    weights: tuple[float, ...],
) -> list[Tensor]:
    """The weighted terms of some rows, and their derivative by the logits.

    d loss / d z = p (a + b log p) - c - d q - e onehot(y), with a, ..., e one number per pixel.

    Args:
        grad: Filled with the derivative, (N, C, h, W).
        logits: (N, C, h, W).
        label: (N, 1, h, W) without 255.
        teacher_logits: (N, C, h, W), or None.
        share_c: Of each pixel in the mean over those with a label, (N, 1, h, W).
        share_i: In the mean over those without.
        share_t: In the mean over the region of the consistency.
        weights: Of the terms.
    """
    classes = logits.shape[1]
    log_prob = logits.log_softmax(1)
    prob = log_prob.exp()
    entropy = -(prob * log_prob).sum(1, keepdim=True)
    own, kld, ent = weights[0], weights[1] / classes, weights[2] / classes
    terms = [
        -own * (log_prob.gather(1, label) * share_c).sum(),
        -kld / classes * (log_prob.sum(1, keepdim=True) * share_c).sum(),
        ent * (entropy * share_i).sum(),
    ]
    factor = (own + kld) * share_c - ent * share_i * entropy
    prob_t = None
    if teacher_logits is not None:
        share_t = weights[3] / classes * share_t
        prob_t = teacher_logits.softmax(1).mul_(share_t)
        terms.append(-(prob_t * log_prob).sum())
        factor += share_t
    torch.mul(prob, log_prob.mul_(-ent * share_i).add_(factor), out=prob).sub_(kld / classes * share_c)
    if prob_t is not None:
        prob.sub_(prob_t)
    grad.copy_(prob.scatter_add_(1, label, -own * share_c))
    return terms
