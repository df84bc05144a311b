"""The discriminator of AdaptSegNet and its descendants."""

from itertools import pairwise

from torch import nn

from mmuda.registry import MODELS


@MODELS.register_module()
class FCDiscriminator(nn.Sequential):
    """Five 4x4 convolutions of stride 2, leaky ReLU (0.2) between them (DAF+IDA spec 3.4).

    Maps (N, C, H, W) at the images' size become scores (N, 1, h, w), one for each patch, with h about H / 32. Weights
    start as torch has them.

    Args:
        in_channels: Channels C of the maps: the number of classes.
        base_channels: Channels after the first convolution; three more double them.
        first_kernel: Size of the first convolution's kernel; IAST has 3 (HIAST spec 3.2).
    """

    def __init__(self, in_channels: int, base_channels: int = 64, first_kernel: int = 4) -> None:
        widths = [in_channels, *(base_channels * factor for factor in (1, 2, 4, 8)), 1]
        layers: list[nn.Module] = []
        for (before, after), kernel in zip(pairwise(widths), (first_kernel, 4, 4, 4, 4), strict=True):
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*layers[:-1])
