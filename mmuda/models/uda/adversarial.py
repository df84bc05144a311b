"""Adversarial alignment of the two domains' predictions (AdaptSegNet, AdvEnt), and entropy minimisation (MinEnt)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmuda.models.losses import (
    SOURCE,
    TARGET,
    binary_cross_entropy,
    cross_entropy,
    least_squares,
    mean_entropy,
    self_information,
)
from mmuda.models.uda.base import Batch, Losses, UDASegmentor, labels_of
from mmuda.registry import MODELS

MAPS = {'softmax': partial(torch.softmax, dim=1), 'self_information': self_information}
GAN_LOSSES = {'bce': binary_cross_entropy, 'least_squares': least_squares}


@MODELS.register_module()
class MinEnt(UDASegmentor):
    """Cross entropy on the source, entropy on the target.

    Args:
        entropy_weight: Weight of the mean entropy, which lies between 0 and 1.
    """

    def __init__(self, *, entropy_weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entropy_weight = entropy_weight

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield ``src``, then ``tgt``."""
        source, target = data['source'], data['target']
        label = labels_of(source, 'source')
        logits = self.upsample(self.main_head(source['image']), source['image'])
        yield 'src', {'loss_seg': cross_entropy(logits, label)}
        logits = self.upsample(self.main_head(target['image']), target['image'])
        yield 'tgt', {'loss_ent': self.entropy_weight * mean_entropy(logits)}


@MODELS.register_module()
class Adversarial(UDASegmentor):
    """Makes predictions on the target look, to a discriminator, like those on the source.

    One iteration (DAF+IDA spec 5, HIAST spec 5.4); student and discriminator step together at its end:

    .. code:: text

     src   source image -> cross entropy with the truth        | discriminator frozen
     tgt   target image -> is to pass for the source           |
     disc  the two predictions, without gradient to the student -> source or target?

    ``disc_input='softmax'`` is AdaptSegNet, ``'self_information'`` AdvEnt. The discriminator and what it sees stay in
    fp32 at any ``precision``.

    Args:
        discriminator: Its config; ``in_channels`` is the number of classes, if it says nothing else.
        disc_input: What it sees: ``'softmax'`` or ``'self_information'`` of the logits at the image's size.
        gan_loss: ``'bce'`` or ``'least_squares'``.
        adv_weight: Weight of the target's adversarial term.
        disc_weight: Weight of each of the discriminator's own two terms.
        entropy_weight: Weight of the target's mean entropy beside it (HIAST spec 4); 0 leaves it out.
    """

    def __init__(
        self,
        *,
        discriminator: dict,
        disc_input: str,
        gan_loss: str = 'bce',
        adv_weight: float = 0.001,
        disc_weight: float = 1.0,
        entropy_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, choices in (('disc_input', disc_input, MAPS), ('gan_loss', gan_loss, GAN_LOSSES)):
            if value not in choices:
                raise ValueError(f'model.{name}={value!r}: choose one of {list(choices)}')
        self.discriminator = MODELS.build(dict(in_channels=self.student.out_channels) | discriminator)
        self.disc_input = MAPS[disc_input]
        self.gan_loss = GAN_LOSSES[gan_loss]
        self.adv_weight = adv_weight
        self.disc_weight = disc_weight
        self.entropy_weight = entropy_weight

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield ``src``, ``tgt``, and ``disc`` for each domain."""
        with frozen(self.discriminator):
            terms, source_map = self.source_pass(data['source'])
            yield 'src', terms
            terms, target_map = self.target_pass(data['target'])
            yield 'tgt', terms
        yield 'disc', {'loss_src': self.disc_weight * self.judge(source_map, SOURCE)}
        yield 'disc', {'loss_tgt': self.disc_weight * self.judge(target_map, TARGET)}

    def source_pass(self, source: Batch) -> tuple[Losses, Tensor]:
        """The student's terms on the source, and what the discriminator sees of it, (N, C, H, W) without gradient."""
        label = labels_of(source, 'source')
        logits = self.upsample(self.main_head(source['image']), source['image'])
        self.note(student_on_source=logits)
        return {'loss_seg': cross_entropy(logits, label)}, self.disc_input(logits.detach())

    def target_pass(self, target: Batch) -> tuple[Losses, Tensor]:
        """The same on the target."""
        logits = self.upsample(self.main_head(target['image']), target['image'])
        seen = self.disc_input(logits)
        terms = {'loss_adv': self.adv_weight * self.judge(seen, SOURCE)}
        if self.entropy_weight:
            terms['loss_ent'] = self.entropy_weight * mean_entropy(logits)
        return terms, seen.detach()

    def judge(self, seen: Tensor, label: int) -> Tensor:
        """How far the discriminator is from the label, ``SOURCE`` or ``TARGET``, on maps (N, C, H, W)."""
        return self.gan_loss(self.discriminator(seen), label)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within, gradients pass through a network and do not stay in its parameters."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
