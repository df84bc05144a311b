"""Re-estimation of the batch-norm statistics on the target (AdaBN, Li et al. 2016): the row that a method must beat."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmuda.models.uda.base import Batch, Losses, UDASegmentor
from mmuda.registry import MODELS


@MODELS.register_module()
class AdaBN(UDASegmentor):
    """Forgets the source's batch-norm statistics and averages those of the target's batches; no weight is trained.

    Every iteration is one forward pass in train mode. The statistics are the plain mean over all batches seen so far.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_buffer('reset', torch.tensor(False))
        for layer in self.modules():
            if isinstance(layer, _BatchNorm):
                layer.momentum = None  # a cumulative mean instead of a moving one

    @torch.no_grad()
    def parts(self, data: dict[str, Batch]) -> Iterator[tuple[str, Losses]]:
        """Yield nothing to learn."""
        if not self.reset:
            for layer in self.modules():
                if isinstance(layer, _BatchNorm):
                    layer.reset_running_stats()
            self.reset.fill_(True)
        self.student(data['target']['image'], mode='tensor')
        yield from ()
