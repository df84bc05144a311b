"""Depth Distribution: adversarial alignment of entropy maps weighted by the density of the predicted class.

Its last stage, on pseudo-labels of the target, is :class:`SelfTraining`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from mmuda.models.density import ClassDensity
from mmuda.models.losses import SOURCE, berhu, cross_entropy
from mmuda.models.uda.adversarial import Adversarial
from mmuda.models.uda.base import Batch, Losses, depth_of, labels_of
from mmuda.registry import MODELS

# What the discriminator sees, of self-information (N, C, H, W), density and depth (N, 1, H, W); the released ablations.
SEEN = {
    'seg_density': lambda information, density, depth: information * density,
    'seg': lambda information, density, depth: information,
    'density': lambda information, density, depth: density,
    'seg_depth': lambda information, density, depth: information * depth,
}


class RegressionHead(nn.Module):
    """One number per cell: convolutions of 1x1, 3x3 and 1x1, then the mean over the channels (spec 3.1).

    Weights start normal with std 0.01, biases as torch has them.

    Args:
        in_channels: Channels of the backbone's last stage.
        mid_channels: Channels between the convolutions.
        out_channels: Channels that the mean is taken over.
    """

    def __init__(self, in_channels: int = 2048, mid_channels: int = 512, out_channels: int = 128) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 1)
        self.conv2 = nn.Conv2d(mid_channels, mid_channels, 3, padding=1)
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1)
        for conv in (self.conv1, self.conv2, self.conv3):
            nn.init.normal_(conv.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Regress (N, 1, h, w), fp32 and unbounded, from the last of some feature maps."""
        x = torch.relu(self.conv2(torch.relu(self.conv1(features[-1]))))
        with torch.autocast(x.device.type, enabled=False):  # depth is too large for half precision
            return self.conv3(x.float()).mean(1, keepdim=True)


