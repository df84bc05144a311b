"""EHTDI: Exploring High-quality Target Domain Information for UDA semantic segmentation (Li et al., ACM MM 2022)."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmuda.models.losses import cross_entropy, probability_contrast, prototype_contrast, softmax_confidence
from mmuda.models.losses.cross_entropy import IGNORE
from mmuda.models.uda.base import Batch, Losses, UDASegmentor
from mmuda.registry import MODELS


@MODELS.register_module()
class EHTDI(UDASegmentor):
    """Class mixing both ways between the domains, with a contrast between two views of the mixed image.

    One iteration (EHTDI spec 4 and 5); the order of the passes fixes the batch-norm statistics:

    .. code:: text

     src  source image   -> cross entropy of both heads with the truth; back-propagated alone
          target image   -> pseudo-label (no gradient), cropped like the target's views
     tgt  mixed: source classes on the strong target view -> cross entropy with truth | pseudo-label
          calm:  the same classes on the weak target view -> auxiliary label, confidence, contrast with mixed
          back:  confident areas of mixed on the source   -> cross entropy

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
        """L_S: both heads on the full source image."""
        main, aux = (self.upsample(logits, source['image']) for logits in self.heads(source['image']))
        return {
            'loss_seg': cross_entropy(main, source['label']),
            'loss_aux': self.aux_weight * cross_entropy(aux, source['label']),
        }

    def target_losses(self, source: Batch, target: Batch) -> Losses:
        """L_T: the mixed images and the contrast."""
        pseudo = crop(self.pseudo_label(target['image']), target['rows'], target['cols'])
        label = source['weak_label']  # (N, h, w)
        pasted = draw_pasted(label, source['keys'], self.paste_above, self.paste_rule)  # (N, h, w)

        mixed = paste(source['weak'], target['strong'], pasted)
        mixed_low, mixed_aux_low = self.heads(mixed)
        calm = paste(source['weak'], target['weak'], pasted)
        calm_low, calm_aux_low = self.heads(calm)

        with torch.no_grad():
            calm_main, calm_aux = self.upsample(calm_low, calm), self.upsample(calm_aux_low, calm)
            conf, calm_label = softmax_confidence(calm_main)
            confident = conf > self.confidence
            both_heads = (torch.softmax(calm_main.float(), 1) + torch.softmax(calm_aux.float(), 1)).argmax(1)

        back = paste(mixed, source['strong'], confident)
        back_label = torch.where(confident, calm_label, label)
        back_main = self.upsample(self.main_head(back), back)

        proto_label = torch.where(pasted, label, torch.where(confident, calm_label, IGNORE))
        proto, pixel = self.contrast(mixed_low, calm_low, proto_label)
        first = self.back_samples
        return {
            'loss_mixed': self.target_weight
            * cross_entropy(self.upsample(mixed_low, mixed), torch.where(pasted, label, pseudo)),
            'loss_mixed_aux': self.target_weight
            * self.aux_weight
            * cross_entropy(self.upsample(mixed_aux_low, mixed), both_heads),
            'loss_back': self.mix_weight * cross_entropy(back_main[first], back_label[first]),
            'loss_proto': self.contrast_weight * proto,
            'loss_pixel': self.contrast_weight * pixel,
            'confident_ratio': confident.float().mean(),
            'pasted_ratio': pasted.float().mean(),
        }

    @torch.no_grad()
    def pseudo_label(self, image: Tensor) -> Tensor:
        """The student's classes (N, H, W) for target images, its batch norm in train mode (T11), without threshold."""
        return self.upsample(self.main_head(image), image).argmax(1)

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


def probabilities(logits: Tensor) -> Tensor:
    """One probability row per pixel, (h*w, C) in fp32, of logits (C, h, w)."""
    return torch.softmax(logits.float().flatten(1).T, dim=1)


def crop(label: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Crop and scale label maps (N, H, W) by the rows (N, h) and columns (N, w) that the worker drew: (N, h, w)."""
    samples = torch.arange(len(label), device=label.device)
    return label[samples[:, None, None], rows[:, :, None], cols[:, None, :]]


def paste(top: Tensor, ground: Tensor, mask: Tensor) -> Tensor:
    """Images (N, 3, h, w): ``top`` where ``mask`` (N, h, w) is set, else ``ground``."""
    return torch.where(mask[:, None], top, ground)


def present_classes(label: Tensor, num_ids: int) -> Tensor:
    """Which ids occur in each label map (N, h, w): bool (N, 1 + num_ids), column 0 for ignore, 1 + c for class c."""
    column = torch.where(label == IGNORE, 0, label + 1).flatten(1)
    present = torch.zeros(len(label), num_ids + 1, dtype=torch.bool, device=label.device)
    return present.scatter_(1, column, True)


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


def draw_classes(pool: Tensor, keys: Tensor) -> Tensor:
    """Half of each row's pool, rounded down but at least one: those with the smallest random ``keys`` (N, columns)."""
    size = pool.sum(1, keepdim=True)
    wanted = torch.where(size == 1, 1, size // 2)
    rank = keys.masked_fill(~pool, torch.inf).argsort(1).argsort(1)
    return pool & (rank < wanted)


def draw_pasted(label: Tensor, keys: Tensor, paste_above: int, rule: str) -> Tensor:
    """The pixels (N, h, w) of each label map that are pasted on the target: those of the classes drawn."""
    chosen = draw_classes(pasting_pool(present_classes(label, keys.shape[1] - 1), paste_above, rule), keys)
    column = torch.where(label == IGNORE, 0, label + 1)
    return chosen.gather(1, column.flatten(1)).view_as(column)
