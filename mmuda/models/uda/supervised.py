"""Plain training from labels on disk."""

from collections.abc import Iterator
from typing import Any

from mmuda.models.losses.cross_entropy import cross_entropy
from mmuda.models.uda.base import Batch, Losses, UDASegmentor
from mmuda.registry import MODELS


@MODELS.register_module()
class Supervised(UDASegmentor):
    """Cross entropy on the labelled domain: the source-only baseline, and the oracle when that domain is the target.

    Args:
        aux_weight: Weight of the auxiliary head's cross entropy; 0 leaves that head untrained, at its initial weights
            (the published EHTDI start, EHTDI spec 3.3).
    """

    def __init__(self, *, aux_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aux_weight = aux_weight

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``src``."""
        image, label = data['source']['image'], data['source']['label']
        if not self.aux_weight:
            yield 'src', {'loss_seg': cross_entropy(self.upsample(self.main_head(image), image), label)}
            return
        main, aux = (self.upsample(logits, image) for logits in self.heads(image))
        yield (
            'src',
            {
                'loss_seg': cross_entropy(main, label),
                'loss_aux': self.aux_weight * cross_entropy(aux, label),
            },
        )
