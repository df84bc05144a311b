"""Self-training on labels from disk, without the source."""

from collections.abc import Iterator

from mmuda.models.losses import cross_entropy
from mmuda.models.uda.base import Batch, Losses, UDASegmentor
from mmuda.registry import MODELS


@MODELS.register_module()
class SelfTraining(UDASegmentor):
    """Cross entropy of the main head with the target's pseudo-labels (ISL, DAF+IDA spec 5.1)."""

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        target = data['target']
        if 'label' not in target:
            raise ValueError(
                'self-training learns from pseudo-labels: run the recipe of its config, which makes them, or set '
                'train_dataloader.dataset.target.label_dir to a folder of them'
            )
        logits = self.upsample(self.main_head(target['image']), target['image'])
        yield 'tgt', {'loss_seg': cross_entropy(logits, target['label'])}
