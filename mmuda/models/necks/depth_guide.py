"""Depth from a backbone's four stages, and features gated by it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmuda.registry import MODELS

UP_CHANNELS = 16
REDUCTION = 16


class ChannelAttention(nn.Module):
    """Scales each channel by what the image's channel means say of it.

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(channels // REDUCTION, 1)
        self.fc1 = nn.Conv2d(channels, narrow, 1, bias=False)
        self.fc2 = nn.Conv2d(narrow, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, C, h, w), attended to."""
        means = features.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return features * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


@MODELS.register_module()
class DepthGuide(nn.Module):
    """The depth branch of DAF as a segmentor's neck (DAF+IDA spec 3.2): the heads read gated features.

    .. code:: text

     F1 .. F4 -> channel attention -> 16 channels each, at the size of F2 -> fused: M
     M -> depth D, at depth_size
     M -> gate Q

     features in:   F1, F2, F3, F4
     features out:  F1, F2, F3, F4 * Q, D

    Convolutions start normal with std 0.01, biases as torch has them.

    Args:
        in_channels: Channels of the four stages.
        depth_size: (height, width) that every depth map is resized to, whatever the image's size; None leaves it at
            the size of F2.
        norm_cfg: Of its batch norms.
    """

    def __init__(
        self, in_channels: Sequence[int], depth_size: tuple[int, int] | None = (228, 304), norm_cfg: dict | None = None
    ) -> None:
        super().__init__()
        self.depth_size = None if depth_size is None else tuple(depth_size)
        norm = dict(norm_cfg=norm_cfg or dict(type='BN'))
        fused = UP_CHANNELS * len(in_channels)
        self.attentions = nn.ModuleList(ChannelAttention(channels) for channels in in_channels)
        self.up_projs = nn.ModuleList(ConvModule(c, UP_CHANNELS, 5, padding=2, **norm) for c in in_channels)
        self.fuse = ConvModule(fused, fused, 5, padding=2, **norm)
        self.reg = ConvModule(fused, fused, 5, padding=2, **norm)
        self.conv_depth = nn.Conv2d(fused, 1, 5, padding=2)
        self.gate = nn.Conv2d(fused, in_channels[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Gate the last of four feature maps (N, C, h, w) and append depth (N, 1, *depth_size), fp32, unbounded."""
        size = features[1].shape[-2:]
        branches = zip(features, self.attentions, self.up_projs, strict=True)
        maps = [_resize(project(attend(stage)), size) for stage, attend, project in branches]
        fused = self.fuse(torch.cat(maps, 1))  # (N, 64, h, w)
        gated = features[-1] * torch.relu(self.gate(fused))
        return [*features[:-1], gated, self.depth(fused)]

    def depth(self, fused: Tensor) -> Tensor:
        """Depth of fused features (N, 64, h, w); its values are too large for half precision."""
        regressed = self.reg(fused)
        with torch.autocast(fused.device.type, enabled=False):
            depth = self.conv_depth(regressed.float())
            return depth if self.depth_size is None else _resize(depth, self.depth_size)


def logits_and_depth(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """What a segmentor that predicts depth sees in images: logits (N, C, h, w) and inverse depth.

    Depth comes from its ``depth_head``, or from a neck that appends it to the features. Both in fp32 and at the sizes
    they are made in; depth is (N, 1, h', w').

    Raises:
        ValueError: The segmentor predicts no depth.
    """
    features = network.extract_feat(image)
    if hasattr(network, 'depth_head'):
        return network.decode_head(features).float(), network.depth_head(features).float()
    if features[-1].shape[1] != 1:
        raise ValueError("the network predicts no depth: give model.student a neck such as type='mmuda.DepthGuide'")
    return network.decode_head(features).float(), features[-1].float()


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, h, w) at another height and width."""
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)
