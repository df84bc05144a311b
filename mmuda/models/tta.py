"""Test-time augmentation."""

from typing import Any

from mmseg.models import SegTTAModel
from torch import nn

from mmuda.registry import MODELS


@MODELS.register_module()
class TTAModel(SegTTAModel):
    """mmseg's average over augmented images, which takes the logits of each; a plain prediction does not keep them.

    Args:
        module: The segmentor or its config.
        **kwargs: Of mmengine's ``BaseTTAModel``.
    """

    def __init__(self, module: dict | nn.Module, **kwargs: Any) -> None:
        super().__init__(module, **kwargs)
        self.module.keep_logits = True
