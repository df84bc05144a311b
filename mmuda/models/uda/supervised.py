"""Plain training from labels on disk."""

from collections.abc import Iterator
from typing import Any

from mmuda.models.losses import auxiliary_loss, cross_entropy
from mmuda.models.uda.base import Batch, Losses, UDASegmentor, labels_of
from mmuda.registry import MODELS


@MODELS.register_module()
class Supervised(UDASegmentor):
    """Cross entropy on the labelled domain: the source-only baseline, and the oracle when that domain is the target.

    Args:
        aux_weight: Weight of the auxiliary head's cross entropy, if there is such a head; 0 leaves it untrained, at its
            initial weights (the published EHTDI start, EHTDI spec 3.3).
    """

    def __init__(self, *, aux_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aux_weight = aux_weight

    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield the one part ``src``."""
        image, label = data['source']['image'], labels_of(data['source'], 'source')
        heads = self.heads(image) if self.aux_weight else [self.main_head(image)]
        main, *aux = (self.upsample(logits, image) for logits in heads)
        yield (
            'src',
            {'loss_seg': cross_entropy(main, label), **auxiliary_loss('loss_aux', self.aux_weight, aux, label)},
        )
