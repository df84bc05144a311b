"""DAF: adversarial alignment of entropy maps weighted by predicted depth (Lu et al. 2023).

Its second half, IDA, is :class:`Adversarial` between the easy and the hard images of the target.
"""

from typing import Any

from torch import Tensor

from mmuda.models.losses import SOURCE, berhu, cross_entropy
from mmuda.models.necks.depth_guide import logits_and_depth
from mmuda.models.uda.adversarial import Adversarial
from mmuda.models.uda.base import Batch, Losses, depth_of, labels_of
from mmuda.registry import MODELS


@MODELS.register_module()
class DAF(Adversarial):
    """Depth-aware adversarial alignment: the discriminator sees self-information times depth (DAF+IDA spec 4 and 5.0).

    The student needs a neck that appends depth to the features, such as :class:`DepthGuide`.

    .. code:: text

     src   source image -> cross entropy, berHu of the depth     | discriminator frozen
     tgt   target image -> I * D^2 is to pass for the source     |
     disc  source I * D and target I * D^2, without gradient to the student -> source or target?

    Depth is inverse, 65536 / (centimetres + 1): near things count more.

    Args:
        depth_weight: Weight of the depth loss.
        source_depth_power: How often depth multiplies the source's maps.
        target_depth_power: The same on the target: the reference has it twice, the paper's figure once (trap 2).
        **kwargs: Those of :class:`Adversarial`, less ``disc_input``.
    """

    def __init__(
        self,
        *,
        depth_weight: float = 0.001,
        source_depth_power: int = 1,
        target_depth_power: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(disc_input='self_information', **kwargs)
        self.depth_weight = depth_weight
        self.source_depth_power = source_depth_power
        self.target_depth_power = target_depth_power

    def source_pass(self, source: Batch) -> tuple[Losses, Tensor]:
        """The student's terms on the source, and what the discriminator sees of it, (N, C, H, W) without gradient."""
        label, true_depth = labels_of(source, 'source'), depth_of(source, 'source')
        logits, depth = (self.upsample(maps, source['image']) for maps in self.logits_and_depth(source['image']))
        self.note(student_on_source=logits, depth_on_source=depth)
        terms = {
            'loss_seg': cross_entropy(logits, label),
            'loss_depth': self.depth_weight * berhu(depth, true_depth),
        }
        return terms, self.disc_input(logits.detach()) * depth.detach() ** self.source_depth_power

    def target_pass(self, target: Batch) -> tuple[Losses, Tensor]:
        """The same on the target; the adversarial term reaches the student through entropy and depth."""
        logits, depth = (self.upsample(maps, target['image']) for maps in self.logits_and_depth(target['image']))
        self.note(depth_on_target=depth)
        seen = self.disc_input(logits) * depth**self.target_depth_power
        return {'loss_adv': self.adv_weight * self.judge(seen, SOURCE)}, seen.detach()

    def logits_and_depth(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The student's low-resolution logits (N, C, h, w) and depth (N, 1, h', w')."""
        with self.autocast():
            return logits_and_depth(self.student, image)
