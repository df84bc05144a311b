"""Self-training on labels from disk, without the source."""

from collections.abc import Iterator

from torch import Tensor

from mmuda.models.losses import cross_entropy
from mmuda.models.uda.base import Batch, Losses, UDASegmentor
from mmuda.registry import MODELS


@MODELS.register_module()
class SelfTraining(UDASegmentor):
    """Cross entropy of the main head with the target's pseudo-labels (ISL, DAF+IDA spec 5.1)."""

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``tgt``."""
        image, label = data['target']['image'], pseudo_labels(data['target'])
        yield 'tgt', {'loss_seg': cross_entropy(self.upsample(self.main_head(image), image), label)}


def pseudo_labels(target: Batch) -> Tensor:
    """The selected pseudo-labels (N, H, W) of a batch, int64, 255 = not selected; an error where none are read."""
    if 'label' not in target:
        raise ValueError(
            'this method learns from pseudo-labels: run the recipe of its config, which makes them, or set '
            'train_dataloader.dataset.target.label_dir to a folder of them'
        )
    return target['label']
