"""Self-training on labels from disk, without the source."""

from collections.abc import Iterator

from mmuda.models.losses import cross_entropy
from mmuda.models.uda.base import Batch, Losses, UDASegmentor, labels_of
from mmuda.registry import MODELS


@MODELS.register_module()
class SelfTraining(UDASegmentor):
    """Cross entropy of the main head with the target's pseudo-labels (ISL, DAF+IDA spec 5.1)."""

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        image, label = data['target']['image'], labels_of(data['target'], 'target')
        yield 'tgt', {'loss_seg': cross_entropy(self.upsample(self.main_head(image), image), label)}
