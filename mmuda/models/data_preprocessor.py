"""Batches of one or two domains, from loader to network input."""

from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from torch import Tensor

from mmuda.registry import MODELS
from mmuda.utils.depth import inverse_depth


@MODELS.register_module()
class DomainDataPreprocessor(SegDataPreProcessor):
    """Normalises the training batches of :class:`mmuda.datasets.SourceTargetDataset`; else mmseg's own.

    A training batch is ``{domain: {key: tensor}}``. Every uint8 tensor (N, 3, H, W) is an image: it goes to the device
    as bytes and becomes ``(x - mean) / std`` there. Every other uint8 tensor is a label map (N, H, W) and becomes int64
    with 255 = ignore. Every uint16 tensor (N, H, W) is a depth map in centimetres and becomes ``inverse_depth``
    (N, 1, H, W). Anything else (crop rows and columns, random keys, names) only changes device.

    Validation and inference batches (``inputs``, ``data_samples``) take mmseg's path unchanged.
    """

    def __init__(self, *, bgr_to_rgb: bool = False, rgb_to_bgr: bool = False, **kwargs: Any) -> None:
        super().__init__(bgr_to_rgb=bgr_to_rgb, rgb_to_bgr=rgb_to_bgr, **kwargs)
        self.swap_channels = bgr_to_rgb or rgb_to_bgr

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Return the batch on the device, normalised; see the class."""
        if not training:
            return super().forward(data, training=False)
        return {domain: {key: self._prepare(value) for key, value in batch.items()} for domain, batch in data.items()}

    def _prepare(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        value = value.to(self.device, non_blocking=True)
        if value.dtype is torch.uint16:
            return inverse_depth(value).unsqueeze(1)
        if value.dtype is not torch.uint8:
            return value
        return self._normalise(value) if value.dim() == 4 else value.long()

    def _normalise(self, image: Tensor) -> Tensor:
        if self.swap_channels:
            image = image.flip(1)
        image = image.float()
        return (image - self.mean) / self.std if self._enable_normalize else image

    def picture(self, image: Tensor) -> Tensor:
        """What a normalised image (N, 3, H, W) looked like: uint8, BGR as read."""
        if self._enable_normalize:
            image = image.float() * self.std + self.mean
        image = image.round().clamp(0, 255).to(torch.uint8)
        return image.flip(1) if self.swap_channels else image
