"""EHTDI: Exploring High-quality Target Domain Information for UDA semantic segmentation (Li et al., ACM MM 2022)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmuda.datasets.classes import IGNORE
from mmuda.models.losses import (
    auxiliary_loss,
    cross_entropy,
    probability_contrast,
    prototype_contrast,
    softmax_confidence,
)
from mmuda.models.uda.base import Batch, Losses, UDASegmentor, labels_of
from mmuda.models.uda.mixing import draw_classes, paste, pixels_of, present_classes
from mmuda.registry import MODELS


class Areas(NamedTuple):
    """What is known of each pixel of the crops, (N, h, w) each; constants for the gradient.

    Attributes:
        truth: Class in the source crop, 255 = ignore.
        pasted: Whether it is pasted on the target in ``mixed`` and ``calm``.
        pseudo: Class predicted in the target crop, on the whole target image.
        all_heads: Class predicted by all heads together on ``calm``.
        confident: Whether the prediction that decides what is pasted back is sure of its class.
        predicted: That class.
    """

    truth: Tensor
    pasted: Tensor
    pseudo: Tensor
    all_heads: Tensor
    confident: Tensor
    predicted: Tensor


@MODELS.register_module()
class EHTDI(UDASegmentor):
    """Class mixing both ways between the domains, with a contrast between two views of the mixed image.

    One iteration (EHTDI spec 4 and 5); the order of the passes fixes the batch-norm statistics:

    .. code:: text

     src  source image   -> cross entropy of every head with the truth; back-propagated alone
          target image   -> pseudo-label (no gradient), cropped like the target's views
     tgt  mixed: source classes on the strong target view -> cross entropy with truth | pseudo-label
          calm:  the same classes on the weak target view -> auxiliary label, confidence, contrast with mixed
          back:  confident areas of mixed on the source   -> cross entropy

    A network without an auxiliary head has no auxiliary terms; the paper's has one.

    Args:
        aux_weight: Weight of the auxiliary head against the main head.
        target_weight: Weight of the cross entropies on ``mixed``.
        mix_weight: Weight of the cross entropy on ``back``.
        contrast_weight: Weight of the contrast (0.01 for GTA5, 0.008 for SYNTHIA).
        proto_scale: Scale (inverse temperature) of the contrast between class prototypes.
        pixel_scale: Scale of the contrast between pixels.
        confidence: Probability above which an area of ``calm`` is pasted back.
        paste_above: Source classes with a larger id are the pasting pool; it depends on the order of the ids (T21).
        paste_rule: ``'pool'`` draws from that pool. ``'below_pool'`` is the reference's off-by-one (T1): the class
            just below the pool can be drawn, the largest class present cannot.
        back_samples: Samples whose ``back`` image is learnt: ``'all'``, or ``'first'`` as the reference (T2).
        proto_samples: Samples with a prototype contrast: ``'all'``, or ``'first'`` as the reference (T3).
    """

    def __init__(
        self,
        *,
        aux_weight: float = 0.1,
        target_weight: float = 0.1,
        mix_weight: float = 0.1,
        contrast_weight: float = 0.01,
        proto_scale: float = 7.0,
        pixel_scale: float = 20.0,
        confidence: float = 0.95,
        paste_above: int = 4,
        paste_rule: str = 'pool',
        back_samples: str = 'all',
        proto_samples: str = 'all',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, choices in (
            ('paste_rule', paste_rule, ('pool', 'below_pool')),
            ('back_samples', back_samples, ('all', 'first')),
            ('proto_samples', proto_samples, ('all', 'first')),
        ):
            if value not in choices:
                raise ValueError(f'model.{name}={value!r}: choose one of {choices}')
        self.aux_weight = aux_weight
        self.target_weight = target_weight
        self.mix_weight = mix_weight
        self.contrast_weight = contrast_weight
        self.proto_scale = proto_scale
        self.pixel_scale = pixel_scale
        self.confidence = confidence
        self.paste_above = paste_above
        self.paste_rule = paste_rule
        self.back_samples = slice(1) if back_samples == 'first' else slice(None)
        self.proto_samples = slice(1) if proto_samples == 'first' else slice(None)

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield ``src``, then ``tgt``."""
        source, target = data['source'], data['target']
        yield 'src', self.source_losses(source)
        yield 'tgt', self.target_losses(source, target)

    def source_losses(self, source: Batch) -> Losses:
        """L_S: every head on the full source image."""
        image, label = source['image'], labels_of(source, 'source')
        main, *aux = (self.upsample(logits, image) for logits in self.heads(image))
        return {
            'loss_seg': cross_entropy(main, label),
            **auxiliary_loss('loss_aux', self.aux_weight, aux, label),
        }

    def target_losses(self, source: Batch, target: Batch) -> Losses:
        """L_T: the mixed images and the contrast."""
        pseudo = crop(self.pseudo_label(target['image']), target['rows'], target['cols'])
        label = source['weak_label']  # (N, h, w)
        pasted = draw_pasted(label, source['keys'], self.paste_above, self.paste_rule)  # (N, h, w)

        mixed = paste(source['weak'], target['strong'], pasted)
        mixed_low = self.heads(mixed)  # (N, C, h', w') of each head
        calm = paste(source['weak'], target['weak'], pasted)
        calm_low = self.heads(calm)

        with torch.no_grad():
            calm_full = [self.upsample(logits, calm) for logits in calm_low]
            all_heads = sum(torch.softmax(logits.float(), 1) for logits in calm_full).argmax(1)
            conf, predicted = softmax_confidence(self.confidence_logits(calm_full[0], target))
        self.note(calm=calm, confidence=conf, all_heads_on_calm=all_heads, mixed=mixed)
        areas = Areas(label, pasted, pseudo, all_heads, conf > self.confidence, predicted)

        proto_label = torch.where(pasted, label, torch.where(areas.confident, predicted, IGNORE))
        proto, pixel = self.contrast(mixed_low[0], calm_low[0], proto_label)
        return {
            **self.mixed_losses([self.upsample(logits, mixed) for logits in mixed_low], areas),
            **self.back_losses(mixed, source['strong'], areas),
            'loss_proto': self.contrast_weight * proto,
            'loss_pixel': self.contrast_weight * pixel,
            'confident_ratio': areas.confident.float().mean(),
            'pasted_ratio': pasted.float().mean(),
        }

    def confidence_logits(self, calm: Tensor, target: Batch) -> Tensor:
        """The logits (N, C, h, w) that decide what is pasted back: those of ``calm``."""
        return calm

    def mixed_losses(self, heads: list[Tensor], areas: Areas) -> Losses:
        """Cross entropy of every head's logits (N, C, h, w) on ``mixed``."""
        main, *aux = heads
        label = mixed_label(areas)
        self.note(mixed_label=label, student_on_mixed=main)
        return {
            'loss_mixed': self.target_weight * cross_entropy(main, label),
            **auxiliary_loss('loss_mixed_aux', self.target_weight * self.aux_weight, aux, areas.all_heads),
        }

    def back_losses(self, mixed: Tensor, source: Tensor, areas: Areas) -> Losses:
        """Cross entropy on ``back``: the confident areas of ``mixed`` on the strong view of the source."""
        back = paste(mixed, source, areas.confident)
        main = self.upsample(self.main_head(back), back)
        label = torch.where(areas.confident, areas.predicted, areas.truth)
        self.note(back=back, back_label=label)
        first = self.back_samples
        return {'loss_back': self.mix_weight * cross_entropy(main[first], label[first])}

    @torch.no_grad()
    def pseudo_label(self, image: Tensor) -> Tensor:
        """The student's classes (N, H, W) for target images, its batch norm in train mode (T11), without threshold."""
        label = self.upsample(self.main_head(image), image).argmax(1)
        self.note(pseudo_label=label)
        return label

    def contrast(self, mixed: Tensor, calm: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Prototype and pixel contrast between two views' logits (N, C, h, w), each the mean over the batch.

        Args:
            mixed: Low-resolution logits of one view.
            calm: Those of the other.
            label: (N, H, W), 255 = ignore: which pixels make up the prototype of a class.
        """
        label = F.interpolate(label[:, None].float(), size=mixed.shape[-2:], mode='nearest')[:, 0].long()
        views = list(zip(mixed, calm, label, strict=True))
        proto = [prototype_contrast(a, b, y, self.proto_scale) for a, b, y in views[self.proto_samples]]
        pixel = [probability_contrast(probabilities(a), probabilities(b), self.pixel_scale) for a, b, _ in views]
        return sum(proto) / len(views), sum(pixel) / len(views)


@MODELS.register_module()
class EHTDIEdge(EHTDI):
    """EHTDI with edge enhancement: more weight where the two images meet (EHTDI spec 4.5).

    .. code:: text

     tgt  plain: the weak target view before pasting -> confidence, in place of that of calm (no gradient)
          mixed: more cross entropy of every head along the border of the pasted classes
          back:  confident areas and pasted classes of mixed on the source -> cross entropy of every head,
                 more along the border of the confident areas

    The weights are what finally stands before each term; in the reference they are products of other weights (T15).

    Args:
        border_weight: Weight of the cross entropies along the pasted border in ``mixed``; the auxiliary head has
            ``aux_weight`` times as much.
        back_border_weight: Weight of the main head's along the confident border in ``back``.
        back_aux_weight: Weight of the auxiliary head's on the whole of ``back``.
        border_gate: ``'sample'`` uses every border pixel there is. ``'pair'`` is the reference (T12): a border counts
            only if both samples 0 and 1 have one, so a batch of one is an error.
        **kwargs: Those of :class:`EHTDI`; ``back_samples`` holds for every term on ``back``.
    """

    def __init__(
        self,
        *,
        border_weight: float = 0.1,
        back_border_weight: float = 0.01,
        back_aux_weight: float = 0.001,
        border_gate: str = 'sample',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if border_gate not in ('pair', 'sample'):
            raise ValueError(f"model.border_gate={border_gate!r}: choose one of ('pair', 'sample')")
        self.border_weight = border_weight
        self.back_border_weight = back_border_weight
        self.back_aux_weight = back_aux_weight
        self.border_gate = border_gate

    def confidence_logits(self, calm: Tensor, target: Batch) -> Tensor:
        """The logits (N, C, h, w) that decide what is pasted back: those of the weak target view before pasting."""
        return self.upsample(self.main_head(target['weak']), target['weak'])

    def mixed_losses(self, heads: list[Tensor], areas: Areas) -> Losses:
        """Cross entropy of every head's logits (N, C, h, w) on ``mixed``, and once more along the pasted border."""
        main, *aux = heads
        edge = self.gated(border(areas.pasted))
        label, aux_label = only(edge, mixed_label(areas)), only(edge, areas.all_heads)
        self.note(border=edge)
        return {
            **super().mixed_losses(heads, areas),
            'loss_mixed_border': self.border_weight * cross_entropy(main, label),
            **auxiliary_loss('loss_mixed_border_aux', self.border_weight * self.aux_weight, aux, aux_label),
        }

    def back_losses(self, mixed: Tensor, source: Tensor, areas: Areas) -> Losses:
        """Cross entropy of every head on ``back``, and of the main head once more along the confident border."""
        back = paste(mixed, source, areas.pasted | areas.confident)
        main, *aux = (self.upsample(logits, back) for logits in self.heads(back))
        from_target = areas.confident & ~areas.pasted  # all else shows the source, whose labels are true
        label = torch.where(from_target, areas.predicted, areas.truth)
        aux_label = torch.where(from_target, areas.all_heads, areas.truth)
        edge = self.gated(border(areas.confident) & ~areas.pasted)
        self.note(back=back, back_label=label, back_border=edge)
        first = self.back_samples
        return {
            'loss_back': self.mix_weight * cross_entropy(main[first], label[first]),
            'loss_back_border': self.back_border_weight * cross_entropy(main[first], only(edge, label)[first]),
            **auxiliary_loss(
                'loss_back_aux', self.back_aux_weight, [logits[first] for logits in aux], aux_label[first]
            ),
        }

    def gated(self, edge: Tensor) -> Tensor:
        """The border pixels (N, h, w) that count, as ``border_gate`` says; decided on the device."""
        if self.border_gate == 'sample':
            return edge
        if len(edge) < 2:
            raise ValueError(
                "model.border_gate='pair' compares samples 0 and 1, but the batch has only one sample: "
                "set model.border_gate='sample', or train_dataloader.batch_size to 2 or more"
            )
        return edge & edge[:2].flatten(1).any(1).all()


def mixed_label(areas: Areas) -> Tensor:
    """The label (N, h, w) of ``mixed``: the truth where it is pasted, the pseudo-label elsewhere."""
    return torch.where(areas.pasted, areas.truth, areas.pseudo)


def only(mask: Tensor, label: Tensor) -> Tensor:
    """``label`` where ``mask`` is set, ignore elsewhere, (N, h, w) each."""
    return torch.where(mask, label, IGNORE)


def border(mask: Tensor) -> Tensor:
    """The one pixel wide border of masks (..., h, w), bool: pixels at which the 2x2 window up and left is not constant.

    Equal to OpenCV's dilation minus erosion by a 2x2 kernel of ones, at the edges of the image too. A window is
    constant if both its columns and its lower row are.
    """
    down = mask[..., 1:, :] != mask[..., :-1, :]
    right = mask[..., 1:] != mask[..., :-1]
    edge = torch.zeros_like(mask)
    edge[..., 1:, :] |= down
    edge[..., 1:, 1:] |= down[..., :-1]
    edge[..., 1:] |= right
    return edge


def probabilities(logits: Tensor) -> Tensor:
    """One probability row per pixel, (h*w, C) in fp32, of logits (C, h, w)."""
    return torch.softmax(logits.float().flatten(1).T, dim=1)


def crop(label: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Crop and scale label maps (N, H, W) by the rows (N, h) and columns (N, w) that the worker drew: (N, h, w)."""
    samples = torch.arange(len(label), device=label.device)
    return label[samples[:, None, None], rows[:, :, None], cols[:, None, :]]


def pasting_pool(present: Tensor, paste_above: int, rule: str) -> Tensor:
    """The ids that may be pasted, in the columns of :func:`present_classes`; as many as there are classes in the pool.

    ``'below_pool'`` reproduces the reference (T1): the ids present are ranked with ignore first, and the choice is
    shifted by one: the id before the smallest pool class can be drawn and the largest cannot. When only pool classes
    are present the index wraps around and the choice is the pool again.
    """
    ids = torch.arange(present.shape[1], device=present.device) - 1
    pool = present & (ids > paste_above)
    if rule == 'pool':
        return pool
    below = present & ~pool
    largest = torch.where(pool, ids, -2).argmax(1, keepdim=True)
    neighbour = torch.where(below, ids, -2).argmax(1, keepdim=True)
    shifted = pool.scatter(1, largest, False).scatter(1, neighbour, True)
    use = pool.any(1, keepdim=True) & below.any(1, keepdim=True)
    return torch.where(use, shifted, pool)


def draw_pasted(label: Tensor, keys: Tensor, paste_above: int, rule: str) -> Tensor:
    """The pixels (N, h, w) of each label map that are pasted on the target: those of the classes drawn."""
    pool = pasting_pool(present_classes(label, keys.shape[1] - 1), paste_above, rule)
    return pixels_of(draw_classes(pool, keys, at_least=1), label)