@MODELS.register_module()
class DensityDepthSegmentor(EncoderDecoder):
    """mmseg's segmentor with two further heads on the same features, which its predictions do not use (spec 3.1).

    Args:
        density_head: Arguments of a :class:`RegressionHead`: the density of the predicted class, 0 to 255.
        depth_head: The same for inverse depth.
        **kwargs: Of mmseg's ``EncoderDecoder``.
    """

    def __init__(self, *, density_head: dict, depth_head: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.density_head = RegressionHead(**density_head)
        self.depth_head = RegressionHead(**depth_head)


@MODELS.register_module()
class DepthDistribution(Adversarial):
    """Density-aware adversarial alignment (Depth Distribution spec 4 and 5.1).

    The student is a :class:`DensityDepthSegmentor`. With S, Q, Z its logits, density and depth at the grid of its
    features, I the self-information of S at the image's size, and D_k(z) the density of class k at depth z:

    .. code:: text

     src   source image -> cross entropy of S; berHu of Z with the truth; berHu of Q with D_k(z),    | discriminator
           k the class that S predicts, z the true depth, 0 where k is not the true class             | frozen
     tgt   target image -> I * Q is to pass for the source; berHu of Q with D_k(Z), 0 where Z <= 0    |
     disc  source I * Q and target I * Q, without gradient to the student -> source or target?

    No term reaches the depth head from the target.

    Args:
        mixtures: Of the classes; see :class:`ClassDensity`. The recipe puts in those of a ``FitDensity`` stage.
        density_scale: Of these mixtures, see there.
        off_class_density: Where the source's prediction is wrong, what the density is to be: that of the class at depth
            0, as in the reference (trap 5), or else 0.
        adv_input: What the discriminator sees: ``'seg_density'`` is I * Q, ``'seg'`` I, ``'density'`` Q and
            ``'seg_depth'`` I * Z.
        class_weight: Of the cross entropy.
        depth_weight: Weight of the depth loss.
        source_balance_weight: Weight of the density loss on the source.
        target_balance_weight: The same on the target.
        discriminator: Its config; ``in_channels`` follows from ``adv_input``.
        **kwargs: Those of :class:`Adversarial`, less ``disc_input``.
    """

    def __init__(
        self,
        *,
        mixtures: str | None = None,
        density_scale: float = 1e6,
        off_class_density: bool = True,
        adv_input: str = 'seg_density',
        class_weight: Sequence[float] | None = None,
        depth_weight: float,
        source_balance_weight: float,
        target_balance_weight: float,
        discriminator: dict,
        **kwargs: Any,
    ) -> None:
        if adv_input not in SEEN:
            raise ValueError(f'model.adv_input={adv_input!r}: choose one of {list(SEEN)}')
        if adv_input == 'density':
            discriminator = dict(discriminator, in_channels=1)
        super().__init__(disc_input='self_information', discriminator=discriminator, **kwargs)
        classes = self.student.out_channels
        self.density = None if mixtures is None else ClassDensity(mixtures, density_scale)
        if self.density is not None and self.density.num_classes != classes:
            raise ValueError(
                f'model.mixtures={mixtures!r} are of {self.density.num_classes} classes, the network has {classes}'
            )
        if class_weight is not None and len(class_weight) != classes:
            raise ValueError(f'model.class_weight has {len(class_weight)} numbers, the network {classes} classes')
        weight = None if class_weight is None else torch.tensor(list(class_weight))
        self.register_buffer('class_weight', weight, persistent=False)
        self.off_class_density = off_class_density
        self.adv_input = SEEN[adv_input]
        self.depth_weight = depth_weight
        self.source_balance_weight = source_balance_weight
        self.target_balance_weight = target_balance_weight

    def source_pass(self, source: Batch) -> tuple[Losses, Tensor]:
        """The student's terms on the source, and what the discriminator sees of it, without gradient."""
        image, label, true_depth = source['image'], labels_of(source, 'source'), depth_of(source, 'source')
        logits, density, depth = self.three_heads(image)
        wanted = self.source_density(logits.argmax(1), source)
        full = self.upsample(logits, image)
        self.note(student_on_source=full, depth_on_source=depth, density_on_source=_shown(density))
        self.note(true_density_on_source=_shown(wanted))
        terms = {
            'loss_seg': cross_entropy(full, label, self.class_weight),
            'loss_balance': self.source_balance_weight * berhu(density, wanted),
            'loss_depth': self.depth_weight * berhu(self.upsample(depth, image), true_depth),
        }
        return terms, self.seen(logits.detach(), density.detach(), depth.detach(), image)

    def target_pass(self, target: Batch) -> tuple[Losses, Tensor]:
        """The same on the target."""
        logits, density, depth = self.three_heads(target['image'])
        wanted = self.target_density(logits.argmax(1), depth.detach())
        self.note(depth_on_target=depth, density_on_target=_shown(density), implied_density_on_target=_shown(wanted))
        seen = self.seen(logits, density, depth, target['image'])
        terms = {
            'loss_adv': self.adv_weight * self.judge(seen, SOURCE),
            'loss_balance': self.target_balance_weight * berhu(density, wanted),
        }
        return terms, seen.detach()

    def three_heads(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The student's logits (N, C, h, w), density and inverse depth (N, 1, h, w)."""
        student = self.student
        with self.autocast():
            features = student.extract_feat(image)
            heads = (student.decode_head, student.density_head, student.depth_head)
            return tuple(head(features).float() for head in heads)

    def seen(self, logits: Tensor, density: Tensor, depth: Tensor, image: Tensor) -> Tensor:
        """What the discriminator sees, (N, C or 1, H, W) at the size of the image."""
        information = self.disc_input(self.upsample(logits, image))
        return self.adv_input(information, self.upsample(density, image), self.upsample(depth, image))

    def source_density(self, classes: Tensor, source: Batch) -> Tensor:
        """Density (N, 1, h, w) of predicted classes (N, h, w) at the true depth (spec 2.5)."""
        density, depth, label = self._density(), source.get('grid_depth'), source.get('grid_label')
        if depth is None or label is None:
            raise ValueError(
                'the source comes without label and depth at the grid of the features: add mmuda.LoadLabels, '
                'mmuda.LoadDepth and mmuda.GridSample to its pipeline'
            )
        if label.shape != classes.shape:
            (rows, columns), (h, w) = label.shape[1:], classes.shape[1:]
            raise ValueError(
                f'mmuda.GridSample samples {columns}x{rows} cells, but the features of the source have {w}x{h}: give '
                f'it size=({w}, {h})'
            )
        inside = (label == classes).unsqueeze(1)  # (N, 1, h, w)
        found = density(classes, depth * inside)
        return found if self.off_class_density else found * inside

    def target_density(self, classes: Tensor, depth: Tensor) -> Tensor:
        """Density (N, 1, h, w) of predicted classes (N, h, w) at the predicted depth (N, 1, h, w) (spec 4)."""
        return self._density()(classes, depth) * (depth > 0)

    def _density(self) -> ClassDensity:
        if self.density is None:
            raise ValueError(
                'this method needs the mixtures of its classes: run the recipe of its config, which fits them, or set '
                "model.mixtures to '16', '7', '7_small' or the file that tools/offline.py fit-density wrote"
            )
        return self.density


def _shown(density: Tensor) -> Tensor:
    """A density (N, 1, h, w) as a map of values in [0, 1] (N, h, w)."""
    return (density[:, 0] / 255).clamp(0, 1)
