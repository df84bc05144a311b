"""The tiny networks of the golden training steps of adversarial methods, as mmseg segmentors."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mmuda.registry import MODELS


@MODELS.register_module()
class StridedBackbone(nn.Sequential):
    """Convolutions of stride 2, each with a batch norm whose affine part is frozen, and a ReLU."""

    def __init__(self, channels: Sequence[int], divisor: float = 1.0) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            norm = nn.BatchNorm2d(after).requires_grad_(False)
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), norm, nn.ReLU()]
        super().__init__(*layers)
        self.divisor = divisor

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [super().forward(x / self.divisor)]


@MODELS.register_module()
class ConvHead(nn.Module):
    """One convolution."""

    def __init__(self, in_channels: int, num_classes: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, kernel, padding=kernel // 2)
        self.align_corners, self.num_classes, self.out_channels = True, num_classes, num_classes

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return self.conv(features[0])


def student(channels: Sequence[int], num_classes: int, kernel: int, **kwargs: object) -> dict:
    return dict(
        type='EncoderDecoder',
        backbone=dict(type='mmuda.StridedBackbone', channels=channels, **kwargs),
        decode_head=dict(type='mmuda.ConvHead', in_channels=channels[-1], num_classes=num_classes, kernel=kernel),
        test_cfg=dict(mode='whole'),
    )
