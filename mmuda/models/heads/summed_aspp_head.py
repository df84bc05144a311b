"""The classifier of DeepLab-v2: dilated convolutions straight to the classes, summed."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmuda.registry import MODELS


@MODELS.register_module()
class SummedASPPHead(BaseDecodeHead):
    """Sum of 3x3 convolutions of growing dilation, each from the features to the classes (EHTDI spec 3.1, trap T6).

    No batch norm, no dropout, no projection. Weights start normal with std 0.01, biases as torch has them.

    Args:
        in_channels: Channels of the features taken by ``in_index``.
        num_classes: Number of classes.
        dilations: Dilation, and padding, of each branch.
        active_branches: How many branches, counted from the first, are summed. The published DeepLab-v2 ports stop
            after two of four. The others stay in the state dict, so that weights can be exchanged, and do not train.
        **kwargs: Of mmseg's ``BaseDecodeHead``: ``in_index``, ``align_corners``, ``loss_decode``, ...

    Raises:
        ValueError: If ``active_branches`` is not between 1 and the number of branches.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        active_branches: int = 2,
        **kwargs: Any,
    ) -> None:
        if not 1 <= active_branches <= len(dilations):
            raise ValueError(f'active_branches={active_branches} must lie in 1..{len(dilations)} (one per dilation)')
        kwargs = dict(loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True), init_cfg=None) | kwargs
        kwargs |= dict(channels=num_classes, out_channels=num_classes, dropout_ratio=0)
        super().__init__(in_channels, num_classes=num_classes, **kwargs)
        del self.conv_seg  # the branches classify themselves
        self.active_branches = active_branches
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )
        for branch, conv in enumerate(self.convs):
            nn.init.normal_(conv.weight, std=0.01)
            conv.requires_grad_(branch < active_branches)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify the features.

        Args:
            inputs: Feature maps of the backbone, of which ``in_index`` is taken: (N, in_channels, h, w).

        Returns:
            Logits of shape (N, num_classes, h, w).
        """
        features = self._transform_inputs(inputs)
        convs = self.convs[: self.active_branches]
        if torch.is_autocast_enabled(features.device.type):
            return self._one_product(features, convs)
        return sum(conv(features) for conv in convs)

    def _one_product(self, features: Tensor, convs: Sequence[nn.Conv2d]) -> Tensor:
        """The same sum for half precision, where dilated convolutions to few channels are slow, above all backward.

        All taps of all branches are one 1x1 convolution; its products are added, in fp32, where their taps looked from.
        """
        # (num_classes * 9, in_channels, 1, 1) of each branch; folding goes from input to output, so taps are mirrored.
        taps = torch.cat([conv.weight.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2)[..., None, None] for conv in convs])
        products = F.conv2d(features, taps).flatten(2).float().chunk(len(convs), dim=1)
        size = features.shape[-2:]
        logits = sum(
            F.fold(product, size, conv.kernel_size, conv.dilation, conv.padding)
            for product, conv in zip(products, convs, strict=True)
        )
        return logits + sum(conv.bias for conv in convs)[:, None, None]
